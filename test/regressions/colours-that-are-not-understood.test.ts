import { expect, test } from 'vitest';
import { toDisplay } from '#core/pixels/grayscale.ts';

const shown = (PhotometricInterpretation: string) =>
  toDisplay(
    {
      samples: Uint8Array.from([10, 200, 30]),
      image: {
        Rows: 1,
        Columns: 1,
        SamplesPerPixel: 3,
        PhotometricInterpretation,
        PlanarConfiguration: 0,
        BitsAllocated: 8,
        BitsStored: 8,
        HighBit: 7,
        PixelRepresentation: 0,
      },
    } as Parameters<typeof toDisplay>[0],
    {} as Parameters<typeof toDisplay>[1],
  );

/** Hue was shown as red, saturation as green. */
test('an image in HSV (retired) is not shown in the colours of another space', () => {
  expect(() => shown('HSV')).toThrow('hue, saturation and value');
  expect([...shown('RGB').data]).toEqual([10, 200, 30]);
});
