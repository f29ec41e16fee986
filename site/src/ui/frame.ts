// The one dialog: a native <dialog> whose contents change from step to step.
//
// Invariants
// - Exactly one screen is shown, and it names and describes the dialog.
// - Nothing closes it unasked while a screen is `held`: neither Escape nor the
//   close button nor a click elsewhere.
// - What is said goes through one polite live region that is never replaced.

import type { Words } from "../strings";
import { button, freshId, h, keepReachable } from "./dom";
import { crossDrawing } from "./drawings";

export interface Screen {
  title: string;
  /** One or two sentences that describe the dialog. */
  lead: string;
  body?: Node[];
  /** Buttons in the order of reading; the last is the way forward. */
  actions?: HTMLElement[];
  /** What gets the focus; the title otherwise. */
  focus?: HTMLElement;
  /** For pictures: how the screen looks. */
  look?: "work" | "done" | "trouble";
  /** Asked before leaving; without it the dialog closes at once. */
  held?: { title: string; text: () => string; leave: string; stay: string; left: () => void };
}

export class Frame {
  private readonly dialog: HTMLDialogElement;
  private readonly content = h("div", { class: "flow-content" });
  private readonly live = h("p", { class: "unseen", "aria-live": "polite" });
  private readonly title = h("h2", { tabindex: -1, id: freshId("title") });
  private readonly lead = h("p", { class: "flow-lead", id: freshId("lead") });
  private actions = h("div");
  private screen: Screen | null = null;
  private question: HTMLElement | null = null;

  constructor(
    words: Words,
    language: string,
    private readonly closed: () => void,
  ) {
    const close = h(
      "button",
      { type: "button", class: "flow-close", "aria-label": words.close, click: () => this.leave() },
      crossDrawing(),
    );
    this.dialog = h(
      "dialog",
      {
        class: "flow",
        lang: language,
        "aria-labelledby": this.title.id,
        "aria-describedby": this.lead.id,
        closedby: "none",
      },
      h("div", { class: "flow-head" }, this.title, close),
      this.content,
      this.live,
    );
    // Escape: caught as a key, because a second one closes a dialog whatever its cancel event says.
    this.dialog.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      if (this.question) this.stay();
      else this.leave();
    });
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.leave();
    });
    this.dialog.addEventListener("close", () => {
      this.dialog.remove();
      this.closed();
    });
  }

  /** Replaces what is shown. */
  show(screen: Screen): void {
    this.screen = screen;
    this.question = null;
    this.title.textContent = screen.title;
    this.lead.textContent = screen.lead;
    this.dialog.dataset["look"] = screen.look ?? "plain";
    const body = h("div", { class: "flow-body" }, this.lead, ...(screen.body ?? []));
    this.actions = h("div", { class: "flow-actions", hidden: !screen.actions?.length }, ...(screen.actions ?? []));
    this.content.replaceChildren(body, this.actions);
    keepReachable(body);
    if (!this.dialog.open) {
      document.body.append(this.dialog);
      this.dialog.showModal();
    }
    (screen.focus ?? this.title).focus({ preventScroll: true });
  }

  /** Says something to those who do not see the screen. */
  say(text: string): void {
    if (this.live.textContent !== text) this.live.textContent = text;
  }

  /** Leaves, or asks first. */
  leave(): void {
    const held = this.screen?.held;
    if (!held) this.close();
    else if (!this.question) this.ask(held);
  }

  close(): void {
    this.dialog.close();
  }

  /** Says anew what leaving would mean: while it is asked, the work goes on. */
  refresh(): void {
    const text = this.question?.querySelector("p");
    const now = this.screen?.held?.text();
    if (text && now !== undefined && text.textContent !== now) text.textContent = now;
  }

  /** Takes the question back, when what it was about has ended. */
  private stay(): void {
    this.question?.remove();
    this.question = null;
    this.actions.hidden = false;
    this.title.focus();
  }

  private ask(held: NonNullable<Screen["held"]>): void {
    const name = freshId("question");
    const text = freshId("consequence");
    const stay = button(held.stay, () => this.stay(), "primary");
    const leave = button(held.leave, () => {
      this.stay();
      held.left();
    });
    this.question = h(
      "div",
      { class: "flow-question", role: "alertdialog", "aria-labelledby": name, "aria-describedby": text },
      h("h3", { id: name }, held.title),
      h("p", { id: text }, held.text()),
      h("div", { class: "flow-actions" }, leave, stay),
    );
    this.actions.hidden = true;
    this.content.append(this.question);
    stay.focus();
  }
}
