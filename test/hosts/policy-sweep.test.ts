import { beforeAll, describe, expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { apiRoutes } from '#api/routes.ts';
import { type Action, PERMISSIONS, type Principal, type Role } from '#core/access.ts';
import type { Services } from '#core/services.ts';
import { TokenStore } from '#core/tokens.ts';
import type { HttpResponse } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices, noPixels } from '#test/fixtures/services.ts';

const ROLES = Object.keys(PERMISSIONS) as Role[];
/** What the doors are tried with where a path has a parameter. */
const PARAMETERS: Readonly<Record<string, string>> = {
  study: uid(1),
  series: uid(2),
  instance: uid(3),
  frames: '1',
  bulk: '7FE00010',
};

interface Door {
  readonly prefix: string;
  readonly route: Route;
}

const pathOf = ({ prefix, route }: Door): string =>
  prefix + route.path.replace(/\{(\w+)\*?\}/g, (_, name: string) => PARAMETERS[name] ?? 'x1');

let services: Services;
let doors: Door[];
let knock: (door: Door, principal: Principal | undefined, path?: string) => Promise<HttpResponse>;

beforeAll(() => {
  services = memoryServices({ pixels: noPixels });
  const tokens = new TokenStore(services);
  const app = createArchiveApp({ services, tokens, corsOrigins: [], tenant: 'main', onFailure: () => {} });
  const under = (prefix: string) => (route: Route) => ({ prefix, route });
  doors = [
    ...DICOMWEB_ROUTES.map(under('/dicomweb')),
    ...WADO_URI_ROUTES.map(under('/wado')),
    ...apiRoutes(tokens).map(under('/api')),
  ];
  knock = async (door, principal, path = pathOf(door)) => {
    const aborted = AbortSignal.abort();
    const answered = await app.answer({
      method: door.route.method,
      path,
      query: new URLSearchParams(),
      headers: {},
      body: chunked(new Uint8Array()),
      principal,
      origin: 'http://pacs.test',
      signal: aborted,
    });
    return answered!.response;
  };
});

describe('every route of every door', () => {
  test('has a policy, and those that anyone may use are these', () => {
    expect(doors.length).toBeGreaterThan(60);
    expect(doors.filter(({ route }) => route.action === 'public').map(({ route }) => route.name)).toEqual([
      'RetrieveCapabilities',
      'GetSession',
      'OpenSession',
      'CloseSession',
      'GetSignInOptions',
      'StartSignIn',
      'FinishSignIn',
      // The account of whoever has signed in, which no token and no authorizer can stand for.
      'GetAccount',
      'ChangePassword',
      'OfferTotp',
      'AcceptTotp',
      'DropTotp',
      'RequestToken',
      'ExchangeEnrolment',
      'BeginLaunch',
      'EndLaunch',
      'LookAtShare',
      'OpenShare',
      'GetGuestSession',
      'CloseGuestSession',
      'GetOpenApi',
    ]);
  });

  test('turns away who has not shown who he is', async () => {
    for (const door of doors)
      if (door.route.action !== 'public')
        expect((await knock(door, undefined)).status, `${door.route.method} ${pathOf(door)}`).toBe(401);
  });

  test('lets a role do what the table of roles permits, and nothing else', async () => {
    let refused = 0;
    for (const door of doors) {
      if (door.route.action === 'public') continue;
      for (const role of ROLES) {
        const { status } = await knock(door, { tenant: 'main', subject: 'gateway:x1', roles: [role] });
        const what = `${role} ${door.route.method} ${pathOf(door)}`;
        if (PERMISSIONS[role].has(door.route.action as Action)) expect([401, 403], what).not.toContain(status);
        else {
          expect(status, what).toBe(403);
          refused++;
        }
      }
    }
    expect(refused).toBeGreaterThan(300);
  });
});
