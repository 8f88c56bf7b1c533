import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CtStudy, ctStudy } from '#test/bench/data.ts';
import { buildDicom } from '#test/fixtures/dicom-builder.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { scheduled } from '#test/fixtures/worklist.ts';
import { stow } from './helpers/dicomweb.ts';
import { type Edge, startEdge } from './helpers/edge.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';
import { type Orthanc, type OrthancVersion, startOrthanc } from './helpers/orthanc.ts';
import { type Output, python, run, runOk } from './helpers/programs.ts';

/** DCMTK's tools wait for acknowledgements otherwise (Nagle). */
process.env.TCP_NODELAY = '1';

const SLICES = 12;
const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10).replaceAll('-', '');
const CT_IMAGE_STORAGE = '1.2.840.10008.5.1.4.1.1.2';
const dir = mkdtempSync(join(tmpdir(), 'nephos-edge-peers-'));
const children: ChildProcess[] = [];
const said = ({ stdout, stderr }: Output): string => stdout + stderr;

async function until(what: string, holds: () => Promise<boolean> | boolean, timeoutMs = 200_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await sleep(100);
  }
}

const listening = (port: number): Promise<void> =>
  until(
    `${port} listens`,
    () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
        socket.on('connect', () => socket.destroy());
      }),
  );

const keysOf = ({ StudyInstanceUID }: CtStudy): string[] => [
  '-S',
  '-k',
  'QueryRetrieveLevel=STUDY',
  '-k',
  `StudyInstanceUID=${StudyInstanceUID}`,
];
/** By C-GET of DCMTK, into a folder. */
async function getWhole(study: CtStudy, folder: string, port: number): Promise<void> {
  const to = ['-aec', 'NEPHOS', '127.0.0.1', String(port)];
  const got = await run('getscu', ['-v', '+B', '-od', folder, ...to, ...keysOf(study)]);
  expect(got.code, said(got)).toBe(0);
  await checkFolder(folder, study);
}

async function ask<T>(orthanc: Orthanc, path: string, body?: unknown, method = 'POST'): Promise<T> {
  const options =
    body === undefined ? { method } : { method, body: body instanceof Buffer ? body : JSON.stringify(body) };
  const response = await fetch(`${orthanc.origin}${path}`, options as RequestInit);
  if (!response.ok) throw new Error(`${response.status} to ${path}: ${(await response.text()).slice(0, 500)}`);
  return (await response.json()) as T;
}
const get = <T>(orthanc: Orthanc, path: string): Promise<T> => ask(orthanc, path, undefined, 'GET');

/** Slices whose pixels are those of the study, by SOP Instance UID. */
const pixelsOf = (study: CtStudy): Map<string, Buffer> =>
  new Map(study.slices.map(({ SOPInstanceUID, pixels }) => [SOPInstanceUID, Buffer.from(pixels)]));
async function checkFolder(folder: string, study: CtStudy): Promise<void> {
  const files = readdirSync(folder);
  expect(files).toHaveLength(study.slices.length);
  const expected = pixelsOf(study);
  for (const file of files) {
    const sop = /\[([0-9.]+)\]/.exec(await runOk('dcmdump', ['-q', '+P', 'SOPInstanceUID', join(folder, file)]))![1]!;
    const pixels = expected.get(sop)!;
    expect(readFileSync(join(folder, file)).subarray(-pixels.length).equals(pixels)).toBe(true);
  }
}

afterAll(async () => {
  for (const child of children) child.kill();
  await rm(dir, { recursive: true, force: true });
});

describe.each<OrthancVersion>(['1.12', '1.10'])('an edge before Orthanc %s', (version) => {
  const home = join(dir, version);
  const seed = 9_100 + Number(version.slice(2));
  const archived = ctStudy(seed, SLICES, 64);
  const local = ctStudy(seed + 100, SLICES, 64);
  let dicomPort: number;
  let pythonPort: number;
  const received = join(home, 'received');
  let upstream: Orthanc;
  let requester: Orthanc;
  let edge: Edge;

  const scu = (program: string, args: readonly string[]): Promise<Output> =>
    run(program, ['-aec', 'NEPHOS', '127.0.0.1', String(dicomPort), ...args]);
  const find = (level: string, ...keys: string[]): Promise<Output> =>
    scu('findscu', ['-S', '-k', `QueryRetrieveLevel=${level}`, ...keys.flatMap((one) => ['-k', one])]);
  const emptied = (name: string): string => {
    const folder = join(home, name);
    mkdirSync(folder, { recursive: true });
    return folder;
  };

  beforeAll(async () => {
    for (const name of ['upstream', 'requester', 'received', 'local']) mkdirSync(join(home, name), { recursive: true });
    dicomPort = await freePort();
    pythonPort = await freePort();
    const scpPort = await freePort();
    const ports = async () => ({ httpPort: await freePort(), dicomPort: await freePort() });
    upstream = await startOrthanc({ version, ...(await ports()), dir: join(home, 'upstream') });
    const requesterPorts = await ports();
    requester = await startOrthanc({
      version,
      ...requesterPorts,
      dir: join(home, 'requester'),
      settings: {
        DicomAet: 'REQUESTER',
        DicomModalities: { edge: { AET: 'NEPHOS', Host: '127.0.0.1', Port: dicomPort, AllowStorageCommitment: true } },
      },
    });
    edge = await startEdge(join(home, 'edge'), {
      dicomPort,
      httpPort: await freePort(),
      upstreams: [{ url: upstream.root }],
      moveDestinations: [
        { aeTitle: 'STORESCP', host: '127.0.0.1', port: scpPort },
        { aeTitle: 'PYSCP', host: '127.0.0.1', port: pythonPort },
        { aeTitle: 'REQUESTER', host: '127.0.0.1', port: requesterPorts.dicomPort },
      ],
    });
    children.push(spawn('storescp', ['-aet', 'STORESCP', '+B', '-od', received, String(scpPort)], { stdio: 'ignore' }));
    await listening(scpPort);
    for (const { header, pixels } of archived.slices)
      await ask(upstream, '/instances', Buffer.concat([header, pixels]));
    for (const [i, { header, pixels }] of local.slices.entries())
      writeFileSync(join(home, 'local', `${i}.dcm`), Buffer.concat([header, pixels]));
  });
  afterAll(async () => {
    await edge?.stop();
    await requester?.stop();
    await upstream?.stop();
  });

  test('findscu finds what Orthanc has, at every level', async () => {
    const study = await find(
      'STUDY',
      `StudyInstanceUID=${archived.StudyInstanceUID}`,
      'InstanceAvailability',
      'PatientName',
      'NumberOfStudyRelatedInstances',
    );
    expect(said(study)).toMatch(/NEARLINE/);
    expect(said(study)).toMatch(new RegExp(`\\(0020,1208\\) IS \\[${SLICES}`));
    const series = await find(
      'SERIES',
      `StudyInstanceUID=${archived.StudyInstanceUID}`,
      'SeriesInstanceUID',
      'Modality',
    );
    expect(said(series).match(/\(Pending\)/g)).toHaveLength(1);
    const images = await find('IMAGE', `StudyInstanceUID=${archived.StudyInstanceUID}`, 'SOPInstanceUID');
    expect(said(images).match(/\(Pending\)/g)).toHaveLength(SLICES);
    const none = await find('STUDY', 'PatientID=NOBODY-HAS-THIS', 'StudyInstanceUID');
    expect(said(none)).not.toMatch(/\(Pending\)/);
  });

  test('storescu sends: Orthanc gets it, and it is found once, here', async () => {
    expect((await scu('storescu', ['+sd', join(home, 'local')])).code).toBe(0);
    await until('it is forwarded', async () => (await get<string[]>(upstream, '/instances')).length === 2 * SLICES);
    const found = await find('STUDY', `StudyInstanceUID=${local.StudyInstanceUID}`, 'InstanceAvailability');
    expect(said(found).match(/\(Pending\)/g)).toHaveLength(1);
    expect(said(found)).toMatch(/ONLINE/);
  });

  test('movescu has what only Orthanc has moved, pixels as they were', async () => {
    const moved = await scu('movescu', ['-v', '-aem', 'STORESCP', ...keysOf(archived)]);
    expect(moved.code, said(moved)).toBe(0);
    await checkFolder(received, archived);
  });

  test('getscu gets it too; now it is ONLINE', async () => {
    const folder = emptied('got');
    await getWhole(archived, folder, dicomPort);
    expect(said(await find('STUDY', `StudyInstanceUID=${archived.StudyInstanceUID}`, 'InstanceAvailability'))).toMatch(
      /ONLINE/,
    );
  });

  test('pynetdicom: echo, find, cancel and move', async () => {
    const args = ['services', '127.0.0.1', String(dicomPort), archived.StudyInstanceUID, String(pythonPort)];
    expect(await python('dimse-session.py', args)).toMatchObject({
      echo: 0,
      find: 0,
      series: ['CT'],
      move: { status: 0, completed: SLICES, received: SLICES },
    });
  });

  test('another Orthanc finds it through the edge and gets it', async () => {
    const query = { Level: 'Study', Query: { StudyInstanceUID: archived.StudyInstanceUID, PatientName: '' } };
    const { ID } = await ask<{ ID: string }>(requester, '/modalities/edge/query', query);
    expect(await get<string[]>(requester, `/queries/${ID}/answers`)).toHaveLength(1);
    await ask(requester, `/queries/${ID}/retrieve`, { TargetAet: 'REQUESTER', Synchronous: true });
    expect(await get<string[]>(requester, '/instances')).toHaveLength(SLICES);
  });

  test('storage commitment: Orthanc is told when the other Orthanc holds the instances', async () => {
    const studies = await get<string[]>(requester, '/studies');
    await ask(requester, '/modalities/edge/store', studies);
    const known = local.slices.map(({ SOPInstanceUID }) => [CT_IMAGE_STORAGE, SOPInstanceUID]);
    const { Path } = await ask<{ Path: string }>(requester, '/modalities/edge/storage-commitment', {
      DicomInstances: known,
    });
    interface Report {
      readonly Status: string;
      readonly Success: unknown[];
    }
    let report = await get<Report>(requester, Path);
    await until('it is told', async () => {
      report = await get<Report>(requester, Path);
      return report.Status !== 'Pending';
    });
    expect(report).toMatchObject({ Status: 'Success' });
    expect(report.Success).toHaveLength(SLICES);
  });

  test('there is no worklist before an Orthanc, and that is said', async () => {
    const found = await run('findscu', [
      '-v',
      '-W',
      '-aec',
      'NEPHOS',
      '127.0.0.1',
      String(dicomPort),
      '-k',
      'PatientName',
    ]);
    expect(said(found)).toMatch(/0x0122|SOPClassNotSupported|SOP class not supported/i);
  });

  test('while Orthanc is down, recent studies are found and delivered', async () => {
    await upstream.stop();
    const found = await find('STUDY', 'StudyInstanceUID', 'PatientName');
    expect(said(found).match(/\(Pending\)/g)).toHaveLength(2);
    const folder = emptied('offline');
    await getWhole(local, folder, dicomPort);
  });
});

describe('an edge before Nephos', () => {
  let ports: { dicomPort: number; httpPort: number };
  let departmentPort: number;
  let commitPort: number;
  const StudyInstanceUID = '1.2.826.0.1.3680043.9.9.7';
  let nephos: Nephos;
  let edge: Edge;
  const api = async <T>(path: string, body?: unknown): Promise<T> => {
    const options = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
    const response = await fetch(`${nephos.origin}/api${path}`, {
      ...options,
      headers: { 'content-type': 'application/json' },
    });
    expect(response.ok).toBe(true);
    return (await response.json()) as T;
  };

  beforeAll(async () => {
    nephos = await startNephos();
    ports = { dicomPort: await freePort(), httpPort: await freePort() };
    [departmentPort, commitPort] = [await freePort(), await freePort()];
    const department = { aeTitle: 'PYRIS', host: '127.0.0.1', port: departmentPort };
    edge = await startEdge(join(dir, 'nephos'), {
      ...ports,
      upstreams: [{ url: nephos.root }],
      procedureSteps: { forwardTo: [department] },
      availabilityListeners: [department],
      // longer than it takes to note a request: what is not known yet is not answered at once
      commitment: { unknownSeconds: 10 },
      moveDestinations: [{ aeTitle: 'PYNETDICOM', host: '127.0.0.1', port: commitPort }],
    });
  });
  afterAll(async () => {
    await edge?.stop();
    await nephos?.stop();
  });

  test('pynetdicom asks for its work, performs it and reports it: the archive knows', async () => {
    const { id } = await api<{ id: string }>(
      '/worklist',
      scheduled({ PatientName: 'Müller^Jürgen', StudyInstanceUID }, { ScheduledProcedureStepStartDate: tomorrow }),
    );
    await until('the worklist is here', async () => {
      const found = await run('findscu', [
        '-v',
        '-W',
        '-aec',
        'NEPHOS',
        '127.0.0.1',
        String(ports.dicomPort),
        '-k',
        'AccessionNumber=A1',
      ]);
      return /\(Pending\)/.test(said(found));
    });
    // Of the object that the step will name the department system hears when the step is completed.
    const file = join(dir, 'performed.dcm');
    const SOPInstanceUID = `${StudyInstanceUID}.1.1`;
    writeFileSync(file, buildDicom({ StudyInstanceUID, SeriesInstanceUID: `${StudyInstanceUID}.1`, SOPInstanceUID }));
    await runOk('storescu', ['-aec', 'NEPHOS', '127.0.0.1', String(ports.dicomPort), file]);
    const department = ['department', String(departmentPort), '3', 'available'];
    const heard = python<object>('schedule-session.py', department);
    await listening(departmentPort);
    const { uid, ...report } = await python<{ uid: string }>('schedule-session.py', [
      'modality',
      '127.0.0.1',
      String(ports.dicomPort),
      StudyInstanceUID,
      'SPS1',
    ]);
    expect(report).toMatchObject({
      find: 0,
      worklist: ['Müller^Jürgen', 'ISO_IR 100', 'SCHEDULED'],
      create: 0,
      duplicate: 0x0111,
      set: 0,
      completed: 0,
      afterwards: 0,
    });
    await until(
      'the archive knows',
      async () => (await api<{ state: string }>(`/worklist/${id}`)).state === 'COMPLETED',
    );
    expect(await api(`/procedure-steps/${uid}`)).toMatchObject({ source: 'PYMODALITY', state: 'COMPLETED' });

    expect(await heard).toEqual({
      steps: [
        ['create', uid, 'IN PROGRESS', 'Müller^Jürgen'],
        ['set', uid, null],
        ['set', uid, 'COMPLETED'],
      ],
      available: [StudyInstanceUID, uid],
    });
  });

  test('storage commitment for pynetdicom: what nobody has sent is waited for, then it is called back', async () => {
    const args = ['commit', '127.0.0.1', String(ports.dicomPort), StudyInstanceUID, String(commitPort)];
    expect(await python('dimse-session.py', args)).toEqual({
      found: 1,
      action: 0,
      'kept open': { event: 2, 'called back': true, committed: 1, failed: [['1.2.3.4', 0x0112]] },
      released: { event: 1, 'called back': expect.any(Boolean), committed: 1, failed: [] },
    });
  });

  test('findscu and getscu reach a study of the archive, killed and started again in between', async () => {
    const study = ctStudy(9200, SLICES, 64);
    await stow(
      nephos.root,
      study.slices.map(({ header, pixels }) => Buffer.concat([header, pixels])),
    );
    await edge.kill9();
    edge = await startEdge(join(dir, 'nephos'), { ...ports, upstreams: [{ url: nephos.root }] });
    const folder = join(dir, 'got-nephos');
    mkdirSync(folder);
    await getWhole(study, folder, ports.dicomPort);
  });
});
