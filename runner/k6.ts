/** k6's command line, files and end: what is the same wherever it runs. */
import { type ChildProcess, execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import { withoutOptions } from "./declared";
import { type Credentials, type Ended, oneLine, RunFailure, type RunRequest } from "./types";

/** k6's version, such as `v1.8.1`. @throws RunFailure when the command cannot be started */
export async function versionOf([command, ...args]: string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, [...args, "version"]);
    return oneLine(/v\d+\.\d+\.\d+\S*/.exec(stdout)?.[0] ?? stdout.trim().split("\n")[0]);
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    const cause = (stderr || message).trim().split("\n").pop();
    throw new RunFailure(`k6 cannot be started (${[command, ...args].join(" ")}): ${cause}`);
  }
}

/** The files that k6 reads besides the script, by their paths where it runs. */
export interface Files {
  config: string;
  secrets: string;
}

/** The command line. It holds no secret: those are in the two files. */
export const k6Arguments = (request: RunRequest, id: string, files: Files, baseUrl: string) => [
  ...["run", ...outputArguments(files.config), ...sourceArguments(files.secrets)],
  ...(request.target.insecureSkipTLSVerify ? ["--insecure-skip-tls-verify"] : []),
  ...[...scriptArguments(request, id, baseUrl), "-"],
];

/** The command line that has k6 read a script and tell its options. */
export const inspectArguments = (
  request: RunRequest,
  id: string,
  { secrets }: Pick<Files, "secrets">,
  baseUrl: string,
) => [
  ...["inspect", "--no-color", ...sourceArguments(secrets)],
  ...[...scriptArguments(request, id, baseUrl), "-"],
];

/** Where a run's points go. */
export const outputArguments = (config: string) => [
  ...["--config", config, "--out", "influxdb", "--no-color", "--no-usage-report"],
];

/**
 * Where a script's secrets come from. Its `__ENV` has nothing of k6's own environment, which is another
 * one with each executor.
 */
export const sourceArguments = (secrets: string) => [
  ...["--include-system-env-vars=false", `--secret-source=file=${secrets}`],
];

/** What a script finds in its `__ENV`. */
export const scriptArguments = (
  { profile, thresholds, scriptEnv = {} }: RunRequest,
  id: string,
  baseUrl: string,
) => [
  ...["--env", `TESTID=${id}`],
  ...["--env", `BASE_URL=${baseUrl}`],
  ...["--env", `PROFILE=${JSON.stringify(profile)}`],
  ...["--env", `THRESHOLDS=${JSON.stringify(thresholds)}`],
  ...Object.entries(scriptEnv).flatMap(([name, value]) => ["--env", `${name}=${value}`]),
];

/**
 * What k6's Go runtime goes by in a container: it collects garbage a third as often, which
 * docs/benchmarks.md says is worth it, and more eagerly where the memory, in MiB, comes to its end.
 */
export const goEnvironment = (memory: number) => ({
  GOGC: "400",
  GOMEMLIMIT: `${Math.floor(memory * 0.9)}MiB`,
});

/** k6's own HTML report as well; port -1 keeps its live page shut. */
export const k6Environment = (out: string) => ({
  K6_WEB_DASHBOARD: "true",
  K6_WEB_DASHBOARD_PORT: "-1",
  K6_WEB_DASHBOARD_PERIOD: "1s",
  K6_WEB_DASHBOARD_EXPORT: `${out}/k6-report.html`,
  ...plainEnvironment,
});

/** Has k6, as any program in Go, trust what is in a file beside what its system trusts. */
export const trustedBy = (file?: string): Record<string, string> =>
  file ? { SSL_CERT_FILE: file } : {};

/** What k6 has in its environment wherever it runs. */
export const plainEnvironment = {
  K6_AUTO_EXTENSION_RESOLUTION: "false",
  // A proxy, which Docker's own configuration may give to every container, would be measured, too.
  NO_PROXY: "*",
};

/** The environment of a k6 that is a process of this machine: none of its options come from here. */
export const localEnvironment = () => ({ ...withoutOptions(process.env), ...plainEnvironment });

/** k6's configuration file: the store, and where this machine is. */
export function k6Config(
  { influxdb }: RunRequest,
  { writer: { username, password } }: Credentials,
  addr: string,
  hosts?: Record<string, string>,
): string {
  const store = { addr, db: influxdb.database, username, password };
  return JSON.stringify({ hosts, collectors: { influxdb: store } });
}

/** The file of a script's secrets, as k6 reads it: one a line. */
export const secretsFile = ({ secrets = {} }: Credentials) =>
  Object.entries(secrets)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");

/**
 * Keeps k6's output and waits for its end; on `signal` asks it to stop, and after 15 s ends it. What
 * it prints on standard output goes to `print`, if there is one.
 */
export async function ended(
  child: ChildProcess,
  dir: string,
  signal: AbortSignal,
  stop: () => void,
  print?: (text: string) => void,
): Promise<Ended> {
  const log = fs.createWriteStream(path.join(dir, "k6.log"), { flags: "a" });
  if (print) child.stdout?.setEncoding("utf8").on("data", print);
  else child.stdout?.pipe(log, { end: false });
  child.stderr?.pipe(log, { end: false });
  let force: NodeJS.Timeout | undefined;
  const onAbort = () => {
    stop();
    force = setTimeout(() => child.kill("SIGKILL"), 15_000);
  };
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort);
  try {
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => resolve(code ?? 137));
    });
    return { dir, exitCode };
  } finally {
    signal.removeEventListener("abort", onAbort);
    clearTimeout(force);
    await new Promise<void>((resolve) => log.end(resolve));
  }
}
