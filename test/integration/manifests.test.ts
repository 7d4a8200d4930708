/** What a run makes in a cluster, against the schemas of Kubernetes and of the k6 operator. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { defaultProfile } from "../../k6/profile";
import { filesOf, gateManifests, testRun } from "../../runner/test-run";
import type { Cluster } from "../../runner/types";
import { onPath, operatorChart } from "../support/images";
import { operatorPods } from "../support/operator-pods";
import { id } from "../support/run";

const cluster: Cluster = {
  kind: "kubernetes",
  ...{ context: "load", namespace: "coupon-load-test-dev", serviceAccount: "k6" },
  ...{ image: "grafana/k6:1.8.1", starterImage: "starter:1", parallelism: 2, cpu: "500m" },
  binary: "k6",
};

let folder: string;
let kubeconform: string;
let missing: string | undefined;

beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "manifests-"));
  await onPath("kubeconform").then(
    ([found]) => (kubeconform = found),
    ({ message }) => (missing = message),
  );
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

/** What kubeconform finds wrong with manifests; nothing, if nothing is. */
function complaints(manifests: object[], schemas: string): string[] {
  const files = manifests.map((manifest, i) => {
    const file = path.join(folder, `${i}.json`);
    fs.writeFileSync(file, JSON.stringify(manifest));
    return file;
  });
  const options = ["-strict", "-output=json", "-schema-location", schemas];
  const { stdout, stderr } = spawnSync(kubeconform, [...options, ...files], { encoding: "utf8" });
  expect(stderr).toBe("");
  const { resources } = JSON.parse(stdout) as { resources: { msg: string }[] };
  return resources.map(({ msg }) => msg);
}

interface Schema {
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema | boolean;
}

/** The schema of a resource's definition, with nothing allowed that it does not name. */
function strict(schema: Schema): Schema {
  const { properties, items, additionalProperties: more } = schema;
  const named = Object.entries(properties ?? {}).map(([key, each]) => [key, strict(each)]);
  return {
    ...schema,
    ...(properties && { properties: Object.fromEntries(named), additionalProperties: false }),
    ...(items && { items: strict(items) }),
    ...(typeof more === "object" && { additionalProperties: strict(more) }),
  };
}

describe("the k6 operator", () => {
  let schemas: string;

  beforeEach(async ({ skip }) => {
    const chart = await operatorChart();
    if ("missing" in chart) return skip(chart.missing);
    const file = path.join(chart.path, "templates/crds/testrun.yaml");
    // Without what Helm fills in, which is not in the schema.
    const text = fs.readFileSync(file, "utf8").replace(/^.*\{\{.*\n/gm, "");
    const [{ schema }] = parse(text).spec.versions;
    fs.writeFileSync(
      path.join(folder, "testrun_v1alpha1.json"),
      JSON.stringify(strict(schema.openAPIV3Schema)),
    );
    schemas = path.join(folder, "{{.ResourceKind}}_{{.ResourceAPIVersion}}.json");
  });

  test("takes the TestRun", () => {
    expect(complaints([testRun(defaultProfile, cluster, id)], schemas)).toEqual([]);
  });

  test.each<[string, object, string]>([
    ["a misspelt key", { parallelizm: 2 }, "'parallelizm'"],
    ["a misspelt key of a runner", { runner: { enviroment: [] } }, "'enviroment'"],
    ["a value of another kind", { parallelism: "2" }, "want integer"],
  ])("would take no TestRun with %s", (_, wrong, complaint) => {
    const { spec, ...rest } = testRun(defaultProfile, cluster, id);
    const [found] = complaints([{ ...rest, spec: { ...spec, ...wrong } }], schemas);
    expect(found).toContain(complaint);
  });
});

describe("Kubernetes", () => {
  let schemas: string;

  beforeEach(({ skip }) => {
    // As packages lay out such files.
    const all = path.join(path.dirname(kubeconform), "../share/kubernetes-schemas");
    const versions = fs.existsSync(all) ? fs.readdirSync(all) : [];
    const newest = versions
      .filter((name) => name.endsWith("-standalone-strict"))
      .sort()
      .at(-1);
    if (!newest) return skip("there are no schemas of Kubernetes beside kubeconform");
    schemas = path.join(all, newest, "{{.ResourceKind}}{{.KindSuffix}}.json");
  });

  test("takes the gate's pod, and what it and the runners get", () => {
    const gate = gateManifests(cluster, [{ url: "http://10.0.0.1:8086/ping", mustBeOk: true }]);
    const files = filesOf(id, Buffer.from("archive").toString("base64"), "{}", "");
    expect(complaints([...gate, ...files], schemas)).toEqual([]);
  });

  test("takes the pods that the operator makes of the TestRun", () => {
    const pods = operatorPods(testRun(defaultProfile, cluster, id));
    const whole = pods.map((pod) => ({ apiVersion: "v1", kind: "Pod", ...pod }));
    expect(complaints(whole, schemas)).toEqual([]);
  });

  test("would take no pod with a misspelt key", () => {
    const [, { spec, ...rest }] = gateManifests(cluster, []);
    const [found] = complaints([{ ...rest, spec: { ...spec, hostnetwork: false } }], schemas);
    expect(found).toContain("'hostnetwork'");
  });
});
