import { randomBytes } from 'node:crypto';
import { existsSync, type FSWatcher, mkdirSync, readdirSync, rmSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PacsError } from '#core/errors.ts';
import { isAlive, thisProcess } from './living-process.ts';

/** Who waits looks again after this time (ms). */
const LOOK_AGAIN_MS = 2;
/** Knocks are heard at once; where the system tells nothing of files, after this time (ms). */
const LISTEN_MS = 500;

export interface IndexDoorOptions {
  /** for those inside to let somebody in (60,000 ms) */
  readonly patienceMs?: number;
  /** for who comes in to be in, while the writers wait (30,000 ms) */
  readonly holdMs?: number;
  /** opens to read: whoever comes next need not hear from this process */
  readonly readOnly?: boolean;
}

type Kind = 'inside' | 'reading' | 'opening' | 'closing' | 'granted';

interface Note {
  readonly file: string;
  /** as `thisProcess` names it */
  readonly process: string;
  readonly ticket: string;
  readonly kind: Kind;
}

/**
 * Lets one process at a time open or close the LMDB file, and none open it while another commits.
 *
 * LMDB's own open reads the number of the last transaction and writes it into the region that all processes share, without the write lock
 * (ITS#9496; lmdb-js 3.5.6 has it still). A transaction that was committed in between is overwritten by the next one, with the pages of both:
 * acknowledged records vanish, or the tree breaks. So who wants to open lays a ticket into a folder beside the file. Whoever gets the write lock
 * looks there before it writes; when a ticket lies there it says `granted` (nobody is in the middle of a commit), gives the lock back, and
 * tries again when the ticket is gone.
 *
 * The notes are empty files whose names carry everything: made and removed by one call each, and by their owner alone while it lives.
 */
export class IndexDoor {
  readonly #folder: string;
  readonly #me = thisProcess();
  readonly #inside: string;
  readonly #patienceMs: number;
  readonly #holdMs: number;
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** the tickets that lay there when this process had the write lock */
  #told: readonly string[] = [];

  /** @param path of LMDB's data file */
  constructor(path: string, { patienceMs = 60_000, holdMs = 30_000, readOnly = false }: IndexDoorOptions = {}) {
    this.#patienceMs = patienceMs;
    this.#holdMs = holdMs;
    this.#folder = `${path}-door`;
    mkdirSync(this.#folder, { recursive: true });
    this.#inside = this.#noteOf(this.#newTicket(), readOnly ? 'reading' : 'inside');
  }

  /**
   * Opens while nobody commits.
   * @throws PacsError BUSY when a process that is inside does not answer
   */
  enter<T>(open: () => T): Promise<T> {
    return this.#inTurn('opening', async (ticket) => {
      await this.#granted(ticket);
      writeFileSync(this.#inside, '', { flag: 'wx' });
      try {
        return open();
      } catch (error) {
        rmSync(this.#inside, { force: true });
        throw error;
      }
    });
  }

  /** Closes while nobody opens: the last one out takes the locks apart. Where the folder has been removed, nobody comes any more. */
  async leave(close: () => Promise<void>): Promise<void> {
    const out = async (): Promise<void> => {
      this.#watcher?.close();
      clearInterval(this.#timer);
      await close();
      rmSync(this.#inside, { force: true });
    };
    await (existsSync(this.#folder) ? this.#inTurn('closing', out) : out());
  }

  /** Calls back whenever another process may wait for a `mayCommit`. */
  listen(knocked: () => void): void {
    const look = (): void => {
      try {
        if (this.#openings().length > 0) knocked();
      } catch {
        // No file handle is left just now, or the folder has been removed: nobody is there to be told, and the timer looks again.
      }
    };
    try {
      this.#watcher = watch(this.#folder, { persistent: false }, look).on('error', () => {});
    } catch {
      // The system watches no more folders: the timer hears it too.
    }
    this.#timer = setInterval(look, LISTEN_MS).unref();
    look();
  }

  /**
   * For who holds the write lock, before anything is written. False: another process opens, and nothing may be written under this lock. It
   * hears that nobody is in the middle of a commit.
   */
  mayCommit(): boolean {
    this.#told = this.#openings();
    for (const ticket of this.#told) writeFileSync(this.#noteOf(ticket, 'granted'), '');
    return this.#told.length === 0;
  }

  /**
   * Until the processes that were told have opened (a few milliseconds, once in the life of each), or another one came that has not been
   * told: those who were may be waiting for it.
   * @throws PacsError BUSY when that takes too long
   */
  async free(): Promise<void> {
    const patience = this.#patience(this.#holdMs);
    for (let openings = this.#told; openings.length > 0; openings = this.#openings()) {
      if (openings.some((ticket) => !this.#told.includes(ticket))) return;
      await patience();
    }
  }

  /**
   * One process at a time. Each lays its ticket, then looks: of two, at least one sees the other. Who sees an older name goes back and tries
   * again; who has the oldest stays until the others have gone.
   */
  async #inTurn<T>(kind: 'opening' | 'closing', act: (ticket: string) => Promise<T>): Promise<T> {
    const patience = this.#patience(this.#patienceMs);
    for (;;) {
      const ticket = this.#newTicket();
      const file = this.#noteOf(ticket, kind);
      writeFileSync(file, '', { flag: 'wx' });
      try {
        for (;;) {
          const others = this.#tickets().filter((other) => other !== ticket);
          if (others.length === 0) return await act(ticket);
          if (others.some((other) => other < ticket)) break;
          await patience();
        }
      } finally {
        rmSync(file, { force: true });
        rmSync(this.#noteOf(ticket, 'granted'), { force: true });
      }
      while (this.#tickets().length > 0) await patience();
    }
  }

  /** Until somebody inside has had the write lock and given it back, or nobody is inside. This process itself may be: then LMDB is open and nothing is read anew. */
  async #granted(ticket: string): Promise<void> {
    const patience = this.#patience(this.#patienceMs);
    for (;;) {
      const notes = this.#notes();
      const inside = notes.filter(({ kind, process }) => kind === 'inside' && isAlive(process));
      if (inside.length === 0 || inside.some(({ process }) => process === this.#me)) break;
      if (notes.some((note) => note.kind === 'granted' && note.ticket === ticket)) break;
      await patience();
    }
    for (const { file, process } of this.#notes())
      if (!isAlive(process)) rmSync(join(this.#folder, file), { force: true });
  }

  #patience(mostMs: number): () => Promise<void> {
    const since = performance.now();
    return async () => {
      if (performance.now() - since > mostMs)
        throw new PacsError('BUSY', 'another process opens the index, or has it open, and does not answer', {
          details: { notes: this.#notes().map(({ file }) => file) },
        });
      await sleep(LOOK_AGAIN_MS);
    };
  }

  /** Of living processes, this one too. */
  #tickets(): string[] {
    return this.#notes()
      .filter(({ kind, process }) => (kind === 'opening' || kind === 'closing') && isAlive(process))
      .map(({ ticket }) => ticket);
  }

  /** Of other processes that live. */
  #openings(): string[] {
    return this.#notes()
      .filter(({ kind, process }) => kind === 'opening' && process !== this.#me && isAlive(process))
      .map(({ ticket }) => ticket);
  }

  #notes(): Note[] {
    return readdirSync(this.#folder).map((file) => {
      const [process = '', unique = '', kind = ''] = file.split('.');
      return { file, process, ticket: `${process}.${unique}`, kind: kind as Kind };
    });
  }

  #newTicket(): string {
    return `${this.#me}.${randomBytes(6).toString('hex')}`;
  }

  #noteOf(ticket: string, kind: Kind): string {
    return join(this.#folder, `${ticket}.${kind}`);
  }
}
