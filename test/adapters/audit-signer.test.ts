import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { auditKeysFolder, openAuditSigner, readAuditKeys } from '#adapters/local/audit-signer.ts';
import { sealAudit, segmentPrefix } from '#core/audit/seal.ts';
import { AuditTrail } from '#core/audit/trail.ts';
import { verifySegments } from '#core/audit/verify.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nephos-audit-'));
});
afterEach(() => rm(folder, { recursive: true }));

test('processes that start together sign with one key, which only its owner can read', async () => {
  const signers = await Promise.all(Array.from({ length: 8 }, () => openAuditSigner(folder)));
  expect(new Set(signers.map(({ keyId }) => keyId)).size).toBe(1);
  expect((await stat(join(folder, 'audit-key.pem'))).mode & 0o777).toBe(0o600);
  expect([...(await readAuditKeys(auditKeysFolder(folder))).keys()]).toEqual([signers[0]!.keyId]);
});

test('what it signed is checked with the public keys alone, after the key was changed too', async () => {
  const services = memoryServices();
  const trail = new AuditTrail(services);
  const act = { at: 1, event: 'Login', action: 'E', outcome: 0, subject: 'a', roles: [], door: 'http' } as const;
  for (let i = 0; i < 2; i++) {
    await trail.record(TENANT, act);
    await sealAudit(services, TENANT, await openAuditSigner(folder));
    await rm(join(folder, 'audit-key.pem'));
  }
  const segments: string[] = [];
  for await (const { key } of services.blobs.list(segmentPrefix(TENANT)))
    segments.push(Buffer.from(await services.blobs.readBytes(key)).toString());
  const keys = await readAuditKeys(auditKeysFolder(folder));
  expect(keys.size).toBe(2);
  expect(await verifySegments(segments, { keys })).toMatchObject({ segments: 2, entries: 2, defect: undefined });
  expect((await verifySegments(segments, { keys: new Map([...keys].slice(0, 1)) })).defect?.kind).toBe('unknownKey');
});
