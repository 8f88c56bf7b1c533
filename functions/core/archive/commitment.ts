import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { confineKept } from '../access/confine.ts';
import type { KeptReach } from '../access/reach.ts';
import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import { asItem, asRecord, ITEM_LIMIT_BYTES, type Item } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type Deletion, deletionsOf } from './deletions.ts';
import { presentBlobs } from './missing-bytes.ts';
import { type CommitmentRecord, type InstanceRecord, keys, type SopClaim, type Tenant } from './records.ts';

/** Queue of the requests that are still to be answered; payload: tenant and id. */
export const STORAGE_COMMITMENT = 'storage-commitment';

export interface Reference {
  readonly SOPClassUID: string;
  readonly SOPInstanceUID: string;
}

export interface CommitmentRequest {
  readonly id: string;
  readonly aeTitle: string;
  readonly TransactionUID: string;
  readonly references: readonly Reference[];
  /** ms since 1970 */
  readonly requestedAt: number;
  /** of who asked, where he was confined: for the rest the archive does not vouch to him */
  readonly reach?: KeptReach | undefined;
}

/** What the archive can vouch for, and what it cannot, with why (PS3.3 C.14.1.1). */
export interface Commitment {
  readonly committed: readonly Reference[];
  readonly failed: readonly (Reference & { readonly reason: CommitmentFailure })[];
}

export type CommitmentFailure = 'noSuchInstance' | 'classInstanceConflict' | 'processingFailure';

/** A commitment by the archive that keeps the instances: with the SHA-256 of the bytes. */
export interface OwnCommitment extends Commitment {
  readonly committed: readonly (Reference & { readonly sha256: string })[];
  /** `sha256`: a rejection note hides the instance, and its bytes are kept; or it has been deleted, as `deletion` says, and lies in the trash */
  readonly failed: readonly (Commitment['failed'][number] & {
    readonly sha256?: string;
    readonly deletion?: Deletion;
  })[];
}

/** Of an instance whose study is named, it is told as well whether it has been deleted. */
export interface ReferenceInStudy extends Reference {
  readonly StudyInstanceUID?: string | undefined;
}

const RECORD_ROOM_BYTES = 10_000;
const GET_RECORDS = 100;

/**
 * Keeps a request until it has been answered: it survives a restart. The job that answers it becomes visible after `delayMs`.
 * @throws PacsError TOO_LARGE
 */
export async function keepCommitmentRequest(
  { index, jobs, clock }: Services,
  tenant: Tenant,
  request: Omit<CommitmentRequest, 'id' | 'requestedAt'>,
  delayMs: number,
): Promise<CommitmentRequest> {
  const { aeTitle, TransactionUID, reach } = request;
  const pairs = request.references.map(({ SOPClassUID, SOPInstanceUID }) => [SOPClassUID, SOPInstanceUID]);
  const references = deflateRawSync(JSON.stringify(pairs));
  if (references.length > ITEM_LIMIT_BYTES - RECORD_ROOM_BYTES)
    throw new PacsError('TOO_LARGE', 'too many instances in one request');
  const id = newVersion(clock);
  const requestedAt = clock.now();
  const record: CommitmentRecord = { id, aeTitle, TransactionUID, references, requestedAt, ...(reach && { reach }) };
  await index.write([{ kind: 'put', key: keys.commitment(tenant, id), item: asItem(record) }]);
  await jobs.enqueue(STORAGE_COMMITMENT, { tenant, id }, { delayMs });
  return { id, requestedAt, ...request };
}

/** undefined once it has been answered. */
export async function commitmentRequest(
  { index }: Services,
  tenant: Tenant,
  id: string,
): Promise<CommitmentRequest | undefined> {
  const item = await index.get(keys.commitment(tenant, id));
  if (!item) return undefined;
  const { aeTitle, TransactionUID, references, requestedAt, reach } = asRecord<CommitmentRecord>(item);
  const pairs = JSON.parse(inflateRawSync(references).toString()) as [string, string][];
  return {
    id,
    aeTitle,
    TransactionUID,
    requestedAt,
    ...(reach && { reach }),
    references: pairs.map(([SOPClassUID, SOPInstanceUID]) => ({ SOPClassUID, SOPInstanceUID })),
  };
}

export async function forgetCommitmentRequest({ index }: Services, tenant: Tenant, id: string): Promise<void> {
  await index.write([{ kind: 'delete', key: keys.commitment(tenant, id) }]);
}

/**
 * Committed is an instance whose record says which bytes are kept, by their SHA-256: it is written when they are durable. In a second region the record may
 * come before the bytes; nothing is vouched for that is not there (processingFailure: it may be in a while).
 */
export async function commitmentOf(
  services: Services,
  tenant: Tenant,
  { references, reach }: Pick<CommitmentRequest, 'reach'> & { readonly references: readonly ReferenceInStudy[] },
): Promise<OwnCommitment> {
  const confined = confineKept(services, tenant, reach, 'commit');
  const { index } = confined;
  const found: (OwnCommitment['committed'][number] & { readonly blobKey: string })[] = [];
  const failed: OwnCommitment['failed'][number][] = [];
  for (let at = 0; at < references.length; at += GET_RECORDS) {
    const batch = references.slice(at, at + GET_RECORDS);
    const claims = await index.getMany(batch.map(({ SOPInstanceUID }) => keys.sop(tenant, SOPInstanceUID)));
    const owned = claims.map((item) => usable(item));
    const records = await index.getMany(
      batch.map(({ SOPInstanceUID }, i) =>
        keys.instance(tenant, owned[i]?.StudyInstanceUID ?? '-', owned[i]?.SeriesInstanceUID ?? '-', SOPInstanceUID),
      ),
    );
    for (const [i, { SOPClassUID, SOPInstanceUID }] of batch.entries()) {
      const reference: Reference = { SOPClassUID, SOPInstanceUID };
      const record = records[i] && asRecord<InstanceRecord>(records[i]);
      if (owned[i] === undefined || record === undefined || record.sha256 !== owned[i].sha256)
        failed.push({ ...reference, reason: 'noSuchInstance', ...rejected(claims[i]) });
      else if (record.SOPClassUID !== reference.SOPClassUID)
        failed.push({ ...reference, reason: 'classInstanceConflict' });
      else found.push({ ...reference, sha256: record.sha256, blobKey: record.blobKey });
    }
  }
  const present = await presentBlobs(
    services,
    found.map(({ blobKey }) => blobKey),
  );
  const committed: OwnCommitment['committed'][number][] = [];
  for (const { blobKey, sha256, ...reference } of found)
    if (present === undefined || present.has(blobKey)) committed.push({ ...reference, sha256 });
    else failed.push({ ...reference, reason: 'processingFailure' });
  return { committed, failed: await withDeletions(confined, tenant, references, failed) };
}

/** Only what nothing is known of by a claim can have been deleted: a claim has gone to the trash with it. */
async function withDeletions(
  { index, clock, limits }: Services,
  tenant: Tenant,
  references: readonly ReferenceInStudy[],
  failed: OwnCommitment['failed'],
): Promise<OwnCommitment['failed']> {
  const studies = new Map(references.map((one) => [one.SOPInstanceUID, one.StudyInstanceUID]));
  const missing = failed.flatMap(({ SOPInstanceUID, reason, sha256 }) => {
    const StudyInstanceUID = studies.get(SOPInstanceUID);
    const isMissing = reason === 'noSuchInstance' && sha256 === undefined && StudyInstanceUID !== undefined;
    return isMissing ? [{ StudyInstanceUID, SOPInstanceUID }] : [];
  });
  const deletions = await deletionsOf(index, tenant, missing, clock.now(), limits.trashMs);
  return failed.map((one) => {
    const deletion = deletions.get(one.SOPInstanceUID);
    return deletion === undefined ? one : { ...one, sha256: deletion.sha256, deletion };
  });
}

const rejected = (item: Item | undefined): { sha256?: string } => {
  const claim = asRecord<SopClaim>(item);
  return claim?.rejectedBy === undefined || claim.ahead !== undefined ? {} : { sha256: claim.sha256 };
};

const usable = (item: Item | undefined): SopClaim | undefined => {
  const claim = asRecord<SopClaim>(item);
  return claim?.rejectedBy === undefined ? claim : undefined;
};
