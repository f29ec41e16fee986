// The console: what the board prints, in the colours of its levels.
//
// Lines are added once a frame, however fast they come, and old ones go, so
// that a board in a boot loop does not take the page down with it.

import { button, h } from "./dom";
import { parseLine } from "./ansi";
import type { Setting } from "./setting";

const MOST_LINES = 3000;
const LONGEST_LINE = 4000;
/** Nearer to the end than this many pixels is at the end. */
const NEAR = 24;

export class Console {
  readonly element: HTMLElement;
  private readonly log: HTMLElement;
  private readonly empty: HTMLElement;
  private readonly follow: HTMLButtonElement;
  private readonly dropped: HTMLElement;
  private readonly notice = h("p", { class: "console-notice", role: "status" });
  private waiting = "";
  private unfinished = "";
  private last: HTMLElement | null = null;
  private frame = 0;
  private following = true;
  private gone = 0;

  constructor(
    private readonly setting: Setting,
    reset: () => void,
    private readonly reconnect: () => void,
  ) {
    const { words } = setting;
    // Not announced line by line: a boot log would talk for minutes. It can be focused and read.
    this.log = h("div", {
      class: "console-log",
      role: "log",
      "aria-live": "off",
      "aria-label": words.console,
      tabindex: 0,
    });
    this.empty = h("p", { class: "console-empty" }, words.consoleEmpty);
    this.dropped = h("p", { class: "console-empty", hidden: true });
    this.follow = button(words.consoleFollow, () => this.toEnd(), "quiet");
    this.follow.classList.add("console-follow");
    this.follow.hidden = true;
    this.log.append(this.empty, this.dropped);
    this.log.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.log;
      this.following = scrollHeight - scrollTop - clientHeight < NEAR;
      this.follow.hidden = this.following;
    });
    this.element = h(
      "section",
      { class: "panel console", "aria-label": words.console },
      h(
        "div",
        { class: "panel-head" },
        h("h3", {}, words.console),
        h(
          "div",
          { class: "console-tools" },
          button(words.consoleReset, reset, "quiet"),
          button(words.consoleClear, () => this.clear(), "quiet"),
          button(words.consoleSave, () => this.save(), "quiet"),
        ),
      ),
      h("div", { class: "console-frame" }, this.log, this.follow),
      this.notice,
    );
  }

  write(text: string): void {
    this.waiting += text;
    // Hidden tabs have no frames: what waits there is kept short.
    if (this.waiting.length > 1_000_000) this.waiting = this.waiting.slice(-500_000);
    this.frame ||= requestAnimationFrame(() => this.flush());
  }

  /** The board has gone away. */
  lost(): void {
    const { words } = this.setting;
    this.notice.replaceChildren(
      `${words.consoleLost} `,
      button(
        words.consoleReconnect,
        () => {
          this.notice.replaceChildren();
          this.reconnect();
        },
        "quiet",
      ),
    );
  }

  private flush(): void {
    this.frame = 0;
    const lines = (this.unfinished + this.waiting).split(/\r?\n/);
    this.waiting = "";
    const redraw = this.last;
    this.unfinished = lines.at(-1) ?? "";
    // A line without an end would be drawn anew for ever.
    if (this.unfinished.length > LONGEST_LINE) {
      lines.push("");
      this.unfinished = "";
    }
    const fresh = lines.slice(-MOST_LINES).map(lineElement);
    redraw?.remove();
    this.last = fresh.at(-1) ?? null;
    this.empty.hidden = true;
    this.log.append(...fresh);
    this.trim();
    if (this.following) this.log.scrollTop = this.log.scrollHeight;
  }

  private trim(): void {
    const lines = this.log.querySelectorAll(".console-line");
    const over = lines.length - MOST_LINES;
    if (over <= 0) return;
    for (const line of [...lines].slice(0, over)) line.remove();
    this.gone += over;
    this.dropped.textContent = this.setting.words.consoleDropped(this.setting.numbers.plain(this.gone));
    this.dropped.hidden = false;
  }

  private toEnd(): void {
    this.following = true;
    this.follow.hidden = true;
    this.log.scrollTop = this.log.scrollHeight;
    this.log.focus();
  }

  private clear(): void {
    for (const line of this.log.querySelectorAll(".console-line")) line.remove();
    this.last = null;
    this.unfinished = "";
    this.gone = 0;
    this.dropped.hidden = true;
    this.empty.hidden = false;
    this.follow.hidden = true;
    this.following = true;
  }

  private save(): void {
    const text = [...this.log.querySelectorAll(".console-line")].map((line) => line.textContent).join("\n");
    const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    h("a", { href: url, download: `${this.setting.index.project}-console.txt` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }
}

/** Draws a line; one that has a single tone is coloured as a whole. */
function lineElement(line: string): HTMLElement {
  const runs = parseLine(line);
  const [only] = runs;
  if (only && runs.length === 1) return h("div", { class: `console-line ${only.tone}` }, only.text);
  return h("div", { class: "console-line" }, ...runs.map(({ text, tone }) => h("span", { class: tone }, text)));
}
