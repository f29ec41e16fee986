// The installer as a person uses it: the page of a served site with an
// emulated board on the cable, and what can be done and seen there. Words come
// from the installer's own, so that tests name what a person reads.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { DESKTOP } from "./browser.mjs";
import { load } from "./unit/bundle.mjs";

const { words } = await load("strings");
export { words };

/** Flash is erased by sectors, in bytes. */
const SECTOR = 4096;

/** What a step may take on a machine with other work, in milliseconds. */
const PATIENCE = 60_000;

const exactly = (text) => new RegExp(`^\\s*${text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}\\s*$`);

/** The parts of a target in the folder of a site: role, offset, name of the file, and bytes. */
export async function partsOf(dir, version, target) {
  const index = JSON.parse(await readFile(path.join(dir, "releases.json"), "utf8"));
  const release = index.releases.find((entry) => entry.version === version);
  const { parts } = release.targets.find((entry) => entry.target === target);
  return Promise.all(
    parts.map(async ({ role, offset, path: file }) => {
      return { role, offset, name: path.basename(file), bytes: await readFile(path.join(dir, file)) };
    }),
  );
}

/** What flash holds after parts were written over what it held: they take whole sectors. */
export function overlaid(before, parts) {
  const flash = Buffer.from(before);
  for (const { offset, bytes } of parts) {
    flash.fill(0xff, offset, Math.ceil((offset + bytes.length) / SECTOR) * SECTOR);
    bytes.copy(flash, offset);
  }
  return flash;
}

/** Fails at the first byte that differs: two whole flashes are no message. */
export function sameFlash(found, wanted, what = "flash") {
  if (found.equals(wanted)) return;
  const at = found.findIndex((byte, index) => byte !== wanted[index]);
  const place = `0x${at.toString(16)}`;
  assert.fail(`${what} differs at ${place}: ${found.subarray(at, at + 8).toString("hex")} instead of ` +
    `${wanted.subarray(at, at + 8).toString("hex")} (${found.length} and ${wanted.length} bytes)`);
}

export class Installer {
  constructor(page, site, language = "en") {
    this.page = page;
    this.site = site;
    this.words = words(language);
    /** What the browser asked for, what it complained about, and the speeds that the port was opened at. */
    this.seen = { requests: [], complaints: [], speeds: [] };
    this.card = page.locator("#install");
    this.dialog = page.locator("dialog.flow");
    this.title = this.dialog.locator(".flow-head h2");
    /** What is done at the moment. */
    this.now = this.dialog.locator(".work-now");
  }

  /**
   * Opens the page of `site` with a board plugged in. `board` describes it,
   * `address` is the query of the page, `prepare` sees the page before it
   * loads; everything else is for the browser's context.
   */
  static async open(browser, site, { board = {}, address = {}, prepare, lang = "en", ...options } = {}) {
    const context = await browser.newContext({ viewport: DESKTOP, reducedMotion: "reduce", locale: lang, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    const it = new Installer(page, site, lang);
    const { requests, complaints, speeds } = it.seen;
    page.on("request", (request) => requests.push(request.url()));
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("websocket", (socket) =>
      socket.on("framesent", ({ payload }) => {
        const speed = typeof payload === "string" && payload.match(/"open":(\d+)/)?.[1];
        if (speed) speeds.push(Number(speed));
      }),
    );
    await prepare?.(page);
    const described = Object.entries(board).map(([name, value]) => [`demo-${name}`, value]);
    const query = new URLSearchParams({ ...address, ...Object.fromEntries(described), "demo-panel": "0" });
    await page.goto(`${site.url}?${query}`);
    await it.card.getByRole("heading", { level: 2 }).waitFor();
    return it;
  }

  async close() {
    await this.page.context().close();
  }

  // The board

  /** Calls the emulated board: `board.faults({...})`, `board.reset()` and so on. */
  get board() {
    const call = (name) => (argument) =>
      this.page.evaluate(([name, argument]) => window.towlineBoard[name](argument), [name, argument]);
    return { faults: call("faults"), boot: call("boot"), reset: call("reset"), plug: call("plug"), state: call("state"),
      use: call("use") };
  }

  async read(offset, length) {
    const text = await this.page.evaluate(
      async ([at, count]) => (await window.towlineBoard.read(at, count)).toBase64(),
      [offset, length],
    );
    return Buffer.from(text, "base64");
  }

  async write(offset, bytes) {
    await this.page.evaluate(
      ([at, text]) => window.towlineBoard.write(at, Uint8Array.fromBase64(text)),
      [offset, bytes.toString("base64")],
    );
  }

  /** Puts firmware into the flash, and around it what firmware would have left there. Returns all of it. */
  async preload(parts, size = 4 << 20) {
    const all = overlaid(Buffer.from(Uint8Array.from({ length: size }, (_, at) => at ^ (at >> 8))), parts);
    await this.write(0, all);
    await this.board.reset();
    return all;
  }

  /** The parts are in flash, byte for byte. */
  async holds(parts) {
    for (const { role, offset, bytes } of parts) sameFlash(await this.read(offset, bytes.length), bytes, role);
  }

  /** Waits until the chip is in a state: after a reset it takes a moment to start. */
  async becomes(state) {
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const now = await this.board.state();
      if (now === state) return;
      assert.ok(performance.now() < deadline, `the chip is in "${now}", not in "${state}"`);
    }
  }

  // The dialog

  /** A button of the screen; the cross beside its title is none of them. */
  button(name) {
    return this.dialog.locator(".flow-content").getByRole("button", { name, exact: true });
  }

  /** Waits for a screen by its title; a failure that comes instead is told at once. */
  async screen(title) {
    const heading = this.title.filter({ hasText: exactly(title) });
    const trouble = this.page.locator('dialog.flow[data-look="trouble"] .flow-head h2');
    await heading.or(trouble).first().waitFor().catch(() => {});
    const shown = (await this.title.count()) ? await this.title.textContent() : null;
    if (shown === title) return;
    assert.equal(shown === null ? null : await this.dialog.evaluate((dialog) => dialog.textContent), title);
  }

  /** From the card's button to what was found. */
  async connect(family) {
    await this.choosePort();
    await this.screen(this.words.foundTitle(family));
  }

  async choosePort() {
    await this.card.getByRole("button", { name: this.words.connectBoard }).click();
    await this.button(this.words.choosePort).click();
  }

  async install(version) {
    await this.button(this.words.installVersion(version)).click();
  }

  async done() {
    await this.screen(this.words.doneTitle);
  }

  /** Presses the way forward of a failure, and sees it go. */
  async retry(name = this.words.retry) {
    await this.button(name).click();
    await this.page.locator('dialog.flow:not([data-look="trouble"])').waitFor();
  }

  /** Waits for the failure of a code; returns what it says. */
  async trouble(code, facts = {}) {
    const { title } = this.words.failures[code](facts);
    await this.screen(title);
    return this.dialog.locator(".flow-body").innerText();
  }

  /** Waits until a step of the work is under way. */
  async atWork(step) {
    await this.now.filter({ hasText: exactly(this.words.stepsNow[step]) }).waitFor();
  }

  /** Whether leaving the page would be asked about. */
  guarded() {
    return this.page.evaluate(() => !window.dispatchEvent(new Event("beforeunload", { cancelable: true })));
  }

  /** The settings' switch: whether everything will be erased. */
  erases() {
    return this.dialog.getByRole("radio", { name: new RegExp(`^${this.words.erase}`) });
  }

  keeps() {
    return this.dialog.getByRole("radio", { name: new RegExp(`^${this.words.keep}`) });
  }

  /** Nothing was said to the console, and nothing was asked of another site. */
  quiet() {
    assert.deepEqual(this.seen.complaints, []);
    const own = new URL(this.site.url).origin;
    assert.deepEqual(this.seen.requests.filter((url) => !url.startsWith(own) && !/^(blob|data):/.test(url)), []);
  }
}

/** Runs `body` with the installer opened in a context of its own. */
export async function withInstaller(browser, site, options, body) {
  const it = await Installer.open(browser, site, options);
  try {
    await body(it);
  } finally {
    await it.close();
  }
}
