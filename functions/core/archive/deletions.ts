import { timeText } from '../ids.ts';
import { asRecord, type IndexTable, recordsIn } from '../ports/index-table.ts';
import { type InstanceRecord, keys, type Tenant, type TrashRecord } from './records.ts';

/** An instance that somebody has deleted, and that lies in the trash: its bytes are kept still. */
export interface Deletion {
  /** ms since 1970 */
  readonly deletedAt: number;
  /** as given by who deleted it; no patient data */
  readonly reason: string;
  readonly sha256: string;
}

export interface Missing {
  readonly StudyInstanceUID: string;
  readonly SOPInstanceUID: string;
}

const PAGE = 200;

/**
 * Which of the instances, none of which is found, have been deleted on purpose, by SOP Instance UID; the latest deletion of each. It is said
 * only of what lies in the trash, so there is proof: an archive that was restored from an older backup has the deletion and the bytes, or neither.
 * Of what was purged, or removed by what is no deletion, nothing is said.
 *
 * @param trashMs how long what was deleted is kept; the trash is looked through so far back
 */
export async function deletionsOf(
  index: Pick<IndexTable, 'query'>,
  tenant: Tenant,
  missing: readonly Missing[],
  now: number,
  trashMs: number,
): Promise<ReadonlyMap<string, Deletion>> {
  const found = new Map<string, Deletion>();
  const byStudy = Map.groupBy(missing, ({ StudyInstanceUID }) => StudyInstanceUID);
  if (byStudy.size === 0) return found;
  const { partition } = keys.trash(tenant, '');
  for await (const { item } of recordsIn(index, {
    partition,
    from: timeText(Math.max(0, now - trashMs)),
    limit: PAGE,
  })) {
    const trash = asRecord<TrashRecord>(item);
    const asked = byStudy.get(trash.StudyInstanceUID);
    if (asked === undefined || !isKept(trash, now)) continue;
    const { deletedAt, reason } = trash;
    const wanted = new Set(
      asked.flatMap(({ SOPInstanceUID: sop }) => (sop === (trash.SOPInstanceUID ?? sop) ? [sop] : [])),
    );
    for await (const { StudyInstanceUID, SOPInstanceUID, sha256 } of trashedOf(index, tenant, trash.id, wanted))
      if (StudyInstanceUID === trash.StudyInstanceUID) found.set(SOPInstanceUID, { deletedAt, reason, sha256 });
  }
  return found;
}

/** What a rejection note hides is told of by its claim; what was replaced has not been deleted. */
const isKept = ({ kind, state, purgeAt }: TrashRecord, now: number): boolean =>
  kind === 'deleted' && state !== 'purging' && (purgeAt === null || purgeAt > now);

async function* trashedOf(
  index: Pick<IndexTable, 'query'>,
  tenant: Tenant,
  id: string,
  sops: ReadonlySet<string>,
): AsyncGenerator<InstanceRecord> {
  const [first, ...others] = [...sops].sort();
  if (first === undefined) return;
  const { partition } = keys.trashed(tenant, id, '', '');
  // `|` stands behind all that UIDs are made of, and `~` behind the version.
  const range = { partition, from: first, to: `${others.at(-1) ?? first}|~`, limit: PAGE };
  for await (const { item } of recordsIn(index, range)) {
    const instance = asRecord<InstanceRecord>(item);
    if (sops.has(instance.SOPInstanceUID)) yield instance;
  }
}
