/** Proof that every sample k6 took, of every metric, is stored; in words what is not. */
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../dashboards/queries";
import {
  type CountedMetric,
  type Counts,
  judgedMetrics,
  partOf,
  pointsOf,
  samplesOf,
  wholeMetrics,
} from "./counts";
import { canBeNamed, identifier, literal, query, type Series } from "./influxdb";
import { inParts, type Range } from "./parts";
import { RunFailure, stackOf } from "./types";
import type { Source } from "./verify";

/** The points of a metric as InfluxDB has them. */
interface Stored {
  count: number;
  sum: number;
  min: number;
  max: number;
}

/** A metric of which less, or more, is stored than k6 counted. */
interface Gap {
  metric: string;
  made: number;
  stored: number;
  /** What is compared: how many there are, or what they add up to. */
  by: "count" | "sum" | "extremes";
}

/** What came of the comparison. */
export interface Proof {
  /** Metrics that are not stored as k6 counted them. */
  incomplete: Set<string>;
  /** Why the run cannot pass, each in one line. */
  problems: string[];
  /** What is missing without a fault, if something is. */
  warning?: string;
  /** Where the run's points are. */
  range: Range;
}

const ask = ({ influxdb, reader }: Source, statements: string) =>
  query({ url: influxdb.url, ...reader }, statements, influxdb.database);

type Aggregate = keyof Stored;

/** What is compared of a metric of each type, and so asked for: of long runs there is much to read. */
const compared: Record<CountedMetric["type"], Aggregate[]> = {
  ...{ trend: ["count"], rate: ["count"] },
  ...{ counter: ["sum"], gauge: ["min", "max"] },
};

/** The metrics of which a run has points, and where these begin and end. */
async function extentOf(source: Source, id: string): Promise<{ names: string[]; range: Range }> {
  const { where } = run(id);
  const ends = ["first", "last"].map((each) => `SELECT ${each}("value") FROM /.*/ WHERE ${where}`);
  const [firsts, lasts] = await ask(source, ends.join("; "));
  const times = (all: Series[]) => all.map(({ values: [[time]] }) => Number(time));
  const range = {
    from: times(firsts).reduce((least, each) => Math.min(least, each), Infinity),
    to: times(lasts).reduce((most, each) => Math.max(most, each), 0),
  };
  return { names: firsts.map(({ name }) => name), range };
}

/** What is stored of metrics of a run, by metric: as much of it as is asked for. */
async function storedOf(
  source: Source,
  id: string,
  { range, names, points }: { range: Range; names: string[]; points: number },
  aggregates: Aggregate[],
): Promise<Map<string, Stored>> {
  const what = aggregates.map((each) => `${each}("value") AS "${each}"`).join(", ");
  const from = names.map(identifier).join(", ");
  const answers = await inParts(source, range, points, (andTime) => [
    `SELECT ${what} FROM ${from} WHERE ${run(id).where}${andTime}`,
  ]);
  const all = new Map<string, Stored>();
  for (const { name, values } of answers.flatMap(([series]) => series)) {
    const found = Object.fromEntries(
      aggregates.map((each, at) => [each, Number(values[0][at + 1])]),
    );
    const [before, part] = [all.get(name) ?? nothing, { ...nothing, ...found }];
    all.set(name, {
      ...{ count: before.count + part.count, sum: before.sum + part.sum },
      ...{ min: Math.min(before.min, part.min), max: Math.max(before.max, part.max) },
    });
  }
  return all;
}

/**
 * How many points may be missing though InfluxDB took them all: of two with the same nanosecond and
 * the same tags it keeps one. Samples that are spread evenly give samples² / 2 / nanoseconds such pairs
 * on average; more than this bound is a chance of about 1 in 10,000. Those of a busy machine come in
 * bursts, and coincide more often: 43 of 8.5 million in half an hour, where 20 would be the average.
 * A write that is lost is hundreds.
 */
export function coincidences(samples: number, durationMs: number): number {
  const even = samples ** 2 / 2 / (durationMs * 1e6) || 0;
  const inBursts = 4 * even;
  return even < 1e-4 ? 0 : Math.ceil(inBursts + 4 * Math.sqrt(inBursts));
}

const nothing: Stored = { count: 0, sum: 0, min: Infinity, max: -Infinity };

/** Sums of the same numbers in another order differ by their rounding. */
const isClose = (a: number, b: number) =>
  Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));

/** How what is stored of each metric differs from what k6 counted. */
function gapsOf({ metrics }: Pick<Counts, "metrics">, stored: Map<string, Stored>): Gap[] {
  return wholeMetrics({ metrics }).flatMap((metric): Gap[] => {
    const [counted, has] = [metrics[metric], stored.get(metric) ?? nothing];
    const samples = samplesOf(counted);
    if (samples !== undefined) {
      return samples === has.count
        ? []
        : [{ metric, made: samples, stored: has.count, by: "count" }];
    }
    const { min, max } = counted.values;
    if (counted.type === "counter") {
      const count = counted.values.count ?? 0;
      if (isClose(count, has.sum)) return [];
      return [{ metric, made: count, stored: has.sum, by: "sum" }];
    }
    // A gauge without a sample has zeros.
    if (has.min === Infinity && !min && !max) return [];
    // k6 1 begins each gauge's maximum at 0.
    const off = [
      [min, has.min],
      [max === 0 && has.max < 0 ? has.max : max, has.max],
    ].find(([made, kept]) => typeof made === "number" && made !== kept);
    return off ? [{ metric, made: off[0]!, stored: off[1]!, by: "extremes" }] : [];
  });
}

/** Whether as little is missing as may be without a fault. */
function mayBe({ made, stored, by, metric }: Gap, has: Map<string, Stored>, allowed: Allowed) {
  const { count, max, min } = has.get(metric) ?? nothing;
  const lost = allowed(count);
  if (by === "count") return stored <= made && made - stored <= lost;
  if (by === "sum") return Math.abs(made - stored) <= lost * Math.max(Math.abs(max), Math.abs(min));
  return false;
}

type Allowed = (samples: number) => number;

/**
 * Compares what is stored of every metric with what k6 counted, and looks whether each threshold had
 * a sample to judge.
 *
 * @param all what each k6 counted; the points of each are in series of their own
 * @param refusals why writes of k6 failed, if some did
 * @throws RunFailure when InfluxDB does not tell
 */
export async function prove(
  source: Source,
  id: string,
  all: Counts[],
  total: Counts,
  refusals: string[],
): Promise<Proof> {
  const made = total.metrics.http_reqs?.values.count ?? 0;
  const unknown = (error: Error) => {
    throw new RunFailure(
      made
        ? `k6 made ${made} requests, how many are stored is unknown: ${error.message}`
        : `how many of k6's samples are stored is unknown: ${error.message}`,
    );
  };
  const { names: found, range } = await extentOf(source, id).catch(unknown);
  const stored = new Map<string, Stored>();
  const look = async (names: string[], aggregates: Aggregate[]) => {
    const asked = { range, names, points: pointsOf(total, names) };
    const all = await storedOf(source, id, asked, aggregates).catch(unknown);
    for (const name of names) stored.set(name, all.get(name) ?? nothing);
  };
  for (const [type, aggregates] of Object.entries(compared)) {
    const names = wholeMetrics(total).filter((name) => total.metrics[name].type === type);
    if (names.length > 0) await look(names, aggregates);
  }
  const each = Math.max(1, all.length);
  const allowed = (samples: number) =>
    refusals.length > 0 ? 0 : each * coincidences(Math.ceil(samples / each), total.durationMs);
  const faultsOf = (gaps: Gap[]) => gaps.filter((gap) => !mayBe(gap, stored, allowed));
  let gaps = gapsOf(total, stored);
  // A write that InfluxDB has not answered in time may still be taken. Of a long run one look takes longer
  // than that.
  const until = Date.now() + 5000;
  let faults = faultsOf(gaps);
  while (faults.length > 0 && Date.now() < until) {
    const names = faults.map(({ metric }) => metric);
    await look(names, ["count", "sum", "min", "max"]);
    gaps = gapsOf(total, stored);
    faults = faultsOf(gaps);
    if (faults.length > 0) await sleep(500);
  }
  const strangers = found.filter((name) => !(name in total.metrics));
  const mangled = await mangledTags(source, id);
  const problems = [
    ...(faults.length > 0 ? [inWords(faults, refusals)] : []),
    ...(faults.length > 0 ? await otherIds(source, faults) : []),
    ...(faults.length === 0 ? refusals.map((why) => `a write to InfluxDB failed: ${why}`) : []),
    ...(refusals.length > 0 ? uncounted(total, faults) : []),
    ...strangers.map(
      (name) => `InfluxDB holds points of "${name}", a metric that k6 does not have`,
    ),
    ...mangled.map(({ metrics, tag }) => {
      const what = `the tag "${tag}" of ${metrics.join(", ")}`;
      return `${what} has a value that ends in "\\", which InfluxDB's line protocol cannot hold`;
    }),
    ...(await withoutSamples(source, id, all)),
  ];
  const incomplete = new Set([
    ...faults.map(({ metric }) => metric),
    ...mangled.flatMap(({ metrics }) => metrics),
  ]);
  const coincided = gaps.filter((gap) => !faults.includes(gap));
  return { incomplete, problems, warning: coincidence(coincided), range };
}

/** Metrics that are missing points, in one line; requests first. */
function inWords(gaps: Gap[], refusals: string[]): string {
  const isRequests = ({ metric, made, stored }: Gap) => metric === "http_reqs" && made > stored;
  const requests = gaps.find(isRequests);
  const more = gaps.find(({ metric, made, stored }) => metric === "http_reqs" && made < stored);
  const others = gaps.filter(({ metric }) => metric !== "http_reqs");
  const texts = [
    ...(requests
      ? [
          `k6 made ${requests.made} requests, ${requests.stored} are stored, ` +
            `${requests.made - requests.stored} are missing`,
        ]
      : []),
    ...(others.length > 0 ? [`not all is stored of ${others.map(asText).join(", ")}`] : []),
  ];
  const why = refusals.length > 0 ? `; a write failed: ${[...new Set(refusals)].join("; ")}` : "";
  const surplus = more
    ? [`InfluxDB holds ${more.stored} requests of this run, but k6 made only ${more.made}`]
    : [];
  const missing = texts.length > 0 ? [`points are missing from InfluxDB: ${texts.join("; ")}`] : [];
  return [...surplus, ...missing].join("; ") + why;
}

function asText({ metric, made, stored, by }: Gap): string {
  if (by === "count") return `${metric} (${stored} of ${made})`;
  if (by === "sum") return `${metric} (in sum ${stored} of ${made})`;
  return Number.isFinite(stored) ? `${metric} (${stored}, by k6 ${made})` : `${metric} (none)`;
}

/** Metrics of which a lost write may have had samples, though what k6 tells of them is there. */
function uncounted({ metrics }: Counts, faults: Gap[]): string[] {
  const told = faults.map(({ metric }) => metric);
  const names = wholeMetrics({ metrics }).filter((name) => {
    const { type, values } = metrics[name];
    return !told.includes(name) && (type === "gauge" || (type === "counter" && !values.count));
  });
  return names.length > 0
    ? [`how much is stored of ${names.join(", ")} is unknown: k6 does not count their samples`]
    : [];
}

function coincidence(gaps: Gap[]): string | undefined {
  const requests = gaps.find(({ metric }) => metric === "http_reqs");
  // Each request has a point of each of these metrics.
  const rest = gaps.filter(({ metric }) => !requests || !/^http_req/.test(metric));
  const told = [
    ...(requests ? [`${requests.stored} of ${requests.made} requests`] : []),
    ...rest.map(({ metric, stored, made }) => `${stored} of ${made} in ${metric}`),
  ];
  if (told.length === 0) return undefined;
  return (
    `InfluxDB took every write, but holds ${told.join(", ")}: ` +
    `of two that end in the same nanosecond, as some do at this rate, it keeps one`
  );
}

/** Points without the run's id: a script that sets the tag `testid` takes its points away. */
async function otherIds(source: Source, gaps: Gap[]): Promise<string[]> {
  const names = gaps.map(({ metric }) => identifier(metric)).join(", ");
  const [values] = await ask(source, `SHOW TAG VALUES FROM ${names} WITH KEY = "testid"`).catch(
    (): Series[][] => [[]],
  );
  const ids = values.flatMap(({ values }) => values.map(([, id]) => String(id)));
  const others = [...new Set(ids)].filter((id) => !stackOf(id));
  return others.length > 0
    ? [`the script sets the tag "testid" (${others.join(", ")}), by which a run knows its points`]
    : [];
}

/**
 * Tags that have taken in the tag after them, as line protocol does after a backslash: InfluxDB
 * takes such a point without a word.
 */
async function mangledTags(source: Source, id: string) {
  const { where } = run(id);
  const [keys] = await ask(source, `SHOW TAG KEYS WHERE ${where}`);
  const named = keys.flatMap(({ values }) => values.map(([key]) => String(key)));
  const all = [...new Set(named)].filter(canBeNamed).sort();
  const found = await Promise.all(
    all.map(async (tag, at) => {
      const swallowed = all.slice(at + 1).map((next) => {
        const pattern = `,${next}=`.replace(/[/\\^$.*+?()[\]{}|]/g, "\\$&");
        return `(${identifier(tag)} =~ /${pattern}/ AND ${identifier(next)} = '')`;
      });
      if (swallowed.length === 0) return { tag, metrics: [] };
      const either = `${where} AND (${swallowed.join(" OR ")})`;
      const [series] = await ask(source, `SELECT first("value") FROM /.*/ WHERE ${either}`);
      return { tag, metrics: series.map(({ name }) => name) };
    }),
  );
  return found.filter(({ metrics }) => metrics.length > 0);
}

/** The thresholds that no sample was there for, which k6 passes. */
async function withoutSamples(source: Source, id: string, all: Counts[]): Promise<string[]> {
  const judged = judgedMetrics(all).filter((name) => !isZeroByItself(name));
  const counted = await Promise.all(
    judged.map(async (name) => {
      const known = all.map(({ metrics }) => metrics[name]);
      const samples = known.map((each) => (each ? samplesOf(each) : 0));
      if (samples.some((each) => each !== undefined && each > 0)) return 1;
      if (samples.every((each) => each === 0)) return 0;
      // A counter or a gauge that is not 0 has had one; of a zero only the points tell.
      const values = known.flatMap((each) => (each ? Object.entries(each.values) : []));
      if (values.some(([key, value]) => key !== "rate" && value)) return 1;
      const { metric, tags } = partOf(name);
      const selected = Object.entries(tags).map(
        ([key, value]) => ` AND ${identifier(key)} = ${literal(value)}`,
      );
      const where = run(id).where + selected.join("");
      const select = `SELECT first("value") FROM ${identifier(metric)} WHERE ${where}`;
      // What cannot be asked for, such as a tag with a zero byte, is not known to be there.
      const [[series]] = await ask(source, select).catch((): Series[][] => [[]]);
      return series ? 1 : 0;
    }),
  );
  const silent = judged.filter((_, at) => counted[at] === 0);
  return silent.length > 0
    ? [`no sample was there for the threshold on ${silent.join(", ")}, which k6 then passes`]
    : [];
}

/** k6 takes a sample of iterations that it dropped only when it drops one. */
const isZeroByItself = (name: string) => name === "dropped_iterations";
