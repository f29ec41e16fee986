// What the published page promises, proved in a real browser on the site that
// `cargo xtask release` has rendered.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import axe from "axe-core";
import { DESKTOP, PHONE, launch, openAll } from "./browser.mjs";
import { serve, siteDir } from "./published.mjs";
import { validator } from "./validate.mjs";

const VIEWS = [
  { name: "desktop, light", viewport: DESKTOP, colorScheme: "light" },
  { name: "desktop, dark", viewport: DESKTOP, colorScheme: "dark" },
  { name: "phone, light", viewport: PHONE, colorScheme: "light" },
  { name: "phone, dark", viewport: PHONE, colorScheme: "dark" },
];

const dir = siteDir();
let site;
let browser;

before(async () => {
  site = await serve(dir);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await site?.close();
});

/** Runs `body` on the freshly opened page, in a browser context of its own. */
async function onPage(options, body) {
  const context = await browser.newContext({ viewport: DESKTOP, reducedMotion: "reduce", ...options });
  try {
    const page = await context.newPage();
    const seen = { requests: [], complaints: [] };
    page.on("request", (request) => seen.requests.push(request.url()));
    page.on("console", (message) => seen.complaints.push(message.text()));
    page.on("pageerror", (error) => seen.complaints.push(String(error)));
    page.on("requestfailed", (request) => seen.complaints.push(`failed: ${request.url()}`));
    page.on("response", (response) => {
      if (response.status() !== 200) seen.complaints.push(`${response.status()}: ${response.url()}`);
    });
    await page.goto(site.url, { waitUntil: "networkidle" });
    await body(page, seen);
  } finally {
    await context.close();
  }
}

/** Collects what `read` returns for every element that matches. */
const each = (page, selector, read) => page.locator(selector).evaluateAll(read);

for (const view of VIEWS) {
  test(`no request leaves the site and the console stays silent (${view.name})`, async () => {
    await onPage(view, async (page, seen) => {
      await openAll(page);
      await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
      await page.waitForLoadState("networkidle");
      assert.ok(seen.requests.length >= 3, `page, style sheet and icon were asked for, not ${seen.requests}`);
      assert.deepEqual(seen.requests.filter((url) => !url.startsWith(site.url)), []);
      assert.deepEqual(seen.complaints, []);
    });
  });

  test(`axe finds no violation with everything open (${view.name})`, async () => {
    await onPage(view, async (page) => {
      await openAll(page);
      await page.evaluate(axe.source);
      const { violations, incomplete } = await page.evaluate(() => window.axe.run(document, { preload: false }));
      const named = (rules) =>
        rules.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.target.join(" ")).slice(0, 5)}`);
      assert.deepEqual(named(violations), []);
      assert.deepEqual(named(incomplete), [], "what axe could not decide");
    });
  });
}

for (const width of [320, 360, 768]) {
  test(`nothing scrolls sideways at ${width} px with everything open`, async () => {
    await onPage({ viewport: { width, height: 780 } }, async (page) => {
      await openAll(page);
      const wide = await each(page, "body *", (elements) => {
        const limit = document.documentElement.clientWidth;
        return elements
          .filter((element) => !element.closest(".unseen, .skip"))
          .map((element) => ({ box: element.getBoundingClientRect(), element }))
          .filter(({ box }) => box.right > limit + 0.5 || box.left < -0.5)
          .map(({ element }) => element.outerHTML.slice(0, 120));
      });
      assert.deepEqual(wide, []);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
    });
  });
}

test("the policy stops foreign and inline scripts, markup from text, inline style and foreign pictures", async () => {
  await onPage({}, async (page) => {
    const refused = await page.evaluate(async () => {
      const directives = [];
      document.addEventListener("securitypolicyviolation", (event) => directives.push(event.effectiveDirective));
      const attempt = (action) => {
        try {
          action();
          return "done";
        } catch (error) {
          return error.name;
        }
      };
      const markup = attempt(() => (document.createElement("p").innerHTML = "<b>text</b>"));
      const inline = attempt(() => (document.createElement("script").textContent = "document.title = 'script ran'"));
      const button = document.createElement("button");
      button.setAttribute("title", "harmless");
      const handler = attempt(() => {
        button.setAttribute("onclick", "document.title = 'script ran'");
        button.click();
      });
      const foreign = await import("data:text/javascript,").then(() => "done", (error) => error.name);
      const request = await fetch("http://elsewhere.invalid/").then(() => "done", (error) => error.name);
      const style = document.createElement("style");
      style.textContent = "body { display: none }";
      const picture = document.createElement("img");
      picture.src = "http://elsewhere.invalid/picture.png";
      document.body.append(style, picture);
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      const shown = getComputedStyle(document.body).display;
      return { markup, inline, handler, foreign, request, directives, title: document.title, shown };
    });
    assert.deepEqual([...new Set(refused.directives)].sort(), [
      "connect-src",
      "img-src",
      "require-trusted-types-for",
      "script-src-elem",
      "style-src-elem",
    ]);
    const { markup, inline, foreign, request } = refused;
    assert.deepEqual({ markup, inline, foreign, request }, {
      markup: "TypeError",
      inline: "TypeError",
      foreign: "TypeError",
      request: "TypeError",
    });
    assert.notEqual(refused.title, "script ran");
    assert.equal(refused.shown, "block");
  });
});

test("every link stays on the site, answers 200, and finds its place", async () => {
  await onPage({}, async (page) => {
    const links = await each(page, "[href], [src]", (elements) =>
      elements.map((element) => new URL(element.getAttribute("href") ?? element.getAttribute("src"), document.baseURI).href),
    );
    const ids = new Set(await each(page, "[id]", (elements) => elements.map((element) => element.id)));
    const files = new Set();
    for (const link of links) {
      assert.ok(link.startsWith(site.url), `${link} leaves the site`);
      const url = new URL(link);
      if (url.hash) assert.ok(ids.has(decodeURIComponent(url.hash.slice(1))), `${url.hash} names no place of the page`);
      url.hash = "";
      files.add(url.href);
    }
    for (const file of files) {
      const response = await fetch(file, { redirect: "error" });
      await response.arrayBuffer();
      assert.equal(response.status, 200, file);
    }
  });
});

test("every printed size and SHA-256 is that of the file beside it", async () => {
  await onPage({}, async (page) => {
    const printed = await each(page, ".target .files:not(.updates) tbody tr, .archive .image", (places) =>
      places.map((place) => ({
        path: place.querySelector("a.file").getAttribute("href"),
        size: Number(place.querySelector("data").value),
        sha256: place.querySelector(".hash").textContent,
      })),
    );
    const downloads = new Set(await each(page, "a[download]", (links) => links.map((link) => link.getAttribute("href"))));
    for (const { path: name, size, sha256 } of printed) {
      const bytes = await readFile(path.join(dir, name));
      assert.equal(bytes.length, size, name);
      assert.equal(createHash("sha256").update(bytes).digest("hex"), sha256, name);
      downloads.delete(name);
    }
    assert.deepEqual([...downloads], [], "each download has its size and hash on the page");
  });
});

test("every flashing command writes a listed file to its listed offset", async () => {
  await onPage({}, async (page) => {
    const targets = await each(page, ".target", (places) =>
      places.map((place) => ({
        name: place.querySelector("h3").textContent,
        listed: [...place.querySelectorAll(".files:not(.updates) tbody tr")].map((row) =>
          `${row.querySelector("[data-label=Offset]").textContent} ${row.querySelector("a.file").textContent}`),
        commands: [...place.querySelectorAll(".commands code")].map((code) => code.textContent),
      })),
    );
    for (const { name, listed, commands } of targets) {
      const flashed = { esptool: new Set(), espflash: new Set() };
      for (const command of commands) {
        const pairs = command.match(/0x[0-9a-f]+ \S+/g) ?? [];
        for (const pair of pairs) {
          assert.ok(listed.includes(pair), `${name}: ${pair} is not in its table`);
          flashed[command.split(" ")[0]].add(pair);
        }
      }
      const fixed = listed.filter((pair) => pair.startsWith("0x")).sort();
      for (const [tool, pairs] of Object.entries(flashed)) {
        assert.deepEqual([...pairs].sort(), fixed, `${name}: ${tool} writes every file that has an offset`);
      }
    }
  });
});

test("a click on a command selects all of it and nothing else", async () => {
  for (const viewport of [DESKTOP, PHONE]) {
    await onPage({ viewport }, async (page) => {
      await openAll(page);
      for (const command of await page.locator(".commands code").all()) {
        await command.click();
        const selected = await page.evaluate(() => getSelection().toString().trim());
        assert.equal(selected, await command.textContent());
      }
    });
  }
});

test("without JavaScript the page is the same but for the installer, and its disclosures open", async () => {
  const states = [];
  for (const javaScriptEnabled of [true, false]) {
    await onPage({ javaScriptEnabled }, async (page, seen) => {
      const first = page.locator("summary").first();
      if (await first.count()) {
        await first.focus();
        await page.keyboard.press("Enter");
        assert.ok(await first.locator("..").evaluate((details) => details.open), "Enter opens a disclosure");
      }
      assert.equal(await page.locator("#install").isVisible(), javaScriptEnabled);
      assert.equal(await page.locator("#install-link").isVisible(), javaScriptEnabled);
      await page.evaluate(() => document.querySelectorAll("#install, #install-link").forEach((part) => part.remove()));
      const scripted = [".js", "/releases.json"];
      states.push({
        content: await page.content(),
        tree: await page.locator("body").ariaSnapshot(),
        requests: seen.requests.filter((url) => !scripted.some((end) => url.endsWith(end))),
      });
    });
  }
  assert.deepEqual(states[1], states[0]);
});

test("the keyboard reaches the downloads first and every stop shows its focus", async () => {
  await onPage({}, async (page) => {
    const stops = [];
    for (let press = 0; press < 40; press += 1) {
      await page.keyboard.press("Tab");
      const stop = await page.evaluate(() => {
        const element = document.activeElement;
        if (element === document.body) return null;
        const style = getComputedStyle(element);
        const box = element.getBoundingClientRect();
        return {
          text: element.textContent.trim().replace(/\s+/g, " "),
          outlined: style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 2,
          inView: box.bottom > 0 && box.top < window.innerHeight,
        };
      });
      if (stop === null) break;
      stops.push(stop);
    }
    assert.equal(stops[0]?.text, "Skip to the downloads");
    assert.deepEqual(stops.filter((stop) => !stop.outlined || !stop.inView), []);
  });
});

test("on paper each download shows where it lies", async () => {
  await onPage({}, async (page) => {
    await page.emulateMedia({ media: "print" });
    const hidden = await each(page, ".button", (buttons) =>
      buttons
        .filter((button) => getComputedStyle(button, "::after").content !== `"${button.getAttribute("href")}"`)
        .map((button) => button.textContent),
    );
    assert.deepEqual(hidden, []);
    assert.equal(await page.locator(".bar nav").isVisible(), false);
  });
});

test("html-validate finds no fault", async () => {
  const report = await validator().validateFile(path.join(dir, "index.html"));
  assert.deepEqual(
    report.results.flatMap(({ messages }) => messages.map((m) => `${m.line}:${m.column} ${m.ruleId}: ${m.message}`)).slice(0, 30),
    [],
  );
});
