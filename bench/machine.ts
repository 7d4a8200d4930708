/** What the parts of the benchmark share: their size, programs started for them, statistics. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as readline from "node:readline";
import { promisify } from "node:util";
import { prepareParts } from "../rehearsal/parts";
import { setUpInfluxDb } from "../rehearsal/processes";
import { root } from "../root";
import { waitForAnswer } from "../runner/gate";
import { type Connection, influxDbSettings, query } from "../runner/influxdb";
import { freePort } from "../runner/ports";
import { asAdmin } from "../runner/schema";
import type { Credentials } from "../runner/types";

/** The project before and after: the guide's script, tags, settings and queries, or ours. */
export type Side = "guide" | "ours";

export interface Bench {
  rounds: number;
  /** Tiny, to see that it works: its figures mean nothing. */
  quick: boolean;
  /** The only one that is measured; all, if absent. */
  part?: string;
  k6: string;
  influxd: string;
  /** Emptied at the end. */
  folder: string;
  say: (line: string) => void;
  signal: AbortSignal;
}

/** A part that this machine cannot measure, as a phrase. */
export class NotMeasured extends Error {}

// The commands ------------------------------------------------------------------------------------

/**
 * Runs one of make's commands that measure: finds the programs, leaves no file behind, and says in
 * one line what went wrong. Its settings are `QUICK=1` and, where it has parts, `PART=<name>`.
 *
 * @param command make's name for it
 */
export async function measureBy(
  command: string,
  settings: string[],
  rounds: number,
  work: (bench: Bench) => Promise<void>,
  parts: string[] = [],
) {
  const interrupted = new AbortController();
  for (const event of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(event, () => interrupted.abort());
  }
  const { signal } = interrupted;
  const say = (line: string) => console.error(line);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), `coupon-load-test-${command}-`));
  try {
    const asked = settings.find((setting) => setting.startsWith("PART="));
    const part = asked?.slice("PART=".length);
    const known = ["QUICK=1", ...parts.map((name) => `PART=${name}`)];
    const unknown = settings.find((setting) => !known.includes(setting));
    if (unknown) throw new NotMeasured(`${unknown} is unknown; settings are ${known.join(", ")}`);
    const quick = settings.includes("QUICK=1");
    const { k6, influxd } = await prepareParts(say);
    await work({ rounds: quick ? 1 : rounds, quick, part, k6, influxd, folder, say, signal });
  } catch (error) {
    const { message } = error as Error;
    const known = signal.aborted || error instanceof NotMeasured;
    console.error(known ? `make ${command}: ${signal.aborted ? "interrupted" : message}` : error);
    process.exitCode = 1;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** The version that a program tells. */
export async function versionOf(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(command, args).catch(() => ({ stdout: "" }));
  return /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? "none";
}

/** What was measured on, without a name of it. */
export function thisMachine(): string {
  const [cpu] = os.cpus();
  return (
    `${os.cpus().length} cores (${cpu.model.trim()}), ${Math.round(os.totalmem() / 2 ** 30)} GB, ` +
    `${os.type()} ${os.release().split("-")[0]}`
  );
}

/** Writes a document as the project has its files formatted: with the project's own formatter. */
export async function writeDocument(file: string, text: string) {
  fs.writeFileSync(file, text);
  await promisify(execFile)("node_modules/.bin/prettier", ["--write", file]);
}

// Statistics --------------------------------------------------------------------------------------

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const thousands = (value: number, digits: number) =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** The median with the smallest and the largest value behind it. */
export function spread(values: number[], digits = 0): string {
  const [middle, least, most] = [median(values), Math.min(...values), Math.max(...values)];
  const shown = [middle, least, most].map((value) => thousands(value, digits));
  return `${shown[0]} (${shown[1]} - ${shown[2]})`;
}

export const number = (value: number, digits = 0) => thousands(value, digits);

// Programs ----------------------------------------------------------------------------------------

/** Runs a program to its end; its output goes to `log`. Gives its exit code. */
export async function finished(
  command: string,
  args: string[],
  log: string,
  signal: AbortSignal,
  env: NodeJS.ProcessEnv = {},
): Promise<number> {
  const output = fs.openSync(log, "a");
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", output, output],
    signal,
  });
  fs.closeSync(output);
  const [code] = await once(child, "close");
  return code ?? 1;
}

export interface Target {
  url: string;
  pid: number;
  stop(): Promise<void>;
}

export async function startTarget(): Promise<Target> {
  const child = spawn(process.execPath, [path.join(root, "launch.js"), "bench/target.ts"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [port] = await once(readline.createInterface(child.stdout), "line");
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid!,
    async stop() {
      const gone = once(child, "exit");
      child.stdin.end();
      await gone;
    },
  };
}

/** An InfluxDB with the database `k6`. */
export interface Store {
  side: Side;
  url: string;
  folder: string;
  process: ChildProcess;
  /** May do everything, and may only write: with the guide, everybody. */
  admin: Connection;
  writer: Connection;
  credentials: Credentials;
  stop(): Promise<void>;
}

/**
 * Starts an InfluxDB as a process: for the guide as it comes, for us as the stack sets it up.
 *
 * @param settings variables besides, the same for both
 */
export async function startStore(
  { influxd, folder: parent, signal }: Bench,
  side: Side,
  settings: Record<string, string> = {},
): Promise<Store> {
  const folder = fs.mkdtempSync(path.join(parent, `${side}-`));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const log = fs.openSync(path.join(folder, "influxd.log"), "a");
  const child = spawn(influxd, ["run"], {
    env: {
      ...process.env,
      INFLUXDB_META_DIR: path.join(folder, "meta"),
      INFLUXDB_DATA_DIR: path.join(folder, "data"),
      INFLUXDB_DATA_WAL_DIR: path.join(folder, "wal"),
      INFLUXDB_BIND_ADDRESS: "127.0.0.1:0",
      INFLUXDB_HTTP_BIND_ADDRESS: `127.0.0.1:${port}`,
      INFLUXDB_REPORTING_DISABLED: "true",
      ...(side === "ours" && influxDbSettings),
      ...settings,
    },
    stdio: ["ignore", log, log],
    detached: true, // ^C is for this program alone: it stops what it started.
  });
  fs.closeSync(log);
  const gone = new Promise<void>((resolve) => {
    child.once("error", () => resolve());
    child.once("exit", () => resolve());
  });
  const stop = async () => {
    child.kill("SIGKILL"); // Nothing of it is kept.
    await gone;
    fs.rmSync(folder, { recursive: true, force: true });
  };
  const password = "bench";
  const credentials = {
    writer: { username: "k6", password },
    reader: { username: "grafana", password },
  };
  try {
    await waitForAnswer(`${url}/ping`, 30, signal);
    const store = { side, url, folder, process: child, credentials, stop };
    if (side === "guide") {
      await query({ url }, "CREATE DATABASE k6");
      return { ...store, admin: { url }, writer: { url } };
    }
    const admin = { url, adminUsername: "admin", adminPassword: password };
    await setUpInfluxDb(admin, "k6", credentials);
    return { ...store, admin: asAdmin(admin), writer: { url, ...credentials.writer } };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The first value of a query's answer. */
export async function value(store: Store, statement: string): Promise<number> {
  const [[series]] = await query(store.admin, statement, "k6");
  return Number(series?.values[0].at(-1) ?? 0);
}

/** Series of the database, counted one by one. */
export async function seriesCount(store: Store): Promise<number> {
  const [measurements] = await query(store.admin, "SHOW SERIES EXACT CARDINALITY", "k6");
  return measurements.reduce((sum, { values }) => sum + Number(values[0][0]), 0);
}
