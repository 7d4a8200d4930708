/**
 * Grafana's administrator as a managed resource. Grafana's provider goes by the administrator's
 * password, so it cannot change it. Pulumi stores this provider in the state, as those of
 * `influxdb-schema.ts`: it uses nothing but Node's globals.
 */
import * as pulumi from "@pulumi/pulumi";
import { ensureAdministrator, type GrafanaLogin } from "../runner/grafana";
import { compare, type Inputs, type Provider, secret } from "./dynamic";

/** The container is part of it: another one must be waited for again. */
type AdminState = GrafanaLogin & { firstPassword: string; container: string };

const adminProvider: Provider<AdminState> = {
  async create(inputs) {
    await ensureAdministrator(inputs, [inputs.firstPassword]);
    return { id: inputs.username, outs: inputs };
  },
  async read(id, props) {
    return { id, props };
  },
  async diff(_id, olds, news) {
    return compare(olds, news, ["username"]);
  },
  async update(_id, olds, news) {
    const before = olds.password === news.password ? [] : [olds.password];
    // The first one is in force again where the volume is another.
    await ensureAdministrator(news, before, [news.firstPassword]);
    return { outs: news };
  },
  async delete() {
    // It goes with Grafana's volume.
  },
};

/** The administrator; once it exists, Grafana is proved ready and the password in force. */
export class GrafanaAdmin extends pulumi.dynamic.Resource {
  constructor(name: string, args: Inputs<AdminState>, opts?: pulumi.CustomResourceOptions) {
    super(adminProvider, name, { ...args }, secret(opts), "grafana", "Admin");
  }
}
