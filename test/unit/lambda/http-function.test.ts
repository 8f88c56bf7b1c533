import '#test/fixtures/quiet-powertools.ts';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import type { APIGatewayProxyResult } from 'aws-lambda';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { sweep } from '#core/archive/sweep.ts';
import { TokenStore } from '#core/tokens.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { REQUEST_BYTES, readLambdaConfig } from '#lambda/config.ts';
import type { FunctionName } from '#lambda/functions.ts';
import { httpFunction } from '#lambda/http-function.ts';
import { auditEvents } from '#test/fixtures/audit-events.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { dyingServices } from '#test/fixtures/dying-services.ts';
import { archiveOf } from '#test/fixtures/granted-index.ts';
import {
  invocable,
  lambdaContext,
  provideStreaming,
  proxyEvent,
  StreamedAnswer,
} from '#test/fixtures/lambda-runtime.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';
import { multipart } from '#test/hosts/client.ts';

const ORIGIN = 'https://pacs.test';
const ADMIN = { tenant: TENANT, subject: 'test', roles: 'admin' };
type Ask = {
  method?: string;
  headers?: Record<string, string>;
  body?: Uint8Array;
  authorizer?: Record<string, string>;
};

function functions(env: Record<string, string> = {}, streaming = false) {
  const memory = memoryServices();
  const archive = cloudArchive(readLambdaConfig({ NEPHOS_TENANTS: TENANT, ...env }, streaming), memory, streaming);
  const eventOf = (path: string, { method = 'GET', headers = {}, body, authorizer = ADMIN }: Ask) =>
    proxyEvent({ method, url: new URL(path, ORIGIN), headers, body, ...(authorizer.tenant && { authorizer }) });
  return {
    memory,
    archive,
    eventOf,
    async ask(name: FunctionName, path: string, ask: Ask = {}): Promise<APIGatewayProxyResult> {
      const handler = invocable<never>(httpFunction(name, () => archiveOf(name, archive)));
      return handler(eventOf(path, ask), lambdaContext());
    },
    stream(name: FunctionName, path: string, ask: Ask = {}, remainingMs = 29_000) {
      const handler = invocable<never>(httpFunction(name, () => archiveOf(name, archive)));
      const answer = new StreamedAnswer({ highWaterMark: 64 * 1024 });
      return { answer, ended: handler(eventOf(path, ask), answer, lambdaContext(remainingMs)) as Promise<unknown> };
    },
  };
}
const problem = ({ body }: APIGatewayProxyResult) => JSON.parse(body);
const STUDY = `/dicomweb/studies/${uid(1)}`;
const SERIES = `${STUDY}/series/${uid(2)}`;

describe('a function has what its row grants, and that is enough', () => {
  test('a search for what stands in metadata that is too long for the index finds it: it once had no bucket to read it from', async () => {
    const { ask, archive } = functions({ NEPHOS_LIMIT_METADATA_IN_INDEX_BYTES: '10' });
    await store(archive.services, buildDicom({ SOPInstanceUID: uid(101), ImageComments: 'kept beside the object' }));
    const found = await ask('search', `${SERIES}/instances?includefield=ImageComments`);
    expect([found.statusCode, JSON.parse(found.body)[0]?.['00204000']?.Value], found.body).toEqual([
      200,
      ['kept beside the object'],
    ]);
  });

  test('who reads what lies on slow media is told to come again, and the list says that it is on its way', async () => {
    const { ask, memory } = functions();
    await store(memory, buildDicom({ SOPInstanceUID: uid(101) }));
    for await (const { key } of memory.blobs.list(`${TENANT}/`)) memory.blobs.archive(key);
    const path = `${SERIES}/instances/${uid(101)}`;
    expect(
      (await ask('retrieve', path, { headers: { Accept: 'application/dicom; transfer-syntax=*' } })).statusCode,
    ).toBe(503);
    expect((await studyRecord(memory, uid(1)))?.availability).toBe('NEARLINE');
    expect((await ask('render', `${path}/rendered`, { headers: { Accept: 'image/png' } })).statusCode).toBe(503);
  });
});

describe('an answer in one piece', () => {
  test('base64 for bytes alone', async () => {
    const { ask, memory } = functions();
    const bytes = buildDicom({ SOPInstanceUID: uid(101) });
    await store(memory, bytes);
    const object = await ask('retrieve', `${SERIES}/instances/${uid(101)}`, {
      headers: { Accept: 'application/dicom; transfer-syntax=*' },
    });
    expect(object.isBase64Encoded).toBe(true);
    expect(Buffer.from(object.body, 'base64').equals(Buffer.from(bytes))).toBe(true);
    const list = await ask('search', '/dicomweb/studies');
    expect(list.isBase64Encoded).toBe(false);
    expect(JSON.parse(list.body)).toHaveLength(1);
  });

  test('names of headers are in small letters, and HEAD has none but headers', async () => {
    const { ask, memory } = functions();
    await store(memory, buildDicom({ SOPInstanceUID: uid(101) }));
    const head = await ask('retrieve', `${SERIES}/instances/${uid(101)}`, {
      method: 'HEAD',
      headers: { ACCEPT: 'application/dicom; transfer-syntax=*' },
    });
    expect(head.statusCode).toBe(200);
    expect(head.body).toBe('');
    expect(Number(head.headers?.['content-length'])).toBeGreaterThan(0);
    expect(Object.keys(head.headers ?? {}).filter((name) => name !== name.toLowerCase())).toEqual([]);
  });

  test('a request that is too large is pointed to store transactions', async () => {
    const { ask } = functions();
    const refused = await ask('store', '/dicomweb/studies', {
      method: 'POST',
      headers: { 'Content-Type': 'application/dicom' },
      body: new Uint8Array(REQUEST_BYTES + 1),
    });
    expect(refused.statusCode).toBe(413);
    expect(refused.headers?.link).toBe(`<${ORIGIN}/api/transactions>; rel="urn:nephos:rel:store-transactions"`);
    expect(problem(refused)).toMatchObject({ code: 'TOO_LARGE', title: expect.stringMatching(/store transaction/) });
  });

  test('an answer that outgrows 6 MB is refused, not cut', async () => {
    const { ask, memory } = functions({ NEPHOS_LIMIT_RESPONSE_BYTES: '1000' });
    for (let n = 1; n <= 10; n++)
      await store(
        memory,
        buildDicom({ StudyInstanceUID: uid(10 + n), SeriesInstanceUID: uid(50 + n), SOPInstanceUID: uid(100 + n) }),
      );
    const refused = await ask('search', '/dicomweb/studies');
    expect(refused.statusCode).toBe(413);
    expect(problem(refused).code).toBe('TOO_LARGE');
  });

  test('nothing at a path: 404; a defect: 500 that says nothing', async () => {
    const { ask, memory } = functions();
    expect((await ask('search', '/nowhere')).statusCode).toBe(404);
    expect((await ask('search', '/dicomweb/studies', { method: 'PUT' })).statusCode).toBe(405);
    vi.spyOn(memory.index, 'query').mockRejectedValue(new Error('secret of the table'));
    const failed = await ask('search', '/dicomweb/studies');
    expect(failed.statusCode).toBe(500);
    expect(failed.body).not.toContain('secret');
  });

  test('a query comes as it was written: repeated, with characters of any kind', async () => {
    const { ask, memory } = functions();
    await store(
      memory,
      buildDicom({ SOPInstanceUID: uid(101), PatientName: 'MÜLLER^ÄNNE', SpecificCharacterSet: 'ISO_IR 192' }),
    );
    const search = `/dicomweb/studies?PatientName=${encodeURIComponent('müller*')}&includefield=00081030&includefield=00080050`;
    const found = JSON.parse((await ask('search', search)).body);
    expect(found).toHaveLength(1);
  });
});

describe('who asks', () => {
  test('the authorizer’s word is taken; without it nobody gets in', async () => {
    const { ask } = functions();
    expect((await ask('search', '/dicomweb/studies')).statusCode).toBe(200);
    expect((await ask('search', '/dicomweb/studies', { authorizer: {} })).statusCode).toBe(401);
    const finder = { ...ADMIN, roles: 'finder' };
    expect((await ask('store', '/dicomweb/studies', { method: 'POST', authorizer: finder })).statusCode).toBe(403);
    const unknown = { ...ADMIN, roles: 'king toString' };
    expect((await ask('search', '/dicomweb/studies', { authorizer: unknown })).statusCode).toBe(403);
  });

  test('where no authorizer stands, a token is looked at by the function itself', async () => {
    const { ask, memory } = functions();
    const token = (await new TokenStore(memory).bootstrap(TENANT))!;
    const open = { authorizer: {}, headers: { Authorization: `Bearer ${token}` } };
    expect(JSON.parse((await ask('admin', '/api/session', open)).body)).toMatchObject({ subject: 'admin' });
    expect((await ask('admin', '/api/session', { authorizer: {} })).statusCode).toBe(401);
  });

  test('answers speak of the name under which they were asked', async () => {
    const study = buildDicom({ SOPInstanceUID: uid(101) });
    const urlOf = async (env: Record<string, string>, headers: Record<string, string>) => {
      const { ask, memory } = functions(env);
      await store(memory, study);
      return JSON.parse((await ask('search', '/dicomweb/studies', { headers })).body)[0]['00081190'].Value[0];
    };
    expect(await urlOf({}, {})).toBe(`${ORIGIN}${STUDY}`);
    expect(await urlOf({}, { 'X-Forwarded-Host': 'images.clinic.test' })).toBe(`https://images.clinic.test${STUDY}`);
    expect(await urlOf({ NEPHOS_PUBLIC_URL: 'https://pacs.clinic.test' }, {})).toBe(`https://pacs.clinic.test${STUDY}`);
  });
});

describe('a streamed answer', () => {
  let withdraw = () => {};
  afterEach(() => withdraw());
  const streaming = (env: Record<string, string> = {}) => {
    withdraw = provideStreaming();
    return functions(env, true);
  };
  const large = () => buildDicom({ SOPInstanceUID: uid(101), PixelData: new Uint8Array(8 * 1024 * 1024) });
  const SINGLE = { headers: { accept: 'application/dicom; transfer-syntax=*' } };
  const INSTANCE = `${SERIES}/instances/${uid(101)}`;

  test('is sent as the object is read', async () => {
    const { stream, memory } = streaming();
    const bytes = large();
    await store(memory, bytes);
    const { answer, ended } = stream('retrieve', INSTANCE, SINGLE);
    const [content] = await Promise.all([buffer(answer), ended]);
    expect(answer.metadata).toMatchObject({
      statusCode: 200,
      headers: { 'content-type': 'application/dicom' },
    });
    expect(content.equals(Buffer.from(bytes))).toBe(true);
  });

  test('is read no faster than the client takes it, and no further when the client goes away', async () => {
    const { stream, memory } = streaming();
    await store(memory, large());
    let given = 0;
    let released = false;
    const read = memory.blobs.read.bind(memory.blobs);
    vi.spyOn(memory.blobs, 'read').mockImplementation(async function* (key, range) {
      try {
        for await (const chunk of read(key, range)) {
          given += chunk.length;
          yield chunk;
        }
      } finally {
        released = true;
      }
    });
    const { answer, ended } = stream('retrieve', INSTANCE, SINGLE);
    await once(answer, 'readable');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(given).toBeLessThan(5 * 1024 * 1024);
    answer.destroy(new Error('the client went away'));
    await expect(ended).rejects.toThrow();
    await expect.poll(() => released).toBe(true);
  });

  test('that outgrows the limit breaks off with an error: it never looks whole', async () => {
    const { stream, memory } = streaming({ NEPHOS_LIMIT_RESPONSE_BYTES: '300' });
    await store(memory, buildDicom({ SOPInstanceUID: uid(101), NumberOfFrames: 3, PixelData: new Uint8Array(96) }));
    const { answer, ended } = stream('retrieve', `${INSTANCE}/frames/1,2,3`);
    answer.on('error', () => {}).resume();
    await expect(ended).rejects.toMatchObject({ code: 'TOO_LARGE' });
    expect(answer.metadata?.statusCode).toBe(200);
    expect(answer.writableFinished).toBe(false);
  });

  test('of events ends before the function is ended', async () => {
    const { stream } = streaming();
    const { answer, ended } = stream('events', '/api/events', { headers: { accept: 'text/event-stream' } }, 3_100);
    const [content] = await Promise.all([buffer(answer), ended]);
    expect(answer.metadata?.headers['content-type']).toBe('text/event-stream');
    expect(content.toString()).toMatch(/^: open\n/);
  });
});

describe('the store function, killed at any moment', () => {
  test.each(['before', 'after'] as const)(
    '%s a call took effect: what was acknowledged is there, and sending again makes it exact',
    async (when) => {
      const objects = [1, 2, 3].map((n) => buildDicom({ SOPInstanceUID: uid(100 + n), InstanceNumber: n }));
      const request = multipart(objects);
      const send = async (memory: ReturnType<typeof memoryServices>) => {
        const archive = cloudArchive(readLambdaConfig({ NEPHOS_TENANTS: TENANT }, false), memory, false);
        const handler = invocable<APIGatewayProxyResult>(httpFunction('store', () => archive));
        const { method, headers, body } = request;
        const event = proxyEvent({
          method,
          url: new URL('/dicomweb/studies', ORIGIN),
          headers,
          body,
          authorizer: ADMIN,
        });
        return handler(event, lambdaContext());
      };
      const countOf = async (memory: ReturnType<typeof memoryServices>) =>
        (await studyRecord(memory, uid(1)))?.instanceCount ?? 0;
      for (let calls = 1; ; calls++) {
        const memory = memoryServices();
        const dead = dyingServices(memory, { calls, when });
        const answer = await send(dead.services);
        if (answer.statusCode === 200 || answer.statusCode === 202) {
          const acknowledged = JSON.parse(answer.body)['00081199'].Value.length;
          expect(await countOf(memory), `killed at call ${calls}`).toBeGreaterThanOrEqual(acknowledged);
        }
        expect((await send(memory)).statusCode).toBe(200);
        memory.clock.advance(memory.limits.pendingMs + 1);
        await sweep(memory, TENANT);
        expect({ calls, count: await countOf(memory) }).toEqual({ calls, count: 3 });
        expect(
          (await Array.fromAsync(memory.blobs.list(`${TENANT}/`))).filter(({ key }) => key.endsWith('.dcm')),
        ).toHaveLength(3);
        if (dead.survived()) {
          expect(calls).toBeGreaterThan(10);
          return;
        }
      }
    },
  );
});

describe('where a call came from', () => {
  /** CloudFront adds the address of whoever asked it, API Gateway says where the connection came from. */
  const fromOf = async (forwarded: string | undefined): Promise<unknown> => {
    const { ask, memory } = functions();
    await store(memory, buildDicom());
    const headers = { ...(forwarded !== undefined && { 'X-Forwarded-For': forwarded }) };
    expect((await ask('retrieve', `${STUDY}/metadata`, { headers })).statusCode).toBe(200);
    const entries = (await auditEvents(memory, TENANT)).filter(({ event }) => event === 'InstancesAccessed');
    return entries.map(({ from, via }) => ({ from, via }));
  };

  test.each<[string, string | undefined, object]>([
    ['through CloudFront', '203.0.113.9, 130.176.1.1', { from: '203.0.113.9', via: '192.0.2.7' }],
    [
      'through CloudFront, with an address that the caller made up',
      '6.6.6.6, 203.0.113.9, 130.176.1.1',
      { from: '203.0.113.9', via: '192.0.2.7' },
    ],
    ['over IPv6', '2001:db8::9, 130.176.1.1', { from: '2001:db8::9', via: '192.0.2.7' }],
    ['past CloudFront', undefined, { from: '192.0.2.7' }],
    ['with what is no address', 'DOE^JANE, 130.176.1.1', { from: '192.0.2.7' }],
  ])('%s', async (_, forwarded, expected) => {
    expect(await fromOf(forwarded)).toEqual([expected]);
  });
});
