/** What k6 counted itself of each metric, as its summary tells. */
import * as fs from "node:fs";
import * as path from "node:path";
import { selectorsOf } from "./declared";

/** A metric as k6's summary has it; which values there are depends on its type. */
export interface CountedMetric {
  type: "counter" | "gauge" | "rate" | "trend";
  /** A number that JSON cannot hold, such as an infinite sum, is `null`. */
  values: Record<string, number | null>;
  thresholds?: Record<string, { ok: boolean }>;
}

/** What one k6 counted. Names with `{` are parts of metrics that thresholds select. */
export interface Counts {
  metrics: Record<string, CountedMetric>;
  /** Length of the test, in milliseconds. */
  durationMs: number;
}

/** A metric of a `k6-summary.json`; a threshold is `true` when it is breached. */
type Exported = Record<string, number | null | Record<string, boolean>>;

/** Reads what the module of `entry.ts` tells; `undefined` if it is torn, or no summary. */
export function countsOf(told: string): Counts | undefined {
  try {
    const { metrics, state } = JSON.parse(told);
    const durationMs = state.testRunDurationMs;
    return metrics && durationMs >= 0 ? { metrics, durationMs } : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps a summary as k6 exports it, without what `setup()` returned. */
export function keepSummary(dir: string, told: string) {
  const { metrics, root_group } = JSON.parse(told);
  const exported = Object.entries(metrics as Counts["metrics"]).map(([name, metric]) => {
    const { thresholds = {}, values } = metric;
    const breached = Object.entries(thresholds).map(([text, { ok }]) => [text, !ok]);
    const all: Exported = { ...values };
    if (breached.length > 0) all.thresholds = Object.fromEntries(breached);
    return [name, all];
  });
  const text = JSON.stringify({ metrics: Object.fromEntries(exported), root_group }, null, 2);
  fs.writeFileSync(path.join(dir, "k6-summary.json"), `${text}\n`);
}

/** How many samples a metric got; of a counter the sum, of a gauge nothing is known. */
export function samplesOf({ type, values }: CountedMetric): number | undefined {
  if (type === "trend") return values.count ?? undefined;
  if (type === "rate") return (values.passes ?? 0) + (values.fails ?? 0);
  return undefined;
}

/** The names of metrics that are not parts of others. */
export const wholeMetrics = ({ metrics }: Pick<Counts, "metrics">) =>
  Object.keys(metrics).filter((name) => !name.includes("{"));

/**
 * How many points these metrics have, about: k6 does not count those of counters and gauges. Of each
 * there are no more than of the metric that has most.
 */
export function pointsOf({ metrics }: Counts, names: string[]): number {
  const most = Math.max(0, ...Object.values(metrics).map((metric) => samplesOf(metric) ?? 0));
  const known = names.filter((name) => name in metrics);
  return known.reduce((sum, name) => sum + (samplesOf(metrics[name]) ?? most), 0);
}

const add = (a: number | null = 0, b: number | null = 0) => (a ?? 0) + (b ?? 0);

/** What several k6 counted, each its part of the load. */
export function together(all: Counts[]): Counts {
  const metrics: Counts["metrics"] = {};
  for (const counts of all) {
    for (const [name, { type, values }] of Object.entries(counts.metrics)) {
      const before = metrics[name]?.values;
      const { min = null, max = null } = values;
      const both: CountedMetric["values"] = {
        ...{ count: add(before?.count, values.count) },
        ...{ passes: add(before?.passes, values.passes), fails: add(before?.fails, values.fails) },
        min: Math.min(before?.min ?? Infinity, min ?? Infinity),
        max: Math.max(before?.max ?? -Infinity, max ?? -Infinity),
      };
      metrics[name] = { type, values: both };
    }
  }
  return { metrics, durationMs: Math.max(...all.map(({ durationMs }) => durationMs)) };
}

/** The thresholds that a k6 found breached, such as `checks: rate>=0.99`. */
export const breachedIn = ({ metrics }: Counts): string[] =>
  Object.entries(metrics).flatMap(([metric, { thresholds }]) =>
    Object.entries(thresholds ?? {})
      .filter(([, { ok }]) => !ok)
      .map(([expression]) => `${metric}: ${expression}`),
  );

/** The parts of metrics, by their names, that thresholds look at. */
export const judgedMetrics = (all: Counts[]) => [
  ...new Set(
    all.flatMap(({ metrics }) =>
      Object.entries(metrics)
        .filter(([, { thresholds }]) => Object.keys(thresholds ?? {}).length > 0)
        .map(([name]) => name),
    ),
  ),
];

/** A metric's own name and the tags that select a part of it. */
export const partOf = (name: string) => ({
  metric: name.replace(/\{.*$/s, ""),
  tags: selectorsOf(name),
});
