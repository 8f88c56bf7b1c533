import { isDeidentified, siteOf } from '../access/rules.ts';
import { firstString } from '../dicom/element-text.ts';
import { bulkPath, dataSetToJson } from '../dicom/json.ts';
import type { DataSet, ScannedObject } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { isUID } from '../ids.ts';
import { numberOf } from '../retrieve/find.ts';
import { pickAttributes } from '../search/attributes.ts';
import type { Services } from '../services.ts';
import type { BlobGuard, PreparedInstance } from './commit.ts';
import { METADATA_BASE, type MetadataRecord, referencesIn } from './metadata-record.ts';
import type { InstancePixels, InstanceRecord, Tenant, Version } from './records.ts';

/** What an object says it is. UIDs checked for form, so they may stand in keys. */
export interface Identity {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  readonly SOPClassUID: string;
}

export const IDENTITY_TAGS = {
  SOPClassUID: '00080016',
  SOPInstanceUID: '00080018',
  StudyInstanceUID: '0020000D',
  SeriesInstanceUID: '0020000E',
} as const;

/**
 * The identity of a data set.
 * @throws PacsError UNREADABLE_DATASET where a UID is missing or is none: such an object could never be found again;
 *   DATASET_MISMATCH where it differs from what the sender said it was.
 */
export function identify(uids: Partial<Identity>, expected: Partial<Identity> = {}): Identity {
  for (const keyword of Object.keys(IDENTITY_TAGS) as (keyof Identity)[]) {
    const uid = uids[keyword];
    if (uid === undefined || uid === '') throw new PacsError('UNREADABLE_DATASET', `${keyword} is missing`);
    if (!isUID(uid)) throw new PacsError('UNREADABLE_DATASET', `${keyword} is not a UID`);
  }
  for (const [keyword, uid] of Object.entries(expected)) {
    if (uid !== undefined && uids[keyword as keyof Identity] !== uid)
      throw new PacsError('DATASET_MISMATCH', `${keyword} differs from that of the request`);
  }
  return uids as Identity;
}

/** The UIDs a data set names, as found: any may be absent or malformed. */
export function uidsOf(dataSet: DataSet): Partial<Identity> {
  const uids: Partial<Record<keyof Identity, string>> = {};
  for (const [keyword, tag] of Object.entries(IDENTITY_TAGS) as [keyof Identity, string][]) {
    const value = firstString(dataSet, tag);
    if (value !== undefined) uids[keyword] = value;
  }
  return uids;
}

/** Keys hold the tenant and UIDs only; the version keeps every set of bytes apart. */
export const blobKeyOf = (tenant: Tenant, id: Omit<Identity, 'SOPClassUID'>, version: Version): string =>
  `${tenant}/${id.StudyInstanceUID}/${id.SeriesInstanceUID}/${id.SOPInstanceUID}.${version}.dcm`;

/** What the BulkDataURIs of an instance begin with, as kept. */
export const bulkBase = (id: Omit<Identity, 'SOPClassUID'>): string =>
  `${METADATA_BASE}/studies/${id.StudyInstanceUID}/series/${id.SeriesInstanceUID}/instances/${id.SOPInstanceUID}/bulkdata/`;

/** The DICOM JSON text of one instance as kept: BulkDataURIs stand on METADATA_BASE, which readers replace. */
export function metadataText(dataSet: DataSet, id: Identity): string {
  const base = bulkBase(id);
  return dataSetToJson(dataSet, (path, bulk) => base + bulkPath(path, bulk));
}

/** What the index holds of a data set, whatever becomes of the object's bytes. */
export interface Description {
  /** the metadata text as UTF-8 */
  readonly json: Buffer;
  readonly Modality: string;
  readonly studyAttributes: DataSet;
  readonly seriesAttributes: DataSet;
  readonly instanceAttributes: DataSet;
  /** what rules of reach judge the study by, of this instance */
  readonly judged: Pick<InstanceRecord, 'deidentified' | 'site'>;
}

export const describe = (dataSet: DataSet, id: Identity): Description => ({
  json: Buffer.from(metadataText(dataSet, id)),
  Modality: firstString(dataSet, '00080060') ?? 'OT',
  studyAttributes: pickAttributes(dataSet, 'study'),
  seriesAttributes: pickAttributes(dataSet, 'series'),
  instanceAttributes: pickAttributes(dataSet, 'instance'),
  judged: judgedBy(dataSet),
});

function judgedBy(dataSet: DataSet): Description['judged'] {
  const site = siteOf(dataSet);
  return { ...(isDeidentified(dataSet) && { deidentified: true }), ...(site !== undefined && { site }) };
}

/**
 * Everything the index holds of a scanned object. What is too large for the index (metadata text, frame table) goes to
 * blobs beside the object's, durable before this resolves.
 */
export async function prepareInstance(
  services: Services,
  scanned: ScannedObject,
  stored: {
    tenant: Tenant;
    id: Identity;
    version: Version;
    blobKey: string;
    sizeBytes: number;
    sha256: string;
    source: string;
    route?: readonly string[];
    suppliedUIDs?: readonly (keyof Identity)[];
    storedAt: number;
    guard: BlobGuard;
  },
  { json, Modality, judged, ...attributes }: Description = describe(scanned.dataSet, stored.id),
): Promise<PreparedInstance> {
  const { tenant, id, version, blobKey, sizeBytes, sha256, source, route, suppliedUIDs = [], storedAt, guard } = stored;
  const side = blobKey.slice(0, -'.dcm'.length);
  const instance: InstanceRecord = {
    ...id,
    Modality,
    version,
    transferSyntaxUID: scanned.transferSyntaxUID,
    blobKey,
    sizeBytes,
    sha256,
    dataSetOffset: scanned.dataSetOffset,
    storedAt,
    source,
    ...(route !== undefined && { route }),
    ...(suppliedUIDs.length > 0 && { suppliedUIDs }),
    attributes: attributes.instanceAttributes,
    ...judged,
    pixels: await keepPixels(services, scanned, `${side}.frames`),
  };
  return {
    tenant,
    instance,
    metadata: await keepMetadata(services, json, attributes.instanceAttributes, `${side}.json`),
    studyAttributes: attributes.studyAttributes,
    seriesAttributes: attributes.seriesAttributes,
    guard,
  };
}

/** Kept as UTF-8 bytes: so they are written and read without being parsed as part of the record. */
async function keepMetadata(
  services: Services,
  json: Buffer,
  attributes: DataSet,
  blobKey: string,
): Promise<MetadataRecord> {
  const number = numberOf(attributes['00200013']?.Value?.[0]);
  const InstanceNumber = Number.isFinite(number) ? number : null;
  if (json.length <= services.limits.metadataInIndexBytes)
    return { InstanceNumber, references: referencesIn(json), json };
  await putSide(services, blobKey, json);
  return { InstanceNumber, blobKey };
}

async function keepPixels(
  services: Services,
  { pixels }: ScannedObject,
  tableBlobKey: string,
): Promise<InstancePixels | undefined> {
  if (pixels === undefined || pixels.kind === 'native') return pixels;
  if (pixels.table.byteLength <= services.limits.frameTableInIndexBytes) return pixels;
  await putSide(services, tableBlobKey, pixels.table);
  return { kind: 'fragments', frames: pixels.frames, tableBlobKey };
}

/**
 * Side blobs derive from the object: one that an interrupted rebuild left behind is replaced. One that says the same stays: a record may speak of it, and
 * who died between the two calls would leave that without it.
 */
async function putSide({ blobs }: Services, key: string, bytes: Uint8Array): Promise<void> {
  try {
    await blobs.put(key, bytes);
  } catch (error) {
    if (!(error instanceof PacsError) || error.code !== 'CONFLICT') throw error;
    const there = await blobs.readBytes(key).catch(() => undefined);
    if (there !== undefined && Buffer.from(bytes).equals(there)) return;
    await blobs.delete(key);
    await blobs.put(key, bytes);
  }
}

/** Every blob that belongs to an instance's version. */
export function blobKeysOf(instance: Pick<InstanceRecord, 'blobKey'>): string[] {
  const side = instance.blobKey.slice(0, -'.dcm'.length);
  return [instance.blobKey, `${side}.json`, `${side}.frames`];
}
