import { createHash, randomBytes } from 'node:crypto';
import type * as fs from 'node:fs';
import { constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { PAGE_BYTES, pageAligned } from '#core/page-aligned.ts';

/** How the disk is played: it takes bytes directly, refuses to, refuses only when it gets them, or takes less than was given. */
let disk: 'willing' | 'refuses to open' | 'refuses to write' | 'takes little' = 'willing';
let directWrites = 0;

vi.mock('node:fs', async (importOriginal) => {
  const { promisify } = await import('node:util');
  const real = await importOriginal<typeof fs>();
  const direct = new Set<number>();
  const refusal = (): Error => Object.assign(new Error('EINVAL: invalid argument'), { code: 'EINVAL' });
  return {
    ...real,
    openSync: (path: string, flags: number | string, mode?: number): number => {
      const isDirect = typeof flags === 'number' && (flags & real.constants.O_DIRECT) !== 0;
      // the file is made before the flag is refused, as some file systems do
      const fd = real.openSync(path, isDirect ? flags & ~real.constants.O_DIRECT : flags, mode);
      if (isDirect && disk === 'refuses to open') {
        real.closeSync(fd);
        throw refusal();
      }
      if (isDirect) direct.add(fd);
      else direct.delete(fd);
      return fd;
    },
    write: Object.assign(() => undefined, {
      [promisify.custom]: async (
        fd: number,
        bytes: Uint8Array,
        offset: number,
        length: number,
        position: number,
      ): Promise<{ bytesWritten: number }> => {
        if (!direct.has(fd)) return promisify(real.write)(fd, bytes, offset, length, position);
        if (disk === 'refuses to write') throw refusal();
        directWrites++;
        expect([offset % PAGE_BYTES, length % PAGE_BYTES, position % PAGE_BYTES]).toStrictEqual([0, 0, 0]);
        const taken = disk === 'takes little' ? Math.min(length, 6000) : length;
        return promisify(real.write)(fd, bytes, offset, taken, position);
      },
    }),
  };
});

const SIZES = [1, 4096, 131_071, 131_072, 131_073, 527_113, 2_097_152, 2_097_153, 4_000_001];
const root = mkdtempSync(join(tmpdir(), 'nephos-direct-'));
let store: FsBlobStore;
beforeAll(async () => {
  store = await FsBlobStore.open(root);
});
afterAll(async () => {
  await store.close();
  rmSync(root, { recursive: true });
});

// Once refused, it is not tried again: the willing disk comes first.
describe
  .runIf(constants.O_DIRECT !== undefined)
  .each(['willing', 'takes little', 'refuses to write', 'refuses to open'] as const)(
  'a disk that is asked to take objects out of memory and: %s',
  (behaviour) => {
    beforeAll(() => {
      disk = behaviour;
      directWrites = 0;
    });

    test.each(SIZES)('%i bytes that begin at a page come back as they were', async (size) => {
      const memory = pageAligned(4 * 1024 * 1024);
      randomBytes(memory.length).copy(memory);
      const bytes = memory.subarray(0, size);
      const { sha256 } = await store.put(`t/${behaviour.replaceAll(' ', '-')}/whole-${size}`, bytes);
      const back = await store.readBytes(`t/${behaviour.replaceAll(' ', '-')}/whole-${size}`);
      expect(Buffer.compare(back, bytes)).toBe(0);
      expect(createHash('sha256').update(back).digest('hex')).toBe(sha256);
    });

    test.each(SIZES)('a stream of %i bytes in odd pieces comes back as it was', async (size) => {
      const bytes = randomBytes(size);
      async function* pieces(): AsyncGenerator<Uint8Array> {
        for (let at = 0, length = 1; at < size; at += length, length = (length * 7 + 13) % 700_001) {
          yield bytes.subarray(at, at + length);
        }
      }
      const { size: written } = await store.put(`t/${behaviour.replaceAll(' ', '-')}/stream-${size}`, pieces());
      expect(written).toBe(size);
      expect(Buffer.compare(await store.readBytes(`t/${behaviour.replaceAll(' ', '-')}/stream-${size}`), bytes)).toBe(
        0,
      );
    });

    test('it was asked while it took them', () => {
      if (behaviour === 'willing' || behaviour === 'takes little') expect(directWrites).toBeGreaterThan(10);
      else expect(directWrites).toBe(0);
    });
  },
);
