/** The provider of Grafana's administrator, run as Pulumi runs it, against a model of Grafana. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type Provider, recordPulumi, requireAsPulumi, revived } from "../support/pulumi-mocks";

// On a busy machine, what takes a second may take ten.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });

type Module = typeof import("../../components/grafana-admin.js");

let provider: Provider;
beforeAll(async () => {
  const { GrafanaAdmin } = requireAsPulumi<Module>("components/grafana-admin.ts");
  const recording = recordPulumi();
  const admin = { url: "http://127.0.0.1:1", username: "admin", password: "p" };
  new GrafanaAdmin("admin", { ...admin, firstPassword: "f", container: "c" });
  await recording.done();
  provider = revived(recording.get("pulumi-nodejs:dynamic/grafana:Admin", "admin").code!);
});

/** Grafana with one user, as far as the provider uses it. */
let inForce: string;
/** Passwords that were tried, in order. */
let tried: string[];
/** How many requests are cut off before it answers any. */
let booting: number;
/** How it calls itself. */
let version: string;
let server: Server;
beforeEach(async () => {
  [inForce, tried, booting, version] = ["first", [], 0, "12.4.0"];
  server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    if (booting-- > 0) return void request.socket.destroy();
    const answer = (status: number, body: object): void => {
      response.writeHead(status).end(JSON.stringify(body));
    };
    if (request.url === "/api/health") return answer(200, { database: "ok", version });
    const [, encoded = ""] = (request.headers.authorization ?? "").split(" ");
    const [user, password] = Buffer.from(encoded, "base64").toString().split(":");
    if (request.method === "GET") tried.push(password);
    if (user !== "admin" || password !== inForce) return answer(401, { message: "no" });
    if (request.method === "GET") return answer(200, { login: user });
    const { oldPassword, newPassword } = JSON.parse(body);
    if (oldPassword !== inForce) return answer(401, { message: "invalid old password" });
    if (newPassword.length < 4) return answer(400, { message: "New password is too short" });
    inForce = newPassword;
    answer(200, { message: "User password changed" });
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
});
afterEach(() => server.close());

const state = (password: string, container = "c") => ({
  url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  ...{ username: "admin", password, firstPassword: "first", container },
});

describe("Grafana's administrator", () => {
  test.each(["9.5.21", "11.6.1", "13.0.0"])("is not made in Grafana %s", async (other) => {
    version = other;
    await expect(provider.create(state("wanted"))).rejects.toThrow(
      `is ${other}, but it must be 12.x (tried: 12.4.0)`,
    );
    expect(tried).toEqual([]);
  });

  test("gets its password once Grafana answers, in place of the first one", async () => {
    booting = 3;
    const { id, outs } = await provider.create(state("password-1"));
    expect([id, outs, inForce]).toEqual(["admin", state("password-1"), "password-1"]);
    expect(tried).toEqual(["first"]);
  });

  test("keeps it where it is in force already, as in a stack of before", async () => {
    inForce = "password-1";
    await provider.create(state("password-1"));
    expect([inForce, tried]).toEqual(["password-1", ["first", "password-1"]]);
  });

  test("gets another in place of the one of before", async () => {
    inForce = "password-1";
    await provider.update("admin", state("password-1"), state("password-2"));
    expect([inForce, tried]).toEqual(["password-2", ["password-1"]]);
  });

  test("has it where the one before had been replaced, but not recorded as such", async () => {
    inForce = "password-2";
    await provider.update("admin", state("password-1"), state("password-2"));
    expect([inForce, tried]).toEqual(["password-2", ["password-1", "password-2"]]);
  });

  test("gets it again where the volume is another", async () => {
    await provider.update("admin", state("password-1"), state("password-1", "d"));
    expect([inForce, tried]).toEqual(["password-1", ["password-1", "first"]]);
  });

  test("is in nobody's hands where no password is in force; none is tried twice", async () => {
    inForce = "another";
    const change = provider.update("admin", state("password-1"), state("password-2"));
    await expect(change).rejects.toThrow(/has an administrator with another password/);
    expect(tried).toEqual(["password-1", "password-2", "first"]);
  });

  test("says why Grafana takes no new password", async () => {
    await expect(provider.create(state("pw"))).rejects.toThrow(/New password is too short/);
    expect(inForce).toBe("first");
  });

  test("changes in place, and is another where its name is", async () => {
    const diff = (news: object) => provider.diff("admin", state("password-1"), news as never);
    expect(await diff(state("password-1"))).toMatchObject({ changes: false });
    expect(await diff(state("password-2"))).toMatchObject({ changes: true, replaces: [] });
    expect(await diff(state("password-1", "d"))).toMatchObject({ changes: true, replaces: [] });
    const renamed = { ...state("password-1"), username: "root" };
    expect(await diff(renamed)).toMatchObject({ replaces: ["username"] });
  });
});
