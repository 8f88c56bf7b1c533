import { PacsError } from '../errors.ts';
import type { BlobStore } from '../ports/blob-store.ts';
import type { HeldRecord, Tenant, TrashRecord } from './records.ts';

/**
 * Decisions about blobs, kept beside them as small JSON blobs, so that an index rebuilt from the blobs alone neither brings
 * back what was deleted nor loses what was held. UIDs and reasons only.
 */
export type Manifest =
  | { readonly kind: 'held'; readonly held: HeldRecord }
  | { readonly kind: 'released'; readonly id: string }
  | { readonly kind: 'trash'; readonly trash: TrashRecord; readonly blobKeys: readonly string[] }
  | { readonly kind: 'restored'; readonly id: string }
  | { readonly kind: 'superseded'; readonly blobKey: string; readonly by: string; readonly at: number };

const folder = (tenant: Tenant): string => `${tenant}/_manifests/`;

function keyOf(tenant: Tenant, manifest: Manifest): string {
  switch (manifest.kind) {
    case 'held':
      return `${folder(tenant)}held.${manifest.held.id}.json`;
    case 'released':
      return `${folder(tenant)}held.${manifest.id}.released.json`;
    case 'trash':
      return `${folder(tenant)}trash.${manifest.trash.id}.json`;
    case 'restored':
      return `${folder(tenant)}trash.${manifest.id}.restored.json`;
    case 'superseded':
      return `${folder(tenant)}superseded.${manifest.blobKey.slice(manifest.blobKey.lastIndexOf('/') + 1)}.json`;
  }
}

/** Idempotent: a manifest that is there already is left as it is. */
export async function putManifest(blobs: BlobStore, tenant: Tenant, manifest: Manifest): Promise<void> {
  try {
    await blobs.put(keyOf(tenant, manifest), Buffer.from(JSON.stringify(manifest)));
  } catch (error) {
    if (!(error instanceof PacsError) || error.code !== 'CONFLICT') throw error;
  }
}

/** The decisions in force: held and trash without those that were released or restored, and superseded versions. */
export async function readManifests(blobs: BlobStore, tenant: Tenant): Promise<Manifest[]> {
  const all: Manifest[] = [];
  for await (const { key } of blobs.list(folder(tenant))) {
    all.push(JSON.parse(Buffer.from(await blobs.readBytes(key)).toString('utf8')) as Manifest);
  }
  const undone = new Set(all.flatMap((m) => (m.kind === 'released' || m.kind === 'restored' ? [m.id] : [])));
  return all.filter(
    (m) =>
      (m.kind === 'held' && !undone.has(m.held.id)) ||
      (m.kind === 'trash' && !undone.has(m.trash.id)) ||
      m.kind === 'superseded',
  );
}

/** Removes every manifest of a held or trash record whose blobs are gone for good. */
export async function deleteManifests(
  blobs: BlobStore,
  tenant: Tenant,
  kind: 'held' | 'trash',
  id: string,
): Promise<void> {
  const undone = kind === 'held' ? 'released' : 'restored';
  await blobs.delete(`${folder(tenant)}${kind}.${id}.json`);
  await blobs.delete(`${folder(tenant)}${kind}.${id}.${undone}.json`);
}
