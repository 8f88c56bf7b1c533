/** Digest fields (RFC 9530): the SHA-256 of a representation, as structured fields have it: `sha-256=:base64:`. */
export const reprDigest = (sha256: string): string => `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`;

/** Lower-case hex of the SHA-256 in a Repr-Digest or Content-Digest field; undefined where there is none that can be read. */
export function sha256In(field: string | undefined): string | undefined {
  const base64 = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/i.exec(field ?? '')?.[1];
  return base64 === undefined ? undefined : Buffer.from(base64, 'base64').toString('hex');
}
