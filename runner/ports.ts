/** Whether the ports that the stack publishes can be had. */
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
