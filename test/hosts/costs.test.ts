import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { apiRoutes } from '#api/routes.ts';
import { settleStudy } from '#core/archive/quiet.ts';
import { keys, type StudyRecord } from '#core/archive/records.ts';
import { asItem, asRecord } from '#core/ports/index-table.ts';
import { TokenStore } from '#core/tokens.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices } from '#test/fixtures/services.ts';
import { embeddedHost, type Host, lambdaHost } from './both-hosts.ts';

const PATIENT = { PatientName: 'Rechnung^Rosa', PatientID: 'R-77', AccessionNumber: 'ACC-9', StudyDescription: 'Knie' };

describe.each([
  ['the embedded host', () => embeddedHost({ NEPHOS_DISK_PRICE: '20 EUR' }), 'EUR'],
  ['the functions behind their authorizer', lambdaHost, 'USD'],
])('costs through %s', (_, start, currency) => {
  let host: Host;
  let finance: string;
  let sizeBytes = 0;

  const ask = (token: string | undefined, path: string, method = 'GET', body?: unknown) =>
    fetch(host.origin + path, {
      method,
      headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  const tokenOf = async (subject: string, role: string): Promise<string> => {
    const answer = await ask(host.admin, '/api/tokens', 'POST', { name: subject, subject, roles: [role] });
    expect(answer.status).toBe(201);
    return ((await answer.json()) as { token: string }).token;
  };

  beforeAll(async () => {
    // No month begins while its costs are asked for.
    vi.useFakeTimers({ toFake: ['Date'] });
    host = await start();
    finance = await tokenOf('finn', 'finance');
    const study = uid(1);
    for (const [n, Modality] of ['CT', 'CT', 'SR'].entries()) {
      const object = buildDicom({
        ...PATIENT,
        Modality,
        StudyInstanceUID: study,
        SeriesInstanceUID: uid(Modality === 'CT' ? 20 : 21),
        SOPInstanceUID: uid(300 + n),
      });
      sizeBytes += object.byteLength;
      const headers = { authorization: `Bearer ${host.admin}`, 'content-type': 'application/dicom' };
      const stored = await fetch(`${host.origin}/dicomweb/studies`, { method: 'POST', headers, body: object });
      expect(stored.status).toBe(200);
    }
    // The time until it is quiet is over.
    const key = keys.study(host.tenant, study);
    const record = asRecord<StudyRecord>((await host.services.index.get(key))!);
    const earlier = { ...record, lastStoredAt: record.lastStoredAt - host.services.limits.studyQuietMs };
    await host.services.index.write([{ kind: 'put', key, item: asItem(earlier) }]);
    expect(await settleStudy(host.services, host.tenant, study)).toBe('quiet');
  });
  afterAll(async () => {
    await host?.close();
    vi.useRealTimers();
  });

  test('says to finance what is stored and what that costs, and nothing of a patient', async () => {
    const answer = await ask(finance, '/api/costs?months=2');
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const text = await answer.text();
    const report = JSON.parse(text);
    expect(report).toMatchObject({ tenant: host.tenant, prices: { currency }, uncountedStudies: 0 });
    expect(report.months).toHaveLength(2);
    expect(report.months[1]).toMatchObject({
      stored: { studies: 1, objects: 3, bytes: sizeBytes },
      added: { studies: 1, objects: 3, bytes: sizeBytes },
      cells: [
        { tier: 'default', modality: 'CT', objects: 2 },
        { tier: 'default', modality: 'SR', objects: 1 },
      ],
    });
    expect(typeof report.nextMonth.costs.total).toBe('number');
    for (const secret of [...Object.values(PATIENT), 'Rosa', uid(1), uid(20), uid(300)])
      expect(text).not.toContain(secret);
  });

  test('hands them out as CSV, a line a month, or by tier and modality', async () => {
    const months = await ask(finance, '/api/costs?format=csv');
    expect(months.headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present');
    expect(months.headers.get('content-disposition')).toMatch(/^attachment; filename="costs-csv-\d{4}-\d\d\.csv"$/);
    const lines = (await months.text()).trimEnd().split('\r\n');
    expect(lines).toHaveLength(13);
    expect(lines[0]).toMatch(/^month,stored_studies,stored_objects,stored_bytes,.*total_cost,unpriced_bytes,currency$/);
    expect(lines[12]).toMatch(new RegExp(`^\\d{4}-\\d\\d,1,3,${sizeBytes},1,3,${sizeBytes},0,0,0,.*,${currency}$`));
    const parts = (await (await ask(finance, '/api/costs?format=csv-parts')).text()).trimEnd().split('\r\n');
    expect(parts[0]).toBe('month,tier,modality,objects,bytes,storage_cost,currency');
    expect(parts.slice(1).map((line) => line.split(',').slice(1, 4).join(' '))).toEqual([
      'default CT 2',
      'default SR 1',
    ]);
  });

  test.each(['months=0', 'months=121', 'months=x', 'format=xml'])('refuses %s', async (query) => {
    expect((await ask(finance, `/api/costs?${query}`)).status).toBe(400);
  });

  test('are for finance and administrators', async () => {
    expect((await ask(undefined, '/api/costs')).status).toBe(401);
    for (const role of ['viewer', 'radiologist', 'technologist', 'referrer', 'researcher', 'auditor', 'gateway'])
      expect((await ask(await tokenOf(role, role), '/api/costs')).status, role).toBe(403);
    expect((await ask(host.admin, '/api/costs')).status).toBe(200);
    const asked = { name: 'part', subject: 'part', roles: ['admin'], reach: [{ modalities: ['MR'] }] };
    const { token } = (await (await ask(host.admin, '/api/tokens', 'POST', asked)).json()) as { token: string };
    expect((await ask(token, '/api/costs')).status, 'who reaches some studies alone').toBe(403);
  });

  test('leave a trace of who read them', async () => {
    const { entries } = (await (await ask(host.admin, '/api/audit?subject=finn&limit=1000')).json()) as {
      entries: { transaction?: string; outcome: number }[];
    };
    expect(entries.some(({ transaction, outcome }) => transaction === 'GetCosts' && outcome === 0)).toBe(true);
  });

  test('and what gateways report are all that finance gets to see: every other door says no', async () => {
    const routes = [
      ...DICOMWEB_ROUTES.map((route) => ({ ...route, path: `/dicomweb${route.path}` })),
      ...WADO_URI_ROUTES.map((route) => ({ ...route, path: `/wado${route.path}` })),
      ...apiRoutes(new TokenStore(memoryServices())).map((route) => ({ ...route, path: `/api${route.path}` })),
    ].filter(({ action }) => action !== 'public');
    const uids: Record<string, string> = {
      study: uid(1),
      series: uid(20),
      instance: uid(300),
      frames: '1',
      bulk: '7FE00010',
    };
    const open: string[] = [];
    for (const { method, path, name } of routes) {
      const asked = path.replace(/\{(\w+)\*?\}/g, (_match, parameter: string) => uids[parameter] ?? 'x1');
      const { status } = await ask(finance, asked, method, method === 'GET' || method === 'OPTIONS' ? undefined : {});
      if (status !== 403) open.push(name);
    }
    expect(routes.length).toBeGreaterThan(60);
    expect(open.toSorted()).toEqual(['GetCosts', 'GetGateway', 'ListGateways']);
  });
});
