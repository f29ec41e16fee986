// The parts of the board code that need no board.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inflateSync } from "node:zlib";
import { load } from "./bundle.mjs";
import { app, NVS, parsed } from "./flash.mjs";

const { assertRuns, assertSafe, encodeFrame, FrameDecoder, Meter, pack, pieces, writeOrder } = await load(
  "board/slip", "board/steps", "board/deflate", "board/meter",
);

const bytesOf = (...values) => Uint8Array.from(values);
const text = (string) => new TextEncoder().encode(string);
const decode = (decoder, ...chunks) => chunks.flatMap((chunk) => decoder.push(chunk)).map((frame) => [...frame]);

test("frames_come_out_as_they_went_in", () => {
  const data = Uint8Array.from({ length: 512 }, (_, i) => i & 0xff);
  const frame = encodeFrame(data);
  assert.equal(frame.filter((byte) => byte === 0xc0).length, 2);
  assert.deepEqual(decode(new FrameDecoder(), frame), [[...data]]);
  const single = Array.from(frame, (byte) => bytesOf(byte));
  assert.deepEqual(decode(new FrameDecoder(), ...single), [[...data]], "byte by byte");
});

test("a_boot_log_around_frames_is_skipped", () => {
  const log = text("ESP-ROM:esp32c3-api1-20210207\r\nboot:0x7 (DOWNLOAD)\r\n");
  const frame = encodeFrame(bytesOf(1, 8, 0, 0));
  const answer = [1, 8, 0, 0];
  assert.deepEqual(decode(new FrameDecoder(), log, frame, log, frame, frame), [answer, answer, answer]);
});

test("after_a_lost_byte_the_decoder_finds_its_way_back", () => {
  const frame = encodeFrame(bytesOf(1, 2, 3));
  const lostBegin = frame.slice(1);
  const lostEnd = frame.slice(0, -1);
  assert.deepEqual(decode(new FrameDecoder(), lostBegin, frame), [[1, 2, 3]]);
  assert.deepEqual(decode(new FrameDecoder(), lostEnd, frame, frame).at(-1), [1, 2, 3]);
});

test("a_wrong_escape_drops_its_frame_only", () => {
  const frame = encodeFrame(bytesOf(9));
  assert.deepEqual(decode(new FrameDecoder(), bytesOf(0xc0, 1, 0xdb, 7, 2, 0xc0), frame).at(-1), [9]);
});

test("a_frame_without_an_end_does_not_grow_for_ever", () => {
  const decoder = new FrameDecoder();
  decoder.push(bytesOf(0xc0));
  for (let i = 0; i < 40; i++) decoder.push(new Uint8Array(4096));
  assert.deepEqual(decode(decoder, bytesOf(0xc0, 5, 0xc0)), [[5]]);
});

const part = (role, offset, length) => ({ role, offset, bytes: new Uint8Array(length) });
const PARTS = [
  part("bootloader", 0, 0x5000),
  part("partition-table", 0x8000, 0xc00),
  part("otadata", 0xe000, 0x2000),
  part("app", 0x10000, 0x12345),
];

test("the_app_is_first_and_the_switch_to_it_last", () => {
  const roles = (parts) => writeOrder(parts).map(({ role }) => role);
  assert.deepEqual(roles(PARTS), ["app", "bootloader", "partition-table", "otadata"]);
  assert.deepEqual(roles([...PARTS].reverse()), ["app", "bootloader", "partition-table", "otadata"]);
});

test("the_first_sector_of_an_app_is_written_last", () => {
  const app = part("app", 0x10000, 0x12345);
  const cut = pieces(app);
  assert.deepEqual(cut.map(({ offset, bytes }) => [offset, bytes.length]), [[0x11000, 0x11345], [0x10000, 0x1000]]);
  assert.deepEqual(pieces(part("app", 0x10000, 0x1000)).length, 1);
  assert.deepEqual(pieces(part("bootloader", 0, 0x5000)).length, 1);
});

test("a_job_that_would_touch_what_it_keeps_is_refused", () => {
  const job = (change) => ({ parts: PARTS, erase: false, keep: [parsed(NVS)], blank: [], ...change });
  const size = 0x400000;
  assertSafe(job({}), size);
  const over = [part("partition-table", 0x8000, 0x1001)];
  assert.throws(() => assertSafe(job({ parts: over }), size), /partition-table at 0x8000 lies on nvs, .*kept/);
  assertSafe(job({ parts: over, erase: true }), size);
  assert.throws(() => assertSafe(job({ blank: [parsed(NVS)] }), size), /nvs at 0x9000 lies on nvs/);
  assertSafe(job({ blank: [parsed(NVS)], erase: true }), size);
  assert.throws(() => assertSafe(job({ parts: [part("app", 0x10010, 16)] }), size), /not at the start of a sector/);
  assert.throws(() => assertSafe(job({ parts: [part("app", 0x3ff000, 0x1001)] }), size), /beyond the end of the flash/);
  const each = [part("bootloader", 0, 0x8001), part("partition-table", 0x8000, 0xc00)];
  assert.throws(() => assertSafe(job({ parts: each, keep: [] }), size), /bootloader lies on partition-table/);
});

test("firmware_for_another_revision_of_the_chip_is_refused", () => {
  const parts = (role, revisions) => [{ role, offset: 0, bytes: app(revisions) }];
  const refused = (role, revisions, revision, facts) =>
    assert.throws(() => assertRuns(parts(role, revisions), revision), { code: "old-chip", facts });
  for (const role of ["app", "bootloader"]) {
    assertRuns(parts(role, { least: 3, most: 199 }), 3);
    refused(role, { least: 3 }, 2, { found: "0.2", least: "0.3" });
    refused(role, { least: 101 }, 100, { found: "1.0", least: "1.1" });
  }
  assertRuns(parts("app", { most: 199 }), 199);
  refused("app", { most: 199 }, 200, { found: "2.0", most: "1.99" });
  assertRuns(parts("bootloader", { most: 199 }), 200);
  assertRuns([{ role: "otadata", offset: 0, bytes: new Uint8Array(64).fill(0xff) }], 0);
});

test("what_is_packed_is_what_the_stub_unpacks_and_its_sizes_are_those_of_the_blocks", async () => {
  const data = new Uint8Array(300_000).fill(0xff);
  for (let i = 0; i < 100_000; i++) data[i] = (i * 2654435761) >>> 24;
  const { blocks, compressedSize, size } = await pack(data, 0x4000);
  const whole = Buffer.concat(blocks.map((block) => block.data));
  assert.equal(whole.length, compressedSize);
  assert.equal(size, data.length);
  assert.deepEqual(new Uint8Array(inflateSync(whole)), data);
  assert.ok(blocks.slice(0, -1).every((block) => block.data.length === 0x4000));
  assert.equal(blocks.reduce((sum, block) => sum + block.size, 0), data.length);
  assert.ok(blocks.length < 2 || blocks.at(-1).size > 100_000, "the blank end is in the last block");
});

test("small_and_large_are_packed", async () => {
  for (const length of [4, 4096, 0x4000, 2_000_000]) {
    const data = Uint8Array.from({ length }, (_, i) => (i * i * 2654435761) >>> 22);
    const { blocks } = await pack(data, 0x4000);
    assert.deepEqual(new Uint8Array(inflateSync(Buffer.concat(blocks.map((block) => block.data)))), data);
    assert.equal(blocks.reduce((sum, block) => sum + block.size, 0), length);
  }
});

test("the_speed_is_that_of_the_last_seconds", () => {
  let now = 0;
  const meter = new Meter(() => now);
  assert.equal(meter.bytesPerSecond, null, "nothing was seen");
  now = 100;
  meter.add(1000);
  assert.equal(meter.bytesPerSecond, null, "too little was seen");
  for (; now < 10_000; now += 100) meter.add(1000);
  assert.ok(Math.abs(meter.bytesPerSecond - 10_000) < 500);
  for (let i = 0; i < 100; i++, now += 100) meter.add(5000);
  assert.ok(Math.abs(meter.bytesPerSecond - 50_000) < 2500, "the slow beginning is forgotten");
  assert.ok(Math.abs(meter.secondsLeft(100_000) - 2) < 0.2);
  meter.restart();
  assert.equal(meter.bytesPerSecond, null);
});
