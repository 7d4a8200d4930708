/** What must hold of every container, secret and manifest of every committed environment. */
import * as fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { freePort } from "../../runner/ports";
import { runProgram } from "../support/program";
import {
  enterProjectCopy,
  generated,
  openTexts,
  type Registered,
  secret,
} from "../support/pulumi-mocks";

vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });

const CONTAINER = "docker:index/container:Container";
const IMAGE = "docker:index/remoteImage:RemoteImage";
const VOLUME = "docker:index/volume:Volume";
const NAMESPACE = "kubernetes:core/v1:Namespace";
const ACCOUNT = "kubernetes:core/v1:ServiceAccount";
const QUOTA = "kubernetes:core/v1:ResourceQuota";
const NETWORK_POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy";
const CLAIM = "kubernetes:core/v1:PersistentVolumeClaim";
const NODE_PORT = "kubernetes:core/v1:Service";
const DEPLOYMENT = "kubernetes:apps/v1:Deployment";
const STATEFUL_SET = "kubernetes:apps/v1:StatefulSet";
const CHART = "kubernetes:helm.sh/v4:Chart";

/** A name with a tag other than `latest`, or with a digest. */
const pinned = /^[^@\s]+(:(?!latest$)[\w.-]+|(:[\w.-]+)?@sha256:[0-9a-f]{64})$/;

type Holds = (its: any) => boolean;

/** Those of the pod of a workload and of its one container. */
const podRules: [words: string, holds: (pod: any, container: any) => boolean][] = [
  ["its image has a tag other than latest, or a digest", (_, { image }) => pinned.test(image)],
  [
    "it is not root, and gains no right",
    ({ securityContext: { runAsNonRoot, runAsUser, seccompProfile } = {} as any }, its) =>
      runAsNonRoot === true &&
      runAsUser > 0 &&
      seccompProfile?.type === "RuntimeDefault" &&
      its.securityContext?.allowPrivilegeEscalation === false &&
      its.securityContext.capabilities?.drop[0] === "ALL",
  ],
  [
    "it writes into its volumes only",
    (_, { securityContext }) => securityContext?.readOnlyRootFilesystem === true,
  ],
  ["it gets no token", ({ automountServiceAccountToken: gets }) => gets === false],
  ["it tells when it is ready", (_, { readinessProbe }) => Boolean(readinessProbe?.httpGet)],
  [
    "its memory and its processors are asked for and limited",
    (_, { resources: { requests, limits } = {} as any }) =>
      Boolean(requests?.cpu && requests.memory && limits?.cpu && limits.memory),
  ],
  [
    "its environment has no generated password",
    (_, { env }) => !JSON.stringify(env ?? []).includes(generated("")),
  ],
];

const forPods =
  (type: string) =>
  ([words, holds]: (typeof podRules)[number]): [string, string, Holds] => [
    words,
    type,
    ({ spec: { template } }) => holds(template.spec, template.spec.containers[0]),
  ];

/** The rules by their words: which resources each is about, and when it holds. */
const rules: [words: string, type: string | undefined, holds: Holds][] = [
  ["its image has a tag other than latest, or a digest", IMAGE, ({ name }) => pinned.test(name)],
  ["its image is one that the stack has fetched", CONTAINER, ({ image }) => /^sha256/.test(image)],
  [
    "its ports are on this machine only",
    CONTAINER,
    ({ ports = [] }) => ports.every(({ ip }: { ip?: string }) => ip === "127.0.0.1"),
  ],
  ["it has a health check", CONTAINER, ({ healthcheck }) => healthcheck?.tests?.length > 1],
  [
    "its memory is limited, and swap with it",
    CONTAINER,
    ({ memory, memorySwap }) => memory > 0 && memorySwap === memory,
  ],
  ["its processors are limited", CONTAINER, ({ cpuQuota }) => cpuQuota > 0],
  ["its processes are limited", CONTAINER, ({ ulimits = [] }) => ulimits[0]?.hard > 0],
  [
    "of root's rights it has at most that to read and write files of others",
    CONTAINER,
    ({ capabilities: { drops = [], adds = [] } = {} }) =>
      drops[0] === "ALL" && adds.every((each: string) => each === "CAP_DAC_OVERRIDE"),
  ],
  [
    "it gains no privilege",
    CONTAINER,
    ({ securityOpts = [], privileged }) =>
      securityOpts.includes("no-new-privileges") && !privileged,
  ],
  [
    "without uploads, it writes into its volume and /tmp only",
    CONTAINER,
    ({ readOnly, uploads }) => readOnly === true || uploads !== undefined,
  ],
  ["its log is limited", CONTAINER, ({ logOpts }) => Boolean(logOpts?.["max-size"])],
  ["it comes back by itself", CONTAINER, ({ restart }) => restart === "unless-stopped"],
  // Marked or not: an environment is there for everybody who may ask Docker.
  [
    "its environment has no generated password",
    CONTAINER,
    ({ envs }) => !JSON.stringify(envs ?? []).includes(generated("")),
  ],
  [
    "it takes restricted pods only",
    NAMESPACE,
    ({ metadata: { labels = {} } }) =>
      labels["pod-security.kubernetes.io/enforce"] === "restricted",
  ],
  [
    "no pod gets its token",
    ACCOUNT,
    ({ automountServiceAccountToken }) => automountServiceAccountToken === false,
  ],
  [
    "it bounds the pods and their processors",
    QUOTA,
    ({ spec: { hard } }) => Boolean(hard.pods && hard["requests.cpu"]),
  ],
  [
    "it is about all pods or one server's, and has no rule that lets everything through",
    NETWORK_POLICY,
    ({ spec: { podSelector, policyTypes, ingress, egress } }) => {
      // A server's port is reached from anywhere, and asks for a login.
      const server = podSelector.matchLabels?.["app.kubernetes.io/name"];
      return (
        (server || Object.keys(podSelector).length === 0) &&
        policyTypes.length === 2 &&
        ingress.every(({ from, ports }: any) => (from || server) && ports) &&
        egress.every(({ to, ports }: any) => to || ports)
      );
    },
  ],
  ...[DEPLOYMENT, STATEFUL_SET].flatMap((type) => podRules.map(forPods(type))),
  [
    "its port is one of the nodes', known before",
    NODE_PORT,
    ({ spec: { ports } }) => ports.every(({ nodePort }: any) => nodePort >= 30_000),
  ],
  [
    "its version is pinned where it comes from outside",
    CHART,
    ({ chart, repositoryOpts, version }) =>
      /^\d+\.\d+\.\d+$/.test(version) || !(repositoryOpts || chart.startsWith("oci:")),
  ],
  [
    "what is generated is secret wherever it is used",
    undefined,
    (inputs) => !openTexts(inputs).some((text) => text.includes(generated(""))),
  ],
];

/** Which rules a resource breaks. */
const broken = ({ type, inputs }: Pick<Registered, "type" | "inputs">) =>
  rules.flatMap(([words, about, holds]) =>
    (about === undefined || about === type) && !holds(inputs) ? [words] : [],
  );

const environments = fs
  .readdirSync(".")
  .flatMap((file) => /^Pulumi\.(.+)\.yaml$/.exec(file)?.[1] ?? []);

describe("the rules", () => {
  const fine = {
    image: "sha256 of a:1",
    ports: [{ ip: "127.0.0.1" }],
    healthcheck: { tests: ["CMD-SHELL", "true"] },
    ...{ memory: 1, memorySwap: 1, restart: "unless-stopped", logOpts: { "max-size": "1m" } },
    ...{ cpuQuota: 1, ulimits: [{ hard: 1 }], capabilities: { drops: ["ALL"] } },
    ...{ securityOpts: ["no-new-privileges"], readOnly: true },
    envs: ["A=1"],
  };

  const policy = {
    spec: {
      podSelector: {},
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ from: [{}], ports: [{}] }],
      egress: [{ ports: [{}] }],
    },
  };
  const server = { podSelector: { matchLabels: { "app.kubernetes.io/name": "a" } } };
  const container = {
    image: "a:1",
    env: [{ name: "A", value: "1" }],
    readinessProbe: { httpGet: {} },
    resources: { requests: { cpu: "1", memory: "1" }, limits: { cpu: "1", memory: "1" } },
    securityContext: {
      ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
      capabilities: { drop: ["ALL"] },
    },
  };
  const pod = {
    automountServiceAccountToken: false,
    securityContext: {
      ...{ runAsNonRoot: true, runAsUser: 1, seccompProfile: { type: "RuntimeDefault" } },
    },
  };
  const workload = (changed: object, changedContainer: object = {}) => ({
    spec: {
      template: {
        spec: { ...pod, ...changed, containers: [{ ...container, ...changedContainer }] },
      },
    },
  });
  const bounds = { pods: "1", "requests.cpu": "1" };

  test.each<[string, string, object, number]>([
    ["nothing, where all is well", CONTAINER, {}, 0],
    ["a port for everybody", CONTAINER, { ports: [{ ip: "0.0.0.0" }] }, 1],
    ["a port without an address", CONTAINER, { ports: [{ internal: 1 }] }, 1],
    ["a container without a health check", CONTAINER, { healthcheck: undefined }, 1],
    ["a container without a limit", CONTAINER, { memory: undefined }, 1],
    ["a container that may swap without a limit", CONTAINER, { memorySwap: -1 }, 1],
    ["a container with all processors", CONTAINER, { cpuQuota: undefined }, 1],
    ["a container with any number of processes", CONTAINER, { ulimits: [] }, 1],
    ["a container with capabilities", CONTAINER, { capabilities: { drops: ["NET_RAW"] } }, 1],
    [
      "more of root's rights",
      CONTAINER,
      { capabilities: { drops: ["ALL"], adds: ["CAP_CHOWN"] } },
      1,
    ],
    ["a container that may gain privileges", CONTAINER, { securityOpts: [] }, 1],
    ["a privileged container", CONTAINER, { privileged: true }, 1],
    ["a container that writes anywhere", CONTAINER, { readOnly: false }, 1],
    ["a log without an end", CONTAINER, { logOpts: {} }, 1],
    ["a container that stays away", CONTAINER, { restart: "no" }, 1],
    ["an image of another source", CONTAINER, { image: "influxdb:1.8.10" }, 1],
    ["a password in an environment", CONTAINER, { envs: [`A=${generated("x")}`] }, 2],
    ["even a marked one", CONTAINER, { envs: secret([`A=${generated("x")}`]) }, 1],
    ["a password in the open", VOLUME, { labels: [{ value: generated("x") }] }, 1],
    ["the tag latest", IMAGE, { name: "influxdb:latest" }, 1],
    ["no tag", IMAGE, { name: "registry.example:5000/influxdb" }, 1],
    ["any pods in a namespace", NAMESPACE, { metadata: { name: "a" } }, 1],
    [
      "pods that may be a little more",
      NAMESPACE,
      { metadata: { labels: { "pod-security.kubernetes.io/enforce": "baseline" } } },
      1,
    ],
    ["a token in every pod", ACCOUNT, {}, 1],
    ["nothing in a quota that bounds all", QUOTA, { spec: { hard: bounds } }, 0],
    ["any number of pods", QUOTA, { spec: { hard: { ...bounds, pods: undefined } } }, 1],
    ["any processors", QUOTA, { spec: { hard: { ...bounds, "requests.cpu": undefined } } }, 1],
    ["nothing in a policy that is narrow", NETWORK_POLICY, policy, 0],
    [
      "a policy for some pods",
      NETWORK_POLICY,
      { spec: { ...policy.spec, podSelector: { matchLabels: { a: "b" } } } },
      1,
    ],
    [
      "a policy for one direction",
      NETWORK_POLICY,
      { spec: { ...policy.spec, policyTypes: ["Ingress"] } },
      1,
    ],
    [
      "a control that everybody reaches",
      NETWORK_POLICY,
      { spec: { ...policy.spec, ingress: [{ ports: [{}] }] } },
      1,
    ],
    [
      "nothing in a server's port that all reach",
      NETWORK_POLICY,
      { spec: { ...policy.spec, ...server, ingress: [{ ports: [{}] }] } },
      0,
    ],
    [
      "a server of which all ports are reached",
      NETWORK_POLICY,
      { spec: { ...policy.spec, ...server, ingress: [{}] } },
      1,
    ],
    ["nothing in a pod where all is well", STATEFUL_SET, workload({}), 0],
    ["the tag latest in a pod", DEPLOYMENT, workload({}, { image: "a:latest" }), 1],
    ["a pod that may be root", STATEFUL_SET, workload({ securityContext: {} }), 1],
    ["a pod with a token", DEPLOYMENT, workload({ automountServiceAccountToken: undefined }), 1],
    ["a pod that may gain rights", DEPLOYMENT, workload({}, { securityContext: {} }), 2],
    ["a pod that is always ready", DEPLOYMENT, workload({}, { readinessProbe: {} }), 1],
    [
      "a pod without a limit",
      STATEFUL_SET,
      workload({}, { resources: { ...container.resources, limits: { memory: "1" } } }),
      1,
    ],
    [
      "a password in a pod",
      STATEFUL_SET,
      workload({}, { env: [{ name: "A", value: secret(generated("x")) }] }),
      1,
    ],
    ["a port that the cluster chooses", NODE_PORT, { spec: { ports: [{ port: 1 }] } }, 1],
    ["a way to everywhere", NETWORK_POLICY, { spec: { ...policy.spec, egress: [{}] } }, 1],
    ["any version of a chart", CHART, { chart: "a", repositoryOpts: { repo: "b" } }, 1],
    ["some versions of a chart", CHART, { chart: "oci://a/b", version: "^1.0.0" }, 1],
    ["nothing in a chart that is here", CHART, { chart: "charts/a" }, 0],
  ])("find %s", (_, type, inputs, count) => {
    const found = broken({
      type,
      inputs: type === CONTAINER ? { ...fine, ...inputs } : { ...inputs },
    });
    expect(found).toHaveLength(count);
  });

  test.each(["a:1", "r.example:5000/a/b:1.8.10", `a@sha256:${"0".repeat(64)}`])(
    "take the image %s",
    (name) => expect(broken({ type: IMAGE, inputs: { name } })).toEqual([]),
  );
});

describe("every environment keeps the rules", () => {
  let leave: () => void;
  const settings = Object.fromEntries(
    environments.map((stack) => [stack, parse(fs.readFileSync(`Pulumi.${stack}.yaml`, "utf8"))]),
  );
  beforeAll(() => {
    leave = enterProjectCopy("examples", "k6");
    // No Docker is asked whose port it is.
    vi.stubEnv("PATH", "");
  });
  afterAll(() => {
    vi.unstubAllEnvs();
    leave();
  });

  const keeps = async (stack: string, more: Record<string, unknown> = {}) => {
    const own: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(settings[stack].config)) {
      own[key.split(":")[1]] = value;
    }
    // Whatever else uses this machine's ports.
    for (const key of ["influxdbPort", "grafanaPort", "couponApiPort"]) own[key] = await freePort();
    const states = {
      "command:local:Command": () => ({ stdout: "{}" }),
      [CHART]: () => ({ resources: [] }),
    };
    const { recording, error } = await runProgram({ ...own, ...more }, { states, stack });
    expect(error).toBeUndefined();
    const found = recording.all.flatMap((each) => broken(each).map((words) => [each.name, words]));
    expect(found).toEqual([]);
    const kept = [...recording.ofType(VOLUME), ...recording.ofType(CLAIM)];
    expect(kept.map(({ protect }) => protect)).toEqual(Array(2).fill(own.keepData === true));
    return recording;
  };

  test.each(environments)("%s", async (stack) => {
    const recording = await keeps(stack);
    expect(recording.ofType(CONTAINER).length).toBeGreaterThanOrEqual(2);
  });

  test.each(environments)("%s, with its load shared by a cluster", async (stack) => {
    const recording = await keeps(stack, {
      ...{ executor: "kubernetes", kubeContext: "lab", kubeHostAddress: "192.0.2.1" },
      ...{ target: "sample", baseUrl: "" },
    });
    for (const type of [CONTAINER, NAMESPACE, ACCOUNT, QUOTA, NETWORK_POLICY, CHART]) {
      expect(recording.ofType(type)).not.toEqual([]);
    }
  });

  test.each(environments)("%s, all in a cluster", async (stack) => {
    const recording = await keeps(stack, {
      ...{ executor: "kubernetes", platform: "kubernetes", kubeContext: "lab" },
      ...{ kubeNodeAddress: "192.0.2.10", influxdbPort: 0, grafanaPort: 0 },
      ...{ target: "external", baseUrl: "http://api.local" },
    });
    for (const type of [NAMESPACE, NETWORK_POLICY, STATEFUL_SET, DEPLOYMENT, NODE_PORT, CHART]) {
      expect(recording.ofType(type)).not.toEqual([]);
    }
    expect(recording.all.filter(({ type }) => type.startsWith("docker:"))).toEqual([]);
  });
});
