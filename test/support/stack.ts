/** A copy of this repository with a stack of its own, for the real make, Pulumi and Docker. */
import { type ChildProcessByStdio, execFileSync, spawn, spawnSync } from "node:child_process";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { Readable } from "node:stream";
import { parse } from "yaml";
import { clusterPackages } from "../../config";
import { root } from "../../root";
import { portFor } from "../../runner/ports";
import type { DockerDaemon } from "./docker-daemon";
import { testImages, type ImageKey, type Images, type OperatorImageKey } from "./images";

/**
 * What this process's environment has and a user's has not: another Pulumi backend, variables of an
 * outer make, vitest's mode, the folders that npm works on.
 */
const notUsers = new RegExp(
  "^(PULUMI_.*|MAKE.*|MFLAGS|VITEST.*|NODE_ENV|BASE_URL|DEV|MODE|PROD|SSR|TEST" +
    "|npm_(?!config_).*|npm_config_(cache|.*prefix))$",
);
const environment: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !notUsers.test(name)),
);
// Where npm puts its own `pulumi`.
environment.PATH = process.env.PATH?.split(path.delimiter)
  .filter((folder) => !folder.endsWith(path.join("node_modules", ".bin")))
  .join(path.delimiter);

/** What a command printed and how it ended. */
export interface Ended {
  code: number;
  stdout: string;
  /** Standard output and standard error. */
  output: string;
  /** The last line, but for make's own `make: *** [...] Error 1`. */
  lastLine: string;
}

/** A command that runs. */
export interface Running {
  /** Resolves when it and all that writes where it does is gone. */
  ended: Promise<Ended>;
  /** What ^C in a terminal does. */
  interrupt(): void;
}

/** Where a command runs, and what its environment has more. */
interface Place {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
}

/** Runs a command to its end, whichever that is. */
export const run = (command: string, args: string[], place: Place = {}): Promise<Ended> =>
  start(command, args, place).ended;

function start(command: string, args: string[], { cwd, env }: Place, ownGroup = false): Running {
  const child = spawn(command, args, {
    cwd,
    env: { ...environment, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: ownGroup,
  });
  return { ended: ended(child), interrupt: () => void process.kill(-child.pid!, "SIGINT") };
}

async function ended(child: ChildProcessByStdio<null, Readable, Readable>): Promise<Ended> {
  let stdout = "";
  let stderr = "";
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => ((stdout += text), (output += text)));
  child.stderr.setEncoding("utf8").on("data", (text) => ((stderr += text), (output += text)));
  const code = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  });
  const lines = (stderr.trim() || stdout.trim()).split("\n");
  const lastLine = lines.filter((line) => !/^make(\[\d+\])?: \*\*\* /.test(line)).at(-1) ?? "";
  return { code, stdout, output, lastLine };
}

/** What a command prints; it must succeed. */
export async function printed(command: string, ...args: string[]): Promise<string> {
  const { code, stdout, output } = await run(command, args);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} failed: ${output}`);
  return stdout.trim();
}

/** The images to bring a stack up with, by configuration key; or what this machine lacks. */
export const stackImages = () => imagesFor(keysOfImages);

const keysOfImages: ImageKey[] = [
  "influxdbImage",
  "grafanaImage",
  "k6Image",
  "redisImage",
  "nodeImage",
];

/** The same, with those of the k6 operator. */
export const clusterImages = () =>
  imagesFor([...keysOfImages, "k6OperatorImage", "k6StarterImage"]);

async function imagesFor<Key extends ImageKey | OperatorImageKey>(
  keys: Key[],
): Promise<{ images: Images<Key> } | { missing: string }> {
  for (const command of ["make", "git", "pulumi"]) {
    const argument = command === "pulumi" ? "version" : "--version";
    const found = await run(command, [argument]).catch(() => undefined);
    if (found?.code !== 0) return { missing: `there is no ${command} on PATH` };
  }
  const { config } = parse(fs.readFileSync(path.join(root, "Pulumi.yaml"), "utf8"));
  return testImages(
    Object.fromEntries(keys.map((key) => [key, config[key].default])) as Images<Key>,
  );
}

/** Ports for a stack, by configuration key; none that a connection of another program may take. */
export async function freePorts() {
  const taken: number[] = [];
  for (let count = 0; count < 3; count++) taken.push(await portFor(crypto.randomUUID(), taken));
  const [influxdbPort, grafanaPort, couponApiPort] = taken;
  return { influxdbPort, grafanaPort, couponApiPort };
}

/** Configuration values by key. */
export type Settings = Record<string, string | number>;

/** A resource as Pulumi's state has it, with its secrets in clear text. */
export interface Resource {
  urn: string;
  type: string;
  id?: string;
  inputs?: unknown;
  outputs?: Record<string, unknown>;
}

/** A committed copy of the repository in a temporary folder, with a stack that nobody else has. */
export class Clone {
  /** Part of the name of everything that the stack makes in Docker. */
  readonly stack = `e2e${crypto.randomBytes(4).toString("hex")}`;
  private readonly parent = fs.mkdtempSync(path.join(os.tmpdir(), `${this.stack}-`));
  private readonly folder = path.join(this.parent, "clone");
  private readonly env: NodeJS.ProcessEnv;
  /** What all of its `make` have printed, but for `make password`. */
  private said = "";

  /**
   * @param settings given to every `make`
   * @param config what the stack's file holds
   * @param emptyHome whether `HOME` is an empty folder and the packages are not there yet
   * @param daemon whose Docker it is brought up in, if not this machine's own
   */
  constructor(
    private settings: Settings,
    config: Settings,
    emptyHome = false,
    private readonly daemon?: DockerDaemon,
  ) {
    const listed = ["ls-files", "-z", "-co", "--exclude-standard"];
    const files = execFileSync("git", listed, { cwd: root, encoding: "utf8" });
    for (const file of files.split("\0")) {
      const from = path.join(root, file);
      if (file && fs.existsSync(from)) fs.cpSync(from, this.path(file));
    }
    this.write(
      `Pulumi.${this.stack}.yaml`,
      ["config:", ...asPairs(config, ": ").map((pair) => `  coupon-load-test:${pair}`), ""].join(
        "\n",
      ),
    );
    execFileSync("git", ["init", "--quiet"], { cwd: this.folder });
    this.commit("Copy");

    if (emptyHome) {
      const home = path.join(this.parent, "home");
      fs.mkdirSync(home);
      this.env = {
        HOME: home,
        // Which registry to ask is this machine's affair.
        NPM_CONFIG_USERCONFIG:
          process.env.NPM_CONFIG_USERCONFIG ??
          process.env.npm_config_userconfig ??
          path.join(os.homedir(), ".npmrc"),
      };
    } else {
      execFileSync("cp", ["-a", path.join(root, "node_modules"), this.folder]);
      // Of Docker's stacks nobody has them, and Pulumi would look for their plugin.
      if ({ ...config, ...settings }.executor !== "kubernetes") {
        for (const name of clusterPackages)
          fs.rmSync(this.path("node_modules", name), { recursive: true, force: true });
      }
      // As `make` leaves it: younger than what it was installed from.
      this.write("node_modules/.installed", "");
      // The user's plugins, but none of the traces that each stack leaves beside them.
      const pulumiHome = path.join(this.parent, "pulumi");
      const own = process.env.PULUMI_HOME ?? path.join(os.homedir(), ".pulumi");
      const plugins = path.join(own, "plugins");
      fs.mkdirSync(pulumiHome);
      if (fs.existsSync(plugins)) fs.symlinkSync(plugins, path.join(pulumiHome, "plugins"));
      this.env = { PULUMI_HOME: pulumiHome };
    }
    Object.assign(this.env, daemon?.env);
  }

  /** What commands that are run in it get as their environment. */
  get environment(): NodeJS.ProcessEnv {
    return { ...environment, ...this.env };
  }

  /** Commits all that git does not ignore. */
  commit(message: string) {
    const git = (...args: string[]) => execFileSync("git", args, { cwd: this.folder });
    git("add", "--all");
    const author = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"];
    git(...author, "-c", "commit.gpgsign=false", "commit", "--quiet", "-m", message);
  }

  path(...file: string[]) {
    return path.join(this.folder, ...file);
  }

  exists(...file: string[]) {
    return fs.existsSync(this.path(...file));
  }

  read(...file: string[]) {
    return fs.readFileSync(this.path(...file), "utf8");
  }

  write(file: string, text: string) {
    fs.mkdirSync(path.dirname(this.path(file)), { recursive: true });
    fs.writeFileSync(this.path(file), text);
  }

  /** Everything in the files of a folder. */
  readAll(folder: string): string {
    return fs
      .readdirSync(this.path(folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => fs.readFileSync(path.join(entry.parentPath, entry.name), "utf8"))
      .join("\n");
  }

  /** The runs that were recorded, oldest first. */
  runs(): string[] {
    if (!this.exists("runs")) return [];
    return fs
      .readdirSync(this.path("runs"))
      .filter((name) => name !== "latest" && !name.endsWith(".md"))
      .sort();
  }

  /** The newest run's `summary.json`. */
  latestRun() {
    return JSON.parse(this.read("runs/latest/summary.json"));
  }

  /** `make <command> STACK=<stack> key=value ...` */
  make(command: string, settings: Settings = {}): Promise<Ended> {
    return this.start(command, settings).ended;
  }

  /** The same, to be interrupted. */
  start(make: string, settings: Settings = {}): Running {
    const all = { STACK: this.stack, ...this.settings, ...settings };
    const [command, ...args] = [...this.within, "make", make, ...asPairs(all, "=")];
    const running = start(command, args, { cwd: this.folder, env: this.env }, true);
    const ended = running.ended.then((end) => {
      if (make !== "password") this.said += end.output;
      return end;
    });
    return { ...running, ended };
  }

  /** What commands that look into its containers by their ports are put behind. */
  private get within() {
    return this.daemon?.within ?? [];
  }

  /** What a command prints that is run where its containers are reached; it must succeed. */
  async printed(...command: string[]): Promise<string> {
    const [first, ...args] = [...this.within, ...command];
    const { code, stdout, output } = await run(first, args, { env: this.env });
    if (code !== 0) throw new Error(`${command.join(" ")} failed: ${output}`);
    return stdout.trim();
  }

  /** A command of make's that takes no settings of the stack. */
  makeOnly(make: string, ...more: string[]): Promise<Ended> {
    const all = ["make", make, `STACK=${this.stack}`, ...more];
    const [command, ...args] = [...this.within, ...all];
    return run(command, args, { cwd: this.folder, env: this.env });
  }

  /** `pulumi` on the stack that `make` made, with the settings of the last `make`. */
  pulumi(...args: string[]): Promise<Ended> {
    const env = {
      PULUMI_BACKEND_URL: "file://./.state",
      PULUMI_CONFIG_PASSPHRASE_FILE: this.path(".state/passphrase"),
      PULUMI_SKIP_UPDATE_CHECK: "true",
      ...this.environment,
    };
    return run("pulumi", [...args, "--stack", this.stack], { cwd: this.folder, env });
  }

  /** More values that every `make` is given. */
  addSettings(settings: Settings) {
    this.settings = { ...this.settings, ...settings };
  }

  /** More variables in the environment of every command. */
  addEnvironment(env: NodeJS.ProcessEnv) {
    Object.assign(this.env, env);
  }

  /** `pulumi config set --secret`, in the stack's own file. */
  setSecret(key: string, value: string): Promise<Ended> {
    return this.pulumi("config", "set", "--secret", key, value);
  }

  /** `preview` or `refresh`, which need the stack's settings. */
  compare(command: "preview" | "refresh", ...args: string[]): Promise<Ended> {
    return this.pulumi(command, "--config-file", `.state/Pulumi.${this.stack}.yaml`, ...args);
  }

  async outputs(...args: string[]) {
    return JSON.parse((await this.pulumi("stack", "output", "--json", ...args)).stdout);
  }

  async resources(): Promise<Resource[]> {
    const { stdout } = await this.pulumi("stack", "export", "--show-secrets");
    return JSON.parse(stdout).deployment.resources;
  }

  /** The generated passwords by the name of their resource, and the state's passphrase. */
  async secrets(): Promise<Record<string, string>> {
    const secrets: Record<string, string> = { passphrase: this.read(".state/passphrase") };
    for (const { urn, type, outputs } of await this.resources()) {
      if (type !== "random:index/randomPassword:RandomPassword") continue;
      const { plaintext } = outputs?.result as { plaintext: string };
      secrets[urn.split("::").at(-1)!] = JSON.parse(plaintext);
    }
    return secrets;
  }

  /** Where none of a stack's secrets may be, by what it is called. */
  async openTexts(): Promise<Record<string, string>> {
    return {
      ...(await this.openWhileItRuns()),
      "what make prints": this.said,
      "what runs leave": this.readAll("runs"),
      "the state": this.readAll(".state/.pulumi"),
      "the exported state": (await this.pulumi("stack", "export")).stdout,
      "the outputs": (await this.pulumi("stack", "output", "--json")).stdout,
    };
  }

  /** The same, of what is there while containers and processes run. */
  async openWhileItRuns(): Promise<Record<string, string>> {
    const containers = await this.inspect();
    const logs = containers.map(({ Name }) => run("docker", ["logs", Name], { env: this.env }));
    return {
      "the containers' settings": JSON.stringify(containers),
      "the containers' logs": (await Promise.all(logs)).map(({ output }) => output).join("\n"),
      // Arguments and environments of all processes, without that in which Pulumi has its program
      // find the configuration, secrets and all.
      "the processes": (await printed("ps", "axeww")).replace(
        / PULUMI_CONFIG=\{.*?\}(?= \w+=|$)/gm,
        "",
      ),
    };
  }

  /** What git sees as changed. */
  async changes(): Promise<string> {
    return (await run("git", ["status", "--porcelain"], { cwd: this.folder })).stdout;
  }

  /** The stack's containers, volumes and networks, such as `volume coupon-load-test-…-grafana`. */
  async inDocker(): Promise<string[]> {
    const found: string[] = [];
    for (const [kind, column, ...options] of [
      ["container", "{{.Names}}", "--all"],
      ["volume", "{{.Name}}"],
      ["network", "{{.Name}}"],
    ]) {
      const names = await this.printed("docker", kind, "ls", ...options, "--format", column);
      const own = names.split("\n").filter((name) => name.includes(this.stack));
      found.push(...own.map((name) => `${kind} ${name}`));
    }
    return found;
  }

  /** `docker inspect` of the stack's containers. */
  async inspect(): Promise<Container[]> {
    const names = (await this.inDocker()).flatMap((each) => each.split("container ")[1] ?? []);
    // One may go in the meantime; the others are shown all the same.
    return JSON.parse(
      (await run("docker", ["inspect", ...names], { env: this.env })).stdout || "[]",
    );
  }

  /** Ends what still runs, at once. */
  kill() {
    // What `make` and `pulumi` here have started has this folder in its environment.
    const processes = spawnSync("ps", ["axeww", "-o", "pid=,command="], { encoding: "utf8" });
    for (const line of processes.stdout.split("\n")) {
      if (line.includes(this.parent)) spawnSync("kill", ["-KILL", line.trim().split(" ")[0]]);
    }
  }

  /** Ends what still runs and removes what is left, on this machine and in Docker. */
  remove() {
    this.kill();
    const env = this.environment;
    const docker = (...args: string[]) =>
      spawnSync("docker", args, { encoding: "utf8", env }).stdout;
    for (const [kind, ...every] of [["container", "--all"], ["volume"], ["network"]]) {
      const found = docker(kind, "ls", "--quiet", ...every, "--filter", `name=${this.stack}`);
      const options = kind === "container" ? ["--force", "--volumes"] : [];
      const ids = found.split("\n").filter((id) => id !== "");
      if (ids.length > 0) docker(kind, "rm", ...options, ...ids);
    }
    // By a process of its own: an interrupted vitest does not wait for so many files.
    spawn("rm", ["-rf", this.parent], { detached: true, stdio: "ignore" }).unref();
  }
}

/** The parts of `docker inspect` that the tests look at. */
export interface Container {
  Id: string;
  Name: string;
  State: { Running: boolean; Pid: number; ExitCode: number; StartedAt: string };
  HostConfig: { Memory: number; NanoCpus: number; CpuQuota: number };
  Mounts: { Name?: string }[];
  NetworkSettings: { Ports: Record<string, { HostIp: string }[] | null> };
}

/** Which secrets are in which texts, such as `passphrase in the processes`. */
export const revealed = (secrets: Record<string, string>, texts: Record<string, string>) =>
  Object.entries(secrets).flatMap(([name, secret]) =>
    Object.keys(texts)
      .filter((where) => texts[where].includes(secret))
      .map((where) => `${name} in ${where}`),
  );

const asPairs = (settings: Settings, between: string) =>
  Object.entries(settings).map((pair) => pair.join(between));
