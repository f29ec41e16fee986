// The site under test with an emulated board plugged into the browser:
// `cargo xtask serve --demo`, which is what people try the installer with.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Returns the publisher's program: `XTASK`, or the one that cargo has built. */
export function xtask() {
  const program = process.env.XTASK ?? path.join(process.env.CARGO_TARGET_DIR ?? path.join(root, "target"), "debug/xtask");
  if (!existsSync(program)) throw new Error(`no publisher at ${program}: run \`cargo build -p xtask\` first`);
  return program;
}

/**
 * Serves `dir` on a free loopback port until `close`; `url` is where its index
 * lies, below the path of the base URL in `manifest`, the project's
 * configuration.
 */
export async function serveDemo(dir, manifest = path.join(root, "towline.toml")) {
  const server = spawn(xtask(), ["serve", "--demo", "--port", "0", "--manifest", manifest, dir], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let complaints = "";
  server.stderr.on("data", (text) => (complaints = (complaints + text).slice(-4000)));
  const ended = new Promise((resolve) => server.once("exit", resolve));
  const failed = ended.then(() => {
    throw new Error(`the demo server ended:\n${complaints}`);
  });
  failed.catch(() => {});
  const line = new Promise((resolve) => createInterface({ input: server.stdout }).once("line", resolve));
  const top = await Promise.race([line, failed]);
  const [, base] = (await readFile(manifest, "utf8")).match(/^base-url = "(.*)"/m);
  return {
    url: new URL(new URL(base).pathname, top).href,
    close: async () => {
      server.kill();
      await ended;
    },
  };
}
