// From the button to a board that runs: which screen follows which.
//
//   before ──> port ──> connecting ──> found ──> work ──> after
//                └──────────┴─ failure: retry ─────┘
//
// Invariants
// - Whatever ends the flow, its port is closed, and a chip that was in its
//   loader is reset into its firmware, as far as the line can do that.
// - A retry starts with the board and the decision that there are; only where
//   another board answers, or none, is the person asked again.

import type { Board } from "../board";
import { downloadParts, type Part } from "../download";
import { asFailure, describe, Failure, type FailureCode } from "../failure";
import type { Target } from "../index";
import { parseTable } from "../partition";
import { guess, matchTargets, type Chip, type Offer, type Verdict } from "../plan";
import { After } from "./after";
import { stayAwake } from "./awake";
import { families, releases, takes, type Choice } from "./choice";
import { button, h } from "./dom";
import { towScene } from "./drawings";
import { foundBody, type Decision } from "./found";
import { Frame, type Screen } from "./frame";
import { presentPort } from "./port";
import type { Setting } from "./setting";
import { troubleScreen } from "./trouble";
import { Work } from "./work";

const TABLE_OFFSET = 0x8000;

/** What talks to chips is large, and is fetched while the person reads and chooses. */
async function engine(): Promise<typeof import("../board")> {
  try {
    return await import("../board");
  } catch (error) {
    throw new Failure("offline", describe(error), {}, error);
  }
}

/** Opens the dialog for an installation. */
export function install(setting: Setting, choice: Choice): void {
  new Flow(setting, choice).before();
}

/** Opens the dialog with the console alone. */
export function openConsole(setting: Setting): void {
  new Flow(setting, null).before();
}

class Flow {
  private readonly frame: Frame;
  private readonly closed = new AbortController();
  private port: SerialPort | null = null;
  private board: Board | null = null;
  private after: After | null = null;
  private decision: Decision | null = null;
  /** The chip that the decision was made for. */
  private chip: Chip | null = null;
  private downloaded: { offer: Offer; parts: Part[] } | null = null;
  /** Files are not taken from what the browser stored, once a download has failed. */
  private fetchAgain = false;
  private stop: AbortController | null = null;
  /** Whether the board's flash was changed since the decision, and whether erasing it is over. */
  private touched = { written: false, erased: false };
  /** A line that lost too much is tried more slowly. */
  private baudLimit: number | undefined;
  private over = false;
  private log: string[] = [];

  constructor(
    private readonly setting: Setting,
    /** Null for the console alone. */
    private readonly choice: Choice | null,
  ) {
    this.frame = new Frame(setting.words, setting.language, () => void this.end());
  }

  // Before

  before(): void {
    const { words } = this.setting;
    if (this.choice) void engine().catch(() => undefined);
    const go = button(words.choosePort, () => void this.pickPort(), "primary");
    this.frame.show({
      title: this.choice ? words.beforeTitle : words.console,
      lead: words.before,
      body: [
        h("ol", { class: "steps" }, ...words.beforeSteps.map((step) => h("li", {}, step))),
        h("p", { class: "flow-note" }, words.beforeNote),
      ],
      actions: [button(words.cancel, () => this.frame.leave()), go],
      focus: go,
    });
  }

  private async pickPort(): Promise<void> {
    const { words } = this.setting;
    await this.release();
    this.frame.say(words.waitingForPort);
    let port: SerialPort;
    try {
      port = await navigator.serial.requestPort();
    } catch (error) {
      const closed = error instanceof DOMException && error.name === "NotFoundError";
      this.trouble(asFailure(error, closed ? "no-port" : "unknown"));
      return;
    }
    if (this.over) return;
    this.port = port;
    this.baudLimit = undefined;
    await this.connect();
  }

  /** Connects to the same board, whatever its port has become, or has a port chosen. */
  private async again(): Promise<void> {
    const present = this.port && (await presentPort(this.port).catch(() => null));
    if (!present) return await this.pickPort();
    this.port = present;
    await this.connect();
  }

  // Connecting

  private async connect(): Promise<void> {
    const { port } = this;
    if (!port) return this.before();
    if (!this.choice) return this.showConsole(port);
    await this.release();
    this.log = [];
    const stages = this.showConnecting();
    try {
      const { Board } = await engine();
      const board = await Board.connect(port, {
        project: this.setting.index.project,
        tableOffsets: (family) => this.tableOffsets(family),
        log: (line) => this.log.push(line),
        stage: stages,
        baudLimit: this.baudLimit,
        signal: this.closed.signal,
      });
      this.board = board;
      if (this.over) return await this.release();
      const { decision } = this;
      if (decision && this.chip?.mac === board.chip.mac) return await this.work(decision);
      await this.showFound(board, this.choice);
    } catch (error) {
      await this.fail(error);
    }
  }

  private showConnecting(): (stage: keyof Setting["words"]["stages"]) => void {
    const { words } = this.setting;
    const now = h("p", { class: "connect-now" });
    const bar = h("progress", { "aria-label": words.connectingTitle });
    this.frame.show({ title: words.connectingTitle, lead: words.connecting, body: [bar, now], look: "work" });
    return (stage) => {
      now.textContent = `${words.stages[stage]} …`;
      this.frame.say(words.stages[stage]);
    };
  }

  /** Where partition tables lie in all that was ever released for a chip family, and in most other firmware. */
  private tableOffsets(family: string): number[] {
    const tables = this.setting.index.releases
      .flatMap((entry) => entry.targets.filter((target) => target.chipFamily === family))
      .flatMap((target) => target.parts)
      .filter((part) => part.role === "partition-table");
    return [...new Set([...tables.map((part) => part.offset), TABLE_OFFSET])];
  }

  // What was found

  private async showFound(board: Board, choice: Choice): Promise<void> {
    const { words, numbers } = this.setting;
    const fitting = this.fitting(board.chip, choice);
    const offers: Offer[] = await Promise.all(
      fitting.map(async ({ release, verdict: { target } }) => {
        const parts = target.parts.filter((part) => part.role === "partition-table");
        const [table] = await this.download({ ...target, parts }, () => undefined, this.closed.signal);
        return { release, target, table: (table && parseTable(table.bytes)) ?? [] };
      }),
    );
    if (this.over) return await this.release();
    const asked = offers.find(({ target }) => target.target === choice.target);
    const first = asked ?? guess(board.found, board.chip, offers);
    let decision: Decision | null = null;
    const go = button(
      words.install,
      () => {
        if (!decision) return;
        this.decision = decision;
        this.chip = board.chip;
        this.touched = { written: false, erased: false };
        void this.work(decision);
      },
      "primary",
    );
    go.disabled = true;
    const body = foundBody(this.setting, board.chip, board.found, offers, first, (made) => {
      decision = made;
      go.disabled = false;
      go.textContent = words.installVersion(made.offer.release.version);
    });
    this.frame.show({
      title: words.foundTitle(board.chip.family),
      lead: words.foundLead(numbers.list([...new Set(offers.map(({ release }) => release.version))], "disjunction")),
      body,
      actions: [button(words.cancel, () => this.frame.leave()), go],
    });
    this.frame.say(words.foundTitle(board.chip.family));
  }

  private async download(
    target: Target,
    onProgress: (done: number, total: number) => void,
    signal: AbortSignal,
  ): Promise<Part[]> {
    try {
      return await downloadParts(this.setting.base, target, onProgress, { signal, again: this.fetchAgain });
    } catch (error) {
      this.fetchAgain = true;
      throw error;
    }
  }

  private fitting(chip: Chip, choice: Choice): { release: Offer["release"]; verdict: Verdict }[] {
    const { index, numbers } = this.setting;
    const meant = releases(index, choice);
    const all = meant.flatMap((release) =>
      matchTargets(release, chip)
        .filter((verdict) => takes(index, choice, release, verdict.target))
        .map((verdict) => ({ release, verdict })),
    );
    const fitting = all.filter(({ verdict }) => verdict.fits);
    if (fitting.length > 0) return fitting;
    // What comes nearest says most: right chip, but too small, before another chip.
    const reasons = ["psram", "flash-size", "no-parts"] as const;
    const reason = reasons.find((name) => all.some(({ verdict }) => verdict.reason === name)) ?? "chip";
    throw new Failure(
      "wrong-chip",
      all.map(({ verdict }) => `${verdict.target.target}: ${verdict.reason ?? "fits"}`).join("\n"),
      {
        reason,
        chip: chip.family,
        chips: numbers.list(families(meant)),
        flash: numbers.size(chip.flashSize),
        version: meant.map((release) => release.version).join(", "),
      },
    );
  }

  // The work

  private async work(decision: Decision): Promise<void> {
    const { words } = this.setting;
    const { offer, advice } = decision;
    const { board } = this;
    if (!board) return this.connect();
    // What was erased before a failure needs no second time, and holds nothing to keep.
    const erase = decision.erase && !this.touched.erased;
    const keep = decision.erase ? [] : advice.keep;
    const blank = decision.erase ? [] : advice.blank;
    const stop = new AbortController();
    this.stop = stop;
    const view = new Work(this.setting, erase, (text) => this.frame.say(text));
    this.frame.show({
      title: words.workTitle(offer.release.version),
      lead: words.workLead,
      body: view.nodes,
      look: "work",
      held: {
        title: words.stopTitle,
        text: () => (this.touched.written ? words.stopText : words.stopEarly),
        stay: words.goOn,
        leave: words.stop,
        left: () => {
          this.frame.say(words.stopping);
          stop.abort();
        },
      },
      actions: [button(words.cancel, () => this.frame.leave())],
    });
    const guard = (event: BeforeUnloadEvent): void => {
      event.preventDefault();
      // What browsers before 2024 look at.
      event.returnValue = true;
    };
    const rest = stayAwake();
    try {
      if (this.downloaded?.offer.target !== offer.target) {
        const parts = await this.download(
          offer.target,
          (done, total) => view.update("download", total > 0 ? done / total : 0),
          stop.signal,
        );
        this.downloaded = { offer, parts };
      }
      stop.signal.throwIfAborted();
      window.addEventListener("beforeunload", guard);
      await board.install(
        { parts: this.downloaded.parts, erase, keep, blank },
        (progress) => {
          this.touched = {
            written: true,
            erased: this.touched.erased || (decision.erase && progress.step !== "erase"),
          };
          view.report(progress);
          this.frame.refresh();
        },
        stop.signal,
      );
      await this.release();
      this.decision = null;
      if (!this.over) await this.showDone(offer.release.version);
    } catch (error) {
      await this.fail(stop.signal.aborted ? new Failure("cancelled", asFailure(error).detail) : error);
    } finally {
      window.removeEventListener("beforeunload", guard);
      rest();
      if (this.stop === stop) this.stop = null;
    }
  }

  // After

  private async showDone(version: string): Promise<void> {
    const { words } = this.setting;
    const { port } = this;
    if (!port) return;
    await this.showAfter(port, {
      title: words.doneTitle,
      lead: words.doneLead(version),
      look: "done",
      body: [towScene(true)],
      actions: [
        button(words.another, () => {
          this.port = null;
          void this.release().then(() => this.before());
        }),
        button(words.close, () => this.frame.leave()),
      ],
    });
  }

  private async showConsole(port: SerialPort): Promise<void> {
    const { words } = this.setting;
    await this.release();
    await this.showAfter(port, {
      title: words.console,
      lead: words.consoleLead,
      actions: [button(words.close, () => this.frame.leave(), "primary")],
    });
  }

  private async showAfter(port: SerialPort, screen: Screen): Promise<void> {
    const after = new After(this.setting, port, this.choice === null);
    this.after = after;
    this.frame.show({ ...screen, body: [...(screen.body ?? []), ...after.nodes] });
    this.frame.say(screen.lead);
    try {
      await after.start();
    } catch (error) {
      if (!this.over) await this.fail(error);
    }
  }

  // Failures

  private async fail(error: unknown): Promise<void> {
    await this.release();
    if (this.over) return;
    const failure = asFailure(error);
    this.baudLimit = Number(failure.facts["baudLimit"]) || this.baudLimit;
    this.trouble(failure);
  }

  private trouble(failure: Failure): void {
    const { words } = this.setting;
    const retry = button(
      words.retry,
      () => void (failure.code === "no-port" ? this.pickPort() : this.again()),
      "primary",
    );
    const otherVersion = button(words.otherVersion, () => this.frame.leave());
    const otherPort = button(words.otherPort, () => void this.pickPort());
    const newBoard = button(words.newBoard, () => void this.pickPort());
    const choices: Partial<Record<FailureCode, HTMLElement[]>> = {
      "no-port": [],
      "wrong-chip": [otherVersion, newBoard],
      "secure-download": [newBoard],
      "flash-encrypted": [newBoard],
      "secure-boot": [newBoard],
      "old-chip": [otherVersion, newBoard],
      "download-missing": [otherVersion],
      "download-tampered": [otherVersion],
      offline: [],
      cancelled: [button(words.close, () => this.frame.leave())],
    };
    const facts: Record<string, string> = this.touched.written ? { written: "yes" } : {};
    const actions = [...(choices[failure.code] ?? [otherPort]), retry];
    this.frame.show(troubleScreen(words, failure, this.log, actions, facts));
    this.frame.say("");
  }

  // The end

  /** Lets the board go: reset into its firmware, port closed. */
  private async release(): Promise<void> {
    const { board, after } = this;
    this.baudLimit = board?.baudLimit ?? this.baudLimit;
    this.board = null;
    this.after = null;
    await board?.disconnect().catch(() => undefined);
    await after?.end().catch(() => undefined);
  }

  private async end(): Promise<void> {
    this.over = true;
    this.closed.abort();
    this.stop?.abort();
    await this.release();
  }
}
