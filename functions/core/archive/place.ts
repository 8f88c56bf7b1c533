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

/** A placement job: one step, and another after a while until the study is placed. May run twice. @throws PacsError as `place` */
export async function placeStudy(
  { placement, jobs }: Pick<Services, 'placement' | 'jobs'>,
  { tenant, study }: { readonly tenant: Tenant; readonly study: string },
): Promise<'placed' | 'later'> {
  if (placement === undefined) return 'placed';
  const { state } = await placement.place(tenant, study);
  if (state === 'placed') return 'placed';
  await jobs.enqueue(PLACEMENT, { tenant, study }, { delayMs: LOOK_AGAIN_MS });
  return 'later';
}
