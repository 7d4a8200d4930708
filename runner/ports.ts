/** Ports of 127.0.0.1: which are free, and which are the stack's own. */
import { execFileSync } from "node:child_process";
import * as net from "node:net";

/** Whether nothing listens on this port of 127.0.0.1. */
export function portIsFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
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

/** Whether the running container of this name publishes the port: then it is the stack's own. */
export function publishedBy(container: string, port: number): boolean {
  try {
    const ports = execFileSync(
      "docker",
      ["ps", "--filter", `name=^/${container}$`, "--format", "{{.Ports}}"],
      { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
    );
    return ports.includes(`127.0.0.1:${port}->`);
  } catch {
    return false;
  }
}
