import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import {
  type IndexTable,
  ITEM_LIMIT_BYTES,
  type Item,
  type Key,
  newReadMeter,
  type RangeQuery,
  type WriteOperation,
} from '#core/ports/index-table.ts';

export interface OpenIndexTable {
  readonly table: IndexTable;
  /** what the engine cannot do, and why */
  readonly differences?: { readonly tornReads?: string };
  close(): Promise<void>;
}

/** Every sentence of core/ports/index-table.ts, for whatever `open` gives. Each test uses partitions of its own. */
export function indexTableContract(open: () => Promise<OpenIndexTable>): void {
  let opened: OpenIndexTable;
  let table: IndexTable;
  let partitions = 0;
  const newPartition = (): string => `contract|${Date.now().toString(36)}|${partitions++}`;
  const sorts = async (query: RangeQuery): Promise<string[]> =>
    (await table.query(query)).records.map(({ sort }) => sort);
  const readLog = (partition: string, after?: string, limit = 10) =>
    table.query({ partition, log: true, limit, ...(after === undefined ? {} : { after }) });
  const putAll = async (partition: string, ...keys: string[]): Promise<void> => {
    await table.write(keys.map((sort) => ({ kind: 'put', key: { partition, sort }, item: { sort } })));
  };

  beforeAll(async () => {
    opened = await open();
    table = opened.table;
  });
  afterAll(() => opened.close());

  describe('items', () => {
    test('come back as they were put, binary values included, without keys whose value is undefined', async () => {
      const partition = newPartition();
      const key = { partition, sort: 'study' };
      const item = {
        text: 'Müller^Jörg=山田^太郎 \u{1f9e0} "quoted" \\ \n \ud800',
        number: -12.5e-3,
        large: Number.MAX_SAFE_INTEGER,
        yes: true,
        nothing: null,
        dropped: undefined,
        list: [1, 'two', [3], { four: 4, gone: undefined }],
        table: new Uint8Array([0, 255, 1, 128]),
        empty: new Uint8Array(0),
        nested: { deep: [{ table: new Uint8Array(Buffer.alloc(9000, 7)) }], '': 'empty name' },
      };
      await table.write([{ kind: 'put', key, item }]);
      const { dropped: _, list, ...rest } = item;
      expect(await table.get(key)).toStrictEqual({ ...rest, list: [1, 'two', [3], { four: 4 }] });
    });

    test('are absent until put, replaced by the next put and gone after delete', async () => {
      const key = { partition: newPartition(), sort: 'a' };
      expect(await table.get(key)).toBeUndefined();
      await table.write([{ kind: 'put', key, item: { a: 1 } }]);
      await table.write([{ kind: 'put', key, item: { b: 2 } }]);
      expect(await table.get(key)).toStrictEqual({ b: 2 });
      await table.write([{ kind: 'delete', key }]);
      expect(await table.get(key)).toBeUndefined();
      expect(await table.write([{ kind: 'delete', key }])).toStrictEqual({ committed: true });
    });

    test('are the copy of the reader and of the writer: changing either changes nothing stored', async () => {
      const key = { partition: newPartition(), sort: 'a' };
      const written = { list: [1], table: new Uint8Array([1, 2]) };
      await table.write([{ kind: 'put', key, item: written }]);
      written.list.push(2);
      written.table[0] = 9;
      const read = (await table.get(key)) as typeof written;
      read.list.push(3);
      read.table[1] = 9;
      const page = await table.query({ partition: key.partition, limit: 1 });
      (page.records[0]!.item as typeof written).table[0] = 8;
      expect(await table.get(key)).toStrictEqual({ list: [1], table: new Uint8Array([1, 2]) });
    });

    test('may be large up to the limit; a larger one is refused and nothing of its write is stored', async () => {
      const partition = newPartition();
      const large = { text: 'x'.repeat(ITEM_LIMIT_BYTES - 100), table: new Uint8Array(10) };
      await table.write([{ kind: 'put', key: { partition, sort: 'large' }, item: large }]);
      expect(await table.get({ partition, sort: 'large' })).toStrictEqual(large);
      const tooLarge = { table: new Uint8Array(ITEM_LIMIT_BYTES + 1) };
      await expect(
        table.write([
          { kind: 'put', key: { partition, sort: 'a' }, item: {} },
          { kind: 'put', key: { partition, sort: 'b' }, item: tooLarge },
        ]),
      ).rejects.toMatchObject({ code: 'TOO_LARGE' });
      expect(await sorts({ partition, limit: 10 })).toStrictEqual(['large']);
    });

    test('of several keys come in the order of the keys, undefined where absent', async () => {
      const partition = newPartition();
      await putAll(partition, 'a', 'b');
      const keys = ['b', 'none', 'a', 'b'].map((sort) => ({ partition, sort }));
      expect(await table.getMany(keys)).toStrictEqual([{ sort: 'b' }, undefined, { sort: 'a' }, { sort: 'b' }]);
      expect(await table.getMany([])).toStrictEqual([]);
      const many = Array.from({ length: 101 }, () => ({ partition, sort: 'a' }));
      await expect(table.getMany(many)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    });
  });

  describe('keys', () => {
    test.each([
      ['an empty partition', { partition: '', sort: 'a' }],
      ['an empty sort', { partition: 'p', sort: '' }],
      ['U+0000 in the partition', { partition: 'p\0', sort: 'a' }],
      ['U+0000 in the sort', { partition: 'p', sort: 'a\0b' }],
      ['a partition over 1,024 bytes', { partition: 'é'.repeat(513), sort: 'a' }],
      ['a sort over 900 bytes', { partition: 'p', sort: '山'.repeat(301) }],
      ['half of a surrogate pair', { partition: 'p', sort: '\ud83e' }],
    ])('with %s are refused', async (_, key) => {
      await expect(table.get(key)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
      await expect(table.getMany([key])).rejects.toMatchObject({ code: 'BAD_REQUEST' });
      await expect(table.write([{ kind: 'put', key, item: {} }])).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    });

    test('may be as long as the limits say', async () => {
      const key = { partition: `${newPartition()}|`.padEnd(1024, 'p'), sort: '山'.repeat(300) };
      await table.write([{ kind: 'put', key, item: { a: 1 } }]);
      expect(await table.get(key)).toStrictEqual({ a: 1 });
      expect(await sorts({ partition: key.partition, from: key.sort, limit: 1 })).toStrictEqual([key.sort]);
      expect(await sorts({ partition: key.partition, prefix: key.sort, limit: 1, descending: true })).toStrictEqual([
        key.sort,
      ]);
    });

    test('of partitions where one begins as the other do not mix', async () => {
      const partition = newPartition();
      await putAll(partition, 'b');
      await putAll(`${partition}x`, 'a');
      await putAll(`${partition}\u0001`, 'c');
      expect(await sorts({ partition, limit: 10 })).toStrictEqual(['b']);
      expect(await sorts({ partition, limit: 10, descending: true })).toStrictEqual(['b']);
    });
  });

  describe('queries', () => {
    test('give records in the order of UTF-8 bytes, in both directions', async () => {
      const partition = newPartition();
      const ordered = [
        '\u0001',
        ' ',
        '1',
        '10',
        '2',
        'A',
        'a',
        'ab',
        'b',
        'é',
        '\ud7ff',
        '\ue000',
        '\uffff',
        '\u{10000}',
        '\u{10ffff}',
      ];
      await putAll(partition, ...ordered.toReversed());
      expect(await sorts({ partition, limit: 100 })).toStrictEqual(ordered);
      expect(await sorts({ partition, limit: 100, descending: true })).toStrictEqual(ordered.toReversed());
    });

    test('take prefix, from (inclusive), to (exclusive) and after (exclusive) together', async () => {
      const partition = newPartition();
      await putAll(partition, 'a', 'b1', 'b2', 'b3', 'b4', 'c');
      const query = async (range: Partial<RangeQuery>): Promise<string> =>
        (await sorts({ partition, limit: 10, ...range })).join(' ');
      expect(await query({ prefix: 'b' })).toBe('b1 b2 b3 b4');
      expect(await query({ prefix: 'b', descending: true })).toBe('b4 b3 b2 b1');
      expect(await query({ from: 'b2', to: 'b4' })).toBe('b2 b3');
      expect(await query({ from: 'b2', to: 'b4', descending: true })).toBe('b3 b2');
      expect(await query({ prefix: 'b', from: 'a', to: 'b3' })).toBe('b1 b2');
      expect(await query({ prefix: 'b', from: 'b3', to: 'd' })).toBe('b3 b4');
      expect(await query({ prefix: 'b', after: 'b2' })).toBe('b3 b4');
      expect(await query({ prefix: 'b', after: 'b2', descending: true })).toBe('b1');
      expect(await query({ prefix: 'b', after: 'a' })).toBe('b1 b2 b3 b4');
      expect(await query({ from: 'b2', after: 'b2', to: 'b4' })).toBe('b3');
      expect(await query({ from: 'b25', to: 'b35' })).toBe('b3');
      expect(await query({ from: 'c', to: 'b' })).toBe('');
      expect(await query({ prefix: 'x' })).toBe('');
    });

    test('come in pages that tell whether there is more, and continue behind the last key', async () => {
      const partition = newPartition();
      const keys = Array.from({ length: 25 }, (_, i) => `k${String(i).padStart(2, '0')}`);
      await putAll(partition, ...keys);
      for (const descending of [false, true]) {
        const seen: string[] = [];
        for (let after: string | undefined, more = true; more; after = seen.at(-1)) {
          const page = await table.query({
            partition,
            limit: 5,
            descending,
            ...(after === undefined ? {} : { after }),
          });
          seen.push(...page.records.map(({ sort }) => sort));
          expect(page.records).toHaveLength(5);
          expect(page.more).toBe(seen.length < 25);
          more = page.more;
        }
        expect(seen).toStrictEqual(descending ? keys.toReversed() : keys);
      }
    });

    test('for keys only give empty items', async () => {
      const partition = newPartition();
      await putAll(partition, 'a', 'b');
      const page = await table.query({ partition, limit: 1, keysOnly: true });
      expect(page).toStrictEqual({ records: [{ sort: 'a', item: {} }], more: true });
    });

    test.each([
      ['that stands first', { name: 'DOE^JANE', rest: 'x' }, { name: 'DOE^JANE' }],
      ['that stands elsewhere', { rest: '"name":"ROE', name: 'DOE^JANE' }, { name: 'DOE^JANE' }],
      ['that is long', { name: 'DOE '.repeat(100), rest: 'x' }, { name: 'DOE '.repeat(100) }],
      [
        'of letters of three bytes at a cut',
        { name: `a${'山'.repeat(80)}`, rest: 'x' },
        { name: `a${'山'.repeat(80)}` },
      ],
      ['with what is escaped', { name: 'O"NEIL\\\n\u0001', rest: 'x' }, { name: 'O"NEIL\\\n\u0001' }],
      ['that is empty', { name: '', rest: 'x' }, { name: '' }],
      ['that is not there', { rest: 'x' }, {}],
      ['that is another kind of value', { name: 7, rest: 'x' }, {}],
      ['of an item with bytes', { name: 'DOE^JANE', bytes: new Uint8Array([1, 2]) }, { name: 'DOE^JANE' }],
    ] as const)('for one text alone give the text %s', async (_, item, found) => {
      const partition = newPartition();
      await table.write([
        { kind: 'put', key: { partition, sort: 'a' }, item },
        { kind: 'put', key: { partition, sort: 'b' }, item },
      ]);
      const page = await table.query({ partition, limit: 1, only: 'name' });
      expect(page).toStrictEqual({ records: [{ sort: 'a', item: found }], more: true });
      expect(await table.get({ partition, sort: 'a' })).toStrictEqual(item);
    });

    test('for one text alone are of records, not of logs or keys alone', async () => {
      const partition = newPartition();
      for (const other of [{ log: true }, { keysOnly: true }])
        await expect(table.query({ partition, limit: 1, only: 'name', ...other })).rejects.toMatchObject({
          code: 'BAD_REQUEST',
        });
    });

    test.each([0, -1, 1.5, 10_001, Number.NaN])('with limit %d are refused', async (limit) => {
      await expect(table.query({ partition: 'p', limit })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    });

    test('report what they read', async () => {
      const partition = newPartition();
      await putAll(partition, 'a', 'b', 'c');
      const meter = newReadMeter();
      await table.query({ partition, limit: 2 }, meter);
      expect(meter).toMatchObject({ calls: 1, records: 2 });
      const bytes = meter.bytes;
      expect(bytes).toBeGreaterThan(10);
      await table.get({ partition, sort: 'a' }, meter);
      await table.get({ partition, sort: 'none' }, meter);
      await table.getMany([{ partition, sort: 'a' }], meter);
      expect(meter).toMatchObject({ calls: 4, records: 5 });
      expect(meter.bytes).toBe(bytes * 2);
    });
  });

  describe('writes', () => {
    test('are seen by every read that starts after they resolved', async () => {
      const key = { partition: newPartition(), sort: 'a' };
      for (let i = 0; i < 50; i++) {
        await table.write([{ kind: 'put', key, item: { i } }]);
        expect(await table.get(key)).toStrictEqual({ i });
        expect((await table.query({ partition: key.partition, limit: 1 })).records).toStrictEqual([
          { sort: 'a', item: { i } },
        ]);
      }
    });

    test('that are deferred are visible once they resolve, and later durable writes stand on them', async () => {
      const key = { partition: newPartition(), sort: 'a' };
      await table.write([{ kind: 'put', key, item: { version: 1 } }], { durability: 'deferred' });
      expect(await table.get(key)).toStrictEqual({ version: 1 });
      const outcome = await table.write([{ kind: 'put', key, item: { version: 2 }, if: { version: 1 } }]);
      expect(outcome.committed).toBe(true);
    });

    test('with a condition that fails change nothing and name all that failed', async () => {
      const partition = newPartition();
      await table.write([{ kind: 'put', key: { partition, sort: 'there' }, item: { version: 3, n: 1 } }]);
      const there = { partition, sort: 'there' };
      const key = (sort: string) => ({ partition, sort });
      const outcome = await table.write([
        { kind: 'put', key: key('new'), item: {} },
        { kind: 'put', key: there, item: {}, if: 'absent' },
        { kind: 'delete', key: key('none'), if: 'present' },
        { kind: 'check', key: key('none2'), if: { version: 3 } },
        { kind: 'check', key: key('none3'), if: 'absent' },
        { kind: 'add', key: key('sum'), increments: { n: 1 } },
        { kind: 'append', partition: `${partition}|log`, item: {} },
      ]);
      expect(outcome).toStrictEqual({ committed: false, failed: [1, 2, 3] });
      expect(await sorts({ partition, limit: 10 })).toStrictEqual(['there']);
      expect(await sorts({ partition: `${partition}|log`, log: true, limit: 10 })).toStrictEqual([]);
    });

    test.each([
      ['absent', { absent: true, present: false, version3: false, textVersion: false }],
      ['present', { absent: false, present: true, version3: true, textVersion: true }],
      [{ version: 3 }, { absent: false, present: false, version3: true, textVersion: false }],
    ] as const)('under the condition %j hold where they should', async (condition, expected) => {
      const partition = newPartition();
      await table.write([
        { kind: 'put', key: { partition, sort: 'present' }, item: {} },
        { kind: 'put', key: { partition, sort: 'version3' }, item: { version: 3 } },
        { kind: 'put', key: { partition, sort: 'textVersion' }, item: { version: '3' } },
      ]);
      for (const [sort, committed] of Object.entries(expected)) {
        const key = { partition, sort };
        expect((await table.write([{ kind: 'check', key, if: condition }])).committed).toBe(committed);
        expect((await table.write([{ kind: 'put', key, item: { put: 1 }, if: condition }])).committed).toBe(committed);
        expect((await table.get(key))?.put).toBe(committed ? 1 : undefined);
      }
    });

    test('of up to 100 operations are taken; more, none, or two on the same key are refused', async () => {
      const partition = newPartition();
      const operations = Array.from(
        { length: 100 },
        (_, i): WriteOperation => ({ kind: 'put', key: { partition, sort: `k${i}` }, item: {} }),
      );
      expect((await table.write(operations)).committed).toBe(true);
      expect(await sorts({ partition, limit: 1000 })).toHaveLength(100);
      const same = { kind: 'check', key: { partition, sort: 'k1' }, if: 'present' } as const;
      for (const bad of [[...operations, ...operations], [...operations.slice(1), same], [same, same], []])
        await expect(table.write(bad)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    });

    test('of more bytes than the limit are refused', async () => {
      const partition = newPartition();
      const bytes = new Uint8Array(randomBytes(300_000));
      const operations = Array.from(
        { length: 14 },
        (_, i): WriteOperation => ({ kind: 'put', key: { partition, sort: `k${i}` }, item: { bytes } }),
      );
      await expect(table.write(operations)).rejects.toMatchObject({ code: 'TOO_LARGE' });
      expect(await sorts({ partition, limit: 10 })).toStrictEqual([]);
      expect((await table.write(operations.slice(0, 13))).committed).toBe(true);
      expect((await table.query({ partition, limit: 13 })).records).toHaveLength(13);
    });

    test('that add create record and fields at 0 and keep the other fields', async () => {
      const partition = newPartition();
      const key = { partition, sort: 'sum' };
      await table.write([{ kind: 'add', key, increments: { n: 2, 'modality|CT': 1 } }]);
      await table.write([{ kind: 'add', key, increments: { n: -5, m: 0.5 } }]);
      expect(await table.get(key)).toStrictEqual({ n: -3, 'modality|CT': 1, m: 0.5 });
      const other = { partition, sort: 'other' };
      await table.write([{ kind: 'put', key: other, item: { name: 'x', table: new Uint8Array([1]) } }]);
      await table.write([{ kind: 'add', key: other, increments: { n: 1 } }]);
      expect(await table.get(other)).toStrictEqual({ name: 'x', table: new Uint8Array([1]), n: 1 });
      await expect(table.write([{ kind: 'add', key, increments: { n: Number.NaN } }])).rejects.toMatchObject({
        code: 'BAD_REQUEST',
      });
    });

    test('that add at the same time are all counted', async () => {
      const key = { partition: newPartition(), sort: 'sum' };
      await Promise.all(
        Array.from({ length: 200 }, (_, i) => table.write([{ kind: 'add', key, increments: { n: 1, i } }])),
      );
      expect(await table.get(key)).toStrictEqual({ n: 200, i: 19_900 });
    });

    test('that come too late are made anew from what stands there, where conflicts are cheap', async () => {
      const partition = newPartition();
      const [one, other] = [
        { partition, sort: 'one' },
        { partition, sort: 'other' },
      ];
      await table.write([{ kind: 'put', key: one, item: { version: 7, who: 'first' } }]);
      const asked: (readonly number[])[] = [];
      const outcome = await table.write(
        [
          { kind: 'put', key: other, item: { version: 1 } },
          { kind: 'put', key: one, item: { version: 7 }, if: { version: 6 } },
        ],
        {
          instead: (failed, read) => {
            asked.push(failed);
            expect(read(other)).toBeUndefined();
            const { version, who } = read(one) as { version: number; who: string };
            return [{ kind: 'put', key: one, item: { version: version + 1, who: `${who}, second` }, if: { version } }];
          },
        },
      );
      expect(await table.get(other)).toBeUndefined();
      if (table.conflictsAreCheap) {
        expect(asked).toEqual([[1]]);
        expect(outcome).toEqual({ committed: true });
        expect(await table.get(one)).toEqual({ version: 8, who: 'first, second' });
      } else {
        expect(asked).toEqual([]);
        expect(outcome).toEqual({ committed: false, failed: [1] });
        expect(await table.get(one)).toEqual({ version: 7, who: 'first' });
      }
    });

    test('that come too late and cannot be made anew have failed, and changed nothing', async ({ skip }) => {
      if (!table.conflictsAreCheap) skip('conflicts are dear here');
      const partition = newPartition();
      const key = { partition, sort: 'one' };
      await table.write([{ kind: 'put', key, item: { version: 7 } }]);
      const late: WriteOperation = { kind: 'put', key, item: { version: 9 }, if: 'absent' };
      const fresh: WriteOperation = { kind: 'put', key: { partition, sort: 'two' }, item: {} };
      expect(await table.write([late], { instead: () => undefined })).toEqual({ committed: false, failed: [0] });
      expect(await table.write([late], { instead: () => [fresh, late] })).toEqual({ committed: false, failed: [1] });
      const tooLarge: WriteOperation = { ...fresh, item: { text: 'x'.repeat(ITEM_LIMIT_BYTES) } };
      await expect(table.write([late], { instead: () => [tooLarge] })).rejects.toMatchObject({ code: 'TOO_LARGE' });
      const thrown = new Error('cannot be worked out');
      const instead = (): never => {
        throw thrown;
      };
      await expect(table.write([late], { instead })).rejects.toBe(thrown);
      expect(await table.write([fresh], { instead })).toEqual({ committed: true });
      expect(await sorts({ partition, limit: 10 })).toEqual(['one', 'two']);
      expect(await table.get(key)).toEqual({ version: 7 });
    });

    test('of fifty rivals that are made anew count all, at the first go', async ({ skip }) => {
      if (!table.conflictsAreCheap) skip('conflicts are dear here');
      const key = { partition: newPartition(), sort: 'counted' };
      await table.write([{ kind: 'put', key, item: { version: 1 } }]);
      const raised = (version: number): WriteOperation[] => [
        { kind: 'put', key, item: { version: version + 1 }, if: { version } },
      ];
      const instead = (_: readonly number[], read: (key: Key) => Item | undefined) =>
        raised(read(key)?.version as number);
      const outcomes = await Promise.all(Array.from({ length: 50 }, () => table.write(raised(1), { instead })));
      expect(outcomes.every(({ committed }) => committed)).toBe(true);
      expect(await table.get(key)).toEqual({ version: 51 });
    });

    test('of fifty rivals under one condition have one winner', async () => {
      const partition = newPartition();
      for (const round of [1, 2, 3]) {
        const key = { partition, sort: `r${round}` };
        const outcomes = await Promise.all(
          Array.from({ length: 50 }, (_, rival) =>
            table.write([
              { kind: 'put', key, item: { rival }, if: 'absent' },
              { kind: 'add', key: { partition, sort: 'winners' }, increments: { n: 1 } },
            ]),
          ),
        );
        const winners = outcomes.flatMap((outcome, rival) => (outcome.committed ? [rival] : []));
        expect(winners).toHaveLength(1);
        expect(await table.get(key)).toStrictEqual({ rival: winners[0] });
        expect(await table.get({ partition, sort: 'winners' })).toStrictEqual({ n: round });
      }
    });

    test('at the same time are seen all or nothing by readers', async ({ skip }) => {
      if (opened.differences?.tornReads !== undefined) return skip(opened.differences.tornReads);
      const partition = newPartition();
      const [a, b] = [
        { partition, sort: 'a' },
        { partition, sort: 'b' },
      ];
      let writing = true;
      const reader = (async () => {
        for (let reads = 0; writing || reads < 10; reads++) {
          const [left, right] = await table.getMany([a, b]);
          expect(left).toStrictEqual(right);
          const page = await table.query({ partition, limit: 2 });
          expect(page.records[0]?.item).toStrictEqual(page.records[1]?.item);
          await new Promise((resolve) => setImmediate(resolve)); // reads may resolve without a turn of the event loop
        }
      })();
      for (let i = 0; i < 200; i++) {
        const key = [a, b];
        await table.write(key.map((k) => ({ kind: 'put', key: k, item: { i } })));
      }
      writing = false;
      await reader;
    });
  });

  describe('appends', () => {
    test('are seen by whoever asks afterwards, behind all that was seen before, in both directions', async () => {
      const partition = newPartition();
      const append = (...values: number[]) =>
        table.write(values.map((n) => ({ kind: 'append', partition, item: { n, bytes: new Uint8Array([n]) } })));
      expect(await readLog(partition)).toStrictEqual({ records: [], more: false });
      await append(1, 2);
      const first = await readLog(partition);
      expect(first.records.map(({ item }) => item)).toStrictEqual(
        [1, 2].map((n) => ({ n, bytes: new Uint8Array([n]) })),
      );
      const cursor = first.records.at(-1)!.sort;
      expect((await readLog(partition, cursor)).records).toStrictEqual([]);
      await append(3);
      await append(4);
      const next = await readLog(partition, cursor);
      expect(next.records.map(({ item }) => item.n)).toStrictEqual([3, 4]);
      const all = await readLog(partition);
      expect(all.records).toStrictEqual([...first.records, ...next.records]);
      const keys = all.records.map(({ sort }) => sort);
      expect(keys).toStrictEqual(keys.toSorted());
      expect(await readLog(partition, undefined, 3)).toStrictEqual({ records: all.records.slice(0, 3), more: true });
      const last = await table.query({ partition, log: true, descending: true, limit: 1, keysOnly: true });
      expect(last).toStrictEqual({ records: [{ sort: keys.at(-1), item: {} }], more: true });
      const before = await table.query({ partition, log: true, descending: true, limit: 5, after: keys[2]! });
      expect(before).toStrictEqual({ records: all.records.slice(0, 2).toReversed(), more: false });
    });

    test('belong to the write they stand in', async () => {
      const partition = newPartition();
      const key = { partition, sort: 'claim' };
      const claim = (n: number) =>
        table.write([
          { kind: 'put', key, item: {}, if: 'absent' },
          { kind: 'append', partition: `${partition}|log`, item: { n } },
        ]);
      const outcomes = await Promise.all(Array.from({ length: 20 }, (_, n) => claim(n)));
      const winner = outcomes.findIndex(({ committed }) => committed);
      expect((await readLog(`${partition}|log`)).records.map(({ item }) => item.n)).toStrictEqual([winner]);
    });

    test('are as large as items, and more than one page of the engine', async () => {
      const partition = newPartition();
      const bytes = new Uint8Array(randomBytes(ITEM_LIMIT_BYTES - 100));
      for (let n = 0; n < 5; n++) await table.write([{ kind: 'append', partition, item: { n, bytes } }]);
      const { records } = await readLog(partition);
      expect(records.map(({ item }) => [item.n, (item.bytes as Uint8Array).length])).toStrictEqual(
        [0, 1, 2, 3, 4].map((n) => [n, bytes.length]),
      );
    });

    test('at the same time lose nothing for a reader that continues behind the last key it saw', async () => {
      const partition = newPartition();
      const total = 300;
      const seen: number[] = [];
      const reader = (async () => {
        for (let after: string | undefined; seen.length < total; ) {
          const page = await readLog(partition, after, 7);
          for (const { sort, item } of page.records) {
            seen.push(item.n as number);
            after = sort;
          }
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      await Promise.all(
        Array.from({ length: total }, async (_, n) => {
          await new Promise((resolve) => setTimeout(resolve, n % 17));
          await table.write([{ kind: 'append', partition, item: { n } }]);
        }),
      );
      await reader;
      expect(seen.toSorted((a, b) => a - b)).toStrictEqual(Array.from({ length: total }, (_, n) => n));
    });
  });

  test('random operations give what the readable reference gives', async () => {
    // few keys, so that operations meet; with characters whose order differs between UTF-8 and UTF-16
    const sort = fc
      .array(fc.constantFrom('a', 'b', '1', '|', 'é', '\ue000', '\u{1f9e0}'), { minLength: 1, maxLength: 2 })
      .map((x) => x.join(''));
    const item = fc.record({
      version: fc.integer({ min: 1, max: 3 }),
      bytes: fc.option(fc.uint8Array({ maxLength: 4 }), { nil: undefined }),
      text: fc.string(),
    });
    const condition = fc.constantFrom(
      undefined,
      undefined,
      'absent' as const,
      'present' as const,
      { version: 1 },
      { version: 2 },
    );
    const operation = fc.oneof(
      fc.record({ kind: fc.constant('put' as const), sort, item, condition }),
      fc.record({ kind: fc.constant('delete' as const), sort, condition }),
      fc.record({ kind: fc.constant('check' as const), sort, condition }),
      fc.record({ kind: fc.constant('add' as const), sort, n: fc.integer({ min: -3, max: 3 }) }),
      fc.record({ kind: fc.constant('append' as const), item }),
    );
    const write = fc.uniqueArray(operation, {
      minLength: 1,
      maxLength: 6,
      selector: (o) => ('sort' in o ? o.sort : {}),
    });
    const bound = fc.option(fc.oneof(sort, fc.constant('')), { nil: undefined });
    const range = fc.record({
      prefix: bound,
      from: bound,
      to: bound,
      after: bound,
      descending: fc.boolean(),
      keysOnly: fc.boolean(),
      limit: fc.integer({ min: 1, max: 12 }),
    });

    await fc.assert(
      fc.asyncProperty(fc.array(fc.record({ write, range }), { minLength: 1, maxLength: 12 }), async (steps) => {
        const partition = newPartition();
        const log = `${partition}|log`;
        const reference = new MemoryIndexTable();
        for (const step of steps) {
          const operations = step.write.map((o): WriteOperation => {
            if (o.kind === 'append') return { kind: 'append', partition: log, item: o.item };
            const key = { partition, sort: o.sort };
            if (o.kind === 'add') return { kind: 'add', key, increments: { n: o.n, version: 1 } };
            if (o.kind === 'check') return { kind: 'check', key, if: o.condition ?? 'present' };
            const conditional = o.condition === undefined ? {} : { if: o.condition };
            return o.kind === 'put'
              ? { kind: 'put', key, item: o.item, ...conditional }
              : { kind: 'delete', key, ...conditional };
          });
          const outcome = await table.write(operations);
          const expected = await reference.write(operations);
          expect(outcome).toStrictEqual(expected);
          const given = Object.fromEntries(Object.entries(step.range).filter(([, value]) => value !== undefined));
          const query = { partition, ...given } as RangeQuery;
          const page = await table.query(query);
          const expectedPage = await reference.query(query);
          expect(page).toStrictEqual(expectedPage);
        }
        const appended = await reference.query({ partition: log, log: true, limit: 100 });
        const read = await readLog(log, undefined, 100);
        expect(read.records.map((record) => record.item)).toStrictEqual(appended.records.map((record) => record.item));
      }),
      { numRuns: 150 },
    );
  });
}
