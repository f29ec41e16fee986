// What every part of the installer needs to know of the page that it is on.

import type { Index } from "../index";
import type { Language, Words } from "../strings";
import type { Numbers } from "./numbers";

export interface Setting {
  index: Index;
  /** What the paths of the index are relative to. */
  base: URL;
  language: Language;
  words: Words;
  numbers: Numbers;
}
