import type { Clock } from '#core/ports/clock.ts';
import { type IndexTable, recordsIn } from '#core/ports/index-table.ts';

/** a study's last use is written down no more often than this (ms) */
const COARSE_MS = 60_000;

/**
 * When each study was last read, and which are being read right now: what eviction goes by. Kept in the index (`t|edge-used`, one
 * record a study); reads of the last minute may be forgotten in a crash, which costs a study no more than its place in the order.
 */
export class StudyUsage {
  readonly #index: IndexTable;
  readonly #clock: Clock;
  readonly #inUse = new Map<string, number>();
  readonly #written = new Map<string, number>();

  constructor(index: IndexTable, clock: Clock) {
    this.#index = index;
    this.#clock = clock;
  }

  /** The study is being read until the function that is returned is called. */
  use(tenant: string, StudyInstanceUID: string): () => void {
    const id = `${tenant}|${StudyInstanceUID}`;
    this.#inUse.set(id, (this.#inUse.get(id) ?? 0) + 1);
    void this.touch(tenant, StudyInstanceUID).catch(() => {});
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const count = (this.#inUse.get(id) ?? 1) - 1;
      if (count === 0) this.#inUse.delete(id);
      else this.#inUse.set(id, count);
    };
  }

  isInUse(tenant: string, StudyInstanceUID: string): boolean {
    return this.#inUse.has(`${tenant}|${StudyInstanceUID}`);
  }

  async touch(tenant: string, StudyInstanceUID: string): Promise<void> {
    const id = `${tenant}|${StudyInstanceUID}`;
    const now = this.#clock.now();
    const last = this.#written.get(id);
    if (last !== undefined && now - last < COARSE_MS) return;
    this.#forgetOld(now);
    this.#written.set(id, now);
    const key = { partition: partitionOf(tenant), sort: StudyInstanceUID };
    await this.#index.write([{ kind: 'put', key, item: { usedAt: now } }], { durability: 'deferred' });
  }

  /** When studies were last read (ms since 1970); those that never were are absent. */
  async lastUsed(tenant: string): Promise<Map<string, number>> {
    const used = new Map<string, number>();
    for await (const { sort, item } of recordsIn(this.#index, { partition: partitionOf(tenant), limit: 1_000 }))
      used.set(sort, item.usedAt as number);
    // What was read a moment ago may not be written down yet: it would be taken for the least recently used.
    const ofTenant = `${tenant}|`;
    for (const [id, at] of this.#written) if (id.startsWith(ofTenant)) used.set(id.slice(ofTenant.length), at);
    return used;
  }

  async forget(tenant: string, StudyInstanceUID: string): Promise<void> {
    this.#written.delete(`${tenant}|${StudyInstanceUID}`);
    const key = { partition: partitionOf(tenant), sort: StudyInstanceUID };
    await this.#index.write([{ kind: 'delete', key }], { durability: 'deferred' });
  }

  #forgetOld(now: number): void {
    if (this.#written.size < 10_000) return;
    for (const [id, at] of this.#written) if (now - at >= COARSE_MS) this.#written.delete(id);
  }
}

const partitionOf = (tenant: string): string => `${tenant}|edge-used`;
