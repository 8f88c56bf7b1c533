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

const UID = '1.2.840.10008.1.2';

export const IMPLICIT_VR_LITTLE_ENDIAN = UID;
export const EXPLICIT_VR_LITTLE_ENDIAN = `${UID}.1`;
export const DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = `${UID}.1.99`;
export const EXPLICIT_VR_BIG_ENDIAN = `${UID}.2`;

export const JPEG_XL_RECOMPRESSION = `${UID}.4.111`;

export const PIXEL_SYNTAXES: Readonly<Record<string, PixelSyntax>> = {
  [IMPLICIT_VR_LITTLE_ENDIAN]: entry('native', true, true),
  [EXPLICIT_VR_LITTLE_ENDIAN]: entry('native', true, true),
  [DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN]: entry('native', true, true),
  [EXPLICIT_VR_BIG_ENDIAN]: entry('native', true, true),
  // Encapsulated Uncompressed Explicit VR Little Endian: a fragment a frame
  [`${UID}.1.98`]: entry('uncompressedFrame', true, true),
  // Deflated Image Frame Compression
  [`${UID}.8.1`]: entry('deflatedFrame', true, true),
  [`${UID}.5`]: entry('rle', true, true),
  // JPEG Baseline; Extended (12 bits are read, only 8 written, which is what .50 is for)
  [`${UID}.4.50`]: entry('jpeg', false, true),
  [`${UID}.4.51`]: entry('jpeg', false, false),
  // retired processes that libijg reads: spectral selection, full progression
  [`${UID}.4.53`]: entry('jpeg', false, false),
  [`${UID}.4.55`]: entry('jpeg', false, false),
  [`${UID}.4.57`]: entry('jpeg', true, true),
  [`${UID}.4.70`]: entry('jpeg', true, true),
  [`${UID}.4.80`]: entry('jpegLs', true, true),
  [`${UID}.4.81`]: entry('jpegLs', false, true),
  [`${UID}.4.90`]: entry('jpeg2000', true, true),
  [`${UID}.4.91`]: entry('jpeg2000', false, true),
  // part 2 multi-component: frames without a multiple component collection decode as part 1
  [`${UID}.4.92`]: entry('jpeg2000', true, false),
  [`${UID}.4.93`]: entry('jpeg2000', false, false),
  [`${UID}.4.110`]: entry('jpegXl', true, true),
  [JPEG_XL_RECOMPRESSION]: entry('jpegXl', false, false),
  [`${UID}.4.112`]: entry('jpegXl', false, true),
  [`${UID}.4.201`]: entry('jpeg2000', true, true),
  [`${UID}.4.202`]: entry('jpeg2000', true, true),
  [`${UID}.4.203`]: entry('jpeg2000', false, true),
};

/** what we write */
export const PRODUCED_SYNTAXES: readonly string[] = Object.keys(PIXEL_SYNTAXES).filter(
  (uid) => PIXEL_SYNTAXES[uid]!.encodes,
);

/** written with the High Throughput block coder */
export const isHighThroughput = (uid: string): boolean => uid.startsWith(`${UID}.4.20`);
/** HTJ2K with RPCL progression */
export const isRpcl = (uid: string): boolean => uid === `${UID}.4.202`;

export const isVideo = (uid: string): boolean =>
  /^1\.2\.840\.10008\.1\.2\.4\.10[0-8]$/.test(uid) || /^1\.2\.840\.10008\.1\.2\.4\.10[0-8]\.1$/.test(uid);
