import { describe, expect, test } from "vitest";
import { driftOf, serversInCluster } from "../../scripts/drift";
import { errorsIn, eventsOf } from "../../scripts/events";

const line = (event: object) => `${JSON.stringify(event)}\n`;
const step = (op: string, type: string, name: string, more: object = {}) =>
  line({
    resOutputsEvent: {
      metadata: {
        ...{ op, urn: `urn:pulumi:dev::p::coupon-load-test:index:X$${type}::${name}` },
        ...more,
      },
    },
  });
const changed = (...keys: string[]) => ({
  detailedDiff: Object.fromEntries(keys.map((key) => [key, {}])),
});
const said = (severity: string, message: string) =>
  line({ diagnosticEvent: { severity, message } });
const container = "docker:index/container:Container";

describe("drift", () => {
  test("is none where all is the same", () => {
    const events =
      step("same", container, "influxdb-container") +
      step("refresh", "grafana:oss/folder:Folder", "dashboards-folder") +
      step("update", "X::pulumi:pulumi:Stack", "coupon-load-test-dev") +
      line({ summaryEvent: {} });
    expect(driftOf(eventsOf(events))).toEqual({ rows: [], unseen: [] });
    expect(driftOf([])).toEqual({ rows: [], unseen: [] });
  });

  test("names what has stopped, what is gone and what was changed", () => {
    const outputs = { url: "u", password: "[secret]", privilege: "READ" };
    const rights = {
      detailedDiff: null,
      old: { outputs },
      new: { outputs: { ...outputs, privilege: "WRITE" } },
    };
    const events =
      step("update", container, "influxdb-container", changed("mustRun", "ports")) +
      step("delete", container, "grafana-container") +
      step("update", container, "coupon-api-container", changed("memory")) +
      step("update", "grafana:oss/dataSource:DataSource", "source", changed("url", "name")) +
      step("update", "pulumi-nodejs:dynamic/influxdb:User", "influxdb-grafana", rights) +
      step("update", "grafana:oss/folder:Folder", "dashboards-folder");
    expect(driftOf(eventsOf(events)).rows).toEqual([
      ["influxdb-container", "stopped"],
      ["grafana-container", "gone"],
      ["coupon-api-container", "changed: memory"],
      ["source", "changed: url, name"],
      ["influxdb-grafana", "changed: privilege"],
      ["dashboards-folder", "changed: its properties"],
    ]);
  });

  test("tells once what could not be looked at", () => {
    const gone =
      "<{%reset%}>Preview failed: InfluxDB does not answer at http://127.0.0.1:1\n<{%reset%}>";
    const events =
      said("warning", "using a plugin from PATH") +
      said("error", gone) +
      said("error", gone) +
      said("error", "<{%reset%}>preview failed<{%reset%}>");
    expect(driftOf(eventsOf(events)).unseen).toEqual([
      "InfluxDB does not answer at http://127.0.0.1:1",
    ]);
  });
});

describe("the servers of a stack", () => {
  const admins = ["influxdb", "grafana"].map((name) => ({
    urn: `urn:pulumi:dev::p::pulumi-nodejs:dynamic/${name}:Admin::${name}-admin`,
    type: `pulumi-nodejs:dynamic/${name}:Admin`,
    outputs: { url: `http://192.0.2.10/${name}` },
  }));
  const made = (parents: string, type: string) => ({ urn: `urn:p::${parents}$${type}::a`, type });

  test("in a cluster are what a service there is made of", () => {
    const claim = made(
      "coupon-load-test:index:InfluxDb$coupon-load-test:kubernetes:Service",
      "kubernetes:core/v1:PersistentVolumeClaim",
    );
    const component = made(
      "coupon-load-test:index:InfluxDb",
      "coupon-load-test:kubernetes:Service",
    );
    const quota = made("coupon-load-test:index:K6Cluster", "kubernetes:core/v1:ResourceQuota");
    expect(serversInCluster([component, claim, quota, ...admins])).toEqual({
      urns: [claim.urn],
      urls: ["http://192.0.2.10/influxdb", "http://192.0.2.10/grafana"],
    });
  });

  test("in Docker are none there, whatever else is", () => {
    const quota = made("coupon-load-test:index:K6Cluster", "kubernetes:core/v1:ResourceQuota");
    const own = made("coupon-load-test:docker:Service", container);
    expect(serversInCluster([quota, own, ...admins])).toEqual({ urns: [], urls: [] });
  });
});

test("errors are told in one line each, in their provider's words", () => {
  const events =
    said("info", "a plan") +
    said(
      "error",
      "sdk-v2/provider2.go:571: sdk.helper_schema: no image: unknown: provider=docker@5.2.0\n",
    ) +
    said("error", "<{%reset%}>1 error occurred:\n\t* no image\n\n<{%reset%}>") +
    said(
      "error",
      "2 errors occurred:\n\t* 'influxdb' timed out waiting to be Ready\n" +
        "\t* [Pod a/influxdb-0]: containers with unready status: [influxdb][ImagePullBackOff]\n",
    ) +
    said(
      "error",
      "Running program '/p' failed with an unhandled exception:\nError: no\n    at a.ts:1:2",
    );
  expect(errorsIn(eventsOf(events))).toEqual([
    "no image: unknown",
    "1 error occurred: * no image",
    "[Pod a/influxdb-0]: containers with unready status: [influxdb][ImagePullBackOff]",
    "Running program '/p' failed with an unhandled exception: Error: no",
  ]);
  expect(errorsIn([])).toEqual([]);
});
