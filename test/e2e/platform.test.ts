/**
 * A stack that is all in a real cluster of two nodes: the same servers, dashboards and verdict, with
 * a Docker at hand that must not be asked.
 */
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { namespaceName, serversName } from "../../config";
import { query } from "../../runner/influxdb";
import { GrafanaApi } from "../support/grafana";
import { operatorChart } from "../support/images";
import { Cluster } from "../support/kubernetes";
import { Clone, clusterImages, revealed } from "../support/stack";
import { succeeds } from "../support/succeeds";

let cluster: Cluster;
let clone: Clone;
let namespace: string;
/** What this machine lacks to run the tests. */
let missing: string | undefined;

/** A `docker` that says nothing, and notes that it was asked. */
const commands = fs.mkdtempSync(path.join(os.tmpdir(), "no-docker-"));
const asked = path.join(commands, "asked");
fs.writeFileSync(path.join(commands, "docker"), `#!/bin/sh\necho "$@" >>${asked}\nexit 1\n`, {
  mode: 0o755,
});

/** Any coupon is issued. */
const target = http.createServer((request, response) => {
  request.resume();
  response.writeHead(201).end("{}");
});
target.keepAliveTimeout = 60_000;

/** Three machines share two cores: how soon the answers come is not what is tested. */
const load = {
  ...{ rate: 50, timeUnit: "1s", duration: "10s", preAllocatedVUs: 20, maxVUs: 100 },
  ...{ p95LimitMs: 20_000, p99LimitMs: 20_000, droppedIterationsLimit: 500, runnerCpu: "200m" },
};

beforeAll(async () => {
  const found = await clusterImages();
  if ("missing" in found) return void (missing = found.missing);
  const { redisImage: _, nodeImage: __, ...images } = found.images;
  const chart = await operatorChart();
  if ("missing" in chart) return void (missing = chart.missing);
  const started = await Cluster.start(Object.values(images));
  if ("missing" in started) return void (missing = started.missing);
  cluster = started;
  await cluster.addVolume("large", "10Gi");
  await cluster.addVolume("small", "1Gi");
  await new Promise<void>((resolve) => target.listen(0, cluster.hostAddress, resolve));

  const where = {
    ...{ platform: "kubernetes", executor: "kubernetes", kubeContext: "coupon-load-test" },
    ...{ kubeNodeAddress: cluster.nodeAddress, influxdbPort: 0, grafanaPort: 0 },
    ...{ allowedHosts: cluster.hostAddress, k6OperatorChart: chart.path },
    baseUrl: `http://${cluster.hostAddress}:${(target.address() as AddressInfo).port}`,
  };
  clone = new Clone({ ...images, ...where, ...load }, { target: "external" });
  const { PATH } = clone.environment;
  clone.addEnvironment({ KUBECONFIG: cluster.kubeconfig, PATH: `${commands}:${PATH}` });
  namespace = serversName(clone.stack);
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
const removeAll = async () => {
  target.close();
  clone?.remove();
  await cluster?.remove();
  fs.rmSync(commands, { recursive: true, force: true });
};
afterAll(removeAll);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, removeAll);

const kubectl = (...args: string[]) => cluster.kubectl(`--namespace=${namespace}`, ...args);

/** The stack's outputs, with its logins. */
const outputs = () => clone.outputs("--show-secrets");

async function grafana() {
  const { grafanaUrl, grafanaAdmin } = await outputs();
  return new GrafanaApi(grafanaUrl, grafanaAdmin);
}

/** How many requests of a run InfluxDB has. */
async function stored(id: string): Promise<number> {
  const { influxdbUrl, influxdbReader } = await outputs();
  const count = `SELECT count("value") FROM "http_reqs" WHERE "testid" = '${id}'`;
  const [[series]] = await query({ url: influxdbUrl, ...influxdbReader }, count, "k6");
  return Number(series?.values[0][1] ?? 0);
}

it("shows beforehand what it will make, with all addresses", async () => {
  const preview = await clone.make("preview");
  succeeds(preview);
  for (const kind of ["StatefulSet", "Deployment", "PersistentVolumeClaim", "NetworkPolicy"]) {
    expect(preview.output).toContain(kind);
  }
  expect(preview.output).toMatch(/nodePort *: 3\d{4}\n/);
  expect(preview.output).not.toContain("docker:index");
});

it("comes up in the cluster, and runs the test there", async () => {
  const up = await clone.make("up");
  succeeds(up);
  expect(up.output).not.toMatch(/^ *(Docker|disk|port \d+) /m);
  const run = clone.latestRun();
  expect(run.verdict).toBe("passed");
  expect(run.requests).toBeGreaterThan(0);
  expect(await stored(run.id)).toBe(run.requests);
  const at = `http://${cluster.nodeAddress}:3`;
  const { grafanaUrl, influxdbUrl, lastPassedRun } = await outputs();
  expect([grafanaUrl, influxdbUrl].filter((url) => url.startsWith(at))).toHaveLength(2);
  expect(lastPassedRun.id).toBe(run.id);

  const again = await clone.make("up");
  succeeds(again);
  expect(again.output).toContain("no test was due");
  expect(again.output).toMatch(/^ *\d+ unchanged$/m);
  const drift = await clone.make("drift");
  succeeds(drift);
  expect(drift.output).toContain("nothing was changed by hand");
});

it("has a Grafana that shows the run, to who logs in alone", async () => {
  const run = clone.latestRun();
  const api = await grafana();
  const health = await api.ask("/api/datasources/uid/k6-influxdb/health");
  expect(health.body).toMatchObject({ status: "OK" });
  const rps = (await api.panels("coupon-issue"))[3];
  const range = { from: Date.parse(run.startedAt), to: Date.parse(run.endedAt) };
  const perSecond = await api.draw(rps, "A", range, 1000);
  expect(perSecond.reduce((sum, each) => sum + each)).toBeCloseTo(run.requests, 6);
  const page = "/api/dashboards/uid/coupon-issue";
  expect((await new GrafanaApi(api.url).ask(page)).status).toBe(401);
});

it("shows no password in its manifests, and gives its pods no right", async () => {
  const { passphrase: _, ...passwords } = await clone.secrets();
  const kinds = "pods,statefulsets,deployments,replicasets,services,claims,configmaps,events";
  const texts = {
    "the cluster": await kubectl("get", kinds.replace("claims", "pvc"), "--output=json"),
    "InfluxDB's log": await kubectl("logs", "statefulset/influxdb"),
    "Grafana's log": await kubectl("logs", "deployment/grafana"),
    "what runs leave": clone.readAll("runs"),
    "the state": clone.readAll(".state/.pulumi"),
  };
  expect(JSON.parse(texts["the cluster"]).items.length).toBeGreaterThan(8);
  expect(revealed(passwords, texts)).toEqual([]);
  for (const pod of ["statefulset/influxdb", "deployment/grafana"]) {
    const script = "id -u; touch /a 2>&1; ls /var/run/secrets 2>&1; grep CapEff /proc/self/status";
    const [uid, ...rest] = (await kubectl("exec", pod, "--", "sh", "-c", script)).split("\n");
    expect(Number(uid)).toBeGreaterThan(0);
    expect(rest[0]).toContain("Read-only file system");
    expect(rest[1]).toContain("No such file");
    expect(rest[2]).toMatch(/CapEff:\t0{16}/);
  }
});

it("gets new passwords without losing a point, and its runs go on with them", async () => {
  const { id, requests } = clone.latestRun();
  const before = await clone.secrets();
  succeeds(await clone.make("rotate"));
  const after = await clone.secrets();
  const same = Object.keys(after).filter((name) => after[name] === before[name]);
  expect(same.sort()).toEqual(["grafana-first-password", "grafana-secret-key", "passphrase"]);
  expect(await stored(id)).toBe(requests);
  const password = JSON.parse((await clone.make("password")).stdout);
  expect(password).toEqual({ username: "admin", password: after["grafana-admin-password"] });
  expect((await (await grafana()).ask("/api/user")).status).toBe(200);
  succeeds(await clone.make("load"));
  expect(clone.latestRun()).toMatchObject({ verdict: "passed", baseline: { id } });

  const compared = await clone.makeOnly("compare", `A=${id}`, `B=${clone.latestRun().id}`);
  succeeds(compared);
});

it("has all its points when InfluxDB's pod and Grafana's come back", async () => {
  const { id, requests } = clone.latestRun();
  await kubectl("delete", "pod", "--all", "--wait=true");
  // New ones are there, but their ports lead to them only when the nodes have learnt it.
  const patience = { timeout: 180_000, interval: 1000 };
  await expect.poll(() => stored(id).catch(() => 0), patience).toBe(requests);
  const api = await grafana();
  const panels = () =>
    api.panels("coupon-issue").then(
      ({ length }) => length,
      () => 0,
    );
  await expect.poll(panels, patience).toBe(4);
  const drift = await clone.make("drift");
  succeeds(drift);
});

it("is put back when it was taken away by hand, and told of", async () => {
  const { id, requests } = clone.latestRun();
  await kubectl("set", "env", "deployment/grafana", "GF_AUTH_ANONYMOUS_ENABLED=true");
  const drift = await clone.make("drift");
  expect(drift.code).not.toBe(0);
  expect(drift.lastLine).toMatch(/^make drift: changed by hand: .*grafana-deployment \(changed: /);
  await kubectl("delete", "statefulset/influxdb", "service/grafana");
  const up = await clone.make("up");
  succeeds(up);
  expect(up.output).toContain("put back: the servers in the cluster");
  expect(up.output).toContain("no test was due");
  expect(await stored(id)).toBe(requests);
  const anonymous = new GrafanaApi((await outputs()).grafanaUrl);
  expect((await anonymous.ask("/api/search")).status).toBe(401);
});

it("is not backed up by a copy, which is said in one line", async () => {
  for (const more of [["backup"], ["restore", "FROM=Makefile"]]) {
    const [command, ...rest] = more;
    const refused = await clone.makeOnly(command, ...rest);
    expect(refused.code).not.toBe(0);
    expect(refused.lastLine).toContain(`the servers of stack ${clone.stack} are in a cluster`);
  }
});

it("keeps its data against `make destroy` where it is told to", async () => {
  succeeds(await clone.make("up", { keepData: "true" }));
  const destroy = await clone.make("destroy");
  expect(destroy.code).not.toBe(0);
  expect(destroy.lastLine).toContain("keeps its data (grafana-data, influxdb-data,");
  expect(await kubectl("get", "pvc", "--output=name")).toContain("influxdb");
  const up = await clone.make("up", { keepData: "false" });
  succeeds(up);
  expect(up.output).toContain("no test was due");
});

it("leaves nothing in the cluster, and has asked no Docker", async () => {
  succeeds(await clone.make("destroy"));
  const all = "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings";
  const left = await cluster.kubectl("get", all, "--output=name");
  for (const name of [namespace, namespaceName(clone.stack), "k6"])
    expect(left).not.toContain(name);
  const claims = await cluster.kubectl("get", "pvc", "--all-namespaces", "--output=name");
  expect(claims).toBe("");
  // The claims are gone, and what becomes of their volumes is the cluster's affair.
  const phases = () => cluster.kubectl("get", "pv", "--output=jsonpath={.items[*].status.phase}");
  await expect.poll(phases, { timeout: 60_000 }).toBe("Released Released");
  expect(fs.existsSync(asked) ? fs.readFileSync(asked, "utf8") : "").toBe("");
});
