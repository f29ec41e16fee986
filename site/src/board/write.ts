// An installation: erase if asked for, then part by part write and check.

import { describe, Failure } from "../failure";
import { isBlank } from "../image";
import { SECTOR, type Partition } from "../partition";
import { pack, type Packed } from "./deflate";
import {
  confirmMd5,
  eraseChip,
  eraseRegion,
  flashMd5,
  isFlashBlank,
  isRefusal,
  md5Hex,
  md5OfMany,
  writeCompressed,
} from "./flash";
import type { Link } from "./link";
import { Meter } from "./meter";
import { assertSafe, pieces, writeOrder, type Job, type JobPart } from "./steps";
import { LineError } from "./transport";

export interface Progress {
  readonly step: "erase" | "write" | "verify";
  /** Role of the part, or the name of the partition that is erased; null for the whole chip. */
  readonly part: string | null;
  /** Bytes over all parts, also while erasing, when nothing of them is written yet. */
  readonly done: number;
  readonly total: number;
  readonly bytesPerSecond: number | null;
  readonly secondsLeft: number | null;
}

/** How often a part is begun at one speed. */
const PART_ATTEMPTS = 2;
/** The stub takes whole words. */
const WORD = 4;

interface PackedPart {
  readonly part: JobPart;
  readonly md5: string;
  readonly packed: readonly { readonly offset: number; readonly packed: Packed }[];
}

/** Flash does not hold what was written. */
class Mismatch extends LineError {
  constructor(
    readonly part: string,
    readonly expected: string,
    readonly found: string,
  ) {
    super(`MD5 of ${part} in flash is ${found}, expected ${expected}`);
    this.name = "Mismatch";
  }
}

function padded(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(Math.ceil(bytes.length / WORD) * WORD).fill(0xff);
  result.set(bytes);
  return result;
}

async function packPart(part: JobPart, blockSize: number): Promise<PackedPart> {
  const packed = await Promise.all(
    pieces(part).map(async ({ offset, bytes }) => ({ offset, packed: await pack(padded(bytes), blockSize) })),
  );
  return { part, md5: await md5OfMany(part.bytes), packed };
}

class Installation {
  readonly #meter = new Meter();
  readonly #total: number;
  #done = 0;

  constructor(
    private readonly link: Link,
    private readonly flashSize: number,
    private readonly job: Job,
    private readonly onProgress: (progress: Progress) => void,
  ) {
    this.#total = job.parts.reduce((sum, part) => sum + part.bytes.length, 0);
  }

  async run(): Promise<void> {
    const { job, link } = this;
    assertSafe(job, this.flashSize);
    const parts = await Promise.all(writeOrder(job.parts).map((part) => packPart(part, link.loader.FLASH_WRITE_SIZE)));
    if (job.erase) {
      this.#report("erase", null);
      await eraseChip(link, this.flashSize);
    }
    this.#meter.restart();
    // Before the partition table names them, and not before the app is safe.
    const blankFrom = parts.findIndex(({ part }) => part.role !== "app");
    for (const [i, part] of parts.entries()) {
      if (i === blankFrom) await this.#blankPartitions();
      await this.#insistOnPart(part);
    }
    if (blankFrom === -1) await this.#blankPartitions();
  }

  #report(step: Progress["step"], part: string | null): void {
    this.onProgress({
      step,
      part,
      done: this.#done,
      total: this.#total,
      bytesPerSecond: step === "write" ? this.#meter.bytesPerSecond : null,
      secondsLeft: step === "write" ? this.#meter.secondsLeft(this.#total - this.#done) : null,
    });
  }

  async #blankPartitions(): Promise<void> {
    if (this.job.erase) return;
    for (const partition of this.job.blank ?? []) await this.#blankPartition(partition);
    this.#meter.restart();
  }

  async #blankPartition({ label, offset, size }: Partition): Promise<void> {
    const whole = size - (size % SECTOR);
    if (whole === 0) return;
    if (await isFlashBlank(this.link, offset, whole)) return;
    this.#report("erase", label);
    try {
      await eraseRegion(this.link, offset, whole);
    } catch (error) {
      if (this.link.transport.ended !== null) throw this.link.transport.ended;
      throw new Failure("erase-failed", `${label}: ${describe(error)}`, { part: label }, error);
    }
  }

  /** Writes a part, again and slower if need be, until it is in flash. */
  async #insistOnPart(part: PackedPart): Promise<void> {
    const before = this.#done;
    for (let attempt = 1; ; attempt++) {
      this.#done = before;
      try {
        await this.#installPart(part);
        return;
      } catch (error) {
        const { transport, loader } = this.link;
        if (transport.ended !== null) throw transport.ended;
        if (error instanceof Failure) throw error;
        loader.info(`${part.part.role}: ${describe(error)}`);
        // Where nothing came any more, nothing will come at this speed.
        const mute = !isRefusal(error) && !(error instanceof Mismatch);
        if (attempt < PART_ATTEMPTS && !(mute && this.link.canSlow)) {
          await transport.drainInput();
          continue;
        }
        if (!(await this.link.slower())) throw this.#lastWord(part.part.role, error);
        attempt = 0;
      }
      this.#meter.restart();
    }
  }

  #lastWord(role: string, error: unknown): Failure {
    if (error instanceof Mismatch) {
      const { expected, found } = error;
      return new Failure("verify-mismatch", error.message, { part: role, expected, found }, error);
    }
    return new Failure("write-failed", describe(error), { part: role }, error);
  }

  async #installPart({ part, md5, packed }: PackedPart): Promise<void> {
    const { link } = this;
    const end = this.#done + part.bytes.length;
    let resent = false;
    if (!(await this.#isThere(part, md5))) {
      this.#report("write", part.role);
      for (const piece of packed) {
        const result = await writeCompressed(link, piece.offset, piece.packed, (bytes) => {
          this.#meter.add(bytes);
          // Padding is written, but is no progress.
          this.#done = Math.min(this.#done + bytes, end);
          this.#report("write", part.role);
        });
        resent ||= result.resent;
      }
    } else if (!this.job.erase) {
      this.#done = end;
      this.#report("verify", part.role);
      return; // its digest was just seen
    }
    this.#done = end;
    this.#report("verify", part.role);
    const found = await confirmMd5(link, part.offset, part.bytes.length, md5);
    if (found === md5) return;
    const mismatch = new Mismatch(part.role, md5, found);
    // A block that was sent twice may have been taken twice: that is mended
    // by doing it again. Otherwise the line carried it right (each block has
    // a checksum), and the flash did not keep it.
    if (resent) throw mismatch;
    throw this.#lastWord(part.role, mismatch);
  }

  /** Whether flash holds a part already, from before or from an attempt that broke off. */
  async #isThere(part: JobPart, md5: string): Promise<boolean> {
    if (this.job.erase) return isBlank(part.bytes);
    // Nearly all that differs differs in the first sector, whose digest
    // takes milliseconds instead of a second.
    const head = part.bytes.subarray(0, SECTOR);
    if (head.length < part.bytes.length && (await flashMd5(this.link, part.offset, head.length)) !== md5Hex(head)) {
      return false;
    }
    return (await flashMd5(this.link, part.offset, part.bytes.length)) === md5;
  }
}

/** Carries out a job on a board. Throws `Failure`. */
export async function install(
  link: Link,
  flashSize: number,
  job: Job,
  onProgress: (progress: Progress) => void,
): Promise<void> {
  await new Installation(link, flashSize, job, onProgress).run();
}
