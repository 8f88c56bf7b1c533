/** What a value representation (PS3.5 §6.2) means to a reader and to a writer. */
export interface Vr {
  readonly name: string;
  readonly kind: VrKind;
  /** explicit VR: two reserved bytes and a 32-bit length (PS3.5 §7.1.2) */
  readonly long: boolean;
  /** bytes of one binary value; 1 for text and octets. Also the unit of byte swapping. */
  readonly width: number;
}

/**
 * texts: character set, values split by backslash. text: character set, one value. names: PN. codes: ASCII, split.
 * uri: ASCII, one value. decimals: DS, IS. numbers: binary. tags: AT. octets: OB … UN. items: SQ.
 */
export type VrKind =
  | 'texts'
  | 'text'
  | 'names'
  | 'codes'
  | 'uri'
  | 'decimals'
  | 'numbers'
  | 'tags'
  | 'octets'
  | 'items';

const define = (name: string, kind: VrKind, long = false, width = 1): Vr => ({ name, kind, long, width });

const ALL: readonly Vr[] = [
  define('AE', 'codes'),
  define('AS', 'codes'),
  define('AT', 'tags', false, 2),
  define('CS', 'codes'),
  define('DA', 'codes'),
  define('DS', 'decimals'),
  define('DT', 'codes'),
  define('FD', 'numbers', false, 8),
  define('FL', 'numbers', false, 4),
  define('IS', 'decimals'),
  define('LO', 'texts'),
  define('LT', 'text'),
  define('OB', 'octets', true),
  define('OD', 'octets', true, 8),
  define('OF', 'octets', true, 4),
  define('OL', 'octets', true, 4),
  define('OV', 'octets', true, 8),
  define('OW', 'octets', true, 2),
  define('PN', 'names'),
  define('SH', 'texts'),
  define('SL', 'numbers', false, 4),
  define('SQ', 'items', true),
  define('SS', 'numbers', false, 2),
  define('ST', 'text'),
  define('SV', 'numbers', true, 8),
  define('TM', 'codes'),
  define('UC', 'texts', true),
  define('UI', 'codes'),
  define('UL', 'numbers', false, 4),
  define('UN', 'octets', true),
  define('UR', 'uri', true),
  define('US', 'numbers', false, 2),
  define('UT', 'text', true),
  define('UV', 'numbers', true, 8),
];

const byName = new Map(ALL.map((vr) => [vr.name, vr]));

/** The VR of that name, if there is one. */
export const vrNamed = (name: string): Vr | undefined => byName.get(name);

export const UN = byName.get('UN')!;
export const SQ = byName.get('SQ')!;
export const OB = byName.get('OB')!;
export const OW = byName.get('OW')!;
export const US = byName.get('US')!;
export const UL = byName.get('UL')!;
export const LO = byName.get('LO')!;

const byLetters: (Vr | undefined)[] = new Array(26 * 26).fill(undefined);
for (const vr of ALL) byLetters[(vr.name.charCodeAt(0) - 65) * 26 + vr.name.charCodeAt(1) - 65] = vr;

const isLetter = (byte: number): boolean => byte >= 0x41 && byte <= 0x5a;

/** The VR that two bytes of an explicit header name. */
export const vrOfBytes = (first: number, second: number): Vr | undefined =>
  isLetter(first) && isLetter(second) ? byLetters[(first - 65) * 26 + second - 65] : undefined;

/** Two upper-case letters: a VR, perhaps one of a later edition of the standard. */
export const looksLikeVr = (first: number, second: number): boolean => isLetter(first) && isLetter(second);
