import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./bundle.mjs";
import { FACTORY, NVS, NVS_KEYS, OTA_0, OTA_1, OTADATA, parsed, PHY, SPIFFS, table } from "./flash.mjs";

const { compare, holdsPersonalData, isSettings, overlap, parseTable } = await load("partition");

const LAYOUT = [NVS, OTADATA, OTA_0, OTA_1, SPIFFS];

test("a_table_is_read_as_it_was_written", () => {
  const own = { label: "sixteen_letters_", type: 0x40, subtype: 7, offset: 0x3b0000, size: 0x1000, flags: 2 };
  const entries = [...LAYOUT, { ...NVS_KEYS, flags: 1 }, own];
  assert.deepEqual(parseTable(table(entries)), entries.map(parsed));
});

test("a_table_without_a_digest_is_read", () => {
  assert.deepEqual(parseTable(table(LAYOUT, { md5: false })), LAYOUT.map(parsed));
});

test("a_table_inside_a_larger_buffer_is_read_at_its_place", () => {
  const buffer = new Uint8Array(0x1100);
  buffer.set(table(LAYOUT), 0x100);
  assert.deepEqual(parseTable(buffer.subarray(0x100)), LAYOUT.map(parsed));
});

test("every_changed_byte_of_the_entries_breaks_the_digest", () => {
  for (let at = 0; at < LAYOUT.length * 32; at++) {
    const bytes = table(LAYOUT);
    bytes[at] ^= 0x01;
    assert.equal(parseTable(bytes), null, `byte ${at}`);
  }
});

test("what_is_no_table_is_none", () => {
  assert.equal(parseTable(new Uint8Array(0xc00).fill(0xff)), null, "blank flash");
  assert.equal(parseTable(new Uint8Array(0xc00)), null, "zeros");
  assert.equal(parseTable(new Uint8Array(0)), null, "nothing");
  assert.equal(parseTable(table([])), null, "only a digest");
  const broken = table(LAYOUT, { md5: false });
  broken.set([0x12, 0x34], 64);
  assert.equal(parseTable(broken), null, "unknown bytes between the entries");
});

test("a_table_without_an_end_stops_at_the_length_of_a_table", () => {
  const entry = (i) => ({ ...NVS, label: `p${i}`, offset: 0x10000 + i * 0x1000, size: 0x1000 });
  const full = Array.from({ length: 96 }, (_, i) => entry(i));
  const bytes = new Uint8Array(0x1000);
  bytes.set(table(full, { md5: false }));
  bytes.set([0xaa, 0x50], 0xc00);
  assert.equal(parseTable(bytes).length, 96);
});

test("what_a_person_would_miss_is_told_from_what_comes_back_by_itself", () => {
  const missed = [NVS, NVS_KEYS, SPIFFS, { ...NVS, type: 0x40, subtype: 0 }];
  assert.deepEqual(missed.map(holdsPersonalData), [true, true, true, true]);
  const replaced = [OTADATA, PHY, { ...NVS, subtype: 3 }, FACTORY, OTA_0];
  assert.deepEqual(replaced.map(holdsPersonalData), [false, false, false, false, false]);
  assert.deepEqual([NVS, NVS_KEYS, SPIFFS, OTADATA].map(isSettings), [true, true, false, false]);
});

test("stretches_overlap_by_the_sectors_that_they_touch", () => {
  const at = (offset, size) => ({ offset, size });
  assert.equal(overlap(at(0x1000, 0x1000), at(0x2000, 0x1000)), false);
  assert.equal(overlap(at(0x1000, 0x1001), at(0x2000, 0x1000)), true, "one byte into the next sector erases it");
  assert.equal(overlap(at(0x1000, 0x10), at(0x1800, 0x10)), true, "two of one sector");
  assert.equal(overlap(at(0x0, 0x10000), at(0x4000, 0x1000)), true, "one inside the other");
  assert.equal(overlap(at(0x1000, 0), at(0x1000, 0x1000)), false, "nothing overlaps nothing");
});

test("tables_are_compared_by_names_and_then_by_places", () => {
  const old = [NVS, OTADATA, FACTORY, SPIFFS, NVS_KEYS];
  const next = [
    { ...NVS, size: 0x4000 },
    { ...OTADATA, offset: 0xd000 },
    { ...FACTORY, label: "app" },
    OTA_1,
    SPIFFS,
  ];
  const { old: changes, added } = compare(old, next);
  assert.deepEqual(
    changes.map(({ partition, change }) => `${partition.label} ${change}`),
    ["nvs resized", "otadata moved", "factory renamed", "storage unchanged", "nvs_keys removed"],
  );
  assert.deepEqual(added, [OTA_1]);
});

test("a_renamed_partition_does_not_take_the_place_of_one_that_kept_its_name", () => {
  // Both are of one kind; the second keeps its name and moves to where the first was.
  const first = { ...SPIFFS, label: "a" };
  const second = { ...SPIFFS, label: "b", offset: 0x390000 };
  const { old } = compare([first, second], [{ ...second, offset: first.offset }]);
  assert.deepEqual(old.map((entry) => entry.change), ["removed", "moved"]);
});
