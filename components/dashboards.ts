/** What Grafana shows: the data source, the folder and the dashboard. */
import * as pulumi from "@pulumi/pulumi";
import * as grafana from "@pulumiverse/grafana";
import { couponIssueDashboard } from "../dashboards/coupon-issue";
import type { Thresholds } from "../k6/profile";
import type { Grafana } from "./grafana";
import type { InfluxDb } from "./influxdb";

export interface DashboardsArgs {
  grafana: Grafana;
  influxdb: InfluxDb;
  thresholds: Thresholds;
  /** Iterations a second that the profile asks for, if the script follows it. */
  arrivalRate?: number;
}

/** The data source and the dashboard, under fixed uids that links can rely on. */
export class Dashboards extends pulumi.ComponentResource {
  /** Opens the dashboard on its default time range. */
  readonly url: string;

  constructor(name: string, args: DashboardsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("coupon-load-test:index:Dashboards", name, {}, opts);
    const { influxdb } = args;
    const uid = "coupon-issue";
    // Known before Grafana runs: it redirects from the bare uid to the page.
    this.url = `${args.grafana.url}/d/${uid}`;
    // Grafana's objects go with its container: destroy must not ask a Grafana that has stopped.
    const inGrafana = {
      parent: this,
      provider: args.grafana.provider,
      deletedWith: args.grafana.container,
    };

    const dataSource = new grafana.oss.DataSource(
      `${name}-influxdb`,
      {
        uid: "k6-influxdb",
        type: "influxdb",
        name: "k6",
        url: influxdb.networkUrl,
        username: influxdb.reader.username,
        isDefault: true,
        // Grafana 12 reads the first, releases before 9.4 the second.
        jsonDataEncoded: JSON.stringify({ dbName: influxdb.database, httpMode: "GET" }),
        databaseName: influxdb.database,
        secureJsonDataEncoded: pulumi.jsonStringify({ password: influxdb.reader.password }),
      },
      inGrafana,
    );
    const folder = new grafana.oss.Folder(
      `${name}-folder`,
      { uid: "load-tests", title: "Load tests" },
      inGrafana,
    );
    new grafana.oss.Dashboard(
      `${name}-coupon-issue`,
      {
        folder: folder.uid,
        overwrite: true,
        configJson: dataSource.uid.apply((dataSourceUid) =>
          JSON.stringify(
            couponIssueDashboard({
              uid,
              dataSourceUid,
              thresholds: args.thresholds,
              arrivalRate: args.arrivalRate,
            }),
          ),
        ),
      },
      inGrafana,
    );
    this.registerOutputs();
  }
}
