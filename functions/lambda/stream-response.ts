import { type Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { PluginExecutionMode } from '@middy/core';
import type { StreamedResult } from './http-event.ts';

/** What Lambda's runtime for Node puts into the global scope. */
interface Runtime {
  streamifyResponse<H>(handler: H): H;
  readonly HttpResponseStream: { from(stream: Writable, metadata: object): Writable };
}
type Handler = (event: unknown, context: unknown) => Promise<unknown>;

/**
 * How middy answers by a stream. Its own mode pipes the body straight into the runtime's stream, and a body that fails destroys that: the
 * runtime then dies of a rejection that nobody handles. Here a failing body rejects the invocation, and the runtime ends the
 * stream with the error in its trailers, as it does for whatever a function throws.
 */
export const streamResponse = ((
  {
    middyRequest,
    runRequest,
  }: { middyRequest: (...a: unknown[]) => object; runRequest: (...a: unknown[]) => Promise<unknown> },
  before: unknown,
  first: Handler,
  after: unknown,
  onError: unknown,
  plugin: { requestStart(request: object): void; requestEnd(request: object): unknown },
) => {
  const { awslambda } = globalThis as unknown as { awslambda: Runtime };
  let work = first;
  const streaming = async (event: unknown, stream: Writable, context: unknown): Promise<void> => {
    const request = middyRequest(event, context);
    plugin.requestStart(request);
    const result = await runRequest(request, before, work, after, onError, plugin);
    const { body, ...metadata } = result as StreamedResult;
    await send(body, awslambda.HttpResponseStream.from(stream, metadata));
    await plugin.requestEnd(request);
  };
  return Object.assign(awslambda.streamifyResponse(streaming), {
    handler(this: object, replaced: Handler) {
      work = replaced;
      return this;
    },
  });
}) as unknown as PluginExecutionMode;

async function send(body: Readable | string, stream: Writable): Promise<void> {
  // The metadata go ahead of the first write, and an answer without a body has them too.
  stream.write('');
  if (typeof body !== 'string') return pipeline(body, guarded(stream));
  stream.write(body);
  await new Promise<void>((resolve, reject) => {
    stream.once('error', reject);
    stream.end(resolve);
  });
}

/** Takes chunks as fast as the stream does, ends it with the last, but leaves it as it is when the body fails. */
function guarded(stream: Writable): Writable {
  const sink = new Writable({
    write: (chunk, _, done) => (stream.write(chunk) ? done() : void stream.once('drain', done)),
    final: (done) => void stream.end(done),
  });
  stream.once('error', (error) => sink.destroy(error));
  stream.once('close', () => sink.writableFinished || sink.destroy(new Error('the client has gone')));
  return sink;
}
