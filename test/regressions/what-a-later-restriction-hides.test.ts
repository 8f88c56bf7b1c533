import { expect, test } from 'vitest';
import type { Principal } from '#core/access.ts';
import { deidentificationKeys, type MappedPatient, type MappedStudy } from '#core/deidentify/records.ts';
import { asItem } from '#core/ports/index-table.ts';
import { anArchive, OTHER, SHARED } from '#test/unit/share-links/receiver.ts';

const restriction = (id: string) => ({
  patient: { id },
  reason: 'known to everybody',
  subjects: ['dr.own'],
  roles: [],
});

/** Two studies of two patients; Ida Frank's comes under a restriction when her study is shared already. */
async function aSharedStudy() {
  const archive = await anArchive();
  const { ask, staff, object, store, share, enter } = archive;
  await store(object(SHARED, 61, { PatientID: 'IDA' }));
  const metadata = (await ask('GET', `/dicomweb/studies/${SHARED}/metadata`, { as: staff() })).json;
  const patient: string = metadata[0]['00100020'].Value[0];
  const link = await share({}, staff(['radiologist'], 'dr.own'));
  const cookie = await enter(link);
  const restrict = () => ask('POST', '/api/restrictions', { as: staff(), body: restriction(patient) });
  return { ...archive, link, cookie, restrict, patient };
}

test('the receiver of a link is told no more of a study whose patient has come under a restriction', async () => {
  const { ask, link, cookie, restrict } = await aSharedStudy();
  const session = () => ask('GET', `/s/${link.id}/api/guest/session`, { cookie });
  expect((await session()).json.studies).toMatchObject([{ StudyInstanceUID: SHARED, PatientName: 'Frank^Ida' }]);
  expect((await restrict()).status).toBe(201);
  const told = await session();
  expect(told.json.studies).toEqual([]);
  expect(told.text).not.toContain('Frank^Ida');
});

test('an administrator is shown links to studies in his reach alone, and so is who administers by a token for some', async () => {
  const { ask, staff, link, restrict, share } = await aSharedStudy();
  const listed = async (as: Principal): Promise<string[]> =>
    (await ask('GET', '/api/shares', { as })).json.items.map(({ id }: { id: string }) => id);
  const other = await share({ studies: [OTHER] });
  const confined: Principal = { ...staff(), subject: 'integration', reach: [{ studies: [OTHER] }] };
  expect(await listed(confined)).toEqual([other.id]);
  expect((await ask('GET', `/api/shares/${link.id}`, { as: confined })).status).toBe(404);
  await restrict();
  expect(await listed(staff())).toEqual([other.id]);
  expect((await ask('DELETE', `/api/shares/${link.id}`, { as: staff() })).status).toBe(404);
  expect(await listed(staff(['radiologist'], 'dr.own'))).toEqual([link.id]);
});

test('who is who does not name a patient under a restriction to who is kept out', async () => {
  const { ask, staff, services, patient, restrict } = await aSharedStudy();
  const one = (pseudonym: string, PatientID: string, PatientName: string): MappedPatient => ({
    ...{ pseudonym, PatientID, PatientName, IssuerOfPatientID: '', shiftDays: 3 },
  });
  const studies: MappedStudy[] = [{ StudyInstanceUID: SHARED, copy: '2.25.7', pseudonym: 'X1' }];
  const project = { version: 1, project: 'p', profile: {}, createdAt: 0, createdBy: 'x' };
  await services.index.write([
    { kind: 'put', key: deidentificationKeys.project('main', 'p'), item: asItem(project) },
    ...[one('X1', patient, 'Frank^Ida'), one('X2', 'SOMEBODY', 'Else^Some')].map(
      (mapped) =>
        ({
          kind: 'put',
          key: deidentificationKeys.patient('main', 'p', mapped.pseudonym),
          item: asItem(mapped),
        }) as const,
    ),
    ...studies.map(
      (mapped) =>
        ({
          kind: 'put',
          key: deidentificationKeys.mappedStudy('main', 'p', mapped.copy),
          item: asItem(mapped),
        }) as const,
    ),
  ]);
  const mapping = async (as = staff()) => (await ask('GET', '/api/deidentification-projects/p/mapping', { as })).json;
  expect(await mapping()).toMatchObject({ patients: [{ pseudonym: 'X1' }, { pseudonym: 'X2' }], studies });
  await restrict();
  expect(await mapping()).toEqual({ patients: [expect.objectContaining({ pseudonym: 'X2' })], studies: [] });
  expect(await mapping(staff(['admin'], 'dr.own'))).toMatchObject({ patients: [{}, {}], studies });
});

test('runs of copies name no study to who does not reach it', async () => {
  const { ask, staff, services, restrict } = await aSharedStudy();
  const run = { version: 1, id: '0000000000000000000000RUN1', project: 'p', studies: [SHARED, OTHER], state: 'done' };
  const counts = { stored: 0, duplicate: 0, refused: 0, held: 0, failed: 0 };
  const progress = (StudyInstanceUID: string) => ({
    version: 1,
    StudyInstanceUID,
    state: 'done',
    counts,
    instanceCount: 1,
    at: 0,
  });
  await services.index.write([
    { kind: 'put', key: deidentificationKeys.run('main', run.id), item: asItem({ ...run, by: 'x', requestedAt: 0 }) },
    { kind: 'put', key: deidentificationKeys.study('main', run.id, 0), item: asItem(progress(SHARED)) },
    { kind: 'put', key: deidentificationKeys.study('main', run.id, 1), item: asItem(progress(OTHER)) },
  ]);
  const get = async (path = '') => (await ask('GET', `/api/deidentifications${path}`, { as: staff() })).text;
  expect(await get(`/${run.id}`)).toContain(SHARED);
  // Both are the same patient's, by the builder.
  await restrict();
  for (const path of ['', `/${run.id}`, `/${run.id}/instances`]) expect(await get(path), path).not.toContain(SHARED);
});
