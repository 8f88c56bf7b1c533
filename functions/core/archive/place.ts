import { PLACEMENT } from '../ports/frame-placement.ts';
import type { Services } from '../services.ts';
import type { StudyRecord, Tenant } from './records.ts';

/** how long the service is left alone between two looks */
const LOOK_AGAIN_MS = 60_000;

/**
 * Whose frames viewers scroll through by the hundred, stored without loss: what a codec of the service saves time with. Ultrasound and
 * angiography come compressed already, radiographs as single frames.
 */
export const PLACEMENT_MODALITIES: readonly string[] = ['CT', 'MR', 'PT', 'MG'];

/** Whether the policy wants the study placed. */
export const isToBePlaced = (
  { policy, limits }: Pick<Services, 'policy' | 'limits'>,
  { modalities, sizeBytes }: Pick<StudyRecord, 'modalities' | 'sizeBytes'>,
): boolean =>
  sizeBytes >= limits.placementLeastBytes && policy.placementModalities.some((one) => (modalities[one] ?? 0) > 0);

/** Has a study placed where the host has a placement: after it has become quiet. */
export async function beginPlacement(
  { placement, jobs }: Pick<Services, 'placement' | 'jobs'>,
  tenant: Tenant,
  study: string,
): Promise<void> {
  if (placement !== undefined) await jobs.enqueue(PLACEMENT, { tenant, study });
}

/** Has a placement let go of what has been removed for good from a study, where the host has one. */
export async function beginPlacementRemoval(
  { placement, jobs }: Pick<Services, 'placement' | 'jobs'>,
  tenant: Tenant,
  study: string,
): Promise<void> {
  if (placement !== undefined) await jobs.enqueue(PLACEMENT, { tenant, study, removal: true });
}

export interface PlacementJob {
  readonly tenant: Tenant;
  readonly study: string;
  readonly removal?: boolean;
}

/**
 * A placement job: one step of placing a study or of removing what is gone, and another after a while until that is done. May run twice.
 * @throws PacsError as `place` and `remove`
 */
export async function placeStudy(
  { placement, jobs }: Pick<Services, 'placement' | 'jobs'>,
  { tenant, study, removal = false }: PlacementJob,
): Promise<'placed' | 'removed' | 'later'> {
  if (placement === undefined) return removal ? 'removed' : 'placed';
  if (removal) {
    const removed = await placement.remove(tenant, study);
    if (removed === 'placeAgain') await jobs.enqueue(PLACEMENT, { tenant, study });
    if (removed !== 'removing') return 'removed';
    await jobs.enqueue(PLACEMENT, { tenant, study, removal }, { delayMs: LOOK_AGAIN_MS });
    return 'later';
  }
  const { state } = await placement.place(tenant, study);
  if (state === 'placed') return 'placed';
  await jobs.enqueue(PLACEMENT, { tenant, study }, { delayMs: LOOK_AGAIN_MS });
  return 'later';
}
