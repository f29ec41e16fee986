// After the installation, or instead of one: the line to the board's firmware,
// with the console and Wi-Fi on it.

import { Line } from "../line";
import { Console } from "./console";
import { Wifi } from "./wifi";
import type { Setting } from "./setting";

/** A board with USB of its own vanishes when it restarts, and is back a moment later. */
const TRIES = 10;
const BETWEEN = 500;

export class After {
  readonly nodes: Node[];
  private readonly console: Console;
  private readonly wifi: Wifi | null;
  private line: Line | null = null;
  private ended = false;

  constructor(
    setting: Setting,
    private readonly port: SerialPort,
    /** The console is what was asked for: it comes first, and a port that does not open is a failure. */
    private readonly consoleAlone: boolean,
  ) {
    this.console = new Console(
      setting,
      () => void this.restart(),
      () => void this.open(1).catch(() => this.console.lost()),
    );
    this.wifi = setting.index.improv ? new Wifi(setting, () => this.line?.improv() ?? null) : null;
    const wifi = this.wifi ? [this.wifi.element] : [];
    this.nodes = consoleAlone ? [this.console.element, ...wifi] : [...wifi, this.console.element];
  }

  /** Opens the port; throws `Failure` when that was what the person wanted. */
  async start(): Promise<void> {
    if (this.consoleAlone) return await this.open(1);
    // The firmware is on the board, whatever becomes of the line.
    await this.open(TRIES).catch(() => this.console.lost());
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

  private async open(tries: number): Promise<void> {
    const listener = {
      text: (text: string) => this.console.write(text),
      lost: () => {
        this.line = null;
        if (!this.ended) void this.open(TRIES).catch(() => this.console.lost());
      },
    };
    for (let left = tries; ; left -= 1) {
      try {
        this.line = await Line.open(this.port, listener);
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
