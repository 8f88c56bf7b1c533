/**
 * Character sets of PS3.3 C.12.1.1.2 and PS3.5 6.1: single byte, ISO 2022 code extensions, and the multi-byte sets
 * without code extensions (UTF-8, GB18030, GBK). Nothing here throws: what cannot be decoded becomes U+FFFD.
 */
export type Decoder = (bytes: Uint8Array, vr: string) => string;

/** Specific Character Set of all that we write. */
export const UTF8_TERM = 'ISO_IR 192';

const utf8 = new TextEncoder();
export const encodeUtf8 = (text: string): Uint8Array => utf8.encode(text);

/** One graphic set that code extension may put into G0 or G1. */
interface GraphicSet {
  readonly bytesPerCharacter: 1 | 2;
  /** `start`..`end` hold whole characters of this set, with or without the eighth bit */
  readonly decode: (bytes: Uint8Array, start: number, end: number) => string;
}

/** The 96 characters of the right half of a single-byte set, by its label at the WHATWG. */
function rightHalf(label: string): GraphicSet {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  const table = Array.from(new TextDecoder(label).decode(all));
  for (let i = 0x80; i < 0xa0; i++) table[i] = '\ufffd';
  return single((byte) => table[byte | 0x80] ?? '\ufffd');
}

const single = (character: (byte: number) => string): GraphicSet => ({
  bytesPerCharacter: 1,
  decode: (bytes, start, end) => {
    let text = '';
    for (let i = start; i < end; i++) text += character(bytes[i]!);
    return text;
  },
});

/** A 94 × 94 set, decoded through an encoding that holds it in its upper half (EUC). */
function twoByte(label: string, prefix?: number): GraphicSet {
  const decoder = new TextDecoder(label);
  return {
    bytesPerCharacter: 2,
    decode: (bytes, start, end) => {
      const step = prefix === undefined ? 2 : 3;
      const euc = new Uint8Array(Math.ceil((end - start) / 2) * step);
      let at = 0;
      for (let i = start; i < end; i += 2) {
        if (prefix !== undefined) euc[at++] = prefix;
        euc[at++] = bytes[i]! | 0x80;
        euc[at++] = i + 1 < end ? bytes[i + 1]! | 0x80 : 0x20;
      }
      return decoder.decode(euc);
    },
  };
}

// JIS X 0201 has the yen sign and the overline at 0x5C and 0x7E. They are read as ASCII: 0x5C is the delimiter of values
// (PS3.18 F.2.4), and a path or a date must not change on its way.
const ASCII = single((byte) => (byte < 0x80 ? String.fromCharCode(byte) : '\ufffd'));
const KATAKANA = single((byte) => {
  const low = byte & 0x7f;
  return low >= 0x21 && low <= 0x5f ? String.fromCharCode(0xff40 + low) : '\ufffd';
});
const UNDEFINED = single(() => '\ufffd');

/** ISO registration number → right half (G1) */
const SINGLE_BYTE: Record<string, GraphicSet> = {
  '100': single((byte) => String.fromCharCode(byte | 0x80)),
  '101': rightHalf('iso-8859-2'),
  '109': rightHalf('iso-8859-3'),
  '110': rightHalf('iso-8859-4'),
  '144': rightHalf('iso-8859-5'),
  '127': rightHalf('iso-8859-6'),
  '126': rightHalf('iso-8859-7'),
  '138': rightHalf('iso-8859-8'),
  '148': rightHalf('iso-8859-9'),
  '203': rightHalf('iso-8859-15'),
  '166': rightHalf('windows-874'),
  '13': KATAKANA,
};
const JIS_X_0208 = twoByte('euc-jp');
const JIS_X_0212 = twoByte('euc-jp', 0x8f);
const KS_X_1001 = twoByte('euc-kr');
const GB_2312 = twoByte('gbk');

/** Escape sequences after ESC (PS3.3 Tables C.12-3 and C.12-4): which half they designate, and what. */
const ESCAPES: Record<string, { half: 0 | 1; set: GraphicSet }> = {
  '(B': { half: 0, set: ASCII },
  '(J': { half: 0, set: ASCII },
  ')I': { half: 1, set: KATAKANA },
  '(I': { half: 0, set: KATAKANA },
  '-A': { half: 1, set: SINGLE_BYTE['100']! },
  '-B': { half: 1, set: SINGLE_BYTE['101']! },
  '-C': { half: 1, set: SINGLE_BYTE['109']! },
  '-D': { half: 1, set: SINGLE_BYTE['110']! },
  '-L': { half: 1, set: SINGLE_BYTE['144']! },
  '-G': { half: 1, set: SINGLE_BYTE['127']! },
  '-F': { half: 1, set: SINGLE_BYTE['126']! },
  '-H': { half: 1, set: SINGLE_BYTE['138']! },
  '-M': { half: 1, set: SINGLE_BYTE['148']! },
  '-b': { half: 1, set: SINGLE_BYTE['203']! },
  '-T': { half: 1, set: SINGLE_BYTE['166']! },
  '$@': { half: 0, set: JIS_X_0208 },
  $B: { half: 0, set: JIS_X_0208 },
  '$(D': { half: 0, set: JIS_X_0212 },
  '$)C': { half: 1, set: KS_X_1001 },
  '$)A': { half: 1, set: GB_2312 },
};

/** G1 of the sets that start a value without an escape sequence, by mistake or by being value 1. */
const INITIAL_G1: Record<string, GraphicSet> = { ...SINGLE_BYTE, '149': KS_X_1001, '58': GB_2312 };

const BACKSLASH_SPLITS = new Set(['LO', 'PN', 'SH', 'UC']);

/** Decodes with code extensions: G0 and G1 change by escape sequences and are reset by delimiters (PS3.5 6.1.2.5.3). */
function decodeExtended(bytes: Uint8Array, vr: string, initialG1: GraphicSet): string {
  const splits = BACKSLASH_SPLITS.has(vr);
  const name = vr === 'PN';
  let g0 = ASCII;
  let g1 = initialG1;
  let text = '';
  let i = 0;
  while (i < bytes.length) {
    const byte = bytes[i]!;
    if (byte === 0x1b) {
      const length = bytes[i + 1] === 0x24 && (bytes[i + 2] === 0x28 || bytes[i + 2] === 0x29) ? 3 : 2;
      const designation = ESCAPES[String.fromCharCode(...bytes.subarray(i + 1, i + 1 + length))];
      if (designation === undefined) text += '\ufffd';
      else if (designation.half === 0) g0 = designation.set;
      else g1 = designation.set;
      i += designation === undefined ? 1 : 1 + length;
    } else if (byte < 0x21) {
      if (byte === 0x09 || byte === 0x0a || byte === 0x0c || byte === 0x0d) g0 = ASCII;
      text += String.fromCharCode(byte);
      i++;
    } else {
      const set = byte < 0x80 ? g0 : g1;
      const delimiter =
        set === ASCII && ((splits && byte === 0x5c) || (name && (byte === 0x5e || byte === 0x3d))) ? byte : 0;
      if (delimiter !== 0) {
        text += String.fromCharCode(delimiter);
        // G1 is kept where the value had none at its start: writers forget to designate it again.
        if (initialG1 !== UNDEFINED) g1 = initialG1;
        i++;
        continue;
      }
      let end = i + 1;
      while (end < bytes.length && runs(bytes[end]!, byte, set === ASCII && (splits || name))) end++;
      text += set.decode(bytes, i, end);
      i = end;
    }
  }
  return text;
}

/** Does `byte` belong to the run that began with `first`: the same half, and no control, escape or delimiter? */
const runs = (byte: number, first: number, delimited: boolean): boolean =>
  byte >= 0x21 && byte < 0x80 === first < 0x80 && !(delimited && (byte === 0x5c || byte === 0x5e || byte === 0x3d));

const latin1 = new TextDecoder('windows-1252');
const utf8Strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const utf8Lenient = new TextDecoder('utf-8', { ignoreBOM: true });
const gb18030 = new TextDecoder('gb18030');
const gbk = new TextDecoder('gbk');

/** No character set was declared, yet there are bytes above 0x7F: UTF-8 if it is well formed, else the commonest, Latin-1. */
function decodeUndeclared(bytes: Uint8Array): string {
  try {
    return utf8Strict.decode(bytes);
  } catch {
    return latin1.decode(bytes);
  }
}

const decodeUtf8: Decoder = (bytes) => utf8Lenient.decode(bytes);
const decodeGb18030: Decoder = (bytes) => gb18030.decode(bytes);
const decodeGbk: Decoder = (bytes) => gbk.decode(bytes);
const decodeUnknown: Decoder = (bytes, vr) =>
  bytes.includes(0x1b) ? decodeExtended(bytes, vr, UNDEFINED) : decodeUndeclared(bytes);

/** The registration number in a defined term, however it is spelt: 'ISO_IR 100', 'ISO 2022 IR 100', 'ISO-IR 100', 'ISO 100'. */
function registration(term: string): string | undefined {
  const normal = term.trim().toUpperCase();
  const match = /^(?:ISO[-_ ]*)?(?:2022[-_ ]*)?(?:IR[-_ ]*)?(\d{1,3})$/.exec(normal);
  if (match !== null) return match[1]!;
  const latin = /^(?:ISO[-_ ]*8859[-_ ]*|LATIN[-_ ]*)(\d{1,2})$/.exec(normal);
  if (latin === null) return undefined;
  const part = normal.startsWith('LATIN') ? ({ '5': '9', '9': '15' }[latin[1]!] ?? latin[1]!) : latin[1]!;
  return PARTS_OF_8859[part];
}

const PARTS_OF_8859: Record<string, string> = {
  '1': '100',
  '2': '101',
  '3': '109',
  '4': '110',
  '5': '144',
  '6': '127',
  '7': '126',
  '8': '138',
  '9': '148',
  '11': '166',
  '15': '203',
};

const UTF8_NAMES = new Set(['UTF8', 'UTF-8', 'UTF_8', 'UTF 8', 'UNICODE']);

/** True where the terms name nothing that is known: the text is then read as if nothing had been declared. */
export function isUnknownCharacterSet(terms: readonly string[]): boolean {
  return terms.some((term) => {
    const number = registration(term);
    const normal = term.trim().toUpperCase();
    if (normal === '' || normal === 'GB18030' || normal === 'GBK' || UTF8_NAMES.has(normal)) return false;
    return number === undefined || !(number in INITIAL_G1 || ['6', '14', '87', '159', '192'].includes(number));
  });
}

const decoders = new Map<string, Decoder>();

/**
 * The decoder of text (LO LT PN SH ST UC UT) under the values of Specific Character Set (0008,0005). It is given a whole
 * value with its backslashes; it keeps bytes 0x5C that delimit, and turns those inside multi-byte characters into the
 * character. Bytes it cannot decode become U+FFFD.
 */
export function decoderFor(specificCharacterSet: readonly string[]): Decoder {
  const key = specificCharacterSet.join('\\');
  const known = decoders.get(key);
  if (known !== undefined) return known;
  const decoder = makeDecoder(specificCharacterSet);
  // Terms come from outside: the cache is bounded.
  if (decoders.size < 256) decoders.set(key, decoder);
  return decoder;
}

function makeDecoder(terms: readonly string[]): Decoder {
  const normal = terms.map((term) => term.trim().toUpperCase());
  const first = normal[0] ?? '';
  const numbers = normal.map(registration);
  if (numbers.includes('192') || normal.some((term) => UTF8_NAMES.has(term))) return decodeUtf8;
  if (normal.includes('GB18030')) return decodeGb18030;
  if (normal.includes('GBK')) return decodeGbk;
  if (normal.every((term) => term === '')) return decodeUnknown;
  const number = numbers[0];
  if (terms.length === 1 && number === '100')
    return (bytes, vr) =>
      bytes.includes(0x1b) ? decodeExtended(bytes, vr, SINGLE_BYTE['100']!) : latin1.decode(bytes);
  const initial = number === undefined ? undefined : INITIAL_G1[number];
  if (terms.length === 1 && initial === undefined && number !== '87' && number !== '159') return decodeUnknown;
  if (initial !== undefined) return (bytes, vr) => decodeExtended(bytes, vr, initial);
  // Value 1 empty or ISO 2022 IR 6: G1 is undefined until designated. Multi-byte sets that are designated to G1 are in fact
  // often used without it; the first of them is taken.
  const other = first === '' || number === '6' ? numbers.find((n) => n === '149' || n === '58') : undefined;
  const fallback = other === undefined ? UNDEFINED : INITIAL_G1[other]!;
  return (bytes, vr) => decodeExtended(bytes, vr, fallback);
}
