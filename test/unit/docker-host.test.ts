/** Which Docker is meant, by Docker's own rules. */
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dockerHost, isElsewhere } from "../../scripts/docker-host";

const DOCKER_CONFIG = fs.mkdtempSync(path.join(os.tmpdir(), "docker-config-"));
const socket = "unix:///home/me/.colima/default/docker.sock";

beforeAll(() => {
  const id = crypto.createHash("sha256").update("colima").digest("hex");
  const folder = path.join(DOCKER_CONFIG, "contexts/meta", id);
  fs.mkdirSync(folder, { recursive: true });
  const meta = { Name: "colima", Metadata: {}, Endpoints: { docker: { Host: socket } } };
  fs.writeFileSync(path.join(folder, "meta.json"), JSON.stringify(meta));
});
afterAll(() => fs.rmSync(DOCKER_CONFIG, { recursive: true }));

const choose = (currentContext?: string) =>
  fs.writeFileSync(path.join(DOCKER_CONFIG, "config.json"), JSON.stringify({ currentContext }));

describe("Docker is where", () => {
  test("its default is, if nothing is chosen", () => {
    choose();
    expect(dockerHost({ DOCKER_CONFIG })).toBeUndefined();
    choose("default");
    expect(dockerHost({ DOCKER_CONFIG })).toBeUndefined();
    fs.rmSync(path.join(DOCKER_CONFIG, "config.json"));
    expect(dockerHost({ DOCKER_CONFIG })).toBeUndefined();
  });

  test("the chosen context says, unless the environment says otherwise", () => {
    choose("colima");
    expect(dockerHost({ DOCKER_CONFIG })).toBe(socket);
    expect(dockerHost({ DOCKER_CONFIG, DOCKER_HOST: "unix:///a" })).toBe("unix:///a");
    expect(dockerHost({ DOCKER_CONFIG, DOCKER_CONTEXT: "default" })).toBeUndefined();
    choose();
    expect(dockerHost({ DOCKER_CONFIG, DOCKER_CONTEXT: "colima" })).toBe(socket);
  });

  test("nobody knows, if there is no such context", () => {
    choose("gone");
    expect(() => dockerHost({ DOCKER_CONFIG })).toThrow(
      `Docker's context is "gone", but there is none of that name: ` +
        "choose another one, see docker context ls",
    );
  });
});

test.each([
  ["unix:///var/run/docker.sock", false],
  ["npipe:////./pipe/docker_engine", false],
  ["tcp://127.0.0.1:2375", false],
  ["tcp://localhost:2375", false],
  ["tcp://10.0.0.7:2376", true],
  ["ssh://me@build.example.com", true],
])("Docker at %s is on another machine: %s", (host, elsewhere) => {
  expect(isElsewhere(host)).toBe(elsewhere);
});
