import { eventWrite } from '../archive/feed.ts';
import { keys, type SopClaim, type Tenant } from '../archive/records.ts';
import { textOf } from '../dicom/element-text.ts';
import type { DataSet } from '../dicom/types.ts';
import { asItem, asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type ProcedureStep, procedureStepsOf } from './procedure-step.ts';
import { type ProcedureStepRecord, procedureKeys, PROCEDURE_TAG as TAG } from './records.ts';

const GET_RECORDS = 100;

/** An instance that a performed procedure step says it has made. */
export interface MadeInstance {
  readonly SOPClassUID: string;
  readonly SOPInstanceUID: string;
  readonly SeriesInstanceUID: string;
}

/** The instances that a step names, images and others. */
export function madeBy(step: Pick<ProcedureStep, 'dataSet'>): MadeInstance[] {
  const made: MadeInstance[] = [];
  const itemsOf = (dataSet: DataSet, tag: string): DataSet[] => (dataSet[tag]?.Value ?? []) as DataSet[];
  for (const series of itemsOf(step.dataSet, TAG.PerformedSeriesSequence)) {
    const SeriesInstanceUID = textOf(series[TAG.SeriesInstanceUID]);
    for (const tag of [TAG.ReferencedImageSequence, TAG.ReferencedNonImageCompositeSOPInstanceSequence]) {
      for (const reference of itemsOf(series, tag)) {
        made.push({
          SOPClassUID: textOf(reference[TAG.ReferencedSOPClassUID]),
          SOPInstanceUID: textOf(reference[TAG.ReferencedSOPInstanceUID]),
          SeriesInstanceUID,
        });
      }
    }
  }
  return made;
}

/** Of the instances that a step names, those that the archive does not hold (yet). */
export async function notArrived(
  { index }: Services,
  tenant: Tenant,
  step: Pick<ProcedureStep, 'dataSet'>,
): Promise<{ readonly made: number; readonly missing: readonly MadeInstance[] }> {
  const made = madeBy(step);
  const missing: MadeInstance[] = [];
  for (let at = 0; at < made.length; at += GET_RECORDS) {
    const some = made.slice(at, at + GET_RECORDS);
    const claims = await index.getMany(some.map(({ SOPInstanceUID }) => keys.sop(tenant, SOPInstanceUID)));
    for (const [i, one] of some.entries()) {
      const claim = claims[i] && asRecord<SopClaim>(claims[i]);
      if (claim === undefined || claim.rejectedBy !== undefined) missing.push(one);
    }
  }
  return { made: made.length, missing };
}

/**
 * Says in the feed that a study is complete: a step of it was completed and every instance that it names is here. Asked when a step
 * ends and whenever the study gets quiet; says it once a step.
 * @returns the steps for which it was said now
 */
export async function settleProcedureSteps(
  services: Services,
  tenant: Tenant,
  study: string,
): Promise<readonly ProcedureStep[]> {
  const arrived: ProcedureStep[] = [];
  for (const step of await procedureStepsOf(services, tenant, study)) {
    if (step.state !== 'COMPLETED' || step.arrivedAt !== undefined) continue;
    const { made, missing } = await notArrived(services, tenant, step);
    if (missing.length > 0) continue;
    const key = procedureKeys.step(tenant, step.SOPInstanceUID);
    const item = await services.index.get(key);
    const record = asRecord<ProcedureStepRecord>(item);
    if (record === undefined || record.version !== step.version) continue;
    const at = services.clock.now();
    const outcome = await services.index.write([
      {
        kind: 'put',
        key,
        item: asItem({ ...record, version: record.version + 1, arrivedAt: at }),
        if: { version: record.version },
      },
      ...step.StudyInstanceUIDs.map((StudyInstanceUID) =>
        eventWrite(tenant, {
          type: 'StudyComplete',
          at,
          StudyInstanceUID,
          id: step.SOPInstanceUID,
          instances: made,
        }),
      ),
    ]);
    if (outcome.committed) arrived.push(step);
  }
  return arrived;
}
