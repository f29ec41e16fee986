// A board at the end of a serial port: what it is, what is on it, and putting
// firmware onto it. Everything here is loaded only when somebody connects.

import { Link, type LinkOptions, type Stage } from "./board/link";
import { readChip } from "./board/chip";
import { lineFailure } from "./board/flash";
import { look } from "./board/look";
import { assertRuns, type Job } from "./board/steps";
import { install, type Progress } from "./board/write";
import { asFailure } from "./failure";
import type { Chip, Found } from "./plan";

export type { Job, JobPart } from "./board/steps";
export type { Progress } from "./board/write";
export type { Stage } from "./board/link";
export type { Chip, Found } from "./plan";

export interface ConnectOptions {
  /** Name in the app descriptors of this project. */
  readonly project: string;
  /** Where in flash the partition table of a chip family may be. */
  tableOffsets(family: string): readonly number[];
  log(line: string): void;
  stage?(stage: Stage): void;
  /** No speed above this one is tried: `baudLimit` of a board whose line lost too much, or of the last failure. */
  readonly baudLimit?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class Board {
  #closed: Promise<void> | null = null;
  readonly #firstBaud: number;

  private constructor(
    private readonly link: Link,
    readonly chip: Chip,
    readonly found: Found,
  ) {
    this.#firstBaud = link.baud;
  }

  /** What to give as `baudLimit` when connecting again; undefined while the line is good. */
  get baudLimit(): number | undefined {
    return this.link.baud < this.#firstBaud ? this.link.baud : undefined;
  }

  /**
   * Connects to the chip on a port, finds out what it is and looks at its
   * flash. Throws `Failure`; the board is reset and the port closed then.
   */
  static async connect(port: SerialPort, options: ConnectOptions): Promise<Board> {
    const linkOptions: LinkOptions = {
      log: (line) => options.log(line),
      stage: (stage) => options.stage?.(stage),
      ...(options.baudLimit === undefined ? {} : { baudLimit: options.baudLimit }),
    };
    const link = await Link.open(port, linkOptions, options.signal);
    const release = link.endOn(options.signal);
    try {
      options.stage?.("look");
      const identify = async (): Promise<Board> => {
        const chip = await readChip(link.loader, link.flashSize);
        const found = await look(link, chip.flashSize, options.project, options.tableOffsets(chip.family));
        return new Board(link, chip, found);
      };
      return await link.transport.whileAlive(identify());
    } catch (error) {
      await link.close();
      throw lineFailure(error);
    } finally {
      release();
    }
  }

  /**
   * Installs parts. What flash holds already is not written again, which is
   * also how an attempt that broke off goes on. Throws `Failure`; the board is
   * reset and the port closed then, so that trying again begins with
   * `connect`.
   */
  async install(job: Job, onProgress: (progress: Progress) => void, signal?: AbortSignal): Promise<void> {
    const { link } = this;
    const release = link.endOn(signal);
    try {
      if (this.chip.revision !== null) assertRuns(job.parts, this.chip.revision);
      await link.transport.whileAlive(install(link, this.chip.flashSize, job, onProgress));
    } catch (error) {
      const failure = asFailure(link.transport.ended ?? error);
      await this.disconnect();
      throw failure;
    } finally {
      release();
    }
  }

  /** Resets the board into its firmware and closes the port, whatever happened before. Never throws. */
  disconnect(): Promise<void> {
    this.#closed ??= this.link.close();
    return this.#closed;
  }
}
