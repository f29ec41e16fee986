// Colours of a log line. Escape sequences become one of four tones and are
// otherwise dropped, so that a board can colour its text and nothing else.

export type Tone = "plain" | "error" | "warn" | "info";

export interface Run {
  text: string;
  tone: Tone;
}

const TONES: Readonly<Record<number, Tone>> = {
  31: "error",
  91: "error",
  33: "warn",
  93: "warn",
  32: "info",
  92: "info",
};
const LEVELS: Readonly<Record<string, Tone>> = {
  E: "error",
  W: "warn",
  I: "info",
  ERROR: "error",
  WARN: "warn",
  INFO: "info",
};

// CSI, OSC, and two-character sequences; the first group is what a colour command holds.
const ESCAPES = /\x1b\[([0-9;]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\^_]?/g;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f]/g;

/** `E (123) tag: …` of ESP-IDF, with a number or a clock, and `ERROR - …` of esp-println. */
const LEVEL = /^(?:([EWIDV]) \([\d:.]+\) |(ERROR|WARN|INFO) - )/;

/** Splits a line into runs of one tone each. */
export function parseLine(line: string): Run[] {
  const runs: Run[] = [];
  let tone: Tone | null = null;
  let from = 0;
  const take = (to: number): void => {
    const text = line.slice(from, to).replace(CONTROLS, "");
    if (!text) return;
    const last = runs.at(-1);
    if (last && last.tone === (tone ?? "plain")) last.text += text;
    else runs.push({ text, tone: tone ?? "plain" });
  };
  let coloured = false;
  for (const escape of line.matchAll(ESCAPES)) {
    take(escape.index);
    from = escape.index + escape[0].length;
    if (escape[1] === undefined) continue;
    for (const code of escape[1].split(";").map(Number)) {
      if (code === 0 || code === 39) tone = null;
      tone = TONES[code] ?? tone;
      coloured ||= code in TONES;
    }
  }
  take(line.length);
  const first = runs[0];
  if (coloured || !first) return runs;
  const level = LEVEL.exec(first.text);
  const byLevel = LEVELS[level?.[1] ?? level?.[2] ?? ""];
  return byLevel ? runs.map(({ text }) => ({ text, tone: byLevel })) : runs;
}
