import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ReachRule, Role } from '#core/access.ts';
import { type BuilderDataSet, buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { embeddedHost, type Host, lambdaHost } from './both-hosts.ts';

describe.each([
  ['the embedded host', embeddedHost],
  ['the functions behind their authorizer', lambdaHost],
])('reach through %s', (_, start: () => Promise<Host>) => {
  let host: Host;
  beforeAll(async () => {
    host = await start();
    await store(host.admin, 1, { PatientID: 'P1', PatientName: 'Ordinary^Olga' });
    await store(host.admin, 2, { PatientID: 'VIP', PatientName: 'Famous^Fred', Modality: 'MR' });
  });
  afterAll(() => host?.close());

  const call = async (token: string, method: string, path: string, body?: unknown) => {
    const response = await fetch(host.origin + path, {
      method,
      headers: { authorization: `Bearer ${token}`, accept: 'application/json, application/dicom+json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, json: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : text };
  };
  async function store(token: string, n: number, attributes: BuilderDataSet): Promise<number> {
    const uids = { StudyInstanceUID: uid(n), SeriesInstanceUID: uid(n * 10), SOPInstanceUID: uid(n * 100) };
    const object = buildDicom({ ...uids, ...attributes });
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/dicom' };
    return (await fetch(`${host.origin}/dicomweb/studies`, { method: 'POST', headers, body: object })).status;
  }
  const tokenOf = async (subject: string, role: Role, reach?: readonly ReachRule[]): Promise<string> => {
    const asked = { name: subject, subject, roles: [role], ...(reach && { reach }) };
    const answer = await call(host.admin, 'POST', '/api/tokens', asked);
    expect(answer.status).toBe(201);
    return answer.json.token;
  };
  const sees = async (token: string): Promise<unknown[]> => {
    const { json } = await call(token, 'GET', '/dicomweb/studies');
    return json.map((one: Record<string, { Value: unknown[] }>) => one['0020000D']!.Value[0]).toSorted();
  };

  test('a token’s reach comes along with it, and no door shows more', async () => {
    const token = await tokenOf('ai', 'technologist', [{ modalities: ['MR'] }]);
    expect(await sees(token)).toEqual([uid(2)]);
    for (const path of ['/metadata', '', '/series', `/series/${uid(10)}/instances/${uid(100)}`]) {
      const there = await call(token, 'GET', `/dicomweb/studies/${uid(1)}${path}`);
      const never = await call(token, 'GET', `/dicomweb/studies/${uid(99)}${path}`);
      expect({ ...there, json: '' }, path).toEqual({ ...never, json: '' });
      expect(JSON.stringify(there.json).replaceAll(`"${uid(1)}"`, 'U')).toBe(
        JSON.stringify(never.json).replaceAll(`"${uid(99)}"`, 'U'),
      );
    }
    expect(await store(token, 3, { Modality: 'CT' })).toBe(409);
    expect(await store(token, 3, { Modality: 'MR', PatientID: 'P3' })).toBe(200);
    expect(await sees(token)).toEqual([uid(2), uid(3)]);
  });

  test('so does it into a browser’s session', async () => {
    const token = await tokenOf('guest-reader', 'viewer', [{ studies: [uid(1)] }]);
    const opened = await fetch(`${host.origin}/api/session`, { method: 'POST', body: JSON.stringify({ token }) });
    const cookie = opened.headers.get('set-cookie')!.split(';')[0]!;
    const answer = await fetch(`${host.origin}/dicomweb/studies`, { headers: { cookie } });
    expect(((await answer.json()) as unknown[]).length).toBe(1);
  });

  test('grants, restrictions and emergencies count from the next request on', async () => {
    const rita = await tokenOf('rita', 'radiologist');
    const before = await sees(rita);
    expect(before).toContain(uid(2));
    const restriction = await call(host.admin, 'POST', '/api/restrictions', {
      patient: { id: 'VIP' },
      reason: 'public figure',
    });
    expect(restriction.status).toBe(201);
    expect(await sees(rita)).not.toContain(uid(2));
    expect((await call(rita, 'GET', `/dicomweb/studies/${uid(2)}/metadata`)).status).toBe(404);
    const reason = { reasonCode: 'ETREAT', reason: 'found unconscious' };
    const emergency = await call(rita, 'POST', '/api/emergencies', { StudyInstanceUID: uid(2), ...reason });
    expect(emergency.status).toBe(201);
    expect(await sees(rita)).toContain(uid(2));
    expect((await call(host.admin, 'DELETE', `/api/emergencies/${emergency.json.id}`)).status).toBe(200);
    expect(await sees(rita)).not.toContain(uid(2));
    expect((await call(host.admin, 'DELETE', `/api/restrictions/${restriction.json.id}`)).status).toBe(204);
    const grant = await call(host.admin, 'POST', '/api/grants', {
      to: { subject: 'rita' },
      rules: [{ studies: [uid(2)] }],
    });
    expect(await sees(rita)).toEqual([uid(2)]);
    expect((await call(host.admin, 'DELETE', `/api/grants/${grant.json.id}`)).status).toBe(204);
    expect(await sees(rita)).toEqual(before);
  });

  test('roles without images see none; finance sees what runs', async () => {
    for (const role of ['finance', 'auditor'] as const) {
      const token = await tokenOf(role, role);
      expect((await call(token, 'GET', '/dicomweb/studies')).status, role).toBe(403);
      expect((await call(token, 'GET', `/dicomweb/studies/${uid(1)}`)).status, role).toBe(403);
    }
    expect((await call(await tokenOf('fin', 'finance'), 'GET', '/api/gateways')).status).toBe(200);
    expect(await sees(await tokenOf('res', 'researcher'))).toEqual([]);
    expect(await sees(await tokenOf('ref', 'referrer'))).toEqual([]);
  });

  test('log lines name tenant and emergency by their ids, and nothing of patient, study or person', async () => {
    const log = host.log();
    if (log !== '') expect(log).toMatch(/"event":"emergency-access".*"tenant":"[a-z0-9-]+","id":"[0-9A-Z]{26}"/);
    expect(log).not.toMatch(/Famous|Ordinary|VIP|rita|2\.25\.4711/);
    if (log === '') return;
    const metrics = await (
      await fetch(`${host.origin}/metrics`, { headers: { authorization: `Bearer ${host.admin}` } })
    ).text();
    expect(metrics).toMatch(/^nephos_emergency_access_total 1$/m);
    expect(metrics).not.toMatch(/Famous|Ordinary|VIP|rita|2\.25\.4711/);
    for (const [, tenant] of metrics.matchAll(/tenant="([^"]*)"/g)) expect(tenant).toMatch(/^[a-z0-9-]{1,32}$/);
  });
});
