import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type ImageKey, type Images, testImages } from "../support/images.js";

/** How each image is started and how its health is asked for inside it: what the stack relies on. */
const services: Partial<Record<ImageKey, { args: string[]; healthy: string[]; user: string }>> = {
  influxdbImage: {
    args: [],
    healthy: ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8086/ping"],
    user: "0",
  },
  grafanaImage: {
    args: [],
    healthy: ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:3000/api/health"],
    user: "472",
  },
  redisImage: {
    args: ["redis-server", "--save", ""],
    healthy: ["redis-cli", "ping"],
    user: "999",
  },
  nodeImage: {
    args: ["-e", 'require("http").createServer((_, reply) => reply.end()).listen(8080)'],
    healthy: ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"],
    user: "0",
  },
};

const docker = async (...args: string[]) =>
  (await promisify(execFile)("docker", args)).stdout.trim();

describe("the images", () => {
  const { config } = parse(readFileSync("Pulumi.yaml", "utf8")) as {
    config: Record<ImageKey, { default: string }>;
  };
  const keys: ImageKey[] = ["influxdbImage", "grafanaImage", "k6Image", "redisImage", "nodeImage"];
  const official = Object.fromEntries(keys.map((key) => [key, config[key].default])) as Images;
  const containers: string[] = [];
  let found: Awaited<ReturnType<typeof testImages<ImageKey>>>;

  beforeAll(async () => {
    found = await testImages(official);
  }, 15 * 60_000);
  beforeEach(({ skip }) => {
    if ("missing" in found) skip(found.missing);
  });
  afterEach(async () => {
    for (const container of containers.splice(0)) await docker("rm", "--force", "-v", container);
  });

  const image = (key: ImageKey) => ("images" in found ? found.images[key] : "");

  it("are the official ones, or named as stand-ins", () => {
    for (const key of keys) {
      const name = image(key);
      expect(name === official[key] || name.startsWith("coupon-load-test-e2e/"), name).toBe(true);
    }
  });

  it.each(Object.entries(services))(
    "%s answers its health check",
    async (key, service) => {
      const container = await docker("run", "--detach", image(key as ImageKey), ...service.args);
      containers.push(container);
      await expect
        .poll(() => docker("exec", container, ...service.healthy).then(() => "healthy", String), {
          timeout: 60_000,
          interval: 500,
        })
        .toBe("healthy");
      const status = await docker("exec", container, "cat", "/proc/1/status");
      expect(/^Uid:\s*(\d+)/m.exec(status)?.[1]).toBe(service.user);
    },
    90_000,
  );

  it("k6Image runs k6 as a user without rights", async () => {
    expect(await docker("run", "--rm", image("k6Image"), "version")).toMatch(/^k6 v/);
    expect(await docker("run", "--rm", "--entrypoint", "id", image("k6Image"), "-u")).toBe("12345");
  }, 30_000);

  it("are found quickly when they are there", async () => {
    const start = Date.now();
    expect(await testImages(official)).toEqual(found);
    expect(Date.now() - start).toBeLessThan(30_000);
  }, 60_000);
});
