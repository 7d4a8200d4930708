/** What a run makes in a cluster: what it holds, what it may do there, and what it is called. */
import type {
  V1Container,
  V1Pod,
  V1Probe,
  V1ResourceRequirements,
} from "@kubernetes/client-node" with { "resolution-mode": "import" };
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { namespaceName } from "../../config";
import { defaultProfile } from "../../k6/profile";
import { k6Config, outputArguments, sourceArguments } from "../../runner/k6";
import {
  filesOf,
  gateManifests,
  manifestsAhead,
  runLabel,
  runName,
  type TestRun,
  testRun,
} from "../../runner/test-run";
import { type Cluster, kubernetesName } from "../../runner/types";
import { operatorPods } from "../support/operator-pods";
import { credentials, id, requestFor } from "../support/run";

const cluster: Cluster = {
  kind: "kubernetes",
  ...{ context: "load", namespace: "coupon-load-test-dev", serviceAccount: "k6" },
  ...{ image: "grafana/k6:1.8.1", starterImage: "starter:1", parallelism: 3, cpu: "500m" },
  binary: "k6",
};
const asked = [{ url: "http://10.0.0.1:8086/ping", mustBeOk: true }];
const [gateScript, gatePod] = gateManifests(cluster, asked);

/** Every pod of a run, by its name. */
const pods: [string, V1Pod][] = [
  gatePod,
  ...operatorPods(testRun(defaultProfile, cluster, id)),
].map((pod) => [pod.metadata!.name!, pod]);

/** All containers of a pod. */
const containers = ({ spec }: V1Pod): V1Container[] => [
  ...spec!.containers,
  ...(spec!.initContainers ?? []),
  ...((spec!.ephemeralContainers ?? []) as V1Container[]),
];
/** The settings of a pod's safety and of each of its containers'. */
const contexts = (pod: V1Pod) => [
  ...[pod.spec!.securityContext],
  ...containers(pod).map(({ securityContext }) => securityContext),
];
const isOf = <T>(allowed: T[], value: T) => allowed.includes(value);

/** Whether a setting holds: the pod's own, or each container's, and no container has another. */
function holds<T>(pod: V1Pod, of: (context: object) => T | undefined, allowed: T[]): boolean {
  const whole = of(pod.spec!.securityContext ?? {});
  const each = containers(pod).map(({ securityContext }) => of(securityContext ?? {}) ?? whole);
  return each.every((value) => value !== undefined && allowed.includes(value));
}
const hostsOf = ({ livenessProbe, readinessProbe, startupProbe, lifecycle }: V1Container) =>
  [livenessProbe, readinessProbe, startupProbe, lifecycle?.postStart, lifecycle?.preStop].flatMap(
    (hook) => [(hook as V1Probe)?.httpGet?.host, (hook as V1Probe)?.tcpSocket?.host],
  );

/**
 * The published Pod Security Standards, v1.34: the controls of the profile `restricted`, those of
 * `baseline` first. Each is kept or not, and has something that breaks it.
 */
const controls: [string, (pod: V1Pod) => boolean, (pod: V1Pod) => void][] = [
  [
    "HostProcess",
    (pod) => contexts(pod).every((each) => !each?.windowsOptions?.hostProcess),
    ({ spec }) => (spec!.securityContext!.windowsOptions = { hostProcess: true }),
  ],
  [
    "Host Namespaces",
    ({ spec }) => !spec!.hostNetwork && !spec!.hostPID && !spec!.hostIPC,
    ({ spec }) => (spec!.hostNetwork = true),
  ],
  [
    "Privileged Containers",
    (pod) => containers(pod).every(({ securityContext }) => !securityContext?.privileged),
    ({ spec }) => (spec!.containers[0].securityContext!.privileged = true),
  ],
  [
    "Host Ports",
    (pod) => containers(pod).every(({ ports = [] }) => ports.every(({ hostPort }) => !hostPort)),
    ({ spec }) => (spec!.containers[0].ports = [{ containerPort: 6565, hostPort: 6565 }]),
  ],
  [
    "Host Probes / Lifecycle Hooks",
    (pod) =>
      containers(pod)
        .flatMap(hostsOf)
        .every((host) => !host),
    ({ spec }) =>
      (spec!.containers[0].livenessProbe = { httpGet: { host: "10.0.0.1", port: 6565 } }),
  ],
  [
    "AppArmor",
    (pod) =>
      contexts(pod).every((each) =>
        isOf([undefined, "RuntimeDefault", "Localhost"], each?.appArmorProfile?.type),
      ) &&
      Object.entries(pod.metadata?.annotations ?? {}).every(
        ([name, value]) =>
          !name.startsWith("container.apparmor.security.beta.kubernetes.io/") ||
          /^(runtime\/default|localhost\/.*)?$/.test(value),
      ),
    ({ spec }) => (spec!.securityContext!.appArmorProfile = { type: "Unconfined" }),
  ],
  [
    "SELinux",
    (pod) =>
      contexts(pod).every(
        (each) =>
          /^(container(_init|_kvm|_engine)?_t)?$/.test(each?.seLinuxOptions?.type ?? "") &&
          !each?.seLinuxOptions?.user &&
          !each?.seLinuxOptions?.role,
      ),
    ({ spec }) => (spec!.securityContext!.seLinuxOptions = { type: "spc_t" }),
  ],
  [
    "/proc Mount Type",
    (pod) =>
      containers(pod).every(({ securityContext }) =>
        isOf([undefined, "Default"], securityContext?.procMount),
      ),
    ({ spec }) => (spec!.containers[0].securityContext!.procMount = "Unmasked"),
  ],
  [
    "Sysctls",
    ({ spec }) => (spec!.securityContext?.sysctls ?? []).length === 0,
    ({ spec }) => (spec!.securityContext!.sysctls = [{ name: "kernel.msgmax", value: "1" }]),
  ],
  [
    "Volume Types",
    ({ spec }) =>
      (spec!.volumes ?? []).every(({ name: _, ...types }) =>
        Object.keys(types).every((type) =>
          /^(configMap|csi|downwardAPI|emptyDir|ephemeral|persistentVolumeClaim|projected|secret)$/.test(
            type,
          ),
        ),
      ),
    ({ spec }) => (spec!.volumes = [{ name: "host", hostPath: { path: "/" } }]),
  ],
  [
    "Privilege Escalation",
    (pod) =>
      containers(pod).every(
        ({ securityContext }) => securityContext?.allowPrivilegeEscalation === false,
      ),
    ({ spec }) => delete spec!.containers[0].securityContext!.allowPrivilegeEscalation,
  ],
  [
    "Running as Non-root",
    (pod) => holds(pod, (context: { runAsNonRoot?: boolean }) => context.runAsNonRoot, [true]),
    ({ spec }) => (spec!.containers[0].securityContext!.runAsNonRoot = false),
  ],
  [
    "Running as Non-root user",
    (pod) => contexts(pod).every((each) => each?.runAsUser !== 0),
    ({ spec }) => (spec!.securityContext!.runAsUser = 0),
  ],
  [
    "Seccomp",
    (pod) =>
      holds(pod, (context: { seccompProfile?: { type: string } }) => context.seccompProfile?.type, [
        "RuntimeDefault",
        "Localhost",
      ]),
    ({ spec }) => delete spec!.securityContext!.seccompProfile,
  ],
  [
    "Capabilities",
    (pod) =>
      containers(pod).every(
        ({ securityContext }) =>
          securityContext?.capabilities?.drop?.includes("ALL") &&
          (securityContext.capabilities.add ?? []).every((each) => each === "NET_BIND_SERVICE"),
      ),
    ({ spec }) => (spec!.containers[0].securityContext!.capabilities = { drop: ["NET_RAW"] }),
  ],
];

describe.each(pods)("the pod %s", (_, pod) => {
  test.each(controls)("keeps to Pod Security's %s", (_, kept, breakIt) => {
    expect(kept(pod)).toBe(true);
    const broken = structuredClone(pod);
    breakIt(broken);
    expect(kept(broken)).toBe(false);
  });

  test("says how much it takes, and takes no more memory", () => {
    for (const { resources } of containers(pod)) {
      const { requests, limits } = resources as V1ResourceRequirements;
      expect(requests?.cpu).toMatch(/^\d+m?$/);
      expect(requests?.memory).toMatch(/^\d+Mi$/);
      expect(parseInt(limits!.memory, 10)).toBeGreaterThanOrEqual(parseInt(requests!.memory, 10));
    }
  });

  test("has an account of its own without a token, and writes in nothing but its scratch", () => {
    const { serviceAccountName, automountServiceAccountToken, volumes = [] } = pod.spec!;
    expect([serviceAccountName, automountServiceAccountToken]).toEqual(["k6", false]);
    const scratch = volumes.filter(({ emptyDir }) => emptyDir).map(({ name }) => name);
    for (const { securityContext, volumeMounts = [] } of containers(pod)) {
      expect(securityContext?.readOnlyRootFilesystem).toBe(true);
      for (const { name, readOnly } of volumeMounts) {
        expect(scratch.includes(name) || readOnly === true || name === "k6-test-volume").toBe(true);
        expect(volumes.map((volume) => volume.name)).toContain(name);
      }
    }
  });
});

test("a runner has memory for its part of the virtual users and of the requests", () => {
  for (const [parallelism, maxVUs, duration, mebibytes] of [
    [1, 1000, "1m", 6024],
    [3, 1000, "1m", 2694],
    [100, 50, "1m", 1029],
    // 16.8 million requests, of which each is twelve durations of eight bytes, and half as much.
    [2, 100, "168h", 2427],
  ] as const) {
    const more = { ...cluster, parallelism };
    const rate = duration === "168h" ? 1666 : defaultProfile.rate;
    const profile = { ...defaultProfile, rate, maxVUs, duration };
    const [runner] = operatorPods(testRun(profile, more, id));
    const memory = `${mebibytes}Mi`;
    expect(runner.spec!.containers[0].resources).toEqual({
      requests: { cpu: "500m", memory },
      limits: { memory },
    });
  }
});

const stack = fc.stringMatching(/^[A-Za-z0-9][\w.-]{0,99}$/);
const dnsLabel = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const idOf = (stack: string) => `${stack}-20260102T030405Z`;

describe("whatever the stack's name,", () => {
  test("a namespace is a DNS label, and no other stack's", () => {
    fc.assert(
      fc.property(stack, stack, (one, other) => {
        expect(namespaceName(one)).toMatch(dnsLabel);
        expect(kubernetesName(namespaceName(one))).toBe(namespaceName(one));
        if (one !== other) expect(namespaceName(one)).not.toBe(namespaceName(other));
      }),
      { numRuns: 2000 },
    );
    expect(namespaceName("dev")).toBe("coupon-load-test-dev");
    expect(namespaceName("Dev")).not.toBe(namespaceName("dev"));
  });

  test("names of all that a run makes are labels, whatever the operator adds to them", () => {
    fc.assert(
      fc.property(stack, fc.integer({ min: 1, max: 10_000 }), (stack, parallelism) => {
        const id = idOf(stack);
        const run = testRun(defaultProfile, { ...cluster, parallelism }, id);
        // A Service's begins with a letter.
        expect(run.metadata.name).toMatch(/^[a-z]/);
        const added = ["", `-${parallelism}`, `-service-${parallelism}`, "-starter", "-stopper"];
        for (const end of [...added, "-initializer"]) {
          expect(`${run.metadata.name}${end}`).toMatch(dnsLabel);
        }
        for (const { metadata } of [...filesOf(id, "", "", ""), run, gateScript, gatePod]) {
          expect(metadata!.name).toMatch(dnsLabel);
          expect(metadata!.labels).toEqual({ [runLabel]: metadata!.name });
        }
        expect(run.metadata.annotations).toEqual({ "coupon-load-test/testid": id });
      }),
      { numRuns: 500 },
    );
  });

  test("the operator parts k6's arguments as they are meant", () => {
    fc.assert(
      fc.property(stack, (stack) => {
        const { spec } = testRun(defaultProfile, cluster, idOf(stack));
        const words = (spec as { arguments: string }).arguments.split(/\s+/u);
        expect(words).toEqual([
          ...outputArguments("/load-test/config.json"),
          ...sourceArguments("/load-test/secrets"),
          `--tag=testid=${idOf(stack)}`,
        ]);
        // A word that is no flag's value is refused by the operator.
        words.forEach((word, i) => {
          if (!word.startsWith("-")) expect(words[i - 1]).toMatch(/^--/);
        });
      }),
      { numRuns: 2000 },
    );
  });
});

test("password and secrets are in the Secret, and in nothing else", () => {
  // No word of any language, as a generated one is none.
  const password = fc.stringMatching(/^[A-Za-z0-9]{20,40}$/).map((text) => `${text}0`);
  fc.assert(
    fc.property(password, password, password, (written, read, told) => {
      const logins = {
        writer: { username: "k6", password: written },
        reader: { username: "grafana", password: read },
      };
      const config = k6Config(requestFor({ executor: cluster }), logins, "http://10.0.0.1:8086");
      const [map, secret] = filesOf(id, "YXJjaGl2ZQ==", config, `TOKEN=${told}\n`);
      const others = [map, testRun(defaultProfile, cluster, id), ...gateManifests(cluster, asked)];
      expect(secret.kind).toBe("Secret");
      for (const text of [written, told]) {
        expect(JSON.stringify(secret)).toContain(text);
        expect(JSON.stringify(others)).not.toContain(text);
      }
      expect(JSON.stringify([secret, ...others])).not.toContain(read);
    }),
    { numRuns: 100 },
  );
});

test("a preview shows what a run will make, without what is secret", () => {
  const shown = manifestsAhead("dev", "k6/coupon-issue.ts", defaultProfile, cluster);
  const documents = parseAllDocuments(shown).map((document) => document.toJS());
  const ahead = "dev-YYYYMMDDTHHMMSSZ";
  expect(runName(ahead)).toBe("run-yyyymmddthhmmssz");
  const packed = "[k6/coupon-issue.ts and what it opens, packed by k6 archive]";
  const made: (TestRun | ReturnType<typeof filesOf>[number])[] = [
    ...filesOf(ahead, packed, "[secret]", "[secret]"),
    testRun(defaultProfile, cluster, ahead),
  ];
  expect(documents).toEqual(
    made.map((each) => ({
      ...each,
      metadata: { ...each.metadata, namespace: cluster.namespace },
    })),
  );
  expect(shown).not.toContain(credentials.writer.password);
});
