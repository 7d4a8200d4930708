/** What Grafana shows and watches: the data source, the folder, two dashboards, alert rules. */
import * as pulumi from "@pulumi/pulumi";
import * as grafana from "@pulumiverse/grafana";
import { couponIssueDashboard } from "../dashboards/coupon-issue";
import { runsDashboard, runsUid } from "../dashboards/runs";
import type { LoadProfile, Thresholds } from "../k6/profile";
import type { AlertContact } from "../runner/contacts";
import { Alerts } from "./alerts";
import type { Grafana } from "./grafana";
import type { InfluxDb } from "./influxdb";

export interface DashboardsArgs {
  stack: string;
  grafana: Grafana;
  influxdb: InfluxDb;
  thresholds: Thresholds;
  /** What is offered, if the script follows it. */
  profile?: LoadProfile;
  /** Who is told of alerts. */
  contacts: AlertContact[];
}

/** The data source, the dashboards and the alert rules, under fixed uids that links can rely on. */
export class Dashboards extends pulumi.ComponentResource {
  /** Opens the dashboard on its default time range. */
  readonly url: string;

  constructor(name: string, args: DashboardsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("coupon-load-test:index:Dashboards", name, {}, opts);
    const { influxdb } = args;
    const uid = "coupon-issue";
    const { stack, thresholds, profile, contacts } = args;
    // Known before Grafana runs: it redirects from the bare uid to the page.
    this.url = `${args.grafana.url}/d/${uid}`;
    // Grafana's objects go with its data: destroy must not ask a Grafana that has stopped.
    const inGrafana = {
      parent: this,
      provider: args.grafana.provider,
      deletedWith: args.grafana.volume,
    };

    const dataSource = new grafana.oss.DataSource(
      `${name}-influxdb`,
      {
        uid: "k6-influxdb",
        type: "influxdb",
        name: "k6",
        url: influxdb.networkUrl ?? influxdb.url,
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
    const dashboard = (uid: string, model: (dataSourceUid: string) => object) =>
      new grafana.oss.Dashboard(
        `${name}-${uid}`,
        {
          folder: folder.uid,
          overwrite: true,
          configJson: dataSource.uid.apply((source) => JSON.stringify(model(source))),
        },
        inGrafana,
      );
    const { retention } = influxdb;
    dashboard(uid, (dataSourceUid) =>
      couponIssueDashboard({ uid, dataSourceUid, thresholds, retention, profile }),
    );
    dashboard(runsUid, (dataSourceUid) =>
      runsDashboard({ uid: runsUid, runUid: uid, dataSourceUid, thresholds }),
    );
    new Alerts(
      `${name}-alerts`,
      {
        ...{ stack, grafana: args.grafana, thresholds, contacts },
        dataSourceUid: dataSource.uid,
        folderUid: folder.uid,
        dashboardUrl: this.url,
      },
      inGrafana,
    );
    this.registerOutputs();
  }
}
