import { expect, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { buildDicom } from '#test/fixtures/dicom-builder.ts';

/** Found by fuzzing: stored, such an object made every answer that names its transfer syntax a 500. */
test.each(['1.2.840\u0014\u00001.2', 'Explicit', '1.2\r\nx'])(
  'an object of the transfer syntax %j is refused',
  (transferSyntaxUID) => {
    const object = buildDicom({}, { fileMeta: { TransferSyntaxUID: transferSyntaxUID } });
    expect(() => scanPart10(object, DEFAULT_LIMITS)).toThrow(
      expect.objectContaining({ code: 'UNREADABLE_DATASET', details: expect.objectContaining({ tag: '00020010' }) }),
    );
  },
);

test('one that nobody knows is taken', () => {
  const object = buildDicom({}, { fileMeta: { TransferSyntaxUID: '1.2.3.4.5' } });
  expect(scanPart10(object, DEFAULT_LIMITS).transferSyntaxUID).toBe('1.2.3.4.5');
});
