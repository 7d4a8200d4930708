/** What is in the images of a stack, asked of the images themselves: a tag may say anything. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import type { StackConfig } from "../config";
import { otherThan, type Program } from "../runner/versions";
import type { Prerequisite } from "./prerequisites";

/** How each program tells its version. */
const commands: Record<Program, string[]> = {
  Grafana: ["grafana", "--version"],
  InfluxDB: ["influxd", "version"],
  k6: ["k6", "version"],
};

/** An image that must hold a program, and the key that names it. */
interface Wanted {
  program: Program;
  key: string;
  image: string;
}

/**
 * A row for each image whose version matters. One that is not there yet is fetched, since it may not
 * be tried on what an earlier one has stored; one that cannot be had is left to Pulumi, which may
 * have a login of its own.
 *
 * @param memory a file that keeps what was found, by image
 */
export async function images(config: StackConfig, memory: string): Promise<Prerequisite[]> {
  const { executor, grafana, influxdb } = config;
  const wanted: Wanted[] = [
    { program: "InfluxDB", key: "influxdbImage", image: influxdb.image },
    { program: "Grafana", key: "grafanaImage", image: grafana.image },
  ];
  if (executor.kind === "docker") {
    wanted.push({ program: "k6", key: "k6Image", image: executor.image });
  }
  const known = new Map<string, string>(fs.existsSync(memory) ? readPairs(memory) : []);
  const rows = await Promise.all(wanted.map((each) => row(each, known)));
  fs.mkdirSync(path.dirname(memory), { recursive: true });
  fs.writeFileSync(memory, JSON.stringify([...known]));
  return rows.flatMap((each) => each ?? []);
}

async function row(
  { program, key, image }: Wanted,
  known: Map<string, string>,
): Promise<Prerequisite | undefined> {
  const id = (await idOf(image)) ?? (await pull(image));
  if (!id) return undefined;
  const remembered = `${program} in ${id}`;
  const version = known.get(remembered) ?? (await versionIn(id, program));
  const name = `${program} in ${image}`;
  if (!version) {
    const todo = `it does not start there: set ${key} to an image of ${program}`;
    return { name, found: "missing", todo };
  }
  known.set(remembered, version);
  const instead = otherThan(program, version);
  return { name, found: version, todo: instead && `${instead}: set ${key} to such an image` };
}

const docker = async (...args: string[]) =>
  (await promisify(execFile)("docker", args)).stdout.trim();

const idOf = (image: string) =>
  docker("image", "inspect", "--format", "{{.Id}}", image).catch(() => undefined);

/** Fetches an image for a person who waits; gives its id, if there is such an image. */
async function pull(image: string): Promise<string | undefined> {
  console.log(`fetching ${image}`);
  const child = spawn("docker", ["pull", "--quiet", image], { stdio: "ignore" });
  await once(child, "close");
  return idOf(image);
}

/** What a program in an image tells of its version; `undefined` if it does not start there. */
async function versionIn(id: string, program: Program): Promise<string | undefined> {
  const [command, ...args] = commands[program];
  const isolated = ["run", "--rm", "--network=none", `--entrypoint=${command}`];
  const told = await docker(...isolated, id, ...args).catch(() => "");
  return /\bv?(\d+\.\d+\.\d\S*)/.exec(told)?.[1];
}

const readPairs = (file: string): [string, string][] => JSON.parse(fs.readFileSync(file, "utf8"));
