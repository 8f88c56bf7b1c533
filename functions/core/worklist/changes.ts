import type { Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import type { Services } from '../services.ts';
import { worklistQuery } from './match.ts';
import { worklistKeys as keys, type WorklistItem } from './records.ts';
import { getWorklistItem, listWorklist, removeWorklistItem, startOf } from './worklist.ts';

/** What has changed since a cursor: the items as they are now, and the ids of those that are gone. Who is confined is not told of the latter. */
export interface WorklistChanges {
  readonly items: readonly WorklistItem[];
  readonly removed: readonly string[];
  /** continue behind this; equals the cursor asked for when nothing has changed */
  readonly next: string;
  readonly more: boolean;
}

/** The cursor of the newest change ('' where there is none): who lists all items after asking for it, and goes on from here, misses nothing. */
export async function worklistCursor({ index }: Services, tenant: Tenant): Promise<string> {
  const partition = keys.changes(tenant);
  const page = await index.query({ partition, log: true, descending: true, limit: 1, keysOnly: true });
  return page.records[0]?.sort ?? '';
}

/** @param since a cursor of `worklistCursor` or of an earlier answer; '' for the first change there was */
export async function worklistChanges(
  services: Services,
  tenant: Tenant,
  since: string,
  limit: number,
): Promise<WorklistChanges> {
  const partition = keys.changes(tenant);
  const page = await services.index.query({ partition, log: true, limit, ...(since !== '' && { after: since }) });
  const ids = [...new Set(page.records.map(({ item }) => item.id as string))];
  const items: WorklistItem[] = [];
  const removed: string[] = [];
  for (const id of ids) {
    try {
      items.push(await getWorklistItem(services, tenant, id));
    } catch (error) {
      if (!(error instanceof PacsError) || error.code !== 'NOT_FOUND') throw error;
      removed.push(id);
    }
  }
  const next = page.records.at(-1)?.sort ?? (page.more ? page.seen : undefined) ?? since;
  return { items, removed, next, more: page.more };
}

/** items that are looked at together */
const SWEEP_ITEMS = 500;

/** Removes items that started, and were last changed, longer ago than `limits.worklistKeepMs`. @returns how many */
export async function sweepWorklist(services: Services, tenant: Tenant): Promise<number> {
  const before = services.clock.now() - services.limits.worklistKeepMs;
  const query = { ...worklistQuery({}, { anyState: true }), to: startOf(before) };
  let removed = 0;
  for (let after: string | undefined; ; ) {
    const page = await listWorklist(services, tenant, query, {
      limit: SWEEP_ITEMS,
      ...(after !== undefined && { after }),
    });
    for (const { id, updatedAt } of page.items) {
      if (updatedAt > before) continue;
      await removeWorklistItem(services, tenant, id);
      removed++;
    }
    if (page.next === undefined) return removed;
    after = page.next;
  }
}
