import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createClient } from '#core/clients.ts';
import { watchCertificates } from '#edge/certificates.ts';
import { checked } from '#edge/config.ts';
import { type Gateway, openGateway } from '#edge/gateway.ts';
import { createApp } from '#embedded/app.ts';
import { type Archive, openArchive } from '#embedded/archive.ts';
import { readCertificate } from '#embedded/certificate.ts';
import { readConfig } from '#embedded/config.ts';
import { createHttpHost } from '#embedded/http-host.ts';
import { type Authority, authority, replaceFile, type Signed } from '#test/fixtures/authority.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { cStore, dataSetsIn, dataSetsOf, drained, IMPATIENT, LOG, status, TENANT, until } from './clinic.ts';
import { UnderWay } from './under-way.ts';

let dir: string;
let first: Authority;
let second: Authority;
let archive: Archive;
let server: TlsServer;
let underWay: UnderWay;
let gateway: Gateway | undefined;
const file = (name: string): string => join(dir, name);
const serverFiles = () => ({ cert: file('archive.cert'), key: file('archive.key'), clientCa: file('clients.ca') });

async function put(name: string, { cert, key }: Signed): Promise<void> {
  await replaceFile(file(`${name}.key`), key);
  await replaceFile(file(`${name}.cert`), cert);
}

/** An archive that knows its gateways by certificates alone, and what it knows one by. */
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-certificates-'));
  [first, second] = await Promise.all([authority('first'), authority('second')]);
  await put('archive', await first.sign('archive'));
  await put('gateway', await first.sign('gateway', 'gateway.hospital.example'));
  await writeFile(file('clients.ca'), first.cert);
  await writeFile(file('trusted.ca'), first.cert);
  await mkdir(file('archive'));
  const config = readConfig({ NEPHOS_DATA_DIR: file('archive') });
  archive = await openArchive(config);
  const asked = { name: 'gateway', roles: ['gateway'], method: 'certificate', keys: [] } as const;
  await createClient(archive.services, TENANT, { ...asked, certificates: ['DNS:gateway.hospital.example'] }, 'x', 1);
  const { answer } = createApp({ archive, config, log: LOG });
  underWay = new UnderWay();
  const tls = readCertificate(serverFiles());
  server = createHttpHost({ answer, tls, publicUrl: undefined, onDone: underWay.done }) as TlsServer;
  underWay.watch(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  await gateway?.close();
  gateway = undefined;
  await underWay.close(server);
  await archive.close();
  await rm(dir, { recursive: true, force: true });
});

const configuration = (members: object = {}) =>
  checked(
    {
      dataDir: file('edge'),
      dicom: { port: 0 },
      http: { port: 0 },
      disk: { reserveBytes: 0 },
      upstreams: [
        {
          name: 'cloud',
          url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/dicomweb`,
          tls: { ca: file('trusted.ca'), cert: file('gateway.cert'), key: file('gateway.key') },
          ...IMPATIENT,
        },
      ],
      ...members,
    },
    'the test',
  );
const open = async (members: object = {}): Promise<Gateway> => {
  gateway = await openGateway(configuration(members), { log: LOG, certificatesMs: 50 });
  return gateway;
};
/** A-RELEASE-RQ (PS3.8 9.3.6), where no association is: it is answered by an A-ABORT. */
const RELEASE_RQ = Buffer.from([5, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
const slices = (from: number, count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => buildDicom({ SOPInstanceUID: uid(from + i), InstanceNumber: i }));

test('a gateway shows itself by its certificate; another authority on either side is taken up while both run', async () => {
  const edge = await open();
  const objects = slices(100, 9);
  await cStore(edge, objects.slice(0, 3));
  await drained(edge, 3);

  // The archive's certificate comes from another authority now, and it asks for such of its clients.
  await put('archive', await second.sign('archive'));
  await replaceFile(file('clients.ca'), second.cert);
  server.setSecureContext(readCertificate(serverFiles()));
  server.closeAllConnections();
  await cStore(edge, objects.slice(3, 6));
  const stopped = await until(
    () => status(edge),
    ({ pause, pending }) => pause?.reason.includes('cannot be reached') === true && pending === 3,
  );
  expect(stopped.confirmed).toBe(3);

  await replaceFile(file('trusted.ca'), second.cert);
  await put('gateway', await second.sign('gateway', 'gateway.hospital.example'));
  await drained(edge, 6);
  await cStore(edge, objects.slice(6));
  await drained(edge, 9);
  expect(await dataSetsIn(archive)).toEqual(dataSetsOf(objects));
  const { records } = await archive.services.index.query({ partition: `${TENANT}|audit`, limit: 500, log: true });
  const subjects = records.map(({ item }) => JSON.parse(String(item.line)).subject);
  expect(subjects.filter((subject) => subject.startsWith('client:gateway-')).length).toBeGreaterThan(0);
});

test('modalities must show a certificate from the moment that the configuration says so, of the authority of the day', async () => {
  const tls = { port: 0, cert: file('archive.cert'), key: file('archive.key') };
  const edge = await open({ dicom: { port: 0, tls } });
  const port = edge.listeners.tlsPort!;
  const mayConnect = (certificate?: Signed): Promise<boolean> =>
    new Promise((resolve) => {
      const options = { host: '127.0.0.1', port, rejectUnauthorized: false };
      const socket = connect({ ...options, ...(certificate && { cert: certificate.cert, key: certificate.key }) });
      const end = (taken: boolean): void => {
        socket.destroy();
        resolve(taken);
      };
      // TLS 1.3 refuses a client after its own side has begun: he is taken when DICOM answers him, here that nothing has been opened.
      socket.once('secureConnect', () => socket.write(RELEASE_RQ));
      socket.once('data', () => end(true));
      socket.once('error', () => end(false));
      socket.once('close', () => end(false));
    });
  const [modality, newer] = [await first.sign('modality'), await second.sign('modality')];
  expect(await mayConnect()).toBe(true);

  await replaceFile(file('modalities.ca'), first.cert);
  await edge.reload(configuration({ dicom: { port: 0, tls: { ...tls, ca: file('modalities.ca') } } }));
  expect(edge.listeners.tlsPort).toBe(port);
  expect([await mayConnect(), await mayConnect(modality), await mayConnect(newer)]).toEqual([false, true, false]);

  await replaceFile(file('modalities.ca'), second.cert);
  await until(() => mayConnect(newer), Boolean);
  expect([await mayConnect(), await mayConnect(modality)]).toEqual([false, false]);

  await edge.reload(configuration({ dicom: { port: 0, tls } }));
  expect(await mayConnect()).toBe(true);
});

test('a certificate that is replaced right behind another configuration, before anybody looks, is taken up, too', async () => {
  const newer = await second.sign('gateway', 'gateway.hospital.example');
  const stop = new AbortController();
  let current = configuration();
  let renewals = 0;
  const watching = watchCertificates(
    () => current,
    async () => void renewals++,
    stop.signal,
    20,
  );
  current = configuration();
  writeFileSync(file('gateway.key'), newer.key);
  writeFileSync(file('gateway.cert'), newer.cert);
  await until(
    () => renewals,
    (count) => count > 0,
  );
  stop.abort();
  await watching;
});
