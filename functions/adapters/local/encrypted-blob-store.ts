import { createHash } from 'node:crypto';
import { UPLOADS } from '#core/archive/transaction-parts.ts';
import { PacsError } from '#core/errors.ts';
import { giveBack } from '#core/lent-bytes.ts';
import type { Availability, BlobInfo, BlobStore, ByteRange, PutOptions, ReadOptions } from '#core/ports/blob-store.ts';
import { blobNotFound, checkBlobKey, checkSha256, resolveRange, sha256Of } from '../blob-rules.ts';
import { readMemory } from './read-memory.ts';
import {
  CHUNK_BYTES,
  chunkCount,
  damaged,
  HEADER_BYTES,
  type NamedKey,
  newKey,
  openChunk,
  plainSize,
  readSlot,
  SEALED_CHUNK_BYTES,
  SLOT_BYTES,
  sealChunk,
  slotKeyId,
  writeSlot,
} from './sealed-format.ts';

/** Keys of tenants; the tenant is a blob key's first segment, or the one behind that of parts on their way in. */
export interface TenantKeys {
  /** The key for new objects, made where there is none. @throws PacsError GONE when the tenant's keys were destroyed */
  current(tenant: string): Promise<NamedKey>;
  find(tenant: string, id: string): Promise<NamedKey | undefined>;
}

/** A store whose blobs' headers can be written anew in place, as a change of keys needs it. */
export interface RewritableBlobStore extends BlobStore {
  /** Durable when it resolves. Never changes the size. @throws PacsError NOT_FOUND */
  overwrite(key: string, offset: number, bytes: Uint8Array): Promise<void>;
}

interface Opened {
  readonly dataKey: Buffer;
  readonly chunks: number;
  readonly start: number;
  readonly end: number;
}

/**
 * Any BlobStore, encrypted: each object with a random key of its own (sealed-format.ts), that key with its tenant's. A ranged read reads
 * and decrypts the chunks it touches. Sizes and SHA-256 are those of the plaintext. What does not authenticate is refused as damaged.
 */
export class EncryptedBlobStore implements BlobStore {
  readonly #inner: BlobStore;
  readonly #keys: TenantKeys;

  constructor(inner: BlobStore, keys: TenantKeys) {
    this.#inner = inner;
    this.#keys = keys;
  }

  async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<BlobInfo> {
    checkBlobKey(key);
    options.visibleAfter?.catch(() => {}); // the inner store awaits it; until then its failure is nobody's
    const dataKey = newKey();
    const slot = writeSlot(await this.#keys.current(tenantOf(key)), dataKey, key);
    const { visibleAfter } = options;
    const inner: PutOptions = visibleAfter === undefined ? {} : { visibleAfter };
    if (body instanceof Uint8Array) {
      const sha256 = sha256Of(body);
      checkSha256(options.sha256, sha256);
      await this.#inner.put(key, sealedWhole(slot, dataKey, body), inner);
      return { key, size: body.length, sha256 };
    }
    const hash = createHash('sha256');
    let size = 0;
    let sha256 = '';
    async function* counted(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      for await (const bytes of source) {
        hash.update(bytes);
        size += bytes.length;
        yield bytes;
      }
      sha256 = hash.digest('hex');
      checkSha256(options.sha256, sha256); // before the inner store has its last chunk: nothing becomes visible
    }
    await this.#inner.put(key, sealedStream(slot, dataKey, counted(body)), inner);
    return { key, size, sha256 };
  }

  async *read(key: string, range?: ByteRange): AsyncIterable<Uint8Array> {
    const opened = await this.#open(key, range);
    const { first, range: stored } = touched(opened);
    let chunk = first;
    let pending: Uint8Array = new Uint8Array(0);
    for await (const piece of this.#inner.read(key, stored)) {
      pending = pending.length === 0 ? piece : Buffer.concat([pending, piece]);
      for (; pending.length >= SEALED_CHUNK_BYTES; chunk++) {
        const plain = clipped(opened, chunk, pending.subarray(0, SEALED_CHUNK_BYTES), key);
        pending = pending.subarray(SEALED_CHUNK_BYTES);
        if (plain.length > 0) yield plain;
      }
    }
    if (pending.length === 0) return;
    const plain = clipped(opened, chunk, pending, key);
    if (plain.length > 0) yield plain;
  }

  async readBytes(key: string, range?: ByteRange, { lent = false }: ReadOptions = {}): Promise<Uint8Array> {
    const opened = await this.#open(key, range);
    const { first, range: stored } = touched(opened);
    // Only we see what is sealed, and not for longer than this.
    const sealed = await this.#inner.readBytes(key, stored, { lent: true });
    const length = opened.end - opened.start;
    const plain = lent ? readMemory.lent(length) : Buffer.allocUnsafeSlow(length);
    for (let at = 0, chunk = first, to = 0; at < sealed.length; at += SEALED_CHUNK_BYTES, chunk++) {
      const bytes = clipped(opened, chunk, sealed.subarray(at, at + SEALED_CHUNK_BYTES), key);
      plain.set(bytes, to);
      to += bytes.length;
    }
    giveBack(sealed);
    return plain;
  }

  async head(key: string): Promise<{ readonly key: string; readonly size: number } | undefined> {
    const found = await this.#inner.head(key);
    return found && { key, size: plainSize(found.size) };
  }

  async *list(prefix: string, after?: string): AsyncIterable<{ readonly key: string; readonly size: number }> {
    for await (const { key, size } of this.#inner.list(prefix, after)) yield { key, size: plainSize(size) };
  }

  delete(key: string): Promise<void> {
    return this.#inner.delete(key);
  }

  availability(key: string): Promise<Availability | undefined> {
    return this.#inner.availability(key);
  }

  restore(key: string): Promise<Availability> {
    return this.#inner.restore(key);
  }

  async #open(key: string, range: ByteRange | undefined): Promise<Opened> {
    const found = await this.#inner.head(key);
    if (found === undefined) throw blobNotFound(key);
    const { start, end } = resolveRange(range, plainSize(found.size));
    const chunks = chunkCount(found.size);
    if (chunks === 0) throw damaged(key);
    const header = Buffer.from(await this.#inner.readBytes(key, { offset: 0, length: HEADER_BYTES }));
    const { dataKey } = await openHeader(this.#keys, key, header);
    return { dataKey, chunks, start, end };
  }
}

/**
 * Seals the object's key with its tenant's current key, in the slot that does not hold it now: at every moment one slot is whole.
 * @returns whether there was anything to do
 * @throws PacsError as reading does
 */
export async function rewrapBlob(store: RewritableBlobStore, keys: TenantKeys, key: string): Promise<boolean> {
  const current = await keys.current(tenantOf(key));
  const header = Buffer.from(await store.readBytes(key, { offset: 0, length: HEADER_BYTES }));
  const { dataKey, slot, id } = await openHeader(keys, key, header);
  if (id === current.id) return false;
  await store.overwrite(key, (1 - slot) * SLOT_BYTES, writeSlot(current, dataKey, key));
  return true;
}

/** Of two slots that can be read, the one under the current key. @throws PacsError INTERNAL; GONE when no key of either is left */
async function openHeader(
  keys: TenantKeys,
  blobKey: string,
  header: Buffer,
): Promise<{ readonly dataKey: Buffer; readonly slot: number; readonly id: string }> {
  const tenant = tenantOf(blobKey);
  let found: { readonly dataKey: Buffer; readonly slot: number; readonly id: string } | undefined;
  let cause: unknown;
  let unknown = false;
  for (const slot of [0, 1]) {
    const bytes = header.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES);
    const id = slotKeyId(bytes);
    if (id === undefined) continue;
    const tenantKey = await keys.find(tenant, id);
    if (tenantKey === undefined) {
      unknown = true;
      continue;
    }
    try {
      const dataKey = readSlot(bytes, tenantKey, blobKey);
      if (found === undefined || (await keys.current(tenant)).id === id) found = { dataKey, slot, id };
    } catch (error) {
      cause = error;
    }
  }
  if (found) return found;
  if (!unknown || cause !== undefined) throw damaged(blobKey, cause);
  throw new PacsError('GONE', 'the key of the object has been destroyed', { details: { key: blobKey } });
}

/** What all blobs of a tenant begin with. */
export const prefixesOf = (tenant: string): string[] => [`${tenant}/`, `${UPLOADS}${tenant}/`];

const tenantOf = (key: string): string => (key.startsWith(UPLOADS) ? key.slice(UPLOADS.length) : key).split('/', 1)[0]!;

/** Where the chunks of a range stand. An empty range still has one read: what cannot be read is not to pass for empty. */
function touched({ chunks, start, end }: Opened): { readonly first: number; readonly range: ByteRange } {
  const first = Math.min(Math.floor(start / CHUNK_BYTES), chunks - 1);
  const last = Math.max(first, Math.ceil(end / CHUNK_BYTES) - 1);
  const offset = HEADER_BYTES + first * SEALED_CHUNK_BYTES;
  // The last chunk is as long as what is left of the blob.
  if (last === chunks - 1) return { first, range: { offset } };
  return { first, range: { offset, length: (last + 1 - first) * SEALED_CHUNK_BYTES } };
}

/** The part of a chunk's plaintext that the range wants. @throws PacsError INTERNAL */
function clipped({ dataKey, chunks, start, end }: Opened, chunk: number, sealed: Uint8Array, key: string): Buffer {
  let plain: Buffer;
  try {
    plain = openChunk(dataKey, chunk, chunk === chunks - 1, sealed);
  } catch (error) {
    throw damaged(key, error);
  }
  const at = chunk * CHUNK_BYTES;
  return plain.subarray(Math.max(0, start - at), Math.max(0, end - at));
}

function sealedWhole(slot: Buffer, dataKey: Buffer, plain: Uint8Array): Buffer {
  const parts: Uint8Array[] = [slot, Buffer.alloc(SLOT_BYTES)];
  const chunks = Math.max(1, Math.ceil(plain.length / CHUNK_BYTES));
  for (let chunk = 0; chunk < chunks; chunk++) {
    const bytes = plain.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
    parts.push(...sealChunk(dataKey, chunk, chunk === chunks - 1, bytes));
  }
  return Buffer.concat(parts);
}

/** A chunk goes out when it is known whether another follows. */
async function* sealedStream(
  slot: Buffer,
  dataKey: Buffer,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield slot;
  yield Buffer.alloc(SLOT_BYTES);
  const gathered = Buffer.allocUnsafe(CHUNK_BYTES);
  let length = 0;
  let chunk = 0;
  for await (const bytes of source) {
    for (let at = 0; at < bytes.length; ) {
      if (length === CHUNK_BYTES) {
        yield* sealChunk(dataKey, chunk++, false, gathered);
        length = 0;
      }
      const taken = Math.min(CHUNK_BYTES - length, bytes.length - at);
      gathered.set(bytes.subarray(at, at + taken), length);
      length += taken;
      at += taken;
    }
  }
  yield* sealChunk(dataKey, chunk, true, gathered.subarray(0, length));
}
