// What the page of a device promises, proved in a real browser on a simulated
// device that restarts for real.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import axe from "axe-core";
import { DESKTOP, launch, openAll } from "./browser.mjs";
import { TOKEN, powerOn } from "./device.mjs";

const NARROW = { width: 320, height: 640 };

const VIEWS = [
  { name: "desktop, light", viewport: DESKTOP, colorScheme: "light" },
  { name: "desktop, dark", viewport: DESKTOP, colorScheme: "dark" },
  { name: "narrow, light", viewport: NARROW, colorScheme: "light" },
  { name: "narrow, dark", viewport: NARROW, colorScheme: "dark" },
];

let device;
let browser;

before(async () => {
  device = await powerOn();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await device?.off();
});

/** Runs `body` on the freshly opened page, in a browser context of its own. */
async function onPage(options, body, { url } = device) {
  const context = await browser.newContext({ viewport: DESKTOP, reducedMotion: "reduce", ...options });
  try {
    const page = await context.newPage();
    const seen = { requests: [], complaints: [] };
    page.on("request", (request) => seen.requests.push(request.url()));
    page.on("console", (message) => seen.complaints.push(message.text()));
    page.on("pageerror", (error) => seen.complaints.push(String(error)));
    await page.goto(url, { waitUntil: "networkidle" });
    await body(page, seen);
  } finally {
    await context.close();
  }
}

/** Asks axe about the page with everything open. */
async function isAccessible(page) {
  await openAll(page);
  // The policy of the page forbids to add scripts to it.
  const { violations, incomplete } = await page.evaluate(`${axe.source}; axe.run(document, { preload: false })`);
  const named = (rules) => rules.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.target.join(" "))}`);
  assert.deepEqual(named(violations), []);
  assert.deepEqual(named(incomplete), [], "what axe could not decide");
}

const says = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor({ timeout: 30000 });

for (const view of VIEWS) {
  test(`the page fits, is accessible and keeps to the device (${view.name})`, async () => {
    await onPage(view, async (page, seen) => {
      assert.equal(await page.getByRole("progressbar").count(), 0, "nothing is under way");
      await openAll(page);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(overflow <= 0, `${overflow} pixels wider than the window`);
      assert.deepEqual(seen.complaints, []);
      assert.deepEqual(seen.requests.filter((url) => !url.startsWith(device.url)), []);
      await isAccessible(page);
    });
  });
}

test("what is installed is shown without JavaScript, and nothing that needs it", async () => {
  await onPage({ javaScriptEnabled: false }, async (page) => {
    assert.match(await page.locator("main > p").first().innerText(), new RegExp(`${device.image.version} runs`));
    assert.equal(await page.getByRole("list", { name: "Slots" }).locator("li").count(), 2);
    assert.equal(await page.getByRole("button").count(), 0);
  });
});

test("a wrong token is told, and nothing changes", async () => {
  await onPage({}, async (page) => {
    await page.getByLabel("Token").fill("wrong");
    await page.getByRole("button", { name: "Update", exact: true }).click();
    await says(page, "This is not the token of this device");
    await page.getByLabel("App image").setInputFiles(device.image.file);
    await page.getByRole("button", { name: "Upload" }).click();
    await says(page, "This is not the token of this device");
  });
});

test("a channel is selected, and a host that does not answer is told", async () => {
  await onPage({}, async (page) => {
    const channel = page.getByLabel("Channel");
    assert.ok((await channel.locator("option").count()) >= 1);
    await page.getByLabel("Token").fill(TOKEN);
    const last = await channel.locator("option").last().innerText();
    await channel.selectOption(last);
    if ((await channel.locator("option").count()) > 1) await says(page, `The device follows ${last}.`);
    await page.getByRole("button", { name: "Check for an update" }).click();
    await says(page, "Cannot Fetch Latest Version Info");
  });
});

test("a file that is no image is refused with the reason", async () => {
  await onPage({}, async (page) => {
    await page.getByLabel("Token").fill(TOKEN);
    const buffer = Buffer.from("<html>".repeat(200));
    await page.getByLabel("App image").setInputFiles({ name: "a.bin", mimeType: "text/html", buffer });
    await page.getByRole("button", { name: "Upload" }).click();
    await says(page, "Invalid Firmware File: not an ESP image");
  });
});

test("a release that waits for approval is shown with its notes, and a button that approves it", async () => {
  const offer = { version: "99.0.0", path: "https://towline-fw.github.io/towline/app.bin", notes: "Cures cold starts.", policy: { approval: true } };
  const waiting = await powerOn({ offer });
  try {
    await onPage({ viewport: NARROW }, async (page) => {
      assert.equal(await page.getByRole("button", { name: "Install 99.0.0" }).count(), 0, "nobody has asked yet");
      await page.getByRole("button", { name: "Check for an update" }).click();
      await says(page, "The channel offers 99.0.0 (the release waits for a user to agree).");
      await page.reload({ waitUntil: "networkidle" });
      await page.getByText("99.0.0 is offered: the release waits for a user to agree.").waitFor();
      await page.getByText("Cures cold starts.").waitFor();
      await isAccessible(page);
      await page.getByLabel("Token").fill(TOKEN);
      await page.getByRole("button", { name: "Install 99.0.0" }).click();
      // It is approved: what is missing is the image.
      await says(page, "image: the host answered with status 404");
    }, waiting);
  } finally {
    await waiting.off();
  }
});

test("an uploaded image runs after the restart, and the page says so", async () => {
  await onPage({}, async (page) => {
    await page.getByLabel("Token").fill(TOKEN);
    await page.getByLabel("App image").setInputFiles(device.image.file);
    await page.getByRole("button", { name: "Upload" }).click();
    await says(page, `The device is back with ${device.image.version} from ota_1.`);
    assert.match(await page.getByRole("list", { name: "Slots" }).locator("li").nth(1).innerText(), /valid, runs/);
  });
});
