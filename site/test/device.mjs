// A simulated device that serves its page: the newest release of the store,
// flashed into a file, answering on loopback with the code of the firmware.

import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = process.env.PROJECT_DIR ?? fileURLToPath(new URL("../..", import.meta.url));
const XTASK = path.resolve(process.env.XTASK ?? path.join(ROOT, "target/debug/xtask"));
const STORE = path.resolve(process.env.STORE_DIR ?? path.join(ROOT, "dist/store"));
const TARGET = "esp32c3";

export const TOKEN = "correct horse battery staple";

/**
 * Starts a device; throws, with the command to run, when there is nothing to flash.
 * With `offer`, fields of a descriptor, its channels offer that; else they do not answer.
 */
export async function powerOn({ token = TOKEN, offer } = {}) {
  if (!existsSync(XTASK) || !existsSync(STORE)) {
    throw new Error(`no ${XTASK} or no ${STORE}: run \`cargo xtask release\` first, or name others with XTASK and STORE_DIR`);
  }
  const dir = await mkdtemp(path.join(tmpdir(), "towline-device-"));
  const flash = path.join(dir, "flash.bin");
  const options = { cwd: ROOT, env: { ...process.env, TOWLINE_TOKEN: token } };
  if (!token) delete options.env.TOWLINE_TOKEN;
  await promisify(execFile)(XTASK, ["sim", "flash", "--target", TARGET, "--flash", flash, "--store", STORE], options);
  const host = offer && (await serve(dir, offer, options));
  const reach = host ? ["--connect", new URL(host.url).host, "--ca", host.ca] : [];
  const device = spawn(XTASK, ["sim", "serve", "--flash", flash, "--port", "0", "--target", TARGET, ...reach], {
    ...options,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const url = await firstLine(device);
  return {
    url,
    image: await newestImage(),
    off: async () => {
      device.kill();
      host?.process.kill();
      await rm(dir, { recursive: true });
    },
  };
}

/** Serves channels that offer one thing, over HTTPS as the project's host does. */
async function serve(dir, offer, options) {
  const site = path.join(dir, "site");
  const ca = path.join(dir, "ca.pem");
  const descriptor = { project: "towline-device", target: TARGET, chip: TARGET, size: 1000, sha256: "0".repeat(64), ...offer };
  for (const channel of ["stable", "testing"]) {
    await mkdir(path.join(site, "ota", channel), { recursive: true });
    await writeFile(path.join(site, "ota", channel, `${TARGET}.json`), JSON.stringify({ channel, ...descriptor }));
  }
  const process = spawn(XTASK, ["serve", site, "--https", "--port", "0", "--ca", ca], { ...options, stdio: ["ignore", "pipe", "ignore"] });
  return { process, ca, url: await firstLine(process) };
}

async function firstLine(process) {
  const { value } = await createInterface(process.stdout)[Symbol.asyncIterator]().next();
  return value;
}

/** The path of an app image that the device takes, and its version. */
async function newestImage() {
  const records = path.join(STORE, "releases");
  const [name] = (await readdir(records)).filter((file) => file.endsWith(".json")).sort().reverse();
  const record = JSON.parse(await readFile(path.join(records, name), "utf8"));
  return { file: path.join(STORE, "artifacts", record.targets[TARGET].app.sha256), version: record.version };
}
