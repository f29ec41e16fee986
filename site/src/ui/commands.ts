// The commands that write the same files from a terminal.

import type { Target } from "../index";

export interface Command {
  tool: "esptool" | "espflash";
  /** Each line with the places and files that it writes, which are not to be broken apart. */
  lines: { start: string; pairs: string[] }[];
}

export const fileName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** Writes a target part by part, as the page's own commands do. */
export function commands(target: Target): Command[] {
  const pairs = target.parts.map((part) => `0x${part.offset.toString(16)} ${fileName(part.path)}`);
  return [
    { tool: "esptool", lines: [{ start: `esptool --chip ${target.chip} write-flash`, pairs }] },
    {
      tool: "espflash",
      lines: pairs.map((pair) => ({ start: `espflash write-bin --chip ${target.chip}`, pairs: [pair] })),
    },
  ];
}
