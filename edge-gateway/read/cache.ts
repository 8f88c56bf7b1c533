import { setTimeout as sleep } from 'node:timers/promises';
import { type Eviction, evictInstances } from '#core/archive/evict.ts';
import { keys, type StudyRecord } from '#core/archive/records.ts';
import { selectedInstances } from '#core/archive/remove.ts';
import { allStudies } from '#core/archive/verify.ts';
import { describeError } from '#core/errors.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import type { BackgroundWorker } from '../context.ts';
import type { ForwardKnowledge } from './knowledge.ts';
import { readSideOf } from './read-side.ts';
import { evictRejections } from './rejected.ts';
import type { StudyUsage } from './usage.ts';

export interface CacheLimits {
  /** bytes of all that is here, what waits to be forwarded included */
  readonly cacheBytes: number;
  /** time since a study was last received or read (ms) */
  readonly cacheAgeMs: number;
  /** bytes to be freed at least, as the disk is short of room */
  readonly roomBytes?: number;
  /** while the disk is short of room, what an archive that does not answer has confirmed longer ago goes unasked (ms) */
  readonly unaskedAfterMs?: number;
}

/** Says what may be evicted. */
export type Vouching = Pick<ForwardKnowledge, 'evictable'>;

export interface CacheState {
  readonly studies: number;
  readonly bytes: number;
  /** of `bytes`: of studies so old that they give way to new ones whether the archive answers or not */
  readonly oldBytes: number;
  /** evicted by this run */
  readonly evicted: Eviction;
}

const GET_RECORDS = 100;
const EVICTED_AT_A_TIME = 100;

interface CachedStudy {
  readonly StudyInstanceUID: string;
  readonly sizeBytes: number;
  readonly lastStoredAt: number;
  readonly usedAt: number;
}

/**
 * Evicts studies that have not been used for too long, then the least recently used ones until all that is here fits the limit. What is
 * not confirmed upstream stays whatever the limits say; so does a study that is being read, and what the archive that has confirmed it no
 * longer has, or cannot be asked for. May be interrupted anywhere, and repeated.
 */
export async function evictCache(
  services: Services,
  tenant: string,
  knowledge: Vouching,
  usage: StudyUsage,
  { cacheBytes, cacheAgeMs, roomBytes = 0, unaskedAfterMs = Number.POSITIVE_INFINITY }: CacheLimits,
  signal: AbortSignal = NEVER,
): Promise<CacheState> {
  const cached = await cachedStudies(services, tenant, usage);
  const now = services.clock.now();
  const oldest = now - cacheAgeMs;
  let bytes = cached.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let studies = cached.length;
  let oldBytes = 0;
  const isOld = ({ lastStoredAt }: CachedStudy): boolean => lastStoredAt < now - unaskedAfterMs;
  for (const study of cached) if (isOld(study)) oldBytes += study.sizeBytes;
  const evicted = { instances: 0, bytes: 0 };
  for (const study of cached) {
    const { StudyInstanceUID, sizeBytes, usedAt } = study;
    if (signal.aborted || (bytes <= cacheBytes && evicted.bytes >= roomBytes && usedAt > oldest)) break;
    if (usage.isInUse(tenant, StudyInstanceUID)) continue;
    const unaskedBefore = evicted.bytes < roomBytes ? now - unaskedAfterMs : 0;
    const gone = await evictStudy(services, tenant, StudyInstanceUID, knowledge, usage, unaskedBefore, signal);
    bytes -= gone.bytes;
    if (isOld(study)) oldBytes -= gone.bytes;
    evicted.instances += gone.instances;
    evicted.bytes += gone.bytes;
    if (gone.bytes < sizeBytes) continue;
    studies--;
    await usage.forget(tenant, StudyInstanceUID);
  }
  return { studies, bytes, oldBytes, evicted };
}

/**
 * Evicts what of a study is confirmed, until somebody reads it.
 *
 * @param unaskedBefore what was confirmed before may go although the archive cannot be asked whether it still has it (ms since 1970)
 */
export async function evictStudy(
  services: Services,
  tenant: string,
  StudyInstanceUID: string,
  knowledge: Vouching,
  usage: StudyUsage,
  unaskedBefore = 0,
  signal: AbortSignal = NEVER,
): Promise<Eviction> {
  const evicted = { instances: 0, bytes: 0 };
  const here = await Array.fromAsync(selectedInstances(services, tenant, [{ StudyInstanceUID }]));
  const may = await knowledge.evictable(here, unaskedBefore, signal);
  const going = here.filter((_, i) => may[i]);
  for (let at = 0; at < going.length; at += EVICTED_AT_A_TIME) {
    if (usage.isInUse(tenant, StudyInstanceUID)) break;
    const gone = await evictInstances(services, tenant, going.slice(at, at + EVICTED_AT_A_TIME));
    evicted.instances += gone.instances;
    evicted.bytes += gone.bytes;
  }
  return evicted;
}

const NEVER = new AbortController().signal;

/** Least recently used first. */
async function cachedStudies(services: Services, tenant: string, usage: StudyUsage): Promise<CachedStudy[]> {
  const used = await usage.lastUsed(tenant);
  const studies: CachedStudy[] = [];
  let uids: string[] = [];
  const look = async (): Promise<void> => {
    const items = await services.index.getMany(uids.map((uid) => keys.study(tenant, uid)));
    for (const item of items) {
      if (item === undefined) continue;
      const { StudyInstanceUID, sizeBytes, lastStoredAt } = asRecord<StudyRecord>(item);
      const usedAt = Math.max(lastStoredAt, used.get(StudyInstanceUID) ?? 0);
      studies.push({ StudyInstanceUID, sizeBytes, lastStoredAt, usedAt });
    }
    uids = [];
  };
  for await (const uid of allStudies(services, tenant)) {
    uids.push(uid);
    if (uids.length === GET_RECORDS) await look();
  }
  if (uids.length > 0) await look();
  return studies.sort((a, b) => a.usedAt - b.usedAt);
}

const RUN_MS = 15_000;
const HOUR_MS = 3_600_000;
/** Room is made before objects are refused: when less than this many times the reserve is free. */
const RESERVES = 2;

/** Keeps the cache within its limits while the gateway runs. */
export const cacheWorker: BackgroundWorker = {
  name: 'cache',
  async run(context, signal) {
    const { services, tenant, clock, log } = context;
    const side = readSideOf(context);
    while (!signal.aborted) {
      try {
        const { maxBytes, maxAgeHours, unaskedAfterHours } = context.config.cache;
        const { freeBytes, reserveBytes } = await context.disk.state();
        const roomBytes = Math.max(0, RESERVES * reserveBytes - freeBytes);
        const limits = {
          cacheBytes: maxBytes,
          cacheAgeMs: maxAgeHours * HOUR_MS,
          roomBytes,
          unaskedAfterMs: unaskedAfterHours * HOUR_MS,
        };
        const unaskedBefore = roomBytes > 0 ? clock.now() - limits.unaskedAfterMs : 0;
        const rejected = await evictRejections(context, side.knowledge, side.usage, unaskedBefore, signal);
        if (rejected.instances > 0) log.info('rejected-evicted', { ...rejected });
        const state = await evictCache(services, tenant, side.knowledge, side.usage, limits, signal);
        if (state.evicted.instances > 0) log.info('evicted', { ...state.evicted });
        side.cache = { ...state, at: clock.now() };
      } catch (error) {
        log.error('eviction-failed', describeError(error));
      }
      await sleep(RUN_MS, undefined, { signal }).catch(() => {});
    }
  },
};
