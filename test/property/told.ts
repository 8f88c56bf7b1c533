import type { HttpResponse } from '#dicomweb/http.ts';

/** All that an answer tells, but for what depends on chance: ids of records, digests of revisions, secrets, boundaries. */
export async function toldBy({ status, headers, body: text = '' }: HttpResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  if (typeof text === 'string') chunks.push(Buffer.from(text));
  else if (text instanceof Uint8Array) chunks.push(text);
  else for await (const chunk of text) chunks.push(Buffer.from(chunk));
  return (
    JSON.stringify({ status, headers, body: Buffer.concat(chunks).toString('latin1') })
      // First, as a hash may hold so many digits in a row that they look like an id.
      .replace(/[0-9a-f]{64}/g, 'HASH')
      .replace(/[0-9A-HJKMNP-TV-Z]{26}/g, 'ULID')
      .replace(/nephos_[\w-]{43}/g, 'TOKEN')
      .replace(/"etag":"[^,]*,/g, '')
      .replace(/boundary=[^;,"\\]*|--[0-9A-Za-z_-]{16,}/g, 'BOUNDARY')
  );
}

/** The same without cursors: places in a log that others write to as well. */
export const withoutCursors = (told: string): string => told.replace(/\\"(cursor|next)\\":\\"\d*\\"/g, 'CURSOR');
