import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { generate } from 'selfsigned';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { transferSyntax } from '#core/dicom/transfer-syntaxes.ts';
import { transcodeInstance } from '#core/pixels/transcode.ts';
import type { BlobStore } from '#core/ports/blob-store.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { associate, proposing, sendEcho, sendObject } from '#dimse/scu.ts';
import { VERIFICATION } from '#dimse/sop-classes.ts';
import { checked } from '#edge/config.ts';
import { Disk, guardedBlobs } from '#edge/disk.ts';
import { openGateway } from '#edge/gateway.ts';
import { Upstream } from '#edge/upstream.ts';
import { ConfigError } from '#embedded/config.ts';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { buildDicom, CT_IMAGE_STORAGE, EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { TestClock } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';
import {
  type Clinic,
  configOf,
  cStore,
  dataSetsIn,
  dataSetsOf,
  drained,
  LOG,
  openClinic,
  TENANT,
  until,
} from './clinic.ts';

let clinic: Clinic | undefined;
afterEach(async () => {
  await clinic?.close();
  clinic = undefined;
});

const slices = (count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => buildDicom({ SOPInstanceUID: uid(10 + i), InstanceNumber: i + 1 }));
const ref = (gateway: Clinic['gateway']) => ({ aeTitle: 'NEPHOS', host: '127.0.0.1', port: gateway.listeners.port! });
const NATIVE = [
  [CT_IMAGE_STORAGE, [EXPLICIT_LE]],
  [VERIFICATION, [EXPLICIT_LE]],
] as const;

describe('another configuration while the gateway runs', () => {
  test('drops no association, and counts for the next one', async () => {
    clinic = await openClinic();
    const { gateway } = clinic;
    const scanner = await associate(ref(gateway), { callingAETitle: 'CT1', contexts: proposing(...NATIVE) });
    const { config } = gateway;
    await gateway.reload({
      ...config,
      aeTitle: 'EDGE2',
      allowed: [{ aeTitle: 'MR1', rights: ['query'], priority: 'routine' }],
    });
    // The old association goes on, but what CT1 may do is asked each time.
    expect(await sendEcho(scanner, VERIFICATION)).toBe(0);
    await expect(associate(ref(gateway), { callingAETitle: 'CT1', contexts: proposing(...NATIVE) })).rejects.toThrow();
    expect(await cStore(gateway, slices(1), 'MR1')).toEqual([0x0124]);
    await gateway.reload(config);
    expect(await cStore(gateway, slices(1))).toEqual([0]);
    await scanner.release();
  });

  test("another port is listened on, while the old one's associations end by themselves", async () => {
    clinic = await openClinic();
    const { gateway } = clinic;
    const scanner = await associate(ref(gateway), { callingAETitle: 'CT1', contexts: proposing(...NATIVE) });
    const before = gateway.listeners.port!;
    const port = await freePort();
    await gateway.reload({ ...gateway.config, dicom: { ...gateway.config.dicom, port } });
    expect(gateway.listeners.port).toBe(port);
    expect(await sendEcho(scanner, VERIFICATION)).toBe(0);
    expect(gateway.listeners.associations).toBe(1);
    await expect(
      associate({ ...ref(gateway), port: before }, { callingAETitle: 'CT1', contexts: proposing(...NATIVE) }),
    ).rejects.toThrow();
    await scanner.release();
    expect(await cStore(gateway, slices(2))).toEqual([0, 0]);
  });

  test('may give TLS the port that it leaves', async () => {
    clinic = await openClinic();
    const { gateway } = clinic;
    const { config } = gateway;
    const [left, taken] = [await freePort(), await freePort()];
    await gateway.reload({ ...config, dicom: { ...config.dicom, port: left } });
    const files = { cert: join(clinic.dataDir, 'cert.pem'), key: join(clinic.dataDir, 'key.pem') };
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'gateway' }], { keySize: 2048 });
    await writeFile(files.cert, cert);
    await writeFile(files.key, key);
    await gateway.reload({ ...config, dicom: { ...config.dicom, port: taken, tls: { port: left, ...files } } });
    expect([gateway.listeners.port, gateway.listeners.tlsPort]).toEqual([taken, left]);
    expect(await cStore(gateway, slices(1))).toEqual([0]);
  });

  // Two at once left in force parts of both: the first one, which ended last, took back what the second had brought.
  test('that is loaded while another is has its turn behind it, and counts as a whole', async () => {
    clinic = await openClinic();
    const { gateway } = clinic;
    const { config } = gateway;
    const [first, second] = [await freePort(), await freePort()];
    const { apply } = gateway.listeners;
    const { promise: mayEnd, resolve: letEnd } = Promise.withResolvers<void>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const applied: number[] = [];
    gateway.listeners.apply = async function () {
      applied.push(gateway.config.dicom.port);
      begin();
      if (applied.length === 1) await mayEnd;
      await apply.call(this);
      if (applied.length === 1) throw new ConfigError('the first one cannot be had');
    };
    const failing = gateway.reload({ ...config, aeTitle: 'FIRST', dicom: { ...config.dicom, port: first } });
    failing.catch(() => {});
    await begun;
    const wanted = { ...config, aeTitle: 'SECOND', dicom: { ...config.dicom, port: second } };
    const loading = gateway.reload(wanted);
    // Everything that could let it go ahead has had its turn.
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
    expect(applied).toEqual([first]);
    letEnd();
    await expect(failing).rejects.toThrow('the first one cannot be had');
    await loading;
    expect(gateway.config).toBe(wanted);
    expect(gateway.listeners.port).toBe(second);
    expect(await cStore(gateway, slices(1))).toEqual([0]);
  });

  test('that cannot be had changes nothing', async () => {
    clinic = await openClinic();
    const { gateway } = clinic;
    const { config } = gateway;
    const taken = clinic.line.port;
    await expect(
      gateway.reload({ ...config, dicom: { ...config.dicom, port: taken }, aeTitle: 'OTHER' }),
    ).rejects.toThrow(ConfigError);
    await expect(gateway.reload({ ...config, dataDir: '/elsewhere' })).rejects.toThrow(/dataDir cannot be changed/);
    // One of two ports can be had: it was listened on, and the one before no more.
    const before = gateway.listeners.port;
    const nowhere = { port: 0, cert: join(clinic.dataDir, 'none.pem'), key: join(clinic.dataDir, 'none.pem') };
    const half = { ...config, dicom: { ...config.dicom, port: await freePort(), tls: nowhere } };
    await expect(gateway.reload(half)).rejects.toThrow(ConfigError);
    expect([gateway.listeners.port, gateway.listeners.tlsPort]).toEqual([before, undefined]);
    expect(gateway.config).toBe(config);
    expect(await cStore(gateway, slices(2))).toEqual([0, 0]);
    await drained(gateway, 2);
  });

  test('that cannot be had leaves no upstream open that it has brought', async () => {
    clinic = await openClinic();
    const { gateway } = clinic;
    const { config } = gateway;
    const closed = vi.spyOn(Upstream.prototype, 'close');
    const namesClosed = (): string[] => closed.mock.contexts.map((one) => (one as Upstream).name);
    try {
      const [own] = config.upstreams;
      const other = { ...own, name: 'other' };
      const unreadable = { ...own, name: 'unreadable', tls: { ca: join(clinic.dataDir, 'none.pem') } };
      const taken = { ...config.dicom, port: clinic.line.port };
      const upstreams = [own, other] as const;
      await expect(gateway.reload({ ...config, upstreams, dicom: taken })).rejects.toThrow('cannot listen');
      expect(namesClosed()).toEqual(['other']);
      await expect(gateway.reload({ ...config, upstreams: [...upstreams, unreadable] })).rejects.toThrow('none.pem');
      expect(namesClosed()).toEqual(['other', 'other']);
    } finally {
      closed.mockRestore();
    }
    expect(await cStore(gateway, slices(2))).toEqual([0, 0]);
    await drained(gateway, 2);
  });
});

test('one gateway a data folder', async () => {
  clinic = await openClinic();
  await expect(openGateway(configOf(clinic.dataDir, clinic.line.port), { log: LOG })).rejects.toThrow(/is in use/);
});

describe('a disk that is nearly full', () => {
  test('refuses new objects with A700, finishes and forwards what it has, and takes them again when there is room', async () => {
    let freeBytes = 10_000_000;
    clinic = await openClinic(
      {},
      { disk: { reserveBytes: 1_000_000 } },
      {
        look: async () => ({ totalBytes: 100_000_000, freeBytes }),
      },
    );
    const objects = slices(8);
    await clinic.line.set({ kind: 'refused' });
    expect(await cStore(clinic.gateway, objects.slice(0, 4))).toEqual([0, 0, 0, 0]);
    freeBytes = 999_999;
    await sleep(150);
    expect(await cStore(clinic.gateway, objects.slice(4))).toEqual([0xa700, 0xa700, 0xa700, 0xa700]);
    expect(await clinic.gateway.disk.state()).toMatchObject({ refusing: true });
    await clinic.line.set({ kind: 'none' });
    await drained(clinic.gateway, 4);
    freeBytes = 10_000_000;
    await sleep(150);
    expect(await cStore(clinic.gateway, objects)).toEqual(Array(8).fill(0));
    await drained(clinic.gateway, 8);
    expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf(objects));
  });

  test('lets a large object go on while half of the reserve is left, and no further', async () => {
    const reserveBytes = 100 * 2 ** 20;
    let freeBytes = 150 * 2 ** 20;
    const clock = new TestClock();
    const disk = new Disk({
      dataDir: '/',
      reserveBytes: () => reserveBytes,
      clock,
      look: async () => ({ totalBytes: 0, freeBytes }),
    });
    let written = 0;
    const store = standIn<BlobStore>({
      async put(key: string, body: AsyncIterable<Uint8Array>) {
        for await (const chunk of body) {
          written += chunk.length;
          freeBytes -= chunk.length;
          clock.advance(200);
        }
        return { key, size: written, sha256: '' };
      },
    });
    const chunk = new Uint8Array(2 ** 20);
    const object = async function* () {
      for (let i = 0; i < 300; i++) yield chunk;
    };
    await expect(guardedBlobs(store, disk).put('main/a.dcm', object())).rejects.toMatchObject({ code: 'OUT_OF_SPACE' });
    expect(written).toBeGreaterThan(90 * 2 ** 20);
    expect(freeBytes).toBeGreaterThan(15 * 2 ** 20);
    await expect(guardedBlobs(store, disk).put('main/b.dcm', object())).rejects.toMatchObject({ code: 'OUT_OF_SPACE' });
  });
});

test('the system is asked what is free', async () => {
  const state = await new Disk({ dataDir: tmpdir(), reserveBytes: () => 1, clock: new TestClock() }).state();
  expect(state.totalBytes).toBeGreaterThan(state.freeBytes);
  expect(state.freeBytes).toBeGreaterThan(1);
});

test.each([
  ['htj2k', '1.2.840.10008.1.2.4.201'],
  ['jpegls', '1.2.840.10008.1.2.4.80'],
] as const)(
  'over a costly link objects go without loss in %s; every sample arrives, and is vouched for',
  async (compression, syntax) => {
    clinic = await openClinic({ compression });
    const pixels = new Uint16Array(256 * 256).map((_, i) => ((i % 256) * 7 + (i >> 8)) % 4096);
    const objects = [1, 2, 3].map((n) =>
      buildDicom({ SOPInstanceUID: uid(n), Rows: 256, Columns: 256, PixelData: new Uint8Array(pixels.buffer) }),
    );
    const report = buildDicom({
      SOPInstanceUID: uid(9),
      SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.11',
      Modality: 'SR',
      PixelData: undefined,
      ...Object.fromEntries(
        ['Rows', 'Columns', 'BitsAllocated', 'BitsStored', 'HighBit'].map((name) => [name, undefined]),
      ),
    });
    expect(await cStore(clinic.gateway, [...objects, report])).toEqual([0, 0, 0, 0]);
    await clinic.restart();
    await drained(clinic.gateway, 4);
    const { services } = clinic.archive.archive;
    const local = clinic.gateway.services;
    for (const n of [1, 2, 3]) {
      const key = keys.instance(TENANT, uid(1), uid(2), uid(n));
      const arrived = asRecord<InstanceRecord>((await services.index.get(key))!);
      const received = asRecord<InstanceRecord>((await local.index.get(key))!);
      expect(arrived.transferSyntaxUID).toBe(syntax);
      expect(transferSyntax(syntax).lossy).toBe(false);
      expect(arrived.sizeBytes).toBeLessThan(received.sizeBytes / 2);
      const back = Buffer.concat(await Array.fromAsync(transcodeInstance(services, arrived, EXPLICIT_LE)));
      expect(createHash('sha256').update(back.subarray(-131_072)).digest('hex')).toBe(
        createHash('sha256').update(new Uint8Array(pixels.buffer)).digest('hex'),
      );
      const { destinations } = await clinic.gateway.forwarder.evidenceOf(uid(n));
      expect(destinations[0]).toMatchObject({ state: 'confirmed', evidence: 'digest', sha256: received.sha256 });
    }
    // Reports have nothing to compress: as they came. What was compressed for the way is gone again.
    expect((await dataSetsIn(clinic.archive.archive)).get(uid(9))).toBe(dataSetsOf([report]).get(uid(9)));
    const left = await until(
      () => Array.fromAsync(local.blobs.list('_forward/')),
      (blobs) => blobs.length === 0,
    );
    expect(left).toEqual([]);
  },
);

test('the socket is held back while the disk is slow: no more is taken than is being written', async () => {
  clinic = await openClinic();
  const { services } = clinic.gateway;
  const put = services.blobs.put.bind(services.blobs);
  let written = 0;
  let sent = 0;
  let most = 0;
  services.blobs.put = (key, body, options) =>
    put(
      key,
      body instanceof Uint8Array
        ? body
        : (async function* () {
            for await (const chunk of body) {
              written += chunk.length;
              await sleep(1);
              yield chunk;
            }
          })(),
      options,
    );
  const session = await associate(ref(clinic.gateway), { callingAETitle: 'CT1', contexts: proposing(...NATIVE) });
  const [context] = session.contexts.values();
  const SIZE = 64 * 2 ** 20;
  const head = Buffer.from(
    buildDicom({ SOPInstanceUID: uid(5), Rows: 4096, Columns: 8192, PixelData: new Uint8Array(2) }),
  );
  const start = head.indexOf(Buffer.from([0x08, 0x00, 0x05, 0x00]));
  const end = head.indexOf(Buffer.from([0xe0, 0x7f, 0x10, 0x00]));
  const pixelHeader = Buffer.from([0xe0, 0x7f, 0x10, 0x00, 0x4f, 0x57, 0, 0, 0, 0, 0, 0]);
  pixelHeader.writeUInt32LE(SIZE, 8);
  const chunk = new Uint8Array(2 ** 18);
  const result = await sendObject(
    session,
    context!,
    uid(5),
    (async function* () {
      yield head.subarray(start, end);
      yield pixelHeader;
      for (let at = 0; at < SIZE; at += chunk.length) {
        sent += chunk.length;
        most = Math.max(most, sent - written);
        yield chunk;
      }
    })(),
  );
  expect(result.status).toBe(0);
  // The rest lay in the buffers of sockets and of the object's beginning, whatever its size.
  expect(most).toBeLessThan(SIZE / 4);
  await session.release();
});

test('npm run edge knows no other words, and says where its status page cannot be had', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'nephos-edge-'));
  const cwd = join(import.meta.dirname, '../..');
  const run = promisify(execFile)(process.execPath, ['edge-gateway/main.ts', 'enroll'], { cwd, env: bareEnvironment });
  await expect(run).rejects.toMatchObject({
    code: 2,
    stderr: 'there is no command enroll: it is edge, or edge enrol\n',
  });

  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const env = {
    ...{ ...bareEnvironment, NEPHOS_UPSTREAM: 'http://127.0.0.1:9/dicomweb', NEPHOS_DATA_DIR: folder },
    ...{ NEPHOS_DICOM_PORT: '0', NEPHOS_HTTP_PORT: String(port), NEPHOS_DATADIR: folder },
  };
  const child = spawn(process.execPath, ['edge-gateway/main.ts'], { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await expect.poll(() => said, { timeout: 60_000 }).toContain('Data  ');
  expect(said).toContain('did you mean NEPHOS_DATA_DIR?');
  expect(said).toContain(`Status     none yet: port ${port} of 127.0.0.1 cannot be had (see the log)`);
  expect(said).not.toContain('/status');
  const gone = once(child, 'close');
  child.kill('SIGKILL');
  await gone;
  taken.close();
  await rm(folder, { recursive: true });
});

test('npm run edge says what is wrong with its configuration, and ends with 2', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'nephos-edge-'));
  const run = promisify(execFile)(process.execPath, ['edge-gateway/main.ts'], {
    cwd: join(import.meta.dirname, '../..'),
    env: { ...bareEnvironment, NEPHOS_UPSTREAM: 'pacs.example', NEPHOS_DATA_DIR: folder },
  });
  await expect(run).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('upstreams/0/url must match') });
  await rm(folder, { recursive: true });
  expect(() => checked({ upstreams: [] }, 'x')).toThrow(ConfigError);
});
