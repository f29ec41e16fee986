// The head of an image: a header of 24 bytes, that of the first segment (8),
// and at 0x20 of an app its descriptor. Little endian.

const MIN_REVISION = 15;
const MAX_REVISION = 17;
const DESCRIPTOR = 0x20;
/** Bytes from the start of an image that hold all that is read here. */
export const HEAD_SIZE = 0x120;

export interface AppDescriptor {
  readonly version: string;
  readonly projectName: string;
}

/** Revisions of its chip that an image runs on, 100 times major plus minor. */
export interface Revisions {
  readonly least: number;
  /** Null where newer ones are not excluded. */
  readonly most: number | null;
}

/** Whether bytes begin as an image of the ROM's format does. */
export function isImage(bytes: Uint8Array): boolean {
  return bytes[0] === 0xe9;
}

/** Whether flash was erased and not written since. */
export function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0xff);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The revisions that an image names, `min_chip_rev_full` and `max_chip_rev_full`; null for anything else. */
export function parseRevisions(image: Uint8Array): Revisions | null {
  if (image.length < DESCRIPTOR || !isImage(image)) return null;
  const view = viewOf(image);
  const most = view.getUint16(MAX_REVISION, true);
  // Older tools wrote neither field; 0xffff is no limit too.
  return { least: view.getUint16(MIN_REVISION, true), most: most === 0 || most === 0xffff ? null : most };
}

/** Reads the descriptor of an app image; null for anything else, a bootloader among it. */
export function parseDescriptor(image: Uint8Array): AppDescriptor | null {
  if (image.length < HEAD_SIZE || !isImage(image)) return null;
  if (viewOf(image).getUint32(DESCRIPTOR, true) !== 0xabcd5432) return null;
  const text = (offset: number, length: number): string => {
    const field = image.subarray(DESCRIPTOR + offset, DESCRIPTOR + offset + length);
    const zero = field.indexOf(0);
    return new TextDecoder().decode(zero === -1 ? field : field.subarray(0, zero));
  };
  return { version: text(16, 32), projectName: text(48, 32) };
}
