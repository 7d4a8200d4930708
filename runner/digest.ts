/**
 * A run's figures while it lasts, for people and panels: of the whole run so far, and of each interval
 * that Grafana may draw. Durations are kept as counts in a histogram, so a run of any length takes the
 * same memory, and a figure of ten hours is as quick as one of a second.
 */
import { Int32Histogram } from "hdr-histogram-js";
import { allRoutes, progressMeasurement } from "../dashboards/queries";
import type { Bucket } from "./percentile";

/** The lengths that Grafana's `$__interval` may have, from 1 s on, in seconds (its `roundInterval`). */
const minutes = [1, 2, 5, 10, 15, 20, 30].map((each) => each * 60);
const hours = [1, 2, 3, 6, 12].map((each) => each * 3600);
const days = [1, 7, 30, 365].map((each) => each * 86_400);
export const intervalLengths = [1, 2, 5, 10, 15, 20, 30, ...minutes, ...hours, ...days];

/** Durations in milliseconds and requests per second. */
export interface Told {
  p99: number;
  p95: number;
  avg: number;
  rps: number;
}

/** When a request ended, in milliseconds since 1970, and how many milliseconds it took. */
export type Request = [endedAt: number, duration: number];

/** Durations of some requests. Percentiles are off by 0.1 % or a microsecond at most, the rest is exact. */
class Tally {
  count = 0;
  private sum = 0;
  // In microseconds, three digits of each. Of one size, which adds them up quickly.
  private readonly histogram = new Int32Histogram(1, 3_600_000_000, 3);

  add(duration: number) {
    this.count += 1;
    this.sum += duration;
    this.histogram.recordValue(microseconds(duration));
  }

  addAll(other: Tally) {
    this.count += other.count;
    this.sum += other.sum;
    this.histogram.add(other.histogram);
  }

  clear() {
    this.count = this.sum = 0;
    this.histogram.reset();
  }

  /** Nearest rank, as of InfluxDB. The histogram itself would round the rank up. */
  percentile(p: number): number {
    const rank = nearestRank(p, this.count);
    return this.histogram.getValueAtPercentile((100 * (rank - 0.5)) / this.count) / 1000;
  }

  bucket(p: number): Bucket {
    const rank = nearestRank(p, this.count);
    const each = this.histogram.recordedValuesIterator;
    each.reset();
    let at = each.next();
    while (at.totalCountToThisValue < rank) at = each.next();
    const { valueIteratedTo: value, countAtValueIteratedTo: within } = at;
    return {
      low: leastMilliseconds(this.histogram.lowestEquivalentValue(value)),
      high: leastMilliseconds(this.histogram.highestEquivalentValue(value) + 1),
      below: at.totalCountToThisValue - within,
      within,
    };
  }

  told(seconds: number): Told {
    const { count, sum } = this;
    return {
      ...{ p99: this.percentile(99), p95: this.percentile(95) },
      ...{ avg: sum / count, rps: count / seconds },
    };
  }
}

/** Rounds a duration in milliseconds to microseconds. k6 has whole nanoseconds, and a half is one of them. */
const microseconds = (duration: number) => Math.floor((Math.round(duration * 1e6) + 500) / 1000);

/** What all durations of so many microseconds and more are above, and all others below. */
const leastMilliseconds = (microseconds: number) => (microseconds * 1000 - 500.5) / 1e6;

/** Which of `count` values in their order is their percentile `p`: the first has number 1. */
export const nearestRank = (p: number, count: number) =>
  Math.max(1, Math.floor((count * p) / 100 + 0.5));

/** Takes requests in, second by second, and tells what came of them. */
export class Digest {
  private readonly whole = new Tally();
  private readonly second = new Tally();
  private readonly intervals = intervalLengths.map((seconds) => ({
    ...{ seconds, start: NaN, tally: new Tally() },
  }));
  /** Fields by time that are still to be told; an interval is told again until it is over. */
  private readonly news = new Map<number, Record<string, number>>();
  /** When the first request ended, and the second in which the last did. */
  private first = NaN;
  private last = NaN;
  private failed = 0;

  /** @param offered what k6 was told to begin in a second, by the time since its first request ended */
  constructor(
    private readonly id: string,
    private readonly offered?: (seconds: number) => number,
  ) {}

  get requests() {
    return this.whole.count;
  }

  get failedRate() {
    return this.requests === 0 ? 0 : this.failed / this.requests;
  }

  /** Requests a second, from the first second with one to the last. */
  get rps() {
    return this.requests / Math.ceil((this.last + 1000 - this.first) / 1000) || 0;
  }

  get p95Ms() {
    return this.requests === 0 ? 0 : this.whole.percentile(95);
  }

  /** Where percentile `p` of all durations is, if no request came late; `undefined` before the first. */
  bucket(p: number): Bucket | undefined {
    return this.requests === 0 ? undefined : this.whole.bucket(p);
  }

  /**
   * @param requests those that ended before `to` and are not taken in yet, in their order
   * @param to a whole second, in milliseconds since 1970
   */
  add(requests: Request[], failed: number, to: number) {
    this.failed += failed;
    for (const [endedAt, duration] of requests) {
      if (Number.isNaN(this.first)) this.begin(endedAt);
      const start = Math.floor(endedAt / 1000) * 1000;
      if (start !== this.last) {
        this.close();
        this.pass(start + 1000);
        this.last = start;
      }
      this.second.add(duration);
    }
    this.close();
    if (this.requests === 0) return;
    this.pass(to);
    for (const interval of this.intervals) this.tell(interval);
    this.newsAt(this.last, { ...this.whole.told(1), rps: this.rps });
  }

  /** What is new, in line protocol; empty if nothing is. */
  takeNews(): string {
    const lines = [...this.news].map(([time, fields]) => progressLine(this.id, time, fields));
    this.news.clear();
    return lines.join("\n");
  }

  private begin(endedAt: number) {
    this.first = endedAt;
    for (const interval of this.intervals) {
      const ms = interval.seconds * 1000;
      interval.start = Math.floor(endedAt / ms) * ms;
    }
  }

  /** The second is over: it goes into every interval that it is part of. */
  private close() {
    if (this.second.count === 0) return;
    for (const { tally } of this.intervals) tally.addAll(this.second);
    this.whole.addAll(this.second);
    this.second.clear();
  }

  /** What is before `to` is known, so intervals that the second before it is not part of are over. */
  private pass(to: number) {
    for (const interval of this.intervals) {
      const ms = interval.seconds * 1000;
      while (interval.start + ms < to) {
        this.tell(interval);
        interval.tally.clear();
        interval.start += ms;
      }
    }
  }

  private tell({ start, seconds, tally }: (typeof this.intervals)[number]) {
    const middle = (Math.max(start, this.first) + start + seconds * 1000) / 2;
    const offered = this.offered?.((middle - this.first) / 1000);
    const told = {
      ...(tally.count === 0 ? { rps: 0 } : tally.told(seconds)),
      ...(offered !== undefined && { offered }),
    };
    const fields = Object.entries(told).map(([name, value]) => [
      `${name}_${seconds * 1000}`,
      value,
    ]);
    this.newsAt(start, Object.fromEntries(fields));
  }

  /** The first interval begins with the run: else a panel of the run alone would not have it. */
  private newsAt(time: number, fields: object) {
    const at = Math.max(time, this.first);
    this.news.set(at, { ...this.news.get(at), ...fields });
  }
}

/** Fields of a run that have a value, in line protocol. @param time in milliseconds since 1970 */
export function progressLine(
  id: string,
  time: number,
  fields: Record<string, number | undefined>,
): string {
  const known = Object.entries(fields).filter(([, value]) => value !== undefined);
  const pairs = known.map(([name, value]) => `${name}=${value}`);
  const name = allRoutes.replaceAll(" ", "\\ ");
  return `${progressMeasurement},testid=${id},name=${name} ${pairs.join(",")} ${time}000000`;
}
