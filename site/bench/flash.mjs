// How long an installation takes, beside esptool-js itself and beside the way
// of esp-web-tools, on the same emulated board whose line takes the time that
// bytes take. Figures, not a test: what counts is the ratio within one run.
//
//   cargo xtask serve --demo has to work: build xtask first
//   node bench/flash.mjs [--rounds N] [--baud N] [--app FILE] [--chip NAME]

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { launch } from "../test/browser.mjs";
import { app, NVS, OTA_0, OTA_1, OTADATA, table } from "../test/unit/flash.mjs";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    baud: { type: "string", default: "460800" },
    chip: { type: "string", default: "esp32c3" },
    app: { type: "string" },
  },
});
const ROUNDS = Number(options.rounds);
const BAUD = Number(options.baud);
const SITE = fileURLToPath(new URL("../", import.meta.url));
const XTASK = process.env.XTASK ?? join(SITE, "../target/debug/xtask");

// What runs in the page. Each way connects, writes, and leaves the rest alone.
const PAGE = `
import { ESPLoader, Transport } from "esptool-js";
import { md5 } from "@noble/hashes/legacy.js";
import { Board } from "./src/board";

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const quiet = { clean() {}, write() {}, writeLine() {} };

async function esptool(port, parts, baudrate, verify) {
  const transport = new Transport(port, false);
  const loader = new ESPLoader({ transport, baudrate, romBaudrate: 115200, terminal: quiet });
  loader.transport.trace = () => {};
  const begin = performance.now();
  await loader.main();
  const connected = performance.now();
  await loader.writeFlash({
    fileArray: parts.map(({ bytes, offset }) => ({ data: bytes, address: offset })),
    flashSize: "keep",
    flashMode: "keep",
    flashFreq: "keep",
    eraseAll: false,
    compress: true,
    ...(verify ? { calculateMD5Hash: (image) => hex(md5(image)) } : {}),
  });
  const written = performance.now();
  await transport.disconnect();
  return { connect: connected - begin, write: written - connected };
}

async function ours(port, parts, baudLimit) {
  const begin = performance.now();
  let baud = 0;
  const log = (line) => {
    baud = Number(line.match(/^Connected at (\\d+) baud/)?.[1] ?? baud);
  };
  const board = await Board.connect(port, { project: "bench", tableOffsets: () => [0x8000], log, baudLimit });
  const connected = performance.now();
  let worst = 0;
  let last = connected;
  const watch = setInterval(() => {
    const now = performance.now();
    worst = Math.max(worst, now - last);
    last = now;
  }, 5);
  await board.install({ parts, erase: false, keep: [] }, () => {});
  clearInterval(watch);
  const written = performance.now();
  await board.disconnect();
  return { connect: connected - begin, write: written - connected, baud, worst };
}

window.ways = {
  ours: (port, parts, baud) => ours(port, parts, baud),
  esptool: (port, parts, baud) => esptool(port, parts, baud, false),
  esptoolVerified: (port, parts, baud) => esptool(port, parts, baud, true),
  espWebTools: (port, parts) => esptool(port, parts, 115200, false),
};
`;

/** Bytes that compress about as firmware does, to 60 %. */
function firmware(size) {
  const bytes = Buffer.alloc(size);
  let state = 1;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const random = state >>> 24;
    // Runs of noise, and of what was there before.
    bytes[i] = (i >>> 5) % 5 < 3 || i < 4096 ? random : bytes[i - 4096];
  }
  bytes.set(app({ project: "bench", version: "1.0.0" }));
  return bytes;
}

const image = options.app === undefined ? firmware(1_000_000) : await readFile(options.app);
const parts = [
  { offset: options.chip === "esp32" ? 0x1000 : 0, role: "bootloader", bytes: firmware(20_000) },
  { offset: 0x8000, role: "partition-table", bytes: Buffer.from(table([NVS, OTADATA, OTA_0, OTA_1])) },
  { offset: 0xe000, role: "otadata", bytes: Buffer.alloc(0x2000, 0xff) },
  { offset: 0x10000, role: "app", bytes: image },
];

const folder = await mkdtemp(join(tmpdir(), "towline-bench-"));
await build({
  stdin: { contents: PAGE, resolveDir: SITE, loader: "ts" },
  outfile: join(folder, "bench.js"),
  bundle: true,
  format: "esm",
  target: "es2022",
  logLevel: "error",
});
await writeFile(
  join(folder, "index.html"),
  '<!doctype html><html lang="en"><head><title>Bench</title></head><body><button>Choose</button>' +
    '<script type="module" src="bench.js"></script></body></html>',
);
const server = spawn(XTASK, ["serve", "--demo", "--quiet", "--port", "0", folder], {
  cwd: process.env.PROJECT ?? SITE,
  stdio: ["ignore", "pipe", "inherit"],
});
const browser = await launch();

async function run(way, base) {
  const page = await browser.newPage();
  await page.goto(`${base}?demo-panel=0&demo-paced=1&demo-chip=${options.chip}`);
  await page.waitForFunction(() => window.ways !== undefined);
  await page.evaluate(() => {
    document.querySelector("button").onclick = async () => {
      window.port = await navigator.serial.requestPort();
    };
    return window.towlineBoard.ready;
  });
  await page.click("button");
  await page.waitForFunction(() => window.port !== undefined);
  const wire = parts.map(({ bytes, ...rest }) => ({ ...rest, text: bytes.toString("base64") }));
  const result = await page.evaluate(
    async ([name, sent, baud]) => {
      const decode = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
      const all = sent.map(({ text, ...rest }) => ({ ...rest, bytes: decode(text) }));
      const times = await window.ways[name](window.port, all, baud);
      for (const { offset, bytes } of all) {
        const flash = await window.towlineBoard.read(offset, bytes.length);
        if (flash.some((byte, i) => byte !== bytes[i])) throw new Error(`${name} wrote something else`);
      }
      return times;
    },
    [way, wire, BAUD],
  );
  await page.close();
  return result;
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

try {
  const base = await new Promise((resolve, reject) => {
    server.stdout.once("data", (line) => resolve(String(line).trim()));
    server.once("exit", () => reject(new Error("the server did not start")));
  });
  const ways = [
    ["ours", `this installer, ${BAUD} baud, verified`],
    ["esptool", `esptool-js, ${BAUD} baud`],
    ["esptoolVerified", `esptool-js, ${BAUD} baud, verified`],
    ["espWebTools", "as esp-web-tools, 115200 baud"],
  ];
  const times = Object.fromEntries(ways.map(([name]) => [name, []]));
  // In turns, so that a machine that slows down slows all of them down.
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name] of ways) times[name].push(await run(name, base));
  }
  const total = parts.reduce((sum, { bytes }) => sum + bytes.length, 0);
  console.log(`${total} bytes onto an emulated ${options.chip}, median of ${ROUNDS} runs; seconds\n`);
  console.log(`${"".padEnd(42)} connect   write   total   write / esptool-js`);
  const reference = median(times.esptool.map(({ write }) => write));
  for (const [name, title] of ways) {
    const connect = median(times[name].map((time) => time.connect));
    const write = median(times[name].map((time) => time.write));
    const cells = [connect, write, connect + write].map((ms) => (ms / 1000).toFixed(2).padStart(7)).join(" ");
    console.log(`${title.padEnd(42)} ${cells}   ${(write / reference).toFixed(3).padStart(18)}`);
  }
  const worst = Math.max(...times.ours.map((time) => time.worst));
  console.log(`\nthe page was never busy for longer than ${Math.round(worst)} ms; ${times.ours[0].baud} baud were used`);
} finally {
  await browser.close();
  server.kill();
  await rm(folder, { recursive: true, force: true });
}
