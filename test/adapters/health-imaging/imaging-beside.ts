import { MedicalImagingClient } from '@aws-sdk/client-medical-imaging';
import { expect } from 'vitest';
import { s3Client } from '#adapters/aws/clients.ts';
import { HealthImagingPlacement } from '#adapters/aws/health-imaging/health-imaging-placement.ts';
import type { ImagingLimits } from '#adapters/aws/health-imaging/options.ts';
import { MemoryBlobStore } from '#adapters/memory/memory-blob-store.ts';
import type { Limits } from '#core/limits.ts';
import type { memoryServices } from '#test/fixtures/services.ts';
import { FakeHealthImaging } from './fake-server.ts';

const identity = { region: 'us-east-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } };

export interface ImagingBeside {
  readonly fake: FakeHealthImaging;
  readonly landing: MemoryBlobStore;
  readonly placement: HealthImagingPlacement;
  /** expects besides that no request was against the model */
  close(): Promise<void>;
}

/** HealthImaging beside an archive in memory, with what S3 does of it: copies. */
export async function imagingBeside(
  archive: ReturnType<typeof memoryServices>,
  limits: Partial<ImagingLimits> = {},
  archiveLimits: Partial<Limits> = {},
): Promise<ImagingBeside> {
  const landing = new MemoryBlobStore();
  const fake = new FakeHealthImaging(landing);
  const endpoint = await fake.listen();
  const client = new MedicalImagingClient({ ...identity, endpoint, maxAttempts: 1, disableHostPrefix: true });
  const s3 = s3Client(identity);
  s3.middlewareStack.add(
    () =>
      async ({ input }) => {
        const { CopySource, Key, TaggingDirective } = input as Record<string, string>;
        if (CopySource === undefined || Key === undefined) throw new Error('only copies are asked for');
        // As S3 says of an object that was tagged for a tier: no role may read tags, nor write them here.
        if (TaggingDirective !== 'REPLACE') throw new Error('AccessDenied: s3:GetObjectTagging');
        const bytes = await archive.blobs.readBytes(CopySource.slice(CopySource.indexOf('/') + 1));
        if ((await landing.head(Key)) === undefined) await landing.put(Key, bytes);
        return { output: {}, response: undefined } as never;
      },
    { step: 'initialize', priority: 'high', name: 'copies' },
  );
  const placement = new HealthImagingPlacement({
    client,
    s3,
    datastoreId: fake.datastoreId,
    dataAccessRoleArn: 'arn:aws:iam::000000000000:role/import',
    archiveBucket: 'archive',
    landingBucket: 'landing',
    landing,
    archive: archive.blobs,
    index: archive.index,
    clock: archive.clock,
    retry: { attempts: 3, firstMs: 1, mostMs: 2 },
    limits,
    archiveLimits: { ...archive.limits, ...archiveLimits },
  });
  return {
    fake,
    landing,
    placement,
    async close() {
      client.destroy();
      await fake.close();
      expect(fake.violations).toStrictEqual([]);
    },
  };
}
