/** The stack's servers in a Kubernetes cluster: the rules that all of them keep, once. */
import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { localUrl } from "../runner/ports";
import { restrictedContainer, restrictedPod } from "../runner/test-run";
import { clusterProvider, nameServers, restricted, waysTo } from "./cluster";
import type { Place, ServerArgs } from "./service";

export interface ServersArgs {
  /** One of the contexts of the kubeconfig. */
  context: string;
  /** Made for the servers alone, so that runs and their bounds do not touch them. */
  namespace: string;
  /** Whether Pulumi refuses to delete their data. */
  keepData: boolean;
}

/** The namespace of the stack's servers, into which only restricted pods come. */
export class Servers extends pulumi.ComponentResource {
  private readonly provider: kubernetes.Provider;
  private readonly namespace: kubernetes.core.v1.Namespace;

  constructor(
    name: string,
    private readonly args: ServersArgs,
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("coupon-load-test:kubernetes:Servers", name, {}, opts);
    const parent = this;
    this.provider = clusterProvider(`${name}-provider`, args.context, parent);
    this.namespace = new kubernetes.core.v1.Namespace(
      `${name}-namespace`,
      { metadata: { name: args.namespace, labels: restricted } },
      // Without it, there would be no data either.
      { parent, provider: this.provider, protect: args.keepData },
    );
    this.registerOutputs();
  }

  /** The place of the server of this name, which nodes, pods and browsers reach at `address`. */
  place(service: string, { address, port }: { address: string; port: number }): Place {
    const { namespace, keepData } = this.args;
    const opts = {
      provider: this.provider,
      dependsOn: this.namespace,
      deletedWith: this.namespace,
      // A node may have to fetch an image; Pulumi's own ten minutes are long where it never will.
      customTimeouts: { create: "5m", update: "5m" },
    };
    return {
      url: localUrl(address, port),
      namespace,
      serve(name, args, parent) {
        const more = { service, namespace, nodePort: port, keepData };
        const all = { ...args, ...more };
        const {
          claim,
          workload,
          service: made,
        } = new KubernetesService(name, all, opts, {
          parent,
        });
        const uids = pulumi.all([workload.metadata.uid, made.metadata.uid]);
        return { volume: claim, instance: uids.apply((all) => all.join(" ")) };
      },
    };
  }
}

interface KubernetesServiceArgs extends ServerArgs {
  /** What its objects are called. */
  service: string;
  namespace: string;
  /** The port on all nodes that leads to it. */
  nodePort: number;
  keepData: boolean;
}

/**
 * A claim for its volume, a StatefulSet or a Deployment of one pod, a service with a port on all
 * nodes, a network policy and, if it has files, a secret. The pod restarts by itself, is limited in
 * memory and processors, is no root and gains no right, gets no token of the cluster's and writes
 * nowhere but into its volume and `/tmp`.
 */
class KubernetesService extends pulumi.ComponentResource {
  readonly claim: kubernetes.core.v1.PersistentVolumeClaim;
  readonly workload: kubernetes.apps.v1.StatefulSet | kubernetes.apps.v1.Deployment;
  readonly service: kubernetes.core.v1.Service;

  /** @param within for all that is part of it */
  constructor(
    name: string,
    args: KubernetesServiceArgs,
    within: pulumi.CustomResourceOptions,
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("coupon-load-test:kubernetes:Service", name, {}, opts);
    const made = { ...within, parent: this };
    const labels = { "app.kubernetes.io/name": args.service };
    const metadata = { name: args.service, namespace: args.namespace, labels };
    const selector = { matchLabels: labels };

    this.claim = new kubernetes.core.v1.PersistentVolumeClaim(
      `${name}-data`,
      {
        metadata,
        spec: {
          accessModes: ["ReadWriteOnce"],
          resources: { requests: { storage: binary(args.disk) } },
        },
      },
      { ...made, protect: args.keepData },
    );
    const files = args.files && this.secret(`${name}-files`, args, made);

    const { uid } = args;
    const template = {
      metadata: { labels },
      spec: {
        automountServiceAccountToken: false,
        // Variables such as INFLUXDB_PORT, which the server would take for settings.
        enableServiceLinks: false,
        securityContext: {
          ...restrictedPod(uid),
          fsGroup: uid,
          // Not of all that the volume has, at each start.
          fsGroupChangePolicy: "OnRootMismatch",
        },
        containers: [
          {
            name: args.service,
            image: args.image,
            env: Object.entries(args.env).map(([name, value]) => ({ name, value })),
            ports: [{ containerPort: args.port }],
            // No liveness probe: it would end a server that is busy, just when that is to be seen.
            readinessProbe: {
              httpGet: { path: args.health, port: args.port },
              periodSeconds: 5,
              timeoutSeconds: 5,
            },
            resources: {
              // Processors only when the nodes have some to spare: between runs it needs few.
              requests: { cpu: `${125 * args.cpus}m`, memory: binary(args.memory) },
              limits: { cpu: `${args.cpus}`, memory: binary(args.memory) },
            },
            securityContext: restrictedContainer,
            volumeMounts: [
              { name: "data", mountPath: args.data },
              { name: "tmp", mountPath: "/tmp" },
              // One by one: a folder would hide what the image has in it.
              ...(args.files ?? []).map(({ file }) => ({
                ...{ name: "files", mountPath: file, subPath: keyOf(file), readOnly: true },
              })),
            ],
          },
        ],
        volumes: [
          { name: "data", persistentVolumeClaim: { claimName: this.claim.metadata.name } },
          { name: "tmp", emptyDir: {} },
          ...(files
            ? [{ name: "files", secret: { secretName: files.metadata.name, defaultMode: 0o440 } }]
            : []),
        ],
      },
    };
    this.workload = args.single
      ? new kubernetes.apps.v1.StatefulSet(
          `${name}-stateful-set`,
          {
            metadata,
            spec: {
              ...{ replicas: 1, serviceName: args.service, selector, template },
              // The other policy waits for a pod that cannot start, also when it is to be another.
              podManagementPolicy: "Parallel",
            },
          },
          made,
        )
      : new kubernetes.apps.v1.Deployment(
          `${name}-deployment`,
          // The volume is one pod's: the old one must go before the new one comes.
          { metadata, spec: { replicas: 1, strategy: { type: "Recreate" }, selector, template } },
          // As a container is. Pulumi takes such a Deployment for done when the old pod has gone,
          // whatever becomes of the new one; for the pod of a new Deployment it waits.
          { ...made, replaceOnChanges: ["spec.template"], deleteBeforeReplace: true },
        );
    this.service = new kubernetes.core.v1.Service(
      `${name}-service`,
      {
        metadata,
        spec: {
          type: "NodePort",
          selector: labels,
          ports: [{ port: args.port, nodePort: args.nodePort }],
        },
      },
      made,
    );
    new kubernetes.networking.v1.NetworkPolicy(
      `${name}-network-policy`,
      {
        metadata,
        spec: {
          podSelector: selector,
          policyTypes: ["Ingress", "Egress"],
          // From anywhere: what comes in by a node's port has the node's address. It asks for a login.
          ingress: [{ ports: [{ protocol: "TCP", port: args.port }] }],
          egress: args.reaches ? [nameServers, ...args.reaches.flatMap(waysTo)] : [],
        },
      },
      made,
    );
    this.registerOutputs();
  }

  /** Under a name that Pulumi makes up, and so another one for other contents: a pod reads them once. */
  private secret(
    name: string,
    { namespace, files = [] }: KubernetesServiceArgs,
    opts: pulumi.CustomResourceOptions,
  ) {
    const contents = files.map(({ file, content }) => [keyOf(file), content]);
    const stringData: Record<string, pulumi.Input<string>> = Object.fromEntries(contents);
    return new kubernetes.core.v1.Secret(name, { metadata: { namespace }, stringData }, opts);
  }
}

/** A file's key in its secret. */
const keyOf = (file: string) => file.split("/").at(-1)!;

/** MiB as Kubernetes itself writes them: another spelling would be drift. */
const binary = (mebibytes: number) =>
  mebibytes % 1024 ? `${mebibytes}Mi` : `${mebibytes / 1024}Gi`;
