/** index.ts as a whole, for a stack called dev. */
import * as pulumi from "@pulumi/pulumi";
import * as fs from "node:fs";
import * as net from "node:net";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { operatorChartVersion } from "../../config";
import { defaultProfile, defaultThresholds } from "../../k6/profile";
import { ConfigError } from "../../values";
import { type Outputs, runProgram } from "../support/program";
import { enterProjectCopy, openTexts, type Recording, valueOf } from "../support/pulumi-mocks";

// On a busy machine, what takes a second may take ten.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });

const CONTAINER = "docker:index/container:Container";
const COMMAND = "command:local:Command";
const PASSWORD = "random:index/randomPassword:RandomPassword";

const result = {
  id: "dev-20260102T030405Z",
  verdict: "passed",
  dashboardUrl: "http://127.0.0.1:3000/d/coupon-issue?from=1&to=2",
};

const stackScript = fs.readFileSync("scripts/stack.ts", "utf8");
/** Held by this test until it ends, so that no stack can have it. */
const taken = net.createServer();
let ports: { influxdbPort: number; grafanaPort: number; couponApiPort: number };
let takenPort: number;
let leave: () => void;

const listen = (server: net.Server) =>
  new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as net.AddressInfo).port));
  });

beforeAll(async () => {
  leave = enterProjectCopy("examples", "k6");
  takenPort = await listen(taken);
  const servers = [net.createServer(), net.createServer(), net.createServer()];
  const [influxdbPort, grafanaPort, couponApiPort] = await Promise.all(servers.map(listen));
  ports = { influxdbPort, grafanaPort, couponApiPort };
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  // No Docker is asked whose port it is.
  vi.stubEnv("PATH", "");
});
afterAll(() => {
  vi.unstubAllEnvs();
  taken.close();
  leave();
});

/** Runs the program with the defaults and these values. */
const up = (values: Record<string, unknown>) =>
  runProgram(
    { ...ports, ...values },
    {
      states: {
        [COMMAND]: () => ({ stdout: JSON.stringify(result) }),
        "kubernetes:helm.sh/v4:Chart": () => ({ resources: [] }),
      },
    },
  );

/** Resources that the sample target and a test by Docker add to every stack's. */
const couponApi = [
  "coupon-load-test:docker:Service::coupon-api",
  "coupon-load-test:docker:Service::coupon-api-redis",
  "coupon-load-test:index:CouponApi::coupon-api",
  "docker:index/container:Container::coupon-api-container",
  "docker:index/container:Container::coupon-api-redis-container",
  "docker:index/remoteImage:RemoteImage::coupon-api-image",
  "docker:index/remoteImage:RemoteImage::coupon-api-redis-image",
];
const k6Image = ["docker:index/remoteImage:RemoteImage::load-test-k6-image"];
const always = [
  "command:local:Command::load-test-run",
  "coupon-load-test:docker:Service::grafana",
  "coupon-load-test:docker:Service::influxdb",
  "coupon-load-test:index:Alerts::dashboards-alerts",
  "coupon-load-test:index:Dashboards::dashboards",
  "coupon-load-test:index:Grafana::grafana",
  "coupon-load-test:index:InfluxDb::influxdb",
  "coupon-load-test:index:LoadTest::load-test",
  "docker:index/container:Container::grafana-container",
  "docker:index/container:Container::influxdb-container",
  "docker:index/network:Network::network",
  "docker:index/remoteImage:RemoteImage::grafana-image",
  "docker:index/remoteImage:RemoteImage::influxdb-image",
  "docker:index/volume:Volume::grafana-data",
  "docker:index/volume:Volume::influxdb-data",
  "grafana:alerting/ruleGroup:RuleGroup::dashboards-alerts-rules",
  "grafana:oss/dashboard:Dashboard::dashboards-coupon-issue",
  "grafana:oss/dashboard:Dashboard::dashboards-coupon-issue-runs",
  "grafana:oss/dataSource:DataSource::dashboards-influxdb",
  "grafana:oss/folder:Folder::dashboards-folder",
  "pulumi-nodejs:dynamic/grafana:Admin::grafana-admin",
  "pulumi-nodejs:dynamic/influxdb:Admin::influxdb-admin",
  "pulumi-nodejs:dynamic/influxdb:Database::influxdb-database",
  "pulumi-nodejs:dynamic/influxdb:RetentionPolicy::influxdb-history",
  "pulumi-nodejs:dynamic/influxdb:User::influxdb-grafana",
  "pulumi-nodejs:dynamic/influxdb:User::influxdb-k6",
  "pulumi:providers:grafana::grafana-provider",
  "random:index/randomPassword:RandomPassword::grafana-admin-password",
  "random:index/randomPassword:RandomPassword::grafana-first-password",
  "random:index/randomPassword:RandomPassword::grafana-secret-key",
  "random:index/randomPassword:RandomPassword::influxdb-admin-password",
  "random:index/randomPassword:RandomPassword::influxdb-grafana-password",
  "random:index/randomPassword:RandomPassword::influxdb-k6-password",
];

const requestOf = (recording: Recording) => {
  const { environment } = recording.get(COMMAND, "load-test-run").inputs;
  return JSON.parse((environment as { LOAD_TEST: string }).LOAD_TEST);
};

/** The lines of the dashboard's panels: p99, p95, average and RPS. */
function linesOf(recording: Recording): (number | undefined)[] {
  const dashboard = recording.get("grafana:oss/dashboard:Dashboard", "dashboards-coupon-issue");
  const { panels } = JSON.parse(dashboard.inputs.configJson as string);
  return panels.map((panel: any) => panel.fieldConfig.defaults.thresholds.steps[1]?.value);
}

describe("a stack with the sample target", () => {
  let recording: Recording;
  let outputs: Outputs;
  beforeAll(async () => {
    let error: unknown;
    ({ recording, outputs, error } = await up({ target: "sample", couponStock: 77, couponId: 5 }));
    expect(error).toBeUndefined();
  });

  test("is InfluxDB, Grafana, dashboards, the coupon API and the load test", () => {
    expect(recording.refs).toEqual([...always, ...couponApi, ...k6Image].sort());
  });

  test("names its containers and volumes after project, stack and service", () => {
    const name = "coupon-load-test-dev";
    expect(
      recording
        .ofType(CONTAINER)
        .map(({ inputs }) => inputs.name)
        .sort(),
    ).toEqual([
      `${name}-coupon-api`,
      `${name}-coupon-api-redis`,
      `${name}-grafana`,
      `${name}-influxdb`,
    ]);
    const volumes = recording.ofType("docker:index/volume:Volume");
    expect(volumes.map(({ inputs }) => inputs.name).sort()).toEqual([
      `${name}-grafana`,
      `${name}-influxdb`,
    ]);
  });

  test("joins all containers to one network, each under its service's name", () => {
    const network = recording.get("docker:index/network:Network", "network");
    expect(network.inputs).toEqual({ name: "coupon-load-test-dev-network" });
    const joined = recording.ofType(CONTAINER).flatMap(({ inputs }) => inputs.networksAdvanced);
    const under = (alias: string) => ({
      name: "coupon-load-test-dev-network",
      aliases: [alias],
    });
    expect(joined).toHaveLength(4);
    for (const alias of ["influxdb", "grafana", "coupon-api", "redis"]) {
      expect(joined).toContainEqual(under(alias));
    }
  });

  test("publishes the configured ports, on 127.0.0.1 only", () => {
    const published = recording.ofType(CONTAINER).flatMap(({ inputs }) => inputs.ports ?? []);
    const at = (internal: number, external: number) => ({ internal, external, ip: "127.0.0.1" });
    expect(published).toHaveLength(3);
    expect(published).toContainEqual(at(8086, ports.influxdbPort));
    expect(published).toContainEqual(at(3000, ports.grafanaPort));
    expect(published).toContainEqual(at(8080, ports.couponApiPort));
  });

  test("limits every container's memory, swap and log, and restarts it", () => {
    for (const { inputs } of recording.ofType(CONTAINER)) {
      expect(inputs.memory).toBeGreaterThan(0);
      expect(inputs.memorySwap).toBe(inputs.memory);
      expect(inputs.logOpts).toEqual({ "max-size": "10m", "max-file": "2" });
      expect(inputs.restart).toBe("unless-stopped");
      expect(inputs).toHaveProperty("healthcheck.tests.0", "CMD-SHELL");
    }
  });

  test("keeps every generated password out of what is not secret", () => {
    expect(recording.ofType(PASSWORD)).toHaveLength(6);
    for (const { type, name, inputs, code } of recording.all) {
      const open = openTexts(inputs).filter((text) => text.includes("generated-"));
      expect([type, name, open]).toEqual([type, name, []]);
      expect(code ?? "").not.toContain("generated-");
    }
  });

  test("hands each password only to what needs it", () => {
    const holders = (name: string) =>
      recording.all
        .filter(({ inputs }) => JSON.stringify(inputs).includes(`generated-${name}`))
        .map((each) => each.name)
        .sort();
    const users = [
      ...["influxdb-admin", "influxdb-database", "influxdb-grafana", "influxdb-history"],
      "influxdb-k6",
    ];
    expect(holders("influxdb-admin-password")).toEqual(users);
    expect(holders("influxdb-k6-password")).toEqual(["influxdb-k6", "load-test-run"]);
    expect(holders("influxdb-grafana-password")).toEqual([
      ...["dashboards-influxdb", "influxdb-grafana", "load-test-run"],
    ]);
    expect(holders("grafana-admin-password")).toEqual(["grafana-admin", "grafana-provider"]);
    expect(holders("grafana-first-password")).toEqual(["grafana-admin", "grafana-container"]);
    expect(holders("grafana-secret-key")).toEqual(["grafana-container"]);
  });

  test("tests the coupon API, with the guide's profile", () => {
    const { target, profile, thresholds, executor, dashboardUrl, ...rest } = requestOf(recording);
    expect(target).toMatchObject({
      url: `http://127.0.0.1:${ports.couponApiPort}`,
      networkUrl: "http://coupon-api:8080",
      health: "/health",
    });
    expect(target.version).toMatch(/^[0-9a-f]{64} .* COUPON_ID=5 COUPON_STOCK=77$/);
    expect(profile).toEqual({ ...defaultProfile, couponId: 5 });
    expect(thresholds).toEqual(defaultThresholds);
    expect(executor).toEqual({
      kind: "docker",
      image: "grafana/k6:2.2.0",
      network: "coupon-load-test-dev-network",
    });
    expect(dashboardUrl).toBe(`http://127.0.0.1:${ports.grafanaPort}/d/coupon-issue`);
    expect(rest).toMatchObject({ stack: "dev", runId: "", script: "k6/coupon-issue.ts" });
    expect(rest.maxSeries).toBe(1000);
  });

  test("has the coupon API issue the coupon that is asked for", () => {
    const { envs } = recording.get(CONTAINER, "coupon-api-container").inputs;
    expect(envs).toContain("COUPON_ID=5");
    expect(envs).toContain("COUPON_STOCK=77");
  });

  test("runs the load test after everything else", () => {
    expect(recording.all.at(-1)).toBe(recording.get(COMMAND, "load-test-run"));
    const { dependencies } = recording.get(COMMAND, "load-test-run");
    const needed = [
      "docker:index/container:Container::coupon-api-container",
      "docker:index/container:Container::influxdb-container",
      "grafana:alerting/ruleGroup:RuleGroup::dashboards-alerts-rules",
      "grafana:oss/dashboard:Dashboard::dashboards-coupon-issue",
      "grafana:oss/dashboard:Dashboard::dashboards-coupon-issue-runs",
      "grafana:oss/dataSource:DataSource::dashboards-influxdb",
      "pulumi-nodejs:dynamic/influxdb:User::influxdb-grafana",
      "pulumi-nodejs:dynamic/influxdb:User::influxdb-k6",
    ];
    expect(dependencies).toEqual(expect.arrayContaining(needed));
  });

  test("calls the load test by the URN that `make load` replaces", () => {
    const [prefix, name] = [
      "urn:pulumi:dev::coupon-load-test::",
      "coupon-load-test:index:LoadTest$command:local:Command::load-test-run",
    ];
    expect(recording.get(COMMAND, "load-test-run").urn).toBe(prefix + name);
    expect(stackScript).toContain(name);
  });

  test("gives addresses, logins and the result of the last passed run", async () => {
    expect(Object.keys(outputs).sort()).toEqual([
      ...["dashboardUrl", "grafanaAdmin", "grafanaUrl", "influxdbReader", "influxdbUrl"],
      "lastPassedRun",
    ]);
    expect(await valueOf(outputs.grafanaUrl)).toBe(`http://127.0.0.1:${ports.grafanaPort}`);
    expect(await valueOf(outputs.influxdbUrl)).toBe(`http://127.0.0.1:${ports.influxdbPort}`);
    expect(await valueOf(outputs.lastPassedRun)).toEqual(result);
    expect(await valueOf(outputs.dashboardUrl)).toBe(result.dashboardUrl);
    expect(await valueOf(outputs.grafanaAdmin)).toEqual({
      username: "admin",
      password: "generated-grafana-admin-password",
    });
    expect(await valueOf(outputs.influxdbReader)).toEqual({
      username: "grafana",
      password: "generated-influxdb-grafana-password",
    });
  });

  test("gives logins as secrets, all else in clear text", async () => {
    for (const [name, output] of Object.entries(outputs)) {
      const isSecret = await pulumi.isSecret(pulumi.output(output));
      expect([name, isSecret]).toEqual([name, ["grafanaAdmin", "influxdbReader"].includes(name)]);
    }
  });
});

describe("a stack with an external target", () => {
  test("has no coupon API, and tests the given address", async () => {
    const { recording } = await up({
      baseUrl: "https://shop.example/",
      allowedHosts: "*.example, shop.example",
    });
    expect(recording.refs).toEqual([...always, ...k6Image].sort());
    expect(requestOf(recording).target).toEqual({
      url: "https://shop.example",
      version: "external",
    });
    expect(requestOf(recording).allowedHosts).toEqual(["*.example", "shop.example"]);
  });

  test("keeps its data where the configuration says so", async () => {
    const volumes = async (keepData: string) => {
      const { recording } = await up({ baseUrl: "http://localhost:8080", keepData });
      return recording.ofType("docker:index/volume:Volume").map(({ protect }) => protect);
    };
    expect(await volumes("true")).toEqual([true, true]);
    expect(await volumes("false")).toEqual([false, false]);
  });

  test("may have the port of the sample taken by its target", async () => {
    const { error } = await up({
      baseUrl: `http://127.0.0.1:${takenPort}`,
      couponApiPort: takenPort,
    });
    expect(error).toBeUndefined();
  });
});

test("a stack with a script that brings its own profile draws no line of the rate", async () => {
  fs.mkdirSync("own");
  fs.writeFileSync("own/test.js", "export default function () {}");
  const { recording } = await up({ target: "sample", script: "own/test.js" });
  expect(requestOf(recording).script).toBe("own/test.js");
  expect(linesOf(recording)).toEqual([1000, 500, undefined, undefined]);
});

test("a stack whose k6 is on this machine has no image of k6", async () => {
  const { recording } = await up({ target: "sample", executor: "local", k6Binary: "/opt/k6" });
  expect(recording.refs).toEqual([...always, ...couponApi].sort());
  expect(requestOf(recording).executor).toEqual({ kind: "local", binary: "/opt/k6" });
});

describe("a stack whose load a cluster shares", () => {
  const values = {
    ...{ target: "sample", executor: "kubernetes", kubeContext: "lab", parallelism: 3 },
    ...{ runnerCpu: "500m", k6Binary: "/opt/k6", kubeHostAddress: "192.0.2.1" },
  };

  test("has the cluster, and k6's image only there", async () => {
    const { recording } = await up(values);
    const own = [
      "coupon-load-test:index:K6Cluster::k6-cluster",
      "kubernetes:core/v1:Namespace::k6-cluster-namespace",
      "kubernetes:core/v1:Namespace::k6-cluster-operator-namespace",
      "kubernetes:core/v1:ResourceQuota::k6-cluster-quota",
      "kubernetes:core/v1:ServiceAccount::k6-cluster-account",
      "kubernetes:helm.sh/v4:Chart::k6-cluster-operator",
      "kubernetes:networking.k8s.io/v1:NetworkPolicy::k6-cluster-network-policy",
      "pulumi:providers:kubernetes::k6-cluster-provider",
    ];
    expect(recording.refs).toEqual([...always, ...couponApi, ...own].sort());
    const chart = recording.get("kubernetes:helm.sh/v4:Chart", "k6-cluster-operator");
    expect(chart.inputs).toMatchObject({ name: "k6-operator-dev", version: operatorChartVersion });
  });

  test("runs the test there, once the cluster is ready", async () => {
    const { recording } = await up(values);
    const { executor, target, influxdb } = requestOf(recording);
    expect(executor).toEqual({
      ...{ kind: "kubernetes", context: "lab", parallelism: 3, cpu: "500m", binary: "/opt/k6" },
      ...{ namespace: "coupon-load-test-dev", serviceAccount: "k6", image: "grafana/k6:2.2.0" },
      starterImage: "ghcr.io/grafana/k6-operator:starter-v1.6.0",
    });
    expect(target.podUrl).toBe(`http://192.0.2.1:${ports.couponApiPort}`);
    expect(influxdb.podUrl).toBe(`http://192.0.2.1:${ports.influxdbPort}`);
    expect(recording.get(COMMAND, "load-test-run").dependencies).toEqual(
      expect.arrayContaining([
        "docker:index/container:Container::coupon-api-container",
        "kubernetes:core/v1:Namespace::k6-cluster-namespace",
        "kubernetes:core/v1:ResourceQuota::k6-cluster-quota",
        "kubernetes:core/v1:ServiceAccount::k6-cluster-account",
        "kubernetes:networking.k8s.io/v1:NetworkPolicy::k6-cluster-network-policy",
      ]),
    );
  });

  test("lets its pods reach InfluxDB and the target alone", async () => {
    const ways = async (more: object) => {
      const { recording } = await up({ ...values, ...more });
      const [{ inputs }] = recording.ofType("kubernetes:networking.k8s.io/v1:NetworkPolicy");
      return (inputs.spec as any).egress.slice(2);
    };
    const to = (port: number) => ({
      to: [{ ipBlock: { cidr: "192.0.2.1/32" } }],
      ports: [{ protocol: "TCP", port }],
    });
    const { influxdbPort, couponApiPort } = ports;
    expect(await ways({})).toEqual([to(influxdbPort), to(couponApiPort)]);
    const external = { target: "external", baseUrl: "https://api.local:8443" };
    expect(await ways(external)).toEqual([
      to(influxdbPort),
      { ports: [{ protocol: "TCP", port: 8443 }] },
    ]);
  });
});

describe("a stack that is all in a cluster", () => {
  const values = {
    ...{ baseUrl: "http://api.local:8443", executor: "kubernetes", platform: "kubernetes" },
    ...{ kubeContext: "lab", kubeNodeAddress: "192.0.2.10", influxdbPort: 30086 },
    ...{ grafanaPort: 30300, k6OperatorChart: "existing" },
  };
  const servers = [
    "coupon-load-test:index:K6Cluster::k6-cluster",
    "coupon-load-test:kubernetes:Servers::servers",
    "coupon-load-test:kubernetes:Service::grafana",
    "coupon-load-test:kubernetes:Service::influxdb",
    "kubernetes:apps/v1:Deployment::grafana-deployment",
    "kubernetes:apps/v1:StatefulSet::influxdb-stateful-set",
    "kubernetes:core/v1:Namespace::k6-cluster-namespace",
    "kubernetes:core/v1:Namespace::servers-namespace",
    "kubernetes:core/v1:PersistentVolumeClaim::grafana-data",
    "kubernetes:core/v1:PersistentVolumeClaim::influxdb-data",
    "kubernetes:core/v1:ResourceQuota::k6-cluster-quota",
    "kubernetes:core/v1:Secret::grafana-files",
    "kubernetes:core/v1:Service::grafana-service",
    "kubernetes:core/v1:Service::influxdb-service",
    "kubernetes:core/v1:ServiceAccount::k6-cluster-account",
    "kubernetes:networking.k8s.io/v1:NetworkPolicy::grafana-network-policy",
    "kubernetes:networking.k8s.io/v1:NetworkPolicy::influxdb-network-policy",
    "kubernetes:networking.k8s.io/v1:NetworkPolicy::k6-cluster-network-policy",
    "pulumi:providers:kubernetes::k6-cluster-provider",
    "pulumi:providers:kubernetes::servers-provider",
  ];

  test("has the same in its servers, and nothing in Docker", async () => {
    const { recording, error } = await up(values);
    expect(error).toBeUndefined();
    const same = always.filter((each) => !each.includes("docker:"));
    expect(recording.refs).toEqual([...same, ...servers].sort());
  });

  test("is reached at the nodes' address, by whoever asks", async () => {
    const { recording, outputs } = await up(values);
    const [influxdb, grafana] = ["http://192.0.2.10:30086", "http://192.0.2.10:30300"];
    expect(await valueOf(outputs.influxdbUrl)).toBe(influxdb);
    expect(await valueOf(outputs.grafanaUrl)).toBe(grafana);
    const request = requestOf(recording);
    expect(request.influxdb).toEqual({ url: influxdb, database: "k6" });
    expect(request.dashboardUrl).toBe(`${grafana}/d/coupon-issue`);
    const source = recording.get("grafana:oss/dataSource:DataSource", "dashboards-influxdb");
    expect(source.inputs.url).toBe(influxdb);
  });

  test("has its runs reach InfluxDB, before and after the nodes have sent them on", async () => {
    const { recording } = await up(values);
    const policy = "kubernetes:networking.k8s.io/v1:NetworkPolicy";
    const { spec } = recording.get(policy, "k6-cluster-network-policy").inputs as any;
    const pods = { matchLabels: { "kubernetes.io/metadata.name": "coupon-servers-dev" } };
    expect(spec.egress.slice(2)).toEqual([
      {
        to: [{ ipBlock: { cidr: "192.0.2.10/32" } }],
        ports: [{ protocol: "TCP", port: 30086 }],
      },
      { to: [{ namespaceSelector: pods }] },
      { ports: [{ protocol: "TCP", port: 8443 }] },
    ]);
  });

  test("keeps its data where the configuration says so", async () => {
    const kept = async (keepData: string) => {
      const { recording } = await up({ ...values, keepData });
      return recording.all.flatMap(({ name, protect }) => (protect ? [name] : []));
    };
    expect(await kept("true")).toEqual(["servers-namespace", "influxdb-data", "grafana-data"]);
    expect(await kept("false")).toEqual([]);
  });
});

test("a stack takes every value of its configuration to where it is used", async () => {
  const { recording } = await up({
    ...{ target: "sample", influxdbImage: "a:1", grafanaImage: "b:2", k6Image: "c:3" },
    ...{ redisImage: "d:4", nodeImage: "e:5", retention: "4w", runId: "again", rate: 6 },
    ...{ timeUnit: "7s", duration: "8s", preAllocatedVUs: 9, maxVUs: 10, userIdBase: 11 },
    ...{ userCount: 12, couponId: 13, p95LimitMs: 14, p99LimitMs: 15, failedRateLimit: 0.16 },
    ...{ checksRateLimit: 0.17, droppedIterationsLimit: 18, maxSeries: 19 },
    ...{ scriptEnv: '{"A":"20"}', scriptSecrets: '{"B":"secret-21"}' },
  });
  const images = recording.ofType("docker:index/remoteImage:RemoteImage");
  expect(Object.fromEntries(images.map(({ name, inputs }) => [name, inputs.name]))).toEqual({
    "influxdb-image": "a:1",
    "grafana-image": "b:2",
    "load-test-k6-image": "c:3",
    "coupon-api-redis-image": "d:4",
    "coupon-api-image": "e:5",
  });
  const database = recording.get("pulumi-nodejs:dynamic/influxdb:Database", "influxdb-database");
  expect(database.inputs).toMatchObject({ database: "k6", retention: "4w" });
  expect(requestOf(recording)).toMatchObject({
    runId: "again",
    maxSeries: 19,
    scriptEnv: { A: "20" },
    profile: {
      ...{ rate: 6, timeUnit: "7s", duration: "8s", preAllocatedVUs: 9, maxVUs: 10 },
      ...{ userIdBase: 11, userCount: 12, couponId: 13 },
    },
    thresholds: {
      ...{ p95Ms: 14, p99Ms: 15, failedRate: 0.16, checksRate: 0.17, droppedIterations: 18 },
    },
  });
  const holders = recording.all.filter(({ inputs }) =>
    JSON.stringify(inputs).includes("secret-21"),
  );
  expect(holders.map(({ name }) => name)).toEqual(["load-test-run"]);
  expect(openTexts(holders[0].inputs).join()).not.toContain("secret-21");
  expect(linesOf(recording)).toEqual([15, 14, undefined, 6 / 7]);
});

describe("nothing is made by a program", () => {
  test("whose configuration is wrong", async () => {
    const { recording, error } = await up({ target: "sample", rate: 0 });
    expect(error).toEqual(
      new ConfigError(`configuration key "rate" is "0": must be a whole number, 1 or more`),
    );
    expect(recording.all).toEqual([]);
  });

  test("whose port is in use", async () => {
    const { recording, error } = await up({ target: "sample", grafanaPort: takenPort });
    expect(error).toEqual(
      new ConfigError(
        `configuration key "grafanaPort" is "${takenPort}": that port is in use on this machine; ` +
          `stop what listens there, or choose another port`,
      ),
    );
    expect(recording.all).toEqual([]);
  });
});
