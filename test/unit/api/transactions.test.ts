import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { apiRoutes } from '#api/routes.ts';
import type { Role } from '#core/access.ts';
import { sweep } from '#core/archive/sweep.ts';
import { STORE_UPLOADED, storeUploaded, sweepTransactions } from '#core/archive/uploaded.ts';
import type { DataSet } from '#core/dicom/types.ts';
import type { DirectAccess } from '#core/ports/direct-access.ts';
import type { Item } from '#core/ports/index-table.ts';
import { TokenStore } from '#core/tokens.ts';
import { Router } from '#dicomweb/router.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { dyingServices } from '#test/fixtures/dying-services.ts';
import { memoryServices, studyRecord, TENANT } from '#test/fixtures/services.ts';

const PART = 1_000;
const limits = { transactionPartBytes: PART, transactionWaitMs: 0 };
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const slice = (n: number): Uint8Array =>
  buildDicom({ SOPInstanceUID: uid(100 + n), InstanceNumber: n, PixelData: new Uint8Array(3_000).fill(n) });
const partsOf = (bytes: Uint8Array): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / PART) }, (_, i) => bytes.subarray(i * PART, (i + 1) * PART));

const ID = 'b3c1f0de-0000-4000-8000-000000000001';
const ORIGIN = 'https://archive.test';

/** A client that speaks the protocol as docs/store-transactions.md has it. */
function client(services: ReturnType<typeof memoryServices>, subject = 'gateway', roles: Role[] = ['sender']) {
  const router = new Router(services, '/api', apiRoutes(new TokenStore(services)));
  return async (
    method: string,
    target: string,
    body: Uint8Array | object | undefined = undefined,
    headers: Record<string, string> = {},
  ) => {
    const bytes = body === undefined || body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body));
    const url = new URL(target, ORIGIN);
    const { response } = await router.handle({
      method,
      path: url.pathname,
      query: url.searchParams,
      headers,
      origin: ORIGIN,
      principal: { tenant: TENANT, subject, roles },
      body: (async function* () {
        if (bytes) yield bytes;
      })(),
    });
    const text = String(response.body ?? '');
    return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) };
  };
}

const announce = (objects: Uint8Array[]) => ({
  objects: objects.map((bytes) => ({ sizeBytes: bytes.length, sha256: sha256(bytes) })),
});

describe('a store transaction', () => {
  let services: ReturnType<typeof memoryServices>;
  let ask: ReturnType<typeof client>;
  const path = `/api/transactions/${ID}`;
  const create = (objects: Uint8Array[]) => ask('PUT', path, announce(objects));
  const upload = async (object: number, part: number, bytes: Uint8Array) => {
    const grants = await ask('POST', `${path}/parts`, { object, parts: [{ part, sha256: sha256(bytes) }] });
    expect(grants.status).toBe(200);
    const { method, url, headers, authenticate } = grants.body.uploads[0];
    expect(authenticate).toBe(true);
    return ask(method, url, bytes, headers);
  };
  const uploadAll = async (objects: Uint8Array[]) => {
    for (const [i, bytes] of objects.entries()) {
      for (const [p, part] of partsOf(bytes).entries()) expect((await upload(i + 1, p + 1, part)).status).toBe(204);
    }
  };
  const commit = () => ask('POST', `${path}/commit`);
  const landed = () => Array.fromAsync(services.landing.list('_uploads/'));
  const workQueue = async () => {
    for (const job of await services.jobs.receive(STORE_UPLOADED, { max: 10, visibilityMs: 1_000 })) {
      await storeUploaded(services, job.payload as never);
      await services.jobs.complete(STORE_UPLOADED, job);
    }
  };

  beforeEach(() => {
    services = memoryServices({ limits });
    ask = client(services);
  });

  test('parts in any order, then the ordinary STOW response; nothing is left in the landing store', async () => {
    const objects = [slice(1), slice(2)];
    const created = await create(objects);
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({ id: ID, state: 'open' });
    expect(created.body.objects[0]).toMatchObject({ partBytes: PART, parts: partsOf(objects[0]!).length, arrived: [] });
    const all = objects.flatMap((bytes, i) =>
      partsOf(bytes).map((part, p) => ({ object: i + 1, part: p + 1, bytes: part })),
    );
    for (const { object, part, bytes } of all.reverse()) expect((await upload(object, part, bytes)).status).toBe(204);
    const answer = await commit();
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('application/dicom+json');
    expect(answer.body['00081199'].Value.map((item: DataSet) => item['00081155']?.Value?.[0])).toEqual([
      uid(101),
      uid(102),
    ]);
    expect(answer.body['00081190'].Value).toEqual([`${ORIGIN}/dicomweb/studies/${uid(1)}`]);
    expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(2);
    expect(await landed()).toEqual([]);
  });

  test('creating it again finds it, with the parts that have arrived', async () => {
    const bytes = slice(1);
    await create([bytes]);
    const parts = partsOf(bytes);
    await upload(1, 1, parts[0]!);
    await upload(1, 3, parts[2]!);
    const again = await create([bytes]);
    expect(again.status).toBe(200);
    expect(again.body.objects[0].arrived).toEqual([
      [1, 1],
      [3, 3],
    ]);
    await upload(1, 2, parts[1]!);
    expect((await ask('GET', path)).body.objects[0].arrived).toEqual([[1, 3]]);
    expect((await create([slice(2)])).status).toBe(409);
  });

  test('a part that is sent twice is there once', async () => {
    const bytes = slice(1);
    await create([bytes]);
    expect((await upload(1, 1, partsOf(bytes)[0]!)).status).toBe(204);
    expect((await upload(1, 1, partsOf(bytes)[0]!)).status).toBe(204);
    expect(await landed()).toHaveLength(1);
  });

  test('a commit with parts missing names them and commits nothing', async () => {
    const objects = [slice(1), slice(2)];
    await create(objects);
    const parts = partsOf(objects[0]!);
    for (const part of [1, 3]) await upload(1, part, parts[part - 1]!);
    const refused = await commit();
    expect(refused.status).toBe(412);
    const left = parts.length > 3 ? [[4, parts.length]] : [];
    expect(refused.body.details.missing).toEqual([
      { object: 1, parts: [[2, 2], ...left] },
      { object: 2, parts: [[1, partsOf(objects[1]!).length]] },
    ]);
    expect((await ask('GET', path)).body.state).toBe('open');
  });

  test('bytes other than announced are refused as a part, and as an object', async () => {
    const bytes = slice(1);
    const flipped = Uint8Array.from(bytes);
    flipped[flipped.length - 5]! ^= 1;
    const fine = slice(2);
    await create([bytes, fine]);
    const grants = await ask('POST', `${path}/parts`, {
      object: 1,
      parts: [{ part: 1, sha256: sha256(bytes.subarray(0, PART)) }],
    });
    const { url, headers } = grants.body.uploads[0];
    expect(
      (await ask('PUT', url, Uint8Array.from(bytes.subarray(0, PART)).fill(0, 0, 9).fill(1, 0, 9), headers)).status,
    ).toBe(409);
    expect((await ask('PUT', url, bytes.subarray(0, PART - 1), headers)).status).toBe(400);
    expect((await ask('PUT', url, bytes.subarray(0, PART + 1), headers)).status).toBe(400);
    expect(await landed()).toEqual([]);

    for (const [i, part] of partsOf(flipped).entries()) await upload(1, i + 1, part);
    for (const [i, part] of partsOf(fine).entries()) await upload(2, i + 1, part);
    const answer = await commit();
    expect(answer.status).toBe(202);
    expect(answer.body['00081198'].Value[0]['00081197'].Value).toEqual([0xa900]);
    expect(answer.body['00081199'].Value).toHaveLength(1);
    expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(1);
  });

  test('committing again says the same, and counts nothing again', async () => {
    const objects = [slice(1), new TextEncoder().encode('this is not DICOM')];
    await create(objects);
    await uploadAll(objects);
    const first = await commit();
    expect(first.status).toBe(202);
    expect(await commit()).toEqual(first);
    expect((await ask('GET', path)).body).toMatchObject({
      state: 'done',
      objects: [{ outcome: 'stored' }, { outcome: 'failed' }],
    });
    expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(1);
    expect((await ask('DELETE', path)).status).toBe(409);
    expect((await ask('POST', `${path}/parts`, { object: 1, parts: [] })).status).toBe(409);
  });

  test('two commits at the same time agree', async () => {
    const objects = [slice(1), slice(2), slice(3)];
    await create(objects);
    await uploadAll(objects);
    const [one, other] = await Promise.all([commit(), commit()]);
    expect(one.status).toBe(200);
    expect(other).toEqual(one);
    expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(3);
  });

  test('large ones are stored by the queue: 202 with Retry-After until it is done', async () => {
    services = memoryServices({ limits: { ...limits, transactionInlineBytes: 1 } });
    ask = client(services);
    const objects = [slice(1), slice(2)];
    await create(objects);
    await uploadAll(objects);
    const later = await commit();
    expect(later.status).toBe(202);
    expect(later.headers).toMatchObject({ 'retry-after': '2', 'content-type': 'application/json' });
    expect(later.body.state).toBe('storing');
    expect((await commit()).body.state).toBe('storing');
    await workQueue();
    expect((await commit()).status).toBe(200);
    expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(2);
  });

  test('a commit whose job was lost is taken up by the sweeper', async () => {
    const jobs = { ...memoryServices().jobs, enqueue: async () => {} };
    services = memoryServices({ limits: { ...limits, transactionInlineBytes: 1 } });
    const broken = client({ ...services, jobs: Object.assign(Object.create(services.jobs), jobs) });
    const bytes = slice(1);
    await create([bytes]).catch(() => undefined);
    ask = client(services);
    await create([bytes]);
    await uploadAll([bytes]);
    expect((await broken('POST', `${path}/commit`)).status).toBe(202);
    await workQueue();
    expect((await commit()).body.state).toBe('storing');
    services.clock.advance(31 * 60_000);
    await sweep(services, TENANT);
    await workQueue();
    expect((await commit()).status).toBe(200);
  });

  test('what nobody commits ends by itself, and leaves nothing', async () => {
    await create([slice(1)]);
    await upload(1, 1, partsOf(slice(1))[0]!);
    expect(await sweepTransactions(services, TENANT)).toBe(0);
    services.clock.advance(services.limits.transactionMs + 1);
    expect((await ask('GET', path)).status).toBe(404);
    expect((await sweep(services, TENANT)).transactions).toBe(1);
    expect(await landed()).toEqual([]);
    expect((await create([slice(2)])).status).toBe(201);
  });

  test('abandoned: its parts are gone, and so is one that comes late', async () => {
    await create([slice(1)]);
    await upload(1, 1, partsOf(slice(1))[0]!);
    expect((await ask('DELETE', path)).status).toBe(204);
    expect((await ask('GET', path)).status).toBe(404);
    expect(await landed()).toEqual([]);
    await services.landing.put(`_uploads/${TENANT}/${ID}/1/00002`, new Uint8Array(5));
    await sweepTransactions(services, TENANT);
    expect(await landed()).toEqual([]);
  });

  test('it is nobody else’s', async () => {
    await create([slice(1)]);
    const other = client(services, 'another gateway');
    expect((await other('GET', path)).status).toBe(404);
    expect((await other('PUT', path, announce([slice(1)]))).status).toBe(409);
    expect((await client(services, 'gateway', ['finder'])('GET', path)).status).toBe(403);
  });

  test.each([
    ['a short id', '/api/transactions/short', announce([slice(1)]), 400],
    ['no objects', path, { objects: [] }, 400],
    ['no list', path, { objects: 'all' }, 400],
    ['a size of 0', path, { objects: [{ sizeBytes: 0, sha256: sha256(slice(1)) }] }, 400],
    ['a hash in capitals', path, { objects: [{ sizeBytes: 1, sha256: 'A'.repeat(64) }] }, 400],
    ['no UID', path, { StudyInstanceUID: '1.2.x', ...announce([slice(1)]) }, 400],
    ['too many objects', path, { objects: Array(1_001).fill({ sizeBytes: 1, sha256: sha256(slice(1)) }) }, 413],
    ['an object of too many bytes', path, { objects: [{ sizeBytes: 2 ** 41, sha256: sha256(slice(1)) }] }, 413],
    [
      'too many bytes together',
      path,
      { objects: Array(17).fill({ sizeBytes: 2 ** 40, sha256: sha256(slice(1)) }) },
      413,
    ],
  ])('refused: %s', async (_, target, body, status) => {
    expect((await ask('PUT', target, body)).status).toBe(status);
  });

  test('objects must be what the transaction says they are', async () => {
    const bytes = slice(1);
    const announced = { StudyInstanceUID: uid(999), ...announce([bytes]) };
    expect((await ask('PUT', path, announced)).status).toBe(201);
    await uploadAll([bytes]);
    const answer = await commit();
    expect(answer.status).toBe(409);
    expect(answer.body['00081198'].Value[0]['00081197'].Value).toEqual([0xa900]);
  });

  test('where the landing store can sign, parts go there and not to us', async () => {
    const signed: unknown[] = [];
    const landing: DirectAccess = {
      signRead: () => Promise.reject(new Error('nobody reads')),
      async signWrite(key, options) {
        signed.push({ key, ...options });
        return { url: `https://bucket.test/${key}?signature`, headers: { 'x-checksum': options.sha256 }, expiresAt: 7 };
      },
    };
    services = memoryServices({ limits });
    ask = client({ ...services, direct: { landing } });
    const bytes = slice(1);
    await create([bytes]);
    const last = partsOf(bytes).length;
    const grants = await ask('POST', `${path}/parts`, {
      object: 1,
      parts: [{ part: last, sha256: sha256(partsOf(bytes).at(-1)!) }],
    });
    const key = `_uploads/${TENANT}/${ID}/1/${String(last).padStart(5, '0')}`;
    expect(grants.body.uploads).toEqual([
      {
        part: last,
        method: 'PUT',
        url: `https://bucket.test/${key}?signature`,
        headers: { 'x-checksum': sha256(partsOf(bytes).at(-1)!) },
        authenticate: false,
        expiresAt: 7,
      },
    ]);
    expect(signed).toEqual([
      { key, sizeBytes: partsOf(bytes).at(-1)!.length, sha256: sha256(partsOf(bytes).at(-1)!), expiresInMs: 900_000 },
    ]);
  });
});

describe('killed at any moment of a commit', () => {
  test.each(['before', 'after'] as const)(
    '%s a call took effect: committed again, each object is there once',
    async (when) => {
      for (let calls = 1; ; calls++) {
        const services = memoryServices({ limits });
        const ask = client(services);
        const objects = [slice(1), slice(2)];
        await ask('PUT', `/api/transactions/${ID}`, announce(objects));
        for (const [i, bytes] of objects.entries()) {
          for (const [p, part] of partsOf(bytes).entries()) {
            await services.landing.put(`_uploads/${TENANT}/${ID}/${i + 1}/${String(p + 1).padStart(5, '0')}`, part);
          }
        }
        const dead = dyingServices(services, { calls, when }, { limits });
        await client(dead.services)('POST', `/api/transactions/${ID}/commit`).catch(() => undefined);

        services.clock.advance(services.limits.pendingMs + 1);
        const answer = await ask('POST', `/api/transactions/${ID}/commit`);
        expect({ calls, status: answer.status }).toEqual({ calls, status: 200 });
        await sweep(services, TENANT);
        expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(2);
        expect(
          (await Array.fromAsync(services.blobs.list(`${TENANT}/`))).map(({ key }) => key.endsWith('.dcm')),
        ).toEqual([true, true]);
        services.clock.advance(services.limits.transactionMs);
        await sweep(services, TENANT);
        expect(await Array.fromAsync(services.blobs.list('_uploads/'))).toEqual([]);
        const left: Item[] = (
          await services.index.query({ partition: `${TENANT}|transaction|${ID}`, limit: 10 })
        ).records.map(({ item }) => item);
        expect(left).toEqual([]);
        if (dead.survived()) {
          expect(calls).toBeGreaterThan(20);
          return;
        }
      }
    },
  );
});
