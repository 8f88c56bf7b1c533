import type { SecretBox } from '#core/ports/secret-box.ts';
import { seal, unseal } from './sealed-format.ts';

/** AES-256-GCM with one key. @param key base64url of 32 bytes */
export function secretBox(key: string): SecretBox {
  const bytes = Buffer.from(key, 'base64url');
  return {
    seal: (text, context) => seal(bytes, Buffer.from(text), context).toString('base64url'),
    open: (sealed, context) => unseal(bytes, Buffer.from(sealed, 'base64url'), context).toString(),
  };
}
