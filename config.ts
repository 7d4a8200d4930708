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
  type LoadProfile,
  type MaxRegression,
  parseMaxRegression,
  type Thresholds,
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
import { type AlertContact, contactKeys } from "./runner/test-contacts";
import { type Cluster, kubernetesName, stackOf } from "./runner/types";

export const project = "coupon-load-test";

/** Keys whose values only `pulumi config set --secret` may set. Pulumi takes no default for secrets. */
export const secretKeys = ["alertWebhookUrl", "alertSlackUrl", "smtpPassword"];

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
    | { kind: "external"; baseUrl: string };
  /** Hosts that may be tested besides those that always may, see `hostIsAllowed`. */
  allowedHosts: string[];
  /** Whether destroying what holds data is refused. */
  keepData: boolean;
  /** The k6 script, relative to the project's folder or absolute. */
  script: string;
  profile: LoadProfile;
  thresholds: Thresholds;
  /** The run to compare with; empty: the last that passed with the same scenario and profile. */
  baseline: string;
  maxRegression: MaxRegression[];
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

/** A refused value. Pulumi prints errors with this mark without a stack trace. */
export class ConfigError extends Error {
  readonly __pulumiRunError = true;
}

/** Raw values by key, without the project's name before the key. */
export type Values = Record<string, string>;

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
 * @throws ConfigError naming the key, the value and what is allowed
 */
export function parseConfig(values: Values, root: string): StackConfig {
  const known = new Set<string>();
  const text = (key: string) => {
    known.add(key);
    return values[key] ?? "";
  };
  const refuse = (key: string, allowed: string): never => {
    throw new ConfigError(
      `configuration key ${JSON.stringify(key)} is ${JSON.stringify(values[key] ?? "")}: ${allowed}`,
    );
  };
  const oneOf = <T extends string>(key: string, ...allowed: T[]): T => {
    const value = text(key);
    return allowed.find((each) => each === value) ?? refuse(key, `must be ${allowed.join(" or ")}`);
  };
  const integer = (key: string, min: number, max = Number.MAX_SAFE_INTEGER) => {
    const value = text(key);
    const allowed =
      `must be a whole number, ` +
      (max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `${min} to ${max}`);
    if (!/^\d+$/.test(value) || Number(value) < min || Number(value) > max) refuse(key, allowed);
    return Number(value);
  };
  const share = (key: string) => {
    const value = text(key);
    if (!/^(0|1|[01]?\.\d+)$/.test(value) || Number(value) > 1) {
      refuse(key, "must be a number from 0 to 1, such as 0.01");
    }
    return Number(value);
  };
  const duration = (key: string, min: string, max: string) => {
    const seconds = durationSeconds(text(key)) ?? NaN;
    const inRange = seconds >= durationSeconds(min)! && seconds <= durationSeconds(max)!;
    const allowed = `must be a duration in ms, s, m or h from ${min} to ${max}, such as 30s or 1h30m`;
    return inRange ? text(key) : refuse(key, allowed);
  };
  const registry = text("imageRegistry");
  // Without a dot, a port or localhost, Docker takes the first part for a user of Docker Hub.
  if (
    registry &&
    !/^(localhost|(?=[^/]*[.:])[a-z0-9][a-z0-9.-]*)(:\d+)?(\/[\w.-]+)*$/.test(registry)
  ) {
    refuse(
      "imageRegistry",
      "must be empty or a registry without scheme, such as registry.example.com/mirror",
    );
  }
  const image = (key: string) =>
    /^[a-z0-9][\w.\-/:]*(@sha256:[0-9a-f]{64})?$/.test(text(key)) && /[:@][^/]+$/.test(text(key))
      ? fromRegistry(registry, text(key))
      : refuse(key, "must be an image with a tag or a digest, such as influxdb:1.8.10");
  const port = (key: string) => integer(key, 0, 65535);

  const kind = oneOf("target", "sample", "external");
  const baseUrl = parseBaseUrl(text("baseUrl"), kind === "external", (allowed) =>
    refuse("baseUrl", allowed),
  );
  const allowedHosts = text("allowedHosts")
    .split(",")
    .map((each) => each.trim().toLowerCase())
    .filter((each) => each !== "");
  if (!allowedHosts.every((each) => /^((\*\.)?[\w-]+(\.[\w-]+)*|\[[\da-f:]+\])$/.test(each))) {
    refuse(
      "allowedHosts",
      "must be empty or hosts without port, separated by commas, such as api.example.com, *.test.example.com",
    );
  }
  if (kind === "external" && !hostIsAllowed(baseUrl, allowedHosts)) {
    refuse(
      "baseUrl",
      `must be on this machine, in *.local or on a host that allowedHosts names, which is ` +
        JSON.stringify(text("allowedHosts")),
    );
  }
  const executor = oneOf("executor", "docker", "local", "kubernetes");
  const inCluster = executor === "kubernetes";
  const platform = oneOf("platform", "docker", "kubernetes");
  const onNodes = platform === "kubernetes";
  if (onNodes && !inCluster) {
    refuse("platform", `needs executor kubernetes, but that is ${text("executor")}`);
  }
  if (onNodes && kind === "sample") {
    refuse("platform", "needs target external, since the sample runs in Docker");
  }
  const address = text("bindAddress");
  if (!isIPv4(address) || !isLocalAddress(address)) {
    refuse(
      "bindAddress",
      "must be an IPv4 address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them",
    );
  }
  /** As URLs spell it, which takes `127.1` for what it is; empty if the key is. */
  const host = (key: string) => {
    const value = text(key);
    const isHost = /^[a-z\d]([a-z\d.-]*[a-z\d])?$/i.test(value) && URL.canParse(`http://${value}`);
    if (value && !isHost) {
      refuse(key, "must be empty, or a host name or an IPv4 address without port");
    }
    return value && new URL(`http://${value}`).hostname;
  };
  const isNowhere = (host: string) => isOwnHost(host) || host === "0.0.0.0";
  const nodeAddress = host("kubeNodeAddress");
  if (onNodes && (!nodeAddress || isNowhere(nodeAddress))) {
    refuse(
      "kubeNodeAddress",
      "with platform kubernetes it must be an address of a node, or of a load balancer before the " +
        "nodes, by which this machine, the cluster's pods and browsers reach InfluxDB and Grafana",
    );
  }
  const hostAddress = host("kubeHostAddress");
  const podHost = inCluster && !onNodes ? hostAddress || address : undefined;
  if (podHost && isNowhere(podHost)) {
    refuse(
      hostAddress ? "kubeHostAddress" : "bindAddress",
      "with executor kubernetes it must be an address by which the cluster's pods reach this " +
        "machine; if that is another than InfluxDB listens on, say so by kubeHostAddress",
    );
  }
  if (inCluster && kind === "external" && isOwnHost(new URL(baseUrl).hostname)) {
    refuse("baseUrl", "with executor kubernetes it must be on a host that the pods reach, too");
  }

  const sample = {
    kind: "sample" as const,
    // It asks nobody for a login, so it is on other addresses only where runners need it.
    address: inCluster ? address : "127.0.0.1",
    podHost,
    port: port("couponApiPort"),
    stock: integer("couponStock", 1),
    redisImage: image("redisImage"),
    nodeImage: image("nodeImage"),
  };

  const script = text("script");
  const file = path.resolve(root, script);
  if (!/\.[jt]s$/.test(script) || !fs.existsSync(file) || !fs.statSync(file).isFile()) {
    refuse("script", "must be the path of an existing k6 script, ending in .ts or .js");
  }

  const profile: LoadProfile = {
    rate: integer("rate", 1),
    timeUnit: duration("timeUnit", "1ms", "24h"),
    // k6 refuses less than a second.
    duration: duration("duration", "1s", "168h"),
    preAllocatedVUs: integer("preAllocatedVUs", 1),
    maxVUs: integer("maxVUs", 1),
    userIdBase: integer("userIdBase", 1),
    userCount: integer("userCount", 1),
    couponId: integer("couponId", 1),
  };
  if (profile.maxVUs < profile.preAllocatedVUs) {
    refuse("maxVUs", `must be at least preAllocatedVUs, which is ${profile.preAllocatedVUs}`);
  }

  if (text("maxRate")) {
    const [most, rate] = [integer("maxRate", 1), arrivalRate(profile)];
    if (rate > most) {
      const each = `${Number(rate.toFixed(2))} iterations a second`;
      refuse("rate", `with timeUnit ${profile.timeUnit} that is ${each}, but maxRate is ${most}`);
    }
  }
  if (text("maxDuration")) {
    const most = durationSeconds(duration("maxDuration", "1s", "168h"))!;
    if (durationSeconds(profile.duration)! > most) {
      refuse("duration", `must be at most maxDuration, which is ${text("maxDuration")}`);
    }
  }

  const hours = (retention: string) =>
    Number(retention.slice(0, -1)) * ({ h: 1, d: 24, w: 168 }[retention.slice(-1)] ?? NaN);
  // More than that, InfluxDB cannot count: it takes nanoseconds.
  const most = "106751d";
  const retentionOf = (key: string) =>
    /^[1-9]\d*[hdw]$/.test(text(key)) && hours(text(key)) <= hours(most)
      ? text(key)
      : refuse(
          key,
          `must be a whole number of hours, days or weeks, such as 12h, 30d or 4w, up to ${most}`,
        );
  const retention = retentionOf("retention");
  const historyRetention = retentionOf("historyRetention");
  if (hours(historyRetention) < hours(retention)) {
    refuse("historyRetention", `must be at least retention, which is ${retention}`);
  }

  const baseline = text("baseline");
  if (baseline && !stackOf(baseline)) {
    refuse("baseline", "must be empty or a run's id, such as dev-20261124T093000Z");
  }
  const maxRegression =
    parseMaxRegression(text("maxRegression")) ??
    refuse(
      "maxRegression",
      "must be empty or percentages of p95, p99, avg or rps, each once, that of rps below 100, " +
        "such as p95 10%, rps 5%",
    );

  const contacts: AlertContact[] = [];
  for (const kind of ["webhook", "slack"] as const) {
    const key = contactKeys[kind];
    const url = text(key);
    if (!url) continue;
    if (!/^https?:\/\/\S+$/.test(url) || !URL.canParse(url)) {
      // The value is a secret, so it is not shown.
      throw new ConfigError(
        `configuration key "${key}" is "[secret]": must be a URL with http:// or https://`,
      );
    }
    contacts.push({ kind, url });
  }
  const addresses = text("alertEmail")
    .split(",")
    .map((each) => each.trim());
  const smtpHost = text("smtpHost");
  if (smtpHost && !(/^[\w.-]+:[1-9]\d*$/.test(smtpHost) && URL.canParse(`http://${smtpHost}`))) {
    refuse(
      "smtpHost",
      "must be empty or a mail server's host and port, such as mail.example.com:25",
    );
  }
  if (text("alertEmail")) {
    if (!addresses.every((each) => /^[^\s@]+@[^\s@]+$/.test(each))) {
      refuse("alertEmail", "must be empty or e-mail addresses, separated by commas");
    }
    if (!smtpHost) refuse("smtpHost", "must name a mail server, since alertEmail is set");
    contacts.push({ kind: "email", addresses });
  }
  const user = text("smtpUser");
  // Mail servers take mail only from addresses they know, such as the login's own.
  const from = user.includes("@") ? user : addresses[0];
  const password = text("smtpPassword");
  const smtp = text("alertEmail") ? { host: smtpHost, user, password, from } : undefined;

  const serverPort = (key: string) => {
    const value = port(key);
    const isNodes = value >= nodePorts.first && value <= nodePorts.last;
    const range = `${nodePorts.first} to ${nodePorts.last}`;
    if (onNodes && value !== 0 && !isNodes) {
      refuse(key, `with platform kubernetes it must be a port of the nodes, ${range}, or 0`);
    }
    return value;
  };
  const k6Image = image("k6Image");
  const k6Binary = /^[^\p{Cc}]+$/u.test(text("k6Binary"))
    ? text("k6Binary")
    : refuse("k6Binary", "must be a command or a path");
  const parallelism = integer("parallelism", 1, 1000);
  const cpu = text("runnerCpu");
  if (!/^([1-9]\d{0,5}m|(?!0+(\.0*)?$)\d{1,3}(\.\d{1,3})?)$/.test(cpu)) {
    refuse("runnerCpu", "must be processors as Kubernetes writes them, such as 500m, 1 or 2.5");
  }
  const chart = text("k6OperatorChart");
  const isRemote = /^(https?|oci):\/\/[^\s\p{Cc}]+$/u.test(chart);
  const chartFile = path.resolve(root, chart, chart.endsWith(".tgz") ? "" : "Chart.yaml");
  if (chart !== "existing" && !isRemote && !fs.existsSync(chartFile)) {
    refuse(
      "k6OperatorChart",
      "must be existing, a Helm repository with https://, an oci:// reference or the path of a chart",
    );
  }
  const operatorImage = image("k6OperatorImage");
  const cluster: ClusterConfig = {
    kind: "kubernetes",
    context: text("kubeContext"),
    image: k6Image,
    starterImage: image("k6StarterImage"),
    parallelism,
    cpu,
    binary: k6Binary,
    operator:
      chart === "existing"
        ? undefined
        : { chart, version: operatorChartVersion, image: operatorImage },
  };
  if (inCluster && !/^[^\p{Cc}]+$/u.test(cluster.context)) {
    refuse("kubeContext", "must be a context of your kubeconfig, see kubectl config get-contexts");
  }
  // An operator's runner without a virtual user would not start.
  if (inCluster && parallelism > profile.preAllocatedVUs) {
    refuse("parallelism", `must be at most preAllocatedVUs, which is ${profile.preAllocatedVUs}`);
  }
  const config: StackConfig = {
    target: kind === "sample" ? sample : { kind, baseUrl },
    allowedHosts,
    keepData: oneOf("keepData", "false", "true") === "true",
    script,
    profile,
    thresholds: {
      p95Ms: integer("p95LimitMs", 1),
      p99Ms: integer("p99LimitMs", 1),
      failedRate: share("failedRateLimit"),
      checksRate: share("checksRateLimit"),
      droppedIterations: integer("droppedIterationsLimit", 0),
    },
    baseline,
    maxRegression,
    maxSeries: integer("maxSeries", 1),
    runId: text("runId"),
    platform: onNodes ? { kind: "kubernetes", context: cluster.context } : { kind: "docker" },
    executor: {
      docker: { kind: "docker" as const, image: k6Image },
      local: { kind: "local" as const, binary: k6Binary },
      kubernetes: cluster,
    }[executor],
    influxdb: {
      image: image("influxdbImage"),
      address: onNodes ? nodeAddress : address,
      podHost,
      port: serverPort("influxdbPort"),
      retention,
      historyRetention,
    },
    grafana: {
      image: image("grafanaImage"),
      address: onNodes ? nodeAddress : address,
      port: serverPort("grafanaPort"),
      smtp,
    },
    contacts,
  };

  const owner = new Map<number, string>();
  for (const { key, port } of setPorts(config)) {
    const other = owner.get(port);
    if (other) refuse(key, `must differ from ${other}`);
    owner.set(port, key);
  }
  for (const key of Object.keys(values)) {
    if (!known.has(key))
      refuse(key, `there is no such key; the keys are ${[...known].sort().join(", ")}`);
  }
  return config;
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
        : publishedPort(container) || (await portFor(container, taken));
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
  for (const { key, port, service, address } of publishedPorts(config)) {
    const isOwn = () => publishedBy(containerName(stack, service), port, address);
    await requireFreePort(key, port, address, isOwn);
  }
}

/** Refuses a port that something holds, unless it is the asker's own. @throws ConfigError */
export async function requireFreePort(
  key: string,
  port: number,
  address = "127.0.0.1",
  isOwn = () => false,
) {
  if ((await portIsFree(port, address)) || isOwn()) return;
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

/**
 * The image as it is called in a registry that mirrors Docker Hub, where the official ones are in
 * `library`. An image that names its own registry, by Docker's rule, stays there.
 */
function fromRegistry(registry: string, image: string): string {
  if (!registry || /^(localhost|[^/]*[.:][^/]*)\//.test(image)) return image;
  return [registry, ...(image.includes("/") ? [] : ["library"]), image].join("/");
}

function parseBaseUrl(value: string, required: boolean, refuse: (allowed: string) => never) {
  if (!required) return value && refuse("must be empty, or target must be external");
  if (!/^https?:\/\/[^/\s?#@]+(\/[^\s?#]*)?$/.test(value) || !URL.canParse(value)) {
    refuse(
      "must be a URL with http:// or https:// and without user, query or fragment, " +
        "such as http://localhost:8080",
    );
  }
  // As it was read for the check, so that k6, which reads more literally, goes to that very host.
  // The first of several slashes alone is tried: trying each takes minutes for a hundred thousand.
  return new URL(value).href.replace(/(?<!\/)\/+$/, "");
}
