import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AuditEntry } from '#core/audit/entry.ts';
import { openArchive } from '#embedded/archive.ts';
import { readConfig } from '#embedded/config.ts';
import { auditEvents } from '#test/fixtures/audit-events.ts';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';

/** What is done at the machine itself: import, export, backup, tokens, keys. Whoever may do it needs no session, and leaves a trace all the same. */
let dir: string;
let data: string;
let env: Record<string, string> = {};
const SUBJECT = `${userInfo().username}@command-line`;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-commands-'));
  data = join(dir, 'data');
  for (const n of [1, 2, 3]) {
    await mkdir(join(dir, 'cd'), { recursive: true });
    const object = buildDicom({
      StudyInstanceUID: uid(n < 3 ? 1 : 2),
      SOPInstanceUID: uid(100 + n),
      PatientID: 'PAT-7',
    });
    await writeFile(join(dir, 'cd', `${n}.dcm`), object);
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const run = (...args: string[]): Promise<{ code: number; output: string }> =>
  new Promise((resolve) => {
    const options = { env: { ...bareEnvironment, NEPHOS_DATA_DIR: data, ...env } };
    execFile(process.execPath, ['functions/embedded/cli.ts', ...args], options, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr }),
    );
  });
const nephos = async (...args: string[]): Promise<string> => {
  const { code, output } = await run(...args);
  expect(code, output).toBe(0);
  return output;
};

/** What the trail says since it was asked last. */
let seen = 0;
async function trail(): Promise<AuditEntry[]> {
  const archive = await openArchive(readConfig({ NEPHOS_DATA_DIR: data, ...env }));
  try {
    const entries = await auditEvents(archive.services, 'main');
    const fresh = entries.slice(seen);
    seen = entries.length;
    return fresh;
  } finally {
    await archive.close();
  }
}

test('every command that takes something in, gives something out, or changes who may do what is in the trail, by the account of who did it', async () => {
  const by = { subject: SUBJECT, door: 'command', outcome: 0 };
  await nephos('import', join(dir, 'cd'));
  const imported = await trail();
  expect(imported).toHaveLength(3);
  expect(imported).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ ...by, event: 'DataImport', action: 'C', studies: [uid(1)], instances: 1 }),
      expect.objectContaining({ ...by, event: 'DataImport', action: 'C', studies: [uid(2)], instances: 1 }),
      expect.objectContaining({ ...by, event: 'DataImport', action: 'C', studies: [uid(1)], repeated: 1 }),
    ]),
  );

  await nephos('export', uid(1), '--to', join(dir, 'out'));
  expect(await trail()).toMatchObject([
    { ...by, event: 'DataExport', action: 'R', transaction: 'ExportStudy', studies: [uid(1)], instances: 1 },
    { ...by, event: 'DataExport', action: 'R', transaction: 'ExportStudy', studies: [uid(1)], repeated: 1 },
  ]);

  const token = /nephos_\S+/.exec(await nephos('token'))![0];
  await nephos('token', '--gateway', 'north');
  await nephos('audit', 'export', '--to', join(dir, 'audit'));
  await nephos('backup', '--to', join(dir, 'backup'));
  const told = await trail();
  expect(told).toMatchObject([
    { ...by, event: 'UserSecurityAttributes', action: 'U', transaction: 'RenewToken', about: 'bootstrap' },
    { ...by, event: 'UserSecurityAttributes', action: 'U', transaction: 'RenewToken', about: 'north' },
    { ...by, event: 'AuditLogUsed', action: 'R', transaction: 'ExportAuditTrail' },
    { ...by, event: 'DataExport', action: 'R', transaction: 'BackUp' },
  ]);
  await nephos('rebuild');
  expect(await trail()).toMatchObject([
    { ...by, event: 'SecurityConfiguration', action: 'U', transaction: 'RebuildIndex', instances: 3 },
  ]);
  expect(JSON.stringify([...imported, ...told])).not.toMatch(new RegExp(`PAT-7|${token}|${dir}`));
  // And it proves whole.
  await nephos('audit', 'verify');
});

test('so are keys that are rotated, and a tenant that is forgotten, before that is done', async () => {
  data = join(dir, 'encrypted');
  seen = 0;
  const keyFile = join(dir, 'master.key');
  await nephos('keys', 'new', '--to', keyFile);
  env = { NEPHOS_ENCRYPTION_KEY_FILE: keyFile };
  await nephos('import', join(dir, 'cd'));
  await trail();
  await nephos('keys', 'rotate');
  await nephos('keys', 'rotate', 'main');
  expect((await run('keys', 'shred', 'main')).code).toBe(2);
  await nephos('keys', 'shred', 'main', '--confirm', 'main');
  const act = { event: 'SecurityConfiguration', action: 'U', outcome: 0, subject: SUBJECT, door: 'command' };
  expect(await trail()).toMatchObject([
    { ...act, transaction: 'RotateKeys' },
    { ...act, transaction: 'RotateKeys', about: 'main' },
    { ...act, transaction: 'ShredKeys', about: 'main' },
  ]);
});
