import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ctStudy } from '#test/bench/data.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { getInstance } from './helpers/dicomweb.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';
import { listening } from './helpers/processes.ts';
import { corpusDir, hasCorpus, type Output, python, run, runOk } from './helpers/programs.ts';

/** DCMTK's tools wait for acknowledgements otherwise (Nagle). */
process.env.TCP_NODELAY = '1';

const dir = mkdtempSync(join(tmpdir(), 'nephos-dimse-'));
/** of no patient, and of no study */
const COLOR_PALETTE_STORAGE = '1.2.840.10008.5.1.4.39.1';
/** no instance of a study: nobody offers to store one */
const MEDIA_STORAGE_DIRECTORY = '1.2.840.10008.1.3.10';
const SLICES = 20;
/** Nine hundred files: half a minute, and two where the machine is busy elsewhere. */
const CORPUS_MS = 600_000;
const study = ctStudy(8400, SLICES, 64);
let nephos: Nephos;
let dicomPort: number;
let tlsPort: number;
let scpPort: number;
let pythonPort: number;
/** AE titles that take one syntax alone, and where they listen */
const PARTICULAR = [
  ['BIGENDIAN', 'OppositeEndianExplicit', '1.2.840.10008.1.2.2'],
  ['DEFLATED', 'DeflatedLittleEndianExplicit', '1.2.840.10008.1.2.1.99'],
] as const;
const particularPorts = new Map<string, number>();
const children: ChildProcess[] = [];

/** storescp with a folder of its own */
async function startScp(name: string, args: readonly string[]): Promise<string> {
  const folder = join(dir, name);
  mkdirSync(folder);
  children.push(spawn('storescp', [...args, '-aet', 'STORESCP', '-od', folder, String(scpPort)], { stdio: 'ignore' }));
  await listening(scpPort);
  return folder;
}

beforeAll(async () => {
  [dicomPort, tlsPort, scpPort, pythonPort] = [await freePort(), await freePort(), await freePort(), await freePort()];
  for (const [aeTitle] of PARTICULAR) particularPorts.set(aeTitle, await freePort());
  const key = join(dir, 'key.pem');
  const cert = join(dir, 'cert.pem');
  const subject = ['-subj', '/CN=localhost', '-days', '2', '-nodes', '-newkey', 'rsa:2048'];
  await runOk('openssl', ['req', '-x509', ...subject, '-keyout', key, '-out', cert]);
  nephos = await startNephos({
    env: {
      NEPHOS_DICOM_PORT: String(dicomPort),
      NEPHOS_DICOM_TLS_PORT: String(tlsPort),
      NEPHOS_DICOM_TLS_CERT: cert,
      NEPHOS_DICOM_TLS_KEY: key,
      NEPHOS_DICOM_TLS_CA: cert,
      NEPHOS_DICOM_DESTINATIONS: [
        `STORESCP@127.0.0.1:${scpPort},PYSCP@127.0.0.1:${pythonPort}`,
        ...[...particularPorts].map(([aeTitle, port]) => `${aeTitle}@127.0.0.1:${port}`),
      ].join(','),
    },
  });
  mkdirSync(join(dir, 'study'));
  for (const [i, slice] of study.slices.entries())
    writeFileSync(join(dir, 'study', `${i}.dcm`), Buffer.concat([slice.header, slice.pixels]));
});

afterAll(async () => {
  for (const child of children) child.kill();
  await nephos?.stop();
  await rm(dir, { recursive: true, force: true });
});

const scu = (program: string, args: readonly string[], port = dicomPort): Promise<Output> =>
  run(program, ['-aec', 'NEPHOS', '127.0.0.1', String(port), ...args]);
const said = ({ stdout, stderr }: Output): string => stdout + stderr;
const uidOf = async (file: string): Promise<string> =>
  /\[([0-9.]+)\]/.exec(await runOk('dcmdump', ['-q', '+P', 'StudyInstanceUID', file]))![1]!;

describe('DCMTK', () => {
  let StudyInstanceUID: string;

  test('echoscu', async () => {
    expect((await scu('echoscu', [])).code).toBe(0);
  });

  test('storescu sends a study, twice: all of it is there, once', async () => {
    StudyInstanceUID = await uidOf(join(dir, 'study', '0.dcm'));
    for (let i = 0; i < 2; i++) {
      const sent = await scu('storescu', ['-v', '+sd', join(dir, 'study')]);
      expect(said(sent).match(/Received Store Response \(Success\)/g)).toHaveLength(SLICES);
    }
    const found = await scu('findscu', [
      '-S',
      '-k',
      'QueryRetrieveLevel=STUDY',
      '-k',
      `StudyInstanceUID=${StudyInstanceUID}`,
      '-k',
      'NumberOfStudyRelatedInstances',
    ]);
    expect(said(found)).toMatch(new RegExp(`\\(0020,1208\\) IS \\[${SLICES}`));
  });

  test.each([['-P'], ['-S']])('findscu %s finds images by the keys of all levels', async (model) => {
    const found = await scu('findscu', [
      model,
      '-k',
      'QueryRetrieveLevel=IMAGE',
      '-k',
      `StudyInstanceUID=${StudyInstanceUID}`,
      '-k',
      'Modality=CT',
      '-k',
      'SOPInstanceUID',
    ]);
    expect(said(found).match(/Find Response: \d+ \(Pending\)/g)).toHaveLength(SLICES);
  });

  test('findscu cancels after three matches', async () => {
    const found = await scu('findscu', [
      '-v',
      '--cancel',
      '3',
      '-S',
      '-k',
      'QueryRetrieveLevel=IMAGE',
      '-k',
      'SOPInstanceUID',
    ]);
    expect(found.code).toBe(0);
    expect(said(found)).toMatch(/Received Final Find Response \((Cancel|Success)/);
  });

  test('getscu gets the study, byte for byte as DCMTK writes what it reads', async () => {
    const folder = join(dir, 'got');
    mkdirSync(folder);
    const key = `StudyInstanceUID=${StudyInstanceUID}`;
    const got = await scu('getscu', ['-v', '-S', '-od', folder, '-k', 'QueryRetrieveLevel=STUDY', '-k', key]);
    expect(said(got)).toMatch(new RegExp(`Completed Suboperations : ${SLICES}`));
    expect(readdirSync(folder)).toHaveLength(SLICES);
  });

  test('movescu has it sent to storescp; --bit-preserving shows the very bytes', async () => {
    const folder = await startScp('moved', ['+B']);
    const key = `StudyInstanceUID=${StudyInstanceUID}`;
    const moved = await scu('movescu', ['-v', '-S', '-aem', 'STORESCP', '-k', 'QueryRetrieveLevel=STUDY', '-k', key]);
    expect(said(moved)).toMatch(/Received Final Move Response \(Success\)/);
    const files = readdirSync(folder).map((name) => readFileSync(join(folder, name)));
    expect(files).toHaveLength(SLICES);
    const tails = new Set(files.map((bytes) => bytes.subarray(-8_000).toString('base64')));
    for (const { header, pixels } of study.slices)
      expect(tails.has(Buffer.concat([header, pixels]).subarray(-8_000).toString('base64'))).toBe(true);
    const unknown = await scu('movescu', ['-v', '-S', '-aem', 'NOBODY', '-k', 'QueryRetrieveLevel=STUDY', '-k', key]);
    expect(said(unknown)).toMatch(/MoveDestinationUnknown|A801/i);
  });

  test.each(PARTICULAR)(
    'storescp at %s takes %s alone: movescu has the study sent there in it',
    async (aeTitle, name, uid) => {
      const folder = join(dir, aeTitle);
      mkdirSync(folder);
      const config = join(dir, `${aeTitle}.cfg`);
      writeFileSync(
        config,
        `[[TransferSyntaxes]]\n[Only]\nTransferSyntax1 = ${name}\n[[PresentationContexts]]\n[Contexts]\nPresentationContext1 = CTImageStorage\\Only\n[[Profiles]]\n[Particular]\nPresentationContexts = Contexts\n`,
      );
      const port = particularPorts.get(aeTitle)!;
      children.push(
        spawn('storescp', ['+B', '-xf', config, 'Particular', '-od', folder, String(port)], { stdio: 'ignore' }),
      );
      await listening(port);
      const key = `StudyInstanceUID=${StudyInstanceUID}`;
      const moved = await scu('movescu', ['-v', '-S', '-aem', aeTitle, '-k', 'QueryRetrieveLevel=STUDY', '-k', key]);
      expect(said(moved)).toMatch(/Received Final Move Response \(Success\)/);
      const files = readdirSync(folder);
      expect(files).toHaveLength(SLICES);
      const pixels = new Set<string>();
      for (const file of files) {
        const head = readFileSync(join(folder, file)).subarray(0, 400).toString('latin1');
        expect(/1\.2\.840\.10008\.1\.2[.\d]*/g.exec(head.slice(head.indexOf('\u0010\u0000UI')))?.[0]).toBe(uid);
        await runOk('dcmconv', ['+te', join(folder, file), join(folder, `${file}.le`)]);
        pixels.add(
          readFileSync(join(folder, `${file}.le`))
            .subarray(-8_000)
            .toString('base64'),
        );
      }
      for (const slice of study.slices)
        expect(pixels.has(Buffer.from(slice.pixels.subarray(-8_000)).toString('base64'))).toBe(true);
    },
  );

  test('over TLS with a certificate that the archive knows, and not without one', async () => {
    const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
    const known = await scu('echoscu', ['+tls', key, cert, '+cf', cert, '+ps'], tlsPort);
    expect(known.code, said(known)).toBe(0);
    const stored = await scu('storescu', ['+tls', key, cert, '+cf', cert, join(dir, 'study', '0.dcm')], tlsPort);
    expect(stored.code, said(stored)).toBe(0);
    expect((await scu('echoscu', ['+tla', '-ic'], tlsPort)).code).not.toBe(0);
    expect((await scu('echoscu', [], tlsPort)).code).not.toBe(0);
  });
});

describe('pynetdicom', () => {
  test('echo, find, cancel and move', async () => {
    const StudyInstanceUID = await uidOf(join(dir, 'study', '0.dcm'));
    const args = ['services', '127.0.0.1', String(dicomPort), StudyInstanceUID, String(pythonPort)];
    expect(await python('dimse-session.py', args)).toMatchObject({
      echo: 0,
      find: 0,
      series: ['CT'],
      move: { status: 0, completed: SLICES, received: SLICES },
    });
  });
});

describe.runIf(hasCorpus)('the shared corpus', { timeout: 2 * CORPUS_MS }, () => {
  interface Sent {
    readonly path: string;
    readonly sop: string;
    readonly cls: string;
    readonly syntax: string;
    readonly sha256: string;
    readonly complete: boolean;
    readonly agrees: boolean;
    readonly status?: number;
    readonly unsent?: string;
  }
  let sent: Sent[];
  /** the first of each SOP Instance UID that was taken */
  const kept = new Map<string, Sent>();

  test('goes in by C-STORE, as it lies in its files', async () => {
    const folder = join(corpusDir, 'dicom');
    const files = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
    const list = join(dir, 'files.json');
    writeFileSync(list, JSON.stringify(files));
    sent = await python<Sent[]>('dimse-session.py', ['store', '127.0.0.1', String(dicomPort), list], {
      timeoutMs: CORPUS_MS,
    });
    expect(sent.length).toBeGreaterThan(800);
    const seen = new Set<string>();
    const refused = sent.filter(({ sop, status }) => {
      const first = !seen.has(sop);
      seen.add(sop);
      return first && status !== 0;
    });
    for (const one of sent) if (one.status === 0 && !kept.has(one.sop)) kept.set(one.sop, one);
    const expected = ({ complete, agrees, cls }: Sent): number | undefined => {
      if (cls === MEDIA_STORAGE_DIRECTORY) return undefined;
      if (!complete) return cls === COLOR_PALETTE_STORAGE ? 0x0122 : 0xc000;
      return agrees ? 0 : 0xa900;
    };
    const odd = refused.filter((one) => one.status !== expected(one));
    expect(odd.map(({ path, status, unsent }) => `${path} ${status?.toString(16) ?? unsent}`)).toEqual([]);
    expect(kept.size).toBeGreaterThan(700);
  });

  test('comes back by C-GET with every data set byte for byte', async () => {
    const list = join(dir, 'wanted.json');
    const wanted = [...kept.values()];
    writeFileSync(list, JSON.stringify(wanted));
    const { got, statuses } = await python<{ got: Record<string, string>; statuses: { status: number }[] }>(
      'dimse-session.py',
      ['get', '127.0.0.1', String(dicomPort), list],
      { timeoutMs: CORPUS_MS },
    );
    expect(wanted.filter(({ sop, sha256 }) => got[sop] !== sha256).map(({ path }) => path)).toEqual([]);
    expect(new Set(statuses.map(({ status }) => status))).toEqual(new Set([0]));
  });
});

test('what came by DIMSE is there for DICOMweb, data set byte for byte', async () => {
  const file = join(dir, 'study', '3.dcm');
  const text = await runOk('dcmdump', ['-q', '+P', 'SeriesInstanceUID', '+P', 'SOPInstanceUID', file]);
  const uid = (tag: string): string => new RegExp(`\\(${tag}\\) UI \\[([0-9.]+)\\]`).exec(text)![1]!;
  const instance = {
    StudyInstanceUID: await uidOf(file),
    SeriesInstanceUID: uid('0020,000e'),
    SOPInstanceUID: uid('0008,0018'),
  };
  const bytes = await getInstance(nephos.root, instance);
  const { pixels } = study.slices[3]!;
  expect(bytes.subarray(-pixels.length).equals(pixels)).toBe(true);
});
