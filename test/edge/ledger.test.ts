import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { evictInstances, FROM_UPSTREAM } from '#core/archive/evict.ts';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { selectedInstances } from '#core/archive/remove.ts';
import { storeObject } from '#core/archive/store.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { checked } from '#edge/config.ts';
import type { EdgeContext } from '#edge/context.ts';
import { evidenceOf } from '#edge/forward/forwarder.ts';
import { takeIn } from '#edge/forward/intake.ts';
import { forgetSettled, type LedgerLimits, ledgerSize } from '#edge/forward/ledger.ts';
import { DestinationQueue } from '#edge/forward/queue.ts';
import { forwardKeys } from '#edge/forward/records.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

const DAY_MS = 86_400_000;
const STUDIES = 2;
const SLICES = 3;
const MONTH: LedgerLimits = { maxAgeMs: 30 * DAY_MS, maxRecords: 1_000, leastAgeMs: 2 * DAY_MS };

/** A gateway whose forwarding is played here, and an archive upstream that keeps what it first got. */
function gateway(upstreams: readonly Record<string, unknown>[] = [{ url: 'http://cloud' }]) {
  const services = memoryServices();
  const config = checked({ upstreams, tenant: TENANT }, 'the test');
  const context = standIn<EdgeContext>({ services, tenant: TENANT, config, clock: services.clock });
  const queue = new DestinationQueue(services, TENANT, 'upstream');
  const object = (study: number, n: number): Uint8Array =>
    buildDicom({
      StudyInstanceUID: uid(study),
      SeriesInstanceUID: uid(study * 10),
      SOPInstanceUID: uid(study * 1000 + n),
      InstanceNumber: n,
    });
  const upstream = new Map<string, { sha256: string; object: Uint8Array }>();
  let sends = 0;
  const here = (study: number): Promise<InstanceRecord[]> =>
    Array.fromAsync(selectedInstances(services, TENANT, [{ StudyInstanceUID: uid(study) }])).catch(() => []);
  return {
    services,
    context,
    upstream,
    queue,
    here,
    get sends() {
      return sends;
    },
    store: async (study: number, n: number) => {
      const { kind } = await store(services, object(study, n));
      expect(['stored', 'duplicate']).toContain(kind);
    },
    async fetch(study: number, n: number): Promise<void> {
      const held = upstream.get(uid(study * 1000 + n));
      if (held === undefined) return;
      await storeObject(services, { tenant: TENANT, source: FROM_UPSTREAM }, chunked(held.object)).outcome;
    },
    async forward(): Promise<void> {
      while ((await takeIn(context)) !== undefined);
      for (const { SOPInstanceUID: sop } of await queue.first(100, new Set())) {
        const [record] = await queue.records([sop]);
        const held = upstream.get(sop);
        if (held === undefined || !record!.ask) {
          sends++;
          // Other bytes of a UID that it has: there would be a conflict.
          expect(held?.sha256 ?? record!.sha256).toBe(record!.sha256);
          const item = await services.index.get(
            keys.instance(TENANT, record!.StudyInstanceUID, record!.SeriesInstanceUID, sop),
          );
          const { blobKey } = asRecord<InstanceRecord>(item!);
          upstream.set(sop, { sha256: record!.sha256, object: await services.blobs.readBytes(blobKey) });
        }
        const [sending] = await queue.apply([[record!, { to: 'sending' }]]);
        await queue.apply([[sending!, { to: 'confirmed', evidence: 'digest' }]]);
      }
    },
    async evict(study: number): Promise<void> {
      const instances = await here(study);
      const confirmed = await Promise.all(
        instances.map(async ({ SOPInstanceUID }) => {
          const known = await evidenceOf(services, TENANT, SOPInstanceUID, ['upstream']);
          return known.destinations.length > 0 && known.confirmed;
        }),
      );
      await evictInstances(
        services,
        TENANT,
        instances.filter((_, i) => confirmed[i]),
      );
    },
    forget: (limits = MONTH) => forgetSettled(context, limits),
    records: async () => {
      let count = 0;
      for (let study = 1; study <= STUDIES; study++)
        for (let n = 0; n < SLICES; n++) {
          const { partition } = forwardKeys.forward(TENANT, uid(study * 1000 + n), '-');
          count += (await services.index.query({ partition, limit: 10 })).records.length;
        }
      return count;
    },
  };
}

describe('what was settled long ago', () => {
  test('is forgotten when nothing of its study is here any more, and not before', async () => {
    const edge = gateway();
    for (let n = 0; n < SLICES; n++) await edge.store(1, n);
    await edge.forward();
    edge.services.clock.advance(31 * DAY_MS);
    // It is still in the cache, then one of it is.
    expect(await edge.forget()).toBe(0);
    await edge.evict(1);
    await edge.fetch(1, 0);
    await edge.forward();
    expect(await edge.forget()).toBe(0);
    expect(await ledgerSize(edge.context)).toBe(SLICES);
    await edge.evict(1);
    expect(await edge.forget()).toBe(SLICES);
    expect([await ledgerSize(edge.context), await edge.records()]).toEqual([0, 0]);
    const { partition } = keys.evicted(TENANT, uid(1), '-');
    expect((await edge.services.index.query({ partition, limit: 10 })).records).toEqual([]);
    expect(await edge.services.index.get(forwardKeys.study(TENANT, uid(1)))).toBeUndefined();
    // It comes once more, as it came first.
    await edge.store(1, 0);
    await edge.forward();
    expect(await evidenceOf(edge.services, TENANT, uid(1000), ['upstream'])).toMatchObject({ confirmed: true });
    expect(edge.upstream.size).toBe(SLICES);
  });

  test('of too many records the oldest go first, but none that somebody may still ask about', async () => {
    const edge = gateway();
    await edge.store(1, 0);
    await edge.forward();
    edge.services.clock.advance(3 * DAY_MS);
    await edge.store(2, 0);
    await edge.forward();
    await edge.evict(1);
    await edge.evict(2);
    const few = { ...MONTH, maxRecords: 0 };
    expect(await edge.forget(few)).toBe(1);
    expect(await edge.queue.records([uid(1000), uid(2000)])).toMatchObject([{ SOPInstanceUID: uid(2000) }]);
    edge.services.clock.advance(3 * DAY_MS);
    expect(await edge.forget(few)).toBe(1);
  });

  test('what waits, or is held, is never forgotten; what nobody wanted is', async () => {
    const edge = gateway([{ url: 'http://cloud', when: { not: { Modality: ['CT'] } } }]);
    await edge.store(1, 0);
    await edge.forward();
    expect(await ledgerSize(edge.context)).toBe(1);
    // Nobody evicts what is nowhere else: a person deletes it.
    edge.services.clock.advance(31 * DAY_MS);
    expect(await edge.forget()).toBe(0);

    const other = gateway();
    await other.store(1, 0);
    while ((await takeIn(other.context)) !== undefined);
    other.services.clock.advance(31 * DAY_MS);
    expect(await other.forget()).toBe(0);
    const [record] = await other.queue.records([uid(1000)]);
    await other.queue.apply([[record!, { to: 'held', reason: 'x' }]]);
    // Not even when the object has gone by other ways.
    await evictInstances(other.services, TENANT, await other.here(1));
    expect(await other.forget()).toBe(0);
    expect(await other.queue.counts()).toMatchObject({ held: 1 });
  });

  test('an instance that nobody wants is taken in again when it is stored anew', async () => {
    const edge = gateway([{ url: 'http://cloud', when: { Modality: ['MR'] } }]);
    await edge.store(1, 0);
    await edge.forward();
    await evictInstances(edge.services, TENANT, await edge.here(1));
    await edge.store(1, 0);
    await edge.forward();
    expect(await ledgerSize(edge.context)).toBe(1);
  });
});

type Act =
  | readonly ['store' | 'fetch' | 'storeWhileForgetting', study: number, slice: number]
  | readonly ['evict', study: number]
  | readonly ['forward' | 'forget' | 'forgetAll' | 'wait'];

test('whatever is stored, evicted, fetched and forgotten, in any order and at once: nothing is lost, sent as something else, or promised untruly', async () => {
  const study = fc.integer({ min: 1, max: STUDIES });
  const slice = fc.nat(SLICES - 1);
  const act: fc.Arbitrary<Act> = fc.oneof(
    fc.tuple(fc.constantFrom('store', 'fetch', 'storeWhileForgetting') as fc.Arbitrary<'store'>, study, slice),
    fc.tuple(fc.constant('evict' as const), study),
    fc.tuple(fc.constantFrom('forward', 'forget', 'forgetAll', 'wait') as fc.Arbitrary<'forget'>),
  );
  const eager: LedgerLimits = { maxAgeMs: 0, maxRecords: 0, leastAgeMs: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 25 }), async (acts) => {
      const edge = gateway();
      const acknowledged = new Set<string>();
      for (const [what, of = 1, n = 0] of acts as readonly (readonly [string, number?, number?])[]) {
        if (what === 'store') await edge.store(of, n);
        else if (what === 'fetch') await edge.fetch(of, n);
        else if (what === 'storeWhileForgetting') await Promise.all([edge.store(of, n), edge.forget(eager)]);
        else if (what === 'evict') await edge.evict(of);
        else if (what === 'forward') await edge.forward();
        else if (what === 'forget') await edge.forget();
        else if (what === 'forgetAll') await edge.forget(eager);
        else edge.services.clock.advance(10 * DAY_MS);
        if (what.startsWith('store')) acknowledged.add(uid(of * 1000 + n));
        for (const sop of acknowledged) {
          const isHere = (await edge.services.index.get(keys.sop(TENANT, sop))) !== undefined;
          expect(isHere || edge.upstream.has(sop), `${sop} after ${what}`).toBe(true);
          const { known, confirmed } = await evidenceOf(edge.services, TENANT, sop, ['upstream']);
          if (known && confirmed) expect(edge.upstream.has(sop)).toBe(true);
        }
      }
      await edge.forward();
      expect([...edge.upstream.keys()].sort()).toEqual([...acknowledged].sort());
      expect(await edge.queue.counts()).toMatchObject({ pending: 0, held: 0, pendingBytes: 0, heldBytes: 0 });
      expect(await ledgerSize(edge.context)).toBe(await edge.records());
      for (let of = 1; of <= STUDIES; of++) {
        await edge.evict(of);
        // What nobody knows to be confirmed would never make room.
        expect(await edge.here(of)).toEqual([]);
      }
      edge.services.clock.advance(1);
      await edge.forget(eager);
      expect(await edge.records()).toBe(0);
    }),
    { numRuns: 60 },
  );
});
