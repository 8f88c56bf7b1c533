import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Clinic, commitmentOf, cStore, dataSetsIn, dataSetsOf, openClinic, status, until } from './clinic.ts';
import { GoBetween } from './go-between.ts';

const RETRY = { firstMs: 5, mostMs: 40, refusals: 100 };
let clinic: Clinic;
let between: GoBetween;
const upstream = () => ({ url: `http://127.0.0.1:${between.port}/dicomweb`, timeoutMs: 400, retry: RETRY });
beforeAll(async () => {
  between = await GoBetween.open(() => clinic.archive.port);
  clinic = await openClinic(upstream());
});
afterAll(async () => {
  await clinic.close();
  between.close();
});
let study = 0;
beforeEach(() => {
  study++;
  between.interfere = undefined;
});

const sop = (i: number): string => uid(study * 1000 + i);
/** Of a study of this test's own. */
const slices = (count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) =>
    buildDicom({ StudyInstanceUID: uid(study), SeriesInstanceUID: uid(study * 10), SOPInstanceUID: sop(i) }),
  );

/** What has been acknowledged is in the archive, once, with its bytes, and is promised; nothing is held. */
async function expectKept(objects: readonly Uint8Array[]): Promise<void> {
  await until(
    () => status(clinic.gateway),
    ({ pending, held, confirmed }) => pending === 0 && held === 0 && confirmed >= objects.length,
  );
  await until(
    () => commitmentOf(clinic.gateway, objects),
    ({ others }) => others.length === 0,
  );
  const there = await dataSetsIn(clinic.archive.archive);
  for (const [uid, hash] of dataSetsOf(objects)) expect(there.get(uid)).toBe(hash);
}

const JSON_TYPE = { 'content-type': 'application/dicom+json' };
const login = '<!DOCTYPE html><html><title>Sign in</title><form action="/login"></form></html>';
const full =
  (status: number, body: string, headers: Record<string, string> = JSON_TYPE) =>
  (_: IncomingMessage, response: ServerResponse) =>
    response.writeHead(status, headers).end(body);
/** Bytes straight to the connection. */
const raw =
  (text: string, end = true) =>
  (request: IncomingMessage) => {
    request.socket.write(text, 'latin1');
    if (end) request.socket.end();
  };
const trickle = (head: Record<string, string>) => (_: IncomingMessage, response: ServerResponse) => {
  response.writeHead(200, head);
  const timer = setInterval(() => response.write('{'), 30);
  response.on('close', () => clearInterval(timer));
};
const stored = (...sops: string[]) => ({
  '00081199': { vr: 'SQ', Value: sops.map((sop) => ({ '00081155': { vr: 'UI', Value: [sop] } })) },
});

const ANSWERS: readonly (readonly [string, (request: IncomingMessage, response: ServerResponse) => unknown])[] = [
  ['200 with nothing in it', full(200, '')],
  ['204', full(204, '')],
  ['200 with a page to sign in', full(200, login, { 'content-type': 'text/html' })],
  ['200 with XML', full(200, '<?xml version="1.0"?><NativeDicomModel/>', { 'content-type': 'application/dicom+xml' })],
  ['200 with half of a JSON', full(200, '{"00081199":{"vr":"SQ","Value":[{')],
  ['200 with null', full(200, 'null')],
  ['200 with a text', full(200, '"stored"')],
  ['200 with an empty list', full(200, '[]')],
  ['200 with an empty object', full(200, '{}')],
  [
    '200 with sequences of null',
    full(200, '{"00081199":{"vr":"SQ","Value":[null]},"00081198":{"vr":"SQ","Value":[null]}}'),
  ],
  ['200 with a sequence that is none', full(200, '{"00081199":{"vr":"SQ","Value":"all"},"00081198":7}')],
  ['200 with UIDs that are none', full(200, '{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":5}}]}}')],
  ['200 for instances of somebody else', full(200, JSON.stringify(stored('2.25.7', '2.25.8')))],
  ['409 with nothing in it', full(409, '')],
  ['202 with a page', full(202, login, { 'content-type': 'text/html' })],
  ['a redirect to itself', (request, response) => response.writeHead(302, { location: request.url }).end()],
  ['a redirect to a page to sign in', full(307, '', { location: 'https://sso.example/login' })],
  ['411', full(411, '')],
  ['429 with a date', full(429, '', { 'retry-after': new Date(Date.now() - 5_000).toUTCString() })],
  ['429 with nonsense to wait for', full(429, '', { 'retry-after': '-5 soon' })],
  ['a length that is too long', full(200, '{}', { ...JSON_TYPE, 'content-length': '4000' })],
  ['a length that is too short', raw('HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{"a":1}')],
  ['two lengths', raw('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 5\r\n\r\n{}')],
  ['chunks without an end', raw('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n', false)],
  ['a chunk that is none', raw('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n')],
  ['no HTTP', raw('220 mail.example ESMTP\r\n')],
  ['only 100 Continue', raw('HTTP/1.1 100 Continue\r\n\r\n', false)],
  ['101 Switching Protocols', raw('HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n')],
  ['headers without an end', raw(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(200_000)}`)],
  ['an answer that comes a byte at a time', trickle(JSON_TYPE)],
  [
    'an error that comes a byte at a time',
    (_, response) => {
      response.writeHead(400);
      const timer = setInterval(() => response.write('.'), 30);
      response.on('close', () => clearInterval(timer));
    },
  ],
  ['a reset', (request) => request.socket.resetAndDestroy()],
];

test.each(ANSWERS)('an upstream that answers %s: nothing is lost, doubled, or held', async (_, answer) => {
  const often = async (times: number): Promise<void> => {
    const wanted = between.interfered + times;
    await until(
      () => between.interfered,
      (count) => count >= wanted,
    );
  };
  // To everything, then only to what is stored.
  between.interfere = answer;
  expect(await cStore(clinic.gateway, slices(3))).toEqual([0, 0, 0]);
  await often(3);
  between.interfere = (request, response) => (request.method === 'POST' ? answer(request, response) : false);
  await often(2);
  between.interfere = undefined;
  await expectKept(slices(3));
});

describe('an upstream that fails at one instance alone', () => {
  // What fails comes to wait longer than an attempt takes, on any machine: else it would be its turn again and again, and never the others'.
  beforeAll(() => clinic.restart({ ...upstream(), timeoutMs: 20_000, retry: { ...RETRY, mostMs: 2_000 } }));

  const othersConfirmed = (): Promise<unknown> =>
    until(
      () => commitmentOf(clinic.gateway, slices(6)),
      ({ committed }) => [0, 2, 3, 4, 5].every((i) => committed.includes(sop(i))),
    );

  test('when that is stored: the others arrive, and it does in another way, or when the upstream has been mended', async () => {
    clinic.archive.intercept = (answer) => async (request) => {
      if (request.method !== 'POST' || request.path !== '/dicomweb/studies') return answer(request);
      const chunks: Uint8Array[] = [];
      for await (const chunk of request.body ?? []) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      if (body.includes(sop(1))) return { response: { status: 500, headers: {} }, route: undefined };
      return answer({
        ...request,
        body: (async function* () {
          yield body;
        })(),
      });
    };
    await cStore(clinic.gateway, slices(6));
    await othersConfirmed();
    clinic.archive.intercept = undefined;
    await expectKept(slices(6));
  });

  test('when that is asked about: likewise', async () => {
    let losing = true;
    const poison = `/instances/${sop(1)}`;
    between.interfere = (request) => {
      if (request.url?.endsWith(poison)) {
        losing = false;
        return raw('HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n')(request);
      }
      // Until it has been asked about, every answer is lost: all have to be asked about.
      if (!losing || request.method !== 'POST') return false;
      request.socket.resetAndDestroy();
      return true;
    };
    await cStore(clinic.gateway, slices(6));
    await othersConfirmed();
    expect((await status(clinic.gateway)).held).toBe(0);
    between.interfere = undefined;
    await expectKept(slices(6));
  });
});

/** What the upstream said of it could never be read to its end; it kept its place at the head of the queue, and nothing behind it was sent. */
describe('an upstream whose answers about one instance cannot be read', () => {
  const slow = { timeoutMs: 20_000, retry: { ...RETRY, mostMs: 2_000 } };
  const cut =
    'HTTP/1.1 200 OK\r\ncontent-type: multipart/related; boundary=x\r\ncontent-length: 999\r\n\r\n--x\r\n\r\n';

  test('when it is fetched back: the others arrive, and it does when the upstream has been mended', async () => {
    await clinic.restart({ ...upstream(), ...slow, evidence: 'retrieve' });
    let losing = true;
    between.interfere = (request) => {
      if (request.method === 'GET' && request.url?.endsWith(`/instances/${sop(1)}`)) {
        losing = false;
        return raw(cut)(request);
      }
      if (!losing || request.method !== 'POST') return false;
      request.socket.resetAndDestroy();
      return true;
    };
    await cStore(clinic.gateway, slices(6));
    await until(
      () => commitmentOf(clinic.gateway, slices(6)),
      ({ committed }) => [0, 2, 3, 4, 5].every((i) => committed.includes(sop(i))),
    );
    expect((await status(clinic.gateway)).held).toBe(0);
    between.interfere = undefined;
    await expectKept(slices(6));
  });

  test('when it is stored, and is not asked about: likewise', async () => {
    await clinic.restart({ ...upstream(), ...slow, evidence: 'accepted' });
    const { confirmed: before } = await status(clinic.gateway);
    clinic.archive.intercept = (answer) => async (request) => {
      if (request.method !== 'POST' || request.path !== '/dicomweb/studies') return answer(request);
      const chunks: Uint8Array[] = [];
      for await (const chunk of request.body ?? []) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      if (body.includes(sop(1)))
        return {
          response: { status: 200, headers: { 'content-type': 'application/dicom+json' }, body: '{' },
          route: undefined,
        };
      return answer({
        ...request,
        body: (async function* () {
          yield body;
        })(),
      });
    };
    await cStore(clinic.gateway, slices(6));
    await until(
      () => status(clinic.gateway),
      ({ confirmed, held }) => confirmed === before + 5 && held === 0,
    );
    clinic.archive.intercept = undefined;
    await until(
      () => status(clinic.gateway),
      ({ confirmed, pending }) => confirmed === before + 6 && pending === 0,
    );
  });
});

// Whoever answered a store transaction with a page to sign in was taken for a defect of ours, and nothing went out any more.
describe('an upstream that answers what it likes to a store transaction', () => {
  beforeAll(() =>
    clinic.restart({ ...upstream(), timeoutMs: 20_000, batch: { bytes: 65_536 }, retry: { ...RETRY, mostMs: 2_000 } }),
  );
  const large = (): Uint8Array =>
    buildDicom({
      StudyInstanceUID: uid(study),
      SeriesInstanceUID: uid(study * 10),
      SOPInstanceUID: sop(9),
      ...{ Rows: 512, Columns: 512, NumberOfFrames: 1 },
    });

  test.each([
    ['a page to sign in', full(200, login, { 'content-type': 'text/html' })],
    ['null', full(200, 'null')],
    ['an empty object', full(200, '{}')],
    [
      'parts without end',
      full(200, '{"state":"open","objects":[{"partBytes":1,"parts":1e12,"arrived":[]}],"uploads":[{"part":7}]}'),
    ],
  ] as const)('%s: the others arrive, and it does when the upstream has been mended', async (_, answer) => {
    between.interfere = (request, response) =>
      request.url?.startsWith('/api/transactions') ? answer(request, response) : false;
    const others = slices(3);
    expect(await cStore(clinic.gateway, [large(), ...others])).toEqual([0, 0, 0, 0]);
    await until(
      () => commitmentOf(clinic.gateway, others),
      ({ committed }) => committed.length === others.length,
    );
    expect(between.interfered).toBeGreaterThan(0);
    expect((await status(clinic.gateway)).held).toBe(0);
    between.interfere = undefined;
    await expectKept([large(), ...others]);
  });
});
