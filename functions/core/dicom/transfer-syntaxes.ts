/** How the pixel data of a transfer syntax is compressed. `none`: native, or native frames put into fragments. */
export type CodecFamily =
  | 'none'
  | 'rle'
  | 'deflate'
  | 'jpeg'
  | 'jpegls'
  | 'jpeg2000'
  | 'htj2k'
  | 'jpegxl'
  | 'mpeg2'
  | 'h264'
  | 'h265'
  | 'jpip'
  | 'smpte'
  | 'unknown';

/** PS3.5 Annex A, PS3.6 Table A-1. */
export interface TransferSyntax {
  readonly UID: string;
  readonly name: string;
  readonly explicitVR: boolean;
  readonly littleEndian: boolean;
  /** the whole data set is deflated (RFC 1951) */
  readonly deflated: boolean;
  readonly encapsulated: boolean;
  /** can lose information; what allows both counts as lossy */
  readonly lossy: boolean;
  readonly codec: CodecFamily;
  /** one stream for all frames: frames cannot be cut out */
  readonly video: boolean;
  readonly retired: boolean;
}

const ROOT = '1.2.840.10008.1.2';

export const IMPLICIT_VR_LITTLE_ENDIAN = ROOT;
export const EXPLICIT_VR_LITTLE_ENDIAN = `${ROOT}.1`;
export const EXPLICIT_VR_BIG_ENDIAN = `${ROOT}.2`;
export const DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = `${ROOT}.1.99`;
export const ENCAPSULATED_UNCOMPRESSED = `${ROOT}.1.98`;
export const DEFLATED_IMAGE_FRAME = `${ROOT}.8.1`;
export const JPEG_BASELINE = `${ROOT}.4.50`;
export const JPEG_EXTENDED = `${ROOT}.4.51`;
/** retired (Process 6 and 8) */
export const JPEG_SPECTRAL_SELECTION = `${ROOT}.4.53`;
/** retired (Process 10 and 12) */
export const JPEG_FULL_PROGRESSION = `${ROOT}.4.55`;
export const JPEG_LOSSLESS = `${ROOT}.4.57`;
export const JPEG_LOSSLESS_SV1 = `${ROOT}.4.70`;
export const JPEG_LS_LOSSLESS = `${ROOT}.4.80`;
export const JPEG_LS_NEAR_LOSSLESS = `${ROOT}.4.81`;
export const JPEG_2000_LOSSLESS = `${ROOT}.4.90`;
export const JPEG_2000 = `${ROOT}.4.91`;
export const JPEG_2000_PART_2_LOSSLESS = `${ROOT}.4.92`;
export const JPEG_2000_PART_2 = `${ROOT}.4.93`;
export const JPEG_XL_LOSSLESS = `${ROOT}.4.110`;
export const JPEG_XL_RECOMPRESSION = `${ROOT}.4.111`;
export const JPEG_XL = `${ROOT}.4.112`;
export const HTJ2K_LOSSLESS = `${ROOT}.4.201`;
export const HTJ2K_LOSSLESS_RPCL = `${ROOT}.4.202`;
export const HTJ2K = `${ROOT}.4.203`;
export const RLE_LOSSLESS = `${ROOT}.5`;

type Traits = Partial<Omit<TransferSyntax, 'UID' | 'name' | 'codec'>>;

const syntaxes = new Map<string, TransferSyntax>();

function define(UID: string, name: string, codec: CodecFamily, traits: Traits): void {
  syntaxes.set(UID, {
    UID,
    name,
    explicitVR: true,
    littleEndian: true,
    deflated: false,
    encapsulated: false,
    lossy: false,
    codec,
    video: false,
    retired: false,
    ...traits,
  });
}

const compressed = (suffix: string, name: string, codec: CodecFamily, traits: Traits = {}): void =>
  define(ROOT + suffix, name, codec, { encapsulated: true, ...traits });

const LOSSY = { lossy: true };
const RETIRED = { retired: true };
const RETIRED_LOSSY = { lossy: true, retired: true };
const VIDEO = { lossy: true, video: true };

define(ROOT, 'Implicit VR Little Endian', 'none', { explicitVR: false });
define(`${ROOT}.1`, 'Explicit VR Little Endian', 'none', {});
define(`${ROOT}.1.99`, 'Deflated Explicit VR Little Endian', 'none', { deflated: true });
define(`${ROOT}.2`, 'Explicit VR Big Endian', 'none', { littleEndian: false, retired: true });
define('1.2.840.10008.1.20', 'Papyrus 3 Implicit VR Little Endian', 'none', { explicitVR: false, retired: true });
compressed('.1.98', 'Encapsulated Uncompressed Explicit VR Little Endian', 'none');
compressed('.4.50', 'JPEG Baseline (Process 1)', 'jpeg', LOSSY);
compressed('.4.51', 'JPEG Extended (Process 2 and 4)', 'jpeg', LOSSY);
compressed('.4.52', 'JPEG Extended (Process 3 and 5)', 'jpeg', RETIRED_LOSSY);
compressed('.4.53', 'JPEG Spectral Selection, Non-Hierarchical (Process 6 and 8)', 'jpeg', RETIRED_LOSSY);
compressed('.4.54', 'JPEG Spectral Selection, Non-Hierarchical (Process 7 and 9)', 'jpeg', RETIRED_LOSSY);
compressed('.4.55', 'JPEG Full Progression, Non-Hierarchical (Process 10 and 12)', 'jpeg', RETIRED_LOSSY);
compressed('.4.56', 'JPEG Full Progression, Non-Hierarchical (Process 11 and 13)', 'jpeg', RETIRED_LOSSY);
compressed('.4.57', 'JPEG Lossless, Non-Hierarchical (Process 14)', 'jpeg');
compressed('.4.58', 'JPEG Lossless, Non-Hierarchical (Process 15)', 'jpeg', RETIRED);
compressed('.4.59', 'JPEG Extended, Hierarchical (Process 16 and 18)', 'jpeg', RETIRED_LOSSY);
compressed('.4.60', 'JPEG Extended, Hierarchical (Process 17 and 19)', 'jpeg', RETIRED_LOSSY);
compressed('.4.61', 'JPEG Spectral Selection, Hierarchical (Process 20 and 22)', 'jpeg', RETIRED_LOSSY);
compressed('.4.62', 'JPEG Spectral Selection, Hierarchical (Process 21 and 23)', 'jpeg', RETIRED_LOSSY);
compressed('.4.63', 'JPEG Full Progression, Hierarchical (Process 24 and 26)', 'jpeg', RETIRED_LOSSY);
compressed('.4.64', 'JPEG Full Progression, Hierarchical (Process 25 and 27)', 'jpeg', RETIRED_LOSSY);
compressed('.4.65', 'JPEG Lossless, Hierarchical (Process 28)', 'jpeg', RETIRED);
compressed('.4.66', 'JPEG Lossless, Hierarchical (Process 29)', 'jpeg', RETIRED);
compressed('.4.70', 'JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])', 'jpeg');
compressed('.4.80', 'JPEG-LS Lossless Image Compression', 'jpegls');
compressed('.4.81', 'JPEG-LS Lossy (Near-Lossless) Image Compression', 'jpegls', LOSSY);
compressed('.4.90', 'JPEG 2000 Image Compression (Lossless Only)', 'jpeg2000');
compressed('.4.91', 'JPEG 2000 Image Compression', 'jpeg2000', LOSSY);
compressed('.4.92', 'JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)', 'jpeg2000');
compressed('.4.93', 'JPEG 2000 Part 2 Multi-component Image Compression', 'jpeg2000', LOSSY);
// The pixel data of JPIP syntaxes is a URL (0028,7FE0), not a value of the data set.
define(`${ROOT}.4.94`, 'JPIP Referenced', 'jpip', LOSSY);
define(`${ROOT}.4.95`, 'JPIP Referenced Deflate', 'jpip', { lossy: true, deflated: true });
for (const [suffix, name, codec] of [
  ['.4.100', 'MPEG2 Main Profile / Main Level', 'mpeg2'],
  ['.4.101', 'MPEG2 Main Profile / High Level', 'mpeg2'],
  ['.4.102', 'MPEG-4 AVC/H.264 High Profile / Level 4.1', 'h264'],
  ['.4.103', 'MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1', 'h264'],
  ['.4.104', 'MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video', 'h264'],
  ['.4.105', 'MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video', 'h264'],
  ['.4.106', 'MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2', 'h264'],
] as const) {
  compressed(suffix, name, codec, VIDEO);
  compressed(`${suffix}.1`, `Fragmentable ${name}`, codec, VIDEO);
}
compressed('.4.107', 'HEVC/H.265 Main Profile / Level 5.1', 'h265', VIDEO);
compressed('.4.108', 'HEVC/H.265 Main 10 Profile / Level 5.1', 'h265', VIDEO);
compressed('.4.110', 'JPEG XL Lossless', 'jpegxl');
compressed('.4.111', 'JPEG XL JPEG Recompression', 'jpegxl', LOSSY);
compressed('.4.112', 'JPEG XL', 'jpegxl', LOSSY);
compressed('.4.201', 'High-Throughput JPEG 2000 Image Compression (Lossless Only)', 'htj2k');
compressed('.4.202', 'High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)', 'htj2k');
compressed('.4.203', 'High-Throughput JPEG 2000 Image Compression', 'htj2k', LOSSY);
define(`${ROOT}.4.204`, 'JPIP HTJ2K Referenced', 'jpip', LOSSY);
define(`${ROOT}.4.205`, 'JPIP HTJ2K Referenced Deflate', 'jpip', { lossy: true, deflated: true });
compressed('.5', 'RLE Lossless', 'rle');
define(`${ROOT}.6.1`, 'RFC 2557 MIME encapsulation', 'unknown', RETIRED);
define(`${ROOT}.6.2`, 'XML Encoding', 'unknown', RETIRED);
compressed('.7.1', 'SMPTE ST 2110-20 Uncompressed Progressive Active Video', 'smpte', { video: true });
compressed('.7.2', 'SMPTE ST 2110-20 Uncompressed Interlaced Active Video', 'smpte', { video: true });
compressed('.7.3', 'SMPTE ST 2110-30 PCM Digital Audio', 'smpte', { video: true });
compressed('.8.1', 'Deflated Image Frame Compression', 'deflate');

/** Every transfer syntax of the standard, retired ones included. */
export const TRANSFER_SYNTAXES: ReadonlyMap<string, TransferSyntax> = syntaxes;

/** The row of a UID. One nobody knows is taken as explicit little endian with opaque, possibly lossy, fragments. */
export function transferSyntax(UID: string): TransferSyntax {
  return (
    syntaxes.get(UID) ?? {
      UID,
      name: 'unknown',
      explicitVR: true,
      littleEndian: true,
      deflated: false,
      encapsulated: true,
      lossy: true,
      codec: 'unknown',
      video: false,
      retired: false,
    }
  );
}
