import { describe, expect, test, vi } from 'vitest';
import { sweep } from '#core/archive/sweep.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { anArchive, cookieOf, type Json, ORIGIN, OTHER, SHARED } from './receiver.ts';

const HOUR_MS = 60 * 60 * 1000;

describe('making a link', () => {
  test('its secret, of 256 bits, stands in the answer and nowhere else: index, audit trail and lists have its hash at most', async () => {
    const { share, services, ask, staff } = await anArchive();
    const write = vi.spyOn(services.index, 'write');
    const { url, secret, id } = await share({ pin: '271828' });
    expect(url).toBe(`${ORIGIN}/s/${id}#${secret}`);
    expect(Buffer.from(secret, 'base64url')).toHaveLength(32);
    const written = JSON.stringify(write.mock.calls);
    expect(written).toContain(id);
    expect(written).not.toContain(secret);
    expect(written).not.toContain('271828');
    for (const path of ['/api/shares', `/api/shares/${id}`, `/api/shares/${id}/trail`, '/api/audit', '/api/events'])
      expect((await ask('GET', path, { as: staff() })).text, path).not.toContain(secret);
    const shown = (await ask('GET', `/api/shares/${id}`, { as: staff() })).json;
    expect(shown).toMatchObject({ state: 'active', hasPin: true, openings: 0, receiver: 'Dr. Ida Frank' });
    expect(Object.keys(shown)).not.toEqual(expect.arrayContaining(['pin', 'secretHash', 'sessions']));
  });

  test('lasts a week where nobody says, and no longer than the limit', async () => {
    const { share, ask, staff, services } = await anArchive();
    const { id } = await share();
    const { expiresAt } = (await ask('GET', `/api/shares/${id}`, { as: staff() })).json;
    expect(expiresAt - services.clock.now()).toBe(7 * 24 * HOUR_MS);
    for (const wrong of [
      { expiresInHours: 91 * 24 },
      { expiresInHours: 0 },
      { scopes: [] },
      { scopes: ['everything'] },
      { studies: [] },
      { studies: ['../x'] },
      { studies: Array.from({ length: 26 }, (_, n) => uid(n)) },
      { receiver: '' },
      { receiver: 'a\nb' },
      { purpose: 'x'.repeat(301) },
      { openings: 0 },
      { openings: 1.5 },
      { pin: '123' },
      { pin: 'abcd' },
      { upload: { into: 'new' } },
      { scopes: ['upload'], upload: { into: 'elsewhere' } },
    ]) {
      const body = { studies: [SHARED], scopes: ['view'], receiver: 'x', purpose: 'y', ...wrong };
      expect((await ask('POST', '/api/shares', { as: staff(), body })).status, JSON.stringify(wrong)).toBe(400);
    }
  });

  test('nobody shares what he has not: a study beyond his reach, a right that he lacks, a patient under a restriction', async () => {
    const { share, ask, staff } = await anArchive();
    const body = { studies: [OTHER], scopes: ['view'], receiver: 'x', purpose: 'y' };
    const confined = { ...staff(['radiologist']), reach: [{ studies: [SHARED] }] };
    expect((await ask('POST', '/api/shares', { as: confined, body })).status).toBe(404);
    expect(
      (await ask('POST', '/api/shares', { as: confined, body: { ...body, studies: [SHARED, OTHER] } })).status,
    ).toBe(404);
    expect((await share({}, confined)).id).toHaveLength(26);
    // A study that is here but out of reach is not one that may yet be sent in.
    const sent = { ...body, scopes: ['view', 'upload'] };
    const technologist = { ...staff(['technologist']), reach: [{ studies: [SHARED] }] };
    expect((await ask('POST', '/api/shares', { as: technologist, body: sent })).status).toBe(404);
    expect(
      (await ask('POST', '/api/shares', { as: technologist, body: { ...sent, studies: [uid(999)] } })).status,
    ).toBe(404);
    expect((await ask('POST', '/api/shares', { as: staff(['radiologist']), body: sent })).status).toBe(403);
    for (const role of ['viewer', 'auditor', 'sender', 'gateway', 'finance'] as const)
      expect((await ask('POST', '/api/shares', { as: staff([role]), body })).status, role).toBe(403);
    expect((await ask('POST', '/api/shares', { as: staff(), body: { ...body, studies: [uid(999)] } })).status).toBe(
      404,
    );
  });

  test('a patient under a restriction is shared by nobody, and a link of before shows him no more', async () => {
    const { share, enter, ask, staff } = await anArchive();
    const link = await share();
    const cookie = await enter(link);
    const path = `/s/${link.id}/dicomweb/studies/${SHARED}/metadata`;
    expect((await ask('GET', path, { cookie })).status).toBe(200);
    const [study] = (await ask('GET', `/dicomweb/studies?StudyInstanceUID=${SHARED}`, { as: staff() })).json;
    const restriction = {
      patient: { id: study['00100020'].Value[0] },
      reason: 'a colleague',
      subjects: ['dr.reader'],
      roles: [],
    };
    const made = await ask('POST', '/api/restrictions', { as: staff(), body: restriction });
    expect(made.status, made.text).toBeLessThan(300);
    expect((await ask('GET', `/dicomweb/studies/${SHARED}/metadata`, { as: staff() })).status).toBe(200);
    expect((await ask('GET', path, { cookie })).status).toBe(404);
    const body = { studies: [SHARED], scopes: ['view'], receiver: 'x', purpose: 'y' };
    const refused = await ask('POST', '/api/shares', { as: staff(), body });
    expect(refused.status).toBe(403);
    expect(refused.json.title).toContain('under a restriction');
  });

  test('what an emergency opened is looked at, and not handed on', async () => {
    const { ask, staff, share } = await anArchive();
    const doctor = staff(['radiologist'], 'dr.night');
    const grant = { to: { subject: 'dr.night' }, rules: [{ studies: [OTHER] }], note: 'own studies' };
    expect((await ask('POST', '/api/grants', { as: staff(), body: grant })).status).toBeLessThan(300);
    expect((await share({ studies: [OTHER] }, doctor)).id).toHaveLength(26);
    const body = { studies: [SHARED], scopes: ['view'], receiver: 'x', purpose: 'y' };
    expect((await ask('POST', '/api/shares', { as: doctor, body })).status).toBe(404);
    const reasons = (await ask('GET', '/api/emergencies/own', { as: doctor })).json?.reasons ?? {};
    const emergency = { StudyInstanceUID: SHARED, reasonCode: Object.keys(reasons)[0], reason: 'shock room' };
    const begun = await ask('POST', '/api/emergencies', { as: doctor, body: emergency });
    expect(begun.status, begun.text).toBe(201);
    expect((await ask('GET', `/dicomweb/studies/${SHARED}/metadata`, { as: doctor })).status).toBe(200);
    const refused = await ask('POST', '/api/shares', { as: doctor, body });
    expect([refused.status, refused.json.title]).toEqual([403, 'an emergency access cannot be handed on by a link']);
  });

  test('links are seen and ended by who made them, and by administrators', async () => {
    const { share, ask, staff } = await anArchive();
    const { id } = await share({}, staff(['radiologist'], 'dr.one'));
    const other = staff(['radiologist'], 'dr.two');
    expect((await ask('GET', '/api/shares', { as: other })).json.items).toEqual([]);
    for (const [method, path] of [
      ['GET', `/api/shares/${id}`],
      ['GET', `/api/shares/${id}/trail`],
      ['GET', `/api/shares/${id}/uploads`],
      ['DELETE', `/api/shares/${id}`],
    ] as const)
      expect((await ask(method, path, { as: other })).status, path).toBe(404);
    expect((await ask('GET', `/api/shares?study=${SHARED}`, { as: staff() })).json.items).toHaveLength(1);
    expect((await ask('GET', `/api/shares?study=${OTHER}`, { as: staff() })).json.items).toHaveLength(0);
    expect((await ask('DELETE', `/api/shares/${id}`, { as: staff() })).status).toBe(204);
    expect((await ask('GET', `/api/shares/${id}`, { as: staff() })).json).toMatchObject({ state: 'revoked' });
  });
});

describe('opening a link', () => {
  test('a secret that is wrong, of another link or of another tenant is that of no link', async () => {
    const { share, open, ask, staff } = await anArchive();
    const one = await share();
    const two = await share();
    const nextDoor = await share({}, staff(['admin'], 'dr.reader', 'next-door'));
    expect((await open({ id: one.id, secret: `${one.secret.slice(0, -1)}_` })).status).toBe(404);
    expect((await open({ id: one.id, secret: two.secret })).status).toBe(404);
    expect((await open({ id: '0'.repeat(26), secret: one.secret })).status).toBe(404);
    expect((await ask('GET', `/api/shares/${nextDoor.id}`, { as: staff() })).status).toBe(404);
    const cookie = cookieOf(await open(nextDoor));
    expect((await ask('GET', `/s/${nextDoor.id}/api/guest/session`, { cookie })).status).toBe(200);
    // The tenant that the session names is not for its holder to choose.
    const forged = cookie.replace('=next-door.', '=main.');
    expect(forged).not.toBe(cookie);
    expect((await ask('GET', `/s/${nextDoor.id}/api/guest/session`, { cookie: forged })).status).toBe(401);
    expect((await ask('GET', `/s/${one.id}/api/guest/session`, { cookie })).status).toBe(401);
  });

  test('the cookie is HttpOnly, of this site and of the link’s address alone, and no longer than the session', async () => {
    const { share, open } = await anArchive();
    const link = await share();
    expect((await open(link)).headers['set-cookie']).toMatch(
      new RegExp(
        `^nephos_guest=main\\.[\\w-]{43}; Path=/s/${link.id}; HttpOnly; SameSite=Strict; Max-Age=3600; Secure$`,
      ),
    );
  });

  test('looking at it uses nothing up, and tells no purpose before the PIN', async () => {
    const { share, ask, staff } = await anArchive();
    const look = (id: string, secret: string) => ask('POST', `/s/${id}/api/guest/look`, { body: { secret } });
    const open = await share();
    expect((await look(open.id, open.secret)).json).toMatchObject({
      sharedBy: 'dr.reader',
      purpose: 'Second opinion',
      needsPin: false,
    });
    const locked = await share({ pin: '4711' });
    const told = (await look(locked.id, locked.secret)).json;
    expect(told).toMatchObject({ receiver: 'Dr. Ida Frank', needsPin: true });
    expect(told).not.toHaveProperty('purpose');
    expect((await ask('GET', `/api/shares/${open.id}`, { as: staff() })).json.openings).toBe(0);
  });

  test('as often as it says: of forty at once three get in, and the fourth hears that it is used up', async () => {
    const { share, open, ask, staff, acts } = await anArchive();
    const link = await share({ openings: 3 });
    const answers = await Promise.all(Array.from({ length: 40 }, () => open(link)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(3);
    expect(answers.filter(({ status }) => status === 410)).toHaveLength(37);
    expect(answers.find(({ status }) => status === 410)!.json.details).toEqual({ state: 'usedUp' });
    expect((await ask('GET', `/api/shares/${link.id}`, { as: staff() })).json).toMatchObject({
      openings: 3,
      state: 'usedUp',
    });
    expect((await acts(link)).filter((act) => act === 'opened')).toHaveLength(3);
  });

  test('five wrong PINs lock it for good, and the right one opens it no more', async () => {
    const { share, open, acts } = await anArchive();
    const link = await share({ pin: '271828' });
    expect((await open(link)).json.details).toEqual({ pin: 'needed' });
    expect((await open(link, '271828')).status).toBe(200);
    for (const guessesLeft of [4, 3, 2, 1, 0]) {
      const answer = await open(link, '000000');
      expect(answer.status).toBe(401);
      expect(answer.json.details).toEqual({ pin: 'wrong', guessesLeft });
    }
    const refused = await open(link, '271828');
    expect(refused.status).toBe(403);
    expect(refused.json.details).toEqual({ state: 'locked' });
    expect((await acts(link)).slice(-3)).toEqual(['wrongPin', 'locked', 'refused']);
  });

  test('a wrong guess that cannot be counted is to be made again when it counts by itself', async () => {
    const { share, open, services } = await anArchive();
    const link = await share({ pin: '271828' });
    const write = services.index.write.bind(services.index);
    services.index.write = (operations, options) =>
      JSON.stringify(operations).includes('wrongPin')
        ? Promise.resolve({ committed: false, failed: [0] })
        : write(operations, options);
    await expect(open(link, '000000')).rejects.toMatchObject({ code: 'BUSY', details: { retryAfterSeconds: 30 } });
  });

  test('of thirty guesses at once no more than five are ever compared', async () => {
    const { share, open, ask, staff } = await anArchive();
    const link = await share({ pin: '0029' });
    const answers = await Promise.all(Array.from({ length: 30 }, (_, n) => open(link, String(n).padStart(4, '0'))));
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(5);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(0);
    expect((await ask('GET', `/api/shares/${link.id}`, { as: staff() })).json).toMatchObject({
      state: 'locked',
      wrongPins: 5,
    });
  });

  test('who knows the PIN is not locked out by others who know it and come at the same time', async () => {
    const { share, open, ask, staff } = await anArchive();
    const link = await share({ pin: '271828' });
    const answers = await Promise.all(Array.from({ length: 4 }, () => open(link, '271828')));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect((await ask('GET', `/api/shares/${link.id}`, { as: staff() })).json).toMatchObject({
      state: 'active',
      wrongPins: 0,
    });
  });

  test('a guess whose process died counts as a wrong one', async () => {
    const { share, open, services } = await anArchive();
    const link = await share({ pin: '271828' });
    const item = (await services.index.get({ partition: 'main|shares', sort: link.id }))! as Json;
    const pending = Array.from({ length: 5 }, () => services.clock.now());
    await services.index.write([
      {
        kind: 'put',
        key: { partition: 'main|shares', sort: link.id },
        item: { ...item, pin: { ...item.pin, pending } },
      },
    ]);
    expect((await open(link, '271828')).status).toBe(429);
    services.clock.advance(31_000);
    expect((await open(link, '271828')).json.details).toEqual({ state: 'locked' });
  });
});

describe('around a link', () => {
  test('who guesses links or PINs is slowed like who guesses tokens', async () => {
    const { share, open, ask } = await anArchive({ rates: { failuresPerMinute: 3 } });
    const link = await share();
    const guess = { id: link.id, secret: 'x'.repeat(43) };
    for (let n = 0; n < 3; n++) expect((await open(guess, undefined, '192.0.2.9')).status).toBe(404);
    expect((await open(guess, undefined, '192.0.2.9')).status).toBe(429);
    const look = { body: { secret: 'x' }, from: '192.0.2.9' };
    expect((await ask('POST', `/s/${link.id}/api/guest/look`, look)).status).toBe(429);
    expect((await open(link, undefined, '192.0.2.10')).status).toBe(200);
  });

  test('with access control off, a guest is still a guest', async () => {
    const everybody = { tenant: 'main', subject: 'local', roles: ['admin' as const] };
    const { share, enter, ask } = await anArchive({ everybody });
    const link = await share();
    expect((await ask('GET', `/s/${link.id}/dicomweb/studies`)).status).toBe(401);
    const cookie = await enter(link);
    expect((await ask('GET', `/s/${link.id}/dicomweb/studies`, { cookie })).json).toHaveLength(1);
    expect((await ask('GET', `/s/${link.id}/dicomweb/studies/${OTHER}/metadata`, { cookie })).status).toBe(404);
    expect((await ask('GET', '/dicomweb/studies')).json).toHaveLength(2);
  });

  test('looking at one’s links is a query, no alarm', async () => {
    const { share, ask, staff, audited } = await anArchive();
    await share();
    await ask('GET', '/api/shares', { as: staff() });
    expect((await audited()).find(({ transaction }) => transaction === 'ListShares')).toMatchObject({ event: 'Query' });
  });
});

describe('a link ends', () => {
  test('by the clock, with the sessions that are open; it is written down once', async () => {
    const { share, open, ask, services, acts, audited, staff } = await anArchive();
    const link = await share({ expiresInHours: 1 });
    services.clock.advance(HOUR_MS - 10_000);
    const opened = await open(link);
    expect(opened.headers['set-cookie']).toContain('Max-Age=10');
    const cookie = cookieOf(opened);
    expect((await ask('GET', `/s/${link.id}/dicomweb/studies/${SHARED}/metadata`, { cookie })).status).toBe(200);
    services.clock.advance(10_000);
    expect((await ask('GET', `/s/${link.id}/dicomweb/studies/${SHARED}/metadata`, { cookie })).status).toBe(401);
    expect((await open(link)).json.details).toEqual({ state: 'expired' });
    expect((await ask('GET', `/api/shares/${link.id}`, { as: staff() })).json.state).toBe('expired');
    await sweep(services, 'main');
    await sweep(services, 'main');
    expect((await acts(link)).filter((act) => act === 'expired')).toHaveLength(1);
    expect((await audited()).filter(({ transaction }) => transaction === 'ExpireShare')).toMatchObject([
      { subject: 'system', studies: [SHARED], destination: `link:${link.id}` },
    ]);
    const { events } = (await ask('GET', '/api/events?limit=100', { as: staff() })).json;
    expect(
      events.filter(({ type }: { type: string }) => type.startsWith('Share')).map(({ type }: Json) => type),
    ).toEqual(['ShareCreated', 'ShareOpened', 'ShareExpired']);
  });

  test('a session ends after an hour, and the link has to be opened again', async () => {
    const { share, enter, ask, services } = await anArchive();
    const link = await share();
    const cookie = await enter(link);
    services.clock.advance(HOUR_MS);
    expect((await ask('GET', `/s/${link.id}/api/guest/session`, { cookie })).status).toBe(401);
    const again = await enter(link);
    expect((await ask('GET', `/s/${link.id}/api/guest/session`, { cookie: again })).status).toBe(200);
  });

  test('when it is revoked: at once for who is looking, and in the middle of a download', async () => {
    const { share, store, object, enter, open, ask, staff, app, services } = await anArchive();
    const pixels = { Rows: 256, Columns: 256, PixelData: new Uint8Array(131_072) };
    for (let n = 60; n < 80; n++) await store(object(SHARED, n, pixels));
    const link = await share({ scopes: ['view', 'download'] });
    const cookie = await enter(link);
    const path = `/s/${link.id}/dicomweb/studies/${SHARED}`;
    const answered = await app.answer({
      method: 'GET',
      path,
      query: new URLSearchParams('accept=application/zip'),
      headers: { cookie },
      body: (async function* () {})(),
      origin: ORIGIN,
    });
    const body = (answered!.response.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
    expect((await body.next()).done).toBe(false);
    expect((await ask('DELETE', `/api/shares/${link.id}`, { as: staff() })).status).toBe(204);
    services.clock.advance(2_000);
    await expect(
      (async () => {
        while (!(await body.next()).done);
      })(),
    ).rejects.toThrow('the link has ended');
    expect((await ask('GET', `${path}/metadata`, { cookie })).status).toBe(401);
    expect((await open(link)).json.details).toEqual({ state: 'revoked' });
  });

  test('the guest leaves: his session ends, that of another does not', async () => {
    const { share, enter, ask } = await anArchive();
    const link = await share();
    const mine = await enter(link);
    const other = await enter(link);
    const session = `/s/${link.id}/api/guest/session`;
    expect((await ask('DELETE', session, { cookie: mine })).status).toBe(204);
    expect((await ask('GET', session, { cookie: mine })).status).toBe(401);
    expect((await ask('GET', session, { cookie: other })).status).toBe(200);
  });
});

describe('what is recorded', () => {
  test('every act, in the trail of the link and in the audit trail, under the name of the link', async () => {
    const { share, open, ask, staff, trail, audited } = await anArchive();
    const link = await share({ pin: '271828', scopes: ['view', 'download'] });
    await open(link, '000000', '192.0.2.1');
    const cookie = cookieOf(await open(link, '271828', '192.0.2.1'));
    const guest = (path: string) => ask('GET', `/s/${link.id}/dicomweb${path}`, { cookie, from: '192.0.2.1' });
    await guest('/studies');
    await guest(`/studies/${SHARED}/metadata`);
    await guest(`/studies/${SHARED}/metadata`);
    await guest(`/studies/${SHARED}?accept=application/zip`);
    await guest(`/studies/${OTHER}/metadata`);
    await ask('DELETE', `/api/shares/${link.id}`, { as: staff() });
    expect((await trail(link)).map(({ act, by, from, study }) => [act, by ?? from, study])).toEqual([
      ['created', 'dr.reader', undefined],
      ['wrongPin', '192.0.2.1', undefined],
      ['opened', '192.0.2.1', undefined],
      ['viewed', '192.0.2.1', SHARED],
      ['downloaded', '192.0.2.1', SHARED],
      ['revoked', 'dr.reader', undefined],
    ]);
    const entries = (await audited()).filter(
      ({ subject, destination }) => subject === `link:${link.id}` || destination === `link:${link.id}`,
    );
    expect(entries.map(({ event, outcome, transaction }) => `${event} ${transaction} ${outcome}`)).toEqual([
      'SecurityConfiguration CreateShare 0',
      'Login OpenShare 4',
      'Login OpenShare 0',
      'Query SearchStudies 0',
      'InstancesAccessed RetrieveStudyMetadata 0',
      'DataExport RetrieveStudy 0',
      'InstancesAccessed RetrieveStudyMetadata 4',
      'SecurityConfiguration RevokeShare 0',
    ]);
    expect(entries[0]).toMatchObject({ purpose: 'Second opinion', studies: [SHARED] });
    expect(entries[1]).toMatchObject({ roles: ['guest'], from: '192.0.2.1', error: 'UNAUTHENTICATED' });
  });
});

describe('what is sent in', () => {
  const UPLOAD = { 'content-type': 'application/dicom', accept: 'application/dicom+json' };

  test('waits in quarantine until somebody accepts it; studies that are not the link’s are refused', async () => {
    const { share, enter, ask, staff, object, acts } = await anArchive();
    const technologist = staff(['technologist'], 'dr.reader');
    const link = await share({ scopes: ['upload'] }, technologist);
    const cookie = await enter(link);
    const send = (bytes: Uint8Array) =>
      ask('POST', `/s/${link.id}/dicomweb/studies`, { cookie, body: bytes, headers: UPLOAD });
    expect((await send(object(SHARED, 90))).status).toBe(200);
    expect((await send(object(SHARED, 90))).status).toBe(200);
    expect((await send(object(OTHER, 91))).status).toBe(409);
    expect((await send(object(uid(7), 92))).status).toBe(409);
    const instances = async () =>
      (await ask('GET', `/dicomweb/studies/${SHARED}/instances`, { as: staff() })).json.length;
    expect(await instances()).toBe(2);
    expect((await ask('GET', `/s/${link.id}/dicomweb/studies/${SHARED}/metadata`, { cookie })).status).toBe(403);
    const waiting = (await ask('GET', `/api/shares/${link.id}/uploads`, { as: technologist })).json;
    expect(waiting.items).toMatchObject([
      { kind: 'uploaded', SOPInstanceUID: uid(90), link: link.id, source: `link:${link.id}` },
    ]);
    expect((await ask('GET', '/api/quarantine', { as: staff() })).json.items).toHaveLength(1);
    const decided = await ask('POST', `/api/shares/${link.id}/uploads`, {
      as: technologist,
      body: { action: 'accept' },
    });
    expect(decided.json).toEqual({ decided: 1, left: 0 });
    expect(await instances()).toBe(3);
    expect((await ask('GET', '/api/quarantine', { as: staff() })).json.items).toHaveLength(0);
    expect(await acts(link)).toContain('uploaded');
  });

  test('is discarded to the trash; and never takes the place of what is here', async () => {
    const { share, enter, ask, staff, object } = await anArchive();
    const link = await share({ scopes: ['upload'] });
    const cookie = await enter(link);
    const send = (bytes: Uint8Array) =>
      ask('POST', `/s/${link.id}/dicomweb/studies`, { cookie, body: bytes, headers: UPLOAD });
    expect((await send(object(SHARED, 90))).status).toBe(200);
    expect(
      (await send(object(SHARED, 11, { PatientName: 'Mallory' }))).status,
      'another object under a UID that is here',
    ).toBe(200);
    const decide = (action: string) => ask('POST', `/api/shares/${link.id}/uploads`, { as: staff(), body: { action } });
    expect((await decide('accept')).json).toEqual({ decided: 1, left: 0 });
    expect((await ask('GET', `/dicomweb/studies/${SHARED}/metadata`, { as: staff() })).text).not.toContain('Mallory');
    expect((await ask('GET', '/api/quarantine', { as: staff() })).json.items, 'left to an administrator').toHaveLength(
      1,
    );
    await send(object(SHARED, 93));
    expect((await decide('discard')).json).toEqual({ decided: 1, left: 0 });
    expect((await ask('GET', '/api/trash', { as: staff() })).json.items).toMatchObject([
      { reason: `discarded from link:${link.id}` },
    ]);
  });

  test('is stored at once where the link says so: new studies, but nothing is added to those of others', async () => {
    const { share, enter, ask, staff, object } = await anArchive();
    const asked = { studies: [], scopes: ['upload'], upload: { into: 'new', keep: 'store' } };
    const link = await share(asked);
    const cookie = await enter(link);
    const send = (bytes: Uint8Array) =>
      ask('POST', `/s/${link.id}/dicomweb/studies`, { cookie, body: bytes, headers: UPLOAD });
    const stored = await send(object(uid(7), 90, { SeriesInstanceUID: uid(52) }));
    const added = await send(object(OTHER, 91, { SeriesInstanceUID: uid(53) }));
    expect([stored.status, added.status], 'nothing tells whether a study is here').toEqual([200, 200]);
    expect((await send(object(uid(7), 92, { SeriesInstanceUID: uid(52) }))).status).toBe(200);
    const count = async (study: string) =>
      (await ask('GET', `/dicomweb/studies/${study}/instances`, { as: staff() })).json.length;
    expect([await count(uid(7)), await count(OTHER)]).toEqual([2, 1]);
    const waiting = (await ask('GET', `/api/shares/${link.id}/uploads`, { as: staff() })).json.items;
    expect(waiting).toMatchObject([{ SOPInstanceUID: uid(91) }]);
  });

  test('is no more than the limit, over all requests', async () => {
    const { share, enter, ask, object } = await anArchive({ limits: { shareUploadBytes: 2_000 } });
    const link = await share({ scopes: ['upload'] });
    const cookie = await enter(link);
    const send = (n: number) =>
      ask('POST', `/s/${link.id}/dicomweb/studies`, { cookie, body: object(SHARED, n), headers: UPLOAD });
    const statuses = [];
    for (let n = 90; n < 96; n++) statuses.push((await send(n)).status);
    expect(statuses.slice(0, 1)).toEqual([200]);
    expect(statuses.slice(-3)).toEqual([413, 413, 413]);
  });
});
