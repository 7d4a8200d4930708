/**
 * A client for Grafana's HTTP API, and the administrator's password. It uses nothing but Node's
 * globals, since Pulumi serializes `ensureAdministrator` together with the resource that uses it.
 */

import { otherThan } from "./versions";

/** Where Grafana answers, and as whom to ask. */
export interface GrafanaLogin {
  url: string;
  username: string;
  password: string;
  /** How long an answer may take, by default 60 seconds. */
  seconds?: number;
}

/** An answer of Grafana: its status, and its JSON. */
export interface GrafanaAnswer {
  status: number;
  body: any;
}

/** Sends a request to Grafana. @throws Error when it does not answer */
export async function askGrafana(
  { url, username, password, seconds = 60 }: GrafanaLogin,
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
      signal: AbortSignal.timeout(seconds * 1000),
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
 * @throws Error after two minutes without an answer, of a version that does not work, or when none
 * of the passwords is in force
 */
export async function ensureAdministrator(
  login: GrafanaLogin,
  before: string[],
  after: string[] = [],
): Promise<void> {
  const deadline = Date.now() + 120_000;
  // A request that a Grafana takes while it starts may never be answered; the next one is.
  const soon = { ...login, seconds: 2 };
  let health;
  for (;;) {
    health = await askGrafana(soon, "GET", "/api/health").catch(({ message }) => ({
      status: 0,
      body: { message },
    }));
    if (health.status === 200) break;
    if (Date.now() > deadline) throw new Error(health.body.message);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  const version = String(health.body.version);
  const instead = otherThan("Grafana", version);
  if (instead) throw new Error(`Grafana at ${login.url} is ${version}, but ${instead}`);
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
