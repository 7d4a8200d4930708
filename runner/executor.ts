/** Where k6 runs, behind one small interface. */
import { dockerExecutor } from "./docker";
import { kubernetesExecutor } from "./kubernetes";
import { localExecutor } from "./local";
import type { Credentials, Executor, RunRequest } from "./types";

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
