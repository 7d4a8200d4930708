/** What a script declares, as k6 itself reads it. */
import * as fs from "node:fs";
import * as path from "node:path";
import { durationSeconds, trendStats } from "../k6/profile";
import type { Changed } from "./entry";

/** A script's exports, and those of its options that a run goes by. */
export interface Declared {
  exports: string[];
  /** Expressions by metric, such as `http_req_duration{status:200}`. */
  thresholds: string[];
  /** Absent where the script leaves k6's own. */
  systemTags?: string[];
  tags: Record<string, string>;
  summaryTrendStats?: string[];
  /** How long k6 waits for what comes before and after the test, in seconds. */
  aroundSeconds: number;
  /** How long the test takes at most, in seconds; 0 where the script leaves that to k6. */
  lastsSeconds: number;
}

/** Those that k6 sets unless told otherwise. */
const usualTags = [
  ...["proto", "subproto", "status", "method", "url", "name", "group", "check", "error"],
  ...["error_code", "tls_version", "scenario", "service", "expected_response"],
];

/** What panels and selectors use: each further tag makes more series, and every point longer. */
const ownTags = ["name", "check", "scenario"];

/**
 * @param options what `k6 inspect` prints: the script's options, `null` where it sets none
 * @param exports the names that the script exports
 */
export function declaredBy(options: string, exports: string[]): Declared {
  const { thresholds, systemTags, tags, summaryTrendStats, ...all } = JSON.parse(options);
  const seconds = (key: string, usual: number) => durationSeconds(all[key] ?? "") ?? usual;
  return {
    exports,
    thresholds: Object.keys(thresholds ?? {}),
    systemTags: systemTags ?? undefined,
    tags: tags ?? {},
    summaryTrendStats: summaryTrendStats ?? undefined,
    aroundSeconds:
      (exports.includes("setup") ? seconds("setupTimeout", 60) : 0) +
      (exports.includes("teardown") ? seconds("teardownTimeout", 60) : 0) +
      (exports.includes("handleSummary") ? seconds("handleSummaryTimeout", 120) : 0),
    lastsSeconds: Math.max(...Object.values<Lasting>(all.scenarios ?? { all }).map(lasting)),
  };
}

/** Of a scenario, or of the options that stand for one: what says how long it takes. */
interface Lasting {
  startTime?: string | null;
  duration?: string | null;
  /** Of a number of iterations. */
  maxDuration?: string | null;
  stages?: { duration: string }[] | null;
}

function lasting({ startTime, duration, maxDuration, stages }: Lasting): number {
  const parts = [
    startTime,
    duration ?? maxDuration,
    ...(stages ?? []).map((each) => each.duration),
  ];
  return parts.reduce((sum, each) => sum + (durationSeconds(each ?? "") ?? 0), 0);
}

/** What k6 runs once before and once after a test. */
export const hooksOf = ({ exports }: Declared) =>
  exports.filter((name) => name === "setup" || name === "teardown");

/** The tags that a threshold's name selects by, as k6 reads it. */
export function selectorsOf(threshold: string): Record<string, string> {
  const [, within = ""] = /\{(.*)\}$/s.exec(threshold) ?? [];
  const bare = (text: string) => text.trim().replace(/^["']+|["']+$/g, "");
  const pairs = within.split(",").filter((each) => each !== "");
  return Object.fromEntries(
    pairs.map((pair) => {
      const [key, ...value] = pair.split(":");
      return [bare(key), bare(value.join(":"))];
    }),
  );
}

/**
 * The options with which a script is run. Its own system tags stay, with those that panels need;
 * k6's usual ones are cut to what panels and the script's thresholds need.
 */
export function optionsFor(declared: Declared, testid: string): Changed {
  const selected = declared.thresholds.flatMap((each) => Object.keys(selectorsOf(each)));
  const wanted = declared.systemTags ?? usualTags.filter((tag) => selected.includes(tag));
  // By their group the requests of setup and teardown are told from those of the test.
  const groups = hooksOf(declared).length > 0 ? ["group"] : [];
  const stats = declared.summaryTrendStats ?? trendStats;
  return {
    testid,
    systemTags: [...new Set([...wanted, ...ownTags, ...groups])],
    summaryTrendStats: [...new Set([...stats, "count"])],
  };
}

/** The variables of k6's own that are set here; a run goes by none of them. */
export const strayVariables = (env: NodeJS.ProcessEnv) => Object.keys(env).filter(isOption).sort();

/** An environment without k6's options; those of a browser say where it is, not what is run. */
export const withoutOptions = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !isOption(name)));

const isOption = (name: string) => /^K6_(?!BROWSER_)/.test(name);

/** What k6 has logged so far. */
export const readLog = (dir: string): string => {
  const file = path.join(dir, "k6.log");
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
};
