import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { retrieveStudy } from '#dimse/remote-retrieve.ts';
import { openArchive } from '#embedded/archive.ts';
import {
  type BuilderDataSet,
  type BuilderOptions,
  buildDicom,
  IMPLICIT_LE,
  uid,
} from '#test/fixtures/dicom-builder.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { multipart } from './client.ts';
import { nephos, type RunningArchive, startArchive } from './process.ts';

const JPEG_LS = '1.2.840.10008.1.2.4.80';
const RAW_DATA = '1.2.840.10008.5.1.4.1.1.66';
const STUDY = uid(1);

let dir: string;
let here: string;
let receivePort: number;
let elsewhere: RunningArchive;
let peer: string;

const slice = (n: number, overrides: BuilderDataSet = {}, options: BuilderOptions = {}): Uint8Array =>
  buildDicom({ SOPInstanceUID: uid(100 + n), InstanceNumber: n, PatientName: 'Müller^Jürgen', ...overrides }, options);
/** in three encodings and two series, and another patient's study */
const OBJECTS = [
  slice(1),
  slice(2, {}, { transferSyntaxUID: IMPLICIT_LE }),
  slice(3, {}, { transferSyntaxUID: JPEG_LS, frames: [Buffer.alloc(101, 7)] }),
  slice(4, { SOPClassUID: RAW_DATA, SeriesInstanceUID: uid(90), Modality: 'OT', PixelData: undefined }),
];
const OTHER = buildDicom({
  StudyInstanceUID: uid(80),
  SeriesInstanceUID: uid(81),
  SOPInstanceUID: uid(82),
  PatientID: 'B2',
});
const dataSetOf = (object: Uint8Array): string =>
  Buffer.from(object.subarray(scanPart10(object, DEFAULT_LIMITS).dataSetOffset)).toString('base64');

const ask = (...args: string[]) => nephos(here, 'query-retrieve', ...args);

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-query-'));
  here = join(dir, 'here');
  receivePort = await freePort();
  elsewhere = await startArchive(join(dir, 'elsewhere'), {
    NEPHOS_DICOM_DESTINATIONS: `NEPHOS@127.0.0.1:${receivePort},NOBODY@127.0.0.1:1`,
    NEPHOS_AE_TITLE: 'ELSEWHERE',
  });
  peer = `ELSEWHERE@127.0.0.1:${/ELSEWHERE@127\.0\.0\.1:(\d+)/.exec(elsewhere.said())![1]}`;
  const { body, ...request } = multipart([...OBJECTS, OTHER]);
  const stored = await fetch(`${elsewhere.origin}/dicomweb/studies`, { ...request, body: Buffer.from(body) });
  expect(stored.status).toBe(200);
});
afterAll(async () => {
  await elsewhere?.stop();
  await rm(dir, { recursive: true, force: true });
});

test('echo', async () => {
  expect(await ask('echo', peer)).toMatchObject({ code: 0, output: expect.stringContaining('status 0000') });
});

test('find prints a table, with what was asked for', async () => {
  const { code, output } = await ask('find', peer, 'PatientName=müll*');
  expect(code).toBe(0);
  expect(output).toMatch(/^PatientName +StudyDate/);
  expect(output).toContain('Müller^Jürgen');
  expect(output).toContain('1 found');
});

test('find at other levels, by tags, as DICOM JSON', async () => {
  const { code, output } = await ask('find', peer, '--level', 'image', '--json', `0020000D=${STUDY}`, 'SOPInstanceUID');
  expect(code).toBe(0);
  const matches = JSON.parse(output) as Record<string, { Value?: string[] }>[];
  expect(matches.map((one) => one['00080018']?.Value?.[0]).sort()).toEqual([101, 102, 103, 104].map(uid));
  const patients = await ask('find', peer, '--root', 'patient', '--level', 'patient', 'PatientID');
  expect(patients.output).toContain('2 found');
});

test('find stops at the limit; nothing found is exit code 1', async () => {
  const limited = await ask('find', peer, '--level', 'image', '--limit', '2', `StudyInstanceUID=${STUDY}`);
  expect(limited).toMatchObject({ code: 0, output: expect.stringContaining('2 found') });
  expect((await ask('find', peer, 'PatientID=nobody')).code).toBe(1);
});

test('get stores a study in the archive, each object as the peer keeps it; again changes nothing', async () => {
  for (let i = 0; i < 2; i++) {
    const got = await ask('get', peer, `StudyInstanceUID=${STUDY}`);
    expect(got).toMatchObject({
      code: 0,
      output: expect.stringContaining('status 0000: 4 of 4 objects stored, 0 failed'),
    });
  }
  expect((await nephos(here, 'export', STUDY, '--to', join(dir, 'out'))).code).toBe(0);
  const files = (await readdir(join(dir, 'out'), { recursive: true })).filter((name) => name.endsWith('.dcm'));
  const kept = await Promise.all(files.map((name) => readFile(join(dir, 'out', name))));
  expect(kept.map(dataSetOf).sort()).toEqual(OBJECTS.map(dataSetOf).sort());
  expect((await nephos(here, 'verify')).output).toContain('4 objects intact');
});

test('get of one series, or one image, into a folder', async () => {
  const series = await ask(
    'get',
    peer,
    '--level',
    'series',
    `StudyInstanceUID=${STUDY}`,
    `SeriesInstanceUID=${uid(90)}`,
    '--out',
    join(dir, 'one'),
  );
  expect(series).toMatchObject({ code: 0, output: expect.stringContaining('1 of 1') });
  expect(await readdir(join(dir, 'one'))).toEqual([`${uid(104)}.dcm`]);
  expect(dataSetOf(await readFile(join(dir, 'one', `${uid(104)}.dcm`)))).toBe(dataSetOf(OBJECTS[3]!));
});

test('move to ourselves listens for as long as it takes', async () => {
  const moved = await ask('move', peer, `StudyInstanceUID=${uid(80)}`, '--receive', String(receivePort));
  expect(moved).toMatchObject({ code: 0, output: expect.stringContaining('1 of 1 objects stored') });
});

test('move to others tells what became of it', async () => {
  const unreachable = await ask('move', peer, `StudyInstanceUID=${STUDY}`, '--to', 'NOBODY');
  expect(unreachable).toMatchObject({ code: 1, output: expect.stringContaining('status A702: 0 completed, 4 failed') });
  expect(unreachable.output).toContain(`failed   ${uid(101)}`);
  expect((await ask('move', peer, `StudyInstanceUID=${STUDY}`, '--to', 'UNKNOWN')).output).toContain('status A801');
});

test('what cannot be done is said before the peer is asked', async () => {
  const study = `StudyInstanceUID=${STUDY}`;
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const misuses: [string[], RegExp][] = [
    [['frobnicate', peer], /no command "frobnicate"/],
    [['find'], /name the peer/],
    [['get', peer, 'PatientName=X*'], /at the level study it goes by StudyInstanceUID/],
    [['get', peer, '--level', 'series', study], /it goes by SeriesInstanceUID/],
    [['move', peer, study, '--receive', '99999'], /a port is at most 65535/],
    [['move', peer, study, '--receive', String(port)], /cannot listen there: EADDRINUSE/],
    [['get', peer, study, '--out', '/proc/nowhere/at/all'], /--out: .* cannot be written to: ENOENT/],
    [['echo', 'PEER@127.0.0.1:99999'], /a port is at most 65535/],
  ];
  const answers = await Promise.all(misuses.map(([args]) => ask(...args)));
  taken.close();
  for (const [i, { code, output }] of answers.entries()) {
    expect(output).toMatch(misuses[i]![1]);
    expect(code).toBe(2);
    expect(output).not.toMatch(/\n\s+at /);
  }
});

test('wrong use is exit code 2, a peer that is not there 3', async () => {
  expect((await ask('get', peer)).code).toBe(2);
  expect((await ask('find', peer, 'NoSuchKeyword=1')).code).toBe(2);
  expect((await ask('find', 'nowhere')).code).toBe(2);
  expect((await ask('move', peer, `StudyInstanceUID=${STUDY}`)).code).toBe(2);
  expect((await ask('find', peer, '--limt', '3')).code).toBe(2);
  expect(await ask('echo', 'GONE@127.0.0.1:1')).toMatchObject({
    code: 3,
    output: expect.stringContaining('ECONNREFUSED'),
  });
});

test('retrieveStudy, for priors and migrations: counts, and what did not come', async () => {
  const archive = await openArchive({ dataDir: join(dir, 'priors'), limits: {}, policy: {} });
  const [aeTitle = '', host = '', port = ''] = peer.split(/[@:]/);
  const progress: (number | undefined)[] = [];
  try {
    const got = await retrieveStudy(
      { aeTitle, host, port: Number(port) },
      STUDY,
      { services: archive.services, tenant: 'main' },
      {
        callingAETitle: 'NEPHOS',
        onProgress: ({ arrived }) => void progress.push(arrived),
      },
    );
    expect(got).toMatchObject({ status: 0, arrived: 4, expected: 4, missing: [] });
    expect(progress.at(-1)).toBe(4);
  } finally {
    await archive.close();
  }
});
