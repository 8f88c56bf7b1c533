import { PacsError } from '../errors.ts';
import { isUID } from '../ids.ts';
import type { Limits } from '../limits.ts';
import { asItem } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { keys, type Tenant } from './records.ts';
import { partBytesOf, partPrefix } from './transaction-parts.ts';
import {
  type AnnouncedObject,
  endTransaction,
  findTransaction,
  type TransactionNote,
  type TransactionRecord,
} from './transaction-records.ts';

const ID = /^[A-Za-z0-9-]{16,64}$/;

/**
 * Creates the transaction, or finds it created before with the same objects (`created: false`).
 * @throws PacsError BAD_REQUEST; TOO_LARGE; CONFLICT when the id stands for another
 */
export async function createTransaction(
  services: Services,
  tenant: Tenant,
  asked: {
    readonly id: string;
    readonly by: string;
    readonly StudyInstanceUID?: string | undefined;
    readonly objects: readonly AnnouncedObject[];
  },
): Promise<{ record: TransactionRecord; created: boolean }> {
  checkAnnouncement(services.limits, asked);
  const createdAt = services.clock.now();
  const record: TransactionRecord = {
    ...asked,
    ...(services.reach && { reach: services.reach.keep() }),
    createdAt,
    expiresAt: createdAt + services.limits.transactionMs,
    objects: asked.objects.map((object) => ({ ...object, partBytes: partBytesOf(services.limits, object.sizeBytes) })),
  };
  const note: TransactionNote = { expiresAt: record.expiresAt };
  const outcome = await services.index.write([
    { kind: 'put', key: keys.transaction(tenant, record.id), item: asItem(note), if: 'absent' },
    { kind: 'put', key: keys.transactionObjects(tenant, record.id), item: asItem(record), if: 'absent' },
  ]);
  if (outcome.committed) return { record, created: true };
  const known = await findTransaction(services, tenant, record.id, asked.by).catch(() => undefined);
  if (known === undefined || announcement(known) !== announcement(asked)) {
    throw new PacsError('CONFLICT', 'the id stands for another transaction');
  }
  return { record: known, created: false };
}

const announcement = ({
  StudyInstanceUID,
  objects,
}: Pick<TransactionRecord, 'StudyInstanceUID'> & { objects: readonly AnnouncedObject[] }) =>
  JSON.stringify([
    StudyInstanceUID ?? null,
    objects.map(({ sizeBytes, sha256, SOPInstanceUID }) => [sizeBytes, sha256, SOPInstanceUID ?? null]),
  ]);

function checkAnnouncement(
  limits: Limits,
  {
    id,
    StudyInstanceUID,
    objects,
  }: { id: string; StudyInstanceUID?: string | undefined; objects: readonly AnnouncedObject[] },
): void {
  const wrong = (message: string) => new PacsError('BAD_REQUEST', message);
  if (!ID.test(id)) throw wrong('the id must be 16 to 64 letters, digits and hyphens');
  if (StudyInstanceUID !== undefined && !isUID(StudyInstanceUID)) throw wrong('StudyInstanceUID is not a UID');
  if (objects.length === 0) throw wrong('a transaction has at least one object');
  if (objects.length > limits.transactionObjects) {
    throw new PacsError('TOO_LARGE', 'the transaction has too many objects', {
      details: { limitObjects: limits.transactionObjects },
    });
  }
  let total = 0;
  for (const { sizeBytes, sha256, SOPInstanceUID } of objects) {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 1) throw wrong('sizeBytes must be a whole number from 1');
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw wrong('sha256 must be 64 lower-case hexadecimal digits');
    if (SOPInstanceUID !== undefined && !isUID(SOPInstanceUID)) throw wrong('SOPInstanceUID is not a UID');
    if (sizeBytes > limits.transactionObjectBytes) {
      throw new PacsError('TOO_LARGE', 'an object is too large', {
        details: { limitBytes: limits.transactionObjectBytes },
      });
    }
    total += sizeBytes;
  }
  if (total > limits.transactionBytes) {
    throw new PacsError('TOO_LARGE', 'the objects are too large together', {
      details: { limitBytes: limits.transactionBytes },
    });
  }
}

/**
 * Abandons the transaction and deletes its parts.
 * @throws PacsError CONFLICT when it has been committed
 */
export async function abandonTransaction(services: Services, tenant: Tenant, id: string): Promise<void> {
  if ((await endTransaction(services, tenant, id, 'abandoned')).kind === 'committed') {
    throw new PacsError('CONFLICT', 'the transaction has been committed');
  }
  await deleteTransaction(services, tenant, id);
}

/** Removes all that is left of an ended transaction; the note goes last, so that the sweeper goes on where this was cut off. */
export async function deleteTransaction(services: Services, tenant: Tenant, id: string): Promise<void> {
  for await (const { key } of services.landing.list(partPrefix(tenant, id))) await services.landing.delete(key);
  const { partition } = keys.transactionEnd(tenant, id);
  for (;;) {
    // How it ended stands first and goes last: what is half deleted must not look open.
    const page = await services.index.query({ partition, limit: 100, keysOnly: true, descending: true });
    if (page.records.length === 0) break;
    await services.index.write(page.records.map(({ sort }) => ({ kind: 'delete', key: { partition, sort } })));
  }
  await services.index.write([{ kind: 'delete', key: keys.transaction(tenant, id) }]);
}
