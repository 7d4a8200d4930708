/** One load test from gate to record: gate, k6, proof of the points, verdict, `runs/<id>/`. */
import * as fs from "node:fs";
import * as path from "node:path";
import { durationSeconds, ownScript, rules } from "../k6/profile";
import { heartbeat } from "../dashboards/queries";
import { gate, waitForAnswer } from "./gate";
import { write } from "./influxdb";
import { executorFor } from "./executor";
import { patienceToStart } from "./kubernetes";
import { findBaseline, identity, judgeRegressions, type NewEntry, recordInLedger } from "./ledger";
import { breach, headline, markdown, regression, rounded } from "./report";
import { exportsOf } from "./script";
import {
  type Credentials,
  type Ended,
  oneLine,
  RunFailure,
  type RunRequest,
  type RunResult,
  stackOf,
  type Summary,
} from "./types";
import { otherThan } from "./versions";
import {
  breachedInK6,
  coincidences,
  k6Count,
  progress,
  readJson,
  seriesWarning,
  type Source,
  verify,
} from "./verify";

/** Where runs are kept, in the project's folder. */
export const runsFolder = "runs";

/** The newest run of a stack, passed or failed; one whose process was killed has failed. */
export function latestRun(stack: string): Summary | undefined {
  if (!fs.existsSync(runsFolder)) return undefined;
  const newest = fs
    .readdirSync(runsFolder)
    .filter((name) => stackOf(name) === stack)
    .sort()
    .at(-1);
  if (!newest) return undefined;
  const reason = "the run was killed before it had a verdict";
  return (
    readJson(path.join(runsFolder, newest, "summary.json")) ?? {
      ...{ id: newest, ...noVerdict(), reason },
    }
  );
}

const noVerdict = () => ({
  ...{ verdict: "failed" as const, thresholds: [], regressions: [], warnings: [] },
});

/** k6's exit codes with a meaning of their own (k6's errext/exitcodes). */
const thresholdsFailed = 99;

/**
 * Runs the test once. `say` gets lines for people while it lasts.
 *
 * @returns the result of a passed run
 * @throws RunFailure with the one line that says why not; `runs/<id>/` holds it, too
 */
export async function runLoadTest(
  request: RunRequest,
  credentials: Credentials,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<RunResult> {
  const started = new Date();
  const id = `${request.stack}-${started.toISOString().replace(/[-:]|\.\d+/g, "")}`;
  const dir = path.join(runsFolder, id);
  fs.mkdirSync(dir, { recursive: true });

  const summary: Summary = { id, ...noVerdict() };
  /** What the ledger will have; the start is that of the first request once it is known. */
  const entry: Pick<NewEntry, "startedAt" | "endedAt" | "figures" | "baseline"> = {
    startedAt: started,
    endedAt: started,
  };
  try {
    const executor = executorFor(request, credentials, say);
    const [k6Version] = await Promise.all([
      executor.version(signal),
      gate(request, credentials, signal),
    ]);
    summary.k6Version = k6Version;
    const instead = otherThan("k6", k6Version);
    if (instead) throw new RunFailure(`k6 is ${k6Version}, but ${instead}`);
    const source = { influxdb: request.influxdb, reader: credentials.reader };
    entry.baseline = await findBaseline(source, request);
    say(`run ${id}: gate open, k6 ${k6Version} starts (${request.script})`);

    const stopProgress = reportProgress(source, credentials, id, say);
    const deadline = deadlineOf(request, dir);
    const stop = AbortSignal.any([signal, deadline.signal]);
    const ends = await executor.run(id, dir, stop).finally(() => {
      stopProgress();
      deadline.cancel();
    });
    if (signal.aborted) throw new RunFailure("the run was interrupted");
    if (deadline.signal.aborted) {
      const cause = await waitForAnswer(`${request.influxdb.url}/ping`, 5, signal).then(
        () => `see ${dir}/k6.log`,
        ({ message }) => `InfluxDB hangs: ${message}`,
      );
      throw new RunFailure(`k6 was stopped: ${deadline.signal.reason}; ${cause}`);
    }

    const counts = ends.map(({ name, dir, exitCode }) => {
      const count = k6Count(dir);
      if (count && (exitCode === 0 || exitCode === thresholdsFailed)) return count;
      const k6 = name ? `k6 of ${name}` : "k6";
      throw new RunFailure(`${k6} ended with exit code ${exitCode}: ${lastError(dir)}`);
    });
    const count = {
      requests: sum(counts.map(({ requests }) => requests)),
      durationMs: Math.max(...counts.map(({ durationMs }) => durationMs)),
    };
    if (count.requests === 0) throw new RunFailure(`k6 made no request: ${lastError(ends[0].dir)}`);
    const refusal = ends.map(({ dir }) => lastRefusal(dir)).find((each) => each !== undefined);
    // The points of each k6 are in series of their own.
    const allowed = refusal ? 0 : sum(counts.map(coincidences));
    const proof = await verify(source, id, count, allowed, refusal);
    const { startedAt, endedAt, ...figures } = proof;
    Object.assign(entry, { startedAt, endedAt, figures });
    const { checksRate: _, ...shown } = rounded(figures);
    Object.assign(summary, shown, {
      startedAt: startedAt.toISOString(),
      endedAt: endedAt.toISOString(),
      dashboardUrl: request.dashboardUrl && atRun(request.dashboardUrl, id, startedAt, endedAt),
    });

    if (figures.requests < count.requests) {
      summary.warnings.push(
        `InfluxDB took every write, but holds ${figures.requests} of ${count.requests} requests: ` +
          `of two that end in the same nanosecond, as some do at this rate, it keeps one`,
      );
    }
    const cutOff = sum(ends.map(({ dir }) => interruptedIterations(dir)));
    if (cutOff > 0) {
      summary.warnings.push(
        `k6 cut off ${cutOff} iterations that had not ended: their last requests are in no figure`,
      );
    }
    const each = request.executor.kind === "kubernetes" ? request.executor.parallelism : 1;
    const hooks = each > 1 ? exportsOf(request.script).filter(isHook) : [];
    if (hooks.length > 0) {
      summary.warnings.push(`each of the ${each} runners ran ${hooks.join(" and ")} of the script`);
    }
    const tooManySeries = await seriesWarning(source, id, request.maxSeries);
    if (tooManySeries) summary.warnings.push(tooManySeries);

    summary.thresholds = rules(request.thresholds).flatMap((rule) => {
      const exact = figures[rule.figure];
      if (exact === undefined) return [];
      const passed = rule.comparison === "<=" ? exact <= rule.limit : exact >= rule.limit;
      return [{ ...rule, value: rounded(figures)[rule.figure] ?? exact, passed }];
    });
    const breaches = summary.thresholds.filter(({ passed }) => !passed).map(breach);
    const inK6 = breaches.length === 0 ? breachesOf(ends, request) : [];
    // Ours hold, so it is one of the script's, or a percentile at its limit: k6 interpolates.
    if (inK6.length > 0) breaches.push(`k6 found a threshold breached: ${inK6.join(", ")}`);
    const { baseline } = entry;
    if (baseline) {
      summary.baseline = { id: baseline.id, figures: rounded(baseline.figures) };
      summary.regressions = judgeRegressions(request.maxRegression, figures, baseline);
      const { scenario, profile } = identity(request);
      if (baseline.scenario !== scenario || baseline.profile !== profile) {
        summary.warnings.push(`the baseline ${baseline.id} ran another scenario or profile`);
      }
    }
    const worse = summary.regressions.filter(({ passed }) => !passed);
    breaches.push(...worse.map((each) => regression(each, baseline!.id)));
    if (breaches.length > 0) throw new RunFailure(breaches.join("; "));
    summary.verdict = "passed";
    return result(summary);
  } catch (error) {
    const { message } = error as Error;
    summary.reason = signal.aborted ? "the run was interrupted" : oneLine(message);
    throw new RunFailure(`load test failed: ${summary.reason}`);
  } finally {
    if (!entry.figures) entry.endedAt = new Date();
    const { verdict, reason: outcome = verdict, k6Version } = summary;
    const { writer } = credentials;
    const { dashboardUrl } = summary;
    const all = { ...entry, id, verdict, outcome, dashboardUrl, k6Version };
    await recordInLedger(request, writer, all).catch(({ message }) =>
      summary.warnings.push(
        oneLine(`the run is not in the ledger, nor marked on the dashboard: ${message}`),
      ),
    );
    record(dir, summary);
    say(headline(summary));
  }
}

/** What k6 runs once before and once after a test. */
const isHook = (name: string) => name === "setup" || name === "teardown";

const sum = (numbers: number[]) => numbers.reduce((total, each) => total + each, 0);

/** Iterations that k6 cut off. It tells how many there are so far again and again. */
const interruptedIterations = (dir: string) =>
  Number([...log(dir).matchAll(/ (\d+) interrupted iterations/g)].at(-1)?.[1] ?? 0);

/**
 * The thresholds that k6 found breached. Each of several k6 judges its own part of the load alone,
 * so of theirs those are left out that are judged over all.
 */
function breachesOf(ends: Ended[], { thresholds }: RunRequest): string[] {
  const overAll = rules(thresholds).map(({ metric, expression }) => `${metric}: ${expression}`);
  return ends
    .filter(({ exitCode }) => exitCode === thresholdsFailed)
    .flatMap(({ name, dir }) =>
      name
        ? breachedInK6(dir)
            .filter((each) => !overAll.includes(each))
            .map((each) => `${each} (${name})`)
        : [breachedInK6(dir).join(", ") || `see ${dir}/k6.log`],
    );
}

/** What of a summary of a passed run is the stack's output. */
function result({ thresholds: _, regressions: __, baseline: ___, ...rest }: Summary): RunResult {
  const { warnings: ____, k6Version: _____, ...passed } = rest;
  return passed as RunResult;
}

/**
 * Says every five seconds how far the run is, to people and, as a heartbeat, to Grafana's alert rule
 * for a run without data; gives the function that stops it.
 */
function reportProgress(
  source: Source,
  { writer }: Credentials,
  id: string,
  say: (line: string) => void,
) {
  const { url, database } = source.influxdb;
  // An InfluxDB that hangs must not keep the run from ending.
  const patience = { seconds: 10 };
  const soon = { ...source, reader: { ...source.reader, ...patience } };
  const started = Date.now();
  let before = 0;
  let over = false;
  const timer = setInterval(async () => {
    const seconds = Math.round((Date.now() - started) / 1000);
    const now = await progress(soon, id).catch(() => undefined);
    // The verdict is said last.
    if (over) return;
    const stored = now?.requests ?? before;
    const beat = write(
      { url, ...writer, ...patience },
      database,
      `${heartbeat} stored=${stored - before}`,
    );
    before = stored;
    // What cannot be written now cannot be alerted of either; the verdict will tell.
    await beat.catch(() => undefined);
    if (over) return;
    if (!now) return say(`${seconds} s: no request stored yet`);
    say(
      `${seconds} s: ${now.requests} requests, p95 ${now.p95Ms.toFixed(1)} ms, ` +
        `${(now.failedRate * 100).toFixed(1)} % failed`,
    );
  }, 5000);
  return () => {
    over = true;
    clearInterval(timer);
  };
}

/**
 * How long k6's test may take, and how long k6 itself, in seconds.
 *
 * @param log what k6 has logged so far
 */
export function timeFor({ script, profile, executor }: RunRequest, log: string) {
  // k6 gives iterations 30 s to end. A script's own options may say otherwise; k6 tells what it plans.
  const announced = /([\dhms.]+) max duration \(incl\. graceful stop\)/.exec(log)?.[1] ?? "";
  const own = (durationSeconds(profile.duration) ?? 0) + 30;
  const test = Math.max(own, durationSeconds(announced) ?? 0);
  // To start and to write its last points; for other scripts also to set up and to tear down.
  const around = script === ownScript ? 60 : 180;
  const start = executor.kind === "kubernetes" ? patienceToStart : 0;
  return { test, k6: test + around + start };
}

/** Fires when k6 should have ended: it waits without end for an InfluxDB that hangs. */
function deadlineOf(request: RunRequest, dir: string) {
  const started = Date.now();
  const late = new AbortController();
  let timer: NodeJS.Timeout;
  const check = () => {
    const { test, k6 } = timeFor(request, log(dir));
    const left = started + k6 * 1000 - Date.now();
    // A timer takes no more than 24 days.
    if (left > 0) timer = setTimeout(check, Math.min(left, 1e9));
    else late.abort(`its test takes ${test} s at most, but it had not ended after ${k6} s`);
  };
  check();
  return { signal: late.signal, cancel: () => clearTimeout(timer) };
}

/** What k6 logged. */
function log(dir: string): string {
  const file = path.join(dir, "k6.log");
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
}

/** Text as Go quotes it in a log: of its escapes, those that JSON has, too; others, such as \x1b, stay. */
const unquoted = (text: string) =>
  text.replace(/\\(u[\da-fA-F]{4}|[bfnrt"\\])/g, (escape) => JSON.parse(`"${escape}"`) as string);

/** Why the last of k6's writes that failed did; `undefined` when InfluxDB took them all. */
export function lastRefusal(dir: string): string | undefined {
  // A reason of one word is not quoted; a k6 that was killed leaves one without an end.
  const refused =
    /level=error msg="Couldn't write stats(?:" error=(?:"((?:[^"\\\n]|\\.){0,10000})|(\S{1,10000})))?/g;
  const last = [...log(dir).matchAll(refused)].at(-1);
  const why = last && oneLine(unquoted(last[1] ?? last[2] ?? ""));
  return why === undefined
    ? undefined
    : why.replace(/^Post "[^"]*": /, "").replace(/^\{"error":"(.*)"\}$/, "$1") ||
        `see ${dir}/k6.log`;
}

/** The last error k6 logged that says why it failed: its first line, or all if that announces more. */
export function lastError(dir: string): string {
  // A k6 that was killed leaves a message without an end.
  const errors = [...log(dir).matchAll(/level=error msg="((?:[^"\\\n]|\\.){0,10000})/g)]
    .map(([, message]) =>
      unquoted(message)
        .split(/[\r\n]/)
        .map(oneLine)
        .filter(Boolean),
    )
    .filter(([line]) => line && !/^(Couldn't write stats|thresholds on metrics)/.test(line));
  const [first, ...more] = errors.at(-1) ?? [`see ${dir}/k6.log`];
  return first.endsWith(":") ? [first, ...more].join(" ") : first;
}

const atRun = (url: string, id: string, from: Date, to: Date) =>
  `${url}?from=${from.getTime()}&to=${to.getTime()}&var-testid=${id}`;

function record(dir: string, summary: Summary) {
  fs.writeFileSync(path.join(dir, "summary.json"), JSON.stringify(summary, null, 2) + "\n");
  fs.writeFileSync(path.join(dir, "summary.md"), markdown(summary));
  const latest = path.join(runsFolder, "latest");
  fs.rmSync(latest, { force: true });
  fs.symlinkSync(summary.id, latest, "junction");
}
