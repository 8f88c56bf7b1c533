import { PacsError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import type { Services } from '../services.ts';
import type { Tenant } from './records.ts';
import type { TransactionObject, TransactionRecord } from './transaction-records.ts';

/** The parts that objects of a store transaction arrive in: blobs of the landing store. */
/** as many as a multipart upload of S3 may have; keeps lists of parts bounded */
const PARTS_LIMIT = 10_000;
const MEBIBYTE = 1024 * 1024;

/** Ranges of part numbers, first and last, ascending. */
export type PartRanges = readonly (readonly [first: number, last: number])[];

/** Everything of a transaction's in the landing store; no tenant's name begins so, so that nobody's objects are meant. */
export const UPLOADS = '_uploads/';

/** Bytes of each part of an object but the last. */
export function partBytesOf({ transactionPartBytes }: Limits, sizeBytes: number): number {
  const least = Math.ceil(sizeBytes / PARTS_LIMIT);
  return least <= transactionPartBytes ? transactionPartBytes : Math.ceil(least / MEBIBYTE) * MEBIBYTE;
}

export const partCount = ({ sizeBytes, partBytes }: TransactionObject): number => Math.ceil(sizeBytes / partBytes);

/** What all blob keys of a transaction, or of one object of it (from 0), begin with. */
export const partPrefix = (tenant: Tenant, id: string, object?: number): string =>
  `${UPLOADS}${tenant}/${id}/${object === undefined ? '' : `${object + 1}/`}`;

/** Blob keys of an object's parts in order; `object` from 0. */
export const partKeys = (tenant: Tenant, record: TransactionRecord, object: number): string[] =>
  Array.from({ length: partCount(record.objects[object]!) }, (_, i) => partKey(tenant, record.id, object, i + 1));

const partKey = (tenant: Tenant, id: string, object: number, part: number): string =>
  `${partPrefix(tenant, id, object)}${String(part).padStart(5, '0')}`;

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
  if (announced === undefined || !(Number.isInteger(part) && part >= 1 && part <= partCount(announced))) {
    throw new PacsError('NOT_FOUND', 'the transaction has no such part', { details: { object, part } });
  }
  const { sizeBytes, partBytes } = announced;
  return {
    key: partKey(tenant, record.id, object - 1, part),
    sizeBytes: Math.min(partBytes, sizeBytes - (part - 1) * partBytes),
  };
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
