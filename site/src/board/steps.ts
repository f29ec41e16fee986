// In which order parts are written, and that none is written where it must
// not. Pure: what it decides is carried out in write.ts.

import { Failure } from "../failure";
import { parseRevisions } from "../image";
import { overlap, SECTOR, type Partition } from "../partition";

export interface JobPart {
  readonly role: string;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface Job {
  readonly parts: readonly JobPart[];
  /** Erase the whole chip first. */
  readonly erase: boolean;
  /** Never written or erased when not erasing: `keep` of the advice. */
  readonly keep: readonly Partition[];
  /** Erased when not erasing everything: `blank` of the advice. */
  readonly blank?: readonly Partition[];
}

export interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

// The order decides what a board is left with when the cable slips in the
// middle.
//
// The app comes first, and is checked before anything else is touched. While
// it is written the old bootloader, partition table and boot selection are
// whole: an app that runs from the other slot goes on starting, and one that
// is being written over is the only thing that is broken.
//
// Then the bootloader, then the partition table: six sectors and one, a second
// at most, in which the board may not start. Both were known good when they
// were sent, and a board that is cut there is still flashed like any other, as
// the loader is in ROM.
//
// The boot selection is last: it is the switch to the new app. Before it, a
// new bootloader still starts what the old selection names.
const ORDER: readonly string[] = ["app", "bootloader", "partition-table", "otadata"];

function rank(part: JobPart): number {
  const index = ORDER.indexOf(part.role);
  return index === -1 ? 0 : index;
}

export function writeOrder(parts: readonly JobPart[]): JobPart[] {
  return [...parts].sort((a, b) => rank(a) - rank(b) || a.offset - b.offset);
}

/**
 * Cuts a part into the pieces that are written one after the other. The first
 * sector of an app is its last piece: header and descriptor of the new version
 * are there only once the rest is. Until then the slot shows what was in it,
 * so that nobody takes half of a version for that version.
 */
export function pieces(part: JobPart): Piece[] {
  const { offset, bytes, role } = part;
  if (role !== "app" || bytes.length <= SECTOR) return [{ offset, bytes }];
  return [
    { offset: offset + SECTOR, bytes: bytes.subarray(SECTOR) },
    { offset, bytes: bytes.subarray(0, SECTOR) },
  ];
}

/**
 * Makes sure that a job keeps what it says it keeps and fits into the flash.
 * Throws a plain error: it is a mistake in this program, not of the board.
 */
export function assertSafe(job: Job, flashSize: number): void {
  const stretches = [
    ...job.parts.map((part) => ({ name: part.role, offset: part.offset, size: part.bytes.length })),
    ...(job.erase ? [] : (job.blank ?? []).map(({ label, offset, size }) => ({ name: label, offset, size }))),
  ];
  for (const stretch of stretches) {
    const where = `${stretch.name} at 0x${stretch.offset.toString(16)}`;
    if (stretch.offset % SECTOR !== 0) throw new Error(`${where} is not at the start of a sector`);
    if (stretch.offset + stretch.size > flashSize) throw new Error(`${where} is beyond the end of the flash`);
    const kept = job.erase ? undefined : job.keep.find((partition) => overlap(stretch, partition));
    if (kept !== undefined) throw new Error(`${where} lies on ${kept.label}, which is to be kept`);
  }
  const parts = writeOrder(job.parts).sort((a, b) => a.offset - b.offset);
  parts.forEach((part, i) => {
    const next = parts[i + 1];
    if (next === undefined) return;
    const [a, b] = [part, next].map(({ offset, bytes }) => ({ offset, size: bytes.length }));
    if (a !== undefined && b !== undefined && overlap(a, b)) throw new Error(`${part.role} lies on ${next.role}`);
  });
}

function revisionText(revision: number): string {
  return `${Math.floor(revision / 100)}.${revision % 100}`;
}

/**
 * Makes sure that parts run on a revision of the chip, by the rules of
 * ESP-IDF's bootloader: only an app may exclude newer ones. Throws `Failure`.
 */
export function assertRuns(parts: readonly JobPart[], revision: number): void {
  for (const { role, bytes } of parts) {
    const named = role === "app" || role === "bootloader" ? parseRevisions(bytes) : null;
    if (named === null) continue;
    const { least, most } = named;
    const found = revisionText(revision);
    if (revision < least) {
      const text = revisionText(least);
      throw new Failure("old-chip", `${role}: needs ${text}, found ${found}`, { found, least: text });
    }
    if (role === "app" && most !== null && revision > most) {
      const text = revisionText(most);
      throw new Failure("old-chip", `${role}: runs up to ${text}, found ${found}`, { found, most: text });
    }
  }
}
