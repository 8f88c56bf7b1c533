import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { keys, type SeriesRecord, type Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import { asItem, asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { isFolded } from './find.ts';
import { JoinedTexts, type KeptText } from './joined-texts.ts';
import { seriesMetadata } from './metadata.ts';

const deflate = promisify(gzip);
const inflate = promisify(gunzip);

/** larger documents are not prepared: they would have to be held while they are made and served (bytes) */
const DOCUMENT_BYTES = 64 * 1024 * 1024;

/**
 * Builds the metadata document of a series: the DICOM JSON array of its instances in display order, gzip, as a blob beside the
 * series' objects; and names it in the series' record. Run when a study is quiet; may be repeated. With `root`, the DICOMweb root
 * that clients see, its references are final and it is served as it is; without, they are put on the root when it is read.
 *
 * The race that the conditional write decides:
 *
 *   prepare   read series v7 ── no deltas ── read instances ── put blob ── no deltas ── write { v8 if v7, prepared } ── won
 *   store     ───────────────── commit A, delta a ─────────── fold: write { v8 if v7, new revision, delete a } ──────── lost, retries
 *
 * A commit that is folded before our write makes us lose; one that is not yet folded is seen as a delta; one after both looks
 * is not in the document, and its fold gives the series another revision than the document's.
 * Returns whether the document stands.
 */
export async function prepareSeriesMetadata(
  services: Services,
  tenant: Tenant,
  study: string,
  series: string,
  root?: string,
): Promise<boolean> {
  const key = keys.series(tenant, study, series);
  const item = await services.index.get(key);
  if (!item || !(await isFolded(services, tenant, study))) return false;
  const record = asRecord<SeriesRecord>(item);
  if (record.prepared?.revision === record.revision && record.prepared.root === root) return true;

  const texts: KeptText[] = [];
  let size = 0;
  for await (const some of seriesMetadata(services, tenant, study, series)) {
    texts.push(...some);
    for (const { bytes } of some) size += bytes.length;
    if (size > DOCUMENT_BYTES) return false;
  }
  const bytes = await deflate(new JoinedTexts(texts, { open: '[', close: ']', root }).whole(), { level: 6 });
  const base = root === undefined ? '' : `.${createHash('sha256').update(root).digest('hex').slice(0, 12)}`;
  const blobKey = `${tenant}/${study}/${series}/metadata.${record.revision}${base}.json.gz`;
  await putDerived(services, blobKey, bytes);

  const prepared = { revision: record.revision, blobKey, gzipBytes: bytes.length, ...(root !== undefined && { root }) };
  const next: SeriesRecord = { ...record, version: record.version + 1, prepared };
  const won =
    (await isFolded(services, tenant, study)) &&
    (await services.index.write([{ kind: 'put', key, item: asItem(next), if: { version: record.version } }])).committed;
  const superseded = won ? record.prepared?.blobKey : blobKey;
  // Where another process prepared the same revision first, the blob is the one its record names.
  const current = won ? next : await services.index.get(key).then((found) => asRecord<SeriesRecord>(found));
  if (superseded !== undefined && current?.prepared?.blobKey !== superseded) await services.blobs.delete(superseded);
  return won;
}

/** Another process may have prepared the same revision: the same bytes, so either will do. */
async function putDerived(services: Services, key: string, bytes: Uint8Array): Promise<void> {
  try {
    await services.blobs.put(key, bytes);
  } catch (error) {
    if (!(error instanceof PacsError) || error.code !== 'CONFLICT') throw error;
  }
}

/** A prepared document, still gzip; undefined when it is gone (superseded since the record was read), or lies on slow media: it is made again. */
export async function readPrepared(
  services: Pick<Services, 'blobs'>,
  blobKey: string,
): Promise<Uint8Array | undefined> {
  try {
    return await services.blobs.readBytes(blobKey);
  } catch (error) {
    if (error instanceof PacsError && (error.code === 'NOT_FOUND' || error.code === 'ARCHIVED')) return undefined;
    throw error;
  }
}

/** A prepared document's JSON text. */
export const inflatePrepared = (bytes: Uint8Array): Promise<Buffer> => inflate(bytes);

/**
 * Removes the prepared documents of a series that are not of its present revision: all of them once the series is gone, for they
 * hold what its objects said. Call it after instances were removed; returns how many there were.
 */
export async function sweepSeriesDocuments(
  services: Pick<Services, 'blobs' | 'index'>,
  tenant: Tenant,
  study: string,
  series: string,
): Promise<number> {
  const item = await services.index.get(keys.series(tenant, study, series));
  const record = asRecord<SeriesRecord>(item);
  // What is being prepared for the revision of this moment is not named yet.
  const current = record && `/metadata.${record.revision}.`;
  let removed = 0;
  for await (const { key } of services.blobs.list(`${tenant}/${study}/${series}/metadata.`)) {
    if (current !== undefined && key.includes(current)) continue;
    await services.blobs.delete(key);
    removed++;
  }
  return removed;
}
