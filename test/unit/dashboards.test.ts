import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  couponIssueDashboard,
  minInterval,
  type CouponIssueDashboardArgs,
} from "../../dashboards/coupon-issue";
import { panel, toldFigure, type ToldFigure, toldSoFar } from "../../dashboards/queries";
import { alertRules } from "../../dashboards/alerts";
import { runsDashboard } from "../../dashboards/runs";
import {
  defaultProfile,
  defaultThresholds,
  durationSeconds,
  k6Options,
  parseStages,
  withStages,
} from "../../k6/profile";

const args: CouponIssueDashboardArgs = {
  uid: "coupon-issue",
  dataSourceUid: "k6",
  thresholds: defaultThresholds,
  retention: "30d",
  profile: defaultProfile,
};
const dashboard = couponIssueDashboard(args);
const [p99, p95, avg, rps] = dashboard.panels;

describe("the dashboard", () => {
  test("is named, addressed and tagged", () => {
    expect(dashboard.title).toBe("Coupon Issue Load Test");
    expect(dashboard.uid).toBe("coupon-issue");
    expect(dashboard.tags).toEqual(["coupon", "k6", "load-test"]);
  });

  test("has no id, which belongs to one Grafana's database", () => {
    expect(dashboard).not.toHaveProperty("id");
  });

  test("lets one or several runs be chosen, the newest first, and routes", () => {
    const { list } = dashboard.templating;
    expect(
      list.map(({ name, multi, includeAll, allValue, sort }) => [
        ...[name, multi, includeAll],
        ...[allValue, sort],
      ]),
    ).toEqual([
      ["testid", true, true, ".*", 2],
      ["name", true, true, "all routes", 1],
    ]);
  });

  test("marks each run of the ledger from start to end, with its outcome", () => {
    expect(dashboard.annotations.list).toMatchObject([
      {
        target: {
          rawQuery: true,
          query: expect.stringContaining(`FROM "history"."k6_runs" WHERE $timeFilter`),
          resultFormat: "table",
        },
        mappings: {
          timeEnd: { source: "field", value: "endedAtMs" },
          text: { source: "field", value: "mark" },
          tags: { source: "field", value: "verdict" },
        },
      },
    ]);
  });

  test("follows a running test and can look back at an old one", () => {
    expect(dashboard).toMatchObject({
      refresh: "5s",
      time: { from: "now-5m", to: "now" },
      timezone: "browser",
      graphTooltip: 1,
      editable: true,
    });
    expect(dashboard.timepicker.quick_ranges).toEqual([
      { display: "Last 5 minutes", from: "now-5m", to: "now" },
      { display: "Last 15 minutes", from: "now-15m", to: "now" },
      { display: "Last 1 hour", from: "now-1h", to: "now" },
      { display: "Last 6 hours", from: "now-6h", to: "now" },
      { display: "Last 24 hours", from: "now-24h", to: "now" },
      { display: "Last 7 days", from: "now-7d", to: "now" },
    ]);
  });

  test("is in the last version of Grafana's classic model", () => {
    expect(dashboard.schemaVersion).toBe(42);
  });

  test("is plain JSON", () => {
    expect(JSON.parse(JSON.stringify(dashboard))).toStrictEqual(dashboard);
    const bare = couponIssueDashboard({ ...args, profile: undefined });
    expect(JSON.parse(JSON.stringify(bare))).toStrictEqual(bare);
  });
});

describe("the panels", () => {
  test("are four time series in a 2x2 grid with fixed ids", () => {
    const seen = dashboard.panels.map(({ id, type, title, gridPos: { x, y, w, h } }) => [
      ...[id, type, title],
      ...[x, y, w, h],
    ]);
    expect(seen).toEqual([
      [1, "timeseries", "HTTP Request Duration (p99)", 0, 0, 12, 10],
      [2, "timeseries", "HTTP Request Duration (p95)", 12, 0, 12, 10],
      [3, "timeseries", "HTTP Request Duration (avg)", 0, 10, 12, 10],
      [4, "timeseries", "RPS (Requests per Second)", 12, 10, 12, 10],
    ]);
  });

  test("ask for what the runner tells of all routes, and of chosen ones for the raw points", () => {
    const target = (refId: string, alias: string, query: string) => ({
      refId,
      rawQuery: true,
      resultFormat: "time_series",
      alias: `${alias}, $tag_testid`,
      query,
    });
    const time = `GROUP BY time($__interval), "testid"`;
    const { where } = panel;
    const told = (name: string, figure: ToldFigure) => [
      target("A", name, toldFigure(figure)),
      target("B", `${name} of the whole run`, toldSoFar(figure)),
    ];
    const duration = (name: ToldFigure, what: string) => {
      const query = `SELECT ${what} FROM "http_req_duration" WHERE ${where}`;
      return [
        ...told(name, name),
        target("C", `${name} of these routes`, `${query} ${time} fill(null)`),
        target("D", `${name} of the whole range`, `${query} GROUP BY "testid"`),
      ];
    };
    const rps = `SELECT sum("value") * 1000 * pow($__interval_ms, -1) FROM "http_reqs" WHERE ${where}`;
    expect(dashboard.panels.map(({ targets }) => targets)).toEqual([
      duration("p99", 'percentile("value", 99)'),
      duration("p95", 'percentile("value", 95)'),
      duration("avg", 'mean("value")'),
      [...told("RPS", "rps"), target("C", "RPS of these routes", `${rps} ${time} fill(0)`)],
    ]);
    for (const { datasource } of dashboard.panels) {
      expect(datasource).toEqual({ type: "influxdb", uid: "k6" });
    }
  });

  test("show milliseconds and requests per second, from 0", () => {
    const units = dashboard.panels.map(({ fieldConfig }) => fieldConfig.defaults.unit);
    expect(units).toEqual(["ms", "ms", "ms", "reqps"]);
    for (const { fieldConfig } of dashboard.panels) expect(fieldConfig.defaults.min).toBe(0);
  });

  test("have a table of last and max, and of the mean of the request rate", () => {
    for (const { options } of dashboard.panels) {
      expect(options.legend).toMatchObject({
        showLegend: true,
        displayMode: "table",
        placement: "bottom",
      });
    }
    expect(dashboard.panels.map(({ options }) => options.legend.calcs)).toEqual([
      ["lastNotNull", "max"],
      ["lastNotNull", "max"],
      ["lastNotNull", "max"],
      ["lastNotNull", "max", "mean"],
    ]);
  });
});

describe("the lines", () => {
  const base = { color: "transparent", value: null };
  const line = ({ fieldConfig: { defaults } }: typeof p99) => [
    defaults.custom.thresholdsStyle.mode,
    ...defaults.thresholds.steps,
  ];

  test("are the limits of p99 and p95, red above", () => {
    expect(line(p99)).toEqual(["line+area", base, { color: "red", value: 1000 }]);
    expect(line(p95)).toEqual(["line+area", base, { color: "red", value: 500 }]);
  });

  test("are the rate offered in RPS and nothing in avg", () => {
    expect(rps.description).toContain("dashed line");
    expect(line(rps)).toEqual(["dashed", base, { color: "text", value: 1000 / 60 }]);
    expect(line(avg)).toEqual(["off", base]);
  });

  test("follow the shape of a load that has one", () => {
    const shape = withStages(defaultProfile, parseStages("10s:10,10s:0")!);
    const { panels } = couponIssueDashboard({ ...args, profile: shape });
    expect(line(panels[3])).toEqual(["off", base]);
    expect(panels[3].targets.at(-1)).toMatchObject({
      refId: "E",
      query: expect.stringContaining('SELECT last("offered_$__interval_ms")'),
      alias: "offered, $tag_testid",
    });
    const dash = panels[3].fieldConfig.overrides.at(-1)!;
    expect(dash.matcher).toEqual({ id: "byFrameRefID", options: "E" });
    expect(dash.properties).toContainEqual({
      id: "custom.lineStyle",
      value: { fill: "dash", dash: [10, 10] },
    });
  });

  test("are left out of RPS when the rate is not known", () => {
    const { panels } = couponIssueDashboard({ ...args, profile: undefined });
    expect(line(panels[3])).toEqual(["off", base]);
    expect(panels[3].description).not.toContain("dashed line");
  });

  test("are told beside the axis, which they do not stretch, whatever the limits are", () => {
    const limit = fc.double({ min: 0.001, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(limit, limit, (p95Ms, p99Ms) => {
        const { panels } = couponIssueDashboard({
          ...args,
          thresholds: { ...defaultThresholds, p95Ms, p99Ms },
        });
        expect(panels[0].fieldConfig.defaults.thresholds.steps[1].value).toBe(p99Ms);
        expect(panels[0].fieldConfig.defaults.custom.axisLabel).toBe(`limit ${p99Ms} ms`);
        expect(panels[1].fieldConfig.defaults.thresholds.steps[1].value).toBe(p95Ms);
        expect(panels[1].fieldConfig.defaults.custom.axisLabel).toBe(`limit ${p95Ms} ms`);
        for (const { fieldConfig } of panels.slice(0, 3)) {
          expect(fieldConfig.defaults.custom).not.toHaveProperty("axisSoftMax");
        }
      }),
    );
  });
});

describe("the interval", () => {
  test.each([
    [undefined, "10s"],
    [1, "1m"],
    [100 / 60, "1m"],
    [100 / 30, "30s"],
    [1000 / 60, "10s"],
    [20, "5s"],
    [50, "2s"],
    [99.9, "2s"],
    [100, "1s"],
    [6000, "1s"],
  ])("for %s requests per second is %s", (rate, interval) => {
    expect(minInterval(rate)).toBe(interval);
  });

  test("is the shortest that holds 100 requests", () => {
    const all = ["1s", "2s", "5s", "10s", "15s", "30s", "1m"];
    fc.assert(
      fc.property(fc.double({ min: 100 / 60, max: 1e5, noNaN: true }), (rate) => {
        const chosen = minInterval(rate);
        const shorter = all.slice(0, all.indexOf(chosen));
        expect(rate * durationSeconds(chosen)!).toBeGreaterThanOrEqual(100);
        for (const each of shorter) expect(rate * durationSeconds(each)!).toBeLessThan(100);
      }),
    );
  });

  test("is each panel's own, and its description says so: a rate needs fewer requests", () => {
    for (const [rate, intervals] of [
      [1000 / 60, ["10s", "10s", "10s", "1s"]],
      [100, ["1s", "1s", "1s", "1s"]],
      [1, ["1m", "1m", "1m", "10s"]],
    ] as const) {
      const { panels } = couponIssueDashboard({
        ...args,
        profile: { ...defaultProfile, rate, timeUnit: "1s" },
      });
      expect(panels.map(({ interval }) => interval)).toEqual(intervals);
      for (const { interval, description } of panels) {
        expect(description).toContain(`Each point covers ${interval} or more`);
      }
    }
  });
});

test("the descriptions say what the numbers mean and from how few requests on they do", () => {
  expect(p99.description).toMatch(/^99 of 100 .* 1000 ms, .* among 50 requests or fewer/);
  expect(p95.description).toMatch(/^95 of 100 .* 500 ms, .* among 10 requests or fewer/);
  expect(avg.description).toMatch(/^Mean time of a request/);
  expect(rps.description).toMatch(/^Requests that ended, .* per second/);
});

test("limits are the same for k6, panels, alert rules and the dashboard of runs", () => {
  const thresholds = { ...defaultThresholds, p95Ms: 123, p99Ms: 456, failedRate: 0.07 };
  const own = { ...thresholds, droppedIterations: 89 };
  expect(k6Options(defaultProfile, own).thresholds).toMatchObject({
    http_req_duration: ["p(95)<=123", "p(99)<=456"],
    http_req_failed: ["rate<=0.07"],
    dropped_iterations: ["count<=89"],
  });
  const lineOf = (panel: any) => panel.fieldConfig.defaults.thresholds?.steps[1]?.value;
  const lines = couponIssueDashboard({ ...args, thresholds: own }).panels.map(lineOf);
  expect(lines.slice(0, 3)).toEqual([456, 123, undefined]);
  const rules = alertRules(own);
  expect(rules.map(({ name, condition }) => [name, condition])).toEqual([
    ["p95 over its limit", "$value > 123"],
    ["failed requests over its limit", "$value > 0.07"],
    ["dropped iterations over its limit", "$value > 89"],
    ["No data during a run", "$value == 0"],
  ]);
  const runs = runsDashboard({ uid: "r", runUid: "u", dataSourceUid: "k6", thresholds: own });
  expect(runs.panels.map(lineOf).slice(0, 3)).toEqual([123, undefined, 0.07]);
  expect(JSON.parse(JSON.stringify(runs))).toEqual(runs);
});
