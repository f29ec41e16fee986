// What a link and a choice mean, and the words and numbers that say it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./bundle.mjs";

const { choose, offered, others, releases, takes, commands, words, pickLanguage, Numbers, whole, devicePage, sortNetworks } =
  await load("ui/choice", "ui/commands", "strings", "ui/numbers", "ui/work", "ui/wifi");

const PARTS = [
  { role: "bootloader", offset: 0x1000, path: "files/esp32-bootloader-1.bin" },
  { role: "app", offset: 0x10000, path: "files/esp32-app-2.bin" },
];
const target = (name, parts = PARTS) => ({ target: name, chip: "esp32", chipFamily: "ESP32", flashSize: 4 << 20, parts });
const release = (version, more = {}) => ({
  version,
  prerelease: version.includes("-"),
  yanked: null,
  targets: [target("lamp"), target("desk")],
  ...more,
});
const channel = (name, ...served) => ({ name, targets: served.map(([target, version]) => ({ target, version })) });

const INDEX = {
  channels: [
    channel("empty"),
    channel("stable", ["lamp", "1.2.0"], ["desk", "1.1.0"]),
    channel("testing", ["lamp", "1.3.0-rc.1"], ["desk", "1.3.0-rc.1"]),
  ],
  releases: [
    release("1.3.0-rc.1"),
    release("1.2.0"),
    release("1.1.5", { yanked: "loses its settings" }),
    release("1.1.0"),
    release("0.9.0", { targets: [target("lamp", [])] }),
  ],
};
const NOTHING = { channel: null, version: null, target: null };
const versions = (list) => list.map((entry) => entry.version);

test("without_a_link_the_first_channel_that_serves_something_is_chosen", () => {
  assert.deepEqual(choose(INDEX, NOTHING), { choice: { ...NOTHING, channel: "stable" }, missed: [] });
});

test("a_link_names_channel_version_and_target", () => {
  const link = { channel: "testing", version: "1.1.0", target: "desk" };
  assert.deepEqual(choose(INDEX, link), { choice: link, missed: [] });
});

test("naming_the_only_version_that_a_channel_serves_is_its_default", () => {
  const link = { ...NOTHING, channel: "testing", version: "1.3.0-rc.1" };
  assert.equal(choose(INDEX, link).choice.version, null);
});

test("what_a_link_asks_for_in_vain_is_named_and_left_at_its_default", () => {
  const link = { channel: "empty", version: "0.9.0", target: "boat" };
  const { choice, missed } = choose(INDEX, link);
  assert.deepEqual(choice, { ...NOTHING, channel: "stable" });
  assert.deepEqual(missed.map(({ what }) => what), ["channel", "version", "target"]);
});

test("a_site_whose_channels_serve_nothing_still_installs_its_newest_release", () => {
  const { choice } = choose({ ...INDEX, channels: [channel("empty")] }, NOTHING);
  assert.deepEqual(choice, { ...NOTHING, version: "1.3.0-rc.1" });
});

test("other_versions_are_all_that_can_be_installed_with_yanked_ones_apart", () => {
  assert.deepEqual(versions(offered(INDEX, "stable")), ["1.2.0", "1.1.0"]);
  const { sound, yanked } = others(INDEX, "stable");
  assert.deepEqual(versions(sound), ["1.3.0-rc.1"]);
  assert.deepEqual(versions(yanked), ["1.1.5"]);
});

test("a_channel_gives_each_target_the_version_that_it_serves_for_it", () => {
  const { choice } = choose(INDEX, NOTHING);
  const taken = releases(INDEX, choice).flatMap((entry) =>
    entry.targets.filter((t) => takes(INDEX, choice, entry, t)).map((t) => `${t.target} ${entry.version}`),
  );
  assert.deepEqual(taken, ["lamp 1.2.0", "desk 1.1.0"]);
});

test("commands_write_each_part_to_its_place", () => {
  const lines = commands(target("lamp")).flatMap(({ lines }) => lines.map(({ start, pairs }) => [start, ...pairs].join(" ")));
  assert.deepEqual(lines, [
    "esptool --chip esp32 write-flash 0x1000 esp32-bootloader-1.bin 0x10000 esp32-app-2.bin",
    "espflash write-bin --chip esp32 0x1000 esp32-bootloader-1.bin",
    "espflash write-bin --chip esp32 0x10000 esp32-app-2.bin",
  ]);
});

test("each_failure_has_words_of_its_own_in_each_language", () => {
  for (const language of ["en", "de"]) {
    const failures = Object.entries(words(language).failures);
    assert.equal(failures.length, 23);
    const said = failures.map(([code, tell]) => ({ code, ...tell({}) }));
    for (const { code, title, why, steps } of said) {
      assert.ok(title && why && steps.length > 0 && steps.every(Boolean), `${language} ${code}`);
      assert.doesNotMatch(JSON.stringify([title, why, steps]), /undefined|null/, `${language} ${code}`);
    }
    assert.equal(new Set(said.map(({ title }) => title)).size, failures.length, language);
  }
});

test("every_sentence_about_a_failure_is_translated", () => {
  const { failures } = words("de");
  for (const [code, tell] of Object.entries(words("en").failures)) {
    const [english, german] = [tell({}), failures[code]({})];
    const pairs = [[english.title, german.title], [english.why, german.why], ...english.steps.map((step, i) => [step, german.steps[i]])];
    for (const [en, de] of pairs) assert.notEqual(en, de, code);
    assert.equal(english.steps.length, german.steps.length, code);
  }
});

test("the_language_is_the_one_asked_for_or_the_first_preferred_one_that_there_is", () => {
  assert.equal(pickLanguage("de", ["en-GB"]), "de");
  assert.equal(pickLanguage(null, ["fr", "de-AT", "en"]), "de");
  assert.equal(pickLanguage("xx", ["fr"]), "en");
});

test("numbers_are_written_as_a_language_writes_them", () => {
  const [en, de] = [new Numbers("en", ["en-GB"]), new Numbers("de", ["de-DE", "en"])];
  assert.equal(en.size(4 << 20), "4 MiB");
  assert.equal(de.size(1.5 * 1024), "1,5 KiB");
  assert.equal(en.date("2026-11-18"), "18 November 2026");
  assert.equal(en.percent(0.9999), "99%");
  assert.equal(en.percent(1), "100%");
  assert.match(de.duration(75), /^1 Min\.? 15 Sek\.?$/);
});

test("progress_never_goes_back_from_one_step_to_the_next", () => {
  for (const erase of [true, false]) {
    const steps = ["download", ...(erase ? ["erase"] : []), "write", "verify"];
    const ends = steps.flatMap((step) => [whole(step, 0, erase), whole(step, 1, erase)]);
    assert.deepEqual(ends, [...ends].sort((a, b) => a - b));
    assert.equal(ends[0], 0);
    assert.equal(ends.at(-1), 1);
  }
});

test("a_board_can_only_lead_to_a_web_page", () => {
  assert.equal(devicePage("http://192.0.2.7/"), "http://192.0.2.7/");
  for (const wrong of ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "192.0.2.7", "", undefined]) {
    assert.equal(devicePage(wrong), null, String(wrong));
  }
});

test("each_network_is_listed_once_the_strongest_first", () => {
  const network = (name, rssi) => ({ name, rssi, secured: true });
  const list = sortNetworks([network("a", -80), network("b", -60), network("a", -50), network("", -10)]);
  assert.deepEqual(list, [network("a", -50), network("b", -60)]);
});
