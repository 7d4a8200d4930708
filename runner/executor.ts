/** Where k6 runs, behind one small interface. */
import { dockerExecutor } from "./docker";
import { kubernetesExecutor } from "./kubernetes";
import { localExecutor } from "./local";
import type { Credentials, RunRequest } from "./types";

/** How one k6 of a run ended, and where its `k6.log` and `k6-summary.json` are. */
export interface Ended {
  /** Which of several it was, such as `runner 2`; absent where one is all. */
  name?: string;
  dir: string;
  exitCode: number;
}

/** k6's part in a run. Output goes to `dir`; one k6 leaves its `report.html` there, too. */
export interface Executor {
  /**
   * Such as `v1.8.1`, as told by k6 where it is to run.
   *
   * @throws RunFailure when k6 cannot be had
   */
  version(signal: AbortSignal): Promise<string>;
  /** Runs the script to its end, or to a graceful stop when `signal` fires. */
  run(id: string, dir: string, signal: AbortSignal): Promise<Ended[]>;
}

/** @param say gets what there is to tell people between the run's own lines */
export function executorFor(
  request: RunRequest,
  credentials: Credentials,
  say: (line: string) => void = () => undefined,
): Executor {
  const { executor } = request;
  switch (executor.kind) {
    case "docker":
      return dockerExecutor(request, credentials, executor);
    case "local":
      return localExecutor(request, credentials, executor.binary);
    case "kubernetes":
      return kubernetesExecutor(request, credentials, executor, say);
  }
}
