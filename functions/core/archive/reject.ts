import { wholeOf } from '../access/confine.ts';
import { firstString } from '../dicom/element-text.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { isUID, lockOf, newVersion } from '../ids.ts';
import { asItem } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { guardedBy, type PreparedInstance } from './commit.ts';
import { eventWrite } from './feed.ts';
import type { Identity } from './instance.ts';
import { putManifest } from './manifest.ts';
import { keys, type SopClaim, type Tenant, type TrashRecord } from './records.ts';
import { moveToTrash, type Selection } from './remove.ts';
import { whoseObject } from './whose.ts';

/** records of a batch; each is a write of its own, as one of them may be there by then */
const CLAIMS_AT_ONCE = 100;

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
 * it is the record of who rejected what. What is hidden already is passed over, so replays change nothing; what has not come yet is hidden when it
 * comes, as far as it belongs to the note's own study (decision 0241).
 */
export async function applyRejectionNote(
  services: Services,
  tenant: Tenant,
  dataSet: DataSet,
  note: Identity,
): Promise<void> {
  const selections = namedBy(dataSet, note);
  if (selections.length === 0) return;
  const reason = rejectionTitle(dataSet) ?? 'rejected';
  const by = `note ${note.SOPInstanceUID}`;
  const hide = async (some: readonly Selection[]): Promise<void> => {
    try {
      await moveToTrash(services, tenant, some, { kind: 'rejected', reason, by });
    } catch (error) {
      if (!(error instanceof PacsError) || error.code !== 'NOT_FOUND') throw error;
    }
  };
  await hide(selections);
  const came = await claimAhead(services, tenant, dataSet, note);
  if (came.length > 0) await hide(came);
}

/** What the note names, without itself: instances, each with its series and study. */
export function namedBy(dataSet: DataSet, note: Identity): Selection[] {
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
  return selections;
}

/**
 * Claims the UIDs of what the note names and has not come yet, so that it is hidden when it does (fileRejected): senders that send over several
 * connections, or again what has failed, let a note overtake what it names. @returns what has come in this moment
 */
export async function claimAhead(
  confined: Services,
  tenant: Tenant,
  dataSet: DataSet,
  note: Identity,
): Promise<Selection[]> {
  const { index, limits, clock, policy } = wholeOf(confined);
  const came: Selection[] = [];
  if (!policy.rejectsAhead) return came;
  const ahead = { reason: rejectionTitle(dataSet) ?? 'rejected', by: `note ${note.SOPInstanceUID}` };
  const rejectedBy = note.SOPInstanceUID;
  // A note is about the study that it belongs to: of another one it hides what is there, and nothing that is still to come.
  const selections = namedBy(dataSet, note).filter(
    ({ StudyInstanceUID }) => StudyInstanceUID === note.StudyInstanceUID,
  );
  for (let at = 0; at < Math.min(selections.length, limits.rejectedAheadInstances); at += CLAIMS_AT_ONCE) {
    const batch = selections.slice(at, Math.min(at + CLAIMS_AT_ONCE, limits.rejectedAheadInstances));
    const claims = await index.getMany(batch.map(({ SOPInstanceUID }) => keys.sop(tenant, SOPInstanceUID!)));
    const absent = batch.filter((_, i) => claims[i] === undefined);
    const outcomes = await Promise.all(
      absent.map(({ StudyInstanceUID, SeriesInstanceUID = '', SOPInstanceUID = '' }) => {
        const version = lockOf(newVersion(clock));
        const claim: SopClaim = {
          ...{ version, StudyInstanceUID, SeriesInstanceUID, instanceVersion: '', sha256: '' },
          ...{ rejectedBy, ahead },
        };
        return index.write([{ kind: 'put', key: keys.sop(tenant, SOPInstanceUID), item: asItem(claim), if: 'absent' }]);
      }),
    );
    came.push(...absent.filter((_, i) => outcomes[i]?.committed === false));
  }
  return came;
}

/**
 * An instance that a note had rejected before it came: its bytes are kept, in the trash, and may be restored like all that was rejected.
 * @returns false when the claim changed meanwhile, or spoke of another place and was taken back: the caller looks again
 */
export async function fileRejected(
  services: Services,
  prepared: PreparedInstance,
  claim: SopClaim,
  { reason, by }: NonNullable<SopClaim['ahead']>,
): Promise<boolean> {
  const { tenant, instance, guard } = prepared;
  const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, version: instanceVersion, sha256, blobKey } = instance;
  const key = keys.sop(tenant, SOPInstanceUID);
  const condition = { version: claim.version };
  if (claim.StudyInstanceUID !== StudyInstanceUID || claim.SeriesInstanceUID !== SeriesInstanceUID) {
    await services.index.write([{ kind: 'delete', key, if: condition }]);
    return false;
  }
  const at = services.clock.now();
  const uids = { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID };
  const trash: TrashRecord = {
    ...{ version: 1, id: newVersion(services.clock), kind: 'rejected', level: 'instance', ...uids, state: 'complete' },
    ...{ instanceCount: 1, attributes: whoseObject(prepared), deletedAt: at, purgeAt: null, reason, by },
  };
  const next: SopClaim = {
    ...{ version: claim.version + 1, StudyInstanceUID, SeriesInstanceUID, instanceVersion, sha256 },
    rejectedBy: trash.id,
  };
  await putManifest(services.blobs, tenant, { kind: 'trash', trash, blobKeys: [blobKey] });
  const outcome = await services.index.write([
    { kind: 'put', key, item: asItem(next), if: condition },
    ...guardedBy(guard, tenant, instanceVersion),
    { kind: 'put', key: keys.trash(tenant, trash.id), item: asItem(trash) },
    { kind: 'put', key: keys.trashed(tenant, trash.id, SOPInstanceUID, instanceVersion), item: asItem(instance) },
    eventWrite(tenant, { type: 'Rejected', at, ...uids, id: trash.id, instances: 1 }),
  ]);
  // Else a rebuild would hide what the next attempt may show.
  if (!outcome.committed) await putManifest(services.blobs, tenant, { kind: 'restored', id: trash.id });
  return outcome.committed;
}
