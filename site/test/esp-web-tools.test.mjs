// The site's manifests in the hands of esp-web-tools itself: its own button on
// a page of this site, flashing an emulated board.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { DESKTOP, launch } from "./browser.mjs";
import { serveDemo } from "./demo.mjs";
import { siteDir } from "./published.mjs";

const PACKAGE = fileURLToPath(new URL("../node_modules/esp-web-tools/dist/web/", import.meta.url));

const dir = siteDir();
/** Where settings lie in flash: the first sector of the partition nvs. */
const SETTINGS = 0x9000;

const manifest = JSON.parse(await readFile(path.join(dir, "manifests/stable.json"), "utf8"));
const buildOf = (family) => manifest.builds.find(({ chipFamily }) => chipFamily === family);

let copy;
let site;
let browser;

/** The site with one page more, which has the button of esp-web-tools. */
before(async () => {
  copy = await mkdtemp(path.join(os.tmpdir(), "tried-"));
  await cp(dir, copy, { recursive: true });
  await cp(PACKAGE, path.join(copy, "tried"), { recursive: true });
  site = await serveDemo(copy);
  const [emulated] = (await (await fetch(site.url)).text()).match(/<script src="[^"]*demo-[^"]*"><\/script>/) ?? [];
  assert.ok(emulated, "the page has the emulated board's script");
  await writeFile(
    path.join(copy, "tried.html"),
    `<!DOCTYPE html><html lang="en"><head><title>tried</title>${emulated}
     <script type="module" src="tried/install-button.js"></script></head>
     <body><esp-web-install-button manifest="manifests/stable.json"></esp-web-install-button></body></html>`,
  );
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await site?.close();
  await rm(copy, { recursive: true, force: true });
});

/** Opens the page with a board plugged in. */
async function openButton(board) {
  const page = await browser.newPage({ viewport: DESKTOP });
  const settings = new URLSearchParams({ "demo-panel": "0", ...board });
  await page.goto(`${site.url}tried.html?${settings}`);
  await page.evaluate(() => window.towlineBoard.ready);
  return page;
}

/** Reads a range of the emulated board's flash. */
async function flash(page, offset, length) {
  const bytes = await page.evaluate(
    async ([at, count]) => Array.from(await window.towlineBoard.read(at, count)),
    [offset, length],
  );
  return Buffer.from(bytes);
}

/** Goes through the dialog of esp-web-tools to its end; `erase` is null where it is not asked. */
async function install(page, offer, { erase }) {
  const button = (name) => page.getByRole("button", { name, exact: true });
  await page.locator("esp-web-install-button button").click();
  await page.locator("ew-list-item", { hasText: offer }).click();
  if (erase !== null) {
    if (erase) await page.locator("ew-checkbox").click();
    await button("Next").click();
  }
  await button("Install").click();
  await page.locator("ewt-page-message", { hasText: "Installation complete!" }).waitFor({ timeout: 60_000 });
}

/** Fills the partition of the settings with what an earlier life of the board left. */
async function leaveSettings(page) {
  await page.evaluate((at) => window.towlineBoard.write(at, new Uint8Array(4096).fill(0x5a)), SETTINGS);
}

/** Asserts that flash holds every part of a build, but for otadata, where firmware notes that it has started. */
async function assertParts(page, build) {
  for (const { path: name, offset } of build.parts) {
    if (name.includes("-otadata-")) continue;
    const wanted = await readFile(path.join(dir, "manifests", name));
    assert.ok((await flash(page, offset, wanted.length)).equals(wanted), name);
  }
}

test("esp-web-tools installs what the manifest names, byte for byte, and keeps settings when told so", async () => {
  const page = await openButton({ "demo-chip": "esp32c3" });
  await leaveSettings(page);
  await install(page, `Install ${manifest.name}`, { erase: false });
  await assertParts(page, buildOf("ESP32-C3"));
  assert.deepEqual(await flash(page, SETTINGS, 4096), Buffer.alloc(4096, 0x5a), "settings stay");
  await page.close();
});

test("esp-web-tools asks before it erases a board that is new to the project, and then does", async () => {
  const page = await openButton({ "demo-chip": "esp32c3" });
  await leaveSettings(page);
  await install(page, `Install ${manifest.name}`, { erase: true });
  await assertParts(page, buildOf("ESP32-C3"));
  assert.deepEqual(await flash(page, SETTINGS, 4096), Buffer.alloc(4096, 0xff));
  await page.close();
});

test("esp-web-tools updates a board that runs an earlier release without erasing or asking", async () => {
  const page = await openButton({ "demo-chip": "esp32c3" });
  const build = buildOf("ESP32-C3");
  for (const { path: name, offset } of build.parts) {
    let bytes = await readFile(path.join(dir, "manifests", name));
    // The same app under an earlier version, which its descriptor tells.
    if (name.includes("-app-")) bytes = relabelled(bytes, "0.0.1");
    await page.evaluate(
      ([at, base64]) => window.towlineBoard.write(at, Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))),
      [offset, bytes.toString("base64")],
    );
  }
  await leaveSettings(page);
  await page.evaluate(() => window.towlineBoard.reset());
  await install(page, `Update ${manifest.name}`, { erase: null });
  await assertParts(page, build);
  assert.deepEqual(await flash(page, SETTINGS, 4096), Buffer.alloc(4096, 0x5a), "settings stay");
  await page.close();
});

/** The app image with another version in its descriptor, checksum and hash made anew. */
function relabelled(image, version) {
  const bytes = Buffer.from(image);
  const field = bytes.subarray(48, 80);
  field.fill(0).write(version);
  let sum = 0xef;
  let at = 24;
  for (let segment = 0; segment < bytes[1]; segment += 1) {
    const length = bytes.readUInt32LE(at + 4);
    for (const byte of bytes.subarray(at + 8, at + 8 + length)) sum ^= byte;
    at += 8 + length;
  }
  const end = (Math.floor(at / 16) + 1) * 16;
  bytes[end - 1] = sum;
  createHash("sha256").update(bytes.subarray(0, end)).digest().copy(bytes, end);
  return bytes;
}
