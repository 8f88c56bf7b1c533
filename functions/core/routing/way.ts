import type { Tenant } from '../archive/records.ts';
import { newVersion } from '../ids.ts';
import { asItem } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { routingKeys } from './records.ts';

/**
 * Which way objects come, so that they do not go round in circles. An archive that routes has an id of its own; it adds that to the way of what it sends, and tells it
 * whoever sends it something that says its way. Lower-case names of HTTP headers.
 */
export const ROUTE_HEADERS = {
  /** of a request: ids of the archives that its objects have come through, first to last */
  way: 'x-nephos-route',
  /** of the answer: the id of the archive that took them */
  archive: 'x-nephos-archive',
} as const;

const ARCHIVE_ID = /^[A-Za-z0-9-]{1,40}$/;
const ARCHIVES = 16;

/** The way that a request says its objects have come; what cannot be one is none. */
export const readWay = (field: string | undefined): string[] =>
  (field ?? '')
    .split(',')
    .map((id) => id.trim())
    .filter((id) => ARCHIVE_ID.test(id))
    .slice(0, ARCHIVES);

/** By which other archives know this one; made at the first need. */
export async function archiveId({ index, clock }: Pick<Services, 'index' | 'clock'>, tenant: Tenant): Promise<string> {
  const key = routingKeys.identity(tenant);
  const known = await index.get(key);
  if (known !== undefined) return known.id as string;
  const id = newVersion(clock);
  const outcome = await index.write([{ kind: 'put', key, item: asItem({ id }), if: 'absent' }]);
  return outcome.committed ? id : ((await index.get(key))?.id as string);
}
