import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  arrivalRate,
  defaultProfile,
  defaultThresholds,
  drawn,
  durationSeconds,
  iterationsOf,
  k6Options,
  loadInWords,
  parseMaxRegression,
  parseStages,
  rateAt,
  ratesOf,
  regressionLimit,
  route,
  rules,
  steady,
  withSearch,
  withStages,
} from "../../k6/profile";

describe("the defaults", () => {
  test("are the guide's scenario to the digit", () => {
    expect(defaultProfile).toEqual({
      rate: 1000,
      timeUnit: "1m",
      duration: "1m",
      preAllocatedVUs: 100,
      maxVUs: 1000,
      userIdBase: 41593,
      userCount: 1000,
      couponId: 1,
    });
  });

  test("are limits on latency, failures, checks and dropped iterations", () => {
    expect(defaultThresholds).toEqual({
      p95Ms: 500,
      p99Ms: 1000,
      failedRate: 0.01,
      checksRate: 0.99,
      droppedIterations: 0,
    });
  });
});

describe("k6's options", () => {
  test("are the guide's scenario, with thresholds and few tags", () => {
    expect(k6Options(defaultProfile, defaultThresholds)).toEqual({
      scenarios: {
        coupon_issuance: {
          executor: "constant-arrival-rate",
          rate: 1000,
          timeUnit: "1m",
          duration: "1m",
          preAllocatedVUs: 100,
          maxVUs: 1000,
        },
      },
      thresholds: {
        http_req_duration: ["p(95)<=500", "p(99)<=1000"],
        http_req_failed: ["rate<=0.01"],
        checks: ["rate>=0.99"],
        dropped_iterations: ["count<=0"],
        http_reqs: ["count>=1"],
      },
      systemTags: ["name", "check", "scenario"],
      summaryTrendStats: ["avg", "min", "med", "max", "p(90)", "p(95)", "p(99)"],
      discardResponseBodies: true,
    });
  });

  test("follow another profile and other thresholds", () => {
    const { scenarios, thresholds } = k6Options(
      { ...defaultProfile, rate: 50, timeUnit: "1s", duration: "1h30m", maxVUs: 2000 },
      { p95Ms: 1, p99Ms: 2, failedRate: 0.5, checksRate: 1, droppedIterations: 3 },
    );
    expect(scenarios.coupon_issuance).toEqual({
      executor: "constant-arrival-rate",
      rate: 50,
      timeUnit: "1s",
      duration: "1h30m",
      preAllocatedVUs: 100,
      maxVUs: 2000,
    });
    expect(thresholds).toEqual({
      http_req_duration: ["p(95)<=1", "p(99)<=2"],
      http_req_failed: ["rate<=0.5"],
      checks: ["rate>=1"],
      dropped_iterations: ["count<=3"],
      http_reqs: ["count>=1"],
    });
  });

  test("hold every percentile that a rule asks k6 for", () => {
    const { thresholds, summaryTrendStats } = k6Options(defaultProfile, defaultThresholds);
    const asked = thresholds.http_req_duration.map((each) => each.split("<=")[0]);
    expect(asked).toEqual(["p(95)", "p(99)"]);
    expect(summaryTrendStats).toEqual(expect.arrayContaining(asked));
  });
});

test("the name tag is the route, which is the same for all users", () => {
  expect(route).toBe("POST /coupons/{userId}/issue-async");
});

test("the rules say each limit once, for people and for k6", () => {
  expect(rules(defaultThresholds)).toEqual([
    {
      figure: "p95Ms",
      label: "p95",
      unit: "ms",
      comparison: "<=",
      limit: 500,
      metric: "http_req_duration",
      expression: "p(95)<=500",
    },
    {
      figure: "p99Ms",
      label: "p99",
      unit: "ms",
      comparison: "<=",
      limit: 1000,
      metric: "http_req_duration",
      expression: "p(99)<=1000",
    },
    {
      figure: "failedRate",
      label: "failed requests",
      unit: "share",
      comparison: "<=",
      limit: 0.01,
      metric: "http_req_failed",
      expression: "rate<=0.01",
    },
    {
      figure: "checksRate",
      label: "passed checks",
      unit: "share",
      comparison: ">=",
      limit: 0.99,
      metric: "checks",
      expression: "rate>=0.99",
    },
    {
      figure: "droppedIterations",
      label: "dropped iterations",
      unit: "count",
      comparison: "<=",
      limit: 0,
      metric: "dropped_iterations",
      expression: "count<=0",
    },
    {
      figure: "requests",
      label: "requests",
      unit: "count",
      comparison: ">=",
      limit: 1,
      metric: "http_reqs",
      expression: "count>=1",
    },
  ]);
});

describe("a duration", () => {
  test.each([
    ["500ms", 0.5],
    ["30s", 30],
    ["1m", 60],
    ["2h", 7200],
    ["1h30m", 5400],
    ["1m30s", 90],
    ["1h1m1s1ms", 3661.001],
    ["1.5m", 90],
    ["0h10s", 10],
  ])("of %s is %d seconds", (text, seconds) => {
    expect(durationSeconds(text)).toBeCloseTo(seconds, 9);
  });

  test.each([
    ...["", "0s", "0", "0h0m0s", "60", "1m30", "-1m", "+1m", "1d", "1w", "1us", "1M", "1H"],
    ...["1 m", " 1m", "1m ", "1m\n", "m", ".5m", "1.m", "1,5m", "1e3s", "Infinitys", "one minute"],
    `${"9".repeat(400)}h`,
  ])("is not %j", (text) => {
    expect(durationSeconds(text)).toBeUndefined();
  });

  const milliseconds = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const unit = fc.constantFrom(...(Object.keys(milliseconds) as (keyof typeof milliseconds)[]));
  const part = fc.tuple(fc.nat({ max: 100_000 }), unit);
  const written = (parts: [number, string][]) => parts.map((each) => each.join("")).join("");

  test("is the sum of its parts, in any order, and none when that is 0", () => {
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
        const total = parts.reduce((sum, [amount, of]) => sum + amount * milliseconds[of], 0);
        const seconds = durationSeconds(written(parts));
        if (total === 0) expect(seconds).toBeUndefined();
        else expect(seconds! / (total / 1000)).toBeCloseTo(1, 12);
      }),
    );
  });

  test("is refused as a whole when any of it is not one", () => {
    const stranger = fc.string({ minLength: 1 }).filter((text) => /[^0-9.hms]/.test(text));
    fc.assert(
      fc.property(fc.array(part), stranger, fc.array(part), (before, text, after) => {
        expect(durationSeconds(written(before) + text + written(after))).toBeUndefined();
      }),
    );
  });
});

describe("the arrival rate", () => {
  test.each([
    [1000, "1m", 1000 / 60],
    [50, "1s", 50],
    [1, "500ms", 2],
    [5400, "1h30m", 1],
  ])("of %d iterations per %s is %d a second", (rate, timeUnit, perSecond) => {
    expect(arrivalRate({ ...defaultProfile, rate, timeUnit })).toBeCloseTo(perSecond, 9);
  });

  test("does not depend on the test's length", () => {
    expect(arrivalRate({ ...defaultProfile, duration: "9h" })).toBe(arrivalRate(defaultProfile));
  });
});

describe("a shape", () => {
  const stages = parseStages("30s:100, 2m:1000,0s:3000,30s:0")!;
  const profile = withStages({ ...defaultProfile, timeUnit: "1s" }, stages);

  test("is read as k6 writes stages", () => {
    expect(stages).toEqual([
      { duration: "30s", target: 100 },
      { duration: "2m", target: 1000 },
      { duration: "0s", target: 3000 },
      { duration: "30s", target: 0 },
    ]);
  });

  test.each(["", "30s", "30s:", ":1", "30s:1.5", "30s:-1", "30:1", "30s:1,", "30s:1;1m:2", "1m 1"])(
    "is not %j",
    (text) => expect(parseStages(text)).toBeUndefined(),
  );

  test("has the most as its rate, and all of it as its duration", () => {
    expect(profile).toMatchObject({ rate: 3000, duration: "180s", stages });
    const fractions = withStages(defaultProfile, parseStages("0.1s:1,0.2s:2")!);
    expect(fractions.duration).toBe("0.3s");
  });

  test("goes in straight lines, and jumps", () => {
    const at = [0, 15, 30, 90, 149.999, 150, 165, 180, 200];
    const rates = at.map((seconds) => Math.round(rateAt(profile, seconds)));
    expect(rates).toEqual([0, 50, 100, 550, 1000, 3000, 1500, 0, 0]);
    expect(rateAt({ ...profile, timeUnit: "1m" }, 30)).toBeCloseTo(100 / 60);
    expect(rateAt(defaultProfile, 30)).toBe(arrivalRate(defaultProfile));
  });

  test("starts as many iterations as the area below it", () => {
    expect(iterationsOf(profile)).toBe(1500 + 66_000 + 45_000);
    expect(iterationsOf(defaultProfile)).toBeCloseTo(1000);
  });

  test("is told and drawn in a line", () => {
    expect(loadInWords(profile)).toBe("30s:100,2m:1000,0s:3000,30s:0 per 1s");
    expect(loadInWords(defaultProfile)).toBe("1000 per 1m, 1m");
    const ramp = withStages(defaultProfile, parseStages("1m:8,1m:8,1m:0")!);
    expect(drawn(ramp, 24)).toBe(
      "▁▂▃▄▅▆▇████████████▇▆▅▄▃▂▁".slice(0, 8) + "████████" + "█▇▆▅▄▃▂▁",
    );
  });

  test("is k6's ramping arrival rate, from 0", () => {
    const { scenarios } = k6Options(profile, defaultThresholds);
    expect(scenarios.coupon_issuance).toEqual({
      ...{ executor: "ramping-arrival-rate", startRate: 0, timeUnit: "1s", stages },
      ...{ preAllocatedVUs: 100, maxVUs: 1000 },
    });
  });
});

describe("a search for the capacity", () => {
  const search = { from: 10, to: 20, growth: 20, step: "5s", hold: "10s" };

  test("has steps that grow, by one a second at least, up to its end", () => {
    expect(ratesOf(search)).toEqual([10, 12, 14, 17, 20]);
    expect(ratesOf({ ...search, from: 1, to: 4, growth: 1 })).toEqual([1, 2, 3, 4]);
    expect(ratesOf({ ...search, to: 10 })).toEqual([10]);
  });

  test("jumps from step to step, a second's iterations each, then holds one rate", () => {
    const rising = withSearch({ ...defaultProfile, timeUnit: "1m" }, search);
    expect(rising).toMatchObject({ timeUnit: "1s", rate: 20, duration: "25s", search });
    expect([0.1, 4.9, 5.1, 24.9].map((at) => rateAt(rising, at))).toEqual([10, 10, 12, 20]);
    expect(loadInWords(rising)).toBe("capacity from 10 to 20 per 1s");
    const { timeUnit: _, ...others } = defaultProfile;
    expect(steady(rising, 14, "10s")).toEqual({
      ...{ ...others, timeUnit: "1s", rate: 14, duration: "10s" },
    });
  });

  test("got worse where it found less", () => {
    const [allowed] = parseMaxRegression("capacity 10%")!;
    expect(regressionLimit(allowed, 200)).toBe(180);
    expect(parseMaxRegression("capacity 100%")).toBeUndefined();
  });
});
