/** A cluster's API, as far as a run asks it. */
import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type * as client from "@kubernetes/client-node" with { "resolution-mode": "import" };
import { runLabel, type TestRun } from "./test-run";
import { type Cluster, oneLine, RunFailure } from "./types";

/** How long a pod may take to end, a quota to count what is there, in seconds. */
const patience = 60;

/** What is asked of the cluster, each refusal told in one line. */
export class Api {
  constructor(
    private readonly core: client.CoreV1Api,
    private readonly custom: client.CustomObjectsApi,
    private readonly log: client.Log,
    private readonly namespace: string,
  ) {}

  async create(...manifests: (client.V1ConfigMap | client.V1Secret | client.V1Pod | TestRun)[]) {
    const { namespace } = this;
    for (const body of manifests) {
      const make = () =>
        body.kind === "ConfigMap"
          ? this.core.createNamespacedConfigMap({ namespace, body: body as client.V1ConfigMap })
          : body.kind === "Secret"
            ? this.core.createNamespacedSecret({ namespace, body: body as client.V1Secret })
            : body.kind === "Pod"
              ? this.core.createNamespacedPod({ namespace, body: body as client.V1Pod })
              : this.custom.createNamespacedCustomObject({ ...testRuns, namespace, body });
      await onceCounted(make).catch((error) => {
        const what = `${body.kind} ${body.metadata?.name}`;
        const absent = body.kind === "TestRun" && error.code === 404;
        throw new RunFailure(
          absent
            ? "the cluster has no k6 operator: it knows no TestRun of k6.io/v1alpha1"
            : `the cluster refuses ${what}: ${reasonOf(error)}`,
        );
      });
    }
  }

  /** Pods of a run by its name, or all that any run has left. */
  async pods(selector: string): Promise<client.V1Pod[]> {
    const { namespace } = this;
    return (await this.core.listNamespacedPod({ namespace, labelSelector: selector })).items;
  }

  async testRun(name: string): Promise<TestRun> {
    const { namespace } = this;
    return this.custom.getNamespacedCustomObject({ ...testRuns, namespace, name });
  }

  /** Why the cluster makes no pod of a run: beyond a quota, or against a policy. */
  async refusedPod(run: string): Promise<string | undefined> {
    const { namespace } = this;
    const fieldSelector = "involvedObject.kind=Job,reason=FailedCreate";
    const { items } = await this.core.listNamespacedEvent({ namespace, fieldSelector });
    return items.find(({ involvedObject }) => involvedObject.name?.startsWith(`${run}-`))?.message;
  }

  /** Whether a pod's node answers the cluster; `undefined` without one, or if that is not for us. */
  async nodeIsReady({ spec }: client.V1Pod): Promise<boolean | undefined> {
    const name = spec?.nodeName;
    if (!name) return undefined;
    try {
      const { status } = await this.core.readNode({ name });
      return status?.conditions?.find(({ type }) => type === "Ready")?.status === "True";
    } catch (error) {
      return (error as { code?: number }).code === 404 ? false : undefined;
    }
  }

  /** Whether a node is on its way for a pod: Cluster Autoscaler says it so, and Karpenter. */
  async nodeIsComing({ metadata }: client.V1Pod): Promise<boolean> {
    const { namespace } = this;
    // Not by its name, which the gate's pods share.
    const fieldSelector = `involvedObject.uid=${metadata?.uid}`;
    const { items } = await this.core.listNamespacedEvent({ namespace, fieldSelector });
    return items.some(({ reason }) => reason === "TriggeredScaleUp" || reason === "Nominated");
  }

  /** Appends what a pod says to a file as it comes; gives what stops that. */
  async follow(pod: string, file: string): Promise<() => Promise<void>> {
    const stream = fs.createWriteStream(file, { flags: "a" });
    // What cannot be kept as it comes is asked for in the end.
    stream.on("error", () => undefined);
    const end = () => new Promise<void>((resolve) => stream.end(() => resolve()));
    try {
      const following = await this.log.log(this.namespace, pod, "k6", stream, { follow: true });
      return async () => {
        following.abort();
        await end();
      };
    } catch (error) {
      await end();
      throw error;
    }
  }

  /** All that a pod has said; nothing if it cannot be had any more. */
  async logOf(name: string, container = "k6"): Promise<string> {
    const { namespace } = this;
    for (let tries = 1; ; tries++) {
      try {
        return await this.core.readNamespacedPodLog({ name, namespace, container });
      } catch (error) {
        // An API that does not answer may soon; one that says no, as of a node that is gone, has said it.
        if (typeof (error as { code?: unknown }).code === "number" || tries === 5) return "";
        await sleep(1000);
      }
    }
  }

  /** Removes all that runs have made, and waits until its pods are gone. */
  async removeAll() {
    const { namespace } = this;
    const those = { namespace, labelSelector: runLabel };
    // Where there is no operator, there are no TestRuns either.
    const absent = (error: { code?: number }) => {
      if (error.code !== 404) throw error;
    };
    await this.custom
      .deleteCollectionNamespacedCustomObject({ ...testRuns, ...those })
      .catch(absent);
    // The gate's: the runners' go with the TestRun.
    const pods = { ...those, gracePeriodSeconds: 0 };
    await Promise.all([
      this.core.deleteCollectionNamespacedSecret(those),
      this.core.deleteCollectionNamespacedConfigMap(those),
      this.core.deleteCollectionNamespacedPod(pods),
    ]).catch(absent);
    for (let tries = 0; tries < patience; tries++) {
      const left = [...(await this.pods(runLabel)), ...(await this.pods("k6_cr"))];
      if (left.length === 0) return;
      for (const pod of left) {
        if ((await this.nodeIsReady(pod)) !== false) continue;
        // Its node, which is gone, would never tell that it has ended, and the quota counts it.
        const name = pod.metadata!.name!;
        const gone = this.core.deleteNamespacedPod({ name, namespace, gracePeriodSeconds: 0 });
        await gone.catch(absent);
      }
      await sleep(1000);
    }
    throw new RunFailure(`pods of the run do not end in namespace ${namespace}`);
  }
}

const testRuns = { group: "k6.io", version: "v1alpha1", plural: "testruns" };

/** @throws RunFailure when the kubeconfig cannot be read, or does not have what the context names */
export async function connect({ context, namespace }: Cluster): Promise<Api> {
  const k8s = await import("@kubernetes/client-node");
  const config = new k8s.KubeConfig();
  try {
    config.loadFromDefault();
  } catch (error) {
    throw new RunFailure(`the kubeconfig cannot be read: ${reasonOf(error)}`);
  }
  if (!config.getContextObject(context)) {
    const known = config.contexts.map(({ name }) => name).join(", ") || "none";
    throw new RunFailure(`the kubeconfig has no context ${context}; it has: ${known}`);
  }
  config.setCurrentContext(context);
  if (!config.getCurrentCluster()) {
    throw new RunFailure(
      `the kubeconfig does not have the cluster that its context ${context} names`,
    );
  }
  return new Api(
    config.makeApiClient(k8s.CoreV1Api),
    config.makeApiClient(k8s.CustomObjectsApi),
    new k8s.Log(config),
    namespace,
  );
}

/** A new quota refuses all until the cluster has counted what is there. */
async function onceCounted(make: () => Promise<unknown>): Promise<unknown> {
  for (const end = Date.now() + patience * 1000; ; await sleep(1000)) {
    try {
      return await make();
    } catch (error) {
      if (Date.now() > end || !/status unknown for quota/.test(reasonOf(error))) throw error;
    }
  }
}

/** What an error of the API, or on the way to it, says, in one line. */
export function reasonOf(error: unknown): string {
  const { body, message = String(error) } = error as { body?: unknown; message?: string };
  try {
    const status = typeof body === "string" ? JSON.parse(body) : body;
    return oneLine(status.message);
  } catch {
    // The client's own text for an answer that it knows has status, body and headers in it, too.
    return oneLine(/^Message: (.*)$/m.exec(message)?.[1] ?? message);
  }
}
