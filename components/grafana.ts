/** Grafana, and the provider that manages what is in it. */
import * as pulumi from "@pulumi/pulumi";
import * as grafana from "@pulumiverse/grafana";
import { GrafanaAdmin } from "./grafana-admin";
import { generatedPassword, type Login } from "./influxdb";
import type { AlertContact } from "../runner/contacts";
import type { Reached } from "./cluster";
import type { Place } from "./service";

export interface GrafanaArgs {
  image: string;
  place: Place;
  /** Whom it asks for points, and whom it tells of alerts: it need reach nobody else. */
  influxdb: Reached;
  contacts: AlertContact[];
  /** The mail server for alerts, `host:port`; without one, Grafana sends no mail. */
  smtp?: { host: string; user: string; password: string; from: string };
}

/** A Grafana that only its generated administrator can enter. */
export class Grafana extends pulumi.ComponentResource {
  readonly url: string;
  readonly admin: Login;
  /** Usable once Grafana lets its administrator in. */
  readonly provider: grafana.Provider;
  /** Of its data, with which all that is in it goes. */
  readonly volume: pulumi.CustomResource;
  /** Done once Grafana lets its administrator in. */
  readonly ready: pulumi.Resource;

  constructor(name: string, args: GrafanaArgs, opts?: pulumi.ComponentResourceOptions) {
    super("coupon-load-test:index:Grafana", name, {}, opts);
    const parent = this;
    const { smtp } = args;
    this.url = args.place.url;
    this.admin = {
      username: "admin",
      password: generatedPassword(`${name}-admin-password`, parent),
    };
    // Grafana reads its file only at the first start on a volume, and this one is void from then on.
    // So a change of the administrator's password needs no other container.
    const firstPassword = generatedPassword(`${name}-first-password`, parent);
    // Encrypts the data source's password in Grafana's database; the built-in key is public.
    const secretKey = generatedPassword(`${name}-secret-key`, parent);

    const { volume, instance } = args.place.serve(
      name,
      {
        image: args.image,
        files: [
          { file: "/etc/grafana/admin-password", content: firstPassword },
          { file: "/etc/grafana/secret-key", content: secretKey },
          ...(smtp?.password
            ? [{ file: "/etc/grafana/smtp-password", content: pulumi.secret(smtp.password) }]
            : []),
        ],
        env: {
          GF_SECURITY_ADMIN_PASSWORD: "$__file{/etc/grafana/admin-password}",
          GF_SECURITY_SECRET_KEY: "$__file{/etc/grafana/secret-key}",
          GF_SERVER_ROOT_URL: `${this.url}/`,
          GF_AUTH_ANONYMOUS_ENABLED: "false",
          GF_USERS_ALLOW_SIGN_UP: "false",
          GF_ANALYTICS_REPORTING_ENABLED: "false",
          GF_ANALYTICS_CHECK_FOR_UPDATES: "false",
          GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES: "false",
          // Grafana 12 fetches four apps at its first start, each in its newest version of that day,
          // and again and again the keys that plugins are signed with.
          GF_PLUGINS_PREINSTALL_DISABLED: "true",
          GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED: "true",
          GF_NEWS_NEWS_FEED_ENABLED: "false",
          GF_SECURITY_DISABLE_GRAVATAR: "true",
          ...(smtp && {
            GF_SMTP_ENABLED: "true",
            GF_SMTP_HOST: smtp.host,
            GF_SMTP_FROM_ADDRESS: smtp.from,
            GF_SMTP_USER: smtp.user,
          }),
          ...(smtp?.password && { GF_SMTP_PASSWORD: "$__file{/etc/grafana/smtp-password}" }),
        },
        port: 3000,
        health: "/api/health",
        data: "/var/lib/grafana",
        disk: 1024,
        // As the image has it.
        uid: 472,
        reaches: [
          args.influxdb,
          ...args.contacts.flatMap((each) => (each.kind === "email" ? [] : [portOf(each.url)])),
          ...(smtp ? [{ url: `smtp://${smtp.host}` }] : []),
        ],
        memory: 1024,
        cpus: 2,
      },
      parent,
    );
    this.volume = volume;

    this.ready = new GrafanaAdmin(
      `${name}-admin`,
      { url: this.url, ...this.admin, firstPassword, container: instance },
      { parent, deletedWith: volume },
    );
    this.provider = new grafana.Provider(
      `${name}-provider`,
      {
        // Known before the container exists, so that previews are exact.
        url: this.url,
        auth: pulumi.interpolate`${this.admin.username}:${this.admin.password}`,
      },
      { parent, dependsOn: this.ready },
    );
    this.registerOutputs();
  }
}

/** Of a URL that is a secret, what a network policy may show. */
function portOf(url: string): Reached {
  const { protocol, port } = new URL(url);
  return { url: `${protocol}//any.host${port && `:${port}`}` };
}
