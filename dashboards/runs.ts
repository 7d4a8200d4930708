/**
 * The dashboard of all runs, drawn from the ledger: how p95, p99, RPS and failures went from run to
 * run, each run against its baseline, and a table that leads to each run's own time range.
 */
import { ruleOf, type Figure, type Thresholds, type Unit } from "../k6/profile";
import { ledgerColumns } from "./queries";

/** Its path is `/d/<uid>`: the other dashboard links there. */
export const runsUid = "coupon-issue-runs";

/** A limit in words, for the side of an axis that may not reach it. */
export const limitLabel = (at: number, unit: Unit) =>
  unit === "share" ? `limit ${Number((at * 100).toFixed(4))} %` : `limit ${at} ${unit}`;

export interface RunsDashboardArgs {
  /** Uid of this dashboard. */
  uid: string;
  /** Uid of the dashboard that shows a single run. */
  runUid: string;
  dataSourceUid: string;
  thresholds: Thresholds;
}

/** A figure over runs: one point a run. */
interface Trend {
  title: string;
  description: string;
  /** Columns of the ledger, and the names of their lines. */
  lines: Record<string, string>;
  unit: string;
  /** A red line where the axis reaches it, and words beside the axis. */
  limit?: { at: number; label: string };
  min?: number;
}

/** The dashboard, ready for `JSON.stringify`. */
export function runsDashboard({ uid, runUid, dataSourceUid, thresholds }: RunsDashboardArgs) {
  const limit = (figure: Figure) => {
    const { limit: at, label, unit } = ruleOf(figure, thresholds);
    return { at, label: `${label}: ${limitLabel(at, unit)}` };
  };
  const newest =
    "One point a run. The limit beside the axis, a red line where it is near, is today's; a run's " +
    "own is in the ledger.";
  const trends: Trend[] = [
    {
      title: "p95 and p99 of runs",
      description: `${newest} It is that of p95.`,
      lines: { p95Ms: "p95", p99Ms: "p99" },
      unit: "ms",
      limit: limit("p95Ms"),
      min: 0,
    },
    {
      title: "RPS and capacity of runs",
      description:
        "Requests per second over the whole of each run. Capacity is what `make capacity` has found, " +
        "in iterations a second.",
      lines: { rps: "RPS", capacity: "capacity" },
      unit: "reqps",
      min: 0,
    },
    {
      title: "Failed requests of runs",
      description: newest,
      lines: { failedRate: "failed requests" },
      unit: "percentunit",
      limit: limit("failedRate"),
      min: 0,
    },
    {
      title: "Difference to the baseline",
      description:
        "How far a run's figures were from those of its baseline, the last run of the same scenario " +
        "and profile that had passed, or the one that the configuration names. Above 0 % is slower, " +
        "for RPS faster. A run without a baseline has no point.",
      lines: { p95MsChange: "p95", p99MsChange: "p99", rpsChange: "RPS" },
      unit: "percentunit",
    },
  ];
  const source = { type: "influxdb", uid: dataSourceUid };
  return {
    uid,
    title: "Coupon Issue Load Test - Runs",
    tags: ["coupon", "k6", "load-test"],
    schemaVersion: 42,
    editable: true,
    timezone: "browser",
    graphTooltip: 1,
    refresh: "",
    time: { from: "now-30d", to: "now" },
    links: [{ title: "Dashboard", type: "link", url: `/d/${runUid}`, icon: "dashboard" }],
    panels: [
      ...trends.map((trend, index) => ({
        id: index + 1,
        gridPos: { w: 12, h: 8, x: (index % 2) * 12, y: Math.floor(index / 2) * 8 },
        datasource: source,
        ...trendPanel(trend),
      })),
      {
        id: trends.length + 1,
        gridPos: { w: 24, h: 12, x: 0, y: 16 },
        datasource: source,
        ...tablePanel(runUid),
      },
    ],
  };
}

function trendPanel({ title, description, lines, unit, limit, min }: Trend) {
  return {
    type: "timeseries",
    title,
    description,
    targets: [
      {
        refId: "A",
        rawQuery: true,
        query: ledgerColumns(...Object.keys(lines)),
        resultFormat: "time_series",
        alias: "$col",
      },
    ],
    fieldConfig: {
      defaults: {
        unit,
        min,
        color: { mode: "palette-classic" },
        thresholds: {
          mode: "absolute",
          steps: [
            { color: "transparent", value: null },
            ...(limit ? [{ color: "red", value: limit.at }] : []),
          ],
        },
        custom: {
          lineWidth: 1,
          showPoints: "always",
          pointSize: 7,
          // Broken-off runs have no figures; the line goes on.
          spanNulls: true,
          thresholdsStyle: { mode: limit ? "line" : "off" },
          ...(limit && { axisLabel: limit.label }),
          // Of shares that are all 0, Grafana would draw an axis up to 10000 %.
          ...(unit === "percentunit" && min === 0 && { axisSoftMax: 0.01 }),
        },
      },
      overrides: Object.entries(lines).map(([column, name]) => ({
        matcher: { id: "byName", options: column },
        properties: [{ id: "displayName", value: name }],
      })),
    },
    options: {
      legend: { showLegend: true, displayMode: "list", placement: "bottom", calcs: [] },
      tooltip: { mode: "multi", sort: "none" },
    },
  };
}

/** Columns of the table: what the ledger calls them, what they are called here, their unit. */
const columns: [name: string, title: string, unit?: string, width?: number][] = [
  ["testid", "Run", undefined, 230],
  ["verdict", "Verdict", undefined, 85],
  ["p95Ms", "p95", "ms", 90],
  ["p99Ms", "p99", "ms", 90],
  ["avgMs", "Average", "ms", 90],
  ["rps", "RPS", "reqps", 100],
  ["failedRate", "Failed", "percentunit", 75],
  ["requests", "Requests", "none", 105],
  ["shortOfProcessor", "No processor left", "percentunit", 140],
  ["p95MsChange", "p95 to baseline", "percentunit", 150],
  ["baseline", "Baseline", undefined, 230],
  ["load", "Load", undefined, 160],
  ["commit", "Commit", undefined, 120],
  ["outcome", "Outcome"],
];

function tablePanel(runUid: string) {
  // Not shown, but the links are made of them.
  const range = ["startedAtMs", "endedAtMs"];
  const link =
    `/d/${runUid}?from=\${__data.fields.startedAtMs.numeric}` +
    `&to=\${__data.fields.endedAtMs.numeric}&var-testid=\${__data.fields.testid.text}`;
  const override = (name: string, properties: [id: string, value: unknown][]) => ({
    matcher: { id: "byName", options: name },
    properties: properties.map(([id, value]) => ({ id, value })),
  });
  const verdict = { passed: { color: "green", index: 0 }, failed: { color: "red", index: 1 } };
  return {
    type: "table",
    title: "Runs",
    description: "Every run of the ledger, whether it passed, failed or broke off.",
    targets: [
      {
        refId: "A",
        rawQuery: true,
        query: ledgerColumns(...columns.map(([name]) => name), ...range),
        resultFormat: "table",
      },
    ],
    fieldConfig: {
      defaults: { custom: { align: "auto", filterable: true } },
      overrides: [
        override("Time", [["custom.width", 195]]),
        ...columns.map(([name, title, unit, width]) =>
          override(name, [
            ["displayName", title],
            ...(unit ? [["unit", unit] as [string, string]] : []),
            ...(width ? [["custom.width", width] as [string, number]] : []),
          ]),
        ),
        override("testid", [["links", [{ title: "Dashboard of this run", url: link }]]]),
        override("verdict", [
          ["mappings", [{ type: "value", options: verdict }]],
          ["custom.displayMode", "color-text"],
          ["custom.cellOptions", { type: "color-text" }],
        ]),
        ...range.map((name) => override(name, [["custom.hidden", true]])),
      ],
    },
    options: { showHeader: true, sortBy: [{ displayName: "Time", desc: true }] },
  };
}
