/** Servers as local processes on loopback, each ended when its owner says so. */
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { history } from "../dashboards/queries";
import { root } from "../root";
import { waitForAnswer } from "../runner/gate";
import { influxDbSettings } from "../runner/influxdb";
import { portIsFree } from "../runner/ports";
import {
  type Admin,
  ensureAdmin,
  ensureDatabase,
  ensureRetentionPolicy,
  ensureUser,
} from "../runner/schema";
import { type Credentials, RunFailure } from "../runner/types";

/** A running server. */
export interface Server {
  url: string;
  process: ChildProcess;
  /** Resolves once the process is gone. */
  stop(): Promise<void>;
}

/**
 * Starts a program in a process group of its own, so that ^C in the terminal does not reach it
 * before its owner has decided what to do. Its output goes to `log`.
 */
function start(
  command: string,
  args: string[],
  { url, log, env, cwd }: { url: string; log: string; env?: NodeJS.ProcessEnv; cwd?: string },
): Server {
  const output = fs.openSync(log, "a");
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    detached: true,
    stdio: ["ignore", output, output],
  });
  fs.closeSync(output);
  const gone = new Promise<void>((resolve) => {
    child.once("error", () => resolve());
    child.once("exit", () => resolve());
  });
  return {
    url,
    process: child,
    async stop() {
      child.kill("SIGTERM");
      const force = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await gone;
      clearTimeout(force);
    },
  };
}

/** Waits for the server's answer; one that ends instead is told with the end of its log. */
async function answering(server: Server, url: string, log: string, signal?: AbortSignal) {
  const ended = new AbortController();
  server.process.once("exit", () => ended.abort());
  const either = AbortSignal.any([ended.signal, ...(signal ? [signal] : [])]);
  try {
    await waitForAnswer(url, 30, either);
  } catch (error) {
    await server.stop();
    if (signal?.aborted || !ended.signal.aborted) throw error;
    throw new RunFailure(endOf(log, path.basename(server.process.spawnfile)));
  }
  return server;
}

const endOf = (log: string, program: string) =>
  `${program} ended at once: ${fs.readFileSync(log, "utf8").trim().split("\n").pop()}`;

/** InfluxDB with authentication on, its data and log in `folder`. */
export async function startInfluxDb(
  influxd: string,
  folder: string,
  port: number,
  signal?: AbortSignal,
): Promise<Server> {
  const log = path.join(folder, "influxd.log");
  const url = `http://127.0.0.1:${port}`;
  const env = {
    INFLUXDB_META_DIR: path.join(folder, "meta"),
    INFLUXDB_DATA_DIR: path.join(folder, "data"),
    INFLUXDB_DATA_WAL_DIR: path.join(folder, "wal"),
    INFLUXDB_BIND_ADDRESS: "127.0.0.1:0",
    INFLUXDB_HTTP_BIND_ADDRESS: `127.0.0.1:${port}`,
    ...influxDbSettings,
  };
  const server = start(influxd, ["run"], { url, log, env });
  return answering(server, `${url}/ping`, log, signal);
}

/** Makes what every stack has: administrator, database, history, two users. */
export async function setUpInfluxDb(
  admin: Admin,
  database: string,
  { writer, reader }: Credentials,
) {
  await ensureAdmin(admin);
  await ensureDatabase(admin, { database, retention: "30d" });
  await ensureRetentionPolicy(admin, { name: history, database, retention: "730d" });
  await ensureUser(admin, { ...writer, database, privilege: "WRITE" });
  await ensureUser(admin, { ...reader, database, privilege: "READ" });
}

/** Redis without persistence, its log in `folder`. */
export async function startRedis(
  redisServer: string,
  folder: string,
  port: number,
  signal?: AbortSignal,
): Promise<Server> {
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--dir", folder];
  const log = path.join(folder, "redis.log");
  const server = start(redisServer, args, { url: `redis://127.0.0.1:${port}`, log });
  // It speaks no HTTP; once it holds its port, it answers.
  const listening = async () => {
    while (await portIsFree(port)) {
      signal?.throwIfAborted();
      if (server.process.exitCode !== null) throw new RunFailure(endOf(log, "redis-server"));
      await sleep(50);
    }
  };
  await listening().catch(async (error) => {
    await server.stop();
    throw error;
  });
  return server;
}

/** The coupon API of `examples/`, its log in `folder`. */
export async function startCouponApi(
  folder: string,
  port: number,
  settings: { redisUrl: string; couponId: number; stock: number },
  signal?: AbortSignal,
): Promise<Server> {
  const url = `http://127.0.0.1:${port}`;
  const log = path.join(folder, "coupon-api.log");
  const env = {
    HOST: "127.0.0.1",
    PORT: `${port}`,
    REDIS_URL: settings.redisUrl,
    COUPON_ID: `${settings.couponId}`,
    COUPON_STOCK: `${settings.stock}`,
  };
  const args = [path.join(root, "launch.js"), "examples/coupon-api/server.ts"];
  const server = start(process.execPath, args, { url, log, env });
  return answering(server, `${url}/health`, log, signal);
}
