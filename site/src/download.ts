// Fetches the parts of a target. Nothing is handed out before all of it is
// there and each part has the length and the SHA-256 that the index names: a
// board is never begun with half of what it needs.

import { asFailure, describe, Failure } from "./failure";
import { toHex } from "./hex";
import type { PartRef, Role, Target } from "./index";

export interface Part {
  readonly role: Role;
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

function tampered(part: PartRef, expected: string, found: string): Failure {
  return new Failure("download-tampered", `${part.path}: expected ${expected}, found ${found}`, {
    file: part.path,
    expected,
    found,
  });
}

/** Reads a body of exactly the length that the index names; more or fewer bytes are another file. */
async function readBody(
  part: PartRef,
  response: Response,
  onBytes: (count: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(part.size);
  let received = 0;
  const reader = response.body?.getReader();
  if (reader !== undefined) {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      // Stopped at the first byte too many: a body may have no end.
      if (received + value.length > part.size) {
        void reader.cancel().catch(() => undefined);
        throw tampered(part, `${part.size} bytes`, `more than ${part.size} bytes`);
      }
      bytes.set(value, received);
      received += value.length;
      onBytes(value.length);
    }
  }
  if (received < part.size) throw tampered(part, `${part.size} bytes`, `${received} bytes`);
  return bytes;
}

async function fetchPart(
  base: URL,
  part: PartRef,
  onBytes: (count: number) => void,
  options: RequestInit,
): Promise<Part> {
  let response: Response;
  try {
    response = await fetch(new URL(part.path, base), options);
  } catch (error) {
    throw asFailure(error, "offline", { file: part.path });
  }
  if (!response.ok) {
    throw new Failure("download-missing", `${response.url}: HTTP ${response.status}`, {
      file: part.path,
      expected: `${part.size} bytes`,
      found: `HTTP ${response.status}`,
    });
  }
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await readBody(part, response, onBytes);
  } catch (error) {
    // The stream broke off: the network, not the file.
    throw asFailure(error, "offline", { file: part.path });
  }
  const digest = await sha256(bytes);
  if (digest !== part.sha256) throw tampered(part, part.sha256, digest);
  return { role: part.role, offset: part.offset, bytes };
}

/**
 * Downloads all parts of a target and checks each, in the order of the index.
 * `onProgress` hears bytes over all parts. `again` passes by what the browser
 * has stored, which an earlier attempt may have found wrong. Throws `Failure`:
 * offline, download-missing, download-tampered or cancelled.
 */
export async function downloadParts(
  base: URL,
  target: Target,
  onProgress: (done: number, total: number) => void,
  { signal, again = false }: { signal?: AbortSignal; again?: boolean } = {},
): Promise<Part[]> {
  const total = target.parts.reduce((sum, part) => sum + part.size, 0);
  let done = 0;
  onProgress(0, total);
  const onBytes = (count: number): void => {
    done += count;
    onProgress(done, total);
  };
  // One that fails ends the others, which nobody waits for any more.
  const all = new AbortController();
  // By hand: Web Serial is older than AbortSignal.any.
  const stop = (): void => all.abort();
  signal?.addEventListener("abort", stop);
  if (signal?.aborted === true) stop();
  const options = { signal: all.signal, cache: again ? "reload" : "default" } as const;
  try {
    return await Promise.all(target.parts.map((part) => fetchPart(base, part, onBytes, options)));
  } catch (error) {
    stop();
    if (signal?.aborted === true) throw new Failure("cancelled", describe(error));
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}
