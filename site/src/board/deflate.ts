// Compression of what is written, by the browser itself and ahead of time, so
// that the page stays responsive and nothing waits for it while flashing.

export interface Block {
  readonly data: Uint8Array;
  /** How many bytes of flash the block becomes, as far as can be told when it ends. */
  readonly size: number;
}

export interface Packed {
  readonly blocks: readonly Block[];
  readonly compressedSize: number;
  /** Bytes of flash that all of it becomes. */
  readonly size: number;
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * Compresses bytes into blocks of `blockSize`. How much each of them becomes
 * is found by expanding them again one by one: it decides how long the chip
 * may take for a block, and blocks of blank flash become a thousand times
 * their length.
 */
export async function pack(bytes: Uint8Array<ArrayBuffer>, blockSize: number): Promise<Packed> {
  const compressed = await collect(new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate")));

  let expanded = 0;
  const expander = new DecompressionStream("deflate");
  const counted = expander.readable.pipeTo(
    new WritableStream({
      write(chunk: Uint8Array) {
        expanded += chunk.length;
      },
    }),
  );
  const writer = expander.writable.getWriter();
  const blocks: Block[] = [];
  let before = 0;
  for (let at = 0; at < compressed.length; at += blockSize) {
    const data = compressed.slice(at, at + blockSize);
    await writer.write(data);
    blocks.push({ data, size: expanded - before });
    before = expanded;
  }
  await writer.close();
  await counted;
  // What came out after the last write was awaited belongs to the last block.
  const last = blocks.pop();
  if (last !== undefined) blocks.push({ data: last.data, size: last.size + bytes.length - before });
  return { blocks, compressedSize: compressed.length, size: bytes.length };
}
