import { expect, test } from 'vitest';
import { moveToTrash } from '#core/archive/remove.ts';
import { type IndexTable, recordsIn } from '#core/ports/index-table.ts';
import { createProcedureStep, procedureStepsOf } from '#core/procedure/procedure-step.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';
import { started } from '#test/fixtures/worklist.ts';

/** Pages of two: as a page of 10,000 is to a study of more series. */
function withShortPages(index: IndexTable): void {
  const query = index.query.bind(index);
  index.query = (range, meter) => query({ ...range, limit: Math.min(range.limit, 2) }, meter);
}

/** What stood behind the first page of its series stayed, and the study was said to be removed. */
test('all series of a study go into the trash, however many there are', async () => {
  const services = memoryServices();
  for (let n = 0; n < 5; n++)
    await store(services, buildDicom({ SeriesInstanceUID: uid(50 + n), SOPInstanceUID: uid(60 + n) }));
  withShortPages(services.index);
  const trash = await moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(1) }], {
    kind: 'deleted',
    by: 'a person',
    reason: 'asked for',
  });
  expect(trash).toMatchObject({ state: 'complete', instanceCount: 5 });
  expect(await studyRecord(services, uid(1))).toBeUndefined();
});

test('records are read page by page, in order, and may be deleted on the way', async () => {
  const { index } = memoryServices();
  const partition = 'p';
  const sorts = ['a', 'b', 'c', 'd', 'e'];
  await index.write(sorts.map((sort) => ({ kind: 'put', key: { partition, sort }, item: {} })));
  const met = await Array.fromAsync(recordsIn(index, { partition, limit: 2, after: 'a' }), ({ sort }) => sort);
  expect(met).toEqual(['b', 'c', 'd', 'e']);
  const deleted: string[] = [];
  for await (const { sort } of recordsIn(index, { partition, limit: 2 })) {
    await index.write([{ kind: 'delete', key: { partition, sort } }]);
    deleted.push(sort);
  }
  expect(deleted).toEqual(sorts);
  for await (const _ of recordsIn(index, { partition, limit: 2 })) expect.unreachable();
});

test('all procedure steps that name a study are found, however many there are', async () => {
  const services = memoryServices();
  const unscheduled = started({}, { ScheduledProcedureStepID: '' });
  const sops = ['1.2.3.4.5', '1.2.3.4.6', '1.2.3.4.7'];
  for (const sop of sops) await createProcedureStep(services, sop, unscheduled, { tenant: TENANT, source: 'CT1' });
  withShortPages(services.index);
  const steps = await procedureStepsOf(services, TENANT, '1.2.3');
  expect(steps.map(({ SOPInstanceUID }) => SOPInstanceUID)).toEqual(sops);
});
