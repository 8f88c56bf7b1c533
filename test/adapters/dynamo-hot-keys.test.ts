import { describe, expect, test } from 'vitest';
import {
  type Attributes,
  attributesOf,
  encodeData,
  encodeRecord,
  keyOf,
  physicalKey,
} from '#adapters/aws/dynamo-items.ts';
import { ITEM, LOG, TABLE } from '#adapters/aws/schema.ts';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { assemble } from '#core/assemble.ts';
import type { IndexTable, Item, WriteOperation, WriteOutcome } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord } from '#test/fixtures/services.ts';

/** A partition of a table, and so a single item, takes no more write units a second (1 KB each, twice in a transaction). */
const PARTITION_WRITE_UNITS = 1_000;
const INSTANCES_A_SECOND = 500;

/** The memory table, with an account of the write units that each of its writes costs on DynamoDB, by partition and by item. */
class AccountedTable extends MemoryIndexTable {
  readonly partitions = new Map<string, number>();
  readonly items = new Map<string, number>();
  #appended = 0;

  override async write(operations: readonly WriteOperation[]): Promise<WriteOutcome> {
    const outcome = await super.write(operations);
    if (!outcome.committed) return outcome;
    const times = operations.length > 1 || operations[0]?.kind === 'add' ? 2 : 1;
    for (const operation of operations) {
      const attributes: Attributes =
        operation.kind === 'append'
          ? {
              ...keyOf(LOG.inbox(operation.partition, this.#appended++ % LOG.shards), 'event'),
              ...dataOf(operation.item),
            }
          : operation.kind === 'put'
            ? attributesOf(operation.key, encodeRecord(operation.key, operation.item), undefined)
            : physicalKey(operation.key);
      const partition = attributes[TABLE.partitionKey]?.S ?? '';
      const bytes = Object.values(attributes).reduce((sum, { S, B }) => sum + (B?.length ?? S?.length ?? 0), 20);
      const units = times * Math.ceil(bytes / 1024);
      // An event leaves its inbox again, alone.
      add(this.partitions, partition, units + (operation.kind === 'append' ? 1 : 0));
      if (operation.kind !== 'append') add(this.items, `${partition} ${attributes[TABLE.sortKey]?.S}`, units);
    }
    return outcome;
  }
}

const dataOf = (item: Item): Attributes => ({ [ITEM.data]: { B: encodeData(item) } });
const add = (sums: Map<string, number>, name: string, units: number) => sums.set(name, (sums.get(name) ?? 0) + units);

/**
 * A study of many instances stored by many functions at once, each request bringing some; the write units of a second at
 * 500 instances a second, hottest first.
 */
async function simulate(instances: number, options: { functions: number; request: number; series: number }) {
  const table = new AccountedTable();
  const first = memoryServices({ ports: { index: table as IndexTable } });
  const functions: Services[] = Array.from({ length: options.functions }, () => assemble(first));
  const requests = Array.from({ length: Math.ceil(instances / options.request) }, (_, r) =>
    Array.from(
      { length: Math.min(options.request, instances - r * options.request) },
      (_, i) => r * options.request + i,
    ),
  );
  await Promise.all(
    functions.map(async (services) => {
      for (let request = requests.shift(); request; request = requests.shift())
        for (const outcome of await Promise.all(request.map((n) => store(services, sliceOf(n, options.series)))))
          expect(outcome.kind).toBe('stored');
    }),
  );
  expect(await studyRecord(first, uid(1))).toMatchObject({ instanceCount: instances, seriesCount: options.series });
  const rates = (sums: Map<string, number>): [string, number][] =>
    [...sums]
      .map(([name, units]): [string, number] => [
        name.replaceAll('\0', '/'),
        Math.round((units * INSTANCES_A_SECOND) / instances),
      ])
      .toSorted((a, b) => b[1] - a[1])
      .slice(0, 8);
  return { partitions: rates(table.partitions), items: rates(table.items) };
}

/** As large a header as a CT slice has. */
const sliceOf = (n: number, series: number): Uint8Array =>
  buildDicom({
    SeriesInstanceUID: uid(2 + (n % series)),
    SOPInstanceUID: uid(1_000_000 + n),
    InstanceNumber: n,
    ImagePositionPatient: `${n * 0.625}\\-120.5\\88.25`,
    ImageComments: Array.from(
      { length: 60 },
      (_, i) => `parameter ${i} of this slice: ${(n * 7919 + i * 104_729) % 99_991}`,
    ).join('; '),
  });

describe('a study that arrives at 500 instances a second keeps every partition within its write units', () => {
  test('from a gateway, 25 instances a request', { timeout: 120_000 }, async () => {
    const { partitions, items } = await simulate(2_000, { functions: 20, request: 25, series: 4 });
    for (const [name, units] of partitions) expect(units, name).toBeLessThan(PARTITION_WRITE_UNITS);
    for (const [name, units] of items) expect(units, name).toBeLessThan(PARTITION_WRITE_UNITS / 2);
  });

  test('from uploads, 10 instances a batch of the queue', { timeout: 120_000 }, async () => {
    const { partitions, items } = await simulate(1_500, { functions: 40, request: 10, series: 4 });
    for (const [name, units] of partitions) expect(units, name).toBeLessThan(PARTITION_WRITE_UNITS);
    for (const [name, units] of items) expect(units, name).toBeLessThan(PARTITION_WRITE_UNITS / 2);
  });

  test('all of one series, from a gateway', { timeout: 120_000 }, async () => {
    const { partitions, items } = await simulate(2_000, { functions: 20, request: 25, series: 1 });
    for (const [name, units] of partitions) expect(units, name).toBeLessThan(PARTITION_WRITE_UNITS);
    for (const [name, units] of items) expect(units, name).toBeLessThan(PARTITION_WRITE_UNITS / 2);
  });

  test('all of one series, from uploads', { timeout: 120_000 }, async () => {
    const { partitions, items } = await simulate(1_500, { functions: 40, request: 10, series: 1 });
    for (const [name, units] of partitions) expect(units, name).toBeLessThan(PARTITION_WRITE_UNITS);
    for (const [name, units] of items) expect(units, name).toBeLessThan(PARTITION_WRITE_UNITS / 2);
  });
});
