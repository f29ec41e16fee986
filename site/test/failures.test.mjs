// Everything that can go wrong while installing: each has its own words, the
// board is let go, and the way on works without loading the page again.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { describe, test } from "node:test";
import { bench } from "./bench.mjs";
import { partsOf, words as wordsOf } from "./installer.mjs";

const words = wordsOf("en");
/** A name that leads to this machine, but is not "localhost": what comes from there is not secure. */
const ELSEWHERE = "harbour.test";
const harbour = bench([`--host-resolver-rules=MAP ${ELSEWHERE} 127.0.0.1`]);

const MENDED = (it) => it.board.faults({});
const APP = "**/*-app-*.bin";
const app = (it, answer) => it.page.route(APP, answer);
const appFile = (parts) => ({ file: parts.find(({ role }) => role === "app").name });
const appMended = (it) => it.page.unroute(APP);
/** Slow enough to be in the middle of writing. */
const SLOW = { paced: 1 };

// `when` is the screen on which something is broken: before the port is
// chosen, or when the board was found. `way` is the button of the way on.
const FAILURES = [
  {
    code: "no-port",
    break: (it) => it.page.evaluate(() => (window.towlineBoard.choose = false)),
    mend: (it) => it.page.evaluate(() => (window.towlineBoard.choose = true)),
  },
  { code: "port-busy", break: (it) => it.board.faults({ busy: true }), mend: MENDED },
  { code: "silent", break: (it) => it.board.faults({ silent: true }), mend: MENDED, state: null },
  {
    code: "not-in-download-mode",
    break: (it) => it.board.faults({ no_reset: true }),
    also: async (it) => assert.ok(await it.dialog.getByRole("img", { name: words.bootPicture }).isVisible()),
    // As the picture says.
    mend: async (it) => {
      await it.board.boot(true);
      await it.board.reset();
    },
  },
  { code: "noise", break: (it) => it.board.faults({ corrupt_reply: 1 }), mend: MENDED },
  {
    code: "unplugged",
    when: "found",
    break: (it) => it.board.faults({ unplugged_after: 60_000 }),
    mend: async (it) => {
      await it.board.faults({});
      await it.board.plug(true);
    },
    state: null,
  },
  {
    code: "wrong-chip",
    board: { chip: "esp32c6" },
    break: () => {},
    why: words.failures["wrong-chip"]({
      reason: "chip",
      version: "1.2.0",
      chip: "ESP32-C6",
      chips: "ESP32, ESP32-C3, and ESP32-S3",
    }).why,
    mend: (it) => it.board.use({ chip: "esp32c3" }),
    way: words.newBoard,
  },
  {
    name: "flash that is too small",
    code: "wrong-chip",
    board: { chip: "esp32s3", flash: "4MB" },
    break: () => {},
    why: words.failures["wrong-chip"]({ reason: "flash-size", version: "1.2.0", chip: "ESP32-S3", flash: "4 MiB" }).why,
    mend: (it) => it.board.use({ flash: "8MB" }),
    way: words.newBoard,
    target: "esp32s3",
  },
  {
    code: "secure-download",
    board: { secure_download: 1 },
    break: () => {},
    mend: (it) => it.board.use({ secure_download: false }),
    way: words.newBoard,
  },
  {
    code: "secure-boot",
    board: { secure_boot: 1 },
    break: () => {},
    mend: (it) => it.board.use({ secure_boot: false }),
    way: words.newBoard,
  },
  {
    code: "flash-encrypted",
    board: { encrypted: 1 },
    break: () => {},
    mend: (it) => it.board.use({ encrypted: false }),
    way: words.newBoard,
  },
  {
    code: "download-missing",
    when: "found",
    facts: appFile,
    break: (it) => app(it, (route) => route.fulfill({ status: 404 })),
    mend: appMended,
    complaint: /404/,
  },
  {
    code: "download-tampered",
    when: "found",
    facts: appFile,
    break: (it) =>
      app(it, async (route) => {
        const response = await route.fetch();
        const body = await response.body();
        body[1000] ^= 1;
        await route.fulfill({ response, body });
      }),
    mend: appMended,
  },
  {
    code: "offline",
    when: "found",
    facts: appFile,
    break: (it) => app(it, (route) => route.abort("internetdisconnected")),
    mend: appMended,
    complaint: /ERR_INTERNET_DISCONNECTED/,
  },
  {
    code: "verify-mismatch",
    when: "found",
    break: (it) => it.board.faults({ corrupt_block: 2 }),
    facts: () => ({ part: words.parts.app }),
    mend: MENDED,
  },
  {
    code: "write-failed",
    when: "found",
    keep: true,
    break: (it) => it.board.faults({ erase_fails_at: 0x10000 }),
    facts: () => ({ part: words.parts.app }),
    mend: MENDED,
  },
  {
    code: "erase-failed",
    when: "found",
    break: (it) => it.board.faults({ erase_fails_at: 0x10000 }),
    mend: MENDED,
  },
  {
    code: "cancelled",
    when: "found",
    board: SLOW,
    break: () => {},
    stop: async (it) => {
      await it.atWork("write");
      assert.ok(await it.guarded(), "leaving is asked about while writing");
      await it.button(words.cancel).click();
      await it.button(words.stop).click();
    },
    facts: () => ({ written: "yes" }),
    mend: () => {},
  },
];

describe("each failure says what it is, and its way on ends with the parts in flash", { concurrency: 2 }, () => {
  for (const failure of FAILURES) {
    const { code, when = "port", state = "firmware", target = "esp32c3", board = {} } = failure;
    test(failure.name ?? code, async () => {
      const parts = await partsOf(harbour.dir, "1.2.0", target);
      const facts = failure.facts?.(parts) ?? {};
      const family = target === "esp32s3" ? "ESP32-S3" : "ESP32-C3";
      await harbour.open({ board }, async (it) => {
        if (failure.keep) await it.preload(await partsOf(harbour.dir, "1.1.1", target));
        if (when === "port") {
          await failure.break(it);
          await it.choosePort();
        } else {
          await it.connect(family);
          await failure.break(it);
          await it.install("1.2.0");
          await failure.stop?.(it);
        }
        const said = await it.trouble(code, facts);
        const { why, steps } = words.failures[code](facts);
        for (const part of [failure.why ?? why, ...steps]) assert.ok(said.includes(part), `${part} in ${said}`);
        await failure.also?.(it);
        assert.equal(await it.guarded(), false, "nothing is half-way that could be waited for");
        // The board was reset.
        if (state !== null) await it.becomes(state);

        await failure.mend(it);
        // The firmware would write to flash as soon as it starts.
        await it.board.boot(true);
        await it.retry(failure.way);
        if (when === "port") {
          await it.screen(words.foundTitle(family));
          await it.install("1.2.0");
        }
        await it.done();
        await it.holds(parts);
        assert.equal(await it.guarded(), false);
        const expected = (text) => failure.complaint?.test(text);
        assert.deepEqual(it.seen.complaints.filter((text) => !expected(text)), []);
      });
    });
  }
});

describe("what can be overcome is", { concurrency: 2 }, () => {
  const installs = async (it, prepare) => {
    await it.connect("ESP32-C3");
    await prepare?.();
    await it.install("1.2.0");
    await it.done();
    await it.holds(await partsOf(harbour.dir, "1.2.0", "esp32c3"));
    it.quiet();
  };

  test("frames that are lost, on the way there and back", async () => {
    for (const faults of [{ dropped_frame: 40 }, { corrupt_reply: 30 }]) {
      await harbour.open({ board: { held: 1 } }, async (it) => {
        await it.board.faults(faults);
        await installs(it);
      });
    }
  });

  test("a line that does not carry the highest speed", async () => {
    await harbour.open({ board: { held: 1 } }, async (it) => {
      await it.board.faults({ max_baud: 460_800 });
      await installs(it);
      const [first, fastest] = it.seen.speeds;
      assert.deepEqual([first, fastest], [115_200, 921_600]);
      // After the installation the port is opened once more, for the console.
      const speeds = it.seen.speeds.slice(0, -1);
      assert.equal(speeds.at(-1), 460_800, `the parts went over the line at ${it.seen.speeds}`);
    });
  });

  test("a bridge that knows only the slowest speed", async () => {
    await harbour.open({ board: { held: 1 } }, async (it) => {
      await it.board.faults({ max_baud: 115_200 });
      await installs(it);
      assert.deepEqual(it.seen.speeds.filter((speed) => speed > 115_200), [921_600, 460_800]);
    });
  });
});

describe("before anything is written", { concurrency: 2 }, () => {
  test("a stop leaves the board as it was", async () => {
    await harbour.open({}, async (it) => {
      let release;
      const held = new Promise((resolve) => (release = resolve));
      await app(it, async (route) => {
        await held;
        await route.continue().catch(() => {});
      });
      const before = await it.preload(await partsOf(harbour.dir, "1.1.1", "esp32c3"));
      await it.board.boot(true);
      await it.connect("ESP32-C3");
      await it.install("1.2.0");
      await it.atWork("download");
      assert.equal(await it.guarded(), false, "nothing is lost by leaving now");
      await it.page.keyboard.press("Escape");
      assert.ok(await it.dialog.getByText(words.stopEarly).isVisible());
      await it.button(words.stop).click();
      await it.trouble("cancelled");
      release();
      await it.button(words.close).click();
      await it.dialog.waitFor({ state: "detached" });
      await it.becomes("rom");
      assert.ok((await it.read(0xe000, 0x10000)).equals(before.subarray(0xe000, 0x1e000)));
    });
  });

  test("closing the dialog lets the board go", async () => {
    await harbour.open({}, async (it) => {
      await it.preload(await partsOf(harbour.dir, "1.1.1", "esp32c3"));
      await it.connect("ESP32-C3");
      assert.equal(await it.board.state(), "stub");
      await it.page.keyboard.press("Escape");
      await it.dialog.waitFor({ state: "detached" });
      await it.becomes("firmware");
    });
  });
});

describe("a browser that cannot install", { concurrency: 2 }, () => {
  const without = (page) =>
    page.route("**/assets/demo-*.js", (route) => route.fulfill({ contentType: "text/javascript", body: "" }));

  /** The commands on the card write exactly the parts of the targets. */
  async function commands(it) {
    const select = it.card.getByLabel(words.chooseBoard);
    const index = JSON.parse(await readFile(path.join(harbour.dir, "releases.json"), "utf8"));
    const { targets } = index.releases.find(({ version }) => version === "1.2.0");
    for (const { target, chip_family: family, parts } of targets) {
      await select.selectOption(`${family} (${target})`);
      const wanted = parts.map(({ offset, path: name }) => `0x${offset.toString(16)} ${name.split("/").at(-1)}`).sort();
      const tools = await it.card.locator(".commands > div").evaluateAll((rows) => rows.map((row) => row.textContent));
      assert.equal(tools.length, 2);
      for (const tool of tools) assert.deepEqual((tool.match(/0x[0-9a-f]+ [^\s]+?\.bin/g) ?? []).sort(), wanted);
      for (const link of await it.card.locator(".install-commands a.file").all()) {
        const url = new URL(await link.getAttribute("href"), harbour.site.url);
        assert.equal((await fetch(url)).status, 200, url.href);
      }
    }
  }

  test("for want of Web Serial is told which ones can, and the commands that do the same", async () => {
    const prepare = async (page) => {
      await without(page);
      await page.addInitScript(() => delete Navigator.prototype.serial);
    };
    await harbour.open({ prepare }, async (it) => {
      const { title, why, steps } = words.failures["no-web-serial"]();
      for (const part of [title, why, ...steps]) {
        assert.ok(await it.card.getByText(part, { exact: true }).isVisible(), part);
      }
      assert.equal(await it.card.getByRole("button", { name: words.connectBoard }).count(), 0);
      await commands(it);
      it.quiet();
    });
  });

  test("because the page did not come securely is led to the secure address", async () => {
    const url = new URL(harbour.site.url);
    url.hostname = ELSEWHERE;
    const page = await harbour.browser.newPage();
    try {
      await page.goto(url.href);
      const { title } = words.failures["insecure-context"]();
      const card = page.locator("#install");
      await card.getByText(title).waitFor();
      const secure = url.href.replace(/^http:/, "https:");
      assert.equal(await card.getByRole("link", { name: secure }).getAttribute("href"), secure);
      await commands({ card });
    } finally {
      await page.close();
    }
  });
});
