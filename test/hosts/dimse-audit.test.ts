import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AuditEntry } from '#core/audit/entry.ts';
import { auditPartition } from '#core/audit/trail.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { associate, contextOf, proposing, type RemoteEntity, sendFind, sendObject, sendRetrieve } from '#dimse/scu.ts';
import { STUDY_ROOT_FIND, STUDY_ROOT_MOVE } from '#dimse/sop-classes.ts';
import { type Archive, openArchive } from '#embedded/archive.ts';
import { readConfig } from '#embedded/config.ts';
import { type DicomHost, listenDicom } from '#embedded/dicom-host.ts';
import { createLog } from '#embedded/log.ts';
import { buildDicom, CT_IMAGE_STORAGE, EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';

let dataDir: string;
let archive: Archive;
let host: DicomHost;
let remote: RemoteEntity;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'nephos-dimse-audit-'));
  const config = readConfig({
    NEPHOS_DATA_DIR: dataDir,
    NEPHOS_DICOM_PORT: '0',
    NEPHOS_DICOM_ALLOWED_AES: 'CT1,CT2=store',
    NEPHOS_DICOM_DESTINATIONS: 'GONE@127.0.0.1:1',
  });
  archive = await openArchive(config);
  host = await listenDicom(
    archive.services,
    config,
    createLog('error', () => {}),
  );
  remote = { aeTitle: 'NEPHOS', host: '127.0.0.1', port: host.port! };
});
afterAll(async () => {
  await host.close();
  await archive.close();
  await rm(dataDir, { recursive: true });
});

const session = (callingAETitle: string) =>
  associate(remote, {
    callingAETitle,
    contexts: proposing(
      [CT_IMAGE_STORAGE, [EXPLICIT_LE]],
      [STUDY_ROOT_FIND, [EXPLICIT_LE]],
      [STUDY_ROOT_MOVE, [EXPLICIT_LE]],
    ),
  });

const entries = async (): Promise<AuditEntry[]> => {
  const { records } = await archive.services.index.query({ partition: auditPartition('main'), log: true, limit: 1000 });
  return records.map(({ item }) => JSON.parse(item.line as string));
};

test('what AE titles do, and what they are refused, is recorded by who, from where, what and how it ended', async () => {
  const sender = await session('CT1');
  for (let n = 0; n < 3; n++) {
    const bytes = buildDicom({ SOPInstanceUID: uid(10 + n), PatientName: 'Doe^Jane' });
    const { dataSetOffset } = scanPart10(bytes, DEFAULT_LIMITS);
    const context = contextOf(sender, CT_IMAGE_STORAGE);
    expect((await sendObject(sender, context, uid(10 + n), bytes.subarray(dataSetOffset))).status).toBe(0);
  }
  const query: DataSet = {
    '00080052': { vr: 'CS', Value: ['STUDY'] },
    '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe*' }] },
    '0020000D': { vr: 'UI' },
  };
  expect(await sendFind(sender, STUDY_ROOT_FIND, query, () => {})).toBe(0);
  const study: DataSet = { '00080052': { vr: 'CS', Value: ['STUDY'] }, '0020000D': { vr: 'UI', Value: [uid(1)] } };
  expect((await sendRetrieve(sender, STUDY_ROOT_MOVE, study, { destination: 'GONE' })).failed).toBe(3);
  await sender.release();
  const storeOnly = await session('CT2');
  expect(await sendFind(storeOnly, STUDY_ROOT_FIND, query, () => {})).toBe(0x0124);
  await storeOnly.release();
  const ofCt1 = { subject: 'CT1', from: '127.0.0.1', door: 'dicom' };
  const recorded = await entries();
  expect(recorded).toMatchObject([
    { ...ofCt1, event: 'InstancesTransferred', action: 'C', outcome: 0, studies: [uid(1)], instances: 1 },
    { ...ofCt1, event: 'Query', outcome: 0, keys: ['QueryRetrieveLevel', 'PatientName'] },
    { ...ofCt1, event: 'InstancesAccessed', transaction: 'C-MOVE', outcome: 4, destination: 'GONE', studies: [uid(1)] },
    { subject: 'CT2', event: 'Query', outcome: 4, error: 'FORBIDDEN' },
  ]);
  expect(JSON.stringify(recorded)).not.toContain('Doe');
  await archive.services.audit.flush(true);
  expect((await entries()).at(-1)).toMatchObject({ event: 'InstancesTransferred', repeated: 2, instances: 2 });
});
