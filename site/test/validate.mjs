// The rules of html-validate that hold for every document of the site.

import { HtmlValidate } from "html-validate";

/** A validator with the site's rules and `more`. */
export function validator(more = {}) {
  return new HtmlValidate({
    root: true,
    extends: ["html-validate:recommended"],
    rules: {
      // The standard's own rule for an id: the ids of releases hold versions, so dots.
      "valid-id": ["error", { relaxed: true }],
      // Matters of taste, and of the project's own title and notes.
      "long-title": "off",
      "no-trailing-whitespace": "off",
      ...more,
    },
  });
}
