/** Where the stack's servers run; in Docker, the rules that every container keeps, once. */
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { localUrl } from "../runner/ports";
import type { Reached } from "./cluster";

/** A server of the stack, the same wherever it runs. */
export interface ServerArgs {
  /** By tag or digest. */
  image: string;
  /** Nothing secret: `docker inspect` and the pod's manifest show it. */
  env: Record<string, string>;
  /** Files that are there before it starts; their names differ. */
  files?: { file: string; content: pulumi.Input<string> }[];
  /** The port it listens on, and a path there that answers well once it serves. */
  port: number;
  health: string;
  /** The folder of its data, which lasts, and how many MiB of disk a cluster is asked for. */
  data: string;
  disk: number;
  /** Whether two at a time would spoil its data: then none comes before the other is surely gone. */
  single?: boolean;
  /** Who it runs as in a cluster, where nobody is root. */
  uid: number;
  /** What of root's rights it needs in Docker, see `ServiceArgs`; absent: it is the image's user. */
  asRoot?: string[];
  /** What it asks by itself; what a cluster's network policy does not find here, it cannot. */
  reaches?: Reached[];
  /** Memory limit in MiB. */
  memory: number;
  /** Most processors that it may use at once. */
  cpus: number;
}

/** Where a server is to run, and how it is reached there, which is known before anything is made. */
export interface Place extends Reached {
  /** The name by which containers of the stack's network reach it; absent where there is none. */
  networkName?: string;
  /**
   * Has it run; gives the volume of its data, and a text that is another one whenever the server is
   * made anew. What is inside the server is deleted with that volume: with the server itself, it
   * would be made again on a volume that still has it.
   */
  serve(
    name: string,
    args: ServerArgs,
    parent: pulumi.Resource,
  ): { volume: pulumi.CustomResource; instance: pulumi.Output<string> };
}

/** Where a server has a container of its own, and the port of `address` that leads to it. */
export interface ContainerPlace {
  containerName: string;
  network: docker.Network;
  keepData?: boolean;
  /** Where its port is published, see `localUrl`. */
  address: string;
  port: number;
  /** The host by which a cluster's pods reach that address. */
  podHost?: string;
}

/** A place in Docker, for the server of this name in the stack's network. */
export const inDocker = (alias: string, at: ContainerPlace): Place => ({
  url: localUrl(at.address, at.port),
  podUrl: podUrl(at),
  networkName: alias,
  serve(name, args, parent) {
    const { container, volume } = new Service(
      name,
      {
        ...{ image: args.image, containerName: at.containerName, network: at.network, alias },
        env: Object.entries(args.env).map(([name, value]) => `${name}=${value}`),
        uploads: args.files,
        port: { internal: args.port, external: at.port, address: at.address },
        ...{ data: args.data, keepData: at.keepData },
        user: args.asRoot && "0",
        capabilities: args.asRoot,
        healthCheck: `wget -q -O /dev/null http://127.0.0.1:${args.port}${args.health}`,
        ...{ memory: args.memory, cpus: args.cpus },
      },
      { parent },
    );
    return { volume: volume!, instance: container.id };
  },
});

/** The network of a stack's containers, in which they reach each other by name. */
export function stackNetwork(name: string): docker.Network {
  // Docker allows two networks of one name, so the old one must go before the new one comes.
  return new docker.Network("network", { name }, { deleteBeforeReplace: true });
}

/** How a cluster's pods reach a published port; `undefined` where there is no cluster. */
export const podUrl = ({ podHost, port }: { podHost?: string; port: number }) =>
  podHost && `http://${podHost}:${port}`;

/** What differs between the stack's containers. */
export interface ServiceArgs {
  /** By tag or digest. An image that is already there is used without asking a registry. */
  image: string;
  /** The container's name, unique on the machine: `<project>-<stack>-<service>`. */
  containerName: string;
  network: docker.Network;
  /** The name under which other containers of the network reach it. */
  alias: string;
  command?: string[];
  /** Nothing secret: `docker inspect` shows it. Secrets go into `uploads`. */
  env?: pulumi.Input<string>[];
  /** Files placed in the container before it starts. */
  uploads?: docker.types.input.ContainerUpload[];
  /** A port of the container, published on one address of this machine. */
  port?: { internal: number; external: number; address: string };
  /** A volume of the container's name, mounted at this path. */
  data?: string;
  /** Whether Pulumi refuses to delete that volume. */
  keepData?: boolean;
  /** A shell command that succeeds once the service answers. */
  healthCheck: string;
  /** Who it runs as; absent: the image's own user. */
  user?: string;
  /** What of root's rights it needs all the same, as Docker gives them back: with `CAP_`. */
  capabilities?: string[];
  /** Memory limit in MiB. */
  memory: number;
  /** Most processors that it may use at once. */
  cpus: number;
}

/**
 * An image, a container and, if it keeps data, a volume. The container restarts by itself, is limited
 * in memory, processors, processes and log size, has no right of root's that it does not need, gains none and, if it has
 * no uploads, writes nowhere but into its volume and `/tmp`.
 */
export class Service extends pulumi.ComponentResource {
  readonly container: docker.Container;
  /** Of its data, if it keeps any. */
  readonly volume?: docker.Volume;

  constructor(name: string, args: ServiceArgs, opts?: pulumi.ComponentResourceOptions) {
    super("coupon-load-test:docker:Service", name, {}, opts);
    const parent = this;

    // `keepLocally`: an image may have been there before the stack, so destroy leaves it alone.
    const image = new docker.RemoteImage(
      `${name}-image`,
      { name: args.image, keepLocally: true },
      { parent },
    );
    this.volume = args.data
      ? new docker.Volume(
          `${name}-data`,
          { name: args.containerName },
          { parent, protect: args.keepData },
        )
      : undefined;

    this.container = new docker.Container(
      `${name}-container`,
      {
        name: args.containerName,
        image: image.imageId,
        command: args.command,
        envs: args.env,
        uploads: args.uploads,
        user: args.user,
        capabilities: { drops: ["ALL"], adds: args.capabilities },
        securityOpts: ["no-new-privileges"],
        // Docker copies no upload into a file system that is read-only.
        readOnly: !args.uploads,
        tmpfs: { "/tmp": "" },
        networksAdvanced: [{ name: args.network.name, aliases: [args.alias] }],
        ports: args.port && [
          { internal: args.port.internal, external: args.port.external, ip: args.port.address },
        ],
        volumes: this.volume && [{ volumeName: this.volume.name, containerPath: args.data }],
        // For people and `docker ps`. Nothing waits for it: inside the container it can be green
        // too early, so readiness is proved from outside by whoever needs the service.
        healthcheck: {
          tests: ["CMD-SHELL", args.healthCheck],
          interval: "10s",
          timeout: "5s",
          retries: 6,
        },
        restart: "unless-stopped",
        memory: args.memory,
        memorySwap: args.memory,
        // As a share of time, which Docker takes whatever the machine's number of processors is.
        cpuPeriod: 100_000,
        cpuQuota: 100_000 * args.cpus,
        // Of a user on this machine; root has none.
        ulimits: [{ name: "nproc", soft: 4096, hard: 4096 }],
        logDriver: "json-file",
        logOpts: { "max-size": "10m", "max-file": "2" },
      },
      // The provider would ignore a changed health check on a container that exists. A replacement
      // for that reason would be made first, beside the container whose name it needs.
      { parent, replaceOnChanges: ["healthcheck"], deleteBeforeReplace: true },
    );
    this.registerOutputs();
  }
}
