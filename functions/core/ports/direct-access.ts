/**
 * DirectAccess — signed URLs by which clients read and write blobs of one BlobStore without the bytes passing through us. A store that
 * cannot sign (the file system) has none: then the host carries the bytes itself.
 *
 * Contract:
 * - a URL permits one method on one key, and what is signed besides cannot be changed by whoever holds it. It ends at `expiresAt`.
 * - `signWrite` permits exactly these bytes: a PUT of another length or with another SHA-256 is refused by the store. The blob is whole
 *   or not there, as after `BlobStore.put`; repeating the PUT changes nothing (the store may answer 412).
 * - signing makes no request and promises nothing about the blob.
 */
export interface DirectAccess {
  /** For GET, with or without a Range. A store that signs the method refuses HEAD by it: that is ours to answer. */
  signRead(key: string, options: SignReadOptions): Promise<SignedUrl>;
  /** For PUT. */
  signWrite(key: string, options: SignWriteOptions): Promise<SignedUrl>;
}

export interface SignReadOptions {
  readonly expiresInMs: number;
  /** Content-Type of the answer */
  readonly contentType?: string;
  /** Content-Disposition of the answer */
  readonly contentDisposition?: string;
}

export interface SignWriteOptions {
  readonly expiresInMs: number;
  /** bytes of the body */
  readonly sizeBytes: number;
  /** lower-case hex over the body */
  readonly sha256: string;
}

export interface SignedUrl {
  readonly url: string;
  /** must be sent as they are; lower-case names */
  readonly headers: Readonly<Record<string, string>>;
  /** ms since 1970 */
  readonly expiresAt: number;
}
