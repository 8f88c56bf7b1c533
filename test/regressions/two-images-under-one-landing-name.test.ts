import '#test/fixtures/quiet-powertools.ts';
import type { SQSRecord } from 'aws-lambda';
import { expect, test } from 'vitest';
import { MemoryBlobStore } from '#adapters/memory/memory-blob-store.ts';
import type { BlobStore } from '#core/ports/blob-store.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { storeLanded } from '#lambda/landed.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { archiveOf } from '#test/fixtures/granted-index.ts';
import { memoryServices, studyRecord, TENANT } from '#test/fixtures/services.ts';

const KEY = `incoming/${TENANT}/modality/IMAGE.dcm`;
const image = (number: number): Uint8Array => buildDicom({ SOPInstanceUID: uid(100 + number) });

/** A bucket with versions, as S3 keeps them: what is put lies over what was there, and what is deleted by its version uncovers what lies below. */
class LandingBucket {
  readonly #versions: { readonly version: string; readonly blobs: MemoryBlobStore }[] = [];
  /** while the first bytes of a version are read, once */
  whileRead: () => Promise<unknown> = async () => {};

  async put(version: string, bytes: Uint8Array): Promise<void> {
    const blobs = new MemoryBlobStore();
    await blobs.put(KEY, bytes);
    this.#versions.push({ version, blobs });
  }

  get left(): string[] {
    return this.#versions.map(({ version }) => version);
  }

  #of(version: string | undefined): BlobStore | undefined {
    return this.#versions.findLast((one) => version === undefined || one.version === version)?.blobs;
  }

  open(version?: string): BlobStore {
    const bucket = this;
    return {
      ofVersion: (one: string) => bucket.open(one),
      head: async (key: string) => bucket.#of(version)?.head(key),
      async *read(key: string) {
        const { whileRead } = bucket;
        bucket.whileRead = async () => {};
        const now = bucket.#of(version) ?? new MemoryBlobStore();
        await whileRead();
        yield* now.read(key);
      },
      async delete() {
        const at = bucket.#versions.findIndex((one) => one.version === version);
        // Without a version: a delete marker, which hides them all.
        if (version === undefined) bucket.#versions.splice(0);
        else if (at >= 0) bucket.#versions.splice(at, 1);
      },
    } as Partial<BlobStore> as BlobStore;
  }
}

const event = (versionId: string): SQSRecord =>
  ({ body: JSON.stringify({ Records: [{ s3: { object: { key: KEY, versionId } } }] }) }) as SQSRecord;

function ingest() {
  const landing = new LandingBucket();
  const memory = memoryServices({ ports: { landing: landing.open() } });
  const archive = archiveOf('ingest', cloudArchive(readLambdaConfig({ NEPHOS_TENANTS: TENANT }, false), memory, false));
  const count = async (): Promise<number> => (await studyRecord(memory, uid(1)))?.instanceCount ?? 0;
  return { landing, tell: (versionId: string) => storeLanded(archive, event(versionId)), count };
}

/** The first was stored, and what lay under its name was deleted: the second. Its own event found nothing and was taken for one that had been told before. */
test('an image that is put under the name of one that is being stored is stored as well', async () => {
  const { landing, tell, count } = ingest();
  await landing.put('v1', image(1));
  landing.whileRead = () => landing.put('v2', image(2));
  expect(await tell('v1')).toBe('done');
  expect(landing.left).toEqual(['v2']);
  expect(await tell('v2')).toBe('done');
  expect(await count()).toBe(2);
  expect(landing.left).toEqual([]);
});

test.each([
  ['in order', ['v1', 'v2']],
  ['out of order', ['v2', 'v1']],
  ['repeated', ['v2', 'v2', 'v1', 'v1', 'v2']],
])('two images that were put under one name before S3 told of the first are both stored, told %s', async (_, told) => {
  const { landing, tell, count } = ingest();
  await landing.put('v1', image(1));
  await landing.put('v2', image(2));
  for (const version of told) expect(await tell(version)).toBe('done');
  expect(await count()).toBe(2);
  expect(landing.left).toEqual([]);
});
