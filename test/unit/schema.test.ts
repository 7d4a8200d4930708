/**
 * The providers of InfluxDB's resources, run as Pulumi runs them: compiled by TypeScript with the
 * project's own options, stored as text, and brought back from it; against a model of InfluxDB's
 * answers.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type Provider, recordPulumi, requireAsPulumi, revived } from "../support/pulumi-mocks";

// On a busy machine, what takes a second may take ten.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });

type Schema = typeof import("../../components/influxdb-schema.js");
type State = Record<string, unknown>;

const text = { adminUsername: "admin", adminPassword: "first-password", url: "http://127.0.0.1:1" };
const policy = { name: "history", database: "k6", retention: "104w" };
let code: Record<"admin" | "database" | "policy" | "user", string>;
let providers: Record<keyof typeof code, Provider>;

beforeAll(async () => {
  const { InfluxDbAdmin, InfluxDbDatabase, InfluxDbRetentionPolicy, InfluxDbUser } =
    requireAsPulumi<Schema>("components/influxdb-schema.ts");

  const recording = recordPulumi();
  const database = "k6";
  new InfluxDbAdmin("admin", { ...text, container: "c" });
  new InfluxDbDatabase("database", { ...text, database, retention: "30d" });
  new InfluxDbUser("user", { ...text, database, username: "k6", password: "p", privilege: "READ" });
  new InfluxDbRetentionPolicy("policy", { ...text, ...policy });
  await recording.done();
  const stored = (type: string, name: string) =>
    recording.get(`pulumi-nodejs:dynamic/influxdb:${type}`, name).code ?? "";
  code = {
    admin: stored("Admin", "admin"),
    database: stored("Database", "database"),
    policy: stored("RetentionPolicy", "policy"),
    user: stored("User", "user"),
  };
  providers = {
    admin: revived(code.admin),
    database: revived(code.database),
    policy: revived(code.policy),
    user: revived(code.user),
  };
});

/** How InfluxDB spells these durations. */
const spelled: Record<string, string> = {
  ...{ "1h": "1h0m0s", "12h": "12h0m0s", "30d": "720h0m0s", "4w": "672h0m0s" },
  ...{ "104w": "17472h0m0s", "52w": "8736h0m0s" },
};

/** InfluxDB 1.8 with authentication on, as far as these resources use it. */
class FakeInfluxDb {
  /** `<user>: <statement>`, in order; refused ones, too. */
  asked: string[] = [];
  /** How many requests are cut off before it answers any. */
  booting = 0;
  /** How long a request takes by the clock, in milliseconds. */
  takes = 0;
  databases = new Map<string, { name: string; duration: string; default: boolean }[]>();
  /** Of the database k6, by name. */
  users = new Map<string, { password: string; admin: boolean; grants: Map<string, string> }>();

  server: Server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    elapsed += this.takes;
    if (this.booting-- > 0) return void request.socket.destroy();
    const [, encoded = ""] = (request.headers.authorization ?? "").split(" ");
    const [user, password] = Buffer.from(encoded, "base64").toString().split(":");
    const statements = new URLSearchParams(body).get("q") ?? "";
    const answer = (status: number, body: object) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    const all = statements.match(/(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^;])+/g) ?? [];
    const asked = all.map((each) => each.trim());
    this.asked.push(...asked.map((each) => `${user || "nobody"}: ${each}`));

    const first = /^CREATE USER .* WITH ALL PRIVILEGES$/.test(statements);
    if (![...this.users.values()].some(({ admin }) => admin)) {
      const error = "error authorizing query: create admin user first or disable authentication";
      if (!first) return answer(403, { error });
    } else if (!user) {
      return answer(401, { error: "unable to parse authentication credentials" });
    } else if (!this.users.get(user)?.admin || this.users.get(user)?.password !== password) {
      return answer(401, { error: "authorization failed" });
    }
    const results: { error?: string }[] = [];
    for (const each of asked) {
      results.push(this.run(each));
      if (results.at(-1)?.error) break;
    }
    answer(200, { results });
  });

  get url() {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  private run(statement: string): { error?: string; series?: object[] } {
    // Quoted parts, unquoted, in order.
    const quoted = [...statement.matchAll(/(['"])((?:\\.|(?!\1)[^\\])*)\1/g)];
    const [a, b] = quoted.map(([, , text]) => text.replace(/\\(.)/g, "$1"));
    const words = statement.replace(/(['"])((?:\\.|(?!\1)[^\\])*)\1/g, "?");
    const series = (name: string, columns: string[], values: unknown[][]) => ({
      series: [{ name, columns, ...(values.length > 0 ? { values } : {}) }],
    });
    const user = this.users.get(a) ?? this.users.get(b);
    const missing = { error: "user not found" };
    switch (words.replace(/ +/g, " ")) {
      case "SHOW DATABASES":
        return series(
          "databases",
          ["name"],
          [...this.databases.keys()].map((name) => [name]),
        );
      case "CREATE DATABASE ?":
        if (!this.databases.has(a)) {
          this.databases.set(a, [{ name: "autogen", duration: "0s", default: true }]);
        }
        return {};
      case "DROP DATABASE ?":
        this.databases.delete(a);
        return {};
      case "SHOW RETENTION POLICIES ON ?":
        return series(
          "",
          ["name", "duration", "shardGroupDuration", "replicaN", "default"],
          (this.databases.get(a) ?? []).map((policy) => [
            ...[policy.name, policy.duration, "24h0m0s", 1, policy.default],
          ]),
        );
      case "SHOW USERS":
        return series(
          "",
          ["user", "admin"],
          [...this.users].map(([name, { admin }]) => [name, admin]),
        );
      case "SHOW GRANTS FOR ?":
        return user ? series("", ["database", "privilege"], [...user.grants]) : missing;
      case "CREATE USER ? WITH PASSWORD ?":
      case "CREATE USER ? WITH PASSWORD ? WITH ALL PRIVILEGES":
        if (user) return { error: "user already exists" };
        this.users.set(a, {
          password: b,
          admin: words.endsWith("PRIVILEGES"),
          grants: new Map(),
        });
        return {};
      case "SET PASSWORD FOR ? = ?":
        if (!user) return missing;
        user.password = b;
        return {};
      case "REVOKE ALL PRIVILEGES FROM ?":
        if (!user) return missing;
        user.admin = false;
        return {};
      case "REVOKE ALL ON ? FROM ?":
        if (!user) return missing;
        if (!this.databases.has(a)) return { error: "not executed" };
        user.grants.set(a, "NO PRIVILEGES");
        return {};
      case "GRANT READ ON ? TO ?":
      case "GRANT WRITE ON ? TO ?":
        if (!user) return missing;
        if (!this.databases.has(a)) return { error: `database not found: ${a}` };
        user.grants.set(a, words.split(" ")[1]);
        return {};
      case "DROP USER ?":
        return this.users.delete(a) ? {} : missing;
      case "DROP RETENTION POLICY ? ON ?": {
        const rest = (this.databases.get(b) ?? []).filter(({ name }) => name !== a);
        this.databases.set(b, rest);
        return {};
      }
    }
    const [, verb, asked] =
      /^(CREATE|ALTER) RETENTION POLICY \? ON \? DURATION (\S+)( REPLICATION 1| SHARD DURATION 0s)?$/.exec(
        words,
      ) ?? [];
    if (verb) {
      const others = (this.databases.get(b) ?? []).filter(({ name }) => name !== a);
      const known = others.length < (this.databases.get(b) ?? []).length;
      if (known !== (verb === "ALTER")) return { error: "retention policy exists or is missing" };
      this.databases.set(b, [...others, { name: a, duration: spelled[asked], default: false }]);
      return {};
    }
    const [, duration] =
      /^ALTER RETENTION POLICY \? ON \? DURATION (\S+) SHARD DURATION 0s DEFAULT$/.exec(
        words.replace(/ +/g, " "),
      ) ?? [undefined, ""];
    if (!duration) throw new Error(`the model does not know: ${statement}`);
    if (duration === "1s") return { error: "retention policy duration must be at least 1h0m0s" };
    for (const policy of this.databases.get(b) ?? []) {
      policy.default = policy.name === a;
      if (policy.default) policy.duration = spelled[duration];
    }
    return {};
  }
}

let influxdb: FakeInfluxDb;
/** How long the providers have waited, in milliseconds, one by one; it takes no time. */
let waits: number[];
/** How far the clock has come, in milliseconds. */
let elapsed: number;

beforeEach(async () => {
  influxdb = new FakeInfluxDb();
  await new Promise<void>((resolve) => influxdb.server.listen(0, "127.0.0.1", resolve));
  waits = [];
  elapsed = 0;
  const { setTimeout: sleep } = globalThis;
  const start = Date.now();
  vi.spyOn(Date, "now").mockImplementation(() => start + elapsed);
  vi.stubGlobal("setTimeout", (then: () => void, ms: number) => {
    // Not those of Node.js's own HTTP client.
    if (ms !== 250 && ms !== 2000) return sleep(then, ms);
    waits.push(ms);
    elapsed += ms;
    return setImmediate(then);
  });
});

afterEach(async () => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  influxdb.server.closeAllConnections();
  await new Promise((resolve) => influxdb.server.close(resolve));
});

const admin = (more: State = {}): State => ({ ...text, url: influxdb.url, ...more });

/** The fake InfluxDB has this administrator already. */
const withAdmin = () =>
  influxdb.users.set("admin", { password: "first-password", admin: true, grants: new Map() });

describe("a provider as it is stored", () => {
  test.each(["admin", "database", "policy", "user"] as const)(
    "of the %s holds no password and no path of this machine",
    (name) => {
      expect(code[name]).toContain("SHOW ");
      expect(code[name]).not.toContain("first-password");
      expect(code[name]).not.toContain(process.cwd());
    },
  );

  test("tells why InfluxDB refused", async () => {
    withAdmin();
    const inputs = admin({ database: "k6", retention: "1s" });
    const refused = providers.database.create(inputs);
    await expect(refused).rejects.toBeInstanceOf(Error);
    await expect(refused).rejects.toThrow(/^retention policy duration must be at least 1h0m0s$/);
  });

  test("tells that InfluxDB does not answer, and where", async () => {
    const { url } = influxdb;
    influxdb.booting = Infinity;
    const refused = providers.user.delete("k6", admin({ username: "k6" }));
    await expect(refused).rejects.toBeInstanceOf(Error);
    await expect(refused).rejects.toThrow(`InfluxDB does not answer at ${url}: `);
  });
});

describe("the administrator", () => {
  const create = `nobody: CREATE USER "admin" WITH PASSWORD 'first-password' WITH ALL PRIVILEGES`;

  test("of a new InfluxDB is made, and proved by being let in", async () => {
    const inputs = admin({ container: "c" });
    expect(await providers.admin.create(inputs)).toEqual({ id: "admin", outs: inputs });
    expect(influxdb.asked).toEqual(["admin: SHOW DATABASES", create, "admin: SHOW DATABASES"]);
    expect(influxdb.users.get("admin")).toMatchObject({ password: "first-password", admin: true });
    expect(waits).toEqual([]);
  });

  test("of an InfluxDB that knows it is not made again", async () => {
    withAdmin();
    await providers.admin.create(admin({ container: "c" }));
    expect(influxdb.asked).toEqual(["admin: SHOW DATABASES"]);
  });

  test("is waited for while InfluxDB starts", async () => {
    influxdb.booting = 3;
    withAdmin();
    await providers.admin.create(admin({ container: "c" }));
    expect(waits).toEqual([250, 250, 250]);
    expect(influxdb.asked).toEqual(["admin: SHOW DATABASES"]);
  });

  test("with another password is given up after two minutes, saying what to do", async () => {
    influxdb.takes = 5_000;
    withAdmin();
    await expect(providers.admin.create(admin({ adminPassword: "second" }))).rejects.toThrow(
      new Error(
        `InfluxDB at ${influxdb.url} has an administrator with another password: its volume ` +
          `belongs to a stack whose state is lost. Remove the volume, or restore the state.`,
      ),
    );
    // Two requests and a wait, 12 seconds, ten times; the eleventh time it is too late.
    expect(waits).toEqual(Array(10).fill(2000));
    expect(influxdb.users.get("admin")?.password).toBe("first-password");
  });

  test("of an InfluxDB that never answers is given up after two minutes", async () => {
    const { url } = influxdb;
    influxdb.booting = Infinity;
    influxdb.takes = 10_000;
    await expect(providers.admin.create(admin())).rejects.toThrow(
      `InfluxDB does not answer at ${url}: `,
    );
    // A request and a wait, 10.25 seconds, eleven times; the twelfth time it is too late.
    expect(waits).toEqual(Array(11).fill(250));
  });

  test("is read from the state without asking", async () => {
    const state = admin({ container: "c" });
    expect(await providers.admin.read("admin", state)).toEqual({ id: "admin", props: state });
    expect(influxdb.asked).toEqual([]);
  });

  test("is replaced under another name only", async () => {
    const olds = { ...text, container: "c" };
    const diff = (news: State) => providers.admin.diff("admin", olds, { ...olds, ...news });
    const update = { changes: true, replaces: [], deleteBeforeReplace: true };
    expect(await diff({})).toEqual({ changes: false, replaces: [], deleteBeforeReplace: true });
    expect(await diff({ __provider: "other code" })).toMatchObject({ changes: false });
    expect(await diff({ container: "d" })).toEqual(update);
    expect(await diff({ adminPassword: "second" })).toEqual(update);
    expect(await diff({ url: "http://127.0.0.1:2" })).toEqual(update);
    expect(await diff({ adminUsername: "root" })).toEqual({
      changes: true,
      replaces: ["adminUsername"],
      deleteBeforeReplace: true,
    });
  });

  test("in another container is proved again", async () => {
    const news = admin({ container: "d" });
    const { outs } = await providers.admin.update("admin", admin({ container: "c" }), news);
    expect(outs).toEqual(news);
    expect(influxdb.asked).toEqual(["admin: SHOW DATABASES", create, "admin: SHOW DATABASES"]);
  });

  test("gets another password while the old one is let in", async () => {
    withAdmin();
    const news = admin({ adminPassword: "it's" });
    expect(await providers.admin.update("admin", admin(), news)).toEqual({ outs: news });
    expect(influxdb.asked).toEqual([
      `admin: SET PASSWORD FOR "admin" = 'it\\'s'`,
      "admin: SHOW DATABASES",
    ]);
    expect(influxdb.users.get("admin")?.password).toBe("it's");
  });

  test("is left alone by an update that comes again after it was cut off", async () => {
    withAdmin().get("admin")!.password = "second";
    await providers.admin.update("admin", admin(), admin({ adminPassword: "second" }));
    expect(influxdb.users.get("admin")?.password).toBe("second");
    expect(influxdb.asked.at(-1)).toBe("admin: SHOW DATABASES");
  });

  test("is not deleted, since InfluxDB keeps its last one", async () => {
    withAdmin();
    await providers.admin.delete("admin", admin());
    expect(influxdb.asked).toEqual([]);
    expect(influxdb.users.has("admin")).toBe(true);
  });
});

describe("the database", () => {
  const database = (more: State = {}) => admin({ database: "k6", retention: "30d", ...more });
  const make = [
    `admin: CREATE DATABASE "k6"`,
    `admin: ALTER RETENTION POLICY "autogen" ON "k6" DURATION 30d SHARD DURATION 0s DEFAULT`,
  ];

  beforeEach(() => void withAdmin());

  test("is made with its retention", async () => {
    const inputs = database();
    expect(await providers.database.create(inputs)).toEqual({ id: "k6", outs: inputs });
    expect(influxdb.asked).toEqual(make);
    expect(influxdb.databases.get("k6")).toEqual([
      { name: "autogen", duration: "720h0m0s", default: true },
    ]);
  });

  test("may have any name", async () => {
    const name = `a "b" \\ c; DROP DATABASE d`;
    await providers.database.create(database({ database: name }));
    expect([...influxdb.databases.keys()]).toEqual([name]);
    await providers.database.delete(name, database({ database: name }));
    expect([...influxdb.databases.keys()]).toEqual([]);
  });

  test("that somebody has dropped is read as gone", async () => {
    expect(await providers.database.read("k6", database())).toEqual({});
  });

  test.each(["1h", "12h", "30d", "4w"])("with its retention of %s is as wanted", async (kept) => {
    const state = database({ retention: kept });
    await providers.database.create(state);
    expect(await providers.database.read("k6", state)).toEqual({ id: "k6", props: state });
  });

  test("whose retention somebody has changed is read, updated and as wanted again", async () => {
    const state = database();
    await providers.database.create(state);
    influxdb.databases.get("k6")![0].duration = "24h0m0s";
    const { props } = await providers.database.read("k6", state);
    expect(props).toEqual({ ...state, retention: "24h0m0s" });
    expect(await providers.database.diff("k6", props!, state)).toMatchObject({
      changes: true,
      replaces: [],
    });
    influxdb.asked = [];
    expect(await providers.database.update("k6", props!, state)).toEqual({ outs: state });
    expect(influxdb.asked).toEqual(make);
    expect(await providers.database.read("k6", state)).toEqual({ id: "k6", props: state });
  });

  test("whose points go to another policy by default is read as one of that retention", async () => {
    const state = database();
    await providers.database.create(state);
    influxdb.databases.set("k6", [
      { name: "autogen", duration: "720h0m0s", default: false },
      { name: "forever", duration: "0s", default: true },
    ]);
    const { props } = await providers.database.read("k6", state);
    expect(props).toEqual({ ...state, retention: "0s" });
  });

  test("is replaced under another name only, the old one going first", async () => {
    const diff = (news: State) => providers.database.diff("k6", database(), database(news));
    const update = { changes: true, replaces: [], deleteBeforeReplace: true };
    expect(await diff({})).toEqual({ ...update, changes: false });
    expect(await diff({ retention: "4w" })).toEqual(update);
    expect(await diff({ adminPassword: "second" })).toEqual(update);
    expect(await diff({ database: "k7" })).toEqual({ ...update, replaces: ["database"] });
  });

  test("is dropped with its points", async () => {
    await providers.database.create(database());
    influxdb.asked = [];
    await providers.database.delete("k6", database());
    expect(influxdb.asked).toEqual([`admin: DROP DATABASE "k6"`]);
    expect(influxdb.databases.size).toBe(0);
  });
});

describe("a user", () => {
  const user = (more: State = {}) =>
    admin({ username: "grafana", password: "pass", database: "k6", privilege: "READ", ...more });
  const held = () => Object.fromEntries(influxdb.users.get("grafana")!.grants);

  beforeEach(async () => {
    withAdmin();
    await providers.database.create(admin({ database: "k6", retention: "30d" }));
    await providers.database.create(admin({ database: "other", retention: "30d" }));
    influxdb.asked = [];
  });

  test.each(["READ", "WRITE"])("is made with its password and may %s", async (privilege) => {
    const inputs = user({ privilege });
    expect(await providers.user.create(inputs)).toEqual({ id: "grafana", outs: inputs });
    expect(influxdb.asked).toEqual([
      "admin: SHOW USERS",
      `admin: CREATE USER "grafana" WITH PASSWORD 'pass'`,
      `admin: REVOKE ALL PRIVILEGES FROM "grafana"`,
      `admin: GRANT ${privilege} ON "k6" TO "grafana"`,
    ]);
    expect(influxdb.users.get("grafana")).toMatchObject({ password: "pass", admin: false });
    expect(held()).toEqual({ k6: privilege });
  });

  test("may have any name and password", async () => {
    const [username, password] = [`a "b" \\`, `c 'd' \\; DROP USER "admin"`];
    await providers.user.create(user({ username, password }));
    expect([...influxdb.users.keys()]).toEqual(["admin", username]);
    expect(influxdb.users.get(username)?.password).toBe(password);
  });

  test("that is there already gets its password and is left one privilege", async () => {
    const grants = new Map([
      ["other", "ALL PRIVILEGES"],
      ["k6", "WRITE"],
    ]);
    influxdb.users.set("grafana", { password: "old", admin: true, grants });
    await providers.user.create(user());
    expect(influxdb.asked.slice(2)).toEqual([
      `admin: SET PASSWORD FOR "grafana" = 'pass'`,
      `admin: REVOKE ALL PRIVILEGES FROM "grafana"`,
      `admin: REVOKE ALL ON "other" FROM "grafana"`,
      `admin: REVOKE ALL ON "k6" FROM "grafana"`,
      `admin: GRANT READ ON "k6" TO "grafana"`,
    ]);
    expect(influxdb.users.get("grafana")).toMatchObject({ password: "pass", admin: false });
    expect(held()).toEqual({ other: "NO PRIVILEGES", k6: "READ" });
  });

  test("that somebody has dropped is read as gone", async () => {
    expect(await providers.user.read("grafana", user())).toEqual({});
  });

  test("that holds its one privilege is as wanted", async () => {
    await providers.user.create(user());
    influxdb.users.get("grafana")!.grants.set("other", "NO PRIVILEGES");
    const { id, props } = await providers.user.read("grafana", user());
    expect({ id, props }).toEqual({ id: "grafana", props: user() });
    expect(await providers.user.diff("grafana", props!, user())).toMatchObject({ changes: false });
  });

  test.each<[string, (grants: Map<string, string>) => unknown]>([
    ["none", (grants) => grants.clear()],
    ["none", (grants) => grants.set("k6", "NO PRIVILEGES")],
    ["WRITE", (grants) => grants.set("k6", "WRITE")],
    ["ALL PRIVILEGES", (grants) => grants.set("k6", "ALL PRIVILEGES")],
    ["READ on k6, WRITE on other", (grants) => grants.set("other", "WRITE")],
    ["READ on other", (grants) => grants.set("k6", "NO PRIVILEGES").set("other", "READ")],
    ["ADMIN on every database, READ on k6", () => (influxdb.users.get("grafana")!.admin = true)],
  ])("found with the privilege %j is updated and as wanted again", async (found, change) => {
    await providers.user.create(user());
    change(influxdb.users.get("grafana")!.grants);
    const { props } = await providers.user.read("grafana", user());
    expect(props).toEqual({ ...user(), privilege: found });
    expect(await providers.user.diff("grafana", props!, user())).toMatchObject({
      changes: true,
      replaces: [],
    });
    expect(await providers.user.update("grafana", props!, user())).toEqual({ outs: user() });
    expect(await providers.user.read("grafana", user())).toEqual({ id: "grafana", props: user() });
  });

  test("is replaced under another name only", async () => {
    const diff = (news: State) => providers.user.diff("grafana", user(), user(news));
    const update = { changes: true, replaces: [], deleteBeforeReplace: true };
    expect(await diff({})).toEqual({ ...update, changes: false });
    expect(await diff({ password: "other" })).toEqual(update);
    expect(await diff({ privilege: "WRITE" })).toEqual(update);
    expect(await diff({ database: "other" })).toEqual(update);
    expect(await diff({ username: "k6" })).toEqual({ ...update, replaces: ["username"] });
  });

  test("moves to another database with its privilege", async () => {
    await providers.user.create(user());
    await providers.user.update("grafana", user(), user({ database: "other" }));
    expect(held()).toEqual({ k6: "NO PRIVILEGES", other: "READ" });
  });

  test("is dropped", async () => {
    await providers.user.create(user());
    influxdb.asked = [];
    await providers.user.delete("grafana", user());
    expect(influxdb.asked).toEqual([`admin: DROP USER "grafana"`]);
    expect([...influxdb.users.keys()]).toEqual(["admin"]);
  });
});

describe("a retention policy beside the default one", () => {
  const found = () => influxdb.databases.get("k6")!.find(({ name }) => name === "history");
  const inputs = () => admin(policy);

  beforeEach(async () => {
    withAdmin();
    await providers.database.create(admin({ database: "k6", retention: "30d" }));
  });

  test("is made, made longer, and removed; the default stays", async () => {
    expect(await providers.policy.create(inputs())).toEqual({ id: "history", outs: inputs() });
    expect(found()).toMatchObject({ duration: "17472h0m0s", default: false });
    const shorter = { ...inputs(), retention: "52w" };
    const { changes, replaces } = await providers.policy.diff("history", inputs(), shorter);
    expect([changes, replaces]).toEqual([true, []]);
    await providers.policy.update("history", inputs(), shorter);
    expect(found()?.duration).toBe("8736h0m0s");
    await providers.policy.delete("history", shorter);
    expect(influxdb.databases.get("k6")!.map(({ name }) => name)).toEqual(["autogen"]);
  });

  test("is read as it is, and not at all when it, or its database, is gone", async () => {
    await providers.policy.create(inputs());
    expect(await providers.policy.read("history", inputs())).toMatchObject({ props: inputs() });
    found()!.duration = "1h0m0s";
    const { props } = await providers.policy.read("history", inputs());
    expect(props).toEqual({ ...inputs(), retention: "1h0m0s" });
    await providers.policy.delete("history", inputs());
    expect(await providers.policy.read("history", inputs())).toEqual({});
    influxdb.databases.clear();
    expect(await providers.policy.read("history", inputs())).toEqual({});
  });
});
