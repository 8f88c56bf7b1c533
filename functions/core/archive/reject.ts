import { firstString } from '../dicom/element-text.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { isUID } from '../ids.ts';
import type { Services } from '../services.ts';
import type { Identity } from './instance.ts';
import type { Tenant } from './records.ts';
import { moveToTrash, type Selection } from './remove.ts';

export const KEY_OBJECT_SELECTION = '1.2.840.10008.5.1.4.1.1.88.59';

/** Document titles of rejection notes: CID 7011 (PS3.16), as IHE RAD IOCM (TF-3 4.66.4.1.3.1.3) uses them. */
export const REJECTION_TITLES: Readonly<Record<string, string>> = {
  '113001': 'Rejected for Quality Reasons',
  '113037': 'Rejected for Patient Safety Reasons',
  '113038': 'Incorrect Modality Worklist Entry',
  '113039': 'Data Retention Policy Expired',
};

const items = (element: Element | undefined): DataSet[] => (element?.Value ?? []) as DataSet[];

function rejectionTitle(dataSet: DataSet): string | undefined {
  if (firstString(dataSet, '00080016') !== KEY_OBJECT_SELECTION) return undefined;
  const [title] = items(dataSet['0040A043']);
  if (!title || firstString(title, '00080102') !== 'DCM') return undefined;
  return REJECTION_TITLES[firstString(title, '00080100') ?? ''];
}

/** A Key Object Selection document that asks for what it names to be hidden (IHE RAD IOCM). */
export const isRejectionNote = (dataSet: DataSet): boolean => rejectionTitle(dataSet) !== undefined;

/**
 * Hides what the note names in its Current Requested Procedure Evidence Sequence (0040,A375). The note itself stays visible:
 * it is the record of who rejected what. What is not here (or hidden already) is passed over, so replays change nothing.
 */
export async function applyRejectionNote(
  services: Services,
  tenant: Tenant,
  dataSet: DataSet,
  note: Identity,
): Promise<void> {
  const selections: Selection[] = [];
  for (const study of items(dataSet['0040A375'])) {
    for (const series of items(study['00081115'])) {
      for (const sop of items(series['00081199'])) {
        const selection = {
          StudyInstanceUID: firstString(study, '0020000D') ?? '',
          SeriesInstanceUID: firstString(series, '0020000E') ?? '',
          SOPInstanceUID: firstString(sop, '00081155') ?? '',
        };
        if (Object.values(selection).every(isUID) && selection.SOPInstanceUID !== note.SOPInstanceUID)
          selections.push(selection);
      }
    }
  }
  if (selections.length === 0) return;
  try {
    await moveToTrash(services, tenant, selections, {
      kind: 'rejected',
      reason: rejectionTitle(dataSet) ?? 'rejected',
      by: `note ${note.SOPInstanceUID}`,
    });
  } catch (error) {
    if (!(error instanceof PacsError) || error.code !== 'NOT_FOUND') throw error;
  }
}
