// What was found, and what will be done about it: the last look before anything
// is written.

import type { Release } from "../index";
import { advise, type Advice, type Chip, type Found, type Offer, type Warning } from "../plan";
import type { Words } from "../strings";
import { freshId, h } from "./dom";
import { chipDrawing } from "./drawings";
import type { Setting } from "./setting";

/** What the person decided. */
export interface Decision {
  offer: Offer;
  erase: boolean;
  advice: Advice;
}

/**
 * Draws the screen's body; `decided` hears every change, and that of `first` at
 * once. Without it the person chooses the board before anything else.
 */
export function foundBody(
  setting: Setting,
  chip: Chip,
  found: Found,
  offers: readonly Offer[],
  first: Offer | null,
  decided: (decision: Decision) => void,
): Node[] {
  const { words } = setting;
  const consequences = h("div", { class: "found-consequences" });
  const choose = (offer: Offer): void => {
    const advice = advise(found, offer, chip);
    let erase = advice.erase || !advice.mayKeep;
    const effects = h("div");
    const settle = (): void => {
      effects.replaceChildren(...effectsOf(setting, found, offer, advice, erase));
      decided({ offer, erase, advice });
    };
    consequences.replaceChildren(
      settings(words, found, advice, erase, (value) => {
        erase = value;
        settle();
      }),
      effects,
    );
    settle();
  };
  if (first) choose(first);
  return [
    chipCard(setting, chip, found, offers.length === 1 ? first : null),
    targets(setting, offers, first, choose),
    consequences,
  ];
}

function chipCard({ words, numbers }: Setting, chip: Chip, found: Found, only: Offer | null): HTMLElement {
  const psram =
    chip.psram === "unknown"
      ? words.psramUnknown
      : chip.psram > 0
        ? words.psram(numbers.size(chip.psram))
        : words.noPsram;
  const row = (name: string, ...value: (Node | string)[]): HTMLElement =>
    h("div", {}, h("dt", {}, name), h("dd", {}, ...value));
  return h(
    "div",
    { class: "found-chip" },
    chipDrawing("found-drawing"),
    h(
      "div",
      {},
      h("p", { class: "found-family" }, chip.family),
      h("p", { class: "found-facts" }, `${words.flash(numbers.size(chip.flashSize))} · ${psram}`),
      h("p", { class: "found-mac" }, h("span", { class: "unseen" }, `${words.mac} `), chip.mac),
    ),
    h(
      "dl",
      {},
      row(words.runsNow, runsNow(words, found)),
      only ? row(words.willBe, h("strong", {}, only.release.version), ` (${only.target.target})`) : "",
    ),
  );
}

function runsNow(words: Words, found: Found): HTMLElement {
  const plain = (text: string): HTMLElement => h("span", { dir: "auto" }, text);
  switch (found.kind) {
    case "blank":
      return plain(words.runsBlank);
    case "unreadable":
      return plain(words.runsUnreadable);
    case "own":
      return h("strong", {}, found.version);
    case "foreign":
      return plain(found.name ? [found.name, found.version].filter(Boolean).join(" ") : words.runsForeign);
  }
}

function targets(
  { words, numbers }: Setting,
  offers: readonly Offer[],
  first: Offer | null,
  choose: (offer: Offer) => void,
): HTMLElement {
  if (offers.length === 1) return h("div", { hidden: true });
  const group = freshId("target");
  return h(
    "fieldset",
    { class: "found-targets" },
    h("legend", {}, words.targetsFit),
    ...offers.map((offer) => {
      const { target, release } = offer;
      const facts = [words.flash(numbers.size(target.flashSize))];
      facts.push(target.psram ? words.psram(numbers.size(target.psram)) : words.noPsram);
      return h(
        "label",
        { class: "install-radio" },
        h("input", { type: "radio", name: group, checked: offer === first, change: () => choose(offer) }),
        h("span", { class: "install-name" }, target.target),
        h("span", { class: "install-served" }, release.version),
        h("span", { class: "install-about" }, facts.join(" · ")),
      );
    }),
  );
}

function settings(
  words: Words,
  found: Found,
  advice: Advice,
  erase: boolean,
  change: (erase: boolean) => void,
): HTMLElement {
  if (found.kind === "blank") return h("p", { class: "found-only" }, words.eraseOnly);
  const group = freshId("settings");
  const option = (value: boolean, name: string, hint: string, disabled: boolean): HTMLElement =>
    h(
      "label",
      { class: "install-radio" },
      h("input", { type: "radio", name: group, checked: erase === value, disabled, change: () => change(value) }),
      h("span", { class: "install-name" }, name),
      h("span", { class: "install-about" }, hint),
    );
  const some = advice.lost.length > 0 ? words.keepSome : words.keepHint;
  const kept = advice.mayKeep ? some : words.keepNot;
  return h(
    "fieldset",
    { class: "found-settings" },
    h("legend", {}, words.settings),
    option(false, words.keep, kept, !advice.mayKeep),
    option(true, words.erase, words.eraseHint, false),
  );
}

function effectsOf(setting: Setting, found: Found, offer: Offer, advice: Advice, erase: boolean): Node[] {
  const { words } = setting;
  const nodes: Node[] = [];
  const said = advice.warnings.filter((warning) => matters(warning, erase));
  if (said.length > 0) {
    nodes.push(
      h(
        "ul",
        { class: "found-warnings" },
        ...said.map((warning) => h("li", {}, warn(words, warning, found, offer.release))),
      ),
    );
  }
  if (erase && found.kind !== "blank") {
    nodes.push(h("div", { class: "found-lost" }, h("h3", {}, words.lostTitle), h("p", {}, words.lostAll)));
  } else if (!erase && advice.lost.length > 0) {
    const lost = advice.lost.map(({ partition, how }) => h("li", { dir: "auto" }, words.lost[how](partition.label)));
    nodes.push(
      h("div", { class: "found-lost" }, h("h3", {}, words.lostTitle), h("ul", { class: "install-list" }, ...lost)),
    );
  }
  if (advice.same) nodes.push(h("p", { class: "found-same" }, words.same(offer.release.version)));
  return nodes;
}

/** What a warning is about is gone when everything is erased. */
function matters(warning: Warning, erase: boolean): boolean {
  return !erase || ["prerelease", "yanked", "psram-unknown"].includes(warning);
}

function warn(words: Words, warning: Warning, found: Found, release: Release): string {
  const now = found.kind === "own" ? found.version : "";
  switch (warning) {
    case "older-than-min-from":
      return words.warnings[warning](release.minFrom ?? "", now);
    case "downgrade":
      return words.warnings[warning](now);
    case "yanked":
      return words.warnings[warning](release.yanked ?? "");
    default:
      return words.warnings[warning];
  }
}
