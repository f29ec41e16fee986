// For browsers that cannot reach a USB port: which ones can, the address to
// take there, and the commands that write the same files.

import type { Release, Target } from "../index";
import type { Words } from "../strings";
import { commands, fileName } from "./commands";
import { copyButton, freshId, h } from "./dom";
import type { Setting } from "./setting";
import { handheld, type Obstacle } from "./support";

/** Says what stops this browser, and where it goes on. */
export function notice({ words }: Setting, stop: Obstacle): HTMLElement {
  const away = stop === "no-web-serial" && handheld();
  const trouble = words.failures[stop]({});
  // On a phone the address is what matters, not a terminal.
  const steps = away ? trouble.steps.slice(0, 1) : trouble.steps;
  const secure = location.href.replace(/^http:/, "https:");
  const address = stop === "insecure-context" ? secure : location.href;
  return h(
    "div",
    { class: "install-manual" },
    h("h3", {}, away ? words.onComputer : trouble.title),
    h("p", {}, away ? words.onComputerWhy : trouble.why),
    h("ul", { class: "install-list" }, ...steps.map((step) => h("li", {}, step))),
    (away || stop === "insecure-context") &&
      h(
        "div",
        { class: "install-address" },
        h("span", { class: "unseen" }, words.address),
        stop === "insecure-context" ? h("a", { href: secure }, secure) : h("code", {}, address),
        copyButton(words.copy, words.copied, () => address),
      ),
  );
}

/** The commands for the releases that are meant, for one of their targets at a time. */
export function terminal({ words }: Setting, meant: readonly Release[], preferred: string | null): HTMLElement {
  const targets = meant.flatMap((entry) => entry.targets.filter((t) => t.parts.length > 0));
  const first = targets.find((t) => t.target === preferred) ?? targets[0];
  const shown = h("div");
  const show = (target: Target | undefined): void => shown.replaceChildren(...(target ? files(words, target) : []));
  const id = freshId("target");
  show(first);
  return h(
    "details",
    { class: "install-manual", open: !handheld() },
    h("summary", {}, words.byCommand),
    h(
      "div",
      { class: "install-commands" },
      h("p", {}, words.commandHint('pip install "esptool>=5"', "cargo install espflash --locked")),
      targets.length > 1 &&
        h(
          "div",
          { class: "install-version" },
          h("label", { for: id }, words.chooseBoard),
          h(
            "select",
            { id, change: (event) => show(targets[(event.target as HTMLSelectElement).selectedIndex]) },
            ...targets.map((t) => h("option", { selected: t === first }, `${t.chipFamily} (${t.target})`)),
          ),
        ),
      shown,
    ),
  );
}

function files(words: Words, target: Target): Node[] {
  return [
    h(
      "p",
      {},
      `${words.files}: `,
      ...target.parts.flatMap((part, at) => [
        at > 0 && ", ",
        h("a", { class: "file", href: part.path, download: true }, fileName(part.path)),
      ]),
    ),
    h(
      "dl",
      { class: "commands" },
      ...commands(target).map(({ tool, lines }) =>
        h(
          "div",
          {},
          h("dt", {}, tool),
          h(
            "dd",
            {},
            ...lines.map(({ start, pairs }) =>
              h("code", {}, start, ...pairs.flatMap((pair) => [" ", h("span", {}, pair)])),
            ),
          ),
        ),
      ),
    ),
  ];
}
