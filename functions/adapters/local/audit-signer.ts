import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { AuditSigner } from '#core/audit/seal.ts';
import { keyIdOf } from '../audit-key-id.ts';

const PRIVATE_KEY = 'audit-key.pem';
/** Public keys, of former ones too: `<keyId>.pem`. Who checks the trail elsewhere takes a copy of this folder. */
const PUBLIC_KEYS = 'audit-keys';

/**
 * Signs the audit trail with an Ed25519 key in the data folder, made at the first start and readable by its owner alone. Processes that
 * start together agree on one key: it is linked into place, and the first link wins.
 */
export async function openAuditSigner(dataDir: string): Promise<AuditSigner> {
  const path = join(dataDir, PRIVATE_KEY);
  let pem = await readFile(path, 'utf8').catch(missing);
  if (pem === undefined) {
    const { privateKey } = generateKeyPairSync('ed25519');
    await writeOnce(path, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600);
    pem = await readFile(path, 'utf8');
  }
  const privateKey = createPrivateKey(pem);
  const publicKey = createPublicKey(privateKey);
  const keyId = keyIdOf(publicKey);
  const folder = join(dataDir, PUBLIC_KEYS);
  await mkdir(folder, { recursive: true });
  await writeOnce(join(folder, `${keyId}.pem`), publicKey.export({ type: 'spki', format: 'pem' }).toString(), 0o644);
  return { keyId, sign: async (bytes) => sign(null, bytes, privateKey) };
}

/** The public keys of a folder, by their ids; none where there is no folder: whatever was sealed is then by a key that is not known. */
export async function readAuditKeys(folder: string): Promise<Map<string, KeyObject>> {
  const keys = new Map<string, KeyObject>();
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  for (const name of names) {
    if (!name.endsWith('.pem')) continue;
    const key = createPublicKey(await readFile(join(folder, name)));
    keys.set(keyIdOf(key), key);
  }
  return keys;
}

export const auditKeysFolder = (dataDir: string): string => join(dataDir, PUBLIC_KEYS);

/** Whole or not at all, and only where there is none yet; durable when it resolves. */
async function writeOnce(path: string, text: string, mode: number): Promise<void> {
  const draft = `${path}.${randomBytes(8).toString('hex')}.new`;
  const file = await open(draft, 'w', mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await link(draft, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  await rm(draft);
  const directory = await open(dirname(path));
  await directory.sync();
  await directory.close();
}

function missing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}
