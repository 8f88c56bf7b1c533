import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { openApiDocument } from '#api/openapi.ts';
import { apiRoutes } from '#api/routes.ts';
import { TokenStore } from '#core/tokens.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { scheduled } from '#test/fixtures/worklist.ts';

type Content = Readonly<Record<string, { readonly schema: { readonly required?: readonly string[] } }>>;
interface Described {
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>;
}

const services = memoryServices();
const tokens = new TokenStore(services);
const app = createArchiveApp({ services, tokens, corsOrigins: [], tenant: TENANT, onFailure: () => {} });
const { paths } = openApiDocument(apiRoutes(tokens)) as { paths: Record<string, Record<string, Described>> };

const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
const grant = { to: { subject: 'dr.house' }, rules: [{ modalities: ['CT'] }] };
const sha256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
const transaction = '/transactions/0123456789abcdef';

/** In the order in which they are asked: `{id}` and `{code}` are of the answer before. */
const ASKED: readonly (readonly [method: string, path: string, body?: object | undefined, accept?: string])[] = [
  ['GET', '/session'],
  ['GET', '/events'],
  ['GET', '/events', undefined, 'text/event-stream'],
  ['POST', '/tokens', { name: 'AI worker', subject: 'ai.lung', roles: ['finder'] }],
  ['DELETE', '/tokens/{id}'],
  ['POST', '/clients', { name: 'AI triage', roles: ['finder'], method: 'client_secret' }],
  ['POST', '/clients/{id}/secrets', {}],
  ['POST', '/enrolments', { gateway: 'north-clinic' }],
  ['POST', '/enrolments/exchange', { code: '{code}', key }],
  ['POST', '/grants', grant],
  ['POST', '/restrictions', { patient: { id: 'P-77' }, reason: 'a colleague', subjects: ['dr.house'], roles: [] }],
  ['POST', '/emergencies', { StudyInstanceUID: uid(1), reasonCode: 'ETREAT', reason: 'unconscious in the room' }],
  ['POST', '/worklist', scheduled()],
  ['PUT', '/worklist/{id}', scheduled()],
  ['DELETE', '/worklist/{id}'],
  ['PUT', transaction, { objects: [{ sizeBytes: 3, sha256 }] }],
  ['PUT', transaction, { objects: [{ sizeBytes: 3, sha256 }] }],
  ['DELETE', transaction],
  ['POST', '/shares', { studies: [uid(1)], receiver: 'Dr. Wilson', purpose: 'second opinion', scopes: ['view'] }],
  ['POST', '/deidentifications', { studies: [uid(1)], project: 'lungs', profile: {} }],
  ['GET', '/costs'],
  ['GET', '/costs?format=csv'],
  ['GET', '/audit'],
  ['GET', '/audit?format=dicom'],
  ['GET', '/audit?format=fhir'],
  ['GET', '/routing'],
  ['GET', '/verification'],
  ['GET', '/verification/damaged'],
];

test('what is answered is what the document says is answered', async () => {
  const admin = (await tokens.bootstrap(TENANT))!;
  await store(services, buildDicom());
  let before: Record<string, string> = {};
  const filled = (text: string) => text.replace(/\{(id|code)\}/g, (_, name: string) => before[name] ?? '');
  for (const [method, template, given, accept] of ASKED) {
    const [path = '', query = ''] = template.split('?');
    const answered = await app.answer({
      method,
      path: `/api${filled(path)}`,
      query: new URLSearchParams(query),
      headers: { authorization: `Bearer ${admin}`, ...(accept && { accept }) },
      body: chunked(Buffer.from(given === undefined ? '' : filled(JSON.stringify(given)))),
      origin: 'https://pacs.test',
      remoteAddress: '203.0.113.7',
    });
    const { status, headers, body } = answered!.response;
    const what = `${method} ${template}: ${status} ${typeof body === 'string' ? body.slice(0, 200) : ''}`;
    expect(status, what).toBeLessThan(300);
    const described = describedAt(method, path)?.responses[status];
    expect(described, what).toBeDefined();
    const type = headers['content-type']?.split(';')[0];
    expect(Object.keys(described?.content ?? {}), what).toEqual(type ? expect.arrayContaining([type]) : []);
    if (type !== 'application/json') continue;
    before = JSON.parse(String(body));
    expect(Object.keys(before), what).toEqual(
      expect.arrayContaining([...(described?.content?.[type]?.schema.required ?? [])]),
    );
  }
});

/** The operation whose path has the most words in common with this one. */
function describedAt(method: string, path: string): Described | undefined {
  const asked = `/api${path}`.split('/');
  const fits = Object.keys(paths).filter((one) => {
    const words = one.split('/');
    return words.length === asked.length && words.every((word, at) => word.startsWith('{') || word === asked[at]);
  });
  const [best] = fits.sort((one, other) => one.split('{').length - other.split('{').length);
  return best === undefined ? undefined : paths[best]?.[method.toLowerCase()];
}
