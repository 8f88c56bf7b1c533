import { PacsError } from '../errors.ts';
import { timeOf, timeText } from '../ids.ts';
import type { BlobStore } from '../ports/blob-store.ts';
import type { HeldRecord, Tenant, TrashRecord } from './records.ts';

/**
 * Decisions about blobs, kept beside them as small JSON blobs, so that an index rebuilt from the blobs alone neither brings
 * back what was deleted nor loses what was held. UIDs and reasons only.
 */
export type Manifest =
  | { readonly kind: 'held'; readonly held: HeldRecord }
  | { readonly kind: 'released'; readonly id: string }
  | {
      readonly kind: 'trash';
      readonly trash: TrashRecord;
      readonly blobKeys: readonly string[];
      /** blob key of what took its place, of a trash record of kind `replaced` */
      readonly replacedBy?: string;
    }
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

/** clocks may go back by this much between a store and its replacing something (ms) */
const CLOCK_STEP_MS = 60 * 60 * 1000;

/** Bytes that were to take the place of others: what their blob key names, and the key. */
export interface Replacing {
  readonly SOPInstanceUID: string;
  readonly version: string;
  readonly blobKey: string;
}

/**
 * Takes back what was noted of a replacement that never reached the index, as its store was given up: a rebuild would set aside what is current
 * still, and the trash would be purged of it. May be repeated.
 */
export async function takeBackReplacement(blobs: BlobStore, tenant: Tenant, replacing: Replacing): Promise<void> {
  await takeBackSuperseded(blobs, tenant, replacing);
  const { version, blobKey } = replacing;
  const trash = `${folder(tenant)}trash.`;
  for await (const { key } of blobs.list(trash, trash + timeText(timeOf(version) - CLOCK_STEP_MS))) {
    const manifest = await read(blobs, key);
    if (manifest.kind === 'trash' && manifest.replacedBy === blobKey)
      await putManifest(blobs, tenant, { kind: 'restored', id: manifest.trash.id });
  }
}

/** The same, of policy `version` alone. */
export async function takeBackSuperseded(
  blobs: BlobStore,
  tenant: Tenant,
  { SOPInstanceUID, blobKey }: Replacing,
): Promise<void> {
  for await (const { key } of blobs.list(`${folder(tenant)}superseded.${SOPInstanceUID}.`)) {
    const manifest = await read(blobs, key);
    if (manifest.kind === 'superseded' && manifest.by === blobKey) await blobs.delete(key);
  }
}

const read = async (blobs: BlobStore, key: string): Promise<Manifest> =>
  JSON.parse(Buffer.from(await blobs.readBytes(key)).toString('utf8'));

/**
 * The decisions in force: held and trash without those that were released or restored, and superseded versions. What was to be replaced by an
 * object that is held still was not: the decision about that one was cut off.
 */
export async function readManifests(blobs: BlobStore, tenant: Tenant): Promise<Manifest[]> {
  const all: Manifest[] = [];
  for await (const { key } of blobs.list(folder(tenant))) {
    all.push(await read(blobs, key));
  }
  const undone = new Set(all.flatMap((m) => (m.kind === 'released' || m.kind === 'restored' ? [m.id] : [])));
  const decided = all.filter(
    (m) =>
      (m.kind === 'held' && !undone.has(m.held.id)) ||
      (m.kind === 'trash' && !undone.has(m.trash.id)) ||
      m.kind === 'superseded',
  );
  const waiting = new Set(decided.flatMap((m) => (m.kind === 'held' ? [m.held.blobKey] : [])));
  return decided.filter((m) => !waiting.has(replacerOf(m) ?? ''));
}

const replacerOf = (manifest: Manifest): string | undefined =>
  manifest.kind === 'trash' ? manifest.replacedBy : manifest.kind === 'superseded' ? manifest.by : undefined;

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
