import type { Principal } from '#core/access.ts';

/**
 * HTTP without a host. node:http, Lambda and tests translate to and from these; nothing else here knows about sockets.
 */
export interface HttpRequest {
  readonly method: string;
  /** decoded path below the host, always with a leading slash, without the query: `/dicomweb/studies/1.2/series` */
  readonly path: string;
  readonly query: URLSearchParams;
  /** lower-case names; repeated headers joined by ', ' */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** raw bytes, never decoded; may be iterated once */
  readonly body: AsyncIterable<Uint8Array>;
  /** undefined: nobody has authenticated */
  readonly principal?: Principal | undefined;
  /** id of the share link under whose address it came; `origin` then ends with that address */
  readonly link?: string | undefined;
  /** scheme and authority as the client sees them, no trailing slash: `http://127.0.0.1:8080` */
  readonly origin: string;
  /** IP address of the client, where the host knows it */
  readonly remoteAddress?: string | undefined;
  /** that of whoever asked the front before us (CloudFront), as the request says it: anybody may have written it, it only tells clients apart */
  readonly viewerAddress?: string | undefined;
  /** an authorizer before us has refused to look at its token: seconds after which to come again */
  readonly refusedSeconds?: number | undefined;
  /** of a certificate that the client has shown and an authority of ours has signed: `SHA256:<hex>`, then the names in it, as `DNS:…` */
  readonly clientCertificate?: readonly string[] | undefined;
  /** aborted when the client went away */
  readonly signal?: AbortSignal | undefined;
}

/** A body that is whole, in pieces behind one another: a host may send them at once. For whoever knows nothing of it, a stream. */
export class Pieces implements AsyncIterable<Uint8Array> {
  readonly pieces: readonly Uint8Array[];
  readonly sizeBytes: number;

  constructor(pieces: readonly Uint8Array[]) {
    this.pieces = pieces;
    this.sizeBytes = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    yield* this.pieces;
  }
}

export interface HttpResponse {
  readonly status: number;
  /** lower-case names; the host adds content-length where the body is whole */
  readonly headers: Readonly<Record<string, string>>;
  /** Set-Cookie, where there are several: they cannot be joined into one header */
  readonly cookies?: readonly string[];
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
}
