/** An image on its way to the screen: 8 bits, one (gray) or three (RGB) channels by pixel, rows from the top. */
export interface Raster {
  readonly columns: number;
  readonly rows: number;
  readonly channels: 1 | 3;
  readonly data: Uint8Array;
}

/** The part that lies inside; what is asked beyond the edges is left out. */
export function crop(raster: Raster, area: { x: number; y: number; width: number; height: number }): Raster {
  const left = Math.max(0, Math.min(raster.columns - 1, Math.floor(area.x)));
  const top = Math.max(0, Math.min(raster.rows - 1, Math.floor(area.y)));
  const columns = Math.max(1, Math.min(raster.columns - left, Math.round(area.width)));
  const rows = Math.max(1, Math.min(raster.rows - top, Math.round(area.height)));
  if (columns === raster.columns && rows === raster.rows) return raster;
  const { channels } = raster;
  const data = new Uint8Array(columns * rows * channels);
  for (let y = 0; y < rows; y++) {
    const from = ((top + y) * raster.columns + left) * channels;
    data.set(raster.data.subarray(from, from + columns * channels), y * columns * channels);
  }
  return { columns, rows, channels, data };
}

/** PS3.3 C.10.6: first the clockwise rotation, then the flip of what is then seen; a vertical flip is a rotation and a flip. */
export function turn(
  raster: Raster,
  rotate: 0 | 90 | 180 | 270,
  flipHorizontal: boolean,
  flipVertical: boolean,
): Raster {
  if (rotate === 0 && !flipHorizontal && !flipVertical) return raster;
  const swap = rotate === 90 || rotate === 270;
  const columns = swap ? raster.rows : raster.columns;
  const rows = swap ? raster.columns : raster.rows;
  const { channels } = raster;
  const data = new Uint8Array(raster.data.length);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const tx = flipHorizontal ? columns - 1 - x : x;
      const ty = flipVertical ? rows - 1 - y : y;
      let sx = tx;
      let sy = ty;
      if (rotate === 90) {
        sx = ty;
        sy = raster.rows - 1 - tx;
      } else if (rotate === 180) {
        sx = raster.columns - 1 - tx;
        sy = raster.rows - 1 - ty;
      } else if (rotate === 270) {
        sx = raster.columns - 1 - ty;
        sy = tx;
      }
      const from = (sy * raster.columns + sx) * channels;
      const to = (y * columns + x) * channels;
      for (let c = 0; c < channels; c++) data[to + c] = raster.data[from + c]!;
    }
  }
  return { columns, rows, channels, data };
}

/** Smaller by averaging areas, larger by linear interpolation; separable, weights in 16.16 fixed point. */
export function resize(raster: Raster, columns: number, rows: number): Raster {
  if (columns === raster.columns && rows === raster.rows) return raster;
  const narrow = columns === raster.columns ? raster.data : resizeColumns(raster, columns);
  const data = rows === raster.rows ? narrow : resizeRows(narrow, columns * raster.channels, raster.rows, rows);
  return { columns, rows, channels: raster.channels, data };
}

interface Taps {
  /** first source index of each target index */
  readonly first: Int32Array;
  readonly count: Int32Array;
  readonly offset: Int32Array;
  readonly weights: Int32Array;
}

const ONE = 65536;

function taps(from: number, to: number): Taps {
  const scale = from / to;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const offset = new Int32Array(to);
  const weights: number[] = [];
  for (let i = 0; i < to; i++) {
    offset[i] = weights.length;
    let start: number;
    const raw: number[] = [];
    if (scale >= 1) {
      const low = i * scale;
      const high = Math.min(from, (i + 1) * scale);
      start = Math.min(from - 1, Math.floor(low));
      for (let s = start; s < high; s++) raw.push(Math.min(s + 1, high) - Math.max(s, low));
    } else {
      const centre = Math.max(0, Math.min(from - 1, (i + 0.5) * scale - 0.5));
      start = Math.min(Math.floor(centre), Math.max(0, from - 2));
      const part = centre - start;
      raw.push(1 - part);
      if (from > 1) raw.push(part);
    }
    const total = raw.reduce((sum, w) => sum + w, 0);
    let left = ONE;
    raw.forEach((w, k) => {
      const fixed = k === raw.length - 1 ? left : Math.round((w / total) * ONE);
      left -= fixed;
      weights.push(fixed);
    });
    first[i] = start;
    count[i] = raw.length;
  }
  return { first, count, offset, weights: Int32Array.from(weights) };
}

function resizeColumns(raster: Raster, columns: number): Uint8Array {
  const { first, count, offset, weights } = taps(raster.columns, columns);
  const { channels, data, rows } = raster;
  const result = new Uint8Array(columns * rows * channels);
  for (let y = 0, to = 0; y < rows; y++) {
    const line = y * raster.columns * channels;
    for (let x = 0; x < columns; x++) {
      const n = count[x]!;
      const w = offset[x]!;
      for (let c = 0; c < channels; c++) {
        let sum = ONE >> 1;
        let from = line + first[x]! * channels + c;
        for (let k = 0; k < n; k++, from += channels) sum += data[from]! * weights[w + k]!;
        result[to++] = sum >> 16;
      }
    }
  }
  return result;
}

function resizeRows(data: Uint8Array, stride: number, from: number, to: number): Uint8Array {
  const { first, count, offset, weights } = taps(from, to);
  const result = new Uint8Array(stride * to);
  const sums = new Int32Array(stride);
  for (let y = 0; y < to; y++) {
    sums.fill(ONE >> 1);
    for (let k = 0; k < count[y]!; k++) {
      const weight = weights[offset[y]! + k]!;
      const line = (first[y]! + k) * stride;
      for (let x = 0; x < stride; x++) sums[x]! += data[line + x]! * weight;
    }
    for (let x = 0; x < stride; x++) result[y * stride + x] = sums[x]! >> 16;
  }
  return result;
}
