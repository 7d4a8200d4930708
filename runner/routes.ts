/** A run by route, which is k6's tag `name`: what requests to each took, and whether its limits hold. */
import type { Scope } from "../dashboards/queries";
import { figures as allFigures, type RouteLimit } from "../k6/profile";
import { nearestRank } from "./digest";
import { literal } from "./influxdb";
import { inParts, type Range } from "./parts";
import { storedDurations, valueAt } from "./percentile";
import type { JudgedRule, Route } from "./types";
import type { Source } from "./verify";

/** How many routes are shown and kept; the rest is summed. */
export const shownRoutes = 20;

/**
 * The figures of each route, from the stored points; the slowest by p95 first.
 *
 * @param scope the run's requests
 * @param points how many requests there are, about
 * @param seconds length of the test, by which RPS goes
 */
export async function measureRoutes(
  source: Source,
  scope: Scope,
  { range, points, seconds }: { range: Range; points: number; seconds: number },
): Promise<Route[]> {
  // InfluxDB sorts what a percentile is of: a question is about half as many points as others are.
  const parts = await inParts(source, range, points * 2, (andTime) => [
    `SELECT sum("value"), count("value"), percentile("value", 95), percentile("value", 99) ` +
      `FROM "http_req_duration" WHERE ${scope.where}${andTime} GROUP BY "name"`,
    `SELECT sum("value"), count("value") FROM "http_req_failed" ` +
      `WHERE ${scope.where}${andTime} GROUP BY "name"`,
  ]);
  const rowsOf = (statement: number) => {
    const byName = new Map<string, number[][]>();
    for (const { tags, values } of parts.flatMap((part) => part[statement])) {
      const name = tags?.name ?? "";
      byName.set(name, [...(byName.get(name) ?? []), values[0].map(Number)]);
    }
    return byName;
  };
  const added = (rows: number[][] = []) =>
    [1, 2].map((column) => rows.reduce((sum, row) => sum + row[column], 0));

  const [durations, failures] = [rowsOf(0), rowsOf(1)];
  const all = added([...durations.values()].flat())[1];
  const routes: Route[] = [];
  for (const [name, rows] of durations) {
    const [sum, requests] = added(rows);
    const [failed, judged] = added(failures.get(name));
    const percentile = (p: number, column: number) => {
      const ofParts = rows.map((row) => row[column]);
      if (ofParts.length === 1) return ofParts[0];
      // That of all is between those of the parts.
      const where = `${scope.where} AND "name" = ${literal(name)}`;
      const stored = storedDurations(
        source,
        { ...scope, where },
        { range, points, count: requests },
      );
      const bounds = { low: Math.min(...ofParts), high: Math.max(...ofParts) + 1e-6 };
      return valueAt(nearestRank(p, requests), stored, bounds);
    };
    routes.push({
      ...{ name, requests, share: requests / all, rps: requests / seconds },
      failedRate: judged > 0 ? failed / judged : undefined,
      ...{ avgMs: sum / requests, p95Ms: await percentile(95, 3), p99Ms: await percentile(99, 4) },
    });
  }
  return routes.sort((a, b) => b.p95Ms - a.p95Ms || b.p99Ms - a.p99Ms);
}

/** k6's own words for what is limited. */
const inK6: Record<RouteLimit["figure"], [metric: string, statistic: string]> = {
  p95Ms: ["http_req_duration", "p(95)"],
  p99Ms: ["http_req_duration", "p(99)"],
  avgMs: ["http_req_duration", "avg"],
  failedRate: ["http_req_failed", "rate"],
};

/** What came of the limits of routes that had requests. */
export function judgeRoutes(limits: RouteLimit[], routes: Route[]): JudgedRule[] {
  return limits.flatMap(({ route, figure, limit }): JudgedRule[] => {
    const found = routes.find(({ name }) => name === route);
    if (!found) return [];
    const { label, unit } = allFigures[figure];
    const [metric, statistic] = inK6[figure];
    const value = found[figure];
    return [
      {
        ...{ route, figure, unit, comparison: "<=", limit },
        label: `${label} of ${route}`,
        metric: `${metric}{name:${route}}`,
        expression: `${statistic}<=${limit}`,
        ...{ value, passed: value !== undefined && value <= limit },
      },
    ];
  });
}

/** Names the limits whose route no request had, and the routes that there were. */
export function unknownRoutes(limits: RouteLimit[], routes: Route[]): string[] {
  const quoted = (names: string[]) => names.map((name) => JSON.stringify(name)).join(", ");
  const known = routes.map(({ name }) => name);
  const unknown = [...new Set(limits.map(({ route }) => route))].filter(
    (route) => !known.includes(route),
  );
  if (unknown.length === 0) return [];
  const some = known.length > 5 ? `${quoted(known.slice(0, 5))} and others` : quoted(known);
  return [
    `no request had the route ${quoted(unknown)} of routeLimits; ` +
      (known.length > 0 ? `there were ${some}` : "there were none"),
  ];
}
