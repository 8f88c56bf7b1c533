import {
  appendFileSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { PacsError } from '#core/errors.ts';
import { errno, translated } from './fs-errors.ts';
import { isRunningSince, startOf } from './living-process.ts';

/** A pack that a process is writing, or was when it died. `folder`: relative to that of blobs, with a '/' at its end. */
export interface NotedPack {
  readonly id: string;
  readonly folder: string;
  /** of the process that wrote the note */
  readonly note: string;
  /** that process lives, and has not been taken for this one: nobody else may touch the pack */
  readonly isBeingWritten: boolean;
}

const NOTE = /^([0-9]+)-[0-9a-f]+\.packs$/;
const DOUBT = /^(p[0-9a-z]{20})\.doubt$/;

/** The files in the folder of incoming ones that belong to packs. */
export const isPackNote = (name: string): boolean => NOTE.test(name) || DOUBT.test(name);

/**
 * Which packs are being written: a file a process, in the folder of incoming ones, with a line for each pack that it opens (`+id folder`) and closes
 * (`-id`). The line stands before the pack does. Not synced: what a power cut takes back belongs to objects that nobody was told are here.
 */
export class PackNotes {
  readonly #incoming: string;
  readonly #name: string;
  #fd: number | undefined;
  /** lines that could not be written yet; what is left of one after its beginning was */
  #untold = '';

  /** @param unique name of this process, which begins with its pid and '-' */
  constructor(incoming: string, unique: string) {
    this.#incoming = incoming;
    this.#name = `${unique}.packs`;
  }

  opened(id: string, folder: string): void {
    if (this.#fd === undefined) {
      this.#fd = openSync(join(this.#incoming, this.#name), 'a', 0o640);
      this.#untold += `=${startOf(process.pid)}\n`;
    }
    this.#untold += `+${id} ${folder}\n`;
    this.#tell();
  }

  /**
   * By whom ever: its writer, or who has dealt with what a dead one left. Where its writer cannot say so now, for want of space or of a file handle, it
   * does with what it says next, and goes on: until then, or until it ends, the pack passes for open, which does no harm.
   */
  closed(id: string, note = this.#name): void {
    if (note !== this.#name) {
      appendFileSync(join(this.#incoming, note), `-${id}\n`);
      return;
    }
    this.#untold += `-${id}\n`;
    try {
      this.#tell();
    } catch {
      // said later
    }
  }

  #tell(): void {
    while (this.#untold !== '') {
      if (this.#fd === undefined) {
        appendFileSync(join(this.#incoming, this.#name), this.#untold);
        this.#untold = '';
      } else this.#untold = this.#untold.slice(writeSync(this.#fd, this.#untold));
    }
  }

  /** The packs that are open by the notes of all processes. */
  open(): NotedPack[] {
    const packs: NotedPack[] = [];
    for (const note of readdirSync(this.#incoming)) {
      if (!NOTE.test(note)) continue;
      const open = new Map<string, string>();
      const text = textOf(join(this.#incoming, note)) ?? '';
      for (const line of text.split('\n')) {
        const [id = '', folder] = line.slice(1).split(' ');
        if (line.startsWith('+') && folder?.endsWith('/')) open.set(id, folder);
        else if (line.startsWith('-')) open.delete(id);
      }
      const isBeingWritten = open.size > 0 && this.#isAnothers(note, text);
      for (const [id, folder] of open) packs.push({ id, folder, note, isBeingWritten });
    }
    return packs;
  }

  /** Removes the notes of processes that are gone and have left nothing open. */
  tidy(): void {
    const inUse = new Set(this.open().map(({ note }) => note));
    for (const note of readdirSync(this.#incoming)) {
      if (!NOTE.test(note) || note === this.#name || inUse.has(note)) continue;
      const path = join(this.#incoming, note);
      if (!this.#isAnothers(note, textOf(path) ?? '')) removeIfThere(path);
    }
  }

  /** Of a living process that is not this one; its id may have gone to another program meanwhile, which began at another time. */
  #isAnothers(note: string, text: string): boolean {
    const pid = Number(NOTE.exec(note)?.[1]);
    if (note === this.#name || pid === process.pid) return false;
    return isRunningSince(pid, /^=(.*)$/m.exec(text)?.[1] ?? '');
  }

  /** Something of the pack has been deleted: the sweep is to look at it. */
  doubt(id: string, folder: string): void {
    try {
      writeFileSync(this.#doubtOf(id), folder, { flag: 'wx', mode: 0o640 });
    } catch (error) {
      if (errno(error) === 'EEXIST') return;
      const reason = translated(error);
      // What is deleted on a full disk is to make room: the sweep looks at the pack when something else of it is deleted.
      if (!(reason instanceof PacsError && reason.code === 'OUT_OF_SPACE')) throw error;
    }
  }

  *doubted(): Generator<{ readonly id: string; readonly folder: string }> {
    for (const name of readdirSync(this.#incoming)) {
      const id = DOUBT.exec(name)?.[1];
      const folder = id && textOf(join(this.#incoming, name));
      if (id !== undefined && folder !== undefined) yield { id, folder };
    }
  }

  /** ms since 1970 */
  doubtedSince(id: string): number | undefined {
    return statSync(this.#doubtOf(id), { throwIfNoEntry: false })?.mtimeMs;
  }

  certain(id: string): void {
    removeIfThere(this.#doubtOf(id));
  }

  /** Where a pack is written anew; the sweep of incoming files removes what a crash leaves there. */
  temporary(id: string): string {
    return join(this.#incoming, `${id}.anew`);
  }

  #doubtOf(id: string): string {
    return join(this.#incoming, `${id}.doubt`);
  }

  close(): void {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
    if (!this.open().some(({ note }) => note === this.#name)) removeIfThere(join(this.#incoming, this.#name));
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined;
    throw error;
  }
}

export function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (errno(error) !== 'ENOENT') throw error;
  }
}
