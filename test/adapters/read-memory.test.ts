import { expect, test } from 'vitest';
import { LENT_BYTES, ReadMemory } from '#adapters/local/read-memory.ts';
import { giveBack, instead, isLent } from '#core/lent-bytes.ts';

const SLICE = 527_000;

test('memory is used again when it has been given back, and not before', () => {
  const memory = new ReadMemory();
  const first = memory.lent(SLICE);
  const second = memory.lent(SLICE);
  expect(second.buffer).not.toBe(first.buffer);
  giveBack(first);
  const third = memory.lent(SLICE - 3_000);
  expect(third.buffer).toBe(first.buffer);
  expect(third.length).toBe(SLICE - 3_000);
});

test('memory that is given back twice is lent once', () => {
  const memory = new ReadMemory();
  const bytes = memory.lent(SLICE);
  giveBack(bytes);
  giveBack(bytes);
  expect(memory.lent(SLICE).buffer).not.toBe(memory.lent(SLICE).buffer);
});

test('a part is lent in place of the whole; of what was copied the memory is free at once', () => {
  const memory = new ReadMemory();
  const whole = memory.lent(SLICE);
  const part = instead(whole, whole.subarray(8));
  expect(isLent(whole)).toBe(false);
  giveBack(whole);
  expect(memory.lent(SLICE).buffer).not.toBe(whole.buffer);
  giveBack(part);
  const again = memory.lent(SLICE);
  expect(again.buffer).toBe(whole.buffer);
  const copy = instead(again, Uint8Array.from(again));
  expect(isLent(copy)).toBe(false);
  expect(memory.lent(SLICE).buffer).toBe(whole.buffer);
});

test('what nobody lent can be given back, and nothing happens', () => {
  const memory = new ReadMemory();
  for (const length of [0, LENT_BYTES.from - 1, LENT_BYTES.to + 1]) {
    const bytes = memory.lent(length);
    expect(bytes.length).toBe(length);
    expect(isLent(bytes)).toBe(false);
    giveBack(bytes);
  }
  expect(memory.keptBytes).toBe(0);
});

test('however much was on its way, no more than a limit is kept', () => {
  const limitBytes = 4_000_000;
  const memory = new ReadMemory(limitBytes);
  const many = Array.from({ length: 200 }, () => memory.lent(SLICE));
  expect(new Set(many.map(({ buffer }) => buffer)).size).toBe(200);
  for (const bytes of many) giveBack(bytes);
  expect(memory.keptBytes).toBeLessThanOrEqual(limitBytes);
  expect(memory.keptBytes).toBeGreaterThan(limitBytes - 2 * SLICE);
});

test('a small answer never holds a large memory', () => {
  const memory = new ReadMemory();
  giveBack(memory.lent(LENT_BYTES.to));
  expect(memory.lent(SLICE).buffer.byteLength).toBeLessThan(2 * SLICE);
});

test('what is not asked for any more makes room for what is', () => {
  const memory = new ReadMemory(3_000_000);
  const old = [memory.lent(1_000_000), memory.lent(1_000_000)];
  for (const bytes of old) giveBack(bytes);
  for (const bytes of Array.from({ length: 5 }, () => memory.lent(SLICE))) giveBack(bytes);
  const buffers = new Set(Array.from({ length: 5 }, () => memory.lent(SLICE).buffer));
  expect(memory.keptBytes).toBe(0);
  expect([...buffers].some((buffer) => old.some((bytes) => bytes.buffer === buffer))).toBe(false);
});
