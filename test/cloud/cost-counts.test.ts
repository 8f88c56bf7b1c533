import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AttributeValue, ScanCommand } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { settleStudy } from '#core/archive/quiet.ts';
import type { CostCounts, Usage } from '#core/costs/counts.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { store, TENANT } from '#test/fixtures/services.ts';
import { type Cloud, type CloudArchive, startCloud, storeTogether } from './helpers/archive.ts';

// What one of each operation takes of AWS, as engines count it; the cost model multiplies it by prices. The file is written by
// `NEPHOS_WRITE_COST_COUNTS=1 vitest run --project cloud test/cloud/cost-counts.test.ts`.
const FILE = join(import.meta.dirname, '../../functions/core/costs/cost-counts.json');
/** sizes of items differ by a few bytes from run to run, and so at times do their kilobytes */
const TOLERANCE = 0.1;

const [INSTANCES, REQUEST, STUDY] = [100, 25, 7];
let cloud: Cloud;
let archive: CloudArchive;
const units = { read: 0, write: 0 };

beforeAll(async () => {
  cloud = await startCloud();
  // Who reaches what is read once a second by a function (lambda/config.ts), and so not counted with each call.
  archive = cloud.open({ limits: { studyQuietMs: 1, accessPolicyMs: 24 * 60 * 60 * 1000 } });
  archive.dynamo.middlewareStack.add(
    (next, { commandName = '' }) =>
      async (args) => {
        if (commandName.startsWith('Get') || commandName.startsWith('BatchGet') || commandName.startsWith('Query'))
          Object.assign(args.input, { ReturnConsumedCapacity: 'TOTAL' });
        units.write += writeUnitsOf(commandName, args.input as WriteInput);
        const result = await next(args);
        const { ConsumedCapacity } = result.output as { ConsumedCapacity?: unknown };
        for (const one of [ConsumedCapacity].flat() as ({ CapacityUnits?: number } | undefined)[])
          units.read += one?.CapacityUnits ?? 0;
        return result;
      },
    { step: 'initialize', name: 'capacity' },
  );
});
afterAll(() => cloud.stop());

type Attributes = Record<string, AttributeValue>;
interface WriteInput {
  readonly Item?: Attributes;
  readonly TransactItems?: readonly Partial<Record<string, { Item?: Attributes }>>[];
}

/** DynamoDB Local leaves transactions out: 1 KB of each item, twice in a transaction; what is deleted or summed up is no larger. */
function writeUnitsOf(command: string, { Item, TransactItems = [] }: WriteInput): number {
  if (command === 'TransactWriteItemsCommand')
    return TransactItems.flatMap((one) => Object.values(one)).reduce((sum, one) => sum + 2 * kilobytes(one?.Item), 0);
  if (command === 'BatchWriteItemCommand') throw new Error('the account does not know how to count this call');
  return /^(Put|Delete|Update)Item/.test(command) ? kilobytes(Item) : 0;
}

const bytesOf = (item: Attributes): number =>
  Object.entries(item).reduce(
    (sum, [name, { S, N, B }]) => sum + name.length + (B?.length ?? Buffer.byteLength(S ?? N ?? '')),
    0,
  );
const kilobytes = (item: Attributes | undefined): number => (item === undefined ? 1 : Math.ceil(bytesOf(item) / 1024));

async function measured(work: () => Promise<unknown>): Promise<Usage> {
  archive.reset();
  Object.assign(units, { read: 0, write: 0 });
  await work();
  const { s3, sqs } = archive.counts;
  const of = (counts: ReadonlyMap<string, number>, names: RegExp) =>
    [...counts].reduce((sum, [name, n]) => sum + (names.test(name) ? n : 0), 0);
  return {
    writeUnits: units.write,
    readUnits: units.read,
    s3Puts: of(s3.calls, /Put|Copy|Create|Upload|Complete|List/),
    s3Gets: of(s3.calls, /Get|Head/),
    queueRequests: of(sqs.calls, /./),
  };
}
const per = (usage: Usage, count: number): Usage =>
  Object.fromEntries(Object.entries(usage).map(([name, n]) => [name, Math.round((n / count) * 100) / 100])) as never;

const slice = (n: number, study = STUDY): Uint8Array =>
  buildDicom({
    StudyInstanceUID: uid(1_000 + study),
    SeriesInstanceUID: uid(2_000 + study),
    SOPInstanceUID: uid(100_000 + study * 1_000 + n),
    PatientName: 'Kosten^Karla',
    PatientID: 'K-1',
    StudyDescription: 'CT Thorax Abdomen',
    InstanceNumber: n,
    // As much text as the header of an ordinary slice has in JSON
    ImageComments: Array.from({ length: 120 }, (_, i) => `value ${i} ${(n * 7919 + i * 104_729) % 99_991}`).join('; '),
  });

async function get(path: string, accept: string): Promise<void> {
  const url = new URL(`http://pacs.example/dicomweb${path}`);
  const { response } = await new Router(archive.services, '/dicomweb', DICOMWEB_ROUTES).handle({
    method: 'GET',
    path: url.pathname,
    query: url.searchParams,
    headers: { accept },
    origin: url.origin,
    principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
    body: (async function* () {})(),
  });
  expect(response.status).toBe(200);
  const { body } = response;
  if (body !== undefined && typeof body === 'object' && Symbol.asyncIterator in body)
    for await (const _ of body as AsyncIterable<Uint8Array>);
}

async function indexBytes(): Promise<number> {
  const client = archive.dynamo;
  let bytes = 0;
  for (let ExclusiveStartKey: Record<string, never> | undefined; ; ) {
    const page = await client.send(new ScanCommand({ TableName: 'index', ExclusiveStartKey }));
    for (const item of page.Items ?? []) bytes += bytesOf(item);
    ExclusiveStartKey = page.LastEvaluatedKey as never;
    if (ExclusiveStartKey === undefined) return bytes;
  }
}

test('what operations take of AWS is what the cost model reckons with', async () => {
  await store(archive.services, slice(0, 1)); // the words of a study are known from now on
  const before = await indexBytes();
  const study = await measured(() => store(archive.services, slice(0)));
  const afterFirst = await indexBytes();
  const instances = await measured(async () => {
    for (let at = 1; at <= INSTANCES; at += REQUEST)
      await storeTogether(
        archive.services,
        Array.from({ length: REQUEST }, (_, i) => slice(at + i)),
      );
  });
  const afterAll_ = await indexBytes();
  const quiet = await measured(() => settleStudy(archive.services, TENANT, uid(1_000 + STUDY)));
  const path = `/studies/${uid(1_000 + STUDY)}/series/${uid(2_000 + STUDY)}`;
  const frame = `${path}/instances/${uid(100_000 + STUDY * 1_000 + 3)}/frames/1`;
  await get(frame, 'application/octet-stream'); // the entry in the audit trail, one for many reads
  const counts: CostCounts = {
    study: per(study, 1),
    instance: per(instances, INSTANCES),
    quiet: per(quiet, 1),
    search: per(await measured(() => get('/studies?limit=25', 'application/dicom+json')), 1),
    metadata: per(await measured(() => get(`${path}/metadata`, 'application/dicom+json')), 1),
    frame: per(await measured(() => get(frame, 'application/octet-stream')), 1),
    indexBytes: { study: afterFirst - before, instance: Math.round((afterAll_ - afterFirst) / INSTANCES) },
  };
  if (process.env.NEPHOS_WRITE_COST_COUNTS) writeFileSync(FILE, `${JSON.stringify(counts, null, 2)}\n`);
  const written = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, Record<string, number>>;
  for (const [operation, usage] of Object.entries(counts))
    for (const [what, n] of Object.entries(usage as Record<string, number>)) {
      const expected = written[operation]?.[what] ?? Number.NaN;
      expect(Math.abs(n - expected), `${operation}.${what}: ${n}, written ${expected}`).toBeLessThanOrEqual(
        Math.max(1, expected * TOLERANCE),
      );
    }
});
