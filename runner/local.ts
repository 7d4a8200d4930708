/** k6 as a process of this machine. */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import {
  ended,
  inspectArguments,
  k6Arguments,
  k6Config,
  k6Environment,
  localEnvironment,
  versionOf,
} from "./k6";
import type { Credentials, Executor, RunRequest } from "./types";

export function localExecutor(
  request: RunRequest,
  credentials: Credentials,
  binary: string,
): Executor {
  const script = path.resolve(request.script);
  const baseUrl = request.target.url;

  /** Starts k6 in the script's folder, with files as its standard input and as number 3. */
  function start(args: string[], env: NodeJS.ProcessEnv, entry: string, config = "") {
    const [input, third] = [unnamedFile(entry), unnamedFile(config)];
    try {
      return spawn(binary, args, {
        cwd: path.dirname(script),
        env: { ...localEnvironment(), ...env },
        stdio: [input, "pipe", "pipe", third],
      });
    } finally {
      for (const file of [input, third]) fs.closeSync(file);
    }
  }

  return {
    version: () => versionOf([binary]),
    async inspect(id, dir, entry, signal) {
      const k6 = start(inspectArguments(request, id, baseUrl), {}, entry({ script, files: "" }));
      let options = "";
      const print = (text: string) => (options += text);
      const end = await ended(k6, dir, signal, () => k6.kill("SIGKILL"), print);
      return { ...end, options };
    },
    async run(id, dir, entry, signal) {
      const out = path.resolve(dir);
      const files = path.join(out, "files");
      const k6 = start(
        k6Arguments(request, id, "/dev/fd/3", baseUrl),
        k6Environment(out),
        entry({ script, files }),
        k6Config(request, credentials, request.influxdb.url),
      );
      return [await ended(k6, dir, signal, () => k6.kill("SIGINT"))];
    },
  };
}

/**
 * Opens a file with this text that has no name any more, so that whatever ends this process leaves
 * no password behind. A pipe would not do: k6 opens `/dev/fd/3`, which Node's pipes, being sockets,
 * do not allow.
 */
function unnamedFile(text: string): number {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "coupon-load-test-"));
  const file = path.join(folder, "file");
  try {
    fs.writeFileSync(file, text, { mode: 0o600 });
    return fs.openSync(file, "r");
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}
