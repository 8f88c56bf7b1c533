import { Readable } from 'node:stream';
import { createDeflateRaw, deflateRawSync } from 'node:zlib';

/**
 * A data set as Deflated Explicit VR Little Endian has it (PS3.5 A.5): RFC 1951 without a header, and a NUL behind a stream of an
 * odd number of bytes. Deflates on a thread of the pool, and waits for whoever reads.
 */
export async function* deflated(dataSet: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const source = Readable.from(dataSet, { objectMode: false });
  const deflater = createDeflateRaw({ chunkSize: 64 * 1024 });
  source.on('error', (error) => deflater.destroy(error));
  source.pipe(deflater);
  let bytes = 0;
  try {
    for await (const chunk of deflater as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      yield chunk;
    }
  } finally {
    source.destroy();
    deflater.destroy();
  }
  if (bytes % 2 === 1) yield Uint8Array.of(0);
}

/** The same of a data set that is held. */
export function deflatedBytes(dataSet: Uint8Array): Uint8Array {
  const bytes = deflateRawSync(dataSet);
  return bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Uint8Array.of(0)]);
}
