/**
 * Turns raw configuration values into one validated, typed `StackConfig`.
 *
 * `Pulumi.yaml` declares each key with its default and description; Pulumi, or `make`, hands the
 * values over as text. This file knows nothing of Pulumi, so a wrong value is refused with the same
 * words before a single resource exists, whoever asks.
 */
import * as fs from "node:fs";
import { isIPv4 } from "node:net";
import * as path from "node:path";
import {
  arrivalRate,
  durationSeconds,
  defaultProfile,
  type LoadProfile,
  type MaxRegression,
  parseMaxRegression,
  parseRouteLimits,
  parseStages,
  ratesOf,
  type RouteLimit,
  type Search,
  type Stage,
  type Thresholds,
  withSearch,
  withStages,
} from "./k6/profile";
import { hostIsAllowed, isOwnHost } from "./runner/gate";
import {
  isLocalAddress,
  nodePortFor,
  nodePorts,
  portFor,
  portIsFree,
  publishedBy,
  publishedPort,
} from "./runner/ports";
import { type AlertContact, contactKeys } from "./runner/contacts";
import { type Cluster, kubernetesName, stackOf, type TargetTls } from "./runner/types";
import { root } from "./root";
import { ConfigError, hours, Reader, type Values } from "./values";

export const project = "coupon-load-test";

/** Keys whose values only `pulumi config set --secret` may set. Pulumi takes no default for secrets. */
export const secretKeys = ["scriptSecrets", "alertWebhookUrl", "alertSlackUrl", "smtpPassword"];

/**
 * One environment, checked. Ports are 0 until `withPorts` has chosen; images are full references by
 * tag or digest, with `imageRegistry` where it is set.
 */
export interface StackConfig {
  target:
    | {
        kind: "sample";
        address: string;
        port: number;
        /** As of `influxdb`. */
        podHost?: string;
        stock: number;
        redisImage: string;
        nodeImage: string;
      }
    | ({ kind: "external"; baseUrl: string } & TargetTls);
  /** Hosts that may be tested besides those that always may, see `hostIsAllowed`. */
  allowedHosts: string[];
  /** Whether destroying what holds data is refused. */
  keepData: boolean;
  /** The k6 script, relative to the project's folder or absolute. */
  script: string;
  /** What the script finds in its `__ENV`, and what by `k6/secrets`; absent where that is nothing. */
  scriptEnv?: Record<string, string>;
  scriptSecrets?: Record<string, string>;
  profile: LoadProfile;
  thresholds: Thresholds;
  /** The run to compare with; empty: the last that passed with the same scenario and profile. */
  baseline: string;
  maxRegression: MaxRegression[];
  routeLimits: RouteLimit[];
  /** See `RunRequest`. */
  starvedGenerator: "warn" | "fail";
  /** More series than this in a run are warned of. */
  maxSeries: number;
  /** Changing it runs the test again. */
  runId: string;
  /** Where InfluxDB and Grafana run; with `kubernetes` the target is external, the executor, too. */
  platform: { kind: "docker" } | { kind: "kubernetes"; context: string };
  executor: { kind: "docker"; image: string } | { kind: "local"; binary: string } | ClusterConfig;
  influxdb: {
    image: string;
    /** Of this machine, on which it listens; with platform kubernetes, by which it is reached. */
    address: string;
    port: number;
    /** The host by which a cluster's pods reach that address, with executor kubernetes. */
    podHost?: string;
    retention: string;
    historyRetention: string;
  };
  grafana: {
    image: string;
    /** As of `influxdb`. */
    address: string;
    port: number;
    smtp?: { host: string; user: string; password: string; from: string };
  };
  /** Who is told of alerts. */
  contacts: AlertContact[];
}

/** The cluster that shares the load, and the operator that does it there. */
export interface ClusterConfig extends Omit<Cluster, "namespace" | "serviceAccount"> {
  /** Absent where the cluster has it already. */
  operator?: { chart: string; version: string; image: string };
}

/** The k6 operator's chart, of the release that `Pulumi.yaml` names for its two images. */
export const operatorChartVersion = "4.6.0";

/** The project's values out of all that Pulumi knows (`pulumi.runtime.allConfig()`). */
export function projectValues(all: Values): Values {
  const own = Object.entries(all).filter(([key]) => key.startsWith(`${project}:`));
  return Object.fromEntries(own.map(([key, value]) => [key.slice(project.length + 1), value]));
}

/** The name of a stack's namespace in a cluster, where names have neither capitals, dots nor `_`. */
export const namespaceName = (stack: string) => kubernetesName(`${project}-${stack}`);

/** The same, of the namespace of its servers. It begins with another word than any stack's other. */
export const serversName = (stack: string) => kubernetesName(`coupon-servers-${stack}`);

/** The name of a stack's k6 operator in a cluster. */
export const operatorName = (stack: string) => kubernetesName(`k6-operator-${stack}`);

/** The name of a stack's container; volumes share it. Also how the stack knows its own. */
export const containerName = (stack: string, service: string) => `${project}-${stack}-${service}`;

/**
 * Checks `values`, keyed without the project's name, and gives them their types.
 *
 * @param values every key that `Pulumi.yaml` declares, and no other
 * @param root the folder that `script` is relative to
 * @param use whether the profile is that of the load test, or of a search for the capacity
 * @throws ConfigError naming the key, the value and what is allowed
 */
export function parseConfig(
  values: Values,
  root: string,
  use: "load" | "capacity" = "load",
): StackConfig {
  const read = new Reader(values, secretKeys);
  const places = readPlaces(read);
  const ofLoad = readProfile(read);
  const search = readSearch(read, use);
  const profile = use === "capacity" ? withSearch(ofLoad, search) : ofLoad;
  const { retention, historyRetention } = readRetention(read, profile);
  const { contacts, smtp } = readContacts(read);
  const { address, podHost, onNodes } = places;
  const config: StackConfig = {
    ...readTarget(read, places),
    keepData: read.oneOf("keepData", "false", "true") === "true",
    script: readScript(read, root),
    ...readScriptValues(read),
    profile,
    thresholds: {
      p95Ms: read.integer("p95LimitMs", 1),
      p99Ms: read.integer("p99LimitMs", 1),
      failedRate: read.share("failedRateLimit"),
      checksRate: read.share("checksRateLimit"),
      droppedIterations: read.integer("droppedIterationsLimit", 0),
    },
    ...readComparison(read),
    routeLimits: readRouteLimits(read),
    starvedGenerator: read.oneOf("starvedGenerator", "warn", "fail"),
    maxSeries: read.integer("maxSeries", 1),
    runId: read.text("runId"),
    ...readExecutor(read, root, places, profile),
    influxdb: {
      image: read.image("influxdbImage"),
      ...{ address, podHost, port: serverPort(read, "influxdbPort", onNodes) },
      ...{ retention, historyRetention },
    },
    grafana: {
      image: read.image("grafanaImage"),
      ...{ address, port: serverPort(read, "grafanaPort", onNodes), smtp },
    },
    contacts,
  };

  const owner = new Map<number, string>();
  for (const { key, port } of setPorts(config)) {
    const other = owner.get(port);
    if (other) read.refuse(key, `must differ from ${other}`);
    owner.set(port, key);
  }
  read.refuseOthers();
  return config;
}

/** Who runs where, and by which addresses they reach each other. */
interface Places {
  executor: "docker" | "local" | "kubernetes";
  /** Whether InfluxDB and Grafana are in the cluster, and so have ports of its nodes. */
  onNodes: boolean;
  /** As of `StackConfig.influxdb`. */
  address: string;
  podHost?: string;
}

function readPlaces(read: Reader): Places {
  const executor = read.oneOf("executor", "docker", "local", "kubernetes");
  const inCluster = executor === "kubernetes";
  const onNodes = read.oneOf("platform", "docker", "kubernetes") === "kubernetes";
  if (onNodes && !inCluster) {
    read.refuse("platform", `needs executor kubernetes, but that is ${executor}`);
  }
  const address = read.text("bindAddress");
  if (!isIPv4(address) || !isLocalAddress(address)) {
    read.refuse(
      "bindAddress",
      "must be an IPv4 address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them",
    );
  }
  const isNowhere = (host: string) => isOwnHost(host) || host === "0.0.0.0";
  const nodeAddress = read.host("kubeNodeAddress");
  const hostAddress = read.host("kubeHostAddress");
  if (onNodes) {
    if (!nodeAddress || isNowhere(nodeAddress)) {
      read.refuse(
        "kubeNodeAddress",
        "with platform kubernetes it must be an address of a node, or of a load balancer before " +
          "the nodes, by which this machine, the cluster's pods and browsers reach InfluxDB and Grafana",
      );
    }
    return { executor, onNodes, address: nodeAddress };
  }
  const podHost = inCluster ? hostAddress || address : undefined;
  if (podHost && isNowhere(podHost)) {
    read.refuse(
      hostAddress ? "kubeHostAddress" : "bindAddress",
      "with executor kubernetes it must be an address by which the cluster's pods reach this " +
        "machine; if that is another than InfluxDB listens on, say so by kubeHostAddress",
    );
  }
  return { executor, onNodes, address, podHost };
}

function readTarget(
  read: Reader,
  { executor, onNodes, address, podHost }: Places,
): Pick<StackConfig, "target" | "allowedHosts"> {
  const inCluster = executor === "kubernetes";
  const sample = {
    kind: "sample" as const,
    // It asks nobody for a login, so it is on other addresses only where runners need it.
    address: inCluster ? address : "127.0.0.1",
    podHost,
    port: read.port("couponApiPort"),
    stock: read.integer("couponStock", 1),
    redisImage: read.image("redisImage"),
    nodeImage: read.image("nodeImage"),
  };
  const allowedHosts = read.list("allowedHosts").map((each) => each.toLowerCase());
  if (!allowedHosts.every((each) => /^((\*\.)?[\w-]+(\.[\w-]+)*|\[[\da-f:]+\])$/.test(each))) {
    read.refuse(
      "allowedHosts",
      "must be empty or hosts without port, separated by commas, such as api.example.com, *.test.example.com",
    );
  }

  const tls = readTls(read, inCluster);
  const kind = read.oneOf("target", "sample", "external");
  const baseUrl = read.text("baseUrl");
  if (kind === "sample") {
    if (onNodes) {
      read.refuse("platform", "needs target external, since the sample runs in Docker");
    }
    if (baseUrl) read.refuse("baseUrl", "must be empty, or target must be external");
    return { target: sample, allowedHosts };
  }
  if (!/^(https?|wss?|grpc):\/\/[^/\s?#@]+(\/[^\s?#]*)?$/.test(baseUrl) || !URL.canParse(baseUrl)) {
    read.refuse(
      "baseUrl",
      "must be a URL with http://, https://, ws://, wss:// or grpc:// and without user, query or " +
        "fragment, such as http://localhost:8080",
    );
  }
  // As it was read for the check, so that k6, which reads more literally, goes to that very host.
  // The first of several slashes alone is tried: trying each takes minutes for a hundred thousand.
  const url = new URL(baseUrl).href.replace(/(?<!\/)\/+$/, "");
  if (!hostIsAllowed(url, allowedHosts)) {
    read.refuse(
      "baseUrl",
      `must be on this machine, in *.local or on a host that allowedHosts names, which is ` +
        JSON.stringify(read.text("allowedHosts")),
    );
  }
  if (inCluster && isOwnHost(new URL(url).hostname)) {
    read.refuse(
      "baseUrl",
      "with executor kubernetes it must be on a host that the pods reach, too",
    );
  }
  return { target: { kind, baseUrl: url, ...tls }, allowedHosts };
}

/** A target outside, as the runner wants it. */
export const externalTarget = ({
  baseUrl,
  caFile,
  insecureSkipTLSVerify,
}: StackConfig["target"] & { kind: "external" }) => ({
  ...{ url: baseUrl, version: "external", caFile, insecureSkipTLSVerify },
});

function readTls(read: Reader, inCluster: boolean): TargetTls {
  const caFile = read.text("caFile");
  const insecure = read.oneOf("insecureSkipTLSVerify", "false", "true") === "true";
  if (inCluster && (caFile || insecure)) {
    const key = caFile ? "caFile" : "insecureSkipTLSVerify";
    read.refuse(
      key,
      "must be left out with executor kubernetes: k6 in pods trusts what its image does",
    );
  }
  const isPem = () => /-----BEGIN CERTIFICATE-----/.test(fs.readFileSync(caFile, "utf8"));
  if (caFile && !(fs.existsSync(caFile) && fs.statSync(caFile).isFile() && isPem())) {
    read.refuse("caFile", "must be empty or the path of a PEM file with certificates");
  }
  return {
    ...(caFile && { caFile }),
    ...(insecure && { insecureSkipTLSVerify: true }),
  };
}

function readScript(read: Reader, root: string): string {
  const script = read.text("script");
  const file = path.resolve(root, script);
  if (!/\.[jt]s$/.test(script) || !fs.existsSync(file) || !fs.statSync(file).isFile()) {
    read.refuse("script", "must be the path of an existing k6 script, ending in .ts or .js");
  }
  return script;
}

function readScriptValues(read: Reader): Pick<StackConfig, "scriptEnv" | "scriptSecrets"> {
  const scriptEnv = read.map("scriptEnv");
  const taken = Object.keys(scriptEnv ?? {}).find((name) =>
    /^(TESTID|BASE_URL|PROFILE|THRESHOLDS|K6_.*)$/.test(name),
  );
  if (taken) {
    read.refuse(
      "scriptEnv",
      `${taken} cannot be set: TESTID, BASE_URL, PROFILE, THRESHOLDS and K6_* are the run's own`,
    );
  }
  const scriptSecrets = read.map("scriptSecrets");
  for (const [name, value] of Object.entries(scriptSecrets ?? {})) {
    // k6 reads a line each, and takes every occurrence of a value out of its log.
    if (/[\r\n]/.test(value) || value.trim().length < 2) {
      read.refuse("scriptSecrets", `${name} must have 2 characters or more, and no line break`);
    }
  }
  return { scriptEnv, scriptSecrets };
}

function readProfile(read: Reader): LoadProfile {
  const constant: LoadProfile = {
    rate: read.integer("rate", 1),
    timeUnit: read.duration("timeUnit", "1ms", "24h"),
    // k6 refuses less than a second.
    duration: read.duration("duration", "1s", "168h"),
    preAllocatedVUs: read.integer("preAllocatedVUs", 1),
    maxVUs: read.integer("maxVUs", 1),
    userIdBase: read.integer("userIdBase", 1),
    userCount: read.integer("userCount", 1),
    couponId: read.integer("couponId", 1),
  };
  const shape = read.text("stages");
  const profile = shape ? withStages(constant, readStages(read, shape)) : constant;
  if (profile.maxVUs < profile.preAllocatedVUs) {
    read.refuse("maxVUs", `must be at least preAllocatedVUs, which is ${profile.preAllocatedVUs}`);
  }
  if (read.text("maxRate")) {
    const [most, rate] = [read.integer("maxRate", 1), arrivalRate(profile)];
    if (rate > most) {
      const each = `${Number(rate.toFixed(2))} iterations a second`;
      read.refuse(
        shape ? "stages" : "rate",
        `with timeUnit ${profile.timeUnit} that is ${shape ? "up to " : ""}${each}, but maxRate is ${most}`,
      );
    }
  }
  if (read.text("maxDuration")) {
    const most = read.duration("maxDuration", "1s", "168h");
    if (durationSeconds(profile.duration)! > durationSeconds(most)!) {
      read.refuse(shape ? "stages" : "duration", `must be at most maxDuration, which is ${most}`);
    }
  }
  return profile;
}

function readStages(read: Reader, text: string): Stage[] {
  const stages =
    parseStages(text) ??
    read.refuse(
      "stages",
      "must be empty, or durations with the iterations per timeUnit at the end of each, such as " +
        "30s:100,2m:1000,30s:0",
    );
  if (stages.every(({ target }) => target === 0)) read.refuse("stages", "must rise above 0");
  const seconds = durationSeconds(withStages(defaultProfile, stages).duration) ?? 0;
  if (seconds < 1 || seconds > durationSeconds("168h")!) {
    read.refuse("stages", "must last from 1s to 168h in all");
  }
  return stages;
}

/** How a capacity is looked for. What else is set binds it only where it is looked for. */
function readSearch(read: Reader, use: "load" | "capacity"): Search {
  const search = {
    from: read.integer("capacityFrom", 1),
    to: read.integer("capacityTo", 1),
    growth: read.integer("capacityGrowth", 1, 1000),
    step: read.duration("capacityStep", "2s", "24h"),
    hold: read.duration("capacityHold", "2s", "24h"),
  };
  if (search.to < search.from) {
    read.refuse("capacityTo", `must be at least capacityFrom, which is ${search.from}`);
  }
  if (use === "load") return search;
  if (read.text("maxRate") && search.to > read.integer("maxRate", 1)) {
    read.refuse("capacityTo", `must be at most maxRate, which is ${read.text("maxRate")}`);
  }
  const steps = ratesOf(search).length;
  const seconds = steps * durationSeconds(search.step)!;
  const most = read.text("maxDuration") && read.duration("maxDuration", "1s", "168h");
  if (seconds > durationSeconds(most || "168h")!) {
    const all = `its ${steps} steps take ${seconds} s in all`;
    read.refuse(
      "capacityStep",
      most ? `${all}, but maxDuration is ${most}` : `${all}, which is too long`,
    );
  }
  return search;
}

function readRetention(read: Reader, { duration }: LoadProfile) {
  const retention = read.retention("retention");
  if (hours(retention) * 3600 < durationSeconds(duration)!) {
    read.refuse("retention", `must be at least duration, which is ${duration}`);
  }
  const historyRetention = read.retention("historyRetention");
  if (hours(historyRetention) < hours(retention)) {
    read.refuse("historyRetention", `must be at least retention, which is ${retention}`);
  }
  return { retention, historyRetention };
}

function readRouteLimits(read: Reader): RouteLimit[] {
  return (
    parseRouteLimits(read.text("routeLimits")) ??
    read.refuse(
      "routeLimits",
      "must be empty, or the most that p95, p99, avg or failed of a route may be, each once, such as " +
        "POST /orders p95 300ms, GET /orders failed 1%",
    )
  );
}

function readComparison(read: Reader): Pick<StackConfig, "baseline" | "maxRegression"> {
  const baseline = read.text("baseline");
  if (baseline && !stackOf(baseline)) {
    read.refuse("baseline", "must be empty or a run's id, such as dev-20261124T093000Z");
  }
  const maxRegression =
    parseMaxRegression(read.text("maxRegression")) ??
    read.refuse(
      "maxRegression",
      "must be empty or percentages of p95, p99, avg, rps or capacity, each once, those of the last two below 100, " +
        "such as p95 10%, rps 5%",
    );
  return { baseline, maxRegression };
}

/** Who is told of alerts, and the mail server that tells them. */
function readContacts(read: Reader) {
  const contacts: AlertContact[] = [];
  for (const kind of ["webhook", "slack"] as const) {
    const key = contactKeys[kind];
    const url = read.text(key);
    if (!url) continue;
    if (!/^https?:\/\/\S+$/.test(url) || !URL.canParse(url)) {
      read.refuse(key, "must be a URL with http:// or https://");
    }
    contacts.push({ kind, url });
  }
  const host = read.text("smtpHost");
  if (host && !(/^[\w.-]+:[1-9]\d*$/.test(host) && URL.canParse(`http://${host}`))) {
    read.refuse(
      "smtpHost",
      "must be empty or a mail server's host and port, such as mail.example.com:25",
    );
  }
  const [user, password] = [read.text("smtpUser"), read.text("smtpPassword")];
  if (!read.text("alertEmail")) return { contacts };

  const addresses = read.list("alertEmail");
  if (addresses.length === 0 || !addresses.every((each) => /^[^\s@]+@[^\s@]+$/.test(each))) {
    read.refuse("alertEmail", "must be empty or e-mail addresses, separated by commas");
  }
  if (!host) read.refuse("smtpHost", "must name a mail server, since alertEmail is set");
  contacts.push({ kind: "email", addresses });
  // Mail servers take mail only from addresses they know, such as the login's own.
  const from = user.includes("@") ? user : addresses[0];
  return { contacts, smtp: { host, user, password, from } };
}

function readExecutor(
  read: Reader,
  root: string,
  { executor, onNodes }: Places,
  { preAllocatedVUs }: LoadProfile,
): Pick<StackConfig, "executor" | "platform"> {
  const image = read.image("k6Image");
  const binary = read.line("k6Binary", "must be a command or a path");
  const parallelism = read.integer("parallelism", 1, 1000);
  const cpu = read.text("runnerCpu");
  if (!/^([1-9]\d{0,5}m|(?!0+(\.0*)?$)\d{1,3}(\.\d{1,3})?)$/.test(cpu)) {
    read.refuse(
      "runnerCpu",
      "must be processors as Kubernetes writes them, such as 500m, 1 or 2.5",
    );
  }
  const operator = readOperator(read, root);
  const starterImage = read.image("k6StarterImage");
  const context = read.text("kubeContext");
  const platform = onNodes ? { kind: "kubernetes" as const, context } : { kind: "docker" as const };
  if (executor === "docker") return { platform, executor: { kind: executor, image } };
  if (executor === "local") return { platform, executor: { kind: executor, binary } };

  read.line("kubeContext", "must be a context of your kubeconfig, see kubectl config get-contexts");
  // An operator's runner without a virtual user would not start.
  if (parallelism > preAllocatedVUs) {
    read.refuse("parallelism", `must be at most preAllocatedVUs, which is ${preAllocatedVUs}`);
  }
  return {
    platform,
    executor: { kind: executor, context, image, starterImage, parallelism, cpu, binary, operator },
  };
}

function readOperator(read: Reader, root: string): ClusterConfig["operator"] {
  const image = read.image("k6OperatorImage");
  const chart = read.text("k6OperatorChart");
  if (chart === "existing") return undefined;
  const isRemote = /^(https?|oci):\/\/[^\s\p{Cc}]+$/u.test(chart);
  const file = path.resolve(root, chart, chart.endsWith(".tgz") ? "" : "Chart.yaml");
  if (!isRemote && !fs.existsSync(file)) {
    read.refuse(
      "k6OperatorChart",
      "must be existing, a Helm repository with https://, an oci:// reference or the path of a chart",
    );
  }
  return { chart, version: operatorChartVersion, image };
}

/** The port of one of the two servers, of this machine or of nodes. */
function serverPort(read: Reader, key: string, onNodes: boolean): number {
  const port = read.port(key);
  const { first, last } = nodePorts;
  if (onNodes && port !== 0 && (port < first || port > last)) {
    const range = `${first} to ${last}`;
    read.refuse(key, `with platform kubernetes it must be a port of the nodes, ${range}, or 0`);
  }
  return port;
}

/**
 * Gives each port that is 0 its number: the one that the stack's container has already, else a free
 * one. Of nodes it is one that goes with the stack's name.
 */
export async function withPorts(config: StackConfig, stack: string): Promise<StackConfig> {
  const taken = setPorts(config).map(({ port }) => port);
  const chosen = async (port: number, service: string) => {
    if (port) return port;
    const container = containerName(stack, service);
    const choice =
      config.platform.kind === "kubernetes"
        ? nodePortFor(container, taken)
        : (await publishedPort(container)) || (await portFor(container, taken));
    taken.push(choice);
    return choice;
  };
  const { target, influxdb, grafana } = config;
  return {
    ...config,
    influxdb: { ...influxdb, port: await chosen(influxdb.port, "influxdb") },
    grafana: { ...grafana, port: await chosen(grafana.port, "grafana") },
    target:
      target.kind === "sample"
        ? { ...target, port: await chosen(target.port, "coupon-api") }
        : target,
  };
}

/** What only stacks in a cluster need: peers in package.json, which npm leaves out by default. */
export const clusterPackages = ["@pulumi/kubernetes", "@kubernetes/client-node"];

/** Whether those are there. */
export function hasClusterPackages(): boolean {
  return clusterPackages.every((name) => fs.existsSync(path.join(root, "node_modules", name)));
}

/** Refuses a cluster where its packages are not installed. @throws ConfigError */
export function requireClusterPackages({ executor }: StackConfig): void {
  if (executor.kind !== "kubernetes" || hasClusterPackages()) return;
  throw new ConfigError(
    `configuration key "executor" is "kubernetes": the packages for it are not installed; run ` +
      `npm install --no-save --include=peer, as make does`,
  );
}

/** The images that the stack is made of, in the order of their keys. */
export function imagesOf({ influxdb, grafana, executor, target }: StackConfig): string[] {
  return [
    influxdb.image,
    grafana.image,
    ...(executor.kind === "local" ? [] : [executor.image]),
    ...(executor.kind === "kubernetes" ? [executor.starterImage] : []),
    ...(executor.kind === "kubernetes" && executor.operator ? [executor.operator.image] : []),
    ...(target.kind === "sample" ? [target.redisImage, target.nodeImage] : []),
  ];
}

/**
 * Refuses ports that something else holds, before anything is created.
 *
 * @throws ConfigError naming the key and the port
 */
export async function requireFreePorts(config: StackConfig, stack: string): Promise<void> {
  await Promise.all(
    publishedPorts(config).map(({ key, port, service, address }) => {
      const isOwn = () => publishedBy(containerName(stack, service), port, address);
      return requireFreePort(key, port, address, isOwn);
    }),
  );
}

/** Refuses a port that something holds, unless it is the asker's own. @throws ConfigError */
export async function requireFreePort(
  key: string,
  port: number,
  address = "127.0.0.1",
  isOwn = async () => false,
) {
  if ((await portIsFree(port, address)) || (await isOwn())) return;
  throw new ConfigError(
    `configuration key "${key}" is "${port}": that port is in use on this machine; ` +
      `stop what listens there, or choose another port`,
  );
}

/**
 * The ports that the stack takes of this machine, with the key that sets each, who holds it and on
 * which address; without those that are still to be chosen.
 */
export const publishedPorts = (config: StackConfig) =>
  config.platform.kind === "kubernetes" ? [] : setPorts(config);

/** The same, of this machine or of nodes. */
function setPorts({ influxdb, grafana, target }: StackConfig) {
  const ports = [
    { key: "influxdbPort", ...influxdb, service: "influxdb" },
    { key: "grafanaPort", ...grafana, service: "grafana" },
  ].map(({ key, port, address, service }) => ({ key, port, address, service }));
  if (target.kind === "sample") {
    const { port, address } = target;
    ports.push({ key: "couponApiPort", port, address, service: "coupon-api" });
  }
  return ports.filter(({ port }) => port > 0);
}
