import { generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { type AuditSigner, sealAudit, segmentPrefix } from '#core/audit/seal.ts';
import { AuditTrail } from '#core/audit/trail.ts';
import { verifySegments } from '#core/audit/verify.ts';
import { memoryServices } from '#test/fixtures/services.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const signer: AuditSigner = { keyId: 'the-archives', sign: async (bytes) => signBytes(null, bytes, privateKey) };
const keys = new Map([['the-archives', publicKey]]);

test('one tenant’s trail does not pass for another’s, though the same key has signed both', async () => {
  const services = memoryServices();
  const trail = new AuditTrail(services);
  const segmentsOf = async (tenant: string): Promise<string[]> => {
    const act = { event: 'Login', action: 'E', outcome: 0, subject: 'x', roles: [], door: 'http' } as const;
    await trail.record(tenant, { at: services.clock.now(), ...act });
    await sealAudit(services, tenant, signer);
    const segments: string[] = [];
    for await (const { key } of services.blobs.list(segmentPrefix(tenant)))
      segments.push(Buffer.from(await services.blobs.readBytes(key)).toString());
    return segments;
  };
  const [mine, theirs] = [await segmentsOf('mine'), await segmentsOf('theirs')];
  expect(await verifySegments(theirs, { keys })).toMatchObject({ tenant: 'theirs', defect: undefined });
  expect(await verifySegments(mine, { keys, tenant: 'mine' })).toMatchObject({ tenant: 'mine', defect: undefined });
  expect((await verifySegments(theirs, { keys, tenant: 'mine' })).defect).toEqual({
    kind: 'segmentAltered',
    segment: 0,
  });
});
