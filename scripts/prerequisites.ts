/** What `make up` needs on this machine, looked up and shown in one table. */
import { execFile, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import {
  type ClusterConfig,
  containerName,
  hasClusterPackages,
  operatorName,
  publishedPorts,
  type StackConfig,
} from "../config";
import { reasonOf } from "../runner/cluster";
import { leastOf } from "../runner/needs";
import { portIsFree, publishedBy } from "../runner/ports";
import { otherThan } from "../runner/versions";
import { dockerHost, isElsewhere } from "./docker-host";
import { images } from "./images";

/** One row: what was found, and if it will not do, how to get it. */
export interface Prerequisite {
  name: string;
  found: string;
  /** What to do; absent when all is well. */
  todo?: string;
  /** What can be done where it cannot be had. */
  withoutIt?: string;
}

const withoutIt = "or run make rehearse, the same test without Docker and Pulumi";

/** The Pulumi command: the one on PATH, else the npm package's, which fetches it at first use. */
export const pulumiCommand = isOnPath("pulumi") ? "pulumi" : "node_modules/.bin/pulumi";

/** Where packages keep what they can find out again. */
const memoryOfImages = "node_modules/.cache/coupon-load-test/images.json";

export async function prerequisites(config: StackConfig, stack: string): Promise<Prerequisite[]> {
  const { executor, platform, profile } = config;
  const here = platform.kind === "docker";
  const least = leastOf(profile);
  const daemon = here ? docker(least.memory) : undefined;
  const imagesThere = async () =>
    daemon && !(await daemon).todo ? images(config, memoryOfImages) : [];
  const rows = await Promise.all([
    // `launch.js` refuses one that does not do.
    { name: "Node.js", found: process.version },
    daemon ?? [],
    pulumi(),
    here ? disk(least.disk) : [],
    ports(config, stack),
    imagesThere(),
    executor.kind === "docker" ? [] : k6(executor.binary),
    executor.kind === "kubernetes" ? inCluster(executor, stack) : [],
  ]);
  return rows.flat();
}

/** Docker, which must have the bytes of memory that a run needs. */
async function docker(memory: number): Promise<Prerequisite> {
  const name = "Docker";
  if (!isOnPath("docker")) {
    return {
      name,
      found: "missing",
      todo: "install it, https://docs.docker.com/get-docker",
      withoutIt,
    };
  }
  const host = dockerHost(process.env);
  if (host && isElsewhere(host)) {
    const todo =
      "it is on another machine, whose ports are not those of this one: choose one of this machine, " +
      "see docker context ls and DOCKER_HOST";
    return { name, found: host, todo, withoutIt };
  }
  const told = await firstLine("docker", "info", "--format", "{{.ServerVersion}} {{.MemTotal}}");
  const [, version, has] = /^(\S+) (\d+)$/.exec(told ?? "") ?? [];
  if (!version) {
    return {
      name,
      found: "does not answer",
      todo: "start it and see that `docker info` does",
      withoutIt,
    };
  }
  const found = `${version}, ${gigabytes(Number(has))} GB of memory`;
  const todo = `give it ${gigabytes(memory)} GB, or lower rate or duration`;
  return { name, found, todo: Number(has) < memory ? todo : undefined };
}

async function pulumi(): Promise<Prerequisite> {
  const name = "Pulumi CLI";
  const version = await firstLine(pulumiCommand, "version");
  if (!version) {
    const todo = "it could not be downloaded, install it: https://www.pulumi.com/docs/install";
    return { name, found: "missing", todo, withoutIt };
  }
  return { name, found: `${version} (${pulumiCommand === "pulumi" ? "on PATH" : "npm package"})` };
}

function disk(needed: number): Prerequisite {
  const { bavail, bsize } = fs.statfsSync(".");
  const free = bavail * bsize;
  const todo = free < needed ? `free ${gigabytes(needed)} GB` : undefined;
  return { name: "disk", found: `${gigabytes(free)} GB free`, todo };
}

const gigabytes = (bytes: number) => Number((bytes / 1e9).toFixed(bytes < 10e9 ? 1 : 0));

function ports(config: StackConfig, stack: string): Promise<Prerequisite[]> {
  return Promise.all(
    publishedPorts(config).map(async ({ key, port, service, address }) => {
      const name = `port ${port}`;
      if (await portIsFree(port, address)) return { name, found: "free" };
      if (await publishedBy(containerName(stack, service), port, address)) {
        return { name, found: "this stack's own" };
      }
      const todo = `stop what listens on it, or choose another: make up ${key}=<port>`;
      return { name, found: "in use", todo };
    }),
  );
}

async function k6(binary: string): Promise<Prerequisite> {
  const [, version] = /^k6\S* v(\S+)/.exec((await firstLine(binary, "version")) ?? "") ?? [];
  if (version) return { name: binary, found: version, todo: otherThan("k6", version) };
  const todo =
    "install it, https://grafana.com/docs/k6/latest/set-up/install-k6, or say where it is by k6Binary";
  return { name: binary, found: "missing", todo };
}

async function inCluster(config: ClusterConfig, stack: string): Promise<Prerequisite[]> {
  const packages = installClusterPackages();
  return packages.todo ? [packages] : [packages, ...(await cluster(config, stack))];
}

/** Installs what only stacks in a cluster need, unless it is there. */
export function installClusterPackages(): Prerequisite {
  const name = "npm packages for a cluster";
  if (hasClusterPackages()) return { name, found: "installed" };
  const install = ["install", "--no-save", "--include=peer", "--no-audit", "--no-fund"];
  const { status } = spawnSync("npm", install, { stdio: ["ignore", "ignore", "inherit"] });
  if (status === 0 && hasClusterPackages()) return { name, found: "installed" };
  return { name, found: "missing", todo: `see why npm ${install.join(" ")} fails` };
}

/** The context and its cluster, and whose k6 operator is in it. */
async function cluster(config: ClusterConfig, stack: string): Promise<Prerequisite[]> {
  // Not for all who import this file: it takes half a second.
  const kubernetes = await import("@kubernetes/client-node");
  const kubeconfig = new kubernetes.KubeConfig();
  const name = `context ${config.context}`;
  try {
    kubeconfig.loadFromDefault();
  } catch (error) {
    const todo = `mend the kubeconfig or choose another by KUBECONFIG: ${reasonOf(error)}`;
    return [{ name, found: "cannot be read", todo }];
  }
  // Where there is no kubeconfig, the client makes up one with contexts of these names.
  const contexts = kubeconfig.contexts
    .map(({ name }) => name)
    .filter((name) => name !== "loaded-context" && name !== "inClusterContext");
  if (!contexts.includes(config.context)) {
    const there = contexts.join(", ") || "it has none, see KUBECONFIG";
    const todo = `set kubeContext to one that the kubeconfig has: ${there}`;
    return [{ name, found: "missing", todo }];
  }
  kubeconfig.setCurrentContext(config.context);

  const quickly = {
    middleware: [
      {
        pre: (request: InstanceType<typeof kubernetes.RequestContext>) => {
          request.setSignal(AbortSignal.timeout(5000));
          return new kubernetes.Observable(Promise.resolve(request));
        },
        post: (response: InstanceType<typeof kubernetes.ResponseContext>) =>
          new kubernetes.Observable(Promise.resolve(response)),
      },
    ],
  };
  try {
    const { gitVersion } = await kubeconfig
      .makeApiClient(kubernetes.VersionApi)
      .getCode({}, quickly);
    const owner = await kubeconfig
      .makeApiClient(kubernetes.ApiextensionsV1Api)
      .readCustomResourceDefinition({ name: "testruns.k6.io" }, quickly)
      .then(({ metadata }) => metadata?.labels?.["app.kubernetes.io/instance"] ?? "others")
      .catch((error) => {
        if (error.code === 404) return undefined;
        throw error;
      });
    const found = `Kubernetes ${gitVersion}`;
    return [{ name, found }, operator(owner, operatorName(stack), Boolean(config.operator))];
  } catch (error) {
    const todo = `start it, or see that you may use it: ${reasonOf(error)}`;
    return [{ name, found: "does not answer", todo }];
  }
}

/** The k6 operator, which may be the stack's own: `owner` is whose it is, if there is one. */
function operator(owner: string | undefined, own: string, installs: boolean): Prerequisite {
  const name = "k6 operator";
  if (owner === own) {
    const todo = "keep k6OperatorChart as it was, or make destroy first: the stack would remove it";
    return { name, found: "this stack's own", todo: installs ? undefined : todo };
  }
  if (owner) {
    const todo = "have the stack use it: make up k6OperatorChart=existing";
    return { name, found: "there already", todo: installs ? todo : undefined };
  }
  const todo = "have the stack install it, by k6OperatorChart";
  return installs ? { name, found: "to be installed" } : { name, found: "missing", todo };
}

/** The first line a command prints, or nothing when it cannot run or fails. */
const firstLine = (command: string, ...args: string[]) =>
  promisify(execFile)(command, args).then(
    ({ stdout }) => stdout.trim().split("\n")[0] || undefined,
    () => undefined,
  );

function isOnPath(command: string): boolean {
  const folders = (process.env.PATH ?? "").split(path.delimiter);
  return folders.some((folder) => {
    try {
      fs.accessSync(path.join(folder, command), fs.constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
