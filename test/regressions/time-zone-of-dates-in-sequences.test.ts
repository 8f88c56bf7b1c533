import { beforeAll, expect, test } from 'vitest';
import type { DataSet } from '#core/dicom/types.ts';
import { inZone, widened } from '#core/search/timezone.ts';
import { searchInstances, searchSeries } from '#dicomweb/search.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask } from '#test/unit/dicomweb/asking.ts';

/** Half past eight in the evening in New York, the night of the next day in Berlin. */
const services = memoryServices();
const evening = { VerificationDateTime: '20260102203000', VerifyingObserverName: 'DOE^JANE' };
const scheduled = { ScheduledProcedureStepStartDate: '20260102', ScheduledProcedureStepStartTime: '203000' };
const made = (n: number, TimezoneOffsetFromUTC: string | undefined, ofItem?: string) =>
  buildDicom({
    StudyInstanceUID: uid(n),
    SeriesInstanceUID: uid(n + 1),
    SOPInstanceUID: uid(n + 2),
    TimezoneOffsetFromUTC,
    VerifyingObserverSequence: [{ ...evening, ...(ofItem && { TimezoneOffsetFromUTC: ofItem }) }],
    RequestAttributesSequence: [{ ScheduledProcedureStepID: 'S1', ...scheduled }],
  });
const [NEW_YORK, SOMEWHERE, ELSEWHERE] = [1950, 1960, 1970];

beforeAll(async () => {
  for (const object of [made(NEW_YORK, '-0500'), made(SOMEWHERE, undefined), made(ELSEWHERE, undefined, '-0500')])
    expect(await store(services, object)).toMatchObject({ kind: 'stored' });
});

const search = async (query: string, handler = searchInstances): Promise<DataSet[]> => {
  const answer = await ask(services, handler, {}, { query });
  expect(answer.status).toBe(200);
  return JSON.parse(answer.body.toString()) as DataSet[];
};
const studies = async (query: string): Promise<unknown[]> =>
  (await search(query)).map((row) => row['0020000D']?.Value?.[0]).sort();
const uids = (...numbers: number[]) => numbers.map(uid).sort();
const BERLIN = 'TimezoneOffsetFromUTC=%2B0100';

/** They were matched as they stood, while dates beside the sequences were moved. */
test('a moment in a sequence is found by the clocks of the zone that the query names', async () => {
  const nextDay = 'VerifyingObserverSequence.VerificationDateTime=20260103';
  expect(await studies(`${nextDay}&${BERLIN}`)).toEqual(uids(NEW_YORK, ELSEWHERE));
  expect(await studies(nextDay)).toEqual([]);
  expect(await studies(`0040A073.0040A030=20260102&${BERLIN}`)).toEqual(uids(SOMEWHERE));
  // in one and the same item
  expect(await studies(`${nextDay}&VerifyingObserverSequence.VerifyingObserverName=DOE*&${BERLIN}`)).toHaveLength(2);
  expect(await studies(`${nextDay}&VerifyingObserverSequence.VerifyingObserverName=ROE*&${BERLIN}`)).toEqual([]);
});

test('a date in a sequence is read together with the time in its item', async () => {
  const day = (date: string) => `RequestAttributesSequence.ScheduledProcedureStepStartDate=${date}`;
  expect(await studies(`${day('20260103')}&${BERLIN}`)).toEqual(uids(NEW_YORK));
  expect(await studies(`${day('20260102')}&${BERLIN}`)).toEqual(uids(SOMEWHERE, ELSEWHERE));
  expect(await studies(day('20260102'))).toEqual(uids(NEW_YORK, SOMEWHERE, ELSEWHERE));
  const night = `${day('20260103')}&RequestAttributesSequence.ScheduledProcedureStepStartTime=020000-030000`;
  expect(await studies(`${night}&${BERLIN}`)).toEqual(uids(NEW_YORK));
  const [row] = await search(`${night}&${BERLIN}`);
  expect(row!['00400275']).toMatchObject({
    Value: [{ '00400002': { Value: ['20260103'] }, '00400003': { Value: ['023000'] } }],
  });
});

test('what is not searched for is moved in the answer as well', async () => {
  const rows = await search(`StudyInstanceUID=${uid(NEW_YORK)}&includefield=VerifyingObserverSequence&${BERLIN}`);
  expect(rows[0]!['0040A073']).toMatchObject({ Value: [{ '0040A030': { Value: ['20260103023000'] } }] });
  expect(await search(`StudyInstanceUID=${uid(NEW_YORK)}&${BERLIN}`, searchSeries)).toHaveLength(1);
});

test('so it is with an identifier of C-FIND', () => {
  const identifier: DataSet = {
    '0040A073': { vr: 'SQ', Value: [{ '0040A030': { vr: 'DT', Value: ['20260103'] } }] },
    '00400275': { vr: 'SQ', Value: [{ '00400002': { vr: 'DA', Value: ['20260103'] } }] },
  };
  expect(widened(identifier, 60)).toMatchObject({
    '0040A073': { vr: 'SQ', Value: [{ '0040A030': { vr: 'DT' } }] },
    '00400275': {
      vr: 'SQ',
      Value: [{ '00400002': { vr: 'DA', Value: ['20260102-20260104'] }, '00400003': { vr: 'TM' } }],
    },
  });
  const found: DataSet = {
    '00080201': { vr: 'SH', Value: ['-0500'] },
    '0040A073': { vr: 'SQ', Value: [{ '0040A030': { vr: 'DT', Value: ['20260102203000'] } }] },
  };
  expect(inZone((tag) => found[tag], 60)('0040A073')).toEqual({
    vr: 'SQ',
    Value: [{ '0040A030': { vr: 'DT', Value: ['20260103023000'] } }],
  });
});
