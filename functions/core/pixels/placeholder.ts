import { EXPLICIT_VR_LITTLE_ENDIAN } from '../dicom/transfer-syntaxes.ts';
import type { EncodedFrame } from '../ports/pixel-engine.ts';
import { CELL, eachDot } from './font.ts';

/** What stands for an object without a picture: a sheet of paper, or a film strip, and a word. As a frame, so that the engine draws it. */
export function placeholder(label: string, video: boolean): EncodedFrame {
  const side = 128;
  const samples = new Uint8Array(side * side).fill(0x20);
  const box = (x: number, y: number, width: number, height: number, value: number): void => {
    for (let row = y; row < y + height; row++) samples.fill(value, row * side + x, row * side + x + width);
  };
  if (video) {
    box(20, 24, 88, 64, 0x70);
    for (let i = 0; i < 6; i++) {
      box(25 + i * 14, 28, 7, 6, 0x20);
      box(25 + i * 14, 78, 7, 6, 0x20);
    }
    for (let i = 0; i < 24; i++) box(54, 44 + i, Math.min(i, 24 - i) + 1, 1, 0xe0);
  } else {
    box(36, 14, 56, 76, 0xd0);
    // the folded corner
    for (let i = 0; i < 16; i++) box(76 + i, 14, 16 - i, 1, 0x20);
    for (let i = 0; i < 16; i++) box(77 + i, 14 + i, 16 - i - 1, 1, 0x20);
    for (let i = 0; i < 6; i++) box(44, 36 + i * 8, i === 5 ? 24 : 40, 3, 0x90);
  }
  const text = label.slice(0, 10);
  const left = Math.round((side - text.length * CELL.width * 2) / 2);
  eachDot(text, (x, y) => box(left + x * 2, 98 + y * 2, 2, 2, 0xe0));
  return {
    codestream: samples,
    transferSyntaxUID: EXPLICIT_VR_LITTLE_ENDIAN,
    image: {
      Rows: side,
      Columns: side,
      SamplesPerPixel: 1,
      PhotometricInterpretation: 'MONOCHROME2',
      PlanarConfiguration: 0,
      BitsAllocated: 8,
      BitsStored: 8,
      HighBit: 7,
      PixelRepresentation: 0,
    },
  };
}
