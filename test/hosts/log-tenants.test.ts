import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { identifierFor } from '#dimse/remote-query.ts';
import { associate, contextOf, proposing, sendFind, sendObject } from '#dimse/scu.ts';
import { STUDY_ROOT_FIND } from '#dimse/sop-classes.ts';
import { logger, metrics } from '#lambda/observe.ts';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { buildDicom, CT_IMAGE_STORAGE, EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { scheduled, started } from '#test/fixtures/worklist.ts';
import { lambdaHost } from './both-hosts.ts';
import { multipart } from './client.ts';

async function until(isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 100_000;
  while (!isSo() && performance.now() < deadline) await sleep(20);
  expect(isSo()).toBe(true);
}

/** What names the patient, or comes from a data set or a query. */
const OF_PATIENTS = ['Knurrhahn', 'Frieda', 'PID-4711', 'ACC-0815', 'Elbvorort', '19310229'];
const object = (n: number): Uint8Array =>
  buildDicom({
    SOPInstanceUID: uid(10 + n),
    PatientName: 'Knurrhahn^Frieda',
    PatientID: 'PID-4711',
    AccessionNumber: 'ACC-0815',
    InstitutionName: 'Elbvorort',
  });

/** Something at every door, by people of one tenant: what is right, what is refused, and what there is not. */
async function everyDoor(origin: string, token: string): Promise<void> {
  const ask = async (
    path: string,
    init: { method?: string; headers?: Record<string, string>; body?: Uint8Array | string } = {},
  ) => {
    const headers = { authorization: `Bearer ${token}`, ...init.headers };
    const answer = await fetch(origin + path, { ...init, headers } as RequestInit);
    await answer.arrayBuffer();
    return answer.status;
  };
  const json = (method: string, body: object) => ({
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(await ask('/dicomweb/studies', multipart([object(1), object(2)]))).toBe(200);
  for (const path of [
    '/dicomweb/studies?PatientName=Knurrhahn*&PatientID=PID-4711',
    '/dicomweb/studies?AccessionNumber=ACC-0815&PatientName=%5E%5E%5E%5E%5E%5E%3D%3D%3D%3DKnurrhahn',
    `/dicomweb/studies/${uid(1)}/metadata`,
    `/dicomweb/studies/${uid(1)}/series/Knurrhahn/metadata`,
    `/wado?requestType=WADO&studyUID=${uid(1)}&seriesUID=${uid(2)}&objectUID=${uid(11)}&contentType=application/dicom`,
    '/api/worklist?PatientName=Knurrhahn',
    '/api/procedure-steps?PatientID=PID-4711',
    '/api/audit?patient=PID-4711',
    '/api/nothing/Knurrhahn',
  ])
    await ask(path);
  await ask('/api/worklist', json('POST', scheduled({ PatientName: 'Knurrhahn^Frieda', PatientID: 'PID-4711' })));
  await ask(`/api/procedure-steps/${uid(900)}`, json('PUT', started({ PatientName: 'Knurrhahn^Frieda' })));
  await ask(
    '/api/image-display',
    json('POST', { requestType: 'PATIENT', patientID: 'PID-4711', patientBirthDate: '19310229' }),
  );
  await ask('/api/restrictions', json('POST', { patient: { id: 'PID-4711' }, reason: 'Frieda asked' }));
  await ask('/api/shares', json('POST', { studies: [uid(1)], scopes: ['view'], receiver: 'Frieda', purpose: 'x' }));
  await ask('/api/worklist', { ...json('POST', {}), body: '{"PatientName":"Knurrhahn' });
}

const holdsPatients = (text: string): string[] => OF_PATIENTS.filter((one) => text.includes(one));

describe('the embedded host', () => {
  let dir: string;
  let child: ChildProcess;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'nephos-logs-'));
  });
  afterEach(async () => {
    if (child?.pid !== undefined && child.exitCode === null) {
      process.kill(-child.pid, 'SIGKILL');
      await once(child, 'exit');
    }
    await rm(dir, { recursive: true, force: true });
  });

  test('says in each line whose act it was, by the id of the tenant, and nothing of patients; metrics neither', async () => {
    child = spawn(process.execPath, ['functions/embedded/main.ts'], {
      cwd: join(import.meta.dirname, '../..'),
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...bareEnvironment,
        NEPHOS_DATA_DIR: dir,
        NEPHOS_WORKERS: '1',
        NEPHOS_HTTP_PORT: '0',
        NEPHOS_DICOM_PORT: '0',
        NEPHOS_LOG: 'debug',
        NEPHOS_TENANT: 'north-7f3a',
        NEPHOS_DICOM_ALLOWED_AES: 'CT2@127.0.0.1=store+query/south-51c0',
      },
    });
    let log = '';
    let said = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    await until(() => /Data {10}/.test(said));
    const origin = /Open (http:\/\/\S+)\//.exec(said)![1]!;
    const token = /nephos_[\w-]{40,}/.exec(said)![0];
    await everyDoor(origin, token);
    expect((await fetch(`${origin}/dicomweb/studies?PatientName=Knurrhahn`)).status).toBe(401);

    const port = Number(/NEPHOS@127\.0\.0\.1:(\d+)/.exec(said)![1]);
    const scu = await associate(
      { aeTitle: 'NEPHOS', host: '127.0.0.1', port },
      {
        callingAETitle: 'CT2',
        contexts: proposing([CT_IMAGE_STORAGE, [EXPLICIT_LE]], [STUDY_ROOT_FIND, [EXPLICIT_LE]]),
      },
    );
    const bytes = object(3);
    const dataSet = bytes.subarray(144 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(140, true));
    await sendObject(scu, contextOf(scu, CT_IMAGE_STORAGE), uid(13), dataSet);
    await sendFind(scu, STUDY_ROOT_FIND, identifierFor('STUDY', [['PatientName', 'Knurrhahn*']]), () => {});
    await scu.release();
    const metricsText = await (
      await fetch(`${origin}/metrics`, { headers: { authorization: `Bearer ${token}` } })
    ).text();
    // The last of them, of the one server that there is.
    await until(() => log.includes('"transaction":"Metrics"'));

    expect(holdsPatients(log)).toEqual([]);
    const lines = log
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const of = (event: string) => lines.filter((line) => line.event === event);
    // Whoever has not shown who he is belongs to nobody; the metrics are the whole host's.
    const anonymous = of('request').filter(({ tenant }) => tenant === undefined);
    expect(anonymous.map(({ transaction, status }) => [transaction, status])).toEqual([
      ['SearchStudies', 401],
      ['Metrics', 200],
    ]);
    expect(of('request').length).toBeGreaterThan(12);
    expect(new Set(of('request').map(({ tenant }) => tenant))).toEqual(new Set(['north-7f3a', undefined]));
    expect(of('operation').map(({ command, tenant }) => [command, tenant])).toEqual([
      ['cStore', 'south-51c0'],
      ['cFind', 'south-51c0'],
    ]);
    expect(of('association')).toMatchObject([{ tenant: 'south-51c0', callingAETitle: 'CT2', outcome: 'released' }]);

    expect(holdsPatients(metricsText)).toEqual([]);
    expect(metricsText).not.toContain(uid(1));
    const labels = [...metricsText.matchAll(/^nephos_\w+\{([^}]*)\}/gm)].flatMap(([, all]) => [
      ...all!.matchAll(/(\w+)="([^"]*)"/g),
    ]);
    expect(labels.length).toBeGreaterThan(50);
    const names = new Set(labels.map(([, name]) => name));
    for (const name of names)
      expect([
        'transaction',
        'size',
        'status',
        'le',
        'direction',
        'command',
        'outcome',
        'tenant',
        'destination',
        'class',
      ]).toContain(name);
    for (const [, name, value] of labels) if (name === 'tenant') expect(['north-7f3a', 'south-51c0']).toContain(value);
  });
});

describe('the functions of the cloud', () => {
  test('say in each line whose act it was, by the id of the tenant, and nothing of patients; metrics neither', async () => {
    const lines: unknown[][] = [];
    const kept = (...line: unknown[]): void => void lines.push(line);
    for (const level of ['debug', 'info', 'warn', 'error'] as const)
      vi.spyOn(logger, level).mockImplementation(kept as never);
    const dimensions: string[][] = [];
    const single = metrics.singleMetric.bind(metrics);
    vi.spyOn(metrics, 'singleMetric').mockImplementation(() => {
      const made = single();
      const add = made.addDimension.bind(made);
      made.addDimension = (name: string, value: string) => {
        dimensions.push([name, value]);
        return add(name, value);
      };
      return made;
    });
    const host = await lambdaHost();
    try {
      await everyDoor(host.origin, host.admin);
      expect((await fetch(`${host.origin}/dicomweb/studies?PatientName=Knurrhahn`)).status).toBe(401);
    } finally {
      await host.close();
      vi.restoreAllMocks();
    }
    expect(lines.length).toBeGreaterThan(24);
    expect(holdsPatients(JSON.stringify(lines))).toEqual([]);
    const outcomes = lines.flatMap(
      ([, fields]) => (fields as { outcomes?: { name: string; tenant?: string; status: unknown }[] }).outcomes ?? [],
    );
    expect(outcomes.length).toBeGreaterThan(24);
    // Powertools drops members of these names, and says so.
    for (const [, fields] of lines)
      for (const reserved of ['message', 'level', 'timestamp', 'service'])
        expect(fields ?? {}).not.toHaveProperty(reserved);
    expect(outcomes.filter(({ tenant }) => tenant === undefined).map(({ name, status }) => [name, status])).toEqual([
      ['authorizer', 400],
    ]);
    expect(new Set(outcomes.map(({ tenant }) => tenant))).toEqual(new Set([host.tenant, undefined]));
    expect(holdsPatients(JSON.stringify(dimensions))).toEqual([]);
    for (const [name] of dimensions) expect(['transaction', 'tenant', 'destination', 'class']).toContain(name);
  });
});
