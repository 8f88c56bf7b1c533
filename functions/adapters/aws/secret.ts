import { GetSecretValueCommand, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { PacsError } from '#core/errors.ts';

/** The text of a secret, as it is now. @throws PacsError BUSY */
export async function readSecret(client: SecretsManagerClient, SecretId: string): Promise<string> {
  const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId })).catch((cause: unknown) => {
    throw new PacsError('BUSY', 'a secret cannot be read', { cause });
  });
  if (SecretString === undefined) throw new PacsError('BUSY', 'a secret has no text');
  return SecretString;
}
