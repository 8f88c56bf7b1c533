import type { Raster } from './raster.ts';

/**
 * An animated GIF (GIF89a): 256 grays, or a colour cube of 6×7×6. Good enough to look at a cine loop where nothing else plays;
 * for diagnosis there are PNG and the frames themselves.
 */
export function encodeGif(frames: readonly Raster[], delayMs: number): Uint8Array {
  const first = frames[0]!;
  const gray = frames.every((frame) => frame.channels === 1);
  const palette = new Uint8Array(768);
  for (let i = 0; i < 256; i++) {
    const rgb = gray ? [i, i, i] : [Math.floor(i / 42) * 51, (Math.floor(i / 6) % 7) * 42.5, (i % 6) * 51];
    palette.set(
      rgb.map((v) => Math.min(255, Math.round(v))),
      i * 3,
    );
  }
  const out: Uint8Array[] = [];
  const screen = Buffer.alloc(13);
  screen.write('GIF89a', 'latin1');
  screen.writeUInt16LE(first.columns, 6);
  screen.writeUInt16LE(first.rows, 8);
  screen[10] = 0xf7;
  out.push(screen, palette, Buffer.from('\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00', 'latin1'));
  for (const frame of frames) {
    const head = Buffer.alloc(19);
    head.set([0x21, 0xf9, 4, 0]);
    head.writeUInt16LE(Math.max(2, Math.round(delayMs / 10)), 4);
    head[8] = 0x2c;
    head.writeUInt16LE(frame.columns, 13);
    head.writeUInt16LE(frame.rows, 15);
    head[18] = 8;
    out.push(head, lzw(indices(frame, gray)));
  }
  out.push(Uint8Array.of(0x3b));
  return new Uint8Array(Buffer.concat(out));
}

function indices(frame: Raster, gray: boolean): Uint8Array {
  if (gray) return frame.data;
  const { data, channels } = frame;
  const count = frame.columns * frame.rows;
  const result = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const at = i * channels;
    const r = data[at]!;
    const g = channels === 3 ? data[at + 1]! : r;
    const b = channels === 3 ? data[at + 2]! : r;
    result[i] = Math.round(r / 51) * 42 + Math.round(g / 42.5) * 6 + Math.round(b / 51);
  }
  return result;
}

/** LZW with codes of 9 to 12 bits, in sub-blocks of 255 bytes. */
function lzw(source: Uint8Array): Uint8Array {
  const CLEAR = 256;
  const END = 257;
  const codes: number[] = [];
  let bits = 0;
  let held = 0;
  let size = 9;
  const emit = (code: number): void => {
    held |= code << bits;
    bits += size;
    while (bits >= 8) {
      codes.push(held & 255);
      held >>>= 8;
      bits -= 8;
    }
  };
  // next code of (prefix, byte): 4096 × 256, 0 where none
  const table = new Uint16Array(4096 * 256);
  let next = 258;
  emit(CLEAR);
  let prefix = source[0] ?? 0;
  for (let i = 1; i < source.length; i++) {
    const slot = (prefix << 8) | source[i]!;
    if (table[slot] !== 0) {
      prefix = table[slot]!;
      continue;
    }
    emit(prefix);
    if (next === 4096) {
      emit(CLEAR);
      table.fill(0);
      next = 258;
      size = 9;
    } else {
      table[slot] = next;
      if (next === 1 << size && size < 12) size++;
      next++;
    }
    prefix = source[i]!;
  }
  emit(prefix);
  emit(END);
  if (bits > 0) codes.push(held & 255);
  const blocks = Math.ceil(codes.length / 255);
  const result = new Uint8Array(codes.length + blocks + 1);
  let to = 0;
  for (let at = 0; at < codes.length; at += 255) {
    const block = codes.slice(at, at + 255);
    result[to++] = block.length;
    result.set(block, to);
    to += block.length;
  }
  return result;
}
