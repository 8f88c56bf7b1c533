import { PacsError } from '../errors.ts';

/**
 * RLE Lossless (PS3.5 Annex G): byte planes, most significant first, of each sample, packed with PackBits.
 * Result: little endian, colour by pixel. @throws PacsError UNREADABLE_DATASET
 */
export function decodeRle(codestream: Uint8Array, pixels: number, samples: number, bytesPerSample: number): Uint8Array {
  const planes = samples * bytesPerSample;
  const view = new DataView(codestream.buffer, codestream.byteOffset, codestream.byteLength);
  if (codestream.length < 64 || view.getUint32(0, true) !== planes) {
    throw new PacsError('UNREADABLE_DATASET', 'RLE header does not fit the image');
  }
  const result = new Uint8Array(pixels * planes);
  for (let plane = 0; plane < planes; plane++) {
    const start = view.getUint32(4 + 4 * plane, true);
    const next = plane + 1 < planes ? view.getUint32(8 + 4 * plane, true) : codestream.length;
    if (start < 64 || start > next || next > codestream.length) {
      throw new PacsError('UNREADABLE_DATASET', 'RLE segment lies outside the codestream');
    }
    const sample = Math.floor(plane / bytesPerSample);
    const first = sample * bytesPerSample + (bytesPerSample - 1 - (plane % bytesPerSample));
    unpack(codestream, start, next, result, first, planes, pixels);
  }
  return result;
}

function unpack(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  first: number,
  step: number,
  count: number,
): void {
  let at = start;
  let to = first;
  let left = count;
  while (left > 0 && at < end) {
    const control = source[at++]!;
    if (control === 128) continue;
    if (control < 128) {
      const run = Math.min(control + 1, left, end - at);
      for (let i = 0; i < run; i++, to += step) target[to] = source[at + i]!;
      at += control + 1;
      left -= run;
    } else {
      if (at >= end) break;
      const value = source[at++]!;
      const run = Math.min(257 - control, left);
      for (let i = 0; i < run; i++, to += step) target[to] = value;
      left -= run;
    }
  }
  if (left > 0) throw new PacsError('UNREADABLE_DATASET', 'RLE segment ends early');
}

/** The inverse; every segment and the whole have even length. Rows start a new run (PS3.5 G.3.1). */
export function encodeRle(
  data: Uint8Array,
  columns: number,
  rows: number,
  samples: number,
  bytesPerSample: number,
): Uint8Array {
  const planes = samples * bytesPerSample;
  if (planes > 15) throw new PacsError('UNSUPPORTED_TRANSFER_SYNTAX', 'RLE holds at most 15 byte planes');
  // worst case of PackBits: one control byte for 128 literals, per row
  const worst = 64 + planes * (rows * (columns + Math.ceil(columns / 128)) + 1);
  const out = new Uint8Array(worst);
  const view = new DataView(out.buffer);
  view.setUint32(0, planes, true);
  const row = new Uint8Array(columns);
  let at = 64;
  for (let plane = 0; plane < planes; plane++) {
    view.setUint32(4 + 4 * plane, at, true);
    const sample = Math.floor(plane / bytesPerSample);
    let from = sample * bytesPerSample + (bytesPerSample - 1 - (plane % bytesPerSample));
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++, from += planes) row[x] = data[from]!;
      at = packRow(row, out, at);
    }
    if (at % 2 === 1) at++;
  }
  return out.slice(0, at);
}

function packRow(row: Uint8Array, out: Uint8Array, start: number): number {
  const length = row.length;
  let at = start;
  let i = 0;
  while (i < length) {
    let run = 1;
    while (run < 128 && i + run < length && row[i + run] === row[i]) run++;
    if (run >= 2) {
      out[at++] = 257 - run;
      out[at++] = row[i]!;
      i += run;
      continue;
    }
    let end = i + 1;
    while (end < length && end - i < 128 && !(row[end] === row[end + 1] && row[end] === row[end + 2])) end++;
    out[at++] = end - i - 1;
    out.set(row.subarray(i, end), at);
    at += end - i;
    i = end;
  }
  return at;
}
