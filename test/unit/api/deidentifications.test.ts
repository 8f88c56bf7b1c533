import { beforeEach, describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { createArchiveApp } from '#api/app.ts';
import type { Principal, Role } from '#core/access.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { sweep } from '#core/archive/sweep.ts';
import { auditPartition } from '#core/audit/trail.ts';
import { DEIDENTIFY } from '#core/deidentify/runs.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { ARCHIVE_JOBS } from '#core/jobs.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { TokenStore } from '#core/tokens.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { dyingServices } from '#test/fixtures/dying-services.ts';
import { chunked, memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const ORIGIN = 'http://pacs.test';
const PROFILE = { dates: 'shift', cleanDescriptors: true };
type Services = ReturnType<typeof memoryServices>;

const slice = (n: number): Uint8Array => buildDicom({ SOPInstanceUID: uid(100 + n), InstanceNumber: n });

/** An archive with a study of three slices and a screenshot, and people who ask. */
async function archive() {
  const services = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
  for (const n of [1, 2, 3]) await store(services, slice(n));
  await store(
    services,
    buildDicom({
      SOPInstanceUID: uid(110),
      SeriesInstanceUID: uid(20),
      SOPClassUID: '1.2.840.10008.5.1.4.1.1.7',
      BurnedInAnnotation: 'YES',
    }),
  );
  return { services, ask: asking(services) };
}

const asking = (services: Services) => {
  const tokens = new TokenStore(services);
  const app = createArchiveApp({ services, tokens, corsOrigins: [], tenant: TENANT, onFailure: () => {} });
  return async (role: Role, method: string, target: string, body?: object, headers: Record<string, string> = {}) => {
    const url = new URL(target, ORIGIN);
    const principal: Principal = { tenant: TENANT, subject: `the ${role}`, roles: [role] };
    const answered = await app.answer({
      method,
      path: url.pathname,
      query: url.searchParams,
      headers,
      body: chunked(Buffer.from(body === undefined ? '' : JSON.stringify(body))),
      principal,
      origin: ORIGIN,
    });
    const { status, body: content, headers: answers } = answered!.response;
    const told =
      typeof content === 'string' || content === undefined
        ? Buffer.from(content ?? '')
        : content instanceof Uint8Array
          ? Buffer.from(content)
          : Buffer.concat(await Array.fromAsync(content as AsyncIterable<Uint8Array>));
    const isJson = /json/.test(answers['content-type'] ?? '');
    return { status, bytes: told, json: isJson && told.length > 0 ? JSON.parse(told.toString()) : undefined };
  };
};

/** Works the queue off, as a host does. @returns how many jobs there were */
async function workOff(services: Services): Promise<number> {
  let worked = 0;
  for (;;) {
    const jobs = await services.jobs.receive(DEIDENTIFY, { max: 10, visibilityMs: 300_000 });
    if (jobs.length === 0) return worked;
    for (const job of jobs) {
      await ARCHIVE_JOBS[DEIDENTIFY](services, job.payload);
      await services.jobs.complete(DEIDENTIFY, job);
      worked++;
    }
  }
}

const begin = { studies: [uid(1)], project: 'trial-1', profile: PROFILE };

describe('de-identified copies of a study', () => {
  let services: Services;
  let ask: ReturnType<typeof asking>;
  beforeEach(async () => {
    ({ services, ask } = await archive());
  });
  const run = async (request: object = begin) => {
    const { status, json } = await ask('admin', 'POST', '/api/deidentifications', request);
    expect(status).toBe(202);
    await workOff(services);
    return (await ask('admin', 'GET', `/api/deidentifications/${json.id}`)).json;
  };

  test('are made in the background, with the outcome of each instance and why one was not copied', async () => {
    const done = await run();
    expect(done).toMatchObject({ state: 'done', project: 'trial-1', by: 'the admin' });
    expect(done.progress).toMatchObject([
      { state: 'done', StudyInstanceUID: uid(1), counts: { stored: 3, refused: 1, failed: 0 } },
    ]);
    const { json } = await ask('admin', 'GET', `/api/deidentifications/${done.id}/instances`);
    const refused = json.items.filter(({ kind }: { kind: string }) => kind === 'refused');
    expect(refused).toMatchObject([
      { SOPInstanceUID: uid(110), reasons: ['BURNED_IN_ANNOTATION', 'SECONDARY_CAPTURE', 'NOT_DECLARED_CLEAN'] },
    ]);
    const copies = await ask('admin', 'GET', `/dicomweb/studies?StudyInstanceUID=${done.progress[0].copy}`);
    expect(copies.json[0]['00201208'].Value).toEqual([3]);
    expect(copies.json[0]['00100020'].Value[0]).toMatch(/^[2-9A-Z]{12}$/);
  });

  test('leave the original as it was', async () => {
    await run();
    const path = `/dicomweb/studies/${uid(1)}/series/${uid(2)}/instances/${uid(101)}`;
    const accept = { accept: 'application/dicom; transfer-syntax=*' };
    const { bytes } = await ask('admin', 'GET', path, undefined, accept);
    expect(bytes.equals(Buffer.from(slice(1)))).toBe(true);
  });

  test('are made once: a second run finds them', async () => {
    const first = await run();
    const again = await run({ studies: [uid(1)], project: 'trial-1' });
    expect(again.progress[0].counts).toMatchObject({ stored: 0, duplicate: 3, refused: 1 });
    expect(again.progress[0].copy).toBe(first.progress[0].copy);
    const other = await run({ ...begin, project: 'trial-2' });
    expect(other.progress[0].copy).not.toBe(first.progress[0].copy);
  });

  test('are whole and counted once, wherever a worker was killed', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let calls = 1; ; calls += 3) {
        const { services: own, ask: askOwn } = await archive();
        const { json } = await askOwn('admin', 'POST', '/api/deidentifications', begin);
        const [job] = await own.jobs.receive(DEIDENTIFY, { max: 1, visibilityMs: 1 });
        const dying = dyingServices(own, { calls, when });
        await ARCHIVE_JOBS[DEIDENTIFY](dying.services, job!.payload).catch(() => {});
        own.clock.advance(10 * 60_000);
        await sweep(own, TENANT, 0);
        await workOff(own);
        const { json: done } = await askOwn('admin', 'GET', `/api/deidentifications/${json.id}`);
        const { stored, duplicate, refused, failed } = done.progress[0].counts;
        expect([done.state, stored + duplicate, refused, failed], `${when} ${calls}`).toEqual(['done', 3, 1, 0]);
        const { json: copies } = await askOwn('researcher', 'GET', '/dicomweb/studies?includefield=all');
        expect(copies[0]['00201208'].Value, `${when} ${calls}`).toEqual([3]);
        if (dying.survived()) break;
      }
    }
  });

  test('are taken up again by the sweeper when their job was lost', async () => {
    const { json } = await ask('admin', 'POST', '/api/deidentifications', begin);
    for (const job of await services.jobs.receive(DEIDENTIFY, { max: 10, visibilityMs: 1_000 }))
      await services.jobs.complete(DEIDENTIFY, job);
    services.clock.advance(services.limits.transactionRetryMs + 1);
    await sweep(services, TENANT);
    expect(await workOff(services)).toBe(1);
    expect((await ask('admin', 'GET', `/api/deidentifications/${json.id}`)).json.state).toBe('done');
  });

  test('are not made of what was deleted meanwhile', async () => {
    const { json } = await ask('admin', 'POST', '/api/deidentifications', begin);
    await moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(1) }], { kind: 'deleted', reason: 'x', by: 'x' });
    await workOff(services);
    const { json: done } = await ask('admin', 'GET', `/api/deidentifications/${json.id}`);
    expect(done).toMatchObject({ state: 'done', progress: [{ counts: { stored: 0 } }] });
  });

  test('keep the profile of their project', async () => {
    await run();
    const other = { ...begin, profile: { dates: 'keep' } };
    expect((await ask('admin', 'POST', '/api/deidentifications', other)).status).toBe(409);
    const unordered = { ...begin, profile: { cleanDescriptors: true, dates: 'shift' } };
    expect((await ask('admin', 'POST', '/api/deidentifications', unordered)).status).toBe(202);
  });

  test.each([
    [{ studies: [] }, 400],
    [{ studies: ['not a uid'] }, 400],
    [{ studies: [uid(999)] }, 404],
    [{ project: 'Trial 1' }, 400],
    [{ profile: undefined }, 404],
    [{ profile: { retainUIDs: true } }, 400],
    [{ profile: { nothing: true } }, 400],
  ])('%j is refused', async (change, status) => {
    expect((await ask('admin', 'POST', '/api/deidentifications', { ...begin, ...change })).status).toBe(status);
  });

  test('are recorded: who asked, for which study, and that they were made', async () => {
    await run();
    const page = await services.index.query({ partition: auditPartition(TENANT), limit: 1_000, log: true });
    const entries = page.records.map(({ item }) => JSON.parse(item.line as string));
    const made = entries.filter(({ event, action }) => event === 'DataDeidentified' && action !== 'R');
    expect(made).toMatchObject([
      { action: 'E', subject: 'the admin', transaction: 'BeginDeidentification', studies: [uid(1)] },
      { action: 'C', subject: 'the admin', door: 'system', studies: [uid(1)], instances: 3 },
    ]);
  });
});

describe('who is who', () => {
  test('is told to administrators, recorded, and can be destroyed for good', async () => {
    const { services, ask } = await archive();
    await ask('admin', 'POST', '/api/deidentifications', begin);
    await workOff(services);
    const path = '/api/deidentification-projects/trial-1/mapping';
    expect((await ask('radiologist', 'GET', path)).status).toBe(403);
    const { json } = await ask('admin', 'GET', path);
    expect(json.patients).toMatchObject([{ PatientID: 'P-1', PatientName: 'Doe^Jane' }]);
    expect(json.studies).toMatchObject([{ StudyInstanceUID: uid(1), pseudonym: json.patients[0].pseudonym }]);

    expect((await ask('admin', 'DELETE', path)).json.destroyedAt).toEqual(expect.any(Number));
    expect((await ask('admin', 'GET', path)).status).toBe(410);
    expect((await ask('admin', 'POST', '/api/deidentifications', { ...begin, profile: undefined })).status).toBe(409);
    const secrets = { partition: `${TENANT}|deidentification-secrets|trial-1`, limit: 10 };
    expect((await services.index.query(secrets)).records).toEqual([]);
    const { json: runs } = await ask('admin', 'GET', '/api/deidentifications');
    const { json: left } = await ask('admin', 'GET', `/api/deidentifications/${runs.items[0].id}`);
    expect(JSON.stringify(left)).not.toContain(json.studies[0].copy);
    expect((await ask('admin', 'GET', `/api/deidentifications/${left.id}/instances`)).json.items).toEqual([]);
    const page = await services.index.query({ partition: auditPartition(TENANT), limit: 1_000, log: true });
    const events = page.records.map(({ item }) => JSON.parse(item.line as string));
    expect(
      events.filter(({ event }) => event === 'PatientRecord').map(({ action, outcome }) => [action, outcome]),
    ).toEqual([
      ['R', 4],
      ['R', 0],
      ['D', 0],
      ['R', 4],
    ]);
  });

  test('is not written any more by a run that was under way', async () => {
    const { services, ask } = await archive();
    const { json } = await ask('admin', 'POST', '/api/deidentifications', begin);
    await ask('admin', 'DELETE', '/api/deidentification-projects/trial-1/mapping');
    await workOff(services);
    const { json: done } = await ask('admin', 'GET', `/api/deidentifications/${json.id}`);
    expect(done).toMatchObject({ state: 'done', progress: [{ stopped: true, counts: { stored: 0 } }] });
  });
});

describe('a researcher', () => {
  test('finds and reads the copies, and reaches no original by any route', async () => {
    const { services, ask } = await archive();
    await ask('admin', 'POST', '/api/deidentifications', begin);
    await workOff(services);
    const { json: runs } = await ask('admin', 'GET', '/api/deidentifications');
    const { json: run } = await ask('admin', 'GET', `/api/deidentifications/${runs.items[0].id}`);
    const { copy } = run.progress[0];

    const found = await ask('researcher', 'GET', '/dicomweb/studies?includefield=all');
    expect(found.json.map((study: Record<string, { Value: string[] }>) => study['0020000D']!.Value[0])).toEqual([copy]);
    const read = await ask('researcher', 'GET', `/dicomweb/studies/${copy}`, undefined, {
      accept: 'multipart/related; type="application/dicom"; transfer-syntax=*',
    });
    expect(read.status).toBe(200);
    expect(read.bytes.length).toBeGreaterThan(1_000);
    for (const secret of ['Doe', 'Jane', 'P-1', 'Curie', uid(1), uid(101)])
      expect(read.bytes.includes(secret), secret).toBe(false);

    const values: Record<string, string> = {
      study: uid(1),
      series: uid(2),
      instance: uid(101),
      frames: '1',
      bulk: '7FE00010',
    };
    let tried = 0;
    for (const { method, path } of DICOMWEB_ROUTES) {
      if (method !== 'GET' || !/\{study|\/series$|\/instances$/.test(path)) continue;
      const target = path.replace(/\{(\w+)\*?\}/g, (_, name: string) => values[name]!);
      const query = path.includes('{study}') ? '' : `?StudyInstanceUID=${uid(1)}`;
      const { status, bytes } = await ask('researcher', 'GET', `/dicomweb${target}${query}`);
      expect([204, 403, 404], target).toContain(status === 200 && bytes.toString() === '[]' ? 204 : status);
      expect(bytes.includes('Doe'), target).toBe(false);
      tried++;
    }
    expect(tried).toBeGreaterThan(15);
    for (const target of ['/api/deidentifications', '/api/deidentification-projects/trial-1/mapping', '/api/audit'])
      expect((await ask('researcher', 'GET', target)).status, target).toBe(403);
    const wado = `/wado?requestType=WADO&studyUID=${uid(1)}&seriesUID=${uid(2)}&objectUID=${uid(101)}&contentType=application/dicom`;
    expect([403, 404]).toContain((await ask('researcher', 'GET', wado)).status);
  });

  test('sees pixels that are those of the original', async () => {
    const { services, ask } = await archive();
    await ask('admin', 'POST', '/api/deidentifications', begin);
    await workOff(services);
    const { json: instances } = await ask('researcher', 'GET', '/dicomweb/instances?includefield=all');
    const [first] = instances as Record<string, { Value: string[] }>[];
    const [study, series, sop] = ['0020000D', '0020000E', '00080018'].map((tag) => first![tag]!.Value[0]);
    const path = `/dicomweb/studies/${study}/series/${series}/instances/${sop}`;
    const { bytes } = await ask('researcher', 'GET', path, undefined, {
      accept: 'application/dicom; transfer-syntax=*',
    });
    const copied = scanPart10(bytes, DEFAULT_LIMITS);
    const original = scanPart10(slice(1), DEFAULT_LIMITS);
    const pixels = (object: Uint8Array, { dataSet }: typeof copied): Buffer => {
      const { offset, length } = dataSet['7FE00010']!.bulk!;
      return Buffer.from(object.subarray(offset, offset + length));
    };
    expect(pixels(bytes, copied).equals(pixels(slice(1), original))).toBe(true);
  });
});
