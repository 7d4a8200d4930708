/** Pulumi's command line for one stack: its backend, its settings, what it shows and what it says. */
import { execFile, spawn } from "node:child_process";
import * as crypto from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify, stripVTControlCharacters } from "node:util";
import { parse } from "yaml";
import { project } from "../config";
import { readJson } from "../runner/verify";
import { dockerHost } from "./docker-host";
import type { Resource } from "./drift";
import { type EngineEvent, errorsIn, eventsOf, nameOf, newEvents } from "./events";
import { pulumiCommand } from "./prerequisites";
import { type Expected, Progress } from "./progress";

/** A failure told in one line. */
export class Failure extends Error {}

/** Ignored by git: the state where no other backend is chosen, its passphrase, stack settings. */
const stateFolder = ".state";

export class Pulumi {
  /** Has the stack's settings for this command, see `create`. */
  readonly stackFile: string;
  private readonly committed: string;
  /** What the last Pulumi that was run complained of first. */
  firstError?: string;
  /** All that Pulumi said for this command, and when its engine did what. */
  readonly log: string;
  /** How long each command usually takes. */
  private readonly seconds: string;
  /** Of this process: another one may work on the stack, or try to. */
  private readonly eventLog: string;

  constructor(
    private readonly stack: string,
    /** What there will be to see; who knows more says so. */
    public expected: Expected,
  ) {
    this.committed = `Pulumi.${stack}.yaml`;
    this.stackFile = path.join(stateFolder, `Pulumi.${stack}.yaml`);
    this.log = path.join(stateFolder, `${stack}.log`);
    this.seconds = path.join(stateFolder, `${stack}.seconds.json`);
    this.eventLog = path.join(stateFolder, `events.${stack}.${process.pid}`);
  }

  /** Whether this clone has worked on the stack before. */
  isKnown = () => fs.existsSync(this.stackFile);

  /**
   * Without a backend of the user's own, state is kept in this clone under a generated passphrase.
   *
   * @throws ConfigError when Docker's context is none
   */
  selectBackend() {
    fs.mkdirSync(stateFolder, { recursive: true });
    const { env } = process;
    // A workflow has an empty text for a variable that its repository does not set.
    for (const name of ["PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE"]) {
      if (env[name] === "" && !env.PULUMI_BACKEND_URL) delete env[name];
    }
    if (!env.PULUMI_ACCESS_TOKEN) {
      // A relative one would not do where the folder's path has a `%`, a `#` or a `?`.
      env.PULUMI_BACKEND_URL ??= pathToFileURL(path.resolve(stateFolder)).href;
      if (env.PULUMI_CONFIG_PASSPHRASE === undefined && !env.PULUMI_CONFIG_PASSPHRASE_FILE) {
        const file = path.join(stateFolder, "passphrase");
        if (!fs.existsSync(file)) {
          fs.writeFileSync(file, crypto.randomBytes(32).toString("base64url"), { mode: 0o600 });
        }
        env.PULUMI_CONFIG_PASSPHRASE_FILE = path.resolve(file);
      }
    }
    // Pulumi's provider knows nothing of Docker's contexts.
    const docker = dockerHost(env);
    if (docker) env.DOCKER_HOST = docker;
    env.PULUMI_SKIP_UPDATE_CHECK ??= "true";
    // From Node.js 22.1 on: half of the time that Pulumi's packages take to load.
    env.NODE_COMPILE_CACHE ??= path.resolve("node_modules/.cache/node");
    // `--event-log` is one of the flags that Pulumi keeps for tools.
    env.PULUMI_DEBUG_COMMANDS = "true";
    if (this.dropStaleLocks() === 0) this.mendCheckpoint();
    fs.writeFileSync(this.log, "");
  }

  /**
   * Removes locks of this clone's state that a killed Pulumi left: those of a process of this
   * machine that is no more.
   *
   * @returns how many are left
   * @throws Failure when one does not say whose it is
   */
  private dropStaleLocks(): number {
    const locks = path.join(stateFolder, ".pulumi/locks/organization", project, this.stack);
    if (!fs.existsSync(locks)) return 0;
    // Beside each is a file of its attributes.
    const names = fs.readdirSync(locks).filter((name) => name.endsWith(".json"));
    for (const file of names.map((name) => path.join(locks, name))) {
      const { pid, hostname } = readJson(file) ?? {};
      if (typeof pid !== "number") {
        throw new Failure(
          `the lock ${file} is torn; if no other make or pulumi works on stack ${this.stack}, remove it`,
        );
      }
      if (hostname === os.hostname() && !isAlive(pid)) fs.rmSync(file);
    }
    return fs.readdirSync(locks).filter((name) => name.endsWith(".json")).length;
  }

  /**
   * Takes the checkpoint of before where a Pulumi that was killed has torn the newest one: it writes
   * that in place, and keeps the one before beside it.
   */
  private mendCheckpoint() {
    const file = path.join(stateFolder, ".pulumi/stacks", project, `${this.stack}.json`);
    const before = `${file}.bak`;
    // Beside a stack that was removed there is one, too.
    if (!fs.existsSync(file) || readJson(file) || !readJson(before)) return;
    fs.copyFileSync(before, file);
    console.log(
      `the state of ${this.stack} was torn when Pulumi was killed; it is that of a step before\n`,
    );
  }

  /** The resources in the stack's state, secrets in clear text; `undefined` if there is no stack. */
  async resources(): Promise<Resource[] | undefined> {
    const { ok, output } = await this.ask("stack", "export", "--show-secrets");
    if (!ok) return undefined;
    const all: Resource[] = JSON.parse(output).deployment.resources ?? [];
    // Without those that an interrupted Pulumi has replaced, and not yet removed.
    return all.filter((each) => !each.delete);
  }

  /**
   * Makes the stack. Pulumi writes its encryption salt into the stack's file, which is committed: the
   * copy that it gets to work on keeps the salt instead.
   *
   * @throws Failure with Pulumi's complaint
   */
  async create() {
    const before = readIfThere(this.committed);
    const { ok, complaint } = await this.ask("stack", "select", "--create");
    const salt = saltOf(readIfThere(this.committed));
    if (before) fs.writeFileSync(this.committed, before);
    if (!ok) {
      const why = complaint.trim() || "it does not say why";
      throw new Failure(`Pulumi cannot create the stack ${this.stack}: ${why}`);
    }
    if (salt) fs.writeFileSync(this.stackFile, `encryptionsalt: ${salt}\n`);
  }

  /** Gives Pulumi its copy of the stack's settings, as they are now. */
  copySettings() {
    const settings = readIfThere(this.committed);
    const salt = saltOf(readIfThere(this.stackFile));
    const missing = salt && !saltOf(settings) ? `\nencryptionsalt: ${salt}\n` : "";
    fs.writeFileSync(this.stackFile, settings + missing);
  }

  /** Removes a stack in which nothing is left. */
  async remove() {
    await this.ask("stack", "rm", "--yes", "--preserve-config");
    for (const file of [this.stackFile, this.log, this.seconds]) fs.rmSync(file, { force: true });
  }

  /** Once there is no stack any more, removes what is kept for all of them. */
  tidy() {
    const others = fs.readdirSync(stateFolder).some((file) => file.startsWith("Pulumi."));
    if (!others) fs.rmSync(stateFolder, { recursive: true });
  }

  /**
   * Runs Pulumi for the person at the terminal, who sees what it does; what it says itself goes to the
   * log. Gives its exit code.
   *
   * @throws Failure when another one works on the stack
   */
  async run(...args: string[]): Promise<number> {
    const steps = this.expected.resources * (args.includes("--refresh") ? 2 : 1);
    const usual: Record<string, number> = readJson(this.seconds) ?? {};
    const progress = new Progress(this.expected, steps, usual[args[0]] ?? 0);
    const { code } = await this.follow(
      args,
      (text) => fs.appendFileSync(this.log, text),
      (event) => progress.take(event),
    ).finally(() => progress.end());
    if (code === 0) {
      fs.writeFileSync(this.seconds, JSON.stringify({ ...usual, [args[0]]: progress.seconds }));
    }
    return code;
  }

  /** Runs Pulumi and shows what it says; gives that, without its colours, and what the engine told. */
  async observe(...args: string[]) {
    const color = process.stdout.isTTY ? "always" : "never";
    let shown = "";
    const { code, events } = await this.follow([...args, "--color", color], (text) => {
      process.stdout.write(text);
      shown += text;
    });
    return { exitCode: code, shown: stripVTControlCharacters(shown), events };
  }

  /**
   * Runs Pulumi to its end, with its events as they come. Its complaints go to the log; they are shown
   * where its engine told of no error.
   *
   * @throws Failure when another one works on the stack
   */
  private async follow(
    args: string[],
    hear: (text: string) => void,
    take: (event: EngineEvent) => void = () => undefined,
  ) {
    const log = (line: string) =>
      fs.appendFileSync(this.log, `[${(performance.now() / 1000).toFixed(2)} s] ${line}\n`);
    log(`pulumi ${args[0]}`);
    const all = [...args, "--stack", this.stack, "--event-log", this.eventLog];
    const child = spawn(pulumiCommand, all, { stdio: ["inherit", "pipe", "pipe"] });
    let complaint = "";
    child.stdout.setEncoding("utf8").on("data", hear);
    child.stderr.setEncoding("utf8").on("data", (text) => {
      fs.appendFileSync(this.log, text);
      complaint += text;
    });
    const events: EngineEvent[] = [];
    const news = newEvents(this.eventLog);
    const look = () => {
      for (const event of news()) {
        const step = event.resOutputsEvent?.metadata ?? event.resourcePreEvent?.metadata;
        const when = event.resOutputsEvent ? "ends" : "begins";
        if (step) log(`${nameOf(step.urn)} ${step.op} ${when}`);
        take(event);
        events.push(event);
      }
    };
    const looking = setInterval(look, 100);
    const [code] = await once(child, "close");
    clearInterval(looking);
    look();
    log("pulumi has ended");
    fs.rmSync(this.eventLog, { force: true });
    [this.firstError] = errorsIn(events);
    if (/currently locked by|update is currently in progress/.test(complaint)) {
      throw new Failure(
        `another make or pulumi works on stack ${this.stack}: wait until it has ended`,
      );
    }
    if (code !== 0 && !this.firstError) process.stderr.write(complaint);
    return { code: (code as number | null) ?? 1, events };
  }

  /** Asks Pulumi something on the side. */
  async ask(...args: string[]): Promise<{ ok: boolean; output: string; complaint: string }> {
    try {
      const all = [...args, "--stack", this.stack];
      // A state with two dashboards is larger than the megabyte that Node takes by default.
      const { stdout } = await promisify(execFile)(pulumiCommand, all, { maxBuffer: 1e9 });
      return { ok: true, output: stdout, complaint: "" };
    } catch (error) {
      const { stdout, stderr } = error as { stdout?: string; stderr?: string };
      return { ok: false, output: stdout ?? "", complaint: String(stderr) };
    }
  }

  /** As `ask`; also gives what the engine told. */
  async look(...args: string[]) {
    const answer = await this.ask(...args, "--event-log", this.eventLog);
    const events = eventsOf(readIfThere(this.eventLog));
    fs.rmSync(this.eventLog, { force: true });
    [this.firstError] = errorsIn(events);
    return { ...answer, events };
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  // In a container without an init, one that has ended stays, as a zombie, until the container ends.
  const state = readIfThere(`/proc/${pid}/stat`).split(") ")[1];
  return !state?.startsWith("Z");
}

const saltOf = (settings: string): string | undefined => parse(settings)?.encryptionsalt;

const readIfThere = (file: string) => (fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "");
