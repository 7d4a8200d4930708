/** The stack, from top to bottom: place, store, pages, target, cluster, test. */
import * as pulumi from "@pulumi/pulumi";
import { CouponApi } from "./components/coupon-api";
import { Dashboards } from "./components/dashboards";
import { Grafana } from "./components/grafana";
import { InfluxDb } from "./components/influxdb";
import { LoadTest } from "./components/load-test";
import { inDocker, stackNetwork } from "./components/service";
import {
  containerName,
  externalTarget,
  namespaceName,
  operatorName,
  parseConfig,
  projectValues,
  requireClusterPackages,
  requireFreePorts,
  serversName,
  withPorts,
} from "./config";
import { ownScript } from "./k6/profile";
import { storeMemory } from "./runner/needs";

/** Loaded where there is a cluster: most stacks have none, and none of the packages for one. */
const inCluster = () => ({
  ...(require("./components/k6-cluster") as typeof import("./components/k6-cluster")),
  ...(require("./components/kubernetes-service") as typeof import("./components/kubernetes-service")),
});

export = async () => {
  const stack = pulumi.getStack();
  const values = parseConfig(projectValues(pulumi.runtime.allConfig()), process.cwd());
  const config = await withPorts(values, stack);
  requireClusterPackages(config);
  await requireFreePorts(config, stack);
  const { profile, thresholds, script, scriptEnv, scriptSecrets, runId, maxSeries } = config;
  const {
    baseline,
    maxRegression,
    routeLimits,
    starvedGenerator,
    allowedHosts,
    contacts,
    keepData,
  } = config;

  const servers =
    config.platform.kind === "kubernetes"
      ? new (inCluster().Servers)("servers", {
          ...config.platform,
          namespace: serversName(stack),
          keepData,
        })
      : undefined;
  // Of all containers, which are those of servers, of the sample target and of k6. `parseConfig` has
  // none of them in Docker where the servers are in a cluster.
  const network = servers ? undefined : stackNetwork(containerName(stack, "network"));
  const container = (service: string) => ({
    containerName: containerName(stack, service),
    network: network!,
    keepData,
  });
  const place = (service: "influxdb" | "grafana") =>
    servers
      ? servers.place(service, config[service])
      : inDocker(service, { ...container(service), ...config[service] });
  const influxdb = new InfluxDb("influxdb", {
    ...config.influxdb,
    place: place("influxdb"),
    database: "k6",
    memory: storeMemory(profile),
  });
  const grafana = new Grafana("grafana", {
    ...config.grafana,
    place: place("grafana"),
    ...{ influxdb, contacts },
  });
  const dashboards = new Dashboards("dashboards", {
    grafana,
    influxdb,
    stack,
    thresholds,
    contacts,
    profile: script === ownScript ? profile : undefined,
  });
  const target =
    config.target.kind === "sample"
      ? new CouponApi("coupon-api", {
          ...container("coupon-api"),
          ...config.target,
          couponId: profile.couponId,
        })
      : externalTarget(config.target);
  const executor =
    config.executor.kind === "kubernetes"
      ? new (inCluster().K6Cluster)("k6-cluster", {
          ...config.executor,
          namespace: namespaceName(stack),
          release: operatorName(stack),
          reaches: [influxdb, target],
        })
      : config.executor.kind === "docker"
        ? { ...config.executor, network: network! }
        : config.executor;
  const loadTest = new LoadTest("load-test", {
    stack,
    runId,
    script,
    scriptEnv,
    scriptSecrets,
    profile,
    thresholds,
    baseline,
    maxRegression,
    routeLimits,
    starvedGenerator,
    maxSeries,
    executor: "cluster" in executor ? executor.cluster : executor,
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
