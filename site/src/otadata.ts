// Boot selection of ESP-IDF. A partition of type data, subtype ota holds a
// record at the start of each of its two sectors:
//
//   0 sequence u32 | 4 label, 20 bytes | 24 state u32 | 28 crc u32 of the sequence
//
// The valid record of the higher sequence wins; (sequence - 1) modulo the
// number of OTA slots is the slot to boot.

import {
  APP_FACTORY,
  APP_OTA_0,
  APP_OTA_15,
  APP_TEST,
  DATA_OTA,
  TYPE_APP,
  TYPE_DATA,
  type Partition,
} from "./partition";

export const RECORD_SIZE = 32;
const BLANK = 0xffffffff;
const INVALID = 3;
const ABORTED = 4;

/** The CRC of a record: zlib's crc32 over the four bytes of the sequence, begun with all ones. */
export function sequenceCrc(sequence: number): number {
  // Begun with all ones means, with zlib's inversion before and after, a state of 0.
  let crc = 0;
  for (let byte = 0; byte < 4; byte++) {
    crc ^= (sequence >>> (8 * byte)) & 0xff;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0xedb88320;
  }
  return ~crc >>> 0;
}

/** The sequence of a record, or null if the bootloader would not follow it. */
function validSequence(record: Uint8Array): number | null {
  if (record.length < RECORD_SIZE) return null;
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const sequence = view.getUint32(0, true);
  const state = view.getUint32(24, true);
  if (sequence === BLANK || state === INVALID || state === ABORTED) return null;
  return view.getUint32(28, true) === sequenceCrc(sequence) ? sequence : null;
}

/** The boot selection partition of a table. */
export function otadataPartition(table: readonly Partition[]): Partition | null {
  return table.find((p) => p.type === TYPE_DATA && p.subtype === DATA_OTA) ?? null;
}

/**
 * The app partitions in the order in which the bootloader tries them: the
 * selected one, then downwards to the factory app, then upwards, then the
 * test app. `records` are the two records, or null where the table has no
 * boot selection.
 */
export function bootOrder(table: readonly Partition[], records: readonly [Uint8Array, Uint8Array] | null): Partition[] {
  const apps = table.filter((p) => p.type === TYPE_APP);
  const factory = apps.filter((p) => p.subtype === APP_FACTORY).slice(0, 1);
  const slots = apps
    .filter((p) => p.subtype >= APP_OTA_0 && p.subtype <= APP_OTA_15)
    .sort((a, b) => a.subtype - b.subtype);
  const test = apps.filter((p) => p.subtype === APP_TEST).slice(0, 1);
  const ordered = [...factory, ...slots];

  let selected = 0; // the factory app, or the first slot where there is none
  const sequences = records === null ? [] : records.map(validSequence).filter((sequence) => sequence !== null);
  if (sequences.length > 0 && slots.length > 0) {
    selected = factory.length + (((Math.max(...sequences) - 1) >>> 0) % slots.length);
  }
  return [...ordered.slice(0, selected + 1).reverse(), ...ordered.slice(selected + 1), ...test];
}
