import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { apiRoutes } from '#api/routes.ts';
import { type Action, PERMISSIONS, ROLES, type Role } from '#core/access.ts';
import { TokenStore } from '#core/tokens.ts';
import type { Route } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, noPixels } from '#test/fixtures/services.ts';
import { dataSet, started } from '#test/fixtures/worklist.ts';
import { askDimse, type DimseStep } from '#test/property/dimse-door.ts';
import { embeddedHost, type Host, lambdaHost } from './both-hosts.ts';

/** The table of roles (docs/roles.md), through the doors of running hosts: tokens, authorizer, server and all. */
interface Door {
  readonly method: string;
  readonly path: string;
  readonly action: Action;
}

const PARAMETERS: Readonly<Record<string, string>> = {
  study: uid(1),
  series: uid(2),
  instance: uid(3),
  frames: '1',
  bulk: '7FE00010',
};
const doorsUnder = (prefix: string, routes: readonly Route[]): Door[] =>
  routes.flatMap(({ method, path, action }) =>
    action === 'public'
      ? []
      : [
          {
            method,
            action,
            path: prefix + path.replace(/\{(\w+)\*?\}/g, (_, name: string) => PARAMETERS[name] ?? 'x1'),
          },
        ],
  );
const DOORS = [
  ...doorsUnder('/dicomweb', DICOMWEB_ROUTES),
  ...doorsUnder('/wado', WADO_URI_ROUTES),
  ...doorsUnder('/api', apiRoutes(new TokenStore(memoryServices({ pixels: noPixels })))),
];

/** Nobody of the test asks too often. */
const UNLIMITED = {
  NEPHOS_RATE_REQUESTS: '1000000',
  NEPHOS_RATE_ADDRESS_REQUESTS: '1000000',
  NEPHOS_RATE_FAILURES: '1000000',
};

describe.each([
  ['embedded', () => embeddedHost(UNLIMITED)],
  ['lambda', () => lambdaHost()],
] as const)('every role at every door of the %s host', (_, open) => {
  let host: Host;
  const tokens = new Map<Role, string>();
  beforeAll(async () => {
    host = await open();
    const store = new TokenStore(host.services);
    for (const role of ROLES) {
      const asked = { name: role, subject: 'gateway:x1', roles: [role], createdBy: 'test', expiresAt: null };
      tokens.set(role, (await store.issue(host.tenant, asked)).token);
    }
  });
  afterAll(() => host?.close());

  const knock = async ({ method, path }: Door, token?: string): Promise<number> => {
    const ended = new AbortController();
    const answer = await fetch(host.origin + path, {
      method,
      signal: ended.signal,
      headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }), accept: '*/*' },
    });
    // Streams of events go on for ever.
    ended.abort();
    return answer.status;
  };

  test('nobody without a token comes in', async () => {
    for (const door of DOORS) expect(await knock(door), `${door.method} ${door.path}`).toBe(401);
  });

  test('each may do what the table permits, and nothing else', async () => {
    const wrong: string[] = [];
    for (const door of DOORS)
      for (const role of ROLES) {
        const status = await knock(door, tokens.get(role));
        const permitted = PERMISSIONS[role].has(door.action);
        if (permitted ? [401, 403, 429].includes(status) : status !== 403)
          wrong.push(`${role} ${door.method} ${door.path}: ${status}`);
      }
    expect(wrong).toEqual([]);
  }, 600_000);
});

describe('every role over an association', () => {
  const object = () => buildDicom({ SOPInstanceUID: uid(11) });
  const OPERATIONS: readonly [Action, DimseStep][] = [
    ['store', ['C-STORE', uid(11), object]],
    ['search', ['C-FIND', 'STUDY', { StudyInstanceUID: '' }]],
    ['retrieve', ['C-GET', 'STUDY', { StudyInstanceUID: uid(1) }]],
    ['readWorklist', ['C-FIND MWL', dataSet({ PatientName: '' })]],
    ['performProcedure', ['N-CREATE MPPS', uid(900), started()]],
    ['performProcedure', ['N-SET MPPS', uid(900), dataSet({ PerformedProcedureStepDescription: 'x' })]],
    ['commit', ['N-ACTION', uid(11)]],
  ];
  /** Refused: not authorized (PS3.7 Annex C), here as the numbers stand in what is told. */
  const isRefused = (said: string): boolean => /\b292\b/.test(said) || said.includes('FORBIDDEN');

  test.each(OPERATIONS)('%s: who may does, who may not is told 0124', async (action, step) => {
    for (const role of ROLES) {
      const services = memoryServices({ pixels: noPixels });
      const said = await askDimse(services, { tenant: 'main', subject: 'CT1', roles: [role] }, step);
      expect([role, isRefused(said), said]).toEqual([role, !PERMISSIONS[role].has(action), said]);
    }
  });
});
