import fc from 'fast-check';
import { expect, test } from 'vitest';
import { STUDY_QUIET } from '#core/archive/fold.ts';
import { ARCHIVE_JOBS } from '#core/jobs.ts';
import { deliveredInstances, deliveriesOf, listDeliveries, resumeDeliveries } from '#core/routing/deliveries.ts';
import { ROUTE } from '#core/routing/enqueue.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { dyingServices } from '#test/fixtures/dying-services.ts';
import {
  addDestination,
  addRule,
  type Behaviour,
  ROUTING,
  routingServices,
  slice,
  sliceUid,
  workOff,
} from '#test/fixtures/routing.ts';
import { store, TENANT } from '#test/fixtures/services.ts';

const STUDY = uid(1);
const REASONS = [0xa700, 0xa900, 0x0110, 0x0122, 0xc000];

/** What a destination may do with one request; which instances it refuses, and how, hangs on their numbers. */
const behaviour = fc.oneof(
  fc.constant<Behaviour>('takes'),
  fc.constant<Behaviour>('tears'),
  fc.constant<Behaviour>('unreachable'),
  fc.constantFrom(400, 401, 404, 408, 409, 413, 429, 500, 502, 503).map((status): Behaviour => ({ status })),
  fc.record({ every: fc.integer({ min: 1, max: 4 }), reason: fc.constantFrom(...REASONS) }).map(
    ({ every, reason }): Behaviour => ({
      ofInstance: (sop) => (Number(sop.slice(-3)) % every === 0 ? reason : undefined),
    }),
  ),
);

test('whatever a destination does for a while, every instance arrives, or is held with its reason', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(behaviour, { maxLength: 12 }),
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 1, max: 4 }),
      async (script, instances, routingRequestInstances) => {
        const services = routingServices({ limits: { routingRequestInstances } });
        await addDestination(services);
        await addRule(services);
        services.sender.script.push(...script);
        for (let n = 0; n < instances; n++) await store(services, slice(n));
        await workOff(services, 24 * 60 * 60_000);
        const { items } = await deliveredInstances(services, TENANT, STUDY, 'north', '', 100);
        expect(items.length).toBe(instances);
        for (const { state, SOPInstanceUID, sha256, reason } of items) {
          if (state === 'sent') expect(services.sender.kept.get(SOPInstanceUID)).toBe(sha256);
          else expect({ state, reason }).toMatchObject({ state: 'held', reason: expect.stringMatching(/./) });
        }
        // Only an answer that was lost makes an object go twice.
        if (!script.includes('tears')) for (const times of services.sender.arrivals.values()) expect(times).toBe(1);
        const [delivery] = await deliveriesOf(services, TENANT, STUDY);
        const held = items.filter(({ state }) => state === 'held').length;
        expect(delivery).toMatchObject({ state: held > 0 ? 'held' : 'done', waiting: 0, held, sent: instances - held });
        expect((await listDeliveries(services, TENANT, 'waiting', '', 10)).items).toEqual([]);
        expect((await listDeliveries(services, TENANT, 'held', '', 10)).items.length).toBe(held > 0 ? 1 : 0);
      },
    ),
    { numRuns: 60 },
  );
});

test('wherever the archive is killed, nothing is lost on its way', async () => {
  let deaths = 0;
  for (const when of ['before', 'after'] as const) {
    for (let calls = 1; ; calls++) {
      const services = routingServices();
      await addDestination(services);
      await addRule(services);
      for (let n = 0; n < 3; n++) await store(services, slice(n));
      services.clock.advance(60_000);
      const dying = dyingServices(services, { calls, when }, { policy: ROUTING, sender: services.sender });
      await dieAtWork(dying.services);
      // Another process takes over: what was leased comes back, and the sweeper looks.
      services.clock.advance(10 * 60_000);
      await resumeDeliveries(services, TENANT);
      await workOff(services);
      await resumeDeliveries(services, TENANT);
      await workOff(services);
      expect([...services.sender.kept.keys()].sort(), `${calls} ${when}`).toEqual([0, 1, 2].map(sliceUid));
      const [delivery] = await deliveriesOf(services, TENANT, STUDY);
      expect(delivery, `${calls} ${when}`).toMatchObject({ state: 'done', sent: 3, waiting: 0 });
      if (dying.survived()) break;
      deaths++;
    }
  }
  expect(deaths).toBeGreaterThan(40);
});

async function dieAtWork(services: Parameters<typeof workOff>[0]): Promise<void> {
  try {
    for (let round = 0; round < 6; round++)
      for (const queue of [STUDY_QUIET, ROUTE] as const)
        for (const job of await services.jobs.receive(queue, { max: 10, visibilityMs: 300_000 })) {
          await ARCHIVE_JOBS[queue](services, job.payload, '');
          await services.jobs.complete(queue, job);
        }
  } catch (error) {
    if (!(error instanceof Error && /killed/.test(String(error.message)))) throw error;
  }
}
