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

export { describeError } from '#core/errors.ts';
