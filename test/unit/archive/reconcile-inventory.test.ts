import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import '#test/fixtures/quiet-powertools.ts';
import { describe, expect, test } from 'vitest';
import { InventoryError, newestManifest, readInventory } from '#adapters/aws/s3-inventory.ts';
import { MemoryBlobStore } from '#adapters/memory/memory-blob-store.ts';
import { sumUp } from '#core/archive/inventory.ts';
import { reconcile } from '#core/archive/reconcile.ts';
import { inventoryReader } from '#lambda/inventory.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const never = (): boolean => false;
const BUCKET = 'archive-bucket';
type Row = { readonly key: string; readonly size: number };

async function archive() {
  const services = memoryServices();
  for (const study of [1, 2, 3])
    for (const n of [1, 2])
      await store(
        services,
        buildDicom({
          StudyInstanceUID: uid(study),
          SeriesInstanceUID: uid(study * 10),
          SOPInstanceUID: uid(study * 100 + n),
        }),
      );
  services.clock.advance(services.limits.pendingMs + 1);
  return services;
}
const rowsOf = (services: Awaited<ReturnType<typeof archive>>): Promise<Row[]> =>
  Array.fromAsync(services.blobs.list(''));

/** What S3 delivers: two files in gzip, rows in no order, and the manifest. */
async function deliver(rows: readonly Row[], { damage = false, day = '2026-01-31', cut = 0 } = {}) {
  const blobs = new MemoryBlobStore();
  const files = [];
  for (const [number, part] of [rows.slice(1).reverse(), rows.slice(0, 1)].entries()) {
    const text = part.map(({ key, size }) => `"${BUCKET}","${encodeURIComponent(key)}","${size}"\n`).join('');
    const whole = gzipSync(text);
    const key = `inventory/${BUCKET}/all-objects/data/${number}.csv.gz`;
    const MD5checksum = createHash('md5').update(whole).digest('hex');
    await blobs.put(key, damage ? gzipSync(text.replace('"', '"x')) : whole.subarray(0, whole.length - cut));
    files.push({ key, size: whole.length, MD5checksum });
  }
  const manifest = { fileFormat: 'CSV', fileSchema: 'Bucket, Key, Size', files };
  await blobs.put(`inventory/${BUCKET}/all-objects/${day}T01-00Z/manifest.json`, Buffer.from(JSON.stringify(manifest)));
  return blobs;
}
const inventoryOf = async (blobs: MemoryBlobStore) =>
  (await sumUp(readInventory(blobs, (await newestManifest(blobs, BUCKET))!), never))!.get(TENANT)!;

test('with an inventory that agrees with the records, no folder is listed', async () => {
  const services = await archive();
  const report = await reconcile(services, TENANT, never, await inventoryOf(await deliver(await rowsOf(services))));
  expect(report).toEqual({ studies: 3, listed: 0, objects: 6, missing: 0, unknown: 0, named: [], finished: true });
});

test('an object that is gone, one that nobody knows and a folder that nobody knows are found; only their folders are listed', async () => {
  const services = await archive();
  const rows = await rowsOf(services);
  const gone = rows.find(({ key }) => key.includes(`/${uid(201)}.`))!.key;
  await services.blobs.delete(gone);
  const known = rows.find(({ key }) => key.includes(`/${uid(302)}.`))!.key;
  const stray = known.replace(uid(302), uid(999));
  const foreign = known.replace(`/${uid(3)}/`, `/${uid(77)}/`);
  for (const key of [stray, foreign]) await services.blobs.put(key, new Uint8Array(9));
  const report = await reconcile(services, TENANT, never, await inventoryOf(await deliver(await rowsOf(services))));
  expect(report).toMatchObject({ studies: 3, listed: 3, missing: 1, unknown: 2, finished: true });
  expect(report.named.map(({ blobKey }) => blobKey).sort()).toEqual([gone, stray, foreign].sort());
});

test('what was stored since the inventory was taken is no finding', async () => {
  const services = await archive();
  const inventory = await inventoryOf(
    await deliver((await rowsOf(services)).filter(({ key }) => !key.includes(uid(3)))),
  );
  expect(await reconcile(services, TENANT, never, inventory)).toMatchObject({ listed: 1, missing: 0, unknown: 0 });
});

test('runs that are short of time go on where the last one ended', async () => {
  const services = await archive();
  const known = (await rowsOf(services)).find(({ key }) => key.includes(`/${uid(302)}.`))!.key;
  await services.blobs.put(known.replace(`/${uid(3)}/`, `/${uid(77)}/`), new Uint8Array(9));
  const inventory = await inventoryOf(await deliver(await rowsOf(services)));
  const reports = [];
  do reports.push(await reconcile(services, TENANT, () => true, inventory));
  while (!reports.at(-1)!.finished && reports.length < 50);
  expect(reports.at(-1)!.finished).toBe(true);
  expect(reports.reduce((sum, { studies }) => sum + studies, 0)).toBe(3);
  expect(reports.reduce((sum, { unknown }) => sum + unknown, 0)).toBe(1);
});

test.each([
  ['changed', { damage: true }],
  ['cut', { cut: 9 }],
])('of an inventory that was %s nothing is believed', async (_, options) => {
  const blobs = await deliver(await rowsOf(await archive()), options);
  await expect(inventoryOf(blobs)).rejects.toBeInstanceOf(InventoryError);
});

test('the newest manifest is taken; before the first there is none', async () => {
  expect(await newestManifest(new MemoryBlobStore(), BUCKET)).toBeUndefined();
  const blobs = await deliver([]);
  const later = `inventory/${BUCKET}/all-objects/2026-02-01T01-00Z/manifest.json`;
  await blobs.put(later, new Uint8Array(1));
  await blobs.put(`inventory/${BUCKET}/all-objects/2026-02-02T01-00Z/manifest.checksum`, new Uint8Array(1));
  expect(await newestManifest(blobs, BUCKET)).toBe(later);
});

describe('the inventory of a function', () => {
  const names = { inventoryBucket: 'logs', archiveBucket: BUCKET };

  test('is read once while no newer one is there', async () => {
    const services = await archive();
    const blobs = await deliver(await rowsOf(services));
    let opened = 0;
    const inventoryFor = inventoryReader(() => {
      opened++;
      return blobs;
    });
    const first = await inventoryFor(names, TENANT, never);
    expect(first?.size).toBe(3);
    expect(await inventoryFor(names, TENANT, never)).toBe(first);
    expect((await inventoryFor(names, 'another', never))?.size).toBe(0);
    expect(opened).toBe(3);
  });

  test('that is damaged, not there, or of no bucket is none: the run lists', async () => {
    const rows = await rowsOf(await archive());
    const damaged = await deliver(rows, { damage: true });
    expect(await inventoryReader(() => damaged)(names, TENANT, never)).toBeUndefined();
    expect(await inventoryReader(() => new MemoryBlobStore())(names, TENANT, never)).toBeUndefined();
    const none = { ...names, inventoryBucket: undefined };
    expect(await inventoryReader(() => damaged)(none, TENANT, never)).toBeUndefined();
  });
});
