// What the page's own address says: channel, version, target and language.
// Parameters that are not ours stay as they are.

export type Name = "channel" | "version" | "target" | "lang";

/** The parameter of the address, or null. */
export function asked(name: Name): string | null {
  return new URLSearchParams(location.search).get(name);
}

/** Puts the parameters into the address, without an entry in the history; null removes one. */
export function remember(values: Partial<Record<Name, string | null>>): void {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(values)) {
    if (value === null) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  if (url.href !== location.href) history.replaceState(history.state, "", url);
}
