import { CELL, eachDot } from './font.ts';
import type { Raster } from './raster.ts';

/** How far a letter goes towards white or black, whichever is farther from what is there; its edge goes the other way (of 255). */
const LETTER = 96;
const EDGE = 56;
/** cells between two of a row */
const GAP_CELLS = 6;
/** height of a row in lines of text: the less, the closer they stand */
const ROW_LINES = 5;
/** images of this many pixels a side have letters of one size more */
const PIXELS_A_SIZE = 340;

/** Letters that are not made of one of ours and a mark. */
const LATIN: Readonly<Record<string, string>> = {
  ß: 'ss',
  æ: 'ae',
  Æ: 'AE',
  œ: 'oe',
  Œ: 'OE',
  ø: 'o',
  Ø: 'O',
  ł: 'l',
  Ł: 'L',
  đ: 'd',
  Đ: 'D',
  ð: 'd',
  Ð: 'D',
  þ: 'th',
  Þ: 'Th',
  ı: 'i',
};

/**
 * Writes a line of text all over a picture, in rows that are set off against each other, so that no part of it of some size is without.
 * Letters are mixed with what lies below and edged in the opposite tone: they are read on black, on white and on any gray, and what
 * they cover is still seen.
 */
export function drawWatermark(raster: Raster, text: string): void {
  const side = Math.min(raster.columns, raster.rows);
  const scale = Math.max(1, Math.round(side / PIXELS_A_SIZE));
  const line = [...text].map((letter) => LATIN[letter] ?? letter).join('');
  const { letters, edges, width } = marksOf(line);
  const stepX = (width + GAP_CELLS * CELL.width) * scale;
  const stepY = CELL.height * ROW_LINES * scale;
  for (let row = 0, top = Math.round(stepY / 3); top < raster.rows; row++, top += stepY) {
    // Each row begins a third of a step to the left of the one above, so that the eye meets a name in every column.
    for (let left = -Math.round((stepX * (row % 3)) / 3); left < raster.columns; left += stepX) {
      for (const [x, y] of edges) mix(raster, left + x * scale, top + y * scale, scale, EDGE, false);
      for (const [x, y] of letters) mix(raster, left + x * scale, top + y * scale, scale, LETTER, true);
    }
  }
}

interface Marks {
  readonly letters: readonly (readonly [x: number, y: number])[];
  /** dots beside those of letters */
  readonly edges: readonly (readonly [x: number, y: number])[];
  readonly width: number;
}

function marksOf(text: string): Marks {
  const lit = new Map<string, readonly [number, number]>();
  eachDot(text, (x, y) => lit.set(`${x},${y}`, [x, y]));
  const edges = new Map<string, readonly [number, number]>();
  for (const [x, y] of lit.values())
    for (const [dx, dy] of [
      [1, 0],
      [0, 1],
      [-1, 0],
      [0, -1],
    ] as const) {
      const key = `${x + dx},${y + dy}`;
      if (!lit.has(key)) edges.set(key, [x + dx, y + dy]);
    }
  const width = Math.max(1, ...[...lit.values()].map(([x]) => x + 1));
  return { letters: [...lit.values()], edges: [...edges.values()], width };
}

/** A dot of `scale` pixels a side; `away` from what is there, or towards it: dark on bright, bright on dark, and the reverse. */
function mix(raster: Raster, left: number, top: number, scale: number, strength: number, away: boolean): void {
  for (let y = Math.max(0, top); y < Math.min(raster.rows, top + scale); y++) {
    for (let x = Math.max(0, left); x < Math.min(raster.columns, left + scale); x++) {
      const at = (y * raster.columns + x) * raster.channels;
      const tone =
        raster.channels === 1
          ? raster.data[at]!
          : (raster.data[at]! + raster.data[at + 1]! * 2 + raster.data[at + 2]!) >> 2;
      const target = tone < 128 === away ? 255 : 0;
      for (let c = 0; c < raster.channels; c++) {
        const value = raster.data[at + c]!;
        raster.data[at + c] = value + Math.round(((target - value) * strength) / 255);
      }
    }
  }
}
