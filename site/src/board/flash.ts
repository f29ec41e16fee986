// Commands to the stub that esptool-js has not, or not with what is needed
// here: reads that check the digest, writes that tell how they went, and an
// erase that cannot wait for ever.

import { md5 } from "@noble/hashes/legacy.js";
import { ESPError, type ESPLoader } from "esptool-js";
import { asFailure, describe, Failure } from "../failure";
import { toHex } from "../hex";
import { sleep, yieldToPage } from "../pause";
import type { Packed } from "./deflate";
import { LineError, type BoardTransport } from "./transport";

const ATTEMPTS = 3;
const RETRY_DELAY_MS = 150;
const READ_TIMEOUT_MS = 3000;
const READ_BLOCK = 0x1000;
const READS_IN_FLIGHT = 64;
const BLOCK_TIMEOUT_MS = 3000;
/** When a chip that was to erase itself and is silent is asked whether it does. */
const ERASE_ASK_MS = 3000;
/** Bytes that are digested before the page gets its turn. */
const DIGEST_AT_ONCE = 0x20000;

/** What the commands need: the loader that knows the stub, and the line that it talks over. */
export interface Stub {
  readonly loader: ESPLoader;
  readonly transport: BoardTransport;
}

export function md5Hex(bytes: Uint8Array): string {
  return toHex(md5(bytes));
}

/** The same for many bytes, a few at a time, so that the page stays responsive. */
export async function md5OfMany(bytes: Uint8Array): Promise<string> {
  const digest = md5.create();
  for (let at = 0; at < bytes.length; at += DIGEST_AT_ONCE) {
    if (at > 0) await yieldToPage();
    digest.update(bytes.subarray(at, at + DIGEST_AT_ONCE));
  }
  return toHex(digest.digest());
}

/** Whether flash was erased and not written since. */
export async function isFlashBlank(stub: Stub, offset: number, length: number): Promise<boolean> {
  return (await flashMd5(stub, offset, length)) === (await md5OfMany(new Uint8Array(length).fill(0xff)));
}

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => view.setUint32(i * 4, value, true));
  return bytes;
}

/** Whether the chip answered, and said no. */
export function isRefusal(error: unknown): boolean {
  return error instanceof Error && error.message.includes("failed with status");
}

/** What an error that is left of a connection says of it: noise only where the line is to blame. */
export function lineFailure(error: unknown): Failure {
  const lost = error instanceof LineError || (error instanceof ESPError && !isRefusal(error));
  return asFailure(error, lost ? "noise" : "unknown");
}

/** Does again what failed on the line, a few times. */
async function insist<T>({ transport }: Stub, work: () => Promise<T>): Promise<T> {
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

async function readOnce({ loader, transport }: Stub, offset: number, length: number): Promise<Uint8Array> {
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
export async function readFlash(stub: Stub, offset: number, length: number): Promise<Uint8Array> {
  return insist(stub, () => readOnce(stub, offset, length));
}

/** The MD5 of a region of flash in hexadecimal digits. */
export async function flashMd5(stub: Stub, offset: number, length: number): Promise<string> {
  return insist(stub, () => stub.loader.flashMd5sum(offset, length));
}

/**
 * The MD5 of a region that should be `expected`. Answers carry no checksum of
 * their own, so that another one is believed only when the chip repeats it.
 */
export async function confirmMd5(stub: Stub, offset: number, length: number, expected: string): Promise<string> {
  let before: string | null = null;
  for (let attempt = 1; ; attempt++) {
    const found = await flashMd5(stub, offset, length);
    if (found === expected || found === before || attempt === ATTEMPTS) return found;
    before = found;
  }
}

/**
 * Sends the command to erase the whole chip. Returns whether the chip says
 * that it did; false means that the command or its answer was lost.
 */
async function eraseOnce({ loader, transport }: Stub, limit: number): Promise<boolean> {
  const answer = async (timeout: number): Promise<Uint8Array> => {
    for (;;) {
      const frame = await transport.read(timeout);
      if (frame.length >= 10 && frame[0] === 1) return frame;
    }
  };
  await loader.command(loader.ESP_ERASE_FLASH, new Uint8Array(0), 0, false);
  const first = await answer(ERASE_ASK_MS).catch(async (error: unknown) => {
    if (!(error instanceof LineError)) throw error;
    // A chip that erases answers this after that; one that does not, at once.
    await loader.command(loader.ESP_READ_REG, words(loader.CHIP_DETECT_MAGIC_REG_ADDR), 0, false);
    return answer(limit);
  });
  if (first[1] !== loader.ESP_ERASE_FLASH) return false;
  if (first[8] !== 0) throw new Error(`erasing failed with status ${first[8]}`);
  return true;
}

/**
 * Erases the whole chip. The time limit is what data sheets allow at the
 * worst (200 s for 16 MB) and some more, so that a chip that never finishes
 * becomes a failure.
 */
export async function eraseChip(stub: Stub, flashSize: number): Promise<void> {
  const limit = 20_000 + 16_000 * Math.ceil(flashSize / 0x100000);
  try {
    for (let attempt = 1; ; attempt++) {
      const said = await eraseOnce(stub, limit).catch((error: unknown) => {
        if (error instanceof LineError) return false;
        throw error;
      });
      if (said || (await isFlashBlank(stub, 0, flashSize))) return;
      if (attempt === ATTEMPTS) throw new LineError("the command to erase does not arrive");
    }
  } catch (error) {
    if (stub.transport.ended !== null) throw stub.transport.ended;
    throw new Failure("erase-failed", describe(error), {}, error);
  }
}

/** Erases whole sectors. */
export async function eraseRegion(stub: Stub, offset: number, size: number): Promise<void> {
  const { loader } = stub;
  const limit = Math.max(loader.DEFAULT_TIMEOUT, (loader.ERASE_REGION_TIMEOUT_PER_MB * size) / 1_000_000);
  await insist(stub, () =>
    loader.checkCommand("erase region", loader.ESP_ERASE_REGION, words(offset, size), undefined, undefined, limit),
  );
}

/**
 * Writes compressed data to flash. Returns whether blocks had to be sent
 * again: if only an answer was lost, the chip has seen such a block twice, and
 * what it made of that the checksum will tell.
 */
export async function writeCompressed(
  stub: Stub,
  offset: number,
  packed: Packed,
  onWritten: (bytes: number) => void,
): Promise<{ resent: boolean }> {
  const { loader, transport } = stub;
  await insist(stub, () => loader.flashDeflBegin(packed.size, packed.compressedSize, offset));
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
