// What is drawn: the chip, the board with its two buttons, and the tug that
// tows the firmware across. Only the picture of the buttons says something
// that has words of its own; the others are decoration.

import { svg } from "./dom";

/** A chip seen from above. */
export function chipDrawing(name: string): SVGSVGElement {
  const pins = [6, 12, 18].flatMap((at) => [`M${at} 0v3`, `M${at} 21v3`, `M0 ${at}h3`, `M21 ${at}h3`]).join("");
  return svg(
    "svg",
    { class: name, viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" },
    svg("path", { class: "pins", d: pins }),
    svg("rect", { class: "body", x: 3, y: 3, width: 18, height: 18, rx: 2.5 }),
    svg("circle", { class: "mark", cx: 7.2, cy: 7.2, r: 1.3 }),
  );
}

/** The scene of the work: `--way`, from 0 to 1, is how far the tow has come; the light is lit on arrival. */
export function towScene(arrived = false): SVGSVGElement {
  const wave = (y: number, from: number): string => `M${from} ${y}${"q5-4 10 0t10 0".repeat(46)}`;
  return svg(
    "svg",
    {
      class: arrived ? "tow arrived" : "tow",
      viewBox: "0 0 480 110",
      preserveAspectRatio: "xMaxYMax meet",
      "aria-hidden": "true",
      focusable: "false",
    },
    svg("circle", { class: "tow-moon", cx: 60, cy: 26, r: 9 }),
    svg("path", { class: "tow-beam", d: "M449 30L-300 6v62z" }),
    svg("path", { class: "tow-water far", d: wave(80, -400) }),
    svg(
      "g",
      { class: "tow-ships" },
      svg(
        "g",
        { class: "tow-bob" },
        // The barge, with the chip as its load.
        svg("path", { class: "tow-barge", d: "M10 74h74l-6 13q-1 2-4 2H22q-3 0-4-3z" }),
        svg("path", { class: "tow-pins", d: "M34 40v34M42 40v34M50 40v34M58 40v34" }),
        svg("rect", { class: "tow-chip", x: 28, y: 44, width: 36, height: 26, rx: 3 }),
        svg("circle", { class: "tow-dot", cx: 34.5, cy: 50.5, r: 2.2 }),
      ),
      svg("path", { class: "tow-rope", d: "M82 74q26 15 52-2" }),
      svg(
        "g",
        { class: "tow-bob late" },
        svg("path", { class: "tow-smoke", d: "M147 38q-7-5-2-10t-3-10" }),
        svg("path", { class: "tow-band", d: "M143 42h10v20h-10z" }),
        svg("path", { class: "tow-hull", d: "M158 34h18v13h-18zm4 4v5h10v-5z", "fill-rule": "evenodd" }),
        svg("path", { class: "tow-house", d: "M156 47h24v17h-24z" }),
        svg("path", { class: "tow-hull", d: "M133 64h62l-8 19q-2 4-6 4h-36q-5 0-7-5z" }),
      ),
    ),
    svg("path", { class: "tow-water", d: wave(90, -390) }),
    svg("path", { class: "tow-water near", d: wave(100, -405) }),
    // The harbour: a pier and its light.
    svg("path", { class: "tow-pier", d: "M424 84h66v36h-66z" }),
    svg("path", { class: "tow-light", d: "M444 36h14l5 48h-24z" }),
    svg("path", { class: "tow-band", d: "M443 50h16l1.2 11h-18.4z" }),
    svg("path", { class: "tow-lamp", d: "M445 24h12v12h-12z" }),
    svg("path", { class: "tow-band", d: "M443 24l8-7 8 7z" }),
  );
}

// Drawn, not written: the picture has one name for those who cannot see it,
// and letters inside would be read once more.
const DIGITS = {
  1: "m1 2.5l3.5-2.5v12",
  2: "m0 3.5a3.8 3.6 0 0 1 7.5 0q0 2-2.5 4.2l-5 4.3h8",
  3: "h7.5l-4 4.5a3.7 3.7 0 1 1-4 5.5",
};
const LETTERS: Readonly<Record<string, string>> = {
  B: "M0 5h4a2.5 2.5 0 0 1 0 5H0V0h3.5a2.5 2.5 0 0 1 0 5",
  O: "M4 0a4 5 0 0 1 0 10a4 5 0 0 1 0-10",
  T: "M0 0h8M4 0v10",
  R: "M0 10V0h4a2.75 2.75 0 0 1 0 5.5H0m4 0l3.5 4.5",
  E: "M7 0H0v10h7M0 5h5.5",
  S: "M7 1.8Q6 0 3.6 0T.3 2.5t3.3 2.5T7 7.5T3.6 10T0 8.2",
};

/** A board with its buttons, and in which order to press them. */
export function bootPicture(description: string): SVGSVGElement {
  const step = (number: 1 | 2 | 3, x: number, y: number): SVGGElement =>
    svg(
      "g",
      {},
      svg("circle", { class: "boot-step", cx: x, cy: y, r: 12 }),
      svg("path", { class: "boot-number", d: `M${x - 4} ${y - 6}${DIGITS[number]}` }),
    );
  const key = (x: number, y: number, label: string): SVGGElement =>
    svg(
      "g",
      {},
      svg("rect", { class: "boot-frame", x: x - 15, y: y - 12, width: 30, height: 24, rx: 4 }),
      svg("circle", { class: "boot-key", cx: x, cy: y, r: 7.5 }),
      ...[...label].map((letter, at) => {
        const left = x - 24 - (label.length - at) * 11;
        return svg("path", { class: "boot-label", d: LETTERS[letter] ?? "", transform: `translate(${left} ${y - 5})` });
      }),
    );
  const down = (x: number, y: number): SVGPathElement =>
    svg("path", { class: "boot-arrow", d: `M${x} ${y}v15m-5-5l5 5 5-5` });
  const up = (x: number, y: number): SVGPathElement =>
    svg("path", { class: "boot-arrow", d: `M${x} ${y}v-15m-5 5l5-5 5 5` });
  return svg(
    "svg",
    { class: "boot", viewBox: "0 0 420 170", role: "img", "aria-label": description },
    svg("rect", { class: "boot-board", x: 12, y: 20, width: 268, height: 130, rx: 10 }),
    svg("rect", { class: "boot-module", x: 24, y: 42, width: 92, height: 86, rx: 4 }),
    svg("path", { class: "boot-aerial", d: "M32 52v66m0-66h10v14H32m0 12h10v14H32m0 12h10v14" }),
    svg("rect", { class: "boot-chip", x: 54, y: 58, width: 52, height: 54, rx: 3 }),
    svg("rect", { class: "boot-usb", x: 258, y: 66, width: 34, height: 38, rx: 5 }),
    key(218, 48, "BOOT"),
    key(218, 124, "RESET"),
    svg("path", { class: "boot-lead", d: "M236 48h76M236 124h76" }),
    step(1, 326, 48),
    down(352, 41),
    step(3, 378, 48),
    up(404, 56),
    step(2, 326, 124),
    down(352, 117),
    up(366, 132),
  );
}

/** A padlock, for a network with a password. */
export function lockDrawing(label: string): SVGSVGElement {
  return svg(
    "svg",
    { class: "wifi-lock", viewBox: "0 0 16 16", role: "img", "aria-label": label },
    svg("path", { class: "line", d: "M5 7V5a3 3 0 0 1 6 0v2" }),
    svg("rect", { class: "solid", x: 3, y: 7, width: 10, height: 7, rx: 1.5 }),
  );
}

/** Four bars, filled as far as the signal is strong. */
export function strengthDrawing(level: number, label: string): SVGSVGElement {
  return svg(
    "svg",
    { class: "wifi-strength", viewBox: "0 0 20 16", role: "img", "aria-label": label },
    ...[0, 1, 2, 3].map((at) =>
      svg("rect", {
        class: at <= level ? "solid" : "faint",
        x: at * 5,
        y: 11 - at * 3.5,
        width: 3.5,
        height: 4 + at * 3.5,
        rx: 1,
      }),
    ),
  );
}

/** The sign to close. */
export function crossDrawing(): SVGSVGElement {
  return svg(
    "svg",
    { class: "flow-cross", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: "M2.5 2.5l11 11m0-11l-11 11" }),
  );
}
