import { asRecord, type Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import { WRITE_LIMIT_OPERATIONS } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { worklistQuery } from './match.ts';
import { worklistKeys as keys, type WorklistItem } from './records.ts';
import { getWorklistItem, listWorklist, removeWorklistItem, startOf } from './worklist.ts';

/** What has changed since a cursor: the items as they are now, and the ids of those that are gone. */
export interface WorklistChanges {
  readonly items: readonly WorklistItem[];
  readonly removed: readonly string[];
  /** continue behind this; equals the cursor asked for when nothing has changed */
  readonly next: string;
  readonly more: boolean;
}

/** The cursor of the newest change: who lists all items after asking for it, and goes on from here, misses nothing. */
export async function worklistCursor({ index }: Services, tenant: Tenant): Promise<string> {
  const page = await index.query({ partition: keys.changes(tenant), descending: true, limit: 1, keysOnly: true });
  if (page.records[0] !== undefined) return page.records[0].sort;
  const trimmed = await index.get(keys.trimmed(tenant));
  return (trimmed?.through as string | undefined) ?? '0';
}

/**
 * @param since a cursor of `worklistCursor` or of an earlier answer
 * @throws PacsError GONE when changes behind that cursor have been removed: the caller must list anew
 */
export async function worklistChanges(
  services: Services,
  tenant: Tenant,
  since: string,
  limit: number,
): Promise<WorklistChanges> {
  const { index } = services;
  const page = await index.query({ partition: keys.changes(tenant), after: since, limit });
  const trimmed = (await index.get(keys.trimmed(tenant)))?.through as string | undefined;
  if (trimmed !== undefined && since < trimmed)
    throw new PacsError('GONE', 'changes since then are not kept any more: list the worklist anew');
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
  return { items, removed, next: page.records.at(-1)?.sort ?? since, more: page.more };
}

/** items that one sweep removes */
const SWEEP_ITEMS = 1_000;

/** Removes items that started longer ago than `limits.worklistKeepMs`, and notes of changes that old. @returns how many items */
export async function sweepWorklist(services: Services, tenant: Tenant): Promise<number> {
  const before = services.clock.now() - services.limits.worklistKeepMs;
  const query = { ...worklistQuery({}, { anyState: true }), to: startOf(before) };
  const { items } = await listWorklist(services, tenant, query, { limit: SWEEP_ITEMS });
  for (const { id } of items) await removeWorklistItem(services, tenant, id);
  await trimChanges(services, tenant, before);
  return items.length;
}

async function trimChanges({ index }: Services, tenant: Tenant, before: number): Promise<void> {
  const partition = keys.changes(tenant);
  for (;;) {
    const page = await index.query({ partition, limit: WRITE_LIMIT_OPERATIONS - 1 });
    const old = page.records.filter(({ item }) => asRecord<{ at: number }>(item).at <= before);
    if (old.length === 0) return;
    await index.write([
      { kind: 'put', key: keys.trimmed(tenant), item: { through: old.at(-1)!.sort } },
      ...old.map(({ sort }) => ({ kind: 'delete' as const, key: { partition, sort } })),
    ]);
    if (old.length < page.records.length || !page.more) return;
  }
}
