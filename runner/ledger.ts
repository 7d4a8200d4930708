/** The ledger: one point a run in InfluxDB, kept longer than raw points, and what is read from it. */
import { execFile } from "node:child_process";
import * as crypto from "node:crypto";
import { promisify } from "node:util";
import { history, routesInLedger, routesMeasurement, runsInLedger } from "../dashboards/queries";
import {
  type Figure,
  figures as allFigures,
  type Figures,
  isBetterHigh,
  type MaxRegression,
  regressionLimit,
  loadInWords,
} from "../k6/profile";
import { progressLine } from "./digest";
import { literal, query, write } from "./influxdb";
import { shownRoutes } from "./routes";
import {
  type Generator,
  type JudgedRegression,
  type Login,
  oneLine,
  type Route,
  RunFailure,
  type RunRequest,
} from "./types";
import type { Source } from "./verify";

/** A run as the ledger has it. One that broke off has no figures. */
export interface LedgerRun {
  id: string;
  verdict: string;
  scenario: string;
  profile: string;
  figures: Partial<Figures>;
}

const figureNames = Object.keys(allFigures) as Figure[];

/** What makes runs comparable: the scenario's files and variables, and the load, as short hashes. */
export function identity({
  scriptHash,
  scriptEnv,
  profile,
}: Pick<RunRequest, "scriptHash" | "scriptEnv" | "profile">) {
  const inOrder = (_: string, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  const hashOf = (values: object, salt = "") => {
    const sorted = JSON.stringify(values, inOrder);
    return crypto
      .createHash("sha256")
      .update(salt + sorted)
      .digest("hex");
  };
  const scenario = scriptEnv ? hashOf(scriptEnv, scriptHash) : scriptHash;
  return { scenario: scenario.slice(0, 12) || "none", profile: hashOf(profile).slice(0, 12) };
}

/** The commit that is checked out, with `-dirty` if files differ from it; none without git. */
export async function commit(): Promise<string | undefined> {
  const git = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
  return promisify(execFile)("git", git).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
}

async function read({ influxdb, reader }: Source, where: string, limit: number) {
  const connection = { url: influxdb.url, ...reader };
  const [[series]] = await query(connection, runsInLedger(where, limit), influxdb.database);
  return (series?.values ?? []).map((row): LedgerRun => {
    const value = (column: string) => row[series.columns.indexOf(column)] ?? undefined;
    const text = (column: string) => String(value(column) ?? "");
    const known = figureNames.filter((name) => value(name) !== undefined);
    return {
      id: text("testid"),
      verdict: text("verdict"),
      scenario: text("scenario"),
      profile: text("profile"),
      figures: Object.fromEntries(known.map((name) => [name, Number(value(name))])),
    };
  });
}

/** A run with figures. @throws RunFailure that names the newest runs, if there is none of this id */
export async function runOf(source: Source, id: string): Promise<LedgerRun> {
  const [found] = await read(source, `"testid" = ${literal(id)}`, 1);
  if (found?.figures.requests !== undefined) return found;
  const newest = (await read(source, `"verdict" =~ /./ AND "requests" > 0`, 5)).map(({ id }) => id);
  throw new RunFailure(
    (found ? `run "${id}" broke off and has no figures` : `there is no run "${id}" in the ledger`) +
      (newest.length > 0 ? `; the newest with figures are ${newest.join(", ")}` : "; it has none"),
  );
}

/**
 * The run that a new one is compared with: the one that `baseline` names, else the last that passed
 * with the same scenario and profile; `undefined` if there is none.
 *
 * @throws RunFailure when the named run is unknown or has no figures
 */
export async function findBaseline(
  source: Source,
  request: RunRequest,
): Promise<LedgerRun | undefined> {
  if (request.baseline) {
    return runOf(source, request.baseline).catch((error) => {
      throw new RunFailure(`configuration key "baseline": ${error.message}`);
    });
  }
  const { scenario, profile } = identity(request);
  const same = `"scenario" = ${literal(scenario)} AND "profile" = ${literal(profile)}`;
  const [found] = await read(source, `${same} AND "verdict" = 'passed'`, 1);
  return found;
}

/** Relative difference of a figure to the baseline's; `undefined` if either is 0 or missing. */
export function change(value?: number, baseline?: number): number | undefined {
  return value === undefined || !baseline ? undefined : value / baseline - 1;
}

/** Which figures got worse than `maxRegression` allows. */
export function judgeRegressions(
  allowed: MaxRegression[],
  figures: Figures,
  baseline: LedgerRun,
): JudgedRegression[] {
  return allowed.flatMap((each) => {
    const [value, before] = [figures[each.figure], baseline.figures[each.figure]];
    if (value === undefined || before === undefined) return [];
    const limit = regressionLimit(each, before);
    const passed = isBetterHigh(each.figure) ? value >= limit : value <= limit;
    return [{ ...each, ...allFigures[each.figure], value, baseline: before, limit, passed }];
  });
}

/** A run to be written. */
export interface NewEntry {
  id: string;
  startedAt: Date;
  endedAt: Date;
  verdict: "passed" | "failed";
  /** `passed`, or the line that says why not. */
  outcome: string;
  /** Leads to the run on its dashboard, where there is one. */
  dashboardUrl?: string;
  figures?: Figures;
  /** The slowest first. */
  routes?: Route[];
  baseline?: LedgerRun;
  k6Version?: string;
  generator?: Generator;
}

/** A run as one point in line protocol. Limits go along: an old run is read by those of its day. */
export function ledgerPoint(
  { stack, thresholds, profile, ...request }: RunRequest,
  entry: NewEntry,
  commit: string,
): string {
  const { id, startedAt, endedAt, verdict, figures, baseline } = entry;
  const limits = Object.entries(thresholds).map(([figure, limit]) => [`${figure}Limit`, limit]);
  const changes = figureNames.map((name) => [
    `${name}Change`,
    change(figures?.[name], baseline?.figures[name]),
  ]);
  const fields: Record<string, string | number | undefined> = {
    ...figures,
    ...Object.fromEntries([...limits, ...changes]),
    startedAtMs: startedAt.getTime(),
    endedAtMs: endedAt.getTime(),
    outcome: entry.outcome,
    mark: mark(entry),
    load: loadInWords(profile),
    // Text that is unknown is empty, not missing: Grafana's server fails on columns with both.
    baseline: baseline?.id ?? "",
    commit,
    k6Version: entry.k6Version ?? "",
    k6Cores: entry.generator?.k6Cores,
    machineBusy: entry.generator?.machine,
    shortOfProcessor: entry.generator?.short,
    generator: entry.generator?.why ?? "",
  };
  const tags = { testid: id, stack, verdict, ...identity({ ...request, profile }) };
  // Text is quoted, and a line is a point: no line break may get in. What is no number, such as
  // the change from next to nothing, is left out: the whole point would be refused.
  const quoted = (text: string) => `"${oneLine(text).replace(/[\\"]/g, "\\$&")}"`;
  const pairs = Object.entries(fields).flatMap(([name, value]) => {
    if (typeof value === "string") return `${name}=${quoted(value)}`;
    return Number.isFinite(value) ? `${name}=${value}` : [];
  });
  const key = ["k6_runs", ...Object.entries(tags).map(([name, value]) => `${name}=${value}`)];
  return `${key.join(",")} ${pairs.join(",")} ${startedAt.getTime()}000000`;
}

/** What Grafana shows at a run's region, as HTML that it makes safe: a link to the run, its outcome. */
function mark({ id, outcome, dashboardUrl, generator }: NewEntry): string {
  const escaped = (text: string) =>
    text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
  const link = dashboardUrl ? `<a href="${escaped(dashboardUrl)}">${id}</a>` : id;
  const all = generator?.why ? `${outcome}; ${generator.why}` : outcome;
  return `${link}: ${escaped(all)}`;
}

/** A run's slowest routes, a line each. */
export const routeLines = ({ id, startedAt, routes = [] }: NewEntry): string[] =>
  routes.slice(0, shownRoutes).map(({ name, ...figures }) => {
    // A backslash at its end would escape the space that ends the tag.
    const tag = oneLine(name).replace(/[, =]/g, "\\$&").replace(/\\$/, "\\\\ ");
    const known = Object.entries(figures).filter(([, value]) => Number.isFinite(value));
    const fields = known.map(([figure, value]) => `${figure}=${value}`).join(",");
    return `${routesMeasurement},testid=${id},name=${tag || "none"} ${fields} ${startedAt.getTime()}000000`;
  });

/** The slowest routes of a run of the ledger. */
export async function routesOf({ influxdb, reader }: Source, id: string): Promise<Route[]> {
  const connection = { url: influxdb.url, ...reader };
  const [[series]] = await query(connection, routesInLedger(id), influxdb.database);
  const routes = (series?.values ?? []).map((row) => {
    const known = series.columns.map((column, at) => [column, row[at]]);
    return Object.fromEntries(known.filter(([, value]) => value !== null)) as Route;
  });
  return routes.sort((a, b) => b.p95Ms - a.p95Ms);
}

/** Writes a run, and its figures for the panels where they are exact. */
export async function recordInLedger(
  request: RunRequest,
  writer: Login,
  entry: NewEntry,
): Promise<void> {
  const { url, database } = request.influxdb;
  const { p99Ms, p95Ms, avgMs, rps } = entry.figures ?? {};
  const told = { p99: p99Ms, p95: p95Ms, avg: avgMs, rps };
  const lines = [
    ledgerPoint(request, entry, (await commit()) ?? ""),
    ...routeLines(entry),
    ...(p95Ms === undefined ? [] : [progressLine(entry.id, entry.endedAt.getTime(), told)]),
  ];
  await write({ url, ...writer, seconds: 10 }, database, lines.join("\n"), history);
}
