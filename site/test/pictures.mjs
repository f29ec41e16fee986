// Draws the pictures that the README shows, from the rendered site: its first
// screen in light, in dark, and on a phone. Writes site/pictures/*.png.

import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { DESKTOP, PHONE, launch } from "./browser.mjs";
import { serve, siteDir } from "./published.mjs";

/** A README loads them all: none may be heavier, in bytes. */
const HEAVIEST = 200 * 1024;

const PICTURES = [
  { name: "installer-light.png", viewport: DESKTOP, colorScheme: "light" },
  { name: "installer-dark.png", viewport: DESKTOP, colorScheme: "dark" },
  { name: "installer-phone.png", viewport: PHONE, colorScheme: "light", deviceScaleFactor: 2 },
];

const folder = new URL("../pictures/", import.meta.url);
const site = await serve(siteDir());
try {
  const browser = await launch();
  try {
    await mkdir(folder, { recursive: true });
    for (const { name, ...options } of PICTURES) {
      const page = await browser.newPage(options);
      await page.goto(site.url, { waitUntil: "networkidle" });
      const picture = await page.screenshot();
      await page.close();
      if (picture.length > HEAVIEST) throw new Error(`${name} has ${picture.length} bytes, more than ${HEAVIEST}`);
      const file = fileURLToPath(new URL(name, folder));
      await writeFile(file, picture);
      console.log(`${file}: ${picture.length} bytes`);
    }
  } finally {
    await browser.close();
  }
} finally {
  await site.close();
}
