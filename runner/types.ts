/** What goes into a run and what comes out of it. */
import * as crypto from "node:crypto";
import type { Entry } from "./entry";
import type {
  Figures,
  LoadProfile,
  MaxRegression,
  RouteLimit,
  Rule,
  Thresholds,
  Unit,
} from "../k6/profile";

/**
 * An address as this machine sees it and, where they differ, as containers of the stack's network
 * and as a cluster's pods see it.
 */
export interface Address {
  url: string;
  networkUrl?: string;
  podUrl?: string;
}

/** A user of InfluxDB. */
export interface Login {
  username: string;
  password: string;
}

/**
 * All that is secret in a run: InfluxDB's users, of whom one may only write and one may only read, and
 * what the script gets by `k6/secrets`, absent where that is nothing.
 */
export interface Credentials {
  writer: Login;
  reader: Login;
  secrets?: Record<string, string>;
}

/** A Kubernetes cluster in which runners of k6, each a pod, share the load. */
export interface Cluster {
  kind: "kubernetes";
  /** One of the contexts of the kubeconfig. */
  context: string;
  /** Where all of a run is made, and the account of its pods, which has no rights. */
  namespace: string;
  serviceAccount: string;
  image: string;
  /** The k6 operator's image that lets all runners begin at once. */
  starterImage: string;
  /** How many runners there are. */
  parallelism: number;
  /** How much of a processor each runner asks for, as Kubernetes writes it: `500m` or `2`. */
  cpu: string;
  /** k6 on this machine, which packs the script. */
  binary: string;
}

/** Where k6 runs. */
export type ExecutorChoice =
  { kind: "docker"; image: string; network: string } | { kind: "local"; binary: string } | Cluster;

/** How one k6 of a run ended, and where its `k6.log` and `k6-summary.json` are. */
export interface Ended {
  /** Which of several it was, such as `runner 2`; absent where one is all. */
  name?: string;
  dir: string;
  exitCode: number;
}

/** How a k6 ended that was to read a script, and what it printed. */
export interface Inspected extends Ended {
  options: string;
}

/** What k6 and the store take at a time. */
export interface Usage {
  /** Processors: 1 is all of one. */
  k6: number;
  store?: number;
  /** Memory of k6 as a share of its limit. */
  memory?: number;
  /** How many processors there are where k6 runs, if that is not this machine. */
  cores?: number;
}

/** What the generator of the load did during a run. Processors: 1 is all of one. */
export interface Generator {
  /** How many processors k6 could have had. */
  cores: number;
  /** On average. Absent where nobody could tell. */
  k6Cores?: number;
  storeCores?: number;
  /** Share of the machine's processors that were busy, on average, from 0 to 1. */
  machine: number;
  /** The most that k6 had of its memory, from 0 to 1; absent where it has no limit. */
  memory?: number;
  /** The most by which the runner itself was late. */
  lateMs: number;
  /** Share of the run in which no processor was left, from 0 to 1. */
  short: number;
  /** Why the figures may not be the target's, in one line; absent where nothing was short. */
  why?: string;
}

/** k6's part in a run. Output goes to `dir`; one k6 leaves its `k6-report.html` there, too. */
export interface Executor {
  /**
   * Such as `v1.8.1`, as told by k6 where it is to run.
   *
   * @throws RunFailure when k6 cannot be had
   */
  version(signal: AbortSignal): Promise<string>;
  /** Has k6 read the script by way of `entry`, and gives the script's options as JSON. */
  inspect(id: string, dir: string, entry: Entry, signal: AbortSignal): Promise<Inspected>;
  /**
   * Runs the script by way of `entry` to its end, or to a graceful stop when `signal` fires. What
   * the script's summary writes is in the folder `files` of `dir`, which is there.
   */
  run(id: string, dir: string, entry: Entry, signal: AbortSignal): Promise<Ended[]>;
  /** What k6 takes while it runs, as last seen; absent where it cannot be known. */
  usage?(): Promise<Usage | undefined> | Usage | undefined;
}

/** What a target's certificate may be, besides what the machine trusts. */
export interface TargetTls {
  /** PEM file of the authorities that have signed it, from the project's folder. */
  caFile?: string;
  /** Anything at all. */
  insecureSkipTLSVerify?: boolean;
}

/** Everything a run needs but what is secret. */
export interface RunRequest {
  stack: string;
  /** Changes only to have the test run again. */
  runId: string;
  /** The k6 script, relative to the project's folder or absolute, and a hash of its files. */
  script: string;
  scriptHash: string;
  /** What the script finds in its `__ENV` besides; absent where that is nothing. */
  scriptEnv?: Record<string, string>;
  profile: LoadProfile;
  thresholds: Thresholds;
  /** The run to compare with; empty: the last that passed with the same scenario and profile. */
  baseline: string;
  maxRegression: MaxRegression[];
  routeLimits: RouteLimit[];
  /** What becomes of a run whose generator was short of something. */
  starvedGenerator: "warn" | "fail";
  /** A run that makes more series than this in InfluxDB gets a warning. */
  maxSeries: number;
  executor: ExecutorChoice;
  /**
   * `version` names what is tested, so that another version is tested again. `health` is a path
   * that answers well once the target is ready; without one, any answer will do.
   */
  target: Address & { version: string; health?: string } & TargetTls;
  /** Hosts that the target may be on, or lead to, besides those that always may be. */
  allowedHosts: string[];
  influxdb: Address & { database: string };
  /** The dashboard's address without a time range; absent where there is no Grafana. */
  dashboardUrl?: string;
}

/** A rule with what the run made of it. */
export interface JudgedRule extends Rule {
  /** The one that it is about; absent: all of them together. */
  route?: string;
  /** Absent where the figure was not measured, which keeps no limit. */
  value?: number;
  passed: boolean;
}

/** What came of one figure of `maxRegression`. */
export interface JudgedRegression extends MaxRegression {
  label: string;
  unit: Unit;
  value: number;
  /** The baseline's figure, and the worst that is allowed. */
  baseline: number;
  limit: number;
  passed: boolean;
}

/** What the requests of one route took, in the units of `Figures`. */
export interface Route {
  /** k6's tag `name`. */
  name: string;
  requests: number;
  /** Of all requests of the run, from 0 to 1. */
  share: number;
  rps: number;
  /** Absent where the script has k6 judge no response. */
  failedRate?: number;
  avgMs: number;
  p95Ms: number;
  p99Ms: number;
}

/** How a run went, interval by interval, in the units of `Figures`; 0 where no request ended. */
export interface Curve {
  /** Length of an interval, in seconds. */
  every: number;
  p99Ms: number[];
  p95Ms: number[];
  avgMs: number[];
  rps: number[];
}

/** The public result of a run: one short line on standard output, `lastPassedRun` of the stack. */
export interface RunResult extends Figures {
  /** `<stack>-<UTC time>`, and k6's `testid` tag on every point. */
  id: string;
  verdict: "passed" | "failed";
  /** ISO 8601, of the first request's start and of k6's end. */
  startedAt: string;
  endedAt: string;
  /** Opens on the run's time range. */
  dashboardUrl?: string;
}

/** `runs/<id>/summary.json`. A run that broke off has no figures. */
export type Summary = Partial<RunResult> & {
  id: string;
  verdict: "passed" | "failed";
  /** Why the run failed, in one line. */
  reason?: string;
  thresholds: JudgedRule[];
  /** Figures by route, the slowest first; absent where there are none that are surely right. */
  routes?: Route[];
  /** The run that this one was compared with, and what came of `maxRegression`. */
  baseline?: { id: string; figures: Partial<Figures> };
  regressions: JudgedRegression[];
  /** Absent where there were no HTTP requests, or where they cannot be read. */
  curve?: Curve;
  /** Of a run that has found a capacity: what broke at which rate. */
  broke?: string;
  /** What does not fail the run, but should be known. */
  warnings: string[];
  /** Absent where k6 ran in a cluster. */
  generator?: Generator;
  k6Version?: string;
};

/** Whether a stack can have this name: Pulumi's rule, and Docker's for the start of a name. */
export const isStackName = (text: string) => /^[A-Za-z0-9][\w.-]{0,99}$/.test(text);

/** The stack of a run by the run's id; `undefined` if the text cannot be a run's id. */
export function stackOf(id: string): string | undefined {
  const [, stack = ""] = /^(.+)-\d{8}T\d{6}Z$/.exec(id) ?? [];
  return isStackName(stack) ? stack : undefined;
}

/**
 * A name for Kubernetes out of another: of at most 63 small letters, digits and `-`. Where that takes
 * something away, it ends with a hash of what it was, so that different names stay different.
 */
export function kubernetesName(name: string): string {
  const plain = name.toLowerCase().replace(/[^a-z0-9-]/g, "-");
  if (plain === name && name.length <= 63 && !name.endsWith("-")) return name;
  const hash = crypto.createHash("sha256").update(name).digest("hex").slice(0, 8);
  return `${plain.slice(0, 54)}-${hash}`;
}

/** A text in one line, and without what moves a terminal's cursor. */
export const oneLine = (text: string) => text.replace(/[\s\p{Cc}]+/gu, " ").trim();

/** A failure that is told in one line: a gate that stayed shut, missing points, a broken limit. */
export class RunFailure extends Error {
  constructor(message: string) {
    super(oneLine(message));
  }
}
