import { confineKept } from '../access/confine.ts';
import { PacsError } from '../errors.ts';
import { asItem, asRecord, recordsIn } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { keys, type Tenant } from './records.ts';
import { type StoreOutcome, storeObject } from './store.ts';
import { arrivedParts, missingParts, partCount, partKeys, UPLOADS } from './transaction-parts.ts';
import {
  endTransaction,
  type KeptOutcome,
  keptOf,
  outcomeOf,
  type TransactionEnd,
  type TransactionNote,
  type TransactionRecord,
  transactionState,
} from './transaction-records.ts';
import { deleteTransaction } from './transactions.ts';

/** the queue of objects of committed transactions; payload { tenant, id, from, count }, objects from 0 */
export const STORE_UPLOADED = 'store-uploaded';
export interface UploadedObjects {
  readonly tenant: Tenant;
  readonly id: string;
  /** of the first object, from 0 */
  readonly from: number;
  readonly count: number;
}
/** What one job stores: about this many bytes, and at most so many objects. */
const JOB_BYTES = 1024 * 1024 * 1024;
const JOB_OBJECTS = 100;
/** objects of one job that are being stored at the same time */
const CONCURRENCY = 4;
const POLL_MS = { first: 100, most: 1_000 };

/**
 * Commits the transaction. `done` with an outcome for each object, the same however often it is asked; `storing` when the queue is still at it.
 * @throws PacsError PRECONDITION_FAILED with `details.missing` when parts are missing: nothing is committed; NOT_FOUND; what passes (BUSY,
 *   OUT_OF_SPACE): commit again
 */
export async function commitTransaction(
  services: Services,
  tenant: Tenant,
  record: TransactionRecord,
): Promise<{ state: 'done'; outcomes: StoreOutcome[] } | { state: 'storing' }> {
  let { end, outcomes } = await transactionState(services, tenant, record);
  const inline = bytesLeft(record, outcomes) <= services.limits.transactionInlineBytes;
  if (end === undefined) {
    await checkComplete(services, tenant, record);
    end = await endTransaction(services, tenant, record.id, 'committed');
    if (!inline) await enqueueObjects(services, tenant, record, outcomes);
  }
  if (end.kind === 'abandoned') throw new PacsError('NOT_FOUND', 'there is no such transaction');
  if (inline) await storeUploaded(services, { tenant, id: record.id, from: 0, count: record.objects.length });

  const until = services.clock.now() + services.limits.transactionWaitMs;
  for (let pauseMs = POLL_MS.first; ; pauseMs = Math.min(pauseMs * 2, POLL_MS.most)) {
    ({ outcomes } = await transactionState(services, tenant, record));
    const known = outcomes.filter((outcome) => outcome !== undefined);
    if (known.length === outcomes.length) return { state: 'done', outcomes: known.map(outcomeOf) };
    if (services.clock.now() + pauseMs > until) return { state: 'storing' };
    await services.clock.sleep(pauseMs);
  }
}

const bytesLeft = ({ objects }: TransactionRecord, outcomes: readonly (KeptOutcome | undefined)[]): number =>
  objects.reduce((sum, { sizeBytes }, i) => sum + (outcomes[i] === undefined ? sizeBytes : 0), 0);

async function checkComplete(services: Services, tenant: Tenant, record: TransactionRecord): Promise<void> {
  const arrived = await arrivedParts(services, tenant, record);
  const missing = record.objects.flatMap((object, i) => {
    const parts = missingParts(arrived[i] ?? [], partCount(object));
    return parts.length > 0 ? [{ object: i + 1, parts }] : [];
  });
  if (missing.length > 0) {
    throw new PacsError('PRECONDITION_FAILED', 'parts are missing', { details: { missing } });
  }
}

async function enqueueObjects(
  services: Pick<Services, 'jobs'>,
  tenant: Tenant,
  { id, objects }: TransactionRecord,
  outcomes: readonly (KeptOutcome | undefined)[],
): Promise<void> {
  let from = 0;
  let bytes = 0;
  for (let i = 0; i <= objects.length; i++) {
    const next = outcomes[i] === undefined ? (objects[i]?.sizeBytes ?? 0) : 0;
    if (i > from && (i === objects.length || bytes + next > JOB_BYTES || i - from === JOB_OBJECTS)) {
      if (bytes > 0) await services.jobs.enqueue(STORE_UPLOADED, { tenant, id, from, count: i - from });
      from = i;
      bytes = 0;
    }
    bytes += next;
  }
}

/**
 * Stores objects of a committed transaction whose outcome is not known. May run twice, also at the same time: the first outcome stands.
 * @throws PacsError what passes (BUSY, OUT_OF_SPACE, INTERNAL, …), when all that could be stored has been: run it again
 */
export async function storeUploaded(services: Services, { tenant, id, from, count }: UploadedObjects): Promise<void> {
  const item = await services.index.get(keys.transactionObjects(tenant, id));
  if (!item) return;
  const record = asRecord<TransactionRecord>(item);
  const { end, outcomes } = await transactionState(services, tenant, record);
  if (end?.kind !== 'committed') return;
  const left = record.objects.keys().filter((i) => i >= from && i < from + count && outcomes[i] === undefined);
  let failure: unknown;
  const work = async (): Promise<void> => {
    for (const object of left) {
      try {
        await storeOne(services, tenant, record, object);
      } catch (error) {
        failure ??= error;
      }
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  if (failure !== undefined) throw failure;
}

async function storeOne(services: Services, tenant: Tenant, record: TransactionRecord, object: number): Promise<void> {
  const { sha256, SOPInstanceUID } = record.objects[object]!;
  const parts = partKeys(tenant, record, object);
  async function* whole(): AsyncGenerator<Uint8Array> {
    for (const part of parts) yield* services.landing.read(part);
  }
  const { StudyInstanceUID } = record;
  const context = { tenant, source: 'STOW', StudyInstanceUID, SOPInstanceUID, sha256 };
  const confined = confineKept(services, tenant, record.reach, 'store');
  let outcome = await storeObject(confined, context, whole()).outcome;
  if ('sha256' in outcome && outcome.sha256 !== sha256) {
    // These bytes were in the archive already; but they are not what was announced.
    const error = new PacsError('DATASET_MISMATCH', 'the SHA-256 of the bytes differs from the one announced');
    outcome = { kind: 'failed', id: outcome.id, error };
  }
  if (outcome.kind === 'failed' && outcome.error.row.resend !== 'never') throw outcome.error;
  const key = keys.transactionOutcome(tenant, record.id, object);
  await services.index.write([{ kind: 'put', key, item: asItem(keptOf(outcome)), if: 'absent' }]);
  for (const part of parts) await services.landing.delete(part);
}

/**
 * Ends and removes transactions whose time is over, gives those that were committed and never finished to the queue again, and deletes
 * parts that no transaction knows. Repeatable, from several processes at once. @returns how many were removed
 */
export async function sweepTransactions(services: Services, tenant: Tenant): Promise<number> {
  let removed = 0;
  const { partition } = keys.transaction(tenant, '');
  for await (const { sort: id, item } of recordsIn(services.index, { partition, limit: 500 })) {
    if (asRecord<TransactionNote>(item).expiresAt <= services.clock.now()) {
      await endTransaction(services, tenant, id, 'abandoned');
      await deleteTransaction(services, tenant, id);
      removed++;
    } else await resume(services, tenant, id);
  }
  await deleteOrphans(services, tenant);
  return removed;
}

/** Goes on with what an interruption left: an abandonment, or a commit whose jobs were lost or given up. */
async function resume(services: Services, tenant: Tenant, id: string): Promise<void> {
  const endItem = await services.index.get(keys.transactionEnd(tenant, id));
  const end = asRecord<TransactionEnd>(endItem);
  if (end?.kind === 'abandoned') return deleteTransaction(services, tenant, id);
  if (end === undefined || end.at + services.limits.transactionRetryMs > services.clock.now()) return;
  const item = await services.index.get(keys.transactionObjects(tenant, id));
  if (!item) return;
  const record = asRecord<TransactionRecord>(item);
  const { state, outcomes } = await transactionState(services, tenant, record);
  if (state === 'storing') await enqueueObjects(services, tenant, record, outcomes);
}

/** A part that was under way while its transaction was being removed. */
async function deleteOrphans(services: Services, tenant: Tenant): Promise<void> {
  const prefix = `${UPLOADS}${tenant}/`;
  let id: string | undefined;
  let known = true;
  for await (const { key } of services.landing.list(prefix)) {
    const owner = key.slice(prefix.length).split('/')[0]!;
    if (owner !== id) {
      id = owner;
      known = (await services.index.get(keys.transaction(tenant, owner))) !== undefined;
    }
    if (!known) await services.landing.delete(key);
  }
}
