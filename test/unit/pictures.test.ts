/** How a run went, in pictures: for a terminal, for Markdown, and as a page. */
import { afterAll, expect, test } from "vitest";
import { ofIntervals } from "../../dashboards/queries";
import {
  defaultProfile,
  defaultThresholds,
  parseStages,
  rules,
  withStages,
} from "../../k6/profile";
import { curveOf } from "../../runner/curve";
import { page } from "../../runner/page";
import { charts, markdown } from "../../runner/report";
import type { Summary } from "../../runner/types";
import { closeServers, credentials, fakeInfluxDb, id } from "../support/run";

afterAll(closeServers);

const figures = { p99Ms: 456.79, p95Ms: 123.46, avgMs: 42.13, rps: 16.67, requests: 1000 };
const summary: Summary = {
  ...{ id, verdict: "failed", reason: `p95 is over <the> limit`, regressions: [], warnings: ["&"] },
  ...{ startedAt: "2026-01-02T03:04:05.000Z", endedAt: "2026-01-02T03:04:08.000Z", ...figures },
  thresholds: rules(defaultThresholds).map((rule) => ({ ...rule, value: 600, passed: false })),
  curve: {
    every: 1,
    ...{ p99Ms: [100, 200, 700], p95Ms: [0, 350, 700] },
    ...{ avgMs: [0, 0, 0], rps: [16.125, 0, 16.125] },
  },
};

test("a curve is of whole intervals, and of those that the run is partly in", async () => {
  const [from, to] = ["2026-01-02T03:04:05.500Z", "2026-01-02T03:04:08.050Z"].map(
    (each) => new Date(each),
  );
  const at = (ms: number) => from.getTime() + ms;
  const [statement] = ofIntervals(id, 1000).split(' WHERE "testid" = ');
  const influxdb = await fakeInfluxDb({
    [statement]: [
      [at(20), 9, 8, 7, 50],
      [at(1500), 5, 4, 3, 80],
      [at(2500), 1, 1, 1, 5],
    ],
  });
  const source = { influxdb, reader: credentials.reader };
  // The second of 03:04:06 has no request; of the last one, a twentieth is the run's.
  expect(await curveOf(source, id, { from, to })).toEqual({
    every: 1,
    ...{ p99Ms: [9, 0, 5], p95Ms: [8, 0, 4], avgMs: [7, 0, 3], rps: [100, 0, 80] },
  });
});

test("charts show each figure between 0 and its peak, and that of the run", () => {
  const lines = charts(summary).split("\n");
  expect(lines.map((line) => line.trim().split(/ {2,}/))).toEqual([
    ["p99", "456.79 ms", "▂▃█", "every 1 s, most 700 ms"],
    ["p95", "123.46 ms", "▁▅█", "every 1 s, most 700 ms"],
    ["average", "42.13 ms", "▁▁▁", "every 1 s, most 0 ms"],
    ["RPS", "16.67/s", "█▁█", "every 1 s, most 16.13/s"],
  ]);
  expect(charts({ ...summary, curve: undefined })).toBe("");
});

test("Markdown has p95 and RPS as charts that GitHub draws", () => {
  expect(markdown(summary)).toContain(
    [
      "```mermaid",
      `%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da"}}}}%%`,
      "xychart-beta",
      '  title "p95 in ms"',
      '  x-axis "seconds" 0 --> 3',
      "  y-axis 0 --> 770",
      "  line [0, 350, 700]",
      "```",
    ].join("\n"),
  );
  expect(markdown(summary).match(/xychart-beta/g)).toHaveLength(2);
  expect(markdown({ ...summary, curve: undefined })).not.toContain("mermaid");
});

test("a page has all of a run, asks no network, and no text breaks it", () => {
  const stages = parseStages("1s:10,2s:100")!;
  const html = page(summary, withStages(defaultProfile, stages));
  expect(html).toContain("p95 is over &#60;the&#62; limit");
  expect(html).toContain("<b>Warning:</b> &#38;");
  expect(html.match(/<svg/g)).toHaveLength(3);
  expect(html).toContain("limit 500");
  expect(html).toContain("The load");
  expect(html).not.toMatch(/<script|src=|@import|url\(/);
  const broken = page({ ...summary, startedAt: undefined, curve: undefined });
  expect(broken).not.toMatch(/<svg|<table/);
});
