import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import type { Availability } from '../ports/blob-store.ts';
import { asItem, asRecord, pagesIn, type WriteOperation } from '../ports/index-table.ts';
import { seriesOfStudy } from '../retrieve/find.ts';
import { countWrites } from '../search/postings.ts';
import type { Services } from '../services.ts';
import { blobKeysOf } from './instance.ts';
import { type InstanceRecord, keys, type SeriesRecord, type StudyRecord, type Tenant } from './records.ts';

/** The queue of restores; payload { tenant, study, series, after? }: the instances up to `after` are readable again. */
export const RESTORE = 'restore';

/** instances of one page of a restore, asked for at the same time in part */
const PAGE = 200;
const AT_ONCE = 16;
const ATTEMPTS = 20;

type TieringServices = Pick<Services, 'blobs' | 'index' | 'jobs' | 'clock' | 'limits'>;

/**
 * Begins to bring a series back from slow media, unless that is under way; says so in its InstanceAvailability (NEARLINE). May be repeated.
 *
 * The job is enqueued before the record says NEARLINE: whoever sees that may rely on a job. Two who begin at once leave two jobs,
 * which ask the store for the same, which does it once.
 */
export async function beginRestore(
  services: TieringServices,
  tenant: Tenant,
  study: string,
  series: string,
): Promise<void> {
  const item = await services.index.get(keys.series(tenant, study, series));
  if (!item || asRecord<SeriesRecord>(item).availability === 'NEARLINE') return;
  await services.jobs.enqueue(RESTORE, { tenant, study, series });
  await recordAvailability(services, tenant, study, series, 'NEARLINE');
}

/**
 * A restore job: asks the store for every instance of the series and comes back every `limits.restorePollMs` until all are readable, then
 * says so in the records. May run twice.
 */
export async function restoreSeries(
  services: TieringServices,
  job: { readonly tenant: Tenant; readonly study: string; readonly series: string; readonly after?: string },
): Promise<'done' | 'later'> {
  const { tenant, study, series } = job;
  const { partition } = keys.instance(tenant, study, series, '');
  let readable = job.after;
  let allReadable = true;
  const range = { partition, limit: PAGE, ...(job.after !== undefined && { after: job.after }) };
  for await (const page of pagesIn(services.index, range)) {
    for (let at = 0; at < page.length; at += AT_ONCE) {
      const batch = page.slice(at, at + AT_ONCE);
      const states = await Promise.all(
        batch.map(({ item }) => restoreInstance(services, asRecord<InstanceRecord>(item))),
      );
      for (const [i, state] of states.entries()) {
        allReadable &&= state === 'ONLINE';
        if (allReadable) readable = batch[i]!.sort;
      }
    }
  }
  if (allReadable) {
    await recordAvailability(services, tenant, study, series, 'ONLINE');
    return 'done';
  }
  const payload = { tenant, study, series, ...(readable !== undefined && { after: readable }) };
  await services.jobs.enqueue(RESTORE, payload, { delayMs: services.limits.restorePollMs });
  return 'later';
}

/** The object, and what was too long for the index and so lies beside it: without those its metadata and frames would stay away. */
async function restoreInstance({ blobs }: TieringServices, instance: InstanceRecord): Promise<Availability> {
  const { pixels } = instance;
  const tableBlobKey = pixels?.kind === 'fragments' ? pixels.tableBlobKey : undefined;
  const [, text = ''] = blobKeysOf(instance);
  const keys = [instance.blobKey, text, ...(tableBlobKey === undefined ? [] : [tableBlobKey])];
  return latest(await Promise.all(keys.map((key) => restoreBlob(blobs, key))));
}

async function restoreBlob(blobs: Services['blobs'], key: string): Promise<Availability> {
  try {
    return await blobs.restore(key);
  } catch (error) {
    // Removed meanwhile, or never there: nothing to wait for.
    if (error instanceof PacsError && error.code === 'NOT_FOUND') return 'ONLINE';
    throw error;
  }
}

/**
 * Writes how soon a series can be had into its record, its study's (the latest of its series decides) and the study's line in the list.
 * For restores, and for hosts that hear of their store's moves. Series that are gone are passed over.
 * @throws PacsError BUSY when the study changes too often to be written
 */
export async function recordAvailability(
  services: Pick<Services, 'index' | 'clock'>,
  tenant: Tenant,
  study: string,
  series: string,
  availability: Availability,
): Promise<void> {
  const { index, clock } = services;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const key = keys.study(tenant, study);
    const [studyItem, seriesItem] = await index.getMany([key, keys.series(tenant, study, series)]);
    if (!studyItem || !seriesItem) return;
    const before = asRecord<StudyRecord>(studyItem);
    const own = asRecord<SeriesRecord>(seriesItem);
    const others = (await seriesOfStudy(services, tenant, study)).filter((one) => one.SeriesInstanceUID !== series);
    const worst = latest([availability, ...others.map((one) => one.availability)]);
    if (own.availability === availability && before.availability === worst) return;
    const after: StudyRecord = {
      ...before,
      availability: worst,
      version: before.version + 1,
      revision: newVersion(clock),
    };
    // The series keeps its revision: what is prepared of its metadata stays true.
    const changed: SeriesRecord = { ...own, availability, version: own.version + 1 };
    const operations: WriteOperation[] = [
      { kind: 'put', key, item: asItem(after), if: { version: before.version } },
      {
        kind: 'put',
        key: keys.series(tenant, study, series),
        item: asItem(changed),
        if: { version: own.version },
      },
      ...countWrites(tenant, before, after),
    ];
    if ((await index.write(operations)).committed) return;
    await clock.sleep(5 * (attempt + 1));
  }
  throw new PacsError('BUSY', 'the study is being changed by too many writers', {
    details: { StudyInstanceUID: study },
  });
}

const ORDER: readonly string[] = ['ONLINE', 'NEARLINE', 'OFFLINE'] satisfies Availability[];
const latest = (states: readonly string[]): Availability =>
  states.reduce(
    (worst, state) => (ORDER.indexOf(state) > ORDER.indexOf(worst) ? state : worst),
    'ONLINE',
  ) as Availability;

/**
 * What a reader is told whose bytes lie on slow media: begins the restore of what he asked for, and returns the error with the time
 * after which to come again.
 * @param error ARCHIVED, `details.key` naming a blob of the tenant
 */
export async function restoreOnRead(services: TieringServices, error: PacsError): Promise<PacsError> {
  const place = seriesOfBlob(error.details.key);
  if (place) await beginRestore(services, place.tenant, place.study, place.series);
  const details = {
    ...(place && { StudyInstanceUID: place.study, SeriesInstanceUID: place.series }),
    retryAfterSeconds: Math.ceil(services.limits.restorePollMs / 1000),
  };
  return new PacsError('ARCHIVED', 'the objects are being brought back from slow media', { cause: error, details });
}

/** The series a blob belongs to, from its key (see blobKeyOf). */
export function seriesOfBlob(key: unknown): { tenant: Tenant; study: string; series: string } | undefined {
  const [tenant, study, series, name] = typeof key === 'string' ? key.split('/') : [];
  return tenant !== undefined && study !== undefined && series !== undefined && name !== undefined
    ? { tenant, study, series }
    : undefined;
}

/**
 * Before the first byte of an answer that holds many objects: are they all at hand, as far as the records know?
 * @throws PacsError ARCHIVED, after the restore of every series that is not at hand has been begun
 */
export async function checkOnline(
  services: TieringServices,
  tenant: Tenant,
  study: string,
  series?: string,
): Promise<void> {
  const records =
    series === undefined
      ? await seriesOfStudy(services, tenant, study)
      : [await services.index.get(keys.series(tenant, study, series))].flatMap((item) =>
          item ? [asRecord<SeriesRecord>(item)] : [],
        );
  const away = records.filter((record) => record.availability !== 'ONLINE');
  if (away.length === 0) return;
  for (const record of away) await beginRestore(services, tenant, study, record.SeriesInstanceUID);
  throw new PacsError('ARCHIVED', 'the objects are being brought back from slow media', {
    details: {
      StudyInstanceUID: study,
      retryAfterSeconds: Math.ceil(services.limits.restorePollMs / 1000),
    },
  });
}
