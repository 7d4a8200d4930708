/**
 * A stack whose runners share the load in a real cluster of two nodes: what it makes there, one
 * verdict over all of them, what comes of faults, and that it leaves nothing.
 */
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { root } from "../../root";
import { namespaceName } from "../../config";
import { filled, markdownTable } from "../../runner/report";
import { Cluster } from "../support/kubernetes";
import { operatorChart } from "../support/images";
import { FaultTable, type Outcome } from "../support/reliability";
import {
  Clone,
  freePorts,
  printed,
  revealed,
  clusterImages,
  type Ended,
  type Settings,
} from "../support/stack";
import { succeeds } from "../support/succeeds";

const faults = new FaultTable("e2e-kubernetes");
/** The table of runs: parallelism, requests a second offered and achieved, requests, verdict. */
const table: string[][] = [];

let cluster: Cluster;
let clone: Clone;
let images: Settings;
let namespace: string;
let influxdbPort: number;
/** What this machine lacks to run the tests. */
let missing: string | undefined;

/** 100 requests a second for ten seconds, whatever the number of runners. */
const load = { rate: 100, timeUnit: "1s", duration: "10s", preAllocatedVUs: 20, maxVUs: 100 };
/** Three machines share two cores: how soon the answers come is not what is tested. */
const patient = { p95LimitMs: 20_000, p99LimitMs: 20_000, droppedIterationsLimit: 1000 };

beforeAll(async () => {
  const found = await clusterImages();
  if ("missing" in found) return void (missing = found.missing);
  images = found.images;
  const chart = await operatorChart();
  if ("missing" in chart) return void (missing = chart.missing);
  const { k6Image, k6OperatorImage, k6StarterImage } = found.images;
  const started = await Cluster.start([k6Image, k6OperatorImage, k6StarterImage]);
  if ("missing" in started) return void (missing = started.missing);
  cluster = started;
  const where = {
    executor: "kubernetes",
    kubeContext: "coupon-load-test",
    bindAddress: cluster.hostAddress,
    k6OperatorChart: chart.path,
    runnerCpu: "200m",
  };
  const ports = await freePorts();
  ({ influxdbPort } = ports);
  clone = new Clone(
    { ...images, ...where, ...load, ...patient, ...ports, couponStock: 1_000_000 },
    { target: "sample" },
  );
  clone.addEnvironment({ KUBECONFIG: cluster.kubeconfig });
  namespace = namespaceName(clone.stack);
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
const removeAll = async () => {
  clone?.remove();
  await cluster?.remove();
};
afterAll(async () => {
  await removeAll();
  if (missing) return;
  faults.write();
  writeTable();
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, removeAll);

/** Waits until something is so, asking a few times a second. */
const until = (is: () => Promise<unknown> | unknown) =>
  expect.poll(is, { timeout: 240_000, interval: 200 }).toBeTruthy();

/** What there is in the stack's namespace, such as `pod/gate`. */
async function inNamespace(kinds: string): Promise<string[]> {
  const names = await cluster.kubectl("get", kinds, "--output=name", `--namespace=${namespace}`);
  return names.split("\n").filter((name) => name !== "");
}

/** What a run makes, but for events and what the cluster has in every namespace. */
const leftOfRuns = async () =>
  (await inNamespace("testruns.k6.io,jobs,pods,services,configmaps,secrets")).filter(
    (name) => name !== "configmap/kube-root-ca.crt",
  );

/** The runner's requests, as it reported them. */
const reported = (runner: number) =>
  JSON.parse(clone.read(`runs/latest/runner-${runner}/k6-summary.json`)).metrics.http_reqs.count;

/** Starts `make load`, and does something once all runners have begun. */
async function during(act: () => Promise<void> | void, settings = {}): Promise<Ended> {
  const before = clone.runs().length;
  const { ended } = clone.start("load", { duration: "20s", ...settings });
  const log = () => {
    const run = clone.runs()[before];
    return run && clone.exists("runs", run, "k6.log") ? clone.read("runs", run, "k6.log") : "";
  };
  await Promise.race([until(() => log().includes("all have begun")), ended]);
  // So that some points are stored.
  await sleep(3000);
  await act();
  return ended;
}

/** A row of the table of faults, without what is another one in each run. */
const add = ({ seen, ...outcome }: Outcome) =>
  faults.add(
    { ...outcome, seen: seen.replace(/run-\d{8}t\d{6}z/g, "run-<time>") },
    { stack: clone.stack, InfluxDB: `${cluster.hostAddress}:${influxdbPort}` },
  );

/** That a run failed for this reason, told last, and left nothing in the cluster. */
async function failed(end: Ended, reason: RegExp) {
  expect(end.code).not.toBe(0);
  expect(end.lastLine).toMatch(reason);
  expect(clone.latestRun().verdict).toBe("failed");
  expect(await leftOfRuns()).toEqual([]);
}

/** A runner's process of the newest run, on whichever node it is: its pid on this machine. */
async function processOf(runner: number): Promise<number> {
  const list = await printed("ps", "-A", "-ww", "-o", "pid=,args=");
  const id = clone.runs().at(-1)!;
  const own = list
    .split("\n")
    .filter((line) => line.includes(`testid=${id}`) && line.includes(`instance_id=${runner}`));
  expect(own).toHaveLength(1);
  return parseInt(own[0], 10);
}

it("shows beforehand what it will make in the cluster", async () => {
  const preview = await clone.make("preview");
  succeeds(preview);
  for (const kind of ["Namespace", "ResourceQuota", "NetworkPolicy", "ServiceAccount", "Chart"]) {
    expect(preview.output).toContain(kind);
  }
  const manifests = clone.read("preview.md").split("````yaml")[1];
  expect(manifests).toMatch(/kind: TestRun\n/);
  expect(manifests).toContain(`namespace: ${namespace}`);
  expect(manifests).toContain('config.json: "[secret]"');
});

it("gives one verdict over all runners", async () => {
  const up = await clone.make("up");
  succeeds(up);
  expect(up.output).toMatch(/runners 2, all have begun \(worker-1: 1, worker-2: 1\)/);
  const summary = clone.latestRun();
  expect(summary.verdict).toBe("passed");
  expect(summary.requests).toBe(reported(1) + reported(2));
  expect(Math.min(reported(1), reported(2))).toBeGreaterThan(0);
  expect(summary.k6Version).toMatch(/^v\d/);
  expect((await clone.outputs()).lastPassedRun.id).toBe(summary.id);
  expect(await leftOfRuns()).toEqual([]);

  // Pulumi sees all that it made as it made it, and the test is not due again.
  const again = await clone.make("up");
  succeeds(again);
  expect(again.output).toContain("no test was due");
  const drift = await clone.make("drift");
  succeeds(drift);
});

it.each([1, 2, 4])("shares the load among %i runners", async (parallelism) => {
  const up = await clone.make("up", { parallelism, runId: `table ${parallelism}` });
  succeeds(up);
  const { requests, rps, droppedIterations, verdict } = clone.latestRun();
  const runners = Array.from({ length: parallelism }, (_, i) => reported(i + 1));
  expect(runners.reduce((sum, each) => sum + each, 0)).toBe(requests);
  // k6 begins iterations at both ends of the ten seconds.
  expect(requests + droppedIterations).toBeGreaterThanOrEqual(1000);
  expect(requests + droppedIterations).toBeLessThanOrEqual(1000 + parallelism);
  table.push([
    `${parallelism}`,
    `${load.rate}/s`,
    `${rps}/s`,
    `${requests}`,
    `${droppedIterations}`,
    runners.join(" + "),
    verdict,
  ]);
});

it("shows no password, and may do nothing beyond what a run needs", async () => {
  let seen = "";
  let rights = "";
  const load = await during(async () => {
    seen = await cluster.kubectl("get", "testruns,jobs,pods", "-o=json", `-n=${namespace}`);
    const account = `--as=system:serviceaccount:${namespace}:k6`;
    rights = await cluster.kubectl("auth", "can-i", "--list", account, `-n=${namespace}`);
  });
  succeeds(load);
  expect(
    revealed(await clone.secrets(), { "the cluster": seen, ...(await clone.openTexts()) }),
  ).toEqual([]);
  expect(JSON.parse(seen).items.length).toBeGreaterThan(4);
  expect(rights).not.toMatch(/pods|secrets|configmaps|\*\.\*/);
  // Another pod than a run's is refused as soon as it may more.
  const pod = ["run", "other", `--image=${images.k6Image}`, `-n=${namespace}`];
  await expect(cluster.kubectl(...pod)).rejects.toThrow(/violates PodSecurity "restricted/);
});

it("fails a run whose runner was killed, and names it", async () => {
  const end = await during(async () => void process.kill(await processOf(2), "SIGKILL"));
  await failed(end, /k6 of runner 2 \(node worker-\d\) ended with exit code 137/);
  add({
    fault: "The process of one of two runners is killed",
    expected: "The run ends at once and fails; the runner is named",
    seen: end.lastLine,
  });
});

it("fails a run whose runner was removed, and names it", async () => {
  const end = await during(async () => {
    const [pod] = (await inNamespace("pods")).filter((name) => /-1-/.test(name));
    await cluster.kubectl("delete", pod, `-n=${namespace}`, "--force", "--grace-period=0");
  });
  // Whichever of it is seen first.
  const lost = /runner 1 was lost: its pod \S+ on node worker-\d (is gone|was told to end)/;
  const ended = /runner 1 \(node worker-\d(, told to end)?\) ended with exit code \d+/;
  await failed(end, new RegExp(`${lost.source}|${ended.source}`));
  add({
    fault: "The pod of one of two runners is deleted",
    expected: "The run ends at once and fails; the runner is named",
    seen: end.lastLine.replace(/-1-\w{5} /, "-1-<random> "),
  });
});

it("fails a run whose store was gone, with all that is missing", async () => {
  const store = `coupon-load-test-${clone.stack}-influxdb`;
  const end = await during(() => printed("docker", "kill", store).then(() => undefined));
  await failed(end, /how many are stored is unknown|points are missing from InfluxDB/);
  add({
    fault: "InfluxDB is killed while two runners write to it",
    expected: "The run fails: its points are missing",
    seen: end.lastLine.replace(/\d+ requests/, "<count> requests"),
  });
  // Docker has not started it again: it was told to end it.
  succeeds(await clone.make("up"));
});

it("ends at once where an image cannot be had, or a pod finds no place", async () => {
  const absent = "127.0.0.1:1/k6:none";
  const none = await clone.make("load", { k6StarterImage: absent });
  await failed(none, /ImagePullBackOff \(127\.0\.0\.1:1\/k6:none\): /);
  add({
    fault: "An image of the run does not exist",
    expected: "The run ends before the load begins; image and reason are named",
    seen: none.lastLine.slice(0, 100) + " …",
  });

  const beyond = await clone.make("load", { runnerCpu: "100" });
  await failed(beyond, /the cluster makes no pod: .*exceeded quota: one-run/);
  add({
    fault: "A quota refuses the runners",
    expected: "The run ends at once; the quota is named",
    seen: beyond.lastLine.replace(/-\d-\w{5}"/, '-1-<random>"'),
  });

  // Where `make load` changes nothing but the run, this raises the quota as well.
  const large = await clone.make("up", { runnerCpu: "100" });
  await failed(large, /no node takes pod \S+: 0\/2 nodes are available: 2 Insufficient cpu/);
  add({
    fault: "No node has room for a runner",
    expected: "The run ends after a minute; the scheduler's reason is named",
    seen: large.lastLine.replace(/-\d-\w{5}:/, "-1-<random>:").slice(0, 160) + " …",
  });
});

it("waits for a node that is on its way", async () => {
  await cluster.kubectl("cordon", ...cluster.nodes);
  const { ended } = clone.start("load");
  await until(async () => (await inNamespace("pods")).includes("pod/gate"));
  await cluster.tellOfNewNode(namespace, "gate");
  // Longer than for one that nobody has said anything of.
  await sleep(70_000);
  await cluster.kubectl("uncordon", ...cluster.nodes);
  succeeds(await ended);
  expect(clone.latestRun().verdict).toBe("passed");
});

it("stops all runners at ^C, and the next make up works", async () => {
  const before = clone.runs().length;
  const running = clone.start("load", { duration: "60s" });
  const log = () => clone.runs()[before] && clone.readAll(`runs/${clone.runs()[before]}`);
  await until(() => log()?.includes("all have begun"));
  const at = Date.now();
  running.interrupt();
  const end = await running.ended;
  expect(Date.now() - at).toBeLessThan(60_000);
  await failed(end, /the run was interrupted/);
  add({
    fault: "^C while two runners make load",
    expected: "Both end, the run is told as interrupted, nothing is left in the cluster",
    seen: end.lastLine,
  });
  const up = await clone.make("up");
  succeeds(up);
  expect(clone.latestRun().verdict).toBe("passed");
});

it("removes what a killed run has left in the cluster", async () => {
  await during(() => clone.kill(), { duration: "30s" });
  expect(await leftOfRuns()).not.toEqual([]);
  const up = await clone.make("up");
  succeeds(up);
  expect(await leftOfRuns()).toEqual([]);
  add({
    fault: "make, Pulumi and the runner's process on this machine are killed",
    expected: "The next make up removes what the run has left in the cluster, and runs the test",
    seen: `run ${clone.latestRun().id}: ${clone.latestRun().verdict}`,
  });
});

it("fails a run that lost a node, and says which", async () => {
  const end = await during(() => cluster.killNode("worker-2"), { duration: "40s" });
  await failed(
    end,
    /runner \d was lost: its pod \S+ on node worker-2 does not answer, nor does the/,
  );
  add({
    fault: "One of two nodes is gone",
    expected: "The run ends when the cluster notices, and fails; runner and node are named",
    seen: end.lastLine.replace(/(-\d)-\w{5} /, "$1-<random> "),
  });
});

it("leaves nothing in the cluster", async () => {
  // As a cloud does with a node that is no more; until then the cluster waits for the pods on it.
  await cluster.kubectl("delete", "node", "worker-2");
  const destroy = await clone.make("destroy");
  succeeds(destroy);
  expect(await clone.inDocker()).toEqual([]);
  const namespaces = await cluster.kubectl("get", "namespaces", "--output=name");
  expect(namespaces.trim().split("\n").sort()).toEqual(
    ["default", "kube-node-lease", "kube-public", "kube-system"].map((name) => `namespace/${name}`),
  );
  const wide = "customresourcedefinitions,clusterroles,clusterrolebindings";
  expect(await cluster.kubectl("get", wide, "--output=name")).not.toContain("k6");
});

/** Writes the table of runs: into its place in the file that SCALE names, or as build/e2e/scale.md. */
function writeTable() {
  const header = [
    "runners",
    "offered",
    "achieved",
    "stored",
    "dropped",
    "of each runner",
    "verdict",
  ];
  const text = markdownTable([header, ...table]);
  const target = process.env.SCALE ?? path.join(root, "build/e2e/scale.md");
  const place = process.env.SCALE
    ? fs.readFileSync(target, "utf8")
    : "<!-- runs -->\n<!-- /runs -->\n";
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.writeFileSync(target, filled(place, "runs", text));
  // As all files of the project are formatted.
  execFileSync(path.join(root, "node_modules/.bin/prettier"), ["--write", target]);
}
