import { keys, type StudyRecord } from '../archive/records.ts';
import { asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import type { PatientIDs } from './dicom-message.ts';
import type { AuditEvent } from './event.ts';

const STUDIES_A_READ = 100;

/** The Patient IDs of the studies that entries speak of, where the archive still has them: the trail itself holds none. */
export async function patientsOf(
  { index }: Pick<Services, 'index'>,
  tenant: string,
  entries: readonly Pick<AuditEvent, 'studies'>[],
): Promise<PatientIDs> {
  const studies = [...new Set(entries.flatMap((entry) => entry.studies ?? []))];
  const patients = new Map<string, string>();
  for (let at = 0; at < studies.length; at += STUDIES_A_READ) {
    const batch = studies.slice(at, at + STUDIES_A_READ);
    const items = await index.getMany(batch.map((study) => keys.study(tenant, study)));
    for (const [i, item] of items.entries()) {
      const id = asRecord<StudyRecord>(item)?.attributes['00100020']?.Value?.[0];
      if (typeof id === 'string') patients.set(batch[i]!, id);
    }
  }
  return patients;
}
