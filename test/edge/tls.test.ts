import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { constants, createSecureServer, type Http2SecureServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { generate } from 'selfsigned';
import { afterEach, describe, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Clinic, cStore, dataSetsIn, dataSetsOf, drained, openClinic, status, until } from './clinic.ts';

let clinic: Clinic;
let front: Http2SecureServer | undefined;
afterEach(async () => {
  await clinic.close();
  front?.close();
});

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding']);

/** TLS before the archive, as a load balancer has it: HTTP/2 and HTTP/1.1, and who has no certificate of ours stays outside. */
async function startFront(pem: { cert: string; key: string }, archivePort: () => number) {
  const versions: string[] = [];
  const server = createSecureServer(
    { ...pem, ca: [pem.cert], requestCert: true, rejectUnauthorized: true, allowHTTP1: true },
    (incoming, outgoing) => {
      versions.push(`${incoming.httpVersion} ${(incoming.socket as TLSSocket).authorized ?? true}`);
      const headers = Object.fromEntries(Object.entries(incoming.headers).filter(([name]) => !name.startsWith(':')));
      const onward = httpRequest(
        { host: '127.0.0.1', port: archivePort(), method: incoming.method, path: incoming.url, headers },
        (answer) => {
          // It has been answered otherwise, or nobody is there any more.
          if (outgoing.headersSent || outgoing.stream?.destroyed) return void answer.resume();
          const passed = Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.has(name));
          outgoing.writeHead(answer.statusCode!, Object.fromEntries(passed) as Record<string, string>);
          answer.pipe(outgoing as unknown as NodeJS.WritableStream);
        },
      );
      // Whose stream is gone asks for nothing any more.
      onward.on('error', () => outgoing.stream?.destroy());
      incoming.pipe(onward);
    },
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  front = server;
  return { versions, port: (server.address() as AddressInfo).port };
}

test('over TLS with a certificate of our own the gateway speaks HTTP/2, in batches and for large objects', async () => {
  clinic = await openClinic();
  const { cert, private: key } = await generate([{ name: 'commonName', value: '127.0.0.1' }], {
    keySize: 2048,
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
  });
  const files = { cert: join(clinic.dataDir, 'cert.pem'), key: join(clinic.dataDir, 'key.pem') };
  await writeFile(files.cert, cert);
  await writeFile(files.key, key);
  const { versions, port } = await startFront({ cert, key }, () => clinic.archive.port);
  const url = `https://127.0.0.1:${port}/dicomweb`;
  await clinic.restart({ url, tls: { ca: files.cert } });
  const slices = Array.from({ length: 30 }, (_, i) => buildDicom({ SOPInstanceUID: uid(10 + i), InstanceNumber: i }));
  const large = buildDicom({
    SOPInstanceUID: uid(9),
    Rows: 2048,
    Columns: 2048,
    PixelData: new Uint8Array(8 * 2 ** 20).fill(7),
  });
  await cStore(clinic.gateway, [...slices, large]);
  await until(
    () => status(clinic.gateway),
    (now) => now.pause !== undefined,
  );
  // Without a certificate nothing gets through; with one, everything does.
  expect(versions).toEqual([]);
  const config = clinic.gateway.config;
  await clinic.gateway.reload({
    ...config,
    upstreams: [{ ...config.upstreams[0], tls: { ca: files.cert, ...files } }],
  });
  await drained(clinic.gateway, 31);
  expect(new Set(versions)).toEqual(new Set(['2.0 true']));
  expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf([...slices, large]));
});

describe('an HTTP/2 server', () => {
  /** What it does to a request that stores, as often as `times` says. */
  type Mischief = (stream: ServerHttp2Stream) => void;
  const MISCHIEF: readonly (readonly [string, Mischief])[] = [
    ['says GOAWAY to a request under way', (stream) => stream.session!.goaway(constants.NGHTTP2_NO_ERROR, 0)],
    ['says GOAWAY and closes', (stream) => stream.session!.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM)],
    ['refuses the stream', (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM)],
    ['resets the stream', (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR)],
    [
      'resets it behind the headers of its answer',
      (stream) => {
        stream.respond({ ':status': 200, 'content-type': 'application/dicom+json' });
        stream.close(constants.NGHTTP2_CANCEL);
      },
    ],
    [
      'ends the answer without a word',
      (stream) => {
        stream.respond({ ':status': 200 });
        stream.end();
      },
    ],
    ['cuts the connection', (stream) => stream.session!.socket.destroy()],
  ];

  test.each(MISCHIEF)('that %s: nothing is lost, doubled, or held', async (_, mischief) => {
    clinic = await openClinic({ timeoutMs: 1_000 });
    const { cert, private: key } = await generate([{ name: 'commonName', value: '127.0.0.1' }], {
      keySize: 2048,
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
    });
    const files = { cert: join(clinic.dataDir, 'cert.pem'), key: join(clinic.dataDir, 'key.pem') };
    await writeFile(files.cert, cert);
    await writeFile(files.key, key);
    const { port } = await startFront({ cert, key }, () => clinic.archive.port);
    let times = 0;
    front!.prependListener('stream', (stream, headers) => {
      stream.on('error', () => {});
      if (headers[':method'] === 'POST' && times++ < 4) mischief(stream);
    });
    await clinic.restart({
      url: `https://127.0.0.1:${port}/dicomweb`,
      timeoutMs: 1_000,
      tls: { ca: files.cert, ...files },
    });
    const slices = Array.from({ length: 12 }, (_, i) => buildDicom({ SOPInstanceUID: uid(10 + i), InstanceNumber: i }));
    await cStore(clinic.gateway, slices);
    expect(await drained(clinic.gateway, 12)).toMatchObject({ held: 0, confirmed: 12 });
    expect(times).toBeGreaterThan(0);
    expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf(slices));
  });
});
