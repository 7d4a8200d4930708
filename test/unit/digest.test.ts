/** The figures of a run as it goes, and exact percentiles of more values than fit into memory. */
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { run } from "../../dashboards/queries";
import { Digest, intervalLengths, nearestRank, type Request } from "../../runner/digest";
import { inParts } from "../../runner/parts";
import { type Bounds, valueAt, valuesIn } from "../../runner/percentile";
import { closeServers, credentials, id, serve } from "../support/run";

afterEach(closeServers);

/** Midnight, so that every interval begins here. */
const start = Date.parse("2026-01-05T00:00:00Z");

const percentile = (p: number, values: number[]) =>
  [...values].sort((a, b) => a - b)[nearestRank(p, values.length) - 1];

/** Fields by time, as the last line for each has them. */
function told(...news: string[]): Map<number, Record<string, number>> {
  const all = new Map<number, Record<string, number>>();
  for (const line of news.flatMap((each) => each.split("\n")).filter(Boolean)) {
    const [, fields, time] = /^k6_progress,testid=\S+,name=all\\ routes (\S+) (\d+)000000$/.exec(
      line,
    )!;
    const pairs = fields.split(",").map((each) => each.split("="));
    const known = Object.fromEntries(pairs.map(([name, value]) => [name, Number(value)]));
    all.set(Number(time), { ...all.get(Number(time)), ...known });
  }
  return all;
}

const requests = fc
  .array(
    fc.record({
      after: fc.integer({ min: 0, max: 2500 }),
      duration: fc.double({ min: 0, max: 120_000, noNaN: true }),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map((all) => {
    let time = start;
    return all.map(({ after, duration }): Request => [(time += after), duration]);
  });

describe("a digest", () => {
  test("has every interval's figures, whatever portions the requests come in", () => {
    fc.assert(
      fc.property(requests, fc.integer({ min: 1, max: 7 }), (all, seconds) => {
        const digest = new Digest(id);
        const news: string[] = [];
        const end = Math.floor(all.at(-1)![0] / 1000) * 1000 + 1000;
        for (let from = start; from < end; from += seconds * 1000) {
          const to = Math.min(end, from + seconds * 1000);
          digest.add(
            all.filter(([time]) => time >= from && time < to),
            0,
            to,
          );
          news.push(digest.takeNews());
        }
        const fields = told(...news);
        const first = all[0][0];
        for (const length of intervalLengths.filter((each) => each <= 3600)) {
          const ms = length * 1000;
          for (let at = Math.floor(first / ms) * ms; at < end; at += ms) {
            const durations = all
              .filter(([time]) => time >= at && time < at + ms)
              .map(([, duration]) => duration);
            const has = fields.get(Math.max(at, first)) ?? {};
            expect(has[`rps_${ms}`]).toBeCloseTo(durations.length / length, 9);
            if (durations.length === 0) {
              expect(has[`p95_${ms}`]).toBeUndefined();
              continue;
            }
            const mean = durations.reduce((sum, each) => sum + each, 0) / durations.length;
            expect(has[`avg_${ms}`]).toBeCloseTo(mean, 6);
            for (const p of [95, 99]) {
              const exact = percentile(p, durations);
              const off = Math.abs(has[`p${p}_${ms}`] - exact);
              expect(off, `p${p} of ${durations}`).toBeLessThanOrEqual(exact * 0.001 + 0.001);
            }
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  test("has the figures of the run so far, at the last second of requests", () => {
    const digest = new Digest(id);
    const second: Request[] = Array.from({ length: 100 }, (_, at) => [start + 250, at + 1]);
    digest.add(second, 3, start + 1000);
    digest.add([], 0, start + 5000);
    expect(told(digest.takeNews()).get(start + 250)).toMatchObject({
      ...{ p95: expect.closeTo(95, 0), p99: expect.closeTo(99, 0), avg: 50.5, rps: 100 },
    });
    expect([digest.requests, digest.failedRate]).toEqual([100, 0.03]);
  });

  test("tells that no request ends, second by second", () => {
    const digest = new Digest(id);
    digest.add([[start, 1]], 0, start + 1000);
    digest.takeNews();
    digest.add([], 0, start + 4000);
    const news = told(digest.takeNews());
    expect([1, 2, 3].map((second) => news.get(start + second * 1000)?.rps_1000)).toEqual([0, 0, 0]);
  });

  test("knows where its percentiles are", () => {
    fc.assert(
      fc.property(requests, (all) => {
        const digest = new Digest(id);
        digest.add(all, 0, Math.floor(all.at(-1)![0] / 1000) * 1000 + 1000);
        const durations = all.map(([, duration]) => duration);
        for (const p of [95, 99]) {
          const { low, high, below, within } = digest.bucket(p)!;
          expect(percentile(p, durations)).toBeGreaterThanOrEqual(low);
          expect(percentile(p, durations)).toBeLessThan(high);
          expect(durations.filter((each) => each < low).length).toBe(below);
          expect(durations.filter((each) => each < high).length).toBe(below + within);
        }
      }),
    );
  });
});

test("a digest tells what was offered in each interval, if it knows", () => {
  const digest = new Digest(id, (seconds) => seconds * 10);
  digest.add(
    [
      [1_000_500, 5],
      [1_002_250, 7],
    ],
    0,
    1_003_000,
  );
  const told = digest.takeNews().split("\n");
  const offered = told.flatMap((line) => {
    const [, rate] = /\boffered_1000=([\d.]+)/.exec(line) ?? [];
    return rate ? [Number(rate)] : [];
  });
  // From the first request on: half a second of the first interval, all of the others.
  expect(offered).toEqual([2.5, 10, 20]);
});

describe("a value by its rank", () => {
  const stored = (values: number[]) => {
    const inBounds = (low: number, high: number) =>
      values.filter((each) => each >= low && each < high);
    return {
      below: async (bound: number) => values.filter((each) => each < bound).length,
      within: async (bounds: Bounds[], enough: number) => {
        const found = values.filter((each) =>
          bounds.some(({ low, high }) => each >= low && each < high),
        );
        return found.length > enough ? undefined : found;
      },
      ends: async (low: number, high: number): Promise<[number, number]> => {
        const found = inBounds(low, high);
        return [
          found.reduce((least, each) => Math.min(least, each), Infinity),
          found.reduce((most, each) => Math.max(most, each), -Infinity),
        ];
      },
    };
  };

  test("is found within any bounds", async () => {
    const values = fc.array(
      fc.integer({ min: 0, max: 1e9 }).map((ns) => ns / 1e6),
      {
        minLength: 1,
        maxLength: 50,
      },
    );
    await fc.assert(
      fc.asyncProperty(values, fc.nat(), fc.nat(2000), fc.nat(100), async (all, at, low, wide) => {
        const rank = (at % all.length) + 1;
        const bounds = { low: low / 2, high: low / 2 + wide / 50 + 0.01 };
        const sorted = [...all].sort((a, b) => a - b);
        expect(await valueAt(rank, stored(all), bounds)).toBe(sorted[rank - 1]);
      }),
    );
  });

  test("is found in a digest's buckets by one reading, unless they are of other values", async () => {
    const times = fc.array(fc.integer({ min: 0, max: 3e6 }), { minLength: 1, maxLength: 300 });
    await fc.assert(
      fc.asyncProperty(times, async (all) => {
        const durations = all.map((halves) => halves * 0.0005);
        const digest = new Digest(id);
        digest.add(
          durations.map((each): Request => [start, each]),
          0,
          start + 1000,
        );
        const ranks = [95, 99].map((p) => nearestRank(p, all.length));
        const buckets = [95, 99].map((p) => digest.bucket(p)!);
        const exact = [95, 99].map((p) => percentile(p, durations));
        expect(await valuesIn(ranks, stored(durations), buckets)).toEqual(exact);
        const others = stored([...durations, exact[0]]);
        expect(await valuesIn(ranks, others, buckets)).toBeUndefined();
      }),
    );
    const many = { low: 0, high: 1, below: 0, within: 2_000_000 };
    expect(await valuesIn([1], stored([0.5]), [many])).toBeUndefined();
  });

  // More than a million values, over and over.
  test("is found among more than are read at once, and when all are the same", async () => {
    const many = Array.from({ length: 2_400_000 }, (_, at) => at / 1e6);
    expect(await valueAt(2_280_000, stored(many), { low: 0, high: 3 })).toBe(many[2_279_999]);
    const same = Array.from({ length: 1_250_000 }, () => 7.5);
    expect(await valueAt(9, stored(same), { low: 7, high: 8 })).toBe(7.5);
    expect(await valueAt(1_250_001, stored([...same, 8.5]), { low: 7, high: 8 })).toBe(8.5);
    // Of requests that could not connect, and of two that could.
    const zeros = [...Array.from({ length: 1_300_000 }, () => 0), 3, 4];
    expect(await valueAt(1_300_000, stored(zeros), { low: 0, high: 5 })).toBe(0);
    expect(await valueAt(1_300_001, stored(zeros), { low: 0, high: 5 })).toBe(3);
  }, 60_000);
});

describe("a question in parts", () => {
  /** An InfluxDB that has a point each millisecond, and refuses more than 100 at once. */
  async function store() {
    const asked: string[] = [];
    const url = await serve(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      const text = new URLSearchParams(body).get("q")!;
      asked.push(text);
      const from = Number(/time >= (\d+)ms/.exec(text)?.[1] ?? 1000);
      const to = Number(/time < (\d+)ms/.exec(text)?.[1] ?? 1400);
      const answer =
        to - from > 100
          ? { error: "max-select-point limit exceeed: (101/100)" }
          : { series: [{ name: "a", columns: ["time", "count"], values: [[0, to - from]] }] };
      response.end(JSON.stringify({ results: [{ statement_id: 0, ...answer }] }));
    });
    const source = { influxdb: { url, database: "k6" }, reader: credentials.reader };
    return { source, asked };
  }
  const statements = (andTime: string) => [`SELECT count WHERE ${run(id).where}${andTime}`];

  test("is about each point once, in halves where a part is too much", async () => {
    const { source, asked } = await store();
    const answers = await inParts(source, { from: 1000, to: 1400 }, 4_100_000, statements);
    const counts = answers.map(([[{ values }]]) => Number(values[0][1]));
    expect(counts.reduce((sum, each) => sum + each, 0)).toBe(400);
    expect(Math.max(...counts)).toBeLessThanOrEqual(100);
    expect(asked.length).toBeGreaterThan(3);
  });

  test("has no condition on the time where it is one", async () => {
    const { source, asked } = await store();
    const one = inParts(source, { from: 1000, to: 1000 }, 5, statements);
    await expect(one).rejects.toThrow("max-select-point limit");
    expect(asked).toEqual([`SELECT count WHERE ${run(id).where}`]);
  });
});
