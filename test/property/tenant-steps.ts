import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { createArchiveApp } from '#api/app.ts';
import { apiRoutes } from '#api/routes.ts';
import type { Principal } from '#core/access.ts';
import type { Services } from '#core/services.ts';
import { TokenStore } from '#core/tokens.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices } from '#test/fixtures/services.ts';
import { dataSet, scheduled, started } from '#test/fixtures/worklist.ts';
import { askDimse, type DimseStep } from './dimse-door.ts';
import { toldBy } from './told.ts';

/** One thing that somebody does, over HTTP or DIMSE; `n` tells objects apart that have the same UIDs in both tenants. */
export type Step =
  | { readonly http: readonly [method: string, path: string, body?: () => Uint8Array] }
  | { readonly dimse: DimseStep };

const STUDY_UID = uid(1);
const STUDY = `/dicomweb/studies/${STUDY_UID}`;
const sop = (n: number): string => uid(10 + n);
const instance = (n: number): string => `${STUDY}/series/${uid(2)}/instances/${sop(n)}`;
export const object = (n: number, name: string): Uint8Array =>
  buildDicom({ SOPInstanceUID: sop(n), PatientName: name, PatientID: `${name}-1`, InstanceNumber: n });
/** Made when it is sent: a counterexample is short. */
const text = (value: unknown) => (): Uint8Array => Buffer.from(JSON.stringify(value));
const TRANSACTION = `/api/transactions/${'t'.repeat(20)}`;
const announced = (n: number, name: string) => {
  const bytes = object(n, name);
  return [{ sizeBytes: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') }];
};
const MPPS = uid(900);

/** Every route that only reads, with ids that both tenants have. */
export const READING = [
  ...DICOMWEB_ROUTES.map((route) => ({ prefix: '/dicomweb', ...route })),
  ...apiRoutes(new TokenStore(memoryServices())).map((route) => ({ prefix: '/api', ...route })),
]
  // What is drawn is drawn of the same records as what is fetched.
  .filter(({ method, action, path }) => method === 'GET' && action !== 'public' && !/rendered|thumbnail/.test(path))
  .map(({ prefix, path }): Step => {
    const values: Record<string, string> = {
      study: STUDY_UID,
      series: uid(2),
      instance: path.startsWith('/procedure-steps') ? MPPS : sop(1),
      frames: '1',
      bulk: '7FE00010',
    };
    return { http: ['GET', prefix + path.replace(/\{(\w+)\*?\}/g, (_, name: string) => values[name] ?? 'x1')] };
  });

export const http = (...http: readonly [method: string, path: string, body?: () => Uint8Array]): Step => ({ http });
const dimse = (...dimse: DimseStep): Step => ({ dimse });

const steps = (name: string): fc.Arbitrary<Step> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.nat(3).map((n) => http('POST', '/dicomweb/studies', () => object(n, name))) },
    // The same UIDs with other bytes: held in quarantine, which must not show next door either.
    fc.nat(3).map((n) => http('POST', '/dicomweb/studies', () => object(n, `${name}^Other`))),
    fc.nat(3).map((n) => http('DELETE', instance(n))),
    fc.nat(3).map((n) => http('GET', instance(n))),
    { weight: 6, arbitrary: fc.constantFrom(...READING) },
    fc.constantFrom(
      http('DELETE', STUDY),
      http('GET', '/dicomweb/studies?includefield=all'),
      http('GET', '/dicomweb/studies?PatientName=*a*&limit=2'),
      http('GET', '/dicomweb/studies?PatientID=*1&fuzzymatching=true'),
      http('GET', '/dicomweb/instances?includefield=all'),
      http(
        'GET',
        `/wado?requestType=WADO&studyUID=${STUDY_UID}&seriesUID=${uid(2)}&objectUID=${sop(1)}&contentType=application/dicom`,
      ),
      http('GET', `/api/procedure-steps?StudyInstanceUID=${STUDY_UID}`),
      // A transaction whose id somebody next door has chosen too.
      http('PUT', TRANSACTION, text({ objects: announced(1, name) })),
      http('PUT', `${TRANSACTION}/objects/1/parts/1`, () => object(1, name)),
      http('POST', `${TRANSACTION}/commit`),
      http('DELETE', TRANSACTION),
      http('POST', '/api/worklist', text(scheduled({ StudyInstanceUID: STUDY_UID, PatientName: name }))),
      http('PUT', `/api/procedure-steps/${MPPS}`, text(started({ PatientName: name }))),
      http('POST', '/api/grants', text({ to: { subject: 'dr' }, rules: [{ patients: [{ id: `${name}-1` }] }] })),
      http('POST', '/api/restrictions', text({ patient: { id: 'anna-1' }, reason: 'a patient of both' })),
      http('PUT', '/api/access', text({ showRestricted: true })),
      http('POST', '/api/emergencies', text({ StudyInstanceUID: STUDY_UID, reasonCode: 'ETREAT', reason: 'no time' })),
      http('POST', '/api/tokens', text({ name, subject: name, roles: ['viewer'] })),
    ),
    fc.nat(3).map((n) => dimse('C-STORE', sop(n), () => object(n, name))),
    fc.constantFrom(
      dimse('C-FIND', 'PATIENT', { PatientID: '', NumberOfPatientRelatedStudies: '' }),
      dimse('C-FIND', 'STUDY', { PatientName: '*A*', StudyInstanceUID: '' }),
      dimse('C-FIND', 'IMAGE', { StudyInstanceUID: STUDY_UID, SeriesInstanceUID: uid(2), SOPInstanceUID: '' }),
      dimse('C-GET', 'STUDY', { StudyInstanceUID: STUDY_UID }),
      dimse('N-ACTION', sop(1)),
      dimse('N-GET MPPS', MPPS),
      dimse('N-CREATE MPPS', MPPS, started({ PatientName: name })),
      dimse('N-SET MPPS', MPPS, dataSet({ PerformedProcedureStepDescription: name })),
      dimse('C-FIND MWL', dataSet({ PatientName: '', ScheduledProcedureStepSequence: { Modality: '' } })),
    ),
  );

/** An archive, and what it answers; with what depends on chance (ids of records) taken out. */
export function anArchive(ports: Partial<Services> = {}) {
  const services = memoryServices({ ports });
  const tokens = new TokenStore(services);
  const app = createArchiveApp({
    services,
    tokens,
    corsOrigins: [],
    tenant: 'main',
    onFailure: (error) => {
      throw error;
    },
  });
  return async (tenant: string, step: Step): Promise<string> => {
    // Within one moment the order of records is chance.
    services.clock.advance(1);
    const principal: Principal = { tenant, subject: 'dr', roles: ['admin'] };
    if ('dimse' in step) return askDimse(services, principal, step.dimse);
    const [method, path, make = () => new Uint8Array()] = step.http;
    const body = make();
    const { pathname, searchParams } = new URL(path, 'http://pacs.test');
    const answered = await app.answer({
      method,
      path: pathname,
      query: searchParams,
      headers: {
        'content-type': 'application/dicom',
        accept: method === 'POST' ? 'application/dicom+json' : '*/*',
        'content-digest': `sha-256=:${createHash('sha256').update(body).digest('base64')}:`,
      },
      body: chunked(body),
      principal,
      origin: 'http://pacs.test',
      signal: AbortSignal.abort(),
    });
    return toldBy(answered!.response);
  };
}
export type Archive = ReturnType<typeof anArchive>;
/** What happens in turn: whether it is ours or our neighbour's, and what he or we then do. */
export type Act = readonly [isOurs: boolean, ours: Step, theirs: Step];
export const acts = fc.array(fc.tuple(fc.boolean(), steps('anna'), steps('bob')), { minLength: 5, maxLength: 40 });
