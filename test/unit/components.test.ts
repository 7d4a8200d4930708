import type * as docker from "@pulumi/docker";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import { alertRules } from "../../dashboards/alerts";
import type { AlertContact } from "../../runner/contacts";
import { builtinModules } from "node:module";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { CouponApi } from "../../components/coupon-api";
import { Dashboards } from "../../components/dashboards";
import { Grafana } from "../../components/grafana";
import { generatedPassword, InfluxDb } from "../../components/influxdb";
import { K6Cluster, type K6ClusterArgs } from "../../components/k6-cluster";
import { Servers } from "../../components/kubernetes-service";
import { LoadTest, type LoadTestArgs } from "../../components/load-test";
import { inDocker, Service, stackNetwork } from "../../components/service";
import { couponIssueDashboard } from "../../dashboards/coupon-issue";
import { defaultProfile, defaultThresholds } from "../../k6/profile";
import { influxDbSettings } from "../../runner/influxdb";
import { scriptHash } from "../../runner/script";
import {
  enterProjectCopy,
  generated,
  Recording,
  recordPulumi,
  secret,
  valueOf,
} from "../support/pulumi-mocks";

// On a busy machine, what takes a second may take ten.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });

const COMMAND = "command:local:Command";
const CONTAINER = "docker:index/container:Container";
const IMAGE = "docker:index/remoteImage:RemoteImage";
const NETWORK = "docker:index/network:Network";
const PASSWORD = "random:index/randomPassword:RandomPassword";
const SERVICE = "coupon-load-test:docker:Service";
const VOLUME = "docker:index/volume:Volume";

let leave: () => void;
beforeAll(() => {
  leave = enterProjectCopy("examples", "k6");
});
afterAll(() => leave());

/** Each resource's parent, by `<type>::<name>`. */
const parents = ({ all }: Recording) =>
  Object.fromEntries(all.map(({ type, name, parent }) => [`${type}::${name}`, parent]));

const healthcheck = (command: string) => ({
  tests: ["CMD-SHELL", command],
  interval: "10s",
  timeout: "5s",
  retries: 6,
});

/** What all containers have in common. */
const common = {
  capabilities: { drops: ["ALL"] },
  securityOpts: ["no-new-privileges"],
  readOnly: true,
  tmpfs: { "/tmp": "" },
  cpuPeriod: 100_000,
  ulimits: [{ name: "nproc", soft: 4096, hard: 4096 }],
  restart: "unless-stopped",
  logDriver: "json-file",
  logOpts: { "max-size": "10m", "max-file": "2" },
};

const influxdbArgs = {
  image: "influxdb:1.8.10",
  database: "k6",
  retention: "12h",
  historyRetention: "104w",
  memory: 2048,
};
const grafanaArgs = { image: "grafana/grafana:12.4.0", contacts: [] };
/** Where a server is, in Docker. */
const placeOf = (service: string, port: number, network = stackNetwork("dev-network")) =>
  inDocker(service, {
    containerName: `coupon-load-test-dev-${service}`,
    ...{ network, address: "127.0.0.1", port },
  });
const serversIn = (network: docker.Network) => {
  const influxdb = new InfluxDb("influxdb", {
    ...influxdbArgs,
    place: placeOf("influxdb", 18086, network),
  });
  const place = placeOf("grafana", 13000, network);
  return { influxdb, grafana: new Grafana("grafana", { ...grafanaArgs, place, influxdb }) };
};
const contacts: AlertContact[] = [
  { kind: "webhook", url: "http://hooks.example/secret" },
  { kind: "email", addresses: ["a@example.com"] },
];

describe("the network", () => {
  test("has the given name and goes before its successor comes", async () => {
    const recording = recordPulumi();
    stackNetwork("coupon-load-test-dev-network");
    await recording.done();
    expect(recording.refs).toEqual([`${NETWORK}::network`]);
    expect(recording.get(NETWORK, "network")).toMatchObject({
      inputs: { name: "coupon-load-test-dev-network" },
      parent: "",
      deleteBeforeReplace: true,
    });
  });
});

describe("a service", () => {
  async function service(more: object) {
    const recording = recordPulumi();
    const { container } = new Service("web", {
      image: "web:1",
      containerName: "dev-web",
      network: stackNetwork("dev-network"),
      alias: "www",
      healthCheck: "true",
      memory: 64,
      cpus: 3,
      ...more,
    });
    await recording.done();
    return { recording, container };
  }

  test("without port, data and files is an image and a container, and no volume", async () => {
    const { recording, container } = await service({});
    expect(parents(recording)).toEqual({
      [`${SERVICE}::web`]: "",
      [`${IMAGE}::web-image`]: `${SERVICE}::web`,
      [`${CONTAINER}::web-container`]: `${SERVICE}::web`,
      [`${NETWORK}::network`]: "",
    });
    expect(recording.get(CONTAINER, "web-container").inputs).toEqual({
      ...common,
      name: "dev-web",
      image: "sha256 of web:1",
      networksAdvanced: [{ name: "dev-network", aliases: ["www"] }],
      healthcheck: healthcheck("true"),
      memory: 64,
      memorySwap: 64,
      cpuQuota: 300_000,
    });
    expect(await valueOf(container.id)).toBe("id of web-container");
  });

  test("leaves its image on the machine when it goes", async () => {
    const { recording } = await service({});
    expect(recording.get(IMAGE, "web-image").inputs).toEqual({ name: "web:1", keepLocally: true });
  });

  test("publishes its port on the given address only", async () => {
    const port = { internal: 80, external: 8080, address: "192.0.2.1" };
    const { recording } = await service({ port });
    expect(recording.get(CONTAINER, "web-container").inputs.ports).toEqual([
      { internal: 80, external: 8080, ip: "192.0.2.1" },
    ]);
  });

  test("runs as the given user", async () => {
    const { recording } = await service({ user: "nobody" });
    expect(recording.get(CONTAINER, "web-container").inputs.user).toBe("nobody");
  });

  test("keeps its data in a volume of the container's name", async () => {
    const { recording } = await service({ data: "/data" });
    expect(recording.get(VOLUME, "web-data")).toMatchObject({
      inputs: { name: "dev-web" },
      parent: `${SERVICE}::web`,
    });
    expect(recording.get(CONTAINER, "web-container").inputs.volumes).toEqual([
      { volumeName: "dev-web", containerPath: "/data" },
    ]);
  });

  test("hands command, environment and files on; only with files it may write anywhere", async () => {
    const given = { command: ["serve", "-v"], uploads: [{ file: "/etc/web", content: "x" }] };
    const { recording } = await service({ ...given, env: ["A=1", "B=2"] });
    expect(recording.get(CONTAINER, "web-container").inputs).toMatchObject({
      ...given,
      envs: ["A=1", "B=2"],
      readOnly: false,
    });
  });

  test("is made again when its health check changes, the old one going first", async () => {
    const { recording } = await service({});
    expect(recording.get(CONTAINER, "web-container")).toMatchObject({
      replaceOnChanges: ["healthcheck"],
      deleteBeforeReplace: true,
    });
  });
});

describe("a generated password", () => {
  test("is 32 letters and digits, and secret", async () => {
    const recording = recordPulumi();
    const parent = stackNetwork("any");
    const password = generatedPassword("some-password", parent);
    await recording.done();
    expect(recording.get(PASSWORD, "some-password")).toMatchObject({
      inputs: { length: 32, special: false },
      parent: `${NETWORK}::network`,
      secretOutputs: ["bcryptHash", "result"],
    });
    expect(await valueOf(password)).toBe("generated-some-password");
  });
});

describe("InfluxDB", () => {
  const INFLUXDB = "coupon-load-test:index:InfluxDb::influxdb";
  const ADMIN = "pulumi-nodejs:dynamic/influxdb:Admin";
  const DATABASE = "pulumi-nodejs:dynamic/influxdb:Database";
  const USER = "pulumi-nodejs:dynamic/influxdb:User";
  const volume = `${VOLUME}::influxdb-data`;
  const admin = {
    url: "http://127.0.0.1:18086",
    adminUsername: "admin",
    adminPassword: secret(generated("influxdb-admin-password")),
  };
  const HISTORY = "pulumi-nodejs:dynamic/influxdb:RetentionPolicy";
  let recording: Recording;
  let influxdb: InfluxDb;

  beforeAll(async () => {
    recording = recordPulumi();
    influxdb = new InfluxDb("influxdb", { ...influxdbArgs, place: placeOf("influxdb", 18086) });
    await recording.done();
  });

  test("is a service, an administrator, a database, two users and their passwords", () => {
    expect(parents(recording)).toEqual({
      [INFLUXDB]: "",
      [`${NETWORK}::network`]: "",
      [`${SERVICE}::influxdb`]: INFLUXDB,
      [`${IMAGE}::influxdb-image`]: `${SERVICE}::influxdb`,
      [`${VOLUME}::influxdb-data`]: `${SERVICE}::influxdb`,
      [`${CONTAINER}::influxdb-container`]: `${SERVICE}::influxdb`,
      [`${PASSWORD}::influxdb-admin-password`]: INFLUXDB,
      [`${PASSWORD}::influxdb-k6-password`]: INFLUXDB,
      [`${PASSWORD}::influxdb-grafana-password`]: INFLUXDB,
      [`${ADMIN}::influxdb-admin`]: INFLUXDB,
      [`${DATABASE}::influxdb-database`]: INFLUXDB,
      [`${HISTORY}::influxdb-history`]: INFLUXDB,
      [`${USER}::influxdb-k6`]: INFLUXDB,
      [`${USER}::influxdb-grafana`]: INFLUXDB,
    });
  });

  test("runs the given image, as root, with authentication on and no body limit", () => {
    expect(recording.get(IMAGE, "influxdb-image").inputs.name).toBe("influxdb:1.8.10");
    expect(recording.get(CONTAINER, "influxdb-container").inputs).toEqual({
      ...common,
      capabilities: { drops: ["ALL"], adds: ["CAP_DAC_OVERRIDE"] },
      name: "coupon-load-test-dev-influxdb",
      image: "sha256 of influxdb:1.8.10",
      user: "0",
      envs: [
        "INFLUXDB_HTTP_AUTH_ENABLED=true",
        "INFLUXDB_HTTP_LOG_ENABLED=false",
        "INFLUXDB_HTTP_MAX_BODY_SIZE=0",
        "INFLUXDB_REPORTING_DISABLED=true",
        "INFLUXDB_MONITOR_STORE_ENABLED=false",
        "INFLUXDB_DATA_MAX_VALUES_PER_TAG=10000",
        "INFLUXDB_DATA_MAX_SERIES_PER_DATABASE=300000",
        "INFLUXDB_COORDINATOR_MAX_SELECT_POINT=5000000",
        "INFLUXDB_COORDINATOR_MAX_SELECT_BUCKETS=100000",
        "INFLUXDB_COORDINATOR_MAX_CONCURRENT_QUERIES=50",
        "INFLUXDB_COORDINATOR_QUERY_TIMEOUT=60s",
        "INFLUXDB_COORDINATOR_LOG_QUERIES_AFTER=10s",
      ],
      networksAdvanced: [{ name: "dev-network", aliases: ["influxdb"] }],
      ports: [{ internal: 8086, external: 18086, ip: "127.0.0.1" }],
      volumes: [
        { volumeName: "coupon-load-test-dev-influxdb", containerPath: "/var/lib/influxdb" },
      ],
      healthcheck: healthcheck("wget -q -O /dev/null http://127.0.0.1:8086/ping"),
      memory: 2048,
      memorySwap: 2048,
      cpuQuota: 400_000,
    });
  });

  test("proves its administrator again whenever the container is another", () => {
    const { inputs, deletedWith } = recording.get(ADMIN, "influxdb-admin");
    expect(inputs).toEqual({ ...admin, container: "id of influxdb-container" });
    expect(deletedWith).toBe(volume);
  });

  test("makes the database once the administrator is proved", () => {
    const database = recording.get(DATABASE, "influxdb-database");
    expect(database.inputs).toEqual({ ...admin, database: "k6", retention: "12h" });
    expect(database.dependencies).toContain(`${ADMIN}::influxdb-admin`);
    expect(database.deletedWith).toBe(volume);
  });

  test("keeps the ledger and figures of runs longer, in a policy of their own", () => {
    const policy = recording.get(HISTORY, "influxdb-history");
    const wanted = { name: "history", database: "k6", retention: "104w" };
    expect(policy.inputs).toEqual({ ...admin, ...wanted });
    expect(policy.dependencies).toContain(`${DATABASE}::influxdb-database`);
  });

  test.each([
    ["k6", "WRITE"],
    ["grafana", "READ"],
  ])("gives %s the privilege to %s and nothing else, once there is a database", (name, may) => {
    const user = recording.get(USER, `influxdb-${name}`);
    expect(user.inputs).toEqual({
      ...admin,
      username: name,
      password: secret(generated(`influxdb-${name}-password`)),
      database: "k6",
      privilege: may,
    });
    expect(user.dependencies).toContain(`${DATABASE}::influxdb-database`);
    expect(user.deletedWith).toBe(volume);
  });

  test("keeps passwords secret in the state of everything that holds one", () => {
    for (const type of [ADMIN, DATABASE, USER]) {
      for (const { secretOutputs } of recording.ofType(type)) {
        expect(secretOutputs).toEqual(["adminPassword", "firstPassword", "password"]);
      }
    }
  });

  test("stores providers whose code holds no password", () => {
    for (const type of [ADMIN, DATABASE, USER]) {
      for (const { code } of recording.ofType(type)) {
        expect(code).toContain("exports.handler");
        expect(code).not.toContain("generated-");
      }
    }
  });

  test("tells its addresses, its database and its users", async () => {
    expect(influxdb.url).toBe("http://127.0.0.1:18086");
    expect(influxdb.networkUrl).toBe("http://influxdb:8086");
    expect(influxdb.podUrl).toBeUndefined();
    expect(influxdb.database).toBe("k6");
    expect(await valueOf(influxdb.writer)).toEqual({
      username: "k6",
      password: "generated-influxdb-k6-password",
    });
    expect(await valueOf(influxdb.reader)).toEqual({
      username: "grafana",
      password: "generated-influxdb-grafana-password",
    });
  });
});

describe("Grafana", () => {
  const GRAFANA = "coupon-load-test:index:Grafana::grafana";
  const ADMIN = "pulumi-nodejs:dynamic/grafana:Admin";
  let recording: Recording;
  let grafana: Grafana;

  beforeAll(async () => {
    recording = recordPulumi();
    const place = placeOf("grafana", 13000);
    const influxdb = { url: "http://127.0.0.1:18086" };
    grafana = new Grafana("grafana", { ...grafanaArgs, place, influxdb });
    await recording.done();
  });

  test("is a service, three passwords, an administrator and a provider", () => {
    expect(parents(recording)).toEqual({
      [GRAFANA]: "",
      [`${NETWORK}::network`]: "",
      [`${SERVICE}::grafana`]: GRAFANA,
      [`${IMAGE}::grafana-image`]: `${SERVICE}::grafana`,
      [`${VOLUME}::grafana-data`]: `${SERVICE}::grafana`,
      [`${CONTAINER}::grafana-container`]: `${SERVICE}::grafana`,
      [`${PASSWORD}::grafana-admin-password`]: GRAFANA,
      [`${PASSWORD}::grafana-first-password`]: GRAFANA,
      [`${PASSWORD}::grafana-secret-key`]: GRAFANA,
      [`${ADMIN}::grafana-admin`]: GRAFANA,
      ["pulumi:providers:grafana::grafana-provider"]: GRAFANA,
    });
  });

  test("reads its passwords from secret files, lets nobody else in and calls nobody", () => {
    expect(recording.get(IMAGE, "grafana-image").inputs.name).toBe("grafana/grafana:12.4.0");
    expect(recording.get(CONTAINER, "grafana-container").inputs).toEqual({
      ...common,
      name: "coupon-load-test-dev-grafana",
      image: "sha256 of grafana/grafana:12.4.0",
      envs: [
        "GF_SECURITY_ADMIN_PASSWORD=$__file{/etc/grafana/admin-password}",
        "GF_SECURITY_SECRET_KEY=$__file{/etc/grafana/secret-key}",
        "GF_SERVER_ROOT_URL=http://127.0.0.1:13000/",
        "GF_AUTH_ANONYMOUS_ENABLED=false",
        "GF_USERS_ALLOW_SIGN_UP=false",
        "GF_ANALYTICS_REPORTING_ENABLED=false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES=false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false",
        "GF_PLUGINS_PREINSTALL_DISABLED=true",
        "GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED=true",
        "GF_NEWS_NEWS_FEED_ENABLED=false",
        "GF_SECURITY_DISABLE_GRAVATAR=true",
      ],
      uploads: secret([
        { file: "/etc/grafana/admin-password", content: generated("grafana-first-password") },
        { file: "/etc/grafana/secret-key", content: generated("grafana-secret-key") },
      ]),
      networksAdvanced: [{ name: "dev-network", aliases: ["grafana"] }],
      ports: [{ internal: 3000, external: 13000, ip: "127.0.0.1" }],
      volumes: [{ volumeName: "coupon-load-test-dev-grafana", containerPath: "/var/lib/grafana" }],
      readOnly: false,
      healthcheck: healthcheck("wget -q -O /dev/null http://127.0.0.1:3000/api/health"),
      memory: 1024,
      memorySwap: 1024,
      cpuQuota: 200_000,
    });
  });

  test("has its administrator's password set, again whenever the container is another", () => {
    const { inputs, deletedWith, secretOutputs, code } = recording.get(ADMIN, "grafana-admin");
    expect(inputs).toEqual({
      url: "http://127.0.0.1:13000",
      username: "admin",
      password: secret("generated-grafana-admin-password"),
      firstPassword: secret("generated-grafana-first-password"),
      container: "id of grafana-container",
    });
    expect(deletedWith).toBe(`${VOLUME}::grafana-data`);
    expect(secretOutputs).toEqual(["adminPassword", "firstPassword", "password"]);
    expect(code).not.toContain("generated-");
  });

  test("is managed as its administrator, once it is let in, at an address known before", () => {
    const provider = recording.get("pulumi:providers:grafana", "grafana-provider");
    expect(provider.inputs).toEqual({
      url: "http://127.0.0.1:13000",
      auth: secret("admin:generated-grafana-admin-password"),
    });
    expect(provider.dependencies).toEqual([
      `${ADMIN}::grafana-admin`,
      `${PASSWORD}::grafana-admin-password`,
    ]);
  });

  test("tells its address and its administrator", async () => {
    expect(grafana.url).toBe("http://127.0.0.1:13000");
    expect(await valueOf(grafana.admin)).toEqual({
      username: "admin",
      password: "generated-grafana-admin-password",
    });
    expect(await valueOf((grafana.volume as docker.Volume).id)).toBe("id of grafana-data");
  });
});

describe("the dashboards", () => {
  const DASHBOARDS = "coupon-load-test:index:Dashboards::dashboards";
  const DATA_SOURCE = "grafana:oss/dataSource:DataSource";
  const FOLDER = "grafana:oss/folder:Folder";
  const DASHBOARD = "grafana:oss/dashboard:Dashboard";
  const ALERTS = "coupon-load-test:index:Alerts::dashboards-alerts";
  const RULES = "grafana:alerting/ruleGroup:RuleGroup";
  const CONTACT = "grafana:alerting/contactPoint:ContactPoint";
  const POLICY = "grafana:alerting/notificationPolicy:NotificationPolicy";
  const thresholds = { ...defaultThresholds, p95Ms: 250, p99Ms: 750 };
  let recording: Recording;
  let dashboards: Dashboards;

  beforeAll(async () => {
    recording = recordPulumi();
    const servers = serversIn(stackNetwork("dev-network"));
    const stack = { stack: "dev", thresholds, profile: defaultProfile, contacts };
    dashboards = new Dashboards("dashboards", { ...stack, ...servers });
    await recording.done();
  });

  test("are a data source, a folder, two dashboards and alerts", () => {
    const own = recording.all.filter(({ parent }) => parent === DASHBOARDS);
    expect(own.map(({ type, name }) => `${type}::${name}`).sort()).toEqual([
      ALERTS,
      `${DASHBOARD}::dashboards-coupon-issue`,
      `${DASHBOARD}::dashboards-coupon-issue-runs`,
      `${DATA_SOURCE}::dashboards-influxdb`,
      `${FOLDER}::dashboards-folder`,
    ]);
  });

  test("are made by the stack's own provider, and go with Grafana's volume", () => {
    const types = [DATA_SOURCE, FOLDER, DASHBOARD, RULES, CONTACT, POLICY];
    const made = types.map((type) => recording.ofType(type));
    expect(made.map(({ length }) => length)).toEqual([1, 1, 2, 1, 1, 1]);
    for (const each of made.flat()) {
      expect(each.provider).toBe("pulumi:providers:grafana::grafana-provider");
      expect(each.deletedWith).toBe(`${VOLUME}::grafana-data`);
    }
  });

  test("read InfluxDB by its name in the network, as the user that may only read", () => {
    expect(recording.get(DATA_SOURCE, "dashboards-influxdb").inputs).toEqual({
      uid: "k6-influxdb",
      type: "influxdb",
      name: "k6",
      url: "http://influxdb:8086",
      username: "grafana",
      isDefault: true,
      databaseName: "k6",
      jsonDataEncoded: '{"dbName":"k6","httpMode":"GET"}',
      secureJsonDataEncoded: secret('{"password":"generated-influxdb-grafana-password"}'),
    });
  });

  test("lie in a folder of their own", () => {
    const { inputs } = recording.get(FOLDER, "dashboards-folder");
    expect(inputs).toEqual({ uid: "load-tests", title: "Load tests" });
  });

  test("show the stack's data source, thresholds and arrival rate", () => {
    const { configJson, ...rest } = recording.get(DASHBOARD, "dashboards-coupon-issue").inputs;
    expect(rest).toEqual({ folder: "load-tests", overwrite: true });
    expect(JSON.parse(configJson as string)).toEqual(
      couponIssueDashboard({
        uid: "coupon-issue",
        dataSourceUid: "k6-influxdb",
        thresholds,
        retention: "12h",
        profile: defaultProfile,
      }),
    );
  });

  test("watch the limits with alert rules, and tell the contacts", () => {
    const { rules } = recording.get(RULES, "dashboards-alerts-rules").inputs as { rules: any[] };
    expect(rules.map(({ name }) => name)).toEqual(alertRules(thresholds).map(({ name }) => name));
    const { inputs } = recording.get(CONTACT, "dashboards-alerts-contact");
    expect(inputs.webhooks).toEqual(secret([{ url: "http://hooks.example/secret" }]));
    expect(inputs.emails).toEqual([{ addresses: ["a@example.com"] }]);
  });

  test("try the contacts before they are told anything", () => {
    const tested = recording.get(COMMAND, "dashboards-alerts-contacts-tested");
    const { value } = tested.inputs.stdin as { value: string };
    expect(tested.inputs.stdin).toEqual(secret(value));
    expect(JSON.parse(value)).toEqual({
      grafana: {
        url: "http://127.0.0.1:13000",
        username: "admin",
        password: "generated-grafana-admin-password",
      },
      contacts,
    });
    // A new password of Grafana's is no reason to write to anybody.
    expect(tested.inputs.update).toBe("runner/print-previous.ts");
    expect(tested.inputs.triggers).toEqual(secret([JSON.stringify(contacts)]));
    const { dependencies } = recording.get(CONTACT, "dashboards-alerts-contact");
    expect(dependencies).toContain(`${COMMAND}::dashboards-alerts-contacts-tested`);
  });

  test("tell nobody where the configuration names nobody", async () => {
    const recording = recordPulumi();
    const servers = serversIn(stackNetwork("dev-network"));
    const stack = { stack: "dev", thresholds, contacts: [] };
    new Dashboards("dashboards", { ...stack, ...servers });
    await recording.done();
    expect(recording.ofType(RULES)).toHaveLength(1);
    expect([...recording.ofType(CONTACT), ...recording.ofType(POLICY)]).toEqual([]);
  });

  test("have an address that is known before Grafana runs", () => {
    expect(dashboards.url).toBe("http://127.0.0.1:13000/d/coupon-issue");
  });
});

describe("the coupon API", () => {
  const COUPON_API = "coupon-load-test:index:CouponApi::coupon-api";
  const args = {
    nodeImage: "node:22-alpine",
    redisImage: "redis:7.4-alpine",
    containerName: "coupon-load-test-dev-coupon-api",
    address: "127.0.0.1",
    port: 18080,
    couponId: 7,
    stock: 900,
  };
  let recording: Recording;
  let api: CouponApi;
  let hash: string;

  beforeAll(async () => {
    // Only now, since the bundler takes the folder that it is loaded in for the project's.
    const { CouponApi } = await import("../../components/coupon-api.js");
    recording = recordPulumi();
    const network = stackNetwork("dev-network");
    api = new CouponApi("coupon-api", { ...args, network });
    await recording.done();
    hash = crypto.createHash("sha256").update(fs.readFileSync("build/coupon-api.js")).digest("hex");
  });

  test("is two services, its own and its Redis's, without volumes", () => {
    expect(parents(recording)).toEqual({
      [COUPON_API]: "",
      [`${NETWORK}::network`]: "",
      [`${SERVICE}::coupon-api`]: COUPON_API,
      [`${IMAGE}::coupon-api-image`]: `${SERVICE}::coupon-api`,
      [`${CONTAINER}::coupon-api-container`]: `${SERVICE}::coupon-api`,
      [`${SERVICE}::coupon-api-redis`]: COUPON_API,
      [`${IMAGE}::coupon-api-redis-image`]: `${SERVICE}::coupon-api-redis`,
      [`${CONTAINER}::coupon-api-redis-container`]: `${SERVICE}::coupon-api-redis`,
    });
  });

  test("keeps its coupons in a Redis that no port leads to and that keeps nothing on disk", () => {
    expect(recording.get(IMAGE, "coupon-api-redis-image").inputs.name).toBe("redis:7.4-alpine");
    expect(recording.get(CONTAINER, "coupon-api-redis-container").inputs).toEqual({
      ...common,
      name: "coupon-load-test-dev-coupon-api-redis",
      image: "sha256 of redis:7.4-alpine",
      command: ["redis-server", '--save ""'],
      networksAdvanced: [{ name: "dev-network", aliases: ["redis"] }],
      healthcheck: healthcheck("redis-cli ping | grep -q PONG"),
      user: "redis",
      memory: 256,
      memorySwap: 256,
      cpuQuota: 100_000,
    });
  });

  test("runs its bundle on the given port, with its coupon and stock", () => {
    expect(recording.get(IMAGE, "coupon-api-image").inputs.name).toBe("node:22-alpine");
    expect(recording.get(CONTAINER, "coupon-api-container").inputs).toEqual({
      ...common,
      name: "coupon-load-test-dev-coupon-api",
      image: "sha256 of node:22-alpine",
      command: ["node", "/srv/coupon-api.js"],
      envs: ["REDIS_URL=redis://redis:6379", "COUPON_ID=7", "COUPON_STOCK=900"],
      uploads: [
        {
          file: "/srv/coupon-api.js",
          ...{ source: "build/coupon-api.js", sourceHash: hash },
        },
      ],
      readOnly: false,
      networksAdvanced: [{ name: "dev-network", aliases: ["coupon-api"] }],
      ports: [{ internal: 8080, external: 18080, ip: "127.0.0.1" }],
      healthcheck: healthcheck("wget -q -O /dev/null http://127.0.0.1:8080/health"),
      user: "node",
      memory: 512,
      memorySwap: 512,
      cpuQuota: 200_000,
    });
  });

  test("is one file that needs nothing but Node.js", () => {
    const bundle = fs.readFileSync("build/coupon-api.js", "utf8");
    // Not those in quotes, which are code that a library writes.
    const required = [...bundle.matchAll(/(?<!['"`])\brequire\("([^"]+)"\)/g)];
    const names = required.map(([, name]) => name.replace("node:", ""));
    expect(names).toContain("http");
    expect(names.filter((name) => !builtinModules.includes(name))).toEqual([]);
  });

  test("tells its addresses, and where to ask for its health", () => {
    expect(api.url).toBe("http://127.0.0.1:18080");
    expect(api.networkUrl).toBe("http://coupon-api:8080");
    expect(api.podUrl).toBeUndefined();
    expect(api.health).toBe("/health");
  });

  test("is another version when its code, an image, its coupon or its stock is another", () => {
    expect(api.version).toBe(
      `${hash} node:22-alpine redis:7.4-alpine ` +
        `REDIS_URL=redis://redis:6379 COUPON_ID=7 COUPON_STOCK=900`,
    );
  });
});

describe("what a cluster's pods reach", () => {
  let recording: Recording;
  let influxdb: InfluxDb;
  let api: CouponApi;

  beforeAll(async () => {
    const { CouponApi } = await import("../../components/coupon-api.js");
    recording = recordPulumi();
    const network = stackNetwork("dev-network");
    const there = { address: "0.0.0.0", podHost: "192.0.2.1", network };
    const place = inDocker("influxdb", { ...there, containerName: "dev-influxdb", port: 18086 });
    influxdb = new InfluxDb("influxdb", { ...influxdbArgs, place });
    api = new CouponApi("coupon-api", {
      ...there,
      ...{ nodeImage: "node:22-alpine", redisImage: "redis:7.4-alpine", port: 18080 },
      ...{ containerName: "coupon-load-test-dev-coupon-api", couponId: 7, stock: 900 },
    });
    await recording.done();
  });

  test("is published where the pods' host is", () => {
    const ports = (name: string) => recording.get(CONTAINER, name).inputs.ports;
    expect(ports("influxdb-container")).toEqual([
      { internal: 8086, external: 18086, ip: "0.0.0.0" },
    ]);
    expect(ports("coupon-api-container")).toEqual([
      { internal: 8080, external: 18080, ip: "0.0.0.0" },
    ]);
  });

  test("has an address for them, besides this machine's", () => {
    expect([influxdb.url, influxdb.podUrl]).toEqual([
      "http://127.0.0.1:18086",
      "http://192.0.2.1:18086",
    ]);
    expect([api.url, api.podUrl]).toEqual(["http://127.0.0.1:18080", "http://192.0.2.1:18080"]);
  });
});

describe("the cluster", () => {
  const CLUSTER = "coupon-load-test:index:K6Cluster::k6-cluster";
  const PROVIDER = "pulumi:providers:kubernetes";
  const NAMESPACE = "kubernetes:core/v1:Namespace";
  const ACCOUNT = "kubernetes:core/v1:ServiceAccount";
  const QUOTA = "kubernetes:core/v1:ResourceQuota";
  const POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy";
  const CHART = "kubernetes:helm.sh/v4:Chart";
  const namespace = "coupon-load-test-dev";
  const args: K6ClusterArgs = {
    ...{ kind: "kubernetes", context: "lab", namespace, image: "grafana/k6:1.8.1" },
    ...{ starterImage: "starter:1", parallelism: 4, cpu: "500m", binary: "k6" },
    release: "k6-operator-dev",
    operator: {
      chart: "https://charts.example",
      version: "4.6.0",
      image: "ghcr.io/grafana/k6-operator:controller-v1.6.0",
    },
    reaches: [
      { url: "http://127.0.0.1:18086", networkUrl: "http://x", podUrl: "http://192.0.2.1:18086" },
      { url: "https://api.example.com" },
    ],
  };
  const build = async (changed: Partial<K6ClusterArgs> = {}) => {
    const recording = recordPulumi({ [CHART]: () => ({ resources: [] }) });
    const { cluster } = new K6Cluster("k6-cluster", { ...args, ...changed });
    await recording.done();
    const spec = (type: string) => recording.ofType(type)[0].inputs.spec as any;
    return { recording, cluster, spec };
  };
  const restricted = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
    "pod-security.kubernetes.io/audit": "restricted",
    "pod-security.kubernetes.io/audit-version": "latest",
    "pod-security.kubernetes.io/warn": "restricted",
    "pod-security.kubernetes.io/warn-version": "latest",
  };

  test("is a namespace with its bounds, and the operator in another", async () => {
    const { recording } = await build();
    expect(parents(recording)).toEqual({
      [CLUSTER]: "",
      [`${PROVIDER}::k6-cluster-provider`]: CLUSTER,
      [`${NAMESPACE}::k6-cluster-operator-namespace`]: CLUSTER,
      [`${CHART}::k6-cluster-operator`]: CLUSTER,
      [`${NAMESPACE}::k6-cluster-namespace`]: CLUSTER,
      [`${ACCOUNT}::k6-cluster-account`]: CLUSTER,
      [`${QUOTA}::k6-cluster-quota`]: CLUSTER,
      [`${POLICY}::k6-cluster-network-policy`]: CLUSTER,
    });
  });

  test("is the context's: another context is another cluster", async () => {
    // The variable's text would be in the state, and of two files the provider would find neither.
    vi.stubEnv("KUBECONFIG", "/home/user/a:/home/user/b");
    const { recording } = await build();
    vi.unstubAllEnvs();
    expect(recording.get(PROVIDER, "k6-cluster-provider")).toMatchObject({
      inputs: { context: "lab", clusterIdentifier: "lab", kubeconfig: "" },
      deleteBeforeReplace: true,
    });
    for (const each of recording.all.filter(({ type }) => type.startsWith("kubernetes:"))) {
      expect([each.type, each.provider]).toEqual([
        each.type,
        // A component that the provider itself makes gets it in another way.
        each.type === CHART ? each.provider : `${PROVIDER}::k6-cluster-provider`,
      ]);
    }
  });

  test("lets none but restricted pods into both namespaces", async () => {
    const { recording } = await build();
    const metadata = (name: string) => recording.get(NAMESPACE, name).inputs.metadata;
    expect(metadata("k6-cluster-namespace")).toEqual({ name: namespace, labels: restricted });
    expect(metadata("k6-cluster-operator-namespace")).toEqual({
      ...{ name: "k6-operator-system", labels: restricted },
    });
  });

  test("has an account without rights, whose token no pod gets", async () => {
    const { recording } = await build();
    expect(recording.get(ACCOUNT, "k6-cluster-account").inputs).toMatchObject({
      metadata: { name: "k6", namespace },
      automountServiceAccountToken: false,
    });
    expect(recording.all.filter(({ type }) => /Role|Binding/.test(type))).toEqual([]);
  });

  test.each([
    [4, "500m", "6", "2200m"],
    [2, "1", "4", "2200m"],
    [1, "0.8", "3", "1"],
    [3, "2.6", "5", "8"],
    [1000, "999.999", "1002", "999999200m"],
  ])(
    "has room for one run of %i runners with %s processors",
    async (parallelism, cpu, pods, all) => {
      const { recording } = await build({ parallelism, cpu });
      const { metadata, spec } = recording.get(QUOTA, "k6-cluster-quota").inputs as any;
      expect(metadata).toEqual({ name: "one-run", namespace });
      expect(spec).toEqual({
        hard: { pods, "requests.cpu": all },
      });
    },
  );

  const control = [{ protocol: "TCP", port: 6565 }];
  const operators = { matchLabels: { "kubernetes.io/metadata.name": "k6-operator-system" } };

  test("lets pods reach each other's control, names, InfluxDB and the target, and nothing else", async () => {
    const { recording, spec } = await build();
    expect(recording.ofType(POLICY)[0].inputs.metadata).toEqual({ name: "run", namespace });
    expect(spec(POLICY)).toEqual({
      podSelector: {},
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ from: [{ podSelector: {} }, { namespaceSelector: operators }], ports: control }],
      egress: [
        { to: [{ podSelector: {} }], ports: control },
        {
          ports: [
            { protocol: "UDP", port: 53 },
            { protocol: "TCP", port: 53 },
          ],
        },
        {
          to: [{ ipBlock: { cidr: "192.0.2.1/32" } }],
          ports: [{ protocol: "TCP", port: 18086 }],
        },
        { ports: [{ protocol: "TCP", port: 443 }] },
      ],
    });
  });

  test.each([
    ["http://10.1.2.3", { to: [{ ipBlock: { cidr: "10.1.2.3/32" } }], ports: [80] }],
    ["https://10.1.2.3:8443/a", { to: [{ ipBlock: { cidr: "10.1.2.3/32" } }], ports: [8443] }],
    ["http://[2001:db8::1]", { ports: [80] }],
    ["http://api.local:81", { ports: [81] }],
    // The cluster's own services, whose pods may listen on another port.
    ...["http://api.shop.svc", "http://api.shop.svc.cluster.local:81"].map(
      (url): [string, object] => [
        url,
        {
          to: [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "shop" } } }],
        },
      ],
    ),
  ])("lets pods reach %s", async (url, way) => {
    const { spec } = await build({ reaches: [{ url }] });
    const { ports, ...rest } = spec(POLICY).egress[2];
    expect(spec(POLICY).egress).toHaveLength(3);
    expect({ ...rest, ...(ports && { ports: ports.map(({ port }: any) => port) }) }).toEqual(way);
  });

  test("is there once the operator is, so that the operator is the last to go", async () => {
    const { recording } = await build();
    const { dependencies } = recording.get(NAMESPACE, "k6-cluster-namespace");
    expect(dependencies).toEqual([`${CHART}::k6-cluster-operator`]);
  });

  test("has its bounds once the namespace is there, and they go with it", async () => {
    const { recording } = await build();
    for (const type of [ACCOUNT, QUOTA, POLICY]) {
      const [{ dependencies, deletedWith }] = recording.ofType(type);
      expect(dependencies).toContain(`${NAMESPACE}::k6-cluster-namespace`);
      expect(deletedWith).toBe(`${NAMESPACE}::k6-cluster-namespace`);
    }
  });

  test("gets the operator from its repository, pinned, restricted and with the given image", async () => {
    const { recording } = await build();
    const { inputs, dependencies } = recording.get(CHART, "k6-cluster-operator");
    expect(inputs).toEqual({
      name: "k6-operator-dev",
      namespace: "k6-operator-system",
      chart: "k6-operator",
      repositoryOpts: { repo: "https://charts.example" },
      version: "4.6.0",
      values: {
        namespace: { create: false },
        manager: {
          image: {
            registry: "ghcr.io",
            repository: "grafana/k6-operator",
            tag: "controller-v1.6.0",
          },
          podSecurityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
          containerSecurityContext: {
            allowPrivilegeEscalation: false,
            capabilities: { drop: ["ALL"] },
            readOnlyRootFilesystem: true,
          },
        },
      },
    });
    expect(dependencies).toContain(`${NAMESPACE}::k6-cluster-operator-namespace`);
  });

  test.each([
    ["oci://r.example/charts/k6-operator", "4.6.0"],
    ["./charts/k6-operator", undefined],
    ["k6-operator-4.6.0.tgz", undefined],
  ])("gets the operator from %s", async (chart, version) => {
    const { recording } = await build({ operator: { ...args.operator!, chart } });
    const { inputs } = recording.get(CHART, "k6-cluster-operator");
    expect([inputs.chart, inputs.version, inputs.repositoryOpts]).toEqual([
      ...[chart, version, undefined],
    ]);
  });

  test.each([
    ["operator:1", "docker.io", "library/operator", "1"],
    ["team/operator:1", "team", "operator", "1"],
    ["r.example:5000/a/b/operator:1.2-x", "r.example:5000", "a/b/operator", "1.2-x"],
    ["r.example/operator@sha256:0a", "r.example", "operator@sha256", "0a"],
    ["r.example/operator:1@sha256:0a", "r.example", "operator:1@sha256", "0a"],
  ])("takes the image %s apart as the chart wants it", async (image, registry, repository, tag) => {
    const { recording } = await build({ operator: { ...args.operator!, image } });
    const { values } = recording.get(CHART, "k6-cluster-operator").inputs as any;
    expect(values.manager.image).toEqual({ registry, repository, tag });
  });

  test("with an operator already has none of its own, and lets any namespace control runners", async () => {
    const { recording, spec } = await build({ operator: undefined });
    expect(recording.ofType(CHART)).toEqual([]);
    expect(recording.ofType(NAMESPACE).map(({ name }) => name)).toEqual(["k6-cluster-namespace"]);
    expect(spec(POLICY).ingress).toEqual([
      { from: [{ podSelector: {} }, { namespaceSelector: {} }], ports: control },
    ]);
  });

  test("tells a run where it is made, and no more than it needs", async () => {
    expect((await build()).cluster).toEqual({
      ...{ kind: "kubernetes", context: "lab", namespace, serviceAccount: "k6" },
      ...{ image: "grafana/k6:1.8.1", starterImage: "starter:1", parallelism: 4, cpu: "500m" },
      binary: "k6",
    });
  });
});

describe("servers in a cluster", () => {
  const SERVERS = "coupon-load-test:kubernetes:Servers::servers";
  const KUBERNETES_SERVICE = "coupon-load-test:kubernetes:Service";
  const NAMESPACE = "kubernetes:core/v1:Namespace";
  const CLAIM = "kubernetes:core/v1:PersistentVolumeClaim";
  const SECRET = "kubernetes:core/v1:Secret";
  const SET = "kubernetes:apps/v1:StatefulSet";
  const DEPLOYMENT = "kubernetes:apps/v1:Deployment";
  const NODE_PORT = "kubernetes:core/v1:Service";
  const POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy";
  const uid = (name: string, inputs: any) => ({
    metadata: { name: `name of ${name}`, ...inputs.metadata, uid: `uid of ${name}` },
  });
  const namespace = "coupon-servers-dev";
  const smtp = { host: "mail.example:25", user: "", password: "of mail", from: "a@example.com" };
  const build = async (more: { keepData?: boolean } = {}) => {
    const types = [CLAIM, SECRET, SET, DEPLOYMENT, NODE_PORT];
    const recording = recordPulumi(Object.fromEntries(types.map((type) => [type, uid])));
    const servers = new Servers("servers", { context: "lab", namespace, keepData: false, ...more });
    const influxdb = new InfluxDb("influxdb", {
      ...influxdbArgs,
      place: servers.place("influxdb", { address: "192.0.2.10", port: 30086 }),
    });
    const grafana = new Grafana("grafana", {
      ...{ ...grafanaArgs, influxdb, contacts, smtp },
      place: servers.place("grafana", { address: "192.0.2.10", port: 30300 }),
    });
    await recording.done();
    return { recording, influxdb, grafana };
  };
  /** The template of the one pod. */
  const podOf = (recording: Recording, type: string) =>
    (recording.ofType(type)[0].inputs.spec as any).template.spec;

  test("are a claim, a pod, a service and a policy each, and Grafana's a secret", async () => {
    const { recording } = await build();
    const service = (name: string) => `${KUBERNETES_SERVICE}::${name}`;
    const own = Object.entries(parents(recording)).filter(([each]) => /kubernetes/.test(each));
    expect(Object.fromEntries(own)).toEqual({
      [SERVERS]: "",
      ["pulumi:providers:kubernetes::servers-provider"]: SERVERS,
      [`${NAMESPACE}::servers-namespace`]: SERVERS,
      [service("influxdb")]: "coupon-load-test:index:InfluxDb::influxdb",
      [`${CLAIM}::influxdb-data`]: service("influxdb"),
      [`${SET}::influxdb-stateful-set`]: service("influxdb"),
      [`${NODE_PORT}::influxdb-service`]: service("influxdb"),
      [`${POLICY}::influxdb-network-policy`]: service("influxdb"),
      [service("grafana")]: "coupon-load-test:index:Grafana::grafana",
      [`${CLAIM}::grafana-data`]: service("grafana"),
      [`${SECRET}::grafana-files`]: service("grafana"),
      [`${DEPLOYMENT}::grafana-deployment`]: service("grafana"),
      [`${NODE_PORT}::grafana-service`]: service("grafana"),
      [`${POLICY}::grafana-network-policy`]: service("grafana"),
    });
    for (const each of recording.all.filter(({ type }) => type.startsWith("kubernetes:"))) {
      expect(each.provider).toBe("pulumi:providers:kubernetes::servers-provider");
      if (each.type === NAMESPACE) continue;
      expect(each.deletedWith).toBe(`${NAMESPACE}::servers-namespace`);
      expect(each.dependencies).toContain(`${NAMESPACE}::servers-namespace`);
      expect((each.inputs.metadata as any).namespace).toBe(namespace);
    }
  });

  test("run as InfluxDB has it: one pod at a time, on its volume, with no right to more", async () => {
    const { recording } = await build();
    const labels = { "app.kubernetes.io/name": "influxdb" };
    const { template, ...spec } = recording.ofType(SET)[0].inputs.spec as any;
    expect(spec).toEqual({
      ...{ replicas: 1, serviceName: "influxdb", podManagementPolicy: "Parallel" },
      selector: { matchLabels: labels },
    });
    expect(template.metadata).toEqual({ labels });
    expect(template.spec).toEqual({
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: {
        ...{ runAsNonRoot: true, runAsUser: 1500, runAsGroup: 1500, fsGroup: 1500 },
        fsGroupChangePolicy: "OnRootMismatch",
        seccompProfile: { type: "RuntimeDefault" },
      },
      containers: [
        {
          name: "influxdb",
          image: "influxdb:1.8.10",
          env: Object.entries(influxDbSettings).map(([name, value]) => ({ name, value })),
          ports: [{ containerPort: 8086 }],
          readinessProbe: {
            ...{ httpGet: { path: "/ping", port: 8086 }, periodSeconds: 5, timeoutSeconds: 5 },
          },
          resources: {
            requests: { cpu: "500m", memory: "2Gi" },
            limits: { cpu: "4", memory: "2Gi" },
          },
          securityContext: {
            ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
            capabilities: { drop: ["ALL"] },
          },
          volumeMounts: [
            { name: "data", mountPath: "/var/lib/influxdb" },
            { name: "tmp", mountPath: "/tmp" },
          ],
        },
      ],
      volumes: [
        { name: "data", persistentVolumeClaim: { claimName: "influxdb" } },
        { name: "tmp", emptyDir: {} },
      ],
    });
  });

  test("have one Grafana go before the next one comes", async () => {
    const { recording } = await build();
    const deployment = recording.get(DEPLOYMENT, "grafana-deployment");
    expect(deployment).toMatchObject({
      inputs: { spec: { replicas: 1, strategy: { type: "Recreate" } } },
      ...{ replaceOnChanges: ["spec.template"], deleteBeforeReplace: true },
    });
    const { securityContext, containers } = podOf(recording, DEPLOYMENT);
    expect(securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 472, fsGroup: 472 });
    expect(containers[0].resources.requests).toEqual({ cpu: "250m", memory: "1Gi" });
  });

  test("get Grafana's passwords as files of a secret, and in no other way", async () => {
    const { recording } = await build();
    const { metadata, stringData } = recording.get(SECRET, "grafana-files").inputs;
    expect(metadata).toEqual({ namespace });
    const contents = {
      "admin-password": "generated-grafana-first-password",
      "secret-key": "generated-grafana-secret-key",
      "smtp-password": "of mail",
    };
    expect(stringData).toEqual(secret(contents));
    const pod = podOf(recording, DEPLOYMENT);
    expect(JSON.stringify(pod)).not.toMatch(/generated-|of mail/);
    const [{ volumeMounts, env }] = pod.containers;
    expect(volumeMounts).toEqual([
      { name: "data", mountPath: "/var/lib/grafana" },
      { name: "tmp", mountPath: "/tmp" },
      ...["admin-password", "secret-key", "smtp-password"].map((subPath) => ({
        ...{ name: "files", mountPath: `/etc/grafana/${subPath}`, subPath, readOnly: true },
      })),
    ]);
    expect(pod.volumes[2]).toEqual({
      ...{ name: "files", secret: { secretName: "name of grafana-files", defaultMode: 0o440 } },
    });
    expect(env).toContainEqual({
      name: "GF_SECURITY_ADMIN_PASSWORD",
      value: "$__file{/etc/grafana/admin-password}",
    });
  });

  test.each([
    ["influxdb", 8086, 30086, "10Gi"],
    ["grafana", 3000, 30300, "1Gi"],
  ])("have %s's port on all nodes, and a claim", async (name, port, nodePort, storage) => {
    const { recording } = await build();
    const { metadata, spec } = recording.get(NODE_PORT, `${name}-service`).inputs;
    const labels = { "app.kubernetes.io/name": name };
    expect(metadata).toEqual({ name, namespace, labels });
    expect(spec).toEqual({ type: "NodePort", selector: labels, ports: [{ port, nodePort }] });
    expect(recording.get(CLAIM, `${name}-data`).inputs).toMatchObject({
      metadata: { name, namespace },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage } } },
    });
  });

  test("let their own port in; InfluxDB asks nobody, Grafana only whom it must", async () => {
    const { recording } = await build();
    const policy = (name: string) =>
      recording.get(POLICY, `${name}-network-policy`).inputs.spec as any;
    const tcp = (port: number) => ({ ports: [{ protocol: "TCP", port }] });
    expect(policy("influxdb")).toEqual({
      podSelector: { matchLabels: { "app.kubernetes.io/name": "influxdb" } },
      policyTypes: ["Ingress", "Egress"],
      ingress: [tcp(8086)],
      egress: [],
    });
    const { ingress, egress } = policy("grafana");
    expect(ingress).toEqual([tcp(3000)]);
    const servers = { matchLabels: { "kubernetes.io/metadata.name": namespace } };
    expect(egress.slice(1)).toEqual([
      { to: [{ ipBlock: { cidr: "192.0.2.10/32" } }], ...tcp(30086) },
      { to: [{ namespaceSelector: servers }] },
      // The webhook's, whose host is a secret, and the mail server's.
      ...[tcp(80), tcp(25)],
    ]);
  });

  test("are proved again whenever the pod's owner or its service is another", async () => {
    const { recording, influxdb, grafana } = await build();
    const admin = recording.get("pulumi-nodejs:dynamic/influxdb:Admin", "influxdb-admin");
    expect(admin.inputs).toMatchObject({
      url: "http://192.0.2.10:30086",
      container: "uid of influxdb-stateful-set uid of influxdb-service",
    });
    expect(admin.deletedWith).toBe(`${CLAIM}::influxdb-data`);
    expect(recording.get("pulumi-nodejs:dynamic/grafana:Admin", "grafana-admin")).toMatchObject({
      inputs: { container: "uid of grafana-deployment uid of grafana-service" },
      deletedWith: `${CLAIM}::grafana-data`,
    });
    expect([influxdb.url, influxdb.podUrl, influxdb.networkUrl, influxdb.namespace]).toEqual([
      ...["http://192.0.2.10:30086", undefined, undefined, namespace],
    ]);
    expect(grafana.url).toBe("http://192.0.2.10:30300");
  });

  test("take restricted pods only, and keep their claims where they are told to", async () => {
    const { recording } = await build({ keepData: true });
    const { metadata } = recording.get(NAMESPACE, "servers-namespace").inputs as any;
    expect(metadata.labels["pod-security.kubernetes.io/enforce"]).toBe("restricted");
    const kept = recording.all.filter(({ protect }) => protect).map(({ type }) => type);
    expect(kept).toEqual([NAMESPACE, CLAIM, CLAIM]);
  });
});

describe("the load test", () => {
  const LOAD_TEST = "coupon-load-test:index:LoadTest::load-test";
  const result = { id: "dev-20260102T030405Z", verdict: "passed", requests: 1000, rps: 16.67 };
  const target = {
    url: "http://127.0.0.1:18080",
    networkUrl: "http://coupon-api:8080",
    health: "/health",
    version: "1",
  };
  const build = async (changed: Partial<LoadTestArgs> = {}) => {
    const stdout = JSON.stringify(result);
    const recording = recordPulumi({ [COMMAND]: () => ({ stdout }) });
    const network = stackNetwork("dev-network");
    const influxdb = new InfluxDb("influxdb", {
      ...influxdbArgs,
      place: placeOf("influxdb", 18086, network),
    });
    const loadTest = new LoadTest("load-test", {
      stack: "dev",
      runId: "again",
      script: "k6/coupon-issue.ts",
      profile: defaultProfile,
      thresholds: defaultThresholds,
      ...{
        baseline: "",
        maxRegression: [],
        routeLimits: [],
        starvedGenerator: "warn",
        allowedHosts: [],
      },
      maxSeries: 500,
      executor: { kind: "docker", image: "grafana/k6:1.8.1", network },
      influxdb,
      target,
      dashboardUrl: "http://127.0.0.1:13000/d/coupon-issue",
      after: [influxdb],
      ...changed,
    });
    await recording.done();
    const command = recording.get(COMMAND, "load-test-run");
    const { LOAD_TEST } = command.inputs.environment as Record<string, string>;
    return { recording, loadTest, command, text: LOAD_TEST, request: JSON.parse(LOAD_TEST) };
  };

  test("is a command, and k6's image, which stays on the machine", async () => {
    const { recording } = await build();
    const own = recording.all.filter(({ parent }) => parent === LOAD_TEST);
    expect(own.map(({ type, name }) => `${type}::${name}`).sort()).toEqual([
      `${COMMAND}::load-test-run`,
      `${IMAGE}::load-test-k6-image`,
    ]);
    expect(recording.get(IMAGE, "load-test-k6-image").inputs).toEqual({
      name: "grafana/k6:1.8.1",
      keepLocally: true,
    });
  });

  test("runs the runner, with its request in clear text and the logins on standard input", async () => {
    const { command, text } = await build();
    expect(command.inputs).toEqual({
      interpreter: ["node", "launch.js"],
      create: "runner/main.ts",
      environment: { LOAD_TEST: text },
      stdin: secret(
        '{"writer":{"username":"k6","password":"generated-influxdb-k6-password"},' +
          '"reader":{"username":"grafana","password":"generated-influxdb-grafana-password"}}',
      ),
      update: "runner/print-previous.ts",
      logging: "stderr",
    });
    // What is tested starts a run; new passwords alone do not.
    expect(command.replaceOnChanges).toEqual(["environment", "triggers[*]"]);
    expect(text).not.toMatch(/password/i);
  });

  test("hands the script's secrets over on standard input, its variables in its request", async () => {
    const scriptEnv = { TENANT: "acme" };
    const { command, text, request } = await build({ scriptEnv, scriptSecrets: { PIN: "12=34" } });
    const { value } = command.inputs.stdin as { value: string };
    expect(command.inputs.stdin).toEqual(secret(value));
    expect(JSON.parse(value)).toMatchObject({ secrets: { PIN: "12=34" } });
    expect(request).toMatchObject({ scriptEnv });
    expect(text).not.toContain("12=34");
    // Only a change of variables makes a run due.
    expect((await build({ scriptEnv, scriptSecrets: { PIN: "56" } })).text).toBe(text);
  });

  test("requests exactly what its arguments say", async () => {
    const { request } = await build();
    expect(request).toEqual({
      stack: "dev",
      runId: "again",
      script: "k6/coupon-issue.ts",
      scriptHash: scriptHash("k6/coupon-issue.ts"),
      profile: defaultProfile,
      thresholds: defaultThresholds,
      ...{
        baseline: "",
        maxRegression: [],
        routeLimits: [],
        starvedGenerator: "warn",
        allowedHosts: [],
      },
      maxSeries: 500,
      executor: { kind: "docker", image: "grafana/k6:1.8.1", network: "dev-network" },
      target,
      influxdb: {
        url: "http://127.0.0.1:18086",
        networkUrl: "http://influxdb:8086",
        database: "k6",
      },
      dashboardUrl: "http://127.0.0.1:13000/d/coupon-issue",
    });
  });

  test("is the same when nothing has changed, so that it is not run again by accident", async () => {
    expect((await build()).text).toBe((await build()).text);
  });

  test("on a target outside names no address in the network", async () => {
    const { request } = await build({
      target: { url: "https://shop.example", version: "external" },
    });
    expect(request.target).toEqual({ url: "https://shop.example", version: "external" });
  });

  test("takes only the addresses and the version of a target that is a component", async () => {
    const target = { url: "http://a", networkUrl: "http://b", health: "/c", version: "d" };
    const { request } = await build({ target: Object.assign(target, { more: "e" }) });
    expect(request.target).toEqual({
      ...{ url: "http://a", networkUrl: "http://b", health: "/c", version: "d" },
    });
  });

  test("by a k6 on this machine needs no image", async () => {
    const { recording, request } = await build({ executor: { kind: "local", binary: "k6" } });
    expect(recording.ofType(IMAGE).map(({ name }) => name)).toEqual(["influxdb-image"]);
    expect(request.executor).toEqual({ kind: "local", binary: "k6" });
  });

  test("by a cluster needs no image here, and names the addresses of its pods", async () => {
    const cluster: LoadTestArgs["executor"] = {
      ...{ kind: "kubernetes", context: "lab", namespace: "n", serviceAccount: "k6", image: "a:1" },
      ...{ starterImage: "b:2", parallelism: 4, cpu: "1", binary: "k6" },
    };
    const podUrl = "http://192.0.2.1:18080";
    const { recording, request } = await build({
      executor: cluster,
      target: { ...target, podUrl },
    });
    expect(recording.ofType(IMAGE).map(({ name }) => name)).toEqual(["influxdb-image"]);
    expect(request.executor).toEqual(cluster);
    expect(request.target).toEqual({ ...target, podUrl });
  });

  test("starts once k6's image is there and everything is ready that it comes after", async () => {
    const { command, recording } = await build();
    expect(command.dependencies).toEqual([
      `${CONTAINER}::influxdb-container`,
      `${NETWORK}::network`,
      `${IMAGE}::influxdb-image`,
      `${IMAGE}::load-test-k6-image`,
      `${VOLUME}::influxdb-data`,
      "pulumi-nodejs:dynamic/influxdb:Admin::influxdb-admin",
      "pulumi-nodejs:dynamic/influxdb:Database::influxdb-database",
      "pulumi-nodejs:dynamic/influxdb:RetentionPolicy::influxdb-history",
      "pulumi-nodejs:dynamic/influxdb:User::influxdb-grafana",
      "pulumi-nodejs:dynamic/influxdb:User::influxdb-k6",
      `${PASSWORD}::influxdb-admin-password`,
      `${PASSWORD}::influxdb-grafana-password`,
      `${PASSWORD}::influxdb-k6-password`,
    ]);
    // The image itself waits for nothing: it is fetched while the rest comes up.
    expect(recording.get(IMAGE, "load-test-k6-image").dependencies).toEqual([]);
    expect(recording.get("coupon-load-test:index:LoadTest", "load-test").dependencies).toEqual([]);
  });

  test("gives what the runner printed", async () => {
    const { loadTest } = await build();
    expect(await valueOf(loadTest.lastPassedRun)).toEqual(result);
  });
});
