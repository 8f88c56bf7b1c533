import { HELD_REASONS, heldKindOf } from '../archive/held-reasons.ts';
import type { ConflictKind } from '../archive/records.ts';
import type { DataSet } from '../dicom/types.ts';

/**
 * Private elements of each instance that is stored: the SHA-256 (hex) of the bytes kept. A sender that compares it knows that they
 * are the ones it sent, without asking again.
 */
export const DIGEST = { creator: '00090010', name: 'NEPHOS', sha256: '00091001' } as const;
/** Private elements beside these: when an instance that is not there was deleted on purpose (DT, UTC), and why. The digest is of the bytes in the trash. */
export const DELETION = { deletedAt: '00091002', reason: '00091003' } as const;

/** What a receiver said of one instance. */
export type Verdict =
  | { readonly kind: 'stored'; readonly sha256: string | undefined }
  /** `sha256`: the bytes are kept all the same, and hidden. `deletedAt`: they lie in the trash since (ms since 1970). `held`: they are kept aside, and why */
  | {
      readonly kind: 'refused';
      readonly failureReason: number;
      readonly sha256?: string | undefined;
      readonly deletedAt?: number | undefined;
      readonly held?: ConflictKind | undefined;
    };

/** By SOPInstanceUID (PS3.18 Table I.1-1); undefined when that is no Store Instances Response. */
export function verdictsIn(text: string): ReadonlyMap<string, Verdict> | undefined {
  let response: DataSet;
  try {
    const parsed: unknown = JSON.parse(text);
    // Some servers answer with a list of one.
    response = (Array.isArray(parsed) ? parsed[0] : parsed) as DataSet;
  } catch {
    return undefined;
  }
  if (typeof response !== 'object' || response === null) return undefined;
  const verdicts = new Map<string, Verdict>();
  for (const item of itemsOf(response, '00081199'))
    verdicts.set(String(firstOf(item, '00081155')), { kind: 'stored', sha256: digestIn(item) });
  for (const item of itemsOf(response, '00081198')) {
    const sha256 = digestIn(item);
    const failureReason = Number(firstOf(item, '00081197') ?? 0x0110);
    const held = heldKindOf(firstOf(itemsOf(item, '00741048')[0] ?? {}, '00000902'));
    const deletedAt = sha256 === undefined ? undefined : timeIn(firstOf(item, DELETION.deletedAt));
    verdicts.set(String(firstOf(item, '00081155')), {
      ...{ kind: 'refused', failureReason },
      ...(sha256 && { sha256 }),
      ...(deletedAt !== undefined && { deletedAt }),
      ...(held !== undefined && { held }),
    });
  }
  return verdicts;
}

/** Why a receiver refused an instance, in words for a person, with the Failure Reason (0008,1197) in hexadecimal. */
export function refusalInWords({ failureReason, held }: Extract<Verdict, { kind: 'refused' }>): string {
  const code = `${failureReason.toString(16).toUpperCase().padStart(4, '0')}H`;
  return held === undefined
    ? `it refused it: ${code}`
    : `it keeps it aside, for a person to decide there: ${HELD_REASONS[held]} (${code})`;
}

function digestIn(item: DataSet): string | undefined {
  const sha256 = firstOf(item, DIGEST.creator) === DIGEST.name ? firstOf(item, DIGEST.sha256) : undefined;
  return typeof sha256 === 'string' ? sha256 : undefined;
}

/** DT with its offset from UTC, of our own form. */
function timeIn(value: unknown): number | undefined {
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d\.\d{3})\+0000$/.exec(String(value));
  if (parts === null) return undefined;
  const [, year, month, day, hour, minute, second] = parts;
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}

/** @param ms since 1970 */
export const timeOfDeletion = (ms: number): string => `${new Date(ms).toISOString().replace(/[-:TZ]/g, '')}+0000`;

function itemsOf(dataSet: DataSet, tag: string): DataSet[] {
  const items: unknown = dataSet[tag]?.Value;
  return Array.isArray(items) ? items.filter((item): item is DataSet => typeof item === 'object' && item !== null) : [];
}
const firstOf = (dataSet: DataSet, tag: string): unknown => dataSet[tag]?.Value?.[0];

/** PS3.18 Table I.2-2: out of resources, now; the rest will be refused again. */
export const isForNow = (failureReason: number): boolean => (failureReason & 0xff00) === 0xa700;
