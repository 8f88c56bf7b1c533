import type { InstanceRecord } from '../archive/records.ts';
import {
  alignBits,
  type FrameRange,
  frameRange,
  stripItemHeaders,
  stripItemHeadersStream,
  tableEntry,
} from '../dicom/frames.ts';
import type { PixelLayout } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { instead } from '../lent-bytes.ts';
import { swapBytes } from '../pixels/samples.ts';
import type { ReadOptions } from '../ports/blob-store.ts';
import type { Services } from '../services.ts';
import { inflatedRange } from './inflated.ts';
import { openStream, type Payload, releasePayload, startAhead } from './stream.ts';

type Reads = Pick<Services, 'blobs' | 'limits'>;

/** frames that lie side by side are read together up to this many bytes */
const RUN_BYTES = 4 * 1024 * 1024;
/** … of a deflated object, where every read inflates from the start */
const INFLATED_RUN_BYTES = 64 * 1024 * 1024;
/** larger frames are streamed, where nothing has to be shifted */
const STREAM_FROM_BYTES = 8 * 1024 * 1024;
/** entries of a frame table that stands in a blob: read together for a list of frames that are not farther apart */
const TABLE_SPAN = 65_536;

/** Frames of an instance; 0 where it has no pixel data. */
export const frameCount = (instance: InstanceRecord): number => instance.pixels?.frames ?? 0;

/**
 * One frame as stored: the whole codestream without item headers, or the samples of native pixel data (byte order as stored; packed bits
 * moved to begin at bit 0). One ranged read; one more of 16 bytes where the frame table is long and stands in a blob.
 * @throws PacsError NOT_FOUND when there is no such frame
 */
export async function readFrame(services: Reads, instance: InstanceRecord, number: number): Promise<Uint8Array> {
  const [range] = await rangesOf(services, instance, [number]);
  const { offset, length } = range!;
  return frameOf(instance, range!, await readRange(services, instance, offset, length));
}

/**
 * One frame of native pixel data whose bytes lie in big endian words of 16 bits (OW; PS3.5 §8.1.1), in their order. A frame may begin
 * and end within a word: words are those of the whole value. @throws as `readFrame`
 */
export async function readFrameOfWords(services: Reads, instance: InstanceRecord, number: number): Promise<Uint8Array> {
  const [range] = await rangesOf(services, instance, [number]);
  const { pixels } = instance;
  if (pixels?.kind !== 'native') throw new Error('compressed frames are no words');
  const { offset, length } = range!;
  const from = offset - ((offset - pixels.offset) % 2);
  const valueEnd = pixels.offset + pixels.length;
  const end = Math.min(valueEnd, offset + length + ((offset + length - pixels.offset) % 2));
  const words = swapBytes(await readRange(services, instance, from, end - from), 2);
  return frameOf(instance, range!, words.subarray(offset - from, offset - from + length));
}

/**
 * The frames of a list, in its order, as `readFrame` returns them; neighbours are read together, the next read is under way
 * while a frame is in use, and very large frames come as streams. Who asks sends them: those that are read alone are lent
 * (../lent-bytes.ts). @throws PacsError NOT_FOUND before the first frame
 */
export async function* openFrames(
  services: Reads,
  instance: InstanceRecord,
  numbers: readonly number[],
): AsyncGenerator<Payload, void, undefined> {
  const ranges = await rangesOf(services, instance, numbers);
  const limit = isInflated(instance) ? INFLATED_RUN_BYTES : RUN_BYTES;
  const opened = startAhead(runsOf(ranges, limit), (run) => openRun(services, instance, run), {
    ahead: 1,
    release: async (payloads) => {
      for (const payload of payloads) await releasePayload(payload);
    },
  });
  for await (const payloads of opened) yield* payloads;
}

/** One of these frames, without what a list of them takes. @throws as `readFrame` */
export async function openFrame(services: Reads, instance: InstanceRecord, number: number): Promise<Payload> {
  const [payload] = await openRun(services, instance, await rangesOf(services, instance, [number]));
  return payload!;
}

async function openRun(services: Reads, instance: InstanceRecord, run: readonly FrameRange[]): Promise<Payload[]> {
  const [first] = run;
  const { offset, length, bitOffset, fragments } = first!;
  if (run.length === 1 && length >= STREAM_FROM_BYTES && bitOffset === 0 && !isInflated(instance)) {
    const bytes = services.blobs.read(instance.blobKey, { offset, length });
    return [await openStream(fragments ? stripItemHeadersStream(bytes) : bytes)];
  }
  if (run.length === 1) {
    const bytes = await readRange(services, instance, offset, length, { lent: true });
    return [instead(bytes, frameOf(instance, first!, bytes))];
  }
  const last = run.at(-1)!;
  const bytes = await readRange(services, instance, offset, last.offset + last.length - offset);
  return run.map((range) =>
    frameOf(instance, range, bytes.subarray(range.offset - offset, range.offset - offset + range.length)),
  );
}

/** Ranges that follow each other without a gap (packed bits may share a byte), as long as they are read together. */
function* runsOf(ranges: readonly FrameRange[], limitBytes: number): Generator<FrameRange[]> {
  let run: FrameRange[] = [];
  let end = 0;
  for (const range of ranges) {
    const first = run[0];
    const joins =
      first !== undefined &&
      range.offset >= first.offset &&
      range.offset <= end &&
      range.offset + range.length - first.offset <= limitBytes;
    if (!joins) {
      if (first !== undefined) yield run;
      run = [];
      end = 0;
    }
    run.push(range);
    end = Math.max(end, range.offset + range.length);
  }
  if (run.length > 0) yield run;
}

function frameOf({ pixels }: InstanceRecord, range: FrameRange, bytes: Uint8Array): Uint8Array {
  if (range.fragments) return stripItemHeaders(bytes);
  if (pixels?.kind !== 'native' || pixels.frameLengthBits % 8 === 0) return bytes;
  return alignBits(bytes, range.bitOffset, pixels.frameLengthBits);
}

const isInflated = ({ pixels }: InstanceRecord): boolean => pixels?.kind === 'native' && pixels.inflated === true;

const readRange = (
  services: Reads,
  instance: InstanceRecord,
  offset: number,
  length: number,
  options?: ReadOptions,
): Promise<Uint8Array> =>
  isInflated(instance)
    ? inflatedRange(services, instance, offset, length)
    : services.blobs.readBytes(instance.blobKey, { offset, length }, options);

async function rangesOf(services: Reads, instance: InstanceRecord, numbers: readonly number[]): Promise<FrameRange[]> {
  const { pixels } = instance;
  const frames = frameCount(instance);
  const missing = numbers.find((number) => number < 1 || number > frames);
  if (pixels === undefined || missing !== undefined) {
    throw new PacsError('NOT_FOUND', frames === 0 ? 'the instance has no frames' : 'there is no such frame', {
      details: { frame: missing, frames },
    });
  }
  if (pixels.kind === 'native') return numbers.map((number) => frameRange(pixels as PixelLayout, number)!);
  const { table, tableBlobKey } = pixels;
  if (table) return numbers.map((number) => frameRange({ kind: 'fragments', frames, table }, number)!);
  if (tableBlobKey === undefined) throw new Error('the instance record has no frame table');
  return rangesInBlob(services, tableBlobKey, numbers);
}

async function rangesInBlob({ blobs }: Reads, key: string, numbers: readonly number[]): Promise<FrameRange[]> {
  const ranges: FrameRange[] = [];
  for (let at = 0; at < numbers.length; ) {
    // As many numbers as lie close together share one read of the table.
    let low = numbers[at]!;
    let high = low;
    let end = at + 1;
    for (; end < numbers.length; end++) {
      const number = numbers[end]!;
      if (Math.max(high, number) - Math.min(low, number) >= TABLE_SPAN) break;
      low = Math.min(low, number);
      high = Math.max(high, number);
    }
    const table = await blobs.readBytes(key, { offset: (low - 1) * 16, length: (high - low + 1) * 16 });
    for (; at < end; at++) ranges.push({ ...tableEntry(table, numbers[at]! - low + 1), bitOffset: 0, fragments: true });
  }
  return ranges;
}
