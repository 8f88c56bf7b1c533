import { createHash } from 'node:crypto';
import type { DataSet } from '../dicom/types.ts';
import { asPacsError } from '../errors.ts';
import { asItem, asRecord, type Key, recordsIn } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type InstanceRecord, keys, type StudyRecord, type Tenant } from './records.ts';
import { whoseStudy } from './whose.ts';

/** What is wrong with an object: its bytes are gone, are others than were received, or cannot be read. */
export type Problem = 'missing' | 'altered' | 'unreadable';

/** An object that the archive keeps. */
export type Stored = Pick<
  InstanceRecord,
  'blobKey' | 'sha256' | 'StudyInstanceUID' | 'SeriesInstanceUID' | 'SOPInstanceUID' | 'sizeBytes'
>;

/** What the check of all objects (fixity.ts) found damaged. */
export interface Damaged {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  readonly blobKey: string;
  readonly problem: Problem;
  /** ms since 1970 */
  readonly foundAt: number;
}

const DAMAGED = 'damaged|';

/** @param blobKey or what all keys that are asked for begin with */
export const damagedKey = (t: Tenant, blobKey: string): Key => ({ partition: `${t}|fixity`, sort: DAMAGED + blobKey });

/**
 * Reads an object and compares it with its SHA-256.
 * @param pace is waited for after each piece of so many bytes
 * @throws PacsError ARCHIVED: it lies on slow media, and nothing can be said of it
 */
export async function problemOf(
  services: Pick<Services, 'blobs'>,
  stored: Pick<Stored, 'blobKey' | 'sha256'>,
  pace?: (bytes: number) => Promise<void>,
): Promise<Problem | undefined> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of services.blobs.read(stored.blobKey)) {
      hash.update(chunk);
      await pace?.(chunk.byteLength);
    }
  } catch (error) {
    const { code } = asPacsError(error);
    if (code === 'ARCHIVED') throw error;
    return code === 'NOT_FOUND' ? 'missing' : 'unreadable';
  }
  return hash.digest('hex') === stored.sha256 ? undefined : 'altered';
}

/** It is listed from now on, and whoever sends the same bytes again mends it (mend.ts). */
export async function noteDamaged(
  { index, clock }: Pick<Services, 'index' | 'clock'>,
  tenant: Tenant,
  { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, blobKey }: Omit<Stored, 'sha256' | 'sizeBytes'>,
  problem: Problem,
): Promise<void> {
  const uids = { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID };
  const found: Damaged = { ...uids, blobKey, problem, foundAt: clock.now() };
  await index.write([{ kind: 'put', key: damagedKey(tenant, blobKey), item: asItem(found) }]);
}

/** What was found damaged and not been found sound since. */
export async function* damagedObjects({ index }: Pick<Services, 'index'>, tenant: Tenant): AsyncGenerator<Damaged> {
  const { partition } = damagedKey(tenant, '');
  for await (const { item } of recordsIn(index, { partition, prefix: DAMAGED, limit: 500 }))
    yield asRecord<Damaged>(item);
}

export async function countDamaged(services: Pick<Services, 'index'>, tenant: Tenant): Promise<number> {
  let count = 0;
  for await (const _ of damagedObjects(services, tenant)) count++;
  return count;
}

/** A page of them for people, in the order of their blob keys: those of a study stand together. */
export async function listDamaged(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  after: string,
  limit: number,
): Promise<{ items: (Damaged & { attributes?: DataSet | undefined })[]; next?: string }> {
  const { partition } = damagedKey(tenant, '');
  const page = await index.query({ partition, prefix: DAMAGED, limit, ...(after !== '' && { after }) });
  const damaged = page.records.map(({ item }) => asRecord<Damaged>(item));
  const studies = [...new Set(damaged.map(({ StudyInstanceUID }) => StudyInstanceUID))];
  const records = await index.getMany(studies.map((study) => keys.study(tenant, study)));
  const whose = new Map(studies.map((study, i) => [study, whoseStudy(asRecord<StudyRecord>(records[i]))]));
  const items = damaged.map((one) => ({ ...one, attributes: whose.get(one.StudyInstanceUID) }));
  const last = page.records.at(-1);
  return page.more && last ? { items, next: last.sort } : { items };
}
