import { confineTo } from '../access/confine.ts';
import { factsOfDataSet } from '../access/rules.ts';
import type { Tenant } from '../archive/records.ts';
import { textOf } from '../dicom/element-text.ts';
import type { DataSet } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import type { Services } from '../services.ts';
import { getProcedureStep } from './procedure-step.ts';
import { PROCEDURE_TAG as TAG } from './records.ts';

/**
 * Who is confined reports steps of studies in his reach: a new one (`created`) by what it says, one that is there by its studies.
 * @throws PacsError FORBIDDEN; for a step of studies out of reach what `getProcedureStep` throws for one that is not there
 */
export async function checkStepReach(
  services: Services,
  tenant: Tenant,
  SOPInstanceUID: string,
  created?: DataSet,
): Promise<void> {
  const { reach } = services;
  if (reach === undefined) return;
  if (created === undefined) {
    await getProcedureStep(confineTo(services, reach), tenant, SOPInstanceUID);
    return;
  }
  for (const scheduled of (created[TAG.ScheduledStepAttributesSequence]?.Value ?? []) as DataSet[]) {
    const facts = { ...factsOfDataSet(created), StudyInstanceUID: textOf(scheduled[TAG.StudyInstanceUID]) };
    if (!(await reach.admitsAddition(facts)))
      throw new PacsError('FORBIDDEN', 'the step is of no study that may be stored into');
  }
}
