import { type Eviction, evictRejected } from '#core/archive/evict.ts';
import { keys } from '#core/archive/records.ts';
import { listTrash } from '#core/archive/trash.ts';
import { trashedInstances } from '#core/archive/trashed.ts';
import type { EdgeContext } from '../context.ts';
import { noteOf } from '../forward/rejected.ts';
import type { ForwardKnowledge } from './knowledge.ts';
import type { StudyUsage } from './usage.ts';

type Context = Pick<EdgeContext, 'services' | 'tenant' | 'forwarder' | 'upstreams'>;

const ENTRIES = 100;
const GET_RECORDS = 100;

/**
 * Evicts what rejection notes have hidden here, once every archive has confirmed it, and the note: before that, an archive would show what is hidden here
 * only. Nobody reads it, so it does not wait for the cache's limits. May be interrupted anywhere, and repeated.
 *
 * @param unaskedBefore as of `evictStudy`
 */
export async function evictRejections(
  context: Context,
  knowledge: Pick<ForwardKnowledge, 'evictable'>,
  usage: StudyUsage,
  unaskedBefore: number,
  signal: AbortSignal,
): Promise<Eviction> {
  const { services, tenant } = context;
  const evicted = { instances: 0, bytes: 0 };
  for (let after = ''; ; ) {
    const { items, next } = await listTrash(services, tenant, after, ENTRIES);
    for (const trash of items) {
      if (signal.aborted) return evicted;
      if (trash.kind !== 'rejected' || trash.state !== 'complete') continue;
      if (!(await isNoteThere(context, noteOf(trash)))) continue;
      const hidden = (await Array.fromAsync(trashedInstances(services, tenant, trash.id))).map(
        ({ instance }) => instance,
      );
      if (hidden.some(({ StudyInstanceUID }) => usage.isInUse(tenant, StudyInstanceUID))) continue;
      const may = await knowledge.evictable(hidden, unaskedBefore, signal);
      const gone = await evictRejected(
        services,
        tenant,
        trash,
        hidden.filter((_, i) => may[i]),
      );
      evicted.instances += gone.instances;
      evicted.bytes += gone.bytes;
    }
    if (next === undefined) return evicted;
    after = next;
  }
}

/** Whether the archive that is read has the note, and so hides what it names. One that is not known any more was confirmed, and forgotten since. */
async function isNoteThere(
  { services, tenant, forwarder, upstreams }: Context,
  note: string | undefined,
): Promise<boolean> {
  if (note === undefined) return false;
  const { known, destinations } = await forwarder.evidenceOf(note);
  if (!known) return (await services.index.get(keys.sop(tenant, note))) === undefined;
  return destinations.some(({ destination, state }) => destination === upstreams[0]!.name && state === 'confirmed');
}

/**
 * Of what the archive shows, that which a rejection note has not hidden here: until the note has come there, it shows what nobody is to read any more.
 * @param instances with unique SOP Instance UIDs
 */
export async function withoutHidden<T extends { readonly SOPInstanceUID: string }>(
  { services, tenant }: Pick<EdgeContext, 'services' | 'tenant'>,
  instances: readonly T[],
): Promise<T[]> {
  const shown: T[] = [];
  for (let at = 0; at < instances.length; at += GET_RECORDS) {
    const some = instances.slice(at, at + GET_RECORDS);
    const claims = await services.index.getMany(some.map(({ SOPInstanceUID }) => keys.sop(tenant, SOPInstanceUID)));
    shown.push(...some.filter((_, i) => claims[i]?.rejectedBy === undefined));
  }
  return shown;
}
