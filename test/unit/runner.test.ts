import fc from "fast-check";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { buffer, text } from "node:stream/consumers";
import * as tar from "tar-stream";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { run } from "../../dashboards/queries";
import {
  defaultProfile,
  defaultThresholds,
  type Figures,
  parseStages,
  rules,
  withStages,
} from "../../k6/profile";
import { type CountedMetric, type Counts } from "../../runner/counts";
import { Digest } from "../../runner/digest";
import { executorFor } from "../../runner/executor";
import { type Entry, spelled } from "../../runner/entry";
import { gate, waitForAnswer } from "../../runner/gate";
import { identifier, literal, query, write } from "../../runner/influxdb";
import { identity } from "../../runner/ledger";
import { coincidences, prove } from "../../runner/proof";
import { breach, columns, headline, markdown, rounded, table } from "../../runner/report";
import { latestRun, runLoadTest, timeFor } from "../../runner/run";
import { scriptFiles, scriptHash } from "../../runner/script";
import { type ExecutorChoice, RunFailure, type RunRequest, type Summary } from "../../runner/types";
import { measure, seriesWarning } from "../../runner/verify";
import {
  type Answer,
  answersOf,
  closeServers,
  type Counter,
  credentials,
  fakeInfluxDb,
  id,
  mark,
  nowhere,
  requestFor,
  type Rows,
  secretsText,
  serve,
  told,
  toldSummary,
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

describe("a script's files", () => {
  const put = (files: Record<string, string>, root = "scenario") => {
    for (const [name, content] of Object.entries(files)) {
      fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
      fs.writeFileSync(path.join(root, name), content);
    }
    return path.join(root, "test.js");
  };

  const namesOf = (script: string) => scriptFiles(script).files.map(({ name }) => name);

  test("are those that it names, and that those name, from the folder that has all", () => {
    const script = put({
      "app/flows/test.js": `import { a } from "../lib/a.ts"; open('../../data/users.csv');`,
      "app/lib/a.ts": "export const a: string = open(`./b.json`);",
      "app/lib/b.json": `{"c": "./never.txt"}`,
      "app/lib/never.txt": "",
      "data/users.csv": "1,2",
      "app/flows/.env": "TOKEN=1",
      "app/flows/big.log": "",
    }).replace("test.js", "app/flows/test.js");
    expect(scriptFiles(script).script).toBe("app/flows/test.js");
    expect(namesOf(script)).toEqual([
      ...["app/flows/test.js", "app/lib/a.ts", "app/lib/b.json", "data/users.csv"],
    ]);
  });

  test("are all of a folder that a path begins with", () => {
    const script = put({
      "test.js": "open(`./data/${__ENV.NAME}.json`); open('./more/' + name); tag('data', './');",
      "data/a.json": "1",
      "data/deep/b.json": "2",
      "data/node_modules/c.json": "3",
      "more/d.txt": "4",
      "e.txt": "5",
    });
    expect(namesOf(script)).toEqual([
      ...["data/a.json", "data/deep/b.json", "more/d.txt", "test.js"],
    ]);
  });

  test("are found where links lead, under the names that the script has for them", () => {
    const script = put({ "test.js": `import "./linked/a.js";` });
    put({ "a.js": "export default 1" }, "elsewhere");
    fs.symlinkSync(path.resolve("elsewhere"), "scenario/linked");
    const { files } = scriptFiles(script);
    expect(files.map(({ name, content }) => [name, content.toString()])).toEqual([
      ["linked/a.js", "export default 1"],
      ["test.js", `import "./linked/a.js";`],
    ]);
  });

  test("are found of a script that does not compile, too, but none in comments of one that does", () => {
    const files = { "lib.js": "", "old.js": "" };
    expect(namesOf(put({ ...files, "test.js": `import "./lib.js"; const = 1;` }))).toContain(
      "lib.js",
    );
    const script = put({ ...files, "test.js": `// import "./old.js";\nimport "./lib.js";` });
    expect(namesOf(script)).toEqual(["lib.js", "test.js"]);
  });

  test("that cannot be read are told of in one line", () => {
    expect(() => scriptFiles("gone/test.ts")).toThrow(RunFailure);
    expect(() => scriptFiles("gone/test.ts")).toThrow(
      /^the files of the script gone\/test\.ts cannot all be read: ENOENT: /,
    );
  });

  test("have a hash that is the same wherever they are", () => {
    const files = { "test.js": "main", "lib/a.js": "a" };
    expect(scriptHash(put(files, "one"))).toBe(scriptHash(put(files, "two/three")));
    expect(scriptHash(path.resolve("one/test.js"))).toBe(scriptHash("one/test.js"));
    expect(scriptHash("one/test.js")).toMatch(/^[0-9a-f]{64}$/);
  });

  test("keep their hash when only a comment or the layout of code changes", () => {
    const hashOf = (text: string, folder: string) =>
      scriptHash(put({ "test.ts": text }, folder).replace(/js$/, "ts"));
    const one = hashOf("const a: number = 1;\nuse(a);\n", "plain");
    expect(hashOf("/*! of old */\n// new\nconst a: number = 1; use(a) // end\n", "told")).toBe(one);
    expect(hashOf("const a = 2; use(a);", "other")).not.toBe(one);
    const [data, other] = [
      { "test.js": "open('a.csv')", "a.csv": "//1" },
      { "test.js": "open('a.csv')", "a.csv": "//2" },
    ];
    expect(scriptHash(put(data, "data"))).not.toBe(scriptHash(put(other, "data 2")));
  });

  test("have another hash when any of them changes, comes, goes or is renamed", () => {
    const names = (...all: string[]) => all.map((name) => `import "./${name}";`).join("");
    const all: Record<string, string>[] = [
      { "test.js": "main" },
      { "test.js": "main; more" },
      { "test.js": "main;\n  }" },
      { "test.js": "main;\n}" },
      { "test.js": names("a.js", "b.js"), "a.js": "" },
      { "test.js": names("a.js", "b.js"), "b.js": "" },
      { "test.js": names("a.js", "b.js"), "a.js": "", "b.js": "" },
      { "test.js": names("a.js", "b.js"), "a.js": "1", "b.js": "2" },
      { "test.js": names("a/b.js"), "a/b.js": "" },
    ];
    const hashes = all.map((files, index) => scriptHash(put(files, `case-${index}`)));
    expect(new Set(hashes).size).toBe(all.length);
    const [one, two] = [all[0], { ...all[0], "notes.txt": "" }];
    expect(scriptHash(put(one, "alone"))).toBe(scriptHash(put(two, "with more")));
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
  const durationMs = 60_000;
  const counter = (count: number): CountedMetric => ({ type: "counter", values: { count } });
  const counted = (requests: number, more: Counts["metrics"] = {}): Counts => ({
    metrics: { http_reqs: counter(requests), iterations: counter(3), ...more },
    durationMs,
  });
  const proved = (influxdb: Parameters<typeof source>[0], counts: Counts, ...refusals: string[]) =>
    prove(source(influxdb), id, [counts], counts, refusals);
  const measured = (influxdb: Parameters<typeof source>[0], incomplete: string[] = []) =>
    measure(source(influxdb), run(id), {
      ...{ counts: counted(1000), incomplete: new Set(incomplete), range: { from: 0, to: 1 } },
      digest: new Digest(id),
    });

  test("gives the figures of the points, asked for as the reader", async () => {
    const influxdb = await fakeInfluxDb(answersOf());
    expect(await measured(influxdb)).toEqual({
      figures: {
        requests: 1000,
        rps: 1000 / 60,
        avgMs: 42.125,
        p95Ms: 123.456,
        p99Ms: 456.789,
        failedRate: expect.closeTo(0.0021, 12),
        checksRate: 0.9979,
        droppedIterations: 0,
      },
      startedAt: new Date("2026-01-02T03:04:05.999Z"),
      endedAt: new Date("2026-01-02T03:05:05.999Z"),
    });
    expect([...influxdb.runs]).toEqual([` WHERE "testid" = '${id}'`]);
    for (const { user, path } of influxdb.seen) {
      expect([user, path]).toEqual(["grafana:read-password", "/query?epoch=ms&db=k6"]);
    }
  });

  test("gives no figure that was not measured, or is not complete", async () => {
    const nothing = { requests: null, mean: null, p95: null, p99: null, failed: null };
    const influxdb = await fakeInfluxDb(answersOf({ ...nothing, checks: null }));
    expect((await measured(influxdb)).figures).toEqual({ droppedIterations: 0 });
    const some = await measured(await fakeInfluxDb(answersOf()), ["http_req_duration", "checks"]);
    expect(Object.keys(some.figures)).toEqual([
      ...["requests", "rps", "failedRate", "droppedIterations"],
    ]);
  });

  test("waits for points that are on their way", async () => {
    const answers = answersOf({ requests: 990 });
    const influxdb = await fakeInfluxDb(answers);
    const proof = proved(influxdb, counted(1000));
    await vi.waitUntil(() => slept.length === 3, { interval: 1 });
    Object.assign(answers, answersOf());
    const whole = { incomplete: new Set(), problems: [], warning: undefined };
    expect(await proof).toMatchObject(whole);
    expect(new Set(slept)).toEqual(new Set([500]));
  });

  test("fails after five seconds for points that are missing, and says how many", async () => {
    const influxdb = await fakeInfluxDb(answersOf({ requests: 990 }));
    const { problems, incomplete } = await proved(influxdb, counted(1000));
    expect(problems).toEqual([
      "points are missing from InfluxDB: k6 made 1000 requests, 990 are stored, 10 are missing",
    ]);
    expect([...incomplete]).toEqual(["http_reqs"]);
    expect(slept).toEqual(Array(10).fill(500));
    expect((await proved(influxdb, counted(1000), "no space left")).problems[0]).toContain(
      "990 are stored, 10 are missing; a write failed: no space left",
    );
  });

  test("names every metric that is not stored as k6 counted it", async () => {
    const more: Counts["metrics"] = {
      waits: { type: "trend", values: { count: 7 } },
      checks: { type: "rate", values: { passes: 3, fails: 2 } },
      queue: { type: "gauge", values: { value: 2, min: 1, max: 4 } },
      "waits{a:b}": { type: "trend", values: { count: 7 } },
    };
    const { problems } = await proved(await fakeInfluxDb(answersOf()), counted(1000, more));
    expect(problems).toEqual([
      "points are missing from InfluxDB: " +
        "not all is stored of waits (0 of 7), checks (0 of 5), queue (none)",
    ]);
  });

  test("fails for points that k6 did not make", async () => {
    const influxdb = await fakeInfluxDb(answersOf({ requests: 1001 }));
    expect((await proved(influxdb, counted(1000))).problems).toEqual([
      "InfluxDB holds 1001 requests of this run, but k6 made only 1000",
    ]);
    const { http_reqs: _, ...metrics } = counted(0).metrics;
    expect((await proved(influxdb, { metrics, durationMs })).problems).toEqual([
      'InfluxDB holds points of "http_reqs", a metric that k6 does not have',
    ]);
  });

  test("fails for a write that failed, though all is stored", async () => {
    const influxdb = await fakeInfluxDb(answersOf());
    expect((await proved(influxdb, counted(1000), "time-out")).problems).toEqual([
      "a write to InfluxDB failed: time-out",
    ]);
    const zeros: Counts["metrics"] = {
      data_sent: { type: "counter", values: { count: 0 } },
      queue: { type: "gauge", values: { value: 0, min: 0, max: 0 } },
    };
    expect((await proved(influxdb, counted(1000, zeros), "time-out")).problems).toEqual([
      "a write to InfluxDB failed: time-out",
      "how much is stored of data_sent, queue is unknown: k6 does not count their samples",
    ]);
  });

  test("fails for a threshold that no sample was there for, and names it", async () => {
    const thresholds = { "p(95)<1": { ok: true } };
    const counts = counted(1000, {
      "http_reqs{status:404}": { type: "counter", values: { count: 0 }, thresholds },
      waits: { type: "trend", values: { count: 0 }, thresholds },
      dropped_iterations: { type: "counter", values: { count: 0 }, thresholds },
      iterations: { type: "counter", values: { count: 3 }, thresholds },
    });
    const influxdb = await fakeInfluxDb({
      ...answersOf(),
      'SELECT first("value") FROM "http_reqs"': [],
    });
    expect((await proved(influxdb, counts)).problems).toEqual([
      "no sample was there for the threshold on http_reqs{status:404}, waits, " +
        "which k6 then passes",
    ]);
    expect([...influxdb.runs]).toContain(` WHERE "testid" = '${id}' AND "status" = '404'`);
  });

  test.each([
    [0, 0, 0],
    [1000, 60_000, 0],
    [3000, 60_000, 0],
    [10_000, 60_000, 1],
    [100_000, 60_000, 3],
    [1_000_000, 60_000, 57],
  ])("of %d requests in %d ms allows for %d that coincide", (requests, durationMs, allowed) => {
    expect(coincidences(requests, durationMs)).toBe(allowed);
  });

  test("tells k6's count when InfluxDB is gone", async () => {
    const influxdb = { url: await nowhere(), database: "k6" };
    await expect(proved(influxdb, counted(7))).rejects.toThrow(
      /^k6 made 7 requests, how many are stored is unknown: InfluxDB does not answer/,
    );
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
        body: new URLSearchParams({
          q: `SELECT "value" FROM "gate" WHERE "value" = ${Date.parse("2026-01-02T03:04:05.678Z")}`,
        }).toString(),
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
  /** What its summary tells of counters, or all that is told. */
  summary?: Record<string, Counter> | string;
  /** What the script exports. */
  exports?: string;
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
    summary: typeof does.summary === "object" ? toldSummary(does.summary) : does.summary,
    exports: told(does.exports ?? "default,options"),
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
    cat > "$here/entry.js"
    mark=$(grep -o 'told-[0-9a-f]*' "$here/entry.js" | head -n 1 | sed 's/./&~/g; s/~$//')
    told() { [ ! -e "$here/$1" ] || sed "s/${spelled(mark)}/\${mark:-${spelled(mark)}}/" "$here/$1" >&2; }
    if [ "$1" = inspect ]; then
      [ ! -e "$here/refused" ] || { cat "$here/log" >&2; exit "$(cat "$here/exit")"; }
      told exports
      echo '{}'
      exit
    fi
    while [ $# -gt 1 ]; do
      [ "$1" != --config ] || config=$2
      shift
    done
    [ -z "$TMPDIR" ] || ls -l "$TMPDIR" > "$here/left"
    cp "$config" "$here/config.json"
    cp /dev/fd/4 "$here/secrets"
    env | grep '^K6_' | sort > "$here/env"
    echo done
    told summary
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

const environment = [
  `TESTID=${id}`,
  `PROFILE={"rate":1000,"timeUnit":"1m","duration":"1m","preAllocatedVUs":100,"maxVUs":1000,` +
    `"userIdBase":41593,"userCount":1000,"couponId":1}`,
  `THRESHOLDS={"p95Ms":500,"p99Ms":1000,"failedRate":0.01,"checksRate":0.99,"droppedIterations":0}`,
];

/** What k6 is given to run. */
const entry: Entry = ({ script, files }) => `${script} ${files}`;

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
    const ends = await executor(fakeK6({ summary: {} })).run(id, "out", entry, signal);
    expect(ends).toEqual([{ dir: "out", exitCode: 0 }]);
    const [[run, flag, config, ...rest]] = calls();
    expect([run, flag, config]).toEqual(["run", "--config", "/dev/fd/3"]);
    expect(rest).toEqual([
      ...["--out", "influxdb", "--no-color", "--no-usage-report"],
      ...["--include-system-env-vars=false", "--secret-source=file=/dev/fd/4"],
      ...["--env", environment[0], "--env", "BASE_URL=http://127.0.0.1:8080"],
      ...["--env", environment[1], "--env", environment[2], "-"],
    ]);
    const place = `${path.resolve("k6/coupon-issue.ts")} ${path.resolve("out/files")}`;
    expect(fs.readFileSync("bin/entry.js", "utf8")).toBe(place);
    expect(rest.join(" ")).not.toMatch(/password/i);
  });

  test("finds the script's variables in its arguments, when it is read and when it is run", async () => {
    fs.mkdirSync("out");
    const request = requestFor({
      executor: { kind: "local", binary: fakeK6({}) },
      scriptEnv: { TENANT: "acme", LINES: "1\n 2=3" },
    });
    const local = executorFor(request, credentials);
    await local.inspect(id, "out", entry, signal);
    await local.run(id, "out", entry, signal);
    // The fake tells its calls a line each.
    const said = fs.readFileSync("bin/calls", "utf8").split("--env\x1e");
    for (const variable of ["TENANT=acme\x1e", "LINES=1\n 2=3\x1e-\x1e\n"]) {
      expect(said.filter((text) => text.startsWith(variable))).toHaveLength(2);
    }
  });

  test("reads its script without a store, and prints what it declares", async () => {
    fs.mkdirSync("out");
    const end = await executor(fakeK6({})).inspect(id, "out", entry, signal);
    expect(end).toEqual({ dir: "out", exitCode: 0, options: "{}\n" });
    expect(calls()[0].slice(0, 2)).toEqual(["inspect", "--no-color"]);
    expect(calls()[0]).not.toContain("--config");
    expect(fs.readFileSync("out/k6.log", "utf8")).toContain(spelled(mark));
  });

  test("has its store and the script's secrets in files that have no name any more", async () => {
    fs.mkdirSync("out");
    fs.mkdirSync("temporary");
    vi.stubEnv("TMPDIR", path.resolve("temporary"));
    await executor(fakeK6({})).run(id, "out", entry, signal);
    expect(JSON.parse(fs.readFileSync("bin/config.json", "utf8"))).toEqual({
      collectors: {
        influxdb: {
          ...{ addr: "http://127.0.0.1:8086", db: "k6" },
          ...{ username: "k6", password: "write-password" },
        },
      },
    });
    expect(fs.readFileSync("bin/secrets", "utf8")).toBe(secretsText);
    expect(fs.readFileSync("bin/left", "utf8")).toBe("total 0\n");
  });

  test("writes its own HTML report, serves no page, and has no options of this shell", async () => {
    fs.mkdirSync("out");
    vi.stubEnv("K6_VUS", "3");
    vi.stubEnv("K6_BROWSER_HEADLESS", "true");
    await executor(fakeK6({})).run(id, "out", entry, signal);
    expect(fs.readFileSync("bin/env", "utf8").trim().split("\n")).toEqual([
      "K6_AUTO_EXTENSION_RESOLUTION=false",
      "K6_BROWSER_HEADLESS=true",
      "K6_WEB_DASHBOARD=true",
      `K6_WEB_DASHBOARD_EXPORT=${path.resolve("out/k6-report.html")}`,
      "K6_WEB_DASHBOARD_PERIOD=1s",
      "K6_WEB_DASHBOARD_PORT=-1",
    ]);
  });

  test("gives its exit code, and all it prints is kept", async () => {
    fs.mkdirSync("out");
    const ends = await executor(fakeK6({ exit: 99, log: "failed" })).run(id, "out", entry, signal);
    expect(ends).toEqual([{ dir: "out", exitCode: 99 }]);
    expect(fs.readFileSync("out/k6.log", "utf8").trim().split("\n").sort()).toEqual([
      ...["done", "failed"],
    ]);
  });

  test("is asked to stop when the run is interrupted", async () => {
    fs.mkdirSync("out");
    const interrupted = new AbortController();
    const ended = executor(fakeK6({ wait: true })).run(id, "out", entry, interrupted.signal);
    await waiting();
    interrupted.abort();
    expect(await ended).toEqual([{ dir: "out", exitCode: 105 }]);
  });

  test("that cannot be started leaves no file with a password", async () => {
    fs.mkdirSync("out");
    vi.stubEnv("TMPDIR", folder);
    await expect(executor(path.resolve("no-k6")).run(id, "out", entry, signal)).rejects.toThrow(
      "ENOENT",
    );
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
          cat > "$here/entry.js"
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
    expect(await docker.run(id, "out", entry, signal)).toEqual([{ dir: "out", exitCode: 0 }]);
    const memory = `${1024 + 5 * defaultProfile.maxVUs}m`;
    // It looks at k6 and the store besides, at any time.
    const looks = ([command, flag]: string[]) =>
      command === "info" || command === "stats" || flag === "--filter";
    const made = calls().filter((call) => !looks(call));
    expect(made).toEqual([
      ["ps", "--all", "--quiet", "--filter", "label=coupon-load-test.stack=dev"],
      [
        ...["create", "--interactive", "--workdir", "/load-test/script"],
        ...["--name", container, "--label", "coupon-load-test.stack=dev"],
        ...["--network", "net", "--cap-drop", "ALL"],
        ...["--security-opt", "no-new-privileges"],
        ...["--read-only", "--tmpfs", "/tmp", "--volume", "/load-test"],
        ...["--memory", memory, "--memory-swap", memory, "--pids-limit", "1024"],
        ...["--env", "K6_WEB_DASHBOARD=true", "--env", "K6_WEB_DASHBOARD_PORT=-1"],
        ...["--env", "K6_WEB_DASHBOARD_PERIOD=1s"],
        ...["--env", "K6_WEB_DASHBOARD_EXPORT=/load-test/out/k6-report.html"],
        ...["--env", "K6_AUTO_EXTENSION_RESOLUTION=false"],
        ...["--env", "NO_PROXY=*", "--env", "GOGC=400", "--env", "GOMEMLIMIT=5421MiB"],
        "grafana/k6:1.8.1",
        ...["run", "--config", "/load-test/config.json", "--out", "influxdb"],
        ...["--no-color", "--no-usage-report", "--include-system-env-vars=false"],
        "--secret-source=file=/load-test/secrets",
        ...["--env", environment[0], "--env", "BASE_URL=http://api:8080"],
        ...["--env", environment[1], "--env", environment[2], "-"],
      ],
      ["cp", "-", `${container}:/load-test`],
      ["start", "--attach", "--interactive", container],
      ["cp", `${container}:/load-test/out/.`, "-"],
      ["rm", "--force", "--volumes", container],
    ]);
    expect(JSON.stringify(calls())).not.toMatch(/password/);
    expect(fs.readFileSync("bin/entry.js", "utf8")).toBe(
      "/load-test/script/coupon-issue.ts /load-test/out/files",
    );
  });

  test("removes what killed runs have left before it is made", async () => {
    const docker = executor({ left: "0a1b\n2c3d\n" });
    await leave({});
    await docker.run(id, "out", entry, signal);
    const [, second, third] = calls();
    expect(second).toEqual(["rm", "--force", "--volumes", "0a1b", "2c3d"]);
    expect(third[0]).toBe("create");
  });

  test("gets its script's files, its configuration and the secrets, readable by any user", async () => {
    fs.mkdirSync("k6/data");
    fs.writeFileSync("k6/data/users.csv", "1,2");
    fs.writeFileSync("k6/.env", "TOKEN=1");
    fs.writeFileSync("k6/coupon-issue.ts", `open("data/users.csv");`);
    const docker = executor({});
    await leave({});
    await docker.run(id, "out", entry, signal);
    const { "config.json": config, secrets, out, "out/files": files, ...scripts } = await copied();
    expect(secrets).toEqual({ mode: 0o444, content: secretsText });
    expect(files.mode).toBe(0o777);
    expect(out.mode).toBe(0o777);
    expect(config.mode).toBe(0o444);
    expect(JSON.parse(config.content)).toEqual({
      collectors: {
        influxdb: {
          ...{ addr: "http://influxdb:8086", db: "k6" },
          ...{ username: "k6", password: "write-password" },
        },
      },
    });
    expect(scripts).toEqual({
      "script/coupon-issue.ts": { mode: 0o444, content: `open("data/users.csv");` },
      "script/data/users.csv": { mode: 0o444, content: "1,2" },
    });
  });

  test("leaves its files and its output in the run's folder", async () => {
    const docker = executor({ exit: 99, log: "failed" });
    fs.mkdirSync("out/files");
    await leave({ "files/own.json": "{}", "k6-report.html": "<html>" });
    expect(await docker.run(id, "out", entry, signal)).toEqual([{ dir: "out", exitCode: 99 }]);
    expect(fs.readdirSync("out").sort()).toEqual(["files", "k6-report.html", "k6.log"]);
    expect(fs.readFileSync("out/files/own.json", "utf8")).toBe("{}");
    expect(fs.readFileSync("out/k6-report.html", "utf8")).toBe("<html>");
    expect(fs.readFileSync("out/k6.log", "utf8").trim().split("\n").sort()).toEqual([
      ...["done", "failed"],
    ]);
  });

  test("is asked to stop when the run is interrupted, and removed", async () => {
    const docker = executor({ wait: true });
    await leave({});
    const interrupted = new AbortController();
    const ended = docker.run(id, "out", entry, interrupted.signal);
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
    await docker.run(id, "out", entry, signal);
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
    await docker.run(id, "out", entry, signal);
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
    await expect(docker.run(id, "out", entry, signal)).rejects.toThrow(
      new RunFailure("Docker does not name its host (host.docker.internal)"),
    );
  });
});

describe("a run", () => {
  const { signal } = new AbortController();
  const summary = { http_reqs: { count: 1000 } };

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
      ...["k6-summary.json", "k6.log", "report.html", "summary.json", "summary.md"],
    ]);
    const { thresholds, routes, generator: _, ...rest } = recorded();
    expect(routes).toEqual([
      {
        ...{ name: "POST /coupons/{userId}/issue-async", requests: 1000, share: 1, rps: 16.67 },
        ...{ failedRate: 0, avgMs: 42.13, p95Ms: 123.46, p99Ms: 456.79 },
      },
    ]);
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

  test("of our own script without a request fails, since nothing of it was measured", async () => {
    const nothing = { requests: null, mean: null, p95: null, p99: null, failed: null };
    const { failure } = await run({ summary: {} }, { ...nothing, checks: null });
    expect(failure?.message).toBe(
      "load test failed: p95: not measured, so the limit <= 500 ms is not kept; " +
        "p99: not measured, so the limit <= 1000 ms is not kept; " +
        "failed requests: not measured, so the limit <= 1 % is not kept; " +
        "requests: not measured, so the limit >= 1 is not kept",
    );
    expect(recorded()).not.toHaveProperty("requests");
  });

  test("of another script without a request passes by what it has", async () => {
    fs.writeFileSync("k6/other.js", "");
    const nothing = { requests: null, mean: null, p95: null, p99: null, failed: null };
    const script = { script: "k6/other.js" };
    const { result, said } = await run({ summary: {} }, { ...nothing, checks: null }, script);
    expect(result).toMatchObject({ verdict: "passed", droppedIterations: 0 });
    expect(said.at(-1)).toBe(`run ${id}: passed, no HTTP requests in this run`);
  });

  test("without an iteration fails with k6's error", async () => {
    const log = `time="2026-01-02T03:04:05Z" level=error msg="boom"`;
    const idle = { ...summary, iterations: { count: 0 } };
    const { failure } = await run({ summary: idle, log }, { iterations: 0 });
    expect(failure?.message).toBe("load test failed: k6 completed no iteration: boom");
  });

  test("that the script called failed says so, with all figures", async () => {
    const log = ["test marked as failed: sold 101", "test run was marked as failed"]
      .map((text) => `time="2026-01-02T03:04:05Z" level=error msg="${text}"`)
      .join("\n");
    const { failure } = await run({ summary, exit: 110, log });
    expect(failure?.message).toBe(
      "load test failed: k6 ended with exit code 110: the script called the test failed: " +
        "test marked as failed: sold 101",
    );
    expect(recorded()).toMatchObject({ verdict: "failed", requests: 1000, p95Ms: 123.46 });
  });

  test("beside which k6's variables are set says that they are not handed on", async () => {
    vi.stubEnv("K6_DURATION", "3s");
    vi.stubEnv("K6_VUS", "3");
    expect((await run({ summary })).result?.verdict).toBe("passed");
    expect(recorded().warnings).toEqual([
      "K6_DURATION, K6_VUS are set here, and not handed on to k6",
    ]);
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
    expect(recorded()).toMatchObject({ verdict: "failed", reason, p95Ms: 123.46 });
    expect(recorded()).not.toHaveProperty("requests");
  });

  test("is comparable with those of the same variables, in whatever order", () => {
    const of = (scriptEnv?: Record<string, string>) =>
      identity({ scriptHash: "0123456789abcdef", profile: defaultProfile, scriptEnv });
    expect(of().scenario).toBe("0123456789ab");
    expect(of({ A: "1", B: "2" })).toEqual(of({ B: "2", A: "1" }));
    const all = [of(), of({ A: "1" }), of({ A: "2" }), of({ B: "1" })];
    expect(new Set(all.map(({ scenario }) => scenario)).size).toBe(4);
    expect(new Set(all.map(({ profile }) => profile)).size).toBe(1);
  });

  test("is not comparable with those of another shape, though it be as long and as high", () => {
    const of = (stages: string) => {
      const profile = withStages(defaultProfile, parseStages(stages)!);
      return identity({ scriptHash: "", profile }).profile;
    };
    const shapes = ["5s:10,5s:20", "5s:20,5s:10", "5s:20,5s:20"].map(of);
    expect(new Set(shapes).size).toBe(3);
    expect(of("5s:10,5s:20")).toBe(shapes[0]);
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
        /p95Ms=123\.456.*p95MsLimit=500.*outcome="passed".* 1767323045999000000$/m,
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

  const manyRequests = { http_reqs: { count: 1_000_000 } };

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
    const { failure } = await run({
      exit: 137,
      log,
      summary: `level=info msg="${spelled(`${mark} %7B%22metr`)}\n`,
    });
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

  test("whose failure has many lines is told in one", async () => {
    const { failure } = await run({ summary }, {}, {}, undefined, {
      'SELECT percentile("value", 95) FROM "http_req_duration"': {
        error: "engine:\n\tno\x1b[2J disk",
      },
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
    expect(failure?.message).toBe(`load test failed: k6 told no figures: see ${dir}/k6.log`);
  });

  test("does not start while the gate is shut", async () => {
    const url = await nowhere();
    const { failure, said } = await run({ summary }, {}, { target: { url, version: "1" } });
    expect(failure?.message).toBe(
      `load test failed: the target did not answer: ` +
        `${url} gave no good answer for 30 s (ECONNREFUSED)`,
    );
    expect(calls().map(([command]) => command)).not.toContain("run");
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
    expect(fs.readdirSync(dir)).toEqual(["report.html", "summary.json", "summary.md"]);
    await vi.waitUntil(() => calls().length > 0, { interval: 5 });
    expect(calls().map(([command]) => command)).not.toContain("run");
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
    expect(timeFor(requestFor({ profile }), { aroundSeconds: 0 }, "")).toEqual({
      test: 120,
      k6: 180,
    });
  });

  test("is what k6 plans for a script of its own, if that is longer, two minutes and its hooks", () => {
    const request = requestFor({ profile, script: "own/test.js" });
    expect(timeFor(request, { aroundSeconds: 90 }, announced)).toEqual({ test: 634, k6: 844 });
    expect(timeFor(request, { aroundSeconds: 0 }, "")).toEqual({ test: 120, k6: 240 });
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
    const args = [path.join(project, "launch.js"), file];
    const child = spawn(process.execPath, args, { env: { ...process.env, ...env } });
    child.stdin.end(stdin);
    const closed = once(child, "close");
    const [out, error] = await Promise.all([text(child.stdout), text(child.stderr)]);
    const [code] = await closed;
    return { code, out, error };
  }

  const loadTest = async (answers: Record<string, Answer>, logins = credentials) => {
    vi.useRealTimers();
    const summary = { http_reqs: { count: 1000 } };
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

  test("tries a contact, and says why it is not reached", async () => {
    const url = "http://hooks.example/secret";
    const input = { grafana: { url: await nowhere() }, contacts: [{ kind: "webhook", url }] };
    const { code, error } = await start("runner/test-contacts.ts", {}, JSON.stringify(input));
    expect([code, error]).toEqual([1, expect.stringContaining("Grafana does not answer at")]);
  });

  test("has a stand-in that prints what it printed last", async () => {
    const env = { PULUMI_COMMAND_STDOUT: '{"id":"dev-1"}\n' };
    expect(await start("runner/print-previous.ts", env)).toEqual({
      ...{ code: 0, out: '{"id":"dev-1"}\n', error: "" },
    });
  });
});
