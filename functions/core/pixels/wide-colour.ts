import type { OpenJpeg } from '@cornerstonejs/codec-openjpeg/decode';
import { PacsError } from '../errors.ts';
import type { CodestreamHeader } from './codestream.ts';

/** a module that has decoded more than this is dropped: its memory grows, and never shrinks (bytes) */
const KEEP_BYTES = 64 * 1024 * 1024;

let opening: Promise<OpenJpeg> | undefined;

/** Loaded by the first frame that needs it: that is rare, and it is half a megabyte of script. */
async function openJpeg(): Promise<OpenJpeg> {
  opening ??= import('@cornerstonejs/codec-openjpeg/decode').then(({ default: open }) =>
    open({ print: () => {}, printErr: () => {} }),
  );
  return opening;
}

/**
 * JPEG 2000 colour of 9 to 16 bits, which the module of codecs.ts leaves out: by OpenJPEG compiled to JavaScript (npm
 * @cornerstonejs/codec-openjpeg), about five times as slow as that.
 * @returns little endian words, colour by pixel
 * @throws PacsError UNREADABLE_DATASET
 */
export async function decodeWideColour(codestream: Uint8Array, header: CodestreamHeader): Promise<Uint8Array> {
  const { J2KDecoder } = await openJpeg();
  const bytes = header.columns * header.rows * header.components * 2;
  const decoder = new J2KDecoder();
  try {
    decoder.getEncodedBuffer(codestream.length).set(codestream);
    decoder.decode();
    // What it cannot decode it says on the console alone, and leaves the description empty.
    const { width, height, componentCount, bitsPerSample } = decoder.getFrameInfo();
    const decoded = decoder.getDecodedBuffer();
    const isWhole = width === header.columns && height === header.rows && componentCount === header.components;
    if (!isWhole || bitsPerSample !== header.bits || decoded.length !== bytes) throw new Error('nothing was decoded');
    return Uint8Array.from(decoded);
  } catch (cause) {
    opening = undefined;
    throw new PacsError('UNREADABLE_DATASET', 'the JPEG 2000 codestream cannot be decoded', { cause });
  } finally {
    if (opening !== undefined) decoder.delete();
    if (bytes > KEEP_BYTES) opening = undefined;
  }
}
