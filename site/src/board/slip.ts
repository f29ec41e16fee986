// Frames of the Serial Line Internet Protocol (RFC 1055), which the loaders speak.

const END = 0xc0;
const ESCAPE = 0xdb;
const ESCAPED_END = 0xdc;
const ESCAPED_ESCAPE = 0xdd;

/** Longer than any answer; what runs longer is not a frame. */
const MAX_FRAME = 0x10000;

/** Puts data into a frame. */
export function encodeFrame(data: Uint8Array): Uint8Array<ArrayBuffer> {
  let special = 0;
  for (const byte of data) if (byte === END || byte === ESCAPE) special++;
  const frame = new Uint8Array(data.length + special + 2);
  let at = 0;
  frame[at++] = END;
  for (const byte of data) {
    if (byte === END || byte === ESCAPE) {
      frame[at++] = ESCAPE;
      frame[at++] = byte === END ? ESCAPED_END : ESCAPED_ESCAPE;
    } else {
      frame[at++] = byte;
    }
  }
  frame[at] = END;
  return frame;
}

/**
 * Takes frames out of a stream of bytes in which there may be anything else.
 * An empty frame is the end of one whose beginning was lost, followed by the
 * beginning of the next: so that the decoder finds its way back by itself.
 */
export class FrameDecoder {
  private open = false;
  private escaping = false;
  private frame: number[] = [];

  /** Forgets a frame that has begun. */
  reset(): void {
    this.open = false;
    this.escaping = false;
    this.frame = [];
  }

  push(bytes: Uint8Array): Uint8Array[] {
    const frames: Uint8Array[] = [];
    for (const byte of bytes) {
      if (byte === END) {
        if (this.open && this.frame.length > 0) {
          frames.push(Uint8Array.from(this.frame));
          this.reset();
        } else {
          this.reset();
          this.open = true;
        }
      } else if (this.open) {
        this.take(byte);
      }
    }
    return frames;
  }

  private take(byte: number): void {
    if (this.escaping) {
      this.escaping = false;
      if (byte === ESCAPED_END) this.frame.push(END);
      else if (byte === ESCAPED_ESCAPE) this.frame.push(ESCAPE);
      else this.reset();
    } else if (byte === ESCAPE) {
      this.escaping = true;
    } else if (this.frame.length < MAX_FRAME) {
      this.frame.push(byte);
    } else {
      this.reset();
    }
  }
}
