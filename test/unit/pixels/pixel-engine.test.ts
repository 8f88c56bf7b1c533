import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { WorkerPixelEngine } from '#adapters/local/worker-pixel-engine.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { pixelEngineContract } from '#test/contract/pixel-engine.ts';
import { collectGarbage } from '#test/fixtures/collect-garbage.ts';
import { EXPLICIT_LE, FOREIGN_FRAMES, image, native, phantom } from '#test/fixtures/pixels/frames.ts';

const LIMITS = { decodedFrameBytes: 64 * 1024 * 1024 };

describe('the engine in this process', () => {
  pixelEngineContract((limits) => new InProcessPixelEngine(codecModule(), limits));

  test('decodes a thousand frames without growing, broken ones among them', async () => {
    const engine = new InProcessPixelEngine(codecModule(), LIMITS);
    const frame = phantom(image({ Rows: 256, Columns: 256, BitsAllocated: 16, BitsStored: 12 }));
    const encoded = await engine.encode({ frame, target: { transferSyntaxUID: '1.2.840.10008.1.2.4.70' } });
    const broken = { ...encoded, codestream: encoded.codestream.slice(0, 5_000) };
    for (let i = 0; i < 50; i++) await engine.decode(encoded);
    const before = await collectGarbage();
    for (let i = 0; i < 1_000; i++) {
      await engine.decode(encoded);
      if (i % 50 === 0) await expect(engine.decode(broken)).rejects.toMatchObject({ code: 'UNREADABLE_DATASET' });
    }
    const grownMegabytes = ((await collectGarbage()).rss - before.rss) / 2 ** 20;
    // a thousand frames decoded are 125 MB
    expect(grownMegabytes).toBeLessThan(60);
  });
});

describe('the pool of threads', () => {
  pixelEngineContract((limits) => new WorkerPixelEngine({ limits, threads: 2 }));

  test('a thread that does not begin costs its job nothing but the wait: it may be given again', async () => {
    const engine = new WorkerPixelEngine({ limits: LIMITS, threads: 1, startTimeoutMs: 1 });
    await expect(engine.decode(FOREIGN_FRAMES[0]!.frame)).rejects.toMatchObject({ code: 'BUSY' });
    await engine.close();
  });

  test('refuses what is over its queue, and does what it has taken', async () => {
    const engine = new WorkerPixelEngine({ limits: LIMITS, threads: 1, waitingLimit: 2 });
    const job = { frame: phantom(image()), target: { transferSyntaxUID: '1.2.840.10008.1.2.4.80' } };
    const outcomes = await Promise.allSettled([1, 2, 3, 4, 5].map(() => engine.encode(job)));
    expect(outcomes.map(({ status }) => status)).toStrictEqual([
      'fulfilled',
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
    ]);
    expect(outcomes[4]).toMatchObject({ reason: { code: 'BUSY' } });
    await engine.close();
  });

  test('a job that takes too long loses its thread; the jobs behind it are done by another', async () => {
    const engine = new WorkerPixelEngine({ limits: { decodedFrameBytes: 2 ** 30 }, threads: 1, jobTimeoutMs: 3_000 });
    const large = image({ Rows: 8_000, Columns: 8_000, BitsAllocated: 16, BitsStored: 16 });
    const frame = {
      samples: new Uint8Array(8_000 * 8_000 * 2).map((_, i) => (i * 2_654_435_761) >>> 24),
      image: large,
    };
    const slow = engine.encode({ frame, target: { transferSyntaxUID: '1.2.840.10008.1.2.4.110' } });
    const quick = engine.decode(FOREIGN_FRAMES[0]!.frame);
    await expect(slow).rejects.toMatchObject({ code: 'UNREADABLE_DATASET' });
    expect((await quick).samples.length).toBe(FOREIGN_FRAMES[0]!.samples.length);
    await engine.close();
  });

  test('when it is closed, what waits fails as BUSY', async () => {
    const engine = new WorkerPixelEngine({ limits: LIMITS, threads: 1 });
    const jobs = [1, 2, 3].map(() => engine.decode(native(phantom(image()))));
    const closed = engine.close();
    for (const job of jobs) await expect(job).rejects.toMatchObject({ code: 'BUSY' });
    await closed;
    await expect(engine.decode(native(phantom(image())))).rejects.toMatchObject({ code: 'BUSY' });
  });
});

test('what is decoded does not depend on the machine: the hash of a lossless frame', async () => {
  const engine = new InProcessPixelEngine(codecModule(), LIMITS);
  const frame = phantom(image({ BitsAllocated: 16, BitsStored: 12 }));
  const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  const hashes = new Set<string>();
  for (const suffix of ['.5', '.4.70', '.4.80', '.4.90', '.4.110', '.4.201', '.4.202', '.8.1', '.1.98']) {
    const encoded = await engine.encode({ frame, target: { transferSyntaxUID: `1.2.840.10008.1.2${suffix}` } });
    hashes.add(hash((await engine.decode(encoded)).samples));
  }
  expect([...hashes]).toStrictEqual([hash(frame.samples)]);
  expect(native(frame).transferSyntaxUID).toBe(EXPLICIT_LE);
});
