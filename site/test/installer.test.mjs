// Installations from the page of a released site onto emulated boards, and
// what is in their flash afterwards.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { bench } from "./bench.mjs";
import { serveDemo } from "./demo.mjs";
import { overlaid, partsOf, sameFlash, withInstaller, words as wordsOf } from "./installer.mjs";
import { newestVersion, siteDir } from "./published.mjs";

const words = wordsOf("en");
const harbour = bench();

// Firmware writes to flash as soon as it starts, beginning with its boot
// selection. With BOOT held, the reset after an installation leads into the
// loader, and flash stays what the installer made of it.
const HELD = { held: 1 };

const BOARDS = [
  { target: "esp32", family: "ESP32", board: { chip: "esp32", ...HELD } },
  { target: "esp32c3", family: "ESP32-C3", board: { chip: "esp32c3", ...HELD } },
  { target: "esp32c3", family: "ESP32-C3", board: { chip: "esp32c3", wiring: "usb", ...HELD } },
  { target: "esp32s3", family: "ESP32-S3", board: { chip: "esp32s3", flash: "8MB", ...HELD } },
  { target: "esp32s3", family: "ESP32-S3", board: { chip: "esp32s3", flash: "8MB", wiring: "usb", ...HELD } },
];

const MB = 1 << 20;
const sizeOf = ({ flash = "4MB" }) => parseInt(flash, 10) * MB;
const nameOf = ({ family, board }) => `${family} ${board.wiring === "usb" ? "on its own USB" : "behind a bridge"}`;

/** The partition behind the slots, which 1.2.0 has at another place. */
const STORAGE = { before: 0x310000, now: 0x320000, size: 0x80000 };

describe("flash holds the parts byte for byte", { concurrency: 2 }, () => {
  for (const { target, family, board } of BOARDS) {
    test(`and all else as it was, on ${nameOf({ family, board })}`, async () => {
      const parts = await partsOf(harbour.dir, "1.1.1", target);
      await harbour.open({ board, address: { version: "1.1.1" } }, async (it) => {
        const before = await it.preload(await partsOf(harbour.dir, "1.0.0", target), sizeOf(board));
        await it.connect(family);
        assert.ok(await it.keeps().isChecked(), "keeping is the default on a board that runs the project");
        await it.install("1.1.1");
        await it.done();
        sameFlash(await it.read(0, before.length), overlaid(before, parts));
        await it.becomes("rom");
        await it.board.boot(false);
        await it.board.reset();
        await it.becomes("firmware");
        it.quiet();
      });
    });

    test(`and nothing else after erasing, on ${nameOf({ family, board })}`, async () => {
      const parts = await partsOf(harbour.dir, "1.2.0", target);
      await harbour.open({ board }, async (it) => {
        const { length } = await it.preload([], sizeOf(board));
        await it.connect(family);
        assert.ok(await it.erases().isChecked(), "erasing is the default on a board with something else");
        await it.install("1.2.0");
        await it.done();
        sameFlash(await it.read(0, length), overlaid(Buffer.alloc(length, 0xff), parts));
        it.quiet();
      });
    });
  }

  test("of a blank board, which has nothing to ask about", async () => {
    const parts = await partsOf(harbour.dir, "1.2.0", "esp32c3");
    await harbour.open({ board: HELD }, async (it) => {
      await it.connect("ESP32-C3");
      assert.equal(await it.dialog.getByRole("radio").count(), 0);
      assert.ok(await it.dialog.getByText(words.eraseOnly).isVisible());
      await it.install("1.2.0");
      await it.done();
      sameFlash(await it.read(0, 4 * MB), overlaid(Buffer.alloc(4 * MB, 0xff), parts));
      it.quiet();
    });
  });

  test("also when the person chooses to erase what could be kept", async () => {
    const parts = await partsOf(harbour.dir, "1.1.1", "esp32c3");
    await harbour.open({ board: HELD, address: { version: "1.1.1" } }, async (it) => {
      await it.preload(await partsOf(harbour.dir, "1.0.0", "esp32c3"));
      await it.connect("ESP32-C3");
      await it.erases().check();
      assert.ok(await it.dialog.getByText(words.lostAll).isVisible());
      await it.install("1.1.1");
      await it.done();
      sameFlash(await it.read(0, 4 * MB), overlaid(Buffer.alloc(4 * MB, 0xff), parts));
    });
  });

  test("where some of them were there already, which are not written again", async () => {
    const parts = await partsOf(harbour.dir, "1.1.1", "esp32c3");
    await harbour.open({ board: HELD, address: { version: "1.1.1" } }, async (it) => {
      const before = await it.preload(parts);
      await it.connect("ESP32-C3");
      // Sectors that cannot be erased cannot be written.
      await it.board.faults({ erase_fails_at: parts.find(({ role }) => role === "app").offset });
      assert.ok(await it.dialog.getByText(words.same("1.1.1")).isVisible());
      await it.install("1.1.1");
      await it.done();
      sameFlash(await it.read(0, before.length), before);
    });
  });
});

describe("what changes with a version is said", { concurrency: 2 }, () => {
  /** Connects a board that runs `from`, to install `to`. */
  const found = (from, to, body) =>
    harbour.open({ board: HELD, address: to === "1.2.0" ? {} : { version: to } }, async (it) => {
      const before = await it.preload(await partsOf(harbour.dir, from, "esp32c3"));
      await it.connect("ESP32-C3");
      await body(it, before);
      it.quiet();
    });
  const says = async (it, text) => assert.ok(await it.dialog.getByText(text, { exact: true }).isVisible(), text);
  const silentOf = async (it, text) => assert.equal(await it.dialog.getByText(text, { exact: true }).count(), 0, text);

  test("a partition that moves is lost, and settings stay", async () => {
    await found("1.1.1", "1.2.0", async (it, before) => {
      await says(it, words.warnings["table-changed"]);
      await says(it, words.lost.moved("storage"));
      assert.ok(await it.keeps().isChecked());
      await it.install("1.2.0");
      await it.done();
      const wanted = overlaid(before, await partsOf(harbour.dir, "1.2.0", "esp32c3"));
      wanted.fill(0xff, STORAGE.now, STORAGE.now + STORAGE.size);
      sameFlash(await it.read(0, before.length), wanted);
    });
  });

  test("settings that are too old for the version", async () => {
    await found("1.0.0", "1.2.0", async (it) => {
      await says(it, words.warnings["older-than-min-from"]("1.1.0", "1.0.0"));
      await it.erases().check();
      await silentOf(it, words.warnings["older-than-min-from"]("1.1.0", "1.0.0"));
    });
  });

  test("a version that is older than what runs", async () => {
    await found("1.1.1", "1.0.0", (it) => says(it, words.warnings.downgrade("1.1.1")));
  });

  test("a version that is there already", async () => {
    await found("1.2.0", "1.2.0", async (it) => {
      await says(it, words.same("1.2.0"));
      await silentOf(it, words.warnings["table-changed"]);
    });
  });

  test("a yanked version and its reason, and a prerelease", async () => {
    await found("1.0.0", "1.1.0", (it) => says(it, words.warnings.yanked("It flickers.")));
    await found("1.2.0", "1.3.0-rc.1", (it) => says(it, words.warnings.prerelease));
  });

  test("another project's firmware, which is erased unless the person keeps it", async () => {
    await harbour.open({}, async (it) => {
      const own = await partsOf(siteDir(), await newestVersion(siteDir()), "esp32c3");
      await it.preload(own);
      await it.connect("ESP32-C3");
      await says(it, words.lostAll);
      assert.ok(await it.erases().isChecked());
    });
  });
});

describe("only what fits is offered", { concurrency: 2 }, () => {
  const targets = (it) => it.dialog.locator(".found-targets .install-name").allInnerTexts();

  test("the smaller target alone, on a board that is small", async () => {
    await harbour.open({ board: { chip: "esp32s3", flash: "8MB" } }, async (it) => {
      await it.connect("ESP32-S3");
      assert.deepEqual(await targets(it), []);
      assert.ok(await it.dialog.getByText("(esp32s3)").isVisible());
    });
  });

  test("the smaller target alone, on a board with flash enough and too little PSRAM", async () => {
    await harbour.open({ board: { chip: "esp32s3", flash: "16MB", psram: "2MB" } }, async (it) => {
      await it.connect("ESP32-S3");
      assert.deepEqual(await targets(it), []);
      assert.ok(await it.dialog.getByText("(esp32s3)").isVisible());
    });
  });

  test("the larger target with a warning, where the chip does not tell of PSRAM", async () => {
    await harbour.open({ board: { chip: "esp32s3", flash: "16MB" } }, async (it) => {
      await it.connect("ESP32-S3");
      const radio = (name) => it.dialog.locator(".found-targets label", { hasText: name }).getByRole("radio");
      const warning = it.dialog.getByText(words.warnings["psram-unknown"]);
      assert.ok(await radio("esp32s3").isChecked());
      assert.equal(await warning.isVisible(), false);
      await radio("s3-large").check();
      await warning.waitFor();
    });
  });

  test("both on a large board, the larger one chosen, and each is what gets installed", async () => {
    const board = { chip: "esp32s3", flash: "16MB", psram: "8MB", ...HELD };
    for (const target of ["s3-large", "esp32s3"]) {
      await harbour.open({ board }, async (it) => {
        await it.connect("ESP32-S3");
        assert.deepEqual((await targets(it)).sort(), ["esp32s3", "s3-large"]);
        const radio = (name) => it.dialog.locator(".found-targets label", { hasText: name }).getByRole("radio");
        assert.ok(await radio("s3-large").isChecked());
        await radio(target).check();
        await it.install("1.2.0");
        await it.done();
        await it.holds(await partsOf(harbour.dir, "1.2.0", target));
      });
    }
  });

  test("the target that a link names, where it fits", async () => {
    const board = { chip: "esp32s3", flash: "16MB", psram: "8MB" };
    await harbour.open({ board, address: { target: "esp32s3" } }, async (it) => {
      await it.connect("ESP32-S3");
      const radio = it.dialog.locator(".found-targets label", { hasText: "esp32s3" }).getByRole("radio");
      assert.ok(await radio.isChecked());
    });
  });
});

describe("the picker", { concurrency: 2 }, () => {
  const select = (it) => it.card.getByLabel(words.version, { exact: true });
  const shown = (it) => it.card.locator(".install-news h3").allInnerTexts();

  test("offers what the channel serves first, then others, then yanked ones with their reason", async () => {
    await harbour.open({}, async (it) => {
      const groups = await select(it).locator("optgroup").evaluateAll((groups) =>
        groups.map((group) => [group.label, [...group.children].map((option) => option.textContent)]),
      );
      assert.deepEqual(groups, [
        [words.served("stable"), ["1.2.0"]],
        [words.otherVersions, [`1.3.0-rc.1 (${words.prerelease})`, "1.1.1", "1.0.0"]],
        [words.yankedVersions, [`1.1.0 – ${words.yanked("It flickers.")}`]],
      ]);
      assert.deepEqual(await shown(it), [words.whatsNew("1.2.0")]);
      it.quiet();
    });
  });

  test("shows notes as text and why a version was yanked, and the address follows", async () => {
    await harbour.open({}, async (it) => {
      await select(it).selectOption("1.1.0");
      assert.deepEqual(await shown(it), [words.whatsNew("1.1.0")]);
      const news = it.card.locator(".install-news");
      assert.match(await news.innerText(), /And <b>warmer<\/b>\./);
      assert.ok(await news.getByText(words.yanked("It flickers.")).isVisible());
      assert.equal(new URL(it.page.url()).searchParams.get("version"), "1.1.0");
      await it.card.getByRole("radio", { name: "testing" }).check();
      assert.deepEqual(await shown(it), [words.whatsNew("1.3.0-rc.1")]);
      const { searchParams } = new URL(it.page.url());
      assert.deepEqual([searchParams.get("channel"), searchParams.get("version")], ["testing", null]);
    });
  });

  test("another version is what gets installed", async () => {
    await harbour.open({ board: HELD }, async (it) => {
      await select(it).selectOption("1.0.0");
      await it.connect("ESP32-C3");
      await it.install("1.0.0");
      await it.done();
      await it.holds(await partsOf(harbour.dir, "1.0.0", "esp32c3"));
    });
  });

  test("takes channel, version and target from a link", async () => {
    await harbour.open({ address: { channel: "testing", version: "1.1.1", target: "esp32" } }, async (it) => {
      assert.ok(await it.card.getByRole("radio", { name: "testing" }).isChecked());
      assert.equal(await select(it).inputValue(), "1.1.1");
      assert.deepEqual(await shown(it), [words.whatsNew("1.1.1")]);
      assert.equal(await it.card.locator(".install-note").count(), 0);
    });
  });

  test("says what of a link is not there, and what it chose instead", async () => {
    await harbour.open({ address: { channel: "beta", version: "9.9.9", target: "<i>x</i>" } }, async (it) => {
      const note = await it.card.getByRole("status").innerText();
      for (const part of [
        words.unknownChannel("beta"),
        words.unknownVersion("9.9.9"),
        words.unknownTarget("<i>x</i>"),
        words.shownInstead("stable"),
      ]) {
        assert.ok(note.includes(part), `${part} in ${note}`);
      }
      assert.deepEqual(await shown(it), [words.whatsNew("1.2.0")]);
      it.quiet();
    });
  });
});

describe("this repository's own firmware", () => {
  let own;
  before(async () => {
    own = await serveDemo(siteDir());
  });
  after(() => own?.close());

  for (const [chip, family] of [["esp32c2", "ESP32-C2"], ["esp32c3", "ESP32-C3"], ["esp32c6", "ESP32-C6"]]) {
    test(`is on the ${family} byte for byte`, async () => {
      const version = await newestVersion(siteDir());
      const parts = await partsOf(siteDir(), version, chip);
      await withInstaller(harbour.browser, own, { board: { chip, ...HELD } }, async (it) => {
        await it.connect(family);
        await it.install(version);
        await it.done();
        sameFlash(await it.read(0, 4 * MB), overlaid(Buffer.alloc(4 * MB, 0xff), parts));
        it.quiet();
      });
    });
  }
});
