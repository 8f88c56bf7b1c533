/** what is not longer is read in one go */
export const WHOLE_READ_BYTES = 1024 * 1024;

/** Bytes on their way: a whole array, or a stream that must be read or released. */
export type Payload = Uint8Array | OpenStream;

/** A stream whose first chunk has been asked for already; holds a file or a connection until read to its end or released. */
export interface OpenStream extends AsyncIterable<Uint8Array> {
  release(): Promise<void>;
}

/** Starts reading and resolves with the first chunk there. */
export async function openStream(stream: AsyncIterable<Uint8Array>): Promise<OpenStream> {
  const iterator = stream[Symbol.asyncIterator]();
  let first: IteratorResult<Uint8Array> | undefined = await iterator.next();
  const rest: AsyncIterator<Uint8Array> = {
    next: () => {
      if (first === undefined) return iterator.next();
      const result = first;
      first = undefined;
      return Promise.resolve(result);
    },
    return: async () => {
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
  return {
    [Symbol.asyncIterator]: () => rest,
    release: async () => {
      await iterator.return?.();
    },
  };
}

/**
 * Ends a stream that nobody will read (the answer to a HEAD request): what it opened already, files and read-ahead, is only
 * let go of by a generator that has begun.
 */
export async function discard(stream: AsyncIterable<Uint8Array>): Promise<void> {
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  await iterator.return?.();
}

/** The payload of what is read either in one go or as a stream. */
export const payloadOf = (read: Promise<Uint8Array> | AsyncIterable<Uint8Array>): Promise<Payload> =>
  read instanceof Promise ? read : openStream(read);

export const releasePayload = async (payload: Payload): Promise<void> => {
  if (!(payload instanceof Uint8Array)) await payload.release();
};

/**
 * The values of `source` mapped by `start`, in order, each started while the one before it is still in use: the next blob's
 * read is under way before the current one ends. At most `ahead` are started and not yet handed out; `release` gets
 * those that are left when the reader goes away.
 */
export async function* startAhead<T, R>(
  source: AsyncIterable<T> | Iterable<T>,
  start: (value: T) => Promise<R>,
  options: { readonly ahead: number; readonly release?: (result: R) => Promise<void> },
): AsyncGenerator<R, void, undefined> {
  const iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  const started: Promise<R>[] = [];
  let ended = false;
  try {
    for (;;) {
      while (!ended && started.length <= options.ahead) {
        const next = await iterator.next();
        if (next.done === true) ended = true;
        else {
          const result = start(next.value);
          // Awaited in its turn; until then a failure must not count as unhandled.
          result.catch(() => {});
          started.push(result);
        }
      }
      const current = started.shift();
      if (current === undefined) return;
      yield await current;
    }
  } finally {
    if (!ended) await iterator.return?.();
    const { release } = options;
    if (release) await Promise.all(started.map((result) => result.then(release, () => {})));
  }
}

/** Chunks of about `sizeBytes` or more: small ones are joined, large ones passed through uncopied. */
export async function* coalesce(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  sizeBytes = 64 * 1024,
): AsyncGenerator<Uint8Array, void, undefined> {
  let waiting: Uint8Array[] = [];
  let size = 0;
  const flush = (): Uint8Array => {
    const bytes = waiting.length === 1 ? waiting[0]! : Buffer.concat(waiting, size);
    waiting = [];
    size = 0;
    return bytes;
  };
  for await (const chunk of source) {
    if (chunk.byteLength >= sizeBytes) {
      if (size > 0) yield flush();
      yield chunk;
      continue;
    }
    waiting.push(chunk);
    size += chunk.byteLength;
    if (size >= sizeBytes) yield flush();
  }
  if (size > 0) yield flush();
}
