// Debian's Chromium, started afresh: a profile that is empty and thrown away,
// and no traffic of its own, so that every request seen is the page's.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 360, height: 780 };

/** Starts the browser, with further flags; throws, with the command to run, when there is none. */
export async function launch(more = []) {
  if (!existsSync(EXECUTABLE)) {
    throw new Error(
      `no Chromium at ${EXECUTABLE}: install it with \`apt-get install chromium\`, or name yours with CHROMIUM`,
    );
  }
  return chromium.launch({ executablePath: EXECUTABLE, headless: true, chromiumSandbox: false, args: [...FLAGS, ...more] });
}

/** Opens every disclosure of the page. */
export async function openAll(page) {
  await page.evaluate(() => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
}
