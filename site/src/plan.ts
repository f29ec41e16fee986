// What may be installed on a board, and what that does to what is on it. All
// of it is decided here from values; nothing is read and nothing is written.

import type { Release, Target } from "./index";
import { compare, holdsPersonalData, isSettings, overlap, type Partition } from "./partition";
import { compareVersions } from "./version";

export interface Chip {
  /** Such as ESP32-C3. */
  readonly family: string;
  /** 100 times its major number plus its minor, as images name it; null where it cannot be read. */
  readonly revision: number | null;
  readonly mac: string;
  /** In bytes. */
  readonly flashSize: number;
  /** In bytes, 0 for none. */
  readonly psram: number | "unknown";
}

/** What is on the flash of a board. */
export type Found =
  | { readonly kind: "blank" }
  | {
      readonly kind: "foreign";
      readonly name: string | null;
      readonly version: string | null;
      readonly table: readonly Partition[] | null;
    }
  | { readonly kind: "own"; readonly version: string; readonly table: readonly Partition[] }
  | { readonly kind: "unreadable" };

export interface Verdict {
  readonly target: Target;
  readonly fits: boolean;
  readonly reason: null | "chip" | "flash-size" | "psram" | "no-parts";
}

/** A target of a release that fits a chip, and the partition table that it brings. */
export interface Offer {
  readonly release: Release;
  readonly target: Target;
  readonly table: readonly Partition[];
}

function judge(target: Target, chip: Chip): Verdict["reason"] {
  if (target.chipFamily !== chip.family) return "chip";
  if (target.parts.length === 0) return "no-parts";
  if (target.flashSize > chip.flashSize) return "flash-size";
  if (target.psram !== null && chip.psram !== "unknown" && target.psram > chip.psram) return "psram";
  return null;
}

/** Says of each target of a release whether a chip can run it. */
export function matchTargets(release: Release, chip: Chip): Verdict[] {
  return release.targets.map((target) => {
    const reason = judge(target, chip);
    return { target, fits: reason === null, reason };
  });
}

/** Whether a target needs PSRAM of a chip that does not tell whether it has any. */
function needsUnknownPsram(target: Target, chip: Chip): boolean {
  return chip.psram === "unknown" && (target.psram ?? 0) > 0;
}

/** Whether the partition tables are the same. */
function isSameTable(table: readonly Partition[], newTable: readonly Partition[]): boolean {
  const { old, added } = compare(table, newTable);
  return added.length === 0 && old.every((entry) => entry.change === "unchanged");
}

/**
 * Guesses which of several offers is for the board: over firmware of this
 * project one that divides the flash as it is divided; of those what uses most
 * of the flash, then most of the PSRAM. What needs PSRAM which could not be
 * read comes after what is known to run. Null if nothing of this tells the
 * first from the next: then they are for boards that only a person tells apart.
 */
export function guess(found: Found, chip: Chip, offers: readonly Offer[]): Offer | null {
  const order = ({ target: a }: Offer, { target: b }: Offer): number =>
    Number(needsUnknownPsram(a, chip)) - Number(needsUnknownPsram(b, chip)) ||
    b.flashSize - a.flashSize ||
    (b.psram ?? 0) - (a.psram ?? 0);
  const alike = found.kind === "own" ? offers.filter(({ table }) => isSameTable(found.table, table)) : [];
  const [best, next] = (alike.length > 0 ? alike : [...offers]).sort(order);
  return best && (!next || order(best, next) !== 0) ? best : null;
}

export interface Loss {
  readonly partition: Partition;
  readonly how: "moved" | "resized" | "removed" | "overwritten";
}

export type Warning =
  | "table-changed"
  | "older-than-min-from"
  | "downgrade"
  | "prerelease"
  | "yanked"
  | "app-running-other-project"
  | "psram-unknown";

export interface Advice {
  /** Where the switch "erase everything first" stands at the beginning. */
  readonly erase: boolean;
  /** Whether that switch may be off: without erasing, something is kept, and no settings are written over. */
  readonly mayKeep: boolean;
  /** What is lost even without erasing. */
  readonly lost: readonly Loss[];
  /** Partitions that installing without erasing must not touch: `keep` of an installation. */
  readonly keep: readonly Partition[];
  /**
   * Data partitions of the new table that lie where something else was: they
   * have to be erased, or firmware would mount what is left of it. `blank` of
   * an installation.
   */
  readonly blank: readonly Partition[];
  readonly warnings: readonly Warning[];
  /**
   * The board runs that very version. Its descriptor says so; whether all of
   * the image is there is seen when it is installed, as what is right already
   * is not written again.
   */
  readonly same: boolean;
}

/** Compares the partition table of a board with that of a target, as far as a person's data goes. */
function surveyData(
  table: readonly Partition[],
  target: Target,
  newTable: readonly Partition[],
): Pick<Advice, "lost" | "keep" | "blank" | "mayKeep"> {
  const { old } = compare(table, newTable);
  const lost: Loss[] = [];
  const keep: Partition[] = [];
  for (const { partition, change } of old) {
    if (!holdsPersonalData(partition)) continue;
    // Where a part goes over it, that weighs more than what became of its entry.
    if (target.parts.some((part) => overlap(part, partition))) lost.push({ partition, how: "overwritten" });
    else if (change === "unchanged" || change === "renamed") keep.push(partition);
    else lost.push({ partition, how: change });
  }
  const settled = new Set(old.filter((entry) => keep.includes(entry.partition)).map((entry) => entry.now));
  const blank = newTable.filter((partition) => holdsPersonalData(partition) && !settled.has(partition));
  const settingsOverwritten = lost.some((loss) => loss.how === "overwritten" && isSettings(loss.partition));
  return {
    lost,
    keep,
    // Blanking what is kept would be the very loss it is to prevent.
    blank: blank.filter((partition) => !keep.some((kept) => overlap(kept, partition))),
    // Settings are written over only by those who chose to erase. And with
    // nothing left to keep, "keep" would promise what it cannot hold.
    mayKeep: !settingsOverwritten && (keep.length > 0 || lost.length === 0),
  };
}

/** Warnings about replacing a version of this project by another one. */
function versionWarnings(installed: string, release: Release): Warning[] {
  const warnings: Warning[] = [];
  if (release.minFrom !== null) {
    const order = compareVersions(installed, release.minFrom);
    // A version that has no order cannot be shown to be new enough.
    if (order === null || order < 0) warnings.push("older-than-min-from");
  }
  if ((compareVersions(release.version, installed) ?? 0) < 0) warnings.push("downgrade");
  return warnings;
}

/**
 * Advises on installing an offer on a board: whether to erase first, what is
 * lost if not, and what to be warned of.
 */
export function advise(found: Found, { release, target, table: newTable }: Offer, chip: Chip): Advice {
  const warnings: Warning[] = [];
  const table = found.kind === "own" || found.kind === "foreign" ? found.table : null;
  const survey = table === null ? null : surveyData(table, target, newTable);
  // Without a table nobody knows where settings are, and so nothing can be
  // promised about them, except on blank flash, where there are none.
  const mayKeep = survey === null ? found.kind === "blank" : survey.mayKeep;

  if (found.kind === "own") {
    if (!isSameTable(found.table, newTable)) warnings.push("table-changed");
    warnings.push(...versionWarnings(found.version, release));
  }
  if (release.prerelease) warnings.push("prerelease");
  if (release.yanked !== null) warnings.push("yanked");
  if (found.kind === "foreign" && found.name !== null) warnings.push("app-running-other-project");
  if (needsUnknownPsram(target, chip)) warnings.push("psram-unknown");

  return {
    erase: found.kind !== "own" || !mayKeep,
    mayKeep,
    lost: survey?.lost ?? [],
    keep: survey?.keep ?? [],
    blank: survey?.blank ?? [],
    warnings,
    same: found.kind === "own" && found.version === release.version,
  };
}
