/** How k6 ended: its exit codes in words, and what its log says of errors. */
import { readLog } from "./declared";
import { type Ended, oneLine } from "./types";

/** k6's exit codes that its last error does not explain (k6's errext/exitcodes). */
const endings: Record<number, string> = {
  100: "setup() took longer than its time-out",
  101: "teardown() took longer than its time-out",
  102: "k6 took longer than a time-out",
  105: "k6 was told to stop",
  108: "the script aborted the test",
  109: "k6 broke down",
  110: "the script called the test failed",
};

/** What k6 ends with when thresholds are breached. */
const thresholdsFailed = 99;

export const isRegular = (exitCode: number) => exitCode === 0 || exitCode === thresholdsFailed;

/** Whether a test came to its end: one that its script calls failed goes on as the others do. */
export const isWhole = (exitCode: number) => isRegular(exitCode) || exitCode === 110;

/** Why a run of this k6 cannot pass, in one line; `undefined` when it ended as it should. */
export function endingOf({ name, dir, exitCode }: Ended): string | undefined {
  if (isRegular(exitCode)) return undefined;
  const k6 = name ? `k6 of ${name}` : "k6";
  const words = endings[exitCode] ? `: ${endings[exitCode]}` : "";
  return `${k6} ended with exit code ${exitCode}${words}: ${lastError(dir)}`;
}

/** Text as Go quotes it in a log: of its escapes, those that JSON has, too; others, such as \x1b, stay. */
const unquoted = (text: string) =>
  text.replace(/\\(u[\da-fA-F]{4}|[bfnrt"\\])/g, (escape) => JSON.parse(`"${escape}"`) as string);

/** k6's own lines of a level; those that the script wrote are not k6's. A k6 that was killed leaves
 * one without an end. */
const linesOf = (dir: string, level: string) =>
  readLog(dir)
    .split("\n")
    .filter((line) => line.includes(`level=${level} msg="`) && !/ source=console\b/.test(line));

/** The text of a field of a log's line. A reason of one word is not quoted. */
function field(line: string, name: string): string | undefined {
  const found = new RegExp(` ${name}=(?:"((?:[^"\\\\]|\\\\.){0,10000})|(\\S{1,10000}))`).exec(line);
  return found ? unquoted(found[1] ?? found[2]) : undefined;
}

/** Why the last of k6's writes that failed did; `undefined` when InfluxDB took them all. */
export function lastRefusal(dir: string): string | undefined {
  const last = linesOf(dir, "error")
    .filter((line) => /msg="Couldn't (write stats|create batch)/.test(line))
    .at(-1);
  if (last === undefined) return undefined;
  const text = (field(last, "error") ?? "").trim().replace(/^Post "[^"]*": /, "");
  const [, quoted] = /^\{"error":"(.*)"\}$/s.exec(text) ?? [];
  // Of what is refused point by point, each reason is told once, and the first few are enough.
  const reasons = [
    ...new Set(
      unquoted(quoted ?? text)
        .split("\n")
        .map(shortened),
    ),
  ];
  const more = reasons.length > 3 ? [`and ${reasons.length - 3} more`] : [];
  return oneLine([...reasons.slice(0, 3), ...more].join("; ")) || `see ${dir}/k6.log`;
}

/** A reason without what differs from point to point: its number, its value, its tags. */
const shortened = (reason: string) => reason.replace(/ dropped=\d+$/, "").slice(0, 300);

/** Why k6 could not take what the script's summary returned; `undefined` when it could. */
export function summaryProblem(dir: string): string | undefined {
  const last = linesOf(dir, "error")
    .filter((line) => line.includes('msg="failed to handle the end-of-test summary"'))
    .at(-1);
  return last && oneLine(field(last, "error") ?? `see ${dir}/k6.log`);
}

/** The last error k6 logged that says why it failed: its first line, or all if that announces more. */
export function lastError(dir: string): string {
  const errors = linesOf(dir, "error")
    .map((line) =>
      (field(line, "msg") ?? "")
        .split(/[\r\n]/)
        .map(oneLine)
        .filter(Boolean),
    )
    .filter(([line]) => line && !/^(Couldn't (write stats|create batch)|thresholds on)/.test(line));
  // k6 says at last that a test was called failed, and before in which words.
  const told = errors.filter(([line]) => !/^test run was marked as failed$/.test(line));
  const [first, ...more] = told.at(-1) ?? errors.at(-1) ?? [`see ${dir}/k6.log`];
  const whole = first.endsWith(":") ? [first, ...more].join(" ") : first;
  // k6 reads the script by way of its standard input, whose name says nothing.
  return whole.replace("could not initialize '-': could not load JS test 'file:///-': ", "");
}

/** Iterations that k6 cut off. It tells how many there are so far again and again. */
export const interruptedIterations = (dir: string) =>
  Number([...readLog(dir).matchAll(/ (\d+) interrupted iterations/g)].at(-1)?.[1] ?? 0);
