/**
 * A Docker daemon of a test's own, to be restarted and killed: its data in a temporary folder, its
 * networks and ports in a network namespace that nothing else is in.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export class DockerDaemon {
  private readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "dockerd-"));
  private readonly namespace = path.basename(this.folder);
  /** What commands need in their environment to use this daemon. */
  readonly env = { DOCKER_HOST: `unix://${path.join(this.folder, "docker.sock")}` };
  /** What a command is put behind to reach ports that containers publish. */
  readonly within = ["nsenter", `--net=/run/netns/${this.namespace}`];
  /** As long as it runs: resolves when it has ended. */
  private ended?: Promise<unknown>;

  /** Starts one that has these images of the machine's own, or says why it cannot. */
  static async start(images: string[]): Promise<DockerDaemon | { missing: string }> {
    const daemon = new DockerDaemon();
    try {
      daemon.plug();
      await daemon.up();
      const load = [`docker save "$@" | DOCKER_HOST=${daemon.env.DOCKER_HOST} docker load`, "sh"];
      must("sh", "-c", ...load, ...images);
      return daemon;
    } catch (error) {
      daemon.remove();
      const [line] = (error as Error).message.split("\n");
      return { missing: `a Docker daemon of the test's own cannot be started: ${line}` };
    }
  }

  /** As a system does it: asked to stop, then started. */
  async restart() {
    await this.down();
    await this.up();
  }

  /** Asks it to stop, and waits until it has. */
  async down() {
    const pid = Number(fs.readFileSync(path.join(this.folder, "pid"), "utf8"));
    process.kill(pid, "SIGTERM");
    await this.ended;
  }

  /**
   * As a machine that loses power and comes back: the daemon, containerd and all containers are
   * killed; mounts, network and what is kept in memory are gone; the daemon is started.
   */
  async reboot() {
    this.cutPower();
    this.plug();
    await this.up();
  }

  /** Leaves nothing of it. */
  remove() {
    this.cutPower();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  /** The namespace, with a loopback. */
  private plug() {
    must("ip", "netns", "add", this.namespace);
    must("ip", "netns", "exec", this.namespace, "ip", "link", "set", "lo", "up");
  }

  async up() {
    const at = (name: string) => path.join(this.folder, name);
    const log = fs.openSync(at("log"), "a");
    const [command, ...args] = [
      ...[...this.within, "dockerd", "--data-root", at("data"), "--exec-root", at("exec")],
      ...["--pidfile", at("pid"), "--host", this.env.DOCKER_HOST],
    ];
    const child = spawn(command, args, { detached: true, stdio: ["ignore", log, log] });
    fs.closeSync(log);
    let over = false;
    this.ended = once(child, "close").finally(() => (over = true));
    const answers = () =>
      spawnSync("docker", ["version"], { env: { ...process.env, ...this.env } });
    while (answers().status !== 0) {
      if (over) throw new Error(fs.readFileSync(at("log"), "utf8").trim().split("\n").at(-1));
      await sleep(200);
    }
  }

  private cutPower() {
    // What is killed may be started anew by what is killed after it.
    for (let pids = this.processes(); pids.length > 0; pids = this.processes()) {
      for (const pid of pids) spawnSync("kill", ["-KILL", `${pid}`]);
    }
    const mounts = fs.readFileSync("/proc/mounts", "utf8").split("\n");
    const own = mounts.map((line) => line.split(" ")[1] ?? "").filter((at) => this.owns(at));
    for (const at of own.reverse()) spawnSync("umount", ["--lazy", at]);
    spawnSync("ip", ["netns", "delete", this.namespace]);
    for (const name of ["exec", "pid", "docker.sock"]) {
      fs.rmSync(path.join(this.folder, name), { recursive: true, force: true });
    }
  }

  private owns = (text: string) => text.includes(`${this.folder}/`);

  /** The daemon, what it has started, and all that runs in its containers. */
  private processes(): number[] {
    const list = spawnSync("ps", ["axww", "-o", "pid=,ppid=,stat=,args="], { encoding: "utf8" });
    const all = list.stdout.split("\n").flatMap((line) => {
      const [, pid, parent, state, args] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
      const server = /^(dockerd|containerd|\S*containerd-shim)/.test(args ?? "");
      return !pid || state.startsWith("Z")
        ? []
        : [{ pid: Number(pid), parent: Number(parent), own: server && this.owns(args) }];
    });
    const found = new Set<number>();
    for (let before = -1; before < found.size;) {
      before = found.size;
      for (const { pid, parent, own } of all) if (own || found.has(parent)) found.add(pid);
    }
    return [...found];
  }
}

function must(command: string, ...args: string[]) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(error?.message ?? stderr.trim());
}
