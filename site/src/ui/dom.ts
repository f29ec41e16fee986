// Elements without markup: text is always a text node, so nothing that comes
// from a release, a board or an address can ever become an element or script.

type Listener = (event: Event) => void;
type Value = string | number | boolean | null | undefined | Listener;
type Attributes = Record<string, Value>;
export type Child = Node | string | number | null | undefined | false;

const SVG = "http://www.w3.org/2000/svg";

function fill<E extends Element>(element: E, attributes: Attributes, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false)
      element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Makes an element; an attribute whose value is a function is a listener for the event of that name. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), attributes, children);
}

/** Makes an element of a drawing. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Makes a button of the page's look. */
export function button(
  label: string,
  press: Listener,
  kind: "primary" | "plain" | "quiet" = "plain",
): HTMLButtonElement {
  return h("button", { type: "button", class: `act ${kind}`, click: press }, label);
}

/**
 * Makes a button that copies a text and says so, on itself and to a screen
 * reader. Null on a page that is not secure: it has no clipboard.
 */
export function copyButton(label: string, done: string, text: () => string): HTMLButtonElement | null {
  if (!("clipboard" in navigator)) return null;
  const element = button(
    label,
    () => {
      const copied = (): void => {
        element.textContent = done;
        setTimeout(() => (element.textContent = label), 2000);
      };
      // Where it is not allowed, the text can still be selected.
      void navigator.clipboard.writeText(text()).then(copied, () => undefined);
    },
    "quiet",
  );
  element.setAttribute("aria-live", "polite");
  return element;
}

/** Lets the keyboard reach a part of the page whenever there is more of it than fits. */
export function keepReachable(part: HTMLElement): void {
  new ResizeObserver(() => {
    if (part.scrollHeight > part.clientHeight) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }).observe(part);
}

let ids = 0;

/** An id that no other element has. */
export function freshId(what: string): string {
  ids += 1;
  return `install-${what}-${ids}`;
}
