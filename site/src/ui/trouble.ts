// A failure on the screen: what it is, why, what to do now, and the technical
// details for whoever helps.

import { asFailure, type Failure } from "../failure";
import { partName, type Words } from "../strings";
import { copyButton, h } from "./dom";
import { bootPicture } from "./drawings";
import type { Screen } from "./frame";

/** Words for the facts that the engine knows by names of its own. */
function readable(words: Words, facts: Failure["facts"]): Record<string, string> {
  const part = facts["part"];
  const file = facts["file"];
  return {
    ...facts,
    ...(part === undefined ? {} : { part: partName(words, part) }),
    ...(file === undefined ? {} : { file: file.slice(file.lastIndexOf("/") + 1) }),
  };
}

/** The screen of a failure; `log` is what the engine has told so far. */
export function troubleScreen(
  words: Words,
  error: unknown,
  log: readonly string[],
  actions: HTMLElement[],
  facts: Record<string, string> = {},
): Screen {
  const failure = asFailure(error);
  const { title, why, steps } = words.failures[failure.code]({ ...readable(words, failure.facts), ...facts });
  const technical = [`${failure.code}: ${failure.detail || "–"}`, ...log.slice(-60)].join("\n");
  const body: Node[] = [];
  if (failure.code === "not-in-download-mode") body.push(bootPicture(words.bootPicture));
  const list = steps.length > 1 ? "ol" : "ul";
  body.push(
    h(list, { class: steps.length > 1 ? "steps" : "install-list" }, ...steps.map((step) => h("li", {}, step))),
    h(
      "details",
      { class: "technical" },
      h("summary", {}, words.detail),
      h("pre", { tabindex: 0, role: "group", "aria-label": words.detail }, technical),
      copyButton(words.copy, words.copied, () => `${technical}\n${navigator.userAgent}`),
    ),
  );
  return { title, lead: why, body, actions, look: "trouble" };
}
