import { setTimeout as sleep } from 'node:timers/promises';
import { readFeed } from '#core/archive/feed.ts';
import { type ArchiveEvent, keys, type Tenant } from '#core/archive/records.ts';
import { describeError } from '#core/errors.ts';
import { asRecord, recordsIn, type WriteOperation } from '#core/ports/index-table.ts';
import type { BackgroundWorker, EdgeContext } from '../context.ts';
import { type ForwardRecord, forwardKeys, NOBODY, type StudyOrder } from './records.ts';
import { rejectedKey } from './rejected.ts';

/**
 * The ledger is what is known of every instance that ever came through: its forward records, and that it was evicted. It answers storage
 * commitment, and knows a resend. Here it is kept from growing for ever: what was settled long ago is forgotten, the oldest first, and only
 * of studies of which nothing is here any more. A resend is then an instance like any other: it is stored, forwarded, and known upstream by
 * its SHA-256.
 *
 * | record | partition         | sort      | holds                                                                        |
 * |--------|-------------------|-----------|------------------------------------------------------------------------------|
 * | size   | t|forward|ledger  | records   | { records }: how many forward records there are                              |
 * | cursor | t|forward|ledger  | forgotten | { cursor }: events of the feed that have been looked at                      |
 * | kept   | t|forward|kept    | {SOP}     | { study }: was not to be forgotten when its turn came; is looked at each time |
 */
export const ledgerKeys = {
  size: (t: Tenant) => ({ partition: `${t}|forward|ledger`, sort: 'records' }),
  forgotten: (t: Tenant) => ({ partition: `${t}|forward|ledger`, sort: 'forgotten' }),
  kept: (t: Tenant, sop: string) => ({ partition: `${t}|forward|kept`, sort: sop }),
} as const;

export interface LedgerLimits {
  /** what was settled longer ago may be forgotten (ms) */
  readonly maxAgeMs: number;
  /** forward records; the oldest are forgotten above */
  readonly maxRecords: number;
  /** nothing is forgotten sooner, however many there are (ms) */
  readonly leastAgeMs: number;
}

const ledgerLimits = ({ ledger, commitment }: EdgeContext['config']): LedgerLimits => ({
  maxAgeMs: ledger.maxAgeDays * DAY_MS,
  maxRecords: ledger.maxRecords,
  leastAgeMs: commitment.limitHours * HOUR_MS + DAY_MS,
});

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const PAGE = 200;
const RUN_MS = 10 * 60_000;

type Context = Pick<EdgeContext, 'services' | 'tenant' | 'clock'>;
interface Candidate {
  readonly study: string;
  readonly sop: string;
}

export async function ledgerSize({ services, tenant }: Context): Promise<number> {
  return Number((await services.index.get(ledgerKeys.size(tenant)))?.records ?? 0);
}

/** Forgets what the limits allow to. @returns how many instances */
export async function forgetSettled(context: Context, limits: LedgerLimits, signal?: AbortSignal): Promise<number> {
  const { services, tenant, clock } = context;
  const { index } = services;
  const now = clock.now();
  let size = await ledgerSize(context);
  let forgotten = 0;
  const before = (): number => now - (size > limits.maxRecords ? limits.leastAgeMs : limits.maxAgeMs);
  const forget = async (one: Candidate): Promise<'forgotten' | 'unknown' | 'kept'> => {
    const outcome = await forgetInstance(context, one, before());
    if (outcome === 'unknown' || outcome === 'kept') return outcome;
    forgotten++;
    size -= outcome;
    return 'forgotten';
  };

  const { partition } = ledgerKeys.kept(tenant, '');
  for await (const { sort, item } of recordsIn(index, { partition, limit: PAGE })) {
    if (signal?.aborted) break;
    const outcome = await forget({ sop: sort, study: item.study as string });
    if (outcome !== 'kept') await index.write([{ kind: 'delete', key: ledgerKeys.kept(tenant, sort) }]);
  }

  // Only what has been taken in: of what is behind that, nobody has decided yet where it is to go.
  const takenIn = ((await index.get(forwardKeys.cursor(tenant)))?.cursor as string | undefined) ?? '';
  let cursor = ((await index.get(ledgerKeys.forgotten(tenant)))?.cursor as string | undefined) ?? '';
  while (!signal?.aborted) {
    const { events } = await readFeed(index, tenant, cursor, PAGE);
    const kept: WriteOperation[] = [];
    let looked = cursor;
    for (const event of events) {
      if (event.cursor > takenIn || event.at > before()) break;
      looked = event.cursor;
      const candidate = candidateOf(event);
      if (candidate !== undefined && (await forget(candidate)) === 'kept')
        kept.push({ kind: 'put', key: ledgerKeys.kept(tenant, candidate.sop), item: { study: candidate.study } });
    }
    if (looked === cursor) break;
    for (let at = 0; at < kept.length; at += 90) await index.write(kept.slice(at, at + 90));
    await index.write([{ kind: 'put', key: ledgerKeys.forgotten(tenant), item: { cursor: looked } }]);
    cursor = looked;
  }
  return forgotten;
}

const candidateOf = ({ type, StudyInstanceUID, SOPInstanceUID }: ArchiveEvent): Candidate | undefined =>
  type === 'InstanceStored' && SOPInstanceUID !== undefined
    ? { study: StudyInstanceUID, sop: SOPInstanceUID }
    : undefined;

/**
 * In one write, on condition that nothing of the study is here: so whoever stores the instance at this moment either finds it known, or
 * comes as something new. @returns how many records went
 */
async function forgetInstance(
  { services, tenant }: Context,
  { study, sop }: Candidate,
  before: number,
): Promise<number | 'unknown' | 'kept'> {
  const { index } = services;
  const { partition } = forwardKeys.forward(tenant, sop, NOBODY);
  const { records } = await index.query({ partition, limit: 90 });
  if (records.length === 0) return 'unknown';
  const known = records.map(({ sort, item }) => ({ destination: sort, record: asRecord<ForwardRecord>(item) }));
  if (!known.every(({ record }) => isSettled(record, before))) return 'kept';
  const order = await index.get(forwardKeys.study(tenant, study));
  const outcome = await index.write([
    { kind: 'check', key: keys.sop(tenant, sop), if: 'absent' },
    { kind: 'check', key: keys.study(tenant, study), if: 'absent' },
    ...known.map(
      ({ destination, record: { version } }): WriteOperation => ({
        kind: 'delete',
        key: forwardKeys.forward(tenant, sop, destination),
        if: { version },
      }),
    ),
    { kind: 'delete', key: keys.evicted(tenant, study, sop) },
    { kind: 'delete', key: rejectedKey(tenant, sop) },
    ...(order !== undefined && asRecord<StudyOrder>(order).lastAt <= before
      ? [forwardKeys.study(tenant, study), forwardKeys.told(tenant, study)].map(
          (key) => ({ kind: 'delete', key }) as const,
        )
      : []),
    { kind: 'add', key: ledgerKeys.size(tenant), increments: { records: -known.length } },
  ]);
  return outcome.committed ? known.length : 'kept';
}

const isSettled = ({ state, confirmedAt, queuedAt }: ForwardRecord, before: number): boolean =>
  (state === 'confirmed' || state === 'unwanted') && (confirmedAt ?? queuedAt) <= before;

/** Keeps the ledger within its limits while the gateway runs. */
export const ledgerWorker: BackgroundWorker = {
  name: 'ledger',
  async run(context, signal) {
    while (!signal.aborted) {
      try {
        const instances = await forgetSettled(context, ledgerLimits(context.config), signal);
        if (instances > 0) context.log.info('forgotten', { instances });
      } catch (error) {
        context.log.error('forgetting-failed', describeError(error));
      }
      await sleep(RUN_MS, undefined, { signal }).catch(() => {});
    }
  },
};
