/**
 * The values of `source` mapped by `start`, in order. Up to `ahead` are asked for and started while one before them is in use; but one
 * that is there is handed out at once, however long the source takes for the next. `release` gets those that are left when the reader goes
 * away.
 */
export async function* startEarly<T, R>(
  source: AsyncIterable<T>,
  start: (value: T) => Promise<R>,
  { ahead, release }: { readonly ahead: number; readonly release: (result: R) => Promise<void> },
): AsyncGenerator<R, void, undefined> {
  const iterator = source[Symbol.asyncIterator]();
  const started: Promise<R>[] = [];
  let asking: Promise<void> | undefined;
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  const ask = (): void => {
    if (asking !== undefined || ended || started.length > ahead) return;
    asking = iterator.next().then(
      (next) => {
        asking = undefined;
        if (next.done === true) ended = true;
        else {
          const result = start(next.value);
          // Awaited in its turn; until then a failure must not count as unhandled.
          result.catch(() => {});
          started.push(result);
        }
        ask();
      },
      (error: unknown) => {
        asking = undefined;
        ended = true;
        failure = { error };
      },
    );
  };
  try {
    for (;;) {
      ask();
      const current = started.shift();
      if (current !== undefined) {
        ask();
        yield await current;
      } else if (asking !== undefined) await asking;
      else if (failure !== undefined) throw failure.error;
      else return;
    }
  } finally {
    if (!ended) await iterator.return?.();
    await Promise.all(started.map((result) => result.then(release, () => {})));
  }
}
