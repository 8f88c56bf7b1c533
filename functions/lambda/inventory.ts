import { s3Client } from '#adapters/aws/clients.ts';
import { S3BlobStore } from '#adapters/aws/s3-blob-store.ts';
import { newestManifest, readInventory } from '#adapters/aws/s3-inventory.ts';
import { systemClock } from '#adapters/system-clock.ts';
import { type Inventory, sumUp } from '#core/archive/inventory.ts';
import { describeError } from '#core/errors.ts';
import type { BlobStore } from '#core/ports/blob-store.ts';
import type { CloudConfig } from './config.ts';
import { logger } from './observe.ts';

const openBucket = (bucket: string): BlobStore =>
  new S3BlobStore({
    client: s3Client(process.env.AWS_ENDPOINT_URL === undefined ? {} : { forcePathStyle: true }),
    bucket,
    clock: systemClock,
    foreignKeys: true,
  });

/** The newest inventory by tenant, kept until a newer one is there. Undefined when there is none that can be read: then folders are listed. */
export function inventoryReader(open: (bucket: string) => BlobStore = openBucket) {
  let kept: { readonly manifest: string; readonly tenants: ReadonlyMap<string, Inventory> } | undefined;
  return async (
    { inventoryBucket, archiveBucket }: Pick<CloudConfig, 'inventoryBucket' | 'archiveBucket'>,
    tenant: string,
    isOver: () => boolean,
  ): Promise<Inventory | undefined> => {
    if (inventoryBucket === undefined || archiveBucket === undefined) return undefined;
    try {
      const blobs = open(inventoryBucket);
      const manifest = await newestManifest(blobs, archiveBucket);
      if (manifest === undefined) return undefined;
      if (kept?.manifest !== manifest) {
        const tenants = await sumUp(readInventory(blobs, manifest), isOver);
        if (tenants === undefined) return undefined;
        kept = { manifest, tenants };
      }
      return kept.tenants.get(tenant) ?? new Map();
    } catch (error) {
      logger.error('inventory-unusable', { failure: describeError(error) });
      return undefined;
    }
  };
}
