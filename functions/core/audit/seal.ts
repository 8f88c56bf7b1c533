import { PacsError } from '../errors.ts';
import { asRecord, WRITE_LIMIT_OPERATIONS } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { hashOf, merkleRoot } from './entry.ts';
import { auditPartition } from './trail.ts';

/** Signs what the trail is sealed with; the private key is the host's affair (a file, a key service). */
export interface AuditSigner {
  /** names the public key: the first 16 hex digits of the SHA-256 of its SPKI DER */
  readonly keyId: string;
  /** Ed25519 or ECDSA P-256 with SHA-256 (DER), over `bytes` */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

/** What a segment of the trail is signed with. */
export interface Seal {
  readonly tenant: string;
  /** number of the segment, from 0 */
  readonly segment: number;
  /** hash of the statement of the segment before; of nothing for the first */
  readonly prev: string;
  readonly entries: number;
  /** root of the Merkle tree over the hashes of the entries' lines */
  readonly root: string;
  /** ms since 1970, of the first and last entry and of the sealing */
  readonly firstAt: number;
  readonly lastAt: number;
  readonly sealedAt: number;
  readonly keyId: string;
}

/** The last line of a segment. `statement` is the text of the Seal as it was signed. */
export interface SealLine {
  readonly statement: string;
  /** base64 */
  readonly signature: string;
  /** hashes of the lines above, in their order */
  readonly leaves: readonly string[];
}

/** How far a tenant's trail is sealed. */
interface SealHead {
  version: number;
  segments: number;
  to: string;
  /** hash of the newest statement */
  hash: string;
}

const headKey = (tenant: string) => ({ partition: `${tenant}|auditseal`, sort: 'head' });
/** The seals by the time of their last entry: where a search by time starts to read. */
const sealKey = (tenant: string, { lastAt, segment }: Seal) => ({
  partition: `${tenant}|auditseals`,
  sort: `${String(lastAt).padStart(14, '0')}|${String(segment).padStart(10, '0')}`,
});

/** Blobs of sealed segments: NDJSON, the entries' lines and the SealLine. Nothing ever removes them. */
export const segmentPrefix = (tenant: string): string => `${tenant}/audit/`;
const segmentKey = (tenant: string, segment: number): string =>
  `${segmentPrefix(tenant)}${String(segment).padStart(10, '0')}.ndjson`;

/**
 * Seals what has been recorded since the last seal: one segment of at most `auditSegmentEntries` entries, written as a blob and signed.
 * Any process may do it at any time.
 *
 * The race: two sealers make segment n. Its blob is create-only, so one of them wins; the other, and whoever comes after a sealer that
 * died between blob and head, takes what stands in the blob for the segment.
 *
 * @returns the seal, or undefined when there was nothing to seal
 */
export async function sealAudit(
  { index, blobs, clock, limits }: Pick<Services, 'index' | 'blobs' | 'clock' | 'limits'>,
  tenant: string,
  signer: AuditSigner,
): Promise<Seal | undefined> {
  const found = asRecord<SealHead>(await index.get(headKey(tenant)));
  const head = found ?? { version: 0, segments: 0, to: '', hash: hashOf('') };
  const { records } = await index.query({
    partition: auditPartition(tenant),
    log: true,
    limit: limits.auditSegmentEntries,
    ...(head.to === '' ? {} : { after: head.to }),
  });
  if (records.length === 0) return undefined;
  const { text, seal } = await signedSegment(
    records.map(({ item }) => item.line as string),
    { tenant, segment: head.segments, prev: head.hash, sealedAt: clock.now() },
    signer,
  );
  const key = segmentKey(tenant, seal.segment);
  try {
    await blobs.put(key, Buffer.from(text));
    await moveHead(index, tenant, found, readSeal(text), records.at(-1)!.sort);
    return seal;
  } catch (error) {
    if (!(error instanceof PacsError) || error.code !== 'CONFLICT') throw error;
    const written = readSeal(Buffer.from(await blobs.readBytes(key)).toString());
    const { entries } = written.seal;
    if (records.length < entries) return undefined;
    await moveHead(index, tenant, found, written, records[entries - 1]!.sort);
    return written.seal;
  }
}

async function signedSegment(
  lines: readonly string[],
  place: Pick<Seal, 'tenant' | 'segment' | 'prev' | 'sealedAt'>,
  signer: AuditSigner,
): Promise<{ text: string; seal: Seal }> {
  const leaves = lines.map(hashOf);
  const timeOf = (line: string): number => (JSON.parse(line) as { at: number }).at;
  const seal: Seal = {
    ...place,
    entries: lines.length,
    root: merkleRoot(leaves),
    firstAt: timeOf(lines[0]!),
    lastAt: timeOf(lines.at(-1)!),
    keyId: signer.keyId,
  };
  const statement = JSON.stringify(seal);
  const signature = Buffer.from(await signer.sign(Buffer.from(statement))).toString('base64');
  const sealLine: SealLine = { statement, signature, leaves };
  return { text: `${[...lines, JSON.stringify(sealLine)].join('\n')}\n`, seal };
}

/** The seal of a segment's text, unchecked, and the hash that the next one names. @throws SyntaxError */
export function readSeal(segment: string): { readonly seal: Seal; readonly hash: string } {
  const { statement } = JSON.parse(segment.trimEnd().split('\n').at(-1)!) as SealLine;
  return { seal: JSON.parse(statement) as Seal, hash: hashOf(statement) };
}

/** A lost race leaves the head to whoever won it. */
async function moveHead(
  index: Services['index'],
  tenant: string,
  found: SealHead | undefined,
  { seal, hash }: ReturnType<typeof readSeal>,
  to: string,
): Promise<void> {
  const version = (found?.version ?? 0) + 1;
  const head: SealHead = { version, segments: seal.segment + 1, to, hash };
  await index.write([
    { kind: 'put', key: headKey(tenant), item: { ...head }, if: found ? { version: found.version } : 'absent' },
    { kind: 'put', key: sealKey(tenant, seal), item: { to, segment: seal.segment } },
  ]);
}

/**
 * Puts the sealed segments back into an index that was made anew, so that the trail goes on where it was.
 * @returns the number of segments
 */
export async function restoreAudit(
  { index, blobs }: Pick<Services, 'index' | 'blobs'>,
  tenant: string,
): Promise<number> {
  let head: SealHead | undefined;
  for await (const { key } of blobs.list(segmentPrefix(tenant))) {
    const text = Buffer.from(await blobs.readBytes(key)).toString();
    const lines = text.trimEnd().split('\n').slice(0, -1);
    let to = head?.to ?? '';
    for (let at = 0; at < lines.length; at += WRITE_LIMIT_OPERATIONS) {
      const batch = lines.slice(at, at + WRITE_LIMIT_OPERATIONS);
      await index.write(
        batch.map((line) => ({ kind: 'append', partition: auditPartition(tenant), item: { line } }) as const),
      );
    }
    const { records } = await index.query({
      partition: auditPartition(tenant),
      log: true,
      limit: lines.length,
      ...(to === '' ? {} : { after: to }),
    });
    to = records.at(-1)!.sort;
    const sealed = readSeal(text);
    await moveHead(index, tenant, head, sealed, to);
    head = { version: (head?.version ?? 0) + 1, segments: sealed.seal.segment + 1, to, hash: sealed.hash };
  }
  return head?.segments ?? 0;
}

/** How far the trail is sealed: the hash of the newest statement and the cursor it reaches. */
export async function sealedUpTo(
  { index }: Pick<Services, 'index'>,
  tenant: string,
): Promise<{ readonly segments: number; readonly to: string; readonly hash: string }> {
  const head = asRecord<SealHead>(await index.get(headKey(tenant)));
  return head ?? { segments: 0, to: '', hash: hashOf('') };
}

/** A cursor in the trail behind which every entry later than `at` stands: where a search from that time on may start. */
export async function cursorBefore({ index }: Pick<Services, 'index'>, tenant: string, at: number): Promise<string> {
  const { records } = await index.query({
    partition: `${tenant}|auditseals`,
    to: String(at).padStart(14, '0'),
    descending: true,
    limit: 1,
  });
  return (records[0]?.item.to as string | undefined) ?? '';
}

/** How far the clocks of the processes that write one trail may be apart, and an entry may wait to be written. */
const APART_MS = 5 * 60 * 1000;

/** A cursor up to which every entry earlier than `at` stands: where a search back from that time may start. '' for the newest entry. */
export async function cursorBehind({ index }: Pick<Services, 'index'>, tenant: string, at: number): Promise<string> {
  if (!Number.isFinite(at)) return '';
  const { records } = await index.query({
    partition: `${tenant}|auditseals`,
    from: String(at + APART_MS).padStart(14, '0'),
    limit: 1,
  });
  return (records[0]?.item.to as string | undefined) ?? '';
}

/**
 * Whether sealed segments stand beside the objects that the index knows nothing of: it is an older copy. One more there may be at any time, as a blob is
 * written before the head is moved.
 */
export async function isBehindSegments(
  { index, blobs }: Pick<Services, 'index' | 'blobs'>,
  tenant: string,
): Promise<boolean> {
  for (;;) {
    const { segments } = await sealedUpTo({ index }, tenant);
    if ((await blobs.head(segmentKey(tenant, segments + 1))) === undefined) return false;
    // Another process may be sealing.
    if ((await sealedUpTo({ index }, tenant)).segments === segments) return true;
  }
}
