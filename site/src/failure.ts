// What can go wrong between a person, a browser and a board, each with a code
// of its own: the words for it and the next step belong to the page. A
// failure is thrown, never returned, and carries what a message needs.

export type FailureCode =
  | "no-web-serial" // the browser has no Web Serial
  | "insecure-context" // the page is neither on https nor on localhost
  | "no-port" // the chooser was closed without a port
  | "port-busy" // open() failed: another program has it
  | "silent" // the port is open, and not one byte was heard
  | "not-in-download-mode" // bytes were heard, but the ROM loader does not answer
  | "noise" // answers are garbled again and again, also at the lowest speed
  | "unplugged"
  | "unknown-chip"
  | "wrong-chip" // nothing in this release is for this chip, flash size or PSRAM
  | "old-chip" // the firmware is for other revisions of this chip
  | "no-flash" // the flash chip does not say what it is
  | "secure-download"
  | "secure-boot"
  | "flash-encrypted"
  | "download-missing"
  | "download-tampered"
  | "offline"
  | "erase-failed"
  | "write-failed"
  | "verify-mismatch"
  | "cancelled"
  | "unknown";

/**
 * Words for the message of a failure, by name: `chip` (secure-download,
 * secure-boot, flash-encrypted, unknown-chip), `found` and `least` or `most`
 * (old-chip), `part` (write-failed, verify-mismatch), `file`, `expected` and
 * `found` (download-missing, download-tampered, offline). And for the next
 * attempt, `baudLimit`: the highest speed of the line that is worth trying.
 */
export type Facts = Readonly<Record<string, string>>;

export class Failure extends Error {
  readonly code: FailureCode;
  /** What happened in technical words: for a details element, never the message. */
  readonly detail: string;
  readonly facts: Facts;

  constructor(code: FailureCode, detail = "", facts: Facts = {}, cause?: unknown) {
    super(detail === "" ? code : `${code}: ${detail}`, cause === undefined ? undefined : { cause });
    this.name = "Failure";
    this.code = code;
    this.detail = detail;
    this.facts = facts;
  }
}

/** Names an error in one line, for `detail`. */
export function describe(error: unknown): string {
  if (error instanceof Failure) return error.detail === "" ? error.code : error.detail;
  if (error instanceof Error) return error.name === "Error" ? error.message : `${error.name}: ${error.message}`;
  return String(error);
}

/** Makes a failure of whatever was thrown; one that is a failure already stays as it is. */
export function asFailure(error: unknown, code: FailureCode = "unknown", facts: Facts = {}): Failure {
  return error instanceof Failure ? error : new Failure(code, describe(error), facts, error);
}
