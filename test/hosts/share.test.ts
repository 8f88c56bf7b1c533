import '#test/fixtures/quiet-powertools.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { APIGatewayAuthorizerResult, APIGatewayProxyResult } from 'aws-lambda';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { TokenStore } from '#core/tokens.ts';
import { apiRequestCode } from '#infra/constructs/edge-functions.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { authorizerFunction } from '#lambda/authorizer-function.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { FUNCTIONS, type FunctionName } from '#lambda/functions.ts';
import { httpFunction } from '#lambda/http-function.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { archiveOf } from '#test/fixtures/granted-index.ts';
import {
  invocable,
  lambdaContext,
  provideStreaming,
  proxyEvent,
  routeTo,
  StreamedAnswer,
} from '#test/fixtures/lambda-runtime.ts';
import { memoryServices } from '#test/fixtures/services.ts';
import { type RunningArchive, startArchive } from './process.ts';

/** A host, asked from outside, with a token that may do everything. */
interface Host {
  readonly admin: string;
  fetch(
    path: string,
    init?: { method?: string; headers?: Record<string, string>; body?: Uint8Array },
  ): Promise<{ status: number; headers: Record<string, string>; body: Buffer }>;
  close(): Promise<void>;
}

/** Two server processes on one data folder. */
async function embedded(): Promise<Host> {
  const dir = await mkdtemp(join(tmpdir(), 'nephos-share-'));
  const archive: RunningArchive = await startArchive(join(dir, 'data'), { NEPHOS_AUTH: 'on', NEPHOS_WORKERS: '2' });
  const admin = /nephos_[\w-]{40,}/.exec(archive.said())?.[0];
  if (admin === undefined) throw new Error(`no token: ${archive.said()}`);
  return {
    admin,
    async fetch(path, init = {}) {
      // A connection for each request: so they come to different processes.
      const headers = { connection: 'close', ...init.headers };
      const answer = await fetch(archive.origin + path, { ...init, headers } as RequestInit);
      return {
        status: answer.status,
        headers: Object.fromEntries(answer.headers),
        body: Buffer.from(await answer.arrayBuffer()),
      };
    },
    async close() {
      await archive.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** The functions behind CloudFront's own and API Gateway with its authorizer, as they are deployed. */
async function lambda(): Promise<Host> {
  const withdraw = provideStreaming();
  const services = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
  const archive = cloudArchive(readLambdaConfig({}, true), services, true);
  const tokens = new TokenStore(services);
  const admin = (await tokens.bootstrap('main'))!;
  const functions = new Map<FunctionName, unknown>();
  const authorizer = invocable<APIGatewayAuthorizerResult>(authorizerFunction(() => archiveOf('authorizer', archive)));
  const code = apiRequestCode({ primary: 'one', secondary: undefined }).replace(/^import .*$/m, '');
  const atTheEdge = new Function(`${code}; return handler;`)() as (event: object) => {
    uri: string;
    headers: Record<string, { value: string }>;
  };
  return {
    admin,
    async fetch(path, { method = 'GET', headers = {}, body } = {}) {
      const asked = new URL(path, 'https://pacs.test');
      const named = Object.fromEntries(
        Object.entries({ host: asked.host, ...headers }).map(([name, value]) => [name, { value }]),
      );
      const passed = atTheEdge({ request: { method, uri: asked.pathname, headers: named } });
      const url = new URL(passed.uri + asked.search, asked);
      // The fixture of events adds the host's own.
      const own = new Set(['host', 'x-forwarded-host', 'x-forwarded-proto']);
      const entries = Object.entries(passed.headers).filter(([header]) => !own.has(header));
      const sent = Object.fromEntries(entries.map(([header, { value }]) => [header, value]));
      const { name, trigger } = routeTo(method, url.pathname);
      let context: Record<string, string> | undefined;
      if (!trigger.public) {
        try {
          const event = { ...proxyEvent({ method, url, headers: sent, body }), type: 'REQUEST', methodArn: 'arn:x' };
          context = (await authorizer(event, lambdaContext())).context as Record<string, string>;
        } catch {
          return { status: 401, headers: {}, body: Buffer.from('{"message":"Unauthorized"}') };
        }
      }
      if (!functions.has(name))
        functions.set(
          name,
          httpFunction(name, () => archiveOf(name, archive)),
        );
      const handler = functions.get(name) as (...values: unknown[]) => Promise<unknown>;
      const event = proxyEvent({ method, url, headers: sent, body, authorizer: context });
      if (FUNCTIONS[name].streaming) {
        const answer = new StreamedAnswer();
        const [content] = await Promise.all([buffer(answer), handler(event, answer, lambdaContext())]);
        const { statusCode, headers: told } = answer.metadata!;
        return { status: statusCode, headers: told, body: content };
      }
      const result = (await handler(event, lambdaContext())) as APIGatewayProxyResult;
      const content = Buffer.from(result.body, result.isBase64Encoded ? 'base64' : 'utf8');
      return { status: result.statusCode, headers: result.headers as Record<string, string>, body: content };
    },
    async close() {
      withdraw();
      await services.pixels.close();
    },
  };
}

const SHARED = uid(1);
const OTHER = uid(2);

describe.each([
  ['processes of the embedded host', embedded],
  ['the functions behind CloudFront and API Gateway', lambda],
] as const)('share links, by %s', (_, start) => {
  let host: Host;
  beforeAll(async () => {
    host = await start();
    for (const [study, n] of [
      [SHARED, 11],
      [OTHER, 21],
    ] as const) {
      const body = buildDicom({ StudyInstanceUID: study, SeriesInstanceUID: `${study}.1`, SOPInstanceUID: uid(n) });
      const headers = { authorization: `Bearer ${host.admin}`, 'content-type': 'application/dicom' };
      expect((await host.fetch('/dicomweb/studies', { method: 'POST', headers, body })).status).toBe(200);
    }
  });
  afterAll(() => host?.close());

  const share = async (asked: object = {}): Promise<{ id: string; secret: string }> => {
    const body = {
      studies: [SHARED],
      scopes: ['view'],
      receiver: 'Dr. Ida Frank',
      purpose: 'Second opinion',
      ...asked,
    };
    const headers = { authorization: `Bearer ${host.admin}`, 'content-type': 'application/json' };
    const answer = await host.fetch('/api/shares', {
      method: 'POST',
      headers,
      body: Buffer.from(JSON.stringify(body)),
    });
    expect(answer.status, answer.body.toString()).toBe(201);
    const { id, url } = JSON.parse(answer.body.toString()) as { id: string; url: string };
    expect(new URL(url).pathname).toBe(`/s/${id}`);
    return { id, secret: url.split('#')[1]! };
  };
  const open = ({ id, secret }: { id: string; secret: string }, pin?: string) =>
    host.fetch(`/s/${id}/api/guest/opening`, { method: 'POST', body: Buffer.from(JSON.stringify({ secret, pin })) });
  const view = async (id: string) =>
    JSON.parse(
      (await host.fetch(`/api/shares/${id}`, { headers: { authorization: `Bearer ${host.admin}` } })).body.toString(),
    );

  test('a guest sees the study of his link, drawn under his name, and no other', async () => {
    const link = await share();
    const cookie = (await open(link)).headers['set-cookie']!.split(';')[0]!;
    const ask = (path: string, more: Record<string, string> = {}) =>
      host.fetch(`/s/${link.id}${path}`, { headers: { cookie, ...more } });
    const found = await ask('/dicomweb/studies');
    expect(found.status).toBe(200);
    expect(JSON.parse(found.body.toString())).toHaveLength(1);
    const series = `/dicomweb/studies/${SHARED}/series/${SHARED}.1`;
    const metadata = await ask(`${series}/metadata`);
    expect(metadata.body.toString()).toContain(`/s/${link.id}/dicomweb/studies`);
    expect((await ask(`${series}/instances/${uid(11)}/frames/1`)).status).toBe(200);
    const rendered = await ask(`${series}/instances/${uid(11)}/rendered?viewport=400,400`, { accept: 'image/png' });
    expect(rendered.headers['content-type']).toBe('image/png');
    const plain = await host.fetch(`${series}/instances/${uid(11)}/rendered?viewport=400,400`, {
      headers: { authorization: `Bearer ${host.admin}`, accept: 'image/png' },
    });
    expect(rendered.body.equals(plain.body)).toBe(false);
    expect((await ask(`/dicomweb/studies/${OTHER}/metadata`)).status).toBe(404);
    expect((await ask(`/dicomweb/studies/${SHARED}`)).status).toBe(403);
    expect((await ask('/api/shares')).status).toBe(404);
    expect((await host.fetch('/dicomweb/studies', { headers: { cookie } })).status).toBe(401);
    const gone = { method: 'DELETE', headers: { authorization: `Bearer ${host.admin}` } };
    expect((await host.fetch(`/api/shares/${link.id}`, gone)).status).toBe(204);
    expect((await ask(`${series}/metadata`)).status).toBe(401);
  });

  test('the last opening is one, whoever decides it', async () => {
    const link = await share({ openings: 2 });
    const answers = await Promise.all(Array.from({ length: 24 }, () => open(link)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(2);
    expect(answers.filter(({ status }) => status === 410)).toHaveLength(22);
    expect(await view(link.id)).toMatchObject({ openings: 2, state: 'usedUp' });
  });

  test('of many guesses at once five are looked at, and then the right PIN opens nothing', async () => {
    const link = await share({ pin: '9999' });
    const answers = await Promise.all(Array.from({ length: 16 }, (_, n) => open(link, String(1000 + n))));
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(5);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(0);
    expect((await open(link, '9999')).status).toBe(403);
    expect(await view(link.id)).toMatchObject({ openings: 0, wrongPins: 5, state: 'locked' });
  });
});
