import { beforeEach, describe, expect, test } from 'vitest';
import { apiRoutes } from '#api/routes.ts';
import type { Principal, Role } from '#core/access.ts';
import { TokenStore } from '#core/tokens.ts';
import { Router } from '#dicomweb/router.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { keyObject } from '#test/fixtures/key-object.ts';
import { chunked, memoryServices, store, TENANT } from '#test/fixtures/services.ts';

let services: ReturnType<typeof memoryServices>;
let router: Router;
beforeEach(async () => {
  services = memoryServices();
  router = new Router(services, '/api', apiRoutes(new TokenStore(services)));
  const studies = [
    { n: 1, PatientID: 'P1', AccessionNumber: 'A1', StudyDate: '20240110', Modality: 'CT' },
    { n: 2, PatientID: 'P1', AccessionNumber: 'A2', StudyDate: '20240220', Modality: 'MR' },
    { n: 3, PatientID: 'P1', AccessionNumber: 'A2', StudyDate: '20240330', Modality: 'CT' },
    { n: 4, PatientID: 'P2', AccessionNumber: 'A4', StudyDate: '20240404', Modality: 'CT' },
  ];
  for (const { n, ...rest } of studies)
    await store(
      services,
      buildDicom({
        StudyInstanceUID: uid(n),
        SeriesInstanceUID: uid(10 + n),
        SOPInstanceUID: uid(100 + n),
        PatientName: `Patient^${rest.PatientID}`,
        PatientBirthDate: '19700101',
        StudyTime: '120000',
        StudyDescription: `Study ${n}`,
        ...rest,
      }),
    );
});

const as = (role: Role, tenant = TENANT): Principal => ({ tenant, subject: 'dr.x', roles: [role] });
async function invoke(parameters: object, principal: Principal | undefined = as('radiologist')) {
  const { response } = await router.handle({
    method: 'POST',
    path: '/api/image-display',
    query: new URLSearchParams(),
    headers: {},
    body: chunked(Buffer.from(JSON.stringify(parameters))),
    origin: 'https://pacs.test',
    principal,
  });
  const json = JSON.parse(String(response.body));
  const studies = json.studies?.map(({ StudyInstanceUID }: { StudyInstanceUID: string }) => StudyInstanceUID);
  return { status: response.status, json, studies };
}
const study = (parameters: object, principal?: Principal) => invoke({ requestType: 'STUDY', ...parameters }, principal);
const patient = (parameters: object, principal?: Principal) =>
  invoke({ requestType: 'PATIENT', patientID: 'P1', ...parameters }, principal);

describe('Invoke Image Display (IHE RAD-106), of studies', () => {
  test('opens what is named by UID, one or several, and says what of each may be shown', async () => {
    const { json } = await study({ studyUID: uid(1) });
    expect(json).toEqual({
      isExact: true,
      studies: [
        {
          StudyInstanceUID: uid(1),
          patientName: 'Patient^P1',
          date: '20240110',
          description: 'Study 1',
          modalities: ['CT'],
        },
      ],
    });
    expect(await study({ studyUID: `${uid(1)},${uid(4)}` })).toMatchObject({
      studies: [uid(4), uid(1)],
      json: { isExact: true },
    });
  });

  test('says so when one of several is not there, and when none is', async () => {
    expect(await study({ studyUID: `${uid(1)};${uid(99)}` })).toMatchObject({
      studies: [uid(1)],
      json: { isExact: true },
    });
    expect(await study({ studyUID: uid(99) })).toMatchObject({ status: 200, studies: [], json: { isExact: false } });
  });

  test('finds them by accession number, and lets a person choose where one number has several', async () => {
    expect(await study({ accessionNumber: 'A1' })).toMatchObject({ studies: [uid(1)], json: { isExact: true } });
    expect(await study({ accessionNumber: 'A2' })).toMatchObject({
      studies: [uid(3), uid(2)],
      json: { isExact: false },
    });
    expect((await study({ accessionNumber: 'A1,A4' })).studies).toEqual([uid(4), uid(1)]);
  });
});

describe('of key images only', () => {
  const image = (studyN: number, series: number, instance: number) => ({
    ...{ StudyInstanceUID: uid(studyN), SeriesInstanceUID: uid(series), SOPInstanceUID: uid(instance) },
  });
  const only = { keyImagesOnly: 'true' };

  test('names those that key objects of the study name and that are here, each once, with the frames that are meant', async () => {
    await store(
      services,
      keyObject({ study: 1, instance: 901 }, [
        [1, 11, 101],
        [1, 11, 199],
      ]),
    );
    await store(
      services,
      keyObject(
        { study: 1, instance: 902, title: '113010' },
        [
          [1, 11, 101],
          [2, 12, 102],
        ],
        [2, 7],
      ),
    );
    const { json } = await study({ studyUID: uid(1), ...only });
    expect(json.isExact).toBe(true);
    expect(json.studies[0].keyImages).toEqual([image(1, 11, 101), { ...image(2, 12, 102), frames: [2, 7] }]);
    expect((await study({ studyUID: uid(1), keyImagesOnly: 'false' })).json.studies[0].keyImages).toBeUndefined();
  });

  test('names none where nobody has marked any, or where a note asks for images to be hidden', async () => {
    expect((await patient({ ...only, mostRecentResults: '1' })).json.studies[0].keyImages).toEqual([]);
    await store(services, keyObject({ study: 1, instance: 903, title: '113001' }, [[1, 11, 198]]));
    expect((await study({ studyUID: uid(1), ...only })).json.studies[0].keyImages).toEqual([]);
  });

  test('names none of a study that the account does not reach', async () => {
    await store(
      services,
      keyObject({ study: 1, instance: 904 }, [
        [1, 11, 101],
        [4, 14, 104],
      ]),
    );
    const confined = { ...as('radiologist'), reach: [{ studies: [uid(1)] }] };
    expect((await study({ studyUID: uid(1), ...only }, confined)).json.studies[0].keyImages).toEqual([
      image(1, 11, 101),
    ]);
  });
});

describe('of a patient', () => {
  test('lists his studies, the newest first, for a person to choose', async () => {
    expect(await patient({ patientID: 'P1^^^HOSPITAL&1.2.3&ISO' })).toMatchObject({
      studies: [uid(3), uid(2), uid(1)],
      json: { isExact: false },
    });
    expect((await patient({ patientID: 'P9' })).studies).toEqual([]);
  });

  test('narrowed by modality, by date, and to the most recent', async () => {
    expect((await patient({ modalitiesInStudy: 'CT' })).studies).toEqual([uid(3), uid(1)]);
    expect((await patient({ modalitiesInStudy: 'MR,US' })).studies).toEqual([uid(2)]);
    expect((await patient({ lowerDateTime: '2024-02-01T00:00:00' })).studies).toEqual([uid(3), uid(2)]);
    expect((await patient({ lowerDateTime: '2024-02-01', upperDateTime: '2024-02-28T23:59:59Z' })).studies).toEqual([
      uid(2),
    ]);
    expect(await patient({ mostRecentResults: '1' })).toMatchObject({ studies: [uid(3)], json: { isExact: true } });
    expect((await patient({ mostRecentResults: '2' })).studies).toEqual([uid(3), uid(2)]);
    expect((await patient({ patientBirthDate: '1970-01-01' })).studies).toHaveLength(3);
    expect((await patient({ patientBirthDate: '19800101' })).studies).toEqual([]);
  });
});

test('what is missing, malformed or of the other kind is refused by its name; wildcards reach nobody', async () => {
  const wrong: [object, string][] = [
    [{}, 'requestType'],
    [{ requestType: 'SERIES' }, 'requestType'],
    [{ requestType: 'STUDY' }, 'studyUID'],
    [{ requestType: 'STUDY', studyUID: '1.2.x' }, 'studyUID'],
    [{ requestType: 'STUDY', studyUID: 7 }, 'studyUID'],
    [{ requestType: 'STUDY', accessionNumber: '*' }, 'accessionNumber'],
    [{ requestType: 'STUDY', accessionNumber: 'A1\\A2' }, 'accessionNumber'],
    [{ requestType: 'STUDY', studyUID: uid(1), patientID: 'P1' }, 'patientID'],
    [{ requestType: 'PATIENT' }, 'patientID'],
    [{ requestType: 'PATIENT', patientID: 'P*' }, 'patientID'],
    [{ requestType: 'PATIENT', patientID: '^^^X' }, 'patientID'],
    [{ requestType: 'PATIENT', patientID: 'P1', mostRecentResults: '0' }, 'mostRecentResults'],
    [{ requestType: 'PATIENT', patientID: 'P1', lowerDateTime: 'yesterday' }, 'lowerDateTime'],
    [{ requestType: 'PATIENT', patientID: 'P1', modalitiesInStudy: 'ct*' }, 'modalitiesInStudy'],
    [{ requestType: 'PATIENT', patientID: 'P1', keyImagesOnly: 'perhaps' }, 'keyImagesOnly'],
    [{ requestType: 'PATIENT', patientID: 'P1', studyUID: uid(1) }, 'studyUID'],
  ];
  for (const [parameters, name] of wrong) {
    const { status, json } = await invoke(parameters);
    expect([parameters, status, json.details?.parameter]).toEqual([parameters, 400, name]);
    expect(json.title).not.toContain('P1');
  }
  const unheeded = { viewerType: 'IHE_BIR', diagnosticQuality: 'true', keyImagesOnly: 'false', patientName: 'X' };
  expect((await patient(unheeded)).studies).toHaveLength(3);
});

test('nobody without the right, and nobody of another tenant, is shown anything; each request is in the trail', async () => {
  expect((await study({ studyUID: uid(1) }, as('auditor'))).status).toBe(403);
  expect((await study({ studyUID: uid(1) }, as('radiologist', 'other'))).studies).toEqual([]);
  await study({ studyUID: uid(1) });
  const { records } = await services.index.query({ partition: `${TENANT}|audit`, limit: 50, log: true });
  const entries = records.map(({ item }) => JSON.parse(String(item.line)));
  expect(entries).toContainEqual(
    expect.objectContaining({ transaction: 'InvokeImageDisplay', event: 'Query', outcome: 0, studies: [uid(1)] }),
  );
  expect(JSON.stringify(entries)).not.toContain('P1');
});
