/**
 * The load profile and the thresholds: one typed source for k6's options, the panels' threshold
 * lines and the verdict. Nothing here belongs to Node, k6 or Pulumi, so all three can import it.
 */

/** How much load, and on what. Durations are k6's: `500ms`, `30s`, `1m`, `1h30m`. */
export interface LoadProfile {
  /** Iterations started per `timeUnit`. */
  rate: number;
  timeUnit: string;
  duration: string;
  /** Virtual users (VUs) made before the test starts. */
  preAllocatedVUs: number;
  /** The most VUs that k6 may make when responses are slow. */
  maxVUs: number;
  /** Users are `userIdBase` to `userIdBase + userCount - 1`, picked at random. */
  userIdBase: number;
  userCount: number;
  couponId: number;
}

/** What a run must keep to pass. Each limit itself still passes. */
export interface Thresholds {
  /** 95th percentile of the request duration, in milliseconds. */
  p95Ms: number;
  /** 99th percentile of the request duration, in milliseconds. */
  p99Ms: number;
  /** Highest share of failed requests, 0 to 1. */
  failedRate: number;
  /** Lowest share of passed checks, 0 to 1. */
  checksRate: number;
  /** Most iterations that k6 may fail to start for want of VUs. */
  droppedIterations: number;
}

/** The script that runs this profile, from the project's folder; any other brings its own. */
export const ownScript = "k6/coupon-issue.ts";

/** The guide's scenario, to the digit. */
export const defaultProfile: LoadProfile = {
  rate: 1000,
  timeUnit: "1m",
  duration: "1m",
  preAllocatedVUs: 100,
  maxVUs: 1000,
  userIdBase: 41593,
  userCount: 1000,
  couponId: 1,
};

export const defaultThresholds: Thresholds = {
  p95Ms: 500,
  p99Ms: 1000,
  failedRate: 0.01,
  checksRate: 0.99,
  droppedIterations: 0,
};

/** The route, as k6's `name` tag: a URL there would make one series per user. */
export const route = "POST /coupons/{userId}/issue-async";

/** The figures a verdict compares. `checksRate` is absent for a script without checks. */
export interface Figures {
  /** Requests sent. */
  requests: number;
  p95Ms: number;
  p99Ms: number;
  failedRate: number;
  checksRate?: number;
  droppedIterations: number;
}

/** One rule: what is compared, with which limit, and the same rule in k6's words. */
export interface Rule {
  figure: keyof Figures;
  label: string;
  unit: "ms" | "share" | "count";
  comparison: "<=" | ">=";
  limit: number;
  /** k6's metric and threshold expression. */
  metric: string;
  expression: string;
}

/** Every rule of a run. k6 passes a threshold whose metric got no sample, hence `requests`. */
export function rules(thresholds: Thresholds): Rule[] {
  const rule = (
    figure: keyof Figures,
    label: string,
    unit: Rule["unit"],
    metric: string,
    statistic: string,
    comparison: Rule["comparison"],
    limit: number,
  ): Rule => ({
    figure,
    label,
    unit,
    comparison,
    limit,
    metric,
    expression: `${statistic}${comparison}${limit}`,
  });
  const { p95Ms, p99Ms, failedRate, checksRate, droppedIterations } = thresholds;
  return [
    rule("p95Ms", "p95", "ms", "http_req_duration", "p(95)", "<=", p95Ms),
    rule("p99Ms", "p99", "ms", "http_req_duration", "p(99)", "<=", p99Ms),
    rule("failedRate", "failed requests", "share", "http_req_failed", "rate", "<=", failedRate),
    rule("checksRate", "passed checks", "share", "checks", "rate", ">=", checksRate),
    rule(
      "droppedIterations",
      "dropped iterations",
      "count",
      "dropped_iterations",
      "count",
      "<=",
      droppedIterations,
    ),
    rule("requests", "requests", "count", "http_reqs", "count", ">=", 1),
  ];
}

const unitSeconds: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600 };

/** Seconds in a duration such as `1m30s`; `undefined` when it is not one or is not positive. */
export function durationSeconds(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined;
  let seconds = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) {
    seconds += Number(amount) * unitSeconds[unit];
  }
  return seconds > 0 ? seconds : undefined;
}

/** Iterations a second that the profile asks for. */
export function arrivalRate(profile: LoadProfile): number {
  return profile.rate / (durationSeconds(profile.timeUnit) ?? NaN);
}

/** The `options` of the k6 script. */
export function k6Options(profile: LoadProfile, thresholds: Thresholds) {
  const expressions: Record<string, string[]> = {};
  for (const { metric, expression } of rules(thresholds)) {
    (expressions[metric] ??= []).push(expression);
  }
  const { rate, timeUnit, duration, preAllocatedVUs, maxVUs } = profile;
  return {
    scenarios: {
      coupon_issuance: {
        executor: "constant-arrival-rate" as const,
        rate,
        timeUnit,
        duration,
        preAllocatedVUs,
        maxVUs,
      },
    },
    thresholds: expressions,
    // Only what panels and selectors use: each further value of a tag is one more series for each
    // of nine measurements, and each tag makes every point longer.
    systemTags: ["name", "check", "scenario"],
    summaryTrendStats: ["avg", "min", "med", "max", "p(90)", "p(95)", "p(99)"],
    discardResponseBodies: true,
  };
}
