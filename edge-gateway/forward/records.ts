import type { Tenant } from '#core/archive/records.ts';
import type { Key } from '#core/ports/index-table.ts';
import type { Evidence, SendPriority } from '../config.ts';

/**
 * What the gateway knows of each instance on its way to each destination. It stands in the local archive's index, so that one atomic
 * write moves an instance from one state to the next.
 *
 *   pending ──→ sending ──→ confirmed      sending: a request that carries it has begun; after a crash its outcome is unknown
 *     ↑ │          │                       confirmed: the upstream vouches for its SHA-256
 *     │ └──────────┴──────→ held           held: refused for good; a person releases it
 *     └─────────────────────┘              unwanted: a person has said that it need not go there
 *   confirmed ──→ held                     it is asked for before its copy here is evicted, and is not there any more (`missing`)
 *
 * | record      | partition                       | sort                        | holds                                      |
 * |-------------|---------------------------------|-----------------------------|--------------------------------------------|
 * | forward     | t|forward|of|{SOP}              | {destination}               | ForwardRecord; '-' where none wanted it    |
 * | queue       | t|forward|queue|{destination}   | {queue key}                 | QueueItem: pending and sending, in order   |
 * | later       | t|forward|later|{destination}   | {due ms}|{queue key}        | QueueItem: pending, not before that time   |
 * | held        | t|forward|held|{destination}    | {queue key}                 | QueueItem                                  |
 * | study order | t|forward|study|{Study}         | study                       | StudyOrder                                 |
 * | counts      | t|forward|counts                | {destination}               | ForwardCounts                              |
 * | cursor      | t|forward|cursor                | cursor                      | { version, cursor }: events taken in       |
 */
export interface ForwardRecord {
  /** optimistic lock */
  version: number;
  state: 'pending' | 'sending' | 'confirmed' | 'held' | 'unwanted';
  StudyInstanceUID: string;
  SeriesInstanceUID: string;
  SOPInstanceUID: string;
  SOPClassUID: string;
  /** of the object as received */
  sha256: string;
  sizeBytes: number;
  queueKey: string;
  /** of a pending one: where it stands while it waits for its time (ms since 1970) */
  due?: number | undefined;
  /** the outcome of an attempt is unknown: the upstream is asked before it is sent again */
  ask?: boolean | undefined;
  /** consecutive failures that were its own */
  attempts: number;
  /** how often the upstream has refused it for good */
  refusals: number;
  /** of a held one, and of the last failure: for people; no values of data sets */
  reason?: string | undefined;
  /** the object as it is sent, where it is compressed on the way */
  sent?: SentObject | undefined;
  queuedAt: number;
  confirmedAt?: number | undefined;
  /** `person`: one has said that it need not be there any more */
  evidence?: Evidence | 'person' | undefined;
  /** of the object as it was sent, and is kept there, where that is not as received */
  upstreamSha256?: string | undefined;
  /** of a held one: it had been confirmed, and then was not there any more */
  missing?: boolean | undefined;
  /** of a held one: the destination has other bytes under its UID, and keeps these aside for a person to decide there */
  keptAside?: boolean | undefined;
  /** it came from there: confirmed, and never counted */
  fetched?: boolean | undefined;
}

export interface SentObject {
  readonly blobKey: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly transferSyntaxUID: string;
  readonly dataSetOffset: number;
}

export interface QueueItem {
  SOPInstanceUID: string;
  sizeBytes: number;
}

/** Where a study's instances stand in the queues: together, by the study's priority and its arrival. */
export interface StudyOrder {
  priority: SendPriority;
  /** of its first instance, or of the first one after a long pause (ms since 1970) */
  arrivedAt: number;
  /** of its latest instance, within some minutes */
  lastAt: number;
}

/** Exact: they change in the same writes as what they count. `pending` includes what is being sent. */
export interface ForwardCounts {
  pending: number;
  pendingBytes: number;
  held: number;
  heldBytes: number;
  confirmed: number;
  confirmedBytes: number;
}

export const NO_COUNTS: ForwardCounts = {
  pending: 0,
  pendingBytes: 0,
  held: 0,
  heldBytes: 0,
  confirmed: 0,
  confirmedBytes: 0,
};

/** Counts a record where its state belongs, or takes it back. */
export function countIn(
  counts: ForwardCounts,
  { state, sizeBytes }: Pick<ForwardRecord, 'state' | 'sizeBytes'>,
  sign: 1 | -1,
): void {
  if (state === 'unwanted') return;
  const name = state === 'sending' ? 'pending' : state;
  counts[name] += sign;
  counts[`${name}Bytes`] += sign * sizeBytes;
}

/** Stands for a destination where no destination wanted an instance: so it is known to have been looked at. */
export const NOBODY = '-';

/** The most urgent first. */
export const PRIORITIES: readonly SendPriority[] = ['stat', 'high', 'routine', 'low'];
const RANK: Readonly<Record<SendPriority, string>> = { stat: '0', high: '1', routine: '2', low: '3' };
export const RANKS = Object.values(RANK);
export const STAT_PREFIX = `${RANK.stat}|`;
const TIME_DIGITS = 13;
const timeKey = (ms: number): string => String(Math.max(0, Math.floor(ms))).padStart(TIME_DIGITS, '0');

/** By priority, then by the arrival of the study, so that it travels together, then by the order of the events. */
export const queueKeyOf = ({ priority, arrivedAt }: StudyOrder, study: string, cursor: string): string =>
  `${RANK[priority]}|${timeKey(arrivedAt)}|${study}|${cursor}`;
export const arrivalIn = (queueKey: string): number => Number(queueKey.split('|')[1]);
export const dueIn = (laterSort: string): number => Number(laterSort.slice(0, TIME_DIGITS));
/** Behind everything that is due. */
export const laterBound = (now: number): string => timeKey(now + 1);

export const forwardKeys = {
  forward: (t: Tenant, sop: string, destination: string): Key => ({
    partition: `${t}|forward|of|${sop}`,
    sort: destination,
  }),
  queue: (t: Tenant, destination: string, queueKey: string): Key => ({
    partition: `${t}|forward|queue|${destination}`,
    sort: queueKey,
  }),
  later: (t: Tenant, destination: string, due: number, queueKey: string): Key => ({
    partition: `${t}|forward|later|${destination}`,
    sort: `${timeKey(due)}|${queueKey}`,
  }),
  held: (t: Tenant, destination: string, queueKey: string): Key => ({
    partition: `${t}|forward|held|${destination}`,
    sort: queueKey,
  }),
  study: (t: Tenant, study: string): Key => ({ partition: `${t}|forward|study|${study}`, sort: 'study' }),
  /** { latestAt }: the latest arrival from a modality that others have been told of (ms since 1970) */
  told: (t: Tenant, study: string): Key => ({ partition: `${t}|forward|told`, sort: study }),
  urgent: (t: Tenant, study: string): Key => ({ partition: `${t}|forward|urgent`, sort: study }),
  counts: (t: Tenant, destination: string): Key => ({ partition: `${t}|forward|counts`, sort: destination }),
  cursor: (t: Tenant): Key => ({ partition: `${t}|forward|cursor`, sort: 'cursor' }),
} as const;
