// A simulated device that serves its page: the newest release of the store,
// flashed into a file, answering on loopback with the code of the firmware.

import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
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

/** Starts a device; throws, with the command to run, when there is nothing to flash. */
export async function powerOn({ token = TOKEN } = {}) {
  if (!existsSync(XTASK) || !existsSync(STORE)) {
    throw new Error(`no ${XTASK} or no ${STORE}: run \`cargo xtask release\` first, or name others with XTASK and STORE_DIR`);
  }
  const dir = await mkdtemp(path.join(tmpdir(), "towline-device-"));
  const flash = path.join(dir, "flash.bin");
  const options = { cwd: ROOT, env: { ...process.env, TOWLINE_TOKEN: token } };
  if (!token) delete options.env.TOWLINE_TOKEN;
  await promisify(execFile)(XTASK, ["sim", "flash", "--target", TARGET, "--flash", flash, "--store", STORE], options);
  const device = spawn(XTASK, ["sim", "serve", "--flash", flash, "--port", "0", "--target", TARGET], {
    ...options,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const { value: url } = await createInterface(device.stdout)[Symbol.asyncIterator]().next();
  return {
    url,
    image: await newestImage(),
    off: async () => {
      device.kill();
      await rm(dir, { recursive: true });
    },
  };
}

/** The path of an app image that the device takes, and its version. */
async function newestImage() {
  const records = path.join(STORE, "releases");
  const [name] = (await readdir(records)).filter((file) => file.endsWith(".json")).sort().reverse();
  const record = JSON.parse(await readFile(path.join(records, name), "utf8"));
  return { file: path.join(STORE, "artifacts", record.targets[TARGET].app.sha256), version: record.version };
}
