// What a person has chosen before a board is connected, and which releases
// that means. Pure: takes an index and an address's words, returns values.

import { channel, isInstallable, release, served, type Index, type Release, type Target } from "../index";

export interface Choice {
  /** The channel; null when the site has none that serves anything to install. */
  channel: string | null;
  /** The version, or null for what the channel serves for the board that is connected. */
  version: string | null;
  /** The target that a link asks for; it is only a preference among those that fit. */
  target: string | null;
}

/** What a link asked for in vain. */
export type Missed = { what: "channel" | "version" | "target"; value: string };

/** The versions of a channel that can be installed, the highest first. */
export function offered(index: Index, name: string | null): Release[] {
  return name === null ? [] : served(index, name).filter(isInstallable);
}

/** Every release to install that the channel does not serve; yanked ones apart. */
export function others(index: Index, name: string | null): { sound: Release[]; yanked: Release[] } {
  const here = new Set(offered(index, name));
  const rest = index.releases.filter((entry) => isInstallable(entry) && !here.has(entry));
  return {
    sound: rest.filter((entry) => entry.yanked === null),
    yanked: rest.filter((entry) => entry.yanked !== null),
  };
}

/** The first channel with something to install. */
export function firstChannel(index: Index): string | null {
  return index.channels.find((entry) => offered(index, entry.name).length > 0)?.name ?? null;
}

/** Reads a link's words; what it asks for in vain is left at its default, and named. */
export function choose(index: Index, link: Choice): { choice: Choice; missed: Missed[] } {
  const missed: Missed[] = [];
  const choice: Choice = { channel: firstChannel(index), version: null, target: null };
  if (link.channel !== null) {
    if (channel(index, link.channel) && offered(index, link.channel).length > 0) choice.channel = link.channel;
    else missed.push({ what: "channel", value: link.channel });
  }
  if (choice.channel === null) choice.version = index.releases.find(isInstallable)?.version ?? null;
  if (link.version !== null) {
    const asked = release(index, link.version);
    if (asked && isInstallable(asked))
      choice.version = servedAlone(index, choice.channel, link.version) ? null : link.version;
    else missed.push({ what: "version", value: link.version });
  }
  if (link.target !== null) {
    const known = releases(index, choice).some((entry) => entry.targets.some((t) => t.target === link.target));
    if (known) choice.target = link.target;
    else missed.push({ what: "target", value: link.target });
  }
  return { choice, missed };
}

/** Whether the version is the only one that the channel serves, so that naming it adds nothing. */
function servedAlone(index: Index, name: string | null, version: string): boolean {
  const here = offered(index, name);
  return here.length === 1 && here[0]?.version === version;
}

/** The releases that a choice may mean; which one, the connected board decides. */
export function releases(index: Index, choice: Choice): Release[] {
  if (choice.version === null) return offered(index, choice.channel);
  const one = release(index, choice.version);
  return one ? [one] : [];
}

/** Whether the choice takes this target of this release: a channel serves each target one version. */
export function takes(index: Index, choice: Choice, entry: Release, target: Target): boolean {
  if (choice.version !== null) return true;
  const name = choice.channel;
  if (name === null) return true;
  return (channel(index, name)?.targets ?? []).some((t) => t.target === target.target && t.version === entry.version);
}

/** The chip families of the releases' installable targets, each once. */
export function families(entries: readonly Release[]): string[] {
  const all = entries.flatMap((entry) => entry.targets.filter((t) => t.parts.length > 0).map((t) => t.chipFamily));
  return [...new Set(all)].sort();
}
