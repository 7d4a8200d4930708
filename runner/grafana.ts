/**
 * A client for Grafana's HTTP API, and the administrator's password. Self-contained, since Pulumi
 * serializes `ensureAdministrator` together with the resource that uses it.
 */

/** Where Grafana answers, and as whom to ask. */
export interface GrafanaLogin {
  url: string;
  username: string;
  password: string;
}

/** An answer of Grafana: its status, and its JSON. */
export interface GrafanaAnswer {
  status: number;
  body: any;
}

/** Sends a request to Grafana. @throws Error when it does not answer */
export async function askGrafana(
  { url, username, password }: GrafanaLogin,
  method: "GET" | "POST" | "PUT",
  path: string,
  body?: unknown,
): Promise<GrafanaAnswer> {
  let response;
  try {
    response = await fetch(`${url}${path}`, {
      method,
      headers: {
        "content-type": "application/json",
        authorization: "Basic " + Buffer.from(`${username}:${password}`).toString("base64"),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(60_000),
    });
  } catch (error) {
    const { message, cause } = error as { message: string; cause?: { message?: string } };
    throw new Error(`Grafana does not answer at ${url}: ${cause?.message || message}`);
  }
  const text = await response.text();
  return {
    status: response.status,
    body: /^[{[]/.test(text) ? JSON.parse(text) : { message: text || response.statusText },
  };
}

/**
 * Waits until Grafana answers, and has it let its administrator in with the login's password: the
 * first password in force is changed into it. Can be called again without harm.
 *
 * Each is tried once: Grafana shuts out a user who fails five times in five minutes.
 *
 * @param before passwords that are likelier in force than the login's
 * @param after passwords that are less likely in force
 * @throws Error after two minutes without an answer, or when none is in force
 */
export async function ensureAdministrator(
  login: GrafanaLogin,
  before: string[],
  after: string[] = [],
): Promise<void> {
  const deadline = Date.now() + 120_000;
  for (;;) {
    const health = await askGrafana(login, "GET", "/api/health").catch(({ message }) => ({
      status: 0,
      body: { message },
    }));
    if (health.status === 200) break;
    if (Date.now() > deadline) throw new Error(health.body.message);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  for (const inForce of [...before, login.password, ...after]) {
    const own = await askGrafana({ ...login, password: inForce }, "GET", "/api/user");
    if (own.status === 401) continue;
    if (own.status !== 200) throw new Error(`Grafana at ${login.url}: ${own.body.message}`);
    if (inForce === login.password) return;
    const change = { oldPassword: inForce, newPassword: login.password };
    const as = { ...login, password: inForce };
    const changed = await askGrafana(as, "PUT", "/api/user/password", change);
    if (changed.status === 200) return;
    throw new Error(`Grafana at ${login.url} keeps its password: ${changed.body.message}`);
  }
  throw new Error(
    `Grafana at ${login.url} has an administrator with another password: its volume belongs to a ` +
      `stack whose state is lost. Remove the volume, or restore the state.`,
  );
}
