/** How a run went: its figures interval by interval, as lines for a terminal, for Markdown and for a page. */
import { ofIntervals } from "../dashboards/queries";
import { intervalLengths } from "./digest";
import { query } from "./influxdb";
import type { Curve } from "./types";
import type { Source } from "./verify";

/** About as many intervals as there is room for in a line. */
const most = 60;

/** Reads what the runner has told of a run, from the first request to the end. */
export async function curveOf(
  { influxdb, reader }: Source,
  id: string,
  { from, to }: { from: Date; to: Date },
): Promise<Curve | undefined> {
  const [begin, end] = [from.getTime(), to.getTime()];
  const every =
    intervalLengths.find((seconds) => (end - begin) / 1000 / seconds <= most) ??
    intervalLengths.at(-1)!;
  const ms = every * 1000;
  const connection = { url: influxdb.url, ...reader };
  const [[series]] = await query(connection, ofIntervals(id, ms), influxdb.database);
  if (!series) return undefined;

  const first = Math.floor(begin / ms);
  const count = Math.max(1, Math.ceil(end / ms) - first);
  const empty = () => Array<number>(count).fill(0);
  const curve: Curve = { every, p99Ms: empty(), p95Ms: empty(), avgMs: empty(), rps: empty() };
  for (const [time, p99 = 0, p95 = 0, avg = 0, rps = 0] of series.values) {
    const at = Math.floor(Number(time) / ms) - first;
    if (at < 0 || at >= count) continue;
    // The first interval and the last are partly within the run.
    const start = (first + at) * ms;
    const within = Math.min(end, start + ms) - Math.max(begin, start);
    curve.p99Ms[at] = Number(p99);
    curve.p95Ms[at] = Number(p95);
    curve.avgMs[at] = Number(avg);
    curve.rps[at] = (Number(rps) * ms) / Math.max(within, ms / 2);
  }
  // Of less than half of an interval little can be said.
  const isShort = (at: number) => {
    const start = (first + at) * ms;
    return Math.min(end, start + ms) - Math.max(begin, start) < ms / 2;
  };
  const cut = <T>(values: T[]) => values.filter((_, at) => count === 1 || !isShort(at));
  return {
    every,
    ...{ p99Ms: cut(curve.p99Ms), p95Ms: cut(curve.p95Ms) },
    ...{ avgMs: cut(curve.avgMs), rps: cut(curve.rps) },
  };
}

/** Two digits more than nothing: enough for a picture. */
const short = (value: number) => Number(value.toPrecision(4));

const bars = "▁▂▃▄▅▆▇█";

/** A curve as a line of blocks, each as high as its share of the most. */
export function blocks(values: number[]): string {
  const peak = Math.max(...values, Number.MIN_VALUE);
  return values.map((value) => bars[Math.round((value / peak) * (bars.length - 1))]).join("");
}

/** A chart that GitHub draws by itself, in its Markdown. */
export function mermaid(title: string, values: number[], every: number): string {
  const peak = short(Math.max(...values, 0.001) * 1.1);
  return [
    "```mermaid",
    // Its own first colour can hardly be seen.
    `%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da"}}}}%%`,
    "xychart-beta",
    `  title "${title}"`,
    `  x-axis "seconds" 0 --> ${values.length * every}`,
    `  y-axis 0 --> ${peak}`,
    `  line [${values.map(short).join(", ")}]`,
    "```",
  ].join("\n");
}
