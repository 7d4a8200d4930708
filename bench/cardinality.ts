/** Series and bytes on disk per request, for few and for many distinct users. */
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Bench, number, seriesCount, type Side, startStore, type Store } from "./machine";
import { type Samples, writePoints } from "./points";

export interface Cardinality {
  table: string[][];
}

/** Has InfluxDB write its files at once, as it otherwise does hours later. */
export const compactAtOnce = {
  INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION: "1s",
  INFLUXDB_DATA_COMPACT_FULL_WRITE_COLD_DURATION: "1s",
};

export async function measureCardinality(
  bench: Bench,
  samples: Record<Side, Samples>,
): Promise<Cardinality> {
  const cases = bench.quick ? [100, 1000] : [1_000, 100_000, 1_000_000];
  const table = [
    [
      "distinct users",
      "requests",
      "tagging",
      "series",
      "bytes a request",
      "InfluxDB's memory, MB",
      "points refused",
    ],
  ];
  for (const users of cases) {
    const requests = Math.max(users, bench.quick ? 1000 : 100_000);
    for (const side of ["guide", "ours"] as const) {
      const store = await startStore(bench, side, compactAtOnce);
      try {
        const points = { requests, users, from: Date.now() - 3_600_000, rate: 1000 };
        // Past the limit there is nothing left to learn.
        const written = await writePoints(bench, store, samples[side], points, 10_000);
        const { refused, refusal } = written;
        const perRequest = samples[side].size;
        const made = written.points / perRequest;
        const series = await seriesCount(store);
        const memory = residentMegabytes(store);
        await settled(bench, store);
        // Of what it stored: a request is `perRequest` points.
        const stored = (written.points - refused) / perRequest;
        table.push([
          number(users),
          number(made) + (made < requests ? ", stopped" : ""),
          side,
          number(series),
          number(diskBytes(path.join(store.folder, "data/k6")) / stored),
          memory === undefined ? "" : number(memory),
          refusal
            ? `from request ${number(refusal.after)} on, ${number(refused)}: ${words(refusal.message)}`
            : "0",
        ]);
        bench.say(`series, ${number(users)} users: ${side}: ${number(series)}`);
      } finally {
        await store.stop();
      }
    }
  }
  return { table };
}

/** The rule that was broken, without the series that broke it. */
const words = (message: string) =>
  /max-[\w-]+ limit exceeded(?: \(\d+\/\d+\))?/.exec(message)?.[0] ?? message.slice(0, 80);

/** Waits until the write-ahead log is empty and the files no longer change; a minute at most. */
export async function settled(bench: Bench, { folder }: Store) {
  const sizes: number[] = [];
  for (let second = 0; second < 60; second++) {
    bench.signal.throwIfAborted();
    const log = diskBytes(path.join(folder, "wal/k6"));
    sizes.push(diskBytes(path.join(folder, "data/k6")));
    const same = sizes.length > 4 && new Set(sizes.slice(-4)).size === 1;
    if (log < 1000 && same) return;
    await sleep(1000);
  }
}

function diskBytes(folder: string): number {
  let bytes = 0;
  for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    // A file that was there a moment ago may be compacted away.
    const stat = fs.statSync(path.join(entry.parentPath, entry.name), { throwIfNoEntry: false });
    // What it takes, not how long it is: InfluxDB makes long files with nothing in them.
    if (stat?.isFile()) bytes += stat.blocks * 512;
  }
  return bytes;
}

function residentMegabytes({ process: { pid } }: Store): number | undefined {
  const file = `/proc/${pid}/status`;
  if (!fs.existsSync(file)) return undefined;
  return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(file, "utf8"))?.[1]) / 1024;
}
