import fc from "fast-check";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { buffer, text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import * as tar from "tar-stream";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  defaultProfile,
  defaultThresholds,
  type Figures,
  k6Options,
  rules,
} from "../../k6/profile";
import { charts } from "../../rehearsal/charts";
import { executorFor } from "../../runner/executor";
import { gate, waitForAnswer } from "../../runner/gate";
import { identifier, literal, query, write } from "../../runner/influxdb";
import { identity } from "../../runner/ledger";
import { breach, columns, headline, markdown, rounded, table } from "../../runner/report";
import { latestRun, runLoadTest, timeFor } from "../../runner/run";
import { scriptFiles, scriptHash } from "../../runner/script";
import { type ExecutorChoice, RunFailure, type RunRequest, type Summary } from "../../runner/types";
import { coincidences, k6Count, progress, seriesWarning, verify } from "../../runner/verify";
import {
  type Answer,
  answersOf,
  closeServers,
  credentials,
  fakeInfluxDb,
  id,
  nowhere,
  requestFor,
  type Rows,
  serve,
} from "../support/run";
import { slept } from "../support/sleep";

// On a busy machine, what takes a second may take ten.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });

vi.mock("node:timers/promises", () => import("../support/sleep.js"));

const project = process.cwd();

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "runner-"));
  process.chdir(folder);
  fs.mkdirSync("k6");
  fs.writeFileSync("k6/coupon-issue.ts", "export default function () {}");
  slept.length = 0;
  vi.setSystemTime(new Date("2026-01-02T03:04:05.678Z"));
});
afterEach(async () => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
  process.chdir(project);
  await closeServers();
  fs.rmSync(folder, { recursive: true });
});

/** A run's figures, judged. */
function summaryOf(figures: Partial<Figures>, more: Partial<Summary> = {}): Summary {
  const { checksRate, ...shown } = rounded({
    ...{ requests: 1000, rps: 16.6667, avgMs: 42.125, p95Ms: 123.456, p99Ms: 456.789 },
    ...{ failedRate: 0.0021, checksRate: 0.9979, droppedIterations: 0 },
    ...figures,
  });
  const all = { ...shown, checksRate };
  const thresholds = rules(defaultThresholds).flatMap((rule) => {
    const value = all[rule.figure];
    if (value === undefined) return [];
    const passed = rule.comparison === "<=" ? value <= rule.limit : value >= rule.limit;
    return [{ ...rule, value, passed }];
  });
  return {
    id,
    verdict: thresholds.every(({ passed }) => passed) ? "passed" : "failed",
    ...shown,
    startedAt: "2026-01-02T03:04:06.000Z",
    endedAt: "2026-01-02T03:05:06.000Z",
    dashboardUrl: "http://127.0.0.1:3000/d/coupon-issue?from=1&to=2",
    thresholds,
    regressions: [],
    warnings: [],
    k6Version: "v1.8.1",
    ...more,
  };
}

const passed = () => summaryOf({});
const failed = () =>
  summaryOf(
    { p95Ms: 812.3456, failedRate: 0.123456, checksRate: 0.5, droppedIterations: 12 },
    { reason: "p95 812.35 ms is over the limit of 500 ms" },
  );
const brokenOff = (): Summary => ({
  ...{ id, verdict: "failed", thresholds: [], regressions: [], warnings: [] },
  reason: "the target did not answer",
});

describe("a report", () => {
  test("rounds durations and rates to two digits, shares to hundredths of a percent", () => {
    expect(
      rounded({
        ...{ requests: 1000, rps: 16.66667, avgMs: 42.125001, p95Ms: 123.456, p99Ms: 456 },
        ...{ failedRate: 0.00214999, checksRate: 0.99785, droppedIterations: 3 },
      }),
    ).toEqual({
      ...{ requests: 1000, rps: 16.67, avgMs: 42.13, p95Ms: 123.46, p99Ms: 456 },
      ...{ failedRate: 0.0021, checksRate: 0.9979, droppedIterations: 3 },
    });
  });

  test("has no share of checks for a script that makes none", () => {
    const figures = { requests: 1, rps: 1, avgMs: 1, p95Ms: 1, p99Ms: 1, failedRate: 0 };
    expect(rounded({ ...figures, droppedIterations: 0 })).not.toHaveProperty("checksRate");
  });

  test("of a passed run is a table of figures, limits and verdicts", () => {
    expect(table(passed())).toBe(
      [
        "run dev-20260102T030405Z: passed",
        "",
        "  figure               value       limit",
        "  p99                  456.79 ms   <= 1000 ms   ok",
        "  p95                  123.46 ms   <= 500 ms    ok",
        "  average              42.13 ms",
        "  RPS                  16.67/s",
        "  failed requests      0.21 %      <= 1 %       ok",
        "  passed checks        99.79 %     >= 99 %      ok",
        "  dropped iterations   0           <= 0         ok",
        "  requests             1000        >= 1         ok",
        "",
        "no baseline: no run of this scenario and profile has passed before",
      ].join("\n"),
    );
  });

  test("of a failed run marks what failed", () => {
    expect(table(failed())).toBe(
      [
        "run dev-20260102T030405Z: failed",
        "",
        "  figure               value       limit",
        "  p99                  456.79 ms   <= 1000 ms   ok",
        "  p95                  812.35 ms   <= 500 ms    FAILED",
        "  average              42.13 ms",
        "  RPS                  16.67/s",
        "  failed requests      12.35 %     <= 1 %       FAILED",
        "  passed checks        50 %        >= 99 %      FAILED",
        "  dropped iterations   12          <= 0         FAILED",
        "  requests             1000        >= 1         ok",
        "",
        "no baseline: no run of this scenario and profile has passed before",
      ].join("\n"),
    );
  });

  test("of a run that broke off is its headline", () => {
    expect(table(brokenOff())).toBe("run dev-20260102T030405Z: failed");
  });

  test("of a script without checks has no line for them", () => {
    expect(table(summaryOf({ checksRate: undefined }))).not.toContain("passed checks");
  });

  test("ends with warnings", () => {
    const summary = summaryOf({}, { warnings: ["too many series", "and another"] });
    const end = "\n\nwarning: too many series\n\nwarning: and another";
    expect(table(summary)).toBe(table(passed()) + end);
  });

  test("in one line has the verdict and the four figures", () => {
    expect(headline(passed())).toBe(
      "run dev-20260102T030405Z: passed, p99 456.79 ms, p95 123.46 ms, average 42.13 ms, 16.67/s",
    );
    expect(headline(brokenOff())).toBe("run dev-20260102T030405Z: failed");
  });

  test("of a passed run in Markdown is the table, the time and the dashboard", () => {
    expect(markdown(passed())).toBe(
      [
        "### Load test passed: `dev-20260102T030405Z`",
        "",
        "| figure | value | limit |  |",
        "| --- | --- | --- | --- |",
        "| p99 | 456.79 ms | <= 1000 ms | ok |",
        "| p95 | 123.46 ms | <= 500 ms | ok |",
        "| average | 42.13 ms |  |  |",
        "| RPS | 16.67/s |  |  |",
        "| failed requests | 0.21 % | <= 1 % | ok |",
        "| passed checks | 99.79 % | >= 99 % | ok |",
        "| dropped iterations | 0 | <= 0 | ok |",
        "| requests | 1000 | >= 1 | ok |",
        "",
        "no baseline: no run of this scenario and profile has passed before",
        "",
        "2026-01-02T03:04:06.000Z to 2026-01-02T03:05:06.000Z, k6 v1.8.1",
        "",
        "[Dashboard of this run](http://127.0.0.1:3000/d/coupon-issue?from=1&to=2)",
        "",
      ].join("\n"),
    );
  });

  test("of a failed run in Markdown starts with the reason", () => {
    const lines = markdown(failed()).split("\n");
    expect(lines.slice(0, 4)).toEqual([
      "### Load test failed: `dev-20260102T030405Z`",
      "",
      "**p95 812.35 ms is over the limit of 500 ms**",
      "",
    ]);
    expect(lines).toContain("| p95 | 812.35 ms | <= 500 ms | FAILED |");
  });

  test("of a run that broke off in Markdown is its reason", () => {
    expect(markdown(brokenOff())).toBe(
      "### Load test failed: `dev-20260102T030405Z`\n\n**the target did not answer**\n",
    );
  });

  test("in Markdown has warnings", () => {
    const lines = markdown(summaryOf({}, { warnings: ["too many series"] })).split("\n");
    expect(lines).toContain("Warning: too many series");
  });

  test("says of each broken rule by how much", () => {
    const broken = failed().thresholds.filter((rule) => !rule.passed);
    expect(broken.map(breach)).toEqual([
      "p95 812.35 ms is over the limit of 500 ms",
      "failed requests 12.35 % is over the limit of 1 %",
      "passed checks 50 % is under the limit of 99 %",
      "dropped iterations 12 is over the limit of 0",
    ]);
  });

  test("aligns columns, whatever is in them", () => {
    const cell = fc.stringMatching(/^[a-z]{1,12}$/);
    const row = fc.tuple(cell, cell, cell);
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 8 }), (rows) => {
        const starts = columns(rows)
          .split("\n")
          .map((line) => [...line.matchAll(/\S+/g)].map(({ index }) => index));
        for (const each of starts) expect(each).toEqual(starts[0]);
        expect(starts[0][0]).toBe(2);
      }),
    );
  });
});

describe("k6's count", () => {
  const counted = (metrics: object) => {
    fs.writeFileSync("k6-summary.json", JSON.stringify({ metrics }));
    return k6Count(".");
  };

  test("is none without a summary", () => {
    expect(k6Count(".")).toBeUndefined();
  });

  test("is its requests, and the test's length from their rate", () => {
    expect(counted({ http_reqs: { count: 1000, rate: 20 } })).toEqual({
      requests: 1000,
      durationMs: 50_000,
    });
  });

  test("is 0 for a test without requests, whose length is known by its iterations", () => {
    expect(counted({ iterations: { count: 10, rate: 0.5 } })).toEqual({
      requests: 0,
      durationMs: 20_000,
    });
    const http_reqs = { count: 0, rate: 0 };
    expect(counted({ http_reqs, iterations: { count: 10, rate: 0.5 } })).toEqual({
      requests: 0,
      durationMs: 20_000,
    });
  });

  test("is 0 in no time for a test that did nothing", () => {
    expect(counted({})).toEqual({ requests: 0, durationMs: 0 });
    expect(counted({ iterations: { count: 0, rate: 0 } })).toEqual({ requests: 0, durationMs: 0 });
  });
});

describe("a script's files", () => {
  const put = (files: Record<string, string>, root = "scenario") => {
    for (const [name, content] of Object.entries(files)) {
      fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
      fs.writeFileSync(path.join(root, name), content);
    }
    return path.join(root, "test.js");
  };

  test("are all in its folder, by name, without packages and git's own", () => {
    const script = put({
      "test.js": "main",
      "data/users.csv": "1,2",
      "a.js": "a",
      "node_modules/x/index.js": "x",
      "data/node_modules/y.js": "y",
      ".git/config": "z",
      ".gitignore": "kept",
    });
    const files = scriptFiles(script).map(({ name, content }) => [name, content.toString()]);
    expect(files).toEqual([
      [".gitignore", "kept"],
      ["a.js", "a"],
      ["data/users.csv", "1,2"],
      ["test.js", "main"],
    ]);
  });

  test("that cannot be read are told of in one line", () => {
    expect(() => scriptFiles("gone/test.ts")).toThrow(RunFailure);
    expect(() => scriptFiles("gone/test.ts")).toThrow(
      /^the files beside the script gone\/test\.ts cannot all be read: ENOENT: /,
    );
  });

  test("have a hash that is the same wherever they are", () => {
    const files = { "test.js": "main", "lib/a.js": "a" };
    expect(scriptHash(put(files, "one"))).toBe(scriptHash(put(files, "two/three")));
    expect(scriptHash(path.resolve("one/test.js"))).toBe(scriptHash("one/test.js"));
    expect(scriptHash("one/test.js")).toMatch(/^[0-9a-f]{64}$/);
  });

  test("keep their hash when only a comment or the layout of code changes", () => {
    const one = put({ "test.ts": "const a: number = 1;\nuse(a);\n" }, "plain");
    const two = put(
      { "test.ts": "/*! of old */\n// new\nconst a: number = 1; use(a) // end\n" },
      "told",
    );
    expect(scriptHash(one)).toBe(scriptHash(two));
    expect(scriptHash(put({ "test.ts": "const a = 2; use(a);" }, "other"))).not.toBe(
      scriptHash(one),
    );
    const [data, other] = [
      { "test.js": "", "a.csv": "//1" },
      { "test.js": "", "a.csv": "//2" },
    ];
    expect(scriptHash(put(data, "data"))).not.toBe(scriptHash(put(other, "data 2")));
  });

  test("have another hash when any of them changes, comes, goes or is renamed", () => {
    const all: Record<string, string>[] = [
      { "test.js": "main" },
      { "test.js": "main; more" },
      { "test.js": "main;\n  }" },
      { "test.js": "main;\n}" },
      { "test.js": "main", "a.js": "" },
      { "test.js": "main", "b.js": "" },
      { "test.js": "main", "a.js": "b.js" },
      { "test.js": "main", "a.js": "", "b.js": "" },
      { "test.js": "main", "a/b.js": "" },
      { "test.js": "main", "a.js": "1", "b.js": "2" },
      { "test.js": "main", "a.js": "1b.js\x002" },
    ];
    const hashes = all.map((files, index) => scriptHash(put(files, `case-${index}`)));
    expect(new Set(hashes).size).toBe(all.length);
  });
});

describe("InfluxDB's client", () => {
  test("quotes names and texts so that they come back as they were", () => {
    expect(identifier(`a "b" \\`)).toBe(`"a \\"b\\" \\\\"`);
    expect(literal(`a 'b' \\`)).toBe(`'a \\'b\\' \\\\'`);
    expect([identifier("a\nb"), literal("a\nb")]).toEqual([`"a\\nb"`, `'a\\nb'`]);
    fc.assert(
      fc.property(fc.string(), (value) => {
        for (const [quoted, quote] of [
          [identifier(value), '"'],
          [literal(value), "'"],
        ]) {
          const inner = quoted.slice(1, -1);
          expect([quoted[0], quoted.at(-1)]).toEqual([quote, quote]);
          expect(inner.replace(/\\./gs, "")).not.toContain(quote);
          expect(inner.replace(/\\(.)/gs, "$1")).toBe(value);
        }
      }),
    );
  });

  test("asks in the body, with the password in a header, and gives each statement's series", async () => {
    const { url, seen } = await fakeInfluxDb({ "SHOW A": [[1]], "SHOW B": [] });
    const connection = { url, username: "grafana", password: "p:w" };
    const answers = await query(connection, "SHOW A; SHOW B", "my db");
    expect(answers).toEqual([[{ values: [[1]] }], []]);
    expect(seen).toEqual([
      { user: "grafana:p:w", path: "/query?epoch=ms&db=my%20db", body: "q=SHOW+A%3B+SHOW+B" },
    ]);
  });

  test("asks without a user when it has none", async () => {
    const { url, seen } = await fakeInfluxDb({ "SHOW A": [] });
    await query({ url }, "SHOW A");
    expect(seen).toEqual([{ user: "", path: "/query?epoch=ms&db=", body: "q=SHOW+A" }]);
  });

  test("writes points in line protocol", async () => {
    const { url, seen } = await fakeInfluxDb();
    await write({ url, ...credentials.writer }, "k6", "gate value=1");
    expect(seen).toEqual([
      { user: "k6:write-password", path: "/write?db=k6", body: "gate value=1" },
    ]);
  });

  test("gives a refusal's words and status, of the request or of a statement", async () => {
    const { url } = await fakeInfluxDb({ "SHOW A": { error: "no such thing" } });
    await expect(query({ url }, "SHOW A")).rejects.toMatchObject({
      message: "no such thing",
      status: 200,
    });
    await expect(write({ url }, "k6", "gate value=1")).rejects.toMatchObject({
      message: "authorization failed",
      status: 401,
    });
    const bare = await serve((_, response) => response.writeHead(502).end("bad gateway\n"));
    await expect(query({ url: bare }, "SHOW A")).rejects.toMatchObject({
      message: "bad gateway",
      status: 502,
    });
    const silent = await serve((_, response) => response.writeHead(503).end());
    await expect(query({ url: silent }, "SHOW A")).rejects.toMatchObject({
      message: "Service Unavailable",
      status: 503,
    });
  });

  test("says where nobody answers", async () => {
    const url = await nowhere();
    await expect(query({ url }, "SHOW A")).rejects.toThrow(
      `InfluxDB does not answer at ${url}: connect ECONNREFUSED ${url.slice("http://".length)}`,
    );
  });
});

describe("the proof", () => {
  const source = (influxdb: { url: string; database: string }) => ({
    influxdb,
    reader: credentials.reader,
  });
  const count = { requests: 1000, durationMs: 60_000 };

  test("gives the figures of the points, asked for as the reader", async () => {
    const influxdb = await fakeInfluxDb(answersOf());
    expect(await verify(source(influxdb), id, count)).toEqual({
      requests: 1000,
      rps: 1000 / 60,
      avgMs: 42.125,
      p95Ms: 123.456,
      p99Ms: 456.789,
      failedRate: 0.0021,
      checksRate: 0.9979,
      droppedIterations: 0,
      startedAt: new Date("2026-01-02T03:04:05.999Z"),
      endedAt: new Date("2026-01-02T03:05:05.999Z"),
    });
    expect([...influxdb.runs]).toEqual([` WHERE "testid" = '${id}'`]);
    for (const { user, path } of influxdb.seen) {
      expect([user, path]).toEqual(["grafana:read-password", "/query?epoch=ms&db=k6"]);
    }
    expect(slept).toEqual([]);
  });

  test("gives no share of checks of a script that makes none", async () => {
    const influxdb = await fakeInfluxDb(answersOf({ checks: null }));
    const { checksRate } = await verify(source(influxdb), id, count);
    expect(checksRate).toBeUndefined();
  });

  test("waits for points that are on their way", async () => {
    const answers = answersOf({ requests: 990 });
    const influxdb = await fakeInfluxDb(answers);
    const verified = verify(source(influxdb), id, count);
    await vi.waitUntil(() => slept.length === 3, { interval: 1 });
    answers['SELECT sum("value") FROM "http_reqs"'] = [[0, 1000]];
    expect((await verified).requests).toBe(1000);
    expect(new Set(slept)).toEqual(new Set([500]));
  });

  test("fails after five seconds for points that are missing, and says how many", async () => {
    const influxdb = await fakeInfluxDb(answersOf({ requests: 990 }));
    await expect(verify(source(influxdb), id, count)).rejects.toThrow(
      new RunFailure(
        "points are missing from InfluxDB: " +
          "k6 made 1000 requests, 990 are stored, 10 are missing",
      ),
    );
    expect(slept).toEqual(Array(10).fill(500));
    await expect(verify(source(influxdb), id, count, 0, "no space left")).rejects.toThrow(
      "990 are stored, 10 are missing; a write failed: no space left",
    );
  });

  test("fails when nothing is stored", async () => {
    const influxdb = await fakeInfluxDb(answersOf({ requests: null }));
    await expect(verify(source(influxdb), id, count)).rejects.toThrow(
      "k6 made 1000 requests, 0 are stored, 1000 are missing",
    );
  });

  test("fails for points that k6 did not make", async () => {
    const influxdb = await fakeInfluxDb(answersOf({ requests: 1001 }));
    await expect(verify(source(influxdb), id, count)).rejects.toThrow(
      new RunFailure("InfluxDB holds 1001 requests of this run, but k6 made only 1000"),
    );
  });

  test.each([
    [0, 0, 0],
    [1000, 60_000, 0],
    [3000, 60_000, 0],
    [10_000, 60_000, 1],
    [100_000, 60_000, 2],
    [1_000_000, 60_000, 20],
  ])("of %d requests in %d ms allows for %d that coincide", (requests, durationMs, allowed) => {
    expect(coincidences({ requests, durationMs })).toBe(allowed);
  });

  test("lets as many be missing as are allowed, once they have had their time", async () => {
    const influxdb = await fakeInfluxDb(answersOf({ requests: 998 }));
    expect((await verify(source(influxdb), id, count, 2)).requests).toBe(998);
    expect(slept).toEqual(Array(10).fill(500));
    await expect(verify(source(influxdb), id, count, 1)).rejects.toThrow(
      "k6 made 1000 requests, 998 are stored, 2 are missing",
    );
  });

  test("tells k6's count when InfluxDB is gone", async () => {
    const influxdb = await nowhere();
    await expect(
      verify(source({ url: influxdb, database: "k6" }), id, { requests: 7, durationMs: 60_000 }),
    ).rejects.toThrow(
      /^k6 made 7 requests, how many are stored is unknown: InfluxDB does not answer/,
    );
  });

  test("shows the figures so far, once there are any", async () => {
    const influxdb = await fakeInfluxDb(answersOf());
    expect(await progress(source(influxdb), id)).toEqual({
      ...{ requests: 1000, p95Ms: 123.456, failedRate: 0.0021 },
    });
    const empty = await fakeInfluxDb(answersOf({ requests: null, p95: null, failed: null }));
    expect(await progress(source(empty), id)).toBeUndefined();
  });

  test("warns of more series than the limit, and names the tag that makes them", async () => {
    const values = (tag: string) =>
      `SHOW TAG VALUES EXACT CARDINALITY FROM "http_reqs" WITH KEY = "${tag}"`;
    const influxdb = await fakeInfluxDb({
      ...answersOf({ series: 1007 }),
      'SHOW TAG KEYS FROM "http_reqs"': [["method"], ["url"], ["testid"]],
      [values("method")]: [[1]],
      [values("url")]: [[998]],
      [values("testid")]: [],
    });
    expect(await seriesWarning(source(influxdb), id, 1006)).toBe(
      'the run made 1007 series in InfluxDB, more than 1006: its tag "url" has 998 values',
    );
    expect(await seriesWarning(source(influxdb), id, 1007)).toBeUndefined();
  });
});

test("charts show each panel's points between 0 and its peak, and the run's figure", async () => {
  const points = (...values: (number | null)[]): Answer => values.map((value) => [0, value]);
  const influxdb = await fakeInfluxDb({
    'SELECT percentile("value", 99) FROM "http_req_duration"': points(100, 200, 700),
    'SELECT percentile("value", 95) FROM "http_req_duration"': points(null, 350, 700),
    'SELECT mean("value") FROM "http_req_duration"': [],
    'SELECT sum("value") * 1000 * pow(3000, -1) FROM "http_reqs"': points(16.125, 0, 16.125),
  });
  const summary = summaryOf({}, { endedAt: "2026-01-02T03:06:07.500Z" });
  const shown = await charts({ influxdb, reader: credentials.reader }, summary);
  expect(shown.split("\n").map((line) => line.trim().split(/ {2,}/))).toEqual([
    ["p99", "456.79 ms", "▂▃█", "every 3 s, most 700"],
    ["p95", "123.46 ms", "▁▅█", "every 3 s, most 700"],
    ["average", "42.13 ms", "every 3 s, most 0"],
    ["RPS", "16.67/s", "█▁█", "every 3 s, most 16.13"],
  ]);
  const where =
    ` WHERE "testid" = '${id}' AND time >= 1767323046000ms AND time < 1767323166000ms ` +
    `GROUP BY time(3s, 0ms)`;
  expect([...influxdb.runs]).toEqual([`${where} fill(null)`, `${where} fill(0)`]);
});

describe("waiting for an answer", () => {
  test("ends with any answer, be it an error or a redirection", async () => {
    for (const status of [200, 302, 404, 500]) {
      const location = "http://127.0.0.1:1/";
      const url = await serve((_, response) => response.writeHead(status, { location }).end("x"));
      expect((await waitForAnswer(url, 1)).status).toBe(status);
    }
    expect(slept).toEqual([]);
  });

  test("goes on until an answer is good enough", async () => {
    let asked = 0;
    const url = await serve((_, response) => response.writeHead(++asked < 4 ? 503 : 200).end());
    await waitForAnswer(url, 10, undefined, (response) => response.ok);
    expect(slept).toEqual([200, 200, 200]);
  });

  test("gives up in time, and says what the last problem was", async () => {
    const bad = await serve((_, response) => response.writeHead(503).end());
    await expect(waitForAnswer(bad, 2, undefined, ({ ok }) => ok)).rejects.toThrow(
      new RunFailure(`${bad} gave no good answer for 2 s (status 503)`),
    );
    expect(slept).toHaveLength(10);
    const closed = await nowhere();
    await expect(waitForAnswer(closed, 2)).rejects.toThrow(
      new RunFailure(`${closed} gave no good answer for 2 s (ECONNREFUSED)`),
    );
  });

  test("ends when it is interrupted", async () => {
    const interrupted = new AbortController();
    const waiting = waitForAnswer(await nowhere(), 3600, interrupted.signal);
    interrupted.abort();
    await expect(waiting).rejects.toThrow("This operation was aborted");
  });
});

describe("the gate", () => {
  const { signal } = new AbortController();
  const target = async () => ({
    url: await serve((_, response) => response.writeHead(404).end()),
    version: "1",
  });

  test("opens when the target answers and a point that k6's user writes can be read", async () => {
    const influxdb = await fakeInfluxDb();
    const request = requestFor({ target: await target(), influxdb });
    await expect(gate(request, credentials, signal)).resolves.toBeUndefined();
    expect(influxdb.seen).toEqual([
      {
        user: "k6:write-password",
        path: "/write?db=k6",
        body: `gate value=${Date.parse("2026-01-02T03:04:05.678Z")}`,
      },
      {
        user: "grafana:read-password",
        path: "/query?epoch=ms&db=k6",
        body: new URLSearchParams({ q: 'SELECT last("value") FROM "gate"' }).toString(),
      },
    ]);
  });

  test("opens for a target that tells its health once that is good", async () => {
    const influxdb = await fakeInfluxDb();
    const asked: string[] = [];
    const url = await serve((request, response) => {
      asked.push(request.url ?? "");
      response.writeHead(asked.length < 3 ? 503 : 200).end();
    });
    const target = { url, health: "/health", version: "1" };
    await gate(requestFor({ target, influxdb }), credentials, signal);
    expect(asked).toEqual(["/health", "/health", "/health"]);
    expect(slept).toEqual([200, 200]);
  });

  test("stays shut for a target on a host that nobody allowed, if it is not the stack's own", async () => {
    const influxdb = await fakeInfluxDb();
    const executor: RunRequest["executor"] = {
      ...{ kind: "kubernetes", context: "lab", namespace: "n", serviceAccount: "k6", image: "a:1" },
      ...{ starterImage: "b:2", parallelism: 2, cpu: "1", binary: "k6" },
    };
    const url = "http://192.0.2.1:8080";
    const opened = (target: RunRequest["target"], allowedHosts: string[] = []) =>
      gate(requestFor({ target, influxdb, executor, allowedHosts }), credentials, signal);
    await expect(opened({ url, version: "1" })).rejects.toThrow(
      new RunFailure(`the target ${url} is on a host that allowedHosts does not name`),
    );
    await opened({ url, version: "1" }, ["192.0.2.1"]);
    // The sample, where it listens for pods.
    await opened({ url, health: "/health", version: "1" });
  });

  test("stays shut for a target that leads to a host that nobody allowed", async () => {
    const influxdb = await fakeInfluxDb();
    const url = await serve((request, response) => {
      const location = { "/": "/a", "/a": "https://shop.example/" }[request.url ?? ""];
      response.writeHead(302, { location }).end();
    });
    const opened = (allowedHosts: string[]) =>
      gate(
        requestFor({ target: { url, version: "1" }, influxdb, allowedHosts }),
        credentials,
        signal,
      );
    await expect(opened([])).rejects.toThrow(
      new RunFailure(
        `the target ${url} redirects to https://shop.example/, a host that allowedHosts does not name`,
      ),
    );
    expect(influxdb.seen).toEqual([]);
  });

  test("stays shut for a target that leads to no URL", async () => {
    const influxdb = await fakeInfluxDb();
    const url = await serve((_, response) =>
      response.writeHead(302, { location: "http://[" }).end(),
    );
    const request = requestFor({ target: { url, version: "1" }, influxdb });
    await expect(gate(request, credentials, signal)).rejects.toThrow(
      new RunFailure(`the target ${url} redirects to http://[, which is no URL`),
    );
  });

  test("opens for a target that leads to itself", async () => {
    const influxdb = await fakeInfluxDb();
    const url = await serve((request, response) => {
      if (request.url === "/") response.writeHead(301, { location: "/home" }).end();
      else response.end("home");
    });
    const request = requestFor({ target: { url, version: "1" }, influxdb });
    await expect(gate(request, credentials, signal)).resolves.toBeUndefined();
  });

  test("stays shut for a target that is not healthy in 30 seconds", async () => {
    const url = await serve((_, response) => response.writeHead(503).end());
    const target = { url, health: "/health", version: "1" };
    await expect(gate(requestFor({ target }), credentials, signal)).rejects.toThrow(
      new RunFailure(
        `the target did not answer: ${url}/health gave no good answer for 30 s (status 503)`,
      ),
    );
  });

  test("stays shut for a target that does not answer in 30 seconds", async () => {
    const influxdb = await fakeInfluxDb();
    const url = await nowhere();
    const request = requestFor({ target: { url, version: "1" }, influxdb });
    await expect(gate(request, credentials, signal)).rejects.toThrow(
      new RunFailure(
        `the target did not answer: ${url} gave no good answer for 30 s (ECONNREFUSED)`,
      ),
    );
    expect(slept.reduce((sum, ms) => sum + ms, 0)).toBe(30_000);
    expect(influxdb.seen).toEqual([]);
  });

  test("stays shut when k6's user may not write", async () => {
    const request = requestFor({ target: await target(), influxdb: await fakeInfluxDb() });
    const writer = { username: "k6", password: "wrong" };
    await expect(gate(request, { ...credentials, writer }, signal)).rejects.toThrow(
      new RunFailure("k6's user cannot write to InfluxDB: authorization failed"),
    );
  });

  test("stays shut when Grafana's user may not read", async () => {
    const url = await serve((request, response) =>
      request.url?.startsWith("/write")
        ? response.writeHead(204).end()
        : response.writeHead(403).end('{"error":"not authorized"}'),
    );
    const influxdb = { url, database: "k6" };
    const request = requestFor({ target: await target(), influxdb });
    await expect(gate(request, credentials, signal)).rejects.toThrow(
      new RunFailure("Grafana's user cannot read from InfluxDB: not authorized"),
    );
  });

  test.each([[[]], [[{ values: [[0, 1]] }]]])(
    "stays shut when what is read, %j, is not what was written",
    async (series) => {
      const url = await serve((request, response) =>
        request.url?.startsWith("/write")
          ? response.writeHead(204).end()
          : response.writeHead(200).end(JSON.stringify({ results: [{ series }] })),
      );
      const influxdb = { url, database: "k6" };
      const request = requestFor({ target: await target(), influxdb });
      await expect(gate(request, credentials, signal)).rejects.toThrow(
        new RunFailure("a point written to InfluxDB could not be read back"),
      );
    },
  );
});

/** What a fake program does. */
interface Does {
  /** Its exit code, when it runs the test. */
  exit?: number;
  /** What it says on standard error, when it runs the test. */
  log?: string;
  /** Runs the test until it is asked to stop. */
  wait?: boolean;
  /** k6's summary export: its metrics, or all of its text. */
  summary?: object | string;
  /** What `docker info` says. */
  system?: string;
  /** A container's hosts file. */
  hosts?: string;
  /** The containers that `docker ps` finds. */
  left?: string;
}

/** Puts a program into `bin`, a shell script that finds its orders beside it. */
function program(name: string, script: string, does: Does): string {
  const file = path.resolve("bin", name);
  fs.mkdirSync("bin", { recursive: true });
  const orders: Record<string, string | undefined> = {
    ...{ exit: `${does.exit ?? 0}`, log: does.log, system: does.system, hosts: does.hosts },
    left: does.left,
    ...{ wait: does.wait ? "" : undefined },
    summary:
      typeof does.summary === "object" ? JSON.stringify({ metrics: does.summary }) : does.summary,
  };
  for (const [order, content] of Object.entries(orders)) {
    fs.rmSync(path.resolve("bin", order), { force: true });
    if (content !== undefined) fs.writeFileSync(path.resolve("bin", order), content);
  }
  const start = `#!/bin/sh\nhere='${path.resolve("bin")}'\n{ printf '%s\\036' "$@"; echo; } >> "$here/calls"\n`;
  fs.writeFileSync(file, start + script, { mode: 0o755 });
  return file;
}

/** The arguments of each call of a fake program. */
const calls = (): string[][] => {
  if (!fs.existsSync("bin/calls")) return [];
  const lines = fs.readFileSync("bin/calls", "utf8").split("\n").slice(0, -1);
  return lines.map((line) => line.split("\x1e").slice(0, -1));
};

const fakeK6 = (does: Does) =>
  program(
    "k6",
    `if [ "$1" = version ]; then
      echo 'k6 v1.8.1 (commit/0123456789, go1.24.4, linux/amd64)'
      exit
    fi
    while [ $# -gt 1 ]; do
      case "$1" in
        --config) config=$2 ;;
        --summary-export) summary=$2 ;;
      esac
      shift
    done
    [ -z "$TMPDIR" ] || ls -l "$TMPDIR" > "$here/left"
    cp "$config" "$here/config.json"
    env | grep '^K6_WEB_' | sort > "$here/env"
    [ ! -e "$here/summary" ] || cp "$here/summary" "$summary"
    echo done
    [ ! -e "$here/log" ] || cat "$here/log" >&2
    if [ -e "$here/wait" ]; then
      trap 'exit 105' INT
      : > "$here/waiting"
      while :; do sleep 0.01; done
    fi
    exit "$(cat "$here/exit")"`,
    does,
  );

const waiting = () => vi.waitUntil(() => fs.existsSync("bin/waiting"), { interval: 5 });

const thresholds = {
  http_req_duration: ["p(95)<=500", "p(99)<=1000"],
  http_req_failed: ["rate<=0.01"],
  checks: ["rate>=0.99"],
  dropped_iterations: ["count<=0"],
  http_reqs: ["count>=1"],
};
/** k6's configuration file, but for the store. */
const options = () => {
  const {
    scenarios: _,
    discardResponseBodies: __,
    ...rest
  } = k6Options(defaultProfile, defaultThresholds);
  return { ...rest, thresholds };
};
const environment = [
  `PROFILE={"rate":1000,"timeUnit":"1m","duration":"1m","preAllocatedVUs":100,"maxVUs":1000,` +
    `"userIdBase":41593,"userCount":1000,"couponId":1}`,
  `THRESHOLDS={"p95Ms":500,"p99Ms":1000,"failedRate":0.01,"checksRate":0.99,"droppedIterations":0}`,
];

describe("k6 on this machine", () => {
  const { signal } = new AbortController();
  const executor = (binary: string) =>
    executorFor(requestFor({ executor: { kind: "local", binary } }), credentials);

  test("tells its version", async () => {
    expect(await executor(fakeK6({})).version(signal)).toBe("v1.8.1");
    expect(calls()).toEqual([["version"]]);
  });

  test("that is not there is told with its name", async () => {
    const binary = path.resolve("no-k6");
    await expect(executor(binary).version(signal)).rejects.toThrow(
      new RunFailure(`k6 cannot be started (${binary}): spawn ${binary} ENOENT`),
    );
  });

  test("runs with this command line, and no password in it", async () => {
    fs.mkdirSync("out");
    const ends = await executor(fakeK6({ summary: {} })).run(id, "out", signal);
    expect(ends).toEqual([{ dir: "out", exitCode: 0 }]);
    const [[run, flag, config, ...rest]] = calls();
    expect([run, flag, config]).toEqual(["run", "--config", "/dev/stdin"]);
    expect(rest).toEqual([
      ...["--out", "influxdb", "--tag", `testid=${id}`],
      ...["--summary-export", "out/k6-summary.json", "--no-color", "--no-usage-report"],
      ...["--env", "BASE_URL=http://127.0.0.1:8080"],
      ...["--env", environment[0], "--env", environment[1]],
      path.resolve("k6/coupon-issue.ts"),
    ]);
    expect(rest.join(" ")).not.toMatch(/password/i);
  });

  test("has its store and options in a file that has no name any more", async () => {
    fs.mkdirSync("out");
    fs.mkdirSync("temporary");
    vi.stubEnv("TMPDIR", path.resolve("temporary"));
    await executor(fakeK6({})).run(id, "out", signal);
    expect(JSON.parse(fs.readFileSync("bin/config.json", "utf8"))).toEqual({
      ...options(),
      collectors: {
        influxdb: {
          ...{ addr: "http://127.0.0.1:8086", db: "k6" },
          ...{ username: "k6", password: "write-password" },
        },
      },
    });
    expect(fs.readFileSync("bin/left", "utf8")).toBe("total 0\n");
  });

  test("writes its own HTML report and serves no page", async () => {
    fs.mkdirSync("out");
    await executor(fakeK6({})).run(id, "out", signal);
    expect(fs.readFileSync("bin/env", "utf8").trim().split("\n")).toEqual([
      "K6_WEB_DASHBOARD=true",
      "K6_WEB_DASHBOARD_EXPORT=out/report.html",
      "K6_WEB_DASHBOARD_PERIOD=1s",
      "K6_WEB_DASHBOARD_PORT=-1",
    ]);
  });

  test("gives its exit code, and all it prints is kept", async () => {
    fs.mkdirSync("out");
    const ends = await executor(fakeK6({ exit: 99, log: "failed" })).run(id, "out", signal);
    expect(ends).toEqual([{ dir: "out", exitCode: 99 }]);
    expect(fs.readFileSync("out/k6.log", "utf8").trim().split("\n").sort()).toEqual([
      ...["done", "failed"],
    ]);
  });

  test("is asked to stop when the run is interrupted", async () => {
    fs.mkdirSync("out");
    const interrupted = new AbortController();
    const ended = executor(fakeK6({ wait: true })).run(id, "out", interrupted.signal);
    await waiting();
    interrupted.abort();
    expect(await ended).toEqual([{ dir: "out", exitCode: 105 }]);
  });

  test("that cannot be started leaves no file with a password", async () => {
    fs.mkdirSync("out");
    vi.stubEnv("TMPDIR", folder);
    await expect(executor(path.resolve("no-k6")).run(id, "out", signal)).rejects.toThrow("ENOENT");
    expect(fs.readdirSync(folder).sort()).toEqual(["k6", "out"]);
  });
});

describe("k6 in Docker", () => {
  const { signal } = new AbortController();
  const choice: ExecutorChoice = { kind: "docker", image: "grafana/k6:1.8.1", network: "net" };
  const sample = { url: "http://127.0.0.1:8080", networkUrl: "http://api:8080", version: "1" };
  const store = {
    ...{ url: "http://127.0.0.1:8086", networkUrl: "http://influxdb:8086", database: "k6" },
  };
  const container = `${id}-k6`;

  function executor(does: Does, more: Partial<RunRequest> = {}) {
    program(
      "docker",
      `case "$*" in
        "info "*) cat "$here/system" ;;
        "run "*" version") echo 'k6 v1.8.1 (go1.24.4, linux/amd64)' ;;
        "run "*) cat "$here/hosts" ;;
        "ps "*) [ ! -e "$here/left" ] || cat "$here/left" ;;
        "cp - "*) cat > "$here/in.tar" ;;
        "cp "*) cat "$here/out.tar" ;;
        "start "*)
          echo done
          [ ! -e "$here/log" ] || cat "$here/log" >&2
          if [ -e "$here/wait" ]; then
            : > "$here/waiting"
            while [ ! -e "$here/killed" ]; do sleep 0.01; done
            exit 105
          fi
          exit "$(cat "$here/exit")" ;;
        "kill "*) : > "$here/killed" ;;
      esac`,
      does,
    );
    vi.stubEnv("PATH", [path.resolve("bin"), process.env.PATH].join(path.delimiter));
    fs.mkdirSync("out");
    const request = { executor: choice, target: sample, influxdb: store, ...more };
    return executorFor(requestFor(request), credentials);
  }

  /** What the container has written. */
  async function leave(files: Record<string, string>) {
    const pack = tar.pack();
    pack.entry({ name: "./", type: "directory" });
    for (const [name, content] of Object.entries(files)) pack.entry({ name: `./${name}` }, content);
    pack.finalize();
    fs.writeFileSync("bin/out.tar", await buffer(pack));
  }

  /** What was copied into the container, by name. */
  async function copied() {
    const files: Record<string, { mode?: number; content: string }> = {};
    const extract = tar.extract();
    fs.createReadStream("bin/in.tar").pipe(extract);
    for await (const entry of extract) {
      const { name, mode } = entry.header;
      files[name] = { mode, content: await text(entry) };
    }
    return files;
  }

  const platform = (name: NodeJS.Platform) =>
    vi.spyOn(process, "platform", "get").mockReturnValue(name);
  afterEach(() => void vi.restoreAllMocks());

  test("tells its version without a network", async () => {
    expect(await executor({}).version(signal)).toBe("v1.8.1");
    expect(calls()).toEqual([["run", "--rm", "--network", "none", "grafana/k6:1.8.1", "version"]]);
  });

  test("is made, filled, started, emptied and removed, in the stack's network", async () => {
    const docker = executor({});
    await leave({});
    expect(await docker.run(id, "out", signal)).toEqual([{ dir: "out", exitCode: 0 }]);
    const memory = `${1024 + 5 * defaultProfile.maxVUs}m`;
    expect(calls()).toEqual([
      ["ps", "--all", "--quiet", "--filter", "label=coupon-load-test.stack=dev"],
      [
        ...["create", "--name", container, "--label", "coupon-load-test.stack=dev"],
        ...["--network", "net", "--cap-drop", "ALL"],
        ...["--security-opt", "no-new-privileges"],
        ...["--read-only", "--tmpfs", "/tmp", "--volume", "/load-test"],
        ...["--memory", memory, "--memory-swap", memory, "--pids-limit", "1024"],
        ...["--env", "K6_WEB_DASHBOARD=true", "--env", "K6_WEB_DASHBOARD_PORT=-1"],
        ...["--env", "K6_WEB_DASHBOARD_PERIOD=1s"],
        ...["--env", "K6_WEB_DASHBOARD_EXPORT=/load-test/out/report.html"],
        ...["--env", "K6_AUTO_EXTENSION_RESOLUTION=false"],
        ...["--env", "NO_PROXY=*"],
        "grafana/k6:1.8.1",
        ...["run", "--config", "/load-test/config.json", "--out", "influxdb"],
        ...["--tag", `testid=${id}`, "--summary-export", "/load-test/out/k6-summary.json"],
        ...["--no-color", "--no-usage-report", "--env", "BASE_URL=http://api:8080"],
        ...["--env", environment[0], "--env", environment[1]],
        "/load-test/script/coupon-issue.ts",
      ],
      ["cp", "-", `${container}:/load-test`],
      ["start", "--attach", container],
      ["cp", `${container}:/load-test/out/.`, "-"],
      ["rm", "--force", "--volumes", container],
    ]);
    expect(JSON.stringify(calls())).not.toMatch(/write-password/);
  });

  test("removes what killed runs have left before it is made", async () => {
    const docker = executor({ left: "0a1b\n2c3d\n" });
    await leave({});
    await docker.run(id, "out", signal);
    const [, second, third] = calls();
    expect(second).toEqual(["rm", "--force", "--volumes", "0a1b", "2c3d"]);
    expect(third[0]).toBe("create");
  });

  test("gets its script's folder and its configuration, readable by any user", async () => {
    fs.mkdirSync("k6/data");
    fs.writeFileSync("k6/data/users.csv", "1,2");
    const docker = executor({});
    await leave({});
    await docker.run(id, "out", signal);
    const { "config.json": config, out, ...scripts } = await copied();
    expect(out.mode).toBe(0o777);
    expect(config.mode).toBe(0o444);
    expect(JSON.parse(config.content)).toEqual({
      ...options(),
      collectors: {
        influxdb: {
          ...{ addr: "http://influxdb:8086", db: "k6" },
          ...{ username: "k6", password: "write-password" },
        },
      },
    });
    expect(scripts).toEqual({
      "script/coupon-issue.ts": { mode: 0o444, content: "export default function () {}" },
      "script/data/users.csv": { mode: 0o444, content: "1,2" },
    });
  });

  test("leaves its files and its output in the run's folder", async () => {
    const docker = executor({ exit: 99, log: "failed" });
    await leave({ "k6-summary.json": "{}", "report.html": "<html>" });
    expect(await docker.run(id, "out", signal)).toEqual([{ dir: "out", exitCode: 99 }]);
    expect(fs.readdirSync("out").sort()).toEqual(["k6-summary.json", "k6.log", "report.html"]);
    expect(fs.readFileSync("out/report.html", "utf8")).toBe("<html>");
    expect(fs.readFileSync("out/k6.log", "utf8").trim().split("\n").sort()).toEqual([
      ...["done", "failed"],
    ]);
  });

  test("is asked to stop when the run is interrupted, and removed", async () => {
    const docker = executor({ wait: true });
    await leave({});
    const interrupted = new AbortController();
    const ended = docker.run(id, "out", interrupted.signal);
    await waiting();
    interrupted.abort();
    expect(await ended).toEqual([{ dir: "out", exitCode: 105 }]);
    expect(calls()).toContainEqual(["kill", "--signal", "INT", container]);
    expect(calls().at(-1)).toEqual(["rm", "--force", "--volumes", container]);
  });

  test.each([
    ["a target outside", { target: { url: "http://127.0.0.1:9000", version: "external" } }],
    ["a script that may name localhost", { script: "k6/other.js" }],
  ])("shares the network of a Linux machine for %s", async (_, more) => {
    fs.writeFileSync("k6/other.js", "");
    platform("linux");
    const docker = executor({ system: "Debian GNU/Linux 12" }, more);
    await leave({});
    await docker.run(id, "out", signal);
    const [info, , create] = calls();
    const target = "target" in more ? more.target! : sample;
    expect(info).toEqual(["info", "--format", "{{.OperatingSystem}}"]);
    expect(create[create.indexOf("--network") + 1]).toBe("host");
    expect(create).toContain(`BASE_URL=${target.url}`);
    const { collectors, hosts } = JSON.parse((await copied())["config.json"].content);
    expect(collectors.influxdb.addr).toBe("http://127.0.0.1:8086");
    expect(hosts).toBeUndefined();
  });

  test.each<[NodeJS.Platform, string]>([
    ["darwin", "Docker Desktop"],
    ["linux", "Docker Desktop"],
    ["darwin", "Alpine Linux v3.20"],
  ])("is told on %s with %s that localhost is the machine", async (name, system) => {
    platform(name);
    const hosts = "127.0.0.1\tlocalhost\n192.168.65.254\thost.docker.internal\n";
    const target = { url: "http://127.0.0.1:9000", version: "external" };
    const docker = executor({ system, hosts }, { target });
    await leave({});
    await docker.run(id, "out", signal);
    const [, host, , create] = calls();
    expect(host).toEqual([
      ...["run", "--rm", "--add-host", "host.docker.internal:host-gateway"],
      ...["--entrypoint", "cat", "grafana/k6:1.8.1", "/etc/hosts"],
    ]);
    expect(create[create.indexOf("--network") + 1]).toBe("net");
    expect(create).toContain("BASE_URL=http://localhost:9000");
    const config = JSON.parse((await copied())["config.json"].content);
    expect(config.hosts).toEqual({ localhost: "192.168.65.254" });
    expect(config.collectors.influxdb.addr).toBe("http://influxdb:8086");
  });

  test("fails where Docker does not name its host", async () => {
    platform("darwin");
    const target = { url: "http://127.0.0.1:9000", version: "external" };
    const docker = executor({ system: "Docker Desktop", hosts: "127.0.0.1 localhost" }, { target });
    await expect(docker.run(id, "out", signal)).rejects.toThrow(
      new RunFailure("Docker does not name its host (host.docker.internal)"),
    );
  });
});

describe("a run", () => {
  const { signal } = new AbortController();
  const summary = { http_reqs: { count: 1000, rate: 1000 / 60 } };

  /** Runs the test with a k6 that does this, and an InfluxDB that says this. */
  async function run(
    does: Does,
    figures: Parameters<typeof answersOf>[0] = {},
    more: Partial<RunRequest> = {},
    interrupted = signal,
    answers: Record<string, Answer> = {},
  ) {
    const binary = fakeK6(does);
    const url = await serve((_, response) => response.writeHead(404).end());
    const { seen, ...influxdb } = await fakeInfluxDb({ ...answersOf(figures), ...answers });
    const request = requestFor({
      executor: { kind: "local", binary },
      target: { url, version: "1" },
      influxdb,
      dashboardUrl: "http://127.0.0.1:3000/d/coupon-issue",
      ...more,
    });
    const said: string[] = [];
    const ended = await runLoadTest(
      request,
      credentials,
      (line) => said.push(line),
      interrupted,
    ).then(
      (result) => ({ result, failure: undefined }),
      (error) => ({ result: undefined, failure: error as Error }),
    );
    return { ...ended, said, seen };
  }

  const dir = `runs/${id}`;
  const recorded = (): Summary => JSON.parse(fs.readFileSync(`${dir}/summary.json`, "utf8"));
  const passedResult = {
    ...{ id, verdict: "passed", requests: 1000, rps: 16.67, avgMs: 42.13, p95Ms: 123.46 },
    ...{ p99Ms: 456.79, failedRate: 0.0021, droppedIterations: 0 },
    startedAt: "2026-01-02T03:04:05.999Z",
    endedAt: "2026-01-02T03:05:05.999Z",
    dashboardUrl: `http://127.0.0.1:3000/d/coupon-issue?from=1767323045999&to=1767323105999&var-testid=${id}`,
  };

  test("that keeps every limit passes, and gives its figures", async () => {
    const { result, said } = await run({ summary });
    expect(result).toEqual(passedResult);
    expect(said).toEqual([
      `run ${id}: gate open, k6 v1.8.1 starts (k6/coupon-issue.ts)`,
      `run ${id}: passed, p99 456.79 ms, p95 123.46 ms, average 42.13 ms, 16.67/s`,
    ]);
  });

  test("leaves its record, and is the latest", async () => {
    await run({ summary });
    expect(fs.readdirSync(dir).sort()).toEqual([
      ...["k6-summary.json", "k6.log", "summary.json", "summary.md"],
    ]);
    const { thresholds, ...rest } = recorded();
    expect(rest).toEqual({
      ...{ ...passedResult, regressions: [], warnings: [], k6Version: "v1.8.1" },
    });
    expect(thresholds.map(({ figure, value, passed }) => [figure, value, passed])).toEqual([
      ["p95Ms", 123.46, true],
      ["p99Ms", 456.79, true],
      ["failedRate", 0.0021, true],
      ["checksRate", 0.9979, true],
      ["droppedIterations", 0, true],
      ["requests", 1000, true],
    ]);
    expect(fs.readFileSync(`${dir}/summary.md`, "utf8")).toBe(markdown(recorded()));
    expect(fs.readlinkSync("runs/latest")).toBe(id);
    expect(latestRun("dev")).toEqual(recorded());
  });

  test("whose last iterations k6 cut off says how many", async () => {
    const log = (cut: number) =>
      `running (34.0s), 0/9 VUs, 3 complete and ${cut} interrupted iterations`;
    await run({ summary, log: [log(0), log(7)].join("\n") });
    expect(recorded()).toMatchObject({
      verdict: "passed",
      warnings: [
        "k6 cut off 7 iterations that had not ended: their last requests are in no figure",
      ],
    });
    await run({ summary, log: log(0) });
    expect(recorded().warnings).toEqual([]);
  });

  test("at its limits passes, and just above them fails with each that is broken", async () => {
    const at = { p95: 500, p99: 1000, failed: 0.01, checks: 0.99, dropped: 0 };
    expect((await run({ summary }, at)).result?.verdict).toBe("passed");
    const above = { p95: 500.01, p99: 1000.01, failed: 0.0101, checks: 0.9899, dropped: 1 };
    const { failure } = await run({ summary, exit: 99 }, above);
    expect(failure).toBeInstanceOf(RunFailure);
    expect(failure?.message).toBe(
      "load test failed: p95 500.01 ms is over the limit of 500 ms; " +
        "p99 1000.01 ms is over the limit of 1000 ms; " +
        "failed requests 1.01 % is over the limit of 1 %; " +
        "passed checks 98.99 % is under the limit of 99 %; " +
        "dropped iterations 1 is over the limit of 0",
    );
  });

  test("is judged by exact figures, not by rounded ones", async () => {
    expect((await run({ summary }, { p95: 500.001 })).failure).toBeInstanceOf(RunFailure);
    expect(recorded().thresholds[0]).toMatchObject({ figure: "p95Ms", value: 500, passed: false });
  });

  test("that fails leaves its figures and its reason, too", async () => {
    const { failure, said } = await run({ summary, exit: 99 }, { p99: 1234.5 });
    const reason = "p99 1234.5 ms is over the limit of 1000 ms";
    expect(failure?.message).toBe(`load test failed: ${reason}`);
    expect(recorded()).toMatchObject({ verdict: "failed", reason, p99Ms: 1234.5, requests: 1000 });
    expect(fs.readFileSync(`${dir}/summary.md`, "utf8")).toContain(`**${reason}**`);
    expect(said.at(-1)).toBe(
      `run ${id}: failed, p99 1234.5 ms, p95 123.46 ms, average 42.13 ms, 16.67/s`,
    );
  });

  test("whose points tell of a broken limit fails, though k6 is content", async () => {
    const { failure } = await run({ summary, exit: 0 }, { dropped: 3 });
    expect(failure?.message).toBe("load test failed: dropped iterations 3 is over the limit of 0");
  });

  test("fails by a threshold of the script's own", async () => {
    const http_reqs = { ...summary.http_reqs, thresholds: { "rate>=99": true, "count>=1": false } };
    const { failure } = await run({ summary: { http_reqs }, exit: 99 });
    expect(failure?.message).toBe(
      "load test failed: k6 found a threshold breached: http_reqs: rate>=99",
    );
  });

  test("without a request fails with k6's error", async () => {
    const log = `time="2026-01-02T03:04:05Z" level=error msg="boom"`;
    const { failure } = await run({ summary: { iterations: { count: 3, rate: 1 } }, log });
    expect(failure?.message).toBe("load test failed: k6 made no request: boom");
  });

  test("of a script without checks is not judged by them", async () => {
    const { result } = await run({ summary }, { checks: null });
    expect(result?.verdict).toBe("passed");
    expect(recorded().thresholds.map(({ figure }) => figure)).not.toContain("checksRate");
  });

  test("with many series passes with a warning", async () => {
    const key = (tag: string) =>
      `SHOW TAG VALUES EXACT CARDINALITY FROM "http_reqs" WITH KEY = "${tag}"`;
    const influxdb = await fakeInfluxDb({
      ...answersOf({ series: 30 }),
      'SHOW TAG KEYS FROM "http_reqs"': [["url"]],
      [key("url")]: [[20]],
    });
    const { result } = await run({ summary }, {}, { influxdb, maxSeries: 29 });
    expect(result).toEqual(passedResult);
    expect(recorded().warnings).toEqual([
      'the run made 30 series in InfluxDB, more than 29: its tag "url" has 20 values',
    ]);
  });

  test("whose points are missing fails", async () => {
    const { failure } = await run({ summary }, { requests: 999 });
    const reason =
      "points are missing from InfluxDB: k6 made 1000 requests, 999 are stored, 1 are missing";
    expect(failure?.message).toBe(`load test failed: ${reason}`);
    expect(recorded()).toEqual({
      ...{ id, verdict: "failed", thresholds: [], regressions: [], warnings: [] },
      ...{ k6Version: "v1.8.1", reason },
    });
  });

  describe("in the ledger", () => {
    const ours = identity({ scriptHash: "", profile: defaultProfile });
    const before = (p95Ms: number): Rows => [
      [0, "dev-1", "passed", ours.scenario, ours.profile, 1000, p95Ms],
    ];

    test("is one point, with its outcome in one line, in the policy that is kept", async () => {
      const { seen } = await run({ summary });
      const [written, ...others] = seen.filter(({ body }) => body.startsWith("k6_runs,"));
      expect(others).toEqual([]);
      expect(written.path).toBe("/write?db=k6&rp=history");
      expect(written.body).toMatch(
        new RegExp(`^k6_runs,testid=${id},stack=dev,verdict=passed,scenario=\\w+,profile=\\w+ `),
      );
      expect(written.body).toMatch(
        /p95Ms=123\.456.*p95MsLimit=500.*outcome="passed".* 1767323045999000000$/,
      );
    });

    test("that takes no point is told of; the run is judged all the same", async () => {
      const { result } = await run({ summary }, {}, {}, undefined, {
        k6_runs: { error: "disk full" },
      });
      expect(result?.verdict).toBe("passed");
      expect(recorded().warnings).toEqual([
        "the run is not in the ledger, nor marked on the dashboard: disk full",
      ]);
    });

    test("fails if it got worse than its baseline by more than is allowed", async () => {
      const maxRegression: RunRequest["maxRegression"] = [{ figure: "p95Ms", percent: 10 }];
      const slower = { ledger: before(100) };
      const { failure } = await run({ summary }, {}, { maxRegression }, undefined, slower);
      expect(failure?.message).toBe(
        "load test failed: p95 123.46 ms is more than 10 % worse than the baseline's " +
          "100 ms (run dev-1): the limit is 110 ms",
      );
      const same = { ledger: before(113) };
      const { result } = await run({ summary }, {}, { maxRegression }, undefined, same);
      expect(result?.verdict).toBe("passed");
      expect(recorded().baseline?.id).toBe("dev-1");
    });

    test("is compared with a run that is there, or with none", async () => {
      const { failure } = await run({ summary }, {}, { baseline: "dev-0" });
      expect(failure?.message).toBe(
        `load test failed: configuration key "baseline": ` +
          `there is no run "dev-0" in the ledger; it has none`,
      );
    });
  });

  const manyRequests = { http_reqs: { count: 1_000_000, rate: 1_000_000 / 60 } };

  test("whose few missing points can be coincidences passes with a warning", async () => {
    const { result } = await run({ summary: manyRequests }, { requests: 999_980 });
    expect(result).toMatchObject({ verdict: "passed", requests: 999_980 });
    expect(recorded().warnings).toEqual([
      "InfluxDB took every write, but holds 999980 of 1000000 requests: " +
        "of two that end in the same nanosecond, as some do at this rate, it keeps one",
    ]);
  });

  test("whose writes were refused may miss no point", async () => {
    const log = `time="2026-01-02T03:04:07Z" level=error msg="Couldn't write stats" error="{\\"error\\":\\"full\\"}\\n"`;
    const { failure } = await run({ summary: manyRequests, log }, { requests: 999_999 });
    expect(failure?.message).toBe(
      "load test failed: points are missing from InfluxDB: " +
        "k6 made 1000000 requests, 999999 are stored, 1 are missing; a write failed: full",
    );
  });

  test.each([
    ["EOF", `" error=EOF output=InfluxDBv1`],
    [`see ${dir}/k6.log`, `: something else"`],
  ])("whose writes were refused for a reason in other words says %s", async (why, words) => {
    const log = `time="2026-01-02T03:04:07Z" level=error msg="Couldn't write stats${words}`;
    const { failure } = await run({ summary: manyRequests, log }, { requests: 999_999 });
    expect(failure?.message).toContain(`1 are missing; a write failed: ${why}`);
  });

  test("whose k6 quotes as only Go does fails with its words all the same", async () => {
    const log = `time="2026-01-02T03:04:06Z" level=error msg="\\x1b[31mno \\\"default\\\" export"`;
    const { failure } = await run({ exit: 107, log });
    expect(failure?.message).toBe(
      'load test failed: k6 ended with exit code 107: \\x1b[31mno "default" export',
    );
  });

  test("whose k6 breaks off fails with the last error of its log", async () => {
    const log =
      `time="2026-01-02T03:04:05Z" level=error msg="first"\n` +
      `time="2026-01-02T03:04:06Z" level=error msg="no \\"default\\" export\\nat line 1"\n` +
      `time="2026-01-02T03:04:07Z" level=error msg="Couldn't write stats" output=InfluxDBv1\n` +
      `time="2026-01-02T03:04:08Z" level=warning msg="last"`;
    const { failure } = await run({ exit: 107, log });
    expect(failure?.message).toBe(
      'load test failed: k6 ended with exit code 107: no "default" export',
    );
  });

  test("whose k6 is killed fails with what it could still write", async () => {
    const log = `time="2026-01-02T03:04:06Z" level=error msg="no \\u0061nswer \\N\\u12\x1b at\\x`;
    const { failure } = await run({ exit: 137, log, summary: `{"metrics":{"http_reqs":{"cou` });
    expect(failure?.message).toBe(
      "load test failed: k6 ended with exit code 137: no answer \\N\\u12 at\\x",
    );
  });

  test("whose k6 says nothing in its last error fails with the one before, or its log", async () => {
    const empty = `level=error msg=""`;
    const { failure } = await run({ exit: 1, log: empty });
    expect(failure?.message).toBe(`load test failed: k6 ended with exit code 1: see ${dir}/k6.log`);
    // The log is the same one: no time has gone by.
    const { failure: other } = await run({ exit: 1, log: `level=error msg="full"\n${empty}` });
    expect(other?.message).toBe("load test failed: k6 ended with exit code 1: full");
  });

  test.each([
    { http_reqs: { count: 10, rate: 0 } },
    { http_reqs: { count: -1, rate: 1 } },
    { http_reqs: { count: "10", rate: 1 } },
    { http_reqs: { count: 10, rate: 1e-300 } },
  ])("whose summary is %j counts nothing", async (impossible) => {
    const { failure } = await run({ summary: impossible });
    expect(failure?.message).toBe(`load test failed: k6 ended with exit code 0: see ${dir}/k6.log`);
  });

  test("whose failure has many lines is told in one", async () => {
    const { failure } = await run({ summary }, {}, {}, undefined, {
      'SELECT mean("value") FROM "http_req_duration"': { error: "engine:\n\tno\x1b[2J disk" },
    });
    expect(failure?.message).toBe("load test failed: engine: no [2J disk");
    expect(recorded().reason).toBe("engine: no [2J disk");
  });

  test("whose k6 breaks off with a list of errors fails with all of it", async () => {
    const log = `time="2026-01-02T03:04:05Z" level=error msg="Problems with the options:\\n\\t- a\\n\\t- b"`;
    const { failure } = await run({ exit: 104, log });
    expect(failure?.message).toBe(
      "load test failed: k6 ended with exit code 104: Problems with the options: - a - b",
    );
  });

  test("whose k6 breaks off without a word fails with the place of its log", async () => {
    const { failure } = await run({ exit: 1, summary });
    expect(failure?.message).toBe(`load test failed: k6 ended with exit code 1: see ${dir}/k6.log`);
  });

  test("whose k6 is content but leaves no summary fails", async () => {
    const { failure } = await run({ exit: 0 });
    expect(failure?.message).toBe(`load test failed: k6 ended with exit code 0: see ${dir}/k6.log`);
  });

  test("does not start while the gate is shut", async () => {
    const url = await nowhere();
    const { failure, said } = await run({ summary }, {}, { target: { url, version: "1" } });
    expect(failure?.message).toBe(
      `load test failed: the target did not answer: ` +
        `${url} gave no good answer for 30 s (ECONNREFUSED)`,
    );
    expect(calls()).toEqual([["version"]]);
    expect(said).toEqual([`run ${id}: failed`]);
    expect(latestRun("dev")).toMatchObject({ id, verdict: "failed" });
  });

  test("that is interrupted stops k6 and says so", async () => {
    const interrupted = new AbortController();
    const ended = run({ wait: true, summary }, {}, {}, interrupted.signal);
    await waiting();
    interrupted.abort();
    const { failure } = await ended;
    expect(failure?.message).toBe("load test failed: the run was interrupted");
    expect(recorded()).toMatchObject({ verdict: "failed", reason: "the run was interrupted" });
  });

  test("that is interrupted at the gate says so, and does not start", async () => {
    const interrupted = new AbortController();
    interrupted.abort();
    const { failure } = await run({ summary }, {}, {}, interrupted.signal);
    expect(failure?.message).toBe("load test failed: the run was interrupted");
    expect(recorded()).toMatchObject({ verdict: "failed", reason: "the run was interrupted" });
    expect(fs.readdirSync(dir)).toEqual(["summary.json", "summary.md"]);
    await vi.waitUntil(() => calls().length === 1, { interval: 5 });
    expect(calls()).toEqual([["version"]]);
  });

  test("without a dashboard has no address of one", async () => {
    const { result } = await run({ summary }, {}, { dashboardUrl: undefined });
    expect(result).toMatchObject({ verdict: "passed" });
    expect(JSON.stringify(recorded())).not.toContain("dashboardUrl");
  });
});

describe("the time for a run", () => {
  const announced =
    "scenarios: (100.00%) 1 scenario, 5 max VUs, 10m34s max duration (incl. graceful stop):";
  const profile = { ...defaultProfile, duration: "90s" };

  test("is the profile's duration, 30 s for iterations to end and a minute", () => {
    expect(timeFor(requestFor({ profile }), "")).toEqual({ test: 120, k6: 180 });
  });

  test("is what k6 plans for a script of its own, if that is longer, and three minutes", () => {
    const request = requestFor({ profile, script: "own/test.js" });
    expect(timeFor(request, announced)).toEqual({ test: 634, k6: 814 });
    expect(timeFor(request, "")).toEqual({ test: 120, k6: 300 });
  });
});

describe("the latest run", () => {
  const put = (name: string) => {
    fs.mkdirSync(`runs/${name}`, { recursive: true });
    fs.writeFileSync(`runs/${name}/summary.json`, JSON.stringify({ id: name }));
  };

  test("is none where there are no runs", () => {
    expect(latestRun("dev")).toBeUndefined();
    put("ci-20260102T030405Z");
    expect(latestRun("dev")).toBeUndefined();
  });

  test("is the stack's newest, whatever else is there", () => {
    for (const name of ["dev-20260102T030405Z", "dev-20260102T030406Z", "dev-20251231T235959Z"]) {
      put(name);
    }
    put("dev-2-20270102T030405Z");
    put("ci-20270102T030405Z");
    put("dev-notes");
    expect(latestRun("dev")).toEqual({ id: "dev-20260102T030406Z" });
    expect(latestRun("dev-2")).toEqual({ id: "dev-2-20270102T030405Z" });
  });

  test("is of the stack itself, not of one with a like name", () => {
    put("axb-20260102T030405Z");
    expect(latestRun("a.b")).toBeUndefined();
    put("a.b-20260102T030405Z");
    expect(latestRun("a.b")).toEqual({ id: "a.b-20260102T030405Z" });
  });

  test("has failed when it left no summary, or a part of one", () => {
    const id = "dev-20260102T030405Z";
    fs.mkdirSync(`runs/${id}`, { recursive: true });
    const reason = "the run was killed before it had a verdict";
    expect(latestRun("dev")).toMatchObject({ id, verdict: "failed", reason });
    fs.writeFileSync(`runs/${id}/summary.json`, '{"id": "dev-2026');
    expect(latestRun("dev")).toMatchObject({ id, verdict: "failed", reason });
  });
});

describe("a command of the stack", () => {
  /** Starts a program of `runner/` as the stack does, but in the temporary folder. */
  async function start(file: string, env: Record<string, string>, stdin = "") {
    const tsx = pathToFileURL(require.resolve("tsx")).href;
    const args = ["--import", tsx, path.join(project, file)];
    const child = spawn(process.execPath, args, { env: { ...process.env, ...env } });
    child.stdin.end(stdin);
    const closed = once(child, "close");
    const [out, error] = await Promise.all([text(child.stdout), text(child.stderr)]);
    const [code] = await closed;
    return { code, out, error };
  }

  const loadTest = async (answers: Record<string, Answer>, logins = credentials) => {
    vi.useRealTimers();
    const summary = { http_reqs: { count: 1000, rate: 1000 / 60 } };
    const request = requestFor({
      executor: { kind: "local", binary: fakeK6({ summary }) },
      target: { url: await serve((_, response) => response.end()), version: "1" },
      influxdb: await fakeInfluxDb(answers),
    });
    const env = { LOAD_TEST: JSON.stringify(request) };
    return start("runner/main.ts", env, JSON.stringify(logins));
  };

  test("prints the result of a passed run as its only line, and progress beside it", async () => {
    const { code, out, error } = await loadTest(answersOf());
    expect(code).toBe(0);
    expect(out.split("\n")).toHaveLength(2);
    const { id, verdict, requests } = JSON.parse(out);
    expect([verdict, requests]).toEqual(["passed", 1000]);
    expect(id).toMatch(/^dev-\d{8}T\d{6}Z$/);
    expect(error.trim().split("\n")).toEqual([
      `run ${id}: gate open, k6 v1.8.1 starts (k6/coupon-issue.ts)`,
      `run ${id}: passed, p99 456.79 ms, p95 123.46 ms, average 42.13 ms, 16.67/s`,
    ]);
    expect(fs.readlinkSync("runs/latest")).toBe(id);
  });

  test("fails when the run fails, and ends with the reason", async () => {
    const { code, out, error } = await loadTest(answersOf({ dropped: 7 }));
    expect([code, out]).toEqual([1, ""]);
    expect(error.trim().split("\n").at(-1)).toBe(
      "load test failed: dropped iterations 7 is over the limit of 0",
    );
  });

  test("prints no password of its standard input when it fails", async () => {
    const writer = { username: "k6", password: "wrong-password" };
    const { code, out, error } = await loadTest(answersOf(), { ...credentials, writer });
    expect([code, out]).toEqual([1, ""]);
    expect(error.trim().split("\n").at(-1)).toBe(
      "load test failed: k6's user cannot write to InfluxDB: authorization failed",
    );
    expect(error).not.toMatch(/(wrong|read)-password/);
  });

  test("has a stand-in that prints what it printed last", async () => {
    const env = { PULUMI_COMMAND_STDOUT: '{"id":"dev-1"}\n' };
    expect(await start("runner/print-previous.ts", env)).toEqual({
      ...{ code: 0, out: '{"id":"dev-1"}\n', error: "" },
    });
  });
});
