// Web Serial over an emulated board. What the installer relies on behaves as in
// Chromium and fails with its words: each plugging-in makes another port, and
// the one before stays dead.

import type { Link, Setup } from "./link";

const IDS = {
  bridge: { usbVendorId: 0x10c4, usbProductId: 0xea60 },
  usb: { usbVendorId: 0x303a, usbProductId: 0x1001 },
} as const;

/** Bytes that a port keeps while nobody reads. */
const BUFFER = 16384;

const lost = (): DOMException => new DOMException("The device has been lost.", "NetworkError");
const invalid = (message: string): DOMException => new DOMException(message, "InvalidStateError");

type Listener = ((this: unknown, event: Event) => void) | null;

/** Dispatches an event at a port, and at its `navigator.serial`, to which it bubbles. */
function tell(port: Port, serial: EventTarget & Handlers, type: "connect" | "disconnect"): void {
  port.dispatchEvent(new Event(type));
  const bubbled = new Event(type);
  Object.defineProperty(bubbled, "target", { value: port });
  serial.dispatchEvent(bubbled);
  for (const [at, event] of [
    [port, new Event(type)],
    [serial, bubbled],
  ] as const) {
    const handler: Listener = type === "connect" ? at.onconnect : at.ondisconnect;
    handler?.call(at, event);
  }
}

interface Handlers {
  onconnect: Listener;
  ondisconnect: Listener;
}

export class Port extends EventTarget implements Handlers {
  onconnect: Listener = null;
  ondisconnect: Listener = null;
  connected = true;
  /** The page may use it. */
  granted = false;
  #state: "closed" | "opening" | "open" | "closing" = "closed";
  #readable: ReadableStream<Uint8Array> | null = null;
  #writable: WritableStream<BufferSource> | null = null;
  #reading: ReadableStreamDefaultController<Uint8Array> | null = null;
  #writing: WritableStreamDefaultController | null = null;
  #unread: Uint8Array[] = [];
  #lines = { dtr: false, rts: false };

  constructor(
    readonly link: Link,
    readonly setup: Setup,
    private readonly serial: EventTarget & Handlers,
  ) {
    super();
    link.onbytes = (bytes) => this.#receive(bytes);
    link.onunplugged = () => this.#lose();
  }

  get readable(): ReadableStream<Uint8Array> | null {
    if (this.#state === "open" && !this.#readable) {
      this.#readable = new ReadableStream<Uint8Array>({
        start: (controller) => {
          this.#reading = controller;
          for (const bytes of this.#unread.splice(0)) controller.enqueue(bytes);
        },
        cancel: () => {
          this.#reading = null;
          this.#readable = null;
        },
      });
    }
    return this.#readable;
  }

  get writable(): WritableStream<BufferSource> | null {
    if (this.#state === "open" && !this.#writable) {
      const end = (): void => {
        this.#writing = null;
        this.#writable = null;
      };
      this.#writable = new WritableStream<BufferSource>({
        start: (controller) => {
          this.#writing = controller;
        },
        // Resolves before any answer: that comes with a later task.
        write: (chunk) => {
          const bytes = ArrayBuffer.isView(chunk)
            ? new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
            : new Uint8Array(chunk);
          this.link.send(bytes.slice());
        },
        close: end,
        abort: end,
      });
    }
    return this.#writable;
  }

  getInfo(): SerialPortInfo {
    return { ...IDS[this.setup.wiring] };
  }

  async open(options: SerialOptions): Promise<void> {
    if (this.#state === "opening") throw invalid("A call to open() is already in progress.");
    if (this.#state !== "closed") throw invalid("The port is already open.");
    if (!(options.baudRate > 0)) throw new TypeError("Requested baud rate must be greater than zero.");
    this.#state = "opening";
    try {
      if (!this.connected) throw lost();
      await this.link.ask({ open: options.baudRate });
      this.#state = "open";
    } catch {
      this.#state = "closed";
      throw new DOMException("Failed to open serial port.", "NetworkError");
    }
    // As Linux does when a port is opened.
    await this.#setLines(true, true);
  }

  async close(): Promise<void> {
    if (this.#state !== "open") throw invalid("The port is already closed.");
    if (this.#readable?.locked) throw new TypeError("Cannot cancel a locked stream");
    if (this.#writable?.locked) throw new TypeError("Cannot abort a locked stream");
    this.#state = "closing";
    await Promise.allSettled([this.#readable?.cancel(), this.#writable?.abort()]);
    this.#reset();
    await this.link.ask({ close: true }).catch(() => {});
    this.#state = "closed";
  }

  async forget(): Promise<void> {
    if (this.#state === "open") {
      this.#fail();
      await this.link.ask({ close: true }).catch(() => {});
    }
    this.granted = false;
  }

  async setSignals(signals: SerialOutputSignals): Promise<void> {
    if (this.#state !== "open") throw invalid("The port is closed.");
    const { dataTerminalReady: dtr, requestToSend: rts } = signals;
    if (dtr === undefined && rts === undefined && signals.break === undefined) {
      throw new TypeError("Signals dictionary must contain at least one member.");
    }
    await this.#setLines(dtr ?? this.#lines.dtr, rts ?? this.#lines.rts);
  }

  async getSignals(): Promise<SerialInputSignals> {
    if (this.#state !== "open") throw invalid("The port is closed.");
    return { dataCarrierDetect: false, clearToSend: false, ringIndicator: false, dataSetReady: false };
  }

  /** Plugs the cable in again, which makes another port of it. */
  async plugIn(): Promise<Port> {
    if (this.connected) return this;
    await this.link.ask({ plug: true });
    const next = new Port(this.link, this.setup, this.serial);
    next.granted = this.granted;
    return next;
  }

  /** Tells a page that may use it that it is there. */
  appear(): void {
    if (this.granted) tell(this, this.serial, "connect");
  }

  async #setLines(dtr: boolean, rts: boolean): Promise<void> {
    this.#lines = { dtr, rts };
    await this.link.ask({ signals: this.#lines }).catch(() => {
      throw new DOMException("Failed to set control signals.", "NetworkError");
    });
  }

  #receive(bytes: Uint8Array): void {
    if (this.#reading) this.#reading.enqueue(bytes);
    else if (this.#unread.reduce((sum, { length }) => sum + length, bytes.length) <= BUFFER) this.#unread.push(bytes);
  }

  #lose(): void {
    if (!this.connected) return;
    this.connected = false;
    this.#fail();
    if (this.granted) tell(this, this.serial, "disconnect");
  }

  /** Ends both streams as the loss of the device does. */
  #fail(): void {
    this.#reading?.error(lost());
    this.#writing?.error(lost());
    this.#reset();
    this.#state = "closed";
  }

  #reset(): void {
    this.#reading = null;
    this.#writing = null;
    this.#readable = null;
    this.#writable = null;
    this.#unread = [];
    this.#lines = { dtr: false, rts: false };
  }
}

export class Serial extends EventTarget implements Handlers {
  onconnect: Listener = null;
  ondisconnect: Listener = null;
  /** Whether a person chooses the port, rather than to close the list. */
  choose = true;
  #port: Port | null = null;

  /** Takes what is on the cable now. */
  attach(port: Port): void {
    this.#port = port;
  }

  async getPorts(): Promise<Port[]> {
    return this.#port?.granted && this.#port.connected ? [this.#port] : [];
  }

  async requestPort(options: SerialPortRequestOptions = {}): Promise<Port> {
    const activation = navigator.userActivation as UserActivation | undefined;
    if (activation && !activation.isActive) {
      throw new DOMException("Must be handling a user gesture to show a permission request.", "SecurityError");
    }
    const port = this.#port;
    const { usbVendorId, usbProductId } = port?.getInfo() ?? {};
    const filters = options.filters ?? [];
    const isListed = filters.some(
      (filter) =>
        filter.usbVendorId === usbVendorId &&
        (filter.usbProductId === undefined || filter.usbProductId === usbProductId),
    );
    if (!port?.connected || !this.choose || (filters.length > 0 && !isListed)) {
      throw new DOMException("No port selected by the user.", "NotFoundError");
    }
    port.granted = true;
    return port;
  }
}
