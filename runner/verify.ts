/** The run's figures as computed from the stored points. */
import * as fs from "node:fs";
import {
  droppedIterations,
  durationPercentile,
  firstIteration,
  firstRequest,
  progressMeasurement,
  requestCount,
  run,
  type Scope,
  totals,
} from "../dashboards/queries";
import type { Figure, Figures } from "../k6/profile";
import { type Counts, pointsOf } from "./counts";
import { type Digest, nearestRank } from "./digest";
import { canBeNamed, identifier, query, type Series } from "./influxdb";
import { inParts, type Range } from "./parts";
import { storedDurations, valueAt, valuesIn } from "./percentile";
import type { Login, RunRequest } from "./types";

/** What a file has as JSON; `undefined` if it is not there, or torn by the end of who wrote it. */
export function readJson(file: string) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
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
    return { time: time as number | undefined, value: (value ?? undefined) as number | undefined };
  });
}

/** The metric that each figure is computed from. */
const metricOf: Record<Exclude<Figure, "capacity">, string> = {
  requests: "http_reqs",
  rps: "http_reqs",
  avgMs: "http_req_duration",
  p95Ms: "http_req_duration",
  p99Ms: "http_req_duration",
  failedRate: "http_req_failed",
  checksRate: "checks",
  droppedIterations: "dropped_iterations",
};

/** Of so many requests InfluxDB finds a percentile in a moment: it copies and sorts them all. */
const quick = 1_000_000;

/**
 * Computes the figures from the stored points. Without those of metrics that are not all stored, and
 * of which there is no point; only of dropped iterations, none is what was measured.
 *
 * @param scope the run's requests
 * @param counts what k6 counted
 * @param incomplete metrics that are not all stored
 * @param range where the run's points are
 * @param digest of the run's requests; it need not know all of them
 */
export async function measure(
  source: Source,
  scope: Scope,
  {
    counts,
    incomplete,
    range,
    digest,
  }: {
    counts: Counts;
    incomplete: Set<string>;
    range: Range;
    digest: Pick<Digest, "requests" | "bucket">;
  },
): Promise<{ figures: Figures; startedAt?: Date; endedAt?: Date }> {
  const metrics = [...new Set(Object.values(metricOf))];
  const averaged = ["http_req_duration", "http_req_failed", "checks"];
  const points = pointsOf(counts, metrics);
  const parts = await inParts(source, range, points, (andTime) => {
    const part = { where: scope.where + andTime };
    // Each aggregate is a pass over all points, so of counters nothing but the sum is asked for.
    return [totals(averaged, part), requestCount(part), droppedIterations(part)];
  });
  const totalOf = (metric: string) => {
    const rows = parts.flatMap((all) => all.flat().filter(({ name }) => name === metric));
    const [sum, count] = [1, 2].map((at) =>
      rows.reduce((total, { values: [row] }) => total + Number(row[at]), 0),
    );
    return rows.length > 0 ? { sum, count, mean: sum / count } : undefined;
  };
  const requests = totalOf("http_reqs")?.sum;
  const durations = totalOf("http_req_duration");
  const percentiles = async (ps: number[]) => {
    if (!durations) return [];
    const { count } = durations;
    if (count <= quick) {
      const asked = ps.map((p) => durationPercentile(p, scope));
      return (await firstValues(source, asked)).map(({ value }) => value);
    }
    const stored = storedDurations(source, scope, { range, points: count, count });
    const ranks = ps.map((p) => nearestRank(p, count));
    const buckets = ps.map((p) => digest.bucket(p) ?? { low: 0, high: 1, below: 0, within: 0 });
    const isWhole = digest.requests === count;
    const known = isWhole ? await valuesIn(ranks, stored, buckets) : undefined;
    return known ?? Promise.all(ranks.map((rank, at) => valueAt(rank, stored, buckets[at])));
  };
  const [[request, iteration], [p95, p99]] = await Promise.all([
    firstValues(source, [firstRequest(scope), firstIteration(scope)]),
    percentiles([95, 99]),
  ]);
  const { durationMs } = counts;
  const all: Figures = {
    requests,
    rps: requests === undefined ? undefined : requests / (durationMs / 1000),
    avgMs: durations?.mean,
    p95Ms: p95,
    p99Ms: p99,
    failedRate: totalOf("http_req_failed")?.mean,
    checksRate: totalOf("checks")?.mean,
    droppedIterations: totalOf("dropped_iterations")?.sum ?? 0,
  };
  const known = (Object.keys(all) as (keyof typeof metricOf)[]).filter(
    (figure) => all[figure] !== undefined && !incomplete.has(metricOf[figure]),
  );
  const figures = Object.fromEntries(known.map((figure) => [figure, all[figure]])) as Figures;
  const first = [request, iteration].find(({ time }) => time !== undefined);
  if (!first) return { figures };
  const startedAt = Math.floor(first.time! - (first.value ?? 0));
  return {
    figures,
    startedAt: new Date(startedAt),
    endedAt: new Date(startedAt + Math.ceil(durationMs)),
  };
}

/**
 * Warns of a run that made more than `limit` series: they stay in InfluxDB's memory, and of
 * too many in a database it refuses points. Names the tag with the most values.
 */
export async function seriesWarning(
  { influxdb, reader }: Source,
  id: string,
  limit: number,
): Promise<string | undefined> {
  const ask = (statements: string) =>
    query({ url: influxdb.url, ...reader }, statements, influxdb.database);
  const { where } = run(id);
  const [all] = await ask(`SHOW SERIES EXACT CARDINALITY WHERE ${where}`);
  const measurements = all.filter(({ name }) => name !== progressMeasurement);
  const count = (series: Series) => Number(series.values[0][0]);
  const total = measurements.reduce((sum, each) => sum + count(each), 0);
  if (total <= limit) return undefined;

  const widest = measurements.reduce((a, b) => (count(a) >= count(b) ? a : b));
  const [[keys]] = await ask(`SHOW TAG KEYS FROM ${identifier(widest.name)} WHERE ${where}`);
  const tags = keys.values.map(([key]) => String(key)).filter(canBeNamed);
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

/** Whether InfluxDB refused points because there are too many series, see `influxDbSettings`. */
export const isForSeries = (refusal: string) =>
  /max-(values-per-tag|series-per-database) limit exceeded/.test(refusal);

/**
 * Removes what is stored of these metrics of a run, and says so, or why it could not. Series that are at
 * their bound keep every later run from being stored, until `retention` has passed.
 */
export async function makeRoom(
  { influxdb }: Source,
  writer: Login,
  id: string,
  metrics: Set<string>,
): Promise<string> {
  const names = [...metrics].map(identifier).join(", ");
  const drop = `DROP SERIES FROM ${names} WHERE ${run(id).where}`;
  return query({ url: influxdb.url, ...writer }, drop, influxdb.database).then(
    () => "the points of these metrics are removed from InfluxDB, so that the next run has room",
    ({ message }) =>
      `the points of these metrics could not be removed from InfluxDB, which has no room: ${message}`,
  );
}
