/** k6 in a container: files are copied in and out, so no folder of this machine is mounted. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import * as tar from "tar-stream";
import { ownScript } from "../k6/profile";
import {
  ended,
  goEnvironment,
  inspectArguments,
  k6Arguments,
  k6Config,
  k6Environment,
  plainEnvironment,
  secretsFile,
  trustedBy,
  versionOf,
} from "./k6";
import { k6Memory } from "./needs";
import { type ScriptFiles, scriptFiles } from "./script";
import type { Entry } from "./entry";
import { type Credentials, type Executor, RunFailure, type RunRequest, type Usage } from "./types";

const exec = promisify(execFile);

/** Where everything is in a container. */
const folder = "/load-test";
const out = `${folder}/out`;
const ownFiles = { config: `${folder}/config.json`, secrets: `${folder}/secrets` };
const caIn = `${folder}/ca.pem`;

export function dockerExecutor(
  request: RunRequest,
  credentials: Credentials,
  { image, network }: { image: string; network: string },
): Executor {
  const mebibytes = k6Memory(request.profile);
  let usage: Usage | undefined;

  /** The script's files, and where the script is in a container. */
  function filesIn() {
    const { script, files } = scriptFiles(request.script);
    const place = { script: path.posix.join(folder, "script", script), files: `${out}/files` };
    return { files, place };
  }

  /** Runs k6 in a container of its own, with `entry` as its standard input; gives what `use` does. */
  async function inContainer<T>(
    { id, args, env = {}, config = "", network }: Contained,
    use: (start: () => ChildProcess, container: string) => Promise<T>,
    entry: Entry,
  ): Promise<T> {
    const { files, place } = filesIn();
    const container = `${id}-k6`;
    const memory = `${mebibytes}m`;
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    await removeLeftContainers(request.stack);
    await docker(
      ...["create", "--interactive", "--workdir", path.posix.dirname(place.script)],
      ...["--name", container, "--label", `coupon-load-test.stack=${request.stack}`],
      ...["--network", network, "--cap-drop", "ALL"],
      ...["--security-opt", "no-new-privileges"],
      // What is copied goes into a volume of its own: Docker copies nothing into a read-only system.
      ...["--read-only", "--tmpfs", "/tmp", "--volume", folder],
      // No limit of processors: k6 short of them would measure itself.
      ...["--memory", memory, "--memory-swap", memory, "--pids-limit", "1024"],
      ...variables.flatMap((each) => ["--env", each]),
      image,
      ...args,
    );
    try {
      const { caFile } = request.target;
      const ca: Record<string, string> = caFile
        ? { "ca.pem": fs.readFileSync(caFile, "utf8") }
        : {};
      const own = { "config.json": config, secrets: secretsFile(credentials), ...ca };
      await copyIn(`${container}:${folder}`, files, own);
      const start = () => {
        const k6 = spawn("docker", ["start", "--attach", "--interactive", container]);
        // One that ends before it has read all has said why.
        k6.stdin.on("error", () => undefined).end(entry(place));
        return k6;
      };
      return await use(start, container);
    } finally {
      // Where Docker went away, the next run or `make destroy` removes it.
      await docker("rm", "--force", "--volumes", container).catch(() => undefined);
    }
  }

  return {
    version: () => versionOf(["docker", "run", "--rm", "--network", "none", image]),
    async inspect(id, dir, entry, signal) {
      const { network: joined, baseUrl } = await placeInDocker(request, image, network);
      const args = inspectArguments(request, id, ownFiles, baseUrl);
      let options = "";
      const print = (text: string) => (options += text);
      const container = { id, args, env: plainEnvironment, network: joined };
      const end = await inContainer(
        container,
        (start, name) => ended(start(), dir, signal, () => stop(name, "KILL"), print),
        entry,
      );
      return { ...end, options };
    },
    async run(id, dir, entry, signal) {
      const { influxdbUrl, hosts, ...at } = await placeInDocker(request, image, network);
      const container = {
        ...{ id, network: at.network },
        env: {
          ...{ ...k6Environment(out), ...goEnvironment(mebibytes) },
          ...trustedBy(request.target.caFile && caIn),
        },
        args: k6Arguments(request, id, ownFiles, at.baseUrl),
        config: k6Config(request, credentials, influxdbUrl, hosts),
      };
      const end = await inContainer(
        container,
        async (start, name) => {
          const watched = watchUsage(name, network, (seen) => (usage = seen));
          const k6 = ended(start(), dir, signal, () => stop(name, "INT"));
          const end = await k6.finally(async () => (await watched)());
          await copyOut(name, out, dir);
          return end;
        },
        entry,
      );
      return [end];
    },
    usage: () => usage,
  };
}

/**
 * Has Docker tell each second what k6's container and the stack's InfluxDB take.
 *
 * @returns what ends that
 */
async function watchUsage(
  container: string,
  network: string,
  seen: (usage: Usage) => void,
): Promise<() => void> {
  const ofStore = ["--filter", `network=${network}`, "--filter", "name=-influxdb$"];
  const [store, cores] = await Promise.all([
    docker("ps", ...ofStore, "--format", "{{.Names}}").catch(() => ""),
    docker("info", "--format", "{{.NCPU}}").catch(() => ""),
  ]);
  const names = [container, ...store.split("\n").filter((name) => name !== "")];
  const format = "{{.Name}} {{.CPUPerc}} {{.MemPerc}}";
  const stats = spawn("docker", ["stats", "--format", format, ...names], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let ofInfluxDb: number | undefined;
  stats.on("error", () => undefined);
  stats.stdout.setEncoding("utf8").on("data", (text: string) => {
    for (const [, name, cpu, memory] of text.matchAll(/(\S+) ([\d.]+)% ([\d.]+)%/g)) {
      // A terminal's codes come before a name.
      if (!name.endsWith(container)) ofInfluxDb = Number(cpu) / 100;
      else {
        const k6 = { k6: Number(cpu) / 100, memory: Number(memory) / 100 };
        seen({ ...k6, store: ofInfluxDb, cores: Number(cores) || undefined });
      }
    }
  });
  // Docker's command takes a polite signal for a wish.
  return () => stats.kill("SIGKILL");
}

/** What differs between containers of k6. */
interface Contained {
  id: string;
  args: string[];
  env?: Record<string, string>;
  config?: string;
  network: string;
}

/** Sends k6 a signal. */
function stop(container: string, signal: "INT" | "KILL") {
  execFile("docker", ["kill", "--signal", signal, container], () => undefined);
}

/**
 * Removes the containers of k6 that killed runs of a stack have left, each with its copy of the
 * writer's password and the script's secrets; says whether there were any.
 */
export async function removeLeftContainers(stack: string): Promise<boolean> {
  const label = `label=coupon-load-test.stack=${stack}`;
  const left = await docker("ps", "--all", "--quiet", "--filter", label);
  const ids = left.split("\n").filter((id) => id !== "");
  if (ids.length > 0) await docker("rm", "--force", "--volumes", ...ids);
  return ids.length > 0;
}

/** What a command of Docker prints. @throws RunFailure with the reason, in one line */
async function docker(...args: string[]): Promise<string> {
  try {
    return (await exec("docker", args)).stdout;
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw dockerFailure(args[0], stderr || message);
  }
}

const dockerFailure = (command: string, complaint: string) =>
  new RunFailure(`docker ${command} failed: ${complaint.trim().split("\n").pop()}`);

/**
 * Which network k6's container joins, and by which addresses it reaches target and store.
 *
 * The stack's own target is reached by name in the stack's network, if the script takes its base
 * URL from outside. Anything else may be on this machine, even behind localhost: on Linux the
 * container then shares the machine's network; where Docker runs in a virtual machine, k6 is told
 * that localhost is that machine's host.
 */
async function placeInDocker(request: RunRequest, image: string, network: string) {
  const { target, influxdb } = request;
  if (target.networkUrl && influxdb.networkUrl && request.script === ownScript) {
    return { network, baseUrl: target.networkUrl, influxdbUrl: influxdb.networkUrl };
  }
  const system = await docker("info", "--format", "{{.OperatingSystem}}");
  const native = process.platform === "linux" && !system.includes("Docker Desktop");
  if (native) return { network: "host", baseUrl: target.url, influxdbUrl: influxdb.url };

  const hosts = await docker(
    ...["run", "--rm", "--add-host", "host.docker.internal:host-gateway"],
    ...["--entrypoint", "cat", image, "/etc/hosts"],
  );
  const gateway = /^(\S+)\s+host\.docker\.internal/m.exec(hosts)?.[1];
  if (!gateway) throw new RunFailure("Docker does not name its host (host.docker.internal)");
  return {
    network,
    baseUrl: target.url.replace(/\/\/(127\.0\.0\.1|\[::1\])/, "//localhost"),
    influxdbUrl: influxdb.networkUrl ?? influxdb.url,
    hosts: { localhost: gateway },
  };
}

/** Copies the script's files and k6's own, by name, into a container that has not started. */
async function copyIn(folder: string, files: ScriptFiles["files"], own: Record<string, string>) {
  const pack = tar.pack();
  // k6's image runs as a user of its own: everything must be readable, `out` writable by any user.
  pack.entry({ name: "out", type: "directory", mode: 0o777 });
  pack.entry({ name: "out/files", type: "directory", mode: 0o777 });
  for (const [name, content] of Object.entries(own)) pack.entry({ name, mode: 0o444 }, content);
  for (const { name, content } of files) {
    pack.entry({ name: `script/${name}`, mode: 0o444 }, content);
  }
  pack.finalize();
  const copy = spawn("docker", ["cp", "-", folder], {
    stdio: ["pipe", "ignore", "pipe"],
  });
  await Promise.all([pipeline(pack, copy.stdin), succeeded(copy)]);
}

/** Copies the files that k6 wrote, whatever their owner in the container. */
async function copyOut(container: string, from: string, to: string) {
  const copy = spawn("docker", ["cp", `${container}:${from}/.`, "-"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const extract = tar.extract();
  extract.on("entry", (header, stream, next) => {
    const done = () => next();
    if (header.type !== "file") return void stream.on("end", done).resume();
    const kept = path.basename(path.dirname(header.name)) === "files" ? "files" : "";
    const file = fs.createWriteStream(path.join(to, kept, path.basename(header.name)));
    stream.pipe(file).on("finish", done);
  });
  await Promise.all([pipeline(copy.stdout, extract), succeeded(copy)]);
}

function succeeded(child: ChildProcess): Promise<void> {
  let complaint = "";
  child.stderr?.on("data", (data) => (complaint += data));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => (code ? reject(dockerFailure("cp", complaint)) : resolve()));
  });
}
