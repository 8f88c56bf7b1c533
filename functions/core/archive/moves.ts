import type { Availability } from '../ports/blob-store.ts';
import { asRecord, recordsIn } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type InstanceRecord, keys, type SeriesRecord, type Tenant } from './records.ts';
import { recordAvailability, seriesOfBlob } from './tiering.ts';

const PAGE = 100;

/**
 * What a store tells of one of its objects: that it has been moved to slow media (OFFLINE), or is at hand again (ONLINE). A series is as far
 * away as its farthest object. Told twice, late, out of order, or of what is no object of an instance: the records come out right or stay
 * as they are, for what is told is only a reason to look.
 */
export async function recordMove(
  services: Pick<Services, 'index' | 'blobs' | 'clock'>,
  tenants: readonly Tenant[],
  blobKey: string,
  told: 'ONLINE' | 'OFFLINE',
): Promise<Availability | undefined> {
  const place = seriesOfBlob(blobKey);
  if (place === undefined || !tenants.includes(place.tenant) || !blobKey.endsWith('.dcm')) return undefined;
  const { tenant, study, series } = place;
  const item = await services.index.get(keys.series(tenant, study, series));
  if (item === undefined) return undefined;
  const { availability } = asRecord<SeriesRecord>(item);
  // Of hundreds of objects that move together, the first that is heard of is asked about.
  if (availability === told) return availability as Availability;
  const now = await services.blobs.availability(blobKey);
  if (now === undefined) return undefined;
  if (told === 'OFFLINE') {
    if (now === 'ONLINE' || availability === 'NEARLINE') return availability as Availability;
    await recordAvailability(services, tenant, study, series, now);
    return now;
  }
  if (now !== 'ONLINE' || !(await isAllBack(services, place, blobKey))) return availability as Availability;
  await recordAvailability(services, tenant, study, series, 'ONLINE');
  return 'ONLINE';
}

/**
 * Whether every object of a series is at hand. Begins behind the one that was heard of and ends at the first that is not: objects are heard of in
 * any order, so that for all of a series together few are asked about more than a handful of times.
 */
async function isAllBack(
  { index, blobs }: Pick<Services, 'index' | 'blobs'>,
  { tenant, study, series }: { tenant: Tenant; study: string; series: string },
  blobKey: string,
): Promise<boolean> {
  const name = blobKey.slice(blobKey.lastIndexOf('/') + 1);
  const sop = name.slice(0, name.lastIndexOf('.', name.length - '.dcm'.length - 1));
  const { partition } = keys.instance(tenant, study, series, '');
  for (const range of [{ after: sop }, { to: sop }]) {
    for await (const { item } of recordsIn(index, { partition, limit: PAGE, ...range })) {
      const state = await blobs.availability(asRecord<InstanceRecord>(item).blobKey);
      if (state !== undefined && state !== 'ONLINE') return false;
    }
  }
  return true;
}
