import fc from "fast-check";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import {
  containerName,
  imagesOf,
  namespaceName,
  operatorChartVersion,
  operatorName,
  parseConfig,
  project,
  projectValues,
  publishedPorts,
  requireFreePorts,
  serversName,
  withPorts,
} from "../../config";
import { defaultProfile, defaultThresholds, ownScript } from "../../k6/profile";
import { readSettings } from "../../scripts/settings";
import { ConfigError, type Values } from "../../values";

interface Declaration {
  type?: string;
  default: unknown;
  description: string;
}

const manifest = parse(fs.readFileSync("Pulumi.yaml", "utf8"));
const declared: Record<string, Declaration> = manifest.config;
const keys = Object.keys(declared);

/** What Pulumi hands over when nothing is set: every default, as text. */
const defaults: Values = Object.fromEntries(
  Object.entries(declared).map(([key, { default: value }]) => [key, String(value)]),
);
const external: Values = { ...defaults, baseUrl: "http://localhost:8080" };
const sample: Values = { ...defaults, target: "sample" };
const inCluster: Values = {
  ...{ ...sample, executor: "kubernetes", kubeContext: "lab", kubeHostAddress: "host.example" },
};

const parsed = (changed: Values = {}) => parseConfig({ ...external, ...changed }, process.cwd());

/** The words with which values are refused. */
function refusal(changed: Values, base = external): string {
  try {
    parseConfig({ ...base, ...changed }, process.cwd());
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  throw new Error(`${JSON.stringify(changed)} is accepted`);
}

describe("Pulumi.yaml", () => {
  test("is the project that the program's keys belong to", () => {
    expect(manifest.name).toBe(project);
    expect(manifest.runtime).toEqual({
      name: "nodejs",
      options: { typescript: false, packagemanager: "npm" },
    });
  });

  test.each(keys)("declares %s with a type, a default of that type and a description", (key) => {
    const { type, default: value, description, ...rest } = declared[key];
    expect(rest).toEqual({});
    if (/^script(Env|Secrets)$/.test(key)) {
      // Pulumi takes a map of any type but "object", which would refuse a text.
      expect([type, value]).toEqual([undefined, "{}"]);
    } else {
      expect(["string", "integer", "boolean"]).toContain(type);
      expect(typeof value).toBe(type === "integer" ? "number" : type);
    }
    expect(description).toMatch(/^\S.{10,}[^.]\.$/s);
  });

  test("declares exactly the keys that are read", () => {
    expect(refusal({ unheardOf: "1" })).toBe(
      `configuration key "unheardOf" is "1": there is no such key; the keys are ${[...keys].sort().join(", ")}`,
    );
    expect(refusal({ "a\n": "1" })).toContain(`configuration key "a\\n" is "1": there is no`);
  });

  test("defaults to the guide's scenario", () => {
    expect(parsed().profile).toEqual(defaultProfile);
    expect(parsed().profile).toEqual({
      rate: 1000,
      timeUnit: "1m",
      duration: "1m",
      preAllocatedVUs: 100,
      maxVUs: 1000,
      userIdBase: 41593,
      userCount: 1000,
      couponId: 1,
    });
  });

  test("defaults to the project's own script and its thresholds", () => {
    expect(parsed().script).toBe(ownScript);
    expect(parsed().thresholds).toEqual(defaultThresholds);
  });

  test("defaults to pinned images", () => {
    const images = keys.filter((key) => key.endsWith("Image"));
    expect(Object.fromEntries(images.map((key) => [key, defaults[key]]))).toEqual({
      influxdbImage: "influxdb:1.8.10",
      grafanaImage: "grafana/grafana:12.4.0",
      k6Image: "grafana/k6:2.2.0",
      k6OperatorImage: "ghcr.io/grafana/k6-operator:controller-v1.6.0",
      k6StarterImage: "ghcr.io/grafana/k6-operator:starter-v1.6.0",
      redisImage: "redis:7.4-alpine",
      nodeImage: "node:22-alpine",
    });
  });

  test("wants nothing but the target to be chosen", () => {
    expect(refusal({}, defaults)).toMatch(/^configuration key "baseUrl" is "": /);
    expect(parseConfig(sample, process.cwd()).target.kind).toBe("sample");
  });
});

const stackFiles = fs.readdirSync(".").filter((file) => /^Pulumi\..+\.yaml$/.test(file));

describe.each(stackFiles)("%s", (file) => {
  const values = Object.entries<unknown>(parse(fs.readFileSync(file, "utf8")).config);

  test("sets keys of the project, to values that are accepted", () => {
    const own = projectValues(Object.fromEntries(values.map(([key, each]) => [key, `${each}`])));
    expect(Object.keys(own)).toHaveLength(values.length);
    expect(() => parseConfig({ ...defaults, ...own }, process.cwd())).not.toThrow();
  });

  test("sets no key to its default", () => {
    const same = values.filter(([key, each]) => defaults[key.split(":")[1]] === `${each}`);
    expect(same).toEqual([]);
  });
});

describe("a configuration", () => {
  test("of an external target has everything but the sample's", () => {
    expect(parsed()).toEqual({
      target: { kind: "external", baseUrl: "http://localhost:8080" },
      allowedHosts: [],
      keepData: false,
      script: "k6/coupon-issue.ts",
      profile: defaultProfile,
      thresholds: defaultThresholds,
      baseline: "",
      maxRegression: [],
      routeLimits: [],
      starvedGenerator: "warn",
      maxSeries: 1000,
      runId: "",
      platform: { kind: "docker" },
      executor: { kind: "docker", image: "grafana/k6:2.2.0" },
      influxdb: {
        image: "influxdb:1.8.10",
        address: "127.0.0.1",
        port: 8086,
        retention: "30d",
        historyRetention: "730d",
      },
      grafana: {
        ...{ image: "grafana/grafana:12.4.0", address: "127.0.0.1", port: 3000 },
        smtp: undefined,
      },
      contacts: [],
    });
  });

  test("of the sample target has its port, stock and images", () => {
    expect(parseConfig(sample, process.cwd()).target).toEqual({
      kind: "sample",
      address: "127.0.0.1",
      port: 8080,
      stock: 1000,
      redisImage: "redis:7.4-alpine",
      nodeImage: "node:22-alpine",
    });
  });

  test("takes each value from its own key", () => {
    const values = {
      ...{ rate: "11", timeUnit: "12s", duration: "13s", preAllocatedVUs: "14", maxVUs: "15" },
      ...{ userIdBase: "16", userCount: "17", couponId: "18", p95LimitMs: "19", p99LimitMs: "20" },
      ...{ failedRateLimit: "0.21", checksRateLimit: "0.22", droppedIterationsLimit: "23" },
      ...{ runId: "24", executor: "local", k6Binary: "25", retention: "26d", couponStock: "27" },
      ...{
        maxSeries: "36",
        baseline: "dev-20260102T030437Z",
        maxRegression: "p95 38%, rps 39.5 %",
        starvedGenerator: "fail",
        routeLimits: "POST /a, b p95 300ms, GET /{id} avg 1.5s,GET /{id} failed 1%",
      },
      ...{ historyRetention: "40w", alertWebhookUrl: "http://41", alertSlackUrl: "https://42" },
      ...{ alertEmail: "a@43, b@44", smtpHost: "mail:45", smtpUser: "46", smtpPassword: "47" },
      ...{ allowedHosts: "a.48, *.b.49", keepData: "true", maxRate: "50", maxDuration: "51s" },
      ...{ influxdbPort: "28", grafanaPort: "29", couponApiPort: "30", influxdbImage: "a:31" },
      ...{ bindAddress: "0.0.0.0", kubeContext: "52", kubeHostAddress: "53.0", parallelism: "54" },
      ...{ runnerCpu: "55m", k6OperatorImage: "f:56", k6StarterImage: "g:57" },
      ...{ k6OperatorChart: "oci://58", kubeNodeAddress: "59.0" },
      ...{ scriptEnv: '{"A":"60","B":61,"C":true}', scriptSecrets: '{"D":"62"}' },
      ...{ grafanaImage: "b:32", k6Image: "c:33", redisImage: "d:34", nodeImage: "e:35" },
    };
    expect(parseConfig({ ...sample, ...values }, process.cwd())).toEqual({
      target: {
        ...{ kind: "sample", address: "127.0.0.1", port: 30, stock: 27 },
        ...{ redisImage: "d:34", nodeImage: "e:35" },
      },
      allowedHosts: ["a.48", "*.b.49"],
      keepData: true,
      script: "k6/coupon-issue.ts",
      scriptEnv: { A: "60", B: "61", C: "true" },
      scriptSecrets: { D: "62" },
      profile: {
        ...{ rate: 11, timeUnit: "12s", duration: "13s", preAllocatedVUs: 14, maxVUs: 15 },
        ...{ userIdBase: 16, userCount: 17, couponId: 18 },
      },
      thresholds: {
        ...{ p95Ms: 19, p99Ms: 20, failedRate: 0.21, checksRate: 0.22, droppedIterations: 23 },
      },
      baseline: "dev-20260102T030437Z",
      maxRegression: [
        { figure: "p95Ms", percent: 38 },
        { figure: "rps", percent: 39.5 },
      ],
      routeLimits: [
        { route: "POST /a, b", figure: "p95Ms", limit: 300 },
        { route: "GET /{id}", figure: "avgMs", limit: 1500 },
        { route: "GET /{id}", figure: "failedRate", limit: 0.01 },
      ],
      starvedGenerator: "fail",
      maxSeries: 36,
      runId: "24",
      platform: { kind: "docker" },
      executor: { kind: "local", binary: "25" },
      influxdb: {
        ...{ image: "a:31", address: "0.0.0.0", port: 28 },
        ...{ retention: "26d", historyRetention: "40w" },
      },
      grafana: {
        ...{ image: "b:32", address: "0.0.0.0", port: 29 },
        smtp: { host: "mail:45", user: "46", password: "47", from: "a@43" },
      },
      contacts: [
        { kind: "webhook", url: "http://41" },
        { kind: "slack", url: "https://42" },
        { kind: "email", addresses: ["a@43", "b@44"] },
      ],
    });
  });

  test("for a search has the search's profile, within the guard rails of a load", () => {
    const search = (changed: Values) =>
      parseConfig({ ...external, capacityTo: "20", ...changed }, process.cwd(), "capacity");
    const { profile } = search({ stages: "10s:5" });
    expect(profile).toMatchObject({ rate: 20, timeUnit: "1s", search: { from: 10, to: 20 } });
    expect(() => search({ maxRate: "19" })).toThrow(
      'configuration key "capacityTo" is "20": must be at most maxRate, which is 19',
    );
    expect(() => search({ maxDuration: "1m" })).toThrow(
      'configuration key "capacityStep" is "15s": its 5 steps take 75 s in all, but maxDuration is 1m',
    );
    // No word of it where there is only a load.
    expect(parsed({ maxRate: "17", maxDuration: "1m" }).profile.search).toBeUndefined();
  });

  test.each(keys.filter((key) => defaults[key] !== "" || key === "target"))(
    "without %s is refused, and the refusal names it",
    (key) => {
      const { [key]: _, ...rest } = external;
      expect(() => parseConfig(rest, process.cwd())).toThrow(`configuration key "${key}" is "": `);
    },
  );

  test("is accepted or refused by name, whatever a value is", () => {
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom("0", "-1", "1", "1.5", "1e3", "1m", "0.5", "30d", "a:1", "http://h"),
    );
    fc.assert(
      fc.property(fc.constantFrom(...keys), text, (key, value) => {
        try {
          parsed({ [key]: value });
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
          expect((error as ConfigError).message).toMatch(/^configuration key "\w+" is ".*": \w/s);
        }
      }),
    );
  });

  test("that is refused stops Pulumi without a stack trace", () => {
    // The mark by which Pulumi's language host knows an error that is meant for its user.
    expect(new ConfigError("")).toMatchObject({ __pulumiRunError: true });
  });
});

describe("history, comparison and alerts", () => {
  test.each([
    ["baseline", "dev 1"],
    ["baseline", "../dev-20260102T030405Z"],
    ["maxRegression", "p95"],
    ["maxRegression", "p95 ten%"],
    ["maxRegression", "p95 10%, p95 20%"],
    ["maxRegression", `p95 ${"9".repeat(400)}%`],
    ["maxRegression", "p90 10%"],
    ["maxRegression", "p95 10%, rps 100%"],
    ["starvedGenerator", "ignore"],
    ["caFile", "nowhere.pem"],
    ["caFile", "package.json"],
    ["caFile", "k6"],
    ["insecureSkipTLSVerify", "yes"],
    ["routeLimits", "POST /orders"],
    ["routeLimits", "p95 300ms"],
    ["routeLimits", "POST /orders p95 300"],
    ["routeLimits", "POST /orders p90 300ms"],
    ["routeLimits", "POST /orders p95 1%"],
    ["routeLimits", "POST /orders failed 300ms"],
    ["routeLimits", "POST /orders failed 101%"],
    ["routeLimits", "POST /orders p95 300ms, POST /orders p95 1s"],
    ["historyRetention", "2y"],
    ["alertEmail", "nobody"],
    ["smtpHost", "mail.example.com"],
    ["smtpHost", "mail.example.com:65536"],
  ])("%s is not %s", (key, value) => {
    const others: Record<string, string> = key === "alertEmail" ? { smtpHost: "mail:25" } : {};
    expect(refusal({ ...others, [key]: value })).toMatch(
      `configuration key "${key}" is "${value}": must be `,
    );
  });

  test("history is kept at least as long as raw points", () => {
    expect(refusal({ retention: "1h", duration: "61m" })).toBe(
      `configuration key "retention" is "1h": must be at least duration, which is 61m`,
    );
    expect(refusal({ retention: "30d", historyRetention: "719h" })).toBe(
      `configuration key "historyRetention" is "719h": must be at least retention, which is 30d`,
    );
  });

  test("mail needs a mail server", () => {
    expect(refusal({ alertEmail: "a@example.com" })).toContain(`key "smtpHost" is "": must name`);
  });

  test.each(["scriptEnv", "scriptSecrets"])("%s is texts by name", (key) => {
    const is = (value: string) => {
      const shown = value && key === "scriptSecrets" ? "[secret]" : value;
      return `configuration key "${key}" is ${JSON.stringify(shown)}: `;
    };
    const allowed = 'must be a map of texts, such as {"TENANT":"acme"}';
    for (const value of [
      "",
      "TENANT=hidden",
      "[]",
      "null",
      '"hidden"',
      '{"A":"hidden"',
      "{A: hidden}",
    ]) {
      expect(refusal({ [key]: value })).toBe(is(value) + allowed);
    }
    for (const name of ["", "1A", "_A", "A-B", "A B", "A=B", "Ä", "__proto__", "A\n"]) {
      const value = `{${JSON.stringify(name)}:"hidden"}`;
      const but = `but ${JSON.stringify(name)} is no name of letters, digits and _ that begins with a letter`;
      expect(refusal({ [key]: value })).toBe(`${is(value)}${allowed}, ${but}`);
    }
    const none = ["null", "1.5", "1e400", "9007199254740993", "{}", "[]", '"\\u0000"', '"\\ud800"'];
    for (const text of none) {
      const value = `{"A":"hidden","B":${text}}`;
      expect(refusal({ [key]: value })).toBe(
        `${is(value)}${allowed}, but B is none: put it in quotes`,
      );
    }
    const long = `{"A":"${"x".repeat(64_000)}"}`;
    expect(refusal({ [key]: long })).toBe(`${is(long)}${allowed}, of 64 kB at most`);
    const odd = { A1_b: "=,\"'$`\\%쿠폰😀", B: "~ ~" };
    expect(parsed({ [key]: JSON.stringify(odd) })).toMatchObject({ [key]: odd });
    expect(parsed({ [key]: "{}" })[key as "scriptEnv"]).toBeUndefined();
  });

  test("no variable of the script's takes the place of one of the run's", () => {
    for (const name of ["TESTID", "BASE_URL", "PROFILE", "THRESHOLDS", "K6_", "K6_VUS"]) {
      const value = `{"A":"1","${name}":"2"}`;
      expect(refusal({ scriptEnv: value })).toBe(
        `configuration key "scriptEnv" is ${JSON.stringify(value)}: ${name} cannot be set: ` +
          `TESTID, BASE_URL, PROFILE, THRESHOLDS and K6_* are the run's own`,
      );
    }
    // As secrets they are something else.
    expect(parsed({ scriptSecrets: '{"TESTID":"12"}' }).scriptSecrets).toEqual({ TESTID: "12" });
  });

  test("a secret fits into a line, and is one that k6 can take out of its log", () => {
    for (const text of ["", "x", " x ", "a\nb", "ab\n", "a\rb"]) {
      const value = JSON.stringify({ A: "hidden", TOKEN: text });
      expect(refusal({ scriptSecrets: value })).toBe(
        `configuration key "scriptSecrets" is "[secret]": TOKEN must have 2 characters or more, ` +
          `and no line break`,
      );
    }
  });

  test("a refused secret is not shown", () => {
    for (const key of ["alertWebhookUrl", "alertSlackUrl"]) {
      const said = refusal({ [key]: "hooks.example/T0/secret" });
      expect(said).toContain(`configuration key "${key}" is "[secret]": must be a URL`);
      expect(said).not.toContain("T0");
    }
  });
});

describe("a whole number", () => {
  const positive = [
    ...["rate", "preAllocatedVUs", "maxVUs", "userIdBase", "userCount", "couponId"],
    ...["p95LimitMs", "p99LimitMs", "maxSeries", "couponStock"],
  ];
  const not = ["-1", "1.5", "1e3", "ten", "", " 1", "1 ", "0x10", "9007199254740992"];

  test.each(positive)("%s is 1 or more", (key) => {
    for (const value of ["0", ...not]) {
      expect(refusal({ [key]: value })).toBe(
        `configuration key "${key}" is "${value}": must be a whole number, 1 or more`,
      );
    }
  });

  test("droppedIterationsLimit is 0 or more", () => {
    for (const value of not) {
      expect(refusal({ droppedIterationsLimit: value })).toBe(
        `configuration key "droppedIterationsLimit" is "${value}": ` +
          `must be a whole number, 0 or more`,
      );
    }
    expect(parsed({ droppedIterationsLimit: "0" }).thresholds.droppedIterations).toBe(0);
  });

  test.each(["influxdbPort", "grafanaPort", "couponApiPort"])("%s is 0 to 65535", (key) => {
    for (const value of ["65536", "-1", "http"]) {
      expect(refusal({ [key]: value }, sample)).toBe(
        `configuration key "${key}" is "${value}": must be a whole number, 0 to 65535`,
      );
    }
    for (const value of ["1", "65535"]) {
      const ports = publishedPorts(parseConfig({ ...sample, [key]: value }, process.cwd()));
      expect(ports.find((each) => each.key === key)?.port).toBe(Number(value));
    }
  });
});

describe("a share", () => {
  test.each(["failedRateLimit", "checksRateLimit"])("%s is a number from 0 to 1", (key) => {
    for (const value of ["1.5", "1.01", "2", "-0.1", "1 %", "high", "", "0,5", "1e-2", "00.5"]) {
      expect(refusal({ [key]: value })).toBe(
        `configuration key "${key}" is "${value}": must be a number from 0 to 1, such as 0.01`,
      );
    }
  });

  test.each([
    ["0", 0],
    ["1", 1],
    ["1.0", 1],
    ["0.05", 0.05],
    [".5", 0.5],
  ])("may be written %s", (value, share) => {
    const { thresholds } = parsed({ failedRateLimit: value, checksRateLimit: value });
    expect([thresholds.failedRate, thresholds.checksRate]).toEqual([share, share]);
  });
});

describe("a duration", () => {
  test.each([
    ["timeUnit", "1ms", "24h", ["500ms", "30s", "1m", "1h30m", "24h"], ["24h1s"]],
    ["duration", "1s", "168h", ["1s", "30s", "1m", "1h30m", "168h"], ["500ms", "99999999h"]],
  ])("%s is one of k6's, from %s to %s", (key, min, max, good, bad) => {
    for (const value of [...bad, "-1m", "0s", "60", "1d", "1 m", "1M", "soon", ""]) {
      expect(refusal({ [key]: value })).toBe(
        `configuration key "${key}" is "${value}": ` +
          `must be a duration in ms, s, m or h from ${min} to ${max}, such as 30s or 1h30m`,
      );
    }
    for (const value of good) {
      expect(parsed({ [key]: value }).profile).toMatchObject({ [key]: value });
    }
  });
});

describe("retention", () => {
  test.each(["0d", "30", "30m", "1.5d", "-1d", "INF", "30D", "1d12h", "030d", "106752d", ""])(
    "is not %j",
    (value) => {
      expect(refusal({ retention: value })).toBe(
        `configuration key "retention" is "${value}": ` +
          `must be a whole number of hours, days or weeks, such as 12h, 30d or 4w, up to 106751d`,
      );
    },
  );

  test.each(["1h", "12h", "30d", "4w"])("may be %s", (retention) => {
    expect(parsed({ retention }).influxdb.retention).toBe(retention);
  });
});

describe("an image", () => {
  const digest = `sha256:${"0123456789abcdef".repeat(4)}`;
  const images = keys.filter((key) => key.endsWith("Image"));
  /** As `imagesOf` gives them: of the cluster's, the operator comes last. */
  const used = [
    ...["influxdbImage", "grafanaImage", "k6Image", "k6StarterImage", "k6OperatorImage"],
    ...["redisImage", "nodeImage"],
  ];

  test.each(images)("%s has a tag or a digest", (key) => {
    const refused = [
      ...[
        "influxdb",
        "influxdb:",
        "grafana/grafana",
        "localhost:5000/influxdb",
        "influxdb@sha256:1",
      ],
      ...[`influxdb@${digest}0`, "influxdb:1 8", "Influxdb:1", "https://influxdb:1@", "", "-v:1"],
    ];
    for (const value of refused) {
      expect(refusal({ [key]: value }, sample)).toBe(
        `configuration key "${key}" is "${value}": ` +
          `must be an image with a tag or a digest, such as influxdb:1.8.10`,
      );
    }
  });

  test.each([
    "influxdb:1.8.10",
    "grafana/k6:1.8.1",
    "localhost:5000/team/influxdb:1.8",
    `influxdb@${digest}`,
    `influxdb:1.8.10@${digest}`,
  ])("may be %s", (image) => {
    expect(parsed({ influxdbImage: image }).influxdb.image).toBe(image);
  });

  test.each([
    ["influxdb:1.8.10", "mirror.example:5000/hub/library/influxdb:1.8.10"],
    [`influxdb@${digest}`, `mirror.example:5000/hub/library/influxdb@${digest}`],
    [`influxdb:1.8@${digest}`, `mirror.example:5000/hub/library/influxdb:1.8@${digest}`],
    ["grafana/k6:1.8.1", "mirror.example:5000/hub/grafana/k6:1.8.1"],
    [`team/a/b@${digest}`, `mirror.example:5000/hub/team/a/b@${digest}`],
    ["ghcr.io/team/influxdb:1", "ghcr.io/team/influxdb:1"],
    [`host:5000/influxdb@${digest}`, `host:5000/influxdb@${digest}`],
    ["localhost/influxdb:1", "localhost/influxdb:1"],
  ])("%s comes from imageRegistry as %s", (image, reference) => {
    const all = Object.fromEntries(images.map((key) => [key, image]));
    const values = { ...inCluster, ...all, imageRegistry: "mirror.example:5000/hub" };
    expect(imagesOf(parseConfig(values, process.cwd()))).toEqual(images.map(() => reference));
  });

  test.each(["localhost", "localhost:5000", "10.0.0.1:5000/a/b", "mirror.example/Team_1.x"])(
    "may come from %s",
    (imageRegistry) => {
      expect(parsed({ imageRegistry }).grafana.image).toBe(
        `${imageRegistry}/grafana/grafana:12.4.0`,
      );
    },
  );

  test.each([
    ...["mirror", "mirror/hub", "https://mirror.example", "mirror.example/", "mirror.example//a"],
    ...["mirror.example:port", "/a", "-a.b", " a.b", "a.b:1/c@d", "a.b:", "localhostx"],
  ])("does not come from %s", (imageRegistry) => {
    expect(refusal({ imageRegistry })).toBe(
      `configuration key "imageRegistry" is "${imageRegistry}": ` +
        `must be empty or a registry without scheme, such as registry.example.com/mirror`,
    );
  });

  test("that the stack does not use is not of the stack", () => {
    const all = ["influxdb:1.8.10", "grafana/grafana:12.4.0", "grafana/k6:2.2.0"];
    expect(imagesOf(parsed())).toEqual(all);
    expect(imagesOf(parsed({ executor: "local" }))).toEqual(all.slice(0, 2));
    const named = (...keys: string[]) => keys.map((key) => defaults[key]);
    const there = (values: Values) => imagesOf(parseConfig(values, process.cwd()));
    expect(there(sample)).toEqual([...all, ...named("redisImage", "nodeImage")]);
    expect(there(inCluster)).toEqual(named(...used));
    expect(there({ ...inCluster, k6OperatorChart: "existing" })).toEqual(
      named(...used.filter((key) => key !== "k6OperatorImage")),
    );
  });
});

describe("the target", () => {
  const notUrl =
    `must be a URL with http://, https://, ws://, wss:// or grpc:// and without user, query or ` +
    `fragment, such as http://localhost:8080`;

  test("is one of two", () => {
    expect(refusal({ target: "production" })).toBe(
      `configuration key "target" is "production": must be sample or external`,
    );
  });

  test.each([
    ...["localhost:8080", "shop.example", "ftp://shop.example", "http://", "//shop.example", ""],
    ...["http://user@shop.example", "http://shop.example?a=b", "http://shop.example#top"],
    ...["http://shop example", "http://shop.example:99999", "http:shop.example"],
  ])("outside does not answer at %j", (value) => {
    expect(refusal({ baseUrl: value })).toBe(
      `configuration key "baseUrl" is "${value}": ${notUrl}`,
    );
  });

  test.each([
    ["http://localhost:8080", "http://localhost:8080"],
    ["https://shop.example", "https://shop.example"],
    ["http://localhost:8080/", "http://localhost:8080"],
    ["https://shop.example/api//", "https://shop.example/api"],
    ["http://[::1]:8080", "http://[::1]:8080"],
    // Read as the check of the host reads it, not as k6 might.
    ["http://127.1:8080/\0", "http://127.0.0.1:8080"],
    ["http://LOCAL\u00adhost/쿠폰", "http://localhost/%EC%BF%A0%ED%8F%B0"],
    [`http://localhost${"/".repeat(100_000)}a`, `http://localhost${"/".repeat(100_000)}a`],
  ])("outside may be given as %s", (value, baseUrl) => {
    const allowedHosts = "shop.example";
    expect(parsed({ baseUrl: value, allowedHosts }).target).toEqual({ kind: "external", baseUrl });
  });

  test.each([
    ["http://localhost:8080", "", true],
    ["http://127.1.2.3", "", true],
    ["http://[::1]:8080", "", true],
    ["http://api.local", "", true],
    ["http://api.localhost", "", true],
    ["https://api.example.com", "", false],
    ["https://api.example.com", "api.example.com", true],
    ["https://API.example.com:8443/v1", "other.example, Api.Example.com", true],
    ["https://a.b.example.com", "*.example.com", true],
    ["https://example.com", "*.example.com", false],
    ["https://badexample.com", "*.example.com", false],
    ["https://api.example.com.evil.example", "api.example.com", false],
    ["http://10.0.0.1", "", false],
    ["http://0.0.0.0:8080", "", false],
    ["http://notlocal", "", false],
  ])("at %s, with %j allowed, is tested: %s", (baseUrl, allowedHosts, allowed) => {
    if (allowed) return void parsed({ baseUrl, allowedHosts });
    expect(refusal({ baseUrl, allowedHosts })).toBe(
      `configuration key "baseUrl" is "${baseUrl}": must be on this machine, in *.local or on a ` +
        `host that allowedHosts names, which is "${allowedHosts}"`,
    );
  });

  test.each(["https://api.example.com", "api.example.com:80", "*", "a b"])(
    "has no allowed host called %s",
    (allowedHosts) => {
      expect(refusal({ allowedHosts })).toContain(
        `configuration key "allowedHosts" is "${allowedHosts}": must be empty or hosts`,
      );
    },
  );

  test("is either the sample or outside, not both", () => {
    expect(refusal({ baseUrl: "http://localhost:8080" }, sample)).toBe(
      `configuration key "baseUrl" is "http://localhost:8080": ` +
        `must be empty, or target must be external`,
    );
  });
});

describe("the load", () => {
  test("is no more a second than maxRate", () => {
    parsed({ rate: "200", timeUnit: "2s", maxRate: "100" });
    expect(refusal({ rate: "201", timeUnit: "2s", maxRate: "100" })).toBe(
      `configuration key "rate" is "201": ` +
        `with timeUnit 2s that is 100.5 iterations a second, but maxRate is 100`,
    );
    expect(refusal({ maxRate: "0" })).toContain(`key "maxRate" is "0": must be a whole number`);
  });

  test("may have a shape, whose highest rate and whole length are bounded", () => {
    const stages = "1s:50,9s:100";
    const bounds = { timeUnit: "1s", maxRate: "100", maxDuration: "10s" };
    expect(parsed({ stages, ...bounds }).profile).toMatchObject({ rate: 100, duration: "10s" });
    expect(refusal({ stages: "10s:101", ...bounds })).toBe(
      `configuration key "stages" is "10s:101": ` +
        `with timeUnit 1s that is up to 101 iterations a second, but maxRate is 100`,
    );
    expect(refusal({ stages: "11s:100", ...bounds })).toBe(
      `configuration key "stages" is "11s:100": must be at most maxDuration, which is 10s`,
    );
    expect(refusal({ stages: "1m" })).toBe(
      `configuration key "stages" is "1m": must be empty, or durations with the iterations per ` +
        `timeUnit at the end of each, such as 30s:100,2m:1000,30s:0`,
    );
    expect(refusal({ stages: "1m:0" })).toContain(`is "1m:0": must rise above 0`);
    expect(refusal({ stages: "0s:5" })).toContain(`is "0s:5": must last from 1s to 168h in all`);
  });

  test.each(fs.readdirSync("shapes"))("may be that of shapes/%s", (name) => {
    const pairs = fs.readFileSync(`shapes/${name}`, "utf8").trim().split(" ");
    const values = Object.fromEntries(pairs.map((pair) => pair.split("=")));
    expect(parsed(values).profile.stages).toBeDefined();
    expect(fs.readFileSync("docs/shapes.md", "utf8")).toContain(`\`shapes/${name}\``);
  });

  test("is no longer than maxDuration", () => {
    parsed({ duration: "60s", maxDuration: "1m" });
    expect(refusal({ duration: "61s", maxDuration: "1m" })).toBe(
      `configuration key "duration" is "61s": must be at most maxDuration, which is 1m`,
    );
    expect(refusal({ maxDuration: "long" })).toContain(`key "maxDuration" is "long": must be`);
  });
});

describe("ports that are 0", () => {
  test("are chosen, each another; the others stay", async () => {
    const config = parseConfig({ ...sample, influxdbPort: "0", couponApiPort: "0" }, process.cwd());
    expect(publishedPorts(config).map(({ key }) => key)).toEqual(["grafanaPort"]);
    const ports = publishedPorts(await withPorts(config, "no-such-stack"));
    expect(ports.map(({ key }) => key)).toEqual(["influxdbPort", "grafanaPort", "couponApiPort"]);
    expect(ports[1].port).toBe(3000);
    expect(new Set(ports.map(({ port }) => port)).size).toBe(3);
    expect(publishedPorts(await withPorts(config, "no-such-stack"))).toEqual(ports);
  });
});

describe("the virtual users", () => {
  test("that k6 may make are no fewer than those made before", () => {
    expect(refusal({ preAllocatedVUs: "100", maxVUs: "99" })).toBe(
      `configuration key "maxVUs" is "99": must be at least preAllocatedVUs, which is 100`,
    );
    expect(parsed({ preAllocatedVUs: "100", maxVUs: "100" }).profile.maxVUs).toBe(100);
  });
});

describe("the executor", () => {
  test("is one of three", () => {
    expect(refusal({ executor: "nomad" })).toBe(
      `configuration key "executor" is "nomad": must be docker or local or kubernetes`,
    );
  });

  test("on this machine is a command", () => {
    expect(refusal({ executor: "local", k6Binary: "" })).toBe(
      `configuration key "k6Binary" is "": must be a command or a path`,
    );
    expect(refusal({ k6Binary: "k6\n" })).toContain(`"k6Binary" is "k6\\n": must be a command`);
    expect(parsed({ executor: "local" }).executor).toEqual({ kind: "local", binary: "k6" });
  });
});

describe("a cluster", () => {
  const parsed = (changed: Values = {}) => parseConfig({ ...inCluster, ...changed }, process.cwd());
  const refused = (changed: Values) => refusal(changed, inCluster);

  test("has two runners of a processor each, and the k6 operator by its own chart", () => {
    const { executor, target, influxdb } = parsed();
    expect(executor).toEqual({
      ...{ kind: "kubernetes", context: "lab", parallelism: 2, cpu: "1", binary: "k6" },
      image: "grafana/k6:2.2.0",
      starterImage: "ghcr.io/grafana/k6-operator:starter-v1.6.0",
      operator: {
        chart: "https://grafana.github.io/helm-charts",
        version: operatorChartVersion,
        image: "ghcr.io/grafana/k6-operator:controller-v1.6.0",
      },
    });
    expect(target).toMatchObject({ address: "127.0.0.1", podHost: "host.example" });
    expect(influxdb).toMatchObject({ address: "127.0.0.1", podHost: "host.example" });
  });

  test("takes each value from its own key", () => {
    const values = {
      ...{ kubeContext: "an other", kubeHostAddress: "192.0.2.1", parallelism: "3" },
      ...{ runnerCpu: "250m", k6OperatorChart: "oci://r.example/k6-operator", k6Image: "a:1" },
      ...{ k6OperatorImage: "b:2", k6StarterImage: "c:3", k6Binary: "/bin/k6" },
    };
    expect(parsed(values).executor).toEqual({
      ...{ kind: "kubernetes", context: "an other", parallelism: 3, cpu: "250m" },
      ...{ image: "a:1", starterImage: "c:3", binary: "/bin/k6" },
      operator: {
        ...{ chart: "oci://r.example/k6-operator", version: operatorChartVersion, image: "b:2" },
      },
    });
  });

  test("may have the operator already", () => {
    expect(parsed({ k6OperatorChart: "existing" }).executor).toMatchObject({ operator: undefined });
  });

  test.each(["", "k6\n", "\u001b"])("is not that of the context %j", (kubeContext) => {
    expect(refused({ kubeContext })).toContain(
      `configuration key "kubeContext" is ${JSON.stringify(kubeContext)}: must be a context of ` +
        `your kubeconfig, see kubectl config get-contexts`,
    );
  });

  test("needs no context where k6 runs elsewhere", () => {
    expect(parsed({ executor: "docker", kubeContext: "" }).executor.kind).toBe("docker");
  });

  const reached =
    "with executor kubernetes it must be an address by which the cluster's pods reach this " +
    "machine; if that is another than InfluxDB listens on, say so by kubeHostAddress";

  test.each(["127.0.0.1", "localhost", "LOCALHOST", "a.localhost", "0.0.0.0", "127.1", "0"])(
    "does not reach this machine at %s",
    (kubeHostAddress) => {
      expect(refused({ kubeHostAddress })).toBe(
        `configuration key "kubeHostAddress" is "${kubeHostAddress}": ${reached}`,
      );
      // Elsewhere it is not used.
      parsed({ executor: "local", kubeHostAddress });
    },
  );

  test.each(["127.0.0.1", "0.0.0.0"])(
    "reaches this machine at bindAddress, which cannot be %s then",
    (bindAddress) => {
      expect(refused({ bindAddress, kubeHostAddress: "" })).toBe(
        `configuration key "bindAddress" is "${bindAddress}": ${reached}`,
      );
    },
  );

  test.each(["host:80", "http://host", "-a", "a-", "a b", "a/b", "[::1]", "192.0.2.256", "a_b"])(
    "does not know this machine as %s",
    (kubeHostAddress) => {
      expect(refused({ kubeHostAddress })).toBe(
        `configuration key "kubeHostAddress" is "${kubeHostAddress}": must be empty, or a host ` +
          `name or an IPv4 address without port`,
      );
    },
  );

  test("reaches InfluxDB and the sample where they listen", () => {
    const { target, influxdb } = parsed({ bindAddress: "0.0.0.0", kubeHostAddress: "192.0.2.1" });
    const there = { address: "0.0.0.0", podHost: "192.0.2.1" };
    expect(target).toMatchObject(there);
    expect(influxdb).toMatchObject(there);
  });

  test.each(["http://localhost:8080", "http://127.0.0.1", "http://[::1]:8080"])(
    "does not reach a target at %s",
    (baseUrl) => {
      expect(refused({ target: "external", baseUrl })).toBe(
        `configuration key "baseUrl" is "${baseUrl}": with executor kubernetes it must be on a ` +
          `host that the pods reach, too`,
      );
    },
  );

  test("reaches a target at another host", () => {
    const baseUrl = "http://api.shop.svc.cluster.local";
    expect(parsed({ target: "external", baseUrl }).target).toEqual({ kind: "external", baseUrl });
  });

  test("has from 1 to 1000 runners, each with a virtual user", () => {
    for (const parallelism of ["0", "1001", "two", "1.5", ""]) {
      expect(refused({ parallelism })).toBe(
        `configuration key "parallelism" is "${parallelism}": must be a whole number, 1 to 1000`,
      );
    }
    expect(refused({ parallelism: "5", preAllocatedVUs: "4" })).toBe(
      `configuration key "parallelism" is "5": must be at most preAllocatedVUs, which is 4`,
    );
    expect(parsed({ parallelism: "4", preAllocatedVUs: "4" }).executor).toMatchObject({
      parallelism: 4,
    });
    parsed({ executor: "docker", parallelism: "5", preAllocatedVUs: "4" });
  });

  test.each(["0", "0.0", "0m", "-1", "1e3", "1.2345", "1000", "1000000m", "1 ", "all", ""])(
    "gives a runner no %j processors",
    (runnerCpu) => {
      expect(refused({ runnerCpu })).toBe(
        `configuration key "runnerCpu" is "${runnerCpu}": must be processors as Kubernetes ` +
          `writes them, such as 500m, 1 or 2.5`,
      );
    },
  );

  test.each(["500m", "1", "2.5", "0.125", "16"])("gives a runner %s processors", (runnerCpu) => {
    expect(parsed({ runnerCpu }).executor).toMatchObject({ cpu: runnerCpu });
  });

  describe("gets the operator", () => {
    let folder: string;
    beforeAll(() => {
      folder = fs.mkdtempSync(path.join(os.tmpdir(), "chart-"));
      fs.mkdirSync(path.join(folder, "chart"));
      fs.mkdirSync(path.join(folder, "empty"));
      for (const file of ["chart/Chart.yaml", "k6-operator.tgz", "k6-operator.zip"])
        fs.writeFileSync(path.join(folder, file), "");
    });
    afterAll(() => fs.rmSync(folder, { recursive: true }));
    const from = (k6OperatorChart: string) =>
      parseConfig({ ...inCluster, script: path.resolve(ownScript), k6OperatorChart }, folder)
        .executor;

    test.each([
      ...["https://charts.example", "http://10.0.0.1:8080/charts", "oci://r.example:5000/a/b"],
      ...["chart", "./chart/", "k6-operator.tgz"],
    ])("from %s", (chart) => {
      expect(from(chart)).toMatchObject({ operator: { chart } });
    });

    test.each([
      ...["", "Existing", "missing", "missing.tgz", "empty", "k6-operator.zip", "ftp://a.example"],
      ...["https://", "https://a.example/b c", "grafana/k6-operator", "\0"],
    ])("not from %j", (chart) => {
      expect(() => from(chart)).toThrow(
        `configuration key "k6OperatorChart" is ${JSON.stringify(chart)}: must be existing, a ` +
          `Helm repository with https://, an oci:// reference or the path of a chart`,
      );
    });
  });

  test("has one release of the operator: its two images", () => {
    const versions = ["k6OperatorImage", "k6StarterImage"].map((key) =>
      defaults[key].replace(/.*-v/, ""),
    );
    expect(new Set(versions).size).toBe(1);
  });

  test.each([
    ["dev", "coupon-load-test-dev", "k6-operator-dev"],
    ["staging.EU", "coupon-load-test-staging-eu-", "k6-operator-staging-eu-"],
    ["x".repeat(100), "coupon-load-test-xxxxx", "k6-operator-xxxxx"],
  ])("has names for the stack %s", (stack, namespace, operator) => {
    for (const [name, start] of [
      [namespaceName(stack), namespace],
      [operatorName(stack), operator],
    ]) {
      expect(name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
      expect(name.startsWith(start)).toBe(true);
    }
    expect(namespaceName(`${stack}.`)).not.toBe(namespaceName(`${stack}_`));
  });
});

describe("a platform in the cluster", () => {
  const onNodes: Values = {
    ...{ ...inCluster, platform: "kubernetes", kubeNodeAddress: "192.0.2.10" },
    ...{ target: "external", baseUrl: "http://api.local", kubeHostAddress: "" },
    ...{ influxdbPort: "30086", grafanaPort: "30300" },
  };
  const parsed = (changed: Values = {}) => parseConfig({ ...onNodes, ...changed }, process.cwd());
  const refused = (changed: Values) => refusal(changed, onNodes);

  test("is reached at a node, and needs no address of this machine's", () => {
    const { platform, influxdb, grafana } = parsed();
    expect(platform).toEqual({ kind: "kubernetes", context: "lab" });
    expect(influxdb).toMatchObject({ address: "192.0.2.10", port: 30086, podHost: undefined });
    expect(grafana).toMatchObject({ address: "192.0.2.10", port: 30300 });
    expect(parsed({ kubeNodeAddress: "Nodes.Example" }).grafana.address).toBe("nodes.example");
  });

  test("is one of two", () => {
    expect(refused({ platform: "nomad" })).toBe(
      `configuration key "platform" is "nomad": must be docker or kubernetes`,
    );
  });

  test.each(["docker", "local"])("does not go with the executor %s", (executor) => {
    expect(refused({ executor })).toBe(
      `configuration key "platform" is "kubernetes": needs executor kubernetes, but that is ${executor}`,
    );
  });

  test("does not go with the sample target, which is in Docker", () => {
    expect(refused({ target: "sample", baseUrl: "" })).toBe(
      `configuration key "platform" is "kubernetes": needs target external, since the sample runs in Docker`,
    );
  });

  test.each(["", "127.0.0.1", "localhost", "a.localhost", "0.0.0.0", "127.1"])(
    "is not reached at %j",
    (kubeNodeAddress) => {
      expect(refused({ kubeNodeAddress })).toBe(
        `configuration key "kubeNodeAddress" is "${kubeNodeAddress}": with platform kubernetes it ` +
          `must be an address of a node, or of a load balancer before the nodes, by which this ` +
          `machine, the cluster's pods and browsers reach InfluxDB and Grafana`,
      );
      // Elsewhere it is not used.
      parseConfig({ ...inCluster, kubeNodeAddress }, process.cwd());
    },
  );

  test.each(["node:30086", "http://node", "a b", "[::1]", "192.0.2.256"])(
    "does not know a node as %s",
    (kubeNodeAddress) => {
      expect(refused({ kubeNodeAddress })).toBe(
        `configuration key "kubeNodeAddress" is "${kubeNodeAddress}": must be empty, or a host ` +
          `name or an IPv4 address without port`,
      );
    },
  );

  test.each(["influxdbPort", "grafanaPort"])("has %s among the ports of nodes", (key) => {
    for (const port of ["1", "8086", "29999", "32768"]) {
      expect(refused({ [key]: port })).toBe(
        `configuration key "${key}" is "${port}": with platform kubernetes it must be a port of ` +
          `the nodes, 30000 to 32767, or 0`,
      );
    }
    for (const port of ["0", "30000", "32767"]) parsed({ [key]: port });
  });

  test("has two ports", () => {
    expect(refused({ grafanaPort: "30086" })).toBe(
      `configuration key "grafanaPort" is "30086": must differ from influxdbPort`,
    );
  });

  test("takes no port of this machine, and asks no Docker for one", async () => {
    expect(publishedPorts(parsed())).toEqual([]);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "docker-"));
    fs.writeFileSync(path.join(folder, "docker"), `#!/bin/sh\ntouch ${folder}/asked\n`, {
      mode: 0o755,
    });
    vi.stubEnv("PATH", `${folder}:/usr/bin:/bin`);
    const config = await withPorts(parsed({ influxdbPort: "0", grafanaPort: "0" }), "dev");
    await requireFreePorts(config, "dev");
    vi.unstubAllEnvs();
    expect(fs.readdirSync(folder)).toEqual(["docker"]);
    fs.rmSync(folder, { recursive: true });
  });

  test("has ports out of the stack's name where they are 0, each another", async () => {
    const chosen = async (stack: string, changed: Values = {}) => {
      const zero = { influxdbPort: "0", grafanaPort: "0" };
      const { influxdb, grafana } = await withPorts(parsed({ ...zero, ...changed }), stack);
      return [influxdb.port, grafana.port];
    };
    const stacks = Array.from({ length: 50 }, (_, index) => `stack-${index}`);
    for (const stack of stacks) {
      const [influxdb, grafana] = await chosen(stack);
      expect(influxdb).not.toBe(grafana);
      for (const port of [influxdb, grafana]) {
        expect(port).toBeGreaterThanOrEqual(30_000);
        expect(port).toBeLessThanOrEqual(32_767);
      }
      expect(await chosen(stack)).toEqual([influxdb, grafana]);
      // One that is set is not chosen for the other.
      const [other] = await chosen(stack, { grafanaPort: `${influxdb}` });
      expect(other).not.toBe(influxdb);
    }
    expect(new Set(await Promise.all(stacks.map((each) => chosen(each).then(String)))).size).toBe(
      50,
    );
  });

  test.each(["dev", "servers-dev", "x".repeat(100)])(
    "has a namespace of its own for the stack %s",
    (stack) => {
      expect(serversName(stack)).toMatch(/^coupon-servers-[a-z0-9-]*[a-z0-9]$/);
      expect(serversName(stack).length).toBeLessThanOrEqual(63);
      expect(namespaceName(stack)).toMatch(/^coupon-load-test-/);
    },
  );
});

describe("the script", () => {
  let folder: string;
  beforeAll(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "script-"));
    fs.mkdirSync(path.join(folder, "folder.ts"));
    for (const file of ["own.ts", "own.js", "own.txt"])
      fs.writeFileSync(path.join(folder, file), "");
  });
  afterAll(() => fs.rmSync(folder, { recursive: true }));

  test.each(["missing.ts", "folder.ts", "own.txt", "own.ts/deeper.ts", ".", ""])(
    "is not %j",
    (script) => {
      expect(() => parseConfig({ ...external, script }, folder)).toThrow(
        `configuration key "script" is "${script}": ` +
          `must be the path of an existing k6 script, ending in .ts or .js`,
      );
    },
  );

  test("is looked for in the given folder, unless its path is absolute", () => {
    for (const script of ["own.ts", "./own.js", path.join(folder, "own.ts")]) {
      expect(parseConfig({ ...external, script }, folder).script).toBe(script);
    }
    expect(refusal({ script: "own.ts" })).toMatch(/^configuration key "script" is "own.ts": /);
  });
});

describe("the ports", () => {
  test("of a stack are InfluxDB's, Grafana's and the sample's", () => {
    const ports = (address: string) => [
      { key: "influxdbPort", port: 8086, service: "influxdb", address },
      { key: "grafanaPort", port: 3000, service: "grafana", address },
    ];
    expect(publishedPorts(parsed())).toEqual(ports("127.0.0.1"));
    // The sample asks nobody for a login.
    const open = parseConfig({ ...sample, bindAddress: "0.0.0.0" }, process.cwd());
    expect(publishedPorts(open)).toEqual([
      ...ports("0.0.0.0"),
      { key: "couponApiPort", port: 8080, service: "coupon-api", address: "127.0.0.1" },
    ]);
  });

  test.each(["", "localhost", "::1", "127.0.0.1:80", "256.1.1.1", "192.0.2.1"])(
    "are not published on %j",
    (bindAddress) => {
      expect(refusal({ bindAddress })).toBe(
        `configuration key "bindAddress" is "${bindAddress}": must be an IPv4 address of this ` +
          `machine, such as 127.0.0.1, or 0.0.0.0 for all of them`,
      );
    },
  );

  test("of a stack differ", () => {
    expect(refusal({ influxdbPort: "3000" })).toBe(
      `configuration key "grafanaPort" is "3000": must differ from influxdbPort`,
    );
    expect(refusal({ couponApiPort: "8086" }, sample)).toBe(
      `configuration key "couponApiPort" is "8086": must differ from influxdbPort`,
    );
    expect(refusal({ couponApiPort: "3000" }, sample)).toBe(
      `configuration key "couponApiPort" is "3000": must differ from grafanaPort`,
    );
  });

  test("of an external target may be anything", () => {
    expect(publishedPorts(parsed({ couponApiPort: "3000" })).map(({ port }) => port)).toEqual([
      8086, 3000,
    ]);
  });
});

describe("before anything is created", () => {
  let folder: string;
  let taken: net.Server;
  let port: number;
  let free: number;

  /** Puts a `docker` on the PATH that says this, and notes how it was asked. */
  function docker(says: string) {
    const script = `#!/bin/sh\nprintf '%s\\n' "$@" > ${folder}/asked\necho '${says}'\n`;
    fs.writeFileSync(path.join(folder, "docker"), script, { mode: 0o755 });
  }

  const listen = (server: net.Server) =>
    new Promise<number>((resolve) => {
      server.listen(0, "127.0.0.1", () => resolve((server.address() as net.AddressInfo).port));
    });
  const close = (server: net.Server) => new Promise((resolve) => server.close(resolve));

  beforeEach(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "docker-"));
    vi.stubEnv("PATH", folder);
    taken = net.createServer();
    port = await listen(taken);
    const other = net.createServer();
    free = await listen(other);
    await close(other);
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await close(taken);
    fs.rmSync(folder, { recursive: true });
  });

  test("a port that something else holds is refused, where there is no Docker", async () => {
    const config = parsed({ influxdbPort: `${free}`, grafanaPort: `${port}` });
    const refused = requireFreePorts(config, "dev");
    await expect(refused).rejects.toBeInstanceOf(ConfigError);
    await expect(refused).rejects.toThrow(
      new ConfigError(
        `configuration key "grafanaPort" is "${port}": that port is in use on this machine; ` +
          `stop what listens there, or choose another port`,
      ),
    );
  });

  test("a port is refused that another container holds", async () => {
    docker("127.0.0.1:1->8086/tcp");
    const config = parsed({ influxdbPort: `${port}`, grafanaPort: `${free}` });
    await expect(requireFreePorts(config, "dev")).rejects.toThrow(
      `configuration key "influxdbPort" is "${port}": that port is in use on this machine`,
    );
  });

  test("a port that the stack's own container publishes is the stack's", async () => {
    docker(`127.0.0.1:${port}->8086/tcp`);
    const config = parsed({ influxdbPort: `${port}`, grafanaPort: `${free}` });
    await expect(requireFreePorts(config, "staging.eu")).resolves.toBeUndefined();
    expect(fs.readFileSync(path.join(folder, "asked"), "utf8").split("\n")).toEqual([
      ...["ps", "--filter", "name=^/coupon-load-test-staging\\.eu-influxdb$"],
      ...["--format", "{{.Ports}}", ""],
    ]);
  });

  test("free ports are let through without asking Docker", async () => {
    docker("");
    await close(taken);
    const config = parsed({ influxdbPort: `${port}`, grafanaPort: `${free}` });
    await expect(requireFreePorts(config, "dev")).resolves.toBeUndefined();
    expect(fs.existsSync(path.join(folder, "asked"))).toBe(false);
    taken.listen(0, "127.0.0.1");
  });
});

test("the project's values are those under its name, without it", () => {
  const all = {
    "coupon-load-test:rate": "1",
    "coupon-load-test:runId": "a:b",
    "coupon-load-test-2:rate": "2",
    "docker:host": "x",
  };
  expect(projectValues(all)).toEqual({ rate: "1", runId: "a:b" });
});

test("a container's name tells project, stack and service", () => {
  expect(containerName("dev", "influxdb")).toBe("coupon-load-test-dev-influxdb");
});

describe("the values that make hands over", () => {
  const root = process.cwd();
  let folder: string;
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "settings-"));
    process.chdir(folder);
    fs.writeFileSync(
      "Pulumi.yaml",
      "config:\n  rate:\n    default: 1000\n  runId:\n    default: ''\n  duration:\n    default: 1m\n",
    );
    fs.writeFileSync(
      "Pulumi.dev.yaml",
      "config:\n  coupon-load-test:rate: 2000\n  other:duration: 9m\nencryptionsalt: v1:x\n",
    );
    fs.writeFileSync("Pulumi.ci.yaml", "");
  });
  afterEach(() => {
    process.chdir(root);
    fs.rmSync(folder, { recursive: true });
  });

  test("are the defaults, the stack's own over them, the command line's over both, as text", () => {
    expect(readSettings("ci", [])).toEqual({ rate: "1000", runId: "", duration: "1m" });
    expect(readSettings("dev", [])).toEqual({ rate: "2000", runId: "", duration: "1m" });
    expect(readSettings("dev", ["rate=3000", "runId=a=b", "unheardOf="])).toEqual({
      ...{ rate: "3000", runId: "a=b", duration: "1m", unheardOf: "" },
    });
  });

  test("belong to a stack that has a file", () => {
    expect(() => readSettings("prod", [])).toThrow(
      new ConfigError("there is no Pulumi.prod.yaml: STACK must be one of ci, dev"),
    );
  });

  test("belong to a stack whose name can be one", () => {
    for (const name of ["", "../x", "-x", ".x", "a b", "쿠폰", "x".repeat(101)]) {
      expect(() => readSettings(name, [])).toThrow(
        new ConfigError(
          `STACK is "${name}": must be at most 100 letters, digits, ".", "_" and "-", ` +
            `the first a letter or a digit`,
        ),
      );
    }
  });

  test("come out of files that are YAML", () => {
    fs.writeFileSync("Pulumi.ci.yaml", "config:\n  a: 'b\n");
    expect(() => readSettings("ci", [])).toThrow(
      new ConfigError("Pulumi.ci.yaml is not YAML: Missing closing 'quote at line 3, column 1"),
    );
  });

  test("may be of keys that are something else in JavaScript", () => {
    const values = readSettings("ci", ["__proto__=x"]);
    expect(Object.entries(values)).toContainEqual(["__proto__", "x"]);
    expect(() => parseConfig({ ...sample, ...values }, root)).toThrow(
      `configuration key "__proto__" is "x": there is no such key`,
    );
  });

  test("hold no secret in clear text", () => {
    const refused = (key: string) =>
      new ConfigError(
        `configuration key "${key}" is a secret: set it with pulumi config set --secret ${key}`,
      );
    expect(() => readSettings("ci", ["smtpPassword=x"])).toThrow(refused("smtpPassword"));
    fs.writeFileSync(
      "Pulumi.ci.yaml",
      "config:\n  coupon-load-test:alertWebhookUrl:\n    secure: v1:x\n" +
        "  coupon-load-test:alertSlackUrl: https://hooks.example\n",
    );
    expect(() => readSettings("ci", [])).toThrow(refused("alertSlackUrl"));
    for (const plain of [`'{"A":"x"}'`, "{ A: x }", "{ A: { secure: v1:x }, B: x }", "[x]"]) {
      fs.writeFileSync("Pulumi.ci.yaml", `config:\n  coupon-load-test:scriptSecrets: ${plain}\n`);
      expect(() => readSettings("ci", [])).toThrow(
        new ConfigError(
          `configuration key "scriptSecrets" is a secret: set it with ` +
            `pulumi config set --secret --path scriptSecrets.<name>`,
        ),
      );
    }
    for (const encrypted of ["{ secure: v1:x }", "{ A: { secure: v1:x } }"]) {
      const file = (key: string) => `config:\n  coupon-load-test:${key}: ${encrypted}\n`;
      fs.writeFileSync("Pulumi.ci.yaml", file("scriptSecrets"));
      expect(readSettings("ci", [])).not.toHaveProperty("scriptSecrets");
      fs.writeFileSync("Pulumi.ci.yaml", file("scriptEnv"));
      expect(() => readSettings("ci", [])).toThrow(/^configuration key "scriptEnv" is plain, but /);
    }
  });

  test("may be maps in a stack's file, and JSON on the command line", () => {
    fs.writeFileSync("Pulumi.ci.yaml", "config:\n  coupon-load-test:scriptEnv: { A: x, B: 3 }\n");
    expect(readSettings("ci", [])).toMatchObject({ scriptEnv: '{"A":"x","B":3}' });
    expect(readSettings("ci", ['scriptEnv={"A":"="}'])).toMatchObject({ scriptEnv: '{"A":"="}' });
  });

  test("are those of the project's own files", () => {
    process.chdir(root);
    const dev = parseConfig(readSettings("dev", ["rate=7"]), root);
    expect(dev).toMatchObject({ target: { kind: "sample" }, profile: { rate: 7 } });
  });
});
