/** k6 as a process of this machine. */
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import pidusage from "pidusage";
import {
  ended,
  inspectArguments,
  k6Arguments,
  k6Config,
  k6Environment,
  localEnvironment,
  secretsFile,
  trustedBy,
  versionOf,
} from "./k6";
import type { Credentials, Executor, RunRequest } from "./types";

export function localExecutor(
  request: RunRequest,
  credentials: Credentials,
  binary: string,
): Executor {
  const script = path.resolve(request.script);
  const { url: baseUrl, caFile } = request.target;
  const secrets = secretsFile(credentials);
  let running: number | undefined;
  const start = (args: string[], input: string, config = "", env = {}) =>
    startK6(binary, script, args, { input, config, secrets }, env);

  return {
    version: () => versionOf([binary]),
    async inspect(id, dir, entry, signal) {
      const args = inspectArguments(request, id, openFiles, baseUrl);
      const k6 = start(args, entry({ script, files: "" }));
      let options = "";
      const print = (text: string) => (options += text);
      const end = await ended(k6, dir, signal, () => k6.kill("SIGKILL"), print);
      return { ...end, options };
    },
    async run(id, dir, entry, signal) {
      const out = path.resolve(dir);
      const files = path.join(out, "files");
      const k6 = start(
        k6Arguments(request, id, openFiles, baseUrl),
        entry({ script, files }),
        k6Config(request, credentials, request.influxdb.url),
        { ...k6Environment(out), ...trustedBy(caFile && path.resolve(caFile)) },
      );
      running = k6.pid;
      return [await ended(k6, dir, signal, () => k6.kill("SIGINT"))];
    },
    async usage() {
      if (running === undefined) return undefined;
      // It may be over.
      const used = await pidusage(running).catch(() => undefined);
      return used && { k6: used.cpu / 100 };
    },
  };
}

/** Where a k6 that `startK6` starts finds its files. */
export const openFiles = { config: "/dev/fd/3", secrets: "/dev/fd/4" };

/** Starts k6 in the script's folder with these texts as its standard input and as its files. */
export function startK6(
  binary: string,
  script: string,
  args: string[],
  { input, config, secrets }: { input: string; config: string; secrets: string },
  env: NodeJS.ProcessEnv = {},
): ChildProcess {
  const files = [input, config, secrets].map(unnamedFile);
  try {
    return spawn(binary, args, {
      cwd: path.dirname(script),
      env: { ...localEnvironment(), ...env },
      stdio: [files[0], "pipe", "pipe", files[1], files[2]],
    });
  } finally {
    for (const file of files) fs.closeSync(file);
  }
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
