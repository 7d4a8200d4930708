/** The executor `kubernetes` and a run over several runners, with a fake API and a fake k6. */
import type { V1Pod } from "@kubernetes/client-node" with { "resolution-mode": "import" };
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { executorFor } from "../../runner/executor";
import { runLoadTest, timeFor } from "../../runner/run";
import { configMapLimit } from "../../runner/test-run";
import { type Cluster, RunFailure, type RunRequest, type Summary } from "../../runner/types";
import {
  context,
  ended,
  fakeCluster,
  type Got,
  kubeconfig,
  type Moment,
  namespace,
  running,
  waiting,
} from "../support/cluster-api";
import { argumentsOf, program } from "../support/fake-program";
import {
  answersOf,
  closeServers,
  credentials,
  fakeInfluxDb,
  id,
  mark,
  nowhere,
  requestFor,
  secretsText,
  told,
  toldSummary,
} from "../support/run";
import { slept } from "../support/sleep";

// On a busy machine, what takes a second may take ten.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

vi.mock("node:timers/promises", () => import("../support/sleep.js"));
vi.mock("../../runner/entry", async (original) => ({
  ...(await original<object>()),
  newMark: () => mark,
}));

const project = process.cwd();
const start = new Date("2026-01-02T03:04:05.678Z");
const name = "run-20260102t030405z";
const { signal } = new AbortController();

let folder: string;
let cluster: Awaited<ReturnType<typeof fakeCluster>>;

beforeEach(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "kubernetes-test-"));
  process.chdir(folder);
  fs.mkdirSync("k6");
  fs.mkdirSync("out");
  fs.writeFileSync("k6/coupon-issue.ts", "export default function () {}");
  slept.length = 0;
  vi.setSystemTime(start);
  cluster = await fakeCluster();
  vi.stubEnv("KUBECONFIG", cluster.kubeconfig);
  fakeK6();
});
afterEach(async () => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
  process.chdir(project);
  await closeServers();
  fs.rmSync(folder, { recursive: true });
});

/** A k6 that packs an archive with this text, and says of it how many virtual users it has. */
function fakeK6({
  archive = "packed",
  maxVUs = 1000,
  exit = 0,
  log = "",
  exports = "default,options",
  tags = {} as Record<string, string>,
} = {}) {
  const bin = path.resolve("bin");
  const binary = program(
    bin,
    "k6",
    `cp "$here/arguments" "$here/$1-arguments"
    cat > "$here/entry.js"
    cat /dev/fd/4 > "$here/$1-secrets"
    case "$1" in
      archive)
        cat "$here/log" >&2
        [ "$(cat "$here/exit")" = 0 ] || exit "$(cat "$here/exit")"
        while [ $# -gt 1 ]; do
          [ "$1" != --archive-out ] || cp "$here/archive" "$2"
          shift
        done ;;
      inspect)
        case "$*" in
          *--execution-requirements*) cat "$here/requirements" ;;
          *) cat "$here/exports" >&2; echo '{}' ;;
        esac ;;
    esac`,
  );
  const requirements = JSON.stringify({ totalDuration: "1m30s", maxVUs, tags });
  for (const [file, content] of Object.entries({
    ...{ archive, requirements, log, exit: `${exit}`, exports: told(exports) },
  })) {
    fs.writeFileSync(path.join(bin, file), content);
  }
  return binary;
}
const argumentsFor = (command: string) => {
  fs.copyFileSync(`bin/${command}-arguments`, "bin/arguments");
  return argumentsOf("bin");
};

const choice = (more: Partial<Cluster> = {}): Cluster => ({
  kind: "kubernetes",
  ...{ context, namespace, serviceAccount: "k6" },
  ...{ image: "grafana/k6:1.8.1", starterImage: "starter:1", parallelism: 2, cpu: "500m" },
  binary: path.resolve("bin/k6"),
  ...more,
});
const request = (more: Partial<RunRequest> = {}, executor: Partial<Cluster> = {}) =>
  requestFor({
    executor: choice(executor),
    target: { url: "http://127.0.0.1:8080", podUrl: "http://10.0.0.1:8080", version: "1" },
    influxdb: {
      ...{ url: "http://127.0.0.1:8086", podUrl: "http://10.0.0.1:8086", database: "k6" },
    },
    ...more,
  });

/** A pod of the run: a runner's, by its number, or the starter's. */
function pod(job: number | string, status: V1Pod["status"] = running, node?: string): V1Pod {
  const labels = { app: "k6", k6_cr: name, "job-name": `${name}-${job}` };
  const nodeName = node ?? `node-${job}`;
  return {
    metadata: { name: `${name}-${job}-abcde`, uid: `uid-${job}`, labels },
    spec: { nodeName, containers: [] },
    status,
  };
}
const both: Moment = { stage: "created", pods: [pod(1), pod(2)] };
const begun: Moment = {
  stage: "started",
  pods: [...both.pods!, pod("starter", ended(0))],
};
const over = (first = 0, second = 0): Moment => ({
  pods: [pod(1, ended(first)), pod(2, ended(second)), pod("starter", ended(0))],
});

/** Runs the script in the cluster, whose story this is; gives how that ended, and what was said. */
async function run(
  story: typeof cluster.story,
  more: Partial<RunRequest> = {},
  executor: Partial<Cluster> = {},
  interrupted = signal,
) {
  cluster.story = story;
  const said: string[] = [];
  const ends = await executorFor(request(more, executor), credentials, (line) => said.push(line))
    .run(id, "out", ({ script, files }) => `${script} ${files}`, interrupted)
    .then(
      (ends) => ({ ends, failure: undefined }),
      (error) => ({ ends: undefined, failure: error as Error }),
    );
  expect(ends.failure ?? new RunFailure("")).toBeInstanceOf(RunFailure);
  return { ends: ends.ends, failure: ends.failure?.message, said };
}
const seconds = () => Math.round(slept.reduce((sum, ms) => sum + ms, 0) / 1000);
const read = (file: string) => fs.readFileSync(path.join("out", file), "utf8");

const removal = ["testruns", "secrets", "configmaps", "pods"].map((each) => `DELETE ${each}`);
const making = [`POST configmaps ${name}`, `POST secrets ${name}`, `POST testruns ${name}`];

describe("the gate of a cluster", () => {
  const version = (more: Partial<RunRequest> = {}, executor: Partial<Cluster> = {}) =>
    executorFor(request(more, executor), credentials).version(signal);

  test("tells k6's version there, and leaves nothing", async () => {
    expect(await version()).toBe("v1.8.1");
    expect(cluster.changes.slice(0, 4).sort()).toEqual([...removal].sort());
    expect(cluster.changes.slice(4, 6)).toEqual(["POST configmaps gate", "POST pods gate"]);
    expect(cluster.changes.slice(6).sort()).toEqual([...removal].sort());
    nothingLeft();
  });

  test("asks InfluxDB and the target by the addresses that pods have", async () => {
    const asked: string[] = [];
    cluster.get = (url) => {
      asked.push(url);
      return { status: url.endsWith("/ping") ? 204 : 500 };
    };
    await version();
    expect(asked).toEqual(["http://10.0.0.1:8086/ping", "http://10.0.0.1:8080"]);
    asked.length = 0;
    await version({
      target: { url: "http://shop.example:80", version: "1" },
      influxdb: { url: "http://db.example:8086", database: "k6" },
    });
    expect(asked).toEqual(["http://db.example:8086/ping", "http://shop.example:80"]);
  });

  test.each<[string, Got, string]>([
    ["InfluxDB", { status: 0, error: "dial: i/o timeout" }, "dial: i/o timeout"],
    ["InfluxDB", { status: 503 }, "status 503"],
    ["the target", { status: 0, error: "dial: refused" }, "dial: refused"],
  ])("stays shut when %s gets %j for 30 seconds", async (who, got, why) => {
    const url = who === "InfluxDB" ? "http://10.0.0.1:8086/ping" : "http://10.0.0.1:8080";
    let asked = 0;
    cluster.get = (each) => (each === url ? (asked++, got) : { status: 204 });
    await expect(version()).rejects.toThrow(
      new RunFailure(`${who} did not answer the cluster's pods: ${url} (${why})`),
    );
    // Every half second.
    expect(asked).toBe(61);
    nothingLeft();
  });

  test("opens as soon as both answer", async () => {
    let asked = 0;
    cluster.get = () => ({ status: ++asked < 10 ? 0 : 204, error: "refused" });
    expect(await version()).toBe("v1.8.1");
    expect(asked).toBe(11);
  });

  test("wants a target that tells its health to be well", async () => {
    const target = { url: "http://127.0.0.1:8080", health: "/health", version: "1" };
    const asked: string[] = [];
    cluster.get = (url) => (asked.push(url), { status: url.endsWith("/health") ? 503 : 204 });
    await expect(version({ target })).rejects.toThrow(
      new RunFailure(
        "the target did not answer the cluster's pods: http://127.0.0.1:8080/health (status 503)",
      ),
    );
    cluster.get = () => ({ status: 200 });
    expect(await version({ target })).toBe("v1.8.1");
  });

  test("follows redirects only to hosts that may be tested", async () => {
    const hops: Record<string, string> = {
      "http://10.0.0.1:8080": "/shop",
      "http://10.0.0.1:8080/shop": "https://shop.example/",
    };
    cluster.get = (url) => ({ status: hops[url] ? 302 : 200, location: hops[url] });
    const allowed = ["10.0.0.1", "shop.example"];
    expect(await version({ allowedHosts: allowed })).toBe("v1.8.1");
    expect(cluster.changes.filter((each) => each === "POST pods gate")).toHaveLength(3);
    for (const [allowedHosts, next] of [
      [["10.0.0.1"], "https://shop.example/"],
      [["shop.example"], "http://10.0.0.1:8080/shop"],
    ] as const) {
      await expect(version({ allowedHosts: [...allowedHosts] })).rejects.toThrow(
        new RunFailure(
          `the target http://10.0.0.1:8080 redirects to ${next}, a host that allowedHosts does not name`,
        ),
      );
    }
    nothingLeft();
  });

  test("follows as many redirects as k6 does", async () => {
    cluster.get = (url) => {
      if (url.endsWith("/ping")) return { status: 204 };
      return { status: 302, location: "http://10.0.0.1:8080/" };
    };
    expect(await version({ allowedHosts: ["10.0.0.1"] })).toBe("v1.8.1");
    expect(cluster.changes.filter((each) => each === "POST pods gate")).toHaveLength(11);
  });

  test("fails for a redirect that leads to no URL", async () => {
    cluster.get = (url) =>
      url.endsWith("/ping") ? { status: 204 } : { status: 302, location: "http://[" };
    await expect(version()).rejects.toThrow(
      new RunFailure("the target http://10.0.0.1:8080 redirects to http://[, which is no URL"),
    );
  });

  test.each([
    ["has no k6", 127, "sh: 1: k6: not found\n", "sh: 1: k6: not found"],
    [
      "has a k6 that fails",
      107,
      'k6 v1.8.1\nlevel=error msg="\x1b[31m no"',
      'level=error msg=" [31m no"',
    ],
    ["says nothing", 0, "", "it says nothing"],
    ["is of another program", 0, "busybox\n", "busybox"],
  ])("stays shut when the image %s", async (_, exitCode, says, why) => {
    cluster.gate = [ended(exitCode)];
    cluster.gateSays = says;
    await expect(version()).rejects.toThrow(
      new RunFailure(`k6 cannot be started in the cluster: ${why}`),
    );
  });

  test.each([
    ["ImagePullBackOff", 'Back-off pulling image "k6:1"'],
    ["InvalidImageName", "couldn't parse image name"],
    ["CreateContainerConfigError", "no such user"],
    ["RunContainerError", "exec failed"],
  ])("fails at once for a pod that will not run: %s", async (reason, message) => {
    cluster.gate = [{ phase: "Pending" }, waiting("ErrImagePull", ""), waiting(reason, message)];
    await expect(version()).rejects.toThrow(
      new RunFailure(`the pod that asks for the target cannot run: ${reason} (k6:1): ${message}`),
    );
    expect(seconds()).toBeLessThan(3);
    nothingLeft();
  });

  test("gives up on a pod that never runs", async () => {
    cluster.gate = [waiting("ContainerCreating")];
    await expect(version()).rejects.toThrow(
      new RunFailure("k6 cannot be started in the cluster: it says nothing"),
    );
    expect(seconds()).toBeGreaterThanOrEqual(600);
    expect(seconds()).toBeLessThan(610);
  });

  test("fails when somebody removes its pod", async () => {
    cluster.gate = [{ phase: "Pending" }];
    const end = version();
    await vi.waitUntil(() => cluster.left.has("Pod gate"), { interval: 1 });
    cluster.left.delete("Pod gate");
    await expect(end).rejects.toThrow(
      new RunFailure("the pod that asks for the target cannot run: it is gone"),
    );
  });

  test("ends when the run is interrupted, and leaves nothing", async () => {
    cluster.gate = [{ phase: "Pending" }];
    const interrupted = new AbortController();
    const end = executorFor(request(), credentials).version(interrupted.signal);
    await vi.waitUntil(() => cluster.left.has("Pod gate"), { interval: 1 });
    interrupted.abort();
    await expect(end).rejects.toThrow("This operation was aborted");
    nothingLeft();
  });

  test("names the contexts there are instead of one that is not", async () => {
    await expect(version({}, { context: "lod" })).rejects.toThrow(
      new RunFailure("the kubeconfig has no context lod; it has: other, load, torn"),
    );
    expect(cluster.changes).toEqual([]);
  });

  test("says what the kubeconfig lacks", async () => {
    await expect(version({}, { context: "torn" })).rejects.toThrow(
      new RunFailure("the kubeconfig does not have the cluster that its context torn names"),
    );
    vi.stubEnv("KUBECONFIG", path.resolve("none"));
    await expect(version()).rejects.toThrow(/^the kubeconfig cannot be read: ENOENT/);
    fs.writeFileSync("broken", "contexts: [");
    vi.stubEnv("KUBECONFIG", path.resolve("broken"));
    await expect(version()).rejects.toThrow(/^the kubeconfig cannot be read: /);
  });

  test("says of an API that does not answer that it does not", async () => {
    const url = await nowhere();
    vi.stubEnv("KUBECONFIG", kubeconfig(url));
    await expect(version()).rejects.toThrow(
      /^the cluster does not answer as it should: .*ECONNREFUSED/,
    );
    vi.stubEnv("KUBECONFIG", kubeconfig("http://no-such-host.invalid:6443"));
    await expect(version()).rejects.toThrow(
      /^the cluster does not answer as it should: .*no-such-host\.invalid/,
    );
  });

  test("says what a cluster refuses", async () => {
    cluster.refuses = { Pod: { code: 403, message: 'pods "gate" is forbidden:\nviolates policy' } };
    await expect(version()).rejects.toThrow(
      new RunFailure('the cluster refuses Pod gate: pods "gate" is forbidden: violates policy'),
    );
    nothingLeft();
  });
});

/** What k6 exports of a run of a minute: its metrics, and how often a threshold was breached. */
const summaryOf = (requests: number, thresholds: Record<string, boolean> = {}, seconds = 60) =>
  toldSummary({ iterations: { count: 1 }, http_reqs: { count: requests, thresholds } }, seconds);
const says = (job: number | string, text: string) => {
  cluster.logs[`${name}-${job}-abcde`] = text;
};
const nothingLeft = () => expect([...cluster.left.keys()]).toEqual([]);

describe("runners in a cluster", () => {
  test("get the packed script, a login and their parts of the load, and leave nothing", async () => {
    fs.mkdirSync("temporary");
    vi.stubEnv("TMPDIR", path.resolve("temporary"));
    fakeK6({ archive: "what k6 packed" });
    const { ends } = await run([both, begun, over()]);
    expect(ends).toHaveLength(2);
    expect(cluster.changes.slice(0, 3)).toEqual(making);
    expect(cluster.changes.slice(3).sort()).toEqual([...removal].sort());
    nothingLeft();

    const [map, secret, testRun] = cluster.made;
    expect(Buffer.from(map.binaryData["archive.tar"], "base64").toString()).toBe("what k6 packed");
    const config = JSON.parse(secret.stringData["config.json"]);
    expect(config.collectors.influxdb).toEqual({
      ...{ addr: "http://10.0.0.1:8086", db: "k6" },
      ...{ username: "k6", password: "write-password" },
    });
    expect(secret.stringData.secrets).toBe(secretsText);
    for (const command of ["archive", "inspect"]) {
      expect(fs.readFileSync(`bin/${command}-secrets`, "utf8")).toBe(secretsText);
    }
    expect(JSON.stringify([map, testRun])).not.toContain("password");
    expect(testRun.spec).toMatchObject({
      parallelism: 2,
      args: expect.arrayContaining([`--tag=testid=${id}`]),
      script: { configMap: { name: map.metadata.name, file: "archive.tar" } },
      runner: { volumes: [{ secret: { secretName: secret.metadata.name } }, { emptyDir: {} }] },
    });

    const [archive, ...args] = argumentsFor("archive");
    expect([archive, ...args.slice(0, 6)]).toEqual([
      ...["archive", "--include-system-env-vars=false", "--secret-source=file=/dev/fd/4"],
      ...["--env", `TESTID=${id}`, "--env", "BASE_URL=http://10.0.0.1:8080"],
    ]);
    expect(args.at(-1)).toBe("-");
    expect(args.join(" ")).not.toContain("password");
    expect(fs.readdirSync("temporary")).toEqual([]);
  });

  test("get the tags of the script's options, whatever is in them, since the operator sets some", async () => {
    fakeK6({ tags: { team: "a  b", cost: "$5", none: "", testid: "another" } });
    await run([both, begun, over()]);
    const { args } = cluster.made[2].spec;
    expect(args.filter((each: string) => each.startsWith("--tag"))).toEqual([
      ...["--tag=team=a  b", "--tag=cost=$$5", `--tag=testid=${id}`],
    ]);

    fakeK6({ tags: { "a=b": "c" } });
    const { failure } = await run([both, begun, over()]);
    expect(failure).toBe(
      'the script\'s options have a tag "a=b": with executor kubernetes its name must not be empty, nor have "="',
    );
  });

  test("have k6 pack the script for the target as this machine sees it, if pods see the same", async () => {
    await run([over()], { target: { url: "http://shop.example", version: "1" } });
    expect(argumentsFor("archive")).toContain("BASE_URL=http://shop.example");
  });

  test("are told of together, and leave their logs apart", async () => {
    const log = `time="2026" level=error msg="Couldn't write stats" error="full"`;
    const said1 = `before\n${summaryOf(400)}running (34.0s)\n`;
    const said2 = `before\n${log}\n${summaryOf(600)}running (35.0s)\n`;
    says(1, said1);
    says(2, said2);
    const { ends, said } = await run([
      { pods: [], stage: "initialized" },
      { pods: [pod(1)], stage: "created" },
      both,
      both,
      begun,
      { pods: [pod(1, ended(0)), pod(2), pod("starter", ended(0))] },
      over(0, 99),
    ]);
    expect(ends).toEqual([
      { name: "runner 1 (node node-1)", dir: "out/runner-1", exitCode: 0 },
      { name: "runner 2 (node node-2)", dir: "out/runner-2", exitCode: 99 },
    ]);
    expect(read("runner-1/k6.log")).toBe(said1);
    expect(read("runner-2/k6.log")).toBe(said2);
    expect(said).toEqual([
      "runners 2, not all have begun",
      "runners 2, not all have begun (node-1: 1)",
      "runners 2, not all have begun (node-1: 1, node-2: 1)",
      "runners 2, all have begun (node-1: 1, node-2: 1)",
      "runners 2, 1 have ended (node-1: 1, node-2: 1)",
    ]);
    // What a deadline follows from, then what was said.
    const [planned, ...lines] = read("k6.log").trim().split("\n");
    expect(planned).toBe("1m30s max duration (incl. graceful stop)");
    expect(lines.map((line) => line.slice(25))).toEqual(said);
  });

  test("that share a node are counted", async () => {
    const one = [pod(1, running, "node-7"), pod(2, running, "node-7")];
    const { said } = await run([{ pods: one }, over()]);
    expect(said).toEqual(["runners 2, not all have begun (node-7: 2)"]);
  });

  test("are told by k6's container where a cluster puts another beside it", async () => {
    const another = { ...running.containerStatuses[0], name: "proxy" };
    const beside = ({ pods = [], ...rest }: Moment): Moment => ({
      ...rest,
      pods: pods.map(({ status, ...pod }) => ({
        ...pod,
        status: {
          phase: "Running",
          containerStatuses: [another, ...(status?.containerStatuses ?? [])],
        },
      })),
    });
    const { ends, said } = await run([both, begun, over(0, 99)].map(beside));
    expect(ends?.map(({ exitCode }) => exitCode)).toEqual([0, 99]);
    expect(said).toEqual([
      "runners 2, not all have begun (node-1: 1, node-2: 1)",
      "runners 2, all have begun (node-1: 1, node-2: 1)",
    ]);
  });

  test("all end as soon as one of them ends badly", async () => {
    says(1, "going on\n");
    says(2, `level=error msg="boom"\n`);
    const { ends } = await run([
      begun,
      { pods: [pod(1), pod(2, ended(107)), pod("starter", ended(0))] },
    ]);
    expect(ends).toEqual([{ name: "runner 2 (node node-2)", dir: "out/runner-2", exitCode: 107 }]);
    expect(seconds()).toBeLessThan(5);
    expect(read("runner-1/k6.log")).toBe("going on\n");
    expect(read("runner-2/k6.log")).toBe(`level=error msg="boom"\n`);
    nothingLeft();
  });

  test.each<[string, V1Pod["status"], string]>([
    ["OOMKilled", ended(137, "OOMKilled"), "OOMKilled"],
    ["evicted", { ...ended(137), reason: "Evicted" }, "Evicted"],
    ["of a lost state", ended(137, "ContainerStatusUnknown"), "ContainerStatusUnknown"],
  ])("say why Kubernetes ended one: %s", async (_, status, why) => {
    const { ends } = await run([begun, { pods: [pod(1), pod(2, status)] }]);
    expect(ends).toEqual([
      { name: `runner 2 (node node-2, ${why})`, dir: "out/runner-2", exitCode: 137 },
    ]);
  });

  test("say of one whose pod was deleted that it was told to end", async () => {
    const deleted = pod(2, ended(105));
    deleted.metadata!.deletionTimestamp = new Date(0);
    const { ends } = await run([begun, { pods: [pod(1), deleted] }]);
    const name = "runner 2 (node node-2, told to end)";
    expect(ends).toEqual([{ name, dir: "out/runner-2", exitCode: 105 }]);
  });

  const failed = { phase: "Failed" };
  const evicted = { ...failed, reason: "Evicted", message: "The node was low on\nmemory." };
  const leaving = (): V1Pod => {
    const leaver = pod(2);
    return { ...leaver, metadata: { ...leaver.metadata, deletionTimestamp: new Date(0) } };
  };
  test.each<[string, Moment, string]>([
    ["is gone", { pods: [pod(1)] }, "is gone"],
    ["is gone after all have begun", { ...begun, pods: [pod(1), begun.pods![2]] }, "is gone"],
    ["failed without a word", { pods: [pod(1), pod(2, failed)] }, "failed"],
    [
      "was evicted",
      { pods: [pod(1), pod(2, evicted)] },
      "failed: Evicted The node was low on memory.",
    ],
    [
      "is on a node that does not answer",
      { nodes: { "node-2": "not ready" } },
      "does not answer, nor does the node",
    ],
    [
      "is on a node that is gone",
      { nodes: { "node-2": "gone" } },
      "does not answer, nor does the node",
    ],
    ["was told to end", { pods: [pod(1), leaving()] }, "was told to end"],
  ])("are lost when one's pod %s", async (_, loss, why) => {
    says(1, "going on\n");
    const { failure } = await run([begun, loss]);
    expect(failure).toBe(`runner 2 was lost: its pod ${name}-2-abcde on node node-2 ${why}`);
    expect(seconds()).toBeLessThan(10);
    expect(read("runner-1/k6.log")).toBe("going on\n");
    nothingLeft();
  });

  test("keep what was heard of one that is gone", async () => {
    says(2, "heard\n");
    const heard = () => fs.existsSync("out/runner-2/k6.log") && read("runner-2/k6.log") !== "";
    const gone = () => {
      delete cluster.logs[`${name}-2-abcde`];
      return { pods: [pod(1)] };
    };
    const { failure } = await run([begun, () => (heard() ? gone() : keepAsking())]);
    expect(failure).toContain("runner 2 was lost");
    expect(read("runner-2/k6.log")).toBe("heard\n");
  });
  const keepAsking = (): Moment => {
    cluster.story.push(cluster.story[0]);
    return {};
  };

  test("are watched by those who may not look at nodes", async () => {
    const nodes = { "node-1": "hidden", "node-2": "hidden" } as const;
    expect((await run([{ ...begun, nodes }, begun, over()])).ends).toHaveLength(2);
  });

  test.each([
    ["ImagePullBackOff", "Back-off pulling image", 'manifest for "k6:1" not found'],
    ["InvalidImageName", "couldn't parse", "couldn't parse"],
    ["CreateContainerConfigError", "secret not found", "secret not found"],
  ])("end at once where one will not run: %s", async (reason, message, why) => {
    const pull = reason === "ImagePullBackOff" ? 'manifest for "k6:1"\nnot found' : "";
    const first = waiting("ErrImagePull", pull);
    const { failure } = await run([
      { pods: [pod(1), pod(2, first)] },
      { pods: [pod(1), pod(2, waiting(reason, message))] },
    ]);
    expect(failure).toBe(`${reason} (k6:1): ${why}`);
    expect(seconds()).toBeLessThan(5);
    nothingLeft();
  });

  test("end where the starter's image cannot be had", async () => {
    const starter = pod("starter", waiting("ImagePullBackOff", "no such image", "starter:1"));
    const { failure } = await run([both, { stage: "started", pods: [...both.pods!, starter] }]);
    expect(failure).toBe("ImagePullBackOff (starter:1): no such image");
  });

  test("end where the starter fails, which would leave them waiting", async () => {
    says("starter", "\ncurl: (7) Failed to connect\n");
    const { failure } = await run([
      both,
      { stage: "started", pods: [...both.pods!, pod("starter", ended(7))] },
    ]);
    expect(failure).toBe("the pod that has the runners begin failed: curl: (7) Failed to connect");
    expect(seconds()).toBeLessThan(5);
  });

  const unplaced = (message: string): V1Pod["status"] => ({
    phase: "Pending",
    conditions: [{ type: "PodScheduled", status: "False", message }],
  });

  test("end when no node takes one for a minute", async () => {
    const nowhere = unplaced("0/2 nodes are available:\n2 Insufficient cpu.");
    const { failure } = await run([{ stage: "created", pods: [pod(1), pod(2, nowhere)] }]);
    expect(failure).toBe(
      `no node takes pod ${name}-2-abcde: 0/2 nodes are available: 2 Insufficient cpu.`,
    );
    expect(seconds()).toBeGreaterThanOrEqual(60);
    expect(seconds()).toBeLessThan(65);
    nothingLeft();
  });

  test("may wait for a node for less than a minute", async () => {
    const wait: Moment = { stage: "created", pods: [pod(1), pod(2, unplaced("no room"))] };
    const { ends } = await run([...Array<Moment>(50).fill(wait), both, begun, over()]);
    expect(ends).toHaveLength(2);
  });

  const scalingUp = (reason: string, of = "uid-2"): Moment => ({
    ...{ stage: "created", pods: [pod(1), pod(2, unplaced("no room"))] },
    events: { [of]: ["FailedScheduling", reason] },
  });

  test.each(["TriggeredScaleUp", "Nominated"])(
    "may wait for minutes for a node that is on its way: %s",
    async (reason) => {
      const wait = Array<Moment>(250).fill(scalingUp(reason));
      const { ends } = await run([...wait, both, begun, over()]);
      expect(ends).toHaveLength(2);
    },
  );

  test.each<[string, Moment, number]>([
    ["that does not come in five minutes", scalingUp("TriggeredScaleUp"), 300],
    ["that will not come", scalingUp("NotTriggerScaleUp"), 60],
    ["that comes for another", scalingUp("Nominated", "uid-1"), 60],
    ["of which nobody may know", { ...scalingUp("Nominated"), refused: "hidden" }, 60],
  ])("do not wait for a node %s", async (_, wait, patience) => {
    const { failure } = await run([wait]);
    expect(failure).toBe(`no node takes pod ${name}-2-abcde: no room`);
    expect(seconds()).toBeGreaterThanOrEqual(patience);
    expect(seconds()).toBeLessThan(patience + 5);
    nothingLeft();
  });

  test("end where the cluster makes none of them, and say why", async () => {
    const why = "Error creating: pods is forbidden: exceeded quota: k6";
    const refused = { [`${name}-2`]: why, "run-20250101t000000z-1": "an older run's" };
    const { failure } = await run([{ stage: "created", pods: [pod(1)], refused }]);
    expect(failure).toBe(`the cluster makes no pod: ${why}`);
    expect(seconds()).toBeLessThan(10);
    nothingLeft();
  });

  test("may come late, and those who may not look at events wait for them", async () => {
    const late: Moment = { stage: "created", pods: [pod(1)], refused: "hidden" };
    const { ends } = await run([...Array<Moment>(20).fill(late), both, begun, over()]);
    expect(ends).toHaveLength(2);
  });

  test("cannot be had without a k6 operator", async () => {
    cluster.operator = false;
    const { failure } = await run([{}]);
    expect(failure).toBe("the cluster has no k6 operator: it knows no TestRun of k6.io/v1alpha1");
    nothingLeft();
  });

  test("cannot be had of an operator that takes nothing", async () => {
    const { failure } = await run([{ pods: [] }]);
    expect(failure).toBe("no k6 operator has taken the TestRun in 60 s: does it run?");
    expect(seconds()).toBeGreaterThanOrEqual(60);
    expect(seconds()).toBeLessThan(65);
    nothingLeft();
  });

  test("cannot be had of an operator that reports an error", async () => {
    const { failure } = await run([{ pods: [], stage: "initialization" }, { stage: "error" }]);
    expect(failure).toBe("the k6 operator reports an error, see its log");
    nothingLeft();
  });

  test("end when they have not begun in time", async () => {
    const starting = pod("starter", { phase: "Pending" });
    const { failure } = await run([{ stage: "started", pods: [pod(1), pod(2), starting] }]);
    expect(failure).toBe(
      'the runners had not begun after 600 s: the k6 operator has come to "started" with 2 of 2 pods',
    );
    expect(seconds()).toBeLessThan(610);
    nothingLeft();
  });

  test("outlive an API that does not answer for a while", async () => {
    const away = Array<Moment>(50).fill({ down: true });
    says(1, summaryOf(1));
    const { ends } = await run([begun, ...away, { down: false }, over()]);
    expect(ends).toHaveLength(2);
    expect(read("runner-1/k6.log")).toBe(summaryOf(1));
    nothingLeft();
  });

  test("leave their logs though the API fails when it is asked for them first", async () => {
    says(1, summaryOf(1));
    says(2, summaryOf(2));
    cluster.cutLogs = 4;
    const { ends } = await run([{ pods: over().pods }]);
    expect(ends).toHaveLength(2);
    expect(read("runner-1/k6.log")).toBe(summaryOf(1));
    expect(read("runner-2/k6.log")).toBe(summaryOf(2));
  });

  test("end with an API that does not come back", async () => {
    const { failure } = await run([begun, { down: true }]);
    expect(failure).toMatch(/^the cluster does not answer as it should: .*(hang up|ECONNRESET)/);
    expect(seconds()).toBeGreaterThanOrEqual(60);
    expect(seconds()).toBeLessThan(100);
  });

  test.each(["ConfigMap", "Secret", "TestRun"])(
    "are not made where %s is refused",
    async (kind) => {
      cluster.refuses = { [kind]: { code: 403, message: "exceeded quota:\nk6" } };
      const { failure } = await run([{}]);
      expect(failure).toBe(`the cluster refuses ${kind} ${name}: exceeded quota: k6`);
      nothingLeft();
    },
  );

  const uncounted = {
    code: 403,
    message: `testruns.k6.io "${name}" is forbidden: status unknown for quota: one-run`,
  };

  test("are made once a new quota has counted what is there", async () => {
    cluster.refuses = { TestRun: { ...uncounted, times: 30 } };
    const { ends } = await run([begun, over()]);
    expect(ends).toHaveLength(2);
    nothingLeft();
  });

  test("are not made where a quota never counts", async () => {
    cluster.refuses = { TestRun: { ...uncounted } };
    const { failure } = await run([{}]);
    expect(failure).toBe(`the cluster refuses TestRun ${name}: ${uncounted.message}`);
    expect(seconds()).toBeGreaterThanOrEqual(60);
    expect(seconds()).toBeLessThan(70);
    nothingLeft();
  });

  test("are all removed when the run is interrupted, and what they said is kept", async () => {
    says(1, "going on\n");
    const interrupted = new AbortController();
    const stop = () => (interrupted.abort(), {});
    const { ends } = await run([begun, begun, stop], {}, {}, interrupted.signal);
    expect(ends).toEqual([]);
    expect(read("runner-1/k6.log")).toBe("going on\n");
    nothingLeft();
  });

  test("are removed, by force on a node that does not answer, lest the quota counts them", async () => {
    const nodes = { "node-2": "not ready" } as const;
    const { failure } = await run([begun, { nodes }]);
    expect(failure).toContain("runner 2 was lost");
    expect(seconds()).toBeLessThan(10);
    const forced = cluster.changes.filter((change) => change.startsWith("DELETE pods "));
    expect(forced).toEqual([`DELETE pods ${pod(2).metadata!.name}`]);
  });

  test("are told of when they do not end", async () => {
    // A pod that nothing removes, as one with a finalizer that nobody clears.
    cluster.stubborn = [pod(1)];
    const { failure } = await run([over()]);
    expect(failure).toBe(`pods of the run do not end in namespace ${namespace}`);
    expect(seconds()).toBeGreaterThanOrEqual(60);
  });

  test("have at least one virtual user each", async () => {
    fakeK6({ maxVUs: 1 });
    expect((await run([{}])).failure).toBe(
      "the script has 1 virtual users at most, fewer than there are runners (2)",
    );
    expect(cluster.changes).toEqual([]);
    fakeK6({ maxVUs: 2 });
    expect((await run([over()])).ends).toHaveLength(2);
  });

  test("get a script of at most what a ConfigMap takes", async () => {
    fakeK6({ archive: "x".repeat(configMapLimit + 1) });
    expect((await run([{}])).failure).toBe(
      `the script and what it opens have 1048577 bytes, but a ConfigMap takes 1048576 at most; ` +
        `executor docker and local have no such limit`,
    );
    expect(cluster.changes).toEqual([]);
    fakeK6({ archive: "x".repeat(configMapLimit) });
    expect((await run([over()])).ends).toHaveLength(2);
  });

  test("are not made for a script that is not right; k6's exit code and words are kept", async () => {
    fakeK6({ exit: 107, log: `level=error msg="no default"\n` });
    expect((await run([{}])).ends).toEqual([{ dir: "out", exitCode: 107 }]);
    expect(read("k6.log")).toBe(`level=error msg="no default"\n`);
    expect(cluster.changes).toEqual([]);
  });

  test("are not made without a k6 on this machine", async () => {
    const binary = path.resolve("no-k6");
    const { failure } = await run([{}], {}, { binary });
    expect(failure).toBe(`k6 cannot be started (${binary}): spawn ${binary} ENOENT`);
    expect(cluster.changes).toEqual([]);
  });
});

describe("a run over several runners", () => {
  /** Runs the test with a cluster whose story this is, and an InfluxDB that says this. */
  async function runTest(
    story: typeof cluster.story,
    figures: Parameters<typeof answersOf>[0] = {},
    more: Partial<RunRequest> = {},
    executor: Partial<Cluster> = {},
    interrupted = signal,
  ) {
    // As if there had been none before.
    fs.rmSync("runs", { recursive: true, force: true });
    vi.setSystemTime(start);
    cluster.story = story;
    const iterations = executor.parallelism ?? 2;
    const influxdb = await fakeInfluxDb(answersOf({ iterations, ...figures }));
    const said: string[] = [];
    const end = runLoadTest(
      request({ influxdb, ...more }, executor),
      credentials,
      (line) => said.push(line),
      interrupted,
    );
    const failure = await end.then(
      () => undefined,
      (error: Error) => error.message,
    );
    nothingLeft();
    const summary: Summary = JSON.parse(fs.readFileSync(`runs/${id}/summary.json`, "utf8"));
    expect(summary.verdict).toBe(failure ? "failed" : "passed");
    return { failure, summary, said };
  }

  test("has the requests of all, and takes as long as the longest", async () => {
    says(1, summaryOf(400, {}, 60));
    says(2, summaryOf(600, {}, 50));
    const { summary, said } = await runTest([both, begun, over()]);
    expect(summary).toMatchObject({ requests: 1000, rps: 16.67, warnings: [] });
    expect(summary.k6Version).toBe("v1.8.1");
    expect(said).toEqual([
      `run ${id}: gate open, k6 v1.8.1 starts (k6/coupon-issue.ts)`,
      "runners 2, not all have begun (node-1: 1, node-2: 1)",
      "runners 2, all have begun (node-1: 1, node-2: 1)",
      `run ${id}: passed, p99 456.79 ms, p95 123.46 ms, average 42.13 ms, 16.67/s`,
    ]);
  });

  test("misses what one of them made and the store has not", async () => {
    says(1, summaryOf(400));
    says(2, summaryOf(601));
    const { failure } = await runTest([over()]);
    expect(failure).toBe(
      "load test failed: points are missing from InfluxDB: " +
        "k6 made 1001 requests, 1000 are stored, 1 are missing",
    );
  });

  test("is judged over all, whatever one finds of its own part of the load", async () => {
    says(1, summaryOf(400));
    says(2, summaryOf(600, { "count>=1": true }));
    expect((await runTest([over(0, 99)])).failure).toBeUndefined();
    const { failure } = await runTest([over(0, 99)], { p95: 600 });
    expect(failure).toBe("load test failed: p95 600 ms is over the limit of 500 ms");
  });

  test("fails by a threshold of the script's own that one finds breached, and names it", async () => {
    says(1, summaryOf(400, { "rate>=5": false }));
    says(2, summaryOf(600, { "rate>=99": true, "count>=1": true }));
    const { failure } = await runTest([over(0, 99)]);
    expect(failure).toBe(
      "load test failed: k6 found a threshold breached: " +
        "http_reqs: rate>=99 (runner 2 (node node-2))",
    );
  });

  test("says what of the script each of them ran", async () => {
    const script = "k6/hooks.js";
    fs.writeFileSync(script, "");
    fakeK6({ exports: "default,setup,teardown" });
    says(1, summaryOf(400));
    says(2, summaryOf(600));
    const { summary } = await runTest([over()], {}, { script });
    expect(summary.warnings).toHaveLength(1);
    expect(summary.warnings[0]).toMatch(
      /^each of the 2 runners ran (setup and teardown|teardown and setup) of the script$/,
    );
    // One runs them once.
    says(1, summaryOf(1000));
    const one = [{ pods: [pod(1, ended(0))] }];
    expect((await runTest(one, {}, { script }, { parallelism: 1 })).summary.warnings).toEqual([]);
  });

  test("says how many iterations were cut off in all", async () => {
    const cut = (count: number) => `running (34.0s), 0/9 VUs, 3 complete and ${count} interrupted`;
    says(1, `${summaryOf(400)}${cut(0)} iterations\n${cut(3)} iterations\n`);
    says(2, `${summaryOf(600)}${cut(4)} iterations\n`);
    expect((await runTest([over()])).summary.warnings).toEqual([
      "k6 cut off 7 iterations that had not ended: their last requests are in no figure",
    ]);
  });

  test("may miss as many requests as can coincide within each", async () => {
    says(1, summaryOf(500_000));
    says(2, summaryOf(500_000));
    // Twenty of each; were they one, it would be 57.
    expect((await runTest([over()], { requests: 999_960 })).failure).toBeUndefined();
    expect((await runTest([over()], { requests: 999_959 })).failure).toContain("41 are missing");
    says(2, `level=error msg="Couldn't write stats" error=EOF\n${summaryOf(500_000)}`);
    expect((await runTest([over()], { requests: 999_999 })).failure).toContain(
      "1 are missing; a write failed: EOF",
    );
  });

  test.each<[string, Moment, string]>([
    ["ended badly", over(0, 107), "k6 of runner 2 (node node-2) ended with exit code 107: boom"],
    [
      "took too much memory",
      { pods: [pod(1), pod(2, ended(137, "OOMKilled"))] },
      "k6 of runner 2 (node node-2, OOMKilled) ended with exit code 137: boom",
    ],
    [
      "was lost",
      { pods: [pod(1)] },
      `runner 2 was lost: its pod ${name}-2-abcde on node node-2 is gone`,
    ],
  ])("fails with the runner that %s", async (_, moment, why) => {
    says(1, summaryOf(1000));
    says(2, `time="2026" level=error msg="boom"\n`);
    const { failure } = await runTest([begun, moment]);
    expect(failure).toBe(`load test failed: ${why}`);
  });

  test("fails with a runner that leaves no summary", async () => {
    says(1, summaryOf(1000));
    const { failure } = await runTest([over()]);
    expect(failure).toBe(
      "load test failed: k6 of runner 2 (node node-2) told no figures: " +
        `see runs/${id}/runner-2/k6.log`,
    );
  });

  test("fails with k6's words for a script that is not right", async () => {
    fakeK6({ exit: 107, log: `time="2026" level=error msg="no default"\n` });
    const { failure } = await runTest([{}]);
    expect(failure).toBe("load test failed: k6 ended with exit code 107: no default");
    expect(cluster.changes.filter((each) => each.startsWith("POST testruns"))).toEqual([]);
  });

  test("that is interrupted says so, and leaves nothing in the cluster", async () => {
    const interrupted = new AbortController();
    const stop = () => (interrupted.abort(), {});
    const { failure } = await runTest([begun, stop], {}, {}, {}, interrupted.signal);
    expect(failure).toBe("load test failed: the run was interrupted");
  });

  test("has time to start besides", () => {
    const local = timeFor(requestFor(), { aroundSeconds: 0 }, "").k6;
    expect(timeFor(request(), { aroundSeconds: 0 }, "").k6).toBe(local + 600);
  });
});
