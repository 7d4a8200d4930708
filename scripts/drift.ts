/** What was changed by hand: Pulumi's view of the stack against what is really there. */
import { execFileSync } from "node:child_process";
import { waitForAnswer } from "../runner/gate";
import { publishedUrl } from "../runner/ports";
import { type EngineEvent, errorsIn, nameOf } from "./events";

/** A resource of an exported state, as far as it is of interest. */
export interface Resource {
  urn: string;
  type: string;
  /** As its provider calls it. */
  id?: string;
  protect?: boolean;
  /** It has been replaced, and is still to go. */
  delete?: boolean;
  /** Secrets are objects with their JSON as `plaintext`; so in `outputs`. */
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
  /** The URNs of what each input was made of. */
  propertyDependencies?: Record<string, string[] | null>;
}

export interface Drift {
  /** Resource and what became of it, such as `dashboards-influxdb`, `changed: url`. */
  rows: [name: string, what: string][];
  /** What could not be looked at, in Pulumi's words. */
  unseen: string[];
}

/** Reads the events of a `pulumi refresh --preview-only`. */
export function driftOf(events: EngineEvent[]): Drift {
  const rows: Drift["rows"] = [];
  const unseen = errorsIn(events)
    .filter((message) => !/preview failed$/.test(message))
    .map((message) => message.replace(/^Preview failed: /, ""));
  for (const { resOutputsEvent } of events) {
    if (!resOutputsEvent) continue;
    const { op, urn, detailedDiff, old, new: found } = resOutputsEvent.metadata;
    if (!["update", "delete"].includes(op) || urn.includes("::pulumi:pulumi:")) continue;
    const [before, after] = [old?.outputs ?? {}, found?.outputs ?? {}];
    const differs = (key: string) => JSON.stringify(before[key]) !== JSON.stringify(after[key]);
    const keys = detailedDiff ? Object.keys(detailedDiff) : Object.keys(after).filter(differs);
    // How Docker's provider says that a container is there, but does not run.
    const stopped = urn.includes("docker:index/container:") && keys.includes("mustRun");
    const what = stopped ? "stopped" : `changed: ${keys.join(", ") || "its properties"}`;
    rows.push([nameOf(urn), op === "delete" ? "gone" : what]);
  }
  return { rows, unseen: [...new Set(unseen)] };
}

/** A container of the stack, as Docker has it. */
interface Container {
  urn: string;
  name: string;
  /** Absent when Docker has no such container. */
  running?: boolean;
}

/** The containers that the stack's state knows, and whether they run. */
export function containersOf(resources: Resource[]): Container[] {
  const known = resources.filter(({ type }) => type === "docker:index/container:Container");
  if (known.length === 0) return [];
  const states = new Map(statesOfContainers());
  return known.map(({ urn, outputs }) => {
    const name = String(outputs?.name);
    return { urn, name, running: states.has(name) ? states.get(name) === "running" : undefined };
  });
}

/** The networks that the stack's state knows, and whether Docker still has them. */
export function networksOf(resources: Resource[]): { urn: string; isThere: boolean }[] {
  const known = resources.filter(({ type }) => type === "docker:index/network:Network");
  if (known.length === 0) return [];
  const ids = dockerList("network", "ls", "--no-trunc", "--format", "{{.ID}}");
  return known.map(({ urn, id = "" }) => ({ urn, isThere: ids.includes(id) }));
}

const isAdmin = ({ type }: Resource) => /^pulumi-nodejs:dynamic\/\w+:Admin$/.test(type);

/** The administrators of the servers, by URN: Pulumi waits for a server with its administrator. */
export const administrators = (resources: Resource[]) =>
  resources.filter(isAdmin).map(({ urn }) => urn);

/** What a stack has made of its servers in a cluster, by URN, and where each is to answer. */
export function serversInCluster(resources: Resource[]): { urns: string[]; urls: string[] } {
  const own = resources.filter(({ urn }) => urn.includes("coupon-load-test:kubernetes:"));
  const made = own.filter(({ type }) => type.startsWith("kubernetes:"));
  const waitedFor = resources.filter(isAdmin);
  return {
    urns: made.map(({ urn }) => urn),
    urls: made.length > 0 ? waitedFor.map(({ outputs }) => String(outputs?.url)) : [],
  };
}

/** Removes what Docker has of these containers; their volumes stay. */
export function removeContainers(containers: Container[]) {
  const names = containers.filter(({ running }) => running !== undefined).map(({ name }) => name);
  if (names.length > 0) dockerList("rm", "--force", ...names);
}

/** Starts containers, and waits until those with a port answer. */
export async function start(names: string[]): Promise<void> {
  for (const name of names) {
    execFileSync("docker", ["start", name], { stdio: ["ignore", "ignore", "inherit"] });
    const url = await publishedUrl(name);
    if (url) await waitForAnswer(url, 60);
  }
}

/** Docker's containers by name, and the state of each, such as `running`. */
const statesOfContainers = () =>
  dockerList("container", "ls", "--all", "--format", "{{.Names}} {{.State}}").flatMap((line) => {
    const [names, state] = line.split(" ");
    return names.split(",").map((name): [string, string] => [name, state]);
  });

/** The lines that a command of Docker prints. */
const dockerList = (...args: string[]) =>
  execFileSync("docker", args, { encoding: "utf8" }).trim().split("\n");
