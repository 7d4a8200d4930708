/** The pods that the k6 operator makes of a TestRun (1.6.0: pkg/resources/jobs), as far as ours goes. */
import type { V1Container, V1Pod, V1PodSpec } from "@kubernetes/client-node" with {
  "resolution-mode": "import",
};
import type { TestRun } from "../../runner/test-run";

/** `spec.runner` and `spec.starter`. */
interface Part
  extends
    Pick<V1Container, "env" | "livenessProbe" | "readinessProbe" | "resources" | "volumeMounts">,
    Pick<V1PodSpec, "securityContext" | "serviceAccountName" | "volumes"> {
  image: string;
  automountServiceAccountToken: string;
  containerSecurityContext: V1Container["securityContext"];
  topologySpreadConstraints?: V1PodSpec["topologySpreadConstraints"];
}

/** The runners, then the starter, which gets neither volumes nor an environment. */
export function operatorPods({ metadata, spec }: TestRun): V1Pod[] {
  const { parallelism, runner, starter, script } = spec as {
    parallelism: number;
    runner: Part;
    starter: Part;
    script: { configMap: { name: string } };
  };
  const name = "k6-test-volume";
  const { containerSecurityContext: securityContext, image } = runner;
  const { env, livenessProbe, readinessProbe, resources, volumeMounts = [] } = runner;
  const container: V1Container = {
    ...{ name: "k6", image, securityContext, env, livenessProbe, readinessProbe, resources },
    ports: [{ containerPort: 6565 }],
    volumeMounts: [{ name, mountPath: "/test" }, ...volumeMounts],
  };
  const volumes = [{ name, configMap: { name: script.configMap.name } }, ...(runner.volumes ?? [])];
  const runners = Array.from({ length: parallelism }, (_, i) =>
    podOf(`${metadata.name}-${i + 1}`, runner, container, {
      ...{ volumes, topologySpreadConstraints: runner.topologySpreadConstraints },
    }),
  );
  const starting: V1Container = {
    ...{ name: "k6-curl", image: starter.image, resources: starter.resources },
    securityContext: starter.containerSecurityContext,
  };
  return [...runners, podOf(`${metadata.name}-starter`, starter, starting, {})];
}

const podOf = (
  name: string,
  { serviceAccountName, automountServiceAccountToken, securityContext }: Part,
  container: V1Container,
  more: Partial<V1PodSpec>,
): V1Pod => ({
  metadata: { name },
  spec: {
    ...{ restartPolicy: "Never", serviceAccountName, securityContext, containers: [container] },
    automountServiceAccountToken: automountServiceAccountToken !== "false",
    ...more,
  },
});
