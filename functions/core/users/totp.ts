import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../ports/clock.ts';

/** RFC 6238 as every authenticator app has it: SHA-1, six digits, thirty seconds. */
const STEP_MS = 30_000;
const DIGITS = 6;
/** Clocks may differ by a step. */
const WINDOW = [0, -1, 1] as const;
const SECRET_BYTES = 20;
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const RECOVERY_CODES = 10;
/** 80 random bits: they need no slow hash */
const RECOVERY_BYTES = 10;

/** A secret for an authenticator app, in base32 (RFC 4648 §6). */
export const newTotpSecret = (clock: Pick<Clock, 'randomBytes'>): string => base32(clock.randomBytes(SECRET_BYTES));

/** What an authenticator app reads from a QR code (Key URI Format). */
export function totpUri(secret: string, issuer: string, name: string): string {
  const label = `${encodeURIComponent(issuer)}:${encodeURIComponent(name)}`;
  return `otpauth://totp/${label}?secret=${secret}&issuer=${encodeURIComponent(issuer)}`;
}

/**
 * The step whose code it is, near now and later than `lastStep`; undefined where there is none. Whoever accepts it keeps the step: a code
 * that was accepted is never accepted again (RFC 6238 §5.2).
 */
export function totpStep(secret: string, code: string, now: number, lastStep: number): number | undefined {
  const given = Buffer.from(code.replace(/\s/g, '').padEnd(DIGITS).slice(0, 16));
  let found: number | undefined;
  for (const offset of WINDOW) {
    const step = Math.floor(now / STEP_MS) + offset;
    const expected = Buffer.from(totpCode(secret, step));
    const isIt = given.length === expected.length && timingSafeEqual(given, expected);
    if (isIt && step > lastStep) found ??= step;
  }
  return found;
}

/** The code of a step (RFC 4226 §5.3). */
export function totpCode(secret: string, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', fromBase32(secret)).update(counter).digest();
  const value = mac.readUInt32BE(mac[mac.length - 1]! & 0x0f) & 0x7fffffff;
  return String(value % 10 ** DIGITS).padStart(DIGITS, '0');
}

/** Codes for whoever has lost his phone, each good once: `ABCD-EFGH-IJKL-MNOP`. */
export const newRecoveryCodes = (clock: Pick<Clock, 'randomBytes'>): string[] =>
  Array.from({ length: RECOVERY_CODES }, () =>
    base32(clock.randomBytes(RECOVERY_BYTES)).replace(/(.{4})(?=.)/g, '$1-'),
  );

/** A recovery code as it is compared: without what people put between and around. */
export const normalRecoveryCode = (text: string): string => text.toUpperCase().replace(/[^A-Z2-7]/g, '');

function base32(bytes: Uint8Array): string {
  let bits = '';
  for (const byte of bytes) bits += byte.toString(2).padStart(8, '0');
  return bits.replace(/.{1,5}/g, (five) => BASE32[Number.parseInt(five.padEnd(5, '0'), 2)]!);
}

function fromBase32(text: string): Buffer {
  let bits = '';
  for (const character of text) bits += BASE32.indexOf(character).toString(2).padStart(5, '0');
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}
