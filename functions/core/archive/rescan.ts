import { createHash } from 'node:crypto';
import { Part10Scanner } from '../dicom/scanner.ts';
import type { Services } from '../services.ts';
import type { PreparedInstance } from './commit.ts';
import { identify, prepareInstance, uidsOf } from './instance.ts';
import type { Tenant, Version } from './records.ts';
import { filingOf, withSupplied } from './supplied-uids.ts';

/**
 * Reads a stored object again, as if it were just arriving: everything the index holds of it follows from its bytes.
 * @throws PacsError NOT_FOUND when the blob is gone; UNREADABLE_DATASET
 */
export async function rescan(
  services: Services,
  tenant: Tenant,
  stored: { blobKey: string; version: Version; source: string; storedAt: number },
): Promise<PreparedInstance> {
  const scanner = new Part10Scanner(services.limits);
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of services.blobs.read(stored.blobKey)) {
    scanner.push(chunk);
    hash.update(chunk);
    sizeBytes += chunk.byteLength;
  }
  const scanned = scanner.end();
  const { blobKey, version, source, storedAt } = stored;
  const sha256 = hash.digest('hex');
  // What was stored was filed so, whatever the policy is now.
  const { uids, supplied: suppliedUIDs } = filingOf(uidsOf(scanned.dataSet), scanned.fileMeta, 'derive');
  const id = identify(uids);
  const dataSet = withSupplied(scanned.dataSet, id, suppliedUIDs, version);
  return prepareInstance(
    services,
    { ...scanned, dataSet },
    {
      tenant,
      id,
      version,
      suppliedUIDs,
      blobKey,
      sizeBytes,
      sha256,
      source,
      storedAt,
      guard: 'none',
    },
  );
}
