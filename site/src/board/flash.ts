// Commands to the stub that esptool-js has not, or not with what is needed
// here: reads that check the digest, writes that tell how they went, and an
// erase that cannot wait for ever.

import { md5 } from "@noble/hashes/legacy.js";
import type { ESPLoader } from "esptool-js";
import { Failure } from "../failure";
import type { Packed } from "./deflate";
import { LineError, sleep, type BoardTransport } from "./transport";

const ATTEMPTS = 3;
const RETRY_DELAY_MS = 150;
const READ_TIMEOUT_MS = 3000;
const READ_BLOCK = 0x1000;
const READS_IN_FLIGHT = 64;
const BLOCK_TIMEOUT_MS = 3000;
/** Bytes that are summed up before the page gets its turn. */
const SUM_AT_ONCE = 0x20000;

/** What the commands need: the loader, and the line that it talks over. */
export interface Line {
  readonly loader: ESPLoader;
  readonly transport: BoardTransport;
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function md5Hex(bytes: Uint8Array): string {
  return toHex(md5(bytes));
}

/** The same for many bytes, a few at a time, so that the page stays responsive. */
export async function md5OfMany(bytes: Uint8Array): Promise<string> {
  const sum = md5.create();
  for (let at = 0; at < bytes.length; at += SUM_AT_ONCE) {
    if (at > 0) await sleep(0);
    sum.update(bytes.subarray(at, at + SUM_AT_ONCE));
  }
  return toHex(sum.digest());
}

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => view.setUint32(i * 4, value, true));
  return bytes;
}

/** Whether the chip answered, and said no; otherwise it was the line. */
export function isRefusal(error: unknown): boolean {
  return error instanceof Error && error.message.includes("failed with status");
}

/** Does again what failed on the line, a few times. */
export async function insist<T>({ transport }: Line, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (transport.ended !== null) throw transport.ended;
      if (error instanceof Failure || attempt === ATTEMPTS) throw error;
      // What is still under way must not be taken for the next answer.
      await transport.drainInput();
    }
  }
}

async function readOnce({ loader, transport }: Line, offset: number, length: number): Promise<Uint8Array> {
  const request = words(offset, length, READ_BLOCK, READS_IN_FLIGHT);
  await loader.checkCommand("read flash", loader.ESP_READ_FLASH, request);
  const data = new Uint8Array(length);
  let received = 0;
  while (received < length) {
    const frame = await transport.read(READ_TIMEOUT_MS);
    if (received + frame.length > length) throw new LineError("more was read than asked for");
    data.set(frame, received);
    received += frame.length;
    await transport.write(words(received));
  }
  const digest = await transport.read(READ_TIMEOUT_MS);
  if (toHex(digest) !== md5Hex(data)) throw new LineError("what was read was garbled on the line");
  return data;
}

/** Reads flash; what is returned is what was there, as the stub's digest of it shows. */
export async function readFlash(line: Line, offset: number, length: number): Promise<Uint8Array> {
  return insist(line, () => readOnce(line, offset, length));
}

/** The MD5 of a region of flash in hexadecimal digits. */
export async function flashMd5(line: Line, offset: number, length: number): Promise<string> {
  return insist(line, () => line.loader.flashMd5sum(offset, length));
}

/**
 * The MD5 of a region that should be `expected`. Answers carry no sum of their
 * own, so that another one is believed only when the chip repeats it.
 */
export async function confirmMd5(line: Line, offset: number, length: number, expected: string): Promise<string> {
  let before: string | null = null;
  for (let attempt = 1; ; attempt++) {
    const found = await flashMd5(line, offset, length);
    if (found === expected || found === before || attempt === ATTEMPTS) return found;
    before = found;
  }
}

/**
 * Erases the whole chip. The time limit is what data sheets allow at the
 * worst (200 s for 16 MB) and some more, so that a chip that never finishes
 * becomes a failure.
 */
export async function eraseChip({ loader, transport }: Line, flashSize: number): Promise<void> {
  const limit = 20_000 + 16_000 * Math.ceil(flashSize / 0x100000);
  try {
    await loader.checkCommand("erase flash", loader.ESP_ERASE_FLASH, undefined, undefined, undefined, limit);
  } catch (error) {
    if (transport.ended !== null) throw transport.ended;
    const detail = error instanceof LineError ? `erasing did not end in ${limit / 1000} s` : String(error);
    throw new Failure("erase-failed", detail, {}, error);
  }
}

/** Erases whole sectors. */
export async function eraseRegion(line: Line, offset: number, size: number): Promise<void> {
  const { loader } = line;
  const limit = Math.max(loader.DEFAULT_TIMEOUT, (loader.ERASE_REGION_TIMEOUT_PER_MB * size) / 1_000_000);
  await insist(line, () =>
    loader.checkCommand("erase region", loader.ESP_ERASE_REGION, words(offset, size), undefined, undefined, limit),
  );
}

/**
 * Writes compressed data to flash. Returns whether blocks had to be sent
 * again: if only an answer was lost, the chip has seen such a block twice, and
 * what it made of that the checksum will tell.
 */
export async function writeCompressed(
  line: Line,
  offset: number,
  packed: Packed,
  onWritten: (bytes: number) => void,
): Promise<{ resent: boolean }> {
  const { loader, transport } = line;
  await insist(line, () => loader.flashDeflBegin(packed.size, packed.compressedSize, offset));
  let resent = false;
  let timeout = BLOCK_TIMEOUT_MS;
  for (const [sequence, block] of packed.blocks.entries()) {
    for (let attempt = 1; ; attempt++) {
      try {
        // One attempt each: esptool-js would send it again without a word.
        loader.WRITE_BLOCK_ATTEMPTS = 1;
        await loader.flashDeflBlock(block.data, sequence, timeout);
        break;
      } catch (error) {
        if (transport.ended !== null) throw transport.ended;
        if (attempt === ATTEMPTS) throw error;
        resent = true;
        await sleep(RETRY_DELAY_MS);
      }
    }
    // The stub confirms a block when it has it, and writes it while the next
    // one comes: so the next answer may take as long as this block takes.
    timeout = Math.max(BLOCK_TIMEOUT_MS, (loader.ERASE_WRITE_TIMEOUT_PER_MB * block.size) / 1_000_000);
    onWritten(block.size);
  }
  try {
    await loader.flashDeflFinish(false, timeout);
  } catch (error) {
    if (transport.ended !== null) throw transport.ended;
    // Asked again, it would refuse: it has left that mode. The checksum tells.
    if (isRefusal(error)) throw error;
    resent = true;
    await transport.drainInput();
  }
  return { resent };
}
