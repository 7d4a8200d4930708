/**
 * The InfluxQL of every panel and of every figure of the verdict, once.
 *
 * k6's InfluxDB output writes one point per sample: the measurement is the metric's name, the only
 * field is `value`, and `http_reqs` is one point of value 1 per request.
 */

/** Which points a query reads, and whether it gives one value or one per interval. */
export interface Scope {
  where: string;
  /** InfluxQL's interval and its length in milliseconds; absent: one value for all points. */
  every?: { interval: string; ms: string };
}

/** A panel: Grafana fills in the dashboard's time range and the interval. */
export const panel: Required<Scope> = {
  where: "$timeFilter",
  every: { interval: "$__interval", ms: "$__interval_ms" },
};

/** All points of the dashboard's time range as one value: what a threshold compares. */
export const wholeRange: Scope = { where: panel.where };

/** A whole run. A run id is made of letters, digits, `-` and `_`, so it needs no escaping. */
export const run = (id: string): Scope => ({ where: `"testid" = '${id}'` });

const select = (what: string, measurement: string, { where, every }: Scope, fill = "null") =>
  `SELECT ${what} FROM "${measurement}" WHERE ${where}` +
  (every ? ` GROUP BY time(${every.interval}) fill(${fill})` : "");

/** Request duration at percentile `p` (nearest rank), in milliseconds. */
export const durationPercentile = (p: number, scope: Scope) =>
  select(`percentile("value", ${p})`, "http_req_duration", scope);

/** Mean request duration, in milliseconds. */
export const durationMean = (scope: Scope) => select(`mean("value")`, "http_req_duration", scope);

/** Requests per second of each interval: `sum`, since a mean of ones is 1 at any load. */
export const requestRate = (scope: Required<Scope>) =>
  select(`sum("value") * 1000 / ${scope.every.ms}`, "http_reqs", scope, "0");

/** Requests stored. */
export const requestCount = (scope: Scope) => select(`sum("value")`, "http_reqs", scope);

/** Share of requests that failed, 0 to 1. */
export const failedShare = (scope: Scope) => select(`mean("value")`, "http_req_failed", scope);

/** Share of checks that passed, 0 to 1. */
export const passedChecksShare = (scope: Scope) => select(`mean("value")`, "checks", scope);

/** Iterations that k6 could not start for want of VUs. */
export const droppedIterations = (scope: Scope) =>
  select(`sum("value")`, "dropped_iterations", scope);

/** When the first request ended (its time) and how long it took, in milliseconds. */
export const firstRequest = (scope: Scope) => select(`first("value")`, "http_req_duration", scope);
