/** A run's result in words and numbers, each figure printed the same way everywhere. */
import { type Figure, type Figures, figures as allFigures, type Unit } from "../k6/profile";
import { change, type LedgerRun } from "./ledger";
import type { JudgedRegression, JudgedRule, Summary } from "./types";

const figureNames = Object.keys(allFigures) as Figure[];

const digits: Record<Unit, number> = { ms: 2, rps: 2, share: 4, count: 0 };

/** Rounds to the digits that are printed, so that every place shows the same number. */
export function rounded<Some extends Partial<Figures>>(figures: Some): Some {
  const known = figureNames.filter((name) => figures[name] !== undefined);
  return Object.fromEntries(
    known.map((name) => {
      const value = Number(figures[name]);
      return [name, Number(value.toFixed(digits[allFigures[name].unit]))];
    }),
  ) as Some;
}

const format = (unit: Unit, value: number) =>
  ({
    ms: `${value} ms`,
    share: `${Number((value * 100).toFixed(2))} %`,
    count: `${value}`,
    rps: `${value}/s`,
  })[unit];

const formatRounded = (figure: Figure, value: number) =>
  format(allFigures[figure].unit, rounded<Partial<Figures>>({ [figure]: value })[figure] ?? value);

/** The line that says why a rule failed. */
export function breach({ label, unit, value = 0, comparison, limit }: JudgedRule): string {
  const side = comparison === "<=" ? "over" : "under";
  return `${label} ${format(unit, value)} is ${side} the limit of ${format(unit, limit)}`;
}

/** The line that says that a limit had nothing to be compared with. */
export const notMeasured = ({ label, unit, comparison, limit }: JudgedRule) =>
  `${label}: not measured, so the limit ${comparison} ${format(unit, limit)} is not kept`;

/** The line that says what got worse than `maxRegression` allows. */
export function regression(judged: JudgedRegression, baselineId: string): string {
  const { figure, label, percent, value, baseline, limit } = judged;
  const shown = (amount: number) => formatRounded(figure, amount);
  return (
    `${label} ${shown(value)} is more than ${percent} % worse than the baseline's ` +
    `${shown(baseline)} (run ${baselineId}): the limit is ${shown(limit)}`
  );
}

/** The difference between two values of a figure, such as `+4.2 %`; shares in percentage points. */
function difference(figure: Figure, value?: number, baseline?: number): string {
  if (value === undefined || baseline === undefined) return "";
  const signed = (amount: number, unit: string) =>
    `${amount < 0 ? "-" : "+"}${Number(Math.abs(amount).toFixed(2))}${unit}`;
  if (allFigures[figure].unit === "share") return signed((value - baseline) * 100, " points");
  const relative = change(value, baseline);
  return relative === undefined ? signed(value - baseline, "") : signed(relative * 100, " %");
}

/** The rows of the verdict table: figure, value, limit, whether it holds, and the baseline. */
function rows(summary: Summary): string[][] {
  const { baseline } = summary;
  const valueOf = (figure: Figure) =>
    (summary as Partial<Figures>)[figure] ??
    summary.thresholds.find((each) => each.figure === figure)?.value;
  const row = (figure: Figure, value?: number) => {
    const rule = summary.thresholds.find((each) => each.figure === figure);
    const limit = rule ? `${rule.comparison} ${format(rule.unit, rule.limit)}` : "";
    const before = baseline?.figures[figure];
    const compared = [
      before === undefined ? "" : formatRounded(figure, before),
      difference(figure, value, before),
    ];
    const { label, unit } = allFigures[figure];
    const holds = rule ? (rule.passed ? "ok" : "FAILED") : "";
    const shown = value === undefined ? "not measured" : format(unit, value);
    return [label, shown, limit, holds, ...(baseline ? compared : [])];
  };
  return [
    ["figure", "value", "limit", "", ...(baseline ? ["baseline", "difference"] : [])],
    ...figureNames.flatMap((figure) => {
      const value = valueOf(figure);
      const judged = summary.thresholds.some((each) => each.figure === figure);
      return value === undefined && !judged ? [] : [row(figure, value)];
    }),
  ];
}

/** What the run was compared with, in a line. */
const comparedWith = ({ baseline }: Summary) =>
  baseline
    ? `baseline: run ${baseline.id}`
    : "no baseline: no run of this scenario and profile has passed before";

/** Two runs side by side, and how far B is from A. */
export function comparison(a: LedgerRun, b: LedgerRun): string[][] {
  const shown = (figure: Figure, value?: number) =>
    value === undefined ? "" : format(allFigures[figure].unit, value);
  const [figuresOfA, figuresOfB] = [rounded(a.figures), rounded(b.figures)];
  return [
    ["figure", `A: ${a.id}`, `B: ${b.id}`, "difference"],
    ["verdict", a.verdict, b.verdict, ""],
    ...figureNames.map((figure) => {
      const [before, after] = [figuresOfA[figure], figuresOfB[figure]];
      return [
        allFigures[figure].label,
        shown(figure, before),
        shown(figure, after),
        difference(figure, after, before),
      ];
    }),
  ];
}

/** Rows as a Markdown table, the first of them its head. */
export function markdownTable([header, ...body]: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...body.map(line)].join("\n");
}

/**
 * Puts a text between the comments `<!-- name -->` and `<!-- /name -->` of a document.
 *
 * @throws Error when the document has no such comments
 */
export function filled(document: string, name: string, text: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [before, ...rest] = document.split(open);
  const [, after] = rest.join(open).split(close);
  if (after === undefined) throw new Error(`there is no ${open} … ${close} in the document`);
  return `${before}${open}\n\n${text}\n\n${close}${after}`;
}

/** Rows as aligned columns. */
export function columns(rows: string[][]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) => "  " + row.map((cell, column) => cell.padEnd(widths[column])).join("   "))
    .map((line) => line.trimEnd())
    .join("\n");
}

/** The verdict in one line. */
export function headline(summary: Summary): string {
  const { id, verdict } = summary;
  const shown = (["p99Ms", "p95Ms", "avgMs", "rps"] as const).flatMap((figure) => {
    const value = summary[figure];
    if (value === undefined) return [];
    const text = formatRounded(figure, value);
    return figure === "rps" ? [text] : [`${allFigures[figure].label} ${text}`];
  });
  const none = summary.startedAt && shown.length === 0 ? ["no HTTP requests in this run"] : [];
  return [`run ${id}: ${verdict}`, ...shown, ...none].join(", ");
}

/** The verdict as a table for the terminal. */
export function table(summary: Summary): string {
  const title = `run ${summary.id}: ${summary.verdict}`;
  const warnings = summary.warnings.map((warning) => `\n\nwarning: ${warning}`).join("");
  if (summary.startedAt === undefined) return title + warnings;
  return `${title}\n\n${columns(rows(summary))}\n\n${comparedWith(summary)}${warnings}`;
}

/** The verdict as Markdown, for a pull request. */
export function markdown(summary: Summary): string {
  const lines = [`### Load test ${summary.verdict}: \`${summary.id}\``, ""];
  if (summary.reason) lines.push(`**${summary.reason}**`, "");
  if (summary.startedAt !== undefined) {
    lines.push(markdownTable(rows(summary)), "", comparedWith(summary), "");
    lines.push(`${summary.startedAt} to ${summary.endedAt}, k6 ${summary.k6Version}`, "");
  }
  for (const warning of summary.warnings) lines.push(`Warning: ${warning}`, "");
  if (summary.dashboardUrl) lines.push(`[Dashboard of this run](${summary.dashboardUrl})`, "");
  return lines.join("\n");
}
