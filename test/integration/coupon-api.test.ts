/** The coupon API as it is deployed: the bundled file, run by node, on a real Redis. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { build } from "esbuild";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { freePort, noRedis, startRedis, type Redis } from "../support/redis";

interface Answer {
  code: number;
  body: { status?: string; message?: string };
  reused: boolean;
}

interface Api {
  port: number;
  process: ChildProcess;
  /** What it printed, line by line. */
  lines(): string[];
  /** Sends the signal and resolves with the exit code (null if killed). */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Asks again until the answer is as expected. */
const eventually = <T>(ask: () => T | Promise<T>) =>
  expect.poll(ask, { interval: 10, timeout: 10_000 });

const title = noRedis ? `coupon API (skipped: ${noRedis})` : "coupon API";
if (noRedis) console.warn(title);

describe.skipIf(noRedis)(title, { timeout: 30_000 }, () => {
  const agent = new http.Agent({ keepAlive: true });
  const running = new Set<Api>();
  let directory: string;
  let bundle: string;
  let redis: Redis;
  let admin: ReturnType<typeof connect>;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "coupon-api-"));
    bundle = join(directory, "server.js");
    await build({
      entryPoints: [resolve(__dirname, "../../examples/coupon-api/server.ts")],
      bundle: true,
      platform: "node",
      target: "node20",
      minify: true,
      outfile: bundle,
    });
    redis = await startRedis();
    admin = connect(redis);
    await admin.connect();
  });

  beforeEach(async () => {
    await admin.flushAll();
  });

  afterEach(async () => {
    await Promise.all([...running].map((api) => api.end("SIGKILL")));
  });

  afterAll(async () => {
    agent.destroy();
    admin?.destroy();
    await redis?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** A client that survives the restart of its Redis. */
  function connect({ url }: Redis) {
    return createClient({ url, socket: { reconnectStrategy: 50 } }).on("error", () => {});
  }

  /** Starts the process and does not wait for anything. */
  async function spawnApi(env: Record<string, string> = {}): Promise<Api> {
    const port = await freePort();
    const child = spawn(process.execPath, [bundle], {
      cwd: directory, // no node_modules above it
      env: { HOST: "127.0.0.1", PORT: String(port), REDIS_URL: redis.url, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => (output += chunk));
    }
    const closed = once(child, "close");
    const api: Api = {
      port,
      process: child,
      lines: () => output.split("\n").filter((line) => line !== ""),
      async end(signal) {
        child.kill(signal);
        const [code] = await closed;
        running.delete(api);
        return code;
      },
    };
    running.add(api);
    return api;
  }

  /** Starts the API and waits until it is healthy. */
  async function startApi(env: Record<string, string> = {}): Promise<Api> {
    const api = await spawnApi(env);
    await eventually(() => healthCode(api)).toBe(200);
    return api;
  }

  function send(api: Api, method: string, path: string, via = agent): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const options = { host: "127.0.0.1", port: api.port, method, path, agent: via };
      const request = http.request(options, async (response) => {
        try {
          let text = "";
          for await (const chunk of response.setEncoding("utf8")) text += chunk;
          const code = response.statusCode ?? 0;
          resolve({ code, body: JSON.parse(text), reused: request.reusedSocket });
        } catch (error) {
          reject(error);
        }
      });
      request.on("error", reject).end();
    });
  }

  const issue = (api: Api, user: number | string, coupon: number | string = 1) =>
    send(api, "POST", `/coupons/${user}/issue-async?couponId=${coupon}`);
  const counts = async (api: Api) => (await send(api, "GET", "/coupons/1")).body;
  const healthCode = (api: Api) =>
    send(api, "GET", "/health").then(
      ({ code }) => code,
      () => 0,
    );
  const users = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

  it("never issues more than the stock: 2,000 requests at once, 500 users, stock 300", async () => {
    const api = await startApi({ COUPON_STOCK: "300" });
    const answers = await Promise.all(
      users(2_000).map(async (n) => ({ user: n % 500, ...(await issue(api, (n % 500) + 1)) })),
    );

    const of = (code: number) => answers.filter((answer) => answer.code === code);
    const winners = new Set(of(201).map(({ user }) => user));
    expect(of(201)).toHaveLength(300);
    expect(winners.size).toBe(300);
    // Every winner asked four times, every other user was told four times that it is sold out.
    expect(of(200)).toHaveLength(900);
    expect(of(200).every(({ user }) => winners.has(user))).toBe(true);
    expect(of(409)).toHaveLength(800);
    expect(of(409).some(({ user }) => winners.has(user))).toBe(false);

    const expected = { couponId: 1, stock: 300, issued: 300, recorded: 300 };
    await eventually(() => counts(api)).toEqual(expected);
    expect(new Set(await admin.hKeys("coupon:1:recorded"))).toEqual(
      new Set(await admin.sMembers("coupon:1:issued")),
    );
    expect(await admin.xLen("coupon:1:queue")).toBe(0);
  });

  it("answers issued, already issued and sold out", async () => {
    const api = await startApi({ COUPON_STOCK: "1" });
    expect(await issue(api, 7)).toMatchObject({ code: 201, body: { status: "issued" } });
    expect(await issue(api, 7)).toMatchObject({ code: 200, body: { status: "already issued" } });
    expect(await issue(api, 8)).toMatchObject({ code: 409, body: { status: "sold out" } });
    expect(await issue(api, 7)).toMatchObject({ code: 200, body: { status: "already issued" } });
  });

  it("knows only the configured coupon", async () => {
    const api = await startApi({ COUPON_ID: "42" });
    expect((await issue(api, 1, 42)).code).toBe(201);
    const unknown = { status: "unknown coupon", message: "coupon 1 is not configured" };
    expect(await issue(api, 1, 1)).toMatchObject({ code: 404, body: unknown });
    expect(await send(api, "GET", "/coupons/1")).toMatchObject({ code: 404, body: unknown });
    expect((await send(api, "GET", "/coupons")).code).toBe(404);
  });

  it("refuses a userId or couponId that is not a positive integer", async () => {
    const api = await startApi();
    const bad = [
      "0",
      "-1",
      "1.5",
      "1e3",
      "abc",
      "%201",
      "%zz",
      "9007199254740993",
      "1".repeat(200),
    ];
    for (const text of bad) {
      for (const answer of [await issue(api, text), await issue(api, 1, text)]) {
        expect(answer, text).toMatchObject({ code: 400, body: { status: "bad request" } });
        expect(answer.body.message, text).toBeTruthy();
      }
    }
    expect(await counts(api)).toMatchObject({ issued: 0 });
  });

  it("says which parameter is bad", async () => {
    const api = await startApi();
    const message = async (path: string) => (await send(api, "POST", path)).body.message;
    expect(await message("/coupons/x/issue-async?couponId=1")).toBe(
      'userId must be a positive integer; it is "x"',
    );
    expect(await message("/coupons/1/issue-async")).toBe(
      "couponId must be a positive integer; it is missing",
    );
  });

  it("keeps what is issued over a restart, and a changed stock takes effect", async () => {
    const restart = async (old: Api, stock: string) => {
      expect(await old.end("SIGTERM")).toBe(0);
      return startApi({ COUPON_STOCK: stock });
    };
    let api = await startApi({ COUPON_STOCK: "2" });
    expect((await issue(api, 1)).code).toBe(201);
    expect((await issue(api, 2)).code).toBe(201);

    api = await restart(api, "2");
    expect((await issue(api, 1)).code).toBe(200);
    expect((await issue(api, 3)).code).toBe(409);

    api = await restart(api, "3");
    expect((await issue(api, 3)).code).toBe(201);
    expect((await issue(api, 4)).code).toBe(409);

    api = await restart(api, "1"); // fewer than issued: nobody loses a coupon, nobody gets one
    expect((await issue(api, 2)).code).toBe(200);
    expect((await issue(api, 4)).code).toBe(409);
    await eventually(() => counts(api)).toMatchObject({ stock: 1, issued: 3, recorded: 3 });
  });

  it("serves a connection that was idle for 7 s", async () => {
    const api = await startApi();
    const one = new http.Agent({ keepAlive: true, maxSockets: 1 });
    expect((await send(api, "GET", "/health", one)).reused).toBe(false);
    await sleep(7_000);
    const path = "/coupons/1/issue-async?couponId=1";
    expect(await send(api, "POST", path, one)).toMatchObject({ code: 201, reused: true });
    one.destroy();
  });

  describe("when it is killed, loses nothing", () => {
    afterEach(async () => {
      await admin.aclSetUser("default", "+@all");
    });

    // Redis refuses one command, so the recorder stands at exactly this point when it dies. It
    // reads nothing before all is issued, so that it dies with the first of several full batches.
    it.each([
      { point: "between reading and recording", command: "hset", recordedBefore: 0 },
      { point: "between recording and acknowledging", command: "xack", recordedBefore: 100 },
    ])("$point", async ({ command, recordedBefore }) => {
      const pending = async () => (await admin.xPending("coupon:1:queue", "recorders")).pending;
      await admin.aclSetUser("default", "-xreadgroup");
      const killed = await startApi();
      await Promise.all(users(250).map((user) => issue(killed, user)));
      await admin.aclSetUser("default", ["+xreadgroup", `-${command}`]);
      await eventually(pending).toBe(100);
      const before = { issued: 250, recorded: recordedBefore };
      await eventually(() => counts(killed)).toMatchObject(before);
      await killed.end("SIGKILL");
      expect(await admin.xLen("coupon:1:queue")).toBe(250);

      await admin.aclSetUser("default", `+${command}`);
      const api = await startApi();
      await eventually(() => counts(api)).toMatchObject({ issued: 250, recorded: 250 });
      await eventually(pending).toBe(0);
      await eventually(() => admin.xLen("coupon:1:queue")).toBe(0);
    });

    it("in the middle of the rush", async () => {
      const env = { COUPON_STOCK: "5000" };
      const killed = await startApi(env);
      const rush = Promise.allSettled(users(2_000).map((user) => issue(killed, user)));
      const recorded = () => admin.hLen("coupon:1:recorded");
      await eventually(recorded).toBeGreaterThan(0);
      await killed.end("SIGKILL");
      const answers = await rush;
      const told = answers.filter((answer) => answer.status === "fulfilled").length;
      const issued = await admin.sCard("coupon:1:issued");
      expect(issued).toBeGreaterThanOrEqual(told);
      expect(issued).toBeLessThan(2_000);

      const api = await startApi(env);
      await eventually(() => counts(api)).toMatchObject({ issued, recorded: issued });
      const again = await Promise.all(users(2_000).map((user) => issue(api, user)));
      expect(again.filter(({ code }) => code === 200)).toHaveLength(issued);
      expect(again.filter(({ code }) => code === 201)).toHaveLength(2_000 - issued);
      await eventually(() => counts(api)).toMatchObject({ issued: 2_000, recorded: 2_000 });
    });
  });

  describe("without Redis", () => {
    const unavailable = {
      code: 503,
      body: { status: "unavailable", message: "Redis is unavailable; try again later" },
    };

    async function expectUnavailable(api: Api): Promise<void> {
      expect(await issue(api, 1)).toMatchObject(unavailable);
      expect(await send(api, "GET", "/coupons/1")).toMatchObject(unavailable);
      expect(await send(api, "GET", "/health")).toMatchObject(unavailable);
    }

    it("answers 503 and recovers by itself", async () => {
      const api = await startApi();
      expect((await issue(api, 1)).code).toBe(201);
      await redis.stop();
      try {
        await eventually(() => healthCode(api)).toBe(503);
        await expectUnavailable(api);
      } finally {
        redis = await startRedis(redis.port); // empty: it kept nothing
      }

      await eventually(() => healthCode(api)).toBe(200);
      expect((await issue(api, 1)).code).toBe(201);
      await eventually(() => counts(api)).toMatchObject({ recorded: 1 });
      expect(await api.end("SIGTERM")).toBe(0);
      expect(api.lines().map((line) => line.replace(/^\S+ /, ""))).toEqual([
        expect.stringMatching(/^Listening on /),
        expect.stringMatching(/^Redis does not serve: /),
        "Redis serves again",
        "Stopping on SIGTERM",
      ]);
    });

    it("starts before Redis does", async () => {
      const port = await freePort();
      const api = await spawnApi({ REDIS_URL: `redis://127.0.0.1:${port}` });
      await eventually(() => healthCode(api)).toBe(503);
      await expectUnavailable(api);
      const late = await startRedis(port);
      try {
        await eventually(() => healthCode(api)).toBe(200);
        expect((await issue(api, 1)).code).toBe(201);
        await eventually(() => counts(api)).toMatchObject({ recorded: 1 });
      } finally {
        await late.stop();
      }
    });

    it("answers 503 when Redis is connected but silent", async () => {
      const api = await startApi();
      redis.process.kill("SIGSTOP");
      try {
        expect(await issue(api, 1)).toMatchObject(unavailable);
      } finally {
        redis.process.kill("SIGCONT");
      }
      await eventually(() => healthCode(api)).toBe(200);
      // Redis may have issued it after all; asking again tells, and never issues twice.
      expect([200, 201]).toContain((await issue(api, 1)).code);
      await eventually(() => counts(api)).toMatchObject({ issued: 1, recorded: 1 });
    });
  });

  it.each(["SIGTERM", "SIGINT"] as const)("stops on %s in less than 2 s", async (signal) => {
    const api = await startApi();
    expect((await issue(api, 1)).code).toBe(201); // its connection stays open
    const from = performance.now();
    expect(await api.end(signal)).toBe(0);
    expect(performance.now() - from).toBeLessThan(2_000);
    // That it listens, that it stops; a busy Redis may be told of between.
    expect(api.lines().filter((line) => !line.includes("Redis"))).toHaveLength(2);
  });

  it("stops in less than 2 s even if Redis is silent", async () => {
    const api = await startApi();
    redis.process.kill("SIGSTOP");
    try {
      const asked = issue(api, 1).catch(() => undefined);
      await sleep(100);
      const from = performance.now();
      await api.end("SIGTERM");
      expect(performance.now() - from).toBeLessThan(2_000);
      await asked;
    } finally {
      redis.process.kill("SIGCONT");
    }
  });

  it.each([
    ["PORT", "http", "a whole number from 1 to 65535"],
    ["PORT", "", "a whole number from 1 to 65535"],
    ["PORT", "65536", "a whole number from 1 to 65535"],
    ["HOST", "not a host", "an IP address or a host name"],
    ["REDIS_URL", "http://redis", "redis://[user:password@]host[:port][/database]"],
    ["COUPON_ID", "0", "a whole number from 1 to 9007199254740991"],
    ["COUPON_STOCK", "many", "a whole number from 1 to 9007199254740991"],
  ])("does not start with %s=%j", async (name, value, allowed) => {
    const api = await spawnApi({ [name]: value });
    const [code] = await once(api.process, "close");
    expect(code).toBe(1);
    expect(api.lines()).toEqual([`coupon-api: ${name} is "${value}"; allowed is ${allowed}`]);
  });

  it("does not print a password", async () => {
    const api = await spawnApi({ REDIS_URL: "redis://user:secret@:6379" });
    await once(api.process, "close");
    expect(api.lines()).toHaveLength(1);
    expect(api.lines()[0]).toContain("REDIS_URL");
    expect(api.lines()[0]).not.toContain("secret");
  });
});
