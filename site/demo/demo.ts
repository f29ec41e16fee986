// Puts an emulated board in place of navigator.serial, before the page runs.
// Only `cargo xtask serve --demo` has this script; it is never published.

import { Link, type Faults, type Setup } from "./link";
import { showPanel } from "./panel";
import { Port, Serial } from "./port";

/** The board, for tests and for the panel. */
export interface Board {
  /** The board of now is there. */
  readonly ready: Promise<void>;
  readonly setup: Setup;
  readonly connected: boolean;
  /** Whether the person chooses the port in the browser's list. */
  choose: boolean;
  /** Takes another board, or the same one anew, with blank flash. */
  use(change: Partial<Setup>): Promise<void>;
  /** Sets what goes wrong; what is left out does not. */
  faults(faults: Faults): Promise<void>;
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Puts bytes into the flash, past all its rules. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Holds or releases the boot button. */
  boot(held: boolean): Promise<void>;
  /** Presses the reset button. */
  reset(): Promise<void>;
  /** Plugs the cable in, or pulls it. */
  plug(plugged: boolean): Promise<void>;
  state(): Promise<string>;
}

declare global {
  interface Window {
    towlineBoard: Board;
  }
}

/** Bytes of text at a time: more arguments than these overflow the stack. */
const PIECE = 0x8000;

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE) text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  return btoa(text);
}

function setupOf(query: URLSearchParams): Setup {
  const flag = (name: string): boolean => query.get(`demo-${name}`) === "1";
  return {
    chip: query.get("demo-chip") ?? "esp32c3",
    flash: query.get("demo-flash") ?? "4MB",
    psram: query.get("demo-psram") ?? "0",
    wiring: query.get("demo-wiring") === "usb" ? "usb" : "bridge",
    paced: flag("paced"),
    held: flag("held"),
    secure_download: flag("secure_download"),
    secure_boot: flag("secure_boot"),
    encrypted: flag("encrypted"),
  };
}

class EmulatedBoard implements Board {
  readonly serial = new Serial();
  #port: Port;

  constructor(setup: Setup) {
    this.#port = this.#attach(new Port(new Link(setup), setup, this.serial));
  }

  get ready(): Promise<void> {
    return this.#port.link.ready;
  }

  get setup(): Setup {
    return this.#port.setup;
  }

  get connected(): boolean {
    return this.#port.connected;
  }

  get choose(): boolean {
    return this.serial.choose;
  }

  set choose(choose: boolean) {
    this.serial.choose = choose;
  }

  async use(change: Partial<Setup>): Promise<void> {
    this.#port.link.end();
    const setup = { ...this.setup, ...change };
    this.#port = this.#attach(new Port(new Link(setup), setup, this.serial));
    await this.ready;
  }

  async faults(faults: Faults): Promise<void> {
    await this.#port.link.ask({ faults });
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const { flash = "" } = await this.#port.link.ask({ read: [offset, length] });
    return Uint8Array.from(atob(flash), (character) => character.charCodeAt(0));
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#port.link.ask({ write: [offset, toBase64(bytes)] });
  }

  async boot(held: boolean): Promise<void> {
    await this.#port.link.ask({ boot: held });
  }

  async reset(): Promise<void> {
    await this.#port.link.ask({ reset: true });
  }

  async plug(plugged: boolean): Promise<void> {
    if (!plugged) {
      await this.#port.link.ask({ plug: false });
    } else if (!this.connected) {
      this.#port = this.#attach(await this.#port.plugIn());
      this.#port.appear();
    }
  }

  async state(): Promise<string> {
    return (await this.#port.link.ask({ state: true })).state ?? "";
  }

  #attach(port: Port): Port {
    this.serial.attach(port);
    return port;
  }
}

const query = new URLSearchParams(location.search);
const board = new EmulatedBoard(setupOf(query));
Object.defineProperty(navigator, "serial", { value: board.serial, configurable: true });
window.towlineBoard = board;
if (query.get("demo-panel") !== "0") {
  document.addEventListener("DOMContentLoaded", () => showPanel(board, board.serial));
}
