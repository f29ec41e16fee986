// Order of semantic versions (semver.org 2.0.0, clause 11). A leading "v" is
// part of some projects' versions and has no weight; nor has build metadata.

interface Version {
  readonly core: readonly bigint[];
  readonly prerelease: readonly string[];
}

const NUMBER = "(?:0|[1-9][0-9]*)";
const IDENTIFIER = "(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)";
const BUILD = "[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*";
const FORM = new RegExp(
  `^v?(${NUMBER})\\.(${NUMBER})\\.(${NUMBER})(?:-(${IDENTIFIER}(?:\\.${IDENTIFIER})*))?(?:\\+${BUILD})?$`,
);

function parse(text: string): Version | null {
  const match = FORM.exec(text);
  if (match === null) return null;
  const [, major = "0", minor = "0", patch = "0", prerelease] = match;
  return {
    core: [BigInt(major), BigInt(minor), BigInt(patch)],
    prerelease: prerelease === undefined ? [] : prerelease.split("."),
  };
}

function order<T>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function compareIdentifiers(a: string, b: string): number {
  const [numericA, numericB] = [/^[0-9]+$/.test(a), /^[0-9]+$/.test(b)];
  if (numericA && numericB) return order(BigInt(a), BigInt(b));
  // Numbers come before words.
  if (numericA !== numericB) return numericA ? -1 : 1;
  return order(a, b);
}

/**
 * Negative, zero or positive as `a` precedes, equals or follows `b`; null if
 * one of them is not a semantic version and there is no order.
 */
export function compareVersions(a: string, b: string): number | null {
  const [left, right] = [parse(a), parse(b)];
  if (left === null || right === null) return null;
  for (let i = 0; i < 3; i++) {
    const difference = order(left.core[i] ?? 0n, right.core[i] ?? 0n);
    if (difference !== 0) return difference;
  }
  // A prerelease precedes its release.
  if (left.prerelease.length === 0 || right.prerelease.length === 0) {
    return order(right.prerelease.length, left.prerelease.length);
  }
  const shared = Math.min(left.prerelease.length, right.prerelease.length);
  for (let i = 0; i < shared; i++) {
    const difference = compareIdentifiers(left.prerelease[i] ?? "", right.prerelease[i] ?? "");
    if (difference !== 0) return difference;
  }
  return order(left.prerelease.length, right.prerelease.length);
}
