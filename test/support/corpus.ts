/** A script run by plain k6 and as a load test, and where the two differ. */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { runLoadTest } from "../../runner/run";
import { RunFailure, type Summary } from "../../runner/types";
import { pointsOfK6, pointsStored, valuesByMetric, without, type Point } from "./corpus-points";
import type { Rig, Store } from "./rig";

const folder = path.resolve(__dirname, "../corpus");

/** A line of the table in `test/corpus/README.md`. */
export interface Expected {
  script: string;
  exitCode: number;
  verdict: string;
  says: string[];
  countsVary: boolean;
}

/** The scripts, and what is expected of each. */
export function corpus(): Expected[] {
  const lines = fs.readFileSync(path.join(folder, "README.md"), "utf8").split("\n");
  return lines
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .map(([, script, exitCode, verdict, says, counts]) => ({
      ...{ script: texts(script)[0], exitCode: Number(exitCode), verdict },
      ...{ says: texts(says), countsVary: counts === "vary" },
    }));
}

const texts = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, text]) => text);

export const scriptsFolder = path.join(folder, "scripts");

/** What plain k6 did. */
interface Plain {
  exitCode: number;
  /** Its `--out json`, and the points in it. */
  samples: string;
  points: Point[];
  /** What the script wrote, by name. */
  files: Record<string, string>;
}

/** What a load test of the same script did. */
export interface Ours {
  verdict: string;
  /** The reason of a failed run, and all warnings. */
  told: string[];
  summary: Summary;
  /** What its k6 made, as it wrote that down, and what is stored of it. */
  samples: string;
  points: Point[];
  stored: Point[];
  dir: string;
}

export interface Compared {
  plain: Plain;
  ours: Ours;
  /** Passed here, though plain k6 did not end with 0. */
  greener: boolean;
  /** Points that are not stored as they were made. */
  missing: Point[];
  /** Those of them whose metric the run does not name. */
  unaccounted: Point[];
}

/** Runs a script both ways, one after the other. The current folder is where `runs/` is. */
export async function compare(
  rig: Rig,
  store: Store,
  script: string,
  baseUrl: string,
): Promise<Compared> {
  const plain = await runPlain(rig, script, baseUrl);
  const ours = await runOurs(rig, store, script, baseUrl);
  const missing = without(ours.points, ours.stored);
  const named = (metric: string) =>
    ours.told.some((text) =>
      wordIn(metric === "http_reqs" ? "(http_reqs|requests)" : metric, text),
    );
  return {
    ...{ plain, ours, missing },
    greener: ours.verdict === "passed" && plain.exitCode !== 0,
    unaccounted: missing.filter(({ metric }) => !named(metric)),
  };
}

const wordIn = (word: string, text: string) => new RegExp(`(?<!\\w)${word}(?!\\w)`).test(text);

/** Plain k6 in a folder of its own, with its samples in a file beside. */
async function runPlain({ folder, parts }: Rig, script: string, baseUrl: string): Promise<Plain> {
  const cwd = fs.mkdtempSync(path.join(folder, "plain-"));
  const samples = `${cwd}.json`;
  const options = ["--quiet", "--no-color", "--no-usage-report", "--env", `BASE_URL=${baseUrl}`];
  const child = spawn(parts.k6, ["run", ...options, "--out", `json=${samples}`, script], {
    ...{ cwd, stdio: "ignore" },
    // No script takes so long, but k6 may hang by one that is made up.
    ...{ timeout: 120_000, killSignal: "SIGKILL" },
    env: { ...withoutK6(process.env), K6_AUTO_EXTENSION_RESOLUTION: "false", NO_PROXY: "*" },
  });
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 137));
  });
  return { exitCode, samples, points: pointsOfK6(samples), files: filesIn(cwd) };
}

const withoutK6 = (env: NodeJS.ProcessEnv) =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("K6_")));

/** A load test, whose k6 also has its samples in a file: the stack knows no second output. */
async function runOurs(rig: Rig, store: Store, script: string, baseUrl: string): Promise<Ours> {
  const request = rig.request(store, baseUrl, { script });
  const samples = path.join(rig.folder, `${request.stack}.json`);
  const binary = path.join(rig.folder, `${request.stack}-k6`);
  const { k6 } = rig.parts;
  const both = `[ "$1" = run ] && exec '${k6}' "$@" --out 'json=${samples}'\nexec '${k6}' "$@"\n`;
  fs.writeFileSync(binary, `#!/bin/sh\n${both}`, { mode: 0o755 });
  request.executor = { kind: "local", binary };
  const never = new AbortController().signal;
  const verdict = await runLoadTest(request, store.credentials, () => undefined, never).then(
    () => "passed",
    (error) => {
      if (error instanceof RunFailure) return "failed";
      throw error;
    },
  );
  const name = fs.readdirSync("runs").find((each) => each.startsWith(`${request.stack}-`))!;
  const dir = path.resolve("runs", name);
  const summary: Summary = JSON.parse(fs.readFileSync(path.join(dir, "summary.json"), "utf8"));
  return {
    ...{ verdict, summary, dir },
    told: [...(summary.reason ? [summary.reason] : []), ...summary.warnings],
    samples,
    points: pointsOfK6(samples),
    stored: await pointsStored(rig.admin.url, store, name),
  };
}

/** The files in a folder with their content, by name. */
export const filesIn = (folder: string): Record<string, string> =>
  Object.fromEntries(
    fs
      .readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => fs.statSync(path.join(folder, name)).isFile())
      .map((name) => [name, fs.readFileSync(path.join(folder, name), "utf8")]),
  );

/** What must be the same in two runs of a script that does the same each time. */
export function repeatable(points: Point[]): Record<string, number[] | number> {
  // How many virtual users there are is told once a second.
  const all = Object.entries(valuesByMetric(points)).filter(([metric]) => !/^vus/.test(metric));
  return Object.fromEntries(
    all.map(([metric, values]) => [metric, isMeasured(metric) ? values.length : values]),
  );
}

/** Whether a metric's values are times or bytes, which differ each time; its count does not. */
const isMeasured = (metric: string) =>
  /^(data_|http_req_(?!failed)|grpc_req_|ws_(connecting|session_)|.*_duration$)/.test(metric);
