/** `make rehearse`: checks the settings and rehearses. Usage: rehearse.ts <stack> [key=value ...] */
import { parseConfig, requireFreePort } from "../config";
import { rehearse } from "../rehearsal/rehearse";
import { RunFailure } from "../runner/types";
import { ConfigError } from "../values";
import { readSettings } from "./settings";

async function main([stack, ...settings]: string[]) {
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => interrupted.abort());
  }
  try {
    const config = parseConfig(readSettings(stack, settings), process.cwd());
    if (config.target.kind === "sample") await requireFreePort("couponApiPort", config.target.port);
    await rehearse(config, interrupted.signal);
  } catch (error) {
    const known = error instanceof RunFailure || error instanceof ConfigError;
    const line = interrupted.signal.aborted ? "interrupted" : (error as Error).message;
    console.error(known || interrupted.signal.aborted ? `make rehearse: ${line}` : error);
    process.exitCode = 1;
  }
}

void main(process.argv.slice(2));
