/**
 * The images the end-to-end tests run the stack with: the official ones where they can be had.
 * Where no registry answers, stand-ins are made of the programs on PATH over a file system of this
 * machine's own Debian release, laid out as the official images are: the same entry points,
 * folders, users and ports, and no tool that the official image lacks, so that the same container
 * arguments and health checks work on both. A stand-in carries the version of its program, which
 * may be another than the official image's, and never an official name.
 */
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  access,
  constants,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify, stripVTControlCharacters } from "node:util";

export type ImageKey = "influxdbImage" | "grafanaImage" | "k6Image" | "redisImage" | "nodeImage";
/** The k6 operator's, for a cluster. */
export type OperatorImageKey = "k6OperatorImage" | "k6StarterImage";
export type Images<Key extends ImageKey | OperatorImageKey = ImageKey> = Record<Key, string>;

const PREFIX = "coupon-load-test-e2e";
/** The label that says what an image was made of; another value means: make it again. */
const LABEL = `${PREFIX}.content`;
const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** Why there are no images, as a phrase that ends a sentence. */
class Missing extends Error {}

/**
 * The names to run the stack with, by configuration key, given the official ones; or what is
 * missing on this machine, in one sentence.
 */
export async function testImages<Key extends ImageKey | OperatorImageKey>(
  defaults: Images<Key>,
): Promise<{ images: Images<Key> } | { missing: string }> {
  try {
    await run("docker", ["version", "--format", "{{.Server.Version}}"]);
    const { absent, reason } = await obtain(defaults);
    if (absent.length === 0) return { images: { ...defaults } };
    try {
      return { images: { ...defaults, ...(await standIns(absent)) } };
    } catch (error) {
      throw error instanceof Missing ? new Missing(`${reason} and ${error.message}`) : error;
    }
  } catch (error) {
    if (error instanceof Missing) return { missing: error.message };
    throw error;
  }
}

/**
 * The k6 operator's Helm chart, beside the operator's program as packages lay such files out
 * (`bin/…`, `share/k6-operator/chart`), and the version of the operator that it is for; or what is
 * missing on this machine, in one sentence.
 */
export async function operatorChart(): Promise<
  { path: string; version: string } | { missing: string }
> {
  try {
    const [manager] = await onPath(operator);
    const path = join(dirname(manager), "../share/k6-operator/chart");
    const chart = await readFile(join(path, "Chart.yaml"), "utf8").catch(() => "");
    const found = /^appVersion: "?([\d.]+)/m.exec(chart)?.[1];
    return found ? { path, version: found } : { missing: "there is no chart of the k6 operator" };
  } catch (error) {
    if (error instanceof Missing) return { missing: error.message };
    throw error;
  }
}

const operator = "k6-operator-manager";

/** The same programs as another image: `line` is added to its Dockerfile. Gives its name. */
export async function otherImage(image: string, tag: string, line: string): Promise<string> {
  const name = `${PREFIX}/other:${tag}`;
  const build = ["docker", "build", "--network=none", `--tag=${name}`, "-"];
  await pipe(["printf", "%s\\n", `FROM ${image}`, line], build, { DOCKER_BUILDKIT: "0" });
  return name;
}

// Official images ---------------------------------------------------------------------------------

type Answer = "pulled" | "refused" | "silent";

/** Which official images cannot be had, and why. A registry that is silent once is not asked again. */
async function obtain<Key extends ImageKey | OperatorImageKey>(
  defaults: Images<Key>,
): Promise<{ absent: Key[]; reason: string }> {
  const absent: Key[] = [];
  const reasons = new Set<string>();
  let silent = false;
  for (const key of Object.keys(defaults) as Key[]) {
    if (await inspect(defaults[key])) continue;
    const answer: Answer = silent ? "silent" : await pull(defaults[key]);
    if (answer === "pulled") continue;
    silent = answer === "silent";
    absent.push(key);
    reasons.add(silent ? "no image registry answers" : `${defaults[key]} cannot be pulled`);
  }
  return { absent, reason: [...reasons].join(", ") };
}

/** Pulls an image; the registry has 20 seconds to answer, and the image 10 minutes to arrive. */
async function pull(image: string): Promise<Answer> {
  const child = spawn("docker", ["pull", image], { stdio: ["ignore", "pipe", "pipe"] });
  let answered = false;
  let errors = "";
  let timer = setTimeout(() => child.kill(), 20 * SECOND);
  child.stdout.once("data", () => {
    answered = true;
    clearTimeout(timer);
    timer = setTimeout(() => child.kill(), 10 * MINUTE);
  });
  child.stderr.on("data", (text) => (errors += text));
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(timer);
  if (code === 0) return "pulled";
  const refusal = /manifest unknown|manifest for|pull access denied|unauthorized|toomanyrequests/i;
  return answered || refusal.test(errors) ? "refused" : "silent";
}

async function inspect(
  image: string,
): Promise<{ id: string; names: string[]; content?: string } | undefined> {
  try {
    const [found] = JSON.parse(await run("docker", ["image", "inspect", image]));
    return { id: found.Id, names: found.RepoTags, content: found.Config?.Labels?.[LABEL] };
  } catch {
    return undefined;
  }
}

/** Removes an image whose name went to a newer one, unless it has another name or is in use. */
async function removeUnnamed(id: string): Promise<void> {
  if ((await inspect(id))?.names.length !== 0) return;
  await run("docker", ["image", "rm", id]).catch(() => undefined);
}

// Stand-ins ---------------------------------------------------------------------------------------

interface StandIn {
  name: string;
  /** Path in the image -> the file or folder of this machine that goes there. */
  copied: Record<string, string>;
  /** Path in the image -> text of a script or of a configuration file. */
  written?: Record<string, string>;
  env?: Record<string, string>;
  /** Commands run in the image; they start each program once, so that a useless image is none. */
  setup: string[];
  /** The end of the Dockerfile: what a container of it does. */
  runs: string;
}

/** Alpine's tools: wget is busybox's, and there is neither curl nor bash. */
const wgetOfAlpine = `ln -sf "$(command -v busybox)" /usr/bin/wget`;
const toolsOfAlpine = [wgetOfAlpine, "rm /usr/bin/curl /usr/bin/bash"];

const recipes: Record<ImageKey | OperatorImageKey, () => Promise<StandIn>> = {
  async influxdbImage() {
    const [influxd, influx] = await onPath("influxd", "influx");
    return {
      name: `influxdb:${await version(influxd, "version")}`,
      copied: { "/usr/bin/influxd": influxd, "/usr/bin/influx": influx },
      written: {
        "/etc/influxdb/influxdb.conf": `
          [meta]
          dir = "/var/lib/influxdb/meta"
          [data]
          dir = "/var/lib/influxdb/data"
          wal-dir = "/var/lib/influxdb/wal"`,
        // The official one also makes a database and users from INFLUXDB_* variables; the stack
        // makes them itself.
        "/entrypoint.sh": `
          #!/bin/sh
          case "$1" in -*) set -- influxd "$@" ;; esac
          exec "$@"`,
      },
      setup: ["influxd version", "influx -version"],
      runs: `
        EXPOSE 8086
        VOLUME /var/lib/influxdb
        ENTRYPOINT ["/entrypoint.sh"]
        CMD ["influxd"]`,
    };
  },

  async grafanaImage() {
    const [server] = await onPath("grafana-server");
    const home = await grafanaHome(server);
    const copied: Record<string, string> = {};
    for (const name of ["grafana", "grafana-server"]) {
      const file = join(dirname(server), name);
      if (await exists(file)) copied[`/usr/share/grafana/bin/${name}`] = file;
    }
    for (const name of ["conf", "public", "plugins-bundled", "data/plugins-bundled"]) {
      if (await exists(join(home, name))) copied[`/usr/share/grafana/${name}`] = join(home, name);
    }
    return {
      name: `grafana:${await version(server, "-v")}`,
      copied,
      written: {
        "/run.sh": `
          #!/bin/sh
          export HOME="$GF_PATHS_HOME"
          server=grafana-server
          if command -v grafana >/dev/null; then server="grafana server"; fi
          exec $server --homepath="$GF_PATHS_HOME" --config="$GF_PATHS_CONFIG" \\
            --packaging=docker "$@" cfg:default.log.mode=console \\
            cfg:default.paths.data="$GF_PATHS_DATA" cfg:default.paths.logs="$GF_PATHS_LOGS" \\
            cfg:default.paths.plugins="$GF_PATHS_PLUGINS" \\
            cfg:default.paths.provisioning="$GF_PATHS_PROVISIONING"`,
      },
      env: {
        PATH: "/usr/share/grafana/bin:$PATH",
        GF_PATHS_HOME: "/usr/share/grafana",
        GF_PATHS_CONFIG: "/etc/grafana/grafana.ini",
        GF_PATHS_DATA: "/var/lib/grafana",
        GF_PATHS_LOGS: "/var/log/grafana",
        GF_PATHS_PLUGINS: "/var/lib/grafana/plugins",
        GF_PATHS_PROVISIONING: "/etc/grafana/provisioning",
      },
      setup: [
        "grafana-server -v",
        wgetOfAlpine, // Here curl and bash stay: the official image has them too.
        "useradd --uid 472 --gid 0 --home-dir $GF_PATHS_HOME grafana",
        "mkdir -p $GF_PATHS_PLUGINS $GF_PATHS_LOGS",
        ...["access-control", "alerting", "dashboards", "datasources", "notifiers", "plugins"].map(
          (folder) => `mkdir -p $GF_PATHS_PROVISIONING/${folder}`,
        ),
        "cp $GF_PATHS_HOME/conf/sample.ini $GF_PATHS_CONFIG",
        "chown -R 472:0 $GF_PATHS_DATA $GF_PATHS_LOGS $GF_PATHS_PROVISIONING",
        "chmod -R 777 $GF_PATHS_DATA $GF_PATHS_LOGS $GF_PATHS_PROVISIONING",
      ],
      runs: `
        WORKDIR /usr/share/grafana
        EXPOSE 3000
        USER 472
        ENTRYPOINT ["/run.sh"]`,
    };
  },

  async k6Image() {
    const [k6] = await onPath("k6");
    return {
      name: `k6:${await version(k6, "version")}`,
      copied: { "/usr/bin/k6": k6 },
      setup: ["k6 version", "useradd --uid 12345 --create-home k6", ...toolsOfAlpine],
      runs: `
        USER 12345
        WORKDIR /home/k6
        ENTRYPOINT ["k6"]`,
    };
  },

  async redisImage() {
    const [server, cli] = await onPath("redis-server", "redis-cli");
    return {
      name: `redis:${await version(server, "--version")}`,
      copied: { "/usr/local/bin/redis-server": server, "/usr/local/bin/redis-cli": cli },
      written: {
        // The official redis-server is compiled with protected mode off.
        "/usr/local/bin/docker-entrypoint.sh": `
          #!/bin/sh
          case "$1" in -* | *.conf) set -- redis-server "$@" ;; esac
          if [ "$1" = redis-server ]; then
            case "$*" in *--protected-mode*) ;; *) set -- "$@" --protected-mode no ;; esac
            if [ "$(id -u)" = 0 ]; then
              chown -R redis .
              exec setpriv --reuid=redis --regid=redis --init-groups "$@"
            fi
          fi
          exec "$@"`,
      },
      setup: [
        "redis-server --version",
        "redis-cli --version",
        "groupadd --gid 1000 redis",
        "useradd --uid 999 --gid 1000 redis",
        "install --directory --owner=redis --group=redis /data",
        ...toolsOfAlpine,
      ],
      runs: `
        EXPOSE 6379
        VOLUME /data
        WORKDIR /data
        ENTRYPOINT ["docker-entrypoint.sh"]
        CMD ["redis-server"]`,
    };
  },

  async nodeImage() {
    return {
      name: `node:${process.versions.node}`,
      copied: { "/usr/local/bin/node": process.execPath },
      written: {
        "/usr/local/bin/docker-entrypoint.sh": `
          #!/bin/sh
          case "$1" in
            -*) set -- node "$@" ;;
            *) command -v "$1" >/dev/null || set -- node "$@" ;;
          esac
          exec "$@"`,
      },
      setup: [
        "node --version",
        "groupadd --gid 1000 node",
        "useradd --uid 1000 --gid 1000 --create-home --shell /bin/sh node",
        ...toolsOfAlpine,
      ],
      runs: `
        ENTRYPOINT ["docker-entrypoint.sh"]
        CMD ["node"]`,
    };
  },

  async k6OperatorImage() {
    const [manager] = await onPath(operator);
    const chart = await operatorChart();
    if ("missing" in chart) throw new Missing(chart.missing);
    return {
      // It does not tell its version itself.
      name: `k6-operator:${chart.version}`,
      copied: { "/manager": manager },
      setup: ["/manager --help", ...toolsOfAlpine],
      runs: `
        USER 65532:65532
        ENTRYPOINT ["/manager"]`,
    };
  },

  async k6StarterImage() {
    const [curl] = await onPath("curl");
    return {
      name: `k6-starter:${await version(curl, "--version")}`,
      copied: { "/usr/local/bin/curl": curl },
      setup: ["curl --version"],
      runs: `
        USER 65532:65532`,
    };
  },
};

async function standIns<Key extends ImageKey | OperatorImageKey>(
  keys: Key[],
): Promise<Partial<Images<Key>>> {
  const plans = await Promise.allSettled(keys.map((key) => recipes[key]()));
  const gaps = plans.flatMap((plan) => (plan.status === "rejected" ? [plan.reason] : []));
  for (const gap of gaps) if (!(gap instanceof Missing)) throw gap;
  if (gaps.length > 0) throw new Missing(gaps.map((gap) => gap.message).join(" and "));

  return oneAtATime(async () => {
    const base = await debian();
    const images: Partial<Images<Key>> = {};
    for (const [index, plan] of plans.entries()) {
      if (plan.status === "fulfilled") images[keys[index]] = await build(plan.value, base);
    }
    return images;
  });
}

/** The stand-in's name; it is made unless the image there is made of the same. */
async function build(standIn: StandIn, base: { name: string; id: string }): Promise<string> {
  const name = `${PREFIX}/${standIn.name}`;
  const written = standIn.written ?? {};
  const dockerfile = [
    `FROM ${base.name}`,
    "COPY tree/ /",
    ...Object.entries(standIn.env ?? {}).map(([name, value]) => `ENV ${name}=${value}`),
    `RUN ${["ldconfig", ...standIn.setup].join(" && ")}`,
    unindented(standIn.runs),
  ].join("\n");
  const hash = createHash("sha256").update(JSON.stringify([base.id, dockerfile, written]));
  for (const [path, source] of Object.entries(standIn.copied)) {
    hash.update(path).update(await contentOf(source));
  }
  const content = hash.digest("hex");
  const before = await inspect(name);
  if (before?.content === content) return name;

  const context = await mkdtemp(join(tmpdir(), `${PREFIX}-`));
  try {
    const place = async (path: string) => {
      const target = join(context, "tree", path);
      await mkdir(dirname(target), { recursive: true });
      return target;
    };
    // Links suffice: tar puts in what they lead to.
    for (const [path, source] of Object.entries(standIn.copied)) {
      await symlink(source, await place(path));
    }
    for (const library of await librariesBeyond(base.name, Object.values(standIn.copied))) {
      await symlink(library, await place(join("/usr/local/lib", basename(library))));
    }
    for (const [path, text] of Object.entries(written)) {
      await writeFile(await place(path), unindented(text), { mode: 0o755 });
    }
    await writeFile(join(context, "Dockerfile"), dockerfile);
    const unread = ["map", "ts", "tsx", "scss"].map(
      (kind) => `--exclude=./tree/usr/share/grafana/public/*.${kind}`,
    );
    await pipe(
      ["tar", "-ch", "--mode=u=rwX,go=rX", ...unread, "-C", context, "."],
      [
        ...["docker", "build", "--force-rm", "--network=none"],
        ...[`--label=${LABEL}=${content}`, `--tag=${name}`, "-"],
      ],
      // The classic builder takes local base images everywhere and needs no plugin.
      { DOCKER_BUILDKIT: "0" },
    );
  } catch (error) {
    throw new Missing(`${name} cannot be built: ${lastLine(error)}`);
  } finally {
    await rm(context, { recursive: true, force: true });
  }
  if (before) await removeUnnamed(before.id);
  return name;
}

/** A file's bytes; for a folder what it lists, as reading thousands of files takes too long. */
async function contentOf(path: string): Promise<Buffer | string> {
  if (!(await stat(path)).isDirectory()) return readFile(path);
  const lines = [];
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    const { size, mtimeMs } = await stat(file);
    lines.push(`${file.slice(path.length)} ${size} ${mtimeMs}`);
  }
  return lines.sort().join("\n");
}

/** The shared libraries of programs that the base has not. */
async function librariesBeyond(base: string, programs: string[]): Promise<string[]> {
  const has = await run("docker", ["run", "--rm", "--network", "none", base, "ldconfig", "-p"]);
  const known = new Set([...has.matchAll(/^\s*(\S+)/gm)].map((match) => match[1]));
  const libraries = new Set<string>();
  for (const program of programs) {
    const needs = await run("ldd", [program]).catch(() => ""); // Static, or no program at all.
    for (const [, name, path] of needs.matchAll(/^\s*(\S+) => (\/\S+)/gm)) {
      if (!known.has(name)) libraries.add(path);
    }
  }
  return [...libraries];
}

// The base ----------------------------------------------------------------------------------------

/** A small root file system of this machine's release, so that its libraries fit its programs. */
async function debian(): Promise<{ name: string; id: string }> {
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  const suite = /^VERSION_CODENAME="?([a-z]+)/m.exec(release)?.[1] ?? "stable";
  const name = `${PREFIX}/debian:${suite}`;
  const packages = "busybox,ca-certificates,curl,wget";
  const left = [
    ...["dev/*", "proc/*", "sys/*", "tmp/*", "var/cache/*", "var/log/*", "var/lib/apt/lists/*"],
    ...["doc/*", "info/*", "locale/*", "man/*"].map((folder) => `usr/share/${folder}`),
  ];
  const content = [suite, packages, ...left].join(" ");
  const found = await inspect(name);
  if (found?.content === content) return { name, id: found.id };

  await onPath("debootstrap");
  const root = await mkdtemp(join(tmpdir(), `${PREFIX}-`));
  try {
    const target = join(root, "root");
    const mirror = (await aptMirror(suite)) ?? [];
    // In a mount namespace of its own, so that nothing stays mounted in the folder removed below.
    const make = ["--mount", "debootstrap", "--variant=minbase", `--include=${packages}`];
    await run("unshare", make.concat(suite, target, mirror), 10 * MINUTE);
    const excluded = left.map((path) => `--exclude=./${path}`);
    await pipe(
      ["tar", "-c", "--numeric-owner", ...excluded, "-C", target, "."],
      ["docker", "import", `--change=LABEL ${LABEL}="${content}"`, "-", name],
    );
  } catch (error) {
    throw new Missing(`${name} cannot be built: ${lastLine(error)}`);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
  if (found) await removeUnnamed(found.id);
  return { name, id: (await inspect(name))!.id };
}

/** Where this machine's apt gets a suite from; undefined leaves it to debootstrap. */
async function aptMirror(suite: string): Promise<string | undefined> {
  const folder = "/etc/apt/sources.list.d";
  const files = (await readdir(folder).catch(() => [])).map((file) => join(folder, file));
  for (const file of ["/etc/apt/sources.list", ...files]) {
    const text = (await readFile(file, "utf8").catch(() => "")).replace(/^[ \t]*#.*\n?/gm, "");
    const entries = file.endsWith(".sources")
      ? text.split(/\n\s*\n/).map((stanza) => {
          const field = (name: string) =>
            new RegExp(`^${name}:\\s*(.*)$`, "im").exec(stanza)?.[1].split(/\s+/) ?? [];
          return { uri: field("URIs")[0], suites: field("Suites") };
        })
      : [...text.matchAll(/^\s*deb\s+(?:\[.*?\]\s+)?(\S+)\s+(\S+)/gm)].map(([, uri, name]) => ({
          uri,
          suites: [name],
        }));
    const entry = entries.find(
      ({ uri, suites }) => suites.includes(suite) && /^(https?|file|copy):/.test(uri),
    );
    if (entry) return entry.uri;
  }
  return undefined;
}

// This machine ------------------------------------------------------------------------------------

/** Where these programs are; a Missing names those that are not there. */
export async function onPath(...names: string[]): Promise<string[]> {
  const folders = searchPath().split(delimiter);
  const found: string[] = [];
  const absent: string[] = [];
  for (const name of names) {
    const hits = await Promise.all(folders.map((folder) => executable(join(folder, name))));
    const hit = hits.find((path) => path !== undefined);
    if (hit) found.push(hit);
    else absent.push(name);
  }
  if (absent.length > 0) throw new Missing(`no ${absent.join(" or ")} on PATH`);
  return found;
}

/** PATH and where Debian keeps the programs of an administrator. */
const searchPath = () =>
  [process.env.PATH, "/usr/local/sbin", "/usr/sbin", "/sbin"].join(delimiter);

const executable = (path: string) =>
  access(path, constants.X_OK).then(
    () => realpath(path),
    () => undefined,
  );

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

async function grafanaHome(server: string): Promise<string> {
  const bin = dirname(server);
  const homes = [dirname(bin), dirname(dirname(bin)), "/usr/share/grafana"];
  for (const home of homes) {
    if ((await exists(join(home, "conf/sample.ini"))) && (await exists(join(home, "public")))) {
      return home;
    }
  }
  throw new Missing(`no conf/ and public/ beside the folder of ${server}`);
}

async function version(program: string, argument: string): Promise<string> {
  const found = /\d+\.\d+\.\d+/.exec(await run(program, [argument]))?.[0];
  if (!found) throw new Missing(`no version in the answer of ${program} ${argument}`);
  return found;
}

/** What a command prints; a command that is absent, fails or takes too long is a Missing. */
async function run(command: string, args: string[], timeout = MINUTE): Promise<string> {
  try {
    const env = { ...process.env, PATH: searchPath() };
    const { stdout } = await promisify(execFile)(command, args, { env, timeout });
    return stdout;
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === "ENOENT") throw new Missing(`no ${command} on PATH`);
    throw new Missing(`"${basename(command)} ${args[0]}" fails: ${lastLine(stderr || error)}`);
  }
}

/** One command's output into another; fails with what the one that failed said last. */
async function pipe(from: string[], to: string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
  const source = spawn(from[0], from.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
  const sink = spawn(to[0], to.slice(1), {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, ...env },
    timeout: 10 * MINUTE,
  });
  source.stdout.pipe(sink.stdin);
  sink.stdin.on("error", () => undefined); // The sink left early; its exit code says so.
  const ends = [source, sink].map(
    (child) =>
      new Promise<string | undefined>((resolve, reject) => {
        let said = "";
        child.stderr.on("data", (text) => (said += text));
        if (child === sink) child.stdout.on("data", (text) => (said += text));
        child.once("error", reject);
        child.once("close", (code) => resolve(code === 0 ? undefined : said || `exit ${code}`));
      }),
  );
  const failure = (await Promise.all(ends)).reverse().find((said) => said !== undefined);
  if (failure !== undefined) throw new Error(failure);
}

/** The last line a command said, without colours and without Docker's copy of what it ran. */
function lastLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const lines = stripVTControlCharacters(text).split(/\s*\n\s*/);
  return lines.filter((line) => line !== "" && !line.startsWith("The command '")).at(-1) ?? text;
}

/** Text without its first, empty line and without the indentation it has in this file. */
function unindented(text: string): string {
  const [, indentation] = /^\n( *)/.exec(text)!;
  return text.slice(1).replaceAll(new RegExp(`^${indentation}`, "gm"), "") + "\n";
}

/** Test files run at the same time; only one process builds, the others then find it built. */
async function oneAtATime<T>(work: () => Promise<T>): Promise<T> {
  const lock = join(tmpdir(), `${PREFIX}.lock`);
  const mine = `${lock}.${process.pid}.${Math.random()}`;
  await writeFile(mine, String(process.pid));
  try {
    for (;;) {
      try {
        await link(mine, lock);
        break;
      } catch {
        const owner = Number(await readFile(lock, "utf8").catch(() => 0));
        const since = (await stat(lock).catch(() => undefined))?.mtimeMs ?? Date.now();
        const dead = owner && !alive(owner); // Or another program has its number by now.
        if (dead || Date.now() - since > 30 * MINUTE) await rm(lock, { force: true });
        else await sleep(SECOND / 4);
      }
    }
    try {
      return await work();
    } finally {
      await rm(lock, { force: true });
    }
  } finally {
    await rm(mine, { force: true });
  }
}

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
