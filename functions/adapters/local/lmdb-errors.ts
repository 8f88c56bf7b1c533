import { writeSync } from 'node:fs';
import { PacsError } from '#core/errors.ts';
import { translated as asPacsError } from './fs-errors.ts';

/** LMDB's own words stand in the promise that lmdb-js hangs on the error. */
export async function causeOf(error: unknown): Promise<unknown> {
  const commitError = (error as { readonly commitError?: Promise<never> } | undefined)?.commitError;
  return commitError === undefined ? error : await commitError.catch((reason: unknown) => reason);
}

export const codeOf = (cause: unknown): unknown => (cause as { readonly code?: unknown } | undefined)?.code;

/** What became of a transaction, as everybody else hears of it. */
export function translated(cause: unknown): unknown {
  const text = cause instanceof Error ? `${cause.message} ${codeOf(cause) ?? ''}` : '';
  // LMDB says "Input/output error" for a write that the disk took only a part of
  if (/MDB_MAP_FULL|No space left|Disk quota|File too large|Input\/output error/.test(text))
    return new PacsError('OUT_OF_SPACE', 'the disk takes no more of the index', { cause });
  if (/MDB_READERS_FULL|temporarily unavailable|Too many open files|Cannot allocate/.test(text))
    return new PacsError('BUSY', 'the index is out of resources', { cause });
  // of the door
  return asPacsError(cause);
}

/** Transactions are made anew without anybody being refused; whoever runs the archive is told why. */
export function warnOfTakenBack(cause: unknown): void {
  const { message = String(cause) } = (cause ?? {}) as { readonly message?: string };
  process.emitWarning(`LMDB took a transaction of the index back: ${message}`, {
    type: 'IndexWarning',
    code: String(codeOf(cause) ?? 'unknown'),
  });
}

/**
 * A write has stopped half-way, and lmdb-js would commit the half with everybody else's: it has no way to take back a transaction that others
 * share. A process that is gone commits nothing; its successor finds the index as it was before.
 */
export function endBeforeCommit(cause: unknown): void {
  writeSync(
    process.stderr.fd,
    `a write of the index stopped half-way, the process ends before it is committed: ${cause}\n`,
  );
  process.kill(process.pid, 'SIGKILL');
}
