/** k6 as a process of this machine. */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { ended, k6Arguments, k6Config, k6Environment, versionOf } from "./k6";
import type { Credentials, Executor, RunRequest } from "./types";

export function localExecutor(
  request: RunRequest,
  credentials: Credentials,
  binary: string,
): Executor {
  return {
    version: () => versionOf([binary]),
    async run(id, dir, signal) {
      const args = k6Arguments(request, id, {
        config: "/dev/stdin",
        out: dir,
        script: path.resolve(request.script),
        baseUrl: request.target.url,
      });
      const env = { ...process.env, ...k6Environment(dir) };
      const config = unnamedFile(k6Config(request, credentials, request.influxdb.url));
      const k6 = spawn(binary, args, { env, stdio: [config, "pipe", "pipe"] });
      fs.closeSync(config);
      return [await ended(k6, dir, signal, () => k6.kill("SIGINT"))];
    },
  };
}

/**
 * Opens a file with this text that has no name any more, so that whatever ends this process leaves
 * no password behind. A pipe would not do: k6 opens `/dev/stdin`, which Node's pipes, being sockets,
 * do not allow.
 */
function unnamedFile(text: string): number {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "coupon-load-test-"));
  const file = path.join(folder, "config.json");
  try {
    fs.writeFileSync(file, text, { mode: 0o600 });
    return fs.openSync(file, "r");
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}
