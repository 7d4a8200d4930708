/** A cluster that shares the load: the k6 operator, and a namespace that bounds what a run may do. */
import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { restrictedContainer } from "../runner/test-run";
import type { Cluster } from "../runner/types";
import { clusterProvider, named, nameServers, type Reached, restricted, waysTo } from "./cluster";

export interface K6ClusterArgs extends Omit<Cluster, "serviceAccount"> {
  /** Installed with the stack and removed with it; absent where the cluster has one already. */
  operator?: Operator;
  /** What that operator is called in the cluster, so that others can tell whose it is. */
  release: string;
  /** All that runners may reach besides each other. */
  reaches: Reached[];
}

export interface Operator {
  /** A Helm repository, an `oci://` reference or a path. */
  chart: string;
  /** Of the chart, where it does not come from a path. */
  version: string;
  image: string;
}

const operatorNamespace = "k6-operator-system";

/** Besides its runners, a run has the gate's pod and the operator's starter. */
const smallPods = { count: 2, milliCpu: 100 };

/**
 * The namespace in which all of a run is made, with an account that has no rights, room for one run
 * at a time, and no way to or from anything that a run does not need. Before it the operator, unless
 * the cluster has one.
 */
export class K6Cluster extends pulumi.ComponentResource {
  /** Known before anything is made, so that previews are exact. */
  readonly cluster: Cluster;

  constructor(name: string, args: K6ClusterArgs, opts?: pulumi.ComponentResourceOptions) {
    super("coupon-load-test:index:K6Cluster", name, {}, opts);
    const parent = this;
    const { operator, release, reaches, ...cluster } = args;
    this.cluster = { ...cluster, serviceAccount: "k6" };

    const provider = clusterProvider(`${name}-provider`, args.context, parent);
    const made = { parent, provider };
    // What is left of runs goes with their namespace, and the operator after it.
    const namespace = new kubernetes.core.v1.Namespace(
      `${name}-namespace`,
      { metadata: { name: args.namespace, labels: restricted } },
      { ...made, dependsOn: operator && install(`${name}-operator`, operator, release, made) },
    );

    const within = { ...made, dependsOn: namespace, deletedWith: namespace };
    const metadata = (name: string) => ({ name, namespace: args.namespace });
    new kubernetes.core.v1.ServiceAccount(
      `${name}-account`,
      { metadata: metadata(this.cluster.serviceAccount), automountServiceAccountToken: false },
      within,
    );
    new kubernetes.core.v1.ResourceQuota(
      `${name}-quota`,
      {
        metadata: metadata("one-run"),
        spec: {
          hard: {
            // Two runs at a time would measure each other. TestRuns are not counted: a cluster that
            // has just learnt what they are may take minutes to do so, and refuses all until then.
            pods: `${args.parallelism + smallPods.count}`,
            "requests.cpu": processors(
              args.parallelism * milliCpu(args.cpu) + smallPods.count * smallPods.milliCpu,
            ),
          },
        },
      },
      within,
    );

    // Who reaches a runner here can start and stop it: the starter and the operator do.
    const control = [{ protocol: "TCP", port: 6565 }];
    const run = { podSelector: {} };
    new kubernetes.networking.v1.NetworkPolicy(
      `${name}-network-policy`,
      {
        metadata: metadata("run"),
        spec: {
          ...run,
          policyTypes: ["Ingress", "Egress"],
          ingress: [
            {
              from: [run, { namespaceSelector: operator ? named(operatorNamespace) : {} }],
              ports: control,
            },
          ],
          egress: [{ to: [run], ports: control }, nameServers, ...reaches.flatMap(waysTo)],
        },
      },
      within,
    );
    this.registerOutputs();
  }
}

/** The operator in a namespace of its own; gives all that is part of it. */
function install(
  name: string,
  { chart, version, image }: Operator,
  release: string,
  opts: pulumi.CustomResourceOptions,
): pulumi.Input<pulumi.Resource[]> {
  const namespace = new kubernetes.core.v1.Namespace(
    `${name}-namespace`,
    { metadata: { name: operatorNamespace, labels: restricted } },
    opts,
  );
  const isRepository = /^https?:/.test(chart);
  // The chart joins them again by `/` and `:`, which does for a digest, too.
  const [, registry, repository, tag] = /^([^/]+)\/(.+):([^:]+)$/.exec(
    image.includes("/") ? image : `docker.io/library/${image}`,
  )!;
  return new kubernetes.helm.v4.Chart(
    name,
    {
      name: release,
      namespace: operatorNamespace,
      chart: isRepository ? "k6-operator" : chart,
      repositoryOpts: isRepository ? { repo: chart } : undefined,
      version: isRepository || chart.startsWith("oci:") ? version : undefined,
      values: {
        namespace: { create: false },
        manager: {
          image: { registry, repository, tag },
          podSecurityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
          containerSecurityContext: restrictedContainer,
        },
      },
    },
    { ...opts, dependsOn: namespace },
  ).resources;
}

/** Thousandths of a processor, of `500m` or `2.5`. */
const milliCpu = (cpu: string) =>
  cpu.endsWith("m") ? Number(cpu.slice(0, -1)) : Math.round(Number(cpu) * 1000);

/** The other way round, as Kubernetes itself writes it: another spelling would be drift. */
const processors = (milli: number) => (milli % 1000 ? `${milli}m` : `${milli / 1000}`);
