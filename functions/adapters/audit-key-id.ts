import { createHash, type KeyObject } from 'node:crypto';

/** Names a public key: the first 16 hex digits of the SHA-256 of its SPKI DER. */
export const keyIdOf = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, 16);
