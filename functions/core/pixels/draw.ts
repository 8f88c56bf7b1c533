import type { DecodedFrame, Graphic, OverlayPlane, Shutter } from '../ports/pixel-engine.ts';
import { CELL, eachDot } from './font.ts';
import type { Raster } from './raster.ts';
import { typed } from './samples.ts';

const WHITE = 255;

function paint(raster: Raster, x: number, y: number, value: number): void {
  if (x < 0 || y < 0 || x >= raster.columns || y >= raster.rows) return;
  const at = (y * raster.columns + x) * raster.channels;
  for (let c = 0; c < raster.channels; c++) raster.data[at + c] = value;
}

/** Overlay planes (PS3.3 C.9.2), in image pixels. */
export function drawOverlay(raster: Raster, overlay: OverlayPlane, frame: DecodedFrame): void {
  const top = overlay.origin[0] - 1;
  const left = overlay.origin[1] - 1;
  const shade = overlay.shade ?? WHITE;
  if (overlay.bits !== undefined) {
    const { bits } = overlay;
    for (let y = 0, i = 0; y < overlay.rows; y++) {
      for (let x = 0; x < overlay.columns; x++, i++) {
        if (((bits[i >> 3] ?? 0) >> (i & 7)) & 1) paint(raster, left + x, top + y, shade);
      }
    }
  } else if (overlay.embeddedBit !== undefined) {
    const values = typed(frame.samples, frame.image);
    const bit = overlay.embeddedBit;
    const count = raster.columns * raster.rows;
    for (let i = 0; i < count; i++) {
      if ((values[i]! >> bit) & 1) paint(raster, i % raster.columns, Math.floor(i / raster.columns), shade);
    }
  }
}

/** Everything outside any shutter is black (PS3.3 C.7.6.11: the shutters combine). */
export function applyShutters(raster: Raster, shutters: readonly Shutter[]): void {
  for (let y = 0; y < raster.rows; y++) {
    for (let x = 0; x < raster.columns; x++) {
      if (!shutters.every((shutter) => inside(shutter, x + 1, y + 1))) paint(raster, x, y, 0);
    }
  }
}

function inside(shutter: Shutter, column: number, row: number): boolean {
  if (shutter.kind === 'RECTANGULAR') {
    return column >= shutter.left && column <= shutter.right && row >= shutter.upper && row <= shutter.lower;
  }
  if (shutter.kind === 'CIRCULAR')
    return (column - shutter.column) ** 2 + (row - shutter.row) ** 2 <= shutter.radius ** 2;
  const { vertices } = shutter;
  let odd = false;
  for (let i = 0, j = vertices.length - 2; i + 1 < vertices.length; j = i, i += 2) {
    const r1 = vertices[i]!;
    const c1 = vertices[i + 1]!;
    const r2 = vertices[j]!;
    const c2 = vertices[j + 1]!;
    if (r1 > row !== r2 > row && column < ((c2 - c1) * (row - r1)) / (r2 - r1) + c1) odd = !odd;
  }
  return odd;
}

/** Graphic and text objects of a presentation state (PS3.3 C.10.5), one pixel wide. */
export function drawGraphic(raster: Raster, graphic: Graphic): void {
  const { points: p, shade = WHITE } = graphic;
  switch (graphic.kind) {
    case 'POINT':
      for (let i = 0; i + 1 < p.length; i += 2) line(raster, p[i]! - 1, p[i + 1]! - 1, p[i]! - 1, p[i + 1]! - 1, shade);
      break;
    case 'POLYLINE':
      for (let i = 2; i + 1 < p.length; i += 2)
        line(raster, p[i - 2]! - 1, p[i - 1]! - 1, p[i]! - 1, p[i + 1]! - 1, shade);
      break;
    case 'CIRCLE':
      if (p.length >= 4) {
        const radius = Math.hypot(p[2]! - p[0]!, p[3]! - p[1]!);
        ellipse(raster, p[0]! - 1, p[1]! - 1, radius, 0, radius, shade);
      }
      break;
    case 'ELLIPSE':
      if (p.length >= 8) {
        const dx = p[2]! - p[0]!;
        const dy = p[3]! - p[1]!;
        const minor = Math.hypot(p[6]! - p[4]!, p[7]! - p[5]!) / 2;
        ellipse(
          raster,
          (p[0]! + p[2]!) / 2 - 1,
          (p[1]! + p[3]!) / 2 - 1,
          Math.hypot(dx, dy) / 2,
          Math.atan2(dy, dx),
          minor,
          shade,
        );
      }
      break;
    case 'TEXT':
      if (p.length >= 2) {
        const lines = (graphic.text ?? '').split(/\r\n|\r|\n/);
        lines.forEach((text, i) => {
          drawText(raster, text, Math.round(p[0]! - 1), Math.round(p[1]! - 1) + i * CELL.height, 1, shade);
        });
      }
      break;
  }
}

function ellipse(
  raster: Raster,
  cx: number,
  cy: number,
  major: number,
  angle: number,
  minor: number,
  shade: number,
): void {
  // a presentation state may ask for a circle of any size; its outline never needs more points than this
  const steps = Math.max(12, Math.min(4096, Math.ceil(2 * Math.PI * Math.max(major, minor))));
  let lastX = 0;
  let lastY = 0;
  for (let i = 0; i <= steps; i++) {
    const t = (i / steps) * 2 * Math.PI;
    const x = cx + major * Math.cos(t) * Math.cos(angle) - minor * Math.sin(t) * Math.sin(angle);
    const y = cy + major * Math.cos(t) * Math.sin(angle) + minor * Math.sin(t) * Math.cos(angle);
    if (i > 0) line(raster, lastX, lastY, x, y, shade);
    lastX = x;
    lastY = y;
  }
}

function line(raster: Raster, x1: number, y1: number, x2: number, y2: number, shade: number): void {
  if (![x1, y1, x2, y2].every(Number.isFinite)) return;
  const steps = Math.min(65536, Math.max(1, Math.ceil(Math.max(Math.abs(x2 - x1), Math.abs(y2 - y1)))));
  for (let i = 0; i <= steps; i++) {
    paint(raster, Math.round(x1 + ((x2 - x1) * i) / steps), Math.round(y1 + ((y2 - y1) * i) / steps), shade);
  }
}

/** With a shadow that is black, or white under dark text, so that it is read on any ground. */
function drawText(raster: Raster, text: string, left: number, top: number, scale: number, shade = WHITE): void {
  for (const [offset, value] of [
    [1, shade < 128 ? WHITE : 0],
    [0, shade],
  ] as const) {
    eachDot(text, (x, y) => {
      for (let dy = 0; dy < scale; dy++) {
        for (let dx = 0; dx < scale; dx++)
          paint(raster, left + x * scale + dx + offset, top + y * scale + dy + offset, value);
      }
    });
  }
}

export function drawAnnotations(
  raster: Raster,
  annotations: { readonly topLeft: readonly string[]; readonly bottomLeft: readonly string[] },
): void {
  const scale = Math.max(1, Math.round(Math.min(raster.columns, raster.rows) / 400));
  const margin = 4 * scale;
  const step = CELL.height * scale;
  annotations.topLeft.forEach((text, i) => {
    drawText(raster, text, margin, margin + i * step, scale);
  });
  const { length } = annotations.bottomLeft;
  annotations.bottomLeft.forEach((text, i) => {
    drawText(raster, text, margin, raster.rows - margin - (length - i) * step, scale);
  });
}
