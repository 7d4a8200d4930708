/**
 * Alerts of a real stack: a run that breaks limits, then one without data, with receivers on this
 * machine for the webhook, Slack's messages and mail.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { SMTPServer } from "smtp-server";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { project } from "../../config";
import { freePort } from "../../runner/ports";
import { GrafanaApi, type Login } from "../support/grafana";
import { Clone, freePorts, printed, stackImages, type Settings } from "../support/stack";
import { succeeds } from "../support/succeeds";

let missing: string | undefined;
let clone: Clone;
const close: (() => void)[] = [];

const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port;

/** Serves `answer` at `host` until the tests end. */
async function serve(
  host: string,
  answer: (request: IncomingMessage, response: ServerResponse) => unknown,
): Promise<string> {
  const server = createServer(answer).listen(0, host);
  await expect.poll(() => server.listening).toBe(true);
  close.push(() => (server.closeAllConnections(), server.close()));
  return `http://${host}:${portOf(server)}`;
}

/** What came in: path and body of each request, headers and text of each mail. */
const posted: { path: string; body: any }[] = [];
const mails: string[] = [];

const toWebhook = (status: string) =>
  posted
    .filter(({ path, body }) => path === "/hook/T0PSECRET" && body.status === status)
    .flatMap(({ body }) => body.alerts.map((alert: any) => alert));
const names = (status: string) => toWebhook(status).map(({ labels }) => labels.alertname);

beforeAll(async () => {
  const found = await stackImages();
  if ("missing" in found) {
    missing = found.missing;
    return;
  }
  clone = new Clone({ ...found.images, ...(await freePorts()) }, { target: "sample" });
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
afterAll(() => {
  clone?.remove();
  close.forEach((each) => each());
});

describe("alerts", () => {
  /** Where Grafana's container finds this machine. */
  let host: string;
  let receiver: string;
  const short: Settings = { duration: "5s", rate: 20, timeUnit: "1s" };

  it("have rules, and tell nobody who is not named", async () => {
    succeeds(await clone.make("up", short));
    host = await printed(
      ...["docker", "inspect", `${project}-${clone.stack}-grafana`],
      ...["--format", "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}"],
    );
    expect(host).toMatch(/^[\d.]+$/);
    const kinds = (await clone.resources()).map(({ type }) => type.split("/").at(-1));
    expect(kinds).toContain("ruleGroup:RuleGroup");
    expect(kinds).not.toContain("contactPoint:ContactPoint");
  });

  it("refuse a receiver that does not answer, before it is made", async () => {
    const url = `http://${host}:${await freePort()}/hook/T0PSECRET`;
    succeeds(await clone.setSecret("alertWebhookUrl", url));
    const up = await clone.make("up", short);
    expect(up.code).not.toBe(0);
    expect(up.output).toMatch(
      /configuration key "alertWebhookUrl" is "\[secret\]": it must take Grafana's test message, but: .*connection refused/,
    );
    expect(up.output).not.toContain("T0PSECRET");
    const kinds = (await clone.resources()).map(({ type }) => type.split("/").at(-1));
    expect(kinds).not.toContain("contactPoint:ContactPoint");
  });

  it("reach a webhook, Slack and mail with a test message", async () => {
    receiver = await serve(host, async (request, response) => {
      posted.push({ path: request.url ?? "", body: JSON.parse(await text(request)) });
      response.end("ok");
    });
    const mail = new SMTPServer({
      hideSTARTTLS: true,
      // Grafana sends a password over TLS only, so this one asks for none.
      authOptional: true,
      onData: (stream, _, done) => void text(stream).then((all) => (mails.push(all), done())),
    });
    mail.on("error", () => undefined);
    mail.listen(0, host);
    await expect.poll(() => mail.server.listening).toBe(true);
    close.push(() => mail.close());
    const smtpHost = `${host}:${portOf(mail.server)}`;
    clone.addSettings({ alertEmail: "team@example.com", smtpHost });
    succeeds(await clone.setSecret("alertWebhookUrl", `${receiver}/hook/T0PSECRET`));
    succeeds(await clone.setSecret("alertSlackUrl", `${receiver}/slack/S0PSECRET`));
    succeeds(await clone.make("up", short));
    expect(posted.map(({ path }) => path).sort()).toEqual(["/hook/T0PSECRET", "/slack/S0PSECRET"]);
    expect(mails).toHaveLength(1);
    expect(mails[0]).toMatch(/^From: .*team@example\.com/m);
    expect(mails[0]).toMatch(/^To: .*team@example\.com/m);
    const shown = JSON.stringify(await clone.inspect()) + clone.readAll("runs");
    for (const secret of ["T0PSECRET", "S0PSECRET"]) {
      expect(shown + clone.readAll(".state/.pulumi")).not.toContain(secret);
    }
    // Grafana takes up a new contact within a minute.
    const login = JSON.parse((await clone.make("password")).stdout) as Login;
    const grafana = new GrafanaApi((await clone.outputs()).grafanaUrl, login);
    const inUse = async () =>
      (await grafana.ask("/api/alertmanager/grafana/api/v2/status")).body.config.route.receiver;
    await expect.poll(inUse, { timeout: 90_000, interval: 1000 }).toBe("load-test");
  });

  it("fire on a run that breaks limits, with the figures", async () => {
    const baseUrl = await serve("127.0.0.1", (request, response) =>
      setTimeout(() => response.writeHead(request.method === "POST" ? 500 : 200).end(), 700),
    );
    posted.length = 0;
    mails.length = 0;
    const load = await clone.make("load", {
      ...{ target: "external", baseUrl, rate: 20, timeUnit: "1s", duration: "15s" },
      ...{ preAllocatedVUs: 5, maxVUs: 5 },
    });
    expect(load.lastLine).toMatch(/p95 [\d.]+ ms is over the limit of 500 ms/);
    const broken = [
      "dropped iterations over its limit",
      "failed requests over its limit",
      "p95 over its limit",
    ];
    const arrived = { timeout: 30_000, interval: 500 };
    await expect.poll(() => [...new Set(names("firing"))].sort(), arrived).toEqual(broken);
    const summaries = toWebhook("firing").map(({ annotations }) => annotations.summary);
    const [, p95] = /p95 of the last minute: ([\d.]+) ms, over the limit of 500 ms/.exec(
      summaries.join("\n"),
    )!;
    // The target's 700 ms, or more on a machine that has much to do.
    expect(Number(p95)).toBeGreaterThanOrEqual(700);
    expect(summaries.join("\n")).toMatch(/failed requests .*: 100%, over the limit of 1 %/);
    await expect
      .poll(() => posted.filter(({ path }) => path === "/slack/S0PSECRET").length, arrived)
      .toBeGreaterThanOrEqual(3);
    await expect.poll(() => mails.length, arrived).toBeGreaterThanOrEqual(3);
  });

  it("fire while a run stores nothing, and all resolve afterwards", async () => {
    // It answers the gate, but no request of the script, which waits longer than the project's own.
    const baseUrl = await serve("127.0.0.1", (request, response) => {
      if (request.method === "GET") response.end("ok");
    });
    const script = "build/patient/patient.js";
    clone.write(
      script,
      `import http from "k6/http";
      const executor = { executor: "constant-arrival-rate", preAllocatedVUs: 100 };
      const load = { rate: 5, timeUnit: "1s", duration: "10s" };
      export const options = { scenarios: { patient: { ...executor, ...load } } };
      export default () => http.post(__ENV.BASE_URL);`,
    );
    const load = clone.make("load", { target: "external", baseUrl, script });
    await expect
      .poll(() => names("firing"), { timeout: 90_000, interval: 500 })
      .toContain("No data during a run");
    expect((await load).code).not.toBe(0);
    const all = [...new Set(names("firing"))].sort();
    await expect
      .poll(() => [...new Set(names("resolved"))].sort(), { timeout: 180_000, interval: 1000 })
      .toEqual(all);
  });
});
