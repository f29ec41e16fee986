// The connection to an emulated board: bytes of its serial line as binary
// messages, everything else as JSON.

/** What a board is made of. */
export interface Setup {
  chip: string;
  /** Such as "4MB". */
  flash: string;
  /** Such as "8MB", or "0". */
  psram: string;
  /** A USB bridge, or the chip's own USB. */
  wiring: "bridge" | "usb";
  /** Bytes take the time that they take on a wire. */
  paced: boolean;
  /** The boot button is held from the start. */
  held: boolean;
  secure_download: boolean;
  secure_boot: boolean;
  encrypted: boolean;
}

/** What goes wrong; what is left out does not. */
export interface Faults {
  silent?: boolean;
  dropped_frame?: number;
  corrupt_block?: number;
  corrupt_reply?: number;
  erase_fails_at?: number;
  unplugged_after?: number;
  max_baud?: number;
  no_reset?: boolean;
  busy?: boolean;
}

export type Command =
  | { open: number }
  | { close: true }
  | { signals: { dtr: boolean; rts: boolean } }
  | { boot: boolean }
  | { reset: true }
  | { plug: boolean }
  | { faults: Faults }
  | { read: [number, number] }
  | { write: [number, string] }
  | { state: true };

export interface Answer {
  id?: number;
  error?: string;
  flash?: string;
  state?: string;
  unplugged?: true;
}

interface Waiting {
  resolve(answer: Answer): void;
  reject(reason: Error): void;
}

export class Link {
  /** The board is there. */
  readonly ready: Promise<void>;
  onbytes: (bytes: Uint8Array<ArrayBuffer>) => void = () => {};
  /** The cable was pulled, or the server is gone. */
  onunplugged: () => void = () => {};
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;

  constructor(setup: Setup) {
    const flag = (set: boolean): string => (set ? "1" : "0");
    const url = new URL("demo/board", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.search = new URLSearchParams({
      chip: setup.chip,
      flash: setup.flash,
      psram: setup.psram,
      wiring: setup.wiring,
      paced: flag(setup.paced),
      held: flag(setup.held),
      secure_download: flag(setup.secure_download),
      secure_boot: flag(setup.secure_boot),
      encrypted: flag(setup.encrypted),
    }).toString();
    this.#socket = new WebSocket(url);
    this.#socket.binaryType = "arraybuffer";
    this.ready = new Promise((resolve, reject) => {
      this.#socket.onopen = () => resolve();
      this.#socket.onclose = () => {
        const reason = new Error("the emulated board is gone: its server was stopped, or refused it");
        reject(reason);
        for (const waiting of this.#waiting.values()) waiting.reject(reason);
        this.#waiting.clear();
        this.onunplugged();
      };
    });
    // Whoever needs the board is told; nobody else has to know.
    this.ready.catch(() => {});
    this.#socket.onmessage = (message: MessageEvent<ArrayBuffer | string>) => {
      if (typeof message.data === "string") this.#receive(JSON.parse(message.data) as Answer);
      else this.onbytes(new Uint8Array(message.data));
    };
  }

  #receive(answer: Answer): void {
    if (answer.unplugged) this.onunplugged();
    const waiting = answer.id === undefined ? undefined : this.#waiting.get(answer.id);
    if (answer.id === undefined || !waiting) return;
    this.#waiting.delete(answer.id);
    if (answer.error === undefined) waiting.resolve(answer);
    else waiting.reject(new Error(answer.error));
  }

  /** Sends bytes on the line. */
  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(bytes);
  }

  /** Resolves when the board has done it; rejects with its reason. */
  async ask(command: Command): Promise<Answer> {
    await this.ready;
    if (this.#socket.readyState !== WebSocket.OPEN) throw new Error("the emulated board is gone");
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ ...command, id }));
    });
  }

  end(): void {
    this.#socket.close();
  }
}
