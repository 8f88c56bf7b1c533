import { expect, test } from 'vitest';
import { addWorklistItem } from '#core/worklist/worklist.ts';
import { checked } from '#edge/config.ts';
import type { EdgeContext } from '#edge/context.ts';
import { evidenceOf } from '#edge/forward/forwarder.ts';
import { takeIn, untaken } from '#edge/forward/intake.ts';
import { DestinationQueue } from '#edge/forward/queue.ts';
import { arrivalIn } from '#edge/forward/records.ts';
import { noteUrgent, raiseUrgent } from '#edge/forward/urgent.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

const HOUR_MS = 3_600_000;

function intakeOf(upstreams: readonly Record<string, unknown>[] = [{ url: 'http://cloud' }]) {
  const services = memoryServices();
  const config = checked({ upstreams, tenant: TENANT }, 'test');
  const context = standIn<EdgeContext>({ services, tenant: TENANT, config, clock: services.clock });
  return {
    services,
    queue: (name = 'upstream') => new DestinationQueue(services, TENANT, name),
    slice: (n: number, study = 1, more: Parameters<typeof buildDicom>[0] = {}) =>
      store(services, buildDicom({ SOPInstanceUID: uid(100 * study + n), StudyInstanceUID: uid(study), ...more })),
    untaken: (limit = 100) => untaken(context, limit),
    raise: (drained: boolean) => raiseUrgent(context, drained),
    async all(): Promise<number> {
      let rounds = 0;
      while ((await takeIn(context)) !== undefined) rounds++;
      return rounds;
    },
  };
}

test('a study travels together; what comes to it much later takes its place by itself', async () => {
  const { services, slice, all, queue } = intakeOf();
  await slice(1, 1);
  services.clock.advance(1_000);
  await slice(1, 2);
  services.clock.advance(10 * 60_000);
  await slice(2, 1);
  await all();
  const order = async (): Promise<string[]> => (await queue().first(10, new Set())).map((one) => one.SOPInstanceUID);
  expect(await order()).toEqual([uid(101), uid(102), uid(201)]);
  // Still acquiring an hour on, as long as there was no long pause.
  for (let i = 3; i < 6; i++) {
    services.clock.advance(HOUR_MS / 2);
    await slice(i, 1);
    await all();
  }
  expect((await order()).at(-1)).toBe(uid(201));
  services.clock.advance(2 * HOUR_MS);
  await slice(6, 1);
  await all();
  const waiting = await queue().first(10, new Set());
  expect(waiting.at(-1)).toMatchObject({ SOPInstanceUID: uid(106) });
  expect(arrivalIn(waiting.at(-1)!.queueKey)).toBe(services.clock.now());
});

test('what is stored and in no queue yet is told: a destination for which nothing waits does not have it', async () => {
  const { slice, all, queue, untaken } = intakeOf();
  expect(await untaken()).toBe(0);
  for (let i = 1; i <= 3; i++) await slice(i);
  expect(await queue().counts()).toMatchObject({ pending: 0 });
  expect([await untaken(), await untaken(2)]).toEqual([3, 2]);
  await all();
  expect(await queue().counts()).toMatchObject({ pending: 3 });
  expect(await untaken()).toBe(0);
});

test('an instance that says STAT raises its study: what comes after it, and what waits already', async () => {
  const { services, slice, all, queue } = intakeOf();
  await slice(1, 1);
  await slice(1, 2);
  await slice(2, 2);
  await all();
  const order = async (): Promise<string[]> => (await queue().first(10, new Set())).map((one) => one.SOPInstanceUID);
  expect(await order()).toEqual([uid(101), uid(201), uid(202)]);
  // One is being sent, one waits for its time: they stay what they are.
  const [sending] = await queue().records([uid(201)]);
  await queue().apply([[sending!, { to: 'sending' }]]);
  await slice(3, 2, { RequestAttributesSequence: [{ RequestedProcedurePriority: 'STAT' }] });
  await slice(4, 2);
  await all();
  expect(await order()).toEqual([uid(202), uid(203), uid(204), uid(101), uid(201)]);
  expect(await queue().counts()).toMatchObject({ pending: 5, held: 0, confirmed: 0 });
  // Nothing lowers it again.
  await slice(5, 2, { RequestedProcedurePriority: 'LOW' });
  services.clock.advance(HOUR_MS / 2);
  await slice(6, 2);
  await all();
  expect((await order()).slice(0, 5)).toEqual([202, 203, 204, 205, 206].map(uid));
  // The record knows where it stands: it can be confirmed, and is gone.
  const [moved] = await queue().records([uid(202)]);
  await queue().apply([[moved!, { to: 'confirmed', evidence: 'digest' }]]);
  expect(await order()).not.toContain(uid(202));
});

test('what is taken in is counted and stands once in each queue, with as many destinations as there may be', async () => {
  const names = Array.from({ length: 16 }, (_, i) => `d${i}`);
  const { slice, all, queue } = intakeOf(names.map((name) => ({ name, url: 'http://cloud' })));
  for (let n = 0; n < 7; n++) await slice(n);
  expect(await all()).toBeGreaterThan(1);
  for (const name of names) {
    expect(await queue(name).counts()).toMatchObject({ pending: 7, held: 0, confirmed: 0 });
    expect(await queue(name).first(100, new Set())).toHaveLength(7);
  }
});

test('an instance that was confirmed and is stored anew is asked for, not sent blindly', async () => {
  const { services, slice, all, queue } = intakeOf();
  await slice(1);
  await all();
  const [record] = await queue().records([uid(101)]);
  await queue().apply([[record!, { to: 'sending' }]]);
  const [sending] = await queue().records([uid(101)]);
  await queue().apply([[sending!, { to: 'confirmed', evidence: 'digest' }]]);
  expect(await evidenceOf(services, TENANT, uid(101), ['upstream'])).toMatchObject({ confirmed: true });
  expect(await queue().counts()).toMatchObject({ pending: 0, confirmed: 1 });
  // The cache let it go, and the modality sends it again.
  const { sha256, StudyInstanceUID, SeriesInstanceUID } = record!;
  const event = {
    type: 'InstanceStored',
    at: services.clock.now(),
    StudyInstanceUID,
    SeriesInstanceUID,
    SOPInstanceUID: uid(101),
    sha256,
  };
  await services.index.write([{ kind: 'append', partition: `${TENANT}|feed`, item: event }]);
  await all();
  expect((await queue().records([uid(101)]))[0]).toMatchObject({ state: 'pending', ask: true });
  expect(await queue().counts()).toMatchObject({ pending: 1, confirmed: 0, confirmedBytes: 0 });
});

test('a record that has changed since it was read is left as it is', async () => {
  const { slice, all, queue } = intakeOf();
  await slice(1);
  await slice(2);
  await all();
  const [first, second] = await queue().records([uid(101), uid(102)]);
  await queue().apply([[first!, { to: 'held', reason: 'x' }]]);
  const changed = await queue().apply([
    [first!, { to: 'sending' }],
    [second!, { to: 'sending' }],
  ]);
  expect(changed.map((one) => one.SOPInstanceUID)).toEqual([uid(102)]);
  expect((await queue().records([uid(101)]))[0]).toMatchObject({ state: 'held' });
  expect(await queue().counts()).toMatchObject({ pending: 1, held: 1 });
});

test('a study that was noted as urgent goes ahead, with what of it waits and what comes later; a note that is early is kept', async () => {
  const { services, slice, all, queue, raise } = intakeOf();
  await slice(1, 1);
  await slice(1, 2);
  await slice(1, 3);
  await all();
  await noteUrgent(services, TENANT, uid(2), 'high');
  await noteUrgent(services, TENANT, uid(4), 'high');
  const order = async (): Promise<string[]> => (await queue().first(10, new Set())).map((one) => one.SOPInstanceUID);
  // Not all has been taken in: the one of study 4 may be in what is still to come.
  await raise(false);
  expect(await order()).toEqual([201, 101, 301].map(uid));
  await slice(2, 2);
  await slice(1, 4);
  await all();
  await raise(true);
  expect(await order()).toEqual([201, 202, 401, 101, 301].map(uid));
  // Notes are gone; one of a study that nobody wants too.
  await noteUrgent(services, TENANT, uid(99), 'high');
  await raise(true);
  expect((await services.index.query({ partition: `${TENANT}|forward|urgent`, limit: 9 })).records).toEqual([]);
});

test('a study whose worklist item says STAT goes first, whatever its objects say', async () => {
  const { services, slice, all, queue } = intakeOf();
  const item = (study: number, priority: string) =>
    addWorklistItem(services, TENANT, {
      '00100010': { vr: 'PN', Value: [{ Alphabetic: 'A^B' }] },
      '00100020': { vr: 'LO', Value: [`P${study}`] },
      '0020000D': { vr: 'UI', Value: [uid(study)] },
      '00321060': { vr: 'LO', Value: ['CT head'] },
      '00401001': { vr: 'SH', Value: [`R${study}`] },
      '00401003': { vr: 'SH', Value: [priority] },
      '00400100': {
        vr: 'SQ',
        Value: [
          {
            '00080060': { vr: 'CS', Value: ['CT'] },
            '00400001': { vr: 'AE', Value: ['CT1'] },
            '00400002': { vr: 'DA', Value: ['20260101'] },
            '00400003': { vr: 'TM', Value: ['1000'] },
            '00400007': { vr: 'LO', Value: ['CT head'] },
            '00400009': { vr: 'SH', Value: [`S${study}`] },
          },
        ],
      },
    });
  await item(2, 'ROUTINE');
  await item(3, 'STAT');
  for (const study of [1, 2, 3]) await slice(1, study);
  await all();
  const waiting = await queue().first(10, new Set());
  expect(waiting.map(({ SOPInstanceUID }) => SOPInstanceUID)).toEqual([301, 101, 201].map(uid));
});
