/**
 * `make rehearse`: checks the settings and rehearses. Usage: rehearse.ts <stack> [key=value ...], and the
 * script's secrets, as JSON, in the environment as `scriptSecrets`.
 */
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
    const values = readSettings(stack, settings);
    // Pulumi, which alone reads the stack's, has no part in a rehearsal.
    const { scriptSecrets = values.scriptSecrets } = process.env;
    delete process.env.scriptSecrets;
    const config = parseConfig({ ...values, scriptSecrets }, process.cwd());
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
