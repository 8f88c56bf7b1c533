import { scrypt, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../ports/clock.ts';
import type { PinRecord } from './records.ts';

/** 32 MB and about a tenth of a second for a guess (RFC 7914 §2) */
const COST = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 } as const;
const HASH_BYTES = 32;
const SALT_BYTES = 16;

export const PIN = /^\d{4,12}$/;

export async function newPin(clock: Clock, pin: string, secret: string): Promise<PinRecord> {
  const salt = clock.randomBytes(SALT_BYTES);
  return { salt, hash: await derive(pin, salt, secret), wrong: 0, pending: [] };
}

export async function isPin({ salt, hash }: PinRecord, pin: string, secret: string): Promise<boolean> {
  return timingSafeEqual(await derive(pin, salt, secret), hash);
}

function derive(pin: string, salt: Uint8Array, secret: string): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    scrypt(pin, Buffer.concat([salt, Buffer.from(secret)]), HASH_BYTES, COST, (error, key) => {
      if (error) reject(error);
      else resolve(key);
    });
  });
}
