/**
 * What lives inside InfluxDB, as managed resources. Pulumi has no provider for InfluxDB 1.x, so
 * these are dynamic resources over the functions of `runner/schema.ts`.
 *
 * Pulumi stores a dynamic provider in the state as text, together with the functions it calls, so
 * that refresh and destroy need no program. These must use nothing but Node's globals.
 */
import * as pulumi from "@pulumi/pulumi";
import { identifier, literal, query } from "../runner/influxdb";
import {
  type Admin,
  asAdmin,
  type Database,
  durationOf,
  ensureAdmin,
  ensureDatabase,
  ensureRetentionPolicy,
  ensureUser,
  influxDuration,
  privilegesOf,
  type RetentionPolicy,
  retentionOf,
  type User,
} from "../runner/schema";
import { compare, type Inputs, type Provider, secret } from "./dynamic";

/** The container is part of it: another one must be waited for again. */
type AdminState = Admin & { container: string };

const adminProvider: Provider<AdminState> = {
  async create(inputs) {
    await ensureAdmin(inputs);
    return { id: inputs.adminUsername, outs: inputs };
  },
  async read(id, props) {
    return { id, props };
  },
  async diff(_id, olds, news) {
    return compare(olds, news, ["adminUsername"]);
  },
  async update(_id, olds, news) {
    if (olds.adminPassword !== news.adminPassword) {
      // Refused when an update that ended half-way has set the new password already.
      const user = { ...asAdmin(olds), url: news.url };
      const set = `SET PASSWORD FOR ${identifier(olds.adminUsername)} = ${literal(news.adminPassword)}`;
      await query(user, set).catch(() => undefined);
    }
    await ensureAdmin(news);
    return { outs: news };
  },
  async delete() {
    // InfluxDB refuses to lose its last administrator; the volume's removal takes it along.
  },
};

/** The administrator; once it exists, InfluxDB is proved ready for the resources below. */
export class InfluxDbAdmin extends pulumi.dynamic.Resource {
  constructor(name: string, args: Inputs<AdminState>, opts?: pulumi.CustomResourceOptions) {
    super(adminProvider, name, { ...args }, secret(opts), "influxdb", "Admin");
  }
}

const databaseProvider: Provider<Admin & Database> = {
  async create(inputs) {
    await ensureDatabase(inputs, inputs);
    return { id: inputs.database, outs: inputs };
  },
  async read(id, props) {
    const state = props as Admin & Database;
    const found = await retentionOf(state, id as string);
    if (found === undefined) return {};
    const retention = found === influxDuration(state.retention) ? state.retention : found;
    return { id, props: { ...state, retention } };
  },
  async diff(_id, olds, news) {
    return compare(olds, news, ["database"]);
  },
  async update(_id, _olds, news) {
    await ensureDatabase(news, news);
    return { outs: news };
  },
  async delete(id, props) {
    await query(asAdmin(props), `DROP DATABASE ${identifier(id)}`);
  },
};

/** A database and how long its points are kept. */
export class InfluxDbDatabase extends pulumi.dynamic.Resource {
  constructor(name: string, args: Inputs<Admin & Database>, opts?: pulumi.CustomResourceOptions) {
    super(databaseProvider, name, { ...args }, secret(opts), "influxdb", "Database");
  }
}

const retentionPolicyProvider: Provider<Admin & RetentionPolicy> = {
  async create(inputs) {
    await ensureRetentionPolicy(inputs, inputs);
    return { id: inputs.name, outs: inputs };
  },
  async read(id, props) {
    const state = props as Admin & RetentionPolicy;
    const found = await durationOf(state, state.database, id as string);
    if (found === undefined) return {};
    const retention = found === influxDuration(state.retention) ? state.retention : found;
    return { id, props: { ...state, retention } };
  },
  async diff(_id, olds, news) {
    return compare(olds, news, ["database", "name"]);
  },
  async update(_id, _olds, news) {
    await ensureRetentionPolicy(news, news);
    return { outs: news };
  },
  async delete(id, props) {
    const on = `${identifier(id)} ON ${identifier(props.database)}`;
    await query(asAdmin(props), `DROP RETENTION POLICY ${on}`);
  },
};

/** A retention policy beside the database's default, for what is to be kept longer. */
export class InfluxDbRetentionPolicy extends pulumi.dynamic.Resource {
  constructor(
    name: string,
    args: Inputs<Admin & RetentionPolicy>,
    opts?: pulumi.CustomResourceOptions,
  ) {
    super(retentionPolicyProvider, name, { ...args }, secret(opts), "influxdb", "RetentionPolicy");
  }
}

/** In the state, `privilege` is what the user really holds. */
type UserState = Admin & Omit<User, "privilege"> & { privilege: string };

const userProvider: Provider<UserState> = {
  async create(inputs) {
    await ensureUser(inputs, inputs as Admin & User);
    return { id: inputs.username, outs: inputs };
  },
  async read(id, props) {
    const state = props as UserState;
    const held = await privilegesOf(state, id as string);
    if (!held) return {};
    const [only] = held;
    const asWanted = held.length === 1 && only.database === state.database;
    const described = held.map(({ database, privilege }) => `${privilege} on ${database}`);
    const privilege = asWanted ? only.privilege : described.join(", ") || "none";
    return { id, props: { ...state, privilege } };
  },
  async diff(_id, olds, news) {
    return compare(olds, news, ["username"]);
  },
  async update(_id, _olds, news) {
    await ensureUser(news, news as Admin & User);
    return { outs: news };
  },
  async delete(id, props) {
    await query(asAdmin(props), `DROP USER ${identifier(id)}`);
  },
};

/** A user that may only read, or only write, one database. */
export class InfluxDbUser extends pulumi.dynamic.Resource {
  constructor(name: string, args: Inputs<Admin & User>, opts?: pulumi.CustomResourceOptions) {
    super(userProvider, name, { ...args }, secret(opts), "influxdb", "User");
  }
}
