import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { load } from "./bundle.mjs";
import { FACTORY, NVS, NVS_KEYS, OTA_0, OTA_1, OTADATA, parsed, PHY, SPIFFS } from "./flash.mjs";

const { advise: adviseOn, guess, matchTargets } = await load("plan");

const MB = 0x100000;
const CHIP = { family: "ESP32-S3", description: "", mac: "", flashSize: 8 * MB, psram: 2 * MB, features: [] };
const PART = { role: "app", offset: 0x10000, size: 0x100000, path: "a", sha256: "0".repeat(64) };
const PARTS = [
  { ...PART, role: "bootloader", offset: 0x0, size: 0x5000 },
  { ...PART, role: "partition-table", offset: 0x8000, size: 0xc00 },
  { ...PART, role: "otadata", offset: 0xe000, size: 0x2000 },
  PART,
];

const target = (change = {}) => ({
  target: "board",
  chip: "esp32s3",
  chipFamily: "ESP32-S3",
  flashSize: 4 * MB,
  psram: null,
  parts: PARTS,
  ...change,
});

const release = (change = {}) => ({
  version: "1.2.0",
  prerelease: false,
  yanked: null,
  released: "2026-01-01",
  notes: null,
  minFrom: null,
  targets: [target()],
  ...change,
});

const advise = (found, of, board, table, chip = CHIP) =>
  adviseOn(found, { release: of, target: board, table }, chip);

const TABLE = [NVS, OTADATA, OTA_0, OTA_1, SPIFFS].map(parsed);
const own = (version = "1.1.0", table = TABLE) => ({ kind: "own", version, table });
const foreign = (table = TABLE, name = "other") => ({ kind: "foreign", name, version: "9", table });
const moved = (entry, offset) => ({ ...entry, offset });
const losses = (advice) => advice.lost.map((loss) => `${loss.partition.label} ${loss.how}`);

describe("targets", () => {
  const verdict = (change, chip = {}) => matchTargets(release({ targets: [target(change)] }), { ...CHIP, ...chip })[0];

  test("only_what_the_chip_can_run_fits", () => {
    assert.equal(verdict({}).reason, null);
    assert.equal(verdict({ chipFamily: "ESP32" }).reason, "chip");
    assert.equal(verdict({ parts: [] }).reason, "no-parts");
    assert.equal(verdict({ flashSize: 8 * MB }).reason, null);
    assert.equal(verdict({ flashSize: 16 * MB }).reason, "flash-size");
    assert.equal(verdict({ psram: 2 * MB }).reason, null);
    assert.equal(verdict({ psram: 8 * MB }).reason, "psram");
    assert.equal(verdict({}, { flashSize: 0 }).reason, "flash-size");
    assert.equal(verdict({ psram: 2 * MB }, { psram: 0 }).reason, "psram");
    assert.equal(verdict({ psram: 0 }, { psram: 0 }).reason, null);
  });

  test("the_chip_is_the_first_reason", () => {
    assert.equal(verdict({ chipFamily: "ESP32", parts: [], flashSize: 16 * MB, psram: 8 * MB }).reason, "chip");
  });

  test("psram_that_cannot_be_read_fits_with_a_warning", () => {
    const needs = target({ psram: 8 * MB });
    const chip = { ...CHIP, psram: "unknown" };
    assert.equal(matchTargets(release({ targets: [needs] }), chip)[0].fits, true);
    assert.deepEqual(advise({ kind: "blank" }, release(), needs, TABLE, chip).warnings, ["psram-unknown"]);
    assert.deepEqual(advise({ kind: "blank" }, release(), target(), TABLE, chip).warnings, []);
  });
});

describe("the guess", () => {
  const SMALL = [NVS, OTADATA, OTA_0].map(parsed);
  const guessed = (changes, chip = {}, found = { kind: "blank" }) => {
    const offers = changes.map(({ table = TABLE, ...change }, i) => ({
      release: release(),
      target: target({ target: `t${i}`, ...change }),
      table,
    }));
    return guess(found, { ...CHIP, ...chip }, offers)?.target.target ?? null;
  };


  test("is_the_largest_flash_and_then_the_most_psram", () => {
    assert.equal(guessed([{}]), "t0");
    assert.equal(guessed([{}, { flashSize: 8 * MB }]), "t1");
    assert.equal(guessed([{ psram: null }, { psram: 2 * MB }]), "t1");
    assert.equal(guessed([{ psram: 2 * MB }, { flashSize: 8 * MB }]), "t1");
  });

  test("is_what_is_known_to_run_before_what_may_not", () => {
    assert.equal(guessed([{ flashSize: 8 * MB, psram: 8 * MB }, {}], { psram: "unknown" }), "t1");
  });

  test("is_not_made_where_the_chip_tells_nothing_apart", () => {
    assert.equal(guessed([{}, {}]), null);
    assert.equal(guessed([{}, {}, { flashSize: 8 * MB }]), "t2");
    assert.equal(guessed([{ psram: 0 }, { psram: null }]), null);
  });

  test("follows_the_partition_table_of_firmware_that_is_there", () => {
    assert.equal(guessed([{ flashSize: 8 * MB, table: SMALL }, {}], {}, own()), "t1");
    assert.equal(guessed([{ table: SMALL }, {}, {}], {}, own()), null);
    assert.equal(guessed([{ flashSize: 8 * MB, table: SMALL }, {}], {}, foreign()), "t0");
    assert.equal(guessed([{ flashSize: 8 * MB, table: SMALL }, { table: SMALL }], {}, own()), "t0");
  });
});

describe("advice", () => {
  test("blank_flash_is_erased_and_has_nothing_to_lose", () => {
    const advice = advise({ kind: "blank" }, release(), target(), TABLE);
    assert.deepEqual([advice.erase, advice.mayKeep, advice.lost, advice.warnings], [true, true, [], []]);
  });

  test("flash_that_cannot_be_understood_cannot_be_kept", () => {
    for (const found of [{ kind: "unreadable" }, foreign(null, null)]) {
      const advice = advise(found, release(), target(), TABLE);
      assert.deepEqual([advice.erase, advice.mayKeep, advice.warnings], [true, false, []], found.kind);
    }
  });

  test("firmware_of_this_project_keeps_its_settings", () => {
    const advice = advise(own(), release(), target(), TABLE);
    assert.deepEqual([advice.erase, advice.mayKeep], [false, true]);
    assert.deepEqual([advice.lost, advice.blank, advice.warnings], [[], [], []]);
    assert.deepEqual(advice.keep.map((p) => p.label), ["nvs", "storage"]);
    assert.equal(advice.same, false);
  });

  test("firmware_of_another_project_is_erased_unless_the_person_wants_otherwise", () => {
    const advice = advise(foreign(), release(), target(), TABLE);
    assert.deepEqual([advice.erase, advice.mayKeep, advice.warnings], [true, true, ["app-running-other-project"]]);
    assert.deepEqual(advice.keep.map((p) => p.label), ["nvs", "storage"]);
  });

  test("a_part_over_the_settings_makes_keeping_impossible", () => {
    const old = [moved(NVS, 0x20000), OTADATA, SPIFFS].map(parsed);
    const advice = advise(own("1.1.0", old), release(), target(), TABLE);
    assert.deepEqual([advice.erase, advice.mayKeep], [true, false]);
    assert.deepEqual(losses(advice), ["nvs overwritten"]);
    const keys = [NVS, moved(NVS_KEYS, 0x20000), SPIFFS].map(parsed);
    assert.equal(advise(own("1.1.0", keys), release(), target(), TABLE).mayKeep, false);
  });

  test("a_part_that_reaches_into_the_last_sector_of_the_settings_overwrites_them", () => {
    const parts = [...PARTS.slice(0, 1), { ...PARTS[1], offset: 0x8000, size: 0x1001 }];
    const advice = advise(own(), release(), target({ parts }), TABLE);
    assert.deepEqual(losses(advice), ["nvs overwritten"]);
    assert.equal(advice.mayKeep, false);
  });

  test("files_that_are_written_over_do_not_take_the_settings_with_them", () => {
    const old = [NVS, OTADATA, moved(SPIFFS, 0x20000)].map(parsed);
    const advice = advise(own("1.1.0", old), release(), target(), TABLE);
    assert.deepEqual([advice.erase, advice.mayKeep], [false, true]);
    assert.deepEqual(losses(advice), ["storage overwritten"]);
    assert.deepEqual(advice.keep.map((p) => p.label), ["nvs"]);
    assert.deepEqual(advice.blank.map((p) => p.label), ["storage"], "its new place was another's");
    assert.deepEqual(advice.warnings, ["table-changed"]);
  });

  test("moved_resized_and_removed_data_is_lost_and_its_new_place_is_blanked", () => {
    const gone = { ...SPIFFS, label: "old", offset: 0x3c0000, size: 0x1000 };
    const old = [NVS, OTADATA, moved(SPIFFS, 0x320000), { ...NVS_KEYS, size: 0x2000 }, gone];
    const next = [NVS, OTADATA, OTA_0, OTA_1, SPIFFS, NVS_KEYS];
    const advice = advise(own("1.1.0", old.map(parsed)), release(), target(), next.map(parsed));
    assert.deepEqual(losses(advice), ["storage moved", "nvs_keys resized", "old removed"]);
    assert.deepEqual(advice.blank.map((p) => p.label), ["storage", "nvs_keys"]);
    assert.equal(advice.mayKeep, true);
  });

  test("with_nothing_left_to_keep_keeping_is_not_offered", () => {
    const old = [moved(NVS, 0x300000), OTADATA].map(parsed);
    const advice = advise(own("1.1.0", old), release(), target(), TABLE);
    assert.deepEqual(losses(advice), ["nvs moved"]);
    assert.deepEqual([advice.erase, advice.mayKeep], [true, false]);
  });

  test("firmware_boot_selection_and_calibration_are_no_loss", () => {
    const coredump = { label: "coredump", type: 1, subtype: 3, offset: 0x3f0000, size: 0x10000 };
    const old = [NVS, PHY, FACTORY, coredump, SPIFFS].map(parsed);
    const advice = advise(own("1.1.0", old), release(), target(), TABLE);
    assert.deepEqual(advice.lost, []);
    assert.deepEqual([advice.erase, advice.mayKeep], [false, true]);
    assert.deepEqual(advice.warnings, ["table-changed"]);
  });

  test("a_table_without_data_has_nothing_to_lose", () => {
    const advice = advise(own("1.1.0", [OTADATA, OTA_0].map(parsed)), release(), target(), TABLE);
    assert.deepEqual([advice.mayKeep, advice.erase, advice.lost], [true, false, []]);
  });

  test("a_renamed_partition_keeps_its_data", () => {
    const old = [{ ...NVS, label: "settings" }, OTADATA, OTA_0, OTA_1, SPIFFS].map(parsed);
    const advice = advise(own("1.1.0", old), release(), target(), TABLE);
    assert.deepEqual([advice.lost, advice.blank], [[], []]);
    assert.deepEqual(advice.keep.map((p) => p.label), ["settings", "storage"]);
  });

  test("nothing_that_is_kept_is_ever_blanked_or_written", () => {
    // Tables that contradict themselves: data of the new one over what is kept.
    const next = [NVS, moved({ ...SPIFFS, label: "new" }, 0xa000), SPIFFS].map(parsed);
    const advice = advise(own(), release(), target(), next);
    assert.deepEqual(advice.keep.map((p) => p.label), ["nvs", "storage"]);
    assert.deepEqual(advice.blank, []);
  });

  test("versions_are_warned_of", () => {
    const warnings = (found, change) => advise(found, release(change), target(), TABLE).warnings;
    assert.deepEqual(warnings(own("1.0.0"), { minFrom: "1.1.0" }), ["older-than-min-from"]);
    assert.deepEqual(warnings(own("1.1.0-rc.1"), { minFrom: "1.1.0" }), ["older-than-min-from"]);
    assert.deepEqual(warnings(own("v1.1.0"), { minFrom: "1.1.0" }), []);
    assert.deepEqual(warnings(own("a3f8c21-dirty"), { minFrom: "1.1.0" }), ["older-than-min-from"]);
    assert.deepEqual(warnings(own("a3f8c21-dirty"), {}), []);
    assert.deepEqual(warnings(own("1.3.0"), {}), ["downgrade"]);
    assert.deepEqual(warnings(own("1.2.0"), {}), []);
    assert.deepEqual(warnings(own("1.2.0"), { version: "1.2.0-rc.1", prerelease: true }), ["downgrade", "prerelease"]);
    assert.deepEqual(warnings({ kind: "blank" }, { yanked: "It loses time.", minFrom: "1.0.0" }), ["yanked"]);
    assert.deepEqual(warnings(foreign(), { minFrom: "1.0.0" }), ["app-running-other-project"]);
  });

  test("psram_that_could_not_be_read_is_warned_of", () => {
    const warnings = (psram, needed) =>
      advise({ kind: "blank" }, release(), target({ psram: needed }), TABLE, { ...CHIP, psram }).warnings;
    assert.deepEqual(warnings("unknown", 8 * MB), ["psram-unknown"]);
    assert.deepEqual(warnings("unknown", null), []);
    assert.deepEqual(warnings(8 * MB, 8 * MB), []);
  });

  test("that_very_version_is_seen", () => {
    assert.equal(advise(own("1.2.0"), release(), target(), TABLE).same, true);
    assert.equal(advise(own("1.2.0+x"), release(), target(), TABLE).same, false);
    assert.equal(advise(foreign(), release({ version: "9" }), target(), TABLE).same, false);
  });
});
