import { expect, test } from 'vitest';
import { jpegSyntax } from '#dicomweb/store-metadata.ts';

const jpeg = (...segments: number[][]): Uint8Array => Uint8Array.from([0xff, 0xd8, ...segments.flat()]);
const segment = (marker: number, length: number): number[] => [0xff, marker, 0, length, ...Array(length - 2).fill(0)];

// A baseline photograph sent as image/jpeg without a transfer-syntax was stored as JPEG Lossless, the media type's default.
test.each([
  ['baseline', 0xc0, '1.2.840.10008.1.2.4.50'],
  ['extended', 0xc1, '1.2.840.10008.1.2.4.51'],
  ['lossless', 0xc3, '1.2.840.10008.1.2.4.70'],
])('the JPEG itself tells that it is %s', (_, marker, transferSyntaxUID) => {
  expect(jpegSyntax(jpeg(segment(0xe0, 16), segment(0xdb, 67), segment(marker, 11)))).toBe(transferSyntaxUID);
});

test.each([
  ['progressive, which no transfer syntax holds', jpeg(segment(0xc2, 11))],
  ['cut before its frame header', jpeg(segment(0xe0, 16)).subarray(0, 12)],
  ['no JPEG', new Uint8Array(40)],
])('%s: refused', (_, bytes) => {
  expect(() => jpegSyntax(bytes)).toThrow(/transfer-syntax/);
});
