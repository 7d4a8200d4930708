/** Whether the generator of the load was short of something: what samples of it come to. */
import { describe, expect, test } from "vitest";
import { type Sample, summed } from "../../runner/generator";
import { table } from "../../runner/report";

const seconds = (count: number, more: Partial<Sample>): Sample[] =>
  Array.from({ length: count }, (_, at) => ({ at: at * 1000, machine: 0.2, late: 0, ...more }));

const why = (...samples: Sample[][]) => summed(samples.flat(), 2)?.why;

describe("a generator", () => {
  test("that was not looked at is not known", () => {
    expect(summed([], 2)).toBeUndefined();
  });

  test("is told by averages, and by the most of memory and of lateness", () => {
    const samples = [
      ...seconds(1, { machine: 0.3, k6: 0.4, store: 0.1, memory: 0.1, late: 5 }),
      ...seconds(1, { machine: 0.5, k6: 0.6, memory: 0.3, late: 1 }),
    ];
    expect(summed(samples, 2)).toEqual({
      ...{ cores: 2, k6Cores: 0.5, storeCores: 0.1, machine: 0.4, memory: 0.3 },
      ...{ lateMs: 5, short: 0 },
    });
  });

  test("that waits for a slow target was not short", () => {
    expect(why(seconds(60, { k6: 0.05 }))).toBeUndefined();
  });

  test("that has all processors says so", () => {
    const all = seconds(34, { machine: 1, k6: 1.95 });
    expect(why(all, seconds(66, { k6: 0.5 }))).toBe(
      "k6 had all of 2 cores for 34 % of the run: its durations are its own",
    );
  });

  test("beside which the machine is busy says what it had", () => {
    const busy = seconds(50, { machine: 0.99, k6: 0.4 });
    expect(why(busy, seconds(50, {}))).toBe(
      "2 cores of this machine were busy for 50 % of the run, 0.4 of them with k6: " +
        "durations may be the machine's, not the target's",
    );
  });

  test("in a virtual machine with fewer processors is short of those", () => {
    const full = seconds(10, { machine: 0.3, k6: 1.5, store: 0.45 });
    expect(why(full)).toMatch(/^2 cores of this machine were busy for 100 % of the run, 1\.5 /);
  });

  test("is not called short for a second or two, as k6 starts", () => {
    expect(why(seconds(2, { machine: 1 }), seconds(2, {}))).toBeUndefined();
    expect(why(seconds(9, { machine: 1 }), seconds(91, {}))).toBeUndefined();
  });

  test("that is late is short, and so is one at the end of its memory", () => {
    expect(why(seconds(5, { late: 1500 }))).toMatch(/busy for 100 % of the run/);
    expect(why(seconds(5, { memory: 0.97 }))).toBe("k6 came to 97 % of its memory");
  });
});

test("a verdict tells what the generator did, and that it was short", () => {
  const shown = table({
    ...{ id: "dev-20260102T030405Z", verdict: "passed", regressions: [], warnings: ["first"] },
    ...{ thresholds: [], startedAt: "2026-01-02T03:04:05.000Z" },
    generator: summed(seconds(10, { machine: 1, k6: 1.9, store: 0.1 }), 2),
  });
  expect(shown.split("\n").slice(-6)).toEqual([
    "no baseline: no run of this scenario and profile has passed before",
    "generator: k6 1.90, InfluxDB 0.10 of 2 cores, machine 100 % busy",
    "",
    "warning: first",
    "",
    "warning: k6 had all of 2 cores for 100 % of the run: its durations are its own",
  ]);
});
