// Which chip it is, what it has, and whether it lets itself be flashed.

import { type ESPLoader, UnsupportedCommandError } from "esptool-js";
import { CHIP_DEFS } from "esptool-js/lib/targets/index.js";
import { Failure } from "../failure";
import type { Chip } from "../plan";

/** Chips that do not know GET_SECURITY_INFO, by the word at `CHIP_DETECT_MAGIC_REG_ADDR`. */
const BY_MAGIC = new Map<number, ESPLoader["chip"]>([
  [0x00f01d83, CHIP_DEFS.esp32],
  [0x000007c6, CHIP_DEFS.esp32s2],
  [0xfff0c101, CHIP_DEFS.esp8266],
]);

/** Bits 20 to 26 of the first eFuse word of an ESP32 count how often encryption was switched. */
const ESP32_EFUSE_WORD_0 = 0x3ff5a000;

function oddBits(value: number): boolean {
  let odd = false;
  for (let rest = value; rest !== 0; rest &= rest - 1) odd = !odd;
  return odd;
}

/** Whether the eFuses of an ESP32 say that its flash is encrypted. */
export function esp32IsEncrypted(efuseWord0: number): boolean {
  return oddBits((efuseWord0 >>> 20) & 0x7f);
}

function refuseSecured(name: string, secureDownload: boolean, encrypted: boolean): void {
  if (secureDownload) throw new Failure("secure-download", `${name}: SECURE_DOWNLOAD_ENABLE is set`, { chip: name });
  if (encrypted) throw new Failure("flash-encrypted", `${name}: an odd number of bits is set`, { chip: name });
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
    const info = await loader.getSecurityInfo(false);
    const { chipId } = info;
    // Of the chips that know the command only the ESP32-S2 leaves its number out.
    const chip =
      chipId === null
        ? CHIP_DEFS.esp32s2
        : Object.values(CHIP_DEFS).find((def) => !def.USES_MAGIC_VALUE && def.IMAGE_CHIP_ID === chipId);
    if (chip === undefined) {
      throw new Failure("unknown-chip", `chip number ${chipId}`, { chip: `number ${chipId}` });
    }
    refuseSecured(chip.CHIP_NAME, info.parsedFlags["SECURE_DOWNLOAD_ENABLE"] === true, oddBits(info.flashCryptCnt));
    setChip(chip);
  } catch (error) {
    if (!(error instanceof UnsupportedCommandError)) throw error;
    const magic = (await loader.readReg(loader.CHIP_DETECT_MAGIC_REG_ADDR)) >>> 0;
    const chip = BY_MAGIC.get(magic);
    const name = `0x${magic.toString(16).padStart(8, "0")}`;
    if (chip === undefined) throw new Failure("unknown-chip", `magic word ${name}`, { chip: name });
    if (chip === CHIP_DEFS.esp32) {
      refuseSecured(chip.CHIP_NAME, false, esp32IsEncrypted(await loader.readReg(ESP32_EFUSE_WORD_0)));
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
      return 0; // has no bus for it
    case "ESP32-S3": {
      // esptool-js reads two of the three bits. PSRAM outside of the package
      // would not show, but is not sold on modules of this chip.
      const block1 = CHIP_DEFS.esp32s3.EFUSE_BLOCK1_ADDR;
      const low = ((await loader.readReg(block1 + 16)) >>> 3) & 3;
      const high = ((await loader.readReg(block1 + 20)) >>> 19) & 1;
      return [0, 8 * MB, 2 * MB, 16 * MB, 4 * MB][(high << 2) | low] ?? "unknown";
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

/** Size of the flash chip in bytes by its JEDEC number; 0 if it does not answer. */
export function flashSizeOf(loader: ESPLoader, jedec: number): number {
  const id = jedec & 0xffffff;
  if (id === 0 || id === 0xffffff) return 0;
  const name = loader.DETECTED_FLASH_SIZES[id >>> 16];
  // As esptool does for a number that it does not know.
  if (name === undefined) return 4 * MB;
  return Number.parseInt(name, 10) * (name.endsWith("KB") ? 1024 : MB);
}

/**
 * The JEDEC number of the flash chip, as read twice: what may be written
 * depends on it, and answers carry no sum.
 */
async function readFlashId(loader: ESPLoader): Promise<number> {
  let before = await loader.readFlashId();
  for (let attempt = 1; attempt < 4; attempt++) {
    const found = await loader.readFlashId();
    if (found === before) break;
    before = found;
  }
  return before;
}

/** Reads what a chip is and has, once the stub runs. */
export async function readChip(loader: ESPLoader): Promise<Chip> {
  const { chip } = loader;
  return {
    family: chip.CHIP_NAME,
    description: await chip.getChipDescription(loader),
    mac: await chip.readMac(loader),
    flashSize: flashSizeOf(loader, await readFlashId(loader)),
    psram: await readPsram(loader),
    features: (await chip.getChipFeatures(loader)).map((feature) => feature.trim()),
  };
}
