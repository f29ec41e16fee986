// Lighthouse on the published page: what it asks of a page for everyone.

import assert from "node:assert/strict";
import { test } from "node:test";
import lighthouse from "lighthouse";
import { launch } from "./browser.mjs";
import { serve, siteDir } from "./published.mjs";

const CATEGORIES = ["accessibility", "best-practices", "seo"];

for (const formFactor of ["mobile", "desktop"]) {
  test(`lighthouse gives full marks (${formFactor})`, async () => {
    const site = await serve(siteDir());
    const { browser, port } = await launchWithPort();
    try {
      // The window is a desktop already.
      const screenEmulation = { disabled: formFactor === "desktop" };
      const settings = { onlyCategories: CATEGORIES, formFactor, screenEmulation };
      const { lhr } = await lighthouse(site.url, { port, logLevel: "error" }, { extends: "lighthouse:default", settings });
      const faults = Object.values(lhr.audits).filter(({ score }) => score !== null && score < 1);
      const scores = Object.values(lhr.categories).map(({ id, score }) => [id, score]);
      assert.deepEqual(
        Object.fromEntries(scores),
        Object.fromEntries(CATEGORIES.map((category) => [category, 1])),
        faults.map(({ id, title, displayValue }) => `${id}: ${title} ${displayValue ?? ""}`).join("\n"),
      );
    } finally {
      await browser.close();
      await site.close();
    }
  });
}

/** Starts the browser so that Lighthouse can drive it too. */
async function launchWithPort() {
  // A free port: the one that the system just gave and took back.
  const probe = await serve(siteDir());
  const port = Number(new URL(probe.url).port);
  await probe.close();
  return { browser: await launch([`--remote-debugging-port=${port}`]), port };
}
