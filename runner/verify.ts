/** The run's figures as computed from the stored points. */
import * as fs from "node:fs";
import {
  droppedIterations,
  durationMean,
  durationPercentile,
  failedShare,
  firstIteration,
  firstRequest,
  passedChecksShare,
  requestCount,
  run,
  testOnly,
} from "../dashboards/queries";
import type { Figure, Figures } from "../k6/profile";
import { canBeNamed, identifier, query, type Series } from "./influxdb";
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

/** The metric that each figure is computed from. */
const metricOf: Record<Figure, string> = {
  requests: "http_reqs",
  rps: "http_reqs",
  avgMs: "http_req_duration",
  p95Ms: "http_req_duration",
  p99Ms: "http_req_duration",
  failedRate: "http_req_failed",
  checksRate: "checks",
  droppedIterations: "dropped_iterations",
};

/**
 * Computes the figures from the stored points. Without those of metrics that are not all stored, and
 * of which there is no point; only of dropped iterations, none is what was measured.
 *
 * @param durationMs length of the test, in milliseconds
 * @param hooks whether the script has requests of its own before or after the test
 * @param incomplete metrics that are not all stored
 */
export async function measure(
  source: Source,
  id: string,
  {
    durationMs,
    hooks,
    incomplete,
  }: { durationMs: number; hooks: boolean; incomplete: Set<string> },
): Promise<{ figures: Figures; startedAt?: Date; endedAt?: Date }> {
  const scope = hooks ? testOnly(id) : run(id);
  const [count, mean, p95, p99, failed, checks, dropped, request, iteration] = await firstValues(
    source,
    [
      requestCount(scope),
      durationMean(scope),
      durationPercentile(95, scope),
      durationPercentile(99, scope),
      failedShare(scope),
      passedChecksShare(scope),
      droppedIterations(scope),
      firstRequest(scope),
      firstIteration(scope),
    ],
  );
  const all: Figures = {
    requests: count.value,
    rps: count.value === undefined ? undefined : count.value / (durationMs / 1000),
    avgMs: mean.value,
    p95Ms: p95.value,
    p99Ms: p99.value,
    failedRate: failed.value,
    checksRate: checks.value,
    droppedIterations: dropped.value ?? 0,
  };
  const known = (Object.keys(all) as Figure[]).filter(
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
  const [measurements] = await ask(`SHOW SERIES EXACT CARDINALITY WHERE ${where}`);
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
