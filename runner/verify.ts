/** Proof that the points arrived, and the run's figures as computed from them. */
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  droppedIterations,
  durationMean,
  durationPercentile,
  failedShare,
  firstRequest,
  passedChecksShare,
  requestCount,
  run,
} from "../dashboards/queries";
import type { Figures } from "../k6/profile";
import { identifier, query, type Series } from "./influxdb";
import { type Login, RunFailure, type RunRequest } from "./types";

/** What k6 counted itself. */
export interface K6Count {
  requests: number;
  /** Length of the test, in milliseconds. */
  durationMs: number;
}

/** A metric of k6's summary export; a threshold is `true` when it is breached. */
interface K6Metric {
  count?: number;
  rate?: number;
  thresholds?: Record<string, boolean>;
}

/** What a file has as JSON; `undefined` if it is not there, or torn by the end of who wrote it. */
export function readJson(file: string) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

/** The metrics of k6's summary export; `undefined` when k6 ended before it could write one. */
function k6Metrics(dir: string): Record<string, K6Metric | null> | undefined {
  return readJson(path.join(dir, "k6-summary.json"))?.metrics ?? undefined;
}

/** What k6 counted; `undefined` when it ended early, or wrote what cannot be a count. */
export function k6Count(dir: string): K6Count | undefined {
  const metrics = k6Metrics(dir);
  if (!metrics) return undefined;
  const { http_reqs, iterations } = metrics;
  // k6's rate is the count over the test's length, which the export does not name otherwise.
  const { count = 0, rate = 1 } = (http_reqs?.count ? http_reqs : iterations) ?? {};
  const [requests, durationMs] = [http_reqs?.count ?? 0, (count / rate) * 1000 || 0];
  const possible = Number.isSafeInteger(requests) && requests >= 0 && durationMs >= 0;
  const inTime = durationMs < 1e12 && (durationMs > 0 || requests === 0);
  return possible && inTime ? { requests, durationMs } : undefined;
}

/** The thresholds that k6 itself found breached, such as `checks: rate>=0.99`. */
export function breachedInK6(dir: string): string[] {
  return Object.entries(k6Metrics(dir) ?? {}).flatMap(([metric, known]) =>
    Object.entries(known?.thresholds ?? {})
      .filter(([, breached]) => breached)
      .map(([expression]) => `${metric}: ${expression}`),
  );
}

/** The store, and the user that reads it. */
export interface Source {
  influxdb: RunRequest["influxdb"];
  /** `seconds`: how long an answer may take, see `Connection`. */
  reader: Login & { seconds?: number };
}

/** Runs queries as the reader and gives the first value of each, with its time. */
async function firstValues({ influxdb, reader }: Source, queries: string[]) {
  const connection = { url: influxdb.url, ...reader };
  const answers = await query(connection, queries.join("; "), influxdb.database);
  return answers.map(([series]) => {
    const [time, value] = series?.values[0] ?? [];
    return { time: time as number | undefined, value: value as number | undefined };
  });
}

/** How many requests of the run are stored. */
export async function storedRequests(source: Source, id: string): Promise<number> {
  const [{ value }] = await firstValues(source, [requestCount(run(id))]);
  return value ?? 0;
}

/** The figures so far, for the progress line; `undefined` before the first request is stored. */
export async function progress(source: Source, id: string) {
  const scope = run(id);
  const [count, p95, failed] = await firstValues(source, [
    requestCount(scope),
    durationPercentile(95, scope),
    failedShare(scope),
  ]);
  if (!count.value) return undefined;
  return { requests: count.value, p95Ms: p95.value ?? 0, failedRate: failed.value ?? 0 };
}

/**
 * How many points may be missing though InfluxDB took them all: of two with the same nanosecond and
 * the same tags it keeps one. Requests that end at random times give requests² / 2 / nanoseconds
 * such pairs on average; more than this bound is a chance of about 1 in 10,000.
 */
export function coincidences({ requests, durationMs }: K6Count): number {
  const average = requests ** 2 / 2 / (durationMs * 1e6) || 0;
  return average < 1e-4 ? 0 : Math.ceil(average + 4 * Math.sqrt(average));
}

/**
 * Compares the requests stored with those made, and computes the figures from the stored points.
 *
 * @param allowed how many requests may be missing
 * @param refusal why a write of k6 failed, if one did
 * @throws RunFailure naming how many points are missing
 */
export async function verify(
  source: Source,
  id: string,
  { requests: made, durationMs }: K6Count,
  allowed = 0,
  refusal?: string,
): Promise<Figures & { startedAt: Date; endedAt: Date }> {
  let stored = await storedRequests(source, id).catch((error) => {
    throw new RunFailure(
      `k6 made ${made} requests, how many are stored is unknown: ${error.message}`,
    );
  });
  for (let attempt = 0; stored !== made && attempt < 10; attempt++) {
    await sleep(500);
    stored = await storedRequests(source, id);
  }
  if (stored > made || stored < made - allowed) {
    const difference = made - stored;
    throw new RunFailure(
      difference > 0
        ? `points are missing from InfluxDB: k6 made ${made} requests, ${stored} are stored, ` +
            `${difference} are missing` +
            (refusal ? `; a write failed: ${refusal}` : "")
        : `InfluxDB holds ${stored} requests of this run, but k6 made only ${made}`,
    );
  }
  const scope = run(id);
  const [mean, p95, p99, failed, checks, dropped, first] = await firstValues(source, [
    durationMean(scope),
    durationPercentile(95, scope),
    durationPercentile(99, scope),
    failedShare(scope),
    passedChecksShare(scope),
    droppedIterations(scope),
    firstRequest(scope),
  ]);
  const startedAt = Math.floor((first.time ?? 0) - (first.value ?? 0));
  return {
    requests: stored,
    rps: stored / (durationMs / 1000),
    avgMs: mean.value ?? 0,
    p95Ms: p95.value ?? 0,
    p99Ms: p99.value ?? 0,
    failedRate: failed.value ?? 0,
    checksRate: checks.value,
    droppedIterations: dropped.value ?? 0,
    startedAt: new Date(startedAt),
    endedAt: new Date(startedAt + Math.ceil(durationMs)),
  };
}

/**
 * Warns of a run that made more than `limit` series: they stay in InfluxDB's memory, and past a
 * million in a database it refuses points. Names the tag with the most values.
 */
export async function seriesWarning(
  { influxdb, reader }: Source,
  id: string,
  limit: number,
): Promise<string | undefined> {
  const ask = (statements: string) =>
    query({ url: influxdb.url, ...reader }, statements, influxdb.database);
  const { where } = run(id);
  const [measurements] = await ask(`SHOW SERIES EXACT CARDINALITY WHERE ${where}`);
  const count = (series: Series) => Number(series.values[0][0]);
  const total = measurements.reduce((sum, each) => sum + count(each), 0);
  if (total <= limit) return undefined;

  const widest = measurements.reduce((a, b) => (count(a) >= count(b) ? a : b));
  const [[keys]] = await ask(`SHOW TAG KEYS FROM ${identifier(widest.name)} WHERE ${where}`);
  const tags = keys.values.map(([key]) => String(key));
  const cardinality = (tag: string) =>
    `SHOW TAG VALUES EXACT CARDINALITY FROM ${identifier(widest.name)} ` +
    `WITH KEY = ${identifier(tag)} WHERE ${where}`;
  const answers = await ask(tags.map(cardinality).join("; "));
  const values = answers.map(([series]) => (series ? count(series) : 0));
  const most = values.indexOf(Math.max(...values));
  return (
    `the run made ${total} series in InfluxDB, more than ${limit}: ` +
    `its tag "${tags[most]}" has ${values[most]} values`
  );
}
