/** A target with a known ceiling: so many workers, each of which takes so long for a request. */
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** @returns its address, what it answers most in a second, and what ends it */
export async function startCeiling(workers: number, ms: number) {
  const freeAt = Array<number>(workers).fill(0);
  const server = http.createServer(async (_, response) => {
    const now = performance.now();
    const next = freeAt.indexOf(Math.min(...freeAt));
    freeAt[next] = Math.max(now, freeAt[next]) + ms;
    await sleep(freeAt[next] - now);
    response.end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const stop = () => new Promise((resolve) => server.close(resolve).closeAllConnections());
  return { url: `http://127.0.0.1:${port}`, most: (workers * 1000) / ms, stop };
}
