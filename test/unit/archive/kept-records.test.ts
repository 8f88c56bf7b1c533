import { globSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { MemoryBlobStore } from '#adapters/memory/memory-blob-store.ts';
import { keptByBackup, keptByRebuild, kindOf, MADE_ANEW, OF_THE_MOMENT } from '#core/archive/kept-records.ts';
import { tenantsIn } from '#core/archive/rebuild.ts';

/** What stands in the index alone, and is put into a backup. Whoever adds a kind of record decides here, or in kept-records.ts, what becomes of it. */
const KEPT = [
  // who comes in, and what he may do
  'users',
  'usershead',
  'token',
  'tokens',
  'client',
  'clients',
  'clientcertificate',
  'gatewayclients',
  'policy',
  // links
  'share',
  'shares',
  'sharesdue',
  'sharetrail',
  'shareheld',
  'shareuse',
  // gateways, worklist, procedure steps
  'gateways',
  'gatewayconfigurations',
  'worklist',
  'worklist-id',
  'worklist-step',
  'worklist-changes',
  'mpps',
  'mpps-by-time',
  'mpps-of',
  // where studies are sent, what has been sent, what was read of them (for the bill)
  'routing',
  'routing-state',
  'deliveries',
  'deliveries-waiting',
  'deliveries-held',
  'delivered',
  'served',
  // read to see that the index answers; never written
  'health',
  // copies for researchers
  'deidentification-projects',
  'deidentification-secrets',
  'deidentifications',
  'deidentification',
  // when studies were last read, and where they have been put
  'access',
  'tier',
  'tiering',
  'idle',
  'placing',
  'placement',
  'placed',
  'placedsets',
  'imagesets',
];

/** Words behind a tenant, or `_system`, at the beginning of a text with a bar: names of partitions, as the sources write them. */
function kindsInSources(): string[] {
  const root = join(import.meta.dirname, '../../../functions');
  const kinds = new Set<string>();
  for (const path of globSync('{core,adapters,embedded,lambda,api,dimse}/**/*.ts', { cwd: root })) {
    const source = readFileSync(join(root, path), 'utf8');
    for (const [, kind] of source.matchAll(/`(?:\$\{(?:t|tenant)\}|_system)\|([a-z][a-z-]*)(?=[|`])/g))
      kinds.add(kind!);
    for (const [, kind] of source.matchAll(/'_system\|([a-z][a-z-]*)[|']/g)) kinds.add(kind!);
  }
  return [...kinds].sort();
}

test('of each kind of record there is, it is decided whether a rebuild and a backup keep it', () => {
  const decided = new Set([...MADE_ANEW, ...OF_THE_MOMENT, ...KEPT]);
  const found = kindsInSources();
  expect(found.length).toBeGreaterThan(60);
  expect(found.filter((kind) => !decided.has(kind))).toEqual([]);
  // Nothing is decided of what there is not: a name that was changed leaves its record out of the backup, or an old one in the index.
  expect([...decided].filter((kind) => !found.includes(kind))).toEqual(['queue']);
  expect(decided.size).toBe(MADE_ANEW.size + OF_THE_MOMENT.size + KEPT.length);
});

test('the kind of a partition', () => {
  expect(kindOf('main|study|1.2.3')).toBe('study');
  expect(kindOf('_system|token|abc')).toBe('token');
  expect(kindOf('queue|jobs|due')).toBe('queue');
  expect([keptByRebuild('main|policy'), keptByBackup('main|policy')]).toEqual([true, true]);
  expect([keptByRebuild('queue|jobs|due'), keptByBackup('queue|jobs|due')]).toEqual([true, false]);
  expect([keptByRebuild('main|x|list'), keptByBackup('main|x|list')]).toEqual([false, false]);
});

test('a rebuild finds every tenant that an object belongs to, whatever their names begin with', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'nephos-tenants-'));
  const files = await FsBlobStore.open(dir);
  try {
    for (const blobs of [new MemoryBlobStore(), files]) {
      expect(await tenantsIn({ blobs })).toEqual([]);
      for (const tenant of ['main', 'main-b', 'main0', 'a', 'zebra'])
        for (const name of ['1/2/3.dcm', 'audit/0.ndjson']) await blobs.put(`${tenant}/${name}`, Buffer.from('x'));
      expect((await tenantsIn({ blobs })).sort()).toEqual(['a', 'main', 'main-b', 'main0', 'zebra']);
    }
  } finally {
    await files.close();
    await rm(dir, { recursive: true });
  }
});
