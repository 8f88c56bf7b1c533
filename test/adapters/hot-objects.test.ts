import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { HOT_MS, HotObjects } from '#adapters/local/hot-objects.ts';
import { LENT_BYTES } from '#adapters/local/read-memory.ts';
import { isLent } from '#core/lent-bytes.ts';

const SLICE = 100_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Asks as a store does; returns whether it was there, and whether it was kept. */
function read(hot: HotObjects, key: string, length = SLICE): { readonly hit: boolean; readonly admitted: boolean } {
  if (hot.get(`${key} 0`)) return { hit: true, admitted: false };
  const place = hot.ask(`${key} 0`, key, length);
  place?.fill(new Uint8Array(length));
  return { hit: false, admitted: place !== undefined };
}

describe('what is asked for again is kept', () => {
  test('from the second time within a minute on', () => {
    const hot = new HotObjects(10 * SLICE, Date.now);
    expect(read(hot, 'a')).toEqual({ hit: false, admitted: false });
    vi.advanceTimersByTime(HOT_MS + 1);
    expect(read(hot, 'a')).toEqual({ hit: false, admitted: false });
    vi.advanceTimersByTime(HOT_MS);
    expect(read(hot, 'a')).toEqual({ hit: false, admitted: true });
    expect(read(hot, 'a').hit).toBe(true);
  });

  test('as long as nobody needs to wait a minute for the next to ask', () => {
    const hot = new HotObjects(10 * SLICE, Date.now);
    for (const key of ['a', 'b', 'a', 'b']) read(hot, key);
    for (let i = 0; i < 10; i++) {
      vi.advanceTimersByTime(HOT_MS - 1);
      expect(read(hot, 'a').hit).toBe(true);
    }
    expect(hot.bytes).toBe(SLICE);
    vi.advanceTimersByTime(2 * HOT_MS);
    expect(hot.bytes).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('of a size that memory is lent for, and that fits', () => {
    const hot = new HotObjects(2 * SLICE, Date.now);
    for (const length of [LENT_BYTES.from - 1, LENT_BYTES.to + 1, 2 * SLICE + 1]) {
      read(hot, `a${length}`, length);
      expect(read(hot, `a${length}`, length).admitted).toBe(false);
    }
    const none = new HotObjects(0, Date.now);
    read(none, 'a');
    expect(read(none, 'a').admitted).toBe(false);
  });
});

test('what is deleted is gone, and does not come back by who was reading it', () => {
  const hot = new HotObjects(10 * SLICE, Date.now);
  read(hot, 'a');
  read(hot, 'a');
  read(hot, 'b');
  const place = hot.ask('b 0', 'b', SLICE);
  hot.drop('a');
  hot.drop('b');
  place!.fill(new Uint8Array(SLICE));
  place!.leave();
  expect(hot.get('a 0')).toBeUndefined();
  expect(hot.get('b 0')).toBeUndefined();
  expect(hot.bytes).toBe(0);
});

test('what could not be read leaves its place', () => {
  const hot = new HotObjects(10 * SLICE, Date.now);
  read(hot, 'a');
  hot.ask('a 0', 'a', SLICE)!.leave();
  expect(hot.bytes).toBe(0);
  expect(read(hot, 'a')).toEqual({ hit: false, admitted: false });
});

describe('of more than fits', () => {
  const FIT = 100;

  function sweeps(next: (i: number) => number, everyMs: number): { hits: number; admitted: number } {
    const hot = new HotObjects(FIT * SLICE, Date.now);
    let [hits, admitted] = [0, 0];
    for (let i = 0; i < 40 * FIT; i++) {
      vi.advanceTimersByTime(everyMs);
      const one = read(hot, `slice ${next(i)}`);
      if (i < 8 * FIT) continue;
      if (one.hit) hits++;
      if (one.admitted) admitted++;
    }
    return { hits, admitted };
  }

  test.each([1, 10, 100])(
    'one half stays, whoever goes through twice as much again and again, each %i ms',
    (everyMs) => {
      const { hits, admitted } = sweeps((i) => i % (2 * FIT), everyMs);
      expect(hits).toBe(16 * FIT);
      expect(admitted).toBe(0);
    },
  );

  test('nearly half is there, and little comes in, where all is asked for in no order', () => {
    let seed = 1;
    const drawn = (): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return (seed >>> 8) % (2 * FIT);
    };
    const { hits, admitted } = sweeps(drawn, 10);
    expect(hits).toBeGreaterThan(15 * FIT);
    // of 1,600 that were not there
    expect(admitted).toBeLessThan(4 * FIT);
  });

  test('a study that is left for another gives way to it, and not to one that is looked through once', () => {
    const hot = new HotObjects(FIT * SLICE, Date.now);
    const look = (study: string, rounds: number): number => {
      let hits = 0;
      for (let i = 0; i < rounds * FIT; i++) {
        vi.advanceTimersByTime(1);
        if (read(hot, `${study} ${i % FIT}`).hit) hits++;
      }
      return hits;
    };
    look('first', 3);
    for (let i = 0; i < 10; i++) {
      look(`once ${i}`, 1);
      expect(look('first', 1)).toBe(FIT);
    }
    look('second', 40);
    expect(look('second', 1)).toBe(FIT);
  });
});

test('whatever is asked for, filled, deleted and waited for: no more than the limit, never another’s bytes, nothing of what was deleted', () => {
  const name = fc.nat(11);
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('ask' as const), of: name }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('fill' as const), of: name }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('fail' as const), of: name }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), of: name }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), of: fc.nat(40_000) }) },
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 8 * SLICE }), fc.array(step, { maxLength: 200 }), (limitBytes, steps) => {
      const hot = new HotObjects(limitBytes, Date.now);
      const lengthOf = (of: number): number => SLICE + of;
      const reading = new Map<number, { place: ReturnType<HotObjects['ask']>; bytes: Uint8Array }[]>();
      const deleted = new Set<Uint8Array>();
      for (const { do: what, of } of steps) {
        if (what === 'wait') vi.advanceTimersByTime(of);
        else if (what === 'delete') {
          hot.drop(`key ${of}`);
          for (const { bytes } of reading.get(of) ?? []) deleted.add(bytes);
        } else if (what === 'ask') {
          const found = hot.get(`key ${of} 0`);
          if (found) {
            expect(found.length).toBe(lengthOf(of));
            expect(deleted.has(found)).toBe(false);
          } else {
            const place = hot.ask(`key ${of} 0`, `key ${of}`, lengthOf(of));
            // the length says whose it is
            const one = { place, bytes: new Uint8Array(lengthOf(of)) };
            reading.set(of, [...(reading.get(of) ?? []), one]);
          }
        } else {
          const one = reading.get(of)?.shift();
          if (what === 'fill') one?.place?.fill(one.bytes);
          one?.place?.leave();
        }
        expect(hot.bytes).toBeLessThanOrEqual(limitBytes);
        expect(hot.bytes).toBeGreaterThanOrEqual(0);
      }
      for (const many of reading.values()) for (const { place } of many) place?.leave();
      vi.advanceTimersByTime(2 * HOT_MS);
      expect(hot.bytes).toBe(0);
    }),
  );
});

describe('in a store of files', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'nephos-hot-'));
  });
  afterEach(() => void rmSync(root, { recursive: true }));

  const KEY = 'main/1.2/1.2.3/1.2.3.4.dcm';
  const bytesOf = (first: number): Uint8Array => Uint8Array.from({ length: 2 * SLICE }, (_, i) => (first + i) % 251);
  const range = { offset: 1_000, length: SLICE };

  test('readers share one array that is nobody’s to give back; of a blob that is deleted, and put anew, they get the new bytes', async () => {
    const store = await FsBlobStore.open(root, { hotBytes: 10 * SLICE });
    await store.put(KEY, bytesOf(0));
    const first = await store.readBytes(KEY, range, { lent: true });
    expect(isLent(first)).toBe(true);
    const [second, third] = [
      await store.readBytes(KEY, range, { lent: true }),
      await store.readBytes(KEY, range, { lent: true }),
    ];
    expect(third).toBe(second);
    expect(isLent(third)).toBe(false);
    expect(Buffer.from(third)).toEqual(Buffer.from(bytesOf(0).subarray(1_000, 1_000 + SLICE)));
    const whole = await store.readBytes(KEY, undefined, { lent: true });
    expect(whole.length).toBe(2 * SLICE);
    // Who keeps what he reads, and may write into it, has it to himself.
    expect(await store.readBytes(KEY, range)).not.toBe(third);

    const late = store.readBytes(KEY, undefined, { lent: true });
    await store.delete(KEY);
    expect((await late).length).toBe(2 * SLICE);
    await expect(store.readBytes(KEY, range, { lent: true })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(store.readBytes(KEY, undefined, { lent: true })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await store.put(KEY, bytesOf(7));
    expect(Buffer.from(await store.readBytes(KEY, range, { lent: true }))).toEqual(
      Buffer.from(bytesOf(7).subarray(1_000, 1_000 + SLICE)),
    );
    await store.close();
  });

  test('nothing is kept where nobody said how much', async () => {
    const store = await FsBlobStore.open(root);
    await store.put(KEY, bytesOf(0));
    for (let i = 0; i < 3; i++) expect(isLent(await store.readBytes(KEY, range, { lent: true }))).toBe(true);
    await store.close();
  });
});
