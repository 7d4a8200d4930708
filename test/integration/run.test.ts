/**
 * How a run fails: with one line that says why, in `runs/` as on the terminal, and with nothing left
 * running. Each test runs the command that the stack's `LoadTest` starts, on real parts.
 */
import * as fs from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, test, type ExpectStatic } from "vitest";
import { defaultProfile, iterationsOf, parseStages, withStages } from "../../k6/profile";
import { findPart } from "../../rehearsal/parts";
import type { Server } from "../../rehearsal/processes";
import { query } from "../../runner/influxdb";
import { freePort } from "../../runner/ports";
import { asAdmin } from "../../runner/schema";
import type { RunRequest } from "../../runner/types";
import { findParts, Rig, type Ended, type Running, type Store } from "../support/rig";

let missing: string | undefined;
let rig: Rig;
let target: Server;

beforeAll(async () => {
  const found = await findParts();
  if ("missing" in found) return void (missing = found.missing);
  rig = await Rig.start(found.parts);
  target = await rig.startTarget();
}, 600_000);

beforeEach((context) => context.skip(missing !== undefined, missing));
afterAll(() => rig?.stop());

/** What holds after every failed run; gives the reason. */
function failed(
  expect: ExpectStatic,
  { request, k6 }: Running,
  { code, stdout, lastLine, summary, dir }: Ended,
  expectedCode = 1,
): string {
  expect(code).toBe(expectedCode);
  expect(stdout).toBe("");
  expect(summary).toMatchObject({ id: path.basename(dir), verdict: "failed" });
  expect(summary.id).toMatch(new RegExp(`^${request.stack}-\\d{8}T\\d{6}Z$`));
  expect(lastLine).toBe(`load test failed: ${summary.reason}`);
  expect(summary.reason).not.toContain("\n");
  const markdown = fs.readFileSync(path.join(dir, "summary.md"), "utf8");
  expect(markdown).toContain(`### Load test failed: \`${summary.id}\``);
  expect(markdown).toContain(`**${summary.reason}**`);
  expect(k6()).toEqual([]);
  return summary.reason!;
}

/** The result, unless it takes longer. */
function within<T>(seconds: number, result: Promise<T>): Promise<T> {
  const late = sleep(seconds * 1000, undefined, { ref: false }).then(() => {
    throw new Error(`it took more than ${seconds} s`);
  });
  return Promise.race([result, late]);
}

/** Writes a script beside those of the rig. */
function script(name: string, text: string): string {
  const file = path.join(rig.folder, name);
  fs.writeFileSync(file, text);
  return file;
}

/** What k6 counted itself. */
const made = ({ dir }: Ended): number =>
  JSON.parse(fs.readFileSync(path.join(dir, "k6-summary.json"), "utf8")).metrics.http_reqs.count;

const log = ({ dir }: Ended) => fs.readFileSync(path.join(dir, "k6.log"), "utf8");

describe.concurrent("a run", () => {
  /** Starts a run with this rig's target and a database of its own. */
  async function start(changed: Partial<RunRequest> = {}) {
    const store = await rig.store();
    return { ...rig.start(rig.request(store, target.url, changed), store), store };
  }

  /** Starts a run that must fail. */
  async function failure(expect: ExpectStatic, changed: Partial<RunRequest>) {
    const running = await start(changed);
    const ended = await running.ended;
    return { ...ended, reason: failed(expect, running, ended) };
  }

  test("that keeps its limits passes, to compare with", async ({ expect }) => {
    const running = await start();
    const { code, stdout, lines, summary, dir } = await running.ended;
    expect(lines.join("\n")).toContain(": passed, p99 ");
    expect({ code, verdict: summary.verdict }).toEqual({ code: 0, verdict: "passed" });
    expect(JSON.parse(stdout)).toMatchObject({ id: path.basename(dir), verdict: "passed" });
    expect(summary).not.toHaveProperty("reason");
    expect(running.k6()).toEqual([]);
  });

  test("of a shape makes as many requests as the area below it", async ({ expect }) => {
    const stages = parseStages("1s:40,2s:40,0s:80,1s:0")!;
    const profile = withStages({ ...defaultProfile, timeUnit: "1s" }, stages);
    const running = await start({ profile });
    const { code, summary } = await running.ended;
    expect([code, summary.verdict]).toEqual([0, "passed"]);
    expect(Math.abs(summary.requests! - iterationsOf(profile))).toBeLessThanOrEqual(2);
  });

  test("by k6 1 passes as one by k6 2 does", async ({ expect, skip }) => {
    const binary = findPart("k6", /k6(\.exe)? v1\./);
    // Where there is no k6 at all, k6 1 is built, and every test here runs with it.
    if (!binary) return skip("the k6 of this machine is not k6 1");
    const running = await start({ executor: { kind: "local", binary } });
    const { code, summary } = await running.ended;
    expect([code, summary.verdict, summary.warnings]).toEqual([0, "passed", []]);
    expect(summary.k6Version).toMatch(/^v1\./);
  });

  test("that got worse than the one before fails, and the ledger holds both", async ({
    expect,
  }) => {
    const first = await start();
    expect(await first.ended).toMatchObject({ code: 0 });
    // Half the rate is another profile, so the first run is not its baseline by itself.
    const profile = { ...first.request.profile, rate: 25 };
    const again = (changed: Partial<RunRequest>) =>
      rig.start({ ...first.request, ...changed, profile }, first.store);
    const baseline = path.basename((await first.ended).dir);
    const maxRegression = [{ figure: "rps" as const, percent: 10 }];
    const slower = again({ baseline, maxRegression });
    const ended = await slower.ended;
    expect(failed(expect, slower, ended)).toMatch(
      new RegExp(
        `^RPS 2[\\d.]+/s is more than 10 % worse than the baseline's [45][\\d.]+/s .run ${baseline}.: `,
      ),
    );
    expect(ended.summary.warnings).toEqual([
      `the baseline ${baseline} ran another scenario or profile`,
    ]);

    const unknown = again({ baseline: "nobody" });
    const refused = await unknown.ended;
    expect(failed(expect, unknown, refused)).toContain(
      `configuration key "baseline": there is no run "nobody" in the ledger; the newest`,
    );
    expect(refused.summary.requests).toBeUndefined();

    const all = `SELECT "testid", "requests", "outcome" FROM "history"."k6_runs"`;
    const [[{ values }]] = await rig.ask(first.store.database, all);
    expect(values.map(([, id]) => id)).toEqual([
      baseline,
      path.basename(ended.dir),
      path.basename(refused.dir),
    ]);
    // 200 or one more, and half of that: k6 may begin an iteration at both ends of the time.
    const { requests } = (await first.ended).summary;
    expect(values.map(([, , stored]) => stored)).toEqual([requests, ended.summary.requests, null]);
    expect(ended.summary.requests! / requests!).toBeCloseTo(0.5, 1);
  });

  test("is judged though its ledger cannot be written", async ({ expect }) => {
    const running = await start();
    await running.stored(1);
    await rig.ask(
      running.store.database,
      `DROP RETENTION POLICY "history" ON "${running.store.database}"`,
    );
    const { code, summary } = await running.ended;
    expect([code, summary.verdict]).toEqual([0, "passed"]);
    expect(summary.warnings).toEqual([
      expect.stringMatching(
        /^the run is not in the ledger, nor marked on the dashboard: .*history/,
      ),
    ]);
  });

  test("does not start when InfluxDB does not know the writer's password", async ({ expect }) => {
    const store = await rig.store();
    const { writer, reader } = store.credentials;
    const wrong = { writer: { ...writer, password: "wrong" }, reader };
    const running = rig.start(rig.request(store, target.url), { ...store, credentials: wrong });
    const ended = await running.ended;
    expect(failed(expect, running, ended)).toBe(
      "k6's user cannot write to InfluxDB: authorization failed",
    );
    expect(ended.summary.requests).toBeUndefined();
    expect(fs.readdirSync(ended.dir).sort()).toEqual([
      ...["report.html", "summary.json", "summary.md"],
    ]);
  });

  test("does not start when InfluxDB does not know the reader's password", async ({ expect }) => {
    const store = await rig.store();
    const { writer, reader } = store.credentials;
    const wrong = { writer, reader: { ...reader, password: "wrong" } };
    const running = rig.start(rig.request(store, target.url), { ...store, credentials: wrong });
    expect(failed(expect, running, await running.ended)).toBe(
      "Grafana's user cannot read from InfluxDB: authorization failed",
    );
  });

  test("whose script lasts longer than its points are kept is refused", async ({ expect }) => {
    const stages = `[{ duration: "30m", target: 1 }, { duration: "24h", target: 1 }]`;
    const text = `
      export const options = { scenarios: {
        short: { executor: "shared-iterations" },
        long: { executor: "ramping-vus", startTime: "10m", stages: ${stages} },
      } };
      export default function () {}`;
    const store = await rig.store();
    await rig.ask("", `ALTER RETENTION POLICY "autogen" ON "${store.database}" DURATION 24h`);
    const request = rig.request(store, target.url, { script: script("of-a-day.js", text) });
    const running = rig.start(request, store);
    expect(failed(expect, running, await running.ended)).toBe(
      "the script's test lasts 88800 s, but its points are kept for 24h0m0s alone: set a longer retention",
    );
  });

  test(
    "with more values of a tag than InfluxDB takes names the tag, and leaves room for the next",
    {
      timeout: 180_000,
    },
    async ({ expect }) => {
      const users = (count: number) => `
      import exec from "k6/execution";
      import { sleep } from "k6";
      import { Counter } from "k6/metrics";
      export const options = { iterations: 3 };
      const orders = new Counter("orders");
      // InfluxDB looks at the bound before each write, and k6 writes once a second: one iteration each,
      // or a part of it.
      export default function () {
        const first = exec.scenario.iterationInTest * 6000;
        for (let user = first; user < first + 6000; user++) {
          orders.add(1, { user: String(user % ${count}) });
        }
        sleep(1.5);
      }`;
      const store = await rig.store();
      const run = (name: string, count: number) =>
        rig.start(rig.request(store, target.url, { script: script(name, users(count)) }), store);
      const wide = run("each-user.js", 18_000);
      const ended = await wide.ended;
      expect(failed(expect, wide, ended)).toMatch(
        /^points are missing from InfluxDB: not all is stored of .*orders \(in sum 1[0-7]\d{3} of 18000\).*; a write failed: partial write: max-values-per-tag limit exceeded \(1\d+\/10000\): measurement="orders" tag="user" /,
      );
      expect(ended.summary.warnings).toEqual([
        expect.stringMatching(
          /^the run made 1\d+ series in InfluxDB, .* its tag "user" has 1\d+ v/,
        ),
        "the points of these metrics are removed from InfluxDB, so that the next run has room",
      ]);
      const { code, summary } = await run("groups-of-users.js", 3).ended;
      expect([code, summary.verdict, summary.reason]).toEqual([0, "passed", undefined]);
    },
  );

  test("whose points are refused half-way says how many are missing", async ({ expect }) => {
    const running = await start();
    const { database, credentials } = running.store;
    await running.stored(10);
    await rig.ask("", `REVOKE WRITE ON "${database}" FROM "${credentials.writer.username}"`);
    const ended = await running.ended;
    await tellsMissing(expect, rig, running.store, ended, failed(expect, running, ended));
  });

  test("does not start without a target", async ({ expect }) => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const running = await start({ target: { url, version: "" } });
    expect(failed(expect, running, await running.ended)).toBe(
      `the target did not answer: ${url} gave no good answer for 30 s (ECONNREFUSED)`,
    );
  });

  test("that waits for its target can be interrupted", async ({ expect }) => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const running = await start({ target: { url, version: "" } });
    const started = () => fs.existsSync(path.join(running.folder, "runs"));
    await expect.poll(started, { timeout: 20_000 }).toBe(true);
    running.process.kill("SIGINT");
    const ended = await within(10, running.ended);
    expect(failed(expect, running, ended)).toBe("the run was interrupted");
  });

  test("whose target dies half-way breaks its limits", async ({ expect }) => {
    const mortal = await rig.startTarget();
    const running = await start({ target: { url: mortal.url, version: "" } });
    await running.stored(10);
    mortal.process.kill("SIGKILL");
    const ended = await running.ended;
    expect(failed(expect, running, ended)).toMatch(
      /^failed requests [\d.]+ % is over the limit of 1 %; passed checks [\d.]+ % is under the limit of 99 %$/,
    );
    const { requests, failedRate } = ended.summary;
    expect(requests).toBe(made(ended));
    expect(failedRate).toBeGreaterThan(0.01);
    expect(failedRate).toBeLessThan(1);
  });

  test("of a script with a syntax error names the line", async ({ expect }) => {
    const file = script("syntax.js", "export default function () {\n  const = 1;\n}");
    const { reason } = await failure(expect, { script: file });
    expect(reason).toMatch(
      /^k6 ended with exit code 107: file:.*syntax\.js: Line 2:9 Unexpected token =/,
    );
  });

  test("of a script that throws at its start says what", async ({ expect }) => {
    // Colours, since Go writes the escape character as JSON does not.
    const file = script("throws.js", `throw new Error("\\u001b[31mno");\nexport default () => {};`);
    const { reason } = await failure(expect, { script: file });
    expect(reason).toBe("k6 ended with exit code 107: Error: \\x1b[31mno");
  });

  test("of a script that is not there says so", async ({ expect }) => {
    const { reason, dir } = await failure(expect, { script: "k6/absent.ts" });
    const file = path.join(dir, "../../k6/absent.ts");
    expect(reason).toMatch("k6 ended with exit code 107: The moduleSpecifier ");
    expect(reason).toContain(`"file://${file}" couldn't be found on local disk.`);
  });

  test("of a script that cannot be read says so", async ({ expect }) => {
    const { reason, dir } = await failure(expect, { script: "k6" });
    const file = path.join(dir, "../../k6");
    expect(reason).toBe(`k6 ended with exit code 107: read ${file}: is a directory`);
  });

  test("of a script without requests is judged by what it has", async ({ expect }) => {
    const running = await start({ script: script("idle.js", "export default function () {}") });
    const { code, summary, lines } = await running.ended;
    expect([code, summary.verdict]).toEqual([0, "passed"]);
    expect(lines.at(-1)).toMatch(/passed, no HTTP requests in this run$/);
    for (const figure of ["requests", "rps", "p95Ms", "failedRate"]) {
      expect(summary).not.toHaveProperty(figure);
    }
  });

  test("gives its script variables and secrets, and leaves no secret behind", async ({
    expect,
  }) => {
    const file = script(
      "secrets.js",
      `import { check } from "k6";
       import secrets from "k6/secrets";
       const early = await secrets.get("PIN");
       export const options = { iterations: Number(__ENV.ROUNDS) };
       export default async function () {
         const token = await secrets.get("TOKEN");
         const word = await secrets.get("WORD");
         check(null, {
           variable: () => __ENV.TENANT === "acme, =\\n쿠폰",
           secrets: () => token === '="a, b"=' && early === "30" && word === "iterations",
           "nothing of the shell": () =>
             ["PATH", "HOME", "LOAD_TEST"].every((name) => __ENV[name] === undefined),
         });
         console.log("the token is " + token + ", the pin " + early);
         if (__ITER === 2) throw new Error("no access with " + token);
       }
       export function handleSummary(data) {
         console.log("known: " + Object.keys(__ENV).sort());
       }`,
    );
    const store = await rig.store();
    store.credentials.secrets = { TOKEN: '="a, b"=', PIN: "30", WORD: "iterations" };
    const scriptEnv = { TENANT: "acme, =\n쿠폰", ROUNDS: "3" };
    const running = rig.start(rig.request(store, target.url, { script: file, scriptEnv }), store);
    const ended = await running.ended;
    const { verdict, reason, warnings } = ended.summary;
    expect({ verdict, reason, warnings }).toEqual({ verdict: "passed", warnings: [] });
    expect(log(ended)).toContain(
      "the token is ***SECRET_REDACTED***, the pin ***SECRET_REDACTED***",
    );
    expect(log(ended)).toContain("known: BASE_URL,PROFILE,ROUNDS,TENANT,TESTID,THRESHOLDS");
    expect(log(ended)).toContain("no access with ***SECRET_REDACTED***");
    const left = fs.readdirSync(ended.dir).map((name) => path.join(ended.dir, name));
    const texts = [
      ended.stdout,
      ...ended.lines,
      ...left.map((name) => fs.readFileSync(name, "utf8")),
    ];
    expect(texts.filter((text) => text.includes(store.credentials.secrets!.TOKEN))).toEqual([]);
  });

  test("of a script whose own threshold is breached names it", async ({ expect }) => {
    const file = script(
      "own-threshold.js",
      `import http from "k6/http";
       export const options = { thresholds: { http_req_duration: ["max<0"] }, iterations: 5 };
       export default function () { http.get(__ENV.BASE_URL + "/health"); }`,
    );
    const ended = await failure(expect, { script: file });
    const { requests, thresholds } = ended.summary;
    expect(ended.reason).toBe("k6 found a threshold breached: http_req_duration: max<0");
    expect(log(ended)).toContain("thresholds on metrics 'http_req_duration' have been crossed");
    expect(requests).toBe(5);
    expect(thresholds.every(({ passed }) => passed)).toBe(true);
  });

  test("without k6 names the command", async ({ expect }) => {
    const { reason } = await failure(expect, { executor: { kind: "local", binary: "no-such-k6" } });
    expect(reason).toBe("k6 cannot be started (no-such-k6): spawn no-such-k6 ENOENT");
  });

  test("whose k6 is killed says so", async ({ expect }) => {
    const running = await start();
    await running.stored(10);
    for (const pid of running.k6()) process.kill(pid, "SIGKILL");
    const ended = await running.ended;
    expect(failed(expect, running, ended)).toBe(
      `k6 ended with exit code 137: see runs/${ended.summary.id}/k6.log`,
    );
  });

  test.for(["SIGINT", "SIGTERM", "SIGKILL"] as const)(
    "ends with its k6 within seconds on %s",
    async (signal, { expect }) => {
      const running = await start({ profile: { ...defaultProfile, rate: 3000, duration: "5m" } });
      await running.stored(10);
      expect(running.k6()).toHaveLength(1);
      running.process.kill(signal);
      // All that the command started holds its output, so this waits for the last of them.
      const ended = await within(10, running.ended);
      const reason = failed(expect, running, ended, signal === "SIGKILL" ? 137 : 1);
      expect(reason).toBe("the run was interrupted");
      // k6 was asked to stop, not killed: its last points and its summary are there.
      expect(made(ended)).toBeGreaterThan(10);
    },
  );

  test("ends within seconds though its target never answers", async ({ expect }) => {
    // Answers the gate, which asks twice, and then no more.
    let requests = 0;
    const silent = createServer((socket) => {
      socket.on("error", () => {});
      if (requests++ < 2) socket.end("HTTP/1.1 204 No Content\r\n\r\n");
    });
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    try {
      const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
      const running = await start({ target: { url, version: "" } });
      await expect.poll(() => requests, { timeout: 20_000 }).toBeGreaterThan(10);
      running.process.kill("SIGINT");
      const ended = await within(10, running.ended);
      expect(failed(expect, running, ended)).toBe("the run was interrupted");
    } finally {
      silent.close();
    }
  });
});

describe.concurrent("with an InfluxDB of its own, a run", () => {
  /** Starts both, and stops InfluxDB when the first requests are stored. */
  async function interrupted(use: (own: Rig, store: Store, running: Running) => Promise<void>) {
    const own = await Rig.start(rig.parts);
    try {
      const store = await own.store();
      const profile = { ...defaultProfile, rate: 3000, duration: "6s" };
      const running = own.start(own.request(store, target.url, { profile }), store);
      await running.stored(10);
      await own.stopInfluxDb();
      await use(own, store, running);
    } finally {
      await own.stop();
    }
  }

  test("during which InfluxDB is stopped and started says how many are missing", ({ expect }) =>
    interrupted(async (own, store, running) => {
      await sleep(1500);
      await own.startInfluxDb();
      const before = await storedRequests(own, store);
      expect(before).toBeGreaterThan(0);
      const ended = await running.ended;
      expect(await storedRequests(own, store)).toBeGreaterThan(before);
      await tellsMissing(expect, own, store, ended, failed(expect, running, ended));
    }));

  test("after which InfluxDB is gone says that it does not answer", ({ expect }) =>
    interrupted(async (own, _, running) => {
      const ended = await running.ended;
      const { host } = new URL(own.admin.url);
      expect(failed(expect, running, ended)).toMatch(
        new RegExp(
          `^k6 made \\d+ requests, how many are stored is unknown: ` +
            `InfluxDB does not answer at http://${host}: connect ECONNREFUSED ${host}$`,
        ),
      );
    }));
});

async function storedRequests({ admin }: Rig, { database }: Store): Promise<number> {
  const count = `SELECT count("value") FROM "http_reqs"`;
  const [[series]] = await query(asAdmin(admin), count, database);
  return Number(series?.values[0][1] ?? 0);
}

/** The reason gives the true numbers: what k6 counted and what InfluxDB holds. */
async function tellsMissing(
  expect: ExpectStatic,
  from: Rig,
  store: Store,
  ended: Ended,
  reason: string,
) {
  const stored = await storedRequests(from, store);
  const all = made(ended);
  expect(stored).toBeGreaterThan(0);
  expect(stored).toBeLessThan(all);
  expect(reason).toMatch(
    new RegExp(
      `^points are missing from InfluxDB: k6 made ${all} requests, ${stored} are stored, ` +
        `${all - stored} are missing; .*a write failed: \\S`,
    ),
  );
  expect(log(ended)).toContain("Couldn't write stats");
  expect(ended.summary.requests).toBeUndefined();
}
