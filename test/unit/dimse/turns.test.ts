import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { PRIORITY } from '#dimse/command-set.ts';
import { Turns } from '#dimse/services/turns.ts';

const { high, medium, low } = PRIORITY;

/** Work that goes on until it is let go. */
function works(turns: Turns) {
  const begun: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  return {
    begun,
    start: (name: string, priority?: number, signal?: AbortSignal) =>
      turns.run(
        priority,
        () =>
          new Promise<string>((resolve, reject) => {
            begun.push(name);
            ends.set(name, (error) => (error === undefined ? resolve(name) : reject(error)));
          }),
        signal,
      ),
    async end(name: string, error?: Error) {
      ends.get(name)!(error);
      await setImmediate();
    },
  };
}

test('HIGH goes before MEDIUM before LOW, the equal in the order in which they came; what none asked for is MEDIUM', async () => {
  const { begun, start, end } = works(new Turns(2));
  const all = [
    start('first', low),
    start('second', low),
    start('low', low),
    start('medium', medium),
    start('high', high),
    start('unsaid'),
    start('odd', 7),
    start('high, later', high),
  ];
  expect(begun).toEqual(['first', 'second']);
  for (const name of ['first', 'second', 'high', 'high, later', 'medium', 'unsaid', 'odd', 'low']) await end(name);
  expect(await Promise.all(all)).toHaveLength(8);
  expect(begun.slice(2)).toEqual(['high', 'high, later', 'medium', 'unsaid', 'odd', 'low']);
});

test('work that fails hands its turn on; who goes away while he waits leaves no gap', async () => {
  const { begun, start, end } = works(new Turns(1));
  const gone = new AbortController();
  const failing = start('failing', high).catch((error: Error) => error.message);
  const left = start('left', high, gone.signal).catch((error: Error) => error.message);
  const next = start('next', low);
  gone.abort(new Error('cancelled'));
  expect(await left).toBe('cancelled');
  await end('failing', new Error('no disk'));
  expect(await failing).toBe('no disk');
  expect(begun).toEqual(['failing', 'next']);
  // An abort within its turn is the work's own business.
  await end('next');
  expect(await next).toBe('next');
  const again = start('again');
  expect(begun).toEqual(['failing', 'next', 'again']);
  await end('again');
  await again;
});
