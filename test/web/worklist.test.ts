import { expect, test } from 'vitest';
import { toParameters, type WorklistQuery } from '../../web/src/api/worklist.ts';
import { hrefOf, isFiltered, readQuery } from '../../web/src/pages/worklist-query.ts';

const PLAIN: WorklistQuery = { PatientName: '', PatientID: '', Modality: '', station: '', day: '', over: false };
const NOW = new Date(2024, 2, 1, 6, 30);

test('the plain list is of what is not over, from yesterday on', () => {
  expect(Object.fromEntries(toParameters(PLAIN, undefined, NOW))).toEqual({
    limit: '100',
    ScheduledProcedureStepStartDate: '20240229-',
  });
});

test('filters become keys; texts are looked for anywhere, patterns as they are', () => {
  const query = { PatientName: 'doe', PatientID: 'P*', Modality: 'CT', station: 'CT', day: '2024-05-06', over: true };
  expect(Object.fromEntries(toParameters(query, 'next', NOW))).toEqual({
    limit: '100',
    PatientName: '*doe*',
    PatientID: 'P*',
    Modality: 'CT',
    ScheduledStationAETitle: '*CT*',
    ScheduledProcedureStepStartDate: '20240506',
    state: 'all',
    after: 'next',
  });
  expect(toParameters({ ...PLAIN, over: true }, undefined, NOW).has('ScheduledProcedureStepStartDate')).toBe(false);
});

test('the address keeps the filters, and nothing that is none', () => {
  const query = { PatientName: 'doe', PatientID: 'P1', Modality: 'CT', station: 'CT1', day: '2024-05-06', over: true };
  expect(readQuery(new URLSearchParams(hrefOf(query).split('?')[1]))).toEqual(query);
  expect(hrefOf(PLAIN)).toBe('#/worklist');
  expect(readQuery(new URLSearchParams('day=soon&over=yes'))).toEqual(PLAIN);
  expect([isFiltered(PLAIN), isFiltered({ ...PLAIN, over: true }), isFiltered(query)]).toEqual([false, false, true]);
});
