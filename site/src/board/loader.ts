// esptool-js' loader on our own line: it logs to where it is told, and repeats
// what does no harm when it is done twice if an answer was lost. A connection
// takes dozens of registers and a stub of several blocks, and would otherwise
// begin anew each time.

import { ESPLoader } from "esptool-js";
import { Failure } from "../failure";
import { isRefusal } from "./flash";
import type { BoardTransport } from "./transport";

const ATTEMPTS = 3;
/** Registers and RAM are answered at once; the longest block takes half of this. */
const TIMEOUT_MS = 1000;

export class PatientLoader extends ESPLoader {
  constructor(transport: BoardTransport, baud: number, log: (line: string) => void) {
    let line = "";
    const write = (text: string): void => {
      const lines = (line + text).split("\n");
      line = lines.pop() ?? "";
      for (const done of lines) if (done.trim() !== "") log(done.trim());
    };
    super({
      transport,
      baudrate: baud,
      romBaudrate: baud,
      terminal: { clean: () => undefined, write, writeLine: (text) => write(`${text}\n`) },
    });
  }

  override async readReg(address: number, timeout = TIMEOUT_MS): Promise<number> {
    return this.#again(() => super.readReg(address, timeout));
  }

  override async writeReg(...request: Parameters<ESPLoader["writeReg"]>): Promise<void> {
    return this.#again(() => this.#promptly(() => super.writeReg(...request)));
  }

  override async memBegin(...request: Parameters<ESPLoader["memBegin"]>): Promise<void> {
    return this.#again(() => this.#promptly(() => super.memBegin(...request)));
  }

  override async memBlock(...request: Parameters<ESPLoader["memBlock"]>): Promise<void> {
    return this.#again(() => this.#promptly(() => super.memBlock(...request)));
  }

  /** Waits no longer than registers and RAM need. */
  async #promptly<T>(work: () => Promise<T>): Promise<T> {
    const timeout = this.DEFAULT_TIMEOUT;
    this.DEFAULT_TIMEOUT = TIMEOUT_MS;
    try {
      return await work();
    } finally {
      this.DEFAULT_TIMEOUT = timeout;
    }
  }

  async #again<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        // A refusal is an answer, and so is an unknown command.
        const answered = isRefusal(error) || (error instanceof Error && error.name === "UnsupportedCommandError");
        if (error instanceof Failure || answered || attempt === ATTEMPTS) throw error;
        // Answers name no address: a late one would be taken for the next.
        await this.transport.drainInput();
      }
    }
  }
}
