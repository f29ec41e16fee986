// What is on the flash of a board: its partition table, and the firmware that
// its bootloader would start.

import { describe } from "../failure";
import { HEAD_SIZE, isBlank, parseDescriptor, type AppDescriptor } from "../image";
import { bootOrder, otadataPartition, RECORD_SIZE } from "../otadata";
import { parseTable, SECTOR, TABLE_SIZE, type Partition } from "../partition";
import type { Found } from "../plan";
import { flashMd5, md5Hex, readFlash, type Line } from "./flash";

const BLANK_SECTOR_MD5 = md5Hex(new Uint8Array(SECTOR).fill(0xff));

async function runningApp(line: Line, table: readonly Partition[]): Promise<AppDescriptor | null> {
  const otadata = otadataPartition(table);
  const records: [Uint8Array, Uint8Array] | null =
    otadata === null || otadata.size < 2 * SECTOR
      ? null
      : [
          await readFlash(line, otadata.offset, RECORD_SIZE),
          await readFlash(line, otadata.offset + SECTOR, RECORD_SIZE),
        ];
  for (const app of bootOrder(table, records)) {
    const descriptor = parseDescriptor(await readFlash(line, app.offset, HEAD_SIZE));
    if (descriptor !== null) return descriptor;
  }
  return null;
}

/**
 * Reads what is on the flash. `project` is the name that tells this project's
 * firmware from others'. Only a lost port is an error: what cannot be read is
 * unreadable.
 */
export async function look(line: Line, flashSize: number, project: string, tableOffset: number): Promise<Found> {
  const { loader, transport } = line;
  if (flashSize === 0) return { kind: "unreadable" };
  try {
    const tableBytes = await readFlash(line, tableOffset, TABLE_SIZE);
    const table = parseTable(tableBytes);
    if (table === null) {
      const bootloader = await flashMd5(line, loader.chip.BOOTLOADER_FLASH_OFFSET, SECTOR);
      if (bootloader === BLANK_SECTOR_MD5 && isBlank(tableBytes)) return { kind: "blank" };
      return { kind: "foreign", name: null, version: null, table: null };
    }
    // A table may be of a larger flash than there is.
    const app = await runningApp(line, table.filter((partition) => partition.offset + partition.size <= flashSize));
    if (app?.projectName === project) return { kind: "own", version: app.version, table };
    return { kind: "foreign", name: app?.projectName ?? null, version: app?.version ?? null, table };
  } catch (error) {
    if (transport.ended !== null) throw transport.ended;
    loader.info(`The flash could not be read: ${describe(error)}`);
    return { kind: "unreadable" };
  }
}
