import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';

/**
 * A put that threw within a transaction left the puts before it there, to be committed with what others wrote: half of a write that was
 * refused. lmdb-js takes no such transaction back, so the process ends before it does harm, as if it had been killed.
 */
const WRITER = `
  import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';
  const [, path] = process.argv;
  const index = await LmdbIndexTable.open(path);
  const put = (sort) => ({ kind: 'put', key: { partition: 'p', sort }, item: { sort } });
  await index.write([put('before')]);
  const { write } = Buffer.prototype;
  Buffer.prototype.write = function (text, ...where) {
    if (text.includes('second half')) throw new Error('a fault');
    return write.call(this, text, ...where);
  };
  await Promise.allSettled([index.write([put('whole')]), index.write([put('first half'), put('second half')])]);
  console.log('went on');
`;

test('a write that stops half-way is never committed, nor refused as if nothing were there', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-half-'));
  try {
    const path = join(folder, 'index');
    const child = spawn(process.execPath, ['--input-type=module', '--eval', WRITER, path], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk));
    const [code, signal] = await once(child, 'close');
    expect({ code, signal, said }).toEqual({ code: null, signal: 'SIGKILL', said: expect.stringContaining('a fault') });
    const index = await LmdbIndexTable.open(path);
    const { records } = await index.query({ partition: 'p', limit: 10 });
    await index.close();
    expect(records.map(({ sort }) => sort)).toEqual(['before']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
