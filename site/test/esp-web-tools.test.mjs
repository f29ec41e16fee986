// The site's manifests in the hands of esp-web-tools itself: its own button on
// a page of this site, flashing an emulated board.

import assert from "node:assert/strict";
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

/** Goes through the dialog of esp-web-tools to its end. */
async function install(page, { erase }) {
  const button = (name) => page.getByRole("button", { name, exact: true });
  await page.locator("esp-web-install-button button").click();
  await page.locator("ew-list-item", { hasText: /^\s*(Install|Update) / }).click();
  if (erase !== null) {
    if (erase) await page.locator("ew-checkbox").click();
    await button("Next").click();
  }
  await button("Install").click();
  await page.getByText("Installation complete!").waitFor({ state: "attached", timeout: 60_000 });
  await button("Next").click();
}

test("esp-web-tools installs what the manifest of a channel names, byte for byte", async () => {
  const manifest = JSON.parse(await readFile(path.join(dir, "manifests/stable.json"), "utf8"));
  const build = manifest.builds.find(({ chipFamily }) => chipFamily === "ESP32-C3");
  const page = await openButton({ "demo-chip": "esp32c3" });
  // Settings of whatever ran before.
  const settings = Buffer.alloc(4096, 0x5a);
  await page.evaluate((at) => window.towlineBoard.write(at, new Uint8Array(4096).fill(0x5a)), 0x9000);
  await install(page, { erase: false });
  for (const { path: name, offset } of build.parts) {
    const wanted = await readFile(path.join(dir, "manifests", name));
    assert.deepEqual(await flash(page, offset, wanted.length), wanted, name);
  }
  assert.deepEqual(await flash(page, 0x9000, settings.length), settings, "not erased, so settings stay");
  await page.close();
});

test("esp-web-tools asks before it erases a board that is new to the project, and then does", async () => {
  const page = await openButton({ "demo-chip": "esp32c3" });
  await page.evaluate((at) => window.towlineBoard.write(at, new Uint8Array(4096).fill(0x5a)), 0x9000);
  await install(page, { erase: true });
  assert.deepEqual(await flash(page, 0x9000, 4096), Buffer.alloc(4096, 0xff));
  await page.close();
});
