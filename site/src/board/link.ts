// A connection to the stub on a chip, and how it comes about:
//
//   open -> reset into the ROM loader, SYNC -> which chip? -> stub -> speed
//
// Whatever goes wrong on a line that is alive is answered by going back to
// the reset, and in the end by a lower speed.

import { ClassicReset, type ESPLoader, UsbJtagSerialReset } from "esptool-js";
import { asFailure, describe, Failure } from "../failure";
import { identify } from "./chip";
import { isRefusal, readFlash } from "./flash";
import { PatientLoader } from "./loader";
import { BoardTransport, sleep } from "./transport";
import { stopWatchdogs } from "./watchdog";

/** Speeds that are tried, the fastest first. Bridges from CP2102 on do all of them. */
export const SPEEDS: readonly number[] = [921600, 460800, 115200];
export const ROM_SPEED = 115200;

const ESPRESSIF = 0x303a;
const USB_SERIAL_JTAG = 0x1001;

const SYNC_ROUNDS = 6;
const SYNCS_PER_ROUND = 5;
/** "IMPROV", version 1, a command of 2 bytes: what is your state? Then the sum, and an empty line for a console. */
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
  /** Where in flash to read to try a speed. */
  readonly probeOffset: number;
}

export class Link {
  readonly transport: BoardTransport;
  /** Whether the chip's own USB is on the line: it has no speed to change. */
  readonly nativeUsb: boolean;
  #loader: ESPLoader;
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

  /**
   * A chip whose USB is driven by its firmware leaves the bus when it is
   * reset, and comes back as another port: that was not the person.
   */
  #explain(failure: Failure): Failure {
    if (failure.code !== "unplugged" || !this.#resettingFirmwareUsb) return failure;
    return new Failure("not-in-download-mode", "the port went away with the reset, as the firmware had made it");
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
        await loader.runStub();
        if (!loader.IS_STUB) {
          throw new Failure("unknown-chip", `no stub for ${loader.chip.CHIP_NAME}`, { chip: loader.chip.CHIP_NAME });
        }
        return;
      } catch (error) {
        if (this.transport.ended !== null) throw this.transport.ended;
        if (error instanceof Failure) throw error;
        if (attempt === STUB_ATTEMPTS) {
          throw new Failure(isRefusal(error) ? "unknown" : "noise", describe(error), {}, error);
        }
        this.options.log(`${describe(error)}; trying again`);
      }
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
        await readFlash(this, this.options.probeOffset, 0x1000);
        this.options.log(`Connected at ${speed} baud`);
        return;
      } catch (error) {
        if (this.transport.ended !== null) throw this.transport.ended;
        last = error;
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

  get #lowerSpeed(): number | undefined {
    return this.nativeUsb ? undefined : SPEEDS.find((speed) => speed < this.baud);
  }

  get canSlow(): boolean {
    return this.#lowerSpeed !== undefined;
  }

  /**
   * Connects again at a lower speed, when the present one turned out to lose
   * too much. Returns false if there is no lower one.
   */
  async slower(): Promise<boolean> {
    const lower = this.#lowerSpeed;
    if (lower === undefined) return false;
    await this.transport.reopen(ROM_SPEED);
    await this.#startStub();
    await this.#findSpeed(lower);
    return true;
  }

  /** Resets the board into its firmware and closes the port. Never throws. */
  async close(): Promise<void> {
    // A port that somebody else has open is left alone.
    if (this.transport.opened) await resetIntoFirmware(this.port);
    await this.transport.disconnect();
  }
}

/**
 * Pulls EN while IO0 is left alone: DTR false, RTS true, 100 ms, RTS false.
 * The chip's own USB takes the same as a reset.
 */
async function resetIntoFirmware(port: SerialPort): Promise<void> {
  const pulse = async (): Promise<void> => {
    await port.setSignals({ dataTerminalReady: false, requestToSend: true });
    await sleep(100);
    await port.setSignals({ dataTerminalReady: false, requestToSend: false });
  };
  // Fails on a port that is closed or gone, and then there is nothing to reset.
  await Promise.race([pulse().catch(() => undefined), sleep(1000)]);
}
