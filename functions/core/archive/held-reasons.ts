import type { ConflictKind } from './records.ts';

/** Why an object was held, in words for a person. */
export const HELD_REASONS: Readonly<Record<ConflictKind, string>> = {
  otherPatient: 'the same SOPInstanceUID arrived for another patient',
  otherStudy: 'the same SOPInstanceUID arrived in another study',
  otherSopClass: 'the same SOPInstanceUID arrived as another kind of object',
  otherTransferSyntax: 'the same SOPInstanceUID arrived in another transfer syntax',
  otherPixels: 'the same SOPInstanceUID arrived with other pixel data',
  otherHeader: 'the same pixel data arrived with another header',
  uploaded: 'it was sent in by a share link',
};

const HELD = 'held in quarantine: ';

/** What the archive says of a held object in an Error Comment (0000,0902). */
export const heldComment = (kind: ConflictKind): string => `${HELD}${kind}`;

/** Why another archive of our kind holds an object, by its comment; undefined: it does not, or is of another kind. */
export function heldKindOf(comment: unknown): ConflictKind | undefined {
  if (typeof comment !== 'string' || !comment.startsWith(HELD)) return undefined;
  const kind = comment.slice(HELD.length);
  return Object.hasOwn(HELD_REASONS, kind) ? (kind as ConflictKind) : undefined;
}
