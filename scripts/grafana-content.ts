/**
 * What people made in a Grafana by hand, read out of it and put into another: folders, dashboards,
 * annotations, preferences. What the stack itself makes is code, and not in it.
 */
import { askGrafana, type GrafanaLogin } from "../runner/grafana";

export interface GrafanaContent {
  folders: { uid: string; title: string; parentUid?: string }[];
  dashboards: { model: { uid: string; title: string }; folderUid?: string }[];
  annotations: Annotation[];
  /** Of the organisation and of the administrator. */
  preferences: { org: object; user: object };
}

/** A mark that somebody made; times in milliseconds since 1970. */
interface Annotation {
  /** Absent: it belongs to no dashboard. */
  dashboardUID?: string;
  panelId?: number;
  time: number;
  timeEnd?: number;
  text: string;
  tags: string[];
}

const perPage = 1000;

/** @throws Error with Grafana's reason */
async function ask(
  grafana: GrafanaLogin,
  method: "GET" | "POST" | "PUT",
  path: string,
  body?: unknown,
) {
  const answer = await askGrafana(grafana, method, path, body);
  if (answer.status === 200) return answer.body;
  throw new Error(`Grafana refuses ${path} (${answer.status}): ${answer.body.message}`);
}

/** All folders or all dashboards. */
async function search(grafana: GrafanaLogin, type: "dash-folder" | "dash-db") {
  const found: { uid: string; title: string; folderUid?: string }[] = [];
  for (let page = 1; found.length === (page - 1) * perPage; page++) {
    found.push(
      ...(await ask(grafana, "GET", `/api/search?type=${type}&limit=${perPage}&page=${page}`)),
    );
  }
  return found;
}

/** Annotations that people made: those of alerts Grafana keeps for itself. */
async function annotationsOf(grafana: GrafanaLogin): Promise<Annotation[]> {
  const found = await ask(grafana, "GET", "/api/annotations?type=annotation&limit=100000");
  return found.map((each: Annotation) => ({
    dashboardUID: each.dashboardUID || undefined,
    panelId: each.panelId || undefined,
    time: each.time,
    timeEnd: each.timeEnd || undefined,
    text: each.text,
    tags: each.tags ?? [],
  }));
}

/** @param managed the uids of what the stack makes itself */
export async function readContent(
  grafana: GrafanaLogin,
  managed: Set<string>,
): Promise<GrafanaContent> {
  const byHand = ({ uid }: { uid: string }) => !managed.has(uid);
  const folders = (await search(grafana, "dash-folder")).filter(byHand);
  const dashboards: GrafanaContent["dashboards"] = [];
  for (const { uid } of (await search(grafana, "dash-db")).filter(byHand)) {
    const { dashboard, meta } = await ask(grafana, "GET", `/api/dashboards/uid/${uid}`);
    const { id: _, version: __, ...model } = dashboard;
    dashboards.push({ model, folderUid: meta.folderUid || undefined });
  }
  const preferences = async (whose: "org" | "user") => {
    // The number of the home dashboard is another in another Grafana; its uid stays.
    const { homeDashboardId: _, ...own } = await ask(grafana, "GET", `/api/${whose}/preferences`);
    return own;
  };
  return {
    folders: folders.map(({ uid, title, folderUid }) => ({ uid, title, parentUid: folderUid })),
    dashboards,
    annotations: await annotationsOf(grafana),
    preferences: { org: await preferences("org"), user: await preferences("user") },
  };
}

/**
 * Puts the content into a Grafana, over what is there under the same uids. Can be called again
 * without harm.
 *
 * @param managed the uids of what the stack makes itself: these stay as they are
 */
export async function writeContent(
  grafana: GrafanaLogin,
  managed: Set<string>,
  content: GrafanaContent,
): Promise<void> {
  const there = new Set((await search(grafana, "dash-folder")).map(({ uid }) => uid));
  const awaited = content.folders.filter(({ uid }) => !there.has(uid));
  // A folder comes after the one that it is in.
  while (awaited.length > 0) {
    const next = awaited.findIndex(
      ({ parentUid }) => !awaited.some(({ uid }) => uid === parentUid),
    );
    await ask(grafana, "POST", "/api/folders", awaited.splice(next, 1)[0]);
  }
  for (const { model, folderUid } of content.dashboards) {
    if (managed.has(model.uid)) continue;
    await ask(grafana, "POST", "/api/dashboards/db", {
      dashboard: { ...model, id: null },
      folderUid,
      overwrite: true,
    });
  }
  const known = new Set((await annotationsOf(grafana)).map((each) => JSON.stringify(each)));
  for (const annotation of content.annotations) {
    if (known.has(JSON.stringify(annotation))) continue;
    await ask(grafana, "POST", "/api/annotations", annotation);
  }
  for (const whose of ["org", "user"] as const) {
    await ask(grafana, "PUT", `/api/${whose}/preferences`, content.preferences[whose]);
  }
}
