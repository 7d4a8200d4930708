/** One stack that two clones share through a bucket, as a team's members do. */
import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { freePort, portIsFree } from "../../runner/ports";
import { Clone, freePorts, run, stackImages } from "../support/stack";
import { succeeds } from "../support/succeeds";

let missing: string | undefined;
let bucket: ChildProcess | undefined;
/** The bucket's address; this server asks nobody for a login. */
let address: string;
/** Two members' clones; the stack is the first one's. */
let mine: Clone;
let yours: Clone;

beforeAll(async () => {
  const found = await stackImages();
  if ("missing" in found) missing = found.missing;
  const server = await run("gofakes3", ["-h"]).catch(() => undefined);
  if (!server) missing ??= "there is no S3 server on PATH (gofakes3)";
  if (missing || "missing" in found) return;

  const port = await freePort();
  const args = ["-backend", "memory", "-initialbucket", "states", "-host", `127.0.0.1:${port}`];
  bucket = spawn("gofakes3", args, { stdio: "ignore" });
  address = `http://127.0.0.1:${port}/states`;
  while (await portIsFree(port)) await sleep(50);
  const query = "region=us-east-1&s3ForcePathStyle=true&disableSSL=true";
  const team = {
    PULUMI_BACKEND_URL: `s3://states?endpoint=127.0.0.1:${port}&${query}`,
    PULUMI_CONFIG_PASSPHRASE: "a passphrase of the team",
    AWS_ACCESS_KEY_ID: "key",
    AWS_SECRET_ACCESS_KEY: "secret",
  };
  const settings = { ...found.images, ...(await freePorts()) };
  const config = { target: "sample", duration: "5s" };
  mine = new Clone(settings, config);
  yours = new Clone(settings, config);
  for (const member of [mine, yours]) member.addEnvironment(team);
  const file = `Pulumi.${mine.stack}.yaml`;
  yours.write(file, mine.read(file));
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
afterAll(() => {
  mine?.remove();
  yours?.remove();
  bucket?.kill();
});

describe("a stack in a bucket", () => {
  const yourMake = (command: string) => yours.make(command, { STACK: mine.stack });

  it("is brought up by one, and known to the other", async () => {
    succeeds(await mine.make("up"));
    const preview = await yourMake("preview");
    succeeds(preview);
    expect(yours.read("preview.md")).toContain("**The load test will not run**");
    expect(preview.stdout).toMatch(/^ *\d+ unchanged$/m);
    const [mineShown, yoursShown] = [await mine.make("password"), await yourMake("password")];
    succeeds(yoursShown);
    expect(JSON.parse(yoursShown.stdout)).toEqual(JSON.parse(mineShown.stdout));
  });

  it("keeps its secrets from whoever reads the bucket, and in no clone", async () => {
    const { password } = JSON.parse((await mine.make("password")).stdout);
    const listed = await (await fetch(address)).text();
    const keys = [...listed.matchAll(/<Key>(.*?)<\/Key>/g)].map(([, key]) => key);
    const texts = await Promise.all(
      keys.map(async (key) => (await fetch(`${address}/${key}`)).text()),
    );
    expect(texts.some((text) => text.includes("grafana-admin-password"))).toBe(true);
    expect(texts.filter((text) => text.includes(password))).toEqual([]);
    expect(mine.exists(".state/passphrase")).toBe(false);
    expect(mine.exists(".state/.pulumi")).toBe(false);
  });

  it("is tested by the other, against the run of the first, and removed", async () => {
    const first = mine.latestRun().id;
    succeeds(await yourMake("load"));
    expect(yours.latestRun().baseline.id).toBe(first);
    succeeds(await yourMake("destroy"));
    expect(await mine.inDocker()).toEqual([]);
    const gone = await mine.make("destroy");
    expect(gone.stdout).toContain(`there is no stack ${mine.stack}, nothing to destroy`);
  });
});
