// What comes after the installation: Wi-Fi by Improv, and the console.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { bench } from "./bench.mjs";
import { partsOf, words as wordsOf } from "./installer.mjs";

const words = wordsOf("en");
const harbour = bench();

/** Opens the console of a board that runs 1.2.0, and restarts it, so that it prints its boot log. */
const atConsole = (body) =>
  harbour.open({}, async (it) => {
    await it.preload(await partsOf(harbour.dir, "1.2.0", "esp32c3"));
    await it.card.getByRole("button", { name: words.serialConsole }).click();
    await it.button(words.choosePort).click();
    await it.screen(words.console);
    const log = it.dialog.getByRole("log");
    await it.button(words.consoleReset).click();
    await log.getByText("no network is set").first().waitFor();
    await body(it, log);
    it.quiet();
  });

describe("Wi-Fi", { concurrency: 2 }, () => {
  test("is set after an installation: a wrong password is told, the right one leads to the device", async () => {
    await harbour.open({}, async (it) => {
      await it.connect("ESP32-C3");
      await it.install("1.2.0");
      await it.done();
      const wifi = it.dialog.getByRole("region", { name: words.wifi });
      await wifi.getByText(words.wifiReady("harbour")).waitFor();
      const networks = wifi.locator(".wifi-name");
      assert.deepEqual(await networks.allInnerTexts(), ["Towline", "Kitchen & garden", "Guests", "Attic", words.wifiOther]);
      await wifi.getByRole("radio", { name: /^Kitchen & garden/ }).check();
      const password = wifi.getByLabel(words.password, { exact: true });
      await password.fill("wrong");
      await wifi.getByRole("button", { name: words.wifiConnect, exact: true }).click();
      await wifi.getByText(words.wifiRefused).waitFor();

      await password.fill("correct horse");
      await password.press("Enter");
      await wifi.getByText(words.wifiOnline("Kitchen & garden")).waitFor();
      const link = wifi.getByRole("link", { name: words.openDevice });
      const page = await fetch(await link.getAttribute("href"));
      assert.match(await page.text(), /1\.2\.0/, "the link leads to the page of the device");
      assert.match(await link.getAttribute("rel"), /noopener/);
      it.quiet();
    });
  });

  test("needs no password in an open network, and a name where none is listed", async () => {
    await atConsole(async (it) => {
      const wifi = it.dialog.getByRole("region", { name: words.wifi });
      await wifi.getByRole("radio", { name: /^Guests/ }).check();
      assert.equal(await wifi.getByLabel(words.password, { exact: true }).isVisible(), false);
      await wifi.getByRole("radio", { name: words.wifiOther }).check();
      await wifi.getByLabel(words.wifiName).fill("x".repeat(33));
      await wifi.getByLabel(words.password, { exact: true }).fill("correct horse");
      await wifi.getByRole("button", { name: words.wifiConnect, exact: true }).click();
      await wifi.getByText(words.wifiTooLong).waitFor();
      await wifi.getByRole("radio", { name: /^Guests/ }).check();
      await wifi.getByRole("button", { name: words.wifiConnect, exact: true }).click();
      await wifi.getByText(words.wifiOnline("Guests")).waitFor();
    });
  });

  test("is not missed on a board that does not answer Improv", async () => {
    await harbour.open({ board: { held: 1 } }, async (it) => {
      await it.connect("ESP32-C3");
      await it.install("1.2.0");
      // A chip that stays in its loader answers nothing that Improv asks.
      await it.done();
      const wifi = it.dialog.getByRole("region", { name: words.wifi });
      await wifi.getByText(words.wifiNone).waitFor();
      await it.board.boot(false);
      await it.board.reset();
      await wifi.getByRole("button", { name: words.wifiAgain }).click();
      await wifi.getByText(words.wifiReady("harbour")).waitFor();
      it.quiet();
    });
  });
});

describe("the console", { concurrency: 2 }, () => {
  const lines = (log) => log.locator(".console-line").allInnerTexts();

  test("colours each level, and shows neither escapes nor packets", async () => {
    await atConsole(async (it, log) => {
      const tones = { error: /^E \(/, warn: /^W \(/, info: /^I \(/ };
      const colours = new Set();
      for (const [tone, level] of Object.entries(tones)) {
        const run = log.locator(`.${tone}`).first();
        assert.match(await run.innerText(), level);
        colours.add(await run.evaluate((element) => getComputedStyle(element).color));
      }
      assert.equal(colours.size, 3, "each level has its colour");
      const text = (await lines(log)).join("\n");
      assert.match(text, /^D \(/m);
      assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f\x7f]|\[0;3|IMPROV/);
    });
  });

  test("restarts the board", async () => {
    await atConsole(async (it, log) => {
      const boots = log.getByText("2nd stage bootloader");
      const before = await boots.count();
      await it.button(words.consoleReset).click();
      await boots.nth(before).waitFor();
    });
  });

  test("is saved as text, as it is shown", async () => {
    await atConsole(async (it, log) => {
      const download = it.page.waitForEvent("download");
      await it.button(words.consoleSave).click();
      const file = await download;
      assert.equal(file.suggestedFilename(), "harbour-console.txt");
      const text = await readFile(await file.path(), "utf8");
      assert.match(text, /^I \(140\) app_init: App version: {6}1\.2\.0$/m);
      const shown = await lines(log);
      // More may have come since.
      assert.deepEqual(text.split("\n").slice(0, 5), shown.slice(0, 5));
    });
  });

  test("is cleared", async () => {
    await atConsole(async (it, log) => {
      await it.button(words.consoleClear).click();
      assert.equal(await log.getByText("2nd stage bootloader").count(), 0);
    });
  });

  test("goes on when the board is back at once, says when it is gone, and connects again", async () => {
    await atConsole(async (it, log) => {
      const boots = log.getByText("2nd stage bootloader");
      /** Restarts until the boot log is seen: the port may not be open yet. */
      const prints = async () => {
        await it.button(words.consoleClear).click();
        do await it.button(words.consoleReset).click();
        while (!(await boots.first().waitFor({ timeout: 2000 }).then(() => true, () => false)));
      };
      await it.board.plug(false);
      await it.board.plug(true);
      await prints();
      assert.equal(await it.dialog.getByText(words.consoleLost).count(), 0);
      await it.board.plug(false);
      await it.dialog.getByText(words.consoleLost).waitFor();
      await it.board.plug(true);
      await it.button(words.consoleReconnect).click();
      await prints();
    });
  });
});
