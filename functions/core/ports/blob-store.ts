/**
 * BlobStore — where the received bytes live.
 *
 * Contract (test/contract/blob-store.ts runs it against every adapter):
 * - `put` is create-only and atomic: readers see the whole blob or none. It resolves only when the blob would survive
 *   losing power (file and directory entry synced; S3 answered 200). It returns the SHA-256 of what was written.
 *   If the source fails, or `sha256` was given and differs, nothing becomes visible and the error is thrown.
 * - keys are relative paths of `[A-Za-z0-9._-]` segments joined by `/`; anything else throws BAD_REQUEST.
 * - blobs are immutable. `delete` is idempotent and durable.
 * - a store may move blobs to slow media by rules of its own. Such a blob is listed, counted and deleted as before; reading it throws
 *   ARCHIVED until `restore` has brought it back, for as long as the store keeps the restored copy.
 */
export interface BlobStore {
  /**
   * Writes a new blob. A whole `Uint8Array` may be written in one go; an iterable is streamed in constant memory, and
   * is pulled only as fast as the store takes it. The caller may use an array again once the put has resolved or thrown.
   * @throws PacsError CONFLICT when the key exists; DATASET_MISMATCH when `sha256` differs; OUT_OF_SPACE; BUSY.
   */
  put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options?: PutOptions): Promise<BlobInfo>;

  /**
   * The bytes [offset, offset+length) as chunks of at most 1 MiB; to the end where length is absent.
   * @throws PacsError NOT_FOUND; RANGE_NOT_SATISFIABLE when the range reaches outside the blob (checked before the first chunk);
   *   ARCHIVED with `details.key` when the blob lies on slow media; BUSY.
   */
  read(key: string, range?: ByteRange): AsyncIterable<Uint8Array>;

  /** The same range in one array; for frames, headers and tables. @throws as `read`. */
  readBytes(key: string, range?: ByteRange, options?: ReadOptions): Promise<Uint8Array>;

  /** Size in bytes, or undefined when there is no such blob. */
  head(key: string): Promise<{ readonly key: string; readonly size: number } | undefined>;

  /** Keys that start with `prefix`, ascending, those greater than `after`. */
  list(prefix: string, after?: string): AsyncIterable<{ readonly key: string; readonly size: number }>;

  delete(key: string): Promise<void>;

  /** How soon the blob can be read; undefined when there is none. */
  availability(key: string): Promise<Availability | undefined>;

  /**
   * Sees to it that a restore of the blob is under way, unless it is readable; may be repeated at any time. Returns what holds now.
   * @throws PacsError NOT_FOUND; BUSY
   */
  restore(key: string): Promise<Availability>;

  /**
   * Has the blob kept by the rules of this tier from now on ([a-z0-9-], a name that the store's own rules know). May be repeated. A store of
   * one medium has no such method. @throws PacsError NOT_FOUND; BUSY
   */
  setTier?(key: string, tier: string): Promise<void>;

  /** For small objects, where the store can keep many of them in one file. */
  readonly packed?: PackedBlobs;

  /**
   * What was put at one time under a key that others may put anew: a landing zone where senders choose the names. `version` is the store's own word for it.
   * A store whose blobs are put once has no such method.
   */
  ofVersion?(version: string): Pick<BlobStore, 'head' | 'read' | 'delete'>;
}

/**
 * Small blobs kept beside each other. The store itself remembers which of them nobody has settled, so the archive needs no note of its own
 * before their bytes are there.
 */
export interface PackedBlobs {
  /** larger objects are put as blobs of their own (bytes) */
  readonly limitBytes: number;
  /**
   * As `put` does it. `key` ends in `.dcm`, and nobody else puts it. The blob is found by the key that is returned, which begins as `key` does and ends in `.dcm` as
   * well, and by no other; it counts as unsettled until `settled` is told.
   */
  append(key: string, bytes: Uint8Array, options?: Pick<PutOptions, 'sha256'>): Promise<BlobInfo>;
  /** A record owns the blob, or it has been deleted. */
  settled(key: string): void;
  /**
   * Blobs that have been unsettled since before `now - olderThanMs` (ms since 1970), those of dead processes. Of each, the caller has either
   * made sure that a record owns it, or deleted it, when it asks for the next.
   */
  unsettled(olderThanMs: number, now: number): AsyncIterable<string>;
}

/**
 * The values of Instance Availability (0008,0056) that a store knows of: ONLINE: `read` works. NEARLINE: not yet, a restore is under
 * way. OFFLINE: only after `restore`.
 */
export type Availability = 'ONLINE' | 'NEARLINE' | 'OFFLINE';

export interface PutOptions {
  /** lower-case hex that the bytes must have */
  readonly sha256?: string;
  /**
   * The blob becomes visible only after this has resolved, and not at all when it rejects (the put then throws what it threw). For a
   * note in the index that must be there before the bytes are, written while they are.
   */
  readonly visibleAfter?: Promise<unknown>;
}

export interface BlobInfo {
  readonly key: string;
  /** bytes */
  readonly size: number;
  /** lower-case hex of the SHA-256 over all bytes */
  readonly sha256: string;
}

export interface ReadOptions {
  /** The array is only sent, and nothing of it kept: its memory may be lent (../lent-bytes.ts). A store need not lend. */
  readonly lent?: boolean;
}

export interface ByteRange {
  readonly offset: number;
  readonly length?: number;
}
