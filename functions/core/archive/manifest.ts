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
      /** its bytes are being removed for good: some of them may be gone */
      readonly isBeingPurged?: boolean;
    }
  | { readonly kind: 'restored'; readonly id: string }
  | { readonly kind: 'purging'; readonly id: string }
  /** of what the trash record was to hold, these are not in it (any more): left where they were, or restored without the others; `part` tells one such note from another */
  | {
      readonly kind: 'except';
      readonly id: string;
      readonly part: string;
      readonly blobKeys: readonly string[];
    }
  | {
      readonly kind: 'superseded';
      readonly blobKey: string;
      readonly by: string;
      readonly at: number;
      /** no version of its own: the disk has spoiled it, and the other one is as it was received */
      readonly isSpoiled?: boolean;
    };

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
    case 'purging':
      return `${folder(tenant)}trash.${manifest.id}.purging.json`;
    case 'except':
      return `${folder(tenant)}trash.${manifest.id}.except.${manifest.part}.json`;
    case 'superseded':
      // Of two that would supersede the same object at once, each has a note of its own: the one that comes too late takes back its own alone.
      return `${folder(tenant)}superseded.${fileOf(manifest.blobKey)}.${versionOf(manifest.by)}.json`;
  }
}

const fileOf = (blobKey: string): string => blobKey.slice(blobKey.lastIndexOf('/') + 1);
const versionOf = (blobKey: string): string => /\.([0-9A-HJKMNP-TV-Z]{26})\./.exec(fileOf(blobKey))?.[1] ?? '';

function withoutPatient(manifest: Manifest): Manifest {
  if (manifest.kind === 'held') return { ...manifest, held: { ...manifest.held, attributes: undefined } };
  if (manifest.kind === 'trash') return { ...manifest, trash: { ...manifest.trash, attributes: undefined } };
  return manifest;
}

/** Idempotent: a manifest that is there already is left as it is. */
export async function putManifest(blobs: BlobStore, tenant: Tenant, manifest: Manifest): Promise<void> {
  try {
    await blobs.put(keyOf(tenant, manifest), Buffer.from(JSON.stringify(withoutPatient(manifest))));
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

/** The same, of policy `version` alone; and what was noted of spoiled bytes that are gone. */
export async function takeBackSuperseded(
  blobs: BlobStore,
  tenant: Tenant,
  { SOPInstanceUID, blobKey }: Replacing,
): Promise<void> {
  for await (const { key } of blobs.list(`${folder(tenant)}superseded.${SOPInstanceUID}.`)) {
    const manifest = await read(blobs, key);
    if (manifest.kind !== 'superseded') continue;
    const isOver = manifest.by === blobKey || (manifest.isSpoiled && manifest.blobKey === blobKey);
    if (isOver) await blobs.delete(key);
  }
}

const read = async (blobs: BlobStore, key: string): Promise<Manifest> =>
  JSON.parse(Buffer.from(await blobs.readBytes(key)).toString('utf8'));

/**
 * The decisions in force: held and trash without those that were released or restored, and superseded versions. What was to be replaced by an
 * object that is held still was not, nor was that one discarded: the decision about it was cut off.
 */
export async function readManifests(blobs: BlobStore, tenant: Tenant): Promise<Manifest[]> {
  const all: Manifest[] = [];
  for await (const { key } of blobs.list(folder(tenant))) {
    all.push(await read(blobs, key));
  }
  const excepted = new Set(all.flatMap((m) => (m.kind === 'except' ? m.blobKeys.map((key) => `${m.id} ${key}`) : [])));
  const purging = new Set(all.flatMap((m) => (m.kind === 'purging' ? [m.id] : [])));
  const undone = new Set(all.flatMap((m) => (m.kind === 'released' || m.kind === 'restored' ? [m.id] : [])));
  const decided = all.filter(
    (m) =>
      (m.kind === 'held' && !undone.has(m.held.id)) ||
      (m.kind === 'trash' && !undone.has(m.trash.id)) ||
      m.kind === 'superseded',
  );
  const waiting = new Set(decided.flatMap((m) => (m.kind === 'held' ? [m.held.blobKey] : [])));
  return decided
    .filter((m) => !waiting.has(replacerOf(m) ?? ''))
    .map((m) =>
      m.kind === 'trash'
        ? {
            ...m,
            blobKeys: m.blobKeys.filter((key) => !waiting.has(key) && !excepted.has(`${m.trash.id} ${key}`)),
            isBeingPurged: purging.has(m.trash.id),
          }
        : m,
    )
    .filter((m) => m.kind !== 'trash' || m.blobKeys.length > 0);
}

const replacerOf = (manifest: Manifest): string | undefined =>
  manifest.kind === 'trash' ? manifest.replacedBy : manifest.kind === 'superseded' ? manifest.by : undefined;

/** What was noted to be in a trash record; undefined where nothing was. */
export async function blobKeysOfTrash(
  blobs: BlobStore,
  tenant: Tenant,
  id: string,
): Promise<readonly string[] | undefined> {
  const key = `${folder(tenant)}trash.${id}.json`;
  if ((await blobs.head(key)) === undefined) return undefined;
  const manifest = await read(blobs, key);
  return manifest.kind === 'trash' ? manifest.blobKeys : undefined;
}

/** Removes every manifest of a held or trash record whose blobs are gone for good. */
export async function deleteManifests(
  blobs: BlobStore,
  tenant: Tenant,
  kind: 'held' | 'trash',
  id: string,
): Promise<void> {
  const name = `${folder(tenant)}${kind}.${id}.`;
  // The decision before what took it back, wholly or in part: a crash in between must not leave it in force.
  await blobs.delete(`${name}json`);
  for await (const { key } of blobs.list(name)) await blobs.delete(key);
}
