import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DataSet } from '#core/dicom/types.ts';
import { ctStudy } from '#test/bench/data.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { scheduled } from '#test/fixtures/worklist.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';
import { type Orthanc, startOrthanc } from './helpers/orthanc.ts';
import { listening } from './helpers/processes.ts';
import { type Output, python, run, runOk } from './helpers/programs.ts';

/**
 * Every service over TLS, certificates on both sides, and both ways: peers ask the archive, and the archive calls peers (C-STORE of a
 * C-MOVE, the answer to storage commitment, availability, MPPS notification). No peer here listens without TLS.
 */
process.env.TCP_NODELAY = '1';
const dir = mkdtempSync(join(tmpdir(), 'nephos-tls-services-'));
const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
const CERTIFICATE = ['+tls', key, cert, '+cf', cert];
const env = { NEPHOS_PEER_TLS: `${cert},${key}` };
const SLICES = 6;
const CT_IMAGE_STORAGE = '1.2.840.10008.5.1.4.1.1.2';
const study = ctStudy(8450, SLICES, 64);
const files = study.slices.map(({ header, pixels }) => Buffer.concat([header, pixels]));
const keys = ['-k', 'QueryRetrieveLevel=STUDY', '-k', `StudyInstanceUID=${study.StudyInstanceUID}`];
const children: ChildProcess[] = [];
let nephos: Nephos;
let tlsPort: number;
let plainPort: number;
const ports = { storescp: 0, pynetdicom: 0, department: 0, availability: 0, orthanc: 0 };

beforeAll(async () => {
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-days', '2'];
  const made = ['-nodes', '-newkey', 'rsa:2048', '-keyout', key, '-out', cert];
  await runOk('openssl', ['req', '-x509', ...subject, ...made]);
  [tlsPort, plainPort] = [await freePort(), await freePort()];
  for (const name of Object.keys(ports) as (keyof typeof ports)[]) ports[name] = await freePort();
  const at = (port: number): string => `127.0.0.1:${port}/tls`;
  nephos = await startNephos({
    env: {
      NEPHOS_DICOM_PORT: String(plainPort),
      NEPHOS_DICOM_TLS_PORT: String(tlsPort),
      NEPHOS_DICOM_TLS_CERT: cert,
      NEPHOS_DICOM_TLS_KEY: key,
      NEPHOS_DICOM_TLS_CA: cert,
      NEPHOS_DICOM_DESTINATIONS: [
        `STORESCP@${at(ports.storescp)}`,
        `PYSCP@${at(ports.pynetdicom)}`,
        `PYNETDICOM@${at(ports.pynetdicom)}`,
        `ORTHANC@${at(ports.orthanc)}`,
      ].join(),
      NEPHOS_DICOM_IAN: `PYRIS@${at(ports.availability)}`,
      NEPHOS_DICOM_MPPS_LISTENERS: `PYRIS@${at(ports.department)}`,
      NEPHOS_LIMIT_STUDY_QUIET_MS: '500',
      NEPHOS_LIMIT_WORKLIST_PAST_MS: String(100 * 365 * 24 * 60 * 60 * 1000),
    },
  });
  mkdirSync(join(dir, 'study'));
  for (const [i, file] of files.entries()) writeFileSync(join(dir, 'study', `${i}.dcm`), file);
});
afterAll(async () => {
  for (const child of children) child.kill();
  await nephos?.stop();
  await rm(dir, { recursive: true, force: true });
});

const scu = (program: string, args: readonly string[]): Promise<Output> =>
  run(program, [...CERTIFICATE, '-aec', 'NEPHOS', '127.0.0.1', String(tlsPort), ...args]);
const said = ({ stdout, stderr }: Output): string => stdout + stderr;
const pixelsOf = (objects: readonly Buffer[]): string[] =>
  objects.map((bytes) => bytes.subarray(-study.slices[0]!.pixels.length).toString('base64')).sort();
const inFolder = (folder: string): Buffer[] => readdirSync(folder).map((name) => readFileSync(join(folder, name)));
const folder = (name: string): string => {
  const path = join(dir, name);
  mkdirSync(path);
  return path;
};
async function addItem(item: DataSet): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const request = { method: 'POST', headers, body: JSON.stringify(item) };
  expect((await fetch(`${nephos.origin}/api/worklist`, request)).ok).toBe(true);
}

describe('DCMTK over TLS', () => {
  test('C-ECHO, C-STORE, C-FIND', async () => {
    expect((await scu('echoscu', [])).code).toBe(0);
    const sent = await scu('storescu', ['-v', '+sd', join(dir, 'study')]);
    expect(said(sent).match(/Received Store Response \(Success\)/g)).toHaveLength(SLICES);
    const found = await scu('findscu', ['-S', ...keys, '-k', 'NumberOfStudyRelatedInstances']);
    expect(said(found)).toMatch(new RegExp(`\\(0020,1208\\) IS \\[${SLICES}`));
  });

  test('C-MOVE to storescp, which listens on TLS alone', async () => {
    const moved = folder('moved');
    const args = [...CERTIFICATE, '-aet', 'STORESCP', '+B', '-od', moved, String(ports.storescp)];
    children.push(spawn('storescp', args, { stdio: 'ignore' }));
    await listening(ports.storescp);
    // movescu and getscu speak no TLS themselves: this one asks in the clear.
    const move = ['-v', '-S', '-aec', 'NEPHOS', '-aem', 'STORESCP', '127.0.0.1', String(plainPort), ...keys];
    expect(said(await run('movescu', move))).toMatch(/Received Final Move Response \(Success\)/);
    expect(pixelsOf(inFolder(moved))).toEqual(pixelsOf(files));
  });

  test('Modality Worklist', async () => {
    await addItem(scheduled({ StudyInstanceUID: '1.2.826.0.1.3680043.9.9.31', AccessionNumber: 'TLS1' }));
    const found = await scu('findscu', ['-v', '-W', '-k', 'AccessionNumber=TLS1', '-k', 'PatientName']);
    expect(said(found).match(/\(Pending\)/g)).toHaveLength(1);
  });
});

describe('pynetdicom over TLS', () => {
  test('C-STORE', async () => {
    const list = join(dir, 'files.json');
    writeFileSync(list, JSON.stringify(files.map((_, i) => join(dir, 'study', `${i}.dcm`))));
    const sent = await python<{ status: number }[]>('dimse-session.py', ['store', '127.0.0.1', String(tlsPort), list], {
      env,
    });
    expect(sent.map(({ status }) => status)).toEqual(files.map(() => 0));
  });

  test('C-ECHO, C-FIND, cancel, C-MOVE', async () => {
    const args = ['services', '127.0.0.1', String(tlsPort), study.StudyInstanceUID, String(ports.pynetdicom)];
    expect(await python('dimse-session.py', args, { env })).toMatchObject({
      echo: 0,
      find: 0,
      // asked for with the priority HIGH, which the sub-operations have as well
      move: { status: 0, completed: SLICES, received: SLICES, priorities: [1] },
    });
  });

  test('C-GET', async () => {
    const wanted = join(dir, 'wanted.json');
    const rows = study.slices.map(({ SOPInstanceUID }) => ({
      sop: SOPInstanceUID,
      cls: CT_IMAGE_STORAGE,
      syntax: '1.2.840.10008.1.2.1',
    }));
    writeFileSync(wanted, JSON.stringify(rows));
    const args = ['get', '127.0.0.1', String(tlsPort), wanted];
    const { got } = await python<{ got: Record<string, string> }>('dimse-session.py', args, { env });
    expect(Object.keys(got).sort()).toEqual(rows.map(({ sop }) => sop).sort());
  });

  test('Storage Commitment: told over the same association, and called back over TLS', async () => {
    const args = ['commit', '127.0.0.1', String(tlsPort), study.StudyInstanceUID, String(ports.pynetdicom)];
    expect(await python('dimse-session.py', args, { env })).toEqual({
      found: SLICES,
      action: 0,
      'kept open': { event: 2, 'called back': false, committed: SLICES, failed: [['1.2.3.4', 0x0112]] },
      released: { event: 1, 'called back': true, committed: SLICES, failed: [] },
    });
  });

  test('worklist and procedure step of a modality; a department system is notified of each change', async () => {
    const StudyInstanceUID = '1.2.826.0.1.3680043.9.9.32';
    await addItem(scheduled({ PatientName: 'Müller^Jürgen', StudyInstanceUID }));
    const department = ['department', String(ports.department), '3'];
    const heard = python<{ steps: unknown[][] }>('schedule-session.py', department, { env });
    await listening(ports.department);
    const args = ['modality', '127.0.0.1', String(tlsPort), StudyInstanceUID, 'SPS1'];
    const { uid, ...report } = await python<{ uid: string }>('schedule-session.py', args, { env });
    expect(report).toMatchObject({ find: 0, create: 0, set: 0, completed: 0, get: [0, 'COMPLETED', 'Kopf'] });
    // PS3.4 Table F.9.2-1: 1 in progress, 2 completed, 4 updated
    const events = (await heard).steps.map(([kind, sop, event]) => [kind, sop === uid, event]);
    expect(events.toSorted()).toEqual([1, 2, 4].map((event) => ['event', true, event]));
  });

  test('Instance Availability Notification', async () => {
    const heard = python<{ attributes: DataSet }>('schedule-session.py', ['listen', String(ports.availability), '2'], {
      env,
    });
    await listening(ports.availability);
    const other = ctStudy(8451, 2, 64);
    const path = folder('other');
    for (const [i, { header, pixels }] of other.slices.entries())
      writeFileSync(join(path, `${i}.dcm`), Buffer.concat([header, pixels]));
    expect((await scu('storescu', ['+sd', path])).code).toBe(0);
    expect((await heard).attributes['0020000D']!.Value).toHaveLength(1);
  });
});

describe('Orthanc 1.12 over TLS', () => {
  let orthanc: Orthanc;
  const ask = async <T>(path: string, body?: unknown, method = 'POST'): Promise<T> => {
    const options =
      body === undefined ? { method } : { method, body: body instanceof Buffer ? body : JSON.stringify(body) };
    const response = await fetch(`${orthanc.origin}${path}`, options as RequestInit);
    if (!response.ok) throw new Error(`${response.status} to ${path}: ${(await response.text()).slice(0, 300)}`);
    return (await response.json()) as T;
  };
  const get = <T>(path: string): Promise<T> => ask(path, undefined, 'GET');

  beforeAll(async () => {
    const modality = {
      AET: 'NEPHOS',
      Host: '127.0.0.1',
      Port: tlsPort,
      UseDicomTls: true,
      AllowStorageCommitment: true,
    };
    orthanc = await startOrthanc({
      version: '1.12',
      httpPort: await freePort(),
      dicomPort: ports.orthanc,
      dir: folder('orthanc'),
      settings: {
        DicomAet: 'ORTHANC',
        DicomTlsEnabled: true,
        DicomTlsCertificate: cert,
        DicomTlsPrivateKey: key,
        DicomTlsTrustedCertificates: cert,
        DicomTlsRemoteCertificateRequired: true,
        DicomModalities: { nephos: modality },
      },
    });
    for (const file of files) await ask('/instances', file);
  });
  afterAll(() => orthanc?.stop());

  test('C-ECHO, C-STORE', async () => {
    await ask('/modalities/nephos/echo', {});
    const job = await ask('/modalities/nephos/store', await get<string[]>('/studies'));
    expect(job).toMatchObject({ InstancesCount: SLICES, FailedInstancesCount: 0 });
  });

  test('Storage Commitment, answered over TLS', async () => {
    const DicomInstances = study.slices.map(({ SOPInstanceUID }) => [CT_IMAGE_STORAGE, SOPInstanceUID]);
    const { Path } = await ask<{ Path: string }>('/modalities/nephos/storage-commitment', { DicomInstances });
    let report = await get<{ Status: string; Success?: unknown[] }>(Path);
    for (let i = 0; i < 4_000 && report.Status === 'Pending'; i++) {
      await sleep(50);
      report = await get(Path);
    }
    expect(report).toMatchObject({ Status: 'Success' });
    expect(report.Success).toHaveLength(SLICES);
  });

  test('C-FIND, and C-MOVE back to it', async () => {
    for (const id of await get<string[]>('/studies')) await ask(`/studies/${id}`, undefined, 'DELETE');
    const query = { Level: 'Study', Query: { StudyInstanceUID: study.StudyInstanceUID, PatientName: '' } };
    const { ID } = await ask<{ ID: string }>('/modalities/nephos/query', query);
    expect(await get<string[]>(`/queries/${ID}/answers`)).toHaveLength(1);
    await ask(`/queries/${ID}/retrieve`, { TargetAet: 'ORTHANC', Synchronous: true });
    expect(await get<string[]>('/instances')).toHaveLength(SLICES);
  });

  test('Modality Worklist', async () => {
    await addItem(scheduled({ StudyInstanceUID: '1.2.826.0.1.3680043.9.9.33', PatientName: 'Doe^Tls' }));
    const found = await ask<unknown[]>('/modalities/nephos/find-worklist', { PatientName: 'Doe^Tls' });
    expect(found).toHaveLength(1);
  });
});
