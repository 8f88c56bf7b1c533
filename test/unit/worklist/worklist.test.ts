import { describe, expect, test } from 'vitest';
import { textOf } from '#core/dicom/element-text.ts';
import { sweepWorklist, worklistChanges, worklistCursor } from '#core/worklist/changes.ts';
import { scheduledStep } from '#core/worklist/item.ts';
import { worklistQuery } from '#core/worklist/match.ts';
import {
  addWorklistItem,
  decideWorklistItem,
  findScheduledStep,
  getWorklistItem,
  listWorklist,
  removeWorklistItem,
  replaceWorklistItem,
  searchWorklist,
} from '#core/worklist/worklist.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';
import { dataSet, STEP, scheduled, type Written } from '#test/fixtures/worklist.ts';

const services = memoryServices();
const DAY_MS = 24 * 60 * 60_000;
const fresh = () => memoryServices();
const add = (on = services, overrides: Written = {}, step: Written = {}) =>
  addWorklistItem(on, TENANT, scheduled(overrides, step));
const all = worklistQuery({}, { anyState: true });
const search = async (on: ReturnType<typeof fresh>, keys: Written): Promise<string[]> => {
  const found: string[] = [];
  for await (const result of searchWorklist(on, TENANT, dataSet({ AccessionNumber: '', ...keys })))
    found.push(result === 'cut' ? 'cut' : textOf(result['00080050']));
  return found;
};

describe('a worklist item', () => {
  test('is kept with its status, and found by its scheduled step', async () => {
    const on = fresh();
    const item = await add(on);
    expect(item).toMatchObject({ version: 1, state: 'SCHEDULED', startsAt: '20240131103000' });
    expect(textOf(scheduledStep(item.dataSet)['00400020'])).toBe('SCHEDULED');
    expect(await getWorklistItem(on, TENANT, item.id)).toEqual(item);
    expect((await findScheduledStep(on, TENANT, '1.2.3', 'SPS1'))?.id).toBe(item.id);
    await expect(getWorklistItem(on, 'another-clinic', item.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('is given the identifiers that the scheduler left open', async () => {
    const item = await add(
      fresh(),
      { StudyInstanceUID: '', RequestedProcedureID: '' },
      { ScheduledProcedureStepID: '' },
    );
    expect(textOf(item.dataSet['0020000D'])).toMatch(/^2\.25\.\d+$/);
    expect(textOf(item.dataSet['00401001'])).toMatch(/^.{16}$/);
    expect(textOf(scheduledStep(item.dataSet)['00400009'])).toMatch(/^.{16}$/);
  });

  test.each<[string, unknown, RegExp]>([
    ['no patient', scheduled({ PatientID: '' }), /PatientID is required/],
    ['no modality', scheduled({}, { Modality: '' }), /Modality is required/],
    ['no station', scheduled({}, { ScheduledStationAETitle: '' }), /ScheduledStationAETitle is required/],
    ['no date', scheduled({}, { ScheduledProcedureStepStartDate: '' }), /StartDate is required/],
    ['a date that is none', scheduled({}, { ScheduledProcedureStepStartDate: 'soon' }), /StartDate is not a date/],
    ['a time that is none', scheduled({}, { ScheduledProcedureStepStartTime: '99' }), /StartTime is not a time/],
    [
      'nothing said of what is to be done',
      scheduled({}, { ScheduledProcedureStepDescription: '' }),
      /StepDescription or ScheduledProtocolCodeSequence/,
    ],
    [
      'no requested procedure',
      scheduled({ RequestedProcedureDescription: '' }),
      /RequestedProcedureCodeSequence is required/,
    ],
    ['two steps', scheduled({ ScheduledProcedureStepSequence: [STEP, STEP] }), /must have one item/],
    ['a UID that is none', scheduled({ StudyInstanceUID: 'abc' }), /StudyInstanceUID is not a UID/],
    ['another VR', { ...scheduled(), '00100020': { vr: 'SH', Value: ['P1'] } }, /PatientID has the VR LO/],
    [
      'a name as text',
      { ...scheduled(), '00100010': { vr: 'PN', Value: ['Doe^Jane'] } },
      /PatientName is not a person name/,
    ],
    ['no data set', { PatientName: 'Doe' }, /no data set/],
    ['bulk data', { ...scheduled(), '00102000': { vr: 'LO', BulkDataURI: 'http://x' } }, /no data set/],
  ])('%s is refused, by name', async (_what, given, message) => {
    await expect(addWorklistItem(fresh(), TENANT, given as never)).rejects.toThrow(message);
  });

  test('one item for each scheduled step of a study', async () => {
    const on = fresh();
    await add(on);
    await expect(add(on)).rejects.toMatchObject({ code: 'CONFLICT' });
    const second = await add(on, {}, { ScheduledProcedureStepID: 'SPS2' });
    await expect(replaceWorklistItem(on, TENANT, second.id, scheduled())).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  test('moves to another time, whoever asks for it by id still finds it', async () => {
    const on = fresh();
    const { id } = await add(on);
    const moved = await replaceWorklistItem(
      on,
      TENANT,
      id,
      scheduled({}, { ScheduledProcedureStepStartDate: '20240202' }),
      1,
    );
    expect(moved).toMatchObject({ version: 2, startsAt: '20240202103000' });
    expect((await listWorklist(on, TENANT, all, { limit: 10 })).items).toEqual([moved]);
    expect(await getWorklistItem(on, TENANT, id)).toEqual(moved);
    await expect(replaceWorklistItem(on, TENANT, id, scheduled(), 1)).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
    });
  });

  test('is taken off the list and put back, and removed', async () => {
    const on = fresh();
    const { id } = await add(on);
    expect(await search(on, {})).toEqual(['A1']);
    expect((await decideWorklistItem(on, TENANT, id, 'cancel')).state).toBe('CANCELED');
    expect(await search(on, {})).toEqual([]);
    await decideWorklistItem(on, TENANT, id, 'reschedule');
    expect(await search(on, {})).toEqual(['A1']);
    await removeWorklistItem(on, TENANT, id);
    expect(await search(on, {})).toEqual([]);
    await add(on);
  });

  test('changed by twenty at once, every change counts', async () => {
    const on = fresh();
    const { id } = await add(on);
    await Promise.all(Array.from({ length: 15 }, () => replaceWorklistItem(on, TENANT, id, scheduled())));
    expect((await getWorklistItem(on, TENANT, id)).version).toBe(16);
  });
});

describe('the worklist of a busy department', () => {
  test('reads the days asked for, not the others; past ones drop out', async () => {
    const on = fresh();
    for (let day = 1; day <= 28; day++)
      for (let n = 0; n < 10; n++) {
        const date = `202401${String(day).padStart(2, '0')}`;
        await add(
          on,
          { AccessionNumber: `${day}-${n}` },
          { ScheduledProcedureStepStartDate: date, ScheduledProcedureStepID: `${day}-${n}` },
        );
      }
    let looked = 0;
    const query = on.index.query.bind(on.index);
    on.index.query = async (range, meter) => {
      const page = await query(range, meter);
      looked += page.records.length;
      return page;
    };
    const keys = { ScheduledProcedureStepSequence: { ScheduledProcedureStepStartDate: '20240115' } };
    expect(await search(on, keys)).toHaveLength(10);
    expect(looked).toBe(10);
    // The clock says noon of January 31.
    expect(await search(on, {})).toEqual([]);
    await add(on, { AccessionNumber: 'now' });
    expect(await search(on, {})).toEqual(['now']);
  });

  test('comes in pages; a search that would read too much says that it was cut', async () => {
    const on = memoryServices({ limits: { searchRecords: 5 } });
    for (let n = 0; n < 8; n++) await add(on, {}, { ScheduledProcedureStepID: `S${n}` });
    const first = await listWorklist(on, TENANT, all, { limit: 3 });
    const second = await listWorklist(on, TENANT, all, { limit: 100, after: first.next! });
    expect(first.items).toHaveLength(3);
    expect(second.items).toHaveLength(5);
    expect((await listWorklist(on, TENANT, all, { limit: 3, after: second.next! })).items).toEqual([]);
    expect(await search(on, {})).toEqual([...Array.from({ length: 5 }, () => 'A1'), 'cut']);
  });
});

describe('a copy of the worklist', () => {
  test('follows the changes since it was made', async () => {
    const on = fresh();
    const kept = await add(on);
    const cursor = await worklistCursor(on, TENANT);
    expect(await worklistChanges(on, TENANT, cursor, 100)).toEqual({
      items: [],
      removed: [],
      next: cursor,
      more: false,
    });
    const gone = await add(on, {}, { ScheduledProcedureStepID: 'SPS2' });
    await decideWorklistItem(on, TENANT, kept.id, 'cancel');
    await removeWorklistItem(on, TENANT, gone.id);
    const changes = await worklistChanges(on, TENANT, cursor, 100);
    expect(changes.items.map(({ id, state }) => [id, state])).toEqual([[kept.id, 'CANCELED']]);
    expect(changes.removed).toEqual([gone.id]);
    expect((await worklistChanges(on, TENANT, changes.next, 100)).items).toEqual([]);
  });

  test('of an empty worklist begins before its first item', async () => {
    const on = fresh();
    const cursor = await worklistCursor(on, TENANT);
    await add(on);
    expect((await worklistChanges(on, TENANT, cursor, 100)).items).toHaveLength(1);
  });

  test('hears of items that are removed because they are long past', async () => {
    const on = fresh();
    const { id } = await add(on);
    on.clock.advance(91 * DAY_MS);
    // Late, but just written down: somebody still means it.
    const late = await add(on, {}, { ScheduledProcedureStepID: 'SPS2' });
    expect(await sweepWorklist(on, TENANT)).toBe(1);
    expect(await worklistChanges(on, TENANT, '', 100)).toMatchObject({ items: [{ id: late.id }], removed: [id] });
    expect((await listWorklist(on, TENANT, all, { limit: 10 })).items).toEqual([late]);
  });
});
