/**
 * Whatever is handed over, by people or by programs: it is taken as it is meant, or refused in one
 * line. fast-check makes the cases up; when one fails, it prints the smallest it finds, and its seed.
 */
import fc from "fast-check";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { parseConfig, secretKeys, type StackConfig } from "../../config";
import { run as scopeOfRun } from "../../dashboards/queries";
import {
  defaultProfile,
  defaultThresholds,
  durationSeconds,
  parseStages,
  figures,
  parseMaxRegression,
  regressionLimit,
} from "../../k6/profile";
import { executorFor } from "../../runner/executor";
import { identifier, literal } from "../../runner/influxdb";
import { ledgerPoint } from "../../runner/ledger";
import { lastError, lastRefusal } from "../../runner/ending";
import type { Entry } from "../../runner/entry";
import { scriptFiles } from "../../runner/script";
import { type ExecutorChoice, isStackName, RunFailure, stackOf } from "../../runner/types";

import { readSettings, requireStackName } from "../../scripts/settings";
import { ConfigError, type Values } from "../../values";
import { anyText, entryOf, piece, right, wellFormed } from "../support/anything";
import { argumentsOf, program } from "../support/fake-program";
import { pointOf } from "../support/line-protocol";

// On a busy machine, what takes a second may take ten.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 30_000 });

// A case that fails is made smaller, which may go on for very long.
fc.configureGlobal({
  ...fc.readConfigureGlobal(),
  ...{ interruptAfterTimeLimit: 110_000, markInterruptAsFailure: true },
});

const root = process.cwd();
const many = { numRuns: 10_000 };

let folder: string;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "fuzz-"));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

const declared: Record<string, { default: unknown }> = parse(
  fs.readFileSync("Pulumi.yaml", "utf8"),
).config;
const keys = Object.keys(declared);
const defaults: Values = Object.fromEntries(
  Object.entries(declared).map(([key, { default: value }]) => [key, String(value)]),
);

/** One line, and no control characters that move a cursor. */
const oneLine = /^[^\0-\x1f]+$/;

/** Does something that takes no longer than a value may keep people waiting. */
function inTime<T>(what: () => T): T {
  const started = process.cpuUsage();
  try {
    return what();
  } finally {
    const { user } = process.cpuUsage(started);
    expect(user / 1000).toBeLessThan(1000);
  }
}

/** What `action` says when it refuses in the way it should; `undefined` when it does not refuse. */
function refusal(action: () => unknown, kind: new (message: string) => Error): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!(error instanceof kind)) throw error;
    expect(error.message).toMatch(oneLine);
    return error.message;
  }
}

describe("configuration", () => {
  const bases: Record<string, Values> = {
    external: { ...defaults, baseUrl: "http://localhost:8080", smtpHost: "mail:25" },
    sample: { ...defaults, target: "sample", maxRate: "100", maxDuration: "1h" },
  };
  const base = fc.constantFrom(...Object.keys(bases));

  /** Holds of every configuration, whatever it was made of. */
  function isSound(config: StackConfig, values: Values) {
    const { profile, thresholds, target, influxdb, grafana } = config;
    const { timeUnit, duration, stages, search: _, ...counts } = profile;
    const whole = [
      ...Object.values(counts),
      ...[thresholds.p95Ms, thresholds.p99Ms, config.maxSeries],
      ...[thresholds.droppedIterations + 1, influxdb.port + 1, grafana.port + 1],
    ];
    for (const number of whole) expect(Number.isInteger(number) && number >= 1).toBe(true);
    for (const share of [thresholds.failedRate, thresholds.checksRate]) {
      expect(share >= 0 && share <= 1).toBe(true);
    }
    expect(durationSeconds(timeUnit)).toBeLessThanOrEqual(24 * 3600);
    if (stages) expect(parseStages(values.stages)).toEqual(stages);
    expect(durationSeconds(duration)).toBeLessThanOrEqual(168 * 3600);
    expect(durationSeconds(duration)).toBeGreaterThanOrEqual(1);
    expect(profile.maxVUs).toBeGreaterThanOrEqual(profile.preAllocatedVUs);
    for (const { percent } of config.maxRegression) expect(percent).toBeLessThan(Infinity);
    // What InfluxDB can count in nanoseconds.
    for (const retention of [influxdb.retention, influxdb.historyRetention]) {
      expect(retention).toMatch(/^[1-9]\d{0,6}[hdw]$/);
    }
    // k6 connects to the very host that was looked at, however leniently a URL may be read.
    if (target.kind === "external") {
      const [, host] = /^https?:\/\/([^/]+)/.exec(target.baseUrl)!;
      expect(host).toBe(new URL(target.baseUrl).host);
      expect(target.baseUrl).toMatch(/^[\x21-\x7e]+$/);
    }
    if (grafana.smtp) expect(Number(grafana.smtp.host.split(":")[1])).toBeLessThan(65536);
    // Nothing is lost on the way to the runner, which gets JSON.
    expect(JSON.parse(JSON.stringify(config))).toEqual(config);
    expect(config.runId).toBe(values.runId);
  }

  function isTakenOrRefused(changed: Values, base: string) {
    const values = { ...bases[base], ...changed };
    let config: StackConfig | undefined;
    const said = refusal(() => (config = inTime(() => parseConfig(values, root))), ConfigError);
    if (config) return isSound(config, values);
    const [, named] = /^configuration key "(\w+)" is /.exec(said!)!;
    const isSecret = values[named] && secretKeys.includes(named);
    const shown = isSecret ? '"[secret]"' : JSON.stringify(values[named]);
    expect(said).toContain(`configuration key "${named}" is ${shown}: `);
    // Where two values do not go together, the one that was changed is named, too; but another
    // target needs another base URL.
    expect("target" in changed || Object.keys(changed).some((key) => said!.includes(key))).toBe(
      true,
    );
    // The example of what is allowed is nobody's.
    const told = said!.replace('{"TENANT":"acme"}', "");
    if (isSecret) expect(told).not.toContain(JSON.stringify(values[named]));
  }

  test("is taken or refused by name, whatever one value is", () => {
    fc.assert(
      fc.property(fc.constantFrom(...keys), anyText, base, (key, text, base) =>
        isTakenOrRefused({ [key]: text }, base),
      ),
      many,
    );
  });

  test("is taken or refused by name, whatever several values are", () => {
    const changed = fc.dictionary(fc.constantFrom(...keys), fc.constantFrom(...right), {
      minKeys: 1,
      maxKeys: 4,
    });
    fc.assert(
      fc.property(changed, base, (values, base) => isTakenOrRefused({ ...values }, base)),
      many,
    );
  });

  test("has no other keys, whatever they are called", () => {
    fc.assert(
      fc.property(piece, anyText, (name, text) => {
        const key = `${name}x`;
        const values = Object.fromEntries([...Object.entries(bases.external), [key, text]]);
        const said = refusal(() => parseConfig(values, root), ConfigError);
        expect(said).toContain(`is ${JSON.stringify(text)}: there is no such key; the keys are `);
      }),
      many,
    );
  });

  test("comes out of make's arguments letter by letter", () => {
    fc.assert(
      fc.property(fc.constantFrom(...keys, "__proto__", "a.b"), anyText, (key, text) => {
        if (secretKeys.includes(key) && text && text !== defaults[key]) return;
        const values = readSettings("dev", [`${key}=${text}`]);
        expect(Object.entries(values)).toContainEqual([key, text]);
      }),
      { numRuns: 300 },
    );
  });

  test("comes out of a stack's file, or the file is refused", () => {
    const project = path.join(folder, "project");
    fs.mkdirSync(project);
    fs.copyFileSync("Pulumi.yaml", path.join(project, "Pulumi.yaml"));
    const line = fc
      .tuple(fc.constantFrom(...keys, "config", "  a: [", "'"), anyText)
      .map(([key, text]) => `  coupon-load-test:${key}: ${text}`);
    const file = fc.oneof(
      fc.array(line, { maxLength: 4 }).map((lines) => ["config:", ...lines].join("\n")),
      anyText,
      fc.json().map((json) => `config: ${json}`),
    );
    process.chdir(project);
    vi.spyOn(process, "emitWarning").mockReturnValue();
    try {
      fc.assert(
        fc.property(file, (text) => {
          fs.writeFileSync("Pulumi.x.yaml", text);
          refusal(() => parseConfig(readSettings("x", []), root), ConfigError);
        }),
        { numRuns: 500 },
      );
    } finally {
      vi.restoreAllMocks();
      process.chdir(root);
    }
  });
});

describe("what profile.ts reads", () => {
  test("is a duration of finite, positive length, or none", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const seconds = inTime(() => durationSeconds(text));
        if (seconds === undefined) return;
        expect(text).toMatch(/^[\d.hms]+$/);
        expect(seconds > 0 && seconds < Infinity).toBe(true);
        // Another way to say the same.
        expect(durationSeconds(`0h${text}0ms`)).toBe(seconds);
      }),
      many,
    );
  });

  const names = { p95: "p95Ms", p99: "p99Ms", avg: "avgMs", rps: "rps" } as const;
  const percentOf = (name: keyof typeof names) =>
    fc
      .double({ min: 0, max: name === "rps" ? 99 : 1e6, noNaN: true })
      .map((number) => Number(number.toFixed(6)));
  const space = fc.constantFrom("", " ", "\t ");

  test("is every list of percentages, however it is spaced", () => {
    const part = fc
      .constantFrom(...(Object.keys(names) as (keyof typeof names)[]))
      .chain((name) => fc.tuple(fc.constant(name), percentOf(name), space, space));
    const list = fc.uniqueArray(part, { minLength: 1, selector: ([name]) => name });
    fc.assert(
      fc.property(list, (parts) => {
        // As numbers are written by hand: without an exponent.
        const digits = (number: number) => number.toFixed(6).replace(/\.?0+$/, "");
        const text = parts
          .map(([name, number, before, after]) => `${before}${name} ${digits(number)}${after}%`)
          .join(",");
        expect(parseMaxRegression(text)).toEqual(
          parts.map(([name, number]) => ({
            figure: names[name],
            percent: number,
          })),
        );
      }),
      many,
    );
  });

  test("is no list of percentages that has no finite limit, or a figure twice", () => {
    fc.assert(
      fc.property(anyText, fc.double({ min: 0, max: 1e9, noNaN: true }), (text, baseline) => {
        const allowed = inTime(() => parseMaxRegression(text));
        if (!allowed) return;
        expect(new Set(allowed.map(({ figure }) => figure)).size).toBe(allowed.length);
        for (const each of allowed) {
          expect(each.percent >= 0).toBe(true);
          const limit = regressionLimit(each, baseline);
          expect(Number.isFinite(limit)).toBe(true);
          const better = each.figure === "rps" ? limit <= baseline : limit >= baseline;
          expect(better).toBe(true);
          if (baseline > 1e-9) expect(limit === 0).toBe(false);
        }
      }),
      many,
    );
  });
});

describe("names", () => {
  const stack = fc.stringMatching(/^[A-Za-z0-9][\w.-]{0,99}$/);
  const time = fc.date({ min: new Date(0), max: new Date("9999-12-31"), noInvalidDate: true });
  const idOf = (name: string, started: Date) =>
    `${name}-${started.toISOString().replace(/[-:]|\.\d+/g, "")}`;
  /** Whether a file of this name is in the folder that it is meant for. */
  const staysIn = (place: string, name: string) =>
    path.dirname(path.resolve(place, name)) === path.resolve(place);

  test("of stacks stay in their folders, or are refused in one line", () => {
    fc.assert(
      fc.property(fc.oneof(anyText, stack), (name) => {
        const said = refusal(() => requireStackName(name), ConfigError);
        expect(said === undefined).toBe(isStackName(name));
        if (said) {
          expect(said).toContain(`STACK is ${JSON.stringify(name)}: must be at most 100 letters`);
          return;
        }
        expect(name).toMatch(/^[\w.-]{1,100}$/);
        expect(staysIn(".state", `Pulumi.${name}.yaml`)).toBe(true);
        expect(staysIn("locks", name)).toBe(true);
      }),
      many,
    );
  });

  test("of runs tell their stack, and stay in their folder and in their quotes", () => {
    fc.assert(
      fc.property(stack, time, stack, (name, started, other) => {
        const id = idOf(name, started);
        expect(stackOf(id)).toBe(name);
        expect(staysIn("runs", id)).toBe(true);
        const compared = `compare-${id}-${idOf(other, started)}.md`;
        expect(staysIn("runs", compared) && compared.length <= 255).toBe(true);
        const [, left, quoted] = /^(.*) = (.*)$/s.exec(scopeOfRun(id).where)!;
        expect([left, quoted]).toEqual([`"testid"`, literal(id)]);
      }),
      many,
    );
  });

  test("are no runs' that are of another form", () => {
    const nearlyId = fc.tuple(stack, time, piece, fc.nat()).map(([name, started, part, at]) => {
      const id = idOf(name, started);
      return id.slice(0, at % (id.length + 1)) + part + id.slice(at % (id.length + 1));
    });
    fc.assert(
      fc.property(fc.oneof(nearlyId, anyText), (id) => {
        const found = stackOf(id);
        if (found === undefined) return;
        expect(id).toMatch(/^[\w.-]+-\d{8}T\d{6}Z$/);
        expect(isStackName(found) && id.startsWith(`${found}-`)).toBe(true);
      }),
      many,
    );
  });

  test.each([
    [["../x", "A=a", "B=b"], `STACK is "../x": must be at most 100 letters, digits`],
    [["dev", "A=../../x", "B=dev-20260102T030405Z"], `A is "../../x": must be a run's id`],
    [["dev", "A=dev-20260102T030405Z", "B=dev-20260102T030405Z=/../x"], `B is "dev-2026`],
    [["dev", "A=a\n'; DROP DATABASE k6", "B=b"], `A is "a\\n'; DROP DATABASE k6": must be a run's`],
  ])("like %j are refused by make compare before anything is asked or written", (args, words) => {
    const place = fs.mkdtempSync(path.join(folder, "compare-"));
    const asked = path.join(place, "asked");
    fs.mkdirSync(path.join(place, "bin"));
    fs.writeFileSync(
      path.join(place, "bin/pulumi"),
      `#!/bin/sh\n[ "$*" = version ] || echo "$*" >> '${asked}'\necho v3.0.0\n`,
      { mode: 0o755 },
    );
    const project = path.join(place, "project");
    fs.mkdirSync(project);
    fs.symlinkSync(path.join(root, "node_modules"), path.join(project, "node_modules"));
    const { stderr, status } = spawnSync(
      process.execPath,
      [path.join(root, "launch.js"), "scripts/stack.ts", "compare", ...args],
      {
        cwd: project,
        env: { ...process.env, PATH: `${path.join(place, "bin")}:${process.env.PATH}` },
        encoding: "utf8",
      },
    );
    expect(stderr).toMatch(/^make compare: [^\n]+\n$/);
    expect(stderr).toContain(words);
    expect(status).toBe(1);
    expect(fs.readdirSync(place)).toEqual(["bin", "project"]);
    expect(fs.readdirSync(project)).toEqual(["node_modules"]);
  });
});

describe("InfluxQL", () => {
  /**
   * Reads what is in quotes as InfluxDB 1.8 does (influxql's ScanString): these escapes and no others,
   * and no line break, of which it takes \r for one; gives what is left after the closing quote.
   */
  function read(statement: string): { text: string; rest: string } {
    const quote = statement[0];
    let text = "";
    for (let at = 1; at < statement.length; at++) {
      const sign = statement[at];
      if (sign === quote) return { text, rest: statement.slice(at + 1) };
      if ("\0\r\n".includes(sign)) break;
      if (sign !== "\\") text += sign;
      else {
        const escaped = { n: "\n", "\\": "\\", '"': '"', "'": "'" }[statement[++at]];
        if (escaped === undefined) break;
        text += escaped;
      }
    }
    throw new Error(`InfluxDB cannot read ${JSON.stringify(statement)}`);
  }

  test("has every text back as it was or cannot be read, and has nothing outside its quotes", () => {
    fc.assert(
      fc.property(anyText, fc.constantFrom(identifier, literal), (text, quote) => {
        const statement = `${quote(text)}; rest`;
        if (/[\0\r]/.test(text)) expect(() => read(statement)).toThrow("InfluxDB cannot read");
        else expect(read(statement)).toEqual({ text, rest: "; rest" });
      }),
      many,
    );
  });
});

/** What can be an argument of a program: well-formed, and not longer than a line may be. */
const argument = anyText.map((text) => wellFormed(text.replaceAll("\0", "").slice(0, 2000)));

/** A program's argument that can be the name of a file, too. */
const fileName = argument
  .map((text) => Buffer.from(text.replaceAll("/", "-")).subarray(0, 200).toString())
  .map((text) => wellFormed(text).replaceAll("\ufffd", ""))
  .filter((text) => !["", ".", ".."].includes(text));

describe("make", () => {
  let place: string;
  let bin: string;
  beforeAll(() => {
    place = path.join(folder, "make");
    bin = path.join(place, "bin");
    program(bin, "node");
    fs.copyFileSync("Makefile", path.join(place, "Makefile"));
    fs.mkdirSync(path.join(place, "node_modules"));
    for (const name of ["package.json", "package-lock.json", "node_modules/.installed"]) {
      fs.writeFileSync(path.join(place, name), "");
    }
  });

  /** Runs make for real; gives the arguments that Node.js got, or what make says. */
  function make(args: string[], env: NodeJS.ProcessEnv = {}) {
    fs.rmSync(path.join(bin, "arguments"), { force: true });
    const { stderr } = spawnSync("make", args, {
      cwd: place,
      env: { PATH: `${bin}:${process.env.PATH}`, LC_ALL: "C.UTF-8", ...env },
      encoding: "utf8",
    });
    // What a value would have left, had it been run.
    expect(fs.readdirSync(place).sort()).toEqual([
      ...["Makefile", "bin", "node_modules", "package-lock.json", "package.json"],
    ]);
    const ran = fs.existsSync(path.join(bin, "arguments"));
    return { said: stderr, got: ran ? argumentsOf(bin) : undefined };
  }

  // Among them names that the Makefile itself could have.
  const name = fc.constantFrom(
    ...["rate", "script", "runId", "stack", "settings", "quote", "name", "given", "a.b", "x$$y"],
  );

  test("hands every value over as it is, or refuses it; it runs none", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("up", "rehearse", "compare"),
        fc.dictionary(name, argument, { maxKeys: 3 }),
        argument,
        (command, values, stack) => {
          const { said, got } = make([
            ...[command, `STACK=${stack}`],
            ...Object.entries(values).map(([key, value]) => `${key}=${value}`),
          ]);
          // Blanks before a value are dropped by make itself; `$$` in a name is its `$`.
          const trimmed = (text: string) => text.replace(/^[ \t\n\v\f\r]+/, "");
          const settings = Object.entries(values).map(
            ([key, value]) => `${key.replace("$$", "$")}=${trimmed(value)}`,
          );
          if ([trimmed(stack), ...settings].some((each) => each.includes("\n"))) {
            expect(got).toBeUndefined();
            expect(said).toMatch(/^Makefile:\d+: \*\*\* a line break cannot go [^\n]*Stop\.\n$/);
            return;
          }
          expect(said).toBe("");
          const [script, ...rest] = got!.slice(1);
          const before = command === "rehearse" ? [] : [command];
          expect(script).toBe(`scripts/${before.length > 0 ? "stack" : "rehearse"}.ts`);
          expect(rest.slice(0, before.length + 1)).toEqual([...before, trimmed(stack)]);
          expect(rest.slice(before.length + 1).sort()).toEqual(settings.sort());
        },
      ),
      { numRuns: 200 },
    );
  });

  test.each([
    ["up", "runId=$(shell touch pwned)$x"],
    ["up", "stack=touch pwned"],
    ["up", "settings=; touch pwned"],
    ["up", "name=staging"],
  ])("%s %s is a key and a value, and nothing else", (command, setting) => {
    expect(make([command, setting]).got).toEqual([
      ...["launch.js", "scripts/stack.ts", command, "dev", setting],
    ]);
  });

  test("runs nothing out of the environment's STACK", () => {
    const { got } = make(["up"], { STACK: "$(shell touch pwned)" });
    expect(got?.at(-1)).toBe("$(shell touch pwned)");
  });

  test("runs nothing after a line break, though it is told to go on after errors", () => {
    const { said, got } = make(["-i", "up", "runId=a\ntouch pwned #"]);
    expect(said).toContain("a line break cannot go through make: runId=a\\ntouch pwned #");
    expect(got).toBeUndefined();
  });
});

/** Runs that differ in what is started. */
const requestFor = (executor: ExecutorChoice, script: string, url = "http://127.0.0.1:1") => ({
  ...{ stack: "dev", runId: "", script, scriptHash: "0", executor },
  ...{ profile: defaultProfile, thresholds: defaultThresholds, maxSeries: 1 },
  ...{
    baseline: "",
    maxRegression: [],
    routeLimits: [],
    starvedGenerator: "warn" as const,
    allowedHosts: [],
  },
  target: { url, version: "" },
  influxdb: { url: "http://127.0.0.1:2", database: "k6" },
});
const login = { username: "a", password: "b" };
const credentials = { writer: login, reader: login };
const id = "dev-20260102T030405Z";

describe("k6", () => {
  const { signal } = new AbortController();
  const entry: Entry = ({ script, files }) => `${script} ${files}`;
  let count = 0;
  /** A folder of its own, in a folder of any name. */
  const placeOf = (name: string) => path.join(folder, `k6-${count++}`, name);

  test("on this machine gets script and target as they are, whatever they are called", async () => {
    await fc.assert(
      fc.asyncProperty(fileName, fileName, argument, async (name, beside, url) => {
        const place = placeOf(name);
        const binary = program(place, "k6", 'cat > "$here/entry"');
        const script = path.join(place, `${beside}.ts`);
        const request = requestFor({ kind: "local", binary }, script, url);
        const ends = await executorFor(request, credentials).run(id, place, entry, signal);
        expect(ends).toEqual([{ dir: place, exitCode: 0 }]);
        const [run, flag, , ...rest] = argumentsOf(place);
        expect([run, flag]).toEqual(["run", "--config"]);
        expect(rest.at(-1)).toBe("-");
        expect(rest).toContain(`BASE_URL=${url}`);
        expect(fs.readFileSync(path.join(place, "entry"), "utf8")).toBe(`${script} ${place}/files`);
        expect(fs.existsSync("pwned") || fs.existsSync(path.join(place, "pwned"))).toBe(false);
      }),
      { numRuns: 60 },
    );
  });

  test("in Docker gets every file that the script names, whatever they are called", async () => {
    const bin = path.join(folder, "docker");
    program(
      bin,
      "docker",
      `case "$1 $2" in
        "create "*) cp "$here/arguments" "$here/created" ;;
        "cp -") cat > "$here/in.tar" ;;
        "cp "*) cat "$here/empty.tar" ;;
        "start "*) cat > "$here/entry" ;;
      esac`,
    );
    fs.writeFileSync(path.join(bin, "empty.tar"), Buffer.alloc(1024));
    vi.stubEnv("PATH", `${bin}:${process.env.PATH}`);
    const files = fc.dictionary(fileName, fc.string(), { minKeys: 1, maxKeys: 4 });
    const docker: ExecutorChoice = { kind: "docker", image: "k6:1", network: "n" };
    try {
      await fc.assert(
        fc.asyncProperty(fileName, files, async (name, beside) => {
          const place = placeOf("script");
          fs.mkdirSync(place, { recursive: true });
          const opened = Object.keys(beside).map((each) => `open(${JSON.stringify(each)});`);
          const all = { ...beside, [`${name}.ts`]: opened.join("") };
          for (const [each, content] of Object.entries(all)) {
            fs.writeFileSync(path.join(place, each), content);
          }
          const script = path.join(place, `${name}.ts`);
          const names = scriptFiles(script).files.map((each) => each.name);
          expect(names).toEqual(Object.keys(all).sort());

          const out = placeOf("out");
          fs.mkdirSync(out, { recursive: true });
          await executorFor(requestFor(docker, script), credentials).run(id, out, entry, signal);
          const created = fs.readFileSync(path.join(bin, "created"), "utf8").split("\0");
          expect(created.at(-2)).toBe("-");
          const given = fs.readFileSync(path.join(bin, "entry"), "utf8");
          expect(given).toBe(`/load-test/script/${name}.ts /load-test/out/files`);
          // As another tar reads it.
          const untar = spawnSync("tar", ["-xf", path.join(bin, "in.tar"), "-C", out]);
          expect(untar.stderr.toString()).toBe("");
          const copied = path.join(out, "script");
          expect(fs.readdirSync(copied).sort()).toEqual(Object.keys(all).sort());
          for (const [each, content] of Object.entries(all)) {
            expect(fs.readFileSync(path.join(copied, each), "utf8")).toBe(wellFormed(content));
          }
        }),
        { numRuns: 30 },
      );
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test("tells its version in one line, or why it cannot be started", async () => {
    const place = path.join(folder, "version");
    const says = fc.oneof(
      argument,
      argument.map((text) => `${text}v1.8.1${text}`),
    );
    const binary = program(
      place,
      "k6",
      `cat "$here/out"; cat "$here/error" >&2; exit "$(cat "$here/exit")"`,
    );
    await fc.assert(
      fc.asyncProperty(says, says, fc.constantFrom(0, 0, 1, 137), async (out, error, exit) => {
        fs.writeFileSync(path.join(place, "out"), out);
        fs.writeFileSync(path.join(place, "error"), error);
        fs.writeFileSync(path.join(place, "exit"), `${exit}`);
        const { version } = executorFor(requestFor({ kind: "local", binary }, "x"), credentials);
        const told = await version(new AbortController().signal).catch((reason) => reason);
        expect(told instanceof RunFailure).toBe(exit !== 0);
        const line = exit === 0 ? told : told.message;
        if (line !== "") expect(line).toMatch(oneLine);
        if (exit !== 0) expect(line).toContain(`k6 cannot be started (${binary}):`);
      }),
      { numRuns: 100 },
    );
  });
});

describe("what k6 leaves", () => {
  let dir: string;
  beforeAll(() => {
    dir = path.join(folder, "left");
    fs.mkdirSync(dir);
  });

  /** Lines of a log as logrus writes them, torn, or none at all. */
  const quotedByGo = anyText.map((text) =>
    JSON.stringify(text).replaceAll("\\u00", "\\x").replaceAll("\u00a0", "\\u00a0"),
  );
  const logged = fc
    .tuple(fc.constantFrom("error", "warning"), fc.oneof(quotedByGo, anyText), anyText)
    .map(([level, message, more]) => `time="2026" level=${level} msg=${message} source=${more}`);
  const known = fc.constantFrom(
    `level=error msg="Couldn't write stats" error="full"`,
    `level=error msg="thresholds on metrics 'checks' have been crossed"`,
    `level=error msg="Problems:\\n\\t- a\\n"`,
    `level=error msg="`,
    `level=error msg=""`,
    `level=error msg="\\u12 \\N \\U0001f600 \\x9b"`,
  );
  const log = fc.oneof(
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc
      .tuple(fc.array(fc.oneof(logged, known), { maxLength: 6 }), fc.nat({ max: 30 }))
      .map(([lines, torn]) => {
        const bytes = Buffer.from(lines.join("\n"));
        return bytes.subarray(0, Math.max(0, bytes.length - torn));
      }),
  );

  test("as its log is told in one line", () => {
    const file = path.join(dir, "k6.log");
    fc.assert(
      fc.property(log, (bytes) => {
        fs.writeFileSync(file, bytes);
        expect(inTime(() => lastError(dir))).toMatch(oneLine);
        const refusal = inTime(() => lastRefusal(dir));
        const lines = bytes.toString().split("\n");
        const refused = (line: string) =>
          line.includes('level=error msg="') &&
          line.includes(`msg="Couldn't write stats`) &&
          !/ source=console\b/.test(line);
        expect(refusal !== undefined).toBe(lines.some(refused));
        if (refusal !== undefined) expect(refusal).toMatch(oneLine);
      }),
      many,
    );
  });

  test("as its log is told though it is of one endless line", () => {
    const file = path.join(dir, "k6.log");
    for (const part of ["x", " ", '\\"', "\\n", "\\", "level=error msg=", ": \\n "]) {
      fs.writeFileSync(file, `level=error msg="${part.repeat(20e6 / part.length)}`);
      expect(inTime(() => lastError(dir)).length).toBeLessThan(20_000);
    }
  });
});

test("a run is one point of the ledger, whatever is said of it", () => {
  const request = requestFor({ kind: "local", binary: "k6" }, "x");
  const read = (text: string) =>
    text
      .split(/[\s\p{Cc}]/u)
      .filter((word) => word !== "")
      .join(" ");
  fc.assert(
    fc.property(entryOf(id), anyText, (entry, commit) => {
      const { measurement, tags, fields, time } = pointOf(ledgerPoint(request, entry, commit));
      expect([measurement, time]).toEqual(["k6_runs", "1767323045678000000"]);
      expect(tags).toMatchObject({ testid: id, stack: "dev", verdict: entry.verdict });
      expect(fields).toMatchObject({
        outcome: read(entry.outcome),
        commit: read(commit),
        k6Version: read(entry.k6Version ?? ""),
        baseline: entry.baseline?.id ?? "",
        load: "1000 per 1m, 1m",
        p95MsLimit: 500,
      });
      for (const figure of Object.keys(figures) as (keyof typeof figures)[]) {
        const value = entry.figures?.[figure];
        const finite = Number.isFinite(value) ? value! + 0 : undefined;
        expect(fields[figure]).toBe(finite);
      }
    }),
    many,
  );
});
