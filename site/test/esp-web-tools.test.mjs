// The site's manifests in the hands of esp-web-tools itself: its own button on
// a page of the site, flashing an emulated board.

import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { DESKTOP, launch } from "./browser.mjs";
import { serveDemo } from "./demo.mjs";
import { harbour } from "./harbour.mjs";
import { Installer, overlaid, partsOf, sameFlash } from "./installer.mjs";

const PACKAGE = fileURLToPath(new URL("../node_modules/esp-web-tools/dist/web/", import.meta.url));
const STABLE = "1.2.0";

let dir;
let copy;
let site;
let browser;

/** The site with one page more, which has the button of esp-web-tools. */
before(async () => {
  const released = await harbour();
  dir = released.dir;
  copy = await mkdtemp(path.join(os.tmpdir(), "tried-"));
  await cp(dir, copy, { recursive: true });
  await cp(PACKAGE, path.join(copy, "tried"), { recursive: true });
  site = await serveDemo(copy, released.manifest);
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
  if (copy) await rm(copy, { recursive: true, force: true });
});

/** Runs `body` on the page with a board whose flash holds parts, and what firmware left around them. */
async function onButton(board, parts, body) {
  const page = await browser.newPage({ viewport: DESKTOP });
  page.setDefaultTimeout(60_000);
  try {
    await page.goto(`${site.url}tried.html?${new URLSearchParams({ "demo-panel": "0", ...board })}`);
    await page.evaluate(() => window.towlineBoard.ready);
    // The board is the same, whichever page flashes it.
    const it = new Installer(page, site);
    await body(page, it, await it.preload(parts));
  } finally {
    await page.close();
  }
}

/** Opens the dialog of esp-web-tools and presses what installs; returns what that is called. */
async function begin(page) {
  await page.locator("esp-web-install-button button").click();
  const item = page.locator("ew-list-item", { hasText: /^\s*(Install|Update) / });
  const name = (await item.innerText()).trim();
  await item.click();
  return name;
}

const button = (page, name) => page.getByRole("button", { name, exact: true });

async function finish(page) {
  await button(page, "Install").click();
  await page.locator('ewt-page-message[label="Installation complete!"]').waitFor({ state: "attached" });
}

/** Where the boot selection lies, which the firmware writes as soon as it starts. */
const OTADATA = { from: 0xd000, to: 0xf000 };

/** Compares all that no firmware has written since. */
async function holds(it, wanted) {
  const found = await it.read(0, wanted.length);
  wanted.copy(found, OTADATA.from, OTADATA.from, OTADATA.to);
  sameFlash(found, wanted);
}

describe("esp-web-tools", { concurrency: 2 }, () => {
  for (const [target, family] of [["esp32", "ESP32"], ["esp32c3", "ESP32-C3"]]) {
    test(`installs what the manifest of a channel names, byte for byte, and keeps the rest (${family})`, async () => {
      const manifest = JSON.parse(await readFile(path.join(dir, "manifests/stable.json"), "utf8"));
      const named = manifest.builds.find(({ chipFamily }) => chipFamily === family).parts;
      const parts = await Promise.all(
        named.map(async ({ path: file, offset }) => ({ offset, bytes: await readFile(path.join(dir, "manifests", file)) })),
      );
      await onButton({ "demo-chip": target }, [], async (page, it, flash) => {
        assert.equal(await begin(page), "Install harbour");
        await button(page, "Next").click();
        await finish(page);
        await holds(it, overlaid(flash, parts));
      });
    });
  }

  test("asks before it erases a board that is new to the project, and then does", async () => {
    const parts = await partsOf(dir, STABLE, "esp32c3");
    await onButton({}, [], async (page, it, { length }) => {
      await begin(page);
      await page.locator("ew-checkbox").click();
      await button(page, "Next").click();
      await finish(page);
      await holds(it, overlaid(Buffer.alloc(length, 0xff), parts));
    });
  });

  test("takes a board that runs the project for one, and updates it without asking to erase", async () => {
    await onButton({}, await partsOf(dir, "1.1.1", "esp32c3"), async (page, it, before) => {
      assert.equal(await begin(page), "Update harbour");
      // No question comes between.
      await finish(page);
      await holds(it, overlaid(before, await partsOf(dir, STABLE, "esp32c3")));
    });
  });

  test("is offered no board of which there are two kinds with one chip", async () => {
    const { builds } = JSON.parse(await readFile(path.join(dir, "manifests/stable.json"), "utf8"));
    assert.deepEqual(builds.map(({ chipFamily }) => chipFamily).sort(), ["ESP32", "ESP32-C3"]);
  });
});
