/** The sample target: the coupon API of `examples/coupon-api` and its Redis. */
import * as crypto from "node:crypto";
import type * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { buildSync } from "esbuild";
import * as fs from "node:fs";
import { localUrl } from "../runner/ports";
import { podUrl, Service } from "./service";

export interface CouponApiArgs {
  nodeImage: string;
  redisImage: string;
  /** `<containerName>` and `<containerName>-redis`. */
  containerName: string;
  network: docker.Network;
  /** Where its port is published, see `localUrl`; it asks nobody for a login. */
  address: string;
  port: number;
  /** The host by which a cluster's pods reach that address. */
  podHost?: string;
  couponId: number;
  /** Coupons to give out. */
  stock: number;
}

/** The API and its Redis. The API is bundled into one file, so no image has to be built. */
export class CouponApi extends pulumi.ComponentResource {
  /** From this machine. */
  readonly url: string;
  /** From the containers of the stack's network. */
  readonly networkUrl = "http://coupon-api:8080";
  /** From a cluster's pods. */
  readonly podUrl?: string;
  /** Answers well once Redis does, too. */
  readonly health = "/health";
  /** Changes whenever what is tested changes. */
  readonly version: string;

  constructor(name: string, args: CouponApiArgs, opts?: pulumi.ComponentResourceOptions) {
    super("coupon-load-test:index:CouponApi", name, {}, opts);
    const parent = this;
    this.url = localUrl(args.address, args.port);
    this.podUrl = podUrl(args);

    new Service(
      `${name}-redis`,
      {
        image: args.redisImage,
        containerName: `${args.containerName}-redis`,
        network: args.network,
        alias: "redis",
        // Each stack starts with its full stock: nothing is kept on disk. Option and value are one
        // argument, since the provider refuses an empty one.
        command: ["redis-server", '--save ""'],
        healthCheck: "redis-cli ping | grep -q PONG",
        // Else the image's entry point starts as root, to become this user.
        user: "redis",
        memory: 256,
        cpus: 1,
      },
      { parent },
    );

    const { path, hash } = bundle();
    const env = [
      "REDIS_URL=redis://redis:6379",
      `COUPON_ID=${args.couponId}`,
      `COUPON_STOCK=${args.stock}`,
    ];
    this.version = [hash, args.nodeImage, args.redisImage, ...env].join(" ");
    new Service(
      name,
      {
        image: args.nodeImage,
        containerName: args.containerName,
        network: args.network,
        alias: "coupon-api",
        command: ["node", "/srv/coupon-api.js"],
        env,
        uploads: [{ file: "/srv/coupon-api.js", source: path, sourceHash: hash }],
        port: { internal: 8080, external: args.port, address: args.address },
        user: "node",
        healthCheck: `wget -q -O /dev/null http://127.0.0.1:8080${this.health}`,
        memory: 512,
        cpus: 2,
      },
      { parent },
    );
    this.registerOutputs();
  }
}

/** Bundles the API into one file; the path is relative, so that no machine's path is in the state. */
function bundle() {
  const path = "build/coupon-api.js";
  buildSync({
    // Else esbuild takes the folder that was the working one when it was first used.
    absWorkingDir: process.cwd(),
    entryPoints: ["examples/coupon-api/server.ts"],
    outfile: path,
    bundle: true,
    platform: "node",
    target: "node20",
  });
  return { path, hash: crypto.createHash("sha256").update(fs.readFileSync(path)).digest("hex") };
}
