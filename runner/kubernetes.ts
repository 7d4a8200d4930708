/** k6 in a cluster: runners that share the load, each a pod of the k6 operator's. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Api, connect, reasonOf } from "./cluster";
import { isWhole } from "./ending";
import { allowedRedirect, askedByHttp } from "./gate";
import type { Entry } from "./entry";
import {
  ended,
  inspectArguments,
  k6Config,
  scriptArguments,
  secretsFile,
  sourceArguments,
} from "./k6";
import { openFiles, startK6 } from "./local";
import { isStarter, k6Of, Runner, Waiting } from "./pods";
import {
  type Asked,
  configMapLimit,
  filesOf,
  gateManifests,
  runLabel,
  runName,
  testRun,
} from "./test-run";
import {
  type Cluster,
  type Credentials,
  type Ended,
  type Executor,
  oneLine,
  RunFailure,
  type RunRequest,
} from "./types";

/** How long it may take until all runners have begun, in seconds: a node may have to fetch k6. */
export const patienceToStart = 600;

/** How long the operator may do nothing, the API not answer, in seconds. */
const patience = 60;

export function kubernetesExecutor(
  request: RunRequest,
  credentials: Credentials,
  cluster: Cluster,
  say: (line: string) => void,
): Executor {
  const secrets = secretsFile(credentials);
  const ownK6 = k6Here(request, cluster, secrets);
  return {
    async version(signal) {
      const api = await connect(cluster);
      return cleanly(api, async () => {
        // What a run has left that was killed.
        await api.removeAll();
        return passGate(api, request, cluster, signal);
      });
    },
    async inspect(id, dir, entry, signal) {
      const args = inspectArguments(request, id, openFiles, podUrlOf(request));
      const { stdout, ...end } = await ownK6(dir, args, entry, signal);
      return { ...end, options: stdout };
    },
    async run(id, dir, entry, signal) {
      const packed = await pack(request, cluster, ownK6, id, dir, entry, signal);
      if (typeof packed === "number") return [{ dir, exitCode: packed }];
      const api = await connect(cluster);
      const url = request.influxdb.podUrl ?? request.influxdb.url;
      const config = k6Config(request, credentials, url);
      return cleanly(api, async () => {
        const files = filesOf(id, packed.script.toString("base64"), config, secrets);
        await api.create(...files, testRun(request.profile, cluster, id, packed.tags));
        return watch(api, id, cluster.parallelism, dir, say, signal);
      });
    },
  };
}

/** Does what makes something in the cluster, and has all of it gone again, however that ends. */
async function cleanly<T>(api: Api, work: () => Promise<T>): Promise<T> {
  try {
    const done = await work();
    await api.removeAll();
    return done;
  } catch (error) {
    // Why it ended matters more than what could not be removed, which the next run tries again.
    await api.removeAll().catch(() => undefined);
    if (error instanceof RunFailure) throw error;
    throw new RunFailure(`the cluster does not answer as it should: ${reasonOf(error)}`);
  }
}

const podUrlOf = ({ target }: Pick<RunRequest, "target">) => target.podUrl ?? target.url;

/**
 * Runs k6 of this machine in the script's folder, with the entry as its standard input, and keeps its
 * log. A pod's folder takes what the script's summary writes, and is gone with it.
 */
const k6Here =
  (request: RunRequest, { binary }: Cluster, secrets: string) =>
  async (dir: string, args: string[], entry: Entry, signal: AbortSignal) => {
    const script = path.resolve(request.script);
    const input = entry({ script, files: "/tmp" });
    const k6 = startK6(binary, script, args, { input, config: "", secrets });
    let stdout = "";
    const print = (text: string) => (stdout += text);
    const end = await ended(k6, dir, signal, () => k6.kill("SIGKILL"), print).catch(
      ({ message }) => {
        throw new RunFailure(`k6 cannot be started (${binary}): ${message}`);
      },
    );
    return { ...end, stdout };
  };

/**
 * Has k6 of this machine pack the script with all that it needs; gives that and the tags of its options,
 * or k6's exit code, and its log in `dir`, when the script is not right.
 *
 * @throws RunFailure when the archive is larger than a ConfigMap, or a runner would have no user
 */
async function pack(
  request: RunRequest,
  cluster: Cluster,
  ownK6: ReturnType<typeof k6Here>,
  id: string,
  dir: string,
  entry: Entry,
  signal: AbortSignal,
): Promise<{ script: Buffer; tags: Record<string, string> } | number> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "coupon-load-test-"));
  const archive = path.join(folder, "archive.tar");
  try {
    const sources = sourceArguments(openFiles.secrets);
    const variables = scriptArguments(request, id, podUrlOf(request));
    const out = ["--archive-out", archive, "--no-color", "-"];
    const packing = await ownK6(dir, ["archive", ...sources, ...variables, ...out], entry, signal);
    if (packing.exitCode !== 0) return packing.exitCode;
    const inspect = ["inspect", ...sources, "--execution-requirements", archive];
    const { exitCode, stdout } = await ownK6(dir, inspect, () => "", signal);
    if (exitCode !== 0) return exitCode;
    // As k6 says it when it runs: so the time that the test may take is known, see `timeFor`.
    const { totalDuration, maxVUs, tags = {} } = JSON.parse(stdout);
    const log = path.join(dir, "k6.log");
    fs.appendFileSync(log, `${totalDuration} max duration (incl. graceful stop)\n`);
    if (maxVUs < cluster.parallelism) {
      throw new RunFailure(
        `the script has ${maxVUs} virtual users at most, fewer than there are runners ` +
          `(${cluster.parallelism})`,
      );
    }
    const script = fs.readFileSync(archive);
    if (script.length > configMapLimit) {
      throw new RunFailure(
        `the script and what it opens have ${script.length} bytes, but a ConfigMap takes ` +
          `${configMapLimit} at most; executor docker and local have no such limit`,
      );
    }
    return { script, tags: tagsFor(tags, id) };
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

/**
 * The tags of a script's options and the run's own, as a command line can have them. InfluxDB keeps none
 * that is empty.
 *
 * @throws RunFailure for a tag whose name it cannot have
 */
function tagsFor(tags: Record<string, string>, testid: string): Record<string, string> {
  const odd = Object.keys(tags).find((key) => key === "" || key.includes("="));
  if (odd !== undefined) {
    throw new RunFailure(
      `the script's options have a tag ${JSON.stringify(odd)}: with executor kubernetes its name ` +
        `must not be empty, nor have "="`,
    );
  }
  const kept = Object.entries(tags).filter(([, value]) => value !== "");
  return { ...Object.fromEntries(kept), testid };
}

/** What the gate's pod says of an address. */
interface Answer {
  url: string;
  good: boolean;
  status: number;
  error: string;
  location?: string;
}

/** Has a pod ask InfluxDB and the target; gives the version of k6 in the cluster. */
async function passGate(
  api: Api,
  { influxdb, target, allowedHosts }: RunRequest,
  cluster: Cluster,
  signal: AbortSignal,
): Promise<string> {
  const store = `${influxdb.podUrl ?? influxdb.url}/ping`;
  const start = askedByHttp(podUrlOf({ target })) + (target.health ?? "");
  const asked: Asked[] = [
    { url: store, mustBeOk: true },
    { url: start, mustBeOk: Boolean(target.health) },
  ];
  // As many hops as k6 follows; a target that tells its health is the stack's own.
  for (let hop = 0; ; hop++) {
    const { version, answers } = await ask(api, cluster, asked, signal);
    const bad = answers.find(({ good }) => !good);
    if (bad) {
      const who = bad.url === store ? "InfluxDB" : "the target";
      const why = bad.error || `status ${bad.status}`;
      throw new RunFailure(`${who} did not answer the cluster's pods: ${bad.url} (${why})`);
    }
    const { url, status, location } = answers[answers.length - 1];
    if (target.health || status < 300 || status > 399 || !location || hop === 10) return version;
    const next = allowedRedirect(start, url, location, allowedHosts);
    asked.splice(0, 2, { url: next, mustBeOk: false });
    await api.removeAll();
  }
}

/** Runs the gate's pod once. */
async function ask(api: Api, cluster: Cluster, asked: Asked[], signal: AbortSignal) {
  const manifests = gateManifests(cluster, asked);
  const name = manifests[1].metadata!.name!;
  await api.create(...manifests);
  const waiting = new Waiting();
  for (const end = Date.now() + patienceToStart * 1000; ; await sleep(500)) {
    signal.throwIfAborted();
    const [pod] = await api.pods(`${runLabel}=${name}`);
    const problem = pod ? await waiting.problemOf(api, pod) : "it is gone";
    if (problem) throw new RunFailure(`the pod that asks for the target cannot run: ${problem}`);
    const ended = k6Of(pod)?.state?.terminated;
    if (ended || Date.now() > end) {
      const log = await api.logOf(name);
      const answers: Answer[] = log
        .split("\n")
        .filter((line) => line.startsWith('{"url"'))
        .map((line) => JSON.parse(line));
      const version = /^k6\S* (v\S+)/m.exec(log)?.[1];
      if (ended?.exitCode === 0 && version && answers.length === asked.length) {
        return { version, answers };
      }
      throw new RunFailure(`k6 cannot be started in the cluster: ${lastLine(log)}`);
    }
  }
}

const lastLine = (log: string) => oneLine(log.trim().split("\n").at(-1)!) || "it says nothing";

/**
 * Waits for all runners, and says how far they are. Ends early, and says why, when one will not run
 * or is lost; when `signal` fires it ends with nothing.
 */
async function watch(
  api: Api,
  id: string,
  parallelism: number,
  dir: string,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Ended[]> {
  const name = runName(id);
  const runners = Array.from({ length: parallelism }, (_, i) => new Runner(i + 1, name, dir));
  const waiting = new Waiting();
  const created = Date.now();
  let begun = false;
  let answered = Date.now();
  let said = "";
  const tell = (line: string) => {
    if (line === said) return;
    said = line;
    say(line);
    fs.appendFileSync(path.join(dir, "k6.log"), `${new Date().toISOString()} ${line}\n`);
  };
  try {
    for (; !signal.aborted; await sleep(1000, undefined, { signal }).catch(() => undefined)) {
      const [pods, stage] = await Promise.all([
        api.pods(`k6_cr=${name}`),
        api.testRun(name).then(({ status }) => status?.stage ?? ""),
      ]).catch((error) => {
        if (Date.now() - answered > patience * 1000) throw error;
        return [undefined, ""] as const;
      });
      if (!pods) continue;
      answered = Date.now();

      for (const runner of runners) await runner.look(api, pods);
      const ended = runners.filter(({ exitCode }) => exitCode !== undefined);
      const bad = ended.find(({ exitCode }) => !isWhole(exitCode!));
      if (bad) return [bad.end()];
      if (ended.length === parallelism) return runners.map((each) => each.end());

      const lost = (await Promise.all(runners.map((each) => each.loss(api)))).find(Boolean);
      if (lost) throw new RunFailure(lost);
      const problems = await Promise.all(pods.map((pod) => waiting.problemOf(api, pod)));
      const problem = problems.find(Boolean);
      if (problem) throw new RunFailure(problem);
      if (stage === "error") throw new RunFailure("the k6 operator reports an error, see its log");

      const starter = pods.find(isStarter);
      begun ||= ended.length > 0 || k6Of(starter)?.state?.terminated?.exitCode === 0;
      if (!begun && starter?.status?.phase === "Failed") {
        const log = await api.logOf(starter.metadata!.name!, "k6-curl");
        throw new RunFailure(`the pod that has the runners begin failed: ${lastLine(log)}`);
      }
      const there = pods.filter((pod) => !isStarter(pod)).length;
      if (!begun) await requireProgress(api, name, stage, created, there, parallelism);
      tell(progressOf(runners, begun));
    }
    return [];
  } finally {
    await Promise.all(runners.map((runner) => runner.keepLog(api)));
  }
}

/** Refuses to wait longer for what will not come. */
async function requireProgress(
  api: Api,
  name: string,
  stage: string,
  created: number,
  pods: number,
  parallelism: number,
) {
  const seconds = (Date.now() - created) / 1000;
  if (stage === "" && seconds > patience) {
    throw new RunFailure(`no k6 operator has taken the TestRun in ${patience} s: does it run?`);
  }
  const late = pods < parallelism && seconds > 5;
  // Who may not look at events, or does not get them now, waits.
  const refused = late ? await api.refusedPod(name).catch(() => undefined) : undefined;
  if (refused) throw new RunFailure(`the cluster makes no pod: ${refused}`);
  if (seconds > patienceToStart) {
    throw new RunFailure(
      `the runners had not begun after ${patienceToStart} s: the k6 operator has come to ` +
        `"${stage}" with ${pods} of ${parallelism} pods`,
    );
  }
}

/** How many runners are where, in one line. */
function progressOf(runners: Runner[], begun: boolean): string {
  const counts = new Map<string, number>();
  for (const { node } of runners) if (node) counts.set(node, (counts.get(node) ?? 0) + 1);
  const nodes = [...counts].map(([node, count]) => `${node}: ${count}`).sort();
  const ended = runners.filter(({ exitCode }) => exitCode !== undefined).length;
  const state = ended > 0 ? `${ended} have ended` : begun ? "all have begun" : "not all have begun";
  return `runners ${runners.length}, ${state}${nodes.length > 0 ? ` (${nodes.join(", ")})` : ""}`;
}
