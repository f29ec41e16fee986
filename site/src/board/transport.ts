// The serial line to a chip that is being flashed: esptool-js' Transport with
// another inside. What differs, and why:
//
// - It is silent. The one of esptool-js writes its trace to the console.
// - Bytes outside of frames are skipped. A boot log in front of the answer is
//   the rule, not an error.
// - Reads wake up when bytes arrive instead of asking every millisecond,
//   which browsers stretch to four.
// - Every wait ends at once when the port is lost or the person gives up.
// - It counts what it heard, from which follows what to tell the person.

import { Transport } from "esptool-js";
import { describe, Failure } from "../failure";
import { sleep } from "../pause";
import { BUFFER_SIZE, resetIntoFirmware } from "../port";
import { encodeFrame, FrameDecoder } from "./slip";

/** How much of the last bytes heard is kept to explain a failure. */
const TAIL = 2048;
/** For each step of letting a port go: one that is gone may never answer. */
const CLOSE_LIMIT_MS = 2000;
/** For a write, beside twice the time that its bytes take on the line. */
const WRITE_LIMIT_MS = 3000;
const BITS_PER_BYTE = 10;

/** Nothing usable came in time. The line is to blame, and trying again may help. */
export class LineError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "LineError";
  }
}

/** Waits for work at most so long, whatever becomes of it. */
async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  await Promise.race([work.catch(() => undefined), sleep(ms)]);
}

export class BoardTransport extends Transport {
  /** Bytes heard since the port was opened for the first time. */
  heardBytes = 0;
  /** Frames of the length of an answer to SYNC, whole or garbled. */
  shortFrames = 0;

  readonly #decoder = new FrameDecoder();
  #frames: Uint8Array[] = [];
  #tail = new Uint8Array(0);
  #wake: (() => void) | null = null;
  #source: ReadableStreamDefaultReader<Uint8Array> | null = null;
  #reading: Promise<void> = Promise.resolve();
  /** Whether this line has the port open. */
  #opened = false;
  /** Whether it ever had: closed for a moment, on the way to another speed, the port is still its own. */
  #taken = false;
  #closing = false;
  #disconnected = false;
  /** The port being opened, perhaps after having been closed. */
  #changing: Promise<unknown> = Promise.resolve();
  #ended: Failure | null = null;
  #end: (failure: Failure) => void = () => undefined;
  readonly #whenEnded: Promise<Failure>;
  readonly #onDisconnect = (): void => this.end(new Failure("unplugged", "the port said that it was disconnected"));

  constructor(port: SerialPort) {
    super(port, false);
    this.#whenEnded = new Promise((resolve) => {
      this.#end = resolve;
    });
    port.addEventListener("disconnect", this.#onDisconnect);
  }

  /** Why nothing goes over this line any more, or null. */
  get ended(): Failure | null {
    return this.#ended;
  }

  /** Ends every wait on this line, now and later, with a failure. */
  end(failure: Failure): void {
    if (this.#ended !== null) return;
    this.#ended = failure;
    this.#end(failure);
    this.#wake?.();
  }

  /** Waits for work, but no longer than the line lasts. */
  async whileAlive<T>(work: Promise<T>): Promise<T> {
    // The work that loses the race goes on until its next wait, which throws.
    const outcome = await Promise.race([work.then((value) => ({ value })), this.#whenEnded]);
    if (outcome instanceof Failure) throw outcome;
    return outcome.value;
  }

  /** The last text heard, printable characters only, to explain a failure. */
  get lastHeard(): string {
    return new TextDecoder("latin1")
      .decode(this.#tail)
      .replace(/\x1b\[[0-9;]*m/g, "")
      .replace(/[^\x20-\x7e\n]+/g, "·")
      .trim();
  }

  override trace(): void {
    // Silent: see above.
  }

  // Once given up, nothing may move the lines in between the last reset.

  override async setRTS(state: boolean): Promise<void> {
    this.#assertAlive();
    await super.setRTS(state);
  }

  override async setDTR(state: boolean): Promise<void> {
    this.#assertAlive();
    await super.setDTR(state);
  }

  override async setSignals(dtr: boolean, rts: boolean): Promise<void> {
    this.#assertAlive();
    await super.setSignals(dtr, rts);
    // usbser.sys of Windows sends RTS only along with DTR.
    await super.setDTR(dtr);
  }

  override async connect(baud = 115200): Promise<void> {
    return this.#change(() => this.#open(baud));
  }

  async #change(work: () => Promise<void>): Promise<void> {
    const change = work();
    this.#changing = change.catch(() => undefined);
    return change;
  }

  async #open(baud: number): Promise<void> {
    this.#closing = false;
    await this.device.open({ baudRate: baud, bufferSize: BUFFER_SIZE });
    this.#opened = true;
    this.#taken = true;
    this.baudrate = baud;
    this.#reading = this.readLoop();
    // Given up, and no longer waited for: nobody else would close it.
    if (this.#disconnected) await this.#closePort();
    this.#assertAlive();
  }

  #assertAlive(): void {
    if (this.#ended !== null) throw this.#ended;
  }

  override async readLoop(): Promise<void> {
    let errors = 0;
    while (!this.#closing && this.#ended === null) {
      const { readable } = this.device;
      if (readable === null) break;
      const source = readable.getReader();
      this.#source = source;
      try {
        for (;;) {
          const { value, done } = await source.read();
          if (done) break;
          errors = 0;
          this.#take(value);
        }
        break;
      } catch (error) {
        // Overruns, breaks (every reset is one) and framing errors end the
        // stream, and the port has a new one. If it has none, it is gone.
        if (error instanceof Error && error.name === "NetworkError") {
          this.end(new Failure("unplugged", describe(error)));
        }
        if (++errors > 100) break;
      } finally {
        source.releaseLock();
        this.#source = null;
      }
    }
    if (!this.#closing) this.end(new Failure("unplugged", "the port has nothing to read from any more"));
  }

  #take(bytes: Uint8Array): void {
    this.heardBytes += bytes.length;
    const tail = new Uint8Array(this.#tail.length + bytes.length);
    tail.set(this.#tail);
    tail.set(bytes, this.#tail.length);
    this.#tail = tail.slice(-TAIL);
    const frames = this.#decoder.push(bytes);
    if (frames.length === 0) return;
    this.shortFrames += frames.filter((frame) => frame.length >= 8 && frame.length <= 16).length;
    this.#frames.push(...frames);
    this.#wake?.();
  }

  /** The next frame; `LineError` if there is none in `timeout` milliseconds. */
  override async read(timeout: number): Promise<Uint8Array> {
    const deadline = performance.now() + timeout;
    for (;;) {
      if (this.#ended !== null) throw this.#ended;
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      const left = deadline - performance.now();
      if (left <= 0) throw new LineError(`no answer in ${timeout} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
  }

  override async write(data: Uint8Array): Promise<void> {
    await this.writeBare(encodeFrame(data));
  }

  /** Writes bytes as they are, to what speaks no frames. */
  async writeBare(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#assertAlive();
    const { writable } = this.device;
    if (writable === null) throw new LineError("the port cannot be written to");
    const limit = WRITE_LIMIT_MS + (2 * bytes.length * BITS_PER_BYTE * 1000) / this.baudrate;
    const writer = writable.getWriter();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let stuck = false;
    try {
      // A board that takes nothing more would keep this waiting for ever.
      const timeout = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          stuck = true;
          reject(new LineError(`${bytes.length} bytes were not taken in ${Math.round(limit)} ms`));
        }, limit);
      });
      await this.whileAlive(Promise.race([writer.write(bytes), timeout]));
    } catch (error) {
      if (error instanceof Error && error.name === "NetworkError") {
        this.end(new Failure("unplugged", describe(error)));
      }
      throw this.#ended ?? error;
    } finally {
      clearTimeout(timer);
      writer.releaseLock();
      // What is stuck would come before what is written next.
      if (stuck) await atMost(CLOSE_LIMIT_MS, writable.abort());
    }
  }

  override flushInput(): void {
    this.#frames = [];
    this.#decoder.reset();
  }

  override async drainInput(quietMs = 100, maxMs = 400): Promise<void> {
    const deadline = performance.now() + maxMs;
    let before: number;
    do {
      before = this.heardBytes;
      await sleep(quietMs);
    } while (this.heardBytes !== before && performance.now() < deadline);
    this.flushInput();
  }

  override inWaiting(): number {
    return this.#frames.length;
  }

  override peek(): Uint8Array {
    return this.#tail;
  }

  /** Closes the port and opens it at another speed: Web Serial has no other way to change it. */
  async reopen(baud: number): Promise<void> {
    return this.#change(async () => {
      await this.#closePort();
      await sleep(50);
      this.#assertAlive();
      this.flushInput();
      await this.#open(baud);
      await sleep(50);
    });
  }

  /**
   * Resets the board into its firmware and closes the port for good. Never
   * throws, and never waits for a port that is gone. One that somebody else
   * has open is left alone.
   */
  override async disconnect(): Promise<void> {
    this.device.removeEventListener("disconnect", this.#onDisconnect);
    this.end(new Failure("unknown", "the port is closed"));
    await atMost(CLOSE_LIMIT_MS, this.#changing);
    if (this.#taken) await atMost(CLOSE_LIMIT_MS, this.#restart());
    this.#disconnected = true;
    await this.#closePort();
  }

  async #restart(): Promise<void> {
    if (!this.#opened) {
      // Given up on the way to another speed, with the chip in its loader.
      await this.device.open({ baudRate: this.baudrate });
      this.#opened = true;
    }
    await resetIntoFirmware(this.device);
  }

  async #closePort(): Promise<void> {
    this.#closing = true;
    if (!this.#opened) return;
    this.#opened = false;
    const close = async (): Promise<void> => {
      // After a failure nobody needs what is still to be sent.
      if (this.#ended !== null) await this.device.writable?.abort().catch(() => undefined);
      await this.#source?.cancel().catch(() => undefined);
      await this.#reading;
      await this.device.close();
    };
    await atMost(CLOSE_LIMIT_MS, close());
  }
}
