/** InfluxDB 1.8 in Docker, with authentication on. */
import type * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { influxDbSettings } from "../runner/influxdb";
import { localUrl } from "../runner/ports";
import { durationRollup, history } from "../dashboards/queries";
import {
  InfluxDbAdmin,
  InfluxDbContinuousQuery,
  InfluxDbDatabase,
  InfluxDbRetentionPolicy,
  InfluxDbUser,
} from "./influxdb-schema";
import { podUrl, Service } from "./service";

/** A generated user. */
export interface Login {
  username: string;
  /** Secret. */
  password: pulumi.Output<string>;
}

/** A password of letters and digits: InfluxDB's image and URLs take nothing else unquoted. */
export function generatedPassword(name: string, parent: pulumi.Resource): pulumi.Output<string> {
  return new random.RandomPassword(name, { length: 32, special: false }, { parent }).result;
}

export interface InfluxDbArgs {
  image: string;
  containerName: string;
  network: docker.Network;
  /** Whether Pulumi refuses to delete its volume. */
  keepData?: boolean;
  /** Where its port is published, see `localUrl`. */
  address: string;
  port: number;
  /** The host by which a cluster's pods reach that address. */
  podHost?: string;
  /** The database that k6 writes. */
  database: string;
  /** How long its points are kept, such as `30d`. */
  retention: string;
  /** How long rollups and the ledger of runs are kept. */
  historyRetention: string;
}

/**
 * The store: a container, an administrator that only Pulumi uses, the database, a user that may
 * only write it (k6) and one that may only read it (Grafana and the verdict).
 */
export class InfluxDb extends pulumi.ComponentResource {
  /** From this machine. */
  readonly url: string;
  /** From the containers of the stack's network. */
  readonly networkUrl = "http://influxdb:8086";
  /** From a cluster's pods. */
  readonly podUrl?: string;
  readonly database: string;
  readonly writer: Login;
  readonly reader: Login;
  /** How long raw points are kept. */
  readonly retention: string;

  constructor(name: string, args: InfluxDbArgs, opts?: pulumi.ComponentResourceOptions) {
    super("coupon-load-test:index:InfluxDb", name, {}, opts);
    const parent = this;
    this.url = localUrl(args.address, args.port);
    this.podUrl = podUrl(args);
    this.database = args.database;
    this.retention = args.retention;

    const { container } = new Service(
      name,
      {
        image: args.image,
        containerName: args.containerName,
        network: args.network,
        alias: "influxdb",
        env: Object.entries(influxDbSettings).map(([name, value]) => `${name}=${value}`),
        port: { internal: 8086, external: args.port, address: args.address },
        data: "/var/lib/influxdb",
        // As the images of 1.8 have it. Those of 1.11 and later have a user of their own, to whom the
        // files of a kept volume are closed. On a new volume the folders are that user's.
        user: "0",
        capabilities: ["CAP_DAC_OVERRIDE"],
        keepData: args.keepData,
        healthCheck: "wget -q -O /dev/null http://127.0.0.1:8086/ping",
        memory: 2048,
        cpus: 4,
      },
      { parent },
    );

    const admin = {
      url: this.url,
      adminUsername: "admin",
      adminPassword: generatedPassword(`${name}-admin-password`, parent),
    };
    const ready = new InfluxDbAdmin(
      `${name}-admin`,
      { ...admin, container: container.id },
      { parent, deletedWith: container },
    );
    const database = new InfluxDbDatabase(
      `${name}-database`,
      { ...admin, database: args.database, retention: args.retention },
      { parent, dependsOn: ready, deletedWith: container },
    );
    // After the database, and gone with it: dropping one takes all that is in it along.
    const inDatabase = { parent, dependsOn: database, deletedWith: container };
    const policy = new InfluxDbRetentionPolicy(
      `${name}-history`,
      { ...admin, name: history, database: args.database, retention: args.historyRetention },
      inDatabase,
    );
    new InfluxDbContinuousQuery(
      `${name}-rollup`,
      { ...admin, database: args.database, ...durationRollup(args.database) },
      { ...inDatabase, dependsOn: policy },
    );
    const user = (username: string, privilege: "READ" | "WRITE"): Login => {
      const password = generatedPassword(`${name}-${username}-password`, parent);
      new InfluxDbUser(
        `${name}-${username}`,
        { ...admin, username, password, database: args.database, privilege },
        inDatabase,
      );
      return { username, password };
    };
    this.writer = user("k6", "WRITE");
    this.reader = user("grafana", "READ");

    this.registerOutputs();
  }
}
