import { generateKeyPairSync, sign } from 'node:crypto';
import { GetPublicKeyCommand, type KMSClient, type SignCommand } from '@aws-sdk/client-kms';
import { describe, expect, test } from 'vitest';
import { keyIdOf } from '#adapters/audit-key-id.ts';
import { KmsAuditSigner } from '#adapters/aws/kms-audit-signer.ts';
import type { AuditMessage } from '#core/audit/export.ts';
import { AuditExport } from '#core/audit/export.ts';
import { segmentPrefix } from '#core/audit/seal.ts';
import { verifyAudit, verifySegments } from '#core/audit/verify.ts';
import { keepTrail } from '#lambda/audit-work.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ARN = 'arn:aws:kms:eu-west-1:123456789012:key/7e5c';

/** KMS as far as it goes here: it holds the key, and signs what is short enough. */
class FakeKms {
  isAway = false;
  async send(command: GetPublicKeyCommand | SignCommand): Promise<object> {
    if (this.isAway) throw new Error('KMSInternalException');
    expect(command.input.KeyId).toBe(ARN);
    if (command instanceof GetPublicKeyCommand) return { PublicKey: publicKey.export({ type: 'spki', format: 'der' }) };
    const { Message, MessageType, SigningAlgorithm } = command.input;
    expect([MessageType, SigningAlgorithm]).toEqual(['RAW', 'ECDSA_SHA_256']);
    return { Signature: sign('sha256', Message!, privateKey) };
  }
}

async function aCloud() {
  const services = memoryServices({ limits: { auditSegmentEntries: 10 } });
  const record = (n: number) =>
    services.audit.record(TENANT, {
      at: services.clock.now() + n,
      event: 'Query',
      action: 'E',
      outcome: 0,
      subject: `reader-${n}`,
      roles: [],
      door: 'http',
    });
  for (let n = 0; n < 25; n++) await record(n);
  const kms = new FakeKms();
  const signer = await KmsAuditSigner.open(kms as unknown as KMSClient, ARN);
  return { services, record, kms, signer };
}
const keys = { keys: new Map([[keyIdOf(publicKey), publicKey]]) };
const never = () => false;

describe('the trail in the cloud', () => {
  test('is sealed with a key of KMS, and proves whole to whoever has its public key', async () => {
    const { services, signer } = await aCloud();
    expect(await keepTrail(services, { signer, exporter: undefined }, TENANT, never)).toEqual({
      segments: 3,
      sent: 0,
      lagMs: 0,
    });
    expect(await verifyAudit(services, TENANT, keys)).toMatchObject({ segments: 3, entries: 25, defect: undefined });
    const texts: string[] = [];
    for await (const { key } of services.blobs.list(segmentPrefix(TENANT)))
      texts.push(Buffer.from(await services.blobs.readBytes(key)).toString());
    texts[1] = texts[1]!.replace('reader-13', 'reader-99');
    expect(await verifySegments(texts, keys)).toMatchObject({ defect: { kind: 'altered', segment: 1, entry: 3 } });
  });

  test('is handed over as well where there is a repository; one that is away fails the run, and what is sealed stays so', async () => {
    const { services, record, signer } = await aCloud();
    const taken: AuditMessage[] = [];
    let isAway = true;
    const repository = {
      async deliver(messages: readonly AuditMessage[]) {
        if (isAway) throw new Error('away');
        taken.push(...messages);
      },
    };
    const source = { id: 'nephos', aeTitle: 'NEPHOS' };
    const work = () => ({ signer, exporter: new AuditExport(services, repository, source) });
    await expect(keepTrail(services, work(), TENANT, never)).rejects.toThrow('away');
    expect(await verifyAudit(services, TENANT, keys)).toMatchObject({ segments: 3 });
    isAway = false;
    services.clock.advance(1_000);
    await record(25);
    // Another sandbox, at once: the first has let go.
    expect(await keepTrail(services, work(), TENANT, never)).toEqual({ segments: 1, sent: 26, lagMs: 0 });
    expect(taken).toHaveLength(26);
  });

  test('waits where KMS is away: nothing is sealed by another key, nothing is lost', async () => {
    const { services, kms, signer } = await aCloud();
    kms.isAway = true;
    await expect(keepTrail(services, { signer, exporter: undefined }, TENANT, never)).rejects.toMatchObject({
      code: 'BUSY',
    });
    await expect(KmsAuditSigner.open(kms as unknown as KMSClient, ARN)).rejects.toMatchObject({ code: 'BUSY' });
    kms.isAway = false;
    expect(await keepTrail(services, { signer, exporter: undefined }, TENANT, never)).toMatchObject({ segments: 3 });
  });
});
