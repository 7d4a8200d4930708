/** One load test from gate to record: gate, k6, proof of the points, verdict, `runs/<id>/`. */
import * as fs from "node:fs";
import * as path from "node:path";
import { durationSeconds, type LoadProfile, ownScript, scenarioOf } from "../k6/profile";
import { run, testOnly } from "../dashboards/queries";
import { type Capacity, findCapacity, type Phase, rising } from "./capacity";
import { type Counts, countsOf, keepSummary, together } from "./counts";
import { curveOf } from "./curve";
import {
  declaredBy,
  type Declared,
  hooksOf,
  optionsFor,
  readLog,
  strayVariables,
} from "./declared";
import { endingOf, interruptedIterations, lastError, lastRefusal, summaryProblem } from "./ending";
import { inspectEntry, newMark, runEntry, takeTold } from "./entry";
import { executorFor } from "./executor";
import { gate, waitForAnswer } from "./gate";
import { identifier, query } from "./influxdb";
import { breachesOf, judge } from "./judge";
import { patienceToStart } from "./kubernetes";
import { observe } from "./generator";
import { findBaseline, identity, judgeRegressions, type NewEntry, recordInLedger } from "./ledger";
import { page } from "./page";
import { watch } from "./progress";
import { prove } from "./proof";
import { breach, headline, markdown, notMeasured, regression, rounded } from "./report";
import { judgeRoutes, measureRoutes, unknownRoutes } from "./routes";
import {
  type Credentials,
  type Ended,
  type Executor,
  oneLine,
  RunFailure,
  type RunRequest,
  type RunResult,
  stackOf,
  type Summary,
} from "./types";
import { isForSeries, makeRoom, measure, readJson, seriesWarning, type Source } from "./verify";
import { otherThan } from "./versions";

/** Where runs are kept, in the project's folder. */
export const runsFolder = "runs";

/**
 * The newest run of a stack's load test, passed or failed; one whose process was killed has failed. A
 * search for the capacity is no such run.
 */
export function latestRun(stack: string): Summary | undefined {
  if (!fs.existsSync(runsFolder)) return undefined;
  const newest = fs
    .readdirSync(runsFolder)
    .filter((name) => stackOf(name) === stack)
    .filter((name) => !fs.existsSync(path.join(runsFolder, name, rising)))
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
  const entry: Pick<NewEntry, "startedAt" | "endedAt" | "figures" | "routes" | "baseline"> = {
    startedAt: started,
    endedAt: started,
  };
  try {
    let executor = executorFor(request, credentials, say);
    // Each takes its time; what is wrong first in this order is what is told.
    const [version, open, read] = await Promise.allSettled([
      executor.version(signal),
      gate(request, credentials, signal),
      inspect(executor, id, dir, signal),
    ]);
    const k6Version = valueOf(version);
    valueOf(open);
    summary.k6Version = k6Version;
    const instead = otherThan("k6", k6Version);
    if (instead) throw new RunFailure(`k6 is ${k6Version}, but ${instead}`);
    const declared = valueOf(read);
    const source = { influxdb: request.influxdb, reader: credentials.reader };
    entry.baseline = await findBaseline(source, request);
    say(`run ${id}: gate open, k6 ${k6Version} starts (${request.script})`);

    summary.warnings.push(...strayOptions());
    await requireRetention(source, declared);
    const scope = hooksOf(declared).length > 0 ? testOnly(id) : run(id);
    const { search, stages } = request.profile;
    const shape = isOwn(request) && stages ? request.profile : undefined;
    const watched = watch(source, credentials.writer, id, scope, say, shape);
    const observed = observe(() => executor.usage?.(), request.executor.kind === "kubernetes");
    const runPhase = async ({ profile, name = "", enough }: Partial<Phase>) => {
      const own = profile ? { ...request, profile } : request;
      if (profile) executor = executorFor(own, credentials, say);
      const scenarios = profile && { capacity: scenarioOf(profile) };
      const prepared = { request: own, executor, declared, signal, scenarios, enough };
      return runK6(prepared, id, path.join(dir, name));
    };
    const breaches: string[] = [];
    const k6: Ran = { ends: [], all: [], slips: [], cut: [] };
    let capacity: Capacity | undefined;
    try {
      if (!search) join(k6, await runPhase({}));
      else {
        requireSearchable(request, declared);
        capacity = await findCapacity(search, {
          ...{ source, scope, request, watched, say, shortIn: observed.shortIn },
          run: async (phase) => join(k6, await runPhase(phase)),
        });
      }
    } catch (error) {
      // What was measured before is kept.
      if (signal.aborted || k6.ends.length === 0 || !(error instanceof RunFailure)) throw error;
      breaches.push(error.message);
    } finally {
      watched.stop();
      summary.generator = observed.end(capacity?.heldFrom);
    }
    const { ends, all } = k6;
    summary.warnings.push(...k6.slips, ...warningsOf(request, declared, k6.cut));
    breaches.push(...ends.flatMap((end) => endingOf(end) ?? []));
    const silent = ends.find((_, at) => !all[at]);
    if (silent) {
      const k6 = silent.name ? `k6 of ${silent.name}` : "k6";
      throw new RunFailure(breaches[0] ?? `${k6} told no figures: ${lastError(silent.dir)}`);
    }
    const counts = all as Counts[];
    const total = together(counts);
    const steady = capacity ? counts.at(-1)! : total;
    const refusals = ends.flatMap(({ dir }) => lastRefusal(dir) ?? []);
    await watched.end();
    const proof = await prove(source, id, counts, total, refusals);
    const { problems, incomplete, warning, range } = proof;
    if (warning) summary.warnings.push(warning);
    const { digest } = watched;
    const judged = capacity
      ? { where: `${scope.where} AND time >= ${capacity.heldFrom}ms` }
      : scope;
    const measured = await measure(source, judged, { counts: steady, incomplete, range, digest });
    const { figures, endedAt = new Date() } = measured;
    const { startedAt = started } = search ? {} : measured;
    figures.capacity = capacity?.rate;
    summary.broke = capacity?.why;
    if (!search && figures.requests !== undefined && figures.requests !== digest.requests) {
      await watched.again().catch(({ message }) => {
        summary.warnings.push(oneLine(`the dashboard does not show all of this run: ${message}`));
      });
    }
    Object.assign(entry, { startedAt, endedAt, figures });
    const { checksRate: _, ...shown } = rounded(figures);
    Object.assign(summary, shown, {
      startedAt: startedAt.toISOString(),
      endedAt: endedAt.toISOString(),
      dashboardUrl: request.dashboardUrl && atRun(request.dashboardUrl, id, startedAt, endedAt),
    });
    const during = { from: startedAt, to: search ? new Date() : endedAt };
    summary.curve = await curveOf(source, id, during).catch(() => undefined);
    const tooManySeries = await seriesWarning(source, id, request.maxSeries);
    if (tooManySeries) summary.warnings.push(tooManySeries);
    if (refusals.some(isForSeries) && incomplete.size > 0) {
      summary.warnings.push(await makeRoom(source, credentials.writer, id, incomplete));
    }

    const isExact = ["http_req_duration", "http_req_failed"].every((each) => !incomplete.has(each));
    const seconds = steady.durationMs / 1000;
    const routes =
      figures.requests === undefined || !isExact
        ? undefined
        : await measureRoutes(source, judged, { range, points: figures.requests, seconds });
    summary.routes = routes?.map(rounded);
    Object.assign(entry, { routes });

    breaches.push(...problems);
    if (routes) breaches.push(...unknownRoutes(request.routeLimits, routes));
    if (!total.metrics.iterations?.values.count) {
      breaches.push(`k6 completed no iteration: ${lastError(ends[0].dir)}`);
    }
    // Where no rate held, the figures are of all that were tried.
    const isJudged = !search || capacity;
    summary.thresholds = isJudged
      ? [
          ...judge(request, figures, steady, incomplete),
          ...judgeRoutes(request.routeLimits, routes ?? []),
        ]
      : [];
    const broken = summary.thresholds.filter(({ passed }) => !passed);
    breaches.push(...broken.map((rule) => (rule.value === undefined ? notMeasured : breach)(rule)));
    // Where ours hold it is one of the script's, or a percentile at its limit: k6 interpolates.
    const inK6 = search
      ? []
      : breachesOf(ends, counts, summary.thresholds, request, breaches.length > 0);
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
    const { why } = summary.generator ?? {};
    if (why && request.starvedGenerator === "fail") breaches.push(why);
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
    const { verdict, reason: outcome = verdict, k6Version, dashboardUrl, generator } = summary;
    const { writer } = credentials;
    const all = { ...entry, id, verdict, outcome, dashboardUrl, k6Version, generator };
    await recordInLedger(request, writer, all).catch(({ message }) =>
      summary.warnings.push(
        oneLine(`the run is not in the ledger, nor marked on the dashboard: ${message}`),
      ),
    );
    record(dir, summary, isOwn(request) ? request.profile : undefined);
    say(headline(summary));
  }
}

/** Whether k6 runs the profile: a script may bring a load of its own. */
const isOwn = ({ script, profile }: RunRequest) => script === ownScript || profile.search;

/** @throws what went wrong */
function valueOf<T>(settled: PromiseSettledResult<T>): T {
  if (settled.status === "rejected") throw settled.reason;
  return settled.value;
}

/** Says which of k6's variables are set here: a run goes by its configuration alone. */
function strayOptions(): string[] {
  const stray = strayVariables(process.env);
  const are = stray.length > 1 ? "are" : "is";
  return stray.length > 0 ? [`${stray.join(", ")} ${are} set here, and not handed on to k6`] : [];
}

/** Has k6 read the script. @throws RunFailure when it cannot */
async function inspect(
  executor: Executor,
  id: string,
  dir: string,
  signal: AbortSignal,
): Promise<Declared> {
  const mark = newMark();
  const stop = AbortSignal.any([signal, AbortSignal.timeout(300_000)]);
  const end = await executor.inspect(id, dir, inspectEntry(mark), stop);
  const [exports] = takeTold(dir, mark);
  const log = path.join(dir, "k6.log");
  if (signal.aborted) {
    fs.rmSync(log, { force: true });
    throw new RunFailure("the run was interrupted");
  }
  const why = endingOf(end);
  if (why) throw new RunFailure(why);
  if (exports === undefined) throw new RunFailure(`k6 did not read the script, see ${log}`);
  // What its start has said is said again when it runs.
  fs.rmSync(log);
  return declaredBy(end.options, exports.split(","));
}

/** @throws RunFailure when a test lasts longer than its points are kept */
async function requireRetention({ influxdb, reader }: Source, { lastsSeconds }: Declared) {
  const show = `SHOW RETENTION POLICIES ON ${identifier(influxdb.database)}`;
  const [[{ columns, values }]] = await query({ url: influxdb.url, ...reader }, show);
  const policy = values.find((row) => row[columns.indexOf("default")])!;
  const kept = String(policy[columns.indexOf("duration")]);
  // "0s" is for ever.
  if (lastsSeconds <= (durationSeconds(kept) ?? Infinity)) return;
  throw new RunFailure(
    `the script's test lasts ${lastsSeconds} s, but its points are kept for ${kept} alone: ` +
      `set a longer retention`,
  );
}

/** How k6s of a run ended, and what each counted, if it told. */
interface Ran {
  ends: Ended[];
  all: (Counts | undefined)[];
  /** What was wrong with their summaries. */
  slips: string[];
  /** Those that were not ended before their time. */
  cut: Ended[];
}

function join(all: Ran, more: Ran) {
  all.ends.push(...more.ends);
  all.all.push(...more.all);
  all.slips.push(...more.slips);
  all.cut.push(...more.cut);
}

/** Refuses what cannot be given a rate from outside. @throws RunFailure */
function requireSearchable({ executor }: RunRequest, { exports }: Declared) {
  if (executor.kind === "kubernetes") {
    throw new RunFailure("a capacity is looked for by one k6: set executor to docker or local");
  }
  if (exports.includes("default")) return;
  throw new RunFailure(
    "a capacity is looked for by the script's default function: it exports none",
  );
}

/** What a run of k6 needs to know. */
interface Prepared {
  request: RunRequest;
  executor: Executor;
  declared: Declared;
  signal: AbortSignal;
  /** In place of the script's own. */
  scenarios?: object;
  /** Ends it before its time, as it should. */
  enough?: AbortSignal;
}

/**
 * Runs k6 to its end.
 *
 * @throws RunFailure when it was interrupted, or had to be stopped
 */
async function runK6(
  { request, executor, declared, signal, scenarios, enough }: Prepared,
  id: string,
  dir: string,
): Promise<Ran> {
  const mark = newMark();
  fs.mkdirSync(path.join(dir, "files"), { recursive: true });
  const deadline = deadlineOf(request, declared, dir);
  const stop = AbortSignal.any([signal, deadline.signal, ...(enough ? [enough] : [])]);
  const options = { ...optionsFor(declared, id), scenarios };
  const entry = runEntry(mark, options);
  const ended = await executor.run(id, dir, entry, stop).finally(() => {
    deadline.cancel();
    if (fs.readdirSync(path.join(dir, "files")).length === 0) fs.rmdirSync(path.join(dir, "files"));
  });
  const ends = enough?.aborted ? ended.map((end) => ({ ...end, exitCode: 0 })) : ended;
  const told = ends.map(({ dir }) => {
    const [summary, slip] = takeTold(dir, mark);
    const counts = summary === undefined ? undefined : countsOf(summary);
    if (counts) keepSummary(dir, summary);
    return { counts, slip };
  });
  if (signal.aborted) throw new RunFailure("the run was interrupted");
  if (deadline.signal.aborted) {
    const cause = await waitForAnswer(`${request.influxdb.url}/ping`, 5, signal).then(
      () => `see ${dir}/k6.log`,
      ({ message }) => `InfluxDB hangs: ${message}`,
    );
    throw new RunFailure(`k6 was stopped: ${deadline.signal.reason}; ${cause}`);
  }
  const slips = ends.flatMap(({ dir }, at) => {
    const problem = summaryProblem(dir);
    const slip = told[at].slip;
    return [
      ...(slip ? [oneLine(JSON.parse(slip).slip)] : []),
      ...(problem
        ? [`k6 could not take what handleSummary of the script returned: ${problem}`]
        : []),
    ];
  });
  const all = told.map(({ counts }) => counts);
  return { ends, all, slips, cut: enough?.aborted ? [] : ends };
}

/** What is no fault of the run, but should be known of how it went. */
function warningsOf(request: RunRequest, declared: Declared, ends: Ended[]): string[] {
  const warnings: string[] = [];
  if ("testid" in declared.tags) {
    warnings.push(
      `the script's options set the tag "testid", which is the run's: ` +
        `its value ${JSON.stringify(declared.tags.testid)} is in no point`,
    );
  }
  const cutOff = sum(ends.map(({ dir }) => interruptedIterations(dir)));
  if (cutOff > 0) {
    warnings.push(
      `k6 cut off ${cutOff} iterations that had not ended: their last requests are in no figure`,
    );
  }
  const each = request.executor.kind === "kubernetes" ? request.executor.parallelism : 1;
  const hooks = each > 1 ? hooksOf(declared) : [];
  if (hooks.length > 0) {
    warnings.push(`each of the ${each} runners ran ${hooks.join(" and ")} of the script`);
  }
  return warnings;
}

const sum = (numbers: number[]) => numbers.reduce((total, each) => total + each, 0);

/** What of a summary of a passed run is the stack's output. */
function result({ thresholds: _, regressions: __, baseline: ___, ...rest }: Summary): RunResult {
  const { warnings: ____, k6Version: _____, ...more } = rest;
  const { routes: ______, generator: _______, broke: ________, curve: _________, ...passed } = more;
  return passed as RunResult;
}

/**
 * How long k6's test may take, and how long k6 itself, in seconds.
 *
 * @param log what k6 has logged so far
 */
export function timeFor(
  { script, profile, executor }: RunRequest,
  { aroundSeconds }: Pick<Declared, "aroundSeconds">,
  log: string,
) {
  // k6 gives iterations 30 s to end. A script's own options may say otherwise; k6 tells what it plans.
  const announced = /([\dhms.]+) max duration \(incl\. graceful stop\)/.exec(log)?.[1] ?? "";
  const own = (durationSeconds(profile.duration) ?? 0) + 30;
  const test = Math.max(own, durationSeconds(announced) ?? 0);
  // To start and to write its last points; for scripts that do, to set up and to tear down.
  const around = (script === ownScript ? 60 : 120) + aroundSeconds;
  const start = executor.kind === "kubernetes" ? patienceToStart : 0;
  return { test, k6: test + around + start };
}

/** Fires when k6 should have ended: it waits without end for an InfluxDB that hangs. */
function deadlineOf(request: RunRequest, declared: Declared, dir: string) {
  const started = Date.now();
  const late = new AbortController();
  let timer: NodeJS.Timeout;
  const check = () => {
    const { test, k6 } = timeFor(request, declared, readLog(dir));
    const left = started + k6 * 1000 - Date.now();
    // A timer takes no more than 24 days.
    if (left > 0) timer = setTimeout(check, Math.min(left, 1e9));
    else late.abort(`its test takes ${test} s at most, but it had not ended after ${k6} s`);
  };
  check();
  return { signal: late.signal, cancel: () => clearTimeout(timer) };
}

const atRun = (url: string, id: string, from: Date, to: Date) =>
  `${url}?from=${from.getTime()}&to=${to.getTime()}&var-testid=${id}`;

/** @param profile of the load, where the script does not bring its own */
function record(dir: string, summary: Summary, profile?: LoadProfile) {
  fs.writeFileSync(path.join(dir, "summary.json"), JSON.stringify(summary, null, 2) + "\n");
  fs.writeFileSync(path.join(dir, "summary.md"), markdown(summary));
  fs.writeFileSync(path.join(dir, "report.html"), page(summary, profile));
  const latest = path.join(runsFolder, "latest");
  fs.rmSync(latest, { force: true });
  fs.symlinkSync(summary.id, latest, "junction");
}
