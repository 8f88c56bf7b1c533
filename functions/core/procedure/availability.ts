import type { InstanceRecord, Tenant } from '../archive/records.ts';
import { keys, type SeriesRecord } from '../archive/records.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import { newUID } from '../ids.ts';
import { asRecord, recordsIn } from '../ports/index-table.ts';
import { instancesOfStudy } from '../retrieve/find.ts';
import type { Services } from '../services.ts';
import { settleProcedureSteps } from './arrival.ts';
import { getProcedureStep, procedureStepsOf } from './procedure-step.ts';
import { MODALITY_PERFORMED_PROCEDURE_STEP } from './rules.ts';

/** Queue of the notifications still to be sent; payload: tenant, study, destination (AE title) and uid. */
export const INSTANCE_AVAILABILITY = 'instance-availability';

/** instances of one notification; a study of more gets several */
const INSTANCES = 5_000;

/** Has destinations told that a study's instances are here: one durable job each, so that one that is down delays no other. */
export async function requestAvailability(
  { jobs, clock }: Services,
  tenant: Tenant,
  study: string,
  destinations: readonly string[],
): Promise<void> {
  for (const destination of destinations)
    await jobs.enqueue(INSTANCE_AVAILABILITY, { tenant, study, destination, uid: newUID(clock) });
}

/**
 * A job of the queue PROCEDURE_STEP_ENDED: says that the study is complete when all that the step names is here, and has
 * `destinations` (AE titles) told. Runs safely twice.
 */
export async function endProcedureStep(
  services: Services,
  tenant: Tenant,
  SOPInstanceUID: string,
  destinations: readonly string[] = [],
): Promise<void> {
  const { StudyInstanceUIDs } = await getProcedureStep(services, tenant, SOPInstanceUID);
  for (const study of StudyInstanceUIDs) {
    const arrived = await settleProcedureSteps(services, tenant, study);
    if (arrived.length > 0) await requestAvailability(services, tenant, study, destinations);
  }
}

const uids = (value: string): Element => ({ vr: 'UI', Value: [value] });

/** The attributes of N-CREATE (PS3.4 Table R.3.2-1) for all instances of a study, none of one that is not here; optional ones are forbidden there. */
export async function* availabilityOf(
  services: Services,
  tenant: Tenant,
  study: string,
  retrieveAETitle: string,
): AsyncGenerator<DataSet> {
  if ((await services.index.get(keys.study(tenant, study))) === undefined) return;
  const steps = await procedureStepsOf(services, tenant, study);
  const last = steps.filter(({ state }) => state === 'COMPLETED').sort((a, b) => b.updatedAt - a.updatedAt)[0];
  const reference: DataSet | undefined = last && {
    '00081150': uids(MODALITY_PERFORMED_PROCEDURE_STEP),
    '00081155': uids(last.SOPInstanceUID),
    '00404019': { vr: 'SQ' },
  };
  const availability = await availabilities(services, tenant, study);
  let series = new Map<string, DataSet[]>();
  let count = 0;
  const notification = (): DataSet => ({
    '00081111': { vr: 'SQ', ...(reference && { Value: [reference] }) },
    '00081115': {
      vr: 'SQ',
      Value: [...series].map(([uid, Value]) => ({ '0020000E': uids(uid), '00081199': { vr: 'SQ', Value } })),
    },
    '0020000D': uids(study),
  });
  for await (const instance of instancesOfStudy(services, tenant, study)) {
    const { SeriesInstanceUID } = instance;
    const items = series.get(SeriesInstanceUID) ?? [];
    series.set(SeriesInstanceUID, items);
    items.push(itemOf(instance, availability.get(SeriesInstanceUID) ?? 'ONLINE', retrieveAETitle));
    if (++count === INSTANCES) {
      yield notification();
      series = new Map();
      count = 0;
    }
  }
  if (count > 0) yield notification();
}

const itemOf = (instance: InstanceRecord, availability: string, retrieveAETitle: string): DataSet => ({
  '00080054': { vr: 'AE', Value: [retrieveAETitle] },
  '00080056': { vr: 'CS', Value: [availability] },
  '00081150': uids(instance.SOPClassUID),
  '00081155': uids(instance.SOPInstanceUID),
});

async function availabilities({ index }: Services, tenant: Tenant, study: string): Promise<Map<string, string>> {
  const { partition } = keys.study(tenant, study);
  const found = new Map<string, string>();
  for await (const { item } of recordsIn(index, { partition, prefix: 'series|', limit: 10_000 })) {
    const { SeriesInstanceUID, availability } = asRecord<SeriesRecord>(item);
    found.set(SeriesInstanceUID, availability);
  }
  return found;
}
