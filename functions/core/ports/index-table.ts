/**
 * IndexTable — records under (partition, sort) keys: what DynamoDB and LMDB both do well.
 *
 * Contract (test/contract/index-table.ts runs it against every adapter):
 * - keys are non-empty UTF-8 strings without U+0000; within a partition, records are ordered by the UTF-8 bytes of `sort`.
 *   Limits: partition 1,024 bytes, sort 900 bytes (LMDB's key of 1,978 bytes; DynamoDB's 2,048 and 1,024).
 * - an item is a JSON value at the top an object; values may also be `Uint8Array`; at most 350 KB (`ITEM_LIMIT_BYTES`).
 *   Keys whose value is `undefined` are dropped. What is read is the reader's own copy: changing it changes nothing stored.
 * - reads see every write that resolved before them (strongly consistent), from any process that shares the store.
 * - `write` is atomic over all its operations: they happen all or not at all, at one moment in the order of writes. Who reads one record
 *   after another, or several at once (`getMany`, `query`), may see some as they were before that moment and some as they are after
 *   it; only an engine that says so shows all or none. It resolves when durable, unless `durability: 'deferred'`: then it is visible at once, and durable no later than the next durable write of
 *   the same process resolves (a store that cannot defer treats it as durable).
 * - a partition is written by keys or appended to, never both. One that is appended to is a log: its records are never changed or deleted,
 *   and are read by queries with `log: true`.
 * - conditions are evaluated inside the atomic write; when any fails nothing is written and the outcome names them.
 */
export interface IndexTable {
  /**
   * Whether a write whose conditions do not hold costs next to nothing, so that one may try again at once. Behind a network it costs as much as
   * one that holds, and makes others fail.
   */
  readonly conflictsAreCheap?: boolean;

  get(key: Key, meter?: ReadMeter): Promise<Item | undefined>;

  /** Items in the order of `keys` (at most 100), undefined where absent. */
  getMany(keys: readonly Key[], meter?: ReadMeter): Promise<(Item | undefined)[]>;

  /**
   * Records of one partition in order. `prefix` and `from`/`to` combine (intersection).
   * A page holds at most `limit` records; `more` tells whether the range holds further ones: continue with `after` = last sort.
   */
  query(query: RangeQuery, meter?: ReadMeter): Promise<Page>;

  /**
   * At most 100 operations (`WRITE_LIMIT_OPERATIONS`), each on another key (but for `append`), whose items are together at most 4 MB
   * (`WRITE_LIMIT_BYTES`).
   * @throws PacsError TOO_LARGE; BUSY: nothing was written; OUTCOME_UNKNOWN: an engine behind a network was never heard again
   */
  write(operations: readonly WriteOperation[], options?: WriteOptions): Promise<WriteOutcome>;
}

export interface WriteOptions {
  readonly durability?: 'durable' | 'deferred';
  /**
   * Asked once when conditions do not hold, in the same moment of the order of writes: the operations that take the place of all that were
   * given, made from what `read` finds. Undefined: there are none, and the write has failed. `failed` is as in the outcome; an outcome's is of the operations tried last.
   * Who throws here has written nothing, and the write throws it. Only an engine whose conflicts are cheap asks, and it lets nobody else write meanwhile: be brief.
   */
  readonly instead?: (
    failed: readonly number[],
    read: (key: Key) => Item | undefined,
  ) => readonly WriteOperation[] | undefined;
}

export const WRITE_LIMIT_OPERATIONS = 100;
export const WRITE_LIMIT_BYTES = 4_000_000;
export const ITEM_LIMIT_BYTES = 350_000;

export interface Key {
  readonly partition: string;
  readonly sort: string;
}

export type ItemValue =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly ItemValue[]
  | { readonly [key: string]: ItemValue | undefined };
export type Item = { readonly [key: string]: ItemValue | undefined };

/**
 * Between a record's own type and what the table keeps of it. The table neither knows nor changes the shape of a record, and each partition
 * is written by one module alone: so whoever reads says which record it is, and nothing checks it again.
 */
export const asItem = (record: object): Item => record as Item;
export function asRecord<R>(item: ItemValue): R;
export function asRecord<R>(item: ItemValue | undefined): R | undefined;
export function asRecord<R>(item: ItemValue | undefined): R | undefined {
  return item as R | undefined;
}

export interface RangeQuery {
  readonly partition: string;
  readonly prefix?: string;
  /** inclusive */
  readonly from?: string;
  /** exclusive */
  readonly to?: string;
  /** continue behind this sort key, in the direction of the query; exclusive */
  readonly after?: string;
  readonly descending?: boolean;
  /** records of the page, 1 to 10,000 */
  readonly limit: number;
  /** the partition is a log; `after` is a cursor, the `sort` of a record read before. `prefix`, `from` and `to` do not apply */
  readonly log?: boolean;
  /** items come back as `{}`; cheaper where only the order matters */
  readonly keysOnly?: boolean;
  /** items come back with this top-level text alone (without it, as `{}`); cheaper where it stands first in them. Not of a log */
  readonly only?: string;
}

export interface Page {
  readonly records: readonly { readonly sort: string; readonly item: Item }[];
  readonly more: boolean;
  /** of a log that not all records of are for the reader: whoever goes on behind this misses none of those that are */
  readonly seen?: string;
}

/**
 * All records of a range in order, `limit` of them a page; not of a log, which is read by its cursor. What is written meanwhile may be met or
 * not. Whoever reads may delete what he has been given.
 */
export async function* recordsIn(
  index: Pick<IndexTable, 'query'>,
  range: RangeQuery,
  meter?: ReadMeter,
): AsyncGenerator<Page['records'][number], void, undefined> {
  for await (const page of pagesIn(index, range, meter)) yield* page;
}

/** As `recordsIn`, page by page: for what is done with a whole page at once. No page is empty. */
export async function* pagesIn(
  index: Pick<IndexTable, 'query'>,
  range: RangeQuery,
  meter?: ReadMeter,
): AsyncGenerator<Page['records'], void, undefined> {
  for (let { after } = range; ; ) {
    const page = await index.query(after === undefined ? range : { ...range, after }, meter);
    const last = page.records.at(-1);
    if (last === undefined) return;
    yield page.records;
    if (!page.more) return;
    after = last.sort;
  }
}

/** `absent`: no record under the key. `present`: some record. `{version}`: the record's top-level number `version` equals it. */
export type Condition = 'absent' | 'present' | { readonly version: number };

export type WriteOperation =
  | { readonly kind: 'put'; readonly key: Key; readonly item: Item; readonly if?: Condition }
  | { readonly kind: 'delete'; readonly key: Key; readonly if?: Condition }
  | { readonly kind: 'check'; readonly key: Key; readonly if: Condition }
  /** Adds to top-level numbers, creating record and fields at 0; commutes with other adds; no condition. */
  | { readonly kind: 'add'; readonly key: Key; readonly increments: Readonly<Record<string, number>> }
  /**
   * Adds `item` to the end of a log. Readers see it, like every write that resolved before they ask, under a sort key greater than all
   * that any reader has seen of this log: who continues behind the last key he saw misses nothing and sees nothing twice.
   */
  | { readonly kind: 'append'; readonly partition: string; readonly item: Item };

export type WriteOutcome =
  | { readonly committed: true }
  /** `failed`: indexes into the operations whose condition did not hold (at least one) */
  | { readonly committed: false; readonly failed: readonly number[] };

/** Counts what reads cost; tests put budgets on it, the cost model prices it. */
export interface ReadMeter {
  /** requests to the engine */
  calls: number;
  /** records looked at, found or not */
  records: number;
  /** bytes of the records found, approximately */
  bytes: number;
}

export const newReadMeter = (): ReadMeter => ({ calls: 0, records: 0, bytes: 0 });
