/** Asks about a run of any length in parts, each of which InfluxDB answers within its bounds. */
import { query, type Series } from "./influxdb";
import type { Source } from "./verify";

/** Points that one question may be about: InfluxDB reads them in about a second. */
const most = 2_000_000;

/** Of the first and the last of some points, in milliseconds since 1970. */
export interface Range {
  from: number;
  to: number;
}

/**
 * Asks the same about every part of a run, two at a time. A part that has more points than InfluxDB
 * takes at once is halved.
 *
 * @param range where points may be; the first part and the last have those before and after it, too
 * @param points how many there are, about
 * @param statements the question about a part; it is given a condition on the time, or nothing
 * @returns the answers, those about a part together
 */
export async function inParts(
  { influxdb, reader }: Source,
  range: Range,
  points: number,
  statements: (andTime: string) => string[],
): Promise<Series[][][]> {
  const ask = async (from: number, to: number): Promise<Series[][][]> => {
    const after = from > range.from ? ` AND time >= ${from}ms` : "";
    const before = to < range.to ? ` AND time < ${to}ms` : "";
    const text = statements(after + before).join("; ");
    try {
      return [await query({ url: influxdb.url, ...reader }, text, influxdb.database)];
    } catch (error) {
      const middle = Math.floor((from + to) / 2);
      const isTooMuch = /max-select-point limit/.test((error as Error).message);
      if (!isTooMuch || middle === from) throw error;
      return [...(await ask(from, middle)), ...(await ask(middle, to))];
    }
  };
  const count = Math.max(1, Math.ceil(points / most));
  const edge = (at: number) => range.from + Math.floor(((range.to - range.from) * at) / count);
  const answers: Series[][][][] = [];
  let next = 0;
  const work = async () => {
    while (next < count) {
      const at = next++;
      answers[at] = await ask(edge(at), edge(at + 1));
    }
  };
  await Promise.all([work(), work()]);
  return answers.flat();
}
