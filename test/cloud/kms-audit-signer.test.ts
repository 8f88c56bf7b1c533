import { createPublicKey, verify } from 'node:crypto';
import { CreateKeyCommand, GetPublicKeyCommand } from '@aws-sdk/client-kms';
import { CreateSecretCommand } from '@aws-sdk/client-secrets-manager';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keyIdOf } from '#adapters/audit-key-id.ts';
import { kmsClient, secretsClient } from '#adapters/aws/clients.ts';
import { KmsAuditSigner } from '#adapters/aws/kms-audit-signer.ts';
import { readSecret } from '#adapters/aws/secret.ts';
import { ENGINE_IDENTITY, type Engine, startMiniStack } from './helpers/engines.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await startMiniStack();
});
afterAll(() => engine?.stop());

test('a key of KMS signs what its public key proves', async () => {
  const client = kmsClient({ ...ENGINE_IDENTITY, endpoint: engine.endpoint });
  const { KeyMetadata } = await client.send(
    new CreateKeyCommand({ KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' }),
  );
  const arn = KeyMetadata!.Arn!;
  const signer = await KmsAuditSigner.open(client, arn);
  const { PublicKey } = await client.send(new GetPublicKeyCommand({ KeyId: arn }));
  const key = createPublicKey({ key: Buffer.from(PublicKey!), format: 'der', type: 'spki' });
  expect(signer.keyId).toBe(keyIdOf(key));
  const statement = Buffer.from('{"tenant":"main","segment":0}');
  const signature = await signer.sign(statement);
  expect(verify('sha256', statement, key, signature)).toBe(true);
  expect(verify('sha256', Buffer.from('{"tenant":"main","segment":1}'), key, signature)).toBe(false);
  await expect(signer.sign(new Uint8Array(5_000))).rejects.toMatchObject({ code: 'TOO_LARGE' });
  await expect(KmsAuditSigner.open(client, 'arn:aws:kms:us-east-1:000000000000:key/none')).rejects.toMatchObject({
    code: 'BUSY',
  });
});

test('the certificates for a repository are read from a secret', async () => {
  const client = secretsClient({ ...ENGINE_IDENTITY, endpoint: engine.endpoint });
  const made = await client.send(new CreateSecretCommand({ Name: 'nephos-atna', SecretString: '{"ca":"x"}' }));
  expect(await readSecret(client, made.ARN!)).toBe('{"ca":"x"}');
  await expect(readSecret(client, 'no-such-secret')).rejects.toMatchObject({ code: 'BUSY' });
});
