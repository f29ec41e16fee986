// What comes over the serial line: packets apart from text, and text in tones.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./bundle.mjs";

const { PacketFilter, parseLine } = await load("line", "ui/ansi");

const bytes = (text) => [...new TextEncoder().encode(text)];
const text = (parts) => new TextDecoder().decode(Uint8Array.from(parts));

function packet(type, data) {
  const body = [...bytes("IMPROV"), 1, type, data.length, ...data];
  return [...body, body.reduce((sum, byte) => sum + byte, 0) & 0xff];
}

/** Feeds the stream in pieces of `size` bytes. */
function filter(stream, size) {
  const all = { text: [], packets: [] };
  const filter = new PacketFilter();
  for (let at = 0; at < stream.length; at += size) {
    const found = filter.push(Uint8Array.from(stream.slice(at, at + size)));
    all.text.push(...found.text);
    all.packets.push(...found.packets.map((one) => [...one]));
  }
  return { text: text(all.text), packets: all.packets };
}

test("a_packet_is_cut_out_of_the_middle_of_a_line_however_the_stream_is_cut", () => {
  const [state, result] = [packet(1, [2]), packet(4, [3, 0])];
  const stream = [...bytes("I (1) half"), ...state, 10, ...bytes(" a line\n"), ...result, 13, 10, ...bytes("äöü\n")];
  for (let size = 1; size <= stream.length; size += 1) {
    assert.deepEqual(filter(stream, size), { text: "I (1) half a line\näöü\n", packets: [state, result] }, `${size} bytes`);
  }
});

test("what_only_looks_like_a_packet_is_text", () => {
  const broken = packet(1, [2]);
  broken[broken.length - 1] ^= 1;
  assert.equal(filter(bytes("IMPROVed wiring, IMPROV\n"), 3).text, "IMPROVed wiring, IMPROV\n");
  assert.deepEqual(filter([...broken, ...bytes("on\n")], 4).packets, []);
  assert.ok(filter([...broken, ...bytes("on\n")], 4).text.endsWith("on\n"));
});

test("a_packet_that_begins_within_a_broken_one_is_found", () => {
  const sound = packet(1, [4]);
  assert.deepEqual(filter([...bytes("IMPROV"), 1, 4, 200, ...sound, ...new Array(300).fill(46)], 7).packets, [sound]);
});

test("colours_of_the_log_become_tones", () => {
  assert.deepEqual(parseLine("\x1b[0;31mE (310) wifi: down\x1b[0m"), [{ text: "E (310) wifi: down", tone: "error" }]);
  assert.deepEqual(parseLine("\x1b[33mlow\x1b[0m then"), [
    { text: "low", tone: "warn" },
    { text: " then", tone: "plain" },
  ]);
});

test("without_colours_the_level_decides", () => {
  const tone = (line) => parseLine(line)[0]?.tone;
  assert.equal(tone("W (12) nvs: empty"), "warn");
  assert.equal(tone("I (12:34:56.789) app: up"), "info");
  assert.equal(tone("ERROR - no sensor"), "error");
  assert.equal(tone("D (5) app: detail"), "plain");
  assert.equal(tone("Everything (1) is fine"), "plain");
});

test("other_escapes_and_control_characters_are_dropped", () => {
  const line = "\x1b[2J\x1b[1;1Ha\x1b]0;title\x07b\x1b]8;;http://evil\x1b\\c\x00\x07\td\x1b";
  assert.deepEqual(parseLine(line), [{ text: "abc\td", tone: "plain" }]);
  assert.deepEqual(parseLine(""), []);
});
