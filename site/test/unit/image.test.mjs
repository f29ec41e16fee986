import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { load } from "./bundle.mjs";
import { app } from "./flash.mjs";

const { isBlank, isImage, parseDescriptor, parseRevisions } = await load("image");

test("a_descriptor_is_read_as_it_was_written", () => {
  assert.deepEqual(parseDescriptor(app({ version: "v2.0.0-rc.1" })), {
    version: "v2.0.0-rc.1",
    projectName: "towline-device",
  });
});

test("text_that_fills_its_field_has_no_zero_at_the_end", () => {
  const long = "1.0.0-".padEnd(32, "x");
  assert.equal(parseDescriptor(app({ version: long })).version, long);
});

test("what_is_no_app_has_no_descriptor", () => {
  assert.equal(parseDescriptor(new Uint8Array(0x120).fill(0xff)), null, "blank");
  assert.equal(parseDescriptor(app().subarray(0, 0x11f)), null, "too short");
  const bootloader = app();
  bootloader[0x20] = 0;
  assert.equal(parseDescriptor(bootloader), null, "another segment");
  const other = app();
  other[0] = 0xea;
  assert.equal(parseDescriptor(other), null, "another magic");
  assert.equal(isImage(bootloader), true);
});

test("an_image_names_the_revisions_of_its_chip", () => {
  assert.deepEqual(parseRevisions(app({ least: 3, most: 199 })), { least: 3, most: 199 });
  assert.deepEqual(parseRevisions(app({ least: 101 })), { least: 101, most: null });
  assert.deepEqual(parseRevisions(app({ most: 0 })), { least: 0, most: null }, "an older tool's");
  assert.equal(parseRevisions(app().subarray(0, 0x1f)), null, "too short");
  assert.equal(parseRevisions(new Uint8Array(0x120).fill(0xff)), null, "blank");
});

test("blank_is_only_what_was_erased", () => {
  assert.equal(isBlank(new Uint8Array(4096).fill(0xff)), true);
  const touched = new Uint8Array(4096).fill(0xff);
  touched[4095] = 0xfe;
  assert.equal(isBlank(touched), false);
});

const SITE = process.env.SITE_DIR;
test("real_firmware_has_a_descriptor", { skip: SITE === undefined && "no released site: name one with SITE_DIR" }, () => {
  const firmware = join(SITE, "firmware");
  const files = readdirSync(firmware, { recursive: true }).filter((name) => /-app-[^/]*\.bin$/.test(name));
  assert.ok(files.length > 0, firmware);
  for (const name of files) {
    const descriptor = parseDescriptor(new Uint8Array(readFileSync(join(firmware, name))));
    assert.match(descriptor?.version ?? "none", /^v?\d+\./, name);
  }
});
