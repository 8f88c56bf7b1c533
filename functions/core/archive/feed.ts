import { asItem, asRecord, type IndexTable, type WriteOperation } from '../ports/index-table.ts';
import { type ArchiveEvent, keys, type Tenant } from './records.ts';

/** The operation that appends an event; part of the same atomic write as what it speaks of. */
export const eventWrite = (tenant: Tenant, event: ArchiveEvent): WriteOperation => ({
  kind: 'append',
  partition: keys.feed(tenant),
  item: asItem(event),
});

export interface FeedPage {
  readonly events: readonly (ArchiveEvent & { readonly cursor: string })[];
  /** continue behind this; equals the cursor asked for when there is nothing newer */
  readonly next: string;
  /** where reading has come to; further than `next` where events were not for the reader, who need not be told */
  readonly seen: string;
}

/**
 * Events behind `cursor` ('' for the start of the feed), oldest first, at most `limit`. A reader that passes `next` on misses
 * nothing: cursors are given in the order in which events became visible.
 */
export async function readFeed(index: IndexTable, tenant: Tenant, cursor: string, limit: number): Promise<FeedPage> {
  const page = await index.query({
    partition: keys.feed(tenant),
    log: true,
    limit,
    ...(cursor === '' ? {} : { after: cursor }),
  });
  const events = page.records.map(({ sort, item }) => ({ ...asRecord<ArchiveEvent>(item), cursor: sort }));
  const next = events.at(-1)?.cursor ?? (page.more ? page.seen : undefined) ?? cursor;
  return { events, next, seen: page.seen ?? next };
}

/** The cursor of the newest event: whoever starts here sees only what is still to come. */
export async function feedTail(index: IndexTable, tenant: Tenant): Promise<string> {
  const page = await index.query({
    partition: keys.feed(tenant),
    log: true,
    descending: true,
    limit: 1,
    keysOnly: true,
  });
  return page.records[0]?.sort ?? '';
}
