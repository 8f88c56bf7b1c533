import type * as timers from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { SyslogRepository } from '#adapters/syslog/syslog-repository.ts';
import { FakeRepository, identity } from '#test/fixtures/audit-repository.ts';

/** The first time that somebody waits for something, the whole process stands still for longer than that. */
vi.mock('node:timers/promises', async (importOriginal) => {
  const real = await importOriginal<typeof timers>();
  let isFirst = true;
  return {
    ...real,
    setTimeout(ms: number): Promise<void> {
      if (!isFirst) return real.setTimeout(ms);
      isFirst = false;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms + 500);
      return Promise.resolve();
    },
  };
});

/** Whoever was turned away had not heard of it yet, wrote all, and took the end of the connection for that of a delivery. */
test('messages do not count as taken by a repository that hung up while the archive stood still', async () => {
  const [theirs, known, stranger] = await Promise.all(['repository', 'nephos', 'stranger'].map(identity));
  const repository = new FakeRepository(theirs!, known);
  const port = await repository.listen();
  const syslog = new SyslogRepository({
    host: '127.0.0.1',
    port,
    certificates: () => ({ ca: theirs!.cert, ...stranger! }),
    hostName: 'pacs',
  });
  await expect(syslog.deliver([{ at: 0, xml: '<AuditMessage/>' }])).rejects.toThrow();
  expect(repository.lines).toEqual([]);
  await repository.close();
});
