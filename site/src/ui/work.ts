// The installation while it goes on: the tow, the bar, and the words for both.

import type { Progress } from "../board";
import { partName } from "../strings";
import { h } from "./dom";
import { towScene } from "./drawings";
import type { Setting } from "./setting";

type Step = "download" | Progress["step"];

/** How much of the whole each step is, as long as nobody has measured it. */
const WEIGHTS: Record<Step, number> = { download: 4, erase: 14, write: 72, verify: 10 };
const STEPS: readonly Step[] = ["download", "erase", "write", "verify"];

/** The share of the whole that is done, from 0 to 1. Pure. */
export function whole(step: Step, share: number, erase: boolean): number {
  const steps = STEPS.filter((name) => erase || name !== "erase");
  const total = steps.reduce((sum, name) => sum + WEIGHTS[name], 0);
  const before = steps.slice(0, Math.max(0, steps.indexOf(step))).reduce((sum, name) => sum + WEIGHTS[name], 0);
  return Math.min(1, (before + WEIGHTS[step] * Math.min(1, share)) / total);
}

export class Work {
  readonly nodes: Node[];
  private readonly scene = towScene();
  private readonly bar: HTMLProgressElement;
  private readonly percent = h("span", { class: "work-percent" });
  private readonly now = h("span", { class: "work-now" });
  private readonly speed = h("span", { class: "work-speed" });
  private readonly marks = new Map<Step, HTMLElement>();
  private step: Step | null = null;
  /** Steps that were said: each part is written and checked, and once is enough to hear. */
  private readonly said = new Set<Step>();
  private quarter = 0;
  private way = 0;

  constructor(
    private readonly setting: Setting,
    private readonly erase: boolean,
    private readonly say: (text: string) => void,
  ) {
    const { words } = setting;
    this.bar = h("progress", { max: 1, value: 0, "aria-label": words.progress });
    const steps = STEPS.filter((name) => erase || name !== "erase");
    for (const name of steps) this.marks.set(name, h("li", {}, words.steps[name]));
    this.nodes = [
      this.scene,
      h("div", { class: "work-line" }, this.now, this.percent),
      this.bar,
      h("div", { class: "work-line work-small" }, this.speed),
      h("ol", { class: "work-steps" }, ...this.marks.values()),
    ];
    this.update("download", 0);
  }

  /** Shows the engine's progress. */
  report({ step, part, done, total, bytesPerSecond, secondsLeft }: Progress): void {
    const { words, numbers } = this.setting;
    const facts: string[] = [];
    if (part !== null && step === "write") facts.push(partName(words, part));
    if (bytesPerSecond !== null) facts.push(numbers.rate(bytesPerSecond));
    if (secondsLeft !== null && step === "write") facts.push(words.left(numbers.duration(secondsLeft)));
    this.update(step, total > 0 ? done / total : 0, facts);
  }

  update(step: Step, share: number, facts: readonly string[] = []): void {
    const { words, numbers } = this.setting;
    const way = whole(step, share, this.erase);
    // A step back would look like an error; a part that is skipped makes none.
    this.way = Math.max(this.way, way);
    this.bar.value = this.way;
    this.percent.textContent = numbers.percent(this.way);
    this.scene.style.setProperty("--way", this.way.toFixed(4));
    this.speed.textContent = facts.join(" · ");
    if (step !== this.step) {
      this.step = step;
      this.now.textContent = words.stepsNow[step];
      this.mark(step);
      if (!this.said.has(step)) this.say(words.stepsNow[step]);
      this.said.add(step);
    }
    const quarter = Math.floor(this.way * 4);
    if (quarter > this.quarter) {
      this.quarter = quarter;
      this.say(words.stepOf(words.steps[step], numbers.percent(this.way)));
    }
  }

  private mark(step: Step): void {
    // A partition that is blanked on the way is no step of its own.
    if (!this.marks.has(step)) return;
    let past = true;
    for (const [name, mark] of this.marks) {
      if (name === step) past = false;
      mark.className = past ? "past" : "";
      if (name === step) mark.setAttribute("aria-current", "step");
      else mark.removeAttribute("aria-current");
    }
  }
}
