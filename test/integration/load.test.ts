/** What a run tells besides the figures of all its requests: routes, generator, capacity. On real parts. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as https from "node:https";
import type { AddressInfo } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  defaultProfile,
  defaultThresholds,
  parseRouteLimits,
  ratesOf,
  withSearch,
} from "../../k6/profile";
import { routesOf } from "../../runner/ledger";
import type { RunRequest } from "../../runner/types";
import { startCeiling } from "../support/ceiling";
import { findParts, Rig } from "../support/rig";

let missing: string | undefined;
let rig: Rig;

beforeAll(async () => {
  const found = await findParts();
  if ("missing" in found) return void (missing = found.missing);
  rig = await Rig.start(found.parts);
}, 600_000);

beforeEach((context) => context.skip(missing !== undefined, missing));
afterAll(() => rig?.stop());

/** Runs a script against a target with a ceiling of 8 workers. */
async function run(ms: number, changed: Partial<RunRequest>, text?: string) {
  const target = await startCeiling(8, ms);
  try {
    const store = await rig.store();
    const script = path.join(rig.folder, `${store.database}.js`);
    if (text) fs.writeFileSync(script, text);
    const own = text ? { script } : {};
    const running = rig.start(rig.request(store, target.url, { ...own, ...changed }), store);
    const ended = await running.ended;
    const source = { influxdb: running.request.influxdb, reader: store.credentials.reader };
    return { ...ended, source, most: target.most };
  } finally {
    await target.stop();
  }
}

const twoRoutes = `
  import http from "k6/http";
  export const options = { vus: 2, iterations: 40 };
  const get = (path, name) => http.get(__ENV.BASE_URL + path, { tags: { name } });
  export default () => {
    for (const id of [1, 2, 3]) get("/orders/" + id, "GET /orders/{id}");
    get("/slow", "GET /slow, or not");
  };`;

describe("routes", () => {
  test("have figures of their own, and limits that are judged", async () => {
    const routeLimits = parseRouteLimits("GET /orders/{id} p95 10s, GET /slow, or not avg 1ms")!;
    const { summary, dir, source } = await run(5, { routeLimits }, twoRoutes);
    expect(summary.reason).toMatch(
      /^average of GET \/slow, or not \d+(\.\d+)? ms is over the limit of 1 ms$/,
    );
    const counted = summary.routes!.map(({ name, requests, share }) => [name, requests, share]);
    expect(counted.sort()).toEqual([
      ["GET /orders/{id}", 120, 0.75],
      ["GET /slow, or not", 40, 0.25],
    ]);
    for (const { avgMs, p95Ms, p99Ms, failedRate } of summary.routes!) {
      expect(avgMs).toBeGreaterThanOrEqual(5);
      expect(p95Ms).toBeGreaterThanOrEqual(5);
      expect(p99Ms).toBeGreaterThanOrEqual(p95Ms);
      expect(failedRate).toBe(0);
    }
    const markdown = fs.readFileSync(path.join(dir, "summary.md"), "utf8");
    expect(markdown).toMatch(/\| GET \/slow, or not \| 40 \| 25 % \|.*FAILED \|$/m);
    const kept = await routesOf(source, summary.id);
    expect(kept.map(({ name, requests }) => [name, requests]).sort()).toEqual(
      counted.map(([name, requests]) => [name, requests]),
    );
  });

  test("that no request had are named, and what was measured is kept", async () => {
    const routeLimits = parseRouteLimits("GET /order p95 10s")!;
    const { summary } = await run(5, { routeLimits }, twoRoutes);
    expect(summary.reason).toMatch(
      /^no request had the route "GET \/order" of routeLimits; there were "GET .*", "GET .*"$/,
    );
    expect(summary.requests).toBe(160);
  });
});

/** Keeps all processors of this machine busy. */
function burn(): ChildProcess[] {
  return os.cpus().flatMap(() => [0, 1].map(() => spawn("node", ["-e", "for (;;);"])));
}

describe("a generator", () => {
  const profile = { ...defaultProfile, rate: 20, timeUnit: "1s", duration: "8s" };

  test("that waits for a slow target was not short", async () => {
    const { summary } = await run(300, { profile });
    expect(summary.verdict).toBe("passed");
    expect(summary.avgMs).toBeGreaterThan(300);
    expect(summary.generator!.k6Cores).toBeGreaterThan(0);
    expect(summary.generator!.why).toBeUndefined();
  });

  test("that others leave no processor is told, and fails the run where that is asked", async () => {
    const others = burn();
    try {
      const { summary } = await run(1, { profile });
      expect(summary.verdict).toBe("passed");
      expect(summary.generator!.why).toMatch(
        /cores of this machine were busy for \d+ % of the run, [\d.]+ of them with k6: durations may be/,
      );
      const again = await run(1, { profile, starvedGenerator: "fail" });
      expect(again.summary.reason).toBe(again.summary.generator!.why);
    } finally {
      for (const other of others) other.kill("SIGKILL");
    }
  });
});

describe("a search for the capacity", () => {
  const search = { from: 100, to: 1000, growth: 25, step: "3s", hold: "5s" };
  const profile = withSearch({ ...defaultProfile, preAllocatedVUs: 50, maxVUs: 1000 }, search);
  const thresholds = { ...defaultThresholds, p95Ms: 250, p99Ms: 1000 };

  test("finds a target's ceiling within a step", async () => {
    const { summary, most, lines, dir } = await run(40, { profile, thresholds });
    expect(summary.reason).toBeUndefined();
    const rates = ratesOf(search);
    const right = rates.findLastIndex((rate) => rate <= most);
    expect(rates.slice(right - 1, right + 1)).toContain(summary.capacity);
    expect(summary.broke).toMatch(/^at \d+\/s (p9[59] \S+ ms is over|only \S+\/s of)/);
    expect(lines.some((line) => line.includes(`capacity ${summary.capacity}/s, p99 `))).toBe(true);
    // What is judged is the hold alone.
    expect(Math.abs(summary.requests! / 5 - summary.capacity!)).toBeLessThan(5);
    expect(fs.readdirSync(dir)).toContain(`hold-${summary.capacity}`);
  }, 120_000);

  test("of a script of its own goes by its default function", async () => {
    const { summary } = await run(
      40,
      { profile, thresholds },
      `import http from "k6/http";
      export const options = { vus: 1, duration: "1s", thresholds: { http_reqs: ["count<1"] } };
      export default () => http.get(__ENV.BASE_URL);`,
    );
    expect(summary.reason).toBeUndefined();
    expect(summary.capacity).toBeGreaterThanOrEqual(156);
  }, 120_000);

  test("whose first step does not hold says so, and keeps what was measured", async () => {
    const { summary } = await run(100, { profile, thresholds });
    expect(summary.reason).toMatch(
      /^the first step does not hold: at 100\/s p9[59] \S+ ms is over/,
    );
    expect(summary.requests).toBeGreaterThan(100);
    expect(summary.capacity).toBeUndefined();
  }, 120_000);

  test("whose generator is short says that it gave up, not the target", async () => {
    const others = burn();
    try {
      const { summary } = await run(40, { profile, thresholds });
      expect(summary.reason).toMatch(
        /^the generator gave up at \d+\/s, before the target did: \d+ cores of this machine were busy for \d+ % of that step/,
      );
    } finally {
      for (const other of others) other.kill("SIGKILL");
    }
  }, 120_000);
});

describe("a target whose certificate nobody knows", () => {
  let server: https.Server;
  let certificate: string;
  let url: string;

  beforeAll(async () => {
    if (!rig) return;
    const [cert, key] = ["cert.pem", "key.pem"].map((name) => path.join(rig.folder, name));
    const made = spawnSync("openssl", [
      ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=target"],
      ...["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
    ]);
    if (made.status !== 0) return;
    certificate = cert;
    const options = { key: fs.readFileSync(key), cert: fs.readFileSync(cert) };
    server = https.createServer(options, (_, response) => response.end("{}"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  beforeEach((context) => context.skip(!server, "there is no openssl, or it makes no certificate"));
  afterAll(() => server?.close().closeAllConnections());

  const runWith = async (tls: RunRequest["target"] | object) => {
    const store = await rig.store();
    const target = { url, version: "", ...tls };
    return rig.start(rig.request(store, url, { target }), store).ended;
  };

  test("is refused at once, with what to do", async () => {
    const started = Date.now();
    const { summary } = await runWith({});
    expect(summary.reason).toBe(
      `the target ${url} has a certificate that is not trusted (DEPTH_ZERO_SELF_SIGNED_CERT): ` +
        "set caFile to that of its authority, or insecureSkipTLSVerify=true",
    );
    expect(Date.now() - started).toBeLessThan(15_000);
  });

  test.each(["caFile", "insecureSkipTLSVerify"])("is tested by %s", async (key) => {
    const { summary } = await runWith(
      key === "caFile" ? { caFile: certificate } : { insecureSkipTLSVerify: true },
    );
    expect(summary.reason).toBeUndefined();
    expect(summary.requests).toBeGreaterThan(100);
    expect(summary.failedRate).toBe(0);
  });
});
