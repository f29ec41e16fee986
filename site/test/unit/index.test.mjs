import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { load } from "./bundle.mjs";

const { channel, Failure, isInstallable, loadIndex, parseIndex, release, served } = await load("index", "failure");

const SUM = "ab".repeat(32);

function index() {
  const part = (role, offset, size) => ({ role, offset, size, path: `files/${role}.bin`, sha256: SUM });
  const target = {
    target: "esp32c3",
    chip: "esp32c3",
    chip_family: "ESP32-C3",
    flash_size: 0x400000,
    slot_size: 0x180000,
    secure_version: 0,
    app: { path: "files/app.bin", size: 10, sha256: SUM },
    parts: [part("bootloader", 0, 0x5000), part("partition-table", 0x8000, 0xc00), part("app", 0x10000, 10)],
    factory: null,
  };
  const release = (version, targets = [target]) => ({
    version, prerelease: false, yanked: null, released: "2026-01-01", notes: null, commit: null, targets,
  });
  const serves = (version) => ({ target: "esp32c3", version, descriptor: "d.json" });
  const channel = (name, ...versions) => ({
    name, description: null, manifest: `manifests/${name}.json`, targets: versions.map(serves),
  });
  return {
    fmt: 1,
    project: "device",
    title: "Device",
    base_url: "https://example.org/",
    channels: [channel("stable", "1.0.0"), channel("testing", "1.1.0", "1.0.0"), channel("empty")],
    releases: [release("1.1.0"), release("1.0.0"), release("0.9.0", [{ ...target, parts: [] }])],
    files: {},
  };
}

/** An index with one change: a path of keys, and the value there. */
function changed(keys, value) {
  const json = index();
  const last = keys.at(-1);
  const owner = keys.slice(0, -1).reduce((at, key) => at[key], json);
  if (value === undefined) delete owner[last];
  else owner[last] = value;
  return json;
}

test("an_index_is_read", () => {
  const json = index();
  const parsed = parseIndex(json);
  assert.equal(parsed.project, "device");
  assert.equal(parsed.improv, true);
  assert.equal(parsed.releases[0].minFrom, null);
  const target = parsed.releases[0].targets[0];
  assert.deepEqual([target.chipFamily, target.flashSize, target.psram], ["ESP32-C3", 0x400000, null]);
  assert.deepEqual(target.parts[2], { role: "app", offset: 0x10000, size: 10, path: "files/app.bin", sha256: SUM });
});

test("fields_that_came_later_are_read_where_they_are", () => {
  const json = changed(["improv"], false);
  json.releases[0].min_from = "0.9.0";
  json.releases[0].targets[0].psram = 0x800000;
  const parsed = parseIndex(json);
  assert.deepEqual(
    [parsed.improv, parsed.releases[0].minFrom, parsed.releases[0].targets[0].psram],
    [false, "0.9.0", 0x800000],
  );
});

test("fields_that_nobody_knows_are_ignored", () => {
  const json = changed(["later"], { a: [1] });
  json.releases[0].later = 1;
  json.releases[0].targets[0].parts[0].later = 1;
  json.channels[0].later = 1;
  assert.equal(parseIndex(json).releases.length, 3);
});

test("what_is_not_the_format_is_refused_with_its_place", () => {
  const target = ["releases", 0, "targets", 0];
  const part = [...target, "parts", 1];
  const cases = [
    [["fmt"], 2, /fmt is 2/],
    [["fmt"], undefined, /fmt is not an integer/],
    [["project"], 7, /project is not text/],
    [["channels"], {}, /channels is not a list/],
    [["channels", 0], null, /channels\[0\] is not an object/],
    [["channels", 0], [], /channels\[0\] is not an object/],
    [["releases", 0, "prerelease"], "no", /releases\[0\]\.prerelease is neither/],
    [["releases", 0, "version"], undefined, /releases\[0\]\.version is not text/],
    [["improv"], "yes", /improv is neither/],
    [[...target, "flash_size"], 0, /flash_size is not an integer from 1/],
    [[...target, "flash_size"], 2 ** 32, /flash_size/],
    [[...target, "psram"], -1, /psram/],
    [[...target, "chip"], "ESP32", /chip is not in the form/],
    [[...part, "role"], "nvs", /role is none of/],
    [[...part, "offset"], 0x8001, /offset is not at the start of a sector/],
    [[...part, "offset"], 1.5, /offset/],
    [[...part, "offset"], "0x8000", /offset/],
    [[...part, "offset"], 0x4000, /parts overlap at 0x4000/],
    [[...part, "offset"], 0x400000, /parts do not fit into flash_size/],
    [[...part, "size"], 0, /size is not an integer from 1/],
    [[...part, "sha256"], SUM.toUpperCase(), /sha256 is not in the form/],
    [[...part, "path"], "../secret", /path is not in the form/],
    [[...part, "path"], "https://elsewhere.example/x", /path is not in the form/],
    [[...part, "path"], "/x", /path is not in the form/],
    [[...part, "path"], "//elsewhere.example/x", /path is not in the form/],
  ];
  for (const [keys, value, message] of cases) {
    assert.throws(() => parseIndex(changed(keys, value)), { name: "IndexError", message }, keys.join("."));
  }
  for (const json of [null, 1, "x", []]) assert.throws(() => parseIndex(json), /the index is not an object/);
});

test("names_of_the_language_are_no_fields", () => {
  assert.throws(() => parseIndex(JSON.parse('{"fmt":1,"__proto__":{"project":"x"}}')), /project is not text/);
});

test("channels_and_releases_are_found_by_name", () => {
  const parsed = parseIndex(index());
  assert.equal(channel(parsed, "stable").name, "stable");
  assert.equal(channel(parsed, "nightly"), null);
  assert.equal(release(parsed, "1.0.0").version, "1.0.0");
  assert.equal(release(parsed, "7.0.0"), null);
  const versions = (name) => served(parsed, name).map((entry) => entry.version);
  assert.deepEqual(versions("stable"), ["1.0.0"]);
  assert.deepEqual(versions("testing"), ["1.1.0", "1.0.0"]);
  assert.deepEqual(versions("empty"), []);
  assert.deepEqual(versions("nightly"), []);
  assert.deepEqual(parsed.releases.map(isInstallable), [true, true, false]);
});

const realFetch = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = realFetch;
});

const failure = (code) => (error) => error instanceof Failure && error.code === code;
const BASE = new URL("https://example.org/a/b/");

test("the_index_is_fetched_beside_the_page_and_never_from_an_old_copy", async () => {
  const seen = [];
  globalThis.fetch = async (url, options) => {
    seen.push([String(url), options.cache]);
    return new Response(JSON.stringify(index()));
  };
  assert.equal((await loadIndex(BASE)).project, "device");
  assert.deepEqual(seen, [["https://example.org/a/b/releases.json", "no-cache"]]);
});

test("an_index_that_does_not_come_is_offline_missing_or_broken", async () => {
  globalThis.fetch = async () => {
    throw new TypeError("Failed to fetch");
  };
  await assert.rejects(loadIndex(BASE), failure("offline"));
  globalThis.fetch = async () => new Response("", { status: 404 });
  await assert.rejects(loadIndex(BASE), failure("download-missing"));
  globalThis.fetch = async () => new Response("<!doctype html>");
  await assert.rejects(loadIndex(BASE), failure("unknown"));
  globalThis.fetch = async () => new Response('{"fmt":2}');
  await assert.rejects(loadIndex(BASE), (error) => /fmt is 2/.test(error.detail));
});
