// The head of an app image: a header of 24 bytes, that of the first segment
// (8), and at 0x20 the app descriptor. Little endian.

const DESCRIPTOR = 0x20;
/** Bytes from the start of an image that hold all that is read here. */
export const HEAD_SIZE = 0x120;

export interface AppDescriptor {
  /** Number of the chip in the image header, as GET_SECURITY_INFO tells it. */
  readonly chipId: number;
  readonly secureVersion: number;
  readonly version: string;
  readonly projectName: string;
  readonly time: string;
  readonly date: string;
  readonly idfVersion: string;
  /** SHA-256 of the ELF file in hexadecimal digits. */
  readonly elfSha256: string;
}

/** Whether bytes begin as an image of the ROM's format does. */
export function isImage(bytes: Uint8Array): boolean {
  return bytes[0] === 0xe9;
}

/** Whether flash was erased and not written since. */
export function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0xff);
}

/** Reads the descriptor of an app image; null for anything else, a bootloader among it. */
export function parseDescriptor(image: Uint8Array): AppDescriptor | null {
  if (image.length < HEAD_SIZE || !isImage(image)) return null;
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (view.getUint32(DESCRIPTOR, true) !== 0xabcd5432) return null;
  const text = (offset: number, length: number): string => {
    const field = image.subarray(DESCRIPTOR + offset, DESCRIPTOR + offset + length);
    const zero = field.indexOf(0);
    return new TextDecoder().decode(zero === -1 ? field : field.subarray(0, zero));
  };
  const sha256 = image.subarray(DESCRIPTOR + 144, DESCRIPTOR + 176);
  return {
    chipId: view.getUint16(12, true),
    secureVersion: view.getUint32(DESCRIPTOR + 4, true),
    version: text(16, 32),
    projectName: text(48, 32),
    time: text(80, 16),
    date: text(96, 16),
    idfVersion: text(112, 32),
    elfSha256: Array.from(sha256, (byte) => byte.toString(16).padStart(2, "0")).join(""),
  };
}
