import { inflateSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import type { Raster } from '#core/pixels/raster.ts';
import { drawWatermark } from '#core/pixels/watermark.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { anArchive, SHARED } from './receiver.ts';

const pixels = new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS);
afterAll(() => pixels.close());

const flat = (value: number, columns = 600, rows = 400, channels: 1 | 3 = 1): Raster => ({
  columns,
  rows,
  channels,
  data: new Uint8Array(columns * rows * channels).fill(value),
});
const TEXT = 'Dr. Ida Frank  2024-01-31 12:00  K3X9QZ';

describe('the watermark', () => {
  test.each([0, 20, 100, 127, 128, 150, 230, 255])(
    'stands out from a ground of %d, and leaves what lies between',
    (ground) => {
      const raster = flat(ground);
      drawWatermark(raster, TEXT);
      const values = new Set(raster.data);
      expect(Math.max(...values) - Math.min(...values)).toBeGreaterThanOrEqual(48);
      const marked = raster.data.filter((value) => value !== ground).length / raster.data.length;
      expect(marked).toBeGreaterThan(0.02);
      expect(marked).toBeLessThan(0.2);
    },
  );

  test('leaves no quarter of a picture without, whatever its size', () => {
    for (const [columns, rows] of [
      [128, 128],
      [512, 512],
      [2048, 1024],
    ] as const) {
      const raster = flat(0, columns, rows);
      drawWatermark(raster, TEXT);
      for (const [left, top] of [
        [0, 0],
        [columns / 2, 0],
        [0, rows / 2],
        [columns / 2, rows / 2],
      ] as const) {
        let lit = 0;
        for (let y = top; y < top + rows / 2; y++)
          for (let x = left; x < left + columns / 2; x++) lit += raster.data[y * columns + x] === 0 ? 0 : 1;
        expect(lit, `${columns}x${rows} at ${left},${top}`).toBeGreaterThan(50);
      }
    }
  });

  test('lets what lies below be seen: an edge under a letter stays an edge', () => {
    const raster = flat(0);
    for (let i = 0; i < raster.data.length; i++) raster.data[i] = i % 2 === 0 ? 60 : 90;
    drawWatermark(raster, TEXT);
    let same = 0;
    for (let i = 0; i + 1 < raster.data.length; i += 2) if (raster.data[i]! < raster.data[i + 1]!) same++;
    expect(same / (raster.data.length / 2)).toBeGreaterThan(0.9);
  });

  test('keeps the colours of a colour picture apart, and is another for another name', () => {
    const colour = flat(200, 300, 200, 3);
    drawWatermark(colour, TEXT);
    for (let i = 0; i < colour.data.length; i += 3) {
      expect(colour.data[i]).toBe(colour.data[i + 1]);
      expect(colour.data[i]).toBe(colour.data[i + 2]);
    }
    const one = flat(0);
    const other = flat(0);
    drawWatermark(one, TEXT);
    drawWatermark(other, TEXT.replace('Ida', 'Ada'));
    expect(Buffer.from(one.data).equals(Buffer.from(other.data))).toBe(false);
  });

  test('of letters with marks and of other alphabets ends, and marks the picture', () => {
    for (const name of ['Łucja Größwald', '日本 太郎', '\u{1F600}', '']) {
      const raster = flat(0, 64, 64);
      drawWatermark(raster, name);
      if (name !== '')
        expect(
          raster.data.some((value) => value > 0),
          name,
        ).toBe(true);
    }
  });
});

describe('on what a guest is shown', () => {
  const cine = {
    NumberOfFrames: '3',
    Rows: 64,
    Columns: 64,
    BitsAllocated: 8,
    BitsStored: 8,
    HighBit: 7,
    PixelData: new Uint8Array(64 * 64 * 3).fill(90),
  };

  test('every rendered form has it: PNG, JPEG, GIF, frames, parts of the picture, thumbnails, drawings of what has no picture', async () => {
    const { share, enter, ask, staff, store, object } = await anArchive({ pixels });
    await store(object(SHARED, 70, cine));
    await store(
      object(SHARED, 71, {
        SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.33',
        PixelData: undefined,
        Rows: undefined,
        Columns: undefined,
        Modality: 'SR',
      }),
    );
    const link = await share();
    const cookie = await enter(link);
    const series = `/dicomweb/studies/${SHARED}/series/${uid(50)}`;
    for (const [path, accept] of [
      [`${series}/instances/${uid(11)}/rendered?viewport=300,300`, 'image/png'],
      [`${series}/instances/${uid(11)}/rendered?viewport=300,300`, 'image/jpeg'],
      [`${series}/instances/${uid(11)}/rendered?viewport=300,300,1,1,2,2&window=10,5,linear`, 'image/png'],
      [`${series}/instances/${uid(11)}/frames/1/rendered?viewport=300,300`, 'image/png'],
      [`${series}/instances/${uid(70)}/rendered?viewport=300,300`, 'image/gif'],
      [`${series}/instances/${uid(70)}/frames/2/rendered?viewport=300,300`, 'image/jpeg'],
      [`/dicomweb/studies/${SHARED}/thumbnail`, 'image/jpeg'],
      [`${series}/thumbnail`, 'image/png'],
      [`${series}/instances/${uid(71)}/thumbnail`, 'image/png'],
    ] as const) {
      const headers = { accept };
      const guest = await ask('GET', `/s/${link.id}${path}`, { cookie, headers });
      const plain = await ask('GET', path, { as: staff(), headers });
      expect([guest.status, plain.status], path).toEqual([200, 200]);
      expect(guest.headers['content-type'], path).toBe(accept);
      expect(guest.text === plain.text, `${path} ${accept} has no mark`).toBe(false);
      expect(guest.headers.etag, path).not.toBe(plain.headers.etag);
      if (accept === 'image/png') expect(differing(guest.text, plain.text), path).toBeGreaterThan(60);
      expect(await ask('GET', path, { as: staff(), headers }), 'staff is shown the same as ever').toMatchObject({
        text: plain.text,
      });
    }
  });

  test('a report has it as a line of its own', async () => {
    const { share, enter, ask, store, object } = await anArchive({ pixels });
    const report = {
      SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.33',
      Modality: 'SR',
      PixelData: undefined,
      Rows: undefined,
      Columns: undefined,
    };
    await store(object(SHARED, 71, report));
    const link = await share({ receiver: 'Ida <b>Frank</b>' });
    const cookie = await enter(link);
    const path = `/s/${link.id}/dicomweb/studies/${SHARED}/series/${uid(50)}/instances/${uid(71)}/rendered`;
    for (const [accept, name] of [
      ['text/html', 'Ida &lt;b&gt;Frank&lt;/b&gt;'],
      ['text/plain', 'Ida <b>Frank</b>'],
    ] as const) {
      const answer = await ask('GET', path, { cookie, headers: { accept } });
      expect(answer.status).toBe(200);
      expect(answer.text).toContain(`${name}  2024-01-31 12:00`);
    }
  });

  test('the time on it is that of looking, to the minute', async () => {
    const { share, enter, ask, services } = await anArchive({ pixels });
    const link = await share();
    const cookie = await enter(link);
    const path = `/s/${link.id}/dicomweb/studies/${SHARED}/series/${uid(50)}/instances/${uid(11)}/rendered?viewport=300,300`;
    const draw = async () => (await ask('GET', path, { cookie, headers: { accept: 'image/png' } })).text;
    const first = await draw();
    services.clock.advance(1_000);
    expect(await draw()).toBe(first);
    services.clock.advance(60_000);
    expect(await draw()).not.toBe(first);
    expect((await ask('GET', `/s/${link.id}/api/guest/session`, { cookie })).json.watermark).toBe(
      `Dr. Ida Frank  2024-01-31 12:01  ${link.id.slice(-6)}`,
    );
  });
});

/** Pixels that differ between two PNGs of the same size. */
function differing(one: string, other: string): number {
  const [a, b] = [rawPng(one), rawPng(other)];
  expect(a.length).toBe(b.length);
  let count = 0;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) count++;
  return count;
}

/** The filtered bytes of a PNG; a differing byte is a differing pixel, or stands above one. */
function rawPng(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  const parts: Buffer[] = [];
  for (let at = 8; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    if (bytes.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  return inflateSync(Buffer.concat(parts));
}
