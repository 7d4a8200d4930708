/** What the pods of a run tell: whether they will run, how each runner is, what k6 has said. */
import * as fs from "node:fs";
import * as path from "node:path";
import type * as client from "@kubernetes/client-node" with { "resolution-mode": "import" };
import type { Api } from "./cluster";
import { type Ended, oneLine } from "./types";

/** How long the scheduler may find no place for a pod, a node be on its way for it, in seconds. */
const patience = { scheduler: 60, node: 300 };

/** The container that a run has made in a pod; a cluster may put others beside it. */
export const k6Of = (pod?: client.V1Pod) =>
  pod?.status?.containerStatuses?.find(({ name }) => /^k6(-curl)?$/.test(name));

/** Whether a pod is that which has all runners begin. */
export const isStarter = ({ metadata }: client.V1Pod) =>
  /-starter$/.test(metadata?.labels?.["job-name"] ?? "");

/** Tells of pods that will not run, and for how long each has been without a place. */
export class Waiting {
  private readonly since = new Map<string, number>();

  /** Why a pod will not run, in one line; `undefined` as long as it may. */
  async problemOf(api: Api, pod: client.V1Pod): Promise<string | undefined> {
    const name = pod.metadata?.name ?? "";
    const placed = pod.status?.conditions?.find(({ type }) => type === "PodScheduled");
    if (placed?.status === "False") {
      const since = this.since.get(name) ?? Date.now();
      this.since.set(name, since);
      const seconds = (Date.now() - since) / 1000;
      if (seconds < patience.scheduler) return undefined;
      // Who may not look at events, or does not get them now, knows of no node.
      const coming = seconds < patience.node && (await api.nodeIsComing(pod).catch(() => false));
      return coming ? undefined : `no node takes pod ${name}: ${oneLine(placed.message ?? "")}`;
    }
    const { state, image } = k6Of(pod) ?? {};
    const { reason = "", message = "" } = state?.waiting ?? {};
    // A first failure to fetch an image may be passing, and says more than the waiting after it.
    if (reason === "ErrImagePull") this.pulls.set(name, message);
    if (!hopeless.test(reason)) return undefined;
    return `${reason} (${image}): ${oneLine(this.pulls.get(name) || message)}`;
  }

  private readonly pulls = new Map<string, string>();
}

const hopeless =
  /^(ImagePullBackOff|InvalidImageName|ErrImageNeverPull|ImageInspectError|CreateContainer\w*Error|RunContainerError)$/;

/** One runner, from its pod's first sight to its end. */
export class Runner {
  exitCode?: number;
  node = "";
  private readonly name: string;
  private readonly job: string;
  private readonly dir: string;
  private pod?: client.V1Pod;
  private seen?: client.V1Pod;
  private stopFollowing?: () => Promise<void>;

  constructor(index: number, run: string, dir: string) {
    this.name = `runner ${index}`;
    this.job = `${run}-${index}`;
    this.dir = path.join(dir, `runner-${index}`);
    fs.mkdirSync(this.dir);
  }

  async look(api: Api, pods: client.V1Pod[]) {
    this.pod = pods.find(({ metadata }) => metadata?.labels?.["job-name"] === this.job);
    this.seen = this.pod ?? this.seen;
    if (!this.pod) return;
    this.node = this.pod.spec?.nodeName ?? "";
    const state = k6Of(this.pod)?.state;
    this.exitCode = state?.terminated?.exitCode ?? this.exitCode;
    if (state?.running && !this.stopFollowing) {
      const { name } = this.pod.metadata!;
      this.stopFollowing = await api.follow(name!, this.file("k6.log")).catch(() => undefined);
    }
  }

  /** How it was lost, in one line, if it was. */
  async loss(api: Api): Promise<string | undefined> {
    if (!this.seen || this.exitCode !== undefined) return undefined;
    const lost = (why: string) =>
      `${this.name} was lost: its pod ${this.seen?.metadata?.name} on node ${this.node} ${why}`;
    const { status, metadata } = this.pod ?? {};
    if (!this.pod) return lost("is gone");
    const why = oneLine(`${status?.reason ?? ""} ${status?.message ?? ""}`);
    if (status?.phase === "Failed") return lost(why ? `failed: ${why}` : "failed");
    if ((await api.nodeIsReady(this.pod)) === false) {
      return lost("does not answer, nor does the node");
    }
    return metadata?.deletionTimestamp ? lost("was told to end") : undefined;
  }

  end(): Ended {
    const { status, metadata } = this.seen ?? {};
    // Kubernetes has words for an end that k6 did not choose, such as OOMKilled and Evicted.
    const words = [
      k6Of(this.seen)?.state?.terminated?.reason,
      status?.reason,
      metadata?.deletionTimestamp ? "told to end" : undefined,
    ];
    const why = words.filter((word) => word && !/^(Completed|Error)$/.test(word));
    const name = `${this.name} (${[`node ${this.node}`, ...why].join(", ")})`;
    return { name, dir: this.dir, exitCode: this.exitCode! };
  }

  /** Keeps what the pod has said. */
  async keepLog(api: Api) {
    await this.stopFollowing?.();
    const pod = this.seen?.metadata?.name;
    const whole = pod ? await api.logOf(pod) : "";
    // What was followed is all there is of a pod that is gone.
    if (whole) fs.writeFileSync(this.file("k6.log"), whole);
  }

  private file = (name: string) => path.join(this.dir, name);
}
