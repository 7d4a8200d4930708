/** What a run without real parts has: servers on loopback, an InfluxDB of known answers, a request. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { defaultProfile, defaultThresholds } from "../../k6/profile";
import { spelled } from "../../runner/entry";
import type { Credentials, RunRequest } from "../../runner/types";

export const id = "dev-20260102T030405Z";
export const credentials: Credentials = {
  writer: { username: "k6", password: "write-password" },
  reader: { username: "grafana", password: "read-password" },
  secrets: { TOKEN: "script-password", QUOTED: '="a, b"=' },
};

const servers: Server[] = [];

/** The file of a script's secrets, as k6 reads it. */
export const secretsText = 'TOKEN=script-password\nQUOTED=="a, b"=\n';

/** Ends all servers that were started. */
export async function closeServers() {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** Starts a server on loopback; gives its address. */
export async function serve(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An address that nobody answers at. */
export async function nowhere(): Promise<string> {
  const url = await serve(() => undefined);
  await new Promise((resolve) => servers.pop()!.close(resolve));
  return url;
}

/** What the fake InfluxDB has for a statement: rows, a refusal, or a list of series. */
export type Rows = (string | number | boolean | null)[][];
export type Answer = Rows | { error: string } | Listed;

type Listed = { name: string; columns?: string[]; values: Rows }[];

/** What is asked of metrics, out of the count, sum, least and most of their values. */
function storedBy(statement: string, stored: Listed = []): Listed | undefined {
  const names = ["count", "sum", "min", "max"];
  if (/^SELECT (first|last)\("value"\) FROM \/\.\*\/ WHERE "testid" = '[^']*'$/.test(statement)) {
    return stored.map(({ name }) => ({ name, values: [[0, 1]] }));
  }
  const [, what, from] = /^SELECT (.* AS .*) FROM (.*?) WHERE/.exec(statement) ?? [];
  if (!what) return undefined;
  const asked = [...what.matchAll(/AS "(\w+)"/g)].map(([, name]) => 1 + names.indexOf(name));
  return stored
    .filter(({ name }) => from.includes(`"${name}"`))
    .map(({ name, values: [row] }) => ({ name, values: [[0, ...asked.map((at) => row[at])]] }));
}

/** An InfluxDB that knows these statements, without the condition on the run, and no others. */
export async function fakeInfluxDb(answers: Record<string, Answer> = {}) {
  const seen: { user: string; path: string; body: string }[] = [];
  /** The runs that were asked for. */
  const runs = new Set<string>();
  const gates: number[] = [];
  const url = await serve(async (request, response) => {
    const [, encoded = ""] = (request.headers.authorization ?? "").split(" ");
    const user = Buffer.from(encoded, "base64").toString();
    const body = await text(request);
    seen.push({ user, path: request.url ?? "", body });
    const send = (status: number, answer?: object) => {
      response.writeHead(status).end(answer && JSON.stringify(answer));
    };
    if (request.url?.startsWith("/write")) {
      if (user !== "k6:write-password") return send(401, { error: "authorization failed" });
      const refusal = answers[body.split(/[, ]/)[0]];
      if (refusal && "error" in refusal) return send(500, refusal);
      const [, gate] = /^gate value=(\d+)$/.exec(body) ?? [];
      if (gate) gates.push(Number(gate));
      return send(204);
    }
    const statements = (new URLSearchParams(body).get("q") ?? "").split("; ");
    const results = statements.map((statement, statement_id) => {
      const [, gate] = /^SELECT "value" FROM "gate" WHERE "value" = (\d+)$/.exec(statement) ?? [];
      if (gate) {
        const values = gates.filter((each) => each === Number(gate)).map((each) => [0, each]);
        return { statement_id, ...(values.length > 0 && { series: [{ values }] }) };
      }
      if (statement.includes(`FROM "history"."k6_runs"`)) {
        // Nothing at all, unless the test has a ledger.
        const values = answers.ledger as Rows | undefined;
        const columns = ["time", "testid", "verdict", "scenario", "profile", "requests", "p95Ms"];
        return { statement_id, ...(values && { series: [{ columns, values }] }) };
      }
      const ofStored = storedBy(statement, answers.stored as Listed | undefined);
      if (ofStored) return { statement_id, series: ofStored };
      const [known] = statement.split(' WHERE "testid" = ');
      if (known !== statement) runs.add(statement.slice(known.length));
      const answer = answers[known] ?? { error: `not known: ${statement}` };
      if ("error" in answer) return { statement_id, ...answer };
      if (answer.length === 0) return { statement_id };
      const rows = answer.every((each) => Array.isArray(each));
      return { statement_id, series: rows ? [{ values: answer }] : answer };
    });
    send(200, { results });
  });
  return { url, database: "k6", seen, runs };
}

/** The mark of what a script's module tells, where a test has fixed it. */
export const mark = "told-0";

/** A line of k6's log with which the module tells something. */
export const told = (text: string) =>
  `time="2026" level=info msg="${spelled(`${mark} ${encodeURIComponent(text)}`)}" source=console\n`;

/** A counter of k6; a threshold is `true` when it is breached. */
export interface Counter {
  count: unknown;
  thresholds?: Record<string, boolean>;
}

/** What the module tells of a test that had these counters, and three iterations. */
export function toldSummary(counters: Record<string, Counter>, seconds = 60): string {
  const all = Object.entries({ iterations: { count: 3 }, ...counters } as typeof counters);
  const metrics = all.map(([name, { count, thresholds = {} }]) => {
    const judged = Object.entries(thresholds).map(([text, breached]) => [text, { ok: !breached }]);
    const values = { count, rate: Number(count) / seconds };
    return [name, { type: "counter", values, thresholds: Object.fromEntries(judged) }];
  });
  const state = { testRunDurationMs: seconds * 1000 };
  return told(JSON.stringify({ metrics: Object.fromEntries(metrics), root_group: {}, state }));
}

/** The statements of a whole run, answered. */
export function answersOf(
  figures: Partial<Record<string, number | null>> = {},
  /** Of each route its durations' sum, count, p95 and p99. */
  routes: [name: string, durations: [number, number, number, number]][] = [
    ["POST /coupons/{userId}/issue-async", [42125, 1000, 123.456, 456.789]],
  ],
): Record<string, Answer> {
  const all = {
    ...{ requests: 1000, mean: 42.125, p95: 123.456, p99: 456.789, failed: 0.0021 },
    ...{ checks: 0.9979, dropped: null as number | null, series: 27 },
    iterations: 3,
    ...figures,
  };
  const rows = (value: number | null | undefined): Answer => (value === null ? [] : [[0, value!]]);
  const stored = (name: string, count: number) => ({ name, values: [[0, count, count, 1, 1]] });
  const total = (name: string, sum: number | null | undefined, count = 1000): Listed =>
    sum === null ? [] : [{ name, values: [[0, sum!, count]] }];
  const share = (value: number | null | undefined) => (value ? value * 1000 : null);
  // Ended 60.5 ms after it started, at 03:04:06.
  const request = [Date.parse("2026-01-02T03:04:06.060Z"), 60.5];
  return {
    stored: [
      ...(all.requests ? [stored("http_reqs", all.requests)] : []),
      stored("iterations", all.iterations!),
    ],
    "SHOW TAG KEYS": [],
    'SHOW RETENTION POLICIES ON "k6"': [
      {
        name: "",
        columns: ["name", "duration", "default"],
        values: [["autogen", "720h0m0s", true]],
      },
    ],
    'SELECT first("value") FROM "iteration_duration"': [],
    'SELECT sum("value"), count("value") FROM "http_req_duration", "http_req_failed", "checks"': [
      ...total("http_req_duration", share(all.mean)),
      ...total("http_req_failed", share(all.failed)),
      ...total("checks", share(all.checks)),
    ],
    'SELECT sum("value") FROM "http_reqs"': total("http_reqs", all.requests),
    'SELECT sum("value") FROM "dropped_iterations"': total("dropped_iterations", all.dropped),
    'SELECT percentile("value", 95) FROM "http_req_duration"': rows(all.p95),
    'SELECT percentile("value", 99) FROM "http_req_duration"': rows(all.p99),
    'SELECT first("value") FROM "http_req_duration"': [request],
    'SELECT last("value") FROM "http_req_duration"': [request],
    'SELECT "value" FROM "http_req_duration"': Array(all.requests ?? 0).fill(request),
    'SELECT sum("value") FROM "http_req_failed"': rows(0),
    'SELECT sum("value"), count("value"), percentile("value", 95), percentile("value", 99) FROM "http_req_duration"':
      routes.map(([name, values]) => ({ name: "", tags: { name }, values: [[0, ...values]] })),
    'SELECT sum("value"), count("value") FROM "http_req_failed"': routes.map(
      ([name, [, count]]) => ({
        ...{ name: "", tags: { name }, values: [[0, 0, count]] },
      }),
    ),
    "SHOW SERIES EXACT CARDINALITY": [
      { name: "http_reqs", values: [[all.series! - 7]] },
      { name: "vus", values: [[7]] },
    ],
  };
}

export const requestFor = (more: Partial<RunRequest> = {}): RunRequest => ({
  stack: "dev",
  runId: "",
  script: "k6/coupon-issue.ts",
  scriptHash: "0",
  profile: defaultProfile,
  thresholds: defaultThresholds,
  ...{
    baseline: "",
    maxRegression: [],
    routeLimits: [],
    starvedGenerator: "warn",
    allowedHosts: [],
  },
  maxSeries: 1000,
  executor: { kind: "local", binary: "k6" },
  target: { url: "http://127.0.0.1:8080", version: "1" },
  influxdb: { url: "http://127.0.0.1:8086", database: "k6" },
  ...more,
});
