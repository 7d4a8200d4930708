/** InfluxDB 1.8, with authentication on. */
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { influxDbSettings } from "../runner/influxdb";
import { history } from "../dashboards/queries";
import {
  InfluxDbAdmin,
  InfluxDbDatabase,
  InfluxDbRetentionPolicy,
  InfluxDbUser,
} from "./influxdb-schema";
import type { Place } from "./service";

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
  place: Place;
  /** The database that k6 writes. */
  database: string;
  /** How long its points are kept, such as `30d`. */
  retention: string;
  /** Most MiB that it may take. */
  memory: number;
  /** How long the ledger of runs and their figures over time are kept. */
  historyRetention: string;
}

/**
 * The store: a server, an administrator that only Pulumi uses, the database, a user that may
 * only write it (k6) and one that may only read it (Grafana and the verdict).
 */
export class InfluxDb extends pulumi.ComponentResource {
  /** From this machine. */
  readonly url: string;
  /** From the containers of the stack's network, if there is one. */
  readonly networkUrl?: string;
  /** From a cluster's pods, and the namespace of its own ones, see `Reached`. */
  readonly podUrl?: string;
  readonly namespace?: string;
  readonly database: string;
  readonly writer: Login;
  readonly reader: Login;
  /** How long raw points are kept. */
  readonly retention: string;

  constructor(name: string, args: InfluxDbArgs, opts?: pulumi.ComponentResourceOptions) {
    super("coupon-load-test:index:InfluxDb", name, {}, opts);
    const parent = this;
    const { place } = args;
    const port = 8086;
    this.url = place.url;
    this.networkUrl = place.networkName && `http://${place.networkName}:${port}`;
    this.podUrl = place.podUrl;
    this.namespace = place.namespace;
    this.database = args.database;
    this.retention = args.retention;

    const { volume, instance } = place.serve(
      name,
      {
        image: args.image,
        env: influxDbSettings,
        port,
        health: "/ping",
        data: "/var/lib/influxdb",
        disk: 10 * 1024,
        single: true,
        // As the images of 1.8 have it. Those of 1.11 and later have a user of their own, to whom the
        // files of a kept volume are closed. On a new volume the folders are that user's.
        asRoot: ["CAP_DAC_OVERRIDE"],
        // As those later images have it; a cluster gives the volume to whoever this is.
        uid: 1500,
        memory: args.memory,
        cpus: 4,
      },
      parent,
    );

    const admin = {
      url: this.url,
      adminUsername: "admin",
      adminPassword: generatedPassword(`${name}-admin-password`, parent),
    };
    const ready = new InfluxDbAdmin(
      `${name}-admin`,
      { ...admin, container: instance },
      { parent, deletedWith: volume },
    );
    const database = new InfluxDbDatabase(
      `${name}-database`,
      { ...admin, database: args.database, retention: args.retention },
      { parent, dependsOn: ready, deletedWith: volume },
    );
    // After the database, and gone with it: dropping one takes all that is in it along.
    const inDatabase = { parent, dependsOn: database, deletedWith: volume };
    new InfluxDbRetentionPolicy(
      `${name}-history`,
      { ...admin, name: history, database: args.database, retention: args.historyRetention },
      inDatabase,
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
