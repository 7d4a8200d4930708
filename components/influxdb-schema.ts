/**
 * What lives inside InfluxDB, as managed resources: the administrator, a database with its
 * retention, and users with one privilege each. Pulumi has no provider for InfluxDB 1.x, so these
 * are dynamic resources over its HTTP API.
 *
 * A dynamic provider is stored in the state as text. It must not use anything but its arguments,
 * Node's globals and the functions of `runner/influxdb.ts`.
 */
import * as pulumi from "@pulumi/pulumi";
import { type Connection, identifier, literal, query } from "../runner/influxdb";

/** How to reach InfluxDB as its administrator. */
export interface AdminConnection {
  url: pulumi.Input<string>;
  adminUsername: pulumi.Input<string>;
  adminPassword: pulumi.Input<string>;
}

/** `AdminConnection` as a provider sees it. */
interface Admin {
  url: string;
  adminUsername: string;
  adminPassword: string;
}

const asAdmin = ({ url, adminUsername, adminPassword }: Admin): Connection => ({
  url,
  username: adminUsername,
  password: adminPassword,
});

/** The diff of properties by name: those in `identity` replace, all others update in place. */
const compare = <State extends object>(
  olds: State,
  news: State,
  identity: (keyof State & string)[],
): pulumi.dynamic.DiffResult => {
  const changed = (Object.keys(news) as (keyof State & string)[]).filter(
    (key) => key !== "__provider" && olds[key] !== news[key],
  );
  return {
    changes: changed.length > 0,
    replaces: changed.filter((key) => identity.includes(key)),
    deleteBeforeReplace: true,
  };
};

interface AdminState extends Admin {
  /** The container this InfluxDB runs in: another one must be waited for again. */
  container: string;
}

/** Proves, from outside the container, that InfluxDB runs and knows its administrator. */
const proveAdmin = async (admin: AdminState): Promise<void> => {
  const deadline = Date.now() + 120_000;
  for (;;) {
    try {
      await query(asAdmin(admin), "SHOW DATABASES");
      return;
    } catch (error) {
      const { status, message } = error as { status?: number; message: string };
      if (status === 401 || status === 403) {
        // A new InfluxDB refuses everything but the making of its first administrator.
        const create =
          `CREATE USER ${identifier(admin.adminUsername)} ` +
          `WITH PASSWORD ${literal(admin.adminPassword)} WITH ALL PRIVILEGES`;
        const made = await query({ url: admin.url }, create).then(
          () => true,
          () => false,
        );
        if (made) continue;
        // The official image's first boot runs a temporary server, so one refusal proves nothing.
      }
      if (Date.now() > deadline) {
        throw new Error(
          status === 401 || status === 403
            ? `InfluxDB at ${admin.url} has an administrator with another password: its volume ` +
                `belongs to a stack whose state is lost. Remove the volume, or restore the state.`
            : message,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, status ? 2000 : 250));
    }
  }
};

const adminProvider: pulumi.dynamic.ResourceProvider<AdminState, AdminState> = {
  async create(inputs) {
    await proveAdmin(inputs);
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
      const set = `SET PASSWORD FOR ${identifier(olds.adminUsername)} = ${literal(news.adminPassword)}`;
      // Also run again after an update that ended half-way: the new password may be set already.
      await query({ ...asAdmin(olds), url: news.url }, set).catch(() => undefined);
    }
    await proveAdmin(news);
    return { outs: news };
  },
  async delete() {
    // InfluxDB refuses to lose its last administrator; the volume's removal takes it along.
  },
};

/** The administrator; once it exists, InfluxDB is proved ready for the resources below. */
export class InfluxDbAdmin extends pulumi.dynamic.Resource {
  declare readonly adminUsername: pulumi.Output<string>;
  declare readonly adminPassword: pulumi.Output<string>;
  declare readonly url: pulumi.Output<string>;

  constructor(
    name: string,
    args: AdminConnection & { container: pulumi.Input<string> },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super(adminProvider, name, { ...args }, secret(opts), "influxdb", "Admin");
  }
}

interface DatabaseState extends Admin {
  database: string;
  retention: string;
}

/** InfluxDB's spelling of a retention (`720h0m0s`) for ours (`30d`). */
const influxDuration = (retention: string): string => {
  const hours = { h: 1, d: 24, w: 168 }[retention.slice(-1)] ?? NaN;
  return `${Number(retention.slice(0, -1)) * hours}h0m0s`;
};

const databaseProvider: pulumi.dynamic.ResourceProvider<DatabaseState, DatabaseState> = {
  async create(inputs) {
    const name = identifier(inputs.database);
    const create =
      `CREATE DATABASE ${name}; ` +
      `ALTER RETENTION POLICY "autogen" ON ${name} DURATION ${inputs.retention} DEFAULT`;
    await query(asAdmin(inputs), create);
    return { id: inputs.database, outs: inputs };
  },
  async read(id, props) {
    const state = props as DatabaseState;
    const [[databases]] = await query(asAdmin(state), "SHOW DATABASES");
    if (!databases?.values?.some(([name]) => name === id)) return {};
    const [[policies]] = await query(
      asAdmin(state),
      `SHOW RETENTION POLICIES ON ${identifier(id as string)}`,
    );
    const policy = policies.values.find((row) => row[policies.columns.indexOf("default")]);
    const duration = String(policy?.[policies.columns.indexOf("duration")]);
    const kept = duration === influxDuration(state.retention);
    return { id, props: { ...state, retention: kept ? state.retention : duration } };
  },
  async diff(_id, olds, news) {
    return compare(olds, news, ["database"]);
  },
  async update(_id, _olds, news) {
    const alter = `ALTER RETENTION POLICY "autogen" ON ${identifier(news.database)} `;
    await query(asAdmin(news), `${alter} DURATION ${news.retention} DEFAULT`);
    return { outs: news };
  },
  async delete(id, props) {
    await query(asAdmin(props), `DROP DATABASE ${identifier(id)}`);
  },
};

/** A database whose points live for `retention` (`12h`, `30d`, `4w`). */
export class InfluxDbDatabase extends pulumi.dynamic.Resource {
  declare readonly database: pulumi.Output<string>;
  declare readonly retention: pulumi.Output<string>;

  constructor(
    name: string,
    args: AdminConnection & { database: pulumi.Input<string>; retention: pulumi.Input<string> },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super(databaseProvider, name, { ...args }, secret(opts), "influxdb", "Database");
  }
}

interface UserState extends Admin {
  username: string;
  password: string;
  database: string;
  privilege: string;
}

/** Sets the user's password and leaves it the one privilege it should have. */
const grant = async (user: UserState): Promise<void> => {
  const name = identifier(user.username);
  const [[users]] = await query(asAdmin(user), "SHOW USERS");
  const exists = users?.values?.some(([each]) => each === user.username);
  const password = literal(user.password);
  await query(
    asAdmin(user),
    exists
      ? `SET PASSWORD FOR ${name} = ${password}; REVOKE ALL PRIVILEGES FROM ${name}`
      : `CREATE USER ${name} WITH PASSWORD ${password}`,
  );
  const [[grants]] = await query(asAdmin(user), `SHOW GRANTS FOR ${name}`);
  const revoke = (grants?.values ?? [])
    .filter(([, privilege]) => privilege !== "NO PRIVILEGES")
    .map(([database]) => `REVOKE ALL ON ${identifier(String(database))} FROM ${name}; `)
    .join("");
  const on = `ON ${identifier(user.database)} TO ${name}`;
  await query(asAdmin(user), `${revoke}GRANT ${user.privilege} ${on}`);
};

const userProvider: pulumi.dynamic.ResourceProvider<UserState, UserState> = {
  async create(inputs) {
    await grant(inputs);
    return { id: inputs.username, outs: inputs };
  },
  async read(id, props) {
    const state = props as UserState;
    const [[users]] = await query(asAdmin(state), "SHOW USERS");
    const user = users?.values?.find(([name]) => name === id);
    if (!user) return {};
    const [[grants]] = await query(asAdmin(state), `SHOW GRANTS FOR ${identifier(id as string)}`);
    const held = (grants?.values ?? []).filter(([, privilege]) => privilege !== "NO PRIVILEGES");
    const asWanted =
      !user[1] &&
      held.length === 1 &&
      held[0][0] === state.database &&
      held[0][1] === state.privilege;
    const described = held.map(([database, privilege]) => `${privilege} on ${database}`).join(", ");
    const privilege = user[1] ? "administrator" : described || "none";
    return { id, props: asWanted ? state : { ...state, privilege } };
  },
  async diff(_id, olds, news) {
    return compare(olds, news, ["username"]);
  },
  async update(_id, _olds, news) {
    await grant(news);
    return { outs: news };
  },
  async delete(id, props) {
    await query(asAdmin(props), `DROP USER ${identifier(id)}`);
  },
};

/** A user that may only read, or only write, one database. */
export class InfluxDbUser extends pulumi.dynamic.Resource {
  declare readonly username: pulumi.Output<string>;
  declare readonly password: pulumi.Output<string>;

  constructor(
    name: string,
    args: AdminConnection & {
      username: pulumi.Input<string>;
      password: pulumi.Input<string>;
      database: pulumi.Input<string>;
      privilege: pulumi.Input<"READ" | "WRITE">;
    },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super(userProvider, name, { ...args }, secret(opts), "influxdb", "User");
  }
}

const secret = (opts?: pulumi.CustomResourceOptions): pulumi.CustomResourceOptions =>
  pulumi.mergeOptions(opts, { additionalSecretOutputs: ["adminPassword", "password"] });
