import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { PacsError } from '#core/errors.ts';

/**
 * How an encrypted blob lies on the disk: a header of two slots, then chunks.
 *
 * slot (512 bytes, one sector each, so that one can be written while the other holds):
 *   0  8  'NEPHOSE1'          8  8  id of the tenant's key       16 12  nonce
 *  28 32  the object's key, sealed with the tenant's            60 16  tag over it, over the key's id and over the blob's key
 * chunk: up to 65,536 bytes of AES-256-GCM ciphertext and a tag of 16. Its nonce is its number and whether it is the last (the STREAM
 * construction), so chunks cannot change places, be dropped, or come from another object. There is always one, if empty.
 */
export const CHUNK_BYTES = 65_536;
const TAG_BYTES = 16;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;
export const SLOT_BYTES = 512;
export const HEADER_BYTES = 2 * SLOT_BYTES;
export const KEY_ID_BYTES = 8;
const MAGIC = Buffer.from('NEPHOSE1');
const NONCE_BYTES = 12;
const KEY_BYTES = 32;

/** A key, and the id that names it without telling it. */
export interface NamedKey {
  /** 16 lower-case hex digits */
  readonly id: string;
  readonly key: Buffer;
}

export const newKey = (): Buffer => randomBytes(KEY_BYTES);

/** @throws PacsError INTERNAL */
export const damaged = (key: string, cause?: unknown): PacsError =>
  new PacsError('INTERNAL', 'an encrypted blob is damaged or has been altered', { cause, details: { key } });

/** AES-256-GCM of few bytes: nonce, ciphertext, tag. `context` is what the sealed bytes belong to. */
export function seal(key: Buffer, plain: Uint8Array, context: string): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(Buffer.from(context));
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** @throws Error when the key or the context is another, or a bit has changed */
export function unseal(key: Buffer, sealed: Uint8Array, context: string): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(context));
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
}

const slotContext = (id: string, blobKey: string): string => `object ${id} ${blobKey}`;

/** One slot: the object's key under the tenant's, bound to the blob's name. */
export function writeSlot({ id, key }: NamedKey, dataKey: Buffer, blobKey: string): Buffer {
  const sealed = seal(key, dataKey, slotContext(id, blobKey));
  return Buffer.concat([MAGIC, Buffer.from(id, 'hex'), sealed], SLOT_BYTES);
}

/** Id of the tenant's key in a slot; undefined where the slot is empty or is none. */
export function slotKeyId(slot: Buffer): string | undefined {
  return slot.subarray(0, MAGIC.length).equals(MAGIC)
    ? slot.toString('hex', MAGIC.length, MAGIC.length + KEY_ID_BYTES)
    : undefined;
}

/** @throws Error as unseal */
export function readSlot(slot: Buffer, { id, key }: NamedKey, blobKey: string): Buffer {
  const at = MAGIC.length + KEY_ID_BYTES;
  return unseal(key, slot.subarray(at, at + NONCE_BYTES + KEY_BYTES + TAG_BYTES), slotContext(id, blobKey));
}

/** A key serves one object, so a number is nonce enough. */
function chunkNonce(chunk: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeUIntBE(chunk, 5, 6);
  nonce[NONCE_BYTES - 1] = last ? 1 : 0;
  return nonce;
}

export function sealChunk(dataKey: Buffer, chunk: number, last: boolean, plain: Uint8Array): Buffer[] {
  const cipher = createCipheriv('aes-256-gcm', dataKey, chunkNonce(chunk, last));
  const text = cipher.update(plain);
  cipher.final();
  return [text, cipher.getAuthTag()];
}

/** @throws Error when it is not that chunk, whole and unaltered */
export function openChunk(dataKey: Buffer, chunk: number, last: boolean, sealed: Uint8Array): Buffer {
  if (sealed.length < TAG_BYTES) throw new Error('a chunk is shorter than its tag');
  const nonce = chunkNonce(chunk, last);
  const decipher = createDecipheriv('aes-256-gcm', dataKey, nonce, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  const plain = decipher.update(sealed.subarray(0, -TAG_BYTES));
  decipher.final(); // before any of it is handed on
  return plain;
}

/** Chunks of a blob that takes `storedBytes`; 0 when it is too short to be one. */
export const chunkCount = (storedBytes: number): number =>
  storedBytes < HEADER_BYTES + TAG_BYTES ? 0 : Math.ceil((storedBytes - HEADER_BYTES) / SEALED_CHUNK_BYTES);

/** Bytes of the plaintext; a blob that is too short to be one has none, and reading it fails. */
export const plainSize = (storedBytes: number): number =>
  Math.max(0, storedBytes - HEADER_BYTES - chunkCount(storedBytes) * TAG_BYTES);
