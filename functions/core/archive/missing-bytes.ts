import { PacsError } from '../errors.ts';
import type { Services } from '../services.ts';
import { blobKeyOf, blobKeysOf, type Identity } from './instance.ts';
import { knownDamage } from './mend.ts';
import type { InstanceRecord, SopClaim, Tenant } from './records.ts';

/**
 * A second region knows an instance about a second after the first has stored it, and has its bytes minutes later. Where the first is lost in between,
 * who sends the instance again brings the only bytes of it that there are.
 */

const ownedKey = (tenant: Tenant, claim: SopClaim, { SOPInstanceUID }: Pick<Identity, 'SOPInstanceUID'>): string =>
  blobKeyOf(tenant, { ...claim, SOPInstanceUID }, claim.instanceVersion);

/**
 * Whether the bytes are there that a claim speaks of, and sound as far as is known (mend.ts). A store that packs small objects is one machine's own: no
 * other has written its index.
 */
export async function hasBytes(
  { blobs, index }: Pick<Services, 'blobs' | 'index'>,
  tenant: Tenant,
  claim: SopClaim,
  id: Pick<Identity, 'SOPInstanceUID'>,
): Promise<boolean> {
  const isThere = blobs.packed !== undefined || (await blobs.head(ownedKey(tenant, claim, id))) !== undefined;
  return isThere && (await knownDamage({ index }, tenant, claim, id.SOPInstanceUID)) === undefined;
}

/**
 * Puts the bytes of a duplicate, and what stands beside them, where those that it duplicates are missing. The object last: while it is missing, this is
 * begun again. What is copied to us after all comes under the same key, with the same bytes.
 */
export async function giveMissingBytes(
  services: Pick<Services, 'blobs'>,
  tenant: Tenant,
  claim: SopClaim,
  duplicate: InstanceRecord,
): Promise<void> {
  const { blobs } = services;
  if (blobs.packed !== undefined || (await blobs.head(ownedKey(tenant, claim, duplicate))) !== undefined) return;
  const [given, missing] = [blobKeysOf(duplicate), blobKeysOf({ blobKey: ownedKey(tenant, claim, duplicate) })];
  for (const [i, from] of [...given.entries()].toReversed()) {
    if ((await blobs.head(from)) === undefined) continue;
    try {
      await blobs.put(missing[i]!, blobs.read(from), i === 0 ? { sha256: claim.sha256 } : {});
    } catch (error) {
      // It has come meanwhile, or another sends it too.
      if (!(error instanceof PacsError) || error.code !== 'CONFLICT') throw error;
    }
  }
}

/** series that are listed at the same time */
const AT_ONCE = 16;

/**
 * Which of these blobs are there, by their keys: one listing a series, from the first to the last that is asked for. @returns undefined where the store packs
 * small objects: there are all that the index knows
 */
export async function presentBlobs(
  { blobs }: Pick<Services, 'blobs'>,
  blobKeys: readonly string[],
): Promise<ReadonlySet<string> | undefined> {
  if (blobs.packed !== undefined) return undefined;
  const folders = Map.groupBy(blobKeys, (key) => key.slice(0, key.lastIndexOf('/') + 1)).entries();
  const present = new Set<string>();
  const look = async (): Promise<void> => {
    for (const [folder, keys] of folders) {
      const sorted = keys.toSorted();
      const [first = '', last = ''] = [sorted[0], sorted.at(-1)];
      const wanted = new Set(keys);
      // A key without its last character stands before it.
      for await (const { key } of blobs.list(folder, first.slice(0, -1))) {
        if (wanted.has(key)) present.add(key);
        if (key >= last) break;
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, look));
  return present;
}
