// Bytes of flash as ESP-IDF writes them, made anew here and not with the code
// under test: MD5 is Node's, the CRC is zlib's table-driven one.

import { createHash } from "node:crypto";

const APP = 0;
const DATA = 1;

export const OTADATA = { label: "otadata", type: DATA, subtype: 0x00, offset: 0xe000, size: 0x2000 };
export const PHY = { label: "phy_init", type: DATA, subtype: 0x01, offset: 0xf000, size: 0x1000 };
export const NVS = { label: "nvs", type: DATA, subtype: 0x02, offset: 0x9000, size: 0x5000 };
export const NVS_KEYS = { label: "nvs_keys", type: DATA, subtype: 0x04, offset: 0x3a0000, size: 0x1000 };
export const SPIFFS = { label: "storage", type: DATA, subtype: 0x82, offset: 0x310000, size: 0x80000 };
export const FACTORY = { label: "factory", type: APP, subtype: 0x00, offset: 0x10000, size: 0x180000 };
export const OTA_0 = { label: "ota_0", type: APP, subtype: 0x10, offset: 0x10000, size: 0x180000 };
export const OTA_1 = { label: "ota_1", type: APP, subtype: 0x11, offset: 0x190000, size: 0x180000 };

/** What `parseTable` makes of an entry. */
export function parsed(entry) {
  const { label, type, subtype, offset, size } = entry;
  return { label, type, subtype, offset, size };
}

export function table(entries, { md5 = true } = {}) {
  const bytes = Buffer.alloc(0xc00, 0xff);
  entries.forEach(({ label, type, subtype, offset, size, flags = 0 }, i) => {
    const at = i * 32;
    bytes.fill(0, at, at + 32);
    bytes.set([0xaa, 0x50, type, subtype], at);
    bytes.writeUInt32LE(offset, at + 4);
    bytes.writeUInt32LE(size, at + 8);
    bytes.write(label, at + 12, "latin1");
    bytes.writeUInt32LE(flags, at + 28);
  });
  if (md5) {
    const at = entries.length * 32;
    bytes.set([0xeb, 0xeb], at);
    bytes.set(createHash("md5").update(bytes.subarray(0, at)).digest(), at + 16);
  }
  return new Uint8Array(bytes);
}

const CRC_TABLE = Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

/** crc32 of zlib begun with all ones, which its inversion makes a state of 0. */
function crcOfSequence(sequence) {
  let c = 0;
  for (let i = 0; i < 4; i++) c = CRC_TABLE[(c ^ (sequence >>> (8 * i))) & 0xff] ^ (c >>> 8);
  return ~c >>> 0;
}

export const NEW = 0;
export const PENDING_VERIFY = 1;
export const VALID = 2;
export const INVALID = 3;
export const ABORTED = 4;
export const UNDEFINED = 0xffffffff;

/** A record of boot selection; null for blank flash. */
export function record(sequence, { state = UNDEFINED, crc = sequence === null ? 0 : crcOfSequence(sequence) } = {}) {
  const bytes = Buffer.alloc(32, 0xff);
  if (sequence !== null) {
    bytes.writeUInt32LE(sequence >>> 0, 0);
    bytes.writeUInt32LE(state, 24);
    bytes.writeUInt32LE(crc, 28);
  }
  return new Uint8Array(bytes);
}

/** An app image with a descriptor, `size` bytes of it. */
export function app({ version = "1.2.3", project = "towline-device", least = 0, most = 0xffff, size = 0x200 } = {}) {
  const bytes = Buffer.alloc(size);
  bytes[0] = 0xe9;
  bytes[1] = 1;
  bytes.writeUInt16LE(5, 12);
  bytes.writeUInt16LE(least, 15);
  bytes.writeUInt16LE(most, 17);
  bytes.writeUInt32LE(0xabcd5432, 0x20);
  bytes.write(version, 0x30, "latin1");
  bytes.write(project, 0x50, "latin1");
  bytes.write("12:34:56", 0x70, "latin1");
  bytes.write("Jan  2 2026", 0x80, "latin1");
  bytes.write("v5.3.1", 0x90, "latin1");
  bytes.fill(0xab, 0xb0, 0xd0);
  return new Uint8Array(bytes);
}
