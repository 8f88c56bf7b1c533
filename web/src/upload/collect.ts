import { listZip, ZipError } from './zip.ts';

/** Something to be sent: a file, or an entry of a zip. `open` may be called again when it has to be sent again. */
export interface Source {
  /** path as the person knows it: `CD/DICOM/IM0001` */
  readonly name: string;
  readonly sizeBytes: number;
  open(): Promise<Blob>;
}

const fromFile = (file: File, name: string): Source => ({ name, sizeBytes: file.size, open: async () => file });

/** What a directory listing shows that is never an image. */
const isHousekeeping = (name: string) =>
  /(^|\/)(\.DS_Store|Thumbs\.db|desktop\.ini|__MACOSX\/.*|\._[^/]*)$/i.test(name);

/** Files of an <input>; those of a chosen folder carry their path. */
export const fromInput = (files: Iterable<File>): AsyncGenerator<Source> =>
  expand([...files].map((file) => fromFile(file, file.webkitRelativePath || file.name)));

/**
 * Files and folders of a drop. Must be called within the event: the entries are gone when it has been handled.
 */
export function fromDrop(transfer: DataTransfer): AsyncGenerator<Source> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  const found = entries.filter((entry) => entry !== null);
  return found.length > 0 ? expand(walk(found)) : fromInput(transfer.files);
}

/** What cannot be read is listed all the same: it says so when its turn to be sent has come. */
const unreadable = (name: string, sizeBytes: number, error: unknown): Source => ({
  name,
  sizeBytes,
  open: () => Promise.reject(error),
});

async function* walk(entries: readonly FileSystemEntry[]): AsyncGenerator<Source> {
  for (const entry of entries) {
    const name = entry.fullPath.replace(/^\//, '');
    try {
      if (entry.isFile) {
        const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
        yield fromFile(file, name);
      } else {
        const reader = (entry as FileSystemDirectoryEntry).createReader();
        // readEntries gives some hundred at a time, and an empty list at the end.
        for (;;) {
          const batch = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
          if (batch.length === 0) break;
          yield* walk(batch);
        }
      }
    } catch (error) {
      yield unreadable(name, 0, error);
    }
  }
}

/** Replaces every zip by its entries. */
async function* expand(sources: Iterable<Source> | AsyncIterable<Source>): AsyncGenerator<Source> {
  for await (const source of sources) {
    if (isHousekeeping(source.name)) continue;
    if (!/\.zip$/i.test(source.name)) {
      yield source;
      continue;
    }
    const entries = await source
      .open()
      .then(listZip)
      .catch((error: unknown) => (error instanceof ZipError ? error : undefined));
    if (entries === undefined) yield source;
    else if (entries instanceof ZipError) yield unreadable(source.name, source.sizeBytes, entries);
    else {
      for (const entry of entries) {
        if (!isHousekeeping(entry.name)) yield { ...entry, name: `${source.name} › ${entry.name}` };
      }
    }
  }
}
