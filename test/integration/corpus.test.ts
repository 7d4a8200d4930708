/**
 * No verdict is greener than k6's own, whatever the script: each script of `test/corpus`, and many
 * that are made up, is run by plain k6 and as a load test, and the two are compared.
 */
import fc from "fast-check";
import * as fs from "node:fs";
import * as path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test, type ExpectStatic } from "vitest";
import { oneLine, type Summary } from "../../runner/types";
import {
  compare,
  corpus,
  filesIn,
  repeatable,
  scriptsFolder,
  type Compared,
} from "../support/corpus";
import { startTarget, type Target } from "../support/corpus-target";
import { anyScript } from "../support/corpus-generated";
import { figuresOf, nameInK6, without, withoutSamples } from "../support/corpus-points";
import { findParts, Rig, type Store } from "../support/rig";

const minute = 60_000;
const project = process.cwd();

let missing: string | undefined;
let rig: Rig;
let target: Target;
/** Databases that no script has just now. */
const stores: Store[] = [];
const compared: Record<"corpus" | "generated", Compared[]> = { corpus: [], generated: [] };

beforeAll(async () => {
  const found = await findParts();
  if ("missing" in found) return void (missing = found.missing);
  rig = await Rig.start(found.parts);
  target = await startTarget();
  // A run leaves `runs/` where it is started.
  process.chdir(rig.folder);
}, 10 * minute);

beforeEach((context) => context.skip(missing !== undefined, missing));

afterAll(async () => {
  process.chdir(project);
  await target?.stop();
  await rig?.stop();
});

afterAll(() => {
  if (missing) return;
  const all = [...compared.corpus, ...compared.generated];
  const points = all.flatMap(({ unaccounted }) => unaccounted);
  console.log(
    `compared with k6: ${compared.corpus.length} scripts of the corpus, ` +
      `${compared.generated.length} generated: ` +
      `${all.filter(({ greener }) => greener).length} greener than k6, ` +
      `${points.length} points unaccounted for`,
  );
});

/** Compares a script, with a database that no other has at the same time. */
async function both(script: string, baseUrl: string, into: Compared[]): Promise<Compared> {
  const store = stores.pop() ?? (await rig.store());
  try {
    const result = await compare(rig, store, script, baseUrl);
    into.push(result);
    return result;
  } finally {
    stores.push(store);
  }
}

test("the table of the corpus names every script", () => {
  const scripts = corpus().map(({ script }) => script);
  expect(scripts.sort()).toEqual(fs.readdirSync(scriptsFolder).sort());
  expect(scripts.length).toBeGreaterThanOrEqual(60);
});

describe.concurrent("k6 and a load test agree on", () => {
  const addressFor = (script: string) =>
    /^grpc-/.test(script) ? target.grpc : /^ws-/.test(script) ? target.ws : target.http;

  test.for(corpus())("$script", { timeout: 10 * minute }, async (expected, { expect }) => {
    const { script } = expected;
    const result = await both(`${scriptsFolder}/${script}`, addressFor(script), compared.corpus);
    const { plain, ours } = result;
    const why = JSON.stringify(ours.told);
    expect(plain.exitCode, "plain k6's exit code").toBe(expected.exitCode);
    expect(ours.verdict, why).toBe(expected.verdict);
    for (const text of expected.says) expect(why).toContain(JSON.stringify(text).slice(1, -1));
    if (expected.verdict === "passed" && expected.says.length === 0) expect(ours.told).toEqual([]);

    if (!expected.countsVary) expect(repeatable(ours.points)).toEqual(repeatable(plain.points));
    holds(expect, result);
  });
});

describe.concurrent("k6 and a load test agree on scripts that are made up", () => {
  const seed = fc.readConfigureGlobal()?.seed ?? 0;

  test.for([1, 2, 3, 4])("part %i", { timeout: 15 * minute }, async (part, { expect }) => {
    const file = path.join(rig.folder, `generated-${part}.js`);
    const agree = async ({ text, thresholds }: { text: string; thresholds: string[] }) => {
      fs.writeFileSync(file, text);
      const result = await both(file, target.http, compared.generated);
      const { plain, ours, missing } = result;
      holds(expect, result);
      expect(repeatable(ours.points)).toEqual(repeatable(plain.points));

      const silent = withoutSamples(thresholds, plain.samples);
      // A load test adds system tags that thresholds need: what k6 alone has no sample for, it may.
      if (withoutSamples(thresholds, ours.samples).length < silent.length) return;
      const checks = plain.points.filter(({ metric }) => metric === "checks");
      const checksFailed = checks.filter(({ value }) => value === 0).length > 0.01 * checks.length;
      const lost = missing.length > 0;
      const passes = plain.exitCode === 0 && silent.length === 0 && !checksFailed && !lost;
      const told = ours.told.join("; ");
      expect(ours.verdict, told).toBe(passes ? "passed" : "failed");
      if (lost) expect(text).toMatch(cannotBeStored);
      if (plain.exitCode > 0 || checksFailed || lost) return;
      for (const threshold of silent) expect(told).toContain(oneLine(nameInK6(threshold)));
    };
    await fc.assert(fc.asyncProperty(anyScript, agree), {
      ...{ seed: seed + part, numRuns: 53 },
      // A machine that is slow fails; a script that fails is made smaller only for so long.
      ...{ interruptAfterTimeLimit: 10 * minute, markInterruptAsFailure: true },
    });
  });
});

/** In a script's text, what line protocol cannot hold in a tag, or as a value. */
const cannotBeStored = /\\n|\\\\(?=[ ,="])|Infinity/;

/** What holds of every script, however it ends. */
function holds(expect: ExpectStatic, { plain, ours, greener, missing, unaccounted }: Compared) {
  expect(greener, "passed, though k6 did not").toBe(false);
  expect(unaccounted, "points that are missing without a word").toEqual([]);
  if (ours.verdict === "passed") expect(missing, "points that a passed run misses").toEqual([]);
  // A text that line protocol cannot hold makes others of a point, under any name.
  const added = missing.length > 0 ? [] : without(ours.stored, ours.points);
  expect(added, "points that k6 did not make").toEqual([]);

  const { summary } = ours;
  for (const [figure, value] of Object.entries(figuresOf(ours.points))) {
    if (summary[figure as keyof Summary] === undefined && ours.verdict === "failed") continue;
    expect(summary[figure as keyof Summary], figure).toBe(value);
  }
  const kept = filesIn(ours.dir);
  expect(Object.values(kept)).toEqual(expect.arrayContaining(Object.values(plain.files)));
  const secret = Object.keys(kept).filter((name) => kept[name].includes("never-in-runs"));
  expect(secret, "files that have what setup() returned").toEqual([]);
}
