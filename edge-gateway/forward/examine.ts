import { createHash } from 'node:crypto';
import type { InstanceRecord } from '#core/archive/records.ts';
import { PacsError } from '#core/errors.ts';
import type { BlobStore } from '#core/ports/blob-store.ts';
import { parseMediaType } from '#dicomweb/media-type.ts';
import { readMultipart } from '#dicomweb/multipart.ts';
import type { Upstream, UpstreamResponse } from '../upstream.ts';
import { wholeObject } from './pieces.ts';
import { type Parcel, statedDigest, type Verdict, verdictsIn } from './stow.ts';

/** What the upstream has under an instance's UID. `unstated`: it is there, and the upstream does not say its digest. */
export type Finding = 'same' | 'other' | 'absent' | 'unstated';

const PREAMBLE_BYTES = 128;
/** preamble, DICM, and the element (0002,0000) with its value */
export const FIRST_BYTES = PREAMBLE_BYTES + 4 + 12;
/** (0002,0000), as it lies */
const GROUP_LENGTH = 0x0000_0002;

export type InstanceUIDs = Pick<InstanceRecord, 'StudyInstanceUID' | 'SeriesInstanceUID' | 'SOPInstanceUID'>;

const pathOf = ({ StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID }: InstanceUIDs): string =>
  `/studies/${StudyInstanceUID}/series/${SeriesInstanceUID}/instances/${SOPInstanceUID}`;

/** What HEAD tells of an instance. `isThere` undefined: the server does not answer it. `sha256` undefined: it does not state it */
export interface Stated {
  readonly isThere: boolean | undefined;
  readonly sha256?: string | undefined;
}

/**
 * Whether the upstream has an instance, and the SHA-256 it states of it (RFC 9530 Repr-Digest).
 * @throws PacsError BUSY, OUTCOME_UNKNOWN where that cannot be known now
 */
export async function askStated(upstream: Upstream, instance: InstanceUIDs, signal: AbortSignal): Promise<Stated> {
  const response = await upstream.request({
    method: 'HEAD',
    path: pathOf(instance),
    headers: { accept: 'application/dicom; transfer-syntax=*' },
    probe: true,
    signal,
  });
  await response.discard();
  const { status } = response;
  if (status === 404 || status === 410) return { isThere: false };
  // Servers without HEAD, or that have the object as multipart only.
  if (status === 405 || status === 406 || status === 501 || status === 400) return { isThere: undefined };
  if (status !== 200) throw unknown(status);
  return { isThere: true, sha256: statedDigest(response.headers) };
}

/**
 * Whether the upstream has these very bytes, by the digest it states.
 * @throws PacsError BUSY, OUTCOME_UNKNOWN where that cannot be known now
 */
export async function askDigest(
  upstream: Upstream,
  { instance, object }: Parcel,
  signal: AbortSignal,
): Promise<Finding> {
  const { isThere, sha256 } = await askStated(upstream, instance, signal);
  if (isThere === false) return 'absent';
  if (sha256 === undefined) return 'unstated';
  return sha256 === object.sha256 ? 'same' : 'other';
}

/**
 * Whether the upstream has an instance, by its metadata: any DICOMweb server answers that (PS3.18 §10.4.1.1.2).
 * @throws PacsError BUSY, OUTCOME_UNKNOWN where that cannot be known now
 */
export async function askPresence(upstream: Upstream, instance: InstanceUIDs, signal: AbortSignal): Promise<boolean> {
  const response = await upstream.request({
    method: 'GET',
    path: `${pathOf(instance)}/metadata`,
    headers: { accept: 'application/dicom+json' },
    probe: true,
    signal,
  });
  await response.discard();
  if (response.status === 404 || response.status === 410) return false;
  if (response.status !== 200) throw unknown(response.status);
  return true;
}

/**
 * What the upstream commits to keep, by SOP Instance UID (PS3.18 §13.4). Where the study is named, our own archive tells of what it does not have
 * whether that was deleted. Undefined where it offers no such service, or does not answer at once.
 * @throws PacsError BUSY, OUTCOME_UNKNOWN where that cannot be known now
 */
export async function askCommitment(
  upstream: Upstream,
  TransactionUID: string,
  instances: readonly (Pick<InstanceRecord, 'SOPClassUID' | 'SOPInstanceUID'> &
    Partial<Pick<InstanceRecord, 'StudyInstanceUID'>>)[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Verdict> | undefined> {
  const references = instances.map(({ SOPClassUID, SOPInstanceUID, StudyInstanceUID }) => ({
    '00081150': { vr: 'UI', Value: [SOPClassUID] },
    '00081155': { vr: 'UI', Value: [SOPInstanceUID] },
    ...(StudyInstanceUID !== undefined && { '0020000D': { vr: 'UI', Value: [StudyInstanceUID] } }),
  }));
  const response = await upstream.request({
    method: 'POST',
    path: `/commitment-requests/${TransactionUID}`,
    headers: { accept: 'application/dicom+json', 'content-type': 'application/dicom+json' },
    body: JSON.stringify([{ '00081199': { vr: 'SQ', Value: references } }]),
    probe: true,
    signal,
  });
  if (response.status === 200) return verdictsIn(await response.text());
  await response.discard();
  if (response.status === 401 || response.status === 429 || response.status === 408 || response.status >= 502)
    throw unknown(response.status);
  return undefined;
}

/**
 * The same by fetching the object back: its data set is compared byte for byte, as archives write file meta information of their own.
 * @throws UnreadableHere; PacsError BUSY, OUTCOME_UNKNOWN
 */
export async function retrieveAndCompare(
  upstream: Upstream,
  blobs: BlobStore,
  parcel: Parcel,
  signal: AbortSignal,
): Promise<Exclude<Finding, 'unstated'>> {
  const { object } = parcel;
  const response = await upstream.request({
    method: 'GET',
    path: pathOf(parcel.instance),
    headers: { accept: 'multipart/related; type="application/dicom"; transfer-syntax=*' },
    probe: true,
    signal,
  });
  if (response.status === 404 || response.status === 410) {
    await response.discard();
    return 'absent';
  }
  if (response.status !== 200) {
    await response.discard();
    throw unknown(response.status);
  }
  const theirs = await digestOfFirst(response).catch((error: unknown) => {
    throw signal.aborted ? error : brokenOff(error);
  });
  const ours = createHash('sha256');
  let skip = object.dataSetOffset;
  for await (const piece of wholeObject(blobs, object)) {
    ours.update(piece.subarray(Math.min(skip, piece.byteLength)));
    skip = Math.max(0, skip - piece.byteLength);
  }
  return theirs === ours.digest('hex') ? 'same' : 'other';
}

/** An answer that has begun and cannot be read to its end is about this one: perhaps it always breaks off there, and others can be asked about. */
function brokenOff(error: unknown): unknown {
  if (!(error instanceof PacsError)) return error;
  const { message, details } = error;
  return new PacsError('OUTCOME_UNKNOWN', message, { cause: error, details: { ...details, ofInstance: true } });
}

/** SHA-256 of the data set of the answer's first object; undefined when it holds none that can be read. */
async function digestOfFirst(response: UpstreamResponse): Promise<string | undefined> {
  const media = parseMediaType(response.headers['content-type'] ?? '');
  if (media.type !== 'multipart/related') return dataSetDigest(response.body);
  let first: { readonly digest: string | undefined } | undefined;
  for await (const part of readMultipart(response.body, media.parameters.boundary ?? '')) {
    const digest = await dataSetDigest(part.body);
    first ??= { digest };
  }
  return first?.digest;
}

/** Of what follows the file meta information of a Part 10 object (PS3.10 §7.1); undefined when it is none. */
async function dataSetDigest(body: AsyncIterable<Uint8Array>): Promise<string | undefined> {
  const hash = createHash('sha256');
  let head = Buffer.alloc(0);
  /** of the object, from where the data set is hashed; undefined: not known yet, null: there is no file meta information */
  let dataSetAt: number | null | undefined;
  let passed = 0;
  for await (const chunk of body) {
    if (dataSetAt === null) continue;
    let rest = chunk;
    if (dataSetAt === undefined) {
      head = Buffer.concat([head, chunk]);
      if (head.length < FIRST_BYTES) continue;
      dataSetAt = dataSetOffset(head);
      rest = head;
    }
    if (dataSetAt === null) continue;
    hash.update(rest.subarray(Math.max(0, Math.min(rest.byteLength, dataSetAt - passed))));
    passed += rest.byteLength;
  }
  return typeof dataSetAt === 'number' && passed > dataSetAt ? hash.digest('hex') : undefined;
}

export function dataSetOffset(head: Buffer): number | null {
  const at = PREAMBLE_BYTES + 4;
  const isMeta =
    head.toString('latin1', PREAMBLE_BYTES, at) === 'DICM' &&
    head.readUInt32LE(at) === GROUP_LENGTH &&
    head.toString('latin1', at + 4, at + 6) === 'UL';
  return isMeta ? FIRST_BYTES + head.readUInt32LE(at + 8) : null;
}

/** Of the upstream as a whole: our rights, its load, a proxy before it that cannot reach it. */
const OF_ALL: ReadonlySet<number> = new Set([401, 403, 407, 408, 425, 429, 502, 503, 504, 507, 511]);

const unknown = (status: number): PacsError =>
  new PacsError(
    status >= 500 || status === 429 ? 'BUSY' : 'OUTCOME_UNKNOWN',
    `asked for the instance, it answered ${status}`,
    { details: { ofInstance: status >= 400 && !OF_ALL.has(status) } },
  );
