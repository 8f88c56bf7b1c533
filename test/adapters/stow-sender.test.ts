import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { StowSender } from '#adapters/stow/stow-sender.ts';
import { systemClock } from '#adapters/system-clock.ts';
import type { SendRequest, SentObject } from '#core/ports/object-sender.ts';
import { readMultipart } from '#dicomweb/multipart.ts';

/** An archive elsewhere that answers as the test says. */
type Answer = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function listening(answer: Answer): Promise<string> {
  const server: Server = createServer((request, response) => void answer(request, response));
  // It ends no connection on which the next request may be on its way.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => new Promise((resolve) => server.close(resolve).closeAllConnections()));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function senderTo(origin: string, credentials: object = {}, networks = ['127.0.0.1']): StowSender {
  const { port } = new URL(origin);
  const sender = new StowSender({
    clock: systemClock,
    allowed: {
      hosts: ['127.0.0.1', 'localhost'].map((host) => ({ scheme: 'http', host, port: Number(port) })),
      networks,
    },
    readCredentials: async () => JSON.stringify(credentials),
  });
  closing.push(() => sender.close());
  return sender;
}

const objectOf = (bytes: Buffer): SentObject => ({
  sizeBytes: bytes.byteLength,
  sha256: createHash('sha256').update(bytes).digest('hex'),
  async *read() {
    yield bytes;
  },
});

const requestTo = (origin: string, more: Partial<SendRequest> = {}): SendRequest => ({
  tenant: 'main',
  url: `${origin}/dicom-web`,
  timeoutMs: 60_000,
  route: ['HERE'],
  objects: [],
  ...more,
});

const taken: Answer = async (request, response) => {
  for await (const _ of request);
  response.end('{}');
};

test('objects go as one multipart request of known length, each with its digest, and come out as they were', async () => {
  const objects = [Buffer.from('first'), Buffer.alloc(300_000, 7), Buffer.alloc(0)];
  const got: { headers: unknown; digest: string | undefined; bytes: Buffer }[] = [];
  const origin = await listening(async (request, response) => {
    const boundary = /boundary=(\S+)/.exec(request.headers['content-type'] ?? '')![1]!;
    expect(request.url).toBe('/dicom-web/studies');
    expect(request.headers).toMatchObject({ accept: 'application/dicom+json', 'x-nephos-route': 'NORTH, HERE' });
    expect(Number(request.headers['content-length'])).toBeGreaterThan(300_000);
    for await (const { headers, body } of readMultipart(request, boundary)) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) chunks.push(Buffer.from(chunk));
      got.push({ headers: headers['content-type'], digest: headers['repr-digest'], bytes: Buffer.concat(chunks) });
    }
    response.writeHead(202, { 'retry-after': '7', 'x-nephos-archive': 'SOUTH' }).end('{"a":1}');
  });
  const route = ['NORTH', 'HERE'];
  const answer = await senderTo(origin).send(requestTo(origin, { route, objects: objects.map(objectOf) }));
  expect(answer).toEqual({ status: 202, retryAfter: '7', archive: 'SOUTH', text: '{"a":1}' });
  expect(got.map(({ bytes }) => bytes.equals(objects[got.findIndex((one) => one.bytes === bytes)]!))).toEqual([
    true,
    true,
    true,
  ]);
  expect(got[0]).toMatchObject({ headers: 'application/dicom', digest: expect.stringMatching(/^sha-256=:.+:$/) });
});

test('a large object is read as fast as it is taken', async () => {
  let read = 0;
  let ahead = 0;
  let received = 0;
  const origin = await listening(async (request, response) => {
    for await (const chunk of request) {
      received += (chunk as Buffer).byteLength;
      ahead = Math.max(ahead, read - received);
      await new Promise((resolve) => setImmediate(resolve));
    }
    response.end('{}');
  });
  const sizeBytes = 100 * 1024 * 1024;
  const chunk = Buffer.alloc(1024 * 1024);
  const object: SentObject = {
    sizeBytes,
    sha256: '0'.repeat(64),
    async *read() {
      for (; read < sizeBytes; read += chunk.byteLength) yield chunk;
    },
  };
  await senderTo(origin).send(requestTo(origin, { objects: [object] }));
  expect(received).toBeGreaterThan(sizeBytes);
  expect(ahead).toBeLessThan(sizeBytes / 4);
});

test('what cannot have arrived is told apart from what may have', async () => {
  const origin = await listening(
    (request) => void request.on('data', () => {}).on('end', () => request.socket.destroy()),
  );
  const sender = senderTo(origin);
  const objects = [objectOf(Buffer.from('x'))];
  await expect(sender.send(requestTo(origin, { objects }))).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  const nobody = 'http://127.0.0.1:9';
  await expect(senderTo(nobody).send(requestTo(nobody, { objects }))).rejects.toMatchObject({ code: 'BUSY' });
  const silent = await listening(() => {});
  const late = senderTo(silent).send(requestTo(silent, { objects, timeoutMs: 1_000 }));
  await expect(late).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
});

test('nothing goes to a host or an address that the configuration does not name, nor where an answer points', async () => {
  const asked: string[] = [];
  const elsewhere = await listening((request, response) => {
    asked.push(request.url!);
    response.end('{}');
  });
  const origin = await listening(async (request, response) => {
    for await (const _ of request);
    response.writeHead(307, { location: `${elsewhere}/stolen` }).end();
  });
  expect((await senderTo(origin).send(requestTo(origin))).status).toBe(307);
  await expect(senderTo(origin).send(requestTo(elsewhere))).rejects.toMatchObject({ code: 'FORBIDDEN' });
  // Allowed by name, and the name leads to this machine.
  const byName = origin.replace('127.0.0.1', 'localhost');
  await expect(senderTo(origin, {}, []).send(requestTo(byName))).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(senderTo(origin, {}, []).send(requestTo(origin))).rejects.toMatchObject({ code: 'FORBIDDEN' });
  expect(asked).toEqual([]);
});

test('credentials are shown where they are for, by whom they are for, and nowhere else', async () => {
  const shown: (string | undefined)[] = [];
  const origin = await listening(async (request, response) => {
    for await (const _ of request);
    shown.push(request.headers.authorization);
    response.end('{}');
  });
  const sender = senderTo(origin, {
    token: { origin, bearerToken: 'secret' },
    user: { origin, basic: { user: 'nephos', password: 'pass' } },
    others: { origin: 'https://pacs.example', bearerToken: 'secret' },
    tenants: { origin, tenant: 'north', bearerToken: 'secret' },
    empty: { origin },
  });
  const send = (authentication?: string) => sender.send(requestTo(origin, { authentication }));
  await send();
  await send('token');
  await send('user');
  expect(shown).toEqual([undefined, 'Bearer secret', `Basic ${Buffer.from('nephos:pass').toString('base64')}`]);
  for (const name of ['others', 'tenants', 'empty', 'unknown', '__proto__'])
    await expect(send(name), name).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  expect(shown).toHaveLength(3);
});

test('a token by client credentials is asked for once, and anew when the archive takes it no more', async () => {
  let given = 0;
  const tokens = await listening(async (request, response) => {
    let form = '';
    for await (const chunk of request) form += String(chunk);
    expect(new URLSearchParams(form).get('grant_type')).toBe('client_credentials');
    expect(request.headers.authorization).toBe(`Basic ${Buffer.from('me:mine').toString('base64')}`);
    response.end(JSON.stringify({ access_token: `token-${++given}`, expires_in: 3600 }));
  });
  let good = 'Bearer token-1';
  const origin = await listening(async (request, response) => {
    for await (const _ of request);
    response.writeHead(request.headers.authorization === good ? 200 : 401).end('{}');
  });
  const clientCredentials = { tokenUrl: `${tokens}/token`, clientId: 'me', clientSecret: 'mine' };
  const sender = senderTo(origin, { partner: { origin, clientCredentials } });
  const send = async () => (await sender.send(requestTo(origin, { authentication: 'partner' }))).status;
  expect([await send(), await send(), given]).toEqual([200, 200, 1]);
  good = 'Bearer token-2';
  expect([await send(), given]).toEqual([200, 2]);
  good = 'none';
  expect(await send()).toBe(401);
});

test('what reading an object throws is what is thrown', async () => {
  const origin = await listening(taken);
  const object: SentObject = {
    sizeBytes: 10,
    sha256: '0'.repeat(64),
    // biome-ignore lint/correctness/useYield: it fails before its first byte
    async *read() {
      throw new Error('no such file');
    },
  };
  await expect(senderTo(origin).send(requestTo(origin, { objects: [object] }))).rejects.toThrow();
});
