import { describe, expect, test } from 'vitest';
import type { Principal, Role } from '#core/access.ts';
import type { AuditEntry } from '#core/audit/entry.ts';
import { auditPartition } from '#core/audit/trail.ts';
import type { Services } from '#core/services.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const STUDY = uid(1);

async function anArchive() {
  const services = memoryServices();
  await store(services, buildDicom({ SOPInstanceUID: uid(3), PatientName: 'Doe^Jane' }));
  const routers = [
    new Router(services, '/dicomweb', DICOMWEB_ROUTES, TENANT),
    new Router(services, '/wado', WADO_URI_ROUTES),
  ];
  const ask = async (
    method: string,
    url: string,
    { roles = ['admin'], headers = {}, body }: { roles?: Role[] | null; headers?: object; body?: Uint8Array } = {},
  ): Promise<number> => {
    const { pathname, searchParams } = new URL(url, 'http://pacs.test');
    const principal: Principal | undefined = roles === null ? undefined : { tenant: TENANT, subject: 'dr-x', roles };
    const { response } = await routers
      .find((router) => router.matches(pathname))!
      .handle({
        method,
        path: pathname,
        query: searchParams,
        headers: headers as Record<string, string>,
        body: chunked(body ?? new Uint8Array()),
        principal,
        origin: 'http://pacs.test',
        remoteAddress: '10.0.0.9',
      });
    return response.status;
  };
  return { services, ask };
}

const entriesOf = async (services: Services): Promise<AuditEntry[]> => {
  const { records } = await services.index.query({ partition: auditPartition(TENANT), log: true, limit: 1000 });
  return records.map(({ item }) => JSON.parse(item.line as string));
};

describe('the audit trail of DICOMweb', () => {
  test('says who looked at which study from where, once however many frames are read', async () => {
    const { services, ask } = await anArchive();
    for (let i = 0; i < 5; i++) expect(await ask('GET', `/dicomweb/studies/${STUDY}/metadata`)).toBe(200);
    expect(await ask('GET', `/dicomweb/studies/${STUDY}/series/${uid(2)}/instances/${uid(3)}`)).toBe(200);
    expect(await entriesOf(services)).toMatchObject([
      {
        event: 'InstancesAccessed',
        action: 'R',
        outcome: 0,
        subject: 'dr-x',
        roles: ['admin'],
        from: '10.0.0.9',
        door: 'http',
        transaction: 'RetrieveStudyMetadata',
        studies: [STUDY],
      },
    ]);
  });

  test('says what was searched by, never for whom', async () => {
    const { services, ask } = await anArchive();
    expect(await ask('GET', '/dicomweb/studies?PatientName=Doe*&limit=5&includefield=all')).toBe(200);
    const [entry] = await entriesOf(services);
    expect(entry).toMatchObject({ event: 'Query', action: 'E', keys: ['PatientName'] });
    expect(JSON.stringify(entry)).not.toContain('Doe');
  });

  test('says which studies a request brought, and how many instances', async () => {
    const { services, ask } = await anArchive();
    const headers = { 'content-type': 'application/dicom', accept: 'application/dicom+json' };
    const body = buildDicom({ SOPInstanceUID: uid(9), StudyInstanceUID: uid(8) });
    expect(await ask('POST', '/dicomweb/studies', { headers, body })).toBe(200);
    expect(await entriesOf(services)).toMatchObject([
      { event: 'InstancesTransferred', action: 'C', outcome: 0, studies: [uid(8)], instances: 1 },
    ]);
  });

  test('holds what was refused and what failed, with the code of the error', async () => {
    const { services, ask } = await anArchive();
    expect(await ask('GET', `/dicomweb/studies/${STUDY}`, { roles: null })).toBe(401);
    expect(await ask('DELETE', `/dicomweb/studies/${STUDY}`, { roles: ['finder'] })).toBe(403);
    expect(await ask('GET', `/dicomweb/studies/${uid(77)}`)).toBe(404);
    expect(await ask('GET', `/wado?requestType=WADO&studyUID=${uid(78)}&seriesUID=1.2&objectUID=1.3`)).toBe(404);
    expect(await entriesOf(services)).toMatchObject([
      { subject: 'nobody', event: 'InstancesAccessed', outcome: 4, error: 'UNAUTHENTICATED', studies: [STUDY] },
      { subject: 'dr-x', event: 'StudyDeleted', outcome: 4, error: 'FORBIDDEN', studies: [STUDY] },
      { event: 'InstancesAccessed', outcome: 4, error: 'NOT_FOUND', studies: [uid(77)] },
      { event: 'InstancesAccessed', outcome: 4, error: 'NOT_FOUND', studies: [uid(78)] },
    ]);
  });

  test('when it cannot be written, nothing is deleted; reading goes on', async () => {
    const { services, ask } = await anArchive();
    const { write } = services.index;
    Object.assign(services.index, {
      write: (...args: Parameters<typeof write>) =>
        args[0].some((operation) => operation.kind === 'append' && operation.partition === auditPartition(TENANT))
          ? Promise.reject(new Error('no space left'))
          : Reflect.apply(write, services.index, args),
    });
    expect(await ask('GET', `/dicomweb/studies/${STUDY}/metadata`)).toBe(200);
    expect(await ask('DELETE', `/dicomweb/studies/${STUDY}`)).toBe(503);
    expect(await ask('GET', `/dicomweb/studies/${STUDY}/metadata`)).toBe(200);
  });
});
