// A project with boards that this repository builds no firmware for, released
// by `cargo xtask release` itself: ESP32 and ESP32-S3 beside the ESP32-C3, two
// S3 boards that differ in flash and PSRAM, and a history of releases with a
// changed partition table, a minimum version, a prerelease and a yanked one.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { xtask } from "./demo.mjs";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

const CONFIG = `project = "harbour"
title = "Harbour light"
description = "A lamp for the end of the pier."
base-url = "https://example.org/harbour/"

[defaults]
partition-table = "partitions.csv"

[targets.esp32]
build.prebuilt = "images/esp32.bin"

[targets.esp32c3]
build.prebuilt = "images/esp32c3.bin"

[targets.esp32s3]
flash-size = "8MB"
build.prebuilt = "images/esp32s3.bin"

[targets.s3-large]
chip = "esp32s3"
flash-size = "16MB"
psram = "8MB"
build.prebuilt = "images/s3-large.bin"
`;

const TABLE = `nvs,      data, nvs,   0x9000,   0x4000
otadata,  data, ota,   0xd000,   0x2000
phy_init, data, phy,   0xf000,   0x1000
ota_0,    app,  ota_0, 0x10000,  0x180000
ota_1,    app,  ota_1, 0x190000, 0x180000
`;

/** Settings stay where they are; what was behind the slots moves. */
const TABLES = {
  first: `${TABLE}storage,  data, spiffs, 0x310000, 0x80000\n`,
  second: `${TABLE}storage,  data, spiffs, 0x320000, 0x80000\n`,
};

const RELEASES = [
  { version: "1.0.0", table: TABLES.first, notes: "The first light." },
  { version: "1.1.0", table: TABLES.first, notes: "Brighter.\nAnd <b>warmer</b>." },
  { version: "1.1.1", table: TABLES.first, notes: "Dims by itself." },
  { version: "1.2.0", table: TABLES.second, notes: "More room for pictures.", minFrom: "1.1.0" },
  { version: "1.3.0-rc.1", table: TABLES.second, notes: "Blinks, when it should." },
];

const TARGETS = [
  { name: "esp32", chip: "esp32" },
  { name: "esp32c3", chip: "esp32c3" },
  { name: "esp32s3", chip: "esp32s3" },
  { name: "s3-large", chip: "esp32s3" },
];

/** Size of the apps in bytes: enough blocks to see progress, few enough to be quick. */
const APP = 200_000;

const target = process.env.CARGO_TARGET_DIR ?? path.join(root, "target");

/**
 * Releases the project below cargo's target folder, or takes what the same
 * publisher has released there before: several files of tests need it. They
 * have to run one at a time, as `npm test` does.
 */
export async function harbour() {
  const shelf = path.join(target, "harbour");
  const dir = path.join(shelf, await fingerprint());
  const found = { dir: path.join(dir, "dist/site"), manifest: path.join(dir, "towline.toml") };
  if (existsSync(dir)) return found;
  await rm(shelf, { recursive: true, force: true });
  const work = path.join(shelf, "unfinished");
  await mkdir(path.join(work, "images"), { recursive: true });
  await releaseAll(work);
  await rename(work, dir);
  return found;
}

/** Names everything that the releases are made by. */
async function fingerprint() {
  const { size, mtimeMs } = await stat(xtask());
  const sources = [import.meta.url, new URL("../../firmware/sim/examples/app_image.rs", import.meta.url)];
  const hash = createHash("sha256").update(`${xtask()} ${size} ${mtimeMs}`);
  for (const source of sources) hash.update(await readFile(fileURLToPath(source)));
  return hash.digest("hex").slice(0, 16);
}

async function releaseAll(dir) {
  const manifest = path.join(dir, "towline.toml");
  const env = { ...process.env, SOURCE_DATE_EPOCH: "1790000000" };
  const publish = (...command) => run(xtask(), [...command, "--manifest", manifest], { env });
  await run("cargo", ["build", "--quiet", "--locked", "-p", "towline-sim", "--example", "app_image"], { cwd: root });
  const make = path.join(target, "debug/examples/app_image");
  await writeFile(manifest, CONFIG);
  for (const { version, table, notes, minFrom } of RELEASES) {
    await writeFile(path.join(dir, "partitions.csv"), table);
    await writeFile(path.join(dir, "notes.txt"), notes);
    for (const [at, { name, chip }] of TARGETS.entries()) {
      const image = path.join(dir, "images", `${name}.bin`);
      // Targets of one chip differ, as boards do.
      await run(make, [chip, "harbour", version, String(APP + 4096 * at), image]);
    }
    const more = minFrom === undefined ? [] : ["--min-from", minFrom];
    await publish("release", "--notes", path.join(dir, "notes.txt"), ...more);
  }
  await publish("yank", "1.1.0", "--reason", "It flickers.");
  await publish("site");
}
