/**
 * Loads a program of this project: bundled by esbuild into one file of JavaScript, made anew when a
 * source of it has changed. That file is there in a few milliseconds; to load TypeScript's sources one by
 * one takes half a second each time.
 *
 * Pulumi loads index.ts by it (`main` in Pulumi.yaml), so `pulumi up` and `make up` run the same code.
 * Usage: node launch.js <file.ts> [argument ...]
 */
require("./scripts/node.js");

const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

const cache = path.join(__dirname, "node_modules/.cache/coupon-load-test");

/** The hash of a program's sources, by their list; none where one of them is gone. */
function hashOf(sources) {
  const hash = crypto.createHash("sha256").update(fs.readFileSync(__filename));
  try {
    for (const source of sources) hash.update(fs.readFileSync(path.join(__dirname, source)));
  } catch {
    return undefined;
  }
  return hash.digest("hex").slice(0, 16);
}

/** @param entry from this folder. Gives the bundle's path. */
function bundle(entry) {
  const name = entry.replace(/\W/g, "-");
  const list = path.join(cache, `${name}.json`);
  const known = fs.existsSync(list) ? JSON.parse(fs.readFileSync(list, "utf8")) : undefined;
  const file = (hash) => path.join(cache, `${name}.${hash}.js`);
  const made = known && file(hashOf(known));
  if (made && fs.existsSync(made)) return made;

  const { buildSync } = require("esbuild");
  const { outputFiles, metafile } = buildSync({
    ...{
      entryPoints: [entry],
      absWorkingDir: __dirname,
      bundle: true,
      write: false,
      metafile: true,
    },
    ...{ platform: "node", target: "node20", packages: "external", logLevel: "silent" },
  });
  const sources = Object.keys(metafile.inputs).sort();
  fs.mkdirSync(cache, { recursive: true });
  const olds = fs
    .readdirSync(cache)
    .filter((each) => each.startsWith(`${name}.`) && /\.js$/.test(each));
  for (const old of olds) fs.rmSync(path.join(cache, old), { force: true });
  const own = file(hashOf(sources));
  for (const [place, text] of [
    [own, outputFiles[0].text],
    [list, JSON.stringify(sources)],
  ]) {
    // Another program may look at the same moment.
    fs.writeFileSync(`${place}.${process.pid}`, text);
    fs.renameSync(`${place}.${process.pid}`, place);
  }
  return own;
}

if (require.main === module) {
  // As if the program itself had been started: some look whether they are `require.main`.
  process.argv.splice(1, 2, bundle(process.argv[2]));
  require("node:module").runMain();
} else {
  module.exports = require(bundle("index.ts"));
}
