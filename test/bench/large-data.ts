import { ctPixels } from './data.ts';
import {
  EXPLICIT_VR_LITTLE_ENDIAN,
  element,
  elementHeader,
  imagePixel,
  MULTIFRAME_GRAYSCALE_WORD_SC,
  preambleAndMeta,
} from './encode.ts';

/** Encapsulated Uncompressed Explicit VR Little Endian (PS3.5 A.4.11): native frames in fragments, so over 4 GiB are possible. */
const ENCAPSULATED_UNCOMPRESSED = '1.2.840.10008.1.2.1.98';

export interface LargeObject {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  readonly frames: number;
  readonly sizeBytes: number;
  /** The bytes of frame `number`, from 1: the same picture over and over with its number in the first four bytes. */
  frame(number: number): Buffer;
  /** The Part 10 file, piece by piece. */
  pieces(): Generator<Buffer>;
}

/**
 * A multi-frame of 512 × 512 × 2 bytes a frame that is never held: 954 frames are 500 MB.
 * @param encapsulated one fragment a frame, with Extended Offset Table; needed for more than 8191 frames (32-bit lengths)
 */
export function largeObject(seed: number, frames: number, { encapsulated = false } = {}): LargeObject {
  const StudyInstanceUID = `1.2.826.0.1.3680043.10.1462.6.${seed}`;
  const SeriesInstanceUID = `${StudyInstanceUID}.1`;
  const SOPInstanceUID = `${SeriesInstanceUID}.1`;
  const picture = ctPixels(512, 512, 4);
  const header = Buffer.concat([
    preambleAndMeta(
      MULTIFRAME_GRAYSCALE_WORD_SC,
      SOPInstanceUID,
      encapsulated ? ENCAPSULATED_UNCOMPRESSED : EXPLICIT_VR_LITTLE_ENDIAN,
    ),
    element(0x00080005, 'CS', 'ISO_IR 100'),
    element(0x00080008, 'CS', 'ORIGINAL\\PRIMARY'),
    element(0x00080016, 'UI', MULTIFRAME_GRAYSCALE_WORD_SC),
    element(0x00080018, 'UI', SOPInstanceUID),
    element(0x00080020, 'DA', '20260102'),
    element(0x00080030, 'TM', '081500'),
    element(0x00080050, 'SH', `L${seed}`),
    element(0x00080060, 'CS', 'OT'),
    element(0x00080064, 'CS', 'WSD'),
    element(0x00080090, 'PN', ''),
    element(0x00100010, 'PN', 'Large^Object'),
    element(0x00100020, 'LO', `L${seed}`),
    element(0x00100030, 'DA', ''),
    element(0x00100040, 'CS', ''),
    element(0x0020000d, 'UI', StudyInstanceUID),
    element(0x0020000e, 'UI', SeriesInstanceUID),
    element(0x00200010, 'SH', '1'),
    element(0x00200011, 'IS', '1'),
    element(0x00200013, 'IS', '1'),
    ...imagePixel(512, 512, frames),
    ...(encapsulated ? extendedOffsetTable(frames, picture.length) : []),
    elementHeader(0x7fe00010, encapsulated ? 'OB' : 'OW', encapsulated ? 0xffffffff : frames * picture.length),
    ...(encapsulated ? [item(0)] : []),
  ]);
  const frame = (number: number): Buffer => {
    const copy = Buffer.from(picture);
    copy.writeUInt32LE(number);
    return copy;
  };
  const framing = encapsulated ? frames * 8 + 8 : 0;
  return {
    StudyInstanceUID,
    SeriesInstanceUID,
    SOPInstanceUID,
    frames,
    sizeBytes: header.length + frames * picture.length + framing,
    frame,
    *pieces() {
      yield header;
      for (let number = 1; number <= frames; number++) {
        if (encapsulated) yield item(picture.length);
        yield frame(number);
      }
      if (encapsulated) yield Buffer.from([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
    },
  };
}

function item(length: number): Buffer {
  const header = Buffer.from([0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0]);
  header.writeUInt32LE(length, 4);
  return header;
}

/** PS3.3 C.7.6.3.1.8: offsets count from the first byte after the Basic Offset Table item. */
function extendedOffsetTable(frames: number, frameBytes: number): Buffer[] {
  const offsets = new BigUint64Array(frames).map((_, i) => BigInt(i) * BigInt(frameBytes + 8));
  const lengths = new BigUint64Array(frames).fill(BigInt(frameBytes));
  return [
    element(0x7fe00001, 'OV', Buffer.from(offsets.buffer)),
    element(0x7fe00002, 'OV', Buffer.from(lengths.buffer)),
  ];
}
