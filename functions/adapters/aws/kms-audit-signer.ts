import { createPublicKey } from 'node:crypto';
import { GetPublicKeyCommand, type KMSClient, SignCommand } from '@aws-sdk/client-kms';
import type { AuditSigner } from '#core/audit/seal.ts';
import { PacsError } from '#core/errors.ts';
import { keyIdOf } from '../audit-key-id.ts';

/**
 * Signs the audit trail with a key of KMS (ECC_NIST_P256, SIGN_VERIFY) that no program ever holds. Who checks the trail takes the public key
 * from KMS, or the copy that he made of it.
 */
export class KmsAuditSigner implements AuditSigner {
  readonly keyId: string;
  readonly #client: KMSClient;
  readonly #keyArn: string;

  private constructor(client: KMSClient, keyArn: string, keyId: string) {
    this.#client = client;
    this.#keyArn = keyArn;
    this.keyId = keyId;
  }

  /** @throws PacsError BUSY where KMS does not give the public key */
  static async open(client: KMSClient, keyArn: string): Promise<KmsAuditSigner> {
    const { PublicKey } = await client.send(new GetPublicKeyCommand({ KeyId: keyArn })).catch(unavailable);
    if (PublicKey === undefined) return unavailable(undefined);
    const key = createPublicKey({ key: Buffer.from(PublicKey), format: 'der', type: 'spki' });
    return new KmsAuditSigner(client, keyArn, keyIdOf(key));
  }

  /** @throws PacsError BUSY; TOO_LARGE for more than KMS signs at once (4,096 bytes) */
  async sign(bytes: Uint8Array): Promise<Uint8Array> {
    if (bytes.length > MESSAGE_BYTES) throw new PacsError('TOO_LARGE', 'a statement is too long to be signed');
    const { Signature } = await this.#client
      .send(
        new SignCommand({
          KeyId: this.#keyArn,
          Message: bytes,
          MessageType: 'RAW',
          SigningAlgorithm: 'ECDSA_SHA_256',
        }),
      )
      .catch(unavailable);
    return Signature ?? unavailable(undefined);
  }
}

const MESSAGE_BYTES = 4_096;

const unavailable = (cause: unknown): never => {
  throw new PacsError('BUSY', 'the key of the audit trail cannot be used', { cause });
};
