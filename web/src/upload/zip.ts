/**
 * A zip that is read in place: its central directory first, then each entry when its turn to be sent has come. So a
 * 20 GB archive takes no more memory than the files on their way, the number of files is known from the start, and a
 * failed entry can be read again. The browser's own inflater does the work.
 * Format: PKWARE APPNOTE.TXT 6.3.x §4.3 (zip64 included; encrypted entries and methods other than deflate are refused).
 */
export interface ZipEntry {
  readonly name: string;
  readonly sizeBytes: number;
  /** @throws ZipError */
  open(): Promise<Blob>;
}

export class ZipError extends Error {
  override readonly name = 'ZipError';
}

const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const ASK_64 = 0xffffffff;

/** @throws ZipError when the central directory cannot be read */
export async function listZip(file: Blob): Promise<ZipEntry[]> {
  const { offset, size } = await findCentralDirectory(file);
  const view = await viewOf(file, offset, size);
  const entries: ZipEntry[] = [];
  for (let at = 0; at + 46 <= view.byteLength && view.getUint32(at, true) === CENTRAL; ) {
    const nameLength = view.getUint16(at + 28, true);
    const extraLength = view.getUint16(at + 30, true);
    const name = decodeName(view, at + 46, nameLength, (view.getUint16(at + 8, true) & 0x800) !== 0);
    const sizes = withZip64(view, at, nameLength, extraLength);
    if (!name.endsWith('/')) {
      const flags = view.getUint16(at + 8, true);
      const method = view.getUint16(at + 10, true);
      entries.push({ name, sizeBytes: sizes.size, open: () => openEntry(file, sizes, method, flags) });
    }
    at += 46 + nameLength + extraLength + view.getUint16(at + 32, true);
  }
  return entries;
}

interface Sizes {
  readonly size: number;
  readonly compressed: number;
  readonly offset: number;
}

async function findCentralDirectory(file: Blob): Promise<{ offset: number; size: number }> {
  // The end record is 22 bytes and may be followed by a comment of at most 65,535.
  const tailAt = Math.max(0, file.size - 65_557);
  const tail = await viewOf(file, tailAt, file.size - tailAt);
  for (let at = tail.byteLength - 22; at >= 0; at--) {
    if (tail.getUint32(at, true) !== END) continue;
    const offset = tail.getUint32(at + 16, true);
    const size = tail.getUint32(at + 12, true);
    if (offset !== ASK_64 && size !== ASK_64) return { offset, size };
    if (at < 20 || tail.getUint32(at - 20, true) !== LOCATOR_64) break;
    const end = await viewOf(file, Number(tail.getBigUint64(at - 12, true)), 56);
    if (end.getUint32(0, true) !== END_64) break;
    return { size: Number(end.getBigUint64(40, true)), offset: Number(end.getBigUint64(48, true)) };
  }
  throw new ZipError('This is not a zip file that can be read, or it is incomplete.');
}

/** Sizes and offset of a central record; those that do not fit 32 bits stand in its zip64 field (id 1), in this order. */
function withZip64(view: DataView, at: number, nameLength: number, extraLength: number): Sizes {
  let size = view.getUint32(at + 24, true);
  let compressed = view.getUint32(at + 20, true);
  let offset = view.getUint32(at + 42, true);
  const end = at + 46 + nameLength + extraLength;
  for (let field = at + 46 + nameLength; field + 4 <= end; field += 4 + view.getUint16(field + 2, true)) {
    if (view.getUint16(field, true) !== 1) continue;
    let next = field + 4;
    const take = () => {
      next += 8;
      return Number(view.getBigUint64(next - 8, true));
    };
    if (size === ASK_64) size = take();
    if (compressed === ASK_64) compressed = take();
    if (offset === ASK_64) offset = take();
  }
  return { size, compressed, offset };
}

async function openEntry(
  file: Blob,
  { offset, compressed, size }: Sizes,
  method: number,
  flags: number,
): Promise<Blob> {
  if (flags & 1) throw new ZipError('The entry is encrypted.');
  const local = await viewOf(file, offset, 30);
  if (local.getUint32(0, true) !== LOCAL) throw new ZipError('The zip file is damaged here.');
  const start = offset + 30 + local.getUint16(26, true) + local.getUint16(28, true);
  const raw = file.slice(start, start + compressed);
  if (method === 0) return raw;
  if (method !== 8) throw new ZipError('The entry is compressed in a way that browsers cannot read.');
  const inflated = await new Response(raw.stream().pipeThrough(new DecompressionStream('deflate-raw')))
    .blob()
    .catch(() => {
      throw new ZipError('The zip file is damaged here.');
    });
  if (inflated.size !== size) throw new ZipError('The zip file is damaged here.');
  return inflated;
}

async function viewOf(file: Blob, offset: number, length: number): Promise<DataView> {
  const bytes = await file.slice(offset, offset + length).arrayBuffer();
  if (bytes.byteLength < length) throw new ZipError('The zip file is incomplete.');
  return new DataView(bytes);
}

function decodeName(view: DataView, at: number, length: number, utf8: boolean): string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + at, length);
  // Names are for people's eyes only; without the UTF-8 flag they are in some code page of the writer.
  return new TextDecoder(utf8 ? 'utf-8' : 'windows-1252').decode(bytes);
}
