/** Archives of a backup: packed with a manifest, and taken apart only as far as they are whole. */
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import * as zlib from "node:zlib";
import * as tar from "tar-stream";
import { RunFailure } from "../runner/types";

/** What a backup is of. */
export interface About {
  stack: string;
  /** ISO 8601. */
  madeAt: string;
  database: string;
  /** Of the servers it was taken from. */
  versions: { influxdb: string; grafana: string };
}

/** The first file of an archive, `manifest.json`. */
export interface Manifest extends About {
  kind: string;
  /** By path in the archive; a checksum is SHA-256, in hexadecimal. */
  files: Record<string, { bytes: number; sha256: string }>;
}

const kind = "coupon-load-test backup 1";
const manifestName = "manifest.json";

/** Packs all files of a folder, as a file that only its owner may read; half of one is never seen. */
export async function pack(folder: string, about: About, archive: string): Promise<Manifest> {
  const names = fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort();
  const manifest: Manifest = { kind, ...about, files: {} };
  for (const name of names) {
    const file = path.join(folder, name);
    manifest.files[name] = { bytes: fs.statSync(file).size, sha256: await checksum(file) };
  }
  const packed = tar.pack();
  const part = `${archive}.part`;
  const written = pipeline(
    packed,
    zlib.createGzip(),
    fs.createWriteStream(part, { mode: 0o600, flags: "wx" }),
  );
  try {
    packed.entry({ name: manifestName, mode: 0o600 }, JSON.stringify(manifest, null, 2) + "\n");
    for (const name of names) {
      const entry = packed.entry({ name, mode: 0o600, size: manifest.files[name].bytes });
      await pipeline(fs.createReadStream(path.join(folder, name)), entry);
    }
    packed.finalize();
    await written;
    fs.renameSync(part, archive);
  } finally {
    packed.destroy();
    fs.rmSync(part, { force: true });
  }
  return manifest;
}

/**
 * Takes an archive apart into a folder, and compares every file with its checksum.
 *
 * @throws RunFailure that names the archive, and the file in it, if it is of another kind, torn or
 * altered
 */
export async function unpack(archive: string, folder: string): Promise<Manifest> {
  const foreign = new RunFailure(`${archive} is no archive that make backup made`);
  const altered = (what: string) =>
    new RunFailure(`${archive} is torn or was altered: ${what}; nothing was changed`);
  let manifest: Manifest | undefined;
  const found = new Set<string>();
  const entries = tar.extract();
  const reading = pipeline(fs.createReadStream(archive), zlib.createGunzip(), entries);
  // Told by the loop below, which then ends, too.
  reading.catch(() => undefined);
  try {
    for await (const entry of entries) {
      const { name } = entry.header;
      if (!manifest) {
        if (name !== manifestName) throw foreign;
        manifest = JSON.parse(await text(Readable.from(entry))) as Manifest;
        if (manifest.kind !== kind) throw foreign;
        continue;
      }
      // What is not listed, by this very name, has no place to go to.
      if (!Object.hasOwn(manifest.files, name)) throw altered(`${name} was added`);
      const file = path.join(folder, name);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      await pipeline(Readable.from(entry), fs.createWriteStream(file));
      if ((await checksum(file)) !== manifest.files[name].sha256) {
        throw altered(`${name} has another checksum`);
      }
      found.add(name);
    }
    await reading;
  } catch (error) {
    if (error instanceof RunFailure) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    // The end is missing, or some of it is another: both gzip and tar have checksums of their own.
    if (manifest || code === "Z_BUF_ERROR") throw altered(message);
    throw foreign;
  } finally {
    entries.destroy();
  }
  if (!manifest) throw foreign;
  const missing = Object.keys(manifest.files).find((name) => !found.has(name));
  if (missing) throw altered(`${missing} is missing`);
  return manifest;
}

async function checksum(file: string): Promise<string> {
  const hash = crypto.createHash("sha256");
  await pipeline(fs.createReadStream(file), hash);
  return hash.digest("hex");
}
