import { HELD_REASONS } from '#core/archive/held-reasons.ts';
import { discardHeld, listHeld, replaceByHeld } from '#core/archive/quarantine.ts';
import type { EdgeContext } from '../context.ts';

/**
 * Other bytes than those that are here came in under the same SOP Instance UID. Their sender was told that they were not taken; they are kept, and go
 * nowhere, until a person says which of the two are right.
 */
export interface Conflict {
  readonly id: string;
  readonly StudyInstanceUID: string;
  readonly SOPInstanceUID: string;
  readonly sizeBytes: number;
  /** AE title of who sent them */
  readonly source: string;
  /** ms since 1970 */
  readonly receivedAt: number;
  readonly reason: string;
}

export interface Conflicts {
  /** counted up to CONFLICTS_LIMIT */
  readonly count: number;
  /** of those that are listed */
  readonly sizeBytes: number;
  /** newest first */
  readonly listed: readonly Conflict[];
}

export const CONFLICTS_LIMIT = 100;
const WHO = { by: 'status page', reason: 'decided at the edge gateway' };

export async function conflictsOf({ services, tenant }: EdgeContext): Promise<Conflicts> {
  const { items } = await listHeld(services, tenant, '', CONFLICTS_LIMIT);
  const listed = items.map(({ id, StudyInstanceUID, SOPInstanceUID, sizeBytes, source, receivedAt, kind }) => {
    return { id, StudyInstanceUID, SOPInstanceUID, sizeBytes, source, receivedAt, reason: HELD_REASONS[kind] };
  });
  return { count: listed.length, sizeBytes: listed.reduce((sum, one) => sum + one.sizeBytes, 0), listed };
}

/** They take the place of those that are here, and are sent on; what was here goes to the trash. @throws PacsError NOT_FOUND when it has been decided */
export const takeConflict = ({ services, tenant }: EdgeContext, id: string): Promise<void> =>
  replaceByHeld(services, tenant, id, WHO);

/** They go to the trash, and in its time for good. @throws PacsError NOT_FOUND when it has been decided */
export const discardConflict = async ({ services, tenant }: EdgeContext, id: string): Promise<void> => {
  await discardHeld(services, tenant, id, WHO);
};
