import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import { ConfigError } from '#embedded/config.ts';
import { writeDurably } from '../durable-file.ts';

/**
 * What the gateway is to the archive that it enrolled with. The key was made here and has never been elsewhere; the file is one, so that key
 * and name never come apart, and whoever enrols again replaces both at once.
 */
export interface Identity {
  /** without `/dicomweb`: what tokens got by it are for */
  readonly archive: string;
  readonly clientId: string;
  readonly audience: string;
  /** its id there */
  readonly gateway: string;
  readonly tenant: string;
  /** ms since 1970 */
  readonly enrolledAt: number;
  readonly privateKey: JWK;
}

const FILE = 'identity.json';
const identityFile = (dataDir: string): string => join(dataDir, FILE);

/** undefined: never enrolled. @throws ConfigError where the file cannot be used */
export function readIdentity(dataDir: string): Identity | undefined {
  const path = identityFile(dataDir);
  try {
    const identity = JSON.parse(readFileSync(path, 'utf8')) as Partial<Identity>;
    const { archive, clientId, audience, privateKey } = identity;
    if (typeof archive === 'string' && typeof clientId === 'string' && typeof audience === 'string' && privateKey)
      return identity as Identity;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code !== undefined) throw new ConfigError(`${path} cannot be read: ${code}`);
  }
  throw new ConfigError(`${path} is no identity: enrol again`);
}

export const keepIdentity = (dataDir: string, identity: Identity): Promise<void> =>
  writeDurably(identityFile(dataDir), `${JSON.stringify(identity, null, 2)}\n`);

export async function newKeyPair(): Promise<{ readonly privateKey: JWK; readonly publicKey: JWK }> {
  const pair = await generateKeyPair('ES256', { extractable: true });
  return { privateKey: await exportJWK(pair.privateKey), publicKey: await exportJWK(pair.publicKey) };
}
