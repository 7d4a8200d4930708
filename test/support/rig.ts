/**
 * Real parts for the integration tests: InfluxDB, Redis and the coupon API on loopback, and load
 * tests started with the very command of the stack's `LoadTest`, each in a folder of its own, since
 * a run leaves `runs/` where it is started.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { requestCount } from "../../dashboards/queries";
import { defaultProfile, defaultThresholds, ownScript } from "../../k6/profile";
import { prepareParts, type Parts } from "../../rehearsal/parts";
import * as processes from "../../rehearsal/processes";
import { query, type Series } from "../../runner/influxdb";
import { root } from "../../root";
import { freePort } from "../../runner/ports";
import { asAdmin, type Admin } from "../../runner/schema";
import { RunFailure, type Credentials, type RunRequest, type Summary } from "../../runner/types";

/** Everything that runs. If the tests are interrupted, it is ended without a word. */
const children = new Set<ChildProcess>();
process.once("exit", () => children.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

/** A database with its two users: runs of different tests never meet. */
export interface Store {
  database: string;
  credentials: Credentials;
}

/** How a load test ended. */
export interface Ended {
  code: number;
  /** What it printed for the stack: the result of a passed run, in one line, or nothing. */
  stdout: string;
  /** What it printed for people. */
  lines: string[];
  lastLine: string;
  /** `runs/latest/summary.json` */
  summary: Summary;
  /** The folder that `runs/latest` points to. */
  dir: string;
}

/** A load test that runs. */
export interface Running {
  request: RunRequest;
  /** Where it runs: the project's folder, as the command sees it. */
  folder: string;
  /** The command that Pulumi would have started. */
  process: ChildProcess;
  /** Resolves when the command and all it started are gone. */
  closed: Promise<number>;
  /** The same, with its record; rejects when it left none. */
  ended: Promise<Ended>;
  /** Waits until that many of its requests are stored. */
  stored(requests: number): Promise<void>;
  /** The pids of its k6. */
  k6(): number[];
}

/** The parts, or why they cannot be had, in one sentence. */
export async function findParts(): Promise<{ parts: Parts } | { missing: string }> {
  try {
    // What is missing was prepared before the test files, so this only finds.
    return { parts: await prepareParts((line) => console.warn(line)) };
  } catch (error) {
    if (error instanceof RunFailure) return { missing: error.message };
    throw error;
  }
}

/** InfluxDB and what is started beside it, until `stop`. */
export class Rig {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "rig-"));
  /** Where InfluxDB has its data. */
  private readonly data: string;
  readonly admin: Admin;
  private readonly servers: processes.Server[] = [];
  private readonly tests: Running[] = [];
  private influxdb?: processes.Server;
  private redis?: processes.Server;
  private count = 0;

  private constructor(
    readonly parts: Parts,
    private readonly port: number,
    data?: string,
  ) {
    this.data = data ?? this.folder;
    this.admin = {
      url: `http://127.0.0.1:${port}`,
      adminUsername: "admin",
      adminPassword: crypto.randomBytes(12).toString("hex"),
    };
  }

  /** @param data another folder for InfluxDB's data than one of the rig's own */
  static async start(parts: Parts, data?: string): Promise<Rig> {
    const rig = new Rig(parts, await freePort(), data);
    await rig.startInfluxDb();
    return rig;
  }

  /** Starts InfluxDB, again on the same port with the data that it left. */
  async startInfluxDb() {
    const { influxd } = this.parts;
    this.influxdb = this.keep(await processes.startInfluxDb(influxd, this.data, this.port));
  }

  async stopInfluxDb() {
    await this.influxdb?.stop();
  }

  /** Has InfluxDB hang, or go on: what it is sent is taken by the system, and not answered. */
  freezeInfluxDb(frozen = true) {
    this.influxdb?.process.kill(frozen ? "SIGSTOP" : "SIGCONT");
  }

  async store(): Promise<Store> {
    const name = `db${this.count++}`;
    const login = (role: string) => ({
      username: `${name}-${role}`,
      password: crypto.randomBytes(12).toString("hex"),
    });
    const credentials = { writer: login("writer"), reader: login("reader") };
    await processes.setUpInfluxDb(this.admin, name, credentials);
    return { database: name, credentials };
  }

  /** The coupon API with a Redis of its own, in which every user gets a coupon. */
  async startTarget(): Promise<processes.Server> {
    const folder = path.join(this.folder, `target-${this.count++}`);
    fs.mkdirSync(folder);
    const redisServer = this.parts["redis-server"];
    this.redis = this.keep(await processes.startRedis(redisServer, folder, await freePort()));
    const settings = { redisUrl: this.redis.url, couponId: 1, stock: 1_000_000 };
    return this.keep(await processes.startCouponApi(folder, await freePort(), settings));
  }

  private keep(server: processes.Server): processes.Server {
    this.servers.push(server);
    children.add(server.process);
    return server;
  }

  /** The administrator's view of a database. */
  async ask(database: string, statements: string): Promise<Series[][]> {
    return query(asAdmin(this.admin), statements, database);
  }

  /** What `LoadTest` would hand to the runner: by default, some seconds at 50 requests a second. */
  request(store: Store, targetUrl: string, changed: Partial<RunRequest> = {}): RunRequest {
    return {
      stack: `rig${crypto.randomBytes(4).toString("hex")}`,
      runId: "",
      script: ownScript,
      scriptHash: "",
      executor: { kind: "local", binary: this.parts.k6 },
      target: { url: targetUrl, version: "" },
      influxdb: { url: this.admin.url, database: store.database },
      ...{
        baseline: "",
        maxRegression: [],
        routeLimits: [],
        starvedGenerator: "warn",
        allowedHosts: [],
      },
      maxSeries: 100,
      ...changed,
      profile: {
        ...defaultProfile,
        ...{ rate: 50, timeUnit: "1s", duration: "4s", preAllocatedVUs: 20, maxVUs: 100 },
        ...changed.profile,
      },
      // A shared machine may be slow; what a test is about, it limits itself.
      thresholds: {
        ...defaultThresholds,
        ...{ p95Ms: 20_000, p99Ms: 20_000, droppedIterations: 1_000_000 },
        ...changed.thresholds,
      },
    };
  }

  /** Starts a load test as Pulumi does. @param env more than this process has */
  start(request: RunRequest, { credentials }: Store, env: NodeJS.ProcessEnv = {}): Running {
    const folder = path.join(this.folder, `project-${this.count++}`);
    fs.mkdirSync(folder);
    for (const name of ["node_modules", "runner", "k6"]) {
      fs.symlinkSync(path.join(root, name), path.join(folder, name), "junction");
    }
    const child = spawn("node", [path.join(root, "launch.js"), "runner/main.ts"], {
      cwd: folder,
      env: { ...process.env, ...env, LOAD_TEST: JSON.stringify(request) },
    });
    children.add(child);
    child.stdin.end(JSON.stringify(credentials));
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));

    const k6 = () => pidsOf(`TESTID=${request.stack}-`);
    // The worker holds these streams, too, so they close when it is gone.
    const closed = new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => resolve(code ?? 137));
    });
    const ended = closed.then((code): Ended => {
      children.delete(child);
      const lines = stderr.trim().split("\n");
      const runs = path.join(folder, "runs");
      const dir = path.join(runs, fs.readlinkSync(path.join(runs, "latest")));
      const summary = JSON.parse(fs.readFileSync(path.join(dir, "summary.json"), "utf8"));
      return { code, stdout, lines, lastLine: lines.at(-1) ?? "", summary, dir };
    });
    const stored = async (requests: number) => {
      const over = ended.then(() => true);
      const everything = requestCount({ where: "time > 0" });
      for (;;) {
        const [[series]] = await this.ask(request.influxdb.database, everything);
        if (Number(series?.values[0][1] ?? 0) >= requests) return;
        if (await Promise.race([over, sleep(100)])) {
          throw new Error(`the test ended before ${requests} requests were stored:\n${stderr}`);
        }
      }
    };
    const running = { request, folder, process: child, closed, ended, stored, k6 };
    this.tests.push(running);
    return running;
  }

  /** Runs a load test to its end. */
  run(request: RunRequest, store: Store): Promise<Ended> {
    return this.start(request, store).ended;
  }

  /** Ends everything, whatever state it is in. */
  async stop() {
    for (const { process: child, ended, k6 } of this.tests) {
      child.kill("SIGKILL");
      for (const pid of k6()) process.kill(pid, "SIGKILL");
      await ended.catch(() => undefined);
    }
    for (const server of this.servers.reverse()) {
      await server.stop();
      children.delete(server.process);
    }
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The processes with this text in their command lines. */
function pidsOf(text: string): number[] {
  const list = execFileSync("ps", ["-A", "-ww", "-o", "pid=,args="], { encoding: "utf8" });
  return list
    .split("\n")
    .filter((line) => line.includes(text))
    .map((line) => parseInt(line, 10));
}
