import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readMultipart } from '#dicomweb/multipart.ts';

interface Part {
  headers: Record<string, string>;
  body: string;
}

async function* chunked(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? 1);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function readAll(bytes: Uint8Array, boundary: string, sizes: readonly number[] = [65_536]): Promise<Part[]> {
  const parts: Part[] = [];
  for await (const { headers, body } of readMultipart(chunked(bytes, sizes), boundary)) {
    const pieces: Uint8Array[] = [];
    for await (const piece of body) {
      expect(piece.length).toBeGreaterThan(0);
      pieces.push(piece);
    }
    parts.push({ headers: { ...headers }, body: Buffer.concat(pieces).toString('latin1') });
  }
  return parts;
}

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error) => error.code,
  );

describe('a STOW body arrives', () => {
  const twoParts =
    '--b\r\nContent-Type: application/dicom\r\n\r\none\r\n--b\r\nContent-Type: text/plain\r\n\r\ntwo\r\n--b--\r\n';
  const expected = [
    { headers: { 'content-type': 'application/dicom' }, body: 'one' },
    { headers: { 'content-type': 'text/plain' }, body: 'two' },
  ];

  test.each([1, 2, 3, 5, 7, 64, 10_000])('in chunks of %i bytes', async (size) => {
    expect(await readAll(latin1(twoParts), 'b', [size])).toEqual(expected);
  });

  test.each([
    ['with a preamble and an epilogue', `ignore me\r\n--but\r\n${twoParts}and me\r\n--b\r\n\r\nnot a part`, expected],
    ['with bare line feeds', twoParts.replaceAll('\r\n', '\n'), expected],
    ['with blanks behind the boundary', twoParts.replaceAll('--b\r\n', '--b \t\r\n'), expected],
    ['without a line end behind the final boundary', twoParts.slice(0, -2), expected],
    ['with a blank line before the first boundary', `\r\n${twoParts}`, expected],
    ['with a part without headers', '--b\r\n\r\nbare\r\n--b--', [{ headers: {}, body: 'bare' }]],
    ['with an empty part', '--b\r\nA: 1\r\n\r\n\r\n--b--', [{ headers: { a: '1' }, body: '' }]],
    [
      'with an empty part whose blank line is the delimiter’s',
      '--b\r\nA: 1\r\n\r\n--b--',
      [{ headers: { a: '1' }, body: '' }],
    ],
    ['with no parts', '--b--\r\n', []],
    [
      'with folded and repeated headers',
      '--b\r\nA: 1\r\n  2\r\na: 3\r\n\r\nx\r\n--b--',
      [{ headers: { a: '1 2, 3' }, body: 'x' }],
    ],
    [
      'with line ends inside the payload',
      '--b\r\n\r\n\r\n\n\r\r\n\r\n\r\n--b--',
      [{ headers: {}, body: '\r\n\n\r\r\n\r\n' }],
    ],
    [
      'with a longer boundary inside the payload',
      '--b\r\n\r\nx\r\n--bb\r\n--b-\r\n--b:\r\n--b--',
      [{ headers: {}, body: 'x\r\n--bb\r\n--b-\r\n--b:' }],
    ],
  ])('%s', async (_name, text, parts) => {
    for (const size of [1, 2, 3, 4, 5, 6, 7, 1_000]) expect(await readAll(latin1(text), 'b', [size])).toEqual(parts);
  });

  test('and any payload survives any chunking', async () => {
    const payload = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
      // payloads that look like delimiters, cut short
      fc
        .array(fc.constantFrom('\r', '\n', '--', '-', '--bound', '--boundar', ' ', 'y', '\r\n--boundar', 'x'))
        .map((s) => s.join('')),
    );
    const safe = payload.filter((text) => !`\n${text}\n`.includes('\n--boundary'));
    await fc.assert(
      fc.asyncProperty(
        fc.array(safe, { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }),
        fc.constantFrom('\r\n', '\n'),
        async (payloads, sizes, eol) => {
          // After a bare LF a trailing CR of the payload is indistinguishable from CRLF.
          if (eol === '\n' && payloads.some((text) => text.endsWith('\r'))) return;
          const text = payloads.map((body, i) => `--boundary${eol}N: ${i}${eol}${eol}${body}${eol}`).join('');
          const parts = await readAll(latin1(`${text}--boundary--`), 'boundary', sizes);
          expect(parts).toEqual(payloads.map((body, i) => ({ headers: { n: String(i) }, body })));
        },
      ),
      { numRuns: 500 },
    );
  });

  test('and a part that nobody reads is skipped', async () => {
    const seen: (string | undefined)[] = [];
    for await (const { headers } of readMultipart(chunked(latin1(twoParts), [7]), 'b'))
      seen.push(headers['content-type']);
    expect(seen).toEqual(['application/dicom', 'text/plain']);
  });

  test('and a part that is left in the middle does not disturb the next', async () => {
    const text = `--b\r\n\r\n${'x'.repeat(100)}\r\n--b\r\n\r\nsecond\r\n--b--`;
    const seen: string[] = [];
    for await (const { body } of readMultipart(chunked(latin1(text), [10]), 'b')) {
      for await (const piece of body) {
        seen.push(Buffer.from(piece).toString());
        break;
      }
    }
    expect(seen).toEqual(['xxx', 'seco']);
  });

  test('and a part read too late is a defect, not an empty object', async () => {
    const parts = readMultipart(chunked(latin1(twoParts), [7]), 'b');
    const first = (await parts.next()).value!;
    await parts.next();
    await expect(first.body[Symbol.asyncIterator]().next()).rejects.toThrow('after the next part');
  });

  test('and its payload is not copied', async () => {
    const bytes = latin1(`--b\r\n\r\n${'x'.repeat(100_000)}\r\n--b--`);
    for await (const { body } of readMultipart(chunked(bytes, [bytes.length]), 'b')) {
      for await (const piece of body) {
        expect(piece.length).toBe(100_000);
        expect(piece.buffer).toBe(bytes.buffer);
      }
    }
  });

  test('and thousands of tiny parts are all there', async () => {
    const text = `${Array.from({ length: 5_000 }, (_, i) => `--b\r\nN: ${i}\r\n\r\n${i}\r\n`).join('')}--b--`;
    const parts = await readAll(latin1(text), 'b', [1_000]);
    expect(parts).toHaveLength(5_000);
    expect(parts.every((part, i) => part.headers.n === String(i) && part.body === String(i))).toBe(true);
  });
});

describe('a STOW body is broken', () => {
  test('the torn part fails, the whole ones before it are read', async () => {
    for (const end of ['', '\r', '\r\n', '\r\n--', '\r\n--b', '\r\n--b-', '\r\n--b  ']) {
      const bodies: string[] = [];
      const read = async () => {
        for await (const { body } of readMultipart(
          chunked(latin1(`--b\r\n\r\none\r\n--b\r\n\r\ntorn${end}`), [6]),
          'b',
        )) {
          const pieces: Uint8Array[] = [];
          for await (const piece of body) pieces.push(piece);
          bodies.push(Buffer.concat(pieces).toString());
        }
      };
      expect(await failure(read())).toBe('BAD_REQUEST');
      expect(bodies).toEqual(['one']);
    }
  });

  test.each([
    ['an empty body', ''],
    ['no delimiter', 'nothing here'],
    ['another boundary', '--c\r\n\r\nx\r\n--c--'],
    ['an end within the headers', '--b\r\nContent-Type: appl'],
    ['a header without a colon', '--b\r\nnonsense\r\n\r\nx\r\n--b--'],
  ])('%s is a bad request', async (_name, text) => {
    expect(await failure(readAll(latin1(text), 'b', [3]))).toBe('BAD_REQUEST');
  });

  test('a missing boundary parameter is a bad request', async () => {
    expect(await failure(readAll(latin1('--\r\n'), ''))).toBe('BAD_REQUEST');
  });

  test('endless headers are refused, in one line or in many', async () => {
    expect(await failure(readAll(latin1(`--b\r\nA: ${'x'.repeat(100_000)}`), 'b', [1_000]))).toBe('TOO_LARGE');
    expect(await failure(readAll(latin1(`--b\r\n${'A: x\r\n'.repeat(10_000)}`), 'b', [1_000]))).toBe('TOO_LARGE');
  });

  test('the source is released when the reader is left early', async () => {
    let released = false;
    async function* source() {
      try {
        yield latin1('--b\r\n\r\nx');
        yield latin1('y\r\n--b--');
      } finally {
        released = true;
      }
    }
    for await (const _part of readMultipart(source(), 'b')) break;
    expect(released).toBe(true);
  });

  test('an error of the source reaches the reader of the part', async () => {
    async function* source() {
      yield latin1('--b\r\n\r\nx');
      throw new Error('connection reset');
    }
    const read = async () => {
      for await (const { body } of readMultipart(source(), 'b')) for await (const _piece of body);
    };
    await expect(read()).rejects.toThrow('connection reset');
  });
});
