import { generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { beforeEach, expect, test } from 'vitest';
import { type AuditSigner, sealAudit } from '#core/audit/seal.ts';
import { AuditTrail } from '#core/audit/trail.ts';
import { verifyAudit } from '#core/audit/verify.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

// `nephos audit verify` of an archive that runs called its trail truncated when a server sealed it in between.

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const signer: AuditSigner = { keyId: 'the-clinics', sign: async (bytes) => signBytes(null, bytes, privateKey) };
const keys = { keys: new Map([['the-clinics', publicKey]]) };

let services: ReturnType<typeof memoryServices>;
let trail: AuditTrail;
const record = async (): Promise<void> => {
  services.clock.advance(1_000);
  await trail.record(TENANT, {
    ...{ at: services.clock.now(), event: 'Query', action: 'E', outcome: 0 },
    ...{ subject: 'reader', roles: ['radiologist'], door: 'http' },
  });
};
beforeEach(async () => {
  services = memoryServices();
  trail = new AuditTrail(services);
  await record();
  await sealAudit(services, TENANT, signer);
  await record();
  await record();
});

test('between the look at how far it is sealed, and that at the segments', async () => {
  const { list } = services.blobs;
  services.blobs.list = async function* (prefix) {
    for (let n = 0; n < 2; n++) {
      await sealAudit(services, TENANT, signer);
      await record();
    }
    yield* list.call(services.blobs, prefix);
  };
  expect(await verifyAudit(services, TENANT, keys)).toMatchObject({ segments: 3, entries: 5, defect: undefined });
});

test('behind the look at the segments', async () => {
  const { list } = services.blobs;
  services.blobs.list = async function* (prefix) {
    yield* list.call(services.blobs, prefix);
    await sealAudit(services, TENANT, signer);
    await record();
  };
  expect(await verifyAudit(services, TENANT, keys)).toMatchObject({ segments: 1, entries: 4, defect: undefined });
});

test('and the segment stands there, while the head does not know of it yet', async () => {
  const { write } = services.index;
  services.index.write = async () => {
    throw new Error('killed');
  };
  await expect(sealAudit(services, TENANT, signer)).rejects.toThrow('killed');
  services.index.write = write;
  expect(await verifyAudit(services, TENANT, keys)).toMatchObject({ segments: 2, entries: 3, defect: undefined });
});

test('a head that was put back by more than that is found', async () => {
  const { get } = services.index;
  const before = await get.call(services.index, { partition: `${TENANT}|auditseal`, sort: 'head' });
  for (let n = 0; n < 2; n++) {
    await sealAudit(services, TENANT, signer);
    await record();
  }
  services.index.get = async (key, meter) =>
    key.partition === `${TENANT}|auditseal` ? before : get.call(services.index, key, meter);
  expect((await verifyAudit(services, TENANT, keys)).defect).toMatchObject({ kind: 'truncated', segment: 3 });
});
