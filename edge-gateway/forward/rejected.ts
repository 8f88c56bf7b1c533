import type { InstanceRecord, Tenant, TrashRecord } from '#core/archive/records.ts';
import { applyRejectionNote, isRejectionNote, KEY_OBJECT_SELECTION, namedBy } from '#core/archive/reject.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { describeError, PacsError } from '#core/errors.ts';
import type { Key, WriteOperation } from '#core/ports/index-table.ts';
import type { EdgeContext } from '../context.ts';

/**
 * What rejection notes have named that came through this gateway (IHE RAD IOCM): what comes after its note, or again when it has been evicted, is hidden as
 * soon as it is taken in. What is fetched from the archive is not: that shows what is to be seen.
 *
 * | record   | partition          | sort  | holds                                     |
 * |----------|--------------------|-------|-------------------------------------------|
 * | rejected | t|forward|rejected | {SOP} | { study, series, note }: named by the note |
 */
export const rejectedKey = (t: Tenant, sop: string): Key => ({ partition: `${t}|forward|rejected`, sort: sop });

type Context = Pick<EdgeContext, 'services' | 'tenant' | 'log'>;

const ROWS_PER_WRITE = 90;
const BY = 'note ';

/** SOP Instance UID of the note by which something was hidden. */
export const noteOf = ({ by }: Pick<TrashRecord, 'by'>): string | undefined =>
  by.startsWith(BY) ? by.slice(BY.length) : undefined;

/**
 * Remembers what a note names in its own study, and hides what of it has come while it was being stored. Repeatable.
 * @param dataSet of the instance; looked at when it may be a note
 */
export async function rememberRejections(
  context: Context,
  instance: InstanceRecord,
  dataSet: () => Promise<DataSet>,
): Promise<void> {
  if (instance.SOPClassUID !== KEY_OBJECT_SELECTION) return;
  const document = await dataSet();
  if (!isRejectionNote(document)) return;
  const { services, tenant } = context;
  const rows = rowsOf(tenant, document, instance).slice(0, services.limits.rejectedAheadInstances);
  for (let at = 0; at < rows.length; at += ROWS_PER_WRITE)
    await services.index.write(rows.slice(at, at + ROWS_PER_WRITE));
  await orLeaveVisible(context, () => applyRejectionNote(services, tenant, document, instance));
}

const rowsOf = (tenant: Tenant, document: DataSet, note: InstanceRecord): WriteOperation[] =>
  namedBy(document, note)
    .filter(({ StudyInstanceUID }) => StudyInstanceUID === note.StudyInstanceUID)
    .map(({ StudyInstanceUID: study, SeriesInstanceUID: series = '', SOPInstanceUID: sop = '' }) => ({
      kind: 'put',
      key: rejectedKey(tenant, sop),
      item: { study, series, note: note.SOPInstanceUID },
    }));

/** Hides an instance that a note has named before it came. */
export async function hideIfRejected(context: Context, instance: InstanceRecord): Promise<void> {
  const { services, tenant } = context;
  const row = await services.index.get(rejectedKey(tenant, instance.SOPInstanceUID));
  if (row?.study !== instance.StudyInstanceUID || row.series !== instance.SeriesInstanceUID) return;
  await orLeaveVisible(context, async () => {
    await moveToTrash(services, tenant, [instance], { kind: 'rejected', reason: 'rejected', by: `${BY}${row.note}` });
  });
}

/** What cannot be hidden, as the disk is full, has to be sent on all the same: the archive hides it. */
async function orLeaveVisible({ log }: Context, hide: () => Promise<void>): Promise<void> {
  try {
    await hide();
  } catch (error) {
    if (!(error instanceof PacsError) || (error.code !== 'NOT_FOUND' && error.code !== 'OUT_OF_SPACE')) throw error;
    // NOT_FOUND: it is hidden already.
    if (error.code === 'OUT_OF_SPACE') log.error('rejected-not-hidden', describeError(error));
  }
}
