/** Asks about a run of any length in parts, each of which InfluxDB answers within its bounds. */
import { query, type Series } from "./influxdb";
import type { Source } from "./verify";

/** Points that one question may be about: InfluxDB reads them in about a second. */
export const most = 2_000_000;

/** From `from` on and before `to`, in milliseconds since 1970. */
export interface Range {
  from: number;
  to: number;
}

/**
 * Asks the same about every part of a run, two at a time.
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
  const ask = ({ from, to }: Range) => {
    const after = from > range.from ? ` AND time >= ${from}ms` : "";
    const before = to < range.to ? ` AND time < ${to}ms` : "";
    const text = statements(after + before).join("; ");
    return query({ url: influxdb.url, ...reader }, text, influxdb.database);
  };
  const count = Math.max(1, Math.ceil(points / most));
  const edge = (at: number) => range.from + Math.floor(((range.to - range.from) * at) / count);
  const answers: Series[][][][] = [];
  let next = 0;
  const work = async () => {
    while (next < count) {
      const at = next++;
      answers[at] = await inHalves({ from: edge(at), to: edge(at + 1) }, ask);
    }
  };
  await Promise.all([work(), work()]);
  return answers.flat();
}

/** Asks about a range; one that has more points than InfluxDB takes at once is halved. */
export async function inHalves<Answer>(
  { from, to }: Range,
  ask: (part: Range) => Promise<Answer>,
): Promise<Answer[]> {
  try {
    return [await ask({ from, to })];
  } catch (error) {
    const middle = Math.floor((from + to) / 2);
    const isTooMuch = /max-select-point limit/.test((error as Error).message);
    if (!isTooMuch || middle === from) throw error;
    const first = await inHalves({ from, to: middle }, ask);
    return [...first, ...(await inHalves({ from: middle, to }, ask))];
  }
}
