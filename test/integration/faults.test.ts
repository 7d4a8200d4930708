/**
 * Faults of the parts of a run, as processes: a target, an InfluxDB, a disk and a k6 that fail while
 * load is made. Each ends the run in bounded time, with one line that says why.
 */
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer, type AddressInfo, type Server as NetServer } from "node:net";
import * as path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, test, type ExpectStatic } from "vitest";
import type { Server } from "../../rehearsal/processes";
import { query } from "../../runner/influxdb";
import { freePort } from "../../runner/ports";
import { asAdmin } from "../../runner/schema";
import type { RunRequest } from "../../runner/types";
import { FaultTable } from "../support/reliability";
import { findParts, Rig, type Ended, type Running, type Store } from "../support/rig";

const minute = 60_000;
const faults = new FaultTable("integration-faults");

let missing: string | undefined;
let rig: Rig;
let target: Server;
/** One that a test kills. */
let mortal: Server;

beforeAll(async () => {
  const found = await findParts();
  if ("missing" in found) return void (missing = found.missing);
  rig = await Rig.start(found.parts);
  target = await rig.startTarget();
  mortal = await rig.startTarget();
}, 10 * minute);

beforeEach((context) => context.skip(missing !== undefined, missing));
afterAll(async () => {
  if (!missing) faults.write();
  await rig?.stop();
});

/** A run that starts, with its store and what its rows in the table hide. */
async function start(on: Rig, url: string, changed: Partial<RunRequest> = {}) {
  const store = await on.store();
  const running = on.start(on.request(store, url, changed), store);
  const hidden = { stack: running.request.stack, target: url, influxdb: on.admin.url };
  return { running, store, hidden };
}

/** The reason of a run that must have failed, within so many seconds after the fault. */
async function failure(expect: ExpectStatic, running: Running, seconds: number): Promise<Ended> {
  const since = Date.now();
  const ended = await running.ended;
  expect((Date.now() - since) / 1000).toBeLessThan(seconds);
  expect(ended.code).not.toBe(0);
  expect(ended.stdout).toBe("");
  expect(ended.lastLine).toBe(`load test failed: ${ended.summary.reason}`);
  expect(running.k6()).toEqual([]);
  return ended;
}

async function storedIn({ admin }: Rig, { database }: Store): Promise<number> {
  const count = `SELECT count("value") FROM "http_reqs"`;
  const [[series]] = await query(asAdmin(admin), count, database);
  return Number(series?.values[0][1] ?? 0);
}

describe.concurrent("a target", () => {
  /** Where it listens; it is closed after the test. */
  async function listening(server: NetServer, use: (url: string) => Promise<void>) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const sockets = new Set<{ destroy(): void }>();
    server.on("connection", (socket) => sockets.add(socket));
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`).finally(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
  }

  test("that is down keeps the gate shut", async ({ expect }) => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const { running, hidden } = await start(rig, url);
    const { lastLine, summary } = await failure(expect, running, 50);
    expect(summary.reason).toMatch(/^the target did not answer: .* for 30 s .ECONNREFUSED.$/);
    const expected = "no load is made; the line names the target";
    faults.add({ fault: "Target down", expected, seen: lastLine }, hidden);
  });

  test("that never answers keeps the gate shut", async ({ expect }) => {
    await listening(
      createServer((socket) => socket.on("error", () => undefined)),
      async (url) => {
        const { running, hidden } = await start(rig, url);
        const { lastLine, summary } = await failure(expect, running, 60);
        expect(summary.reason).toMatch(/^the target did not answer: .* for 30 s .*timeout/);
        const expected = "no load is made; the line names the target";
        faults.add({ fault: "Target hangs from the start", expected, seen: lastLine }, hidden);
      },
    );
  });

  test("that dies half-way breaks the limits", async ({ expect }) => {
    const { running, hidden } = await start(rig, mortal.url);
    await running.stored(10);
    mortal.process.kill("SIGKILL");
    const { lastLine, summary } = await failure(expect, running, 30);
    expect(summary.reason).toMatch(/^failed requests [\d.]+ % is over the limit of 1 %; passed/);
    const expected = "the limit of failed requests is broken; every request is stored";
    faults.add({ fault: "Target killed half-way", expected, seen: lastLine, lost: 0 }, hidden);
  });

  test("that answers 500 breaks the limits", async ({ expect }) => {
    let first = true;
    const server = createHttpServer((_, response) => {
      response.writeHead(first ? 200 : 500).end();
      first = false;
    });
    await listening(server, async (url) => {
      const { running, hidden } = await start(rig, url);
      const { lastLine, summary } = await failure(expect, running, 50);
      expect(summary.reason).toMatch(/^failed requests 100 % is over the limit of 1 %; passed/);
      const expected = "the limits of failed requests and of checks are broken";
      faults.add({ fault: "Target answers 500", expected, seen: lastLine, lost: 0 }, hidden);
    });
  });

  test(
    "that hangs under load breaks the limits within the duration and k6's graceful stop",
    async ({ expect }) => {
      let asked = 0;
      const server = createHttpServer((_, response) => {
        if (asked++ < 3) response.end();
      });
      await listening(server, async (url) => {
        const { running, hidden } = await start(rig, url);
        await expect.poll(() => asked, { timeout: 30_000 }).toBeGreaterThan(10);
        const { lastLine, summary } = await failure(expect, running, 4 + 30 + 20);
        expect(summary.reason).toMatch(/failed requests [\d.]+ % is over the limit of 1 %; passed/);
        expect(summary.warnings).toEqual([]);
        const expected = "requests that get no answer in 20 s have failed; the limits are broken";
        faults.add({ fault: "Target hangs under load", expected, seen: lastLine }, hidden);
      });
    },
    2 * minute,
  );
});

describe.concurrent("an InfluxDB", () => {
  /** One of the test's own, since it is stopped. */
  async function own(use: (own: Rig) => Promise<void>, folder?: string) {
    const own = await Rig.start(rig.parts, folder);
    try {
      await use(own);
    } finally {
      own.freezeInfluxDb(false);
      await own.stop();
    }
  }

  test(
    "that hangs before a run keeps the gate shut",
    ({ expect }) =>
      own(async (own) => {
        const store = await own.store();
        own.freezeInfluxDb();
        const running = own.start(own.request(store, target.url), store);
        const { lastLine, summary } = await failure(expect, running, 40);
        expect(summary.reason).toMatch(
          /^k6's user cannot write to InfluxDB: InfluxDB does not answer at .*timeout$/,
        );
        const hidden = { influxdb: own.admin.url };
        const expected = "no load is made; the line says that InfluxDB does not answer";
        faults.add({ fault: "InfluxDB hangs before a run", expected, seen: lastLine }, hidden);
      }),
    2 * minute,
  );

  test(
    "that hangs during a run does not hold it for longer than a deadline",
    ({ expect }) =>
      own(async (own) => {
        const { running, store, hidden } = await start(own, target.url);
        await running.stored(10);
        const before = await storedIn(own, store);
        own.freezeInfluxDb();
        const { lastLine, summary } = await failure(expect, running, 4 + 30 + 60 + 50);
        expect(summary.reason).toMatch(
          new RegExp(
            "^k6 was stopped: its test takes 34 s at most, but it had not ended after 94 s; " +
              `InfluxDB hangs: ${own.admin.url}/ping gave no good answer for 5 s .*timeout`,
          ),
        );
        own.freezeInfluxDb(false);
        const lost = Math.max(before - (await storedIn(own, store)), 0);
        expect(lost).toBe(0);
        const expected = "k6 is stopped a minute after it should have ended; the line says why";
        faults.add(
          { fault: "InfluxDB hangs during a run", expected, seen: lastLine, lost },
          hidden,
        );
      }),
    4 * minute,
  );

  test("whose disk is full has the run fail with its own reason", async ({ expect, skip }) => {
    const disk = fs.mkdtempSync(path.join(rig.folder, "disk-"));
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=16m", "tmpfs", disk]);
    if (mounted.status !== 0) skip("a small disk cannot be mounted, which takes root");
    try {
      await own(async (own) => {
        const { running, store, hidden } = await start(own, target.url);
        await running.stored(10);
        const filler = path.join(disk, "filler");
        // What is over when the disk is full does not count.
        spawnSync("dd", ["if=/dev/zero", `of=${filler}`, "bs=4k"]);
        const before = await storedIn(own, store);
        const { lastLine, summary } = await failure(expect, running, 40);
        expect(summary.reason).toMatch(
          /^points are missing from InfluxDB: k6 made \d+ requests, \d+ are stored, \d+ are missing; .*a write failed: [^{}]*no space left on device/,
        );
        fs.rmSync(filler);
        await own.stopInfluxDb();
        await own.startInfluxDb();
        const lost = Math.max(before - (await storedIn(own, store)), 0);
        expect(lost).toBe(0);
        const expected = "the run fails, with how many are missing and InfluxDB's own reason";
        const fault = "InfluxDB's disk full during a run";
        faults.add({ fault, expected, seen: lastLine, lost }, { ...hidden, data: disk });
      }, disk);
    } finally {
      execFileSync("umount", ["--lazy", disk]);
    }
  });
});

describe.concurrent("k6", () => {
  test("that is killed is told with its exit code", async ({ expect }) => {
    const { running, store, hidden } = await start(rig, target.url);
    await running.stored(10);
    const before = await storedIn(rig, store);
    for (const pid of running.k6()) process.kill(pid, "SIGKILL");
    const { lastLine, summary } = await failure(expect, running, 30);
    expect(summary.reason).toMatch(/^k6 ended with exit code 137: see runs\//);
    const lost = Math.max(before - (await storedIn(rig, store)), 0);
    expect(lost).toBe(0);
    const expected = "the run fails with exit code 137";
    faults.add({ fault: "k6 killed, as a process", expected, seen: lastLine, lost }, hidden);
  });

  test("leaves no password behind when the runner is killed", async ({ expect }) => {
    const temporary = fs.mkdtempSync(path.join(rig.folder, "tmp-"));
    const store = await rig.store();
    const request = rig.request(store, target.url, {});
    const running = rig.start(request, store, { TMPDIR: temporary });
    await running.stored(10);
    const [k6] = running.k6();
    const worker = Number(execFileSync("ps", ["-o", "ppid=", "-p", `${k6}`], { encoding: "utf8" }));
    process.kill(worker, "SIGKILL");
    for (const pid of running.k6()) process.kill(pid, "SIGKILL");
    await running.closed;
    const holding = spawnSync("grep", ["-rl", store.credentials.writer.password, rig.folder]);
    const found = holding.stdout
      .toString()
      .split("\n")
      .filter((file) => file !== "");
    expect(found.filter((file) => !/\/(meta|data|wal)\//.test(file))).toEqual([]);
    const seen = `${found.length} files with the password`;
    const expected = "no file with the writer's password is left";
    faults.add({ fault: "Runner killed, k6 as a process", expected, seen });
  });

  test("that cannot compile its script names the line", async ({ expect }) => {
    const script = path.join(rig.folder, "syntax.js");
    fs.writeFileSync(script, "export default function () {\n  const = 1;\n}");
    const { running, hidden } = await start(rig, target.url, { script });
    const { lastLine, summary } = await failure(expect, running, 30);
    expect(summary.reason).toMatch(/^k6 ended with exit code 107: .*Line 2:9 Unexpected token =/);
    const expected = "no load is made; the line names file, line and column";
    const shown = { ...hidden, folder: rig.folder };
    faults.add({ fault: "Syntax error in the script", expected, seen: lastLine }, shown);
  });
});
