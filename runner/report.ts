/** A run's result in words and numbers, each figure printed the same way everywhere. */
import { type Figure, type Figures, figures as allFigures, type Unit } from "../k6/profile";
import { blocks, mermaid } from "./curve";
import { change, type LedgerRun } from "./ledger";
import { shownRoutes } from "./routes";
import { type JudgedRegression, type JudgedRule, oneLine, type Route, type Summary } from "./types";

const figureNames = Object.keys(allFigures) as Figure[];

const digits: Record<Unit, number> = { ms: 2, rps: 2, share: 4, count: 0 };

/** Rounds to the digits that are printed, so that every place shows the same number. */
export function rounded<Some extends Partial<Figures>>(figures: Some): Some {
  const known = figureNames.filter((name) => figures[name] !== undefined);
  const shown = known.map((name) => {
    const value = Number(figures[name]);
    return [name, Number(value.toFixed(digits[allFigures[name].unit]))];
  });
  return { ...figures, ...Object.fromEntries(shown) };
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
export function rows(summary: Summary): string[][] {
  const { baseline } = summary;
  const rules = summary.thresholds.filter(({ route }) => route === undefined);
  const valueOf = (figure: Figure) =>
    (summary as Partial<Figures>)[figure] ?? rules.find((each) => each.figure === figure)?.value;
  const row = (figure: Figure, value?: number) => {
    const rule = rules.find((each) => each.figure === figure);
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
      const judged = rules.some((each) => each.figure === figure);
      return value === undefined && !judged ? [] : [row(figure, value)];
    }),
  ];
}

/**
 * The rows of the table by route, where there are several or limits of them: the slowest first, and what
 * the others are together.
 */
export function routeRows({ routes = [], thresholds }: Summary): string[][] {
  const limits = thresholds.filter(({ route }) => route !== undefined);
  if (routes.length < 2 && limits.length === 0) return [];
  const share = (value?: number) => (value === undefined ? "" : format("share", value));
  const row = (name: string, { requests, rps, avgMs, ...rest }: Omit<Route, "name">) => {
    const own = limits.filter(({ route }) => route === name);
    const judged = own.map(
      ({ figure, unit, comparison, limit, passed }) =>
        `${allFigures[figure].label} ${comparison} ${format(unit, limit)} ${passed ? "ok" : "FAILED"}`,
    );
    const [p95, p99] = [rest.p95Ms, rest.p99Ms].map((ms) =>
      Number.isNaN(ms) ? "" : format("ms", ms),
    );
    return [
      ...[oneLine(name), `${requests}`, share(rest.share), formatRounded("rps", rps)],
      ...[share(rest.failedRate), formatRounded("avgMs", avgMs), p95, p99],
      ...(limits.length > 0 ? [judged.join(", ")] : []),
    ];
  };
  const isLimited = ({ name }: Route) => limits.some(({ route }) => route === name);
  const shown = routes.filter((each, at) => at < shownRoutes || isLimited(each));
  const others = routes.filter((each) => !shown.includes(each));
  return [
    [
      ...["route", "requests", "share", "RPS", "failed", "average", "p95", "p99"],
      ...(limits.length > 0 ? ["limit"] : []),
    ],
    ...shown.map((each) => row(each.name, each)),
    ...(others.length > 0 ? [row(`${others.length} others`, summed(others))] : []),
  ];
}

/** Routes taken together. Percentiles of several are in no way those of all. */
function summed(routes: Route[]): Omit<Route, "name"> {
  const sum = (of: (route: Route) => number) => routes.reduce((all, each) => all + of(each), 0);
  const requests = sum((each) => each.requests);
  const mean = (of: (route: Route) => number) => sum((each) => of(each) * each.requests) / requests;
  return {
    ...{ requests, share: sum(({ share }) => share), rps: sum(({ rps }) => rps) },
    failedRate: mean(({ failedRate = 0 }) => failedRate),
    avgMs: mean(({ avgMs }) => avgMs),
    ...{ p95Ms: NaN, p99Ms: NaN },
  };
}

/** What the run was compared with, in a line. */
export const comparedWith = ({ baseline }: Summary) =>
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
    ...figureNames.flatMap((figure) => {
      const [before, after] = [figuresOfA[figure], figuresOfB[figure]];
      // Most runs look for no capacity.
      if (figure === "capacity" && before === undefined && after === undefined) return [];
      const cells = [shown(figure, before), shown(figure, after)];
      return [[allFigures[figure].label, ...cells, difference(figure, after, before)]];
    }),
  ];
}

/** The routes of two runs side by side; none where neither has several. */
export function routeComparison(a: Route[], b: Route[]): string[][] {
  if (a.length < 2 && b.length < 2) return [];
  const names = [...new Set([...b, ...a].map(({ name }) => name))];
  const ms = (figure: "p95Ms" | "p99Ms", route?: Route) =>
    route ? formatRounded(figure, route[figure]) : "";
  const compared = (figure: "p95Ms" | "p99Ms", name: string) => {
    const [before, after] = [a, b].map((routes) => routes.find((each) => each.name === name));
    return [
      ...[ms(figure, before), ms(figure, after)],
      difference(figure, after?.[figure], before?.[figure]),
    ];
  };
  return [
    ["route", "p95 of A", "p95 of B", "difference", "p99 of A", "p99 of B", "difference"],
    ...names.map((name) => [name, ...compared("p95Ms", name), ...compared("p99Ms", name)]),
  ];
}

/** Rows as a Markdown table, the first of them its head. */
export function markdownTable([header, ...body]: string[][]): string {
  // A route may be any text.
  const safe = (cell: string) => cell.replaceAll("|", "\\|").replace(/<(?=[a-z/!?])/gi, "&lt;");
  const line = (cells: string[]) => `| ${cells.map(safe).join(" | ")} |`;
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

/** What is drawn of a run's curve: where p95 and RPS were. */
export function picturesOf({ curve }: Summary) {
  if (!curve || curve.rps.length < 2) return [];
  return [
    { title: "p95 in ms", figure: "p95Ms" as const, values: curve.p95Ms },
    { title: "RPS", figure: "rps" as const, values: curve.rps },
  ];
}

/** The four panels as small charts for the terminal; empty where nothing is to be drawn. */
export function charts(summary: Summary): string {
  const { curve } = summary;
  if (!curve) return "";
  return columns(
    (["p99Ms", "p95Ms", "avgMs", "rps"] as const).map((figure) => {
      const peak = formatRounded(figure, Math.max(...curve[figure]));
      const value = formatRounded(figure, summary[figure] ?? 0);
      const line = blocks(curve[figure]);
      return [allFigures[figure].label, value, line, `every ${curve.every} s, most ${peak}`];
    }),
  );
}

/** What a search has found, in a line; empty where none was made. */
export const capacityLine = ({ capacity, broke }: Summary) =>
  capacity === undefined ? "" : `capacity: ${format("rps", capacity)} held; ${broke}`;

/** What k6 and the machine did, in a line; empty where nobody knows. */
export function generatorLine({ generator }: Summary): string {
  if (!generator) return "";
  const { cores, k6Cores, storeCores, machine } = generator;
  const of = (name: string, cores?: number) =>
    cores === undefined ? [] : [`${name} ${cores.toFixed(2)}`];
  const used = [...of("k6", k6Cores), ...of("InfluxDB", storeCores)];
  const busy = `machine ${Math.round(machine * 100)} % busy`;
  const all = used.length > 0 ? `${used.join(", ")} of ${cores} cores, ${busy}` : busy;
  return `generator: ${all}`;
}

/** What a run should be known for besides its verdict. */
export const allWarnings = ({ warnings, generator, reason = "" }: Summary) => [
  ...warnings,
  ...(generator?.why && !reason.includes(generator.why) ? [generator.why] : []),
];

/** The verdict in one line. */
export function headline(summary: Summary): string {
  const { id, verdict } = summary;
  const shown = (["capacity", "p99Ms", "p95Ms", "avgMs", "rps"] as const).flatMap((figure) => {
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
  const warnings = allWarnings(summary)
    .map((warning) => `\n\nwarning: ${warning}`)
    .join("");
  if (summary.startedAt === undefined) return title + warnings;
  const tables = [rows(summary), routeRows(summary)].filter((each) => each.length > 0);
  const all = [capacityLine(summary), comparedWith(summary), generatorLine(summary)];
  const lines = all.filter((line) => line !== "");
  return [title, ...tables.map(columns), lines.join("\n")].join("\n\n") + warnings;
}

/** The verdict as Markdown, for a pull request. */
export function markdown(summary: Summary): string {
  const lines = [`### Load test ${summary.verdict}: \`${summary.id}\``, ""];
  if (summary.reason) lines.push(`**${summary.reason}**`, "");
  if (summary.startedAt !== undefined) {
    lines.push(markdownTable(rows(summary)), "", comparedWith(summary), "");
    const more = [capacityLine(summary), generatorLine(summary)].filter((line) => line !== "");
    lines.push(...more.flatMap((line) => [line, ""]));
    const byRoute = routeRows(summary);
    if (byRoute.length > 0) lines.push(markdownTable(byRoute), "");
    for (const { title, values } of picturesOf(summary)) {
      lines.push(mermaid(title, values, summary.curve!.every), "");
    }
    lines.push(`${summary.startedAt} to ${summary.endedAt}, k6 ${summary.k6Version}`, "");
  }
  for (const warning of allWarnings(summary)) lines.push(`Warning: ${warning}`, "");
  if (summary.dashboardUrl) lines.push(`[Dashboard of this run](${summary.dashboardUrl})`, "");
  return lines.join("\n");
}
