import { PacsError } from '#core/errors.ts';

/** A body of text as a whole. @throws PacsError TOO_LARGE */
export async function readText(body: AsyncIterable<Uint8Array>, limitBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > limitBytes) throw new PacsError('TOO_LARGE', 'the metadata is too large', { details: { limitBytes } });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
