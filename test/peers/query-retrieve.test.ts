import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ctStudy } from '#test/bench/data.ts';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { projectRoot } from './helpers/nephos.ts';
import { type OrthancVersion, startOrthanc } from './helpers/orthanc.ts';
import { listening } from './helpers/processes.ts';
import { type Output, PYTHON, peerScript, runOk } from './helpers/programs.ts';

process.env.TCP_NODELAY = '1';
const SLICES = 12;
const dir = mkdtempSync(join(tmpdir(), 'nephos-qr-'));
const study = ctStudy(8900, SLICES, 64);
const files = study.slices.map(({ header, pixels }) => Buffer.concat([header, pixels]));

let receivePort: number;
const tls = { key: join(dir, 'key.pem'), cert: join(dir, 'cert.pem') };

const TLS_OPTIONS = ['--tls', '--tls-ca', tls.cert, '--tls-cert', tls.cert, '--tls-key', tls.key];

/** A PACS of somebody else's: how to reach it, and how to end it. */
interface Peer {
  readonly address: string;
  readonly options: readonly string[];
  stop(): Promise<void>;
}

beforeAll(async () => {
  receivePort = await freePort();
  mkdirSync(join(dir, 'study'));
  for (const [i, file] of files.entries()) writeFileSync(join(dir, 'study', `${i}.dcm`), file);
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'];
  await runOk('openssl', [
    'req',
    '-x509',
    '-days',
    '2',
    '-nodes',
    '-newkey',
    'rsa:2048',
    '-keyout',
    tls.key,
    '-out',
    tls.cert,
    ...names,
  ]);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function startDcmqrscp(): Promise<Peer> {
  const port = await freePort();
  const folder = mkdtempSync(join(dir, 'dcmqrscp-'));
  mkdirSync(join(folder, 'db'));
  const config = join(folder, 'dcmqrscp.cfg');
  writeFileSync(
    config,
    [
      `NetworkTCPPort = ${port}`,
      'MaxPDUSize = 131072',
      'MaxAssociations = 8',
      'HostTable BEGIN',
      `nephos = (NEPHOS, 127.0.0.1, ${receivePort})`,
      'HostTable END',
      'VendorTable BEGIN',
      'VendorTable END',
      'AETable BEGIN',
      `QRSCP ${join(folder, 'db')} RW (200, 1024mb) ANY`,
      'AETable END',
      '',
    ].join('\n'),
  );
  const child: ChildProcess = spawn('dcmqrscp', ['-c', config], { stdio: 'ignore' });
  await listening(port);
  await runOk('storescu', ['-aec', 'QRSCP', '127.0.0.1', String(port), '+sd', join(dir, 'study')]);
  return {
    address: `QRSCP@127.0.0.1:${port}`,
    options: [],
    stop: async () => void child.kill(),
  };
}

/** It sends over TLS only where it is asked to: what we listen to for a C-MOVE is for trusted networks. */
async function startPynetdicom(): Promise<Peer> {
  const port = await freePort();
  const args = [peerScript('query-retrieve-scp.py'), String(port), join(dir, 'study'), String(receivePort)];
  const env = { ...process.env, NEPHOS_PEER_TLS: `${tls.cert},${tls.key}` };
  const child = spawn(PYTHON, args, { stdio: 'ignore', env });
  await listening(port);
  return {
    address: `PYPACS@127.0.0.1:${port}`,
    options: TLS_OPTIONS,
    stop: async () => void child.kill(),
  };
}

async function startOrthancPeer(version: OrthancVersion, secure = false): Promise<Peer> {
  const ports = { httpPort: await freePort(), dicomPort: await freePort() };
  const orthanc = await startOrthanc({
    version,
    ...ports,
    dir: mkdtempSync(join(dir, 'orthanc-')),
    settings: {
      DicomAet: 'ORTHANC',
      // It sends in the clear all the same: what we listen to for a C-MOVE is for trusted networks.
      DicomModalities: { nephos: { AET: 'NEPHOS', Host: '127.0.0.1', Port: receivePort, UseDicomTls: false } },
      ...(secure && {
        DicomTlsEnabled: true,
        DicomTlsCertificate: tls.cert,
        DicomTlsPrivateKey: tls.key,
        DicomTlsTrustedCertificates: tls.cert,
        DicomTlsRemoteCertificateRequired: true,
      }),
    },
  });
  for (const body of files) {
    const response = await fetch(`${orthanc.origin}/instances`, { method: 'POST', body });
    if (!response.ok) throw new Error(`Orthanc answered ${response.status}`);
  }
  return {
    address: `ORTHANC@127.0.0.1:${ports.dicomPort}`,
    options: secure ? TLS_OPTIONS : [],
    stop: () => orthanc.stop(),
  };
}

describe.each<[string, () => Promise<Peer>]>([
  ['dcmqrscp', startDcmqrscp],
  ['Orthanc 1.12', () => startOrthancPeer('1.12')],
  ['Orthanc 1.12 over TLS, certificates on both sides', () => startOrthancPeer('1.12', true)],
  ['Orthanc 1.10', () => startOrthancPeer('1.10')],
  ['pynetdicom over TLS, certificates on both sides', () => startPynetdicom()],
])('nephos query-retrieve and %s', (_, start) => {
  let peer: Peer;
  let folder: string;
  beforeAll(async () => {
    peer = await start();
    folder = mkdtempSync(join(dir, 'out-'));
  });
  afterAll(() => peer?.stop());

  const ask = (command: string, ...args: string[]): Promise<Output> =>
    new Promise((resolve) => {
      const env = { ...bareEnvironment, NEPHOS_DATA_DIR: join(folder, 'data') };
      const all = ['functions/embedded/cli.ts', 'query-retrieve', command, peer.address, ...peer.options, ...args];
      execFile(process.execPath, all, { cwd: projectRoot, env }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      });
    });
  const stored = (out: string): Buffer[] => readdirSync(out).map((name) => readFileSync(join(out, name)));
  const pixelsOf = (objects: readonly Buffer[]): string[] =>
    objects.map((bytes) => bytes.subarray(-study.slices[0]!.pixels.length).toString('base64')).sort();

  test('echo', async () => {
    expect(await ask('echo')).toMatchObject({ code: 0 });
  });

  test('find: the study, its series, its images', async () => {
    const studies = await ask('find', `StudyInstanceUID=${study.StudyInstanceUID}`, 'PatientName', '--json');
    expect(JSON.parse(studies.stdout)).toHaveLength(1);
    const series = await ask('find', '--level', 'series', `StudyInstanceUID=${study.StudyInstanceUID}`, '--json');
    const [one] = JSON.parse(series.stdout) as Record<string, { Value: string[] }>[];
    const seriesUID = one!['0020000E']!.Value[0]!;
    const keys = [`StudyInstanceUID=${study.StudyInstanceUID}`, `SeriesInstanceUID=${seriesUID}`];
    const images = await ask('find', '--level', 'image', ...keys, '--json');
    expect(JSON.parse(images.stdout)).toHaveLength(SLICES);
    const some = await ask('find', '--level', 'image', ...keys, '--limit', '5', '--json');
    expect(some.code).toBe(0);
    expect(JSON.parse(some.stdout)).toHaveLength(5);
  });

  test('get into a folder: every object, with its pixels', async () => {
    const out = join(folder, 'get');
    const got = await ask('get', `StudyInstanceUID=${study.StudyInstanceUID}`, '--out', out);
    expect(got).toMatchObject({ code: 0, stdout: expect.stringContaining(`${SLICES} of ${SLICES} objects stored`) });
    expect(pixelsOf(stored(out))).toEqual(pixelsOf(files));
    for (const name of readdirSync(out)) await runOk('dcmdump', ['-q', join(out, name)]);
  });

  test('get into the archive', async () => {
    const got = await ask('get', `StudyInstanceUID=${study.StudyInstanceUID}`);
    expect(got).toMatchObject({ code: 0, stdout: expect.stringContaining(`${SLICES} of ${SLICES} objects stored`) });
  });

  test('move to ourselves', async () => {
    const out = join(folder, 'move');
    const moved = await ask(
      'move',
      `StudyInstanceUID=${study.StudyInstanceUID}`,
      '--receive',
      String(receivePort),
      '--out',
      out,
    );
    expect(moved).toMatchObject({ code: 0, stdout: expect.stringContaining(`${SLICES} of ${SLICES} objects stored`) });
    expect(pixelsOf(stored(out))).toEqual(pixelsOf(files));
  });

  test('move to who is unknown there fails, and says so', async () => {
    const moved = await ask('move', `StudyInstanceUID=${study.StudyInstanceUID}`, '--to', 'STRANGER');
    expect(moved.code).toBe(1);
    expect(moved.stdout).toMatch(/status (A801|C000|A[79]\w\w)/);
  });
});
