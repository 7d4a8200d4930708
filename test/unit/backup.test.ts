/** Archives that are whole and such that are not, and passwords that are new and half new. */
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import * as zlib from "node:zlib";
import * as tar from "tar-stream";
import { RunFailure } from "../../runner/types";
import { pack, unpack } from "../../scripts/archive";
import type { Resource } from "../../scripts/drift";
import { rotationOf } from "../../scripts/rotation";

describe("an archive", () => {
  let folder: string;
  const at = (...file: string[]) => path.join(folder, ...file);
  const about = {
    ...{ stack: "dev", madeAt: "2026-01-02T03:04:05.678Z", database: "k6" },
    versions: { influxdb: "1.8.10", grafana: "9.3.2" },
  };

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "backup-"));
    fs.mkdirSync(at("from/influxdb"), { recursive: true });
    fs.writeFileSync(at("from/grafana.json"), "{}");
    // Noise, so that it is as long when it is compressed, and an empty file.
    const noise = crypto.randomBytes(200_000);
    fs.writeFileSync(at("from/influxdb/points"), noise);
    fs.writeFileSync(at("from/influxdb/none"), "");
  });
  afterEach(() => fs.rmSync(folder, { recursive: true }));

  const refused = async (archive: string) => {
    const error = await unpack(archive, at("to")).catch((error) => error);
    expect(error).toBeInstanceOf(RunFailure);
    expect(error.message).not.toContain("\n");
    return error.message.replace(folder, "") as string;
  };

  test("gives back what was packed, and is its owner's only", async () => {
    const manifest = await pack(at("from"), about, at("a.tar.gz"));
    expect(Object.keys(manifest.files)).toEqual([
      ...["grafana.json", "influxdb/none", "influxdb/points"],
    ]);
    expect(fs.statSync(at("a.tar.gz")).mode & 0o777).toBe(0o600);
    expect(fs.readdirSync(folder).sort()).toEqual(["a.tar.gz", "from"]);

    expect(await unpack(at("a.tar.gz"), at("to"))).toEqual({ ...manifest, ...about });
    for (const file of Object.keys(manifest.files)) {
      expect(fs.readFileSync(at("to", file)).equals(fs.readFileSync(at("from", file)))).toBe(true);
    }
  });

  test("that is cut short anywhere is refused by its name", async () => {
    await pack(at("from"), about, at("a.tar.gz"));
    const whole = fs.readFileSync(at("a.tar.gz"));
    for (const length of [20, 1000, whole.length / 2, whole.length - 1]) {
      fs.writeFileSync(at("b.tar.gz"), whole.subarray(0, length));
      const message = await refused(at("b.tar.gz"));
      expect(message, String(length)).toMatch(/^\/b\.tar\.gz is torn or was altered: .*; nothing/);
    }
  });

  test("with another byte anywhere is refused", async () => {
    await pack(at("from"), about, at("a.tar.gz"));
    const whole = fs.readFileSync(at("a.tar.gz"));
    for (const place of [1000, whole.length >> 1, whole.length - 6]) {
      const other = Buffer.from(whole);
      other[place] ^= 1;
      fs.writeFileSync(at("b.tar.gz"), other);
      expect(await refused(at("b.tar.gz")), String(place)).toMatch(/is torn or was altered: /);
    }
  });

  /** Packs by hand, so that what is packed need not fit together. */
  const packed = async (...entries: [name: string, content: string][]) => {
    const pack = tar.pack();
    for (const [name, content] of entries) pack.entry({ name }, content);
    pack.finalize();
    const parts: Buffer[] = [];
    for await (const part of pack) parts.push(part as Buffer);
    fs.writeFileSync(at("c.tar.gz"), zlib.gzipSync(Buffer.concat(parts)));
    return at("c.tar.gz");
  };

  test("whose files do not fit its manifest is refused, with the file's name", async () => {
    const manifest = JSON.stringify(await pack(at("from"), about, at("a.tar.gz")));
    const listed: [string, string] = ["manifest.json", manifest];
    expect(await refused(await packed(listed, ["grafana.json", "[]"]))).toBe(
      "/c.tar.gz is torn or was altered: grafana.json has another checksum; nothing was changed",
    );
    expect(await refused(await packed(listed, ["grafana.json", "{}"]))).toBe(
      "/c.tar.gz is torn or was altered: influxdb/none is missing; nothing was changed",
    );
    expect(await refused(await packed(listed, ["../escaped", "{}"]))).toBe(
      "/c.tar.gz is torn or was altered: ../escaped was added; nothing was changed",
    );
    expect(fs.existsSync(at("escaped"))).toBe(false);
  });

  test("of another kind is refused as such", async () => {
    fs.writeFileSync(at("text.tar.gz"), "no archive at all");
    fs.writeFileSync(at("zipped.tar.gz"), zlib.gzipSync("no tar in it"));
    const others = [
      at("text.tar.gz"),
      at("zipped.tar.gz"),
      at("from"),
      await packed(),
      await packed(["a", "b"]),
      await packed(["manifest.json", '{"kind":"another"}']),
      await packed(["manifest.json", "{"]),
    ];
    for (const each of others) {
      expect(await refused(each)).toMatch(/ is no archive that make backup made$/);
    }
  });
});

describe("a rotation", () => {
  const urn = (name: string) => `urn:pulumi:dev::p::type::${name}`;
  const password = (name: string, value: string): Resource => ({
    urn: urn(name),
    type: "random:index/randomPassword:RandomPassword",
    outputs: { result: { plaintext: JSON.stringify(value) } },
  });
  const user = (name: string, from: string, value: string): Resource => ({
    urn: urn(name),
    type: "t",
    inputs: { auth: { plaintext: JSON.stringify(`admin:${value}`) }, url: "u" },
    propertyDependencies: { auth: [urn(from)], url: null, other: [urn("network")] },
  });
  const passwords = [
    password("grafana-admin-password", "new"),
    password("grafana-secret-key", "key"),
    password("grafana-first-password", "first"),
    password("influxdb-k6-password", "k6"),
  ];

  test("changes the passwords that somebody logs in with, and what goes by them", () => {
    const provider = user("grafana-provider", "grafana-admin-password", "new");
    const k6 = user("influxdb-k6", "influxdb-k6-password", "k6");
    const others = [
      user("grafana-container", "grafana-first-password", "first"),
      user("load-test-run", "influxdb-k6-password", "of before"),
      { urn: urn("network"), type: "t" },
    ];
    const all = [...passwords, provider, k6, ...others];
    expect(rotationOf(all, urn("load-test-run"))).toEqual({
      passwords: [urn("grafana-admin-password"), urn("influxdb-k6-password")],
      holders: [provider.urn, k6.urn],
      late: [],
    });
  });

  test("is not over as long as something goes by a password of before", () => {
    const provider = user("grafana-provider", "grafana-admin-password", "old");
    const k6 = user("influxdb-k6", "influxdb-k6-password", "k6");
    expect(rotationOf([...passwords, provider, k6], "").late).toEqual([provider.urn]);
  });
});
