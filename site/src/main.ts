// The installer's entry: small, because everybody loads it. It reads the index,
// fills the card, and fetches the rest when a person is about to click.

import "./installer.css";

import { isInstallable, loadIndex, type Index } from "./index";
import { pickLanguage, words, type Language } from "./strings";
import { asked, remember } from "./ui/address";
import { showChoice } from "./ui/choose";
import { button, h } from "./ui/dom";
import { Numbers } from "./ui/numbers";
import type { Setting } from "./ui/setting";

const base = new URL(document.baseURI);

const flow = (): Promise<typeof import("./ui/flow")> => import("./ui/flow");

function setting(index: Index, language: Language): Setting {
  return { index, base, language, words: words(language), numbers: new Numbers(language, navigator.languages) };
}

/** Fills the card, in a language. */
function present(section: HTMLElement, index: Index, language: Language): void {
  const here = setting(index, language);
  let prepared = false;
  const unreachable = (): void => {
    const { title, steps } = here.words.failures.offline({});
    section.querySelector(".install-note")?.remove();
    section
      .querySelector(".install-head")
      ?.after(h("p", { class: "install-note", role: "alert" }, `${title}. ${steps[0] ?? ""}`));
  };
  const link = document.querySelector<HTMLElement>("#install-link");
  if (link) {
    link.hidden = false;
    link.lang = language;
    const anchor = link.querySelector("a");
    if (anchor) anchor.textContent = here.words.install;
  }
  showChoice(
    section,
    here,
    { channel: asked("channel"), version: asked("version"), target: asked("target") },
    {
      install: (choice) => void flow().then(({ install }) => install(here, { ...choice }), unreachable),
      console: () => void flow().then(({ openConsole }) => openConsole(here), unreachable),
      language: (chosen) => {
        remember({ lang: chosen === pickLanguage(null, navigator.languages) ? null : chosen });
        present(section, index, chosen);
        section.querySelector<HTMLElement>(`[data-key="lang-${chosen}"]`)?.focus();
      },
      prepare: () => {
        if (prepared) return;
        prepared = true;
        void flow().catch(() => {
          prepared = false;
        });
      },
    },
  );
  section.hidden = false;
}

async function start(section: HTMLElement): Promise<void> {
  const language = pickLanguage(asked("lang"), navigator.languages);
  try {
    const index = await loadIndex(base);
    if (index.releases.some(isInstallable)) present(section, index, language);
  } catch {
    const { title, indexFailed, retry } = words(language);
    section.lang = language;
    section.replaceChildren(
      h("h2", {}, title),
      h("p", { role: "alert" }, indexFailed),
      button(retry, () => void start(section), "primary"),
    );
    section.hidden = false;
  }
}

const section = document.querySelector<HTMLElement>("#install");
if (section) void start(section);
