/** Points as k6 made them and as InfluxDB holds them, in one form, and what they add up to. */
import * as fs from "node:fs";
import type { Store } from "./rig";

/** One sample of a metric. */
export interface Point {
  metric: string;
  /** Nanoseconds since 1970. */
  time: string;
  value: number;
  /** Without `testid`, which the stack adds, and without empty ones, which InfluxDB has not. */
  tags: Record<string, string>;
}

const kept = (tags: Record<string, string | null>) =>
  Object.fromEntries(
    Object.entries(tags)
      .filter((tag): tag is [string, string] => tag[0] !== "testid" && Boolean(tag[1]))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );

/** The lines of a file of k6's `--out json`; none where it ended before its first sample. */
function linesOf(file: string) {
  if (!fs.existsSync(file)) return [];
  const lines = fs.readFileSync(file, "utf8").split("\n").filter(Boolean);
  // k6 2 leaves out what JSON has no number for; k6 1 writes what no reader of JSON takes.
  const readable = (line: string) => line.replace(/"value":(?:\+|(-))Inf,/, '"value":$11e999,');
  return lines.map((line) => JSON.parse(readable(line)));
}

/** What k6 wrote down itself. */
export function pointsOfK6(file: string): Point[] {
  return linesOf(file)
    .filter(({ type }) => type === "Point")
    .map(({ metric, data: { time, value, tags } }) => {
      // 2026-01-02T03:04:05.123456789+01:00, with up to nine digits
      const [, seconds, fraction = "", zone] = /^([^.]{19})(?:\.(\d+))?(.*)$/.exec(time)!;
      const ns = `${Date.parse(seconds + zone) / 1000}${fraction.padEnd(9, "0")}`;
      return { metric, time: ns, value, tags: kept(tags) };
    });
}

/**
 * Which thresholds of a script k6 found no sample for.
 *
 * @param file k6's `--out json`, in which it tells the tags that it reads in a threshold's name
 */
export function withoutSamples(thresholds: string[], file: string): string[] {
  const lines = linesOf(file);
  const points = lines.filter(({ type }) => type === "Point");
  const parts = lines.flatMap(({ data }) => data.submetrics ?? []);
  return thresholds.filter((threshold) => {
    const [metric] = threshold.split("{");
    const own = points.filter((point) => point.metric === metric);
    // Two names may say the same, with spaces or quotes: k6 has the first.
    const part = parts.find(({ name }) => name === nameInK6(threshold));
    const tags = Object.entries(part?.tags ?? {});
    return !own.some(({ data }) => tags.every(([key, text]) => data.tags[key] === text));
  });
}

/** A threshold's name as k6 tells it. */
export const nameInK6 = (threshold: string) => threshold.replace(/\{\s*(.*?)\s*\}$/s, "{$1}");

/** What InfluxDB holds of a run, asked as Grafana's user. */
export async function pointsStored(
  url: string,
  { database, credentials }: Store,
  id: string,
): Promise<Point[]> {
  const { username, password } = credentials.reader;
  const q = `SELECT * FROM /.*/ WHERE "testid" = '${id}' GROUP BY *`;
  const answer = await fetch(
    `${url}/query?${new URLSearchParams({ db: database, epoch: "ns", q })}`,
    {
      headers: { authorization: `Basic ${btoa(`${username}:${password}`)}` },
    },
  );
  // JavaScript's numbers cannot hold the nanoseconds.
  const text = (await answer.text()).replace(/\[(\d{19}),/g, '["$1",');
  const [{ series = [], error }] = JSON.parse(text).results;
  if (error) throw new Error(error);
  return series.flatMap(({ name, tags, columns, values }: Series) =>
    values.map((row) => {
      const fields = Object.fromEntries(columns.map((column, n) => [column, row[n]]));
      const { time, value, ...more } = fields;
      // k6 has some tags as fields, such as `url`.
      return {
        metric: name,
        time: `${time}`,
        value: Number(value),
        tags: kept({ ...tags, ...more }),
      };
    }),
  );
}

interface Series {
  name: string;
  tags: Record<string, string>;
  columns: string[];
  values: (string | null)[][];
}

/** Those of `points` that are not among `others`, each of which stands for one. */
export function without(points: Point[], others: Point[]): Point[] {
  const key = ({ metric, time, value, tags }: Point) => JSON.stringify([metric, time, value, tags]);
  const left = new Map<string, number>();
  for (const other of others) left.set(key(other), (left.get(key(other)) ?? 0) + 1);
  return points.filter((point) => {
    const count = left.get(key(point)) ?? 0;
    left.set(key(point), count - 1);
    return count <= 0;
  });
}

/** The values of each metric, in order of size. */
export function valuesByMetric(points: Point[]): Record<string, number[]> {
  const values: Record<string, number[]> = {};
  for (const { metric, value } of points) (values[metric] ??= []).push(value);
  for (const each of Object.values(values)) each.sort((a, b) => a - b);
  return values;
}

/**
 * The figures of a run as its `summary.json` has them, straight from its points; those of `setup()`
 * and `teardown()` are not the test's. What was not measured is `undefined`.
 */
export function figuresOf(points: Point[]) {
  const own = points.filter(({ tags }) => !/^::(setup|teardown)$/.test(tags.group ?? ""));
  const { http_req_duration: durations = [], ...values } = valuesByMetric(own);
  const to = (digits: number, value?: number) =>
    value === undefined ? undefined : Number(value.toFixed(digits));
  const mean = (all: number[] = []) => (all.length > 0 ? sum(all) / all.length : undefined);
  // As InfluxDB has it: of n values in order, number n * p / 100, rounded.
  const percentile = (p: number) => durations[Math.floor((durations.length * p) / 100 + 0.5) - 1];
  return {
    requests: values.http_reqs?.length,
    ...{
      avgMs: to(2, mean(durations)),
      p95Ms: to(2, percentile(95)),
      p99Ms: to(2, percentile(99)),
    },
    failedRate: to(4, mean(values.http_req_failed)),
    droppedIterations: sum(values.dropped_iterations ?? []),
  };
}

const sum = (values: number[]) => values.reduce((all, each) => all + each, 0);
