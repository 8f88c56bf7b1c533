import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { generate } from 'selfsigned';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EncryptedBlobStore } from '#adapters/local/encrypted-blob-store.ts';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { KeyRing, newMasterKey, readMasterKeys } from '#adapters/local/key-ring.ts';
import { createArchiveApp } from '#api/app.ts';
import type { Principal } from '#core/access.ts';
import { isLent } from '#core/lent-bytes.ts';
import type { BlobStore } from '#core/ports/blob-store.ts';
import { TokenStore } from '#core/tokens.ts';
import { createHttpHost } from '#embedded/http-host.ts';
import { buildDicom } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { type RawResponse, readResponses } from './raw-http.ts';

/**
 * What is read for one answer stands in memory that was used for another (core/lent-bytes.ts). Given back too early, one patient's image
 * would be sent to whoever asked for another's. Slow clients ask for more than the system takes for somebody who reads nothing, so that
 * what they have not got yet stands in that memory while others are served.
 */
const ROWS = 1_400;
const FRAME_BYTES = ROWS * ROWS * 2;
const PATIENTS = 6;

const uid = (kind: number, patient: number): string => `2.25.${kind}.${patient}`;

/** No two of the images have a run of bytes in common. */
function pixelsOf(patient: number): Uint8Array {
  const words = new Uint32Array(FRAME_BYTES / 4);
  for (let at = 0; at < words.length; at++) words[at] = at * PATIENTS + patient;
  return new Uint8Array(words.buffer);
}

/** The object of a patient: an image of 3.9 MB, or one of 0.4 MB, which is read as a whole. */
const objectOf = (patient: number, small: boolean): Uint8Array =>
  buildDicom({
    PatientID: `P${patient}`,
    StudyInstanceUID: uid(1, patient),
    SeriesInstanceUID: uid(2, patient),
    SOPInstanceUID: uid(small ? 4 : 3, patient),
    Rows: small ? 140 : ROWS,
    Columns: ROWS,
    PixelData: small ? pixelsOf(patient).subarray(0, FRAME_BYTES / 10) : pixelsOf(patient),
  });
const objects = Array.from({ length: PATIENTS }, (_, patient) => ({
  large: objectOf(patient, false),
  small: objectOf(patient, true),
}));

interface Wanted {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** of the answer, between its first and its last delimiter where it has parts */
  readonly bytes: Uint8Array;
}

const seriesPath = (patient: number): string => `/dicomweb/studies/${uid(1, patient)}/series/${uid(2, patient)}`;
const framePath = (patient: number): string => `${seriesPath(patient)}/instances/${uid(3, patient)}/frames/1`;
const smallPath = (patient: number): string => `${seriesPath(patient)}/instances/${uid(4, patient)}`;

/** Every way in which what is read goes out as it is. */
const WAYS: readonly ((patient: number) => Wanted)[] = [
  (patient) => ({ path: framePath(patient), headers: { accept: 'multipart/related' }, bytes: pixelsOf(patient) }),
  (patient) => ({
    path: framePath(patient),
    headers: { accept: 'application/octet-stream' },
    bytes: pixelsOf(patient),
  }),
  (patient) => ({
    path: framePath(patient),
    headers: { accept: 'application/octet-stream', range: 'bytes=1000000-2999999' },
    bytes: pixelsOf(patient).subarray(1_000_000, 3_000_000),
  }),
  (patient) => ({ path: smallPath(patient), headers: { accept: 'multipart/related' }, bytes: objects[patient]!.small }),
  (patient) => ({ path: smallPath(patient), headers: { accept: 'application/dicom' }, bytes: objects[patient]!.small }),
  (patient) => ({
    path: smallPath(patient),
    headers: { accept: 'application/dicom', range: 'bytes=100000-299999' },
    bytes: objects[patient]!.small.subarray(100_000, 300_000),
  }),
];
const slowWays = WAYS.slice(0, 2);

let folder: string;
let files: FsBlobStore;
let server: Server;
let usedAgain: number;
/** reads that got an array which another had got before */
let shared: number;
let reader: Principal;
let identity: { readonly cert: string; readonly key: string };

beforeAll(async () => {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], { keySize: 2048 });
  identity = { cert, key };
});
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'nephos-lent-'));
  files = await FsBlobStore.open(folder);
  usedAgain = 0;
  shared = 0;
  reader = { tenant: TENANT, subject: 'reader', roles: ['admin'] };
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await files.close();
  rmSync(folder, { recursive: true });
});

/** Counts the reads into memory that another one was read into before. */
const watched = (blobs: BlobStore): BlobStore => {
  const seen = new WeakSet<ArrayBufferLike>();
  const arrays = new WeakSet<Uint8Array>();
  return new Proxy(blobs, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name !== 'readBytes') return typeof value === 'function' ? value.bind(target) : value;
      return async (...args: Parameters<BlobStore['readBytes']>) => {
        const bytes = await target.readBytes(...args);
        if (isLent(bytes) && seen.has(bytes.buffer)) usedAgain++;
        seen.add(bytes.buffer);
        if (arrays.has(bytes)) shared++;
        arrays.add(bytes);
        return bytes;
      };
    },
  });
};

async function serve(blobs: BlobStore, isTls: boolean): Promise<void> {
  const services = memoryServices({ ports: { blobs: watched(blobs) } });
  for (const { large, small } of objects) {
    await store(services, large);
    await store(services, small);
  }
  const app = createArchiveApp({
    services,
    tokens: new TokenStore(services),
    corsOrigins: [],
    tenant: TENANT,
    onFailure: (error) => {
      throw error;
    },
  });
  server = createHttpHost({
    answer: async (request) => (await app.answer({ ...request, principal: reader }))!,
    publicUrl: undefined,
    ...(isTls && { tls: identity }),
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
}

async function opened({ path, headers }: Wanted): Promise<IncomingMessage> {
  const { port } = server.address() as AddressInfo;
  const isTls = 'setSecureContext' in server;
  const outgoing = (isTls ? httpsRequest : httpRequest)({
    host: '127.0.0.1',
    port,
    path,
    headers,
    agent: false,
    rejectUnauthorized: false,
  });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  expect([200, 206]).toContain(response.statusCode);
  return response;
}

/** Throws unless the body is what was asked for, to the byte. */
function checkBody({ bytes }: Wanted, headers: Readonly<Record<string, unknown>>, body: Buffer): void {
  const boundary = /boundary=(\S+)/.exec(String(headers['content-type']))?.[1];
  expect(Number(headers['content-length'])).toBe(body.length);
  const start = boundary === undefined ? 0 : body.indexOf('\r\n\r\n') + 4;
  const end = boundary === undefined ? body.length : body.length - `\r\n--${boundary}--\r\n`.length;
  // by equals, as a difference of megabytes would be printed
  expect(body.subarray(start, end).equals(bytes), 'the bytes of this very object').toBe(true);
}

async function fetchOne(wanted: Wanted): Promise<void> {
  const response = await opened(wanted);
  checkBody(wanted, response.headers, Buffer.concat((await response.toArray()) as Buffer[]));
}

/** One who goes away in the middle of it. */
async function breakOff(wanted: Wanted): Promise<void> {
  const response = await opened(wanted);
  await once(response, 'readable');
  response.destroy();
}

/** Asks for all of these at once, and reads nothing of the answers until told. */
async function slowClient(all: readonly Wanted[]): Promise<() => Promise<void>> {
  const { port } = server.address() as AddressInfo;
  const options = { host: '127.0.0.1', port, rejectUnauthorized: false };
  const socket: Socket = 'setSecureContext' in server ? tlsConnect(options) : connect(options);
  for (const { path, headers } of all) {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${lines.join('')}\r\n`);
  }
  await once(socket, 'readable');
  return async () => {
    const chunks: Buffer[] = [];
    let found: readonly RawResponse[] = [];
    let length = 0;
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length < all.reduce((sum, { bytes }) => sum + bytes.length, 0)) continue;
      found = readResponses(Buffer.concat(chunks)).responses;
      if (found.length === all.length) break;
    }
    expect(found.length).toBe(all.length);
    for (const [i, { headers, body }] of found.entries()) checkBody(all[i]!, headers, body);
  };
}

async function everybodyGetsHisOwn(): Promise<void> {
  const ofSlow = (client: number) => Array.from({ length: 4 }, (_, i) => slowWays[i % 2]!((client + i) % PATIENTS));
  const slow = await Promise.all(Array.from({ length: PATIENTS }, (_, client) => slowClient(ofSlow(client))));
  const quick = async (client: number): Promise<void> => {
    for (let round = 0; round < WAYS.length + 2; round++) {
      const wanted = WAYS[(client + round) % WAYS.length]!((client * 5 + round) % PATIENTS);
      await (round % 4 === client ? breakOff(wanted) : fetchOne(wanted));
    }
  };
  await Promise.all([0, 1, 2, 3].map(quick));
  await Promise.all(slow.map((readOn) => readOn()));
  await Promise.all([0, 1, 2, 3].map(quick));
}

describe.each([
  { connection: 'plain', isTls: false },
  { connection: 'TLS', isTls: true },
])('over $connection connections', ({ isTls }) => {
  test('quick, slow and aborting readers at once each get their own patient’s bytes, out of memory that is used again', async () => {
    await serve(files, isTls);
    await everybodyGetsHisOwn();
    expect(usedAgain).toBeGreaterThan(0);
  });
});

test('out of encrypted objects as well', async () => {
  const keyFile = join(folder, 'master.txt');
  writeFileSync(keyFile, newMasterKey());
  await serve(new EncryptedBlobStore(files, await KeyRing.open(folder, await readMasterKeys(keyFile))), false);
  await everybodyGetsHisOwn();
  expect(usedAgain).toBeGreaterThan(0);
});

describe('what is asked for again and again is sent from memory', () => {
  const HOT_BYTES = 3 * FRAME_BYTES;
  let hot: FsBlobStore;
  beforeEach(async () => {
    hot = await FsBlobStore.open(folder, { hotBytes: HOT_BYTES });
  });
  afterEach(() => hot.close());

  test('to quick, slow and aborting readers of the same images at once, and to those of others, each his own patient’s bytes', async () => {
    await serve(hot, false);
    const ofOne = slowWays.map((way) => way(0));
    for (let round = 0; round < 3; round++) for (const way of WAYS) await fetchOne(way(0));
    const before = shared;
    const slow = await Promise.all([1, 2, 3].map(() => slowClient([...ofOne, ...ofOne])));
    const quick = Array.from({ length: 24 }, (_, i) =>
      i % 4 === 3 ? breakOff(slowWays[i % 2]!(0)) : fetchOne(WAYS[i % WAYS.length]!(0)),
    );
    await Promise.all(quick);
    expect(shared).toBeGreaterThan(before);
    // More than fits, while the slow ones still hold what they have been given.
    await everybodyGetsHisOwn();
    await Promise.all(slow.map((readOn) => readOn()));
    await everybodyGetsHisOwn();
    expect(usedAgain).toBeGreaterThan(0);
  });

  test('and to nobody of a study that was deleted, or that he does not reach', async () => {
    await serve(hot, false);
    const wanted = [WAYS[0]!(0), WAYS[4]!(0)];
    for (let round = 0; round < 3; round++) for (const one of wanted) await fetchOne(one);
    expect(shared).toBeGreaterThan(0);
    const admin = reader;
    const statusOf = async ({ path, headers }: Wanted, method = 'GET'): Promise<number> => {
      const { port } = server.address() as AddressInfo;
      return (await fetch(`http://127.0.0.1:${port}${path}`, { method, headers })).status;
    };
    reader = { tenant: TENANT, subject: 'guest of another', roles: ['viewer'], reach: [{ studies: [uid(1, 1)] }] };
    for (const one of wanted) expect(await statusOf(one)).toBe(404);
    reader = { ...admin, tenant: 'elsewhere' };
    for (const one of wanted) expect(await statusOf(one)).toBe(404);
    reader = admin;
    for (const one of wanted) expect(await statusOf(one)).toBe(200);
    expect(await statusOf({ ...wanted[0]!, path: `/dicomweb/studies/${uid(1, 0)}`, headers: {} }, 'DELETE')).toBe(204);
    for (const one of wanted) expect(await statusOf(one)).toBe(404);
    for (const way of WAYS) await fetchOne(way(1));
  });
});

test('out of encrypted objects what is kept is what is on the disk: with the key, what was asked for is gone', async () => {
  const keyFile = join(folder, 'master.txt');
  writeFileSync(keyFile, newMasterKey());
  const hot = await FsBlobStore.open(folder, { hotBytes: 8 * FRAME_BYTES });
  const keys = await KeyRing.open(folder, await readMasterKeys(keyFile));
  const encrypted = new EncryptedBlobStore(hot, keys);
  const key = `${TENANT}/1.2/1.2.3/1.2.3.4.dcm`;
  await encrypted.put(key, pixelsOf(0));
  const read = () => encrypted.readBytes(key, { offset: 1_000, length: 3_000_000 }, { lent: true });
  for (let round = 0; round < 4; round++)
    expect(Buffer.from(await read()).equals(pixelsOf(0).subarray(1_000, 3_001_000))).toBe(true);
  await keys.destroy(TENANT);
  await expect(read()).rejects.toMatchObject({ code: 'GONE' });
  await hot.close();
});
