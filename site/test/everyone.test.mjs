// The installer for everyone: by keyboard and screen reader, on a narrow
// screen, in light and dark, in German, and with nothing from elsewhere.

import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { describe, test } from "node:test";
import axe from "axe-core";
import { bench } from "./bench.mjs";
import { DESKTOP } from "./browser.mjs";
import { partsOf, words as wordsOf } from "./installer.mjs";
import { validator } from "./validate.mjs";

const harbour = bench();

const NARROW = { width: 320, height: 640 };
const VIEWS = [
  { name: "light", viewport: DESKTOP, colorScheme: "light" },
  { name: "dark, narrow, in German", viewport: NARROW, colorScheme: "dark", lang: "de" },
];

/** Script and style that are needed before the first click, in bytes of gzip. */
const HEAVIEST = 60 * 1024;

const own = (version) => partsOf(harbour.dir, version, "esp32c3");

async function openConsole(it) {
  await it.card.getByRole("button", { name: it.words.serialConsole }).click();
  await it.button(it.words.choosePort).click();
  await it.screen(it.words.console);
}

const AT_WORK = "at work, and asked whether to stop";

/** Each screen of the dialog: the board, and the way there from the card. */
const SCREENS = {
  "before the port": async (it) => {
    await it.card.getByRole("button", { name: it.words.connectBoard }).click();
    await it.screen(it.words.beforeTitle);
  },
  "what was found, with losses and warnings": async (it) => {
    await it.preload(await own("1.0.0"));
    await it.connect("ESP32-C3");
  },
  "what was found, before everything is erased": async (it) => {
    await it.preload(await own("1.0.0"));
    await it.connect("ESP32-C3");
    await it.erases().check();
  },
  [AT_WORK]: async (it) => {
    // Slow enough to be looked at.
    await it.board.faults({ max_baud: 115_200 });
    await it.connect("ESP32-C3");
    await it.install("1.2.0");
    await it.atWork("write");
    await it.page.keyboard.press("Escape");
    await it.dialog.getByRole("alertdialog").waitFor();
  },
  "done, with Wi-Fi and console": async (it) => {
    await it.connect("ESP32-C3");
    await it.install("1.2.0");
    await it.done();
    await it.dialog.getByText(it.words.wifiReady("harbour")).waitFor();
  },
  "the console": async (it) => {
    await it.preload(await own("1.2.0"));
    await openConsole(it);
    await it.button(it.words.consoleReset).click();
    await it.dialog.getByRole("log").getByText("no network is set").first().waitFor();
  },
  "online": async (it) => {
    await it.preload(await own("1.2.0"));
    await openConsole(it);
    const wifi = it.dialog.getByRole("region", { name: it.words.wifi });
    await wifi.getByRole("radio", { name: /^Guests/ }).check();
    await wifi.getByRole("button", { name: it.words.wifiConnect, exact: true }).click();
    await wifi.getByText(it.words.wifiOnline("Guests")).waitFor();
  },
};
/** Boards that a screen needs. */
const BOARDS = { [AT_WORK]: { paced: 1 } };

SCREENS["two targets to choose from"] = (it) => it.connect("ESP32-S3");
BOARDS["two targets to choose from"] = { chip: "esp32s3", flash: "16MB", psram: "8MB" };

/** Every failure looks the same but for its words; these have the most, and the picture. */
SCREENS["a failure"] = async (it) => {
  await it.choosePort();
  await it.trouble("wrong-chip");
  await it.dialog.getByText(it.words.detail, { exact: true }).first().click();
};
BOARDS["a failure"] = { chip: "esp32c6" };
SCREENS["a failure with the picture of BOOT"] = async (it) => {
  await it.board.faults({ no_reset: true });
  await it.choosePort();
  await it.trouble("not-in-download-mode");
};

/** The rules of html-validate for a document that a browser has written down. */
const VALIDATE = validator({
  // How browsers write: these are no faults of the document.
  "attribute-boolean-style": "off",
  "attribute-empty-style": "off",
  "doctype-style": "off",
  "void-style": "off",
  "no-raw-characters": "off",
  "no-implicit-button-type": "off",
  // A network's password is neither of this site nor to be kept by the browser.
  "autocomplete-password": "off",
  // Set by script, one property at a time, as the policy allows; in markup it would be refused.
  "no-inline-style": "off",
});

/** A line of the console that is half scrolled out of sight: more come while axe looks. */
const halfSeen = ({ target, any }) =>
  /\.console-line\b/.test(target.at(-1)) && any[0]?.data?.messageKey === "elmPartiallyObscured";

async function accessible(it) {
  // What is scrolled out of sight has no colours to compare.
  await it.page.evaluate(() => document.querySelector(".console-log")?.scrollIntoView({ block: "end" }));
  const { violations, incomplete } = await it.page.evaluate(`${axe.source}; axe.run(document, { preload: false })`);
  const place = ({ target, any }) => `${target.join(" ")} ${any[0]?.message ?? ""}`;
  const named = (rules) => rules.map((rule) => `${rule.id}: ${rule.nodes.map(place)}`);
  assert.deepEqual(named(violations), []);
  // The lines that are wholly in sight look the same, and are decided.
  const undecided = incomplete
    .map((rule) => ({ ...rule, nodes: rule.nodes.filter((node) => !halfSeen(node)) }))
    .filter((rule) => rule.nodes.length > 0);
  assert.deepEqual(named(undecided), [], "what axe could not decide");
}

/** Nothing sticks out of the window, and what scrolls inside does so downwards only. */
async function fits(it) {
  const wide = await it.page.evaluate(() => {
    const { clientWidth, scrollWidth } = document.documentElement;
    const limit = clientWidth + 0.5;
    const out = [...document.querySelectorAll("#install *, dialog, dialog *")].filter((element) => {
      const { left, right, width } = element.getBoundingClientRect();
      if (width === 0 || element.closest(".unseen, .console-log, pre, .install-commands, svg")) return false;
      return right > limit || left < -0.5;
    });
    const scrolling = [...document.querySelectorAll("dialog, .flow-body, .flow-content")].filter(
      (element) => element.scrollWidth > element.clientWidth,
    );
    if (scrollWidth > clientWidth) scrolling.push(document.documentElement);
    return [...out, ...scrolling].map((element) => element.outerHTML.slice(0, 120));
  });
  assert.deepEqual(wide, []);
}

async function valid(it) {
  const report = await VALIDATE.validateString(await it.page.content());
  const messages = report.results.flatMap((result) => result.messages);
  const said = messages.map(({ ruleId, message, selector }) => `${ruleId}: ${message} ${selector}`);
  assert.deepEqual(said.slice(0, 20), []);
}

for (const { name: view, ...options } of VIEWS) {
  describe(`each screen is accessible, fits and is valid (${view})`, { concurrency: 2 }, () => {
    for (const [name, go] of Object.entries(SCREENS)) {
      test(name, async () => {
        await harbour.open({ ...options, board: BOARDS[name] }, async (it) => {
          await go(it);
          assert.equal(await it.dialog.getAttribute("lang"), options.lang ?? "en");
          await accessible(it);
          await fits(it);
          await valid(it);
          if (name === AT_WORK) assert.ok(await it.dialog.getByRole("alertdialog").isVisible(), "it was this screen");
          it.quiet();
        });
      });
    }

    test("the card, also where a link asked for what is not there", async () => {
      const address = { channel: "beta", version: "1.1.0" };
      await harbour.open({ ...options, address }, async (it) => {
        await accessible(it);
        await fits(it);
        await valid(it);
        it.quiet();
      });
    });

    test("the card of a browser without Web Serial", async () => {
      const prepare = async (page) => {
        await page.route("**/assets/demo-*.js", (route) => route.fulfill({ contentType: "text/javascript", body: "" }));
        await page.addInitScript(() => delete Navigator.prototype.serial);
      };
      await harbour.open({ ...options, prepare }, async (it) => {
        await accessible(it);
        await fits(it);
        await valid(it);
      });
    });
  });
}

describe("by keyboard", { concurrency: 2 }, () => {
  const words = wordsOf("en");
  const focused = (page) =>
    page.evaluate(() => {
      const { activeElement: element } = document;
      return element?.getAttribute("aria-label") ?? element?.textContent?.trim() ?? "";
    });

  /** Presses Tab until something has the focus, and sees that every stop on the way shows it. */
  async function reach(it, name) {
    for (let press = 0; press < 60; press += 1) {
      if ((await focused(it.page)) === name) {
        const outline = await it.page.evaluate(() => {
          const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
          return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
        });
        assert.ok(outline, `${name} shows that it has the focus`);
        return;
      }
      await it.page.keyboard.press("Tab");
    }
    assert.fail(`Tab does not lead to ${name}`);
  }

  test("a whole installation, asked on Escape, and back to the button that opened it", async () => {
    await harbour.open({ board: { paced: 1, held: 1 }, address: { version: "1.1.1" } }, async (it) => {
      const { keyboard } = it.page;
      await it.preload(await own("1.0.0"));
      await reach(it, words.connectBoard);
      await keyboard.press("Enter");
      await it.screen(words.beforeTitle);
      await reach(it, words.choosePort);
      await keyboard.press("Space");
      await it.screen(words.foundTitle("ESP32-C3"));
      // To the settings' switch, and its other side, by its arrows.
      while (!(await it.keeps().evaluate((radio) => radio === document.activeElement))) await keyboard.press("Tab");
      await keyboard.press("ArrowDown");
      assert.ok(await it.erases().isChecked());
      await keyboard.press("ArrowUp");
      assert.ok(await it.keeps().isChecked());
      await reach(it, words.installVersion("1.1.1"));
      await keyboard.press("Enter");
      await it.atWork("write");
      await keyboard.press("Escape");
      const question = it.dialog.getByRole("alertdialog", { name: words.stopTitle });
      await question.waitFor();
      assert.equal(await focused(it.page), words.goOn, "the safe answer has the focus");
      await keyboard.press("Escape");
      await question.waitFor({ state: "detached" });
      await it.done();
      await it.holds(await own("1.1.1"));
      await keyboard.press("Escape");
      await it.dialog.waitFor({ state: "detached" });
      assert.equal(await focused(it.page), words.connectBoard);
      it.quiet();
    });
  });

  test("the focus stays in the dialog, and the page behind is out of reach", async () => {
    await harbour.open({}, async (it) => {
      await it.card.getByRole("button", { name: words.connectBoard }).click();
      await it.screen(words.beforeTitle);
      for (let press = 0; press < 8; press += 1) {
        await it.page.keyboard.press("Tab");
        // After the last stop comes the browser itself, while the page sees its body.
        const outside = it.page.locator(":focus").and(it.page.locator("body *:not(dialog, dialog *)"));
        assert.equal(await outside.count(), 0);
      }
    });
  });

  test("what happens is said in one live region", async () => {
    await harbour.open({}, async (it) => {
      await it.page.evaluate(() => {
        window.said = [];
        const note = (changes) => {
          for (const { target } of changes) {
            const element = target.nodeType === Node.TEXT_NODE ? target.parentElement : target;
            const live = element?.closest('dialog > [aria-live="polite"]');
            if (live?.textContent) window.said.push(live.textContent);
          }
        };
        new MutationObserver(note).observe(document, { subtree: true, childList: true, characterData: true });
      });
      await it.connect("ESP32-C3");
      await it.install("1.2.0");
      await it.done();
      const said = await it.page.evaluate(() => window.said);
      const { stages, stepsNow, foundTitle, doneLead } = words;
      const wanted = [stages.sync, foundTitle("ESP32-C3"), stepsNow.erase, stepsNow.write, doneLead("1.2.0")];
      assert.deepEqual(said.filter((text) => wanted.includes(text)), wanted);
    });
  });
});

test("nothing moves for those who asked for that", async () => {
  const running = () => document.getAnimations().filter(({ playState }) => playState === "running").length;
  const atWork = async (reducedMotion) => {
    let moving;
    await harbour.open({ board: { paced: 1 }, reducedMotion }, async (it) => {
      await it.connect("ESP32-C3");
      await it.install("1.2.0");
      await it.atWork("write");
      moving = await it.page.evaluate(running);
    });
    return moving;
  };
  assert.equal(await atWork("reduce"), 0);
  assert.ok((await atWork("no-preference")) > 0, "otherwise this proves nothing");
});

describe("in German", { concurrency: 2 }, () => {
  /** Every sentence of a language without values; the others have tests without a browser. */
  const sentences = (value) => {
    if (typeof value === "string") return [value];
    if (typeof value === "function") return [];
    return Object.values(value).flatMap(sentences);
  };
  const [english, german] = ["en", "de"].map((language) => sentences(wordsOf(language)));
  const germanOnes = new Set(german);
  const foreign = english.filter((text) => !germanOnes.has(text) && /[a-z]{3} /.test(text));

  test("no English sentence is left, from the card to the end", async () => {
    await harbour.open({ lang: "de", locale: "en-US", address: { lang: "de" }, board: { paced: 1 } }, async (it) => {
      const { words } = it;
      const seen = [];
      const look = async () => {
        const text = await it.page.evaluate(() =>
          [...document.querySelectorAll("#install, dialog")].map((part) => {
            const labels = [...part.querySelectorAll("[aria-label]")].map((element) => element.ariaLabel);
            return [part.textContent, ...labels].join("\n");
          }).join("\n"),
        );
        seen.push(text);
      };
      assert.equal(await it.card.getAttribute("lang"), "de");
      await look();
      await it.preload(await own("1.0.0"));
      await it.choosePort();
      await it.screen(words.foundTitle("ESP32-C3"));
      await look();
      await it.erases().check();
      await look();
      await it.install("1.2.0");
      await it.atWork("write");
      await it.page.keyboard.press("Escape");
      await look();
      await it.button(words.stop).click();
      await it.trouble("cancelled", { written: "yes" });
      await look();
      await it.retry();
      await it.done();
      await it.dialog.getByText(words.wifiReady("harbour")).waitFor();
      await look();
      const text = seen.join("\n");
      assert.deepEqual(foreign.filter((sentence) => text.includes(sentence)), []);
      assert.ok(text.includes(words.eraseHint));
    });
  });

  test("the page remembers the choice in its address, and goes back", async () => {
    await harbour.open({}, async (it) => {
      const { searchParams } = new URL(it.page.url());
      assert.equal(searchParams.get("lang"), null);
      await it.card.getByRole("button", { name: "Deutsch" }).click();
      assert.equal(new URL(it.page.url()).searchParams.get("lang"), "de");
      assert.equal(await it.card.getAttribute("lang"), "de");
      await it.card.getByRole("button", { name: wordsOf("de").connectBoard }).waitFor();
      await it.card.getByRole("button", { name: "English" }).click();
      assert.equal(new URL(it.page.url()).searchParams.get("lang"), null);
      await it.card.getByRole("button", { name: wordsOf("en").connectBoard }).waitFor();
    });
  });
});

test("script and style before the first click are small, and from here", async () => {
  await harbour.open({}, async (it) => {
    await it.page.waitForLoadState("networkidle");
    const loaded = it.seen.requests.filter((url) => /\.(js|css)$/.test(new URL(url).pathname) && !/\/demo-/.test(url));
    assert.ok(loaded.some((url) => url.endsWith(".js")) && loaded.some((url) => url.endsWith(".css")), `${loaded}`);
    let size = 0;
    for (const url of new Set(loaded)) {
      size += gzipSync(Buffer.from(await (await fetch(url)).arrayBuffer()), { level: 9 }).length;
    }
    assert.ok(size <= HEAVIEST, `${size} bytes of ${loaded}`);
    // The engine comes only when somebody wants to install.
    await it.connect("ESP32-C3");
    const later = it.seen.requests.filter((url) => url.endsWith(".js") && !loaded.includes(url));
    assert.ok(later.length > 1);
    it.quiet();
  });
});
