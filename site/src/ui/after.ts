// After the installation, or instead of one: the line to the board's firmware,
// with the console and Wi-Fi on it.

import { Line } from "../line";
import { Console } from "./console";
import { Wifi } from "./wifi";
import type { Setting } from "./setting";

export class After {
  readonly nodes: Node[];
  private readonly console: Console;
  private readonly wifi: Wifi | null;
  private line: Line | null = null;
  private ended = false;

  constructor(
    setting: Setting,
    private readonly port: SerialPort,
    onPage: (page: string | null) => void,
  ) {
    this.console = new Console(
      setting,
      () => void this.line?.reset().catch(() => undefined),
      () => void this.start().catch(() => this.console.lost()),
    );
    this.wifi = setting.index.improv ? new Wifi(setting, () => this.line?.improv() ?? null, onPage) : null;
    this.nodes = [...(this.wifi ? [this.wifi.element] : []), this.console.element];
  }

  /** Opens the port; throws `Failure`. */
  async start(): Promise<void> {
    this.line = await Line.open(this.port, {
      text: (text) => this.console.write(text),
      lost: () => {
        this.line = null;
        if (!this.ended) this.console.lost();
      },
    });
    if (this.ended) await this.end();
    else void this.wifi?.look();
  }

  /** Closes the port. */
  async end(): Promise<void> {
    this.ended = true;
    this.wifi?.end();
    await this.line?.close();
    this.line = null;
  }
}
