import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Capacity, OutputUse } from "../../bench/capacity";
import { highestRate, isKept, type Setting, simulate } from "../../bench/model";
import { tables } from "../../bench/scale";
import { filled } from "../../runner/report";

/** A request takes a millisecond of k6, its ten points take one more, and half a one of the store. */
const setting: Setting = {
  costs: {
    runner: { second: 0, request: 0.001, point: 0.0001 },
    target: { request: 0.0005 },
    store: { second: 0, point: 0.00005 },
  },
  runners: 1,
  cores: { runner: 2, store: 2 },
  offered: 100,
  seconds: 10,
  virtualUsers: 100,
  pointsPerRequest: 10,
};

const simulated = (changed: Partial<Setting>) => simulate({ ...setting, ...changed });

describe("the simulation", () => {
  test("keeps a low rate: all is made, stored within a second, nothing dropped", () => {
    const { achieved, dropped, cores, behind, kept } = simulated({});
    expect(achieved).toBeCloseTo(100, 0);
    // A hundred requests: 0.1 s to make them, as much for their points, 0.05 s to store these.
    expect(cores).toBeCloseTo(0.25, 5);
    expect(dropped).toBe(0);
    expect(behind).toBeLessThan(0.3);
    expect(kept).toBe(true);
  });

  test("gives no more requests than the runner's cores have time for; the rest is dropped", () => {
    const { achieved, dropped, kept } = simulated({ offered: 10_000, pointsPerRequest: 0 });
    // Two cores at a millisecond each; 100 virtual users still have one when the load ends.
    expect(achieved).toBeCloseTo(2010, -1);
    expect(achieved * 10 + dropped).toBeCloseTo(100_000, 0);
    expect(kept).toBe(false);
  });

  test("grows with runners that have machines of their own", () => {
    const most = (runners: number) =>
      simulated({ runners, offered: 50_000, pointsPerRequest: 0 }).achieved;
    expect(most(2) / most(1)).toBeCloseTo(2, 1);
    expect(most(4) / most(1)).toBeCloseTo(4, 1);
  });

  test("does not grow with runners that share one machine", () => {
    const most = (runners: number) =>
      simulated({ runners, cores: { shared: 2 }, offered: 50_000, pointsPerRequest: 0 }).achieved;
    // The target's half a millisecond is on the same cores.
    expect(most(1)).toBeCloseTo(1343, -2);
    expect(most(4)).toBeCloseTo(most(1), -1);
  });

  test("has a store fall behind without end that takes less than it gets", () => {
    const slow = { ...setting.costs, store: { second: 0, point: 0.004 } };
    // A thousand points a second at 4 ms, on two cores: half of them.
    const short = simulated({ costs: slow });
    const long = simulated({ costs: slow, seconds: 20 });
    expect(short.achieved).toBeCloseTo(100, 0);
    expect(short.kept).toBe(false);
    expect(short.behind).toBeGreaterThan(9);
    expect(long.behind).toBeGreaterThan(short.behind + 8);
    expect(long.storedInTime).toBeLessThan(0.5);
  });

  test("relieves that store by points that are aggregated", () => {
    const slow = { ...setting.costs, store: { second: 0, point: 0.004 } };
    expect(simulated({ costs: slow, aggregation: 10 }).kept).toBe(true);
  });

  test("has four writes of a runner under way at most", () => {
    // A second's points take six: as many cores as one likes, but four are used.
    const slow = { ...setting.costs, store: { second: 0, point: 0.006 } };
    const cores = { runner: 2, store: 100 };
    const one = simulated({ costs: slow, cores, seconds: 60 });
    const three = simulated({ costs: slow, cores, seconds: 60, runners: 3 });
    expect(one.behind).toBeGreaterThan(10);
    // Each of three has a third of the points, and four writes of its own.
    expect(three.behind).toBeLessThan(3);
  });

  test("has one core make a write, however many there are", () => {
    const runner = { ...setting.costs.runner, point: 0.0015 };
    const { behind } = simulated({
      costs: { ...setting.costs, runner },
      cores: { runner: 64, store: 64 },
    });
    // The last thousand points at 1.5 ms, and their storing.
    expect(behind).toBeGreaterThan(1.5);
    expect(behind).toBeLessThan(1.7);
  });

  test("loses no request and no point, and is the same each time", () => {
    const positive = (max: number) => fc.integer({ min: 1, max });
    fc.assert(
      fc.property(
        positive(5000),
        positive(4),
        positive(4),
        positive(20),
        fc.boolean(),
        (offered, runners, cores, pointsPerRequest, shared) => {
          const each = {
            ...{ offered, runners, pointsPerRequest, seconds: 3 },
            cores: shared ? { shared: cores } : { runner: cores, store: cores },
          };
          const outcome = simulated(each);
          expect(outcome.achieved * 3 + outcome.dropped).toBeCloseTo(offered * 3, 3);
          expect(outcome.storedInTime).toBeGreaterThanOrEqual(0);
          expect(outcome.storedInTime).toBeLessThanOrEqual(1 + 1e-9);
          expect(outcome.kept).toBe(isKept(outcome));
          expect(simulated(each)).toEqual(outcome);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("the highest rate", () => {
  test("is as near to the first that is not kept as was asked for", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.constantFrom(50, 500),
        async (limit, step) => {
          const rate = await highestRate((rate) => rate <= limit, 1000, step);
          expect(rate).toBeLessThanOrEqual(limit);
          expect(rate + 2 * step).toBeGreaterThan(limit);
        },
      ),
    );
  });
});

describe("the tables of make scale", () => {
  const use = (low: number, high: number, bytes = 0): OutputUse => ({
    rates: [1000, 3000],
    cores: [low, high],
    bytes: [bytes, bytes * 1.1],
  });
  const tried = { runners: 1, lost: 0, dropped: 0, cores: 1.5, behind: 0, others: 0.1 };
  const stored = { pointBytes: 100, write: 0.5, longest: 0.7, behind: 0.5, cores: 0.9, others: 0 };
  const capacity: Capacity = {
    cores: 2,
    seconds: 10,
    virtualUsers: 400,
    pointsPerRequest: 14,
    requestBytes: 250,
    series: 16,
    costs: {
      runner: { second: 0.1, request: 0.0001, point: 0.000005 },
      target: { request: 0.00002 },
      store: { second: 0, point: 0.0000025 },
    },
    outputs: {
      none: use(0.2, 0.4),
      influxdb: use(0.27, 0.61),
      prometheus: use(0.25, 0.5, 2000),
      opentelemetry: use(0.25, 0.55, 5000),
    },
    store: [
      { ...stored, offered: 350_000, kept: true },
      { ...stored, offered: 375_000, behind: 1.2, kept: false },
    ],
    runners: [
      { ...tried, output: false, offered: 12_000, achieved: 12_000, kept: true },
      { ...tried, output: true, offered: 8_000, achieved: 7_900, dropped: 1000, kept: false },
    ],
  };
  const all = tables(capacity);
  const cell = (table: string[][], row: string, column: string) =>
    table.find(([name]) => name === row)![table[0].indexOf(column)];

  test("have rows of one length, and no cell that is no number", async () => {
    for (const [name, table] of Object.entries(await all)) {
      for (const row of table) {
        expect(row.length, name).toBe(table[0].length);
        for (const each of row) expect(each, name).not.toMatch(/NaN|Infinity|undefined|\|/);
      }
    }
  });

  test("tell what one more request costs by the difference of two rates", async () => {
    const { costs } = await all;
    expect(cell(costs, "nowhere", "µs of one more")).toBe("100");
    expect(cell(costs, "InfluxDB, points", "µs of one more")).toBe("170");
    expect(cell(costs, "InfluxDB, points", "bytes/s sent at 1,000/s")).toBe("1,400,000");
  });

  test("put what is predicted from low load beside what was measured", async () => {
    const { highest, runners } = await all;
    // Two cores less 0.1 of an idle k6, at 120 µs a request.
    const predicted = cell(highest, "1 k6, no output, requests/s", "predicted");
    expect(Number(predicted.replace(",", ""))).toBeGreaterThan(15_000);
    expect(Number(predicted.replace(",", ""))).toBeLessThan(16_000);
    expect(cell(highest, "1 k6, no output, requests/s", "error")).toMatch(/^\+(2|3)\d %$/);
    // None was kept.
    expect(cell(highest, "1 k6, to InfluxDB, requests/s", "measured")).toBe("0");
    expect(cell(highest, "InfluxDB alone, points/s", "measured")).toBe("350,000");
    expect(runners.map((row) => row.at(-1))).toEqual(["", "kept", "not kept"]);
  });

  test("reckon a million requests a second", async () => {
    const { million, ways } = await all;
    const result = (row: string) => cell(million, row, "result");
    expect(result("k6's cores, no output")).toBe("100");
    expect(result("k6's cores, raw points")).toBe("170");
    // 170 cores at 0.8, 16 a node, 2 a runner.
    expect(result("the same, raw points")).toBe("14 nodes, 112 runners");
    expect(result("points")).toBe("14,000,000 a second");
    expect(result("network to the store")).toBe("11.2 Gbit/s");
    expect(result("InfluxDBs like the measured one")).toBe("40");
    expect(result("InfluxDBs at InfluxData's limit of one")).toBe("19");
    expect(result("one InfluxDB on 16 cores, raw points")).toMatch(/^not kept: .* % of it stored/);
    expect(result("the same, points aggregated by each runner")).toBe("kept");
    const samples = "samples/s at the store";
    expect(cell(ways, "raw points to InfluxDB", samples)).toBe("14,000,000");
    // 125 cores: 10 nodes, 80 runners of 16 series.
    const prometheus = "Prometheus remote write, native histograms, each second";
    expect(cell(ways, prometheus, samples)).toBe("1,280");
  });
});

describe("a place in a document", () => {
  test("is filled, and filled again", () => {
    const document = "before\n\n<!-- a -->\n\nold\n\n<!-- /a -->\n\nafter <!-- b --><!-- /b -->\n";
    const once = filled(document, "a", "new");
    expect(once).toBe(document.replace("old", "new"));
    expect(filled(once, "a", "new")).toBe(once);
  });

  test("must be there", () => {
    expect(() => filled("<!-- a -->", "a", "")).toThrow("there is no <!-- a --> … <!-- /a -->");
    expect(() => filled("", "b", "")).toThrow("<!-- b -->");
  });
});
