import { expect, test } from 'vitest';
import { eventWrite } from '#core/archive/feed.ts';
import { keys } from '#core/archive/records.ts';
import { storeObject } from '#core/archive/store.ts';
import { deliverStudy } from '#core/routing/deliver.ts';
import {
  deliveredInstances,
  deliveriesOf,
  discardDelivery,
  listDeliveries,
  retryDelivery,
  sendStudy,
} from '#core/routing/deliveries.ts';
import { takeInRoutes } from '#core/routing/intake.ts';
import { deleteDestination, deleteRule, destinationStates } from '#core/routing/settings.ts';
import { auditEvents } from '#test/fixtures/audit-events.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { addDestination, addRule, routingServices, slice, sliceUid, workOff } from '#test/fixtures/routing.ts';
import { store, TENANT } from '#test/fixtures/services.ts';

const STUDY = uid(1);

async function deliveryOf(services: ReturnType<typeof routingServices>, destination = 'north') {
  return (await deliveriesOf(services, TENANT, STUDY)).find((one) => one.destination === destination);
}

test('a quiet study is sent to where its rule says, whole, each instance once', async () => {
  const services = routingServices();
  await addDestination(services);
  await addRule(services);
  for (let n = 0; n < 100; n++) await store(services, slice(n));
  await workOff(services);

  expect(services.sender.kept.size).toBe(100);
  expect([...services.sender.arrivals.values()].every((times) => times === 1)).toBe(true);
  expect(services.sender.requests[0]?.url).toBe('https://north.pacs.example/dicom-web');
  expect(services.sender.requests.every(({ objects }) => objects.length <= 40)).toBe(true);
  expect(await deliveryOf(services)).toMatchObject({ state: 'done', sent: 100, waiting: 0, held: 0, rules: ['all'] });
  expect((await listDeliveries(services, TENANT, 'waiting', '', 10)).items).toEqual([]);

  // What comes later is sent, and what was sent before is not sent again.
  await store(services, slice(100));
  await store(services, slice(7));
  await workOff(services);
  expect(services.sender.kept.size).toBe(101);
  expect([...services.sender.arrivals.values()].every((times) => times === 1)).toBe(true);
});

test('a rule that does not wait sends instances while the study is still arriving', async () => {
  const services = routingServices();
  await addDestination(services);
  await addRule(services, { when: 'stored' });
  await store(services, slice(1));
  await workOff(services, 20_000);
  expect([...services.sender.kept.keys()]).toEqual([sliceUid(1)]);
  await store(services, slice(2));
  await workOff(services, 20_000);
  expect(services.sender.kept.size).toBe(2);
});

test('only what a rule names is sent, and nothing that was there before it', async () => {
  const services = routingServices();
  await addDestination(services);
  await store(services, slice(1));
  await workOff(services);
  services.clock.advance(1_000);
  await addRule(services, { when: 'stored', condition: { Modality: ['MR'], StudyDescription: ['*brain*'] } });
  await store(services, slice(2));
  await store(services, slice(3, { Modality: 'MR', StudyDescription: 'MR Brain' }));
  await store(services, slice(4, { Modality: 'MR', StudyDescription: 'Knee' }));
  await workOff(services);
  expect([...services.sender.kept.keys()]).toEqual([sliceUid(3)]);
});

test('of a quiet study all is sent where the rule says so and one instance meets it', async () => {
  const services = routingServices();
  await addDestination(services);
  await addRule(services, { scope: 'study', condition: { SeriesDescription: ['*key*'] } });
  await store(services, slice(1));
  await store(services, slice(2, { SeriesInstanceUID: uid(77), SeriesDescription: 'Key images' }));
  await workOff(services);
  expect(services.sender.kept.size).toBe(2);
});

test('a rule that is final keeps what it has matched from those behind it', async () => {
  const services = routingServices();
  await addDestination(services);
  await addDestination(services, 'south');
  await addRule(services, { order: 1, final: true, condition: { Modality: ['CT'] } }, 'ct');
  await addRule(services, { order: 2, destinations: ['south'] }, 'others');
  await store(services, slice(1));
  await store(services, slice(2, { Modality: 'MR' }));
  await workOff(services);
  expect((await deliveryOf(services, 'north'))?.sent).toBe(1);
  expect((await deliveryOf(services, 'south'))?.sent).toBe(1);
});

test('without any host that may be sent to nothing is made ready to be sent', async () => {
  const services = routingServices({ policy: { routing: { hosts: [], networks: [] } } });
  await expect(addDestination(services)).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await store(services, slice(1));
  await workOff(services);
  expect(services.sender.requests).toEqual([]);
});

test('a destination that cannot be reached is tried again, less and less often, and has everything in the end', async () => {
  const services = routingServices();
  await addDestination(services);
  await addRule(services);
  services.sender.always = 'unreachable';
  for (let n = 0; n < 5; n++) await store(services, slice(n));
  await workOff(services, 6 * 60 * 60_000);
  const attempts = services.sender.requests.length;
  expect(attempts).toBeGreaterThan(5);
  expect(attempts).toBeLessThan(60);
  const state = (await destinationStates(services, TENANT)).get('north');
  expect(state?.problem).toMatchObject({ class: 'unreachable', reason: 'it cannot be reached: ECONNREFUSED' });
  expect(await deliveryOf(services)).toMatchObject({ state: 'waiting', waiting: 5 });

  services.sender.always = 'takes';
  await workOff(services);
  expect(services.sender.kept.size).toBe(5);
  expect((await destinationStates(services, TENANT)).get('north')).toMatchObject({ failures: 0 });
  expect((await destinationStates(services, TENANT)).get('north')?.problem).toBeUndefined();
});

test('what could not be sent for too long is held with its reason, until a person has it tried again', async () => {
  const services = routingServices({ limits: { routingGiveUpMs: 60 * 60_000 } });
  await addDestination(services);
  await addRule(services);
  services.sender.always = { status: 401 };
  await store(services, slice(1));
  await workOff(services, 3 * 60 * 60_000);
  const held = await listDeliveries(services, TENANT, 'held', '', 10);
  expect(held.items).toMatchObject([
    { state: 'held', held: 1, waiting: 0, problem: { class: 'credentials', reason: 'it answered 401' } },
  ]);
  const before = services.sender.requests.length;
  await workOff(services, 60 * 60_000);
  expect(services.sender.requests.length).toBe(before);

  services.sender.always = 'takes';
  await retryDelivery(services, TENANT, STUDY, 'north');
  await workOff(services);
  expect(services.sender.kept.size).toBe(1);
  expect((await listDeliveries(services, TENANT, 'held', '', 10)).items).toEqual([]);
});

test('of a request that was taken in part only those are sent again that may be taken another time', async () => {
  const services = routingServices();
  await addDestination(services);
  await addRule(services);
  for (let n = 0; n < 4; n++) await store(services, slice(n));
  // Out of resources for one; another it does not want at all.
  services.sender.script.push({
    ofInstance: (sop) => (sop === sliceUid(1) ? 0xa700 : sop === sliceUid(2) ? 0x0122 : undefined),
  });
  services.sender.always = { ofInstance: (sop) => (sop === sliceUid(2) ? 0x0122 : undefined) };
  await workOff(services);
  expect([...services.sender.kept.keys()].sort()).toEqual([sliceUid(0), sliceUid(1), sliceUid(3)].sort());
  expect([...services.sender.arrivals.values()]).toEqual([1, 1, 1]);
  expect(await deliveryOf(services)).toMatchObject({ state: 'held', sent: 3, held: 1 });
  const { items } = await deliveredInstances(services, TENANT, STUDY, 'north', '', 10);
  expect(items.find(({ state }) => state === 'held')).toMatchObject({
    SOPInstanceUID: sliceUid(2),
    reason: 'it refused it: 0122H',
    refusals: 3,
  });

  await discardDelivery(services, TENANT, STUDY, 'north');
  expect(await deliveryOf(services)).toMatchObject({ state: 'done', sent: 3, held: 0, discarded: 1 });
});

test('a request that is refused as a whole is taken apart', async () => {
  const services = routingServices();
  await addDestination(services);
  await addRule(services);
  for (let n = 0; n < 3; n++) await store(services, slice(n));
  services.sender.script.push({ status: 413 });
  await workOff(services);
  expect(services.sender.kept.size).toBe(3);
  expect(services.sender.requests.map(({ objects }) => objects.length)).toEqual([3, 1, 1, 1]);
});

test('one instance that a destination chokes on does not keep the others from it', async () => {
  const services = routingServices({ limits: { routingGiveUpMs: 60 * 60_000 } });
  await addDestination(services);
  await addRule(services);
  for (let n = 0; n < 10; n++) await store(services, slice(n));
  const poison = sliceUid(4);
  const { sender } = services;
  const take = sender.send.bind(sender);
  sender.send = async (request) => {
    const { sha256 } = (await services.index.get(keys.instance(TENANT, STUDY, uid(2), poison)))!;
    if (request.objects.some((object) => object.sha256 === sha256)) sender.script.unshift({ status: 500 });
    return take(request);
  };
  await workOff(services, 4 * 60 * 60_000);
  expect(sender.kept.size).toBe(9);
  expect(await deliveryOf(services)).toMatchObject({ state: 'held', sent: 9, held: 1 });
});

test('an answer that was lost is asked for by sending once more; the archive there keeps one', async () => {
  const services = routingServices();
  await addDestination(services);
  await addRule(services);
  services.sender.script.push('tears');
  await store(services, slice(1));
  await workOff(services);
  expect(services.sender.arrivals.get(sliceUid(1))).toBe(2);
  expect(await deliveryOf(services)).toMatchObject({ state: 'done', sent: 1 });
});

test('a study is sent anew when somebody asks, sent before or not', async () => {
  const services = routingServices();
  await addDestination(services);
  await addRule(services);
  await store(services, slice(1));
  await workOff(services);
  expect(await sendStudy(services, TENANT, STUDY, 'north')).toBe(1);
  await workOff(services);
  expect(services.sender.arrivals.get(sliceUid(1))).toBe(2);
  await expect(sendStudy(services, TENANT, uid(99), 'north')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(sendStudy(services, TENANT, STUDY, 'nowhere')).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('a destination that is stopped is sent nothing, and all of it when it goes on; one that is removed leaves what waits held', async () => {
  const services = routingServices();
  await addDestination(services);
  await addRule(services);
  await addDestination(services, 'north', { enabled: false });
  await store(services, slice(1));
  await workOff(services, 2 * 60 * 60_000);
  expect(services.sender.requests).toEqual([]);
  expect(await deliveryOf(services)).toMatchObject({ state: 'waiting' });

  await expect(deleteDestination(services, TENANT, 'north')).rejects.toMatchObject({ code: 'CONFLICT' });
  await deleteRule(services, TENANT, 'all');
  await deleteDestination(services, TENANT, 'north');
  await workOff(services, 2 * 60 * 60_000);
  expect(await deliveryOf(services)).toMatchObject({
    state: 'held',
    problem: { reason: 'the destination was removed' },
  });
});

test('an object that was removed before its turn is not sent, and holds nothing up', async () => {
  const services = routingServices();
  await addDestination(services, 'north', { enabled: false });
  await addRule(services);
  await store(services, slice(1));
  await store(services, slice(2));
  await workOff(services, 60_000);
  await services.index.write([{ kind: 'delete', key: keys.instance(TENANT, STUDY, uid(2), sliceUid(1)) }]);
  await addDestination(services);
  await workOff(services);
  expect([...services.sender.kept.keys()]).toEqual([sliceUid(2)]);
  expect(await deliveryOf(services)).toMatchObject({ state: 'done', sent: 1, discarded: 1 });
});

test('every export is in the audit trail, announced before the first byte leaves', async () => {
  const services = routingServices();
  await addDestination(services);
  await addRule(services);
  await store(services, slice(1));
  await store(services, slice(2));
  await workOff(services);
  const events = await auditEvents(services, TENANT);
  const about = { studies: [STUDY], destination: 'https://north.pacs.example', subject: 'route:north' };
  expect(events).toMatchObject([
    { event: 'BeginTransferringInstances', ...about },
    { event: 'DataExport', instances: 2, outcome: 0, ...about },
  ]);
});

test('nothing goes back to where it came from, nor round in circles', async () => {
  const services = routingServices();
  const { sender } = services;
  sender.archive = 'ARCHIVE-NORTH';
  await addDestination(services);
  await addRule(services);
  await store(services, slice(1));
  await workOff(services);
  const [ours] = sender.requests[0]!.route;
  expect(ours).toMatch(/^[0-9A-Z]{26}$/);

  const from = (bytes: Buffer, ...route: string[]) =>
    storeObject(
      services,
      { tenant: TENANT, source: 'STOW', route },
      (async function* () {
        yield bytes;
      })(),
    ).outcome;
  await from(slice(2), 'ARCHIVE-NORTH');
  await from(slice(3), ours!, 'ARCHIVE-EAST');
  await from(slice(4), 'ARCHIVE-EAST');
  await workOff(services);
  expect([...sender.kept.keys()].sort()).toEqual([sliceUid(1), sliceUid(4)].sort());
  expect(sender.requests.at(-1)?.route).toEqual(['ARCHIVE-EAST', ours]);
});

test('two senders at the same delivery: one sends', async () => {
  const services = routingServices();
  await addDestination(services);
  await addRule(services);
  for (let n = 0; n < 3; n++) await store(services, slice(n));
  await workOff(services, 60_000, ['study-quiet']);
  await Promise.all([takeInRoutes(services, TENANT), takeInRoutes(services, TENANT)]);
  const job = { tenant: TENANT, study: STUDY, destination: 'north' };
  await Promise.all([deliverStudy(services, job), deliverStudy(services, job), deliverStudy(services, job)]);
  expect([...services.sender.arrivals.values()]).toEqual([1, 1, 1]);
});

test('regression: an archive that was restored, with its rules and a feed that begins anew, sends on what comes then', async () => {
  const services = routingServices();
  await addDestination(services);
  await addRule(services);
  await store(services, slice(1));
  await workOff(services);
  const { sender, clock } = services;
  const restored = routingServices({ ports: { sender } });
  restored.clock.advance(clock.now() - restored.clock.now());
  for (const kind of ['routing', 'routing-state']) {
    const partition = `${TENANT}|${kind}`;
    for (const { sort, item } of (await services.index.query({ partition, limit: 100 })).records)
      await restored.index.write([{ kind: 'put', key: { partition, sort }, item }]);
  }
  await store(restored, slice(2));
  await workOff(restored);
  expect(sender.kept.has(sliceUid(2))).toBe(true);
});

test('regression: a study that was there before the rule is not sent when an index made anew calls it quiet once more', async () => {
  const services = routingServices();
  await addDestination(services);
  await store(services, slice(1));
  await workOff(services);
  services.clock.advance(3_600_000);
  await addRule(services);
  services.clock.advance(3_600_000);
  const again = eventWrite(TENANT, { type: 'StudyQuiet', at: services.clock.now(), StudyInstanceUID: STUDY });
  await services.index.write([again]);
  await takeInRoutes(services, TENANT);
  await workOff(services);
  expect(services.sender.kept.size).toBe(0);
  // Something new of it makes it due.
  await store(services, slice(2));
  await workOff(services);
  expect(services.sender.kept.size).toBe(2);
});
