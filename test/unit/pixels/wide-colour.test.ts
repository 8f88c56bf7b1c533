import { afterAll, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { FOREIGN_FRAMES } from '#test/fixtures/pixels/frames.ts';

const engine = new InProcessPixelEngine(codecModule(), { decodedFrameBytes: 64 * 1024 * 1024 });
afterAll(() => engine.close());
const WIDE = FOREIGN_FRAMES.filter(({ name }) => /^JPEG 2000 1[26]-bit RGB/.test(name));

test('JPEG 2000 colour of more than 8 bits is rendered and turned into what holds it', async () => {
  expect(WIDE).toHaveLength(3);
  for (const { name, frame, samples } of WIDE) {
    const png = await engine.render({ ...frame, presentation: { mediaType: 'image/png' } });
    expect([png.columns, png.rows], name).toEqual([32, 32]);
    const jpegLs = await engine.transcode({ ...frame, target: { transferSyntaxUID: '1.2.840.10008.1.2.4.80' } });
    expect(Buffer.compare((await engine.decode(jpegLs)).samples, samples), name).toBe(0);
  }
});

test('a codestream cut short, or that is none, is unreadable, and the next one is read', async () => {
  const { frame, samples } = WIDE[2]!;
  const { codestream } = frame;
  const middle = Math.floor(codestream.length / 2);
  const scrambled = Uint8Array.from(codestream, (byte, i) => (i > 100 ? byte ^ 0x5a : byte));
  for (const bad of [codestream.subarray(0, middle), scrambled])
    await expect(engine.decode({ ...frame, codestream: bad })).rejects.toMatchObject({ code: 'UNREADABLE_DATASET' });
  expect(Buffer.compare((await engine.decode(frame)).samples, samples)).toBe(0);
});
