import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./bundle.mjs";
import {
  ABORTED, FACTORY, INVALID, NEW, NVS, OTA_0, OTA_1, OTADATA, PENDING_VERIFY, record, UNDEFINED, VALID,
} from "./flash.mjs";

const { bootOrder, otadataPartition, sequenceCrc } = await load("otadata");

const LAYOUT = [NVS, OTADATA, OTA_0, OTA_1];
const labels = (table, records) => bootOrder(table, records).map((p) => p.label);
const booted = (table, records) => labels(table, records)[0];

test("the_crc_is_that_of_the_bootloader", () => {
  const known = { 1: 0x4743989a, 2: 0x55f63774, 3: 0xed4a5011, 4: 0x709d68a8, 0: 0xffffffff };
  for (const [sequence, crc] of Object.entries(known)) assert.equal(sequenceCrc(Number(sequence)), crc, sequence);
});

test("the_slot_is_the_one_that_the_bootloader_was_seen_to_start", () => {
  const bad = { crc: 0x12345678 };
  const cases = [
    ["blank", record(null), record(null), "ota_0"],
    ["2 -", record(2), record(null), "ota_1"],
    ["- 2", record(null), record(2), "ota_1"],
    ["1 2", record(1), record(2), "ota_1"],
    ["5 6", record(5), record(6), "ota_1"],
    ["3 2", record(3), record(2), "ota_0"],
    ["5, 6 with a bad crc", record(5), record(6, bad), "ota_0"],
    ["5, 6 invalid", record(5), record(6, { state: INVALID }), "ota_0"],
    ["5, 6 aborted", record(5), record(6, { state: ABORTED }), "ota_0"],
    ["5, 6 new", record(5), record(6, { state: NEW }), "ota_1"],
    ["5, 6 pending", record(5), record(6, { state: PENDING_VERIFY }), "ota_1"],
    ["5, 6 valid", record(5), record(6, { state: VALID }), "ota_1"],
    ["5, 6 undefined", record(5), record(6, { state: UNDEFINED }), "ota_1"],
    ["both bad", record(2, bad), record(4, bad), "ota_0"],
    ["highest", record(0xfffffffe), record(1), "ota_1"],
  ];
  for (const [name, first, second, slot] of cases) assert.equal(booted(LAYOUT, [first, second]), slot, name);
});

test("without_boot_selection_the_factory_app_starts_or_the_first_slot", () => {
  assert.equal(booted([NVS, FACTORY], null), "factory");
  assert.equal(booted([NVS, OTA_0, OTA_1], null), "ota_0");
  const factory = { ...FACTORY, offset: 0x310000, size: 0x80000 };
  assert.equal(booted([...LAYOUT, factory], [record(null), record(null)]), "factory");
  assert.equal(booted([...LAYOUT, factory], [record(2), record(null)]), "ota_1");
});

test("other_apps_are_tried_downwards_then_upwards_then_the_test_app", () => {
  const slot = (n) => ({ ...OTA_0, label: `ota_${n}`, subtype: 0x10 + n, offset: 0x100000 * (n + 1) });
  const test = { ...OTA_0, label: "test", subtype: 0x20, offset: 0x700000 };
  const table = [test, slot(3), slot(1), slot(0), slot(2), FACTORY, OTADATA];
  assert.deepEqual(labels(table, [record(2), record(null)]), ["ota_1", "ota_0", "factory", "ota_2", "ota_3", "test"]);
  assert.deepEqual(labels(table, null), ["factory", "ota_0", "ota_1", "ota_2", "ota_3", "test"]);
});

test("a_table_without_apps_starts_nothing", () => {
  assert.deepEqual(labels([NVS, OTADATA], [record(1), record(2)]), []);
  assert.equal(otadataPartition([NVS]), null);
  assert.equal(otadataPartition(LAYOUT), OTADATA);
});
