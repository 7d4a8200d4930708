/** Ports of this machine, which are free and which are the stack's own, and ports of nodes. */
import { execFile } from "node:child_process";
import * as crypto from "node:crypto";
import * as net from "node:net";
import * as os from "node:os";
import { promisify } from "node:util";

const loopback = "127.0.0.1";

/** How this machine reaches a port that is published on `address`; 0.0.0.0 is all of its own. */
export const localUrl = (address: string, port: number) =>
  `http://${address === "0.0.0.0" ? loopback : address}:${port}`;

/** Whether `address` is one of this machine's, so that something can listen there. */
export const isLocalAddress = (address: string) =>
  address === "0.0.0.0" ||
  address === loopback ||
  Object.values(os.networkInterfaces()).some((all) =>
    all?.some((each) => each.address === address),
  );

/** Whether nothing listens on this port of an address. */
export function portIsFree(port: number, address = loopback): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: address, exclusive: true }, () => {
      server.close(() => resolve(true));
    });
  });
}

/** A port of 127.0.0.1 that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** All ports of a range, from one on that goes with the name. */
function* portsFor(name: string, { first, last }: { first: number; last: number }) {
  const start = crypto.createHash("sha256").update(name).digest().readUInt32BE();
  const count = last - first + 1;
  for (let offset = 0; offset < count; offset++) yield first + ((start + offset) % count);
}

/**
 * A port of 127.0.0.1 that is free: the same for the same name, as long as nobody else has it. From
 * 20000 to 29999, below those that systems give out by themselves.
 *
 * @param taken ports that are about to be used
 */
export async function portFor(name: string, taken: number[]): Promise<number> {
  for (const port of portsFor(name, { first: 20_000, last: 29_999 })) {
    if (!taken.includes(port) && (await portIsFree(port))) return port;
  }
  throw new Error("no port from 20000 to 29999 of 127.0.0.1 is free");
}

/** The ports that Kubernetes opens on all nodes for a service, unless its cluster has another range. */
export const nodePorts = { first: 30_000, last: 32_767 };

/** One of them, always the same for the same name; whether it is free only its cluster knows. */
export function nodePortFor(name: string, taken: number[]): number {
  return [...portsFor(name, nodePorts)].find((port) => !taken.includes(port))!;
}

/** Whether the running container of this name publishes the port: then it is the stack's own. */
export async function publishedBy(
  container: string,
  port: number,
  address = loopback,
): Promise<boolean> {
  const filter = `name=^/${container.replaceAll(".", "\\.")}$`;
  const ports = await docker("ps", "--filter", filter, "--format", "{{.Ports}}");
  return ports.includes(`${address}:${port}->`);
}

/** The port that a container publishes, running or stopped; `undefined` without the container. */
export const publishedPort = async (container: string) => (await published(container))?.port;

/** How this machine reaches that port. */
export async function publishedUrl(container: string): Promise<string | undefined> {
  const found = await published(container);
  return found && localUrl(found.address, found.port);
}

async function published(
  container: string,
): Promise<{ address: string; port: number } | undefined> {
  const first = "{{with index . 0}}{{.HostIp}} {{.HostPort}}{{end}}";
  const bindings = `{{range .HostConfig.PortBindings}}${first}{{end}}`;
  const inspected = await docker("container", "inspect", "--format", bindings, container);
  const [address, port] = inspected.split(" ");
  return Number(port) ? { address: address || "0.0.0.0", port: Number(port) } : undefined;
}

/** What a command of Docker prints; nothing where it fails. */
const docker = (...args: string[]) =>
  promisify(execFile)("docker", args).then(
    ({ stdout }) => stdout.trim(),
    () => "",
  );
