import {
  DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
  DEFLATED_IMAGE_FRAME,
  ENCAPSULATED_UNCOMPRESSED,
  EXPLICIT_VR_BIG_ENDIAN,
  EXPLICIT_VR_LITTLE_ENDIAN,
  HTJ2K,
  HTJ2K_LOSSLESS,
  HTJ2K_LOSSLESS_RPCL,
  IMPLICIT_VR_LITTLE_ENDIAN,
  JPEG_2000,
  JPEG_2000_LOSSLESS,
  JPEG_2000_PART_2,
  JPEG_2000_PART_2_LOSSLESS,
  JPEG_BASELINE,
  JPEG_EXTENDED,
  JPEG_FULL_PROGRESSION,
  JPEG_LOSSLESS,
  JPEG_LOSSLESS_SV1,
  JPEG_LS_LOSSLESS,
  JPEG_LS_NEAR_LOSSLESS,
  JPEG_SPECTRAL_SELECTION,
  JPEG_XL,
  JPEG_XL_LOSSLESS,
  JPEG_XL_RECOMPRESSION,
  RLE_LOSSLESS,
} from '../dicom/transfer-syntaxes.ts';

/** Which codec reads and writes a transfer syntax (PS3.5 Annex A, PS3.6 Table A-1). What is absent here cannot be decoded. */
export type Coding =
  | 'native'
  | 'uncompressedFrame'
  | 'deflatedFrame'
  | 'rle'
  | 'jpeg'
  | 'jpegLs'
  | 'jpeg2000'
  | 'jpegXl';

export interface PixelSyntax {
  readonly coding: Coding;
  /** samples come back exactly as they were */
  readonly lossless: boolean;
  /** we can also write it */
  readonly encodes: boolean;
}

const entry = (coding: Coding, lossless: boolean, encodes: boolean): PixelSyntax => ({ coding, lossless, encodes });

export const PIXEL_SYNTAXES: Readonly<Record<string, PixelSyntax>> = {
  [IMPLICIT_VR_LITTLE_ENDIAN]: entry('native', true, true),
  [EXPLICIT_VR_LITTLE_ENDIAN]: entry('native', true, true),
  [DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN]: entry('native', true, true),
  [EXPLICIT_VR_BIG_ENDIAN]: entry('native', true, true),
  // a fragment a frame
  [ENCAPSULATED_UNCOMPRESSED]: entry('uncompressedFrame', true, true),
  [DEFLATED_IMAGE_FRAME]: entry('deflatedFrame', true, true),
  [RLE_LOSSLESS]: entry('rle', true, true),
  [JPEG_BASELINE]: entry('jpeg', false, true),
  // read with up to 12 bits; we could only write 8, which Baseline is for
  [JPEG_EXTENDED]: entry('jpeg', false, false),
  // retired processes that libijg reads: spectral selection, full progression
  [JPEG_SPECTRAL_SELECTION]: entry('jpeg', false, false),
  [JPEG_FULL_PROGRESSION]: entry('jpeg', false, false),
  [JPEG_LOSSLESS]: entry('jpeg', true, true),
  [JPEG_LOSSLESS_SV1]: entry('jpeg', true, true),
  [JPEG_LS_LOSSLESS]: entry('jpegLs', true, true),
  [JPEG_LS_NEAR_LOSSLESS]: entry('jpegLs', false, true),
  [JPEG_2000_LOSSLESS]: entry('jpeg2000', true, true),
  [JPEG_2000]: entry('jpeg2000', false, true),
  // part 2 multi-component: frames without a multiple component collection decode as part 1
  [JPEG_2000_PART_2_LOSSLESS]: entry('jpeg2000', true, false),
  [JPEG_2000_PART_2]: entry('jpeg2000', false, false),
  [JPEG_XL_LOSSLESS]: entry('jpegXl', true, true),
  [JPEG_XL_RECOMPRESSION]: entry('jpegXl', false, false),
  [JPEG_XL]: entry('jpegXl', false, true),
  [HTJ2K_LOSSLESS]: entry('jpeg2000', true, true),
  [HTJ2K_LOSSLESS_RPCL]: entry('jpeg2000', true, true),
  [HTJ2K]: entry('jpeg2000', false, true),
};

/** what we write */
export const PRODUCED_SYNTAXES: readonly string[] = Object.keys(PIXEL_SYNTAXES).filter(
  (uid) => PIXEL_SYNTAXES[uid]!.encodes,
);

/** written with the High Throughput block coder */
export const isHighThroughput = (uid: string): boolean =>
  uid === HTJ2K_LOSSLESS || uid === HTJ2K_LOSSLESS_RPCL || uid === HTJ2K;
/** HTJ2K with RPCL progression */
export const isRpcl = (uid: string): boolean => uid === HTJ2K_LOSSLESS_RPCL;
/** JPEG 2000 in which we write colour of more than 8 bits (joined-components.ts) */
export const holdsWideColour = (uid: string): boolean => uid === JPEG_2000_LOSSLESS || uid === HTJ2K_LOSSLESS;
