import { describeError } from '#core/errors.ts';
import { isUndecodable } from '#core/pixels/undecodable.ts';

/** One JSON line an event. Never values of data sets, never queries or paths with names: route names, UIDs, codes, sizes. */
export interface Log {
  debug(event: string, fields?: Record<string, unknown>): void;
  info(event: string, fields?: Record<string, unknown>): void;
  error(event: string, fields?: Record<string, unknown>): void;
}

const LEVELS = { debug: 0, info: 1, error: 2 } as const;

export function createLog(level: keyof typeof LEVELS, write: (line: string) => void): Log {
  const at =
    (name: keyof typeof LEVELS) =>
    (event: string, fields: Record<string, unknown> = {}): void => {
      if (LEVELS[name] < LEVELS[level]) return;
      write(`${JSON.stringify({ time: new Date().toISOString(), level: name, event, pid: process.pid, ...fields })}\n`);
    };
  return { debug: at('debug'), info: at('info'), error: at('error') };
}

/** What went wrong while an answer was being sent, and broke it off: a defect, unless the object that was read is such that nobody can decode it. */
export const logBrokenAnswer =
  (log: Log) =>
  (error: unknown): void =>
    isUndecodable(error)
      ? log.info('answer-broken-off', describeError(error))
      : log.error('defect', describeError(error));

export { describeError };
