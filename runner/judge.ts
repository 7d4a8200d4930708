/** Whether a run keeps its limits: those of the configuration, and those of k6 and the script. */
import { type Figures, ownScript, rules } from "../k6/profile";
import { breachedIn, type Counts } from "./counts";
import { rounded } from "./report";
import type { Ended, JudgedRule, RunRequest } from "./types";

/**
 * What came of each limit that the run has something for: those of HTTP where the script has asked
 * anything, that of checks where it has checks. A figure that is missing there keeps no limit.
 */
export function judge(
  { thresholds, script }: RunRequest,
  figures: Figures,
  { metrics }: Counts,
  incomplete: Set<string>,
): JudgedRule[] {
  const hasHttp = script === ownScript || figures.requests !== undefined;
  const checks = metrics.checks?.values;
  const hasChecks = Boolean(checks?.passes || checks?.fails);
  return rules(thresholds).flatMap((rule): JudgedRule[] => {
    const exact = figures[rule.figure];
    if (exact === undefined) {
      const applies =
        rule.figure === "checksRate" ? hasChecks : rule.figure === "droppedIterations" || hasHttp;
      // What is missing because points are is told by those.
      return applies && !incomplete.has(rule.metric) ? [{ ...rule, passed: false }] : [];
    }
    const passed = rule.comparison === "<=" ? exact <= rule.limit : exact >= rule.limit;
    return [{ ...rule, value: rounded(figures)[rule.figure] ?? exact, passed }];
  });
}

/**
 * The thresholds that k6 found breached, but for those of ours that are told as such. Each of several
 * k6 judges its own part of the load alone, so of theirs those are left out that are judged over all.
 */
export function breachesOf(
  ends: Ended[],
  counts: Counts[],
  judged: JudgedRule[],
  { thresholds }: RunRequest,
  isToldWhy: boolean,
): string[] {
  const asText = ({ metric, expression }: { metric: string; expression: string }) =>
    `${metric}: ${expression}`;
  const overAll = rules(thresholds).map(asText);
  const told = judged.filter(({ passed }) => !passed).map(asText);
  return ends.flatMap(({ name, dir, exitCode }, at) => {
    const breached = breachedIn(counts[at]);
    if (exitCode === 99 && breached.length === 0 && !isToldWhy) return [`see ${dir}/k6.log`];
    return name
      ? breached.filter((each) => !overAll.includes(each)).map((each) => `${each} (${name})`)
      : breached.filter((each) => !told.includes(each));
  });
}
