/** The steps of .github/workflows/load-test.yml in their order, as GitHub runs them, without GitHub. */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { root } from "../../root";
import { Clone, stackImages } from "../support/stack";

interface Step {
  run?: string;
  uses?: string;
  id?: string;
  if?: string;
  env?: Record<string, string>;
  with?: Record<string, string>;
}

const workflow = parse(fs.readFileSync(path.join(root, ".github/workflows/load-test.yml"), "utf8"));
const steps: Step[] = workflow.jobs["load-test"].steps;
const reports = "https://github.example/artifacts/1";

let missing: string | undefined;
let clone: Clone;
let stack: string;

beforeAll(async () => {
  const found = await stackImages();
  if ("missing" in found) {
    missing = found.missing;
    return;
  }
  clone = new Clone({}, {});
  stack = `pr-${clone.stack}`;
  // The committed environment, but for images that this machine has; half the time is enough.
  const images = Object.entries(found.images).map(
    ([key, image]) => `  coupon-load-test:${key}: ${image}`,
  );
  const ci = clone.read("Pulumi.ci.yaml").replace("duration: 10s", "duration: 5s");
  clone.write("Pulumi.ci.yaml", `${ci}${images.join("\n")}\n`);
  clone.commit("The base branch");
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
afterAll(() => clone?.remove());

/** What GitHub puts in place of the workflow's expressions. */
const filled = (text: string) =>
  text.replace(/\$\{\{ (.*?) \}\}/g, (_, expression) => {
    const values: Record<string, string> = {
      "github.event.pull_request.number || inputs.number": clone.stack,
      "steps.report.outputs.artifact-url": reports,
    };
    expect(Object.keys(values)).toContain(expression);
    return values[expression];
  });
const allFilled = (env: Record<string, string> = {}) =>
  Object.fromEntries(Object.entries(env).map(([name, value]) => [name, filled(value)]));

/** Files by the name of the artifact that was made of them. */
type Artifacts = Record<string, string[]>;

/**
 * Runs the steps as the runner does: after a failure only those with `if: always()`. Of actions,
 * uploads are looked at; the others prepare a machine.
 *
 * @param cancel whether to interrupt the test, given what it has printed so far
 */
async function runJob(cancel: (output: string) => boolean = () => false) {
  const artifacts: Artifacts = {};
  const codes: Record<string, number> = {};
  let output = "";
  let failed = false;
  for (const step of steps) {
    expect([undefined, "always()"]).toContain(step.if);
    if (failed && !step.if) continue;
    if (step.uses?.startsWith("actions/upload-artifact@")) {
      const { name, path } = step.with!;
      const file = clone.path(path);
      const isFolder = fs.existsSync(file) && fs.statSync(file).isDirectory();
      artifacts[name] = isFolder ? (fs.readdirSync(file, { recursive: true }) as string[]) : [path];
      if (!isFolder) expect(clone.exists(path), `${path} of artifact ${name}`).toBe(true);
    }
    if (!step.run) continue;
    clone.write("build/step.sh", step.run);
    const child = spawn("bash", ["-e", "build/step.sh"], {
      cwd: clone.path(),
      env: {
        ...clone.environment,
        ...allFilled(workflow.jobs["load-test"].env),
        ...allFilled(step.env),
        CI: "true",
        GITHUB_STEP_SUMMARY: clone.path("build/step-summary.md"),
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let printed = "";
    let interrupted = false;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        printed += text;
        if (interrupted || !cancel(printed)) return;
        interrupted = true;
        child.kill("SIGINT");
      });
    }
    codes[step.run] = await new Promise((resolve) =>
      child.once("close", (code) => resolve(code ?? 130)),
    );
    failed ||= codes[step.run] !== 0;
    output += printed;
  }
  return { artifacts, codes, output, failed };
}

describe("the load test of a pull request", { timeout: 15 * 60_000 }, () => {
  const comment = () => clone.read("comment.md");
  // A machine of GitHub's begins without what the last one left.
  beforeEach(() => missing || fs.rmSync(clone.path(`Pulumi.${stack}.yaml`), { force: true }));

  it("has a stack of its own, compares with the base branch, and leaves nothing", async () => {
    clone.write("docs/new.md", "A change that the load test does not depend on.\n");
    clone.commit("The pull request");
    const { artifacts, codes, output, failed } = await runJob();
    expect(failed, output).toBe(false);
    expect(Object.values(codes)).toEqual([0, 0, 0, 0]);
    const runs = clone.runs().filter((name) => name.startsWith(stack));
    expect(runs).toHaveLength(2);
    const [base, head] = runs.map((id) => JSON.parse(clone.read("runs", id, "summary.json")));
    expect(head.baseline.id).toBe(base.id);

    expect(comment()).toContain(`Load test passed: \`${head.id}\``);
    expect(comment()).toMatch(
      /^\| p95 \| [\d.]+ ms \| <= 500 ms \| ok \| [\d.]+ ms \| [+-][\d.]+ % \|$/m,
    );
    expect(comment()).toContain(`baseline: run ${base.id}`);
    expect(comment()).toContain(`[HTML reports of both runs](${reports})`);
    expect(clone.read("build/step-summary.md")).toBe(comment());
    expect(artifacts["load-test-report"]).toContain(`${head.id}/report.html`);
    expect(artifacts["load-test-comment"]).toEqual(["comment.md"]);
    expect(await clone.inDocker()).toEqual([]);
    expect(await clone.changes()).toBe(`?? Pulumi.${stack}.yaml\n`);
  });

  it("fails with the limit that broke, and leaves nothing", async () => {
    const app = clone.read("examples/coupon-api/app.ts");
    const other = app.replace("issued: 201", "issued: 202").replace('issued": 200', 'issued": 202');
    clone.write("examples/coupon-api/app.ts", other);
    clone.commit("A pull request that answers with another status");
    const { codes, output } = await runJob();
    expect(codes["exec scripts/pull-request.sh test"], output).not.toBe(0);
    expect(comment()).toContain("### Load test failed");
    expect(comment()).toContain("**passed checks 0 % is under the limit of 99 %");
    expect(comment()).toContain("baseline: run ");
    expect(codes['make destroy STACK="$STACK"'], output).toBe(0);
    expect(await clone.inDocker()).toEqual([]);
  });

  it("says so where it came to no run, and a cancelled one leaves nothing", async () => {
    fs.rmSync(clone.path("runs"), { recursive: true });
    const { codes, output } = await runJob((printed) => printed.includes("gate open"));
    expect(codes["exec scripts/pull-request.sh test"], output).toBe(130);
    expect(comment()).toContain("### The load test came to no run");
    expect(codes['make destroy STACK="$STACK"'], output).toBe(0);
    await sleep(1000);
    expect(await clone.inDocker()).toEqual([]);
  });
});
