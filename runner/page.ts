/** A run as one HTML file, for a browser, a phone or a printer: it needs no network. */
import { durationSeconds, type LoadProfile, rateAt } from "../k6/profile";
import {
  allWarnings,
  capacityLine,
  comparedWith,
  generatorLine,
  headline,
  picturesOf,
  routeRows,
  rows,
} from "./report";
import type { Summary } from "./types";

const escaped = (text: string) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

const style = `
  :root { color-scheme: light dark; --line: #888; --good: #1a7f37; --bad: #cf222e; --curve: #0969da; }
  @media (prefers-color-scheme: dark) {
    :root { --good: #3fb950; --bad: #f85149; --curve: #58a6ff; }
  }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
  h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
  h2 { font-size: 1.1rem; margin-top: 2rem; }
  .passed { color: var(--good); }
  .failed { color: var(--bad); }
  .scrolls { overflow-x: auto; }
  table { border-collapse: collapse; white-space: nowrap; }
  th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); }
  td { font-variant-numeric: tabular-nums; }
  svg { width: 100%; height: auto; }
  svg text { font-size: 12px; fill: currentColor; }
  svg .axis { stroke: var(--line); }
  svg .limit { stroke: var(--bad); stroke-dasharray: 4 4; }
  svg .curve { fill: none; stroke: var(--curve); stroke-width: 2; stroke-linejoin: round; }
  @media (max-width: 30rem) { th, td { padding-right: .4rem; font-size: .9rem; } svg text { font-size: 20px; } }
  @media print { body { max-width: none; } h2 { break-after: avoid; } svg { break-inside: avoid; } }
`;

/** @param profile of the load, where the script runs that */
export function page(summary: Summary, profile?: LoadProfile): string {
  const { id, verdict, reason, startedAt, endedAt, k6Version, dashboardUrl } = summary;
  const lines = [capacityLine(summary), comparedWith(summary), generatorLine(summary)];
  const routes = routeRows(summary);
  const parts = [
    `<h1>Load test <span class="${verdict}">${verdict}</span>: ${escaped(id)}</h1>`,
    ...(reason ? [`<p class="failed">${escaped(reason)}</p>`] : []),
    ...allWarnings(summary).map((warning) => `<p><b>Warning:</b> ${escaped(warning)}</p>`),
    ...(startedAt
      ? [
          tableOf(rows(summary)),
          ...lines.filter((line) => line !== "").map((line) => `<p>${escaped(line)}</p>`),
          ...picturesOf(summary).map((each) => pictureOf(summary, each)),
          ...(profile?.stages ? [`<h2>The load</h2>${shapeOf(profile)}`] : []),
          ...(routes.length > 0 ? [`<h2>Routes</h2>${tableOf(routes)}`] : []),
          `<p>${escaped(`${startedAt} to ${endedAt}, k6 ${k6Version}`)}</p>`,
        ]
      : []),
    ...(dashboardUrl
      ? [`<p><a href="${escaped(dashboardUrl)}">Dashboard of this run</a></p>`]
      : []),
  ];
  return (
    `<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n` +
    `<meta name="viewport" content="width=device-width, initial-scale=1">\n` +
    `<title>${escaped(headline(summary))}</title>\n<style>${style}</style>\n</head>\n` +
    `<body>\n${parts.join("\n")}\n</body>\n</html>\n`
  );
}

function tableOf([header, ...body]: string[][]): string {
  const row = (cells: string[], tag: string) => {
    const shown = cells.map((cell) => {
      const kind = /\bFAILED\b/.test(cell) ? ` class="failed"` : "";
      return `<${tag}${kind}>${escaped(cell)}</${tag}>`;
    });
    return `<tr>${shown.join("")}</tr>`;
  };
  const all = [row(header, "th"), ...body.map((cells) => row(cells, "td"))].join("\n");
  return `<div class="scrolls"><table>\n${all}\n</table></div>`;
}

function pictureOf(
  summary: Summary,
  { title, figure, values }: ReturnType<typeof picturesOf>[number],
): string {
  const rule = summary.thresholds.find((each) => !each.route && each.figure === figure);
  const seconds = values.length * summary.curve!.every;
  return `<h2>${title}</h2>${curve(title, values, seconds, rule?.limit)}`;
}

function shapeOf(profile: LoadProfile): string {
  const seconds = durationSeconds(profile.duration)!;
  const values = Array.from({ length: 200 }, (_, at) =>
    rateAt(profile, ((at + 0.5) / 200) * seconds),
  );
  return curve("iterations a second", values, seconds);
}

/** @param limit a line across, where the axis reaches it */
function curve(title: string, values: number[], seconds: number, limit?: number): string {
  const [width, height, left, below] = [640, 180, 72, 24];
  const peak = Math.max(...values, Number.MIN_VALUE);
  const isNear = limit !== undefined && limit <= peak * 2;
  const top = Math.max(peak, isNear ? limit : 0) * 1.05;
  const x = (at: number) => left + ((at + 0.5) / values.length) * (width - left);
  const y = (value: number) => (height - below) * (1 - value / top) + 4;
  const points = values.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
  const text = (at: number, y: number, words: string, anchor: string) =>
    `<text x="${at}" y="${y}" text-anchor="${anchor}">${escaped(words)}</text>`;
  const line = (kind: string, at: number) =>
    `<line class="${kind}" x1="${left}" x2="${width}" y1="${y(at)}" y2="${y(at)}"/>`;
  return (
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">` +
    line("axis", 0) +
    (isNear ? line("limit", limit) + text(width, y(limit) - 4, `limit ${limit}`, "end") : "") +
    `<polyline class="curve" points="${points.join(" ")}"/>` +
    text(left - 6, y(peak) + 4, `${Number(peak.toPrecision(4))}`, "end") +
    text(left - 6, y(0), "0", "end") +
    text(left, height - 4, "0 s", "start") +
    text(width, height - 4, `${seconds} s`, "end") +
    `</svg>`
  );
}
