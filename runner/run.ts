/** One load test from gate to record: gate, k6, proof of the points, verdict, `runs/<id>/`. */
import * as fs from "node:fs";
import * as path from "node:path";
import { rules } from "../k6/profile";
import { heartbeat } from "../dashboards/queries";
import { gate } from "./gate";
import { write } from "./influxdb";
import { executorFor } from "./k6";
import { findBaseline, identity, judgeRegressions, type NewEntry, recordInLedger } from "./ledger";
import { breach, headline, markdown, regression, rounded } from "./report";
import {
  type Credentials,
  oneLine,
  RunFailure,
  type RunRequest,
  type RunResult,
  stackOf,
  type Summary,
} from "./types";
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

/** The newest run of a stack, passed or failed. */
export function latestRun(stack: string): Summary | undefined {
  if (!fs.existsSync(runsFolder)) return undefined;
  const newest = fs
    .readdirSync(runsFolder)
    .filter((name) => stackOf(name) === stack)
    .sort()
    .at(-1);
  return newest && readJson(path.join(runsFolder, newest, "summary.json"));
}

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

  const summary: Summary = {
    ...{ id, verdict: "failed", thresholds: [], regressions: [], warnings: [] },
  };
  /** What the ledger will have; the start is that of the first request once it is known. */
  const entry: Pick<NewEntry, "startedAt" | "endedAt" | "figures" | "baseline"> = {
    startedAt: started,
    endedAt: started,
  };
  try {
    const executor = executorFor(request, credentials);
    const [k6Version] = await Promise.all([executor.version(), gate(request, credentials, signal)]);
    summary.k6Version = k6Version;
    const source = { influxdb: request.influxdb, reader: credentials.reader };
    entry.baseline = await findBaseline(source, request);
    say(`run ${id}: gate open, k6 ${k6Version} starts (${request.script})`);

    const stopProgress = reportProgress(source, credentials, id, say);
    const exitCode = await executor.run(id, dir, signal).finally(stopProgress);
    if (signal.aborted) throw new RunFailure("the run was interrupted");

    const count = k6Count(dir);
    if (!count || (exitCode !== 0 && exitCode !== thresholdsFailed)) {
      throw new RunFailure(`k6 ended with exit code ${exitCode}: ${lastError(dir)}`);
    }
    if (count.requests === 0) throw new RunFailure(`k6 made no request: ${lastError(dir)}`);
    const allowed = writesFailed(dir) ? 0 : coincidences(count);
    const { startedAt, endedAt, ...figures } = await verify(source, id, count, allowed);
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
    const tooManySeries = await seriesWarning(source, id, request.maxSeries);
    if (tooManySeries) summary.warnings.push(tooManySeries);

    summary.thresholds = rules(request.thresholds).flatMap((rule) => {
      const exact = figures[rule.figure];
      if (exact === undefined) return [];
      const passed = rule.comparison === "<=" ? exact <= rule.limit : exact >= rule.limit;
      return [{ ...rule, value: rounded(figures)[rule.figure] ?? exact, passed }];
    });
    const breaches = summary.thresholds.filter(({ passed }) => !passed).map(breach);
    if (exitCode === thresholdsFailed && breaches.length === 0) {
      // Ours hold, so it is one of the script's, or a percentile at its limit: k6 interpolates.
      breaches.push(`k6 found a threshold breached: ${breachedInK6(dir).join(", ")}`);
    }
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
    await recordInLedger(request, writer, { ...entry, id, verdict, outcome, k6Version }).catch(
      ({ message }) =>
        summary.warnings.push(
          oneLine(`the run is not in the ledger, nor marked on the dashboard: ${message}`),
        ),
    );
    record(dir, summary);
    say(headline(summary));
  }
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
  const started = Date.now();
  let before = 0;
  const timer = setInterval(async () => {
    const seconds = Math.round((Date.now() - started) / 1000);
    const now = await progress(source, id).catch(() => undefined);
    const stored = now?.requests ?? before;
    const beat = write({ url, ...writer }, database, `${heartbeat} stored=${stored - before}`);
    before = stored;
    // What cannot be written now cannot be alerted of either; the verdict will tell.
    await beat.catch(() => undefined);
    if (!now) return say(`${seconds} s: no request stored yet`);
    say(
      `${seconds} s: ${now.requests} requests, p95 ${now.p95Ms.toFixed(1)} ms, ` +
        `${(now.failedRate * 100).toFixed(1)} % failed`,
    );
  }, 5000);
  return () => clearInterval(timer);
}

/** What k6 logged. */
function log(dir: string): string {
  const file = path.join(dir, "k6.log");
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
}

/** Whether InfluxDB refused any of k6's writes. */
export const writesFailed = (dir: string) =>
  log(dir).includes(`level=error msg="Couldn't write stats`);

/** The last error k6 logged that says why it failed: its first line, or all if that announces more. */
export function lastError(dir: string): string {
  // Of Go's escapes, those that JSON has, too; the others, such as \x1b, stay as they are.
  const unquoted = (text: string) =>
    text.replace(/\\(u[\da-fA-F]{4}|[bfnrt"\\])/g, (escape) => JSON.parse(`"${escape}"`) as string);
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
