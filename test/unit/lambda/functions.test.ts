import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { QUEUES } from '#adapters/aws/schema.ts';
import { apiRoutes } from '#api/routes.ts';
import { ARCHIVE_JOBS } from '#core/jobs.ts';
import type { TokenStore } from '#core/tokens.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { FUNCTIONS, type FunctionName, type FunctionSpec } from '#lambda/functions.ts';
import { routeTo } from '#test/fixtures/lambda-runtime.ts';

const ROOT = join(import.meta.dirname, '../../..');
const names = Object.keys(FUNCTIONS) as FunctionName[];
const spec = (name: FunctionName): FunctionSpec => FUNCTIONS[name];

/** Which function is to do a transaction: by what it does, not by where it stands. */
function kindOf(route: string): FunctionName {
  if (/Transaction|GrantParts/.test(route)) return 'transactions';
  if (/^Store/.test(route)) return 'store';
  if (/Rendered|Thumbnail|ByUri/.test(route) && !/Quarantined/.test(route)) return 'render';
  if (/^Retrieve(?!Capabilities)/.test(route)) return 'retrieve';
  if (/^Search|Capabilities|Commitment/.test(route)) return 'search';
  return route === 'GetEvents' ? 'events' : 'admin';
}

const routes = [
  ...DICOMWEB_ROUTES.map((route) => ({ ...route, path: `/dicomweb${route.path === '/' ? '' : route.path}` })),
  ...WADO_URI_ROUTES.map((route) => ({ ...route, path: '/wado' })),
  ...apiRoutes({} as TokenStore).map((route) => ({ ...route, path: `/api${route.path}` })),
];

describe('every route of the archive is answered by the function for its kind of work', () => {
  test.each(routes.map(({ method, path, name, action }) => [method, path, name, action] as const))(
    '%s %s (%s)',
    (method, path, name, action) => {
      const example = path.replace(/\{(\w+)\*\}/, '7FE00010/1').replace(/\{(\w+)\}/g, '1.2.3');
      const { name: found, trigger } = routeTo(method, example);
      expect(found).toBe(kindOf(name));
      expect(trigger.public === true, 'public exactly where the route is').toBe(action === 'public');
    },
  );
});

test('what nobody answers is answered by search, without the authorizer', () => {
  for (const [method, path] of [
    ['PUT', '/dicomweb/studies'],
    ['GET', '/nowhere'],
    ['OPTIONS', '/dicomweb'],
  ] as const) {
    expect(routeTo(method, path)).toMatchObject({ name: 'search', trigger: { public: true } });
  }
});

test('every job of the archive has a queue, every queue of jobs a function that may send again what came too early', () => {
  const worked = names.flatMap((name) =>
    spec(name).triggers.flatMap((trigger) => (trigger.kind === 'queue' ? [{ name, trigger }] : [])),
  );
  for (const queue of Object.keys(ARCHIVE_JOBS)) {
    expect(Object.keys(QUEUES)).toContain(queue);
    const { name } = worked.find(({ trigger }) => trigger.queue === queue)!;
    expect(spec(name).grants.sends, `${name} and ${queue}`).toContain(queue);
  }
  for (const { name, trigger } of worked) {
    expect(QUEUES[trigger.queue].visibilitySeconds, name).toBeGreaterThanOrEqual(spec(name).timeoutSeconds);
  }
});

test('each entrypoint is there, exports a handler, and is short', () => {
  for (const name of names) {
    const file = join(ROOT, spec(name).entry);
    expect(existsSync(file), file).toBe(true);
    const text = readFileSync(file, 'utf8');
    expect(text).toMatch(/^export const handler = /m);
    expect(text.split('\n').length).toBeLessThanOrEqual(31);
    expect(text, 'an entrypoint names itself').toContain(name === 'authorizer' ? 'authorizerFunction' : `'${name}'`);
  }
});

test('who only reads may write neither objects nor parts; nobody but the sweeper and ingest empties the landing bucket of others', () => {
  for (const name of ['search', 'retrieve', 'render', 'events', 'authorizer', 'reconcile'] as const) {
    const { archive, landing } = spec(name).grants;
    expect(archive.filter((grant) => grant !== 'read' && grant !== 'list')).toEqual([]);
    expect(landing).toEqual([]);
  }
  const emptying = names.filter((name) => spec(name).grants.landing.includes('delete'));
  expect(emptying).toEqual(['transactions', 'ingest', 'sweep']);
});

test('behind API Gateway nothing outlives what it waits for: 29 s for a whole answer, 15 min for a stream', () => {
  for (const name of names) {
    const { triggers, streaming, timeoutSeconds } = spec(name);
    if (triggers.some(({ kind }) => kind === 'http')) expect(timeoutSeconds).toBeLessThanOrEqual(streaming ? 900 : 29);
  }
});
