/** A real Redis for tests: on 127.0.0.1, in a folder of its own, without persistence. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { findPart } from "../../rehearsal/parts";
import * as processes from "../../rehearsal/processes";
import { freePort } from "../../runner/ports";

export { freePort };

const redisServer = findPart("redis-server");

/** Why there can be no Redis here, or undefined if there can. */
export const noRedis = redisServer ? undefined : "redis-server is not there";

/** A running Redis. */
export interface Redis extends processes.Server {
  port: number;
}

/** Starts a Redis and returns once it accepts connections. */
export async function startRedis(port?: number): Promise<Redis> {
  port ??= await freePort();
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "redis-"));
  const server = await processes.startRedis(redisServer ?? "", folder, port);
  return {
    ...server,
    port,
    async stop() {
      server.process.kill("SIGKILL"); // nothing to save, and it works on a stopped process, too
      await server.stop();
      fs.rmSync(folder, { recursive: true, force: true });
    },
  };
}
