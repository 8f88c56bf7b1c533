import { expect, test } from 'vitest';
import { xmlToDataSet } from '#core/dicom/xml.ts';

/** Sixty bytes of a document made a million values: some thousand such attributes took all memory there was. */
test('XML whose numbers leave out many values is refused, and costs nothing', () => {
  const attributes = Array.from(
    { length: 5_000 },
    (_, i) =>
      `<DicomAttribute tag="0011${(0x1000 + i).toString(16)}" vr="LO"><Value number="1000000">x</Value></DicomAttribute>`,
  );
  const before = process.memoryUsage().heapUsed;
  expect(() => xmlToDataSet(`<NativeDicomModel>${attributes.join('')}</NativeDicomModel>`)).toThrow(
    expect.objectContaining({ code: 'BAD_REQUEST' }),
  );
  expect((process.memoryUsage().heapUsed - before) / 1024 / 1024).toBeLessThan(100);
});

test('a value or two may be left out', () => {
  const xml = `<NativeDicomModel><DicomAttribute tag="00080060" vr="CS"><Value number="3">CT</Value></DicomAttribute></NativeDicomModel>`;
  expect(xmlToDataSet(xml)).toEqual({ '00080060': { vr: 'CS', Value: [null, null, 'CT'] } });
});
