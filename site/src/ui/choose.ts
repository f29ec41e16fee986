// The card on the page: channel, version, what is new, and the one big button.
// A browser that cannot reach a USB port gets the commands in its place.

import type { Release } from "../index";
import { LANGUAGE_NAMES, type Language } from "../strings";
import { remember } from "./address";
import { choose, families, firstChannel, offered, others, releases, type Choice, type Missed } from "./choice";
import { freshId, h, keepReachable } from "./dom";
import { notice, terminal } from "./manual";
import { chipDrawing } from "./drawings";
import { obstacle } from "./support";
import type { Setting } from "./setting";

/** What the card may ask the page to do. */
export interface Deeds {
  install(choice: Choice): void;
  console(): void;
  language(language: Language): void;
  /** The button is about to be pressed: what it needs may be fetched. */
  prepare(): void;
}

/** Draws the card into `section`, and again whenever something is chosen. */
export function showChoice(section: HTMLElement, setting: Setting, link: Choice, deeds: Deeds): void {
  const { index, words } = setting;
  const { choice, missed } = choose(index, link);
  const draw = (notes: readonly Missed[], focus?: string): void => {
    section.replaceChildren(...card(setting, choice, notes, pick, deeds));
    if (focus) section.querySelector<HTMLElement>(`[data-key="${CSS.escape(focus)}"]`)?.focus();
  };
  const pick = (change: Partial<Choice>, focus: string): void => {
    Object.assign(choice, change);
    const known = releases(index, choice).some((entry) => entry.targets.some((t) => t.target === choice.target));
    if (!known) choice.target = null;
    remember({
      channel: choice.channel === firstChannel(index) ? null : choice.channel,
      version: choice.version,
      target: choice.target,
    });
    draw([], focus);
  };
  section.lang = setting.language;
  section.setAttribute("aria-label", words.title);
  draw(missed);
}

type Pick = (change: Partial<Choice>, focus: string) => void;

function card(setting: Setting, choice: Choice, missed: readonly Missed[], pick: Pick, deeds: Deeds): Node[] {
  const { index, words, numbers } = setting;
  const meant = releases(index, choice);
  const stop = obstacle();
  const nodes: Node[] = [
    h(
      "div",
      { class: "install-head" },
      h("h2", {}, words.title),
      languages(setting, deeds),
      h("p", { class: "install-lede" }, words.lede),
    ),
  ];
  if (missed.length > 0) nodes.push(missedNote(setting, choice, missed));
  if (stop !== null) nodes.push(notice(setting, stop));
  const side = h(
    "div",
    { class: "install-choice" },
    channels(setting, choice, pick),
    versions(setting, choice, pick),
    stop === null && go(setting, choice, deeds),
    h(
      "p",
      { class: "install-chips" },
      chipDrawing("install-chip"),
      h("span", {}, words.chips(numbers.list(families(meant), "disjunction"))),
    ),
  );
  nodes.push(h("div", { class: "install-card" }, side, news(setting, meant)));
  if (stop !== null) nodes.push(terminal(setting, meant, choice.target));
  return nodes;
}

function languages({ language, words }: Setting, deeds: Deeds): HTMLElement {
  const all = Object.entries(LANGUAGE_NAMES) as [Language, string][];
  return h(
    "div",
    { class: "install-languages", role: "group", "aria-label": words.language },
    ...all.map(([code, name]) =>
      h(
        "button",
        {
          type: "button",
          lang: code,
          "data-key": `lang-${code}`,
          "aria-pressed": String(code === language),
          click: () => deeds.language(code),
        },
        h("span", { "aria-hidden": "true" }, code.toUpperCase()),
        h("span", { class: "unseen" }, name),
      ),
    ),
  );
}

function missedNote({ words }: Setting, choice: Choice, missed: readonly Missed[]): HTMLElement {
  const say = { channel: words.unknownChannel, version: words.unknownVersion, target: words.unknownTarget };
  const instead = [choice.channel, choice.version].filter((part) => part !== null).join(" ");
  return h(
    "p",
    { class: "install-note", role: "status" },
    missed.map(({ what, value }) => say[what](value)).join(" "),
    instead ? ` ${words.shownInstead(instead)}` : null,
  );
}

function channels({ index, words }: Setting, choice: Choice, pick: Pick): HTMLElement | null {
  if (index.channels.length < 2) return null;
  const about = freshId("channel");
  const described = index.channels.find((entry) => entry.name === choice.channel);
  return h(
    "fieldset",
    { class: "install-channels" },
    h("legend", {}, words.channel),
    h(
      "div",
      { class: "install-berths" },
      ...index.channels.map((entry) => {
        const here = offered(index, entry.name);
        return h(
          "label",
          { class: "install-radio" },
          h("input", {
            type: "radio",
            name: "install-channel",
            value: entry.name,
            "data-key": `channel-${entry.name}`,
            checked: entry.name === choice.channel,
            disabled: here.length === 0,
            "aria-describedby": entry.name === choice.channel && entry.description ? about : null,
            change: () => pick({ channel: entry.name, version: null }, `channel-${entry.name}`),
          }),
          h("span", { class: "install-name" }, entry.name),
          h("span", { class: "install-served" }, here.map((r) => r.version).join(", ") || words.noRelease),
        );
      }),
    ),
    described?.description && h("p", { class: "install-about", id: about, dir: "auto" }, described.description),
  );
}

function versions({ index, words }: Setting, choice: Choice, pick: Pick): HTMLElement | null {
  const here = offered(index, choice.channel);
  const { sound, yanked } = others(index, choice.channel);
  const id = freshId("version");
  const option = (value: string, text: string): HTMLElement =>
    h("option", { value, selected: value === (choice.version ?? "") }, text);
  const named = (entry: Release): string =>
    [entry.version, entry.prerelease && `(${words.prerelease})`].filter(Boolean).join(" ");
  const group = (label: string, options: HTMLElement[]): HTMLElement | null =>
    options.length > 0 ? h("optgroup", { label }, ...options) : null;
  const name = choice.channel ?? "";
  const first = here.map((entry) => entry.version);
  const servedOptions = [
    ...(first.length > 0 ? [option("", first.length === 1 ? (first[0] ?? "") : words.byBoard(first.join(" / ")))] : []),
    ...(first.length > 1 ? here.map((entry) => option(entry.version, named(entry))) : []),
  ];
  return h(
    "div",
    { class: "install-version" },
    h("label", { for: id }, words.version),
    h(
      "select",
      {
        id,
        "data-key": "version",
        change: (event) => pick({ version: (event.target as HTMLSelectElement).value || null }, "version"),
      },
      group(words.served(name), servedOptions),
      group(
        words.otherVersions,
        sound.map((entry) => option(entry.version, named(entry))),
      ),
      group(
        words.yankedVersions,
        yanked.map((entry) => option(entry.version, `${named(entry)} – ${shorten(words.yanked(entry.yanked ?? ""))}`)),
      ),
    ),
  );
}

/** A reason that fits into one line of a list. */
function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 59).trimEnd()}…` : text;
}

function go({ words }: Setting, choice: Choice, deeds: Deeds): HTMLElement {
  const connect = h(
    "button",
    {
      type: "button",
      class: "act primary install-go",
      "data-key": "connect",
      click: () => deeds.install(choice),
      pointerenter: () => deeds.prepare(),
      focus: () => deeds.prepare(),
    },
    words.connectBoard,
  );
  return h(
    "div",
    { class: "install-actions" },
    connect,
    h(
      "button",
      { type: "button", class: "act quiet", "data-key": "console", click: () => deeds.console() },
      words.serialConsole,
    ),
    h("p", { class: "install-hint" }, words.connectHint),
  );
}

function news({ words, numbers }: Setting, meant: readonly Release[]): HTMLElement {
  const side = h("div", { class: "install-news", role: "group", "aria-label": words.notes });
  for (const entry of meant) {
    side.append(
      h(
        "div",
        { class: "install-new" },
        h("h3", {}, words.whatsNew(entry.version)),
        h(
          "p",
          { class: "facts" },
          h("time", { datetime: entry.released }, words.released(numbers.date(entry.released))),
          entry.prerelease && h("span", { class: "badge" }, words.prerelease),
        ),
        entry.yanked !== null &&
          h(
            "p",
            { class: "withdrawal" },
            h("strong", { dir: "auto" }, words.yanked(entry.yanked)),
            ` ${words.yankedHint}`,
          ),
        entry.notes?.trim()
          ? h("p", { class: "notes", dir: "auto" }, entry.notes.trim())
          : h("p", { class: "none" }, words.noNotes),
      ),
    );
  }
  keepReachable(side);
  return side;
}
