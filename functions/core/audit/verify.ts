import { type KeyObject, verify as verifySignature } from 'node:crypto';
import type { Services } from '../services.ts';
import { type AuditEntry, hashOf, merkleRoot, parseEntry, strandStart } from './entry.ts';
import { readSeal, type Seal, type SealLine, sealedUpTo, segmentPrefix } from './seal.ts';
import { auditPartition } from './trail.ts';

/** The first thing that is wrong with a trail. */
export interface AuditDefect {
  readonly kind:
    | 'altered'
    | 'missing'
    | 'inserted'
    | 'reordered'
    | 'badSignature'
    | 'unknownKey'
    | 'segmentMissing'
    | 'segmentAltered'
    | 'truncated';
  readonly segment: number;
  /** place of the entry in its segment, from 0; in the index: behind the sealed ones */
  readonly entry?: number | undefined;
}

export interface AuditReport {
  readonly segments: number;
  readonly entries: number;
  /** hash of the newest seal's statement: kept elsewhere, it proves later that nothing was cut off behind it */
  readonly head: string;
  /** whose trail it is, by its seals; undefined where none could be read */
  readonly tenant?: string | undefined;
  /** undefined: the trail is whole */
  readonly defect: AuditDefect | undefined;
}

export interface AuditKeys {
  /** public keys by their id */
  readonly keys: ReadonlyMap<string, KeyObject>;
  /** hash of a seal that must be in the trail */
  readonly expectedHead?: string | undefined;
  /** whose trail it must be; absent: that of the first segment, all along */
  readonly tenant?: string | undefined;
}

/** Where each strand has come to: the hash its next entry must hold. */
type Strands = Map<string, { n: number; hash: string }>;

/**
 * Checks sealed segments, in their order, with nothing but the public keys. Stops at the first defect.
 * @param segments texts of the segments' blobs
 */
export async function verifySegments(
  segments: AsyncIterable<string> | Iterable<string>,
  { keys, expectedHead, tenant: expectedTenant }: AuditKeys,
  strands: Strands = new Map(),
): Promise<AuditReport> {
  let tenant = expectedTenant;
  let count = 0;
  let entries = 0;
  let head = hashOf('');
  let isExpectedSeen = expectedHead === undefined || expectedHead === head;
  for await (const text of segments) {
    const checked = checkSegment(text, count, head, keys, strands);
    if ('kind' in checked) return { segments: count, entries, head, tenant, defect: checked };
    // All trails of an archive are signed by the same key: one must not stand for another.
    tenant ??= checked.seal.tenant;
    if (checked.seal.tenant !== tenant)
      return { segments: count, entries, head, tenant, defect: { kind: 'segmentAltered', segment: count } };
    count++;
    entries += checked.seal.entries;
    head = checked.hash;
    isExpectedSeen ||= head === expectedHead;
  }
  const defect: AuditDefect | undefined = isExpectedSeen ? undefined : { kind: 'truncated', segment: count };
  return { segments: count, entries, head, tenant, defect };
}

function checkSegment(
  text: string,
  number: number,
  head: string,
  keys: AuditKeys['keys'],
  strands: Strands,
): { seal: Seal; hash: string } | AuditDefect {
  const lines = text.trimEnd().split('\n');
  let sealLine: SealLine;
  let seal: Seal;
  try {
    sealLine = JSON.parse(lines.pop() ?? '') as SealLine;
    seal = JSON.parse(sealLine.statement) as Seal;
  } catch {
    return { kind: 'segmentAltered', segment: number };
  }
  const key = keys.get(seal.keyId);
  if (key === undefined) return { kind: 'unknownKey', segment: number };
  if (!verifiedBy(key, sealLine)) return { kind: 'badSignature', segment: number };
  // The signature holds: the statement is what the archive said. A number too high means that segments before it are gone.
  if (seal.segment !== number || seal.prev !== head)
    return { kind: seal.segment > number ? 'segmentMissing' : 'segmentAltered', segment: number };
  const { leaves } = sealLine;
  if (leaves.length !== seal.entries || merkleRoot(leaves) !== seal.root) {
    // The list of hashes was changed with the lines: the strands still tell which.
    return brokenStrand(lines, number, strands) ?? { kind: 'segmentAltered', segment: number };
  }
  const hashes = lines.map(hashOf);
  const differing = leaves.findIndex((leaf, i) => hashes[i] !== leaf);
  if (differing >= 0) return { kind: kindOf(leaves, hashes, differing), segment: number, entry: differing };
  if (hashes.length > leaves.length) return { kind: 'inserted', segment: number, entry: leaves.length };
  return brokenStrand(lines, number, strands) ?? { seal, hash: hashOf(sealLine.statement) };
}

/** What became of the entry that should stand at `at`. */
function kindOf(leaves: readonly string[], hashes: readonly string[], at: number): AuditDefect['kind'] {
  if (hashes.length === leaves.length) return hashes.includes(leaves[at]!) ? 'reordered' : 'altered';
  if (hashes.length < leaves.length) return 'missing';
  return 'inserted';
}

const verifiedBy = (key: KeyObject, { statement, signature }: SealLine): boolean =>
  verifySignature(
    key.asymmetricKeyType === 'ed25519' ? null : 'sha256',
    Buffer.from(statement),
    key,
    Buffer.from(signature, 'base64'),
  );

/** The first line that does not continue its strand: entries before it are missing, or the one before it is not what it was. */
function brokenStrand(lines: readonly string[], segment: number, strands: Strands): AuditDefect | undefined {
  for (const [entry, line] of lines.entries()) {
    const kind = breakIn(line, strands);
    if (kind !== undefined) return { kind, segment, entry };
  }
  return undefined;
}

/** What is wrong between a line and the strand so far; notes where the strand has come to. */
function breakIn(line: string, strands: Strands): 'altered' | 'missing' | undefined {
  let entry: AuditEntry;
  try {
    entry = parseEntry(line);
  } catch {
    return 'altered';
  }
  const before = strands.get(entry.strand) ?? { n: 0, hash: strandStart(entry.strand) };
  strands.set(entry.strand, { n: entry.n + 1, hash: hashOf(line) });
  if (entry.n > before.n) return 'missing';
  return entry.n === before.n && entry.prev === before.hash ? undefined : 'altered';
}

/**
 * Checks a tenant's trail where it is kept: the sealed segments, that none is missing at the end, that the index still holds the same
 * lines, and the strands of what has not been sealed yet. It may be sealed meanwhile: what stood before the look at the segments is among
 * them, and behind what stands after it there is one at most, of which the head does not know yet, or never will from a sealer that died.
 */
export async function verifyAudit(
  services: Pick<Services, 'index' | 'blobs'>,
  tenant: string,
  audit: AuditKeys,
): Promise<AuditReport> {
  const strands: Strands = new Map();
  const before = await sealedUpTo(services, tenant);
  /** what the segments say that the head was then */
  let headBefore = hashOf('');
  /** how far the index has been read beside the segments */
  let cursor = '';
  let defectInIndex: AuditDefect | undefined;
  async function* texts(): AsyncGenerator<string> {
    let number = 0;
    for await (const { key } of services.blobs.list(segmentPrefix(tenant))) {
      const text = Buffer.from(await services.blobs.readBytes(key)).toString();
      yield text;
      const lines = text.trimEnd().split('\n').slice(0, -1);
      const { records } = await services.index.query({
        partition: auditPartition(tenant),
        log: true,
        limit: Math.max(1, lines.length),
        ...(cursor === '' ? {} : { after: cursor }),
      });
      const differing = lines.findIndex((line, i) => records[i]?.item.line !== line);
      if (differing >= 0) defectInIndex ??= { kind: 'altered', segment: number, entry: differing };
      cursor = records.at(-1)?.sort ?? cursor;
      number++;
      if (number === before.segments) headBefore = readSeal(text).hash;
    }
  }
  const report = await verifySegments(texts(), { ...audit, tenant }, strands);
  const defect = report.defect ?? defectInIndex;
  if (defect !== undefined) return { ...report, defect };
  const { segments } = await sealedUpTo(services, tenant);
  if (headBefore !== before.hash || report.segments > segments + 1)
    return { ...report, defect: { kind: 'truncated', segment: report.segments } };
  let unsealed = 0;
  for (let after = cursor; ; ) {
    const page = await services.index.query({
      partition: auditPartition(tenant),
      log: true,
      limit: 1000,
      ...(after === '' ? {} : { after }),
    });
    for (const { sort, item } of page.records) {
      const kind = breakIn(item.line as string, strands);
      if (kind !== undefined) return { ...report, defect: { kind, segment: report.segments, entry: unsealed } };
      unsealed++;
      after = sort;
    }
    if (!page.more) return { ...report, entries: report.entries + unsealed };
  }
}
