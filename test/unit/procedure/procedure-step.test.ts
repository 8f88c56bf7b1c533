import { describe, expect, test } from 'vitest';
import { readFeed } from '#core/archive/feed.ts';
import { settleStudy } from '#core/archive/quiet.ts';
import { textOf } from '#core/dicom/element-text.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { notArrived, settleProcedureSteps } from '#core/procedure/arrival.ts';
import { availabilityOf } from '#core/procedure/availability.ts';
import {
  createProcedureStep,
  getProcedureStep,
  listProcedureSteps,
  setProcedureStep,
} from '#core/procedure/procedure-step.ts';
import { scheduledStep } from '#core/worklist/item.ts';
import { addWorklistItem, decideWorklistItem, getWorklistItem } from '#core/worklist/worklist.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { dataSet, ended, scheduled, started } from '#test/fixtures/worklist.ts';

const MPPS = '1.2.3.4.5';
const from = { tenant: TENANT, source: 'CT1' };
type On = ReturnType<typeof memoryServices>;
const create = (on: On, attributes: DataSet = started(), sop = MPPS) => createProcedureStep(on, sop, attributes, from);
const set = (on: On, attributes: DataSet, sop = MPPS) => setProcedureStep(on, sop, attributes, from);
const without = (attributes: DataSet, tag: string): DataSet =>
  Object.fromEntries(Object.entries(attributes).filter(([one]) => one !== tag));
const types = async (on: On): Promise<string[]> =>
  (await readFeed(on.index, TENANT, '', 100)).events.map(({ type }) => type);

describe('a performed procedure step', () => {
  test('starts and completes, and its worklist item with it', async () => {
    const on = memoryServices();
    const { id } = await addWorklistItem(on, TENANT, scheduled());
    const { step } = await create(on);
    expect(step).toMatchObject({
      state: 'IN PROGRESS',
      StudyInstanceUIDs: ['1.2.3'],
      worklistItems: [id],
      source: 'CT1',
    });
    const running = await getWorklistItem(on, TENANT, id);
    expect(running).toMatchObject({ state: 'IN PROGRESS', procedureSteps: [MPPS] });
    expect(textOf(scheduledStep(running.dataSet)['00400020'])).toBe('STARTED');
    await expect(decideWorklistItem(on, TENANT, id, 'cancel')).rejects.toMatchObject({ code: 'CONFLICT' });
    await set(on, dataSet({ PerformedProcedureStepDescription: 'Head without contrast' }));
    await set(on, ended());
    const done = await getProcedureStep(on, TENANT, MPPS);
    expect(done.state).toBe('COMPLETED');
    expect(textOf(done.dataSet['00400254'])).toBe('Head without contrast');
    const item = await getWorklistItem(on, TENANT, id);
    expect(item.state).toBe('COMPLETED');
    expect(textOf(scheduledStep(item.dataSet)['00400020'])).toBe('DEPARTED');
    expect(await types(on)).toEqual(['ProcedureStepStarted', 'ProcedureStepCompleted']);
  });

  test('that nobody scheduled is kept all the same', async () => {
    const on = memoryServices();
    const { step } = await create(on, started({}, { ScheduledProcedureStepID: '' }));
    expect(step.worklistItems).toEqual([]);
    expect((await listProcedureSteps(on, TENANT, { limit: 10 })).items).toHaveLength(1);
  });

  test('discontinued and done again by another: the item follows the later one', async () => {
    const on = memoryServices();
    const { id } = await addWorklistItem(on, TENANT, scheduled());
    await create(on);
    await set(on, without(ended([], 'DISCONTINUED'), '00400340'));
    expect((await getWorklistItem(on, TENANT, id)).state).toBe('DISCONTINUED');
    await create(on, started(), '1.2.3.4.6');
    expect((await getWorklistItem(on, TENANT, id)).state).toBe('IN PROGRESS');
    await set(on, ended(), '1.2.3.4.6');
    expect(await getWorklistItem(on, TENANT, id)).toMatchObject({
      state: 'COMPLETED',
      procedureSteps: [MPPS, '1.2.3.4.6'],
    });
  });

  test.each<[string, DataSet, number]>([
    ['no start', without(started(), '00400244'), 0x0120],
    ['an empty start', started({ PerformedProcedureStepStartDate: '' }), 0x0121],
    ['no scheduled step attributes', without(started(), '00400270'), 0x0120],
    ['scheduled step attributes without a study', started({}, { StudyInstanceUID: '' }), 0x0121],
    ['no modality', without(started(), '00080060'), 0x0120],
    ['already completed', started({ PerformedProcedureStepStatus: 'COMPLETED' }), 0x0106],
    ['a status that is none', started({ PerformedProcedureStepStatus: 'RUNNING' }), 0x0106],
    ['a study UID that is none', started({}, { StudyInstanceUID: 'abc' }), 0x0106],
  ])('N-CREATE: %s is refused with its status', async (_what, attributes, status) => {
    await expect(create(memoryServices(), attributes)).rejects.toMatchObject({ details: { status } });
  });

  test('N-CREATE without what is of type 2: kept, empty', async () => {
    const on = memoryServices();
    const { step } = await create(on, without(without(started(), '00400243'), '00400280'));
    expect(step.dataSet['00400243']).toEqual({ vr: 'SH' });
  });

  test('N-CREATE of a UID that is taken: 0111', async () => {
    const on = memoryServices();
    await create(on);
    await expect(create(on)).rejects.toMatchObject({ details: { status: 0x0111 } });
  });

  test.each<[string, DataSet, number]>([
    ['completed without an end', without(ended(), '00400251'), 0x0121],
    ['completed without a series', without(ended(), '00400340'), 0x0121],
    ['a series without its protocol', dataSet({ PerformedSeriesSequence: { SeriesInstanceUID: '1.2' } }), 0x0120],
    ['a reference without its class', ended(['']), 0x0121],
    ['another patient', dataSet({ PatientID: 'P2' }), 0x0105],
    ['a status that is none', dataSet({ PerformedProcedureStepStatus: 'PAUSED' }), 0x0106],
  ])('N-SET: %s is refused with its status', async (_what, attributes, status) => {
    const on = memoryServices();
    await create(on);
    await expect(set(on, attributes)).rejects.toMatchObject({ details: { status } });
    expect((await getProcedureStep(on, TENANT, MPPS)).version).toBe(1);
  });

  test('N-SET may repeat what N-CREATE said', async () => {
    const on = memoryServices();
    await create(on);
    const { step } = await set(on, { ...started(), ...ended() });
    expect(step.state).toBe('COMPLETED');
  });

  test('N-SET of what is over: 0110 with error ID A710; of what is not there: 0112', async () => {
    const on = memoryServices();
    await expect(set(on, ended())).rejects.toMatchObject({ details: { status: 0x0112 } });
    await create(on);
    await set(on, ended());
    const again = set(on, dataSet({ PerformedProcedureStepDescription: 'late' }));
    await expect(again).rejects.toMatchObject({ details: { status: 0x0110, errorID: 0xa710 } });
  });

  test('forwarded again after a lost answer, a message counts once', async () => {
    const on = memoryServices();
    const first = await createProcedureStep(on, MPPS, started(), { ...from, key: 'm1' });
    const second = await createProcedureStep(on, MPPS, started(), { ...from, key: 'm1' });
    expect([first.repeated, second.repeated]).toEqual([false, true]);
    const other = createProcedureStep(on, MPPS, started({ PatientID: 'P2' }), { ...from, key: 'm9' });
    await expect(other).rejects.toMatchObject({ details: { status: 0x0111 } });
    await setProcedureStep(on, MPPS, ended(), { ...from, key: 'm2' });
    const repeated = await setProcedureStep(on, MPPS, ended(), { ...from, key: 'm2' });
    expect(repeated).toMatchObject({ repeated: true, step: { version: 2 } });
    expect(await types(on)).toEqual(['ProcedureStepStarted', 'ProcedureStepCompleted']);
  });

  test('two that begin one item at the same time: both are kept, none is lost', async () => {
    const on = memoryServices();
    const { id } = await addWorklistItem(on, TENANT, scheduled());
    const steps = ['1.2.3.4.1', '1.2.3.4.2', '1.2.3.4.3'];
    await Promise.all(steps.map((sop) => create(on, started(), sop)));
    expect((await getWorklistItem(on, TENANT, id)).procedureSteps.toSorted()).toEqual(steps);
  });

  test('of 20,000 instances is kept', async () => {
    const on = memoryServices();
    await create(on);
    const instances = Array.from({ length: 20_000 }, (_, n) => `1.2.840.113619.2.55.3.2831164355.123.1700000000.${n}`);
    await set(on, ended(instances));
    const { made, missing } = await notArrived(on, TENANT, await getProcedureStep(on, TENANT, MPPS));
    expect([made, missing.length]).toEqual([20_000, 20_000]);
  });
});

describe('the study of a completed step', () => {
  const slice = (n: number) =>
    buildDicom({ StudyInstanceUID: '1.2.3', SeriesInstanceUID: '1.2.3.1', SOPInstanceUID: uid(n), InstanceNumber: n });

  test('is complete when the last of its instances has arrived, and that is said once', async () => {
    const on = memoryServices();
    await create(on);
    await store(on, slice(1));
    await set(on, ended([uid(1), uid(2)]));
    expect(await settleProcedureSteps(on, TENANT, '1.2.3')).toEqual([]);
    const { missing } = await notArrived(on, TENANT, await getProcedureStep(on, TENANT, MPPS));
    expect(missing.map(({ SOPInstanceUID }) => SOPInstanceUID)).toEqual([uid(2)]);
    await store(on, slice(2));
    on.clock.advance(on.limits.studyQuietMs + 1);
    expect(await settleStudy(on, TENANT, '1.2.3')).toBe('quiet');
    await settleProcedureSteps(on, TENANT, '1.2.3');
    expect((await types(on)).filter((type) => type.startsWith('Study'))).toEqual(['StudyComplete', 'StudyQuiet']);
  });

  test('is announced with what is here and where (PS3.4 R.3.2)', async () => {
    const on = memoryServices();
    await store(on, slice(1));
    await store(on, slice(2));
    await create(on);
    await set(on, ended([uid(1), uid(2)]));
    const [notification, more] = await Array.fromAsync(availabilityOf(on, TENANT, '1.2.3', 'NEPHOS'));
    expect(more).toBeUndefined();
    expect(textOf(notification!['0020000D'])).toBe('1.2.3');
    expect(notification!['00081111']!.Value).toMatchObject([{ '00081155': { Value: [MPPS] } }]);
    expect(notification!['00081115']!.Value).toMatchObject([
      {
        '0020000E': { Value: ['1.2.3.1'] },
        '00081199': {
          Value: [1, 2].map((n) => ({
            '00080054': { Value: ['NEPHOS'] },
            '00080056': { Value: ['ONLINE'] },
            '00081155': { Value: [uid(n)] },
          })),
        },
      },
    ]);
  });
});
