/** What `make up` needs on this machine, looked up and shown in one table. */
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { containerName, publishedPorts, type StackConfig } from "../config";
import { portIsFree, publishedBy } from "../runner/ports";

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
export const pulumiCommand = firstLine("pulumi", "version") ? "pulumi" : "node_modules/.bin/pulumi";

/** Images and data of a stack with the default images, in GB. */
const diskNeeded = 3;

export async function prerequisites(config: StackConfig, stack: string): Promise<Prerequisite[]> {
  return [node(), docker(), pulumi(), disk(), ...(await ports(config, stack))];
}

function node(): Prerequisite {
  const [major] = process.versions.node.split(".");
  const todo = Number(major) < 20 ? "install Node.js 20 or later: https://nodejs.org" : undefined;
  return { name: "Node.js", found: process.version, todo };
}

function docker(): Prerequisite {
  const name = "Docker";
  if (!firstLine("docker", "--version")) {
    return {
      name,
      found: "missing",
      todo: "install it, https://docs.docker.com/get-docker",
      withoutIt,
    };
  }
  const version = firstLine("docker", "version", "--format", "{{.Server.Version}}");
  return version
    ? { name, found: version }
    : {
        name,
        found: "does not answer",
        todo: "start it and see that `docker info` does",
        withoutIt,
      };
}

function pulumi(): Prerequisite {
  const name = "Pulumi CLI";
  const version = firstLine(pulumiCommand, "version");
  if (!version) {
    const todo = "it could not be downloaded, install it: https://www.pulumi.com/docs/install";
    return { name, found: "missing", todo, withoutIt };
  }
  return { name, found: `${version} (${pulumiCommand === "pulumi" ? "on PATH" : "npm package"})` };
}

function disk(): Prerequisite {
  const { bavail, bsize } = fs.statfsSync(".");
  const free = Math.floor((bavail * bsize) / 1e9);
  const todo = free < diskNeeded ? `free ${diskNeeded} GB` : undefined;
  return { name: "disk", found: `${free} GB free`, todo };
}

function ports(config: StackConfig, stack: string): Promise<Prerequisite[]> {
  return Promise.all(
    publishedPorts(config).map(async ({ key, port, service, address }) => {
      const name = `port ${port}`;
      if (await portIsFree(port, address)) return { name, found: "free" };
      if (publishedBy(containerName(stack, service), port, address)) {
        return { name, found: "this stack's own" };
      }
      const todo = `stop what listens on it, or choose another: make up ${key}=<port>`;
      return { name, found: "in use", todo };
    }),
  );
}

/** The first line a command prints, or nothing when it cannot run or fails. */
function firstLine(command: string, ...args: string[]): string | undefined {
  try {
    const output = execFileSync(command, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return output.trim().split("\n")[0] || undefined;
  } catch {
    return undefined;
  }
}
