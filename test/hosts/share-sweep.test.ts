import { beforeAll, describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { apiRoutes } from '#api/routes.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { TokenStore } from '#core/tokens.ts';
import { GUEST_DOOR, GUEST_ROUTES } from '#dicomweb/guest.ts';
import type { Route } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { anArchive, type Link, OTHER, SHARED } from '../unit/share-links/receiver.ts';

type World = Awaited<ReturnType<typeof anArchive>>;

let world: World;
let doors: { prefix: string; route: Route }[];
/** one link of each scope, opened */
const guests = new Map<string, { link: Link; cookie: string }>();

/** What paths are filled with: of the study that is shared, and of one that is not. */
const SHARED_UIDS: Record<string, string> = {
  study: SHARED,
  series: uid(50),
  instance: uid(11),
  frames: '1',
  bulk: '00420011',
};
const OTHER_UIDS: Record<string, string> = { ...SHARED_UIDS, study: OTHER, series: uid(51), instance: uid(21) };
/** A study that is shared in the path, and the object of another behind it. */
const MIXED_UIDS: Record<string, string> = { ...SHARED_UIDS, series: uid(51), instance: uid(21) };

const pathOf = ({ prefix, route }: (typeof doors)[number], uids: Record<string, string>): string =>
  prefix + route.path.replace(/\{(\w+)\*?\}/g, (_, name: string) => uids[name] ?? 'x1');

beforeAll(async () => {
  world = await anArchive({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
  const under = (prefix: string) => (route: Route) => ({ prefix, route });
  doors = [
    ...DICOMWEB_ROUTES.map(under('/dicomweb')),
    ...WADO_URI_ROUTES.map(under('/wado')),
    ...apiRoutes(new TokenStore(world.services)).map(under('/api')),
  ];
  for (const scope of ['view', 'download', 'upload']) {
    const link = await world.share({ scopes: [scope] });
    guests.set(scope, { link, cookie: await world.enter(link) });
  }
});

const knock = (scope: string, { route }: { route: Route }, path: string, prefix?: string) => {
  const { link, cookie } = guests.get(scope)!;
  return world.ask(route.method, `${prefix ?? `/s/${link.id}`}${path}`, { cookie });
};

describe('with the session of a guest, every route that the code has', () => {
  test('is there for its scope, and for no other', async () => {
    let here = 0;
    let refused = 0;
    for (const door of doors)
      for (const scope of guests.keys()) {
        if (door.route.name === 'CloseGuestSession') continue;
        const { status } = await knock(scope, door, pathOf(door, SHARED_UIDS));
        const needed = GUEST_ROUTES.get(door.route.name);
        const what = `${scope}: ${door.route.method} ${pathOf(door, SHARED_UIDS)} (${door.route.name}) ${status}`;
        if (needed === undefined) expect(status, what).toBe(404);
        else if (needed !== scope && needed !== 'anybody') expect(status, what).toBe(403);
        else expect([401, 403, 500], what).not.toContain(status);
        if (needed === scope) here++;
        else refused++;
      }
    expect(here).toBe([...GUEST_ROUTES.values()].filter((scope) => scope !== 'anybody').length);
    expect(refused).toBeGreaterThan(200);
  });

  test('answers for another study, or another study’s object below a shared one, as if there were none', async () => {
    let tried = 0;
    for (const door of doors) {
      if (!/\{(study|series|instance)\}/.test(door.route.path)) continue;
      for (const [scope, uids] of [...guests.keys()].flatMap((one) => [
        [one, OTHER_UIDS] as const,
        [one, MIXED_UIDS] as const,
      ])) {
        if (uids === MIXED_UIDS && !/\{(series|instance)\}/.test(door.route.path)) continue;
        const { status, text } = await knock(scope, door, pathOf(door, uids));
        const what = `${scope}: ${door.route.method} ${pathOf(door, uids)} ${status}`;
        // A search below a series that its study does not have finds nothing.
        if (status === 200) expect(text, what).toBe('[]');
        else expect([403, 404], what).toContain(status);
        tried++;
      }
    }
    expect(tried).toBeGreaterThan(120);
  });

  test('is nothing anywhere but below the link’s own address', async () => {
    const [view, download] = [guests.get('view')!, guests.get('download')!];
    for (const door of doors) {
      const plain = await knock('view', door, pathOf(door, SHARED_UIDS), '');
      const what = `${door.route.method} ${pathOf(door, SHARED_UIDS)} ${plain.status}`;
      if ((GUEST_DOOR as readonly string[]).includes(door.route.name)) expect(plain.status, what).toBe(404);
      else if (door.route.action === 'public') expect(plain.text, what).not.toContain(SHARED);
      else expect(plain.status, what).toBe(401);
      // The session of one link is none of another's.
      if (GUEST_ROUTES.get(door.route.name) === 'download')
        expect(
          (await world.ask('GET', `/s/${download.link.id}${pathOf(door, SHARED_UIDS)}`, { cookie: view.cookie }))
            .status,
        ).toBe(401);
    }
  });

  test('finds by searches, of whatever level and with whatever keys, what is shared and no more', async () => {
    const { link, cookie } = guests.get('view')!;
    const ask = (path: string) => world.ask('GET', `/s/${link.id}/dicomweb${path}`, { cookie });
    for (const path of [
      '/studies',
      '/studies?includefield=all',
      '/studies?PatientName=*',
      `/studies?StudyInstanceUID=${OTHER},${SHARED}`,
      '/series',
      `/series?SeriesInstanceUID=${uid(51)}`,
      '/instances?includefield=all',
      `/instances?SOPInstanceUID=${uid(21)}`,
      `/series?StudyInstanceUID=${OTHER}`,
    ]) {
      const { status, text, headers } = await ask(path);
      expect(status, path).toBe(200);
      expect(text, path).not.toContain(OTHER);
      expect(text, path).not.toContain(uid(51));
      expect(Number(headers['x-total-count'] ?? 0), path).toBeLessThanOrEqual(4);
    }
    expect((await ask('/studies')).json).toHaveLength(1);
    expect((await ask(`/studies?StudyInstanceUID=${OTHER}`)).json).toEqual([]);
  });

  test('gives to who may look alone no object as a file, whatever he accepts', async () => {
    const { link, cookie } = guests.get('view')!;
    const instance = `/studies/${SHARED}/series/${uid(50)}/instances/${uid(11)}`;
    for (const [path, accept] of [
      [`/studies/${SHARED}`, 'application/zip'],
      [`/studies/${SHARED}?accept=application/zip`, '*/*'],
      [instance, 'application/dicom'],
      [`${instance}/bulkdata`, '*/*'],
      [`${instance}/bulkdata/7FE00010`, 'application/octet-stream'],
      [`${instance}/bulkdata/7fe00010`, 'application/octet-stream'],
      [`${instance}/pixeldata`, '*/*'],
      [`/studies/${SHARED}/pixeldata`, '*/*'],
      [`${instance}/rendered?accept=application/dicom`, 'application/dicom'],
      [`${instance}/frames/1`, 'application/dicom'],
    ] as const) {
      const answer = await world.ask('GET', `/s/${link.id}/dicomweb${path}`, { cookie, headers: { accept } });
      expect([403, 404, 406], `${path} ${answer.status}`).toContain(answer.status);
    }
    const wado = `/s/${link.id}/wado?requestType=WADO&studyUID=${SHARED}&seriesUID=${uid(50)}&objectUID=${uid(11)}&contentType=application/dicom`;
    expect((await world.ask('GET', wado, { cookie }))?.status).toBe(404);
  });

  test('gives to who may look what a viewer reads only as a whole object: segmentations, structure sets', async () => {
    const { link, cookie } = guests.get('view')!;
    for (const [n, SOPClassUID] of [
      [61, '1.2.840.10008.5.1.4.1.1.66.4'],
      [62, '1.2.840.10008.5.1.4.1.1.481.3'],
    ] as const) {
      await world.store(world.object(SHARED, n, { SOPClassUID }));
      const path = `/s/${link.id}/dicomweb/studies/${SHARED}/series/${uid(50)}/instances/${uid(n)}`;
      expect((await world.ask('GET', path, { cookie, headers: { accept: 'application/dicom' } })).status).toBe(200);
      const upload = guests.get('upload')!;
      const other = path.replace(link.id, upload.link.id);
      expect((await world.ask('GET', other, { cookie: upload.cookie })).status).toBe(403);
    }
    expect((await world.acts(link)).filter((act) => act === 'downloaded')).toEqual([]);
  });

  test('is kept by no cache, and tells no other page where it stands', async () => {
    const { link, cookie } = guests.get('view')!;
    const instance = `/s/${link.id}/dicomweb/studies/${SHARED}/series/${uid(50)}/instances/${uid(11)}`;
    for (const path of [
      `${instance}/frames/1`,
      `${instance}/rendered`,
      `/s/${link.id}/dicomweb/studies/${SHARED}/metadata`,
    ]) {
      const { status, headers, text } = await world.ask('GET', path, { cookie });
      expect(status, path).toBe(200);
      expect(headers, path).toMatchObject({ 'cache-control': 'private, no-store', 'referrer-policy': 'no-referrer' });
      if (path.endsWith('metadata')) expect(text).not.toContain('https://pacs.test/dicomweb');
    }
  });

  test('is refused to a page of another site', async () => {
    const { link, cookie } = guests.get('upload')!;
    for (const headers of [{ origin: 'https://evil.test' }, { 'sec-fetch-site': 'cross-site' }])
      for (const path of ['/dicomweb/studies', '/api/guest/opening'])
        expect((await world.ask('POST', `/s/${link.id}${path}`, { cookie, headers })).status).toBe(403);
    const own = { origin: 'https://pacs.test', 'sec-fetch-site': 'same-origin' };
    expect((await world.ask('POST', `/s/${link.id}/dicomweb/studies`, { cookie, headers: own })).status).not.toBe(403);
  });

  test('knows the guest alone, whoever else is signed in in the same browser', async () => {
    const { link, cookie } = guests.get('view')!;
    const tokens = new TokenStore(world.services);
    const session = `__Host-nephos_session=${await tokens.openSession(world.staff())}`;
    const both = { cookie: `${session}; ${cookie}` };
    expect((await world.ask('GET', `/s/${link.id}/dicomweb/studies/${OTHER}/metadata`, both)).status).toBe(404);
    expect((await world.ask('GET', `/dicomweb/studies/${OTHER}/metadata`, both)).status).toBe(200);
    // Staff without the guest's session is nobody there.
    expect((await world.ask('GET', `/s/${link.id}/dicomweb/studies`, { cookie: session })).status).toBe(401);
    expect((await world.ask('GET', `/s/${link.id}/dicomweb/studies`, { as: world.staff() })).status).toBe(401);
  });
});
