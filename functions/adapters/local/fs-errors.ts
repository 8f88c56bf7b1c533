import { PacsError } from '#core/errors.ts';

export const errno = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | undefined)?.code;

const NO_SPACE = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const NO_RESOURCES = new Set(['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM']);

/** What the operating system said, in the words of the ports; anything unforeseen stays what it is. */
export function translated(cause: unknown): unknown {
  const code = errno(cause) ?? '';
  if (NO_SPACE.has(code)) return new PacsError('OUT_OF_SPACE', 'the disk has no space left', { cause });
  if (NO_RESOURCES.has(code)) return new PacsError('BUSY', 'the system is out of resources', { cause });
  return cause;
}
