/** A real Redis for tests: on 127.0.0.1, in a directory of its own, without persistence. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Why there can be no Redis here, or undefined if there can. */
export const noRedis = spawnSync("redis-server", ["--version"]).error
  ? "redis-server is not on the PATH"
  : undefined;

/** A running Redis. */
export interface Redis {
  port: number;
  url: string;
  process: ChildProcess;
  /** Ends the process and deletes its directory; its data is gone. */
  stop(): Promise<void>;
}

/** A port of 127.0.0.1 that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Starts a Redis and returns once it accepts connections. */
export async function startRedis(port?: number): Promise<Redis> {
  port ??= await freePort();
  const directory = mkdtempSync(join(tmpdir(), "redis-"));
  const options = { port, bind: "127.0.0.1", dir: directory, save: "", appendonly: "no" };
  const child = spawn(
    "redis-server",
    Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const exited = once(child, "exit");
  const removeDirectory = () => rmSync(directory, { recursive: true, force: true });

  let output = "";
  await new Promise<void>((resolve, reject) => {
    child.stdout.on("data", (chunk) => {
      output += chunk;
      if (output.includes("Ready to accept connections")) resolve();
    });
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`redis-server did not start:\n${output}`)));
  }).catch((error) => {
    removeDirectory();
    throw error;
  });

  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    process: child,
    async stop() {
      child.kill("SIGKILL"); // nothing to save, and it works on a stopped (SIGSTOP) process too
      await exited;
      removeDirectory();
    },
  };
}
