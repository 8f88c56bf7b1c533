import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ctStudy } from '#test/bench/data.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { getInstance } from './helpers/dicomweb.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';
import { type Orthanc, type OrthancVersion, startOrthanc } from './helpers/orthanc.ts';

const CT_IMAGE_STORAGE = '1.2.840.10008.5.1.4.1.1.2';

describe.each<OrthancVersion>(['1.12', '1.10'])('Orthanc %s as a DIMSE peer of Nephos', (version) => {
  let nephos: Nephos;
  let orthanc: Orthanc;
  let dir: string;
  const study = ctStudy(8600 + Number(version.slice(2)), 10, 64);

  const ask = async <T>(path: string, body: unknown, method = 'POST'): Promise<T> => {
    const options = method === 'GET' ? {} : { method, body: body instanceof Buffer ? body : JSON.stringify(body) };
    const response = await fetch(`${orthanc.origin}${path}`, options as RequestInit);
    if (!response.ok)
      throw new Error(`Orthanc answered ${response.status} to ${path}: ${(await response.text()).slice(0, 500)}`);
    return (await response.json()) as T;
  };
  const get = <T>(path: string): Promise<T> => ask(path, undefined, 'GET');

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'nephos-orthanc-'));
    const ports = { httpPort: await freePort(), dicomPort: await freePort() };
    const dicomPort = await freePort();
    nephos = await startNephos({
      env: {
        NEPHOS_DICOM_PORT: String(dicomPort),
        NEPHOS_DICOM_ALLOWED_AES: 'ORTHANC',
        NEPHOS_DICOM_DESTINATIONS: `ORTHANC@127.0.0.1:${ports.dicomPort}`,
      },
    });
    const settings = {
      DicomAet: 'ORTHANC',
      DicomModalities: { nephos: { AET: 'NEPHOS', Host: '127.0.0.1', Port: dicomPort, AllowStorageCommitment: true } },
    };
    orthanc = await startOrthanc({ version, ...ports, dir, settings });
    for (const { header, pixels } of study.slices) await ask('/instances', Buffer.concat([header, pixels]));
  });
  afterAll(async () => {
    await orthanc?.stop();
    await nephos?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  test('C-ECHO', async () => {
    await ask('/modalities/nephos/echo', {});
  });

  test('C-STORE: the study is there, pixels as they were', async () => {
    const studies = await get<string[]>('/studies');
    const job = await ask<{ InstancesCount: number; FailedInstancesCount: number }>(
      '/modalities/nephos/store',
      studies,
    );
    expect(job).toMatchObject({ InstancesCount: 10, FailedInstancesCount: 0 });
    for (const { SOPInstanceUID, pixels } of study.slices) {
      const bytes = await getInstance(nephos.root, { ...study, SOPInstanceUID });
      expect(bytes.subarray(-pixels.length).equals(pixels)).toBe(true);
    }
  });

  test('Storage Commitment: every instance is committed to, and one that is not there is not', async () => {
    const known = study.slices.map(({ SOPInstanceUID }) => [CT_IMAGE_STORAGE, SOPInstanceUID]);
    const { Path } = await ask<{ Path: string }>('/modalities/nephos/storage-commitment', {
      DicomInstances: [...known, [CT_IMAGE_STORAGE, '1.2.3.4']],
    });
    interface Report {
      readonly Status: string;
      readonly Success: unknown[];
      readonly Failures: { SOPInstanceUID: string }[];
    }
    let report = await get<Report>(Path);
    for (let i = 0; i < 4_000 && report.Status === 'Pending'; i++) {
      await sleep(50);
      report = await get<Report>(Path);
    }
    expect(report.Status).toBe('Failure');
    expect(report.Success).toHaveLength(10);
    expect(report.Failures.map(({ SOPInstanceUID }) => SOPInstanceUID)).toEqual(['1.2.3.4']);
  });

  test('C-FIND and C-MOVE: Orthanc finds the study and gets it back', async () => {
    for (const id of await get<string[]>('/studies')) await ask(`/studies/${id}`, undefined, 'DELETE');
    expect(await get<string[]>('/instances')).toEqual([]);
    const query = { Level: 'Study', Query: { StudyInstanceUID: study.StudyInstanceUID, PatientName: '' } };
    const { ID } = await ask<{ ID: string }>('/modalities/nephos/query', query);
    expect(await get<string[]>(`/queries/${ID}/answers`)).toHaveLength(1);
    await ask(`/queries/${ID}/retrieve`, { TargetAet: 'ORTHANC', Synchronous: true });
    expect(await get<string[]>('/instances')).toHaveLength(10);
  });
});
