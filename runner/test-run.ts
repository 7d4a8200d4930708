/** What a run makes in a cluster, as manifests: the gate's pod, the script, the login, the TestRun. */
import * as fs from "node:fs";
import * as path from "node:path";
import { stringify } from "yaml";
import type {
  V1ConfigMap,
  V1Pod,
  V1ResourceRequirements,
  V1Secret,
} from "@kubernetes/client-node" with { "resolution-mode": "import" };
import type { LoadProfile } from "../k6/profile";
import { root } from "../root";
import { goEnvironment, outputArguments, plainEnvironment, sourceArguments } from "./k6";
import { k6Memory } from "./needs";
import type { Cluster } from "./types";

/** The label of all that a run makes; its value is the run's name. */
export const runLabel = "coupon-load-test/run";

/** What a ConfigMap takes, in bytes (the API server's `MaxSecretSize`). */
export const configMapLimit = 1024 * 1024;

/** The operator's resource, `k6.io/v1alpha1`, as far as a run needs it. */
export interface TestRun {
  apiVersion: "k6.io/v1alpha1";
  kind: "TestRun";
  metadata: { name: string; labels: Record<string, string>; annotations: Record<string, string> };
  spec: object;
  status?: { stage?: string };
}

/** A run's name in the stack's namespace, by its id: `run-20261124t093000z`. */
export const runName = (id: string) => `run-${id.slice(-"20261124T093000Z".length).toLowerCase()}`;

/**
 * What the Pod Security profile `restricted` asks of a pod and of its container, and more. The user
 * is a number, since a name proves nothing to Kubernetes.
 */
export const restrictedPod = (uid: number) => ({
  runAsNonRoot: true,
  runAsUser: uid,
  runAsGroup: uid,
  seccompProfile: { type: "RuntimeDefault" },
});
export const restrictedContainer = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};

/** As k6's image has it. */
const k6User = 12345;

/** What a pod beside the runners takes: the gate's, the starter's. */
const little = { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "256Mi" } };

/** A runner may take more of a processor than it asks for: k6 short of it would measure itself. */
function ofRunner(cpu: string, mebibytes: number): V1ResourceRequirements {
  const memory = `${mebibytes}Mi`;
  return { requests: { cpu, memory }, limits: { memory } };
}

const metadata = (run: string, name: string) => ({ name, labels: { [runLabel]: run } });

/** How the operator asks a runner how it is. */
const probe = { httpGet: { path: "/v1/status", port: 6565 } };

/** Where the pods find the script, k6's configuration and what may be written. */
const scratch = { name: "tmp", mountPath: "/tmp" };
const configMount = { name: "config", mountPath: "/load-test", readOnly: true };
const mounted = (file: string) => `${configMount.mountPath}/${file}`;

/** An address that the gate asks: any answer will do, or only one that says all is well. */
export interface Asked {
  url: string;
  mustBeOk: boolean;
}

/** The pod that asks InfluxDB and the target for an answer, and the script that it runs. */
export function gateManifests(cluster: Cluster, asked: Asked[]): [V1ConfigMap, V1Pod] {
  const name = "gate";
  const script = path.join(root, "runner/gate.k6.js");
  const k6 =
    "k6 run --quiet --summary-mode=disabled --no-usage-report --log-format=raw /gate/gate.js";
  return [
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: metadata(name, name),
      data: { "gate.js": fs.readFileSync(script, "utf8") },
    },
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: metadata(name, name),
      spec: {
        restartPolicy: "Never",
        serviceAccountName: cluster.serviceAccount,
        automountServiceAccountToken: false,
        securityContext: restrictedPod(k6User),
        containers: [
          {
            name: "k6",
            image: cluster.image,
            command: ["sh", "-c", `k6 version && exec ${k6}`],
            env: variables({ ...plainEnvironment, GATE: JSON.stringify(asked) }),
            resources: little,
            securityContext: restrictedContainer,
            volumeMounts: [{ name: "gate", mountPath: "/gate", readOnly: true }, scratch],
          },
        ],
        volumes: [
          { name: "gate", configMap: { name } },
          { name: "tmp", emptyDir: {} },
        ],
      },
    },
  ];
}

/**
 * What the runners share: the packed script, in base64, the configuration with the writer's password
 * and the script's secrets.
 */
export function filesOf(
  id: string,
  archive: string,
  config: string,
  secrets: string,
): [V1ConfigMap, V1Secret] {
  const name = runName(id);
  return [
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: metadata(name, name),
      immutable: true,
      binaryData: { "archive.tar": archive },
    },
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: metadata(name, name),
      immutable: true,
      stringData: { "config.json": config, secrets },
    },
  ];
}

/**
 * The runners, each with its part of the load, and the starter that has them begin at once.
 *
 * @param tags those of the script's options and the run's own. The operator gives k6 two by its command
 *   line, which then goes by no tag of the options.
 */
export function testRun(
  profile: LoadProfile,
  cluster: Cluster,
  id: string,
  tags: Record<string, string> = { testid: id },
): TestRun {
  const name = runName(id);
  const { parallelism } = cluster;
  const mebibytes = k6Memory(profile, parallelism);
  const args = [
    ...outputArguments(mounted("config.json")),
    ...sourceArguments(mounted("secrets")),
    ...Object.entries(tags).map(([key, value]) => `--tag=${key}=${value}`),
  ];
  const common = {
    serviceAccountName: cluster.serviceAccount,
    automountServiceAccountToken: "false",
    securityContext: restrictedPod(k6User),
    containerSecurityContext: restrictedContainer,
  };
  const runner = {
    ...common,
    image: cluster.image,
    resources: ofRunner(cluster.cpu, mebibytes),
    env: variables({ ...plainEnvironment, ...goEnvironment(mebibytes) }),
    // The operator's own would end a k6 that is short of processor, and find one ready late.
    livenessProbe: { ...probe, periodSeconds: 30, timeoutSeconds: 30, failureThreshold: 20 },
    readinessProbe: { ...probe, periodSeconds: 1, timeoutSeconds: 5 },
    volumes: [
      { name: "config", secret: { secretName: name } },
      { name: "tmp", emptyDir: {} },
    ],
    volumeMounts: [configMount, scratch],
    // On as many nodes as there are, but rather two on one than one that finds no place.
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: "kubernetes.io/hostname",
        whenUnsatisfiable: "ScheduleAnyway",
        labelSelector: { matchLabels: { k6_cr: name, runner: "true" } },
      },
    ],
  };
  return {
    apiVersion: "k6.io/v1alpha1",
    kind: "TestRun",
    metadata: { ...metadata(name, name), annotations: { "coupon-load-test/testid": id } },
    spec: {
      parallelism,
      // Kubernetes takes `$$` for `$`. An operator before 1.6 parts `arguments` at spaces; later ones
      // go by `args`.
      args: args.map((each) => each.replaceAll("$", "$$$$")),
      arguments: args.join(" "),
      // Only in the progress that this would leave out k6 says how many iterations it cut off.
      quiet: "false",
      script: { configMap: { name, file: "archive.tar" } },
      // It would pack the script and see whether it is right, as was done before it came here.
      initializer: { disabled: true },
      starter: { ...common, image: cluster.starterImage, resources: little },
      runner,
    },
  };
}

/** The manifests of a run that is still to come, without what is secret or not made yet, as YAML. */
export function manifestsAhead(
  stack: string,
  script: string,
  profile: LoadProfile,
  cluster: Cluster,
): string {
  const id = `${stack}-YYYYMMDDTHHMMSSZ`;
  const files = filesOf(
    id,
    `[${script} and what it opens, packed by k6 archive]`,
    "[secret]",
    "[secret]",
  );
  const all = [...files, testRun(profile, cluster, id)];
  return all
    .map(({ apiVersion, kind, metadata, ...rest }) =>
      stringify(
        {
          ...{ apiVersion, kind, metadata: { namespace: cluster.namespace, ...metadata } },
          ...rest,
        },
        { aliasDuplicateObjects: false, lineWidth: 0 },
      ),
    )
    .join("---\n");
}

const variables = (values: Record<string, string>) =>
  Object.entries(values).map(([name, value]) => ({ name, value }));
