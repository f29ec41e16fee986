// releases.json, the index of a site: what channels serve and which files
// make up each release. Only what the page uses is read, so that an older page
// reads a newer index; another format is refused. The schema is
// site/schema/releases-1.json; what it requires of what is read is checked here
// by hand, as offsets and SHA-256s in it decide what gets onto somebody's board.

import { asFailure, describe, Failure } from "./failure";

export type Role = "bootloader" | "partition-table" | "otadata" | "app";

export interface PartRef {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
  readonly role: Role;
  /** In bytes from the start of flash. */
  readonly offset: number;
}

export interface Target {
  readonly target: string;
  /** The chip as tools write it, such as esp32c3. */
  readonly chip: string;
  /** The chip as people write it, such as ESP32-C3. */
  readonly chipFamily: string;
  /** In bytes. */
  readonly flashSize: number;
  /** PSRAM that the board must have in bytes, or null where it is not said. */
  readonly psram: number | null;
  /** What a first flash writes; empty where the partition table is not known. */
  readonly parts: readonly PartRef[];
}

export interface Release {
  readonly version: string;
  readonly prerelease: boolean;
  /** Why no channel serves it any more, or null. */
  readonly yanked: string | null;
  readonly released: string;
  readonly notes: string | null;
  /** The oldest version whose settings this release understands, or null. */
  readonly minFrom: string | null;
  readonly targets: readonly Target[];
}

export interface Served {
  readonly target: string;
  readonly version: string;
}

export interface Channel {
  readonly name: string;
  readonly description: string | null;
  readonly targets: readonly Served[];
}

export interface Index {
  readonly project: string;
  /** Whether firmware of the project answers Improv on its serial line. */
  readonly improv: boolean;
  readonly channels: readonly Channel[];
  /** The highest version first. */
  readonly releases: readonly Release[];
}

/** What is wrong with an index, and where in it. */
export class IndexError extends Error {
  constructor(where: string, problem: string) {
    super(`releases.json: ${where === "" ? "the index" : where} ${problem}`);
    this.name = "IndexError";
  }
}

const ROLES: readonly Role[] = ["bootloader", "partition-table", "otadata", "app"];
const PATH = /^[A-Za-z0-9][A-Za-z0-9._+-]*(\/[A-Za-z0-9][A-Za-z0-9._+-]*)*$/;
const SHA256 = /^[0-9a-f]{64}$/;
const U32 = 0xffffffff;

/** A value of the index together with its place, for errors that say where. */
class Field {
  constructor(
    private readonly value: unknown,
    private readonly where: string,
  ) {}

  private fail(problem: string): never {
    throw new IndexError(this.where, problem);
  }

  get(name: string): Field {
    const { value } = this;
    if (typeof value !== "object" || value === null || Array.isArray(value)) this.fail("is not an object");
    // Own properties only: "constructor" is not a field.
    const field: unknown = Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
    return new Field(field, this.where === "" ? name : `${this.where}.${name}`);
  }

  list<T>(read: (item: Field) => T): T[] {
    if (!Array.isArray(this.value)) this.fail("is not a list");
    return this.value.map((item: unknown, i) => read(new Field(item, `${this.where}[${i}]`)));
  }

  text(form?: RegExp): string {
    if (typeof this.value !== "string") this.fail("is not text");
    if (form !== undefined && !form.test(this.value)) this.fail(`is not in the form of one: ${this.value}`);
    return this.value;
  }

  flag(): boolean {
    if (typeof this.value !== "boolean") this.fail("is neither true nor false");
    return this.value;
  }

  integer(least = 0, most = U32): number {
    const { value } = this;
    if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) {
      this.fail(`is not an integer from ${least} to ${most}`);
    }
    return value;
  }

  oneOf<T extends string>(names: readonly T[]): T {
    const found = names.find((name) => name === this.value);
    if (found === undefined) this.fail(`is none of ${names.join(", ")}`);
    return found;
  }

  /** Null for null, and for a field that is not there. */
  maybe<T>(read: (field: Field) => T): T | null {
    return this.value === null || this.value === undefined ? null : read(this);
  }

  reject(problem: string): never {
    this.fail(problem);
  }
}

function partRef(field: Field): PartRef {
  const offset = field.get("offset").integer();
  if (offset % 4096 !== 0) field.get("offset").reject("is not at the start of a sector");
  return {
    path: field.get("path").text(PATH),
    size: field.get("size").integer(1),
    sha256: field.get("sha256").text(SHA256),
    role: field.get("role").oneOf(ROLES),
    offset,
  };
}

function target(field: Field): Target {
  const parts = field.get("parts").list(partRef);
  const flashSize = field.get("flash_size").integer(1);
  let end = 0;
  for (const part of [...parts].sort((a, b) => a.offset - b.offset)) {
    if (part.offset < end) field.get("parts").reject(`overlap at 0x${part.offset.toString(16)}`);
    end = part.offset + part.size;
  }
  if (end > flashSize) field.get("parts").reject("do not fit into flash_size");
  return {
    target: field.get("target").text(),
    chip: field.get("chip").text(/^esp32[a-z0-9]*$/),
    chipFamily: field.get("chip_family").text(),
    flashSize,
    psram: field.get("psram").maybe((psram) => psram.integer()),
    parts,
  };
}

function releaseOf(field: Field): Release {
  return {
    version: field.get("version").text(),
    prerelease: field.get("prerelease").flag(),
    yanked: field.get("yanked").maybe((yanked) => yanked.text()),
    released: field.get("released").text(),
    notes: field.get("notes").maybe((notes) => notes.text()),
    minFrom: field.get("min_from").maybe((version) => version.text()),
    targets: field.get("targets").list(target),
  };
}

function channelOf(field: Field): Channel {
  return {
    name: field.get("name").text(),
    description: field.get("description").maybe((description) => description.text()),
    targets: field.get("targets").list((served) => ({
      target: served.get("target").text(),
      version: served.get("version").text(),
    })),
  };
}

/** Reads an index; throws `IndexError` where it is not what the format says. */
export function parseIndex(json: unknown): Index {
  const root = new Field(json, "");
  const fmt = root.get("fmt").integer();
  if (fmt !== 1) root.get("fmt").reject(`is ${fmt}, and this page reads format 1`);
  return {
    project: root.get("project").text(),
    improv: root.get("improv").maybe((improv) => improv.flag()) ?? true,
    channels: root.get("channels").list(channelOf),
    releases: root.get("releases").list(releaseOf),
  };
}

/** Fetches and reads the index of the site at `base`; throws `Failure`. */
export async function loadIndex(base: URL, signal?: AbortSignal): Promise<Index> {
  const file = "releases.json";
  let text: string;
  try {
    // The one file that changes in place, so that a stored copy is asked about first.
    const response = await fetch(new URL(file, base), { cache: "no-cache", signal: signal ?? null });
    if (!response.ok) {
      throw new Failure("download-missing", `${response.url}: HTTP ${response.status}`, {
        file,
        found: `HTTP ${response.status}`,
      });
    }
    text = await response.text();
  } catch (error) {
    if (signal?.aborted === true) throw new Failure("cancelled", describe(error));
    throw asFailure(error, "offline", { file });
  }
  try {
    return parseIndex(JSON.parse(text) as unknown);
  } catch (error) {
    throw new Failure("unknown", describe(error), { file }, error);
  }
}

export function channel(index: Index, name: string): Channel | null {
  return index.channels.find((candidate) => candidate.name === name) ?? null;
}

export function release(index: Index, version: string): Release | null {
  return index.releases.find((candidate) => candidate.version === version) ?? null;
}

/** The releases that a channel serves to any target, the highest version first. */
export function served(index: Index, channelName: string): Release[] {
  const versions = new Set(channel(index, channelName)?.targets.map((entry) => entry.version));
  return index.releases.filter((candidate) => versions.has(candidate.version));
}

/** Whether any target of a release has the parts of a first flash. */
export function isInstallable(candidate: Release): boolean {
  return candidate.targets.some((entry) => entry.parts.length > 0);
}
