/** An exact percentile of more values than anybody's memory holds: counted, narrowed down, and read. */
import type { Scope } from "../dashboards/queries";
import { inParts, most as mostInPart, type Range } from "./parts";
import type { Source } from "./verify";

/** From `low` on and below `high`, in milliseconds. */
export interface Bounds {
  low: number;
  high: number;
}

/** What a histogram has counted: how many durations are below its bounds, and how many within. */
export interface Bucket extends Bounds {
  below: number;
  within: number;
}

/** Durations that are stored, in milliseconds. */
export interface Durations {
  /** How many are below a bound. */
  below(bound: number): Promise<number>;
  /** Those within any of the bounds; `undefined` where they are more than about `enough`. */
  within(bounds: Bounds[], enough: number): Promise<number[] | undefined>;
  /** The least and the most of them. */
  ends(low: number, high: number): Promise<[least: number, most: number]>;
}

/** k6's durations are whole nanoseconds. */
const finest = 1e-6;

/** How many values are read and sorted here: some 40 MB of InfluxDB's answers. */
const few = 1_000_000;

/**
 * The values with these numbers in the order of all, by a single reading: each in the bucket of a
 * histogram of the same values.
 *
 * @returns `undefined` where the buckets have too many values, or others than are stored
 */
export async function valuesIn(
  ranks: number[],
  { within }: Durations,
  buckets: Bucket[],
): Promise<number[] | undefined> {
  if (buckets.reduce((sum, bucket) => sum + bucket.within, 0) > few) return undefined;
  const values = await within(buckets, few);
  if (!values) return undefined;
  const sorted = values.sort((a, b) => a - b);
  const found = buckets.map(({ low, high, ...counted }, at) => {
    const inside = sorted.filter((each) => each >= low && each < high);
    return inside.length === counted.within ? inside[ranks[at] - counted.below - 1] : undefined;
  });
  return found.every((each) => each !== undefined) ? found : undefined;
}

/**
 * The value with number `rank` in the order of all; the first has number 1. It takes a count and a
 * reading where the bounds are right and few values are the same, and finds it otherwise, too.
 *
 * @param bounds where it should be
 */
export async function valueAt(
  rank: number,
  { below, within, ends }: Durations,
  { low, high }: Bounds,
): Promise<number> {
  for (;;) {
    const [under, values] = await Promise.all([
      low > 0 ? below(low) : 0,
      within([{ low, high }], few),
    ]);
    if (under >= rank) {
      // It is below the bounds.
      [low, high] = [0, low];
    } else if (!values) {
      // Many may be the same, such as those of requests that could not connect.
      const [least, most] = await ends(low, high);
      if (most - least < finest / 2) {
        const all = await below(most + finest);
        if (all >= rank) return least;
        [low, high] = [most + finest, Math.max(high, most + 2 * finest) * 2];
        continue;
      }
      const middle = least + (most - least) / 2;
      [low, high] = (await below(middle)) >= rank ? [least, middle] : [middle, most + finest];
    } else if (under + values.length >= rank) {
      return values.sort((a, b) => a - b)[rank - under - 1];
    } else {
      [low, high] = [high, Math.max(high * 2, 1)];
    }
  }
}

/**
 * A run's request durations in InfluxDB.
 *
 * @param points how many the run has, about
 * @param count how many of them are in the scope
 */
export function storedDurations(
  source: Source,
  scope: Scope,
  { range, points, count }: { range: Range; points: number; count: number },
): Durations {
  // InfluxQL knows no exponents.
  const number = (bound: number) => bound.toFixed(9);
  const inBounds = ({ low, high }: Bounds) =>
    `("value" >= ${number(low)} AND "value" < ${number(high)})`;
  const ask = async (what: string, condition: string) => {
    const answers = await inParts(source, range, points, (andTime) => [
      `SELECT ${what} FROM "http_req_duration" WHERE ${scope.where} AND ${condition}${andTime}`,
    ]);
    return answers.flatMap(([[series]]) => series?.values ?? []);
  };
  const summed = (rows: unknown[][]) => rows.reduce((sum, [, count]) => sum + Number(count), 0);
  return {
    async below(bound) {
      // Of the slowest there are few, and InfluxDB counts what it has let through.
      const others = await ask(`count("value")`, `"value" >= ${number(bound)}`);
      return count - summed(others);
    },
    async within(bounds, enough) {
      const parts = Math.ceil(points / mostInPart);
      const limit = Math.ceil((2 * enough) / Math.max(1, parts));
      const asked = await inParts(source, range, points, (andTime) => [
        `SELECT "value" FROM "http_req_duration" ` +
          `WHERE ${scope.where} AND (${bounds.map(inBounds).join(" OR ")})${andTime} LIMIT ${limit}`,
      ]);
      const rows = asked.map(([[series]]) => series?.values ?? []);
      if (rows.some(({ length }) => length === limit)) return undefined;
      return rows.flat().map(([, value]) => Number(value));
    },
    async ends(low, high) {
      const [least, most] = await Promise.all(
        ["min", "max"].map((end) => ask(`${end}("value")`, inBounds({ low, high }))),
      );
      const numbers = (rows: unknown[][]) => rows.map(([, value]) => Number(value));
      return [Math.min(...numbers(least)), Math.max(...numbers(most))];
    },
  };
}
