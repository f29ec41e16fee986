// What is on the flash of a board: its partition table, and the firmware that
// its bootloader would start.

import { describe } from "../failure";
import { HEAD_SIZE, parseDescriptor, type AppDescriptor } from "../image";
import { bootOrder, otadataPartition, RECORD_SIZE } from "../otadata";
import { parseTable, SECTOR, TABLE_SIZE, type Partition } from "../partition";
import type { Found } from "../plan";
import { isFlashBlank, readFlash, type Stub } from "./flash";

async function runningApp(stub: Stub, table: readonly Partition[]): Promise<AppDescriptor | null> {
  const otadata = otadataPartition(table);
  const records: [Uint8Array, Uint8Array] | null =
    otadata === null || otadata.size < 2 * SECTOR
      ? null
      : [
          await readFlash(stub, otadata.offset, RECORD_SIZE),
          await readFlash(stub, otadata.offset + SECTOR, RECORD_SIZE),
        ];
  for (const app of bootOrder(table, records)) {
    const descriptor = parseDescriptor(await readFlash(stub, app.offset, HEAD_SIZE));
    if (descriptor !== null) return descriptor;
  }
  return null;
}

/** What flash holds by the table at one offset; null if there is none. */
async function lookAt(stub: Stub, flashSize: number, project: string, tableOffset: number): Promise<Found | null> {
  const table = parseTable(await readFlash(stub, tableOffset, TABLE_SIZE));
  if (table === null) return null;
  // A table may be of a larger flash than there is.
  const app = await runningApp(stub, table.filter((partition) => partition.offset + partition.size <= flashSize));
  if (app?.projectName === project) return { kind: "own", version: app.version, table };
  return { kind: "foreign", name: app?.projectName ?? null, version: app?.version ?? null, table };
}

/**
 * Reads what is on the flash. `project` is the name that tells this project's
 * firmware from others', `tableOffsets` are where its partition tables may
 * lie. Only a lost port is an error: what cannot be read is unreadable.
 */
export async function look(
  stub: Stub,
  flashSize: number,
  project: string,
  tableOffsets: readonly number[],
): Promise<Found> {
  const { loader, transport } = stub;
  try {
    const offsets = tableOffsets.filter((offset) => offset + SECTOR <= flashSize);
    let found: Found | null = null;
    for (const offset of offsets) {
      const there = await lookAt(stub, flashSize, project, offset);
      // Others may have left a table where ours would be, and be gone.
      if (there?.kind === "own") return there;
      found ??= there;
    }
    if (found !== null) return found;
    for (const offset of [loader.chip.BOOTLOADER_FLASH_OFFSET, ...offsets]) {
      if (await isFlashBlank(stub, offset, SECTOR)) continue;
      return { kind: "foreign", name: null, version: null, table: null };
    }
    return { kind: "blank" };
  } catch (error) {
    if (transport.ended !== null) throw transport.ended;
    loader.info(`The flash could not be read: ${describe(error)}`);
    return { kind: "unreadable" };
  }
}
