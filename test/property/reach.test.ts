import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { apiRoutes } from '#api/routes.ts';
import type { Principal, Reach, ReachRule } from '#core/access.ts';
import { storeObject } from '#core/archive/store.ts';
import { TokenStore } from '#core/tokens.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices } from '#test/fixtures/services.ts';
import { toldBy, withoutCursors } from './told.ts';

/**
 * Whoever is confined is answered as if the archive held the studies of his reach and nothing else: whatever he asks, by whatever route
 * there is. Which studies those are is worked out here once more, by the plain meaning of the rules.
 */
interface Study {
  readonly n: number;
  readonly patient: string;
  readonly issuer: string | undefined;
  readonly site: string;
  readonly modalities: readonly string[];
  readonly referrer: string;
  /** by instance */
  readonly deidentified: readonly boolean[];
}

const PATIENTS = ['P1', 'P2', 'P3'];
const SITES = ['North', 'South'];
const MODALITIES = ['CT', 'MR', 'SR'];
const REFERRERS = ['House^Gregory', 'Wilson^James'];
const STUDIES = 5;

const someOf = <T>(values: readonly T[]): fc.Arbitrary<T[]> => fc.subarray([...values], { minLength: 1 });
const study = (n: number): fc.Arbitrary<Study> =>
  fc.record({
    n: fc.constant(n),
    patient: fc.constantFrom(...PATIENTS),
    issuer: fc.constantFrom(undefined, 'North'),
    site: fc.constantFrom(...SITES),
    modalities: someOf(MODALITIES),
    referrer: fc.constantFrom(...REFERRERS),
    deidentified: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
  });
const CONDITIONS: Readonly<Record<keyof ReachRule, fc.Arbitrary<unknown>>> = {
  studies: someOf([1, 2, 3, 4, 5].map((n) => uid(n))),
  sites: someOf(SITES),
  modalities: someOf(MODALITIES),
  referringPhysicians: someOf(['HOUSE^GREGORY', 'wils*']),
  patients: someOf([{ id: 'P1' }, { id: 'P2', issuer: 'North' }, { id: 'P3' }]),
  deidentified: fc.constant(true),
};
/** One condition, or two. */
const rule: fc.Arbitrary<ReachRule> = fc
  .subarray(Object.keys(CONDITIONS) as (keyof ReachRule)[], { minLength: 1, maxLength: 2 })
  .chain(
    (names) => fc.record(Object.fromEntries(names.map((name) => [name, CONDITIONS[name]]))) as fc.Arbitrary<ReachRule>,
  );

const isIn = (reach: Reach, s: Study): boolean =>
  reach.some(
    (one) =>
      (one.studies?.includes(uid(s.n)) ?? true) &&
      (one.sites?.some((site) => site === s.site || site === s.issuer) ?? true) &&
      (one.modalities?.some((modality) => s.modalities.includes(modality)) ?? true) &&
      (one.referringPhysicians?.includes(s.referrer.startsWith('H') ? 'HOUSE^GREGORY' : 'wils*') ?? true) &&
      (one.patients?.some(({ id, issuer }) => id === s.patient && issuer === s.issuer) ?? true) &&
      (one.deidentified === undefined || s.modalities.every((_, i) => s.deidentified[i])),
  );

const series = (s: Study, i: number): string => uid(s.n * 100 + i);
const instance = (s: Study, i: number): string => uid(s.n * 100 + 50 + i);
const objectOf = (s: Study, i: number): Uint8Array =>
  buildDicom({
    StudyInstanceUID: uid(s.n),
    SeriesInstanceUID: series(s, i),
    SOPInstanceUID: instance(s, i),
    Modality: s.modalities[i]!,
    PatientID: s.patient,
    PatientName: `${s.patient}^Name`,
    ...(s.issuer !== undefined && { IssuerOfPatientID: s.issuer }),
    InstitutionName: s.site,
    ReferringPhysicianName: s.referrer,
    StudyDate: `2024010${s.n}`,
    PatientIdentityRemoved: s.deidentified[i] ? 'YES' : 'NO',
  });

async function anArchive(studies: readonly Study[]) {
  const services = memoryServices();
  const tokens = new TokenStore(services);
  const app = createArchiveApp({ services, tokens, corsOrigins: [], tenant: 'main', onFailure: () => {} });
  for (const one of studies)
    for (const i of one.modalities.keys())
      expect(
        await storeObject(services, { tenant: 'main', source: 'T' }, chunked(objectOf(one, i))).outcome,
      ).toMatchObject({ kind: 'stored' });
  return async (principal: Principal, [method, path]: readonly [string, string]): Promise<string> => {
    const { pathname, searchParams } = new URL(path, 'http://pacs.test');
    const answered = await app.answer({
      method,
      path: pathname,
      query: searchParams,
      headers: { accept: '*/*' },
      body: chunked(new Uint8Array()),
      principal,
      origin: 'http://pacs.test',
      signal: AbortSignal.abort(),
    });
    return withoutCursors(await toldBy(answered!.response));
  };
}

const API_ROUTES = apiRoutes(new TokenStore(memoryServices()));

/** Every route that reads, with the UIDs of one study. */
function questionsAbout(s: Study, i: number): (readonly [string, string])[] {
  const parameters: Record<string, string> = {
    study: uid(s.n),
    series: series(s, i),
    instance: instance(s, i),
    frames: '1',
    bulk: '7FE00010',
    id: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
  };
  const under = (prefix: string) => (route: { method: string; path: string }) =>
    [
      route.method,
      prefix + route.path.replace(/\{(\w+)\*?\}/g, (_, name: string) => parameters[name] ?? 'x1'),
    ] as const;
  const routes = [...DICOMWEB_ROUTES.map(under('/dicomweb')), ...API_ROUTES.map(under('/api'))].filter(
    ([method]) => method === 'GET',
  );
  const [wado] = WADO_URI_ROUTES.map(under('/wado'));
  return [
    ...routes,
    [
      'GET',
      `${wado![1]}?requestType=WADO&studyUID=${uid(s.n)}&seriesUID=${series(s, i)}&objectUID=${instance(s, i)}&contentType=application/dicom`,
    ],
    ['GET', `/dicomweb/studies?StudyInstanceUID=${uid(s.n)}`],
    ['GET', `/dicomweb/studies?SeriesInstanceUID=${series(s, i)}`],
    ['GET', `/dicomweb/studies?SOPInstanceUID=${instance(s, i)}`],
    ['GET', `/dicomweb/instances?SOPInstanceUID=${instance(s, i)}&includefield=all`],
    ['GET', `/dicomweb/series?SeriesInstanceUID=${series(s, i)}`],
    ['GET', `/dicomweb/studies?PatientID=${s.patient}&includefield=all`],
    ['GET', `/dicomweb/studies?ModalitiesInStudy=${s.modalities[i]}&limit=1`],
    ['GET', `/dicomweb/studies?StudyDate=2024010${s.n}-`],
    ['GET', '/dicomweb/studies?limit=1&offset=1'],
    ['GET', '/dicomweb/studies?orderby=PatientID&limit=2'],
    ['GET', '/dicomweb/studies?PatientName=*name*&fuzzymatching=true'],
    ['GET', '/dicomweb/instances?limit=2&offset=1'],
    ['GET', `/api/procedure-steps?StudyInstanceUID=${uid(s.n)}`],
  ];
}

test('whoever is confined is answered as by an archive of his studies alone', async () => {
  let seen = 0;
  let hidden = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(...Array.from({ length: STUDIES }, (_, i) => study(i + 1))),
      fc.array(rule, { minLength: 1, maxLength: 3 }),
      async (studies, reach) => {
        const all = await anArchive(studies);
        const mine = studies.filter((one) => isIn(reach, one));
        const only = await anArchive(mine);
        seen += mine.length;
        hidden += studies.length - mine.length;
        const principal: Principal = { tenant: 'main', subject: 'dr', roles: ['radiologist', 'technologist'], reach };
        for (const one of studies)
          for (const question of questionsAbout(one, one.modalities.length - 1))
            expect(await all(principal, question), question.join(' ')).toBe(await only(principal, question));
      },
    ),
    { numRuns: 10 },
  );
  expect(Math.min(seen, hidden)).toBeGreaterThan(1);
});
