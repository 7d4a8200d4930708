/**
 * A closed network: images come from a registry that mirrors them, a real one on this machine, and
 * whatever else would leave the machine meets a proxy that is not there.
 */
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { waitForAnswer } from "../../runner/gate";
import { freePort } from "../../runner/ports";
import { Clone, printed, run, stackImages, type Settings } from "../support/stack";

let missing: string | undefined;
let clone: Clone;
let mirror: { address: string; process: ChildProcess; folder: string };
/** The images by configuration key, as the mirror calls them. */
const mirrored: Settings = {};

/** What the mirror was asked for, such as `/v2/e2e/influxdb/manifests/1.8.10`. */
const asked: string[] = [];

beforeAll(async () => {
  const found = await stackImages();
  if ("missing" in found) missing = found.missing;
  const installed = await run("docker-registry", ["--version"]).catch(() => undefined);
  if (installed?.code !== 0) missing ??= "there is no docker-registry on PATH";
  if (missing || "missing" in found) return;

  mirror = await startRegistry();
  for (const [key, image] of Object.entries(found.images)) {
    const [, version] = image.split(":");
    const name = `e2e/${key.replace("Image", "").toLowerCase()}`;
    const there = `${mirror.address}/${name}:${version}`;
    await printed("docker", "tag", image, there);
    const pushed = await printed("docker", "push", there);
    await printed("docker", "image", "rm", there);
    const [digest] = /sha256:[0-9a-f]{64}/.exec(pushed)!;
    // By tag, by digest and by both: all three are names that an image may have.
    const by: Record<string, string> = {
      redisImage: `@${digest}`,
      k6Image: `:${version}@${digest}`,
    };
    mirrored[key] = name + (by[key] ?? `:${version}`);
  }
  asked.length = 0; // What comes now, the stack asks for.
  clone = new Clone(
    { ...mirrored, imageRegistry: mirror.address },
    {
      ...{ target: "sample", rate: 20, timeUnit: "1s", duration: "3s" },
      ...{ influxdbPort: 0, grafanaPort: 0, couponApiPort: 0 },
    },
  );
  const proxy = `http://127.0.0.1:${await freePort()}`;
  for (const name of ["http_proxy", "https_proxy"]) {
    clone.addEnvironment({ [name]: proxy, [name.toUpperCase()]: proxy });
  }
  // Docker's client gives it to the containers that it makes.
  const proxies = { default: { httpProxy: proxy, httpsProxy: proxy } };
  fs.writeFileSync(path.join(mirror.folder, "config.json"), JSON.stringify({ proxies }));
  clone.addEnvironment({ DOCKER_CONFIG: mirror.folder });
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
afterAll(async () => {
  clone?.remove();
  if (!mirror) return;
  for (const name of Object.values(mirrored)) await run("docker", ["image", "rm", inMirror(name)]);
  mirror.process.kill();
  fs.rmSync(mirror.folder, { recursive: true });
});

const inMirror = (name: string | number) => `${mirror.address}/${name}`;

async function startRegistry() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "e2e-mirror-"));
  const address = `127.0.0.1:${await freePort()}`;
  const config = path.join(folder, "registry.yml"); // JSON is YAML, too.
  const storage = { filesystem: { rootdirectory: path.join(folder, "data") } };
  fs.writeFileSync(config, JSON.stringify({ version: 0.1, storage, http: { addr: address } }));
  const process = spawn("docker-registry", ["serve", config], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  process.stdout.setEncoding("utf8").on("data", (text: string) => {
    asked.push(...[...text.matchAll(/"(?:GET|HEAD) (\S+) HTTP/g)].map(([, url]) => url));
  });
  await waitForAnswer(`http://${address}/v2/`, 30);
  return { address, process, folder };
}

describe("a stack whose images come from a mirror", () => {
  it("is told when the mirror lacks one", async () => {
    const up = await clone.make("up", { redisImage: "e2e/redis:none" });
    expect(up.code).not.toBe(0);
    const absent = inMirror("e2e/redis:none");
    expect(up.lastLine).toMatch(/^make up: Pulumi ended with exit code \d+: /);
    expect(up.lastLine).toContain(`unable to pull image ${absent}: `);
    expect(up.lastLine).toMatch(/: manifest unknown$/);
  });

  it("pulls each of them from there, and passes", async () => {
    const up = await clone.make("up");
    expect(up.code, up.output).toBe(0);
    expect(clone.latestRun().verdict).toBe("passed");
    for (const name of Object.values(mirrored)) {
      const [repository] = String(name).split(/[:@]/);
      expect(asked.join("\n")).toContain(`/v2/${repository}/manifests/`);
      const [image] = JSON.parse(await printed("docker", "image", "inspect", inMirror(name)));
      const digests: string[] = image.RepoDigests;
      expect(digests.some((digest) => digest.startsWith(inMirror(`${repository}@`)))).toBe(true);
    }
    expect(await clone.inspect()).toHaveLength(4);
  });

  it("goes, but for the images", async () => {
    const destroyed = await clone.make("destroy");
    expect(destroyed.code, destroyed.output).toBe(0);
    expect(await clone.inDocker()).toEqual([]);
  });
});
