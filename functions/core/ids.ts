import type { Clock } from './ports/clock.ts';

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** A ULID: 26 characters, ordered by time, unique by 80 random bits. Versions and ids of records. */
export function newVersion(clock: Clock): string {
  let text = timeText(clock.now());
  for (const byte of clock.randomBytes(16)) text += CROCKFORD[byte & 31];
  return text;
}

/** What ULIDs of that moment begin with. @param time ms since 1970 */
export function timeText(time: number): string {
  let text = '';
  for (let left = time, i = 0; i < 10; i++) {
    text = CROCKFORD[left % 32] + text;
    left = Math.floor(left / 32);
  }
  return text;
}

/** PS3.5 §9.1: digits and dots, at most 64. Components with leading zeros occur in the field and are let through. */
export const isUID = (text: string): boolean => text.length <= 64 && /^[0-9]+(\.[0-9]+)*$/.test(text);

/** ms since 1970, from the first ten characters of a ULID */
export function timeOf(version: string): number {
  let time = 0;
  for (const character of version.slice(0, 10)) time = time * 32 + CROCKFORD.indexOf(character);
  return time;
}

/**
 * Where the lock of a record begins that stands for a version, and may go and come again for another one: never where it was for that one (the ABA race).
 * 45 of the version's random bits.
 */
export function lockOf(version: string): number {
  let lock = 0;
  for (const character of version.slice(-9)) lock = lock * 32 + CROCKFORD.indexOf(character);
  return lock;
}

/** The UID below 2.25 that a hash stands for: a UUID of version 8 (PS3.5 §B.2, RFC 9562 §5.8). @param hash 16 bytes or more */
export function hashedUID(hash: Uint8Array): string {
  const bytes = Uint8Array.from(hash.subarray(0, 16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return `2.25.${BigInt(`0x${Buffer.from(bytes).toString('hex')}`)}`;
}

/** A UID that is nobody else's: a random UUID below 2.25 (PS3.5 §B.2). */
export function newUID(clock: Clock): string {
  const bytes = clock.randomBytes(16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return `2.25.${BigInt(`0x${Buffer.from(bytes).toString('hex')}`)}`;
}
