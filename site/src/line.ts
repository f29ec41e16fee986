// The serial line of a board that runs its firmware: 115200 baud, one reader.
//
//   port ──> PacketFilter ──> text, decoded as UTF-8 ──> console
//                        └──> Improv packets ──────────> ImprovSerial
//
// Packets are cut out of the text wherever they stand. A library that reads the
// raw line finds one only at the start of a line, and misses it whenever the
// firmware's log was in the middle of its own.

import { describe, Failure } from "./failure";
import { BUFFER_SIZE, resetIntoFirmware } from "./port";

const BAUD_RATE = 115_200;
/** "IMPROV" and the version of the protocol. */
const HEADER = [0x49, 0x4d, 0x50, 0x52, 0x4f, 0x56, 0x01];
const LAST_TYPE = 4;
const NEWLINE = 0x0a;
const RETURN = 0x0d;

/** What ImprovSerial needs of a port. */
export type ImprovPort = Pick<SerialPort, "readable" | "writable">;

/** Separates Improv packets from the text around them; works on any cut of the stream. */
export class PacketFilter {
  private pending: number[] = [];
  /** The end of the line that a packet stands on is not the console's. */
  private lineEnd: readonly number[] = [];

  push(bytes: Uint8Array): { text: Uint8Array; packets: Uint8Array[] } {
    const text: number[] = [];
    const packets: Uint8Array[] = [];
    for (const byte of bytes) {
      this.pending.push(byte);
      this.sort(text, packets);
    }
    return { text: Uint8Array.from(text), packets };
  }

  /** Moves what is decided out of `pending`. */
  private sort(text: number[], packets: Uint8Array[]): void {
    for (;;) {
      const [first] = this.pending;
      if (first === undefined) return;
      if (this.lineEnd.includes(first)) {
        this.lineEnd = first === RETURN ? [NEWLINE] : [];
        this.pending.shift();
        continue;
      }
      this.lineEnd = [];
      const length = packetLength(this.pending);
      if (length === null) return;
      const taken = this.pending.splice(0, Math.max(1, length));
      if (length === 0) {
        text.push(...taken);
      } else {
        packets.push(Uint8Array.from(taken));
        this.lineEnd = [RETURN, NEWLINE];
      }
    }
  }
}

/** The length of the packet that the bytes begin with, 0 if they begin with text, null if that is open. */
function packetLength(bytes: readonly number[]): number | null {
  if (bytes.slice(0, HEADER.length).some((byte, at) => byte !== HEADER[at])) return 0;
  const type = bytes[7];
  if (type !== undefined && (type === 0 || type > LAST_TYPE)) return 0;
  const data = bytes[8];
  // Header, type, length, data, checksum.
  if (data === undefined || bytes.length < 10 + data) return null;
  const checksum = bytes.slice(0, 9 + data).reduce((total, byte) => (total + byte) & 0xff, 0);
  return checksum === bytes[9 + data] ? 10 + data : 0;
}

export interface Listener {
  text(text: string): void;
  /** The line has ended without having been closed: the board is gone. */
  lost(): void;
}

export class Line {
  private reader: ReadableStreamDefaultReader<Uint8Array> | null = null;
  private packets: ReadableStreamDefaultController<Uint8Array> | null = null;
  private closing = false;
  private readonly ended: Promise<void>;

  private constructor(
    private readonly port: SerialPort,
    private readonly listener: Listener,
  ) {
    this.ended = this.read();
  }

  /** Opens a port that is closed; throws `Failure`. */
  static async open(port: SerialPort, listener: Listener): Promise<Line> {
    try {
      await port.open({ baudRate: BAUD_RATE, bufferSize: BUFFER_SIZE });
    } catch (error) {
      throw new Failure("port-busy", describe(error), {}, error);
    }
    return new Line(port, listener);
  }

  /** A port for ImprovSerial that carries only packets. Asking for a new one ends the one before. */
  improv(): ImprovPort {
    this.endPackets();
    const readable = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.packets = controller;
      },
      cancel: () => {
        this.packets = null;
      },
    });
    // ImprovSerial repeats a question by itself, and nobody hears of one that
    // fails. That the line is gone shows where it is read.
    const writable = new WritableStream<Uint8Array>({ write: (bytes) => this.send(bytes).catch(() => undefined) });
    return { readable, writable };
  }

  /** Restarts the board into its firmware. */
  reset(): Promise<void> {
    return resetIntoFirmware(this.port);
  }

  /** Closes the port; may be called twice, and after the board is gone. */
  async close(): Promise<void> {
    if (this.closing) return this.ended;
    this.closing = true;
    await this.reader?.cancel().catch(() => undefined);
    await this.ended;
    await this.port.close().catch(() => undefined);
  }

  private async send(bytes: Uint8Array): Promise<void> {
    const writer = this.port.writable?.getWriter();
    try {
      await writer?.write(bytes);
    } finally {
      writer?.releaseLock();
    }
  }

  private async read(): Promise<void> {
    const filter = new PacketFilter();
    const decoder = new TextDecoder();
    // A framing error or an overrun ends a stream, and the port has a new one.
    while (!this.closing && this.port.readable) {
      const reader = this.port.readable.getReader();
      this.reader = reader;
      try {
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          const { text, packets } = filter.push(value);
          for (const packet of packets) this.packets?.enqueue(packet);
          const decoded = decoder.decode(text, { stream: true });
          if (decoded) this.listener.text(decoded);
        }
        // Nobody but `close` ends a stream that is sound.
        if (!this.closing) break;
      } catch {
        // What was wrong shows in whether the port has another stream.
      } finally {
        reader.releaseLock();
        this.reader = null;
      }
    }
    this.endPackets();
    if (!this.closing) {
      await this.port.close().catch(() => undefined);
      this.listener.lost();
    }
  }

  private endPackets(): void {
    try {
      this.packets?.close();
    } catch {
      // It was cancelled by its reader.
    }
    this.packets = null;
  }
}
