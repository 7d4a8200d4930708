/** An exact percentile of more values than anybody's memory holds: counted, narrowed down, and read. */
import type { Scope } from "../dashboards/queries";
import { inParts, type Range } from "./parts";
import type { Source } from "./verify";

/** What is within two bounds: how many values, the least and the most of them. */
export interface Within {
  count: number;
  least: number;
  most: number;
}

/** Durations that are stored, in milliseconds. */
export interface Durations {
  /** How many are below a bound. */
  below(bound: number): Promise<number>;
  /** What there is from `low` on and below `high`. */
  within(low: number, high: number): Promise<Within>;
  /** All of those. */
  between(low: number, high: number): Promise<number[]>;
}

/** k6's durations are whole nanoseconds. */
const finest = 1e-6;

/** How many values are read and sorted here: some 40 MB of InfluxDB's answers. */
const few = 1_000_000;

/**
 * The value with number `rank` in the order of all; the first has number 1. It takes two counts and a
 * reading where the bounds are right and few values are the same, and finds it otherwise, too.
 *
 * @param bounds where it should be
 */
export async function valueAt(
  rank: number,
  { below, within, between }: Durations,
  bounds: { low: number; high: number },
): Promise<number> {
  let { low, high } = bounds;
  let [under, found] = await Promise.all([low > 0 ? below(low) : 0, within(low, high)]);
  for (;;) {
    const { count, least, most } = found;
    if (under >= rank) {
      // It is below the bounds.
      [low, high] = [0, low];
      [under, found] = [0, await within(low, high)];
    } else if (under + count < rank) {
      [low, high, under] = [high, Math.max(high * 2, 1), under + count];
      found = await within(low, high);
    } else if (most - least < finest / 2) {
      return least;
    } else if (count <= few) {
      const values = await between(low, high);
      return values.sort((a, b) => a - b)[rank - under - 1];
    } else {
      // Many may be the same, such as those of requests that could not connect.
      const middle = least + (most - least) / 2;
      const left = await within(least, middle);
      if (under + left.count >= rank) [low, high, found] = [least, middle, left];
      else {
        [low, high, under] = [middle, most + finest, under + left.count];
        found = await within(low, high);
      }
    }
  }
}

/** A run's request durations in InfluxDB. */
export function storedDurations(
  source: Source,
  scope: Scope,
  range: Range,
  points: number,
): Durations {
  // InfluxQL knows no exponents.
  const number = (bound: number) => bound.toFixed(9);
  const inBounds = (low: number, high: number) =>
    `"value" >= ${number(low)} AND "value" < ${number(high)}`;
  const ask = async (what: string, condition: string) => {
    const answers = await inParts(source, range, points, (andTime) => [
      `SELECT ${what} FROM "http_req_duration" WHERE ${scope.where} AND ${condition}${andTime}`,
    ]);
    return answers.flatMap(([[series]]) => series?.values ?? []);
  };
  const summed = (rows: unknown[][]) => rows.reduce((sum, [, count]) => sum + Number(count), 0);
  return {
    async below(bound) {
      return summed(await ask(`count("value")`, `"value" < ${number(bound)}`));
    },
    async within(low, high) {
      const what = `count("value"), min("value"), max("value")`;
      const rows = await ask(what, inBounds(low, high));
      return {
        count: summed(rows),
        least: rows.reduce((least, [, , value]) => Math.min(least, Number(value)), Infinity),
        most: rows.reduce((most, [, , , value]) => Math.max(most, Number(value)), -Infinity),
      };
    },
    async between(low, high) {
      return (await ask(`"value"`, inBounds(low, high))).map(([, value]) => Number(value));
    },
  };
}
