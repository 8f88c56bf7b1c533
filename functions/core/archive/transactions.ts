import type { KeptReach } from '../access/reach.ts';
import { PacsError } from '../errors.ts';
import { isUID } from '../ids.ts';
import type { Limits } from '../limits.ts';
import type { Services } from '../services.ts';
import type { Identity } from './instance.ts';
import { asItem, asRecord, type HeldRecord, keys, type Tenant } from './records.ts';
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

/** Ranges of part numbers, first and last, ascending. */
export type PartRanges = readonly (readonly [first: number, last: number])[];

export interface TransactionState {
  readonly state: 'open' | 'storing' | 'done';
  readonly end: TransactionEnd | undefined;
  /** by object; undefined where it is not known yet */
  readonly outcomes: readonly (KeptOutcome | undefined)[];
}

const ID = /^[A-Za-z0-9-]{16,64}$/;
/** as many as a multipart upload of S3 may have; keeps lists of parts bounded */
const PARTS_LIMIT = 10_000;
const MEBIBYTE = 1024 * 1024;

/** Everything of a transaction's in the landing store; no tenant's name begins so, so that nobody's objects are meant. */
export const UPLOADS = '_uploads/';

export const partCount = ({ sizeBytes, partBytes }: TransactionObject): number => Math.ceil(sizeBytes / partBytes);

const partPrefix = (tenant: Tenant, id: string, object?: number): string =>
  `${UPLOADS}${tenant}/${id}/${object === undefined ? '' : `${object + 1}/`}`;

/** Blob keys of an object's parts in order; `object` from 0. */
export const partKeys = (tenant: Tenant, record: TransactionRecord, object: number): string[] =>
  Array.from({ length: partCount(record.objects[object]!) }, (_, i) => partKey(tenant, record.id, object, i + 1));

const partKey = (tenant: Tenant, id: string, object: number, part: number): string =>
  `${partPrefix(tenant, id, object)}${String(part).padStart(5, '0')}`;

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

function partBytesOf({ transactionPartBytes }: Limits, sizeBytes: number): number {
  const least = Math.ceil(sizeBytes / PARTS_LIMIT);
  return least <= transactionPartBytes ? transactionPartBytes : Math.ceil(least / MEBIBYTE) * MEBIBYTE;
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
  const record = item && asRecord<TransactionRecord>(item);
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
    end: end && asRecord<TransactionEnd>(end),
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

/**
 * Where a part belongs, and its size in bytes; `object` and `part` from 1.
 * @throws PacsError NOT_FOUND when the transaction has no such part
 */
export function placeOfPart(
  tenant: Tenant,
  record: TransactionRecord,
  object: number,
  part: number,
): { readonly key: string; readonly sizeBytes: number } {
  const announced = record.objects[object - 1];
  if (announced === undefined || !(part >= 1 && part <= partCount(announced))) {
    throw new PacsError('NOT_FOUND', 'the transaction has no such part', { details: { object, part } });
  }
  const { sizeBytes, partBytes } = announced;
  return {
    key: partKey(tenant, record.id, object - 1, part),
    sizeBytes: Math.min(partBytes, sizeBytes - (part - 1) * partBytes),
  };
}

/** @throws PacsError CONFLICT when parts are no longer taken */
export async function checkOpen(services: Pick<Services, 'index'>, tenant: Tenant, id: string): Promise<void> {
  const end = await services.index.get(keys.transactionEnd(tenant, id));
  if (end) throw new PacsError('CONFLICT', 'the transaction is no longer open');
}

/**
 * Takes a part on a host whose store cannot sign URLs. Durable when it resolves; a part that is there already stays.
 * @throws PacsError BAD_REQUEST when there are more or fewer bytes than announced; DATASET_MISMATCH when their SHA-256 differs
 */
export async function putPart(
  services: Pick<Services, 'landing'>,
  { key, sizeBytes }: { readonly key: string; readonly sizeBytes: number },
  sha256: string,
  body: AsyncIterable<Uint8Array>,
): Promise<void> {
  async function* exactly(): AsyncGenerator<Uint8Array> {
    let received = 0;
    for await (const chunk of body) {
      received += chunk.byteLength;
      if (received > sizeBytes) break;
      yield chunk;
    }
    if (received !== sizeBytes) {
      throw new PacsError('BAD_REQUEST', 'the part has another size', { details: { sizeBytes } });
    }
  }
  try {
    await services.landing.put(key, exactly(), { sha256 });
  } catch (error) {
    if (!(error instanceof PacsError && error.code === 'CONFLICT')) throw error;
  }
}

/** The parts of each object that are there, whole. */
export async function arrivedParts(
  services: Pick<Services, 'landing'>,
  tenant: Tenant,
  record: TransactionRecord,
): Promise<PartRanges[]> {
  const arrived: [number, number][][] = record.objects.map(() => []);
  const prefix = partPrefix(tenant, record.id);
  // Keys of one object are listed in the order of its parts.
  for await (const { key, size } of services.landing.list(prefix)) {
    const [object = 0, part = 0] = key.slice(prefix.length).split('/').map(Number);
    const ranges = arrived[object - 1];
    if (ranges === undefined || size !== placeOfPart(tenant, record, object, part).sizeBytes) continue;
    const last = ranges.at(-1);
    if (last?.[1] === part - 1) last[1] = part;
    else ranges.push([part, part]);
  }
  return arrived;
}

/** What is not there of 1 … `count`. */
export function missingParts(arrived: PartRanges, count: number): PartRanges {
  const missing: [number, number][] = [];
  let next = 1;
  for (const [first, last] of [...arrived, [count + 1, count + 1] as const]) {
    if (first > next) missing.push([next, first - 1]);
    next = last + 1;
  }
  return missing;
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
