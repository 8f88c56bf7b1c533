/** Bytes that begin at a page of memory, a file system may take from there without copying them (O_DIRECT). */
export const PAGE_BYTES = 4096;

const known = new WeakSet<ArrayBufferLike>();

/** Memory that begins at a page: WebAssembly's does; that of a Buffer stands behind the allocator's notes. Costly to make: use it again. */
export function pageAligned(lengthBytes: number): Buffer {
  const WASM_PAGE_BYTES = 65_536;
  const { buffer } = new WebAssembly.Memory({ initial: Math.ceil(lengthBytes / WASM_PAGE_BYTES) });
  known.add(buffer);
  return Buffer.from(buffer, 0, lengthBytes);
}

export const startsAtPage = ({ buffer, byteOffset }: Uint8Array): boolean =>
  byteOffset % PAGE_BYTES === 0 && known.has(buffer);
