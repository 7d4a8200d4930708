/** The stack, from top to bottom: store, pages, target, cluster, test. */
import * as pulumi from "@pulumi/pulumi";
import { CouponApi } from "./components/coupon-api";
import { Dashboards } from "./components/dashboards";
import { Grafana } from "./components/grafana";
import { InfluxDb } from "./components/influxdb";
import { K6Cluster } from "./components/k6-cluster";
import { LoadTest } from "./components/load-test";
import { stackNetwork } from "./components/service";
import {
  containerName,
  namespaceName,
  operatorName,
  parseConfig,
  projectValues,
  requireFreePorts,
  withPorts,
} from "./config";
import { arrivalRate, ownScript } from "./k6/profile";

export = async () => {
  const stack = pulumi.getStack();
  const values = parseConfig(projectValues(pulumi.runtime.allConfig()), process.cwd());
  const config = await withPorts(values, stack);
  await requireFreePorts(config, stack);
  const { profile, thresholds, script, runId, maxSeries, baseline, maxRegression } = config;
  const { allowedHosts, keepData } = config;

  const network = stackNetwork(containerName(stack, "network"));
  const named = (service: string) => ({
    containerName: containerName(stack, service),
    network,
    keepData,
  });
  const influxdb = new InfluxDb("influxdb", {
    ...named("influxdb"),
    ...config.influxdb,
    database: "k6",
  });
  const grafana = new Grafana("grafana", { ...named("grafana"), ...config.grafana });
  const dashboards = new Dashboards("dashboards", {
    grafana,
    influxdb,
    stack,
    thresholds,
    contacts: config.contacts,
    arrivalRate: script === ownScript ? arrivalRate(profile) : undefined,
  });
  const target =
    config.target.kind === "sample"
      ? new CouponApi("coupon-api", {
          ...named("coupon-api"),
          ...config.target,
          couponId: profile.couponId,
        })
      : { url: config.target.baseUrl, version: "external" };
  const executor =
    config.executor.kind === "kubernetes"
      ? new K6Cluster("k6-cluster", {
          ...config.executor,
          namespace: namespaceName(stack),
          release: operatorName(stack),
          reaches: [influxdb, target],
        })
      : config.executor;
  const loadTest = new LoadTest("load-test", {
    stack,
    runId,
    script,
    profile,
    thresholds,
    baseline,
    maxRegression,
    maxSeries,
    executor: executor instanceof K6Cluster ? executor.cluster : executor,
    network,
    influxdb,
    target,
    allowedHosts,
    dashboardUrl: dashboards.url,
    after: [influxdb, dashboards, target, executor].filter(
      (each) => each instanceof pulumi.ComponentResource,
    ),
  });

  return {
    grafanaUrl: grafana.url,
    dashboardUrl: loadTest.lastPassedRun.dashboardUrl,
    influxdbUrl: influxdb.url,
    grafanaAdmin: pulumi.secret(grafana.admin),
    influxdbReader: pulumi.secret(influxdb.reader),
    lastPassedRun: loadTest.lastPassedRun,
  };
};
