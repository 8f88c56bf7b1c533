import { setTimeout as sleep } from 'node:timers/promises';
import { type Eviction, evictInstances } from '#core/archive/evict.ts';
import { asRecord, type InstanceRecord, keys, type StudyRecord } from '#core/archive/records.ts';
import { selectedInstances } from '#core/archive/remove.ts';
import { allStudies } from '#core/archive/verify.ts';
import { describeError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import type { BackgroundWorker } from '../context.ts';
import type { ForwardKnowledge } from './knowledge.ts';
import { readSideOf } from './read-side.ts';
import type { StudyUsage } from './usage.ts';

export interface CacheLimits {
  /** bytes of all that is here, what waits to be forwarded included */
  readonly cacheBytes: number;
  /** time since a study was last received or read (ms) */
  readonly cacheAgeMs: number;
  /** bytes to be freed at least, as the disk is short of room */
  readonly roomBytes?: number;
}

export interface CacheState {
  readonly studies: number;
  readonly bytes: number;
  /** evicted by this run */
  readonly evicted: Eviction;
}

const GET_RECORDS = 100;
const CONFIRMED_AT_A_TIME = 100;

interface CachedStudy {
  readonly StudyInstanceUID: string;
  readonly sizeBytes: number;
  readonly usedAt: number;
}

/**
 * Evicts studies that have not been used for too long, then the least recently used ones until all that is here fits the limit. What is
 * not confirmed upstream stays whatever the limits say; so does a study that is being read. May be interrupted anywhere, and repeated.
 */
export async function evictCache(
  services: Services,
  tenant: string,
  knowledge: Pick<ForwardKnowledge, 'confirmed'>,
  usage: StudyUsage,
  { cacheBytes, cacheAgeMs, roomBytes = 0 }: CacheLimits,
  signal?: AbortSignal,
): Promise<CacheState> {
  const cached = await cachedStudies(services, tenant, usage);
  const oldest = services.clock.now() - cacheAgeMs;
  let bytes = cached.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let studies = cached.length;
  const evicted = { instances: 0, bytes: 0 };
  for (const { StudyInstanceUID, sizeBytes, usedAt } of cached) {
    if (signal?.aborted || (bytes <= cacheBytes && evicted.bytes >= roomBytes && usedAt > oldest)) break;
    if (usage.isInUse(tenant, StudyInstanceUID)) continue;
    const gone = await evictStudy(services, tenant, StudyInstanceUID, knowledge, usage);
    bytes -= gone.bytes;
    evicted.instances += gone.instances;
    evicted.bytes += gone.bytes;
    if (gone.bytes < sizeBytes) continue;
    studies--;
    await usage.forget(tenant, StudyInstanceUID);
  }
  return { studies, bytes, evicted };
}

/** Evicts what of a study is confirmed, until somebody reads it. */
export async function evictStudy(
  services: Services,
  tenant: string,
  StudyInstanceUID: string,
  knowledge: Pick<ForwardKnowledge, 'confirmed'>,
  usage: StudyUsage,
): Promise<Eviction> {
  const evicted = { instances: 0, bytes: 0 };
  let batch: InstanceRecord[] = [];
  const evict = async (): Promise<void> => {
    const confirmed = await knowledge.confirmed(batch);
    const gone = await evictInstances(
      services,
      tenant,
      batch.filter((_, i) => confirmed[i]),
    );
    evicted.instances += gone.instances;
    evicted.bytes += gone.bytes;
    batch = [];
  };
  const here = await Array.fromAsync(selectedInstances(services, tenant, [{ StudyInstanceUID }]));
  for (const instance of here) {
    if (usage.isInUse(tenant, StudyInstanceUID)) return evicted;
    batch.push(instance);
    if (batch.length === CONFIRMED_AT_A_TIME) await evict();
  }
  if (batch.length > 0) await evict();
  return evicted;
}

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
      studies.push({ StudyInstanceUID, sizeBytes, usedAt });
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
        const { maxBytes, maxAgeHours } = context.config.cache;
        const { freeBytes, reserveBytes } = await context.disk.state();
        const roomBytes = Math.max(0, RESERVES * reserveBytes - freeBytes);
        const limits = { cacheBytes: maxBytes, cacheAgeMs: maxAgeHours * 3_600_000, roomBytes };
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
