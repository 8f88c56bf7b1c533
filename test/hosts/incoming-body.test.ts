import { once } from 'node:events';
import { type IncomingMessage, request, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { ObjectSource } from '#core/archive/object-source.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import { readMultipart } from '#dicomweb/multipart.ts';
import { createHttpHost } from '#embedded/http-host.ts';

type Reading = (body: AsyncIterable<Uint8Array>) => Promise<string>;

/** A host that answers with what `reading` makes of the request's body. */
async function hostThat(reading: Reading): Promise<{ server: Server; port: number }> {
  const server = createHttpHost({
    publicUrl: undefined,
    answer: async ({ body }: HttpRequest) => ({
      route: undefined,
      response: { status: 200, headers: {}, body: await reading(body as AsyncIterable<Uint8Array>) },
    }),
  }) as Server;
  onTestFinished(() => void server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

async function answerTo(
  port: number,
  pieces: readonly Buffer[],
  headers: Record<string, string> = {},
): Promise<string> {
  const outgoing = request({ port, host: '127.0.0.1', method: 'POST', headers, agent: false });
  for (const piece of pieces) outgoing.write(piece);
  outgoing.end();
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  return Buffer.concat(await incoming.toArray()).toString();
}

const MEGABYTE = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * 31 + (i >>> 8)) & 0xff));

async function rest(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('what one loop leaves of a body, the next one reads', async () => {
  const { port } = await hostThat(async (body) => {
    const first: Uint8Array[] = [];
    for await (const chunk of body) {
      first.push(chunk);
      break;
    }
    const all = Buffer.concat([...first, await rest(body)]);
    return `${first.length} ${all.equals(Buffer.concat([MEGABYTE, MEGABYTE]))}`;
  });
  expect(await answerTo(port, [MEGABYTE, MEGABYTE])).toBe('1 true');
});

test('a body that was read to its end has nothing more', async () => {
  const { port } = await hostThat(async (body) => `${(await rest(body)).length} ${(await rest(body)).length}`);
  expect(await answerTo(port, [Buffer.from('an object')])).toBe('9 0');
});

test('a request without a body has an empty one', async () => {
  const { port } = await hostThat(async (body) => `${(await rest(body)).length} bytes`);
  expect(await answerTo(port, [], { 'content-length': '0' })).toBe('0 bytes');
  const socket = connect(port, '127.0.0.1');
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  expect(Buffer.concat(await socket.toArray()).toString()).toContain('0 bytes');
});

test('a client whose body is not read on has to wait', async () => {
  const goOn = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const { server, port } = await hostThat(async (body) => {
    let length = 0;
    for await (const chunk of body) {
      length += chunk.length;
      begun.resolve();
      await goOn.promise;
    }
    return `${length}`;
  });
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const answer = answerTo(port, new Array(64).fill(MEGABYTE));
  const [socket] = await accepted;
  await begun.promise;
  // It has come to rest when nothing arrives for a while.
  for (let before = -1; socket.bytesRead !== before; ) {
    before = socket.bytesRead;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  expect(socket.bytesRead).toBeLessThan(2 << 20);
  goOn.resolve();
  expect(await answer).toBe(`${64 << 20}`);
});

test('the memory of chunks is let go of when they have been copied into an object, and what comes behind keeps its own', async () => {
  const chunks: Uint8Array[] = [];
  async function* noting(body: AsyncIterable<Uint8Array>) {
    for await (const chunk of body) {
      chunks.push(chunk);
      yield chunk;
    }
  }
  const { port } = await hostThat(async (body) => {
    const objects: boolean[] = [];
    for await (const part of readMultipart(noting(body), 'b')) {
      const source = new ObjectSource(part.body, 4 << 20);
      const object = await source.gather();
      objects.push(MEGABYTE.equals(object!));
      source.release();
    }
    return objects.join();
  });
  const head = Buffer.from('\r\n--b\r\n\r\n');
  const body = [head, MEGABYTE, head, MEGABYTE, head, MEGABYTE, Buffer.from('\r\n--b--')];
  expect(await answerTo(port, [Buffer.concat(body)])).toBe('true,true,true');
  const letGo = chunks.filter(({ buffer }) => (buffer as ArrayBuffer).detached);
  expect(letGo.length).toBeGreaterThan(chunks.length / 2);
});
