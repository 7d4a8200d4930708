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

/** The retention policy of what outlives the raw points: the ledger of runs, and figures of them. */
export const history = "history";

/** What the variable "Route" stands for where none is chosen, and the tag `name` of figures of all. */
export const allRoutes = "all routes";

/** What the dashboard's variables choose: runs and routes. `:regex` joins several by `|`. */
const chosen = `"testid" =~ /^\${testid:regex}$/ AND "name" =~ /^\${name:regex}$/ AND $timeFilter`;

/** A panel: Grafana fills in the chosen runs and routes, the time range and the interval. */
export const panel: Intervals = {
  where: chosen,
  every: { interval: "$__interval", ms: "$__interval_ms" },
  by: "testid",
};

/** All points of a panel as one value for each run: what a threshold compares. */
export const wholeRange: Scope = { where: chosen, by: "testid" };

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

/** Iterations that k6 could not start for want of VUs. */
export const droppedIterations = (scope: Scope) =>
  select(`sum("value")`, `"dropped_iterations"`, scope);

/** What the values of metrics add up to, and how many there are, each metric by its name. */
export const totals = (metrics: string[], scope: Scope) =>
  select(`sum("value"), count("value")`, metrics.map((metric) => `"${metric}"`).join(", "), scope);

/** When the first request ended (its time) and how long it took, in milliseconds. */
export const firstRequest = (scope: Scope) =>
  select(`first("value")`, `"http_req_duration"`, scope);

/** The same of the first iteration. */
export const firstIteration = (scope: Scope) =>
  select(`first("value")`, `"iteration_duration"`, scope);

/** The measurement in which the runner tells a run's figures as it goes, see `runner/digest.ts`. */
export const progressMeasurement = "k6_progress";
const progress = `"${history}"."${progressMeasurement}"`;

/** A figure that the runner tells: of durations in milliseconds, or requests per second. */
export type ToldFigure = "p99" | "p95" | "avg" | "rps";

/**
 * A figure of each interval of a panel, as the runner has told it: of all requests of a run, and so
 * of no points where routes are chosen. It reads a point an interval, whatever the load. `offered` is the
 * rate that k6 was told, where the load has a shape.
 */
export const toldFigure = (figure: ToldFigure | "offered") =>
  select(`last("${figure}_$__interval_ms")`, progress, panel);

/** The same of a run from its start, as far as it was told in the panel's time range. */
export const toldSoFar = (figure: ToldFigure) => select(`last("${figure}")`, progress, wholeRange);

/** All figures of each interval of a run, as the runner has told them: p99, p95, avg, rps. */
export const ofIntervals = (id: string, ms: number) => {
  const columns = ["p99", "p95", "avg", "rps"].map((figure) => `"${figure}_${ms}"`);
  return `SELECT ${columns.join(", ")} FROM ${progress} WHERE ${run(id).where}`;
};

/** The ledger: one point a run, at its start. */
export const ledger = `"${history}"."k6_runs"`;

/** Runs in the ledger, whole, the newest first. @param where such as `"testid" = 'dev-...'` */
export const runsInLedger = (where: string, limit: number) =>
  `SELECT * FROM ${ledger} WHERE ${where} ORDER BY time DESC LIMIT ${limit}`;

/** The measurement in which the ledger has the slowest routes of each run. */
export const routesMeasurement = "k6_routes";

/** Those of a run. */
export const routesInLedger = (id: string) =>
  `SELECT * FROM "${history}"."${routesMeasurement}" WHERE ${run(id).where}`;

/** Columns of the runs in the dashboard's time range. */
export const ledgerColumns = (...columns: string[]) =>
  `SELECT ${columns.map((column) => `"${column}"`).join(", ")} FROM ${ledger} WHERE $timeFilter`;

/** The runs that have figures, old and new. */
export const runIds = `SHOW TAG VALUES FROM "${progressMeasurement}" WITH KEY = "testid"`;

/** The routes of the chosen runs, as long as their raw points are kept. */
export const routeNames =
  `SHOW TAG VALUES FROM "http_req_duration" WITH KEY = "name" ` +
  `WHERE "testid" =~ /^\${testid:regex}$/`;

/** The measurement in which a run tells, as long as it lasts, how many requests came to be stored. */
export const heartbeat = "k6_heartbeat";

/** Requests that came to be stored of late while a run was on; no value when none was. */
export const arrivals = (scope: Scope) => select(`sum("stored")`, `"${heartbeat}"`, scope);
