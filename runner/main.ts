/**
 * The command that `LoadTest` starts: reads a `RunRequest` from the environment (`LOAD_TEST`) and
 * `Credentials` from standard input, both JSON; prints progress to standard error and the result,
 * as one line, to standard output.
 *
 * Pulumi ends an interrupted command by killing its process outright, so the work is done by a
 * second process: when the first one is gone, it stops k6 and leaves.
 */
import { fork } from "node:child_process";
import * as path from "node:path";
import { text } from "node:stream/consumers";
import { root } from "../root";
import { runLoadTest } from "./run";

async function work() {
  const interrupted = new AbortController();
  for (const event of ["disconnect", "SIGINT", "SIGTERM"]) {
    process.on(event, () => interrupted.abort());
  }
  process.channel?.unref();
  try {
    const result = await runLoadTest(
      JSON.parse(process.env.LOAD_TEST ?? ""),
      JSON.parse(await text(process.stdin)),
      (line) => console.error(line),
      interrupted.signal,
    );
    console.log(JSON.stringify(result));
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}

function supervise() {
  const worker = fork(path.join(root, "launch.js"), ["runner/main.ts", "work"], {
    detached: true,
    stdio: ["inherit", "inherit", "inherit", "ipc"],
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => worker.kill(signal));
  }
  worker.on("exit", (code) => (process.exitCode = code ?? 1));
}

if (process.argv[2] === "work") void work();
else supervise();
