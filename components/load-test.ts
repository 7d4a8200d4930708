/** The load test as a resource: created when everything is ready, run again when it changes. */
import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { LoadProfile, MaxRegression, RouteLimit, Thresholds } from "../k6/profile";
import { scriptHash } from "../runner/script";
import type { Cluster, RunRequest, RunResult } from "../runner/types";
import type { InfluxDb } from "./influxdb";

export interface LoadTestArgs {
  stack: string;
  runId: string;
  script: string;
  scriptEnv?: Record<string, string>;
  scriptSecrets?: Record<string, string>;
  profile: LoadProfile;
  thresholds: Thresholds;
  /** See `RunRequest`. */
  baseline: string;
  maxRegression: MaxRegression[];
  routeLimits: RouteLimit[];
  starvedGenerator: RunRequest["starvedGenerator"];
  maxSeries: number;
  executor:
    | { kind: "docker"; image: string; network: docker.Network }
    | { kind: "local"; binary: string }
    | Cluster;
  target: RunRequest["target"];
  allowedHosts: string[];
  influxdb: InfluxDb;
  dashboardUrl: string;
  /** What must be ready before the test starts; its image is fetched meanwhile. */
  after: pulumi.Resource[];
}

/**
 * Runs the test when it is created, when one of its arguments or a file of the script changes,
 * and after a run that failed. `up` fails when the test does.
 */
export class LoadTest extends pulumi.ComponentResource {
  /** The result of the last run that passed; a failed run leaves it as it was. */
  readonly lastPassedRun: pulumi.Output<RunResult>;

  constructor(name: string, args: LoadTestArgs, opts?: pulumi.ComponentResourceOptions) {
    super("coupon-load-test:index:LoadTest", name, {}, opts);
    const parent = this;
    const { influxdb, executor, target, after, scriptSecrets: secrets, ...asIs } = args;

    const image =
      executor.kind === "docker"
        ? [
            new docker.RemoteImage(
              `${name}-k6-image`,
              { name: executor.image, keepLocally: true },
              { parent },
            ),
          ]
        : [];
    const request: pulumi.Output<RunRequest> = pulumi.output({
      ...asIs,
      scriptHash: scriptHash(args.script),
      target: {
        url: target.url,
        networkUrl: target.networkUrl,
        podUrl: target.podUrl,
        health: target.health,
        version: target.version,
        caFile: target.caFile,
        insecureSkipTLSVerify: target.insecureSkipTLSVerify,
      },
      executor:
        executor.kind === "docker" ? { ...executor, network: executor.network.name } : executor,
      influxdb: {
        url: influxdb.url,
        networkUrl: influxdb.networkUrl,
        podUrl: influxdb.podUrl,
        database: influxdb.database,
      },
    });
    const { writer, reader } = influxdb;
    const run = new command.local.Command(
      `${name}-run`,
      {
        interpreter: ["node", "launch.js"],
        create: "runner/main.ts",
        // For all that is no part of the request, such as new passwords: the next run gets them.
        update: "runner/print-previous.ts",
        // In clear text, so that a preview shows which part has changed and starts the test.
        environment: { LOAD_TEST: pulumi.jsonStringify(request) },
        // Other processes can read arguments and environments, but not standard input.
        stdin: pulumi.secret(pulumi.jsonStringify({ writer, reader, secrets })),
        // Standard output is the result and stays short; standard error is shown while it runs.
        logging: "stderr",
      },
      { parent, dependsOn: [...after, ...image], replaceOnChanges: ["environment"] },
    );
    this.lastPassedRun = run.stdout.apply((line) => JSON.parse(line) as RunResult);
    this.registerOutputs();
  }
}
