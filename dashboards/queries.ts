/**
 * The InfluxQL of every panel and of every figure of the verdict, once.
 *
 * k6's InfluxDB output writes one point per sample: the measurement is the metric's name, the only
 * field is `value`, and `http_reqs` is one point of value 1 per request.
 *
 * No query divides by `/`. Grafana's page takes the text between a division and the first `/` of a
 * regular expression for a regular expression, too, and escapes the variables in it
 * (grafana/grafana#114260). `pow(x, -1)` is the same number.
 */

/** Which points a query reads, and whether it gives one value or one per interval. */
export interface Scope {
  where: string;
  /** InfluxQL's interval and its length in milliseconds; absent: one value for all points. */
  every?: { interval: string; ms: string };
  /** A tag whose values are told apart, each with a series of its own. */
  by?: string;
}

/** A scope that gives one value per interval. */
export type Intervals = Scope & Required<Pick<Scope, "every">>;

/** The retention policy of what outlives the raw points: rollups and the ledger of runs. */
export const history = "history";

/** What the dashboard's variables choose: runs and routes. `:regex` joins several by `|`. */
const chosen = `"testid" =~ /^\${testid:regex}$/ AND "name" =~ /^\${name:regex}$/ AND $timeFilter`;

/**
 * A panel: Grafana fills in the chosen runs and routes, the time range and the interval.
 *
 * @param retention how long raw points are kept: InfluxDB drops them a shard at a time, so older
 * ones may still be there beside the rollups that take their place
 */
export const panel = (retention: string): Intervals => ({
  where: `${chosen} AND time >= now() - ${retention}`,
  every: { interval: "$__interval", ms: "$__interval_ms" },
  by: "testid",
});

/** All points of a panel as one value for each run: what a threshold compares. */
export const wholeRange = (retention: string): Scope => ({
  where: panel(retention).where,
  by: "testid",
});

/** A panel where raw points are no more: for the queries of rollups. */
export const panelOfHistory = (retention: string): Intervals => ({
  ...panel(retention),
  where: `${chosen} AND time < now() - ${retention}`,
});

/** A whole run. A run id is made of letters, digits, `-` and `_`, so it needs no escaping. */
export const run = (id: string): Scope => ({ where: `"testid" = '${id}'` });

/** A whole run without what `setup()` and `teardown()` asked, which k6 tells by their group. */
export const testOnly = (id: string): Scope => ({
  where: `${run(id).where} AND "group" !~ /^::(setup|teardown)$/`,
});

/** The last minute, for alert rules: Grafana fills in the time range that goes with the rule. */
export const recent: Scope = { where: "$timeFilter" };

const select = (what: string, from: string, { where, every, by }: Scope, fill = "null") => {
  const dimensions = [...(every ? [`time(${every.interval})`] : []), ...(by ? [`"${by}"`] : [])];
  return (
    `SELECT ${what} FROM ${from} WHERE ${where}` +
    (dimensions.length > 0 ? ` GROUP BY ${dimensions.join(", ")}` : "") +
    (every ? ` fill(${fill})` : "")
  );
};

/** Request duration at percentile `p` (nearest rank), in milliseconds. */
export const durationPercentile = (p: number, scope: Scope) =>
  select(`percentile("value", ${p})`, `"http_req_duration"`, scope);

/** Mean request duration, in milliseconds. */
export const durationMean = (scope: Scope) => select(`mean("value")`, `"http_req_duration"`, scope);

/** Requests per second of each interval: `sum`, since a mean of ones is 1 at any load. */
export const requestRate = (scope: Intervals) =>
  select(`sum("value") * 1000 * pow(${scope.every.ms}, -1)`, `"http_reqs"`, scope, "0");

/** Requests stored. */
export const requestCount = (scope: Scope) => select(`sum("value")`, `"http_reqs"`, scope);

/** Share of requests that failed, 0 to 1. */
export const failedShare = (scope: Scope) => select(`mean("value")`, `"http_req_failed"`, scope);

/** Share of checks that passed, 0 to 1. */
export const passedChecksShare = (scope: Scope) => select(`mean("value")`, `"checks"`, scope);

/** Iterations that k6 could not start for want of VUs. */
export const droppedIterations = (scope: Scope) =>
  select(`sum("value")`, `"dropped_iterations"`, scope);

/** When the first request ended (its time) and how long it took, in milliseconds. */
export const firstRequest = (scope: Scope) =>
  select(`first("value")`, `"http_req_duration"`, scope);

/** The same of the first iteration. */
export const firstIteration = (scope: Scope) =>
  select(`first("value")`, `"iteration_duration"`, scope);

/** Length of a rollup's interval. */
const rollupSeconds = 10;
const rollups = `"${history}"."http_req_duration"`;

/**
 * The rollup of request durations that InfluxDB makes as a continuous query: of each ten seconds the
 * count, the sum and both percentiles, with all tags. Late points are taken in for half a minute.
 * Every request has a duration, so all four panels can be drawn from it.
 */
export const durationRollup = (database: string) => ({
  name: "http_req_duration_10s",
  resample: "EVERY 10s FOR 30s",
  select:
    `SELECT count("value") AS "count", sum("value") AS "sum", ` +
    `percentile("value", 95) AS "p95", percentile("value", 99) AS "p99" ` +
    `INTO "${database}".${rollups} FROM "${database}"."autogen"."http_req_duration" ` +
    `GROUP BY time(${rollupSeconds}s), *`,
});

/**
 * `durationPercentile` of 95 or 99 from rollups: the highest of the percentiles of ten seconds. For
 * longer intervals that is mostly above the exact one, which cannot be had from them; with few
 * requests, the rounding of ranks can put it below.
 */
export const rolledPercentile = (p: 95 | 99, scope: Scope) =>
  select(`max("p${p}")`, rollups, scope, "none");

/** `durationMean` from rollups, exact. */
export const rolledMean = (scope: Scope) =>
  select(`sum("sum") * pow(sum("count"), -1)`, rollups, scope, "none");

/** `requestRate` from rollups, exact where the interval is a multiple of ten seconds. */
export const rolledRequestRate = (scope: Scope) => {
  const ten = { ...scope, every: { interval: `${rollupSeconds}s`, ms: "" } };
  const counts = select(`sum("count") AS "requests"`, rollups, ten, "0");
  // The inner query has read the right points; the outer one only joins them.
  return select(
    `mean("requests") * ${1 / rollupSeconds}`,
    `(${counts})`,
    { ...scope, where: "$timeFilter" },
    "none",
  );
};

/** The ledger: one point a run, at its start. */
export const ledger = `"${history}"."k6_runs"`;

/** Runs in the ledger, whole, the newest first. @param where such as `"testid" = 'dev-...'` */
export const runsInLedger = (where: string, limit: number) =>
  `SELECT * FROM ${ledger} WHERE ${where} ORDER BY time DESC LIMIT ${limit}`;

/** Columns of the runs in the dashboard's time range. */
export const ledgerColumns = (...columns: string[]) =>
  `SELECT ${columns.map((column) => `"${column}"`).join(", ")} FROM ${ledger} WHERE $timeFilter`;

/** A figure of each chosen run, as its verdict has it: one point a run, once the run has ended. */
export const figureOfRuns = (column: string) =>
  `SELECT "${column}" FROM ${ledger} WHERE "testid" =~ /^\${testid:regex}$/ AND $timeFilter ` +
  `GROUP BY "testid"`;

/** The values of a tag, of runs old and new. @param where which series are looked at */
export const tagValues = (tag: string, where?: string) =>
  `SHOW TAG VALUES FROM "http_req_duration" WITH KEY = "${tag}"` + (where ? ` WHERE ${where}` : "");

/** The measurement in which a run tells, as long as it lasts, how many requests came to be stored. */
export const heartbeat = "k6_heartbeat";

/** Requests that came to be stored of late while a run was on; no value when none was. */
export const arrivals = (scope: Scope) => select(`sum("stored")`, `"${heartbeat}"`, scope);
