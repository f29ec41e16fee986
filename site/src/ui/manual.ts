// For browsers that cannot reach a USB port: which ones can, the address to
// take there, and the commands that write the same files.

import type { Release, Target } from "../index";
import { commands } from "./commands";
import { copyButton, freshId, h } from "./dom";
import type { Setting } from "./setting";
import { handheld } from "./support";

/** Says what stops this browser, and gives the commands for the releases that are meant. */
export function manual(
  { words }: Setting,
  stop: "no-web-serial" | "insecure-context",
  meant: readonly Release[],
  preferred: string | null,
): HTMLElement {
  const away = stop === "no-web-serial" && handheld();
  const trouble = words.failures[stop]({});
  const secure = location.href.replace(/^http:/, "https:");
  const address = stop === "insecure-context" ? secure : location.href;
  const box = h(
    "div",
    { class: "install-manual" },
    h("h3", {}, away ? words.onComputer : trouble.title),
    h("p", {}, away ? words.onComputerWhy : trouble.why),
    h("ul", { class: "install-list" }, ...trouble.steps.map((step) => h("li", {}, step))),
  );
  if (away || stop === "insecure-context") {
    box.append(
      h(
        "div",
        { class: "install-address" },
        h("span", { class: "unseen" }, words.address),
        stop === "insecure-context" ? h("a", { href: secure }, secure) : h("code", {}, address),
        copyButton(words.copy, words.copied, () => address),
      ),
    );
  }
  const targets = meant.flatMap((entry) => entry.targets.filter((t) => t.parts.length > 0));
  const shown = h("div");
  const show = (target: Target | undefined): void => shown.replaceChildren(...(target ? files(target) : []));
  const id = freshId("target");
  const first = targets.find((t) => t.target === preferred) ?? targets[0];
  const body = h(
    "div",
    { class: "install-commands" },
    h("p", {}, words.commandHint("pip install esptool", "cargo install espflash")),
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
  );
  show(first);
  box.append(h("details", { open: !away }, h("summary", {}, words.byCommand), body));
  return box;

  function files(target: Target): Node[] {
    return [
      h(
        "p",
        {},
        `${words.files}: `,
        ...target.parts.flatMap((part, at) => [
          at > 0 ? ", " : "",
          h("a", { class: "file", href: part.path, download: true }, part.path.slice(part.path.lastIndexOf("/") + 1)),
        ]),
      ),
      h(
        "dl",
        { class: "commands" },
        ...commands(target).map(({ tool, lines }) =>
          h("div", {}, h("dt", {}, tool), h("dd", {}, ...lines.map((line) => h("code", {}, line)))),
        ),
      ),
    ];
  }
}
