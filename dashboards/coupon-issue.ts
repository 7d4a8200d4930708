/**
 * The dashboard of the load test, as Grafana's classic JSON model: three latencies and the request
 * rate. docs/decisions.md says why these are plain objects and not calls of Grafana's SDK.
 */
import {
  arrivalRate,
  durationSeconds,
  iterationsOf,
  type LoadProfile,
  ruleOf,
  type Thresholds,
} from "../k6/profile";
import {
  allRoutes,
  durationMean,
  durationPercentile,
  ledgerColumns,
  panel,
  requestRate,
  routeNames,
  runIds,
  type ToldFigure,
  toldFigure,
  toldSoFar,
  wholeRange,
} from "./queries";
import { limitLabel, runsUid } from "./runs";

export interface CouponIssueDashboardArgs {
  /** Uid of the dashboard; its path is `/d/<uid>`. */
  uid: string;
  /** Uid of the InfluxDB data source that k6's points are in. */
  dataSourceUid: string;
  thresholds: Thresholds;
  /** How long raw points are kept, such as `30d`; after that, a route alone has no curve. */
  retention: string;
  /** What is offered: each iteration sends one request. Absent where nobody knows. */
  profile?: LoadProfile;
}

/** One panel: a figure over time, and of the whole of each run. */
interface Chart {
  title: string;
  /** Name of the series in the legend. */
  name: string;
  description: string;
  /** The figure as the runner tells it, of all routes. */
  figure: ToldFigure;
  /** The same of chosen routes, from raw points: over time and, for latencies, of the whole range. */
  routeQuery: string;
  wholeRouteQuery?: string;
  /** The shortest time that one point may cover. */
  interval: string;
  /** Grafana's name of the unit: milliseconds or requests per second. */
  unit: "ms" | "reqps";
  /** What the legend tells of the points; no mean of percentiles, which is no percentile. */
  legend: ("lastNotNull" | "max" | "mean")[];
  /** Whether the rate that is offered is drawn as a curve. */
  hasShape?: boolean;
  /** A line across the panel where the axis reaches it: a limit, red above, or a target, dashed. */
  line?: { kind: "limit" | "target"; at: number };
}

/** The dashboard, ready for `JSON.stringify`. */
export function couponIssueDashboard(args: CouponIssueDashboardArgs) {
  const { uid, dataSourceUid, thresholds, retention, profile } = args;
  const mean = profile && iterationsOf(profile) / durationSeconds(profile.duration)!;
  const interval = minInterval(mean);
  const rpsInterval = minInterval(mean, 10);
  const eachPoint = `Each point covers ${interval} or more`;
  const notConnected = "A request that could not connect counts as 0 ms.";
  const chosen = `Of chosen routes, it is drawn from raw points, kept for ${retention}.`;
  const dashed = "The dashed line is the rate that k6 offers. ";

  const percentile = (p: 95 | 99, limitMs: number): Chart => ({
    title: `HTTP Request Duration (p${p})`,
    name: `p${p}`,
    description:
      `${p} of 100 requests took this long or less, from sending to the last byte received. ` +
      `The limit, ${limitMs} ms, is for all requests of a run together, which the legend's ` +
      `row "whole" gives: so far, and exactly once the run has ended. ${eachPoint}, some seconds ` +
      `late and to within 0.1 %: the nearest rank, which among ${50 / (100 - p)} requests or ` +
      `fewer is just the slowest. ${notConnected} ${chosen}`,
    figure: `p${p}`,
    routeQuery: durationPercentile(p, panel),
    wholeRouteQuery: durationPercentile(p, wholeRange),
    interval,
    unit: "ms",
    legend: ["lastNotNull", "max"],
    line: { kind: "limit", at: limitMs },
  });

  const charts: Chart[] = [
    percentile(99, ruleOf("p99Ms", thresholds).limit),
    percentile(95, ruleOf("p95Ms", thresholds).limit),
    {
      title: "HTTP Request Duration (avg)",
      name: "avg",
      description:
        "Mean time of a request, from sending to the last byte received. No limit: a mean hides " +
        `the slow few. ${eachPoint}. ${notConnected} ${chosen}`,
      figure: "avg",
      routeQuery: durationMean(panel),
      wholeRouteQuery: durationMean(wholeRange),
      interval,
      unit: "ms",
      legend: ["lastNotNull", "max"],
    },
    {
      title: "RPS (Requests per Second)",
      name: "RPS",
      description:
        `Requests that ended, answered or failed, per second. ${profile ? dashed : ""}` +
        `Each point covers ${rpsInterval} or more; the first and the newest are partly filled, so ` +
        "they read low. " +
        `The row "whole" is of each run so far; mean counts idle time, too. ${chosen}`,
      figure: "rps",
      routeQuery: requestRate(panel),
      interval: rpsInterval,
      unit: "reqps",
      legend: ["lastNotNull", "max", "mean"],
      ...(profile?.stages
        ? { hasShape: true }
        : profile && { line: { kind: "target", at: arrivalRate(profile) } }),
    },
  ];

  return {
    uid,
    title: "Coupon Issue Load Test",
    tags: ["coupon", "k6", "load-test"],
    // The last version of the classic model; older Grafanas read it too.
    schemaVersion: 42,
    editable: true,
    timezone: "browser",
    // One crosshair through all panels.
    graphTooltip: 1,
    refresh: "5s",
    time: { from: "now-5m", to: "now" },
    timepicker: { quick_ranges: quickRanges },
    templating: { list: [runVariable(dataSourceUid), routeVariable(dataSourceUid)] },
    annotations: { list: [runAnnotation(dataSourceUid)] },
    links: [runsLink],
    panels: charts.map((chart, index) => ({
      id: index + 1,
      gridPos: { w: 12, h: 10, x: (index % 2) * 12, y: Math.floor(index / 2) * 10 },
      interval: chart.interval,
      datasource: { type: "influxdb", uid: dataSourceUid },
      ...timeSeries(chart),
    })),
  };
}

/** A choice of several values of a tag, all of them at first, which a query knows by `allValue`. */
const tagVariable = (
  dataSourceUid: string,
  tag: string,
  label: string,
  query: string,
  allValue: string,
) => ({
  name: tag,
  label,
  type: "query",
  datasource: { type: "influxdb", uid: dataSourceUid },
  query,
  definition: query,
  // Asked again whenever the time range is, so that a run that has just begun can be chosen.
  refresh: 2,
  multi: true,
  includeAll: true,
  allValue,
  current: { text: ["All"], value: ["$__all"] },
});

/** Which runs are drawn, each as a line of its own. Ids end with the time: the newest comes first. */
const runVariable = (dataSourceUid: string) => ({
  // Also those that come later.
  ...tagVariable(dataSourceUid, "testid", "Run", runIds, ".*"),
  sort: 2,
});

/** Which routes are taken together. */
const routeVariable = (dataSourceUid: string) => ({
  ...tagVariable(dataSourceUid, "name", "Route", routeNames, allRoutes),
  sort: 1,
});

/** From start to end of each run of the ledger: what it was, and how it ended. */
const runAnnotation = (dataSourceUid: string) => ({
  name: "Runs",
  datasource: { type: "influxdb", uid: dataSourceUid },
  enable: true,
  iconColor: "light-blue",
  // The page asks nothing for an annotation without a target, and takes its columns from `mappings`.
  target: {
    refId: "runs",
    rawQuery: true,
    query: ledgerColumns("mark", "endedAtMs", "verdict"),
    resultFormat: "table",
  },
  mappings: {
    timeEnd: { source: "field", value: "endedAtMs" },
    text: { source: "field", value: "mark" },
    tags: { source: "field", value: "verdict" },
  },
});

const runsLink = {
  title: "All runs",
  type: "link",
  url: `/d/${runsUid}`,
  icon: "dashboard",
};

/** Choices for watching a test (minutes) and for looking back at one (hours and days). */
const quickRanges = [
  ["Last 5 minutes", "now-5m"],
  ["Last 15 minutes", "now-15m"],
  ["Last 1 hour", "now-1h"],
  ["Last 6 hours", "now-6h"],
  ["Last 24 hours", "now-24h"],
  ["Last 7 days", "now-7d"],
].map(([display, from]) => ({ display, from, to: "now" }));

const intervalSeconds = { "1s": 1, "2s": 2, "5s": 5, "10s": 10, "15s": 15, "30s": 30, "1m": 60 };

/**
 * The shortest interval that holds so many requests at `rate` per second, else the longest there is;
 * 10 s without a rate.
 *
 * A percentile wants 100: InfluxDB's is the nearest rank, of n points in order number
 * floor(n * p / 100 + 0.5), so p99 of up to 50 points is their maximum. A rate wants 10, and short
 * intervals: the first and the last of a run are partly filled.
 */
export function minInterval(rate?: number, requests = 100): string {
  if (!rate) return "10s";
  const fits = Object.entries(intervalSeconds).find(([, seconds]) => rate * seconds >= requests);
  return fits?.[0] ?? "1m";
}

const dashedLine = {
  "custom.lineStyle": { fill: "dash", dash: [10, 10] },
  "custom.lineWidth": 1,
  "custom.fillOpacity": 0,
};

/** What the curve of a query has instead, in the colour of text. */
const override = (refId: string, properties: object) => ({
  matcher: { id: "byFrameRefID", options: refId },
  properties: [
    ...Object.entries(properties).map(([id, value]) => ({ id, value: value as unknown })),
    { id: "color", value: { mode: "fixed", fixedColor: "text" } },
  ],
});

function timeSeries(chart: Chart) {
  const { title, name, description, figure, routeQuery, wholeRouteQuery } = chart;
  const { unit, legend, line, hasShape } = chart;
  const target = (refId: string, text: string, alias: string) => ({
    refId,
    rawQuery: true,
    query: text,
    resultFormat: "time_series",
    alias: `${alias}, $tag_testid`,
  });
  return {
    type: "timeseries",
    title,
    description,
    targets: [
      target("A", toldFigure(figure), name),
      target("B", toldSoFar(figure), `${name} of the whole run`),
      target("C", routeQuery, `${name} of these routes`),
      ...(wholeRouteQuery ? [target("D", wholeRouteQuery, `${name} of the whole range`)] : []),
      ...(hasShape ? [target("E", toldFigure("offered"), "offered")] : []),
    ],
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        // A script may have none, over WebSocket or gRPC; Grafana itself would say "No data".
        noValue: "No HTTP requests of these runs in this time range",
        // Of several runs, each has a colour of its own.
        color: { mode: "palette-classic" },
        thresholds: {
          mode: "absolute",
          steps: [
            { color: "transparent", value: null },
            ...(line ? [{ color: line.kind === "limit" ? "red" : "text", value: line.at }] : []),
          ],
        },
        custom: {
          lineWidth: 2,
          fillOpacity: 15,
          gradientMode: "opacity",
          showPoints: "auto",
          thresholdsStyle: {
            mode: !line ? "off" : line.kind === "limit" ? "line+area" : "dashed",
          },
          // A limit may be far above: the curve has the panel, and the axis says where the limit is.
          ...(line?.kind === "limit" && { axisLabel: limitLabel(line.at, "ms") }),
          // The rate that is offered is never far; some room above it.
          ...(line?.kind === "target" && { axisSoftMax: line.at * 1.2 }),
        },
      },
      overrides: [
        ...["B", "D"].map((refId) => override(refId, { "custom.drawStyle": "points" })),
        ...(hasShape ? [override("E", dashedLine)] : []),
      ],
    },
    options: {
      legend: {
        showLegend: true,
        displayMode: "table",
        placement: "bottom",
        calcs: legend,
      },
      tooltip: { mode: "single", sort: "none" },
    },
  };
}
