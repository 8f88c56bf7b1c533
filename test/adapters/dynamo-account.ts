import {
  type Attributes,
  attributesOf,
  encodeData,
  encodeRecord,
  keyOf,
  physicalKey,
  physicalPartitions,
} from '#adapters/aws/dynamo-items.ts';
import { DEFAULT_RETRY } from '#adapters/aws/retry.ts';
import { ITEM, LOG, TABLE } from '#adapters/aws/schema.ts';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { PacsError } from '#core/errors.ts';
import type { Item, WriteOperation, WriteOutcome } from '#core/ports/index-table.ts';

/** A partition of a table, and so a single item, takes no more write units a second (1 KB each, twice in a transaction). */
export const PARTITION_WRITE_UNITS = 1_000;

/** How long calls take: without it each is done at once, and none meets another. */
export interface Latency {
  now(): number;
  pass(ms: number): Promise<void>;
  /** a number in [0, 1) */
  random(): number;
  /** ms of one call, at least and at most */
  readonly callMs: readonly [least: number, most: number];
}

/** Write units by name (a partition, an item): altogether, and of the busiest second. */
class Units {
  readonly #seconds = new Map<string, Map<number, number>>();

  add(name: string, units: number, nowMs: number): void {
    const seconds = this.#seconds.get(name) ?? new Map<number, number>();
    this.#seconds.set(name, seconds);
    const second = Math.floor(nowMs / 1_000);
    seconds.set(second, (seconds.get(second) ?? 0) + units);
  }

  /** the highest first; `U+0000` shown as a slash */
  totals = (count = 8) => this.#ranked(count, (units) => units.reduce((sum, one) => sum + one, 0));
  busiestSeconds = (count = 8) => this.#ranked(count, (units) => Math.max(...units));

  #ranked(count: number, of: (units: number[]) => number): [name: string, units: number][] {
    return [...this.#seconds]
      .map(([name, seconds]): [string, number] => [name.replaceAll('\0', '/'), of([...seconds.values()])])
      .toSorted((a, b) => b[1] - a[1])
      .slice(0, count);
  }
}

/**
 * The memory table as DynamoDB would charge for it: write units by partition and by item, those of refused writes too, which are paid
 * as well. With a latency it also refuses what DynamoDB refuses: a write to an item of a transaction that is under way. The
 * adapter tries such a write again (retry.ts), and so does this.
 */
export class AccountedTable extends MemoryIndexTable {
  readonly partitions = new Units();
  readonly items = new Units();
  /** calls of DynamoDB */
  calls = 0;
  /** writes that met another transaction, and writes whose condition did not hold */
  conflicts = 0;
  refused = 0;
  #appended = 0;
  readonly #underWay = new Set<string>();
  readonly #latency: Latency | undefined;

  constructor(latency?: Latency) {
    super();
    this.#latency = latency;
  }

  override async get(...asked: Parameters<MemoryIndexTable['get']>) {
    await this.#call();
    return super.get(...asked);
  }

  override async getMany(...asked: Parameters<MemoryIndexTable['getMany']>) {
    await this.#call();
    return super.getMany(...asked);
  }

  override async query(...asked: Parameters<MemoryIndexTable['query']>) {
    await this.#call(physicalPartitions(asked[0].partition, asked[0].prefix).length);
    return super.query(...asked);
  }

  override async write(operations: readonly WriteOperation[]): Promise<WriteOutcome> {
    const items = operations.map((operation) => this.#itemOf(operation));
    const [only] = operations;
    const alone =
      operations.length === 1 && (only?.kind === 'put' || (only?.kind === 'delete' && only.if === undefined));
    const names = items.map(nameOf);
    for (let attempt = 1; ; attempt++) {
      this.#charge(operations, items, alone ? 1 : 2);
      if (!names.some((name) => this.#underWay.has(name))) {
        for (const name of names) if (!alone) this.#underWay.add(name);
        await this.#call();
        const outcome = await super.write(operations);
        for (const name of names) this.#underWay.delete(name);
        if (!outcome.committed) this.refused++;
        return outcome;
      }
      this.conflicts++;
      await this.#call();
      const { attempts, firstMs, mostMs } = DEFAULT_RETRY;
      if (attempt === attempts) throw new PacsError('BUSY', 'a service of AWS is busy or cannot be reached');
      await this.#latency?.pass(this.#latency.random() * Math.min(mostMs, firstMs * 2 ** (attempt - 1)));
    }
  }

  async #call(count = 1): Promise<void> {
    this.calls += count;
    if (!this.#latency) return;
    const { callMs, pass, random } = this.#latency;
    await pass(callMs[0] + random() * (callMs[1] - callMs[0]));
  }

  #itemOf(operation: WriteOperation): Attributes {
    if (operation.kind === 'append') {
      const n = this.#appended++;
      return { ...keyOf(LOG.inbox(operation.partition, n % LOG.shards), `event ${n}`), ...dataOf(operation.item) };
    }
    return operation.kind === 'put'
      ? attributesOf(operation.key, encodeRecord(operation.key, operation.item), undefined)
      : physicalKey(operation.key);
  }

  #charge(operations: readonly WriteOperation[], items: readonly Attributes[], times: number): void {
    const now = this.#latency?.now() ?? 0;
    for (const [i, attributes] of items.entries()) {
      const bytes = Object.values(attributes).reduce((sum, { S, B }) => sum + (B?.length ?? S?.length ?? 0), 20);
      const units = times * Math.ceil(bytes / 1024);
      const isEvent = operations[i]?.kind === 'append';
      // An event leaves its inbox again, alone.
      this.partitions.add(attributes[TABLE.partitionKey]?.S ?? '', units + (isEvent ? 1 : 0), now);
      if (!isEvent) this.items.add(nameOf(attributes), units, now);
    }
  }
}

const nameOf = (attributes: Attributes): string =>
  `${attributes[TABLE.partitionKey]?.S} ${attributes[TABLE.sortKey]?.S}`;
const dataOf = (item: Item): Attributes => ({ [ITEM.data]: { B: encodeData(item) } });
