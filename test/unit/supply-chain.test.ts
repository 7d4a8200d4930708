/** What the project is made of besides its own files: exact versions, unchanged, of known licences. */
import * as fs from "node:fs";
import { describe, expect, test } from "vitest";

interface Locked {
  version: string;
  license?: string;
  integrity?: string;
  resolved?: string;
}

const read = (file: string) => JSON.parse(fs.readFileSync(file, "utf8"));
const manifest: Record<string, Record<string, string>> = read("package.json");
const { "": own, ...packages }: Record<string, Locked> = read("package-lock.json").packages;
/** By folder: a package may be there in several versions, and those of other systems are, too. */
const locked = Object.entries(packages);

/** Licences under which a package may be used and passed on. */
const allowed = [
  ...["0BSD", "Apache-2.0", "BlueOak-1.0.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-3.0"],
  ...["CC-BY-4.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "Python-2.0", "Unlicense", "Zlib"],
];
/** Packages that name a file in place of a licence, and how that file begins. */
const inFile: Record<string, string> = {
  "node_modules/@logdna/tail-file": "The MIT License (MIT)\n",
};

/** Whether every licence of an expression such as `(MIT AND ISC)` is allowed. */
const isAllowed = (license = "") =>
  license
    .replace(/[()]/g, "")
    .split(/ AND | OR /)
    .every((each) => allowed.includes(each));

describe("the packages", () => {
  test.each(["dependencies", "peerDependencies", "devDependencies", "overrides"])(
    "of %s are exact versions",
    (kind) => {
      const exact = /^\d+\.\d+\.\d+(-[\w.]+)?$/;
      expect(Object.entries(manifest[kind]).filter(([, version]) => !exact.test(version))).toEqual(
        [],
      );
    },
  );

  test("are locked as package.json names them", () => {
    const { dependencies, peerDependencies, devDependencies } = manifest;
    expect(own).toMatchObject({ dependencies, peerDependencies, devDependencies });
  });

  test("are locked by checksum, from whichever registry npm is told", () => {
    expect(locked.length).toBeGreaterThan(Object.keys(manifest.dependencies).length);
    const unchecked = locked.filter(([, { integrity }]) => !/^sha512-\S+$/.test(integrity ?? ""));
    expect(unchecked).toEqual([]);
    expect(locked.filter(([, { resolved }]) => resolved)).toEqual([]);
  });

  test("have licences that are allowed", () => {
    const others = locked
      .filter(([folder, { license }]) => !isAllowed(license) && !inFile[folder])
      .map(([folder, { license }]) => `${folder}: ${license ?? "no licence"}`);
    expect(others).toEqual([]);
    for (const [folder, start] of Object.entries(inFile)) {
      expect(fs.readFileSync(`${folder}/LICENSE`, "utf8").slice(0, start.length)).toBe(start);
    }
  });

  test.each([undefined, "", "GPL-3.0-only", "(MIT AND GPL-3.0-only)", "UNLICENSED", "SEE LICENSE"])(
    "may not have the licence %s",
    (license) => {
      expect(isAllowed(license)).toBe(false);
    },
  );
});
