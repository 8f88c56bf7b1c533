import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { frameRange, stripItemHeaders } from '#core/dicom/frames.ts';
import { type Rewrite, rewritePart10 } from '#core/dicom/rewrite.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import type { DataSet, ScannedObject } from '#core/dicom/types.ts';
import { IMPLEMENTATION_CLASS_UID, writePart10, writePart10Bytes } from '#core/dicom/writer.ts';
import { PacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import {
  buildDicom,
  DEFLATED_LE,
  EXPLICIT_BE,
  EXPLICIT_LE,
  IMPLICIT_LE,
  JPEG_BASELINE,
  uid,
} from '#test/fixtures/dicom-builder.ts';

const scan = (bytes: Uint8Array): ScannedObject => scanPart10(bytes, DEFAULT_LIMITS);

async function collect(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const part of parts) chunks.push(part);
  return Buffer.concat(chunks);
}

async function* stream(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

/** Without what lies elsewhere in another object: offsets. */
function content(dataSet: DataSet): DataSet {
  return JSON.parse(JSON.stringify(dataSet, (key, value) => (key === 'offset' || key === 'raw' ? undefined : value)));
}

function framesOf(bytes: Uint8Array): string[] {
  const { pixels } = scan(bytes);
  return Array.from({ length: pixels!.frames }, (_, i) => {
    const { offset, length, fragments } = frameRange(pixels!, i + 1)!;
    const run = bytes.subarray(offset, offset + length);
    return Buffer.from(fragments ? stripItemHeaders(run) : run).toString('hex');
  });
}

const REPORT: DataSet = {
  '00080016': { vr: 'UI', Value: ['1.2.840.10008.5.1.4.1.1.88.11'] },
  '00080018': { vr: 'UI', Value: [uid(3)] },
  '00080060': { vr: 'CS', Value: ['SR'] },
  '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Müller^Jörg', Ideographic: '山田' }, null, { Phonetic: 'x' }] },
  '00081140': { vr: 'SQ', Value: [{}, { '00081150': { vr: 'UI', Value: ['1.2'] } }] },
  '00281050': { vr: 'DS', Value: [0.1, null, -1.5e-7, 123456789.123456] },
  '00200013': { vr: 'IS', Value: [7] },
  '00189310': { vr: 'FD', Value: ['NaN', 'inf', 1.1e-300] },
  '00280009': { vr: 'AT', Value: ['00181063'] },
  '00091001': { vr: 'OB', InlineBinary: 'AQI=' },
  '00091002': { vr: 'SV', Value: ['-9223372036854775808', 5] },
  '00091003': { vr: 'UV', Value: ['18446744073709551615'] },
  '00104000': { vr: 'LT', Value: ['two\r\nlines'] },
};

describe('an object we make', () => {
  for (const syntax of [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE]) {
    test(`is read back as it was in ${syntax}`, () => {
      const scanned = scan(writePart10Bytes({ '00020016': { vr: 'AE', Value: ['CT1'] } }, REPORT, syntax));
      expect(scanned.warnings).toEqual([]);
      expect(scanned.transferSyntaxUID).toBe(syntax);
      const { '00080005': characterSet, ...rest } = scanned.dataSet;
      expect(characterSet).toEqual({ vr: 'CS', Value: ['ISO_IR 192'] });
      if (syntax !== IMPLICIT_LE) expect(rest).toEqual(REPORT);
      else expect(rest['00100010']).toEqual(REPORT['00100010']);
      expect(scanned.fileMeta).toMatchObject({
        '00020002': { Value: ['1.2.840.10008.5.1.4.1.1.88.11'] },
        '00020003': { Value: [uid(3)] },
        '00020012': { Value: [IMPLEMENTATION_CLASS_UID] },
        '00020013': { Value: ['NEPHOS'] },
        '00020016': { Value: ['CT1'] },
      });
      expect(scanned.fileMeta['00020000']?.Value?.[0]).toBe(scanned.dataSetOffset - 132 - 12);
    });
  }

  test('has numbers of at most 16 characters', () => {
    const values = [Math.PI, -Math.PI * 1e-9, 1 / 3e20, 0.19431099999999998, 7.8391324289e-6];
    const bytes = writePart10Bytes({}, { '00281050': { vr: 'DS', Value: values } }, EXPLICIT_LE);
    const written = scan(bytes).dataSet['00281050']!.Value as number[];
    for (const [i, value] of values.entries()) expect(written[i]! / value).toBeCloseTo(1, 8);
    expect(
      Buffer.from(bytes)
        .toString('latin1')
        .split('DS')
        .at(-1)!
        .slice(2)
        .split('\\')
        .every((text) => text.trim().length <= 16),
    ).toBe(true);
    expect(written.at(-1)).toBe(7.8391324289e-6);
  });

  test('of text too long for its VR is written as UN, and read again', () => {
    const long = 'x'.repeat(70_000);
    for (const syntax of [EXPLICIT_LE, EXPLICIT_BE]) {
      const numbers = { vr: 'FD', Value: Array.from({ length: 9_000 }, (_, i) => i) };
      const bytes = writePart10Bytes({}, { '00100020': { vr: 'LO', Value: [long] }, '00189310': numbers }, syntax);
      const scanned = scanPart10(bytes, { ...DEFAULT_LIMITS, inlineValueBytes: 100_000 });
      expect(scanned.dataSet['00100020']).toEqual({ vr: 'LO', Value: [long] });
      expect(scanned.dataSet['00189310']?.Value?.slice(-2)).toEqual([8_998, 8_999]);
    }
  });

  test('whose pixels would be somewhere else is not made', () => {
    expect(() => writePart10Bytes({}, REPORT, '1.2.840.10008.1.2.4.94')).toThrow(PacsError);
  });

  test('in big endian has the words of every VR reversed, and nothing of UN', () => {
    const words: DataSet = {
      '00091001': { vr: 'OW', InlineBinary: Buffer.from('0102').toString('base64') },
      '00091002': { vr: 'OL', InlineBinary: Buffer.from('0123').toString('base64') },
      '00091003': { vr: 'OF', InlineBinary: Buffer.from('0123').toString('base64') },
      '00091004': { vr: 'OD', InlineBinary: Buffer.from('01234567').toString('base64') },
      '00091005': { vr: 'OV', InlineBinary: Buffer.from('01234567').toString('base64') },
      '00091006': { vr: 'UN', InlineBinary: Buffer.from('0123').toString('base64') },
      '00091007': { vr: 'AT', Value: ['00181063'] },
      '00091008': { vr: 'SQ', Value: [{ '00091001': { vr: 'SS', Value: [-2] } }] },
    };
    const bytes = Buffer.from(writePart10Bytes({}, words, EXPLICIT_BE));
    const value = (header: string, length: number) => {
      const at = bytes.indexOf(Buffer.from(header, 'hex')) + header.length / 2;
      return bytes.subarray(at, at + length);
    };
    expect(value('000910014f57000000000004', 4).toString()).toBe('1020');
    expect(value('000910024f4c000000000004', 4).toString()).toBe('3210');
    expect(value('000910034f46000000000004', 4).toString()).toBe('3210');
    expect(value('000910044f44000000000008', 8).toString()).toBe('76543210');
    expect(value('000910054f56000000000008', 8).toString()).toBe('76543210');
    expect(value('00091006554e000000000004', 4).toString()).toBe('0123');
    expect(value('0009100741540004', 4).toString('hex')).toBe('00181063');
    expect(value('fffee000ffffffff000910015353', 4).toString('hex')).toBe('0002fffe');
    expect(scan(bytes).dataSet).toEqual(words);
  });

  test('that is deflated is made while it is read, however much that is', async () => {
    let given = 0;
    async function* pixels(): AsyncGenerator<Uint8Array> {
      for (; given < 500; given++) yield randomBytes(100_000);
    }
    const image: DataSet = { '7FE00010': { vr: 'OW', bulk: { offset: 0, length: 50_000_000 } } };
    const parts = writePart10({}, image, DEFLATED_LE, pixels);
    for (let i = 0; i < 4; i++) await parts.next();
    expect(given).toBeLessThan(250);
    await parts.return(undefined);
  });

  test('that is deflated has an even number of bytes', () => {
    for (let i = 0; i < 20; i++) {
      const dataSet: DataSet = { '00104000': { vr: 'LT', Value: ['abcdefghij'.repeat(i)] } };
      const bytes = writePart10Bytes({}, dataSet, DEFLATED_LE);
      expect((bytes.length - scan(bytes).dataSetOffset) % 2).toBe(0);
    }
  });

  test('takes bulk data from wherever it is, and refuses what has another length', async () => {
    const image: DataSet = {
      '00280010': { vr: 'US', Value: [1] },
      '00280011': { vr: 'US', Value: [3] },
      '00280100': { vr: 'US', Value: [8] },
      '7FE00010': { vr: 'OB', BulkDataURI: 'part-1' },
    };
    const uris: (string | undefined)[] = [];
    const bytes = await collect(
      writePart10({}, image, EXPLICIT_LE, (_path, _bulk, uri) => {
        uris.push(uri);
        return stream(Uint8Array.of(1), Uint8Array.of(2, 3));
      }),
    );
    expect(uris).toEqual(['part-1']);
    expect(framesOf(bytes)).toEqual(['010203']);
    const located: DataSet = { ...image, '7FE00010': { vr: 'OB', bulk: { offset: 0, length: 4 } } };
    await expect(collect(writePart10({}, located, EXPLICIT_LE, () => stream(Uint8Array.of(1))))).rejects.toThrow(
      'length',
    );
  });
});

describe('frames', () => {
  const frames = [Uint8Array.of(1), Uint8Array.of(2, 2), Uint8Array.of(3, 3, 3)];
  const image: DataSet = { '00280008': { vr: 'IS', Value: [3] }, '7FE00010': { vr: 'OB', BulkDataURI: 'x' } };
  const hex = ['0100', '0202', '03030300'];

  test('become fragments, with a Basic or an Extended Offset Table, or none where lengths are not known before', async () => {
    for (const extendedOffsetTable of [false, true]) {
      const bytes = writePart10Bytes({}, image, JPEG_BASELINE, () => ({ frames }), { extendedOffsetTable });
      expect(scan(bytes).warnings).toEqual([]);
      expect('7FE00001' in scan(bytes).dataSet).toBe(extendedOffsetTable);
      expect(framesOf(bytes)).toEqual(hex);
    }
    const streamed = await collect(writePart10({}, image, JPEG_BASELINE, () => ({ frames: stream(...frames) })));
    expect(framesOf(streamed)).toEqual(hex);
    const measured = { frames: stream(...frames), lengths: [1, 2, 3] };
    expect(framesOf(await collect(writePart10({}, image, JPEG_BASELINE, () => measured)))).toEqual(hex);
  });

  test('that are too few or too many are noticed', async () => {
    const wrong = () => ({ frames: stream(...frames), lengths: [1, 2] });
    await expect(collect(writePart10({}, image, JPEG_BASELINE, wrong))).rejects.toThrow(PacsError);
  });

  test('lie one after the other where pixel data is native, large ones too', async () => {
    const large = [new Uint8Array(100_000).fill(1), new Uint8Array(100_001).fill(2)];
    const bytes = await collect(
      writePart10({}, image, EXPLICIT_LE, () => ({ frames: stream(...large), lengths: [100_000, 100_001] })),
    );
    const { offset, length } = scan(bytes).dataSet['7FE00010']!.bulk!;
    expect(length).toBe(200_002);
    expect(Buffer.concat([...large, Uint8Array.of(0)]).equals(bytes.subarray(offset, offset + length))).toBe(true);
  });
});

describe('a stored object written again', () => {
  const attributes = {
    '00090010': 'ACME',
    '00091001': { vr: 'UN', value: Uint8Array.of(1, 2) },
    '00091002': { vr: 'OW', value: new Uint8Array(600).fill(5) },
    WindowCenter: ' 40.00',
    SpecificCharacterSet: 'ISO_IR 100',
    PatientName: new Uint8Array(Buffer.from('M\xfcller', 'latin1')),
    OtherPatientIDsSequence: [
      { PatientID: new Uint8Array(Buffer.from('\xe9 ', 'latin1')), '00091001': { vr: 'UL', value: [1] } },
    ],
  };
  const rewritten = (stored: Uint8Array, transferSyntaxUID: string, more: Partial<Rewrite> = {}) =>
    collect(
      rewritePart10({
        object: [stored],
        limits: DEFAULT_LIMITS,
        transferSyntaxUID,
        bulk: ({ offset, length }) =>
          stream(stored.subarray(offset, offset + 7), stored.subarray(offset + 7, offset + length)),
        ...more,
      }),
    );

  test('keeps every element, from any native encoding into any', async () => {
    for (const from of [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE]) {
      const stored = buildDicom(attributes as never, { transferSyntaxUID: from });
      const before = scan(stored);
      const bytes = await rewritten(stored, EXPLICIT_LE);
      const after = scan(bytes);
      expect(after.warnings).toEqual([]);
      expect(content(after.dataSet)).toEqual(content(before.dataSet));
      // the bytes of values, not merely their meaning
      expect(Buffer.from(bytes).includes(Buffer.from(' 40.00'))).toBe(true);
      expect(Buffer.from(bytes).includes(Buffer.from('M\xfcller', 'latin1'))).toBe(true);
    }
  });

  test('turns the words of big endian pixel data', async () => {
    const stored = buildDicom(
      { Rows: 1, Columns: 2 },
      { transferSyntaxUID: EXPLICIT_BE, frames: [Uint8Array.of(1, 2, 3, 4)] },
    );
    expect(framesOf(await rewritten(stored, EXPLICIT_LE))).toEqual(['02010403']);
  });

  test('takes new frames, changed attributes, and reads no more than the header', async () => {
    const stored = buildDicom({ ...attributes, NumberOfFrames: 2 } as never, {
      transferSyntaxUID: JPEG_BASELINE,
      extendedOffsetTable: true,
    });
    const start = scan(stored).dataSet['7FE00010']!.bulk!.offset;
    const bytes = await rewritten(stored, EXPLICIT_LE, {
      object: [stored.subarray(0, start)],
      frames: { frames: [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)] },
      changes: {
        '00280004': { vr: 'CS', Value: ['RGB'] },
        '00080008': undefined,
        '7FE00010': { vr: 'OW', BulkDataURI: 'replaced' },
      },
    });
    const after = scan(bytes);
    expect(after.transferSyntaxUID).toBe(EXPLICIT_LE);
    expect(after.dataSet['00280004']?.Value).toEqual(['RGB']);
    expect(after.dataSet).not.toHaveProperty('00080008');
    expect(after.dataSet).not.toHaveProperty('7FE00001');
    expect(framesOf(bytes)).toEqual(['01'.repeat(32), '02'.repeat(32)]);
  });

  test('copies fragments as they are', async () => {
    const stored = buildDicom({ NumberOfFrames: 2, Rows: 1, Columns: 1 }, { transferSyntaxUID: JPEG_BASELINE });
    expect(framesOf(await rewritten(stored, JPEG_BASELINE))).toEqual(framesOf(stored));
    await expect(rewritten(stored, EXPLICIT_LE)).rejects.toThrow('cannot be copied');
  });

  test('becomes UTF-8 when a change brings text that its character set lacks', async () => {
    const stored = buildDicom(attributes as never);
    const bytes = await rewritten(stored, EXPLICIT_LE, {
      changes: { '00100010': { vr: 'PN', Value: [{ Alphabetic: '山田' }] } },
    });
    const { dataSet } = scan(bytes);
    expect(dataSet['00080005']?.Value).toEqual(['ISO_IR 192']);
    expect(dataSet['00100010']?.Value).toEqual([{ Alphabetic: '山田' }]);
    expect((dataSet['00101002']!.Value![0] as DataSet)['00100020']?.Value).toEqual(['é']);
  });
});
