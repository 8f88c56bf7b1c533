import { crc32, deflateSync } from 'node:zlib';
import type { Raster } from './raster.ts';

/** PNG (ISO 15948): 8 bits, gray or RGB; each row as the difference to the one above, which suits images. */
export function encodePng(raster: Raster, iccProfile?: Uint8Array): Uint8Array {
  const { columns, rows, channels, data } = raster;
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, columns);
  view.setUint32(4, rows);
  header.set([8, channels === 3 ? 2 : 0, 0, 0, 0], 8);
  const stride = columns * channels;
  const filtered = new Uint8Array((stride + 1) * rows);
  for (let y = 0; y < rows; y++) {
    const to = y * (stride + 1);
    const from = y * stride;
    if (y === 0) {
      filtered.set(data.subarray(0, stride), 1);
      continue;
    }
    filtered[to] = 2;
    for (let x = 0; x < stride; x++) filtered[to + 1 + x] = data[from + x]! - data[from - stride + x]!;
  }
  const parts = [Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a), chunk('IHDR', header)];
  if (iccProfile !== undefined) {
    const name = Buffer.from('ICC profile\0\0', 'latin1');
    parts.push(chunk('iCCP', Buffer.concat([name, deflateSync(iccProfile)])));
  }
  parts.push(chunk('IDAT', deflateSync(filtered, { level: 3 })), chunk('IEND', new Uint8Array(0)));
  return new Uint8Array(Buffer.concat(parts));
}

function chunk(type: string, body: Uint8Array): Uint8Array {
  const result = Buffer.alloc(body.length + 12);
  result.writeUInt32BE(body.length, 0);
  result.write(type, 4, 'latin1');
  result.set(body, 8);
  result.writeUInt32BE(crc32(result.subarray(4, 8 + body.length)), 8 + body.length);
  return result;
}
