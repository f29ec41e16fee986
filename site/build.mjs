// Bundles the installer of the page, and the emulated board that `cargo xtask
// serve --demo` puts in front of it:
//
//     node build.mjs OUT
//
//   installer-HASH.js, -HASH.css   what the page loads at first
//   NAME-HASH.js                   parts that it loads when they are needed
//   licenses-HASH.txt              licences of all packages in these files
//   demo-HASH.js                   the emulated board; never published
//   bundle.json                    which is which, and the SHA-256 of each; written last
//
// The same sources give the same bytes in any folder and on any machine: all
// versions are locked, names hold the hash of what is in them, and no path of
// the building machine gets in.

import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { build } from "esbuild";

const [out] = process.argv.slice(2);
if (out === undefined) {
  console.error("usage: node build.mjs OUT");
  process.exit(2);
}
const sources = import.meta.dirname;

const COMMON = {
  absWorkingDir: sources,
  bundle: true,
  charset: "utf8",
  // Their place is licenses-HASH.txt.
  legalComments: "none",
  logLevel: "warning",
  metafile: true,
  minify: true,
  outdir: path.resolve(out),
  entryNames: "[name]-[hash]",
  sourcemap: false,
  target: "es2022",
  write: false,
};

const installer = await build({
  ...COMMON,
  entryPoints: { installer: "src/main.ts" },
  chunkNames: "[name]-[hash]",
  format: "esm",
  splitting: true,
});
const demo = await build({ ...COMMON, entryPoints: { demo: "demo/demo.ts" }, format: "iife" });

const licenses = Buffer.from(await licensesOf(packagesIn(installer.metafile)));
const files = [
  ...[...installer.outputFiles, ...demo.outputFiles].map((file) => [path.basename(file.path), file.contents]),
  [`licenses-${hash(licenses)}.txt`, licenses],
];
const names = files.map(([name]) => name).sort();
const bundle = {
  script: only(/^installer-.*\.js$/),
  // Style that a later part imports would never be loaded.
  style: only(/\.css$/),
  licenses: only(/^licenses-.*\.txt$/),
  demo: only(/^demo-.*\.js$/),
  files: Object.fromEntries(files.map(([name, bytes]) => [name, sha256(bytes)]).sort()),
};

await mkdir(out, { recursive: true });
for (const [name, bytes] of files) await writeFile(path.join(out, name), bytes);
await writeFile(path.join(out, "bundle.json"), `${JSON.stringify(bundle, null, 2)}\n`);

/** Returns the one name that matches. */
function only(pattern) {
  const found = names.filter((name) => pattern.test(name));
  if (found.length !== 1) throw new Error(`expected one file ${pattern}, not ${found.length}: ${found.join(" ")}`);
  return found[0];
}

/** Returns the folders of all packages of which something got into the outputs. */
function packagesIn(metafile) {
  const inputs = Object.values(metafile.outputs).flatMap((output) => Object.entries(output.inputs));
  const folders = inputs
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
    .map(([input]) => input.match(/^.*node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0])
    .filter((folder) => folder !== undefined);
  return [...new Set(folders)].sort();
}

/** Returns name, version and licence of each package; one without a licence must not be shipped. */
async function licensesOf(folders) {
  const texts = ["What others wrote of the installer, and under which terms.\n"];
  for (const folder of folders) {
    const { name, version, license } = JSON.parse(await readFile(path.join(sources, folder, "package.json"), "utf8"));
    const terms = (await readdir(path.join(sources, folder))).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
    if (terms.length === 0) throw new Error(`${name} ${version} comes without the text of its licence`);
    texts.push(`${"=".repeat(72)}\n${name} ${version} (${license})\n`);
    for (const file of terms.sort()) texts.push(await readFile(path.join(sources, folder, file), "utf8"));
  }
  return texts.map((text) => `${text.replaceAll("\r\n", "\n").trim()}\n`).join("\n");
}

function hash(bytes) {
  return sha256(bytes).slice(0, 8);
}

function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}
