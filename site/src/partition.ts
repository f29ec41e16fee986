// Partition tables of ESP-IDF: entries of 32 bytes, little endian.
//
//   0 magic AA 50 | 2 type | 3 subtype | 4 offset u32 | 8 size u32
//   12 label, 16 bytes, zero padded | 28 flags u32
//
// An entry of magic EB EB holds, at 16, the MD5 of all entries before it.
// Blank flash (FF) ends the table, which takes at most 0xC00 bytes.

import { md5 } from "@noble/hashes/legacy.js";

const ENTRY = 32;
export const TABLE_SIZE = 0xc00;
/** Flash is erased by sectors of this size. */
export const SECTOR = 0x1000;

export const TYPE_APP = 0x00;
export const TYPE_DATA = 0x01;
export const APP_FACTORY = 0x00;
export const APP_OTA_0 = 0x10;
export const APP_OTA_15 = 0x1f;
export const APP_TEST = 0x20;
export const DATA_OTA = 0x00;
const DATA_PHY = 0x01;
export const DATA_NVS = 0x02;
const DATA_COREDUMP = 0x03;
export const DATA_NVS_KEYS = 0x04;
const DATA_EFUSE = 0x05;

export interface Partition {
  readonly label: string;
  readonly type: number;
  readonly subtype: number;
  /** In bytes from the start of flash. */
  readonly offset: number;
  /** In bytes. */
  readonly size: number;
}

/** Whether a partition holds settings in ESP-IDF's store, or the keys of it. */
export function isSettings(partition: Partition): boolean {
  return partition.type === TYPE_DATA && (partition.subtype === DATA_NVS || partition.subtype === DATA_NVS_KEYS);
}

/**
 * Whether a partition can hold what a person would miss. Firmware, boot
 * selection, radio calibration, crash dumps and emulated eFuses come back by
 * themselves or are of no use to anybody but the developer. A type of the
 * project's own counts, since nobody else knows what is in it.
 */
export function holdsPersonalData(partition: Partition): boolean {
  if (partition.type === TYPE_DATA) {
    return ![DATA_OTA, DATA_PHY, DATA_COREDUMP, DATA_EFUSE].includes(partition.subtype);
  }
  return partition.type >= 0x40;
}

export interface Stretch {
  readonly offset: number;
  readonly size: number;
}

/** Whether partitions or other stretches of flash share a sector, which is erased as a whole. */
export function overlap(a: Stretch, b: Stretch): boolean {
  if (a.size === 0 || b.size === 0) return false;
  const first = ({ offset }: Stretch): number => Math.floor(offset / SECTOR);
  const end = ({ offset, size }: Stretch): number => Math.ceil((offset + size) / SECTOR);
  return first(a) < end(b) && first(b) < end(a);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * Reads a partition table; null if there is none, or none that ESP-IDF's
 * bootloader would accept: a first entry without magic, unknown bytes between
 * the entries, a wrong MD5. A table without an MD5 entry is accepted, as
 * older ones have none.
 */
export function parseTable(bytes: Uint8Array): Partition[] | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const partitions: Partition[] = [];
  const end = Math.min(bytes.length - (bytes.length % ENTRY), TABLE_SIZE);
  for (let at = 0; at < end; at += ENTRY) {
    const magic = view.getUint16(at, true);
    if (magic === 0x50aa) {
      const label = bytes.subarray(at + 12, at + 28);
      const zero = label.indexOf(0);
      partitions.push({
        label: new TextDecoder().decode(zero === -1 ? label : label.subarray(0, zero)),
        type: view.getUint8(at + 2),
        subtype: view.getUint8(at + 3),
        offset: view.getUint32(at + 4, true),
        size: view.getUint32(at + 8, true),
      });
    } else if (magic === 0xebeb) {
      // Nothing after the digest is read: it cannot vouch for what follows it.
      if (!sameBytes(md5(bytes.subarray(0, at)), bytes.subarray(at + 16, at + 32))) return null;
      break;
    } else if (magic === 0xffff) {
      break;
    } else {
      return null;
    }
  }
  return partitions.length === 0 ? null : partitions;
}

export type Change = "unchanged" | "renamed" | "moved" | "resized" | "removed";

export interface Comparison {
  /** What became of each partition of the old table, in its order. */
  readonly old: readonly { readonly partition: Partition; readonly change: Change; readonly now: Partition | null }[];
  /** Partitions of the new table that the old one has nowhere. */
  readonly added: readonly Partition[];
}

/**
 * Compares two tables. Partitions are the same if type, subtype and label
 * are, as firmware finds them by these; failing that, if they are of one type
 * in exactly the same place.
 */
export function compare(old: readonly Partition[], next: readonly Partition[]): Comparison {
  const taken = new Set<Partition>();
  const find = (matches: (candidate: Partition) => boolean): Partition | null => {
    const found = next.find((candidate) => !taken.has(candidate) && matches(candidate)) ?? null;
    if (found !== null) taken.add(found);
    return found;
  };
  const kind = (a: Partition, b: Partition): boolean => a.type === b.type && a.subtype === b.subtype;
  const place = (a: Partition, b: Partition): boolean => a.offset === b.offset && a.size === b.size;

  // Names first for all of them, so that a renamed partition cannot take the
  // place of one that kept its name.
  const named = new Map(old.map((was) => [was, find((now) => kind(was, now) && was.label === now.label)]));
  const results = old.map((was): Comparison["old"][number] => {
    const byName = named.get(was) ?? null;
    if (byName !== null) {
      const change = place(was, byName) ? "unchanged" : was.offset === byName.offset ? "resized" : "moved";
      return { partition: was, change, now: byName };
    }
    const byPlace = find((now) => kind(was, now) && place(was, now));
    return { partition: was, change: byPlace === null ? "removed" : "renamed", now: byPlace };
  });
  return { old: results, added: next.filter((now) => !taken.has(now)) };
}
