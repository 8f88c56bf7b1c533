/** Encoding of explicit VR little endian data sets, as little as the measuring data needs. */

const LONG_VRS = new Set(['OB', 'OV', 'OW', 'UN', 'SQ', 'UT']);

/** One explicit VR little endian element. Text is padded as PS3.5 §6.2 wants. */
export function element(tag: number, vr: string, value: string | number[] | Buffer): Buffer {
  let bytes: Buffer;
  if (typeof value === 'string') {
    bytes = Buffer.from(value, 'utf8');
    if (bytes.length % 2 === 1) bytes = Buffer.concat([bytes, Buffer.from(vr === 'UI' ? '\0' : ' ')]);
  } else if (Array.isArray(value)) {
    bytes = Buffer.alloc(value.length * (vr === 'US' ? 2 : 4));
    value.forEach((number, i) => {
      if (vr === 'US') bytes.writeUInt16LE(number, i * 2);
      else bytes.writeUInt32LE(number, i * 4);
    });
  } else {
    bytes = value;
  }
  return Buffer.concat([elementHeader(tag, vr, bytes.length), bytes]);
}

export function elementHeader(tag: number, vr: string, length: number): Buffer {
  const long = LONG_VRS.has(vr);
  const header = Buffer.alloc(long ? 12 : 8);
  header.writeUInt16LE(tag >>> 16, 0);
  header.writeUInt16LE(tag & 0xffff, 2);
  header.write(vr, 4, 'latin1');
  if (long) header.writeUInt32LE(length, 8);
  else header.writeUInt16LE(length, 6);
  return header;
}

export function sequence(tag: number, ...items: Buffer[][]): Buffer {
  const encoded = items.map((elements) => {
    const body = Buffer.concat(elements);
    const header = Buffer.from([0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0]);
    header.writeUInt32LE(body.length, 4);
    return Buffer.concat([header, body]);
  });
  return element(tag, 'SQ', Buffer.concat(encoded));
}

export const EXPLICIT_VR_LITTLE_ENDIAN = '1.2.840.10008.1.2.1';
export const CT_IMAGE_STORAGE = '1.2.840.10008.5.1.4.1.1.2';
export const MULTIFRAME_GRAYSCALE_WORD_SC = '1.2.840.10008.5.1.4.1.1.7.3';

export function preambleAndMeta(
  SOPClassUID: string,
  SOPInstanceUID: string,
  transferSyntaxUID = EXPLICIT_VR_LITTLE_ENDIAN,
): Buffer {
  const meta = Buffer.concat([
    element(0x00020001, 'OB', Buffer.from([0, 1])),
    element(0x00020002, 'UI', SOPClassUID),
    element(0x00020003, 'UI', SOPInstanceUID),
    element(0x00020010, 'UI', transferSyntaxUID),
    element(0x00020012, 'UI', '1.2.826.0.1.3680043.10.1462.1'),
    element(0x00020013, 'SH', 'NEPHOS_BENCH'),
  ]);
  const groupLength = Buffer.alloc(4);
  groupLength.writeUInt32LE(meta.length);
  return Buffer.concat([Buffer.alloc(128), Buffer.from('DICM'), element(0x00020000, 'UL', groupLength), meta]);
}

/** The Image Pixel module and the window of a CT. */
export function imagePixel(rows: number, columns: number, frames?: number): Buffer[] {
  return [
    element(0x00280002, 'US', [1]),
    element(0x00280004, 'CS', 'MONOCHROME2'),
    ...(frames === undefined ? [] : [element(0x00280008, 'IS', String(frames))]),
    element(0x00280010, 'US', [rows]),
    element(0x00280011, 'US', [columns]),
    element(0x00280030, 'DS', '0.488281\\0.488281'),
    element(0x00280100, 'US', [16]),
    element(0x00280101, 'US', [12]),
    element(0x00280102, 'US', [11]),
    element(0x00280103, 'US', [0]),
    element(0x00281050, 'DS', '1064'),
    element(0x00281051, 'DS', '400'),
    element(0x00281052, 'DS', '-1024'),
    element(0x00281053, 'DS', '1'),
    element(0x00281054, 'LO', 'HU'),
  ];
}
