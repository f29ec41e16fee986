// Which chip it is, what it has, and whether it lets itself be flashed.

import { type ESPLoader, UnsupportedCommandError } from "esptool-js";
import { CHIP_DEFS } from "esptool-js/lib/targets/index.js";
import { Failure } from "../failure";
import { sleep } from "../pause";
import type { Chip } from "../plan";
import { LineError } from "./transport";

/** Chips that do not know GET_SECURITY_INFO, by the word at `CHIP_DETECT_MAGIC_REG_ADDR`. */
const BY_MAGIC = new Map<number, ESPLoader["chip"]>([
  [0x00f01d83, CHIP_DEFS.esp32],
  [0x000007c6, CHIP_DEFS.esp32s2],
  [0xfff0c101, CHIP_DEFS.esp8266],
]);

/** Bits 20 to 26 of the first eFuse word of an ESP32 count how often encryption was switched. */
const ESP32_EFUSE_WORD_0 = 0x3ff5a000;
/** Bits 4 and 5 of another say that one of the two kinds of secure boot is on: ABS_DONE_0 and _1. */
const ESP32_EFUSE_WORD_6 = 0x3ff5a018;
const ESP32_ABS_DONE = 0x30;

/** How long a flash chip may be busy, with an erase that was broken off. */
const FLASH_BUSY_MS = 10_000;
const FLASH_ASK_MS = 250;

/**
 * What a chip says twice. Answers carry no checksum, and what depends on
 * these is whether anything may be written at all.
 */
async function agreed<T>(ask: () => Promise<T>): Promise<T> {
  let before = await ask();
  for (let attempt = 1; attempt < 4; attempt++) {
    const found = await ask();
    if (JSON.stringify(found) === JSON.stringify(before)) return found;
    before = found;
  }
  throw new LineError("the chip gives another answer each time");
}

function oddBits(value: number): boolean {
  let odd = false;
  for (let rest = value; rest !== 0; rest &= rest - 1) odd = !odd;
  return odd;
}

/** Whether the eFuses of an ESP32 say that its flash is encrypted. */
export function esp32IsEncrypted(efuseWord0: number): boolean {
  return oddBits((efuseWord0 >>> 20) & 0x7f);
}

interface Locks {
  readonly download: boolean;
  readonly boot: boolean;
  readonly flash: boolean;
}

function refuseLocked(chip: string, locks: Locks): void {
  if (locks.download) throw new Failure("secure-download", `${chip}: SECURE_DOWNLOAD_ENABLE is set`, { chip });
  if (locks.boot) throw new Failure("secure-boot", `${chip}: SECURE_BOOT_EN or ABS_DONE is set`, { chip });
  if (locks.flash) throw new Failure("flash-encrypted", `${chip}: an odd number of bits is set`, { chip });
}

/**
 * Finds out which chip answers, still in its ROM, and sets it in the loader.
 * Throws `Failure` if it is unknown, or protected so that nothing here could
 * be written or would boot.
 */
export async function identify(loader: ESPLoader): Promise<void> {
  const setChip = (chip: ESPLoader["chip"]): void => {
    loader.chip = chip;
    if (chip.SPI_ADDR_REG_MSB !== undefined) loader.SPI_ADDR_REG_MSB = chip.SPI_ADDR_REG_MSB;
  };
  try {
    const info = await agreed(() => loader.getSecurityInfo(false));
    const { chipId, parsedFlags } = info;
    // Of the chips that know the command only the ESP32-S2 leaves its number out.
    const chip =
      chipId === null
        ? CHIP_DEFS.esp32s2
        : Object.values(CHIP_DEFS).find((def) => !def.USES_MAGIC_VALUE && def.IMAGE_CHIP_ID === chipId);
    if (chip === undefined) {
      throw new Failure("unknown-chip", `chip number ${chipId}`, { chip: `number ${chipId}` });
    }
    refuseLocked(chip.CHIP_NAME, {
      download: parsedFlags.SECURE_DOWNLOAD_ENABLE,
      boot: parsedFlags.SECURE_BOOT_EN,
      flash: oddBits(info.flashCryptCnt),
    });
    setChip(chip);
  } catch (error) {
    if (!(error instanceof UnsupportedCommandError)) throw error;
    const magic = (await agreed(() => loader.readReg(loader.CHIP_DETECT_MAGIC_REG_ADDR))) >>> 0;
    const chip = BY_MAGIC.get(magic);
    const name = `0x${magic.toString(16).padStart(8, "0")}`;
    if (chip === undefined) throw new Failure("unknown-chip", `magic word ${name}`, { chip: name });
    if (chip === CHIP_DEFS.esp32) {
      refuseLocked(chip.CHIP_NAME, {
        download: false,
        boot: ((await agreed(() => loader.readReg(ESP32_EFUSE_WORD_6))) & ESP32_ABS_DONE) !== 0,
        flash: esp32IsEncrypted(await agreed(() => loader.readReg(ESP32_EFUSE_WORD_0))),
      });
    }
    setChip(chip);
  }
}

const MB = 0x100000;

/** PSRAM of a chip as far as its eFuses tell; modules with a chip of its own beside it do not. */
async function readPsram(loader: ESPLoader): Promise<number | "unknown"> {
  switch (loader.chip.CHIP_NAME) {
    case "ESP8266":
    case "ESP32-C2":
    case "ESP32-C3":
    case "ESP32-C6":
    case "ESP32-H2":
      return 0; // can have none
    case "ESP32-S3": {
      // esptool-js reads two of the three bits. 0 says nothing: early chips
      // read so, and those that have their PSRAM outside of the package.
      const block1 = CHIP_DEFS.esp32s3.EFUSE_BLOCK1_ADDR;
      const low = ((await loader.readReg(block1 + 16)) >>> 3) & 3;
      const high = ((await loader.readReg(block1 + 20)) >>> 19) & 1;
      return [undefined, 8 * MB, 2 * MB, 16 * MB, 4 * MB][(high << 2) | low] ?? "unknown";
    }
    case "ESP32-S2": {
      // 0 says only that there is none in the package: the WROVER has it beside.
      const capacity = await CHIP_DEFS.esp32s2.getPsramCap(loader);
      return [undefined, 2 * MB, 4 * MB][capacity] ?? "unknown";
    }
    case "ESP32": {
      // The ESP32-PICO-V3-02 has it in the package; the WROVER has it beside.
      const word3 = await loader.readReg(ESP32_EFUSE_WORD_0 + 12);
      const packageVersion = ((word3 >>> 9) & 7) | (((word3 >>> 2) & 1) << 3);
      return packageVersion === 6 ? 2 * MB : "unknown";
    }
    default:
      return "unknown";
  }
}

/** Revision of the chip as the headers of images name it; null for chips whose eFuses are not known here. */
async function readRevision(loader: ESPLoader): Promise<number | null> {
  const { chip } = loader;
  const known = Object.values(CHIP_DEFS).find((def) => def.CHIP_NAME === chip.CHIP_NAME);
  switch (known) {
    case undefined:
      return null;
    case CHIP_DEFS.esp32: {
      const minor = ((await loader.readReg(ESP32_EFUSE_WORD_0 + 20)) >>> 24) & 3;
      return (await CHIP_DEFS.esp32.getChipRevision(loader)) * 100 + minor;
    }
    // For these two esptool-js has what it inherits from the ESP32-C3.
    case CHIP_DEFS.esp32c2: {
      const word = await loader.readReg(CHIP_DEFS.esp32c2.EFUSE_BASE + 0x44);
      return ((word >>> 20) & 3) * 100 + ((word >>> 16) & 0xf);
    }
    case CHIP_DEFS.esp32c6: {
      const word = await loader.readReg(CHIP_DEFS.esp32c6.EFUSE_BLOCK1_ADDR + 12);
      return ((word >>> 22) & 3) * 100 + ((word >>> 18) & 0xf);
    }
    default:
      if (!("getMajorChipVersion" in known)) return null;
      return (await known.getMajorChipVersion(loader)) * 100 + (await known.getMinorChipVersion(loader));
  }
}

/** Size of a flash chip in bytes by its JEDEC number, or null if that is none. */
function flashSizeOf(loader: ESPLoader, jedec: number): number | null {
  const id = jedec & 0xffffff;
  if (id === 0 || id === 0xffffff) return null;
  const name = loader.DETECTED_FLASH_SIZES[id >>> 16];
  // As esptool does for a number that it does not know.
  if (name === undefined) return 4 * MB;
  return Number.parseInt(name, 10) * (name.endsWith("KB") ? 1024 : MB);
}

/**
 * Reads the size of the flash chip, once the stub runs. Flash that is still
 * erasing answers nothing, and is waited for. Throws `Failure`.
 */
export async function readFlashSize(loader: ESPLoader): Promise<number> {
  const deadline = performance.now() + FLASH_BUSY_MS;
  for (;;) {
    const id = await agreed(() => loader.readFlashId());
    const size = flashSizeOf(loader, id);
    if (size !== null) return size;
    if (performance.now() > deadline) {
      const chip = loader.chip.CHIP_NAME;
      throw new Failure("no-flash", `${chip}: RDID reads 0x${(id >>> 0).toString(16)}`, { chip });
    }
    await sleep(FLASH_ASK_MS);
  }
}

/** Reads what else a chip is and has. */
export async function readChip(loader: ESPLoader, flashSize: number): Promise<Chip> {
  return {
    family: loader.chip.CHIP_NAME,
    revision: await agreed(() => readRevision(loader)),
    mac: await loader.chip.readMac(loader),
    flashSize,
    psram: await agreed(() => readPsram(loader)),
  };
}
