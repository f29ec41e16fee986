import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { afterEach, test } from "node:test";
import { load } from "./bundle.mjs";

const { downloadParts, Failure } = await load("download", "failure");

const BASE = new URL("https://example.org/site/");
const FILES = {
  "files/bootloader.bin": new Uint8Array(20000).fill(1),
  "files/app.bin": new Uint8Array(300000).fill(2),
};

const sum = (bytes) => createHash("sha256").update(bytes).digest("hex");
const part = (role, offset, path) => ({ role, offset, path, size: FILES[path].length, sha256: sum(FILES[path]) });
const TARGET = { parts: [part("bootloader", 0, "files/bootloader.bin"), part("app", 0x10000, "files/app.bin")] };

const realFetch = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = realFetch;
});

/** Serves the files, but what `answer` has for a path. */
function serve(answers = {}) {
  globalThis.fetch = async (url, { signal } = {}) => {
    signal?.throwIfAborted();
    const path = String(url).slice(BASE.href.length);
    return answers[path]?.(signal) ?? new Response(FILES[path]);
  };
}

function body(...chunks) {
  return new Response(
    new ReadableStream({
      pull(controller) {
        const chunk = chunks.shift();
        if (chunk === undefined) controller.close();
        else if (chunk instanceof Error) controller.error(chunk);
        else controller.enqueue(chunk);
      },
    }),
  );
}

const failed = (code, facts = {}) => (error) => {
  assert.ok(error instanceof Failure, String(error));
  assert.equal(error.code, code, error.detail);
  for (const [name, value] of Object.entries(facts)) assert.equal(error.facts[name], value);
  return true;
};

test("parts_come_in_the_order_of_the_index_with_their_bytes", async () => {
  serve();
  const progress = [];
  const parts = await downloadParts(BASE, TARGET, (done, total) => progress.push([done, total]));
  assert.deepEqual(parts.map(({ role, offset }) => [role, offset]), [["bootloader", 0], ["app", 0x10000]]);
  assert.deepEqual(parts.map(({ bytes }) => sum(bytes)), TARGET.parts.map(({ sha256 }) => sha256));
  assert.deepEqual(progress[0], [0, 320000]);
  assert.deepEqual(progress.at(-1), [320000, 320000]);
  assert.ok(progress.every(([done], i) => i === 0 || done >= progress[i - 1][0]), "never backwards");
});

test("one_changed_byte_is_tampered", async () => {
  const bytes = FILES["files/app.bin"].slice();
  bytes[150000] ^= 1;
  serve({ "files/app.bin": () => new Response(bytes) });
  const { sha256 } = TARGET.parts[1];
  await assert.rejects(
    downloadParts(BASE, TARGET, () => {}),
    failed("download-tampered", { file: "files/app.bin", expected: sha256, found: sum(bytes) }),
  );
});

test("another_length_is_tampered", async () => {
  const bytes = FILES["files/app.bin"];
  serve({ "files/app.bin": () => body(bytes.slice(1)) });
  await assert.rejects(downloadParts(BASE, TARGET, () => {}), failed("download-tampered", { found: "299999 bytes" }));
  serve({ "files/app.bin": () => new Response(null, { status: 200 }) });
  await assert.rejects(downloadParts(BASE, TARGET, () => {}), failed("download-tampered", { found: "0 bytes" }));
});

test("a_body_without_an_end_is_left_at_the_first_byte_too_many", async () => {
  let pulled = 0;
  const endless = () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          pulled += 65536;
          controller.enqueue(new Uint8Array(65536));
        },
      }),
    );
  serve({ "files/app.bin": endless });
  const facts = { found: "more than 300000 bytes" };
  await assert.rejects(downloadParts(BASE, TARGET, () => {}), failed("download-tampered", facts));
  assert.ok(pulled < 1_000_000, `${pulled} bytes were taken`);
});

test("what_is_not_there_is_missing", async () => {
  serve({ "files/bootloader.bin": () => new Response("", { status: 404 }) });
  await assert.rejects(
    downloadParts(BASE, TARGET, () => {}),
    failed("download-missing", { file: "files/bootloader.bin", found: "HTTP 404" }),
  );
});

test("no_network_and_a_broken_stream_are_offline", async () => {
  serve({
    "files/app.bin": () => {
      throw new TypeError("Failed to fetch");
    },
  });
  await assert.rejects(downloadParts(BASE, TARGET, () => {}), failed("offline", { file: "files/app.bin" }));
  serve({ "files/app.bin": () => body(new Uint8Array(100), new TypeError("network error")) });
  await assert.rejects(downloadParts(BASE, TARGET, () => {}), failed("offline", { file: "files/app.bin" }));
});

test("another_attempt_passes_by_what_the_browser_has_stored", async () => {
  for (const [again, cache] of [[false, "default"], [true, "reload"]]) {
    const caches = [];
    globalThis.fetch = async (url, options) => {
      caches.push(options.cache);
      return new Response(FILES[String(url).slice(BASE.href.length)]);
    };
    await downloadParts(BASE, TARGET, () => {}, { again });
    assert.deepEqual(caches, [cache, cache]);
  }
});

test("giving_up_is_cancelled", async () => {
  const person = new AbortController();
  const stalled = (signal) =>
    new Response(
      new ReadableStream({
        start(controller) {
          signal.addEventListener("abort", () => controller.error(signal.reason));
        },
      }),
    );
  serve({ "files/app.bin": stalled });
  const download = downloadParts(BASE, TARGET, () => {}, { signal: person.signal });
  setTimeout(() => person.abort(), 10);
  await assert.rejects(download, failed("cancelled"));
});
