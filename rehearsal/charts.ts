/** The four panels as small charts for the terminal. */
import {
  durationMean,
  durationPercentile,
  requestRate,
  run,
  type Intervals,
} from "../dashboards/queries";
import { query } from "../runner/influxdb";
import { columns } from "../runner/report";
import type { Summary } from "../runner/types";
import type { Source } from "../runner/verify";

const width = 60;
const bars = "▁▂▃▄▅▆▇█";

/** One line a figure: its value over the whole run, and how it went, from the run's start to end. */
export async function charts(source: Source, summary: Summary): Promise<string> {
  const { id, startedAt, endedAt, p99Ms, p95Ms, avgMs, rps } = summary;
  const from = Date.parse(startedAt ?? "");
  const to = Date.parse(endedAt ?? "");
  const seconds = Math.max(1, Math.ceil((to - from) / 1000 / width));
  const ms = seconds * 1000;
  // Intervals count from the run's start, and a last one that is not full is left out.
  const end = from + Math.max(1, Math.floor((to - from) / ms)) * ms;
  const scope: Intervals = {
    where: `${run(id).where} AND time >= ${from}ms AND time < ${end}ms`,
    every: { interval: `${seconds}s, ${from % ms}ms`, ms: `${ms}` },
  };
  const panels: [string, string, string][] = [
    ["p99", `${p99Ms} ms`, durationPercentile(99, scope)],
    ["p95", `${p95Ms} ms`, durationPercentile(95, scope)],
    ["average", `${avgMs} ms`, durationMean(scope)],
    ["RPS", `${rps}/s`, requestRate(scope)],
  ];
  const connection = { url: source.influxdb.url, ...source.reader };
  const queries = panels.map(([, , text]) => text).join("; ");
  const answers = await query(connection, queries, source.influxdb.database);
  return columns(
    panels.map(([label, value], index) => {
      const points = answers[index][0]?.values.map(([, point]) => Number(point ?? 0)) ?? [];
      const peak = Math.max(...points, Number.MIN_VALUE);
      const line = points.map((point) => bars[Math.round((point / peak) * (bars.length - 1))]);
      return [label, value, line.join(""), `every ${seconds} s, most ${Number(peak.toFixed(2))}`];
    }),
  );
}
