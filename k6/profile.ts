/**
 * The load profile and the thresholds: one typed source for k6's options, the panels' threshold
 * lines, Grafana's alert rules and the verdict. Nothing here belongs to Node, k6 or Pulumi, so all
 * three can import it.
 */

/** How much load, and on what. Durations are k6's: `500ms`, `30s`, `1m`, `1h30m`. */
export interface LoadProfile {
  /** Iterations started per `timeUnit`; of stages the most. */
  rate: number;
  timeUnit: string;
  /** Of stages, all of them. */
  duration: string;
  /** The shape of the load, which begins at 0; absent: `rate` for all of `duration`. */
  stages?: Stage[];
  /** Absent but where the load is to find the target's capacity. */
  search?: Search;
  /** Virtual users (VUs) made before the test starts. */
  preAllocatedVUs: number;
  /** The most VUs that k6 may make when responses are slow. */
  maxVUs: number;
  /** Users are `userIdBase` to `userIdBase + userCount - 1`, picked at random. */
  userIdBase: number;
  userCount: number;
  couponId: number;
}

/** A part of a load's shape: from where it is, it goes in a straight line to so many per `timeUnit`. */
export interface Stage {
  /** `0s` is a jump. */
  duration: string;
  target: number;
}

/** How the highest rate is looked for. Rates are iterations a second. */
export interface Search {
  from: number;
  to: number;
  /** By how many percent each step is higher than the one before; at least by 1 a second. */
  growth: number;
  /** Length of each step, and of the hold that confirms the last that held. */
  step: string;
  hold: string;
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

/** What a figure is called and counted in, in the order in which figures are shown. */
export const figures = {
  p99Ms: { label: "p99", unit: "ms" },
  p95Ms: { label: "p95", unit: "ms" },
  avgMs: { label: "average", unit: "ms" },
  rps: { label: "RPS", unit: "rps" },
  capacity: { label: "capacity", unit: "rps" },
  failedRate: { label: "failed requests", unit: "share" },
  checksRate: { label: "passed checks", unit: "share" },
  droppedIterations: { label: "dropped iterations", unit: "count" },
  requests: { label: "requests", unit: "count" },
} as const;

export type Figure = keyof typeof figures;

/** Milliseconds, a share from 0 to 1, a whole number, or requests a second. */
export type Unit = (typeof figures)[Figure]["unit"];

/** The figures of a run. One that was not measured is absent, such as those of HTTP without HTTP. */
export type Figures = Partial<Record<Figure, number>>;

/** One rule: what is compared, with which limit, and the same rule in k6's words. */
export interface Rule {
  figure: Figure;
  label: string;
  unit: Unit;
  comparison: "<=" | ">=";
  limit: number;
  /** k6's metric and threshold expression. */
  metric: string;
  expression: string;
}

/** Every rule of a run. k6 passes a threshold whose metric got no sample, hence `requests`. */
export function rules(thresholds: Thresholds): Rule[] {
  const rule = (
    figure: Figure,
    metric: string,
    statistic: string,
    comparison: Rule["comparison"],
    limit: number,
  ): Rule => ({
    figure,
    ...figures[figure],
    comparison,
    limit,
    metric,
    expression: `${statistic}${comparison}${limit}`,
  });
  const { p95Ms, p99Ms, failedRate, checksRate, droppedIterations } = thresholds;
  return [
    rule("p95Ms", "http_req_duration", "p(95)", "<=", p95Ms),
    rule("p99Ms", "http_req_duration", "p(99)", "<=", p99Ms),
    rule("failedRate", "http_req_failed", "rate", "<=", failedRate),
    rule("checksRate", "checks", "rate", ">=", checksRate),
    rule("droppedIterations", "dropped_iterations", "count", "<=", droppedIterations),
    rule("requests", "http_reqs", "count", ">=", 1),
  ];
}

/** The rule of one figure. @throws Error if it has none */
export function ruleOf(figure: Figure, thresholds: Thresholds): Rule {
  const rule = rules(thresholds).find((each) => each.figure === figure);
  if (!rule) throw new Error(`there is no rule of ${figure}`);
  return rule;
}

/** How much worse than its baseline a figure may be, in percent of the baseline. */
export interface MaxRegression {
  figure: Figure;
  percent: number;
}

const comparable: Record<string, Figure> = {
  p95: "p95Ms",
  p99: "p99Ms",
  avg: "avgMs",
  rps: "rps",
  capacity: "capacity",
};

/** Of which figures more is better; of all others, less. */
export const isBetterHigh = (figure: Figure) => figure === "rps" || figure === "capacity";

/**
 * Reads `p95 10%, rps 5%`; `undefined` when it is not of this form, names a figure twice, or has a
 * rule that no run can break: RPS and capacity never fall by more than 100 %.
 */
export function parseMaxRegression(text: string): MaxRegression[] | undefined {
  if (text.trim() === "") return [];
  const parts = text.split(",").map((part) => /^\s*(\w+)\s+(\d{1,9}(?:\.\d+)?)\s*%\s*$/.exec(part));
  const named = parts.map((part) => (part && Object.hasOwn(comparable, part[1]) ? part[1] : ""));
  if (named.includes("") || new Set(named).size < named.length) return undefined;
  const allowed = parts.map((part) => ({
    figure: comparable[part![1]],
    percent: Number(part![2]),
  }));
  return allowed.some(({ figure, percent }) => isBetterHigh(figure) && percent >= 100)
    ? undefined
    : allowed;
}

/** The worst value of a figure that `percent` allows: above the baseline, or below where more is better. */
export function regressionLimit({ figure, percent }: MaxRegression, baseline: number): number {
  return baseline * (1 + ((isBetterHigh(figure) ? -1 : 1) * percent) / 100);
}

/** What a figure of one route may be at most, in the figure's unit. */
export interface RouteLimit {
  /** k6's tag `name`. */
  route: string;
  figure: "p95Ms" | "p99Ms" | "avgMs" | "failedRate";
  limit: number;
}

const routeFigures: Record<string, RouteLimit["figure"]> = {
  ...{ p95: "p95Ms", p99: "p99Ms", avg: "avgMs", failed: "failedRate" },
};

/**
 * Reads `POST /orders p95 300ms, GET /orders/{id} failed 1%`; `undefined` when it is not of this form,
 * or limits a figure of a route twice. A route may have spaces and commas.
 */
export function parseRouteLimits(text: string): RouteLimit[] | undefined {
  const limits: RouteLimit[] = [];
  const each = /\s*(\S(?:.*?\S)?)\s+(p95|p99|avg|failed)\s+(\d{1,9}(?:\.\d+)?)(ms|s|%)\s*(?:,|$)/sy;
  while (each.lastIndex < text.trimEnd().length) {
    const [, route, name, amount, unit] = each.exec(text) ?? [];
    if (!route || (name === "failed") !== (unit === "%")) return undefined;
    const factor = { ms: 1, s: 1000, "%": 0.01 }[unit]!;
    limits.push({ route, figure: routeFigures[name], limit: Number(amount) * factor });
  }
  const all = limits.map(({ route, figure }) => `${figure} ${route}`);
  const isShare = limits.every(({ figure, limit }) => figure !== "failedRate" || limit <= 1);
  return isShare && new Set(all).size === all.length ? limits : undefined;
}

const unitSeconds: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600 };

/** Seconds in a duration such as `1m30s`; `undefined` when it is none, or 0, or beyond all numbers. */
export function durationSeconds(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined;
  let seconds = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) {
    seconds += Number(amount) * unitSeconds[unit];
  }
  return seconds > 0 && seconds < Infinity ? seconds : undefined;
}

/** Iterations a second that the profile asks for. */
export function arrivalRate(profile: LoadProfile): number {
  return profile.rate / (durationSeconds(profile.timeUnit) ?? NaN);
}

/** Reads `30s:100,2m:1000`: durations, and the rate at the end of each; `undefined` if it is not that. */
export function parseStages(text: string): Stage[] | undefined {
  const parts = text.split(",").map((part) => /^\s*([\w.]+):(\d{1,9})\s*$/.exec(part));
  if (!parts.every((part) => part && !Number.isNaN(stageSeconds(part[1])))) return undefined;
  return parts.map((part) => ({ duration: part![1], target: Number(part![2]) }));
}

const stageSeconds = (duration: string) =>
  /^0(ms|s|m|h)$/.test(duration) ? 0 : (durationSeconds(duration) ?? NaN);

/** The profile with a shape, and with what follows from that. */
export function withStages(profile: LoadProfile, stages: Stage[]): LoadProfile {
  const seconds = stages.reduce((sum, { duration }) => sum + stageSeconds(duration), 0);
  const rate = Math.max(...stages.map(({ target }) => target));
  return { ...profile, rate, duration: `${Number(seconds.toFixed(3))}s`, stages };
}

/** The rates of a search's steps. */
export function ratesOf({ from, to, growth }: Search): number[] {
  const rates = [from];
  for (;;) {
    const next = Math.max(rates.at(-1)! + 1, Math.round(rates.at(-1)! * (1 + growth / 100)));
    if (next > to) return rates;
    rates.push(next);
  }
}

/** The profile that rises by a search's steps. */
export function withSearch(profile: LoadProfile, search: Search): LoadProfile & { search: Search } {
  const stages = ratesOf(search).flatMap((target) => [
    { duration: "0s", target },
    { duration: search.step, target },
  ]);
  return { ...withStages({ ...profile, timeUnit: "1s" }, stages), search };
}

/** The profile with one rate, in iterations a second, for all of its time. */
export function steady(profile: LoadProfile, rate: number, duration: string): LoadProfile {
  const { stages: _, search: __, ...rest } = profile;
  return { ...rest, rate, timeUnit: "1s", duration };
}

/** Iterations a second that the profile asks for at a time, in seconds from the start. */
export function rateAt(profile: LoadProfile, seconds: number): number {
  const unit = durationSeconds(profile.timeUnit) ?? NaN;
  let [before, begin] = [0, 0];
  for (const { duration, target } of profile.stages ?? []) {
    const length = stageSeconds(duration);
    if (seconds < begin + length) {
      return (before + ((target - before) * (seconds - begin)) / length) / unit;
    }
    [before, begin] = [target, begin + length];
  }
  return profile.stages ? before / unit : arrivalRate(profile);
}

/** When the first iteration of the profile begins, in seconds from the start, to a tenth. */
export function firstIterationAt(profile: LoadProfile): number {
  const step = 0.1;
  let at = 0;
  for (let begun = 0; begun < 1 && at < durationSeconds(profile.duration)!; at += step) {
    begun += rateAt(profile, at) * step;
  }
  return at;
}

/** Iterations that the profile starts in all. */
export function iterationsOf(profile: LoadProfile): number {
  const { stages, timeUnit, duration } = profile;
  if (!stages) return arrivalRate(profile) * (durationSeconds(duration) ?? 0);
  const parts = stages.map(
    ({ duration, target }, at) =>
      (((stages[at - 1]?.target ?? 0) + target) / 2) * stageSeconds(duration),
  );
  return parts.reduce((sum, each) => sum + each, 0) / (durationSeconds(timeUnit) ?? NaN);
}

/** The load in a few words: `1000 per 1m, 1m`, `30s:100,2m:1000 per 1s` or `capacity from 10 to 1000 per 1s`. */
export const loadInWords = ({ rate, timeUnit, duration, stages, search }: LoadProfile) =>
  search
    ? `capacity from ${search.from} to ${search.to} per 1s`
    : stages
      ? `${stages.map(({ duration, target }) => `${duration}:${target}`).join(",")} per ${timeUnit}`
      : `${rate} per ${timeUnit}, ${duration}`;

/** The shape as a line of blocks, each as high as its share of the highest rate. */
export function drawn(profile: LoadProfile, width = 40): string {
  const [blocks, seconds] = ["▁▂▃▄▅▆▇█", durationSeconds(profile.duration) ?? 0];
  const columns = Array.from({ length: width }, (_, at) => {
    const share = rateAt(profile, ((at + 0.5) / width) * seconds) / arrivalRate(profile);
    return blocks[Math.min(blocks.length - 1, Math.floor(share * blocks.length))];
  });
  return columns.join("");
}

/** What k6's summary tells of each duration. */
export const trendStats = ["avg", "min", "med", "max", "p(90)", "p(95)", "p(99)"];

/** The profile as one of k6's scenarios. */
export function scenarioOf(profile: LoadProfile) {
  const { rate, timeUnit, duration, stages, preAllocatedVUs, maxVUs } = profile;
  const shape = stages
    ? { executor: "ramping-arrival-rate" as const, startRate: 0, timeUnit, stages }
    : { executor: "constant-arrival-rate" as const, rate, timeUnit, duration };
  return { ...shape, preAllocatedVUs, maxVUs };
}

/** The `options` of the k6 script. */
export function k6Options(profile: LoadProfile, thresholds: Thresholds) {
  const expressions: Record<string, string[]> = {};
  for (const { metric, expression } of rules(thresholds)) {
    (expressions[metric] ??= []).push(expression);
  }
  return {
    scenarios: { coupon_issuance: scenarioOf(profile) },
    thresholds: expressions,
    // Only what panels and selectors use: each further value of a tag is one more series for each
    // of nine measurements, and each tag makes every point longer.
    systemTags: ["name", "check", "scenario"],
    summaryTrendStats: trendStats,
    discardResponseBodies: true,
  };
}
