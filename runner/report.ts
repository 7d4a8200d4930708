/** A run's result in words and numbers, each figure printed the same way everywhere. */
import type { Rule } from "../k6/profile";
import type { JudgedRule, RunFigures, Summary } from "./types";

/** Rounds to the digits that are printed, so that every place shows the same number. */
export function rounded(figures: RunFigures): RunFigures {
  const to = (digits: number, value: number) => Number(value.toFixed(digits));
  const { checksRate } = figures;
  return {
    requests: figures.requests,
    rps: to(2, figures.rps),
    avgMs: to(2, figures.avgMs),
    p95Ms: to(2, figures.p95Ms),
    p99Ms: to(2, figures.p99Ms),
    failedRate: to(4, figures.failedRate),
    ...(checksRate === undefined ? {} : { checksRate: to(4, checksRate) }),
    droppedIterations: figures.droppedIterations,
  };
}

const format = (unit: Rule["unit"] | "rps", value: number) =>
  ({
    ms: `${value} ms`,
    share: `${Number((value * 100).toFixed(2))} %`,
    count: `${value}`,
    rps: `${value}/s`,
  })[unit];

/** The line that says why a rule failed. */
export function breach({ label, unit, value, comparison, limit }: JudgedRule): string {
  const side = comparison === "<=" ? "over" : "under";
  return `${label} ${format(unit, value)} is ${side} the limit of ${format(unit, limit)}`;
}

/** The rows of the verdict table: figure, value, limit, and whether it holds. */
function rows(summary: Summary): string[][] {
  const row = (label: string, value: string, figure?: keyof RunFigures) => {
    const rule = summary.thresholds.find((each) => each.figure === figure);
    const limit = rule ? `${rule.comparison} ${format(rule.unit, rule.limit)}` : "";
    return [label, value, limit, rule ? (rule.passed ? "ok" : "FAILED") : ""];
  };
  const { avgMs = 0, rps = 0 } = summary;
  return [
    ["figure", "value", "limit", ""],
    ...summary.thresholds
      .filter(({ figure }) => figure === "p99Ms" || figure === "p95Ms")
      .map(({ figure, label, unit, value }) => row(label, format(unit, value), figure))
      .reverse(),
    row("average", format("ms", avgMs)),
    row("RPS", format("rps", rps)),
    ...summary.thresholds
      .filter(({ figure }) => figure !== "p99Ms" && figure !== "p95Ms")
      .map(({ figure, label, unit, value }) => row(label, format(unit, value), figure)),
  ];
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
  const { id, verdict, p99Ms, p95Ms, avgMs, rps } = summary;
  const figures =
    rps === undefined ? "" : `, p99 ${p99Ms} ms, p95 ${p95Ms} ms, average ${avgMs} ms, ${rps}/s`;
  return `run ${id}: ${verdict}${figures}`;
}

/** The verdict as a table for the terminal. */
export function table(summary: Summary): string {
  const title = `run ${summary.id}: ${summary.verdict}`;
  if (summary.requests === undefined) return title;
  const warnings = summary.warnings.map((warning) => `\n\nwarning: ${warning}`).join("");
  return `${title}\n\n${columns(rows(summary))}${warnings}`;
}

/** The verdict as Markdown, for a pull request. */
export function markdown(summary: Summary): string {
  const lines = [`### Load test ${summary.verdict}: \`${summary.id}\``, ""];
  if (summary.reason) lines.push(`**${summary.reason}**`, "");
  if (summary.requests !== undefined) {
    const [header, ...body] = rows(summary).map((row) => `| ${row.join(" | ")} |`);
    lines.push(header, "| --- | ---: | --- | --- |", ...body, "");
    for (const warning of summary.warnings) lines.push(`Warning: ${warning}`, "");
    lines.push(`${summary.startedAt} to ${summary.endedAt}, k6 ${summary.k6Version}`, "");
  }
  if (summary.dashboardUrl) lines.push(`[Dashboard of this run](${summary.dashboardUrl})`, "");
  return lines.join("\n");
}
