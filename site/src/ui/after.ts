// After the installation, or instead of one: the line to the board's firmware,
// with the console and Wi-Fi on it.

import { Failure } from "../failure";
import { Line, type ImprovPort } from "../line";
import { Console } from "./console";
import { h } from "./dom";
import { presentPort } from "./port";
import type { Setting } from "./setting";
import { Wifi } from "./wifi";

/** A board with USB of its own may vanish when it restarts; it is back a moment later, as another port. */
const TRIES = 10;
const BETWEEN = 500;
/** Time in which a board that started says something, in milliseconds. */
const PATIENCE = 5000;
/** The last words of a chip that stays in its loader. */
const IN_LOADER = /waiting for download\s*$/i;

export class After {
  readonly nodes: Node[];
  private readonly console: Console;
  private readonly wifi: Wifi | null;
  private readonly hint = h("p", { class: "after-hint", role: "status" });
  /** The end of what the board has said. */
  private heard = "";
  private line: Line | null = null;
  private ended = false;

  constructor(
    private readonly setting: Setting,
    private serial: SerialPort,
    /** The console is what was asked for: it comes first, and a port that does not open is a failure. */
    private readonly consoleAlone: boolean,
  ) {
    this.console = new Console(
      setting,
      () => void this.restart(),
      () => void this.reconnect().catch(() => this.console.lost()),
    );
    const port = (): ImprovPort | null => this.line?.improv() ?? null;
    this.wifi = setting.index.improv ? new Wifi(setting, port, () => this.hear("Improv")) : null;
    const wifi = this.wifi ? [this.wifi.element] : [];
    this.nodes = consoleAlone ? [this.console.element, ...wifi] : [this.hint, ...wifi, this.console.element];
  }

  /** Opens the port; throws `Failure` when that was what the person wanted. */
  async start(): Promise<void> {
    if (this.consoleAlone) return await this.open(1);
    // The firmware is on the board, whatever becomes of the line.
    await this.open(TRIES).catch(() => this.console.lost());
    // Whether it runs is not known: on some boards only the button restarts it.
    setTimeout(() => {
      if (!this.heard || IN_LOADER.test(this.heard)) this.hint.textContent = this.setting.words.doneSilent;
    }, PATIENCE);
  }

  private hear(text: string): void {
    this.heard = (this.heard + text).slice(-64);
    this.hint.textContent = "";
  }

  /** Closes the port. */
  async end(): Promise<void> {
    this.ended = true;
    this.wifi?.end();
    await this.line?.close();
    this.line = null;
  }

  /** Restarts the board, which has forgotten then what Improv asked it. */
  private async restart(): Promise<void> {
    await this.line?.reset().catch(() => undefined);
    if (this.line) void this.wifi?.look();
  }

  /** Opens the port of the board, which may be another one by now: firmware with USB of its own brings it. */
  private async reconnect(): Promise<void> {
    this.serial = (await presentPort(this.serial)) ?? (await navigator.serial.requestPort());
    await this.open(1);
  }

  private async open(tries: number): Promise<void> {
    const listener = {
      text: (text: string) => {
        this.hear(text);
        this.console.write(text);
      },
      lost: () => {
        this.line = null;
        if (!this.ended) void this.open(TRIES).catch(() => this.console.lost());
      },
    };
    for (let left = tries; ; left -= 1) {
      try {
        const present = await presentPort(this.serial);
        if (!present) throw new Failure("unplugged");
        this.serial = present;
        this.line = await Line.open(present, listener);
        break;
      } catch (error) {
        if (this.ended) return;
        if (left <= 1) throw error;
        await new Promise((resolve) => setTimeout(resolve, BETWEEN));
      }
    }
    if (this.ended) await this.end();
    else void this.wifi?.look();
  }
}
