import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KEPT_REFERENCE, referencesIn } from '#core/archive/metadata-record.ts';
import { JoinedTexts, type KeptText } from '#core/retrieve/joined-texts.ts';

const ROOT = 'http://pacs.example/dicomweb';
const reference = (name: string): string => `${KEPT_REFERENCE}studies/${name}"`;

/** Texts with references in them, some of which say where those stand. */
const texts = fc.array(
  fc
    .tuple(fc.array(fc.oneof(fc.string(), fc.string().map(reference)), { maxLength: 5 }), fc.boolean())
    .map(([parts, says]): KeptText => {
      const bytes = Buffer.from(`{${parts.join(',')}}`);
      return { bytes, ...(says && { references: referencesIn(bytes) }) };
    }),
  { maxLength: 8 },
);

describe('texts joined into one document', () => {
  test('are the same in pieces of any size as by way of strings, and of the size that was told before', async () => {
    const property = fc.asyncProperty(texts, fc.integer({ min: 1, max: 200 }), async (kept, pieceBytes) => {
      const strings = kept.map(({ bytes }) => bytes.toString().replaceAll(KEPT_REFERENCE, `"BulkDataURI":"${ROOT}/`));
      const expected = `[${strings.join(',')}]`;
      let whole: Buffer | undefined;
      const onWhole = (bytes: Buffer): void => {
        whole = bytes;
      };
      const document = new JoinedTexts(kept, { open: '[', close: ']', root: ROOT, onWhole, pieceBytes });
      const pieces: Uint8Array[] = [];
      for await (const piece of document) {
        expect(whole).toBe(undefined);
        pieces.push(piece);
      }
      expect(pieces.slice(0, -1).every((piece) => piece.length >= pieceBytes)).toBe(true);
      expect(Buffer.concat(pieces).toString()).toBe(expected);
      expect(document.sizeBytes).toBe(Buffer.byteLength(expected));
      expect(whole?.toString()).toBe(expected);
      expect(new JoinedTexts(kept, { open: '[', close: ']', root: ROOT }).whole().toString()).toBe(expected);
    });
    await fc.assert(property);
  });

  test('are told of as a whole by nobody who did not read them to the end', async () => {
    const kept = ['{"a":1}', '{"b":2}', '{"c":3}'].map((text) => ({ bytes: Buffer.from(text) }));
    let whole: Buffer | undefined;
    const onWhole = (bytes: Buffer): void => {
      whole = bytes;
    };
    for await (const piece of new JoinedTexts(kept, { open: '[', close: ']', onWhole, pieceBytes: 1 })) {
      expect(piece.toString()).toBe('[{"a":1}');
      break;
    }
    expect(whole).toBe(undefined);
  });
});
