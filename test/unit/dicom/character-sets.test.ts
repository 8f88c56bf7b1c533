import { describe, expect, test } from 'vitest';
import { decoderFor, isUnknownCharacterSet } from '#core/dicom/character-sets.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';

const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const latin = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

/** Examples of PS3.5 Annexes H, I, J and K, PS3.3 C.12.1.1.2, and names as modalities send them. */
const CASES: readonly [what: string, terms: string[], bytes: Uint8Array, text: string][] = [
  ['Latin-1', ['ISO_IR 100'], latin('Buc^J\xe9r\xf4me'), 'Buc^Jérôme'],
  ['Latin-2', ['ISO_IR 101'], bytesOf('57 61 b3 ea 73 61'), 'Wałęsa'],
  ['Cyrillic', ['ISO_IR 144'], bytesOf('bb ee da e1 d5 dc d1 e3 e0 d3'), 'Люксембург'],
  ['Greek', ['ISO_IR 126'], bytesOf('c4 e9 ef ed f5 f3 e9 ef f2'), 'Διονυσιος'],
  ['Arabic', ['ISO_IR 127'], bytesOf('e2 c8 c7 e6 ea'), 'قباني'],
  ['Hebrew', ['ISO_IR 138'], bytesOf('f9 f8 e5 ef'), 'שרון'],
  ['Turkish', ['ISO_IR 148'], bytesOf('c7 61 76 75 fe 6f f0 6c 75'), 'Çavuşoğlu'],
  ['Latin-9', ['ISO_IR 203'], bytesOf('a4 bd'), '€œ'],
  ['Thai', ['ISO_IR 166'], bytesOf('c3 d0 bc c5'), 'ระผล'],
  ['half-width katakana', ['ISO_IR 13'], bytesOf('d4 cf c0 de 5e c0 db b3'), 'ﾔﾏﾀﾞ^ﾀﾛｳ'],
  [
    'kanji between escapes',
    ['', 'ISO 2022 IR 87'],
    bytesOf('1b2442 3b334544 1b2842 5e 1b2442 4240 4f3a 1b2842'),
    '山田^太郎',
  ],
  [
    'kanji with katakana, H.3.2',
    ['ISO 2022 IR 13', 'ISO 2022 IR 87'],
    bytesOf('d4cfc0de 5e c0dbb3 3d 1b2442 3b334544 1b284a 5e 1b2442 42404f3a 1b284a'),
    'ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎',
  ],
  ['supplementary kanji', ['', 'ISO 2022 IR 159'], bytesOf('1b242844 3021 1b2842'), '丂'],
  [
    'Korean, I.2',
    ['', 'ISO 2022 IR 149'],
    bytesOf('486f6e675e47696c646f6e67 3d 1b242943 fbf3 5e 1b242943 d1ced4d7 3d 1b242943 c8ab 5e 1b242943 b1e6b5bf'),
    'Hong^Gildong=洪^吉洞=홍^길동',
  ],
  [
    'Korean that is not designated again after ^',
    ['', 'ISO 2022 IR 149'],
    bytesOf('1b242943 c8ab 5e b1e6b5bf'),
    '홍^길동',
  ],
  ['simplified Chinese with escapes, K.2', ['', 'ISO 2022 IR 58'], bytesOf('5a68616e67 5e 1b242941 d5c5'), 'Zhang^张'],
  ['UTF-8', ['ISO_IR 192'], new Uint8Array(Buffer.from('Wang^XiaoDong=王^小东', 'utf8')), 'Wang^XiaoDong=王^小东'],
  ['GB18030', ['GB18030'], bytesOf('57616e67 3d cdf5 5e d0a1b6ab'), 'Wang=王^小东'],
  ['GBK', ['GBK'], bytesOf('cdf5 5e d0a1b6ab'), '王^小东'],
  ['several single-byte sets', ['ISO 2022 IR 100', 'ISO 2022 IR 144'], bytesOf('e9 5c 1b2d4c b8 5c e9'), 'é\\И\\é'],
  ['a term spelt wrongly', ['ISO-IR 100'], latin('\xe9'), 'é'],
  ['another', ['iso 8859-1'], latin('\xe9'), 'é'],
  ['another', ['latin1'], latin('\xe9'), 'é'],
  ['another', ['UTF8'], new Uint8Array(Buffer.from('é')), 'é'],
  ['undeclared UTF-8', [], new Uint8Array(Buffer.from('Müller', 'utf8')), 'Müller'],
  ['undeclared Latin-1', [], latin('M\xfcller'), 'Müller'],
];

describe('text in', () => {
  test.each(CASES)('%s', (_, terms, bytes, text) => {
    expect(decoderFor(terms)(bytes, 'PN')).toBe(text);
  });

  test('GB18030 whose second bytes are backslashes is one value', () => {
    const bytes = bytesOf('815c');
    expect(decoderFor(['GB18030'])(bytes, 'LO')).not.toContain('\\');
  });

  test('a kanji of bytes 0x5C is no delimiter', () => {
    const decoded = decoderFor(['', 'ISO 2022 IR 87'])(bytesOf('1b2442 305c 1b2842 5c 41'), 'LO');
    expect(decoded).toMatch(/^.\\A$/u);
  });

  test('in JIS X 0201 0x5C stays the delimiter of values', () => {
    expect(decoderFor(['ISO_IR 13'])(bytesOf('c0 5c c0'), 'LO')).toBe('ﾀ\\ﾀ');
  });

  test('anything at all never throws, and what cannot be read is U+FFFD', () => {
    expect(decoderFor(['ISO_IR 192'])(bytesOf('41ff42'), 'LO')).toBe('A\ufffdB');
    expect(decoderFor(['', 'ISO 2022 IR 87'])(bytesOf('1b2442 30'), 'LO')).toContain('\ufffd');
    expect(decoderFor(['ISO_IR 126'])(bytesOf('1b'), 'LO')).toBe('\ufffd');
    const terms = [
      'ISO_IR 100',
      'ISO 2022 IR 87',
      'ISO 2022 IR 149',
      'ISO 2022 IR 58',
      'GBK',
      'ISO_IR 13',
      'nonsense',
      '',
    ];
    let state = 1;
    for (let round = 0; round < 2000; round++) {
      const bytes = Uint8Array.from({ length: round % 40 }, () => {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        return (state >>> 24) % 5 === 0 ? 0x1b : state >>> 16;
      });
      const term = terms[round % terms.length]!;
      expect(typeof decoderFor([term, terms[(round >> 3) % terms.length]!])(bytes, 'PN')).toBe('string');
    }
  });

  test('unknown terms are told apart from known ones', () => {
    expect(isUnknownCharacterSet(['ISO_IR 999'])).toBe(true);
    expect(isUnknownCharacterSet(['KLINGON'])).toBe(true);
    for (const term of ['', 'ISO_IR 6', 'ISO 2022 IR 6', 'ISO_IR 192', 'GBK', 'ISO 2022 IR 159', 'utf-8']) {
      expect(isUnknownCharacterSet([term]), term).toBe(false);
    }
  });
});

describe('in an object', () => {
  test('an item with its own character set differs from what surrounds it', () => {
    const { dataSet } = scanPart10(
      buildDicom({
        SpecificCharacterSet: 'ISO_IR 100',
        PatientName: latin('M\xfcller '),
        OtherPatientIDsSequence: [
          { SpecificCharacterSet: 'ISO_IR 192', PatientID: new Uint8Array(Buffer.from('東京', 'utf8')) },
          { PatientID: latin('\xe9 ') },
        ],
      }),
      DEFAULT_LIMITS,
    );
    expect(dataSet['00100010']?.Value).toEqual([{ Alphabetic: 'Müller' }]);
    const items = dataSet['00101002']!.Value as Record<string, { Value: string[] }>[];
    expect(items.map((item) => item['00100020']!.Value[0])).toEqual(['東京', 'é']);
  });

  test('undecodable text and unknown terms are noted', () => {
    const scanned = (terms: string, name: Uint8Array) =>
      scanPart10(buildDicom({ SpecificCharacterSet: terms, PatientName: name, SOPInstanceUID: uid(3) }), DEFAULT_LIMITS)
        .warnings;
    expect(scanned('ISO_IR 192', latin('M\xfcller '))).toEqual(['UNDECODABLE_TEXT 00100010']);
    expect(scanned('ISO_IR 777', latin('M\xfcller '))).toEqual(['UNKNOWN_CHARACTER_SET 00080005']);
  });
});
