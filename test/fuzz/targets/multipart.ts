import { isDeepStrictEqual } from 'node:util';
import { PacsError } from '#core/errors.ts';
import { parseMediaType } from '#dicomweb/media-type.ts';
import { readMultipart } from '#dicomweb/multipart.ts';
import { writeMultipart } from '#dicomweb/multipart-writer.ts';
import { buildDicom } from '#test/fixtures/dicom-builder.ts';
import { multipart as requestOf } from '#test/hosts/client.ts';
import { concat } from '../mutate.ts';
import { chunksOf, digestOf, Random } from '../random.ts';
import { Contradiction, type Target } from '../target.ts';

/** An input: the Content-Type in its first line, the body behind it. */
const inputOf = (contentType: string, body: Uint8Array): Uint8Array => concat(Buffer.from(`${contentType}\n`), body);

interface Read {
  readonly parts: { readonly headers: Readonly<Record<string, string>>; readonly body: string }[];
  readonly refused?: string;
}

async function* given(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function read(chunks: Iterable<Uint8Array>, boundary: string): Promise<Read> {
  const parts: { headers: Readonly<Record<string, string>>; body: string }[] = [];
  try {
    for await (const { headers, body } of readMultipart(given(chunks), boundary)) {
      const pieces: Uint8Array[] = [];
      // A copy: the reader says that its pieces are views of what arrived.
      for await (const piece of body) pieces.push(Buffer.from(piece));
      parts.push({ headers: { ...headers }, body: Buffer.concat(pieces).toString('latin1') });
    }
    return { parts };
  } catch (error) {
    if (error instanceof PacsError && (error.code === 'BAD_REQUEST' || error.code === 'TOO_LARGE'))
      return { parts, refused: error.code };
    throw error;
  }
}

const WORDS = [
  '\r\n', '\n', '\r', '--', '--b', '\r\n--b', '\n--b\n', '\r\n--b--', '--b--', '\r\n--b\r\n', '--b \t\r\n', '\r\n\r\n',
  'Content-Type: application/dicom\r\n', 'Content-Location: x\r\n', ' folded\r\n', ':', ': \r\n', 'boundary=', 'boundary="', '"', '\\', ';',
  'type="application/dicom"', 'boundary=b;boundary=c', 'x'.repeat(17_000),
].map((word) => Buffer.from(word)); // biome-ignore format: a table

export const multipart: Target = {
  name: 'multipart',
  covers: ['/dicomweb/multipart', '/dicomweb/media-type', '/retrieve/stream'],
  grammar: { words: WORDS },
  *seeds() {
    const type = 'multipart/related; type="application/dicom"; boundary=b';
    yield inputOf(type, Buffer.from('--b\r\nContent-Type: application/dicom\r\n\r\nhello\r\n--b\r\n\r\n\r\n--b--\r\n'));
    yield inputOf(type, Buffer.from('preamble\n--b\nA: 1\nA: 2\n folded\n\none\n--bc\ntwo\n--b  \t\n\n--b--epilogue'));
    yield inputOf('multipart/related; boundary="a b"', Buffer.from('\r\n--a b\r\n\r\n\r\r\n--a b--'));
    yield inputOf(type, Buffer.from('--b\r\n\r\n\r\n--b\r\r\n--\r\n--b-\r\n--b--'));
    const request = requestOf([buildDicom(), buildDicom({ InstanceNumber: 2 })]);
    yield inputOf(request.headers['content-type']!, request.body);
  },
  open: () => ({
    async run(input) {
      const lineEnd = input.indexOf(0x0a);
      const line = Buffer.from(input.subarray(0, Math.max(0, lineEnd))).toString('latin1');
      const body = input.subarray(lineEnd + 1);
      const boundary = parseMediaType(line).parameters.boundary ?? '';
      const whole = await read([body], boundary);
      const random = new Random(digestOf(input));
      const cut = await read(chunksOf(body, random, 1 + random.below(40)), boundary);
      if (!isDeepStrictEqual(cut, whole)) throw new Contradiction('read in chunks it has other parts');
      if (boundary === '' && whole.refused === undefined) throw new Contradiction('read without a boundary');
      const text = Buffer.from(body).toString('latin1');
      for (const part of whole.parts) {
        if (!text.includes(part.body)) throw new Contradiction('a part holds what was not in the body');
        if (whole.refused === undefined && `\n${part.body}\n`.includes(`\n--${boundary}\n`))
          throw new Contradiction('a delimiter passed for payload');
      }
      if (whole.refused !== undefined || whole.parts.length === 0) return;
      const again = 'nephos-0123456789abcdef';
      if (text.includes(again)) return;
      const named = (headers: Readonly<Record<string, string>>): boolean =>
        Object.entries(headers).every(([name, value]) => !/[\r\n]/.test(name + value));
      if (!whole.parts.every(({ headers }) => named(headers))) return;
      const written: Uint8Array[] = [];
      const parts = whole.parts.map((part) => ({ headers: part.headers, body: Buffer.from(part.body, 'latin1') }));
      for await (const chunk of writeMultipart(parts, again)) written.push(Buffer.from(chunk));
      if (!isDeepStrictEqual(await read(written, again), whole))
        throw new Contradiction('written and read again it differs');
    },
  }),
};
