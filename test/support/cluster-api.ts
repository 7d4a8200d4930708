/**
 * A Kubernetes API as far as a run asks it, on loopback. It keeps what is made until it is deleted,
 * refuses what it is told to refuse, runs the script of the gate's pod, and goes through a story of
 * what the operator and the nodes make of a TestRun.
 */
import type { V1ObjectMeta, V1Pod } from "@kubernetes/client-node" with {
  "resolution-mode": "import",
};
import { transformSync } from "esbuild";
import * as fs from "node:fs";
import { text } from "node:stream/consumers";
import { vi } from "vitest";
import { serve } from "./run";

export const context = "load";
export const namespace = "coupon-load-test-dev";

/** Whatever was made, as it came. */
export type Made = { kind: string; metadata: V1ObjectMeta; [key: string]: any };

/** What is there from one look on; what is not said stays as it was. */
export interface Moment {
  stage?: string;
  pods?: V1Pod[];
  /** Why a Job's pod is not made, by the Job; or that it is not for us to see. */
  refused?: Record<string, string> | "hidden";
  /** Reasons of a pod's events, by its uid. */
  events?: Record<string, string[]>;
  /** Nodes that are not ready, or not there, or not for us to see. */
  nodes?: Record<string, "not ready" | "gone" | "hidden">;
  /** It answers nothing. */
  down?: boolean;
}

/** What k6 in the gate's pod gets of an address. */
export interface Got {
  status: number;
  error?: string;
  location?: string;
}

export async function fakeCluster() {
  const cluster = {
    /** All that was made, in the order it was. */
    made: [] as Made[],
    /** What is there of it, by kind and name. */
    left: new Map<string, Made>(),
    /** What was asked for with a change: `POST pods gate`, `DELETE secrets`. */
    changes: [] as string[],
    /** The next moment with each look at the run's pods, the last one from then on. */
    story: [{}] as (Moment | (() => Moment))[],
    /** What each pod of the run says. */
    logs: {} as Record<string, string>,
    /** What the pods of the gate are like at each look, the last one from then on. */
    gate: [{ phase: "Pending" }, ended(0)] as V1Pod["status"][],
    /** What they get of an address, as often as they ask. */
    get: (_url: string): Got => ({ status: 200 }),
    /** What they say in place of k6's version and of what the script says. */
    gateSays: undefined as string | undefined,
    /** How many of the next requests for all of a log it cuts off. */
    cutLogs: 0,
    /** Pods that stay, though their TestRun is deleted. */
    stubborn: [] as V1Pod[],
    /** Kinds that it refuses to make, the status with which it does, and how often; else always. */
    refuses: {} as Record<string, { code: number; message: string; times?: number }>,
    /** Whether there is a k6 operator, so that it knows TestRuns. */
    operator: true,
    kubeconfig: "",
  };
  let now: Moment = {};
  let gateLooks = -1;
  const forced = new Set<string>();
  const gateStatus = () => cluster.gate[Math.min(gateLooks, cluster.gate.length - 1)];
  const gateLog = () => {
    const [map, pod] = [cluster.left.get("ConfigMap gate"), cluster.left.get("Pod gate")];
    const started = gateStatus()?.phase !== "Pending";
    return map && pod && started ? (cluster.gateSays ?? runGate(cluster.get, map, pod)) : undefined;
  };

  const server = await serve(async (request, response) => {
    const url = new URL(request.url ?? "", "http://localhost");
    const [, plural = "", name, log] =
      /^\/(?:api|apis\/k6\.io)\/v1(?:alpha1)?(?:\/namespaces\/coupon-load-test-dev)?\/(\w+)(?:\/([^/]+))?(\/log)?$/.exec(
        url.pathname,
      ) ?? [];
    const selector = url.searchParams.get("labelSelector") ?? "";
    const body = await text(request);
    const send = (code: number, answer: object | string) => {
      const plain = typeof answer === "string";
      response.writeHead(code, { "content-type": plain ? "text/plain" : "application/json" });
      response.end(plain ? answer : JSON.stringify(answer));
    };
    const refuse = (code: number, message: string) =>
      send(code, { kind: "Status", apiVersion: "v1", status: "Failure", message, code });
    const absent = () => refuse(404, `${plural} "${name}" not found`);

    if (request.method === "GET" && plural === "pods" && selector.startsWith("k6_cr=")) {
      const next = cluster.story.length > 1 ? cluster.story.shift()! : cluster.story[0];
      now = { ...now, ...(typeof next === "function" ? next() : next) };
    }
    if (now.down) return request.socket.destroy();
    if (request.headers.authorization !== "Bearer token") return refuse(401, "Unauthorized");
    // As an API server answers that has no such resource.
    if (plural === "testruns" && !cluster.operator) return send(404, "404 page not found\n");

    const kind = kinds[plural];
    switch (request.method) {
      case "POST": {
        const made: Made = JSON.parse(body);
        cluster.changes.push(`POST ${plural} ${made.metadata.name}`);
        const refused = cluster.refuses[kind];
        const { times = Infinity } = refused ?? {};
        if (refused && times > 0) {
          refused.times = times - 1;
          return refuse(refused.code, refused.message);
        }
        const key = `${kind} ${made.metadata.name}`;
        if (made.kind !== kind || cluster.left.has(key)) return refuse(409, `${key} exists`);
        gateLooks = -1;
        cluster.made.push(made);
        cluster.left.set(key, made);
        return send(201, made);
      }
      case "DELETE": {
        cluster.changes.push(`DELETE ${plural}${name ? ` ${name}` : ""}`);
        const grace = url.searchParams.get("gracePeriodSeconds");
        if (name && grace === "0") forced.add(name);
        if (name) return send(200, { kind: "Pod", metadata: { name } });
        for (const [key, made] of cluster.left) {
          if (made.kind === kind && selects(selector, made.metadata)) cluster.left.delete(key);
        }
        return send(200, { kind: "Status", apiVersion: "v1", status: "Success" });
      }
    }
    if (log) {
      const said = name === "gate" ? gateLog() : cluster.logs[name];
      if (said === undefined) return refuse(400, "it has said nothing");
      const container = name.includes("-starter-") ? "k6-curl" : "k6";
      if (url.searchParams.get("container") !== container) return refuse(400, "no such container");
      // Who follows gets what there is, and waits for more.
      if (url.searchParams.get("follow") === "true")
        return void response.writeHead(200).write(said);
      if (cluster.cutLogs-- > 0) return request.socket.destroy();
      return send(200, said);
    }
    switch (plural) {
      case "pods": {
        const testRun = [...cluster.left.values()].find((each) => each.kind === "TestRun");
        const known = now.pods ?? [];
        // Those of a TestRun that was deleted end; on a node that is gone when they are made to.
        const stuck = known.filter(
          ({ spec, metadata }) =>
            ["not ready", "gone"].includes(now.nodes?.[spec!.nodeName!] ?? "") &&
            !forced.has(metadata!.name!),
        );
        const run = testRun ? known : [...stuck, ...cluster.stubborn];
        const gate = cluster.left.get("Pod gate");
        if (selector.includes("=gate")) gateLooks++;
        const pods = [...run, ...(gate ? [{ ...gate, status: gateStatus() }] : [])] as V1Pod[];
        return send(200, { items: pods.filter(({ metadata }) => selects(selector, metadata!)) });
      }
      case "testruns": {
        const found = cluster.left.get(`TestRun ${name}`);
        return found ? send(200, { ...found, status: { stage: now.stage } }) : absent();
      }
      case "events": {
        if (now.refused === "hidden") return refuse(403, "events is forbidden");
        const all = Object.entries(now.refused ?? {});
        const items = all.map(([job, message]) => ({ involvedObject: { name: job }, message }));
        const asked = url.searchParams.get("fieldSelector") ?? "";
        if (asked === "involvedObject.kind=Job,reason=FailedCreate") return send(200, { items });
        const [, uid] = /^involvedObject\.uid=(.+)$/.exec(asked) ?? [];
        if (!uid) return refuse(400, `not known: ${asked}`);
        const reasons = now.events?.[uid] ?? [];
        return send(200, { items: reasons.map((reason) => ({ reason })) });
      }
      case "nodes": {
        const state = now.nodes?.[name];
        if (state === "gone") return absent();
        if (state === "hidden") return refuse(403, "nodes is forbidden");
        const status = state === "not ready" ? "Unknown" : "True";
        return send(200, { status: { conditions: [{ type: "Ready", status }] } });
      }
    }
    refuse(404, `not known: ${request.method} ${request.url}`);
  });
  cluster.kubeconfig = kubeconfig(server);
  return cluster;
}

const kinds: Record<string, string> = {
  ...{ configmaps: "ConfigMap", secrets: "Secret", pods: "Pod", testruns: "TestRun" },
};

/** Whether labels have what is asked for: `name` or `name=value`. */
function selects(selector: string, { labels = {} }: V1ObjectMeta): boolean {
  const [label, value] = selector.split("=");
  return value === undefined ? label in labels : labels[label] === value;
}

/** Writes a kubeconfig for an API into the working directory; gives its path. */
export function kubeconfig(server: string): string {
  const cluster = { server, "insecure-skip-tls-verify": true };
  const config = {
    ...{ apiVersion: "v1", kind: "Config", "current-context": "other" },
    clusters: [{ name: "test", cluster }],
    users: [{ name: "test", user: { token: "token" } }],
    contexts: [
      { name: "other", context: { cluster: "test", user: "test" } },
      { name: context, context: { cluster: "test", user: "test" } },
      { name: "torn", context: { cluster: "none", user: "test" } },
    ],
  };
  fs.writeFileSync("kubeconfig", JSON.stringify(config));
  return fs.realpathSync("kubeconfig");
}

/** What the gate's pod says: its script is run, with modules of k6 that get what the test says. */
function runGate(get: (url: string) => Got, map: Made, pod: Made): string {
  const lines = ["k6 v1.8.1 (commit/0123456789, go1.24.4, linux/amd64)"];
  const { code } = transformSync(map.data["gate.js"], { format: "cjs" });
  const env: { name: string; value: string }[] = pod.spec.containers[0].env;
  const modules: Record<string, object> = {
    k6: { sleep: (seconds: number) => void vi.setSystemTime(Date.now() + seconds * 1000) },
    "k6/http": {
      get(url: string, { redirects }: { redirects: number }) {
        const { status, error = "", location } = get(url);
        if (redirects !== 0) throw new Error("a redirect would be followed");
        return { status, error, headers: location === undefined ? {} : { Location: location } };
      },
    },
  };
  const module = { exports: {} as { default: () => void } };
  new Function("module", "require", "__ENV", "console", code)(
    module,
    (name: string) => modules[name],
    Object.fromEntries(env.map(({ name, value }) => [name, value])),
    { log: (line: string) => lines.push(line) },
  );
  module.exports.default();
  return lines.join("\n") + "\n";
}

/** The status of a pod that has ended. */
export function ended(exitCode: number, reason = exitCode === 0 ? "Completed" : "Error") {
  const phase = exitCode === 0 ? "Succeeded" : "Failed";
  return { phase, containerStatuses: [statusOf({ terminated: { exitCode, reason } })] };
}

/** The status of a pod whose container waits for something that fails. */
export const waiting = (reason: string, message = "", image = "k6:1") => ({
  phase: "Pending",
  containerStatuses: [{ ...statusOf({ waiting: { reason, message } }), image }],
});

export const running = { phase: "Running", containerStatuses: [statusOf({ running: {} })] };

function statusOf(state: object) {
  return { name: "k6", image: "k6:1", imageID: "", ready: false, restartCount: 0, state };
}
