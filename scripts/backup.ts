/**
 * `make backup` and `make restore`: the points of a stack that is up, and what people made in its
 * Grafana, as one file.
 *
 * A restore adds to what the stack has. Points come back through a second database, out of which
 * InfluxDB copies them: so users, rights, retention and what the stack has measured itself stay as
 * they are at every moment, and a restore that broke off is only run again.
 */
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import { askGrafana, type GrafanaLogin } from "../runner/grafana";
import { identifier, query } from "../runner/influxdb";
import { type Admin, asAdmin } from "../runner/schema";
import { RunFailure } from "../runner/types";
import { type Manifest, pack, unpack } from "./archive";
import { type GrafanaContent, readContent, writeContent } from "./grafana-content";
import { copyPoints } from "./points";

/** Ignored by git. */
export const backupsFolder = "backups";

/** A stack that is up. */
export interface RunningStack {
  stack: string;
  influxdb: Admin & { container: string; database: string };
  grafana: GrafanaLogin;
  /** The uids of the folders and dashboards that the stack makes itself. */
  managed: Set<string>;
}

/**
 * Where the programs of InfluxDB's container put and find a backup: in its volume, beside its data. It
 * can write nowhere else but in memory, which Docker copies nothing out of.
 */
const inContainer = "/var/lib/influxdb/coupon-load-test";
/** InfluxDB's address for backups, inside its container only. */
const rpc = ["-host", "127.0.0.1:8088"];

/** Writes `backups/<stack>-<UTC time>.tar.gz`, mode 0600; gives its path and what is in it. */
export async function backup(from: RunningStack): Promise<{ archive: string; manifest: Manifest }> {
  const { container, database } = from.influxdb;
  const madeAt = new Date().toISOString();
  const name = `${from.stack}-${madeAt.replace(/[-:]|\.\d+/g, "")}`;
  return inFolders(from, async (folder) => {
    const points = path.join(folder, "influxdb");
    const program = ["influxd", "backup", "-portable", ...rpc, "-db", database, inContainer];
    await docker("exec", container, ...program);
    await docker("cp", `${container}:${inContainer}/.`, points);
    const content = await readContent(from.grafana, from.managed);
    fs.writeFileSync(path.join(folder, "grafana.json"), JSON.stringify(content, null, 2) + "\n");
    const archive = path.join(backupsFolder, `${name}.tar.gz`);
    const about = { stack: from.stack, madeAt, database, versions: await versionsOf(from) };
    return { archive, manifest: await pack(folder, about, archive) };
  });
}

/**
 * Puts a backup into a stack. `say` gets lines for people while it lasts.
 *
 * @param signal breaks off between two steps
 * @throws RunFailure in one line: before anything is changed if the archive will not do, else with
 * the state that the stack is in
 */
export async function restore(
  into: RunningStack,
  archive: string,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { influxdb, grafana, managed } = into;
  await inFolders(into, async (folder) => {
    const manifest = await unpack(archive, folder);
    say(`${archive}: stack ${manifest.stack}, ${manifest.madeAt}, all checksums agree`);
    try {
      await restorePoints(influxdb, manifest.database, path.join(folder, "influxdb"), say, signal);
      const file = path.join(folder, "grafana.json");
      const content: GrafanaContent = JSON.parse(fs.readFileSync(file, "utf8"));
      await writeContent(grafana, managed, content);
      const { dashboards, annotations } = content;
      say(`Grafana: ${dashboards.length} dashboards, ${annotations.length} annotations by hand`);
    } catch (error) {
      throw new RunFailure(
        `the restore broke off: ${signal.aborted ? "it was interrupted" : (error as Error).message}; ` +
          `the stack has all that was its own and part of the archive, run the same command again`,
      );
    }
  });
}

/** Has InfluxDB take a backup in as a database of its own, and copies all its points from there. */
async function restorePoints(
  influxdb: RunningStack["influxdb"],
  backedUp: string,
  folder: string,
  say: (line: string) => void,
  signal: AbortSignal,
) {
  const { container, database } = influxdb;
  const aside = `${database}_restored`;
  const drop = () => query(asAdmin(influxdb), `DROP DATABASE ${identifier(aside)}`);
  // A restore that was killed left it.
  await drop();
  try {
    await docker("cp", folder, `${container}:${inContainer}`);
    const names = ["-db", backedUp, "-newdb", aside];
    const program = ["influxd", "restore", "-portable", ...rpc, ...names, inContainer];
    await docker("exec", container, ...program);
    await copyPoints(influxdb, aside, database, say, signal);
  } finally {
    await drop().catch(() => undefined);
  }
}

async function versionsOf({ influxdb, grafana }: RunningStack): Promise<Manifest["versions"]> {
  const ping = await fetch(`${influxdb.url}/ping`, { signal: AbortSignal.timeout(10_000) });
  const health = await askGrafana(grafana, "GET", "/api/health");
  return {
    influxdb: ping.headers.get("x-influxdb-version") ?? "unknown",
    grafana: health.body.version,
  };
}

/**
 * An empty folder on this machine, and a free place in the container, as long as `work` lasts. What
 * one that was killed left in them is removed.
 */
async function inFolders<T>(of: RunningStack, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = path.join(backupsFolder, `.${of.stack}`);
  const clear = async () => {
    fs.rmSync(folder, { recursive: true, force: true });
    await docker("exec", of.influxdb.container, "rm", "-rf", inContainer);
  };
  await clear();
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  try {
    return await work(folder);
  } finally {
    await clear().catch(() => undefined);
  }
}

/** @throws RunFailure with the last line of what Docker, or the program in the container, says */
async function docker(...args: string[]): Promise<void> {
  await promisify(execFile)("docker", args, { maxBuffer: 1e9 }).catch((error) => {
    const said: string = error.stderr?.trim() || error.message;
    throw new RunFailure(`docker ${args[0]} failed: ${said.split("\n").at(-1)}`);
  });
}
