/** Grafana's HTTP API, as its pages use it. */
import { allRoutes } from "../../dashboards/queries";

export interface Login {
  username: string;
  password: string;
}

/** A panel of a dashboard, as far as it asks for data. */
export interface Panel {
  title: string;
  datasource: { type: string; uid: string };
  targets: { refId: string; query: string }[];
}

export class GrafanaApi {
  /** @param login without one, the requests are anonymous */
  constructor(
    readonly url: string,
    private readonly login?: Login,
  ) {}

  put(path: string, body: unknown) {
    return this.ask(path, body, "PUT");
  }

  /** A GET, or with `body` a POST. */
  async ask(
    path: string,
    body?: unknown,
    method = body ? "POST" : "GET",
  ): Promise<{ status: number; body: any }> {
    const headers: Record<string, string> = { "content-type": "application/json" };
    if (this.login) {
      const { username, password } = this.login;
      headers.authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
    }
    const response = await fetch(this.url + path, {
      method,
      headers,
      body: body ? JSON.stringify(body) : undefined,
    });
    return { status: response.status, body: await response.json() };
  }

  async panels(dashboard: string): Promise<Panel[]> {
    return (await this.ask(`/api/dashboards/uid/${dashboard}`)).body.dashboard.panels;
  }

  /** The values of one of a panel's series, from one interval to the next. @param routes as a regex */
  async draw(
    { datasource, targets }: Panel,
    refId: string,
    range: { from: number; to: number },
    intervalMs: number,
    routes = allRoutes,
  ): Promise<number[]> {
    const found = targets.find((each) => each.refId === refId);
    // What the page fills in, for all runs.
    const query = found?.query.replace("${testid:regex}", ".*").replace("${name:regex}", routes);
    const target = { ...found, query };
    const { status, body } = await this.ask("/api/ds/query", {
      from: String(range.from),
      to: String(range.to),
      // More points than there are intervals, so that Grafana takes the interval as it is.
      queries: [{ ...target, datasource, intervalMs, maxDataPoints: 100_000 }],
    });
    const { error, frames } = body.results?.[refId] ?? {};
    if (status !== 200 || error) throw new Error(`${status}: ${JSON.stringify(body)}`);
    const values: (number | null)[] = frames[0]?.data.values[1] ?? [];
    return values.filter((value) => value !== null);
  }
}
