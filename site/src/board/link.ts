// A connection to the stub on a chip, and how it comes about:
//
//   open -> reset into the ROM loader, SYNC -> which chip? -> stub -> speed
//
// Whatever goes wrong on a line that is alive is answered by going back to
// the reset, and in the end by a lower speed.

import { ClassicReset, type ESPLoader, getStubJsonByChipName, UsbJtagSerialReset } from "esptool-js";
import { asFailure, describe, Failure } from "../failure";
import { sleep } from "../pause";
import { identify, readFlashSize } from "./chip";
import { lineFailure, readFlash, type Stub } from "./flash";
import { PatientLoader } from "./loader";
import { BoardTransport } from "./transport";
import { stopWatchdogs } from "./watchdog";

/** Speeds that are tried, the fastest first. Bridges from CP2102 on do all of them. */
const SPEEDS: readonly number[] = [921600, 460800, 115200];
const ROM_SPEED = 115200;

const ESPRESSIF = 0x303a;
const USB_SERIAL_JTAG = 0x1001;

const SYNC_ROUNDS = 6;
const SYNCS_PER_ROUND = 5;
/** "IMPROV", version 1, a command of 2 bytes: what is your state? Then the checksum, and an empty line for a console. */
const IMPROV_STATE = new Uint8Array([0x49, 0x4d, 0x50, 0x52, 0x4f, 0x56, 1, 3, 2, 2, 0, 0xe5, 0x0d, 0x0a]);
const FIRMWARE_ANSWER_MS = 500;
const STUB_ATTEMPTS = 3;
/** For an answer that needs no work: a wrong speed loses all, and costs this each time. */
const ANSWER_MS = 500;
/** Answers to SYNC that came, and were no use: fewer could be chance in a boot log. */
const GARBLED_ANSWERS = 2;

export type Stage = "open" | "sync" | "stub" | "speed" | "look";

export interface LinkOptions {
  log(line: string): void;
  stage?(stage: Stage): void;
  /** No speed above this one is tried. */
  readonly baudLimit?: number;
}

function belowSpeed(speed: number): number | undefined {
  return SPEEDS.find((lower) => lower < speed);
}

export class Link implements Stub {
  readonly transport: BoardTransport;
  /** Whether the chip's own USB is on the line: it has no speed to change. */
  readonly nativeUsb: boolean;
  #loader: ESPLoader;
  #flashSize = 0;
  /** The next speed to try, when one has failed. */
  #lowerSpeed: number | undefined;
  /** The chip is being reset through a USB port that its firmware may have made. */
  #resettingFirmwareUsb = false;

  private constructor(
    private readonly port: SerialPort,
    private readonly options: LinkOptions,
  ) {
    this.transport = new BoardTransport(port);
    this.nativeUsb = port.getInfo().usbVendorId === ESPRESSIF;
    this.#loader = this.#newLoader();
  }

  get loader(): ESPLoader {
    return this.#loader;
  }

  /** Size of the flash chip in bytes. */
  get flashSize(): number {
    return this.#flashSize;
  }

  get baud(): number {
    return this.transport.baudrate;
  }

  /** Connects up to a running stub at the highest speed that works. Throws `Failure`, with everything closed. */
  static async open(port: SerialPort, options: LinkOptions, signal?: AbortSignal): Promise<Link> {
    const link = new Link(port, options);
    const release = link.endOn(signal);
    try {
      await link.transport.whileAlive(link.#open());
      return link;
    } catch (error) {
      await link.close();
      throw link.#explain(asFailure(error));
    } finally {
      release();
    }
  }

  /** Ends the line when the person gives up. Returns what undoes that. */
  endOn(signal: AbortSignal | undefined): () => void {
    const end = (): void => this.transport.end(new Failure("cancelled", "given up by the person"));
    if (signal?.aborted === true) end();
    signal?.addEventListener("abort", end);
    return () => signal?.removeEventListener("abort", end);
  }

  async #open(): Promise<void> {
    this.options.stage?.("open");
    try {
      await this.transport.connect(ROM_SPEED);
    } catch (error) {
      if (this.port.connected === false) throw new Failure("unplugged", describe(error), {}, error);
      throw asFailure(error, "port-busy");
    }
    await this.#startStub();
    await this.#findSpeed(this.options.baudLimit ?? Number.POSITIVE_INFINITY);
  }

  /** A loader that knows nothing of what was before the last reset. */
  #newLoader(): ESPLoader {
    return new PatientLoader(this.transport, ROM_SPEED, this.options.log);
  }

  /** Resets the chip into its ROM loader and synchronises with it. */
  async #enterLoader(): Promise<void> {
    this.options.stage?.("sync");
    const { transport } = this;
    this.#loader = this.#newLoader();
    const heardBefore = transport.heardBytes;
    const shortBefore = transport.shortFrames;
    const jtag = this.nativeUsb && this.port.getInfo().usbProductId === USB_SERIAL_JTAG;
    // The second one is for boards whose EN rises slowly.
    const resets = jtag
      ? [new UsbJtagSerialReset(transport)]
      : [new ClassicReset(transport, 50), new ClassicReset(transport, 550)];
    this.#resettingFirmwareUsb = this.nativeUsb && !jtag;
    let last: unknown = null;
    for (let round = 0; round < SYNC_ROUNDS; round++) {
      // Through its own USB a chip that is in its loader already may leave the
      // bus when it is reset, so that it is asked first.
      const reset = this.#resettingFirmwareUsb && round === 0 ? undefined : resets[round % resets.length];
      try {
        await reset?.reset();
      } catch (error) {
        // A port without these lines: the chip may have been put there by hand.
        last = error;
      }
      for (let i = 0; i < SYNCS_PER_ROUND; i++) {
        if (transport.ended !== null) throw transport.ended;
        try {
          transport.flushInput();
          await this.#loader.sync();
          this.#resettingFirmwareUsb = false;
          return;
        } catch (error) {
          last = error;
        }
      }
    }
    if (transport.ended !== null) throw transport.ended;
    if (transport.heardBytes === heardBefore) await this.#wakeFirmware();
    const heard = transport.heardBytes - heardBefore;
    if (heard === 0) throw new Failure("silent", describe(last));
    const text = transport.lastHeard;
    const detail = `${describe(last)}; ${heard} bytes heard, the last of them:\n${text}`;
    const garbled = transport.shortFrames - shortBefore >= GARBLED_ANSWERS;
    throw new Failure(garbled ? "noise" : "not-in-download-mode", detail);
  }

  /**
   * Asks firmware that has nothing to say something that it may answer. A
   * board that cannot be reset from here is silent while its firmware is, and
   * is then not to be taken for a broken cable.
   */
  async #wakeFirmware(): Promise<void> {
    const { transport } = this;
    await transport.writeBare(IMPROV_STATE).catch(() => undefined);
    await transport.drainInput(FIRMWARE_ANSWER_MS, FIRMWARE_ANSWER_MS);
  }

  #explain(failure: Failure): Failure {
    // A chip whose USB is driven by its firmware leaves the bus when it is
    // reset, and comes back as another port: that was not the person.
    if (failure.code === "unplugged" && this.#resettingFirmwareUsb) {
      return new Failure("not-in-download-mode", "the port went away with the reset, as the firmware had made it");
    }
    // A board that is put into its loader by hand is there but once for each
    // attempt: the next one must not begin with the speed that failed.
    if (this.#lowerSpeed === undefined) return failure;
    const facts = { ...failure.facts, baudLimit: String(this.#lowerSpeed) };
    return new Failure(failure.code, failure.detail, facts, failure);
  }

  async #startStub(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await this.#enterLoader();
      const { loader } = this;
      try {
        await identify(loader);
        if (this.nativeUsb) await stopWatchdogs(loader);
        await loader.chip.postConnect?.(loader);
        this.options.stage?.("stub");
        await this.#fetchStub();
        await loader.runStub();
        this.#flashSize = await readFlashSize(loader);
        return;
      } catch (error) {
        if (this.transport.ended !== null) throw this.transport.ended;
        if (error instanceof Failure) throw error;
        if (attempt === STUB_ATTEMPTS) throw lineFailure(error);
        this.options.log(`${describe(error)}; trying again`);
      }
    }
  }

  /** Fetches the stub ahead of esptool-js, whose error would not tell the network from the line. */
  async #fetchStub(): Promise<void> {
    const { loader } = this;
    const { chip } = loader;
    const revision = await chip.getChipRevision?.(loader);
    const stub = await getStubJsonByChipName(chip.CHIP_NAME, revision).catch((error: unknown) => {
      throw new Failure("offline", describe(error), {}, error);
    });
    if (stub === undefined) {
      throw new Failure("unknown-chip", `no stub for ${chip.CHIP_NAME}`, { chip: chip.CHIP_NAME });
    }
  }

  /** Raises the speed as far as it works, from `limit` downwards. */
  async #findSpeed(limit: number): Promise<void> {
    this.options.stage?.("speed");
    const speeds = this.nativeUsb ? [ROM_SPEED] : SPEEDS.filter((speed) => speed <= limit || speed === ROM_SPEED);
    let last: unknown = null;
    for (const speed of speeds) {
      try {
        if (speed !== this.baud) await this.#changeSpeed(speed);
        // That it answers is not enough: what is read has to come through.
        await readFlash(this, this.loader.chip.BOOTLOADER_FLASH_OFFSET, 0x1000);
        this.options.log(`Connected at ${speed} baud`);
        return;
      } catch (error) {
        if (this.transport.ended !== null) throw this.transport.ended;
        last = error;
        this.#lowerSpeed = belowSpeed(speed);
        this.options.log(`${speed} baud does not work: ${describe(error)}`);
        // The chip may be at any speed by now, or have been reset.
        if (speed !== ROM_SPEED) {
          await this.transport.reopen(ROM_SPEED);
          await this.#startStub();
        }
      }
    }
    throw new Failure("noise", describe(last), {}, last);
  }

  async #changeSpeed(speed: number): Promise<void> {
    const { loader } = this;
    const request = new Uint8Array(8);
    new DataView(request.buffer).setUint32(0, speed, true);
    new DataView(request.buffer).setUint32(4, this.baud, true);
    const ask = (): Promise<unknown> => loader.command(loader.ESP_CHANGE_BAUDRATE, request, 0, true, ANSWER_MS);
    // If only the answer was lost, the chip is at the new speed and hears the
    // second request as noise. Which of the two it was shows below.
    await ask().catch(() => ask().catch(() => undefined));
    await sleep(25);
    await this.transport.reopen(speed);
    this.transport.flushInput();
    await loader.readReg(loader.CHIP_DETECT_MAGIC_REG_ADDR, ANSWER_MS);
  }

  get canSlow(): boolean {
    return !this.nativeUsb && belowSpeed(this.baud) !== undefined;
  }

  /**
   * Connects again at a lower speed, when the present one turned out to lose
   * too much. Returns false if there is no lower one.
   */
  async slower(): Promise<boolean> {
    const lower = belowSpeed(this.baud);
    if (this.nativeUsb || lower === undefined) return false;
    await this.transport.reopen(ROM_SPEED);
    await this.#startStub();
    await this.#findSpeed(lower);
    return true;
  }

  /** Resets the board into its firmware and closes the port. Never throws. */
  close(): Promise<void> {
    return this.transport.disconnect();
  }
}
