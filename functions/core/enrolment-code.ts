import type { Clock } from './ports/clock.ts';

/** Crockford's: no letter that a person takes for a digit. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
/** 55 random bits and a check character. */
const CHARACTERS = 12;

/** `7K2M-Z9QX-4T6W`: to be read out over the telephone and typed in. */
export function newEnrolmentCode(clock: Clock): string {
  const random = [...clock.randomBytes(CHARACTERS - 1)].map((byte) => byte & 31);
  return written([...random, check(random)]);
}

/** As it was made, from how a person types it: any case, spaces, O for 0, I and L for 1; undefined where a character is wrong. */
export function readEnrolmentCode(text: string): string | undefined {
  const plain = text.toUpperCase().replace(/[\s-]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1');
  const values = [...plain].map((letter) => ALPHABET.indexOf(letter));
  if (values.length !== CHARACTERS || values.includes(-1)) return undefined;
  return check(values.slice(0, -1)) === values.at(-1) ? written(values) : undefined;
}

const written = (values: readonly number[]): string =>
  values
    .map((value) => ALPHABET[value])
    .join('')
    .replace(/(.{4})(?=.)/g, '$1-');

/** Luhn's, modulo 32: finds each wrong character, and nearly each pair that changed places. */
function check(values: readonly number[]): number {
  const base = ALPHABET.length;
  let sum = 0;
  for (const [i, value] of [...values].reverse().entries()) {
    const addend = i % 2 === 0 ? value * 2 : value;
    sum += Math.floor(addend / base) + (addend % base);
  }
  return (base - (sum % base)) % base;
}
