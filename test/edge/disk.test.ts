import { describe, expect, test } from 'vitest';
import { MemoryBlobStore } from '#adapters/memory/memory-blob-store.ts';
import { Disk, guardedBlobs } from '#edge/disk.ts';
import { TestClock } from '#test/fixtures/services.ts';

const MB = 2 ** 20;
const RESERVE = 16 * MB;

describe('the guard of the disk', () => {
  async function* streamed(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 4; i++) yield Buffer.alloc(MB / 4);
  }

  // A disk that takes 130 MB/s took 13 MB of the reserve before the guard looked again.
  test.each([
    ['streams', streamed],
    ['buffers', () => Buffer.alloc(MB)],
  ])('refuses at the reserve although the disk is not looked at again: %s', async (_, body) => {
    let looks = 0;
    const look = async () => ({ totalBytes: 1024 * MB, freeBytes: RESERVE + 5 * MB, looks: ++looks });
    const disk = new Disk({ dataDir: '/', reserveBytes: () => RESERVE, clock: new TestClock(), look });
    const blobs = guardedBlobs(new MemoryBlobStore(), disk);
    const put = (name: string) => blobs.put(`main/1/2/${name}.dcm`, body());
    // The last one that begins finds just the reserve.
    for (let i = 0; i < 6; i++) await put(`3.${i}`);
    expect(await disk.state()).toMatchObject({ freeBytes: RESERVE - MB, refusing: true });
    await expect(put('3.6')).rejects.toMatchObject({ code: 'OUT_OF_SPACE' });
    expect(looks).toBe(1);
  });

  test('believes the disk again when it looks', async () => {
    const clock = new TestClock();
    const look = async () => ({ totalBytes: 1024 * MB, freeBytes: RESERVE + MB });
    const disk = new Disk({ dataDir: '/', reserveBytes: () => RESERVE, clock, look });
    const blobs = guardedBlobs(new MemoryBlobStore(), disk);
    for (let i = 0; i < 2; i++) await blobs.put(`main/1/2/3.${i}.dcm`, streamed());
    await expect(blobs.put('main/1/2/3.2.dcm', streamed())).rejects.toMatchObject({ code: 'OUT_OF_SPACE' });
    clock.advance(1_000);
    await blobs.put('main/1/2/3.2.dcm', streamed());
    expect((await disk.state()).freeBytes).toBe(RESERVE);
  });
});
