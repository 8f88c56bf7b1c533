import { ENCAPSULATED_UNCOMPRESSED, EXPLICIT_VR_LITTLE_ENDIAN, transferSyntax } from '../dicom/transfer-syntaxes.ts';

/** A media type of compressed bulk data with the transfer syntaxes it stands for; the first is its default. */
export interface BulkMediaType {
  readonly type: string;
  /** retired or common misnomers (PS3.18-2013, dcm4che, dicomweb-client, static-dicomweb) */
  readonly aliases: readonly string[];
  readonly transferSyntaxUIDs: readonly string[];
}

const UID = '1.2.840.10008.1.2';
const syntaxes = (...suffixes: string[]): string[] => suffixes.map((suffix) => UID + suffix);

/** PS3.18 Table 8.7.3-5, without rows that say the same for multi-frame images. */
export const COMPRESSED_MEDIA_TYPES: readonly BulkMediaType[] = [
  {
    type: 'image/jpeg',
    aliases: ['image/dicom+jpeg', 'image/jll'],
    transferSyntaxUIDs: syntaxes('.4.70', '.4.50', '.4.51', '.4.57'),
  },
  { type: 'image/dicom-rle', aliases: ['image/x-dicom-rle', 'image/dicom+rle'], transferSyntaxUIDs: syntaxes('.5') },
  {
    type: 'image/jls',
    aliases: ['image/x-jls', 'image/dicom+jpeg-ls'],
    transferSyntaxUIDs: syntaxes('.4.80', '.4.81'),
  },
  { type: 'image/jp2', aliases: ['image/dicom+jp2'], transferSyntaxUIDs: syntaxes('.4.90', '.4.91') },
  { type: 'image/jpx', aliases: ['image/dicom+jpx'], transferSyntaxUIDs: syntaxes('.4.92', '.4.93') },
  {
    type: 'image/jphc',
    aliases: ['image/jhc', 'image/jph', 'image/x-jphc'],
    transferSyntaxUIDs: syntaxes('.4.201', '.4.202', '.4.203'),
  },
  { type: 'image/jxl', aliases: [], transferSyntaxUIDs: syntaxes('.4.110', '.4.111', '.4.112') },
  {
    type: 'video/mpeg',
    aliases: ['video/mpeg2'],
    transferSyntaxUIDs: syntaxes('.4.100', '.4.101', '.4.100.1', '.4.101.1'),
  },
  {
    type: 'video/mp4',
    aliases: [],
    transferSyntaxUIDs: syntaxes(
      ...['.4.102', '.4.103', '.4.104', '.4.105', '.4.106'].flatMap((suffix) => [suffix, `${suffix}.1`]),
    ),
  },
  { type: 'video/h265', aliases: ['video/hevc'], transferSyntaxUIDs: syntaxes('.4.107', '.4.108') },
  { type: 'application/x-deflate', aliases: [], transferSyntaxUIDs: syntaxes('.8.1') },
];

export const OCTET_STREAM = 'application/octet-stream';

const BY_SYNTAX = new Map(
  COMPRESSED_MEDIA_TYPES.flatMap((row) => row.transferSyntaxUIDs.map((uid) => [uid, row.type])),
);

/** The media type of a frame in this transfer syntax; application/octet-stream for native ones and those without a row. */
export const mediaTypeOf = (transferSyntaxUID: string): string => BY_SYNTAX.get(transferSyntaxUID) ?? OCTET_STREAM;

/** Frames are samples, little endian, as they are: what Explicit VR Little Endian bulk data shall be. */
export function isNativeLittleEndian(transferSyntaxUID: string): boolean {
  if (transferSyntaxUID === EXPLICIT_VR_LITTLE_ENDIAN || transferSyntaxUID === ENCAPSULATED_UNCOMPRESSED) return true;
  const { encapsulated, littleEndian } = transferSyntax(transferSyntaxUID);
  return !encapsulated && littleEndian;
}
