import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PacsError } from '#core/errors.ts';
import { inColourSpace } from '#core/pixels/icc/convert.ts';
import { readProfile } from '#core/pixels/icc/profile.ts';
import { type ColourSpace, profileOf } from '#core/pixels/icc/spaces.ts';
import { type TableKind, tableProfile } from '#test/fixtures/icc-profiles.ts';

const picture = (...colours: (readonly number[])[]) => ({
  columns: colours.length,
  rows: 1,
  channels: 3 as const,
  data: Uint8Array.from(colours.flat()),
});
const turned = (colour: readonly number[], space: ColourSpace, profile?: Uint8Array): number[] => [
  ...inColourSpace(picture(colour), profile && readProfile(profile), space).data,
];
const near = (actual: readonly number[], expected: readonly number[], by: number): void => {
  for (const [i, value] of actual.entries()) expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(by);
};

describe('colours in another space', () => {
  // What Little CMS 2.16 makes of them, perceptual, by 8 bits.
  test.each<[ColourSpace, readonly number[], readonly number[]]>([
    ['srgb', [200, 30, 60], [200, 30, 60]],
    ['adobergb', [242, 203, 80], [231, 202, 90]],
    ['adobergb', [60, 120, 180], [83, 119, 177]],
    ['rommrgb', [200, 30, 60], [135, 58, 48]],
    ['displayp3', [242, 203, 80], [236, 204, 101]],
    ['rommrgb', [203, 203, 203], [192, 192, 192]],
    ['adobergb', [255, 255, 255], [255, 255, 255]],
    ['rommrgb', [0, 0, 0], [0, 0, 0]],
  ])('%s of %j', (space, colour, expected) => near(turned(colour, space), expected, 1));

  test.each<[ColourSpace, number]>([
    ['displayp3', 5],
    // so wide a space has few steps left for dark colours
    ['rommrgb', 14],
  ])('there and back again by %s they are what they were, but for the rounding', (space, by) => {
    const byte = fc.integer({ min: 40, max: 255 });
    fc.assert(
      fc.property(fc.tuple(byte, byte, byte), (colour) =>
        near(turned(turned(colour, space), 'srgb', profileOf(space)), colour, by),
      ),
    );
  });

  test('gray stays neutral, with three channels', () => {
    const gray = { columns: 3, rows: 1, channels: 1 as const, data: Uint8Array.of(0, 118, 255) };
    expect([...inColourSpace(gray, undefined, 'srgb').data]).toEqual([0, 0, 0, 118, 118, 118, 255, 255, 255]);
    const [, , , red, green, blue] = inColourSpace(gray, undefined, 'rommrgb').data;
    expect(red).toBe(green);
    expect(green).toBe(blue);
    expect(red).toBeLessThan(118);
  });
});

describe('the profile of an object', () => {
  const COLOURS = [
    [0, 0, 0],
    [255, 255, 255],
    [128, 128, 128],
    [250, 20, 30],
    [12, 200, 90],
    [33, 66, 222],
    [90, 91, 89],
  ];

  test.each<TableKind>([
    { type: 'mft2', connection: 'Lab ' },
    { type: 'mft2', connection: 'XYZ ' },
    { type: 'mft1', connection: 'Lab ' },
    { type: 'mAB ', connection: 'Lab ' },
    { type: 'mAB ', connection: 'XYZ ' },
  ])('by a table ($type, $connection) of the colours of sRGB gives these', (kind) => {
    const { data } = inColourSpace(picture(...COLOURS), readProfile(tableProfile(kind)), 'srgb');
    near([...data], COLOURS.flat(), kind.type === 'mft1' ? 12 : 6);
  });

  test.each<[ColourSpace, readonly number[], readonly number[]]>([
    ['displayp3', [200, 160, 120], [208, 158, 114]],
    ['rommrgb', [100, 120, 90], [106, 143, 104]],
  ])('by matrix and curves: %s of %j', (space, colour, expected) =>
    near(turned(colour, 'srgb', profileOf(space)), expected, 1),
  );

  test.each([
    ['nothing', new Uint8Array(0)],
    ['text', new Uint8Array(200).fill(65)],
    ['one of CMYK', withSpace(tableProfile({ type: 'mft2', connection: 'Lab ' }), 'CMYK')],
    ['a table that is cut off', tableProfile({ type: 'mft2', connection: 'Lab ' }).slice(0, 5_000)],
    ['one without curves', profileOf('srgb').slice(0, 400)],
  ])('that is %s is refused', (_, bytes) => {
    expect(() => readProfile(bytes)).toThrow(expect.objectContaining({ code: 'UNREADABLE_DATASET' }));
  });

  test('whatever its bytes, it is read or refused', () => {
    const seed = tableProfile({ type: 'mAB ', connection: 'Lab ' });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(240), fc.nat(255)), { minLength: 1, maxLength: 6 }), (changes) => {
        const bytes = seed.slice();
        for (const [at, value] of changes) bytes[at] = value;
        try {
          const profile = readProfile(bytes);
          if (profile.kind === 'table') profile.toXyz(0.1, 0.5, 0.9);
        } catch (error) {
          expect(error).toBeInstanceOf(PacsError);
        }
      }),
      { numRuns: 300 },
    );
  });
});

function withSpace(profile: Uint8Array, space: string): Uint8Array {
  const bytes = Buffer.from(profile);
  bytes.write(space, 16, 'latin1');
  return new Uint8Array(bytes);
}
