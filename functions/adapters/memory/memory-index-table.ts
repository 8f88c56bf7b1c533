import { PacsError } from '#core/errors.ts';
import {
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
  compareUtf8,
  holds,
  increased,
  textAlone,
} from '../index-rules.ts';
import { decodeItem, encodeItem } from '../item-codec.ts';

interface Partition {
  /** ascending by UTF-8 bytes */
  readonly sorts: string[];
  readonly items: Map<string, Buffer>;
}

/** The readable reference of the contract in core/ports/index-table.ts: sorted arrays, one operation at a time. */
export class MemoryIndexTable implements IndexTable {
  readonly conflictsAreCheap: boolean;
  readonly #partitions = new Map<string, Partition>();
  readonly #appended = new Map<string, number>();

  /** @param conflictsAreCheap as with an engine on this machine; else as with one behind a network */
  constructor({ conflictsAreCheap = false }: { readonly conflictsAreCheap?: boolean } = {}) {
    this.conflictsAreCheap = conflictsAreCheap;
  }

  async get(key: Key, meter: ReadMeter = newReadMeter()): Promise<Item | undefined> {
    checkKey(key);
    meter.calls++;
    return this.#read(key, meter);
  }

  async getMany(keys: readonly Key[], meter: ReadMeter = newReadMeter()): Promise<(Item | undefined)[]> {
    checkKeys(keys);
    meter.calls++;
    return keys.map((key) => this.#read(key, meter));
  }

  async query(query: RangeQuery, meter: ReadMeter = newReadMeter()): Promise<Page> {
    checkQuery(query);
    meter.calls++;
    // An engine may keep a log apart from records: whoever reads one as the other would find nothing there.
    if (this.#partitions.has(query.partition) && (query.log ?? false) !== this.#appended.has(query.partition))
      throw new PacsError('BAD_REQUEST', 'a log is read as a log, and nothing else is');
    const { prefix = '', from = '', to, after, descending = false, limit, keysOnly = false, only } = query;
    const partition = this.#partitions.get(query.partition);
    const inRange = (partition?.sorts ?? []).filter(
      (sort) =>
        sort.startsWith(prefix) &&
        compareUtf8(sort, from) >= 0 &&
        (to === undefined || compareUtf8(sort, to) < 0) &&
        (after === undefined || (descending ? compareUtf8(sort, after) < 0 : compareUtf8(sort, after) > 0)),
    );
    if (descending) inRange.reverse();
    const records = inRange.slice(0, limit).map((sort) => {
      const item = this.#read({ partition: query.partition, sort }, meter);
      if (keysOnly || item === undefined) return { sort, item: {} };
      return { sort, item: only === undefined ? item : textAlone(only, item[only]) };
    });
    return { records, more: inRange.length > limit };
  }

  async write(operations: readonly WriteOperation[], { instead }: WriteOptions = {}): Promise<WriteOutcome> {
    checkOperations(operations);
    const failed = operations.flatMap((operation, i) =>
      'if' in operation && operation.if !== undefined && !holds(operation.if, this.#read(operation.key)) ? [i] : [],
    );
    if (failed.length > 0) {
      const others = this.conflictsAreCheap ? instead?.(failed, (key) => this.#read(key)) : undefined;
      return others === undefined ? { committed: false, failed } : this.write(others);
    }

    // encode everything before anything changes, so that an item over the limit leaves no half of the write behind
    const changes = operations.map((operation) => {
      if (operation.kind === 'put' || operation.kind === 'append') return encodeItem(operation.item);
      if (operation.kind === 'add') return encodeItem(increased(this.#read(operation.key), operation.increments));
      return undefined;
    });
    checkWriteBytes(changes);
    for (const [i, operation] of operations.entries()) {
      const bytes = changes[i];
      if (operation.kind === 'delete') this.#remove(operation.key);
      else if (operation.kind === 'append') {
        const count = (this.#appended.get(operation.partition) ?? 0) + 1;
        this.#appended.set(operation.partition, count);
        this.#put({ partition: operation.partition, sort: appendedSort(count) }, bytes as Buffer);
      } else if (bytes !== undefined && operation.kind !== 'check') this.#put(operation.key, bytes);
    }
    return { committed: true };
  }

  #read(key: Key, meter: ReadMeter = newReadMeter()): Item | undefined {
    const bytes = this.#partitions.get(key.partition)?.items.get(key.sort);
    meter.records++;
    meter.bytes += bytes?.length ?? 0;
    return bytes && decodeItem(bytes, bytes.length);
  }

  #put(key: Key, bytes: Buffer): void {
    let partition = this.#partitions.get(key.partition);
    if (partition === undefined) {
      partition = { sorts: [], items: new Map() };
      this.#partitions.set(key.partition, partition);
    }
    if (!partition.items.has(key.sort)) partition.sorts.splice(position(partition.sorts, key.sort), 0, key.sort);
    partition.items.set(key.sort, bytes);
  }

  #remove(key: Key): void {
    const partition = this.#partitions.get(key.partition);
    if (partition?.items.delete(key.sort)) partition.sorts.splice(position(partition.sorts, key.sort), 1);
  }
}

/** How many of the ascending keys stand before `sort`. */
function position(sorts: readonly string[], sort: string): number {
  let low = 0;
  let high = sorts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareUtf8(sorts[middle] as string, sort) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
