import type { Availability, BlobInfo, BlobStore, ByteRange, PackedBlobs, PutOptions } from '#core/ports/blob-store.ts';
import {
  blobArchived,
  blobExists,
  blobNotFound,
  CHUNK_LIMIT_BYTES,
  checkBlobKey,
  checkSha256,
  resolveRange,
  sha256Of,
} from '../blob-rules.ts';

/** The readable reference of the contract in core/ports/blob-store.ts. */
export class MemoryBlobStore implements BlobStore {
  readonly #blobs = new Map<string, Uint8Array>();
  /** what lies on slow media: OFFLINE until somebody asks for it, then NEARLINE until the restore is over */
  readonly #archived = new Map<string, 'OFFLINE' | 'NEARLINE'>();

  readonly packed?: PackedBlobs;

  /** @param packedAt with this clock there is a `packed`, and the archive stores small objects in its way */
  constructor({ packedAt }: { readonly packedAt?: { now(): number } } = {}) {
    if (packedAt) this.packed = this.#packed(packedAt);
  }

  #packed(clock: { now(): number }): PackedBlobs {
    /** with the time of the append */
    const unsettled = new Map<string, number>();
    const limitBytes = 2 * 1024 * 1024;
    return {
      limitBytes,
      append: async (key, bytes, options = {}) => {
        const dot = key.lastIndexOf('.');
        const info = await this.put(`${key.slice(0, dot)}.packed-1${key.slice(dot)}`, bytes, options);
        unsettled.set(info.key, clock.now());
        return info;
      },
      settled: (key) => void unsettled.delete(key),
      async *unsettled(olderThanMs, now) {
        for (const [key, since] of [...unsettled]) {
          if (since > now - olderThanMs) continue;
          yield key;
          unsettled.delete(key);
        }
      },
    };
  }

  async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<BlobInfo> {
    checkBlobKey(key);
    options.visibleAfter?.catch(() => {}); // awaited below; until then its failure is nobody's
    if (this.#blobs.has(key)) throw blobExists(key);
    const bytes = body instanceof Uint8Array ? new Uint8Array(body) : await gathered(body);
    const sha256 = sha256Of(bytes);
    checkSha256(options.sha256, sha256);
    await options.visibleAfter;
    if (this.#blobs.has(key)) throw blobExists(key); // another put won while the source was read
    this.#blobs.set(key, bytes);
    return { key, size: bytes.length, sha256 };
  }

  async *read(key: string, range?: ByteRange): AsyncIterable<Uint8Array> {
    const bytes = await this.readBytes(key, range);
    for (let at = 0; at < bytes.length; at += CHUNK_LIMIT_BYTES) yield bytes.subarray(at, at + CHUNK_LIMIT_BYTES);
  }

  async readBytes(key: string, range?: ByteRange): Promise<Uint8Array> {
    checkBlobKey(key);
    const bytes = this.#blobs.get(key);
    if (bytes === undefined) throw blobNotFound(key);
    if (this.#archived.has(key)) throw blobArchived(key);
    const { start, end } = resolveRange(range, bytes.length);
    return bytes.slice(start, end);
  }

  async head(key: string): Promise<{ readonly key: string; readonly size: number } | undefined> {
    checkBlobKey(key);
    const bytes = this.#blobs.get(key);
    return bytes && { key, size: bytes.length };
  }

  async *list(prefix: string, after = ''): AsyncIterable<{ readonly key: string; readonly size: number }> {
    // keys are ASCII: the order of UTF-16 units is the order of bytes
    const keys = [...this.#blobs.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    for (const key of keys) {
      const size = this.#blobs.get(key)?.length;
      if (size !== undefined) yield { key, size };
    }
  }

  async delete(key: string): Promise<void> {
    checkBlobKey(key);
    this.#blobs.delete(key);
    this.#archived.delete(key);
  }

  async availability(key: string): Promise<Availability | undefined> {
    checkBlobKey(key);
    return this.#blobs.has(key) ? (this.#archived.get(key) ?? 'ONLINE') : undefined;
  }

  async restore(key: string): Promise<Availability> {
    const now = await this.availability(key);
    if (now === undefined) throw blobNotFound(key);
    if (now === 'OFFLINE') this.#archived.set(key, 'NEARLINE');
    return now === 'OFFLINE' ? 'NEARLINE' : now;
  }

  /** by key, as they were set */
  readonly tiers = new Map<string, string>();

  async setTier(key: string, tier: string): Promise<void> {
    checkBlobKey(key);
    if (!this.#blobs.has(key)) throw blobNotFound(key);
    this.tiers.set(key, tier);
  }

  /** The switch for tests: moves the blobs under a prefix to slow media, as a store's own rules would. */
  archive(prefix: string): void {
    for (const key of this.#blobs.keys()) if (key.startsWith(prefix)) this.#archived.set(key, 'OFFLINE');
  }

  /** Ends the restores that are under way. */
  finishRestores(): void {
    for (const [key, state] of this.#archived) if (state === 'NEARLINE') this.#archived.delete(key);
  }
}

async function gathered(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(new Uint8Array(chunk));
  return new Uint8Array(Buffer.concat(chunks));
}
