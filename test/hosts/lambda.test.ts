import '#test/fixtures/quiet-powertools.ts';
import { buffer } from 'node:stream/consumers';
import type { APIGatewayProxyResult } from 'aws-lambda';
import { codecModule } from '#adapters/local/codec-module.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { type CloudArchive, cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { FUNCTIONS, type FunctionName } from '#lambda/functions.ts';
import { httpFunction } from '#lambda/http-function.ts';
import { archiveOf } from '#test/fixtures/granted-index.ts';
import {
  invocable,
  lambdaContext,
  provideStreaming,
  proxyEvent,
  routeTo,
  StreamedAnswer,
} from '#test/fixtures/lambda-runtime.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';
import type { Answer, Host } from './client.ts';
import { dicomwebSuite } from './dicomweb-suite.ts';

/** The functions in this process on the memory adapters, started as API Gateway would start them. */
async function lambdaHost(streaming: boolean): Promise<Host> {
  const origin = 'https://pacs.test';
  const withdraw = streaming ? provideStreaming() : () => {};
  const memory = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
  const config = readLambdaConfig({ NEPHOS_TENANTS: TENANT }, streaming);
  const archive: CloudArchive = cloudArchive(config, memory, streaming);
  const functions = new Map<FunctionName, ReturnType<typeof httpFunction>>();
  const functionOf = (name: FunctionName) => {
    const known = functions.get(name) ?? httpFunction(name, () => archiveOf(name, archive));
    functions.set(name, known);
    return known;
  };
  return {
    origin,
    async close() {
      withdraw();
      await memory.pixels.close();
    },
    async fetch(target, { method = 'GET', headers = {}, body } = {}): Promise<Answer> {
      const url = new URL(target, origin);
      const { name, trigger } = routeTo(method, url.pathname);
      const authorizer = trigger.public ? undefined : { tenant: TENANT, subject: 'test', roles: 'admin' };
      const event = proxyEvent({ method, url, headers, body, authorizer });
      const handler = invocable<unknown>(functionOf(name));
      if (streaming && FUNCTIONS[name].streaming) {
        const answer = new StreamedAnswer();
        const [content] = await Promise.all([buffer(answer), handler(event, answer, lambdaContext())]);
        return answered(method, answer.metadata!.statusCode, answer.metadata!.headers, content);
      }
      const result = (await handler(event, lambdaContext())) as APIGatewayProxyResult;
      const content = Buffer.from(result.body, result.isBase64Encoded ? 'base64' : 'utf8');
      return answered(method, result.statusCode, result.headers as Record<string, string>, content);
    },
  };
}

/** API Gateway adds the length of what it has whole. */
function answered(method: string, status: number, headers: Record<string, string>, body: Buffer): Answer {
  if (method === 'HEAD' && body.length > 0) throw new Error('a HEAD request was answered with a body');
  return { status, headers: { 'content-length': String(body.length), ...headers }, body };
}

dicomwebSuite('Lambda functions that stream', () => lambdaHost(true));
dicomwebSuite('Lambda functions that answer whole', () => lambdaHost(false));
