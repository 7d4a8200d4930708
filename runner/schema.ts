/**
 * What lives inside InfluxDB: the administrator, a database with its retention, users with one
 * privilege each. `components/influxdb-schema.ts` makes Pulumi resources of these functions, the
 * rehearsal calls them as they are. Each can be called again without harm.
 */
import { type Connection, identifier, literal, query } from "./influxdb";

/** How to reach InfluxDB as its administrator. */
export interface Admin {
  url: string;
  adminUsername: string;
  adminPassword: string;
}

export interface Database {
  database: string;
  /** How long points are kept: `12h`, `30d`, `4w`. */
  retention: string;
}

/** A retention policy that is not the database's default. */
export interface RetentionPolicy extends Database {
  name: string;
}

export interface User {
  username: string;
  password: string;
  database: string;
  privilege: "READ" | "WRITE";
}

export const asAdmin = ({ url, adminUsername, adminPassword }: Admin): Connection => ({
  url,
  username: adminUsername,
  password: adminPassword,
});

/**
 * Makes the administrator if InfluxDB has none yet, and waits until it is let in: proof, from
 * outside its container, that InfluxDB is ready.
 *
 * @throws Error after two minutes without success
 */
export async function ensureAdmin(admin: Admin): Promise<void> {
  const deadline = Date.now() + 120_000;
  for (;;) {
    try {
      // One that a container takes while it starts may never be answered.
      await query({ ...asAdmin(admin), seconds: 2 }, "SHOW DATABASES");
      return;
    } catch (error) {
      const { status, message } = error as { status?: number; message: string };
      const refused = status === 401 || status === 403;
      if (refused) {
        // A new InfluxDB refuses everything but the making of its first administrator.
        const create =
          `CREATE USER ${identifier(admin.adminUsername)} ` +
          `WITH PASSWORD ${literal(admin.adminPassword)} WITH ALL PRIVILEGES`;
        const made = await query({ url: admin.url, seconds: 10 }, create).then(
          () => true,
          () => false,
        );
        if (made) continue;
        // The official image's first boot runs a temporary server, so one refusal proves nothing.
      }
      if (Date.now() > deadline) {
        throw new Error(
          refused
            ? `InfluxDB at ${admin.url} has an administrator with another password: its volume ` +
                `belongs to a stack whose state is lost. Remove the volume, or restore the state.`
            : message,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, refused ? 2000 : 250));
    }
  }
}

/**
 * InfluxDB drops points a shard at a time, and takes no policy that is shorter than its shards: they
 * get the length that goes with the policy's.
 */
const ownShards = "SHARD DURATION 0s";

/** Makes the database if it is not there, and gives it its retention. */
export async function ensureDatabase(admin: Admin, { database, retention }: Database) {
  const name = identifier(database);
  await query(
    asAdmin(admin),
    `CREATE DATABASE ${name}; ` +
      `ALTER RETENTION POLICY "autogen" ON ${name} DURATION ${retention} ${ownShards} DEFAULT`,
  );
}

/** A database's retention policies, by column; `undefined` without the database. */
export async function policiesOf(admin: Admin, database: string) {
  const [[databases]] = await query(asAdmin(admin), "SHOW DATABASES");
  if (!databases?.values?.some(([name]) => name === database)) return undefined;
  const show = `SHOW RETENTION POLICIES ON ${identifier(database)}`;
  const [[{ columns, values }]] = await query(asAdmin(admin), show);
  return values.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index]])));
}

/** The database's retention as InfluxDB spells it (`720h0m0s`); `undefined` without a database. */
export async function retentionOf(admin: Admin, database: string): Promise<string | undefined> {
  const policies = await policiesOf(admin, database);
  return policies && String(policies.find((policy) => policy.default)?.duration);
}

/** Makes a retention policy beside the default one, and gives it its duration. */
export async function ensureRetentionPolicy(
  admin: Admin,
  { name, database, retention }: RetentionPolicy,
) {
  const on = `${identifier(name)} ON ${identifier(database)} DURATION ${retention}`;
  // InfluxDB takes the same policy twice, but refuses another duration under a known name.
  const changed = (await durationOf(admin, database, name)) !== undefined;
  const made = changed
    ? `ALTER RETENTION POLICY ${on} ${ownShards}`
    : `CREATE RETENTION POLICY ${on} REPLICATION 1`;
  await query(asAdmin(admin), made);
}

/** A policy's duration as InfluxDB spells it; `undefined` without that policy or its database. */
export async function durationOf(
  admin: Admin,
  database: string,
  name: string,
): Promise<string | undefined> {
  const policy = (await policiesOf(admin, database))?.find((each) => each.name === name);
  return policy && String(policy.duration);
}

/** InfluxDB's spelling of a retention: `30d` is `720h0m0s`. */
export function influxDuration(retention: string): string {
  const hours = { h: 1, d: 24, w: 168 }[retention.slice(-1)] ?? NaN;
  return `${Number(retention.slice(0, -1)) * hours}h0m0s`;
}

/** Makes the user if it is not there, sets its password and leaves it this one privilege. */
export async function ensureUser(admin: Admin, user: User): Promise<void> {
  const name = identifier(user.username);
  const held = await privilegesOf(admin, user.username);
  const password = literal(user.password);
  const statements = [
    held
      ? `SET PASSWORD FOR ${name} = ${password}`
      : `CREATE USER ${name} WITH PASSWORD ${password}`,
    `REVOKE ALL PRIVILEGES FROM ${name}`,
    ...(held ?? [])
      .filter(({ privilege }) => privilege !== "ADMIN")
      .map(({ database }) => `REVOKE ALL ON ${identifier(database)} FROM ${name}`),
    `GRANT ${user.privilege} ON ${identifier(user.database)} TO ${name}`,
  ];
  await query(asAdmin(admin), statements.join("; "));
}

/** What a user may do, by database; `undefined` when there is no such user. */
export async function privilegesOf(
  admin: Admin,
  username: string,
): Promise<{ database: string; privilege: string }[] | undefined> {
  const [[users]] = await query(asAdmin(admin), "SHOW USERS");
  const user = users?.values?.find(([name]) => name === username);
  if (!user) return undefined;
  const [[grants]] = await query(asAdmin(admin), `SHOW GRANTS FOR ${identifier(username)}`);
  const held = (grants?.values ?? [])
    .map(([database, privilege]) => ({ database: String(database), privilege: String(privilege) }))
    .filter(({ privilege }) => privilege !== "NO PRIVILEGES");
  return user[1] ? [{ database: "every database", privilege: "ADMIN" }, ...held] : held;
}
