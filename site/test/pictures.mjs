// Draws the pictures that the README shows, from the rendered site with an
// emulated board on the cable: its first screen in light and in dark, the
// installer on a phone, and an installation half-way. Writes site/pictures/*.png.

import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { DESKTOP, PHONE, launch } from "./browser.mjs";
import { serveDemo } from "./demo.mjs";
import { withInstaller } from "./installer.mjs";
import { newestVersion, siteDir } from "./published.mjs";

/** A README loads them all: none may be heavier, in bytes. */
const HEAVIEST = 200 * 1024;

const asOpened = (it) => it.page.screenshot();

/** The card fills a phone, but is not what it shows first. */
async function theCard(it) {
  await it.card.evaluate((card) => card.scrollIntoView());
  return it.page.screenshot();
}

/** The dialog, when about half of the firmware is written. */
async function installing(it) {
  await it.connect("ESP32-C3");
  await it.install(await newestVersion(siteDir()));
  await it.dialog.locator(".work-percent", { hasText: /^[4-6]\d/ }).waitFor();
  return it.dialog.screenshot();
}

const PICTURES = [
  { name: "installer-light.png", draw: asOpened, colorScheme: "light" },
  { name: "installer-dark.png", draw: asOpened, colorScheme: "dark" },
  { name: "installer-phone.png", draw: theCard, viewport: PHONE, deviceScaleFactor: 2 },
  { name: "installing.png", draw: installing, board: { paced: 1 }, viewport: { ...DESKTOP, height: 700 } },
];

const folder = new URL("../pictures/", import.meta.url);
const site = await serveDemo(siteDir());
try {
  const browser = await launch();
  try {
    await mkdir(folder, { recursive: true });
    for (const { name, draw, ...options } of PICTURES) {
      await withInstaller(browser, site, options, async (it) => {
        await it.page.waitForLoadState("networkidle");
        const picture = await draw(it);
        if (picture.length > HEAVIEST) throw new Error(`${name} has ${picture.length} bytes, more than ${HEAVIEST}`);
        const file = fileURLToPath(new URL(name, folder));
        await writeFile(file, picture);
        console.log(`${file}: ${picture.length} bytes`);
      });
    }
  } finally {
    await browser.close();
  }
} finally {
  await site.close();
}
