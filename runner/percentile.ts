/** An exact percentile of more values than anybody's memory holds: counted, narrowed down, and read. */
import type { Scope } from "../dashboards/queries";
import { inParts, type Range } from "./parts";
import type { Source } from "./verify";

/** Durations that are stored, in milliseconds. */
export interface Durations {
  /** How many are below a bound. */
  below(bound: number): Promise<number>;
  /** Those from `low` on and below `high`; `enough` of them where there are more. */
  between(low: number, high: number, enough: number): Promise<number[]>;
  /** The least and the most of them. */
  ends(low: number, high: number): Promise<[least: number, most: number]>;
}

/** k6's durations are whole nanoseconds. */
const finest = 1e-6;

/** How many values are read and sorted here. */
const few = 200_000;

/**
 * The value with number `rank` in the order of all; the first has number 1. It takes a count and a
 * reading where the bounds are right and few values are the same, and finds it otherwise, too.
 *
 * @param bounds where it should be
 */
export async function valueAt(
  rank: number,
  { below, between, ends }: Durations,
  bounds: { low: number; high: number },
): Promise<number> {
  let { low, high } = bounds;
  for (;;) {
    const under = low > 0 ? await below(low) : 0;
    if (under >= rank) {
      [low, high] = [0, low];
      continue;
    }
    const values = await between(low, high, few + 1);
    if (values.length > few) {
      // Many may be the same, such as those of requests that could not connect.
      const [least, most] = await ends(low, high);
      const half = Math.max(finest, (most - least) / 2);
      const middle = least + half;
      const isBelow = (await below(middle)) >= rank;
      if (isBelow && half === finest) return least;
      [low, high] = isBelow ? [least, middle] : [middle, most + finest];
    } else if (under + values.length >= rank) {
      return values.sort((a, b) => a - b)[rank - under - 1];
    } else {
      [low, high] = [high, Math.max(high * 2, 1)];
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
  const within = (low: number, high: number) =>
    `"value" >= ${number(low)} AND "value" < ${number(high)}`;
  const ask = async (what: string, condition: string, limit = "") => {
    const answers = await inParts(source, range, points, (andTime) => [
      `SELECT ${what} FROM "http_req_duration" ` +
        `WHERE ${scope.where} AND ${condition}${andTime}${limit}`,
    ]);
    return answers.flatMap(([[series]]) => series?.values ?? []).map(([, value]) => Number(value));
  };
  return {
    async below(bound) {
      const counts = await ask(`count("value")`, `"value" < ${number(bound)}`);
      return counts.reduce((sum, each) => sum + each, 0);
    },
    between: (low, high, enough) => ask(`"value"`, within(low, high), ` LIMIT ${enough}`),
    async ends(low, high) {
      const [least, most] = await Promise.all(
        ["min", "max"].map((end) => ask(`${end}("value")`, within(low, high))),
      );
      return [Math.min(...least), Math.max(...most)];
    },
  };
}
