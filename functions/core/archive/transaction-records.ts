import type { KeptReach } from '../access/reach.ts';
import { PacsError } from '../errors.ts';
import { asItem, asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import type { Identity } from './instance.ts';
import { type HeldRecord, keys, type Tenant } from './records.ts';
import type { StoreOutcome } from './store.ts';
import type { SuppliedUIDs } from './supplied-uids.ts';

/**
 * Store transactions (docs/store-transactions.md): objects of any size that arrive in parts, in any order.
 *
 * What is announced is written once and never changed. How it ends is one record, written if absent: of a commit and an abandonment (or
 * the sweeper) at the same time, one wins. Each object's outcome is one record, written if absent, when it is known: so a commit may be
 * repeated, run twice at once or be cut off anywhere, and its answer is the same. Parts are blobs of the landing store and are deleted
 * when the outcome of their object stands.
 *
 *   create ── note + objects ── parts … ── end: committed ── object stored ── outcome ── parts deleted ── … ── all gone at expiresAt
 */
export interface TransactionRecord {
  readonly id: string;
  /** subject that created it, and alone may use it */
  readonly by: string;
  /** ms since 1970 */
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly StudyInstanceUID?: string | undefined;
  readonly objects: readonly TransactionObject[];
  /** of who created it, where he was confined: his objects are stored as far as that goes */
  readonly reach?: KeptReach | undefined;
}

/** A Part 10 file as its sender announces it. */
export interface AnnouncedObject {
  readonly sizeBytes: number;
  /** lower-case hex */
  readonly sha256: string;
  readonly SOPInstanceUID?: string | undefined;
}

export interface TransactionObject extends AnnouncedObject {
  /** of every part but the last */
  readonly partBytes: number;
}

export interface TransactionNote {
  readonly expiresAt: number;
}

export interface TransactionEnd {
  readonly kind: 'committed' | 'abandoned';
  readonly at: number;
}

/** What became of an object, as JSON: enough for the STOW response. */
export type KeptOutcome =
  | (Omit<Extract<StoreOutcome, { warnings: unknown }>, 'supplied'> & { supplied?: SuppliedUIDs })
  | { kind: 'held'; id: Identity; held: HeldRecord }
  | { kind: 'failed'; id: Partial<Identity>; code: PacsError['code']; message: string };

export interface TransactionState {
  readonly state: 'open' | 'storing' | 'done';
  readonly end: TransactionEnd | undefined;
  /** by object; undefined where it is not known yet */
  readonly outcomes: readonly (KeptOutcome | undefined)[];
}

/** @throws PacsError NOT_FOUND when there is none, it is another's, was abandoned or has expired */
export async function findTransaction(
  services: Pick<Services, 'index' | 'clock'>,
  tenant: Tenant,
  id: string,
  by: string,
): Promise<TransactionRecord> {
  const [item, end] = await services.index.getMany([
    keys.transactionObjects(tenant, id),
    keys.transactionEnd(tenant, id),
  ]);
  const record = asRecord<TransactionRecord>(item);
  const gone = end?.kind === 'abandoned' || (record && record.expiresAt <= services.clock.now());
  if (record?.by !== by || gone) throw new PacsError('NOT_FOUND', 'there is no such transaction');
  return record;
}

/** How far the transaction has come. */
export async function transactionState(
  services: Pick<Services, 'index'>,
  tenant: Tenant,
  record: Pick<TransactionRecord, 'id' | 'objects'>,
): Promise<TransactionState> {
  const end = await services.index.get(keys.transactionEnd(tenant, record.id));
  const outcomes = await keptOutcomes(services, tenant, record);
  return {
    end: asRecord<TransactionEnd>(end),
    outcomes,
    state: end === undefined ? 'open' : outcomes.every((one) => one !== undefined) ? 'done' : 'storing',
  };
}

async function keptOutcomes(
  services: Pick<Services, 'index'>,
  tenant: Tenant,
  { id, objects }: Pick<TransactionRecord, 'id' | 'objects'>,
): Promise<(KeptOutcome | undefined)[]> {
  const outcomes: (KeptOutcome | undefined)[] = objects.map(() => undefined);
  const { partition } = keys.transactionEnd(tenant, id);
  const prefix = 'outcome|';
  const page = await services.index.query({ partition, prefix, limit: 10_000 });
  for (const { sort, item } of page.records) {
    outcomes[Number(sort.slice(prefix.length))] = asRecord<KeptOutcome>(item);
  }
  return outcomes;
}

/** @throws PacsError CONFLICT when parts are no longer taken */
export async function checkOpen(services: Pick<Services, 'index'>, tenant: Tenant, id: string): Promise<void> {
  const end = await services.index.get(keys.transactionEnd(tenant, id));
  if (end) throw new PacsError('CONFLICT', 'the transaction is no longer open');
}

/** Ends it, unless it has ended before; returns how it ended. */
export async function endTransaction(
  services: Services,
  tenant: Tenant,
  id: string,
  kind: TransactionEnd['kind'],
): Promise<TransactionEnd> {
  const key = keys.transactionEnd(tenant, id);
  const end: TransactionEnd = { kind, at: services.clock.now() };
  const outcome = await services.index.write([{ kind: 'put', key, item: asItem(end), if: 'absent' }]);
  if (outcome.committed) return end;
  const item = await services.index.get(key);
  return item ? asRecord<TransactionEnd>(item) : end;
}

export const keptOf = (outcome: StoreOutcome): KeptOutcome =>
  outcome.kind === 'failed'
    ? { kind: 'failed', id: outcome.id, code: outcome.error.code, message: outcome.error.message }
    : outcome;

export const outcomeOf = (kept: KeptOutcome): StoreOutcome =>
  kept.kind === 'failed'
    ? { kind: 'failed', id: kept.id, error: new PacsError(kept.code, kept.message) }
    : kept.kind === 'held'
      ? kept
      : { supplied: [], ...kept };
