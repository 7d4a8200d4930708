/** Scripts that are made up: thresholds, tags, and names of metrics, checks, groups and scenarios. */
import fc from "fast-check";
import { piece, wellFormed } from "./anything";

const kinds = ["Counter", "Gauge", "Rate", "Trend"] as const;
type Kind = (typeof kinds)[number];
type Tags = Record<string, string>;

interface Made {
  iterations: number;
  scenario: string;
  tags: Tags;
  systemTags?: string[];
  metrics: { name: string; kind: Kind; isTime: boolean; adds: { value: number; tags: Tags }[] }[];
  checks: { name: string; passes: boolean; tags: Tags }[];
  group?: string;
  thresholds: {
    /** Which of the metrics, tags, aggregations and values, each modulo how many there are. */
    metric: number;
    tag?: number;
    aggregation: number;
    comparison: string;
    value: number;
    abortOnFail: boolean;
  }[];
  ending: string;
  summary?: string;
}

const letters = fc.stringMatching(/^[a-z][a-z0-9 .=_-]{0,11}$/);
const text = fc.oneof(
  { weight: 4, arbitrary: letters },
  {
    weight: 1,
    arbitrary: fc.array(piece, { maxLength: 3 }).map((all) => wellFormed(all.join(""))),
  },
);
const metricName = fc.oneof(
  fc.stringMatching(/^[a-zA-Z_][a-zA-Z0-9_]{1,20}$/),
  fc.constantFrom(
    "select",
    "time",
    "value",
    "gate",
    "heartbeat",
    "k6_runs",
    "http_errors",
    "field",
  ),
);
// k6 breaks down on a tag without a name.
const tagName = fc.oneof(
  { weight: 8, arbitrary: text.filter((each) => each !== "") },
  { weight: 1, arbitrary: fc.constantFrom("user", "url", "vu", "name", "value", "team", "zone") },
);
const tags = fc.dictionary(tagName, text, { maxKeys: 2 });
const number = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 5 }) },
  { weight: 3, arbitrary: fc.double({ min: -1e6, max: 1e6, noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(1e21, 5e-324, 2 ** 53, 0.1 + 0.2, Infinity, NaN) },
);

const made: fc.Arbitrary<Made> = fc.record(
  {
    iterations: fc.integer({ min: 1, max: 3 }),
    scenario: fc.stringMatching(/^[0-9a-zA-Z_-]{1,12}$/),
    tags,
    systemTags: fc.subarray(["check", "group", "scenario", "name", "status", "url", "vu", "iter"]),
    metrics: fc.uniqueArray(
      fc.record({
        name: metricName,
        kind: fc.constantFrom(...kinds),
        isTime: fc.boolean(),
        adds: fc.array(fc.record({ value: number, tags }), { maxLength: 3 }),
      }),
      { selector: ({ name }) => name, maxLength: 3 },
    ),
    checks: fc.array(
      fc.record({
        name: text,
        passes: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.boolean()),
        tags,
      }),
      { maxLength: 3 },
    ),
    group: text,
    thresholds: fc.array(
      fc.record(
        {
          ...{ metric: fc.nat(100), tag: fc.nat(100), aggregation: fc.nat(100) },
          comparison: fc.constantFrom("<", "<=", ">", ">=", "==", "===", "!=", " >= "),
          value: fc.nat(100),
          abortOnFail: fc.boolean(),
        },
        { requiredKeys: ["metric", "aggregation", "comparison", "value", "abortOnFail"] },
      ),
      { maxLength: 3 },
    ),
    ending: fc.oneof(
      { weight: 9, arbitrary: fc.constant("") },
      fc.constantFrom(
        `exec.test.fail("no good");`,
        `exec.test.abort("seen enough");`,
        `throw new Error("no more");`,
      ),
    ),
    summary: fc.constantFrom(
      `(data) => { data.metrics = {}; return {}; }`,
      `() => "all is well"`,
      `() => { throw new Error("no summary"); }`,
    ),
  },
  {
    requiredKeys: ["iterations", "scenario", "tags", "metrics", "checks", "thresholds", "ending"],
  },
);

/**
 * A script, and the names of its thresholds. Each makes the same samples whenever it is run, but for
 * their times.
 */
export const anyScript = made.map((script) => ({
  text: textOf(script),
  thresholds: Object.keys(thresholdsOf(script)),
}));

function textOf(script: Made): string {
  const { iterations, scenario, systemTags, metrics, checks, group, ending, summary } = script;
  const options = {
    scenarios: { [scenario]: { executor: "shared-iterations", vus: 1, iterations } },
    ...{ tags: script.tags, systemTags, thresholds: thresholdsOf(script) },
  };
  const declared = metrics.map(
    ({ name, kind, isTime }) => `new ${kind}(${JSON.stringify(name)}, ${isTime})`,
  );
  const adds = metrics.flatMap(({ adds }, n) =>
    adds.map(({ value, tags }) => `metrics[${n}].add(${value}, ${JSON.stringify(tags)});`),
  );
  const checked = checks.map(
    ({ name, passes, tags }) =>
      `check(null, { [${JSON.stringify(name)}]: () => ${passes} }, ${JSON.stringify(tags)});`,
  );
  const body = [...checked, ...adds].map((line) => `  ${line}\n`).join("");
  const grouped =
    group === undefined ? body : `group(${JSON.stringify(group)}, () => {\n${body}});\n`;
  return `import { check, group } from "k6";
import exec from "k6/execution";
import { Counter, Gauge, Rate, Trend } from "k6/metrics";

const metrics = [${declared.join(", ")}];

export const options = ${JSON.stringify(options, null, 2)};

export default function () {
${grouped}${ending}
}
${summary === undefined ? "" : `\nexport const handleSummary = ${summary};\n`}`;
}

function thresholdsOf({ thresholds, metrics, checks, tags, scenario, group }: Made) {
  const all: { name: string; kind: Kind; measured?: boolean }[] = [
    ...[...metrics, ...metrics, ...metrics],
    ...[
      { name: "iterations", kind: "Counter" as const },
      { name: "checks", kind: "Rate" as const },
      { name: "iteration_duration", kind: "Trend" as const, measured: true },
      { name: "group_duration", kind: "Trend" as const, measured: true },
      { name: "http_req_failed", kind: "Rate" as const },
    ],
  ];
  const used = [
    ...[tags, ...metrics.flatMap(({ adds }) => adds.map(({ tags }) => tags))].flatMap((each) =>
      Object.entries(each),
    ),
    ...checks.map(({ name }) => ["check", name]),
    ...[
      ["scenario", scenario],
      ["group", `::${group}`],
      ["user", "nobody"],
    ],
  ];
  const result: Record<string, object[]> = {};
  for (const { metric, tag, aggregation, comparison, value, abortOnFail } of thresholds) {
    const { name, kind, measured } = pick(all, metric);
    const [key, text] = tag === undefined ? [] : pick(used, tag);
    const what = pick(aggregations[kind], aggregation);
    // What is measured is another number each time, though always between these.
    const byTime = measured || (kind === "Counter" && what === "rate");
    const limit = byTime ? pick([-1, 1e12], value) : pick([0, 1, 2, 3, 0.5, 5, -1], value);
    const on = key === undefined ? name : `${name}{${key}:${text}}`;
    (result[on] ??= []).push({ threshold: `${what}${comparison}${limit}`, abortOnFail });
  }
  return result;
}

const aggregations: Record<Kind, string[]> = {
  Counter: ["count", "rate"],
  Gauge: ["value"],
  Rate: ["rate"],
  Trend: ["avg", "min", "med", "max", "p(95)", "p(99.9)", "p(0)"],
};

const pick = <T>(all: T[], at: number): T => all[at % all.length];
