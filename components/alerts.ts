/** Grafana's alerting: the rules and, if there is one, who is told. */
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import * as grafana from "@pulumiverse/grafana";
import { alertInterval, alertRules } from "../dashboards/alerts";
import type { Thresholds } from "../k6/profile";
import type { AlertContact, ContactTest } from "../runner/contacts";
import type { Grafana } from "./grafana";

export interface AlertsArgs {
  stack: string;
  grafana: Grafana;
  thresholds: Thresholds;
  dataSourceUid: pulumi.Input<string>;
  folderUid: pulumi.Input<string>;
  /** Where a message leads. */
  dashboardUrl: string;
  /** Without any, Grafana shows alerts and tells nobody. */
  contacts: AlertContact[];
}

/** The rules as one group; with contacts, a contact point and the policy that leads to it. */
export class Alerts extends pulumi.ComponentResource {
  /** @param inGrafana where they are made, as for all that is in Grafana */
  constructor(name: string, args: AlertsArgs, inGrafana: pulumi.CustomResourceOptions) {
    super("coupon-load-test:index:Alerts", name, {}, { parent: inGrafana.parent });
    const opts = { ...inGrafana, parent: this };
    new grafana.alerting.RuleGroup(
      `${name}-rules`,
      {
        name: "coupon-issue",
        folderUid: args.folderUid,
        intervalSeconds: alertInterval,
        rules: alertRules(args.thresholds).map((rule) => ({
          name: rule.name,
          for: rule.lasting,
          condition: "fires",
          noDataState: "OK",
          execErrState: rule.firesWithoutStore ? "Alerting" : "OK",
          labels: { stack: args.stack },
          annotations: { summary: rule.summary, dashboard: args.dashboardUrl },
          datas: [
            {
              refId: "points",
              datasourceUid: args.dataSourceUid,
              relativeTimeRange: { from: rule.seconds, to: 0 },
              model: JSON.stringify({
                refId: "points",
                rawQuery: true,
                query: rule.query,
                resultFormat: "time_series",
                intervalMs: 1000,
                maxDataPoints: 43200,
              }),
            },
            expression("value", { type: "reduce", expression: "points", reducer: "last" }),
            expression("fires", { type: "math", expression: rule.condition }),
          ],
        })),
      },
      opts,
    );
    if (args.contacts.length === 0) return;

    const { url, admin } = args.grafana;
    const test: pulumi.Input<ContactTest> = pulumi.output({
      grafana: { url, ...admin },
      contacts: args.contacts,
    });
    // A contact that cannot be reached is told of now, not by the silence after an alert.
    const tested = new command.local.Command(
      `${name}-contacts-tested`,
      {
        interpreter: ["node", "launch.js"],
        create: "runner/test-contacts.ts",
        // For a new password of Grafana's, which is no reason to bother anybody.
        update: "runner/print-previous.ts",
        stdin: pulumi.secret(pulumi.jsonStringify(test)),
        triggers: [pulumi.secret(JSON.stringify(args.contacts))],
      },
      { parent: this, dependsOn: args.grafana.ready },
    );

    const urls = (kind: "webhook" | "slack") =>
      args.contacts.flatMap((each) =>
        each.kind === kind ? [{ url: pulumi.secret(each.url) }] : [],
      );
    const contactPoint = new grafana.alerting.ContactPoint(
      `${name}-contact`,
      {
        name: "load-test",
        webhooks: urls("webhook"),
        slacks: urls("slack"),
        emails: args.contacts.flatMap((each) =>
          each.kind === "email" ? [{ addresses: each.addresses }] : [],
        ),
      },
      { ...opts, dependsOn: tested },
    );
    new grafana.alerting.NotificationPolicy(
      `${name}-policy`,
      {
        contactPoint: contactPoint.name,
        groupBies: ["alertname"],
        // A load test is short: what is to be known is to be known at once.
        groupWait: "1s",
        groupInterval: "10s",
        repeatInterval: "4h",
      },
      opts,
    );
  }
}

/** One of Grafana's server-side expressions, as a query of a rule. */
const expression = (refId: string, model: object) => ({
  refId,
  datasourceUid: "__expr__",
  relativeTimeRange: { from: 0, to: 0 },
  model: JSON.stringify({ refId, ...model }),
});
