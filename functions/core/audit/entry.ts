import { createHash } from 'node:crypto';
import type { AuditEvent } from './event.ts';

/**
 * One line of the trail. Each process that writes has a *strand* of its own: its entries are numbered from 0 and each holds the
 * hash of the one before, so nobody waits for a common head, and an entry that is changed, taken out or moved breaks its strand.
 * The line is kept as the text that was hashed: nothing has to be put in canonical form to check it.
 */
export interface AuditEntry extends AuditEvent {
  /** id of the strand */
  readonly strand: string;
  /** place in the strand, from 0 */
  readonly n: number;
  /** lower-case hex: hash of the entry before in the strand; of the strand's id for the first */
  readonly prev: string;
}

export const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** What the first entry of a strand holds as `prev`. */
export const strandStart = (strand: string): string => hashOf(`strand ${strand}`);

/** @throws SyntaxError where the line is no entry */
export function parseEntry(line: string): AuditEntry {
  const entry = JSON.parse(line) as AuditEntry;
  if (typeof entry.strand !== 'string' || !Number.isInteger(entry.n) || typeof entry.prev !== 'string')
    throw new SyntaxError('no entry of an audit trail');
  return entry;
}

/**
 * Root of the Merkle tree over the entries' hashes (RFC 9162 §2.1.1: leaves and nodes are hashed with different prefixes, so none
 * can stand for the other). `leaves`: lower-case hex. Of nothing: the hash of nothing.
 */
export function merkleRoot(leaves: readonly string[]): string {
  if (leaves.length === 0) return hashOf('');
  let level = leaves.map((leaf) => node(0, Buffer.from(leaf, 'hex')));
  while (level.length > 1) {
    const above: Buffer[] = [];
    // An odd one out goes up as it is, which gives the same tree as splitting at the largest power of two.
    for (let i = 0; i < level.length; i += 2)
      above.push(i + 1 < level.length ? node(1, level[i]!, level[i + 1]!) : level[i]!);
    level = above;
  }
  return level[0]!.toString('hex');
}

function node(prefix: 0 | 1, ...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256').update(Uint8Array.of(prefix));
  for (const part of parts) hash.update(part);
  return hash.digest();
}
