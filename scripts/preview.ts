/** What `make up` would change, out of the events of a preview; as lines and as Markdown. */
import { markdownTable } from "../runner/report";
import { type EngineEvent, nameOf, type Step } from "./events";

export interface Preview {
  /** Operation, resource, and what of it changes; in the engine's order. */
  changes: { op: string; name: string; what: Difference[] }[];
  unchanged: number;
  /** Why the load test will run; absent: it will not. */
  loadTest?: { why: string; what: Difference[] };
}

/** A value that changes, by its path: `profile.rate`, `1000`, `2000`. */
export type Difference = [path: string, before: string, after: string];

/** What a comment on GitHub can take is bounded (65,536 characters). */
const longestDiff = 40_000;

/** How Pulumi writes a value that only `up` will tell. */
const unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** @param loadTestUrn the resource that runs the test */
export function previewOf(events: EngineEvent[], loadTestUrn: string): Preview {
  const steps = events.flatMap(({ resourcePreEvent }) => resourcePreEvent?.metadata ?? []);
  // A replacement is three steps: one for each half, and one for the whole. Pulumi's own summary does
  // not count default providers either, to which each change of the configuration is one.
  const whole = steps.filter(
    ({ op, urn }) =>
      !/^(create-replacement|delete-replaced|read)$/.test(op) &&
      !/::pulumi:providers:[^:]+::default/.test(urn),
  );
  const changed = whole.filter(({ op }) => op !== "same");
  const changes = changed
    .filter(({ urn }) => !urn.includes("::pulumi:pulumi:Stack::"))
    .map((step) => ({ op: step.op, name: nameOf(step.urn), what: changesOf(step) }));
  const test = changed.find(({ urn }) => urn === loadTestUrn);
  // An update hands it new passwords for its next run.
  const runs = test && (test.op === "create" || test.op === "replace");
  const loadTest = runs ? { loadTest: reasonOf(test) } : {};
  return { changes, unchanged: whole.length - changed.length, ...loadTest };
}

/** Why the load test runs: its request is JSON in the command's environment. */
function reasonOf(step: Step): Preview["loadTest"] {
  if (step.op === "create") return { why: "it has not run yet", what: [] };
  const requestOf = (state: Step["old"]) =>
    (state?.inputs?.environment as { LOAD_TEST?: unknown } | undefined)?.LOAD_TEST;
  const what = differences(requestOf(step.old), requestOf(step.new));
  if (what.length > 0) {
    const parts = [...new Set(what.map(([path]) => path.split(/[.[]/)[0] || "its request"))];
    return { why: `${parts.join(", ")} changed`, what };
  }
  return { why: "its last run failed", what };
}

/** What a step changes: the inputs of an update or a replacement, nothing for what comes or goes. */
function changesOf({ op, old, new: next }: Step): Difference[] {
  if (op !== "update" && op !== "replace") return [];
  return differences(old?.inputs, next?.inputs).filter(([path]) => !path.startsWith("__"));
}

/** Where two values differ, down to the leaves; JSON in a text is looked into. */
function differences(before: unknown, after: unknown, path = ""): Difference[] {
  const [a, b] = [opened(before), opened(after)];
  const compound = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null;
  if (compound(a) && compound(b) && Array.isArray(a) === Array.isArray(b)) {
    const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
    return keys.flatMap((key) => {
      const below = Array.isArray(a) ? `${path}[${key}]` : path ? `${path}.${key}` : key;
      return differences(a[key], b[key], below);
    });
  }
  if (JSON.stringify(a) === JSON.stringify(b)) return [];
  return [[path, shown(a), shown(b)]];
}

function opened(value: unknown): unknown {
  if (typeof value !== "string" || !/^[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function shown(value: unknown): string {
  if (value === undefined) return "none";
  if (value === unknown) return "known after up";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/** Whether the load test will run and why, in one line. */
export function loadTestLine({ loadTest }: Preview): string {
  if (!loadTest) return "the load test will not run: nothing that it depends on changes";
  const what = loadTest.what.map(([path, before, after]) => `${path} ${before} => ${after}`);
  return `the load test will run: ${what.length > 0 ? what.join(", ") : loadTest.why}`;
}

/**
 * `preview.md`.
 *
 * @param diff Pulumi's own text of the same preview
 * @param more what the load test will make in a cluster, as YAML; the shape of the load in a line
 */
export function previewMarkdown(
  stack: string,
  preview: Preview,
  diff: string,
  { manifests, shape }: { manifests?: string; shape?: string } = {},
): string {
  const { changes, unchanged, loadTest } = preview;
  const lines = [`### Preview of stack \`${stack}\``, ""];
  lines.push(
    loadTest
      ? `**The load test will run**: ${loadTest.why}.`
      : "**The load test will not run**: nothing that it depends on changes.",
    "",
  );
  if (loadTest && loadTest.what.length > 0) {
    const rows = loadTest.what.map((row) => row.map(code));
    lines.push(markdownTable([["load test", "before", "after"], ...rows]), "");
  }
  if (shape) lines.push("```", shape, "```", "");
  if (changes.length > 0) {
    const rows = changes.map(({ op, name, what }) => [
      op,
      code(name),
      [...new Set(what.map(([path]) => code(path)))].join(", "),
    ]);
    lines.push(markdownTable([["change", "resource", "what"], ...rows]), "");
  }
  lines.push(`${changes.length} to change, ${unchanged} unchanged`, "");
  if (changes.length > 0) {
    const all = diff.trim();
    const cut = all.length > longestDiff ? "\n… the rest is left out, make preview shows it" : "";
    lines.push(...details("Diff", "diff", all.slice(0, longestDiff) + cut));
  }
  if (manifests) lines.push(...details("Manifests of the load test", "yaml", manifests.trim()));
  return lines.join("\n");
}

/** What is to be seen when it is asked for. */
const details = (title: string, language: string, text: string) => [
  ...[`<details><summary>${title}</summary>`, ""],
  ...["````" + language, text, "````", "", "</details>", ""],
];

/** A table's cell that Markdown leaves as it is. */
const code = (text: string) =>
  `\`${text.replace(/\s+/g, " ").replace(/`/g, "'").replace(/\|/g, "\\|")}\``;
