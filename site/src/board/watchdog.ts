// Watchdogs of the RTC domain. Firmware switches them on, and a reset by the
// chip's own USB leaves them running: they would then reset the chip in the
// middle of flashing. (A bridge resets by the EN pin, which stops them.)

import type { ESPLoader } from "esptool-js";

interface Registers {
  readonly config: number;
  readonly protect: number;
  readonly superConfig: number;
  readonly superProtect: number;
  readonly superKey: number;
  /** Bit of `superConfig` that makes the super watchdog feed itself. */
  readonly autoFeed: number;
}

const KEY = 0x50d83aa1;

// Addresses: technical reference manuals of the chips, as esptool 5.3 uses them.
const RTC = { superKey: 0x8f1d312a, autoFeed: 0x80000000 };
const LP = { superKey: KEY, autoFeed: 1 << 18 };
const C6 = { config: 0x600b1c00, protect: 0x600b1c18, superConfig: 0x600b1c1c, superProtect: 0x600b1c20, ...LP };
const REGISTERS: Readonly<Record<string, Registers>> = {
  "ESP32-C3": { config: 0x60008090, protect: 0x600080a8, superConfig: 0x600080ac, superProtect: 0x600080b0, ...RTC },
  "ESP32-S3": { config: 0x60008098, protect: 0x600080b0, superConfig: 0x600080b4, superProtect: 0x600080b8, ...RTC },
  "ESP32-C5": C6,
  "ESP32-C6": C6,
  "ESP32-C61": C6,
  "ESP32-H2": { config: 0x600b1c00, protect: 0x600b1c1c, superConfig: 0x600b1c20, superProtect: 0x600b1c24, ...LP },
  "ESP32-P4": { config: 0x50116000, protect: 0x50116018, superConfig: 0x5011601c, superProtect: 0x50116020, ...LP },
};

/** Stops the watchdogs of a chip whose registers are known; does nothing for others. */
export async function stopWatchdogs(loader: ESPLoader): Promise<void> {
  const registers = REGISTERS[loader.chip.CHIP_NAME];
  if (registers === undefined) return;
  await loader.writeReg(registers.protect, KEY);
  await loader.writeReg(registers.config, 0);
  await loader.writeReg(registers.protect, 0);
  await loader.writeReg(registers.superProtect, registers.superKey);
  const value = await loader.readReg(registers.superConfig);
  await loader.writeReg(registers.superConfig, (value | registers.autoFeed) >>> 0);
  await loader.writeReg(registers.superProtect, 0);
}
