import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import type { Principal } from '#core/access.ts';
import { TokenStore } from '#core/tokens.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices } from '#test/fixtures/services.ts';

/** One thing that somebody does; `n` tells objects apart that have the same UIDs in both tenants. */
type Step = readonly [method: string, path: string, body?: Uint8Array];

const STUDY = `/dicomweb/studies/${uid(1)}`;
const instance = (n: number): string => `${STUDY}/series/${uid(2)}/instances/${uid(10 + n)}`;
const object = (n: number, name: string): Uint8Array =>
  buildDicom({ SOPInstanceUID: uid(10 + n), PatientName: name, PatientID: `${name}-1`, InstanceNumber: n });

const steps = (name: string): fc.Arbitrary<Step> =>
  fc.oneof(
    fc.nat(3).map((n): Step => ['POST', '/dicomweb/studies', object(n, name)]),
    // The same UIDs with other bytes: held in quarantine, which must not show next door either.
    fc.nat(3).map((n): Step => ['POST', '/dicomweb/studies', object(n, `${name}^Other`)]),
    fc.nat(3).map((n): Step => ['DELETE', instance(n)]),
    fc.nat(3).map((n): Step => ['GET', instance(n)]),
    fc.constantFrom<Step>(
      ['DELETE', STUDY],
      ['GET', STUDY],
      ['GET', `${STUDY}/metadata`],
      ['GET', `${STUDY}/series/${uid(2)}/metadata`],
      ['GET', '/dicomweb/studies?includefield=all'],
      ['GET', '/dicomweb/studies?PatientName=*a*&limit=2'],
      ['GET', '/dicomweb/studies?PatientID=*1&fuzzymatching=true'],
      ['GET', '/dicomweb/series'],
      ['GET', '/dicomweb/instances?includefield=all'],
      ['GET', '/api/events'],
      ['GET', '/api/trash'],
      ['GET', '/api/quarantine'],
      ['GET', '/api/worklist'],
      ['GET', '/api/procedure-steps'],
      ['GET', '/api/gateways'],
      ['GET', '/api/tokens'],
      ['GET', '/api/audit'],
    ),
  );

/** An archive, and what it answers; with what depends on chance (ids of records) taken out. */
function anArchive() {
  const services = memoryServices();
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
  return async (tenant: string, [method, path, body]: Step): Promise<unknown> => {
    // Within one moment the order of records is chance.
    services.clock.advance(1);
    const principal: Principal = { tenant, subject: 'dr', roles: ['admin'] };
    const { pathname, searchParams } = new URL(path, 'http://pacs.test');
    const answered = await app.answer({
      method,
      path: pathname,
      query: searchParams,
      headers: { 'content-type': 'application/dicom', accept: method === 'POST' ? 'application/dicom+json' : '*/*' },
      body: chunked(body ?? new Uint8Array()),
      principal,
      origin: 'http://pacs.test',
    });
    const { status, headers, body: text = '' } = answered!.response;
    const chunks: Uint8Array[] = [];
    if (typeof text === 'string') chunks.push(Buffer.from(text));
    else if (text instanceof Uint8Array) chunks.push(text);
    else for await (const chunk of text) chunks.push(Buffer.from(chunk));
    const told = JSON.stringify({ status, headers, body: Buffer.concat(chunks).toString('latin1') });
    return told
      .replace(/[0-9A-HJKMNP-TV-Z]{26}/g, 'ULID')
      .replace(/[0-9a-f]{64}/g, 'HASH')
      .replace(/"etag":"[^,]*,/g, '')
      .replace(/boundary=[^;,"\\]*|--[0-9A-Za-z_-]{16,}/g, 'BOUNDARY');
  };
}

test('whatever a tenant does, the other one is answered as if it were alone', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.boolean(), steps('anna'), steps('bob')), { minLength: 5, maxLength: 40 }),
      async (acts) => {
        const alone = anArchive();
        const shared = anArchive();
        for (const [isOurs, ours, theirs] of acts) {
          if (isOurs) expect(await shared('a', ours)).toBe(await alone('a', ours));
          else {
            await shared('b', theirs);
            await alone('nobody', ['GET', '/healthz']);
          }
        }
      },
    ),
    { numRuns: 60 },
  );
});
