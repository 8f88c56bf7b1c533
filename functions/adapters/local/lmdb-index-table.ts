import { dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from 'lmdb';
import { PacsError } from '#core/errors.ts';
import {
  type Condition,
  type IndexTable,
  type Item,
  type Key,
  newReadMeter,
  type Page,
  type RangeQuery,
  type ReadMeter,
  type WriteOperation,
  type WriteOptions,
  type WriteOutcome,
} from '#core/ports/index-table.ts';
import {
  appendedSort,
  checkKey,
  checkKeys,
  checkOperations,
  checkQuery,
  checkWriteBytes,
  increased,
} from '../index-rules.ts';
import { copyTogether, decodeVersion, encodeItem } from '../item-codec.ts';
import { syncUpwards } from './durable-directories.ts';
import { IndexDoor, type IndexDoorOptions } from './index-door.ts';
import { keyRange } from './key-range.ts';
import { causeOf, codeOf, endBeforeCommit, translated, warnOfTakenBack } from './lmdb-errors.ts';
import { asBuffer, openFile, type RawKey, Values } from './lmdb-file.ts';

/**
 * With these LMDB takes back a transaction in which it has met a fault of its own, and nothing of it is kept: MDB_BAD_TXN, and what it says where it reads
 * its list of free pages from a page that holds none at that moment, MDB_NOTFOUND, PAGE_NOTFOUND, CORRUPTED, BAD_VALSIZE or PROBLEM (decision 0211).
 */
const TAKEN_BACK: ReadonlySet<unknown> = new Set([-30_782, -30_798, -30_797, -30_796, -30_781, -30_779]);
/** How often what was taken back so is tried anew before its writer hears of it, and after what time, so many times as long as it was tried (ms). */
const TRIES_ANEW = 6;
const ANEW_MS = 5;
/** a key that no record has */
const NO_KEY = '\0';
const ANYTHING = Buffer.alloc(1);
/** Records read, after which others get a turn of the event loop; about a millisecond. */
const READS_PER_TURN = 1000;

interface Waiting {
  readonly operations: readonly WriteOperation[];
  /** the bytes of each `put` and `append`, made before the transaction so that it is short */
  readonly encoded: readonly (Buffer | undefined)[];
  readonly instead: WriteOptions['instead'];
  outcome: WriteOutcome | undefined;
  error: unknown;
  resolve(outcome: WriteOutcome): void;
  reject(error: unknown): void;
}

/**
 * IndexTable on one LMDB file that any number of processes share.
 *
 * - Conditions and `add` are evaluated under LMDB's write lock, which all processes share.
 * - Group commit: writes that arrive while a transaction is under way go into the next one together, and share its fsync.
 * - LMDB syncs before a transaction becomes visible (`overlappingSync: false`), so nobody ever reads, and acknowledges on the
 *   strength of, what a power cut could still take back. Deferred writes are therefore durable ones.
 * - Each read starts on a fresh snapshot: lmdb-js would otherwise keep one for the whole turn of the event loop, and miss what
 *   another process has committed since.
 */
export class LmdbIndexTable implements IndexTable {
  /** What fails writes nothing, and nothing is synced. */
  readonly conflictsAreCheap = true;
  readonly #db: Database<Item | Buffer, RawKey>;
  readonly #values: Values;
  readonly #door: IndexDoor;
  #waiting: Waiting[] = [];
  #committing: Promise<void> | undefined;
  /** another process wants to open: a transaction is due, even an empty one */
  #knocked = false;
  #readsThisTurn = 0;
  #closed = false;

  private constructor(db: Database<Item | Buffer, RawKey>, values: Values, door: IndexDoor) {
    this.#db = db;
    this.#values = values;
    this.#door = door;
    door.listen(() => {
      this.#knocked = true;
      this.#committing ??= this.#commitAll();
    });
  }

  /**
   * @param path of the data file; a lock file `<path>-lock` and a folder `<path>-door` stand beside it.
   * @throws PacsError BUSY when a process that has it open does not let this one in
   */
  static async open(path: string, options: IndexDoorOptions = {}): Promise<LmdbIndexTable> {
    const door = new IndexDoor(path, options);
    const values = new Values();
    const db = await door.enter(() => openFile(path, values));
    syncUpwards(dirname(resolve(path))); // LMDB syncs the file, not its name
    return new LmdbIndexTable(db, values, door);
  }

  /** Waits for the writes under way. */
  async close(): Promise<void> {
    this.#closed = true;
    while (this.#committing !== undefined) await this.#committing;
    await this.#door.leave(async () => {
      // A last one for a process that wanted in.
      while (this.#committing !== undefined) await this.#committing;
      await this.#db.close();
    });
  }

  async get(key: Key, meter: ReadMeter = newReadMeter()): Promise<Item | undefined> {
    checkKey(key);
    if (this.#readsThisTurn > READS_PER_TURN) await this.#nextTurn();
    this.#freshSnapshot();
    meter.calls++;
    return this.#read(key, meter);
  }

  async getMany(keys: readonly Key[], meter: ReadMeter = newReadMeter()): Promise<(Item | undefined)[]> {
    checkKeys(keys);
    if (this.#readsThisTurn > READS_PER_TURN) await this.#nextTurn();
    this.#freshSnapshot();
    meter.calls++;
    return keys.map((key) => this.#read(key, meter));
  }

  async query(query: RangeQuery, meter: ReadMeter = newReadMeter()): Promise<Page> {
    checkQuery(query);
    if (this.#readsThisTurn > READS_PER_TURN) await this.#nextTurn();
    this.#freshSnapshot();
    meter.calls++;
    const range = keyRange(query);
    if (range === undefined) return { records: [], more: false };
    const { limit, keysOnly = false, only } = query;
    const records: { sort: string; item: Item }[] = [];
    const sortAt = query.partition.length + 1;
    if (keysOnly) {
      for (const key of this.#db.getKeys({ ...range, limit: limit + 1 }))
        records.push({ sort: (key as string).slice(sortAt), item: {} });
    } else {
      this.#values.only = only;
      this.#values.copy = copyTogether();
      try {
        for (const { key, value } of this.#db.getRange({ ...range, limit: limit + 1 })) {
          // the record that only tells that there is more is not the reader's
          if (records.length < limit) meter.bytes += valueBytes(this.#db);
          records.push({ sort: (key as string).slice(sortAt), item: value as Item });
        }
      } finally {
        this.#values.only = this.#values.copy = undefined;
      }
    }
    const more = records.length > limit;
    if (more) records.pop();
    meter.records += records.length;
    this.#readsThisTurn += records.length;
    return { records, more };
  }

  async write(operations: readonly WriteOperation[], { instead }: WriteOptions = {}): Promise<WriteOutcome> {
    const encoded = encodedOf(operations);
    if (this.#closed) throw new PacsError('BUSY', 'the index is closed');
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operations, encoded, instead, outcome: undefined, error: undefined, resolve, reject });
      this.#committing ??= this.#commitAll();
    });
  }

  /** One transaction after another until nobody waits. */
  async #commitAll(): Promise<void> {
    let triedAnew = 0;
    // So many of those who wait get a transaction each: together, theirs was taken back.
    let alone = 0;
    while (this.#waiting.length > 0 || this.#knocked) {
      let group: Waiting[] = [];
      let mayCommit = false;
      this.#knocked = false;
      try {
        await this.#db.transaction(() => {
          mayCommit = this.#door.mayCommit();
          if (!mayCommit) return;
          // taken as late as possible: what arrived while the lock was awaited goes along
          group = this.#waiting.splice(0, alone > 0 ? 1 : this.#waiting.length);
          for (const waiting of group) this.#apply(waiting);
        });
        if (!mayCommit && this.#waiting.length > 0) await this.#door.free();
      } catch (error) {
        const cause = await causeOf(error);
        if (group.length > 0 && TAKEN_BACK.has(codeOf(cause)) && triedAnew < TRIES_ANEW) {
          triedAnew++;
          warnOfTakenBack(group.find(({ error }) => error !== undefined)?.error ?? cause);
          alone = Math.max(alone, group.length);
          for (const waiting of group) waiting.outcome = waiting.error = undefined;
          this.#waiting.unshift(...group);
          await sleep(triedAnew * ANEW_MS);
          this.#moveFreePages();
          continue;
        }
        triedAnew = 0;
        alone = Math.max(0, alone - group.length);
        const reason = translated(cause);
        // if the transaction never began, those who wait have failed with it
        if (group.length === 0) {
          group = this.#waiting;
          this.#waiting = [];
        }
        for (const waiting of group) waiting.reject(reason);
        continue;
      }
      triedAnew = 0;
      alone = Math.max(0, alone - group.length);
      for (const waiting of group) {
        if (waiting.outcome !== undefined) waiting.resolve(waiting.outcome);
        else waiting.reject(translated(await causeOf(waiting.error)));
      }
    }
    this.#committing = undefined;
  }

  /** A transaction that leaves no record, but another list of free pages: on the same one, what was taken back would be each time. */
  #moveFreePages(): void {
    try {
      this.#db.transactionSync(() => {
        if (!this.#door.mayCommit()) return;
        this.#db.put(NO_KEY, ANYTHING);
        this.#db.remove(NO_KEY);
      });
    } catch {
      // those who wait hear of what befalls their own
    }
  }

  /** Inside the transaction. First everything is read, checked and encoded; only then does anything change. */
  #apply(waiting: Waiting): void {
    try {
      // What stands in their place holds for this transaction alone: made anew, it begins with the operations themselves.
      let { operations, encoded } = waiting;
      let failed = this.#failedOf(operations);
      if (failed.length > 0 && waiting.instead !== undefined) {
        const others = waiting.instead(failed, (key) => this.#db.get(raw(key)) as Item | undefined);
        if (others !== undefined) {
          encoded = encodedOf(others);
          operations = others;
          failed = this.#failedOf(others);
        }
      }
      if (failed.length > 0) {
        waiting.outcome = { committed: false, failed };
        return;
      }
      const changes = operations.map((operation, i) =>
        operation.kind === 'add'
          ? encodeItem(increased(this.#db.get(raw(operation.key)) as Item | undefined, operation.increments))
          : encoded[i],
      );
      this.#change(operations, changes);
      waiting.outcome = { committed: true };
    } catch (error) {
      waiting.error = error;
    }
  }

  /** Inside the transaction: all of it, or the transaction is not committed. */
  #change(operations: readonly WriteOperation[], changes: readonly (Buffer | undefined)[]): void {
    try {
      for (const [i, operation] of operations.entries()) {
        const bytes = changes[i];
        if (operation.kind === 'delete') this.#db.remove(raw(operation.key));
        else if (operation.kind === 'append') {
          const sort = this.#nextAppended(operation.partition);
          this.#db.put(raw({ partition: operation.partition, sort }), bytes as Buffer);
        } else if (bytes !== undefined && operation.kind !== 'check') this.#db.put(raw(operation.key), bytes);
      }
    } catch (error) {
      if (!this.#isTakenBack()) endBeforeCommit(error);
      throw error;
    }
  }

  /** Inside the transaction: LMDB has marked it as one that cannot be committed. */
  #isTakenBack(): boolean {
    try {
      this.#db.doesExist(NO_KEY);
      return false;
    } catch {
      return true;
    }
  }

  /** The operations whose conditions do not hold. */
  #failedOf(operations: readonly WriteOperation[]): number[] {
    const failed: number[] = [];
    for (const [i, operation] of operations.entries()) {
      if (operation.kind === 'append' || operation.kind === 'add' || operation.if === undefined) continue;
      if (!this.#holds(operation.key, operation.if)) failed.push(i);
    }
    return failed;
  }

  #holds(key: Key, condition: Condition): boolean {
    if (typeof condition !== 'object') return this.#db.doesExist(raw(key)) === (condition === 'present');
    const bytes = this.#db.getBinaryFast(raw(key));
    return bytes !== undefined && decodeVersion(asBuffer(bytes), bytes.length) === condition.version;
  }

  /** The counter stands under U+0000 and the partition, where no record can: a partition is never empty. */
  #nextAppended(partition: string): string {
    const key = `\0${partition}`;
    const last = this.#db.get(key) as { readonly count: number } | undefined;
    const count = (last?.count ?? 0) + 1;
    this.#db.put(key, encodeItem({ count }));
    return appendedSort(count);
  }

  #read(key: Key, meter: ReadMeter): Item | undefined {
    const item = this.#db.get(raw(key)) as Item | undefined;
    meter.records++;
    this.#readsThisTurn++;
    if (item !== undefined) meter.bytes += valueBytes(this.#db);
    return item;
  }

  /** Reads resolve at once; without this, a use case that scans a million records would let nobody else have a turn. */
  async #nextTurn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#readsThisTurn = 0;
  }

  #freshSnapshot(): void {
    if (this.#closed) throw new PacsError('BUSY', 'the index is closed');
    this.#db.resetReadTxn();
  }
}

function encodedOf(operations: readonly WriteOperation[]): (Buffer | undefined)[] {
  checkOperations(operations);
  const encoded = operations.map((operation) =>
    operation.kind === 'put' || operation.kind === 'append' ? encodeItem(operation.item) : undefined,
  );
  checkWriteBytes(encoded);
  return encoded;
}

const raw = (key: Key): string => `${key.partition}\0${key.sort}`;

/** lmdb-js notes the stored length of the value it read last. */
const valueBytes = (db: unknown): number => (db as { readonly lastSize: number }).lastSize;
