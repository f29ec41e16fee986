// The pure modules of the installer for node:test: bundled to a file that is
// thrown away, as Node does not read TypeScript.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const SOURCES = fileURLToPath(new URL("../../src/", import.meta.url));

/** Imports modules of site/src as one, by their paths without `.ts`. */
export async function load(...modules) {
  const folder = await mkdtemp(join(tmpdir(), "towline-unit-"));
  try {
    const outfile = join(folder, "bundle.mjs");
    await build({
      stdin: { contents: modules.map((name) => `export * from "./${name}";`).join("\n"), resolveDir: SOURCES },
      outfile,
      bundle: true,
      format: "esm",
      platform: "neutral",
      mainFields: ["module", "main"],
      target: "es2022",
      logLevel: "silent",
    });
    return await import(pathToFileURL(outfile));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
