import { OBJECT_KEY } from './rebuild.ts';

/** What a store's own inventory says of one study's folder: enough to see that nothing has changed, in a hundred bytes. */
export interface FolderSum {
  objects: number;
  bytes: number;
  /** sum of the hashes of keys and sizes, modulo 2^32: of any order */
  hash: number;
}

/** Folders of studies by StudyInstanceUID; of the objects of one tenant. */
export type Inventory = ReadonlyMap<string, FolderSum>;

export const emptySum = (): FolderSum => ({ objects: 0, bytes: 0, hash: 0 });

export function addTo(sum: FolderSum, blobKey: string, sizeBytes: number): void {
  sum.objects++;
  sum.bytes += sizeBytes;
  sum.hash = (sum.hash + hashOf(`${blobKey}:${sizeBytes}`)) >>> 0;
}

export const sameSum = (a: FolderSum, b: FolderSum | undefined): boolean =>
  b !== undefined && a.objects === b.objects && a.bytes === b.bytes && a.hash === b.hash;

/** FNV-1a, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/**
 * Sums up the objects of each tenant's studies, whatever their order. `isOver` ends it early: half an inventory is none.
 * @returns undefined when there was no time
 */
export async function sumUp(
  rows: AsyncIterable<{ readonly key: string; readonly size: number }>,
  isOver: () => boolean,
): Promise<ReadonlyMap<string, Inventory> | undefined> {
  const tenants = new Map<string, Map<string, FolderSum>>();
  let count = 0;
  for await (const { key, size } of rows) {
    if (++count % CHECK_EVERY === 0 && isOver()) return undefined;
    if (!OBJECT_KEY.test(key)) continue;
    const [tenant = '', study = ''] = key.split('/', 2);
    const studies = tenants.get(tenant) ?? new Map<string, FolderSum>();
    tenants.set(tenant, studies);
    const sum = studies.get(study) ?? emptySum();
    studies.set(study, sum);
    addTo(sum, key, size);
  }
  return tenants;
}

const CHECK_EVERY = 10_000;
