/** In place of `node:timers/promises`: sleep takes no time, and the clock goes on. */
import { vi } from "vitest";

/** How long the code has slept, in milliseconds. */
export const slept: number[] = [];

export async function setTimeout(ms: number) {
  slept.push(ms);
  vi.setSystemTime(Date.now() + ms);
  await new Promise((resolve) => setImmediate(resolve));
}
