import { ArchiveError } from '../api/http.ts';
import { session } from '../api/session.ts';
import { type FileMeta, isDirectory, readFileMeta } from '../dicom/part10.ts';
import { createStore } from '../store.ts';
import type { Source } from './collect.ts';
import { type Outcome, type StowAnswer, store } from './stow.ts';

/** One file of the upload, and where it stands. */
export interface Item {
  readonly id: number;
  readonly source: Source;
  readonly state: 'waiting' | 'sending' | 'skipped' | 'cancelled' | Outcome['kind'];
  /** 0 to 1 while it is sent */
  readonly progress: number;
  /** why it was skipped or refused */
  readonly reason: string;
  readonly mayRetry: boolean;
  readonly StudyInstanceUID: string;
}

const REQUESTS_AT_ONCE = 4;
const BATCH_FILES = 16;
const BATCH_BYTES = 8 * 1024 * 1024;
const REDRAW_MS = 100;

/** Answers that say nothing about the files: no connection, throttled, something between us is down, busy, too late. */
const PASSING = [0, 429, 502, 503, 504];
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
/** An archive that answers, but that it is busy, is asked so often for the same file. */
const TRIES_WHEN_BUSY = 8;

/** The upload goes on while the person looks at other pages, so it stands outside of them. Replaced, never changed. */
export const upload = createStore<readonly Item[]>([]);

/** Why nothing is sent for the moment, though files wait: the archive does not answer, or the session is over. */
export interface Pause {
  readonly reason: string;
  readonly until: 'answering' | 'signedIn';
}
export const pause = createStore<Pause | undefined>(undefined);

const items = new Map<number, Item>();
const waiting: number[] = [];
let abort = new AbortController();
let running = 0;
let gathering = false;
let nextId = 1;
let redraw: ReturnType<typeof setTimeout> | undefined;
/** Waits since something was answered: each is twice as long as the one before. */
let setbacks = 0;
let resumption: ReturnType<typeof setTimeout> | undefined;
const busyTries = new Map<number, number>();
/** whose upload it is: nobody else goes on with it */
let owner = '';

/** Redraws are gathered: 10,000 small files change state 20,000 times. */
function changed(): void {
  if (redraw !== undefined) return;
  redraw = setTimeout(() => {
    redraw = undefined;
    upload.set([...items.values()]);
    // Whoever closes the page is asked, as long as something is on its way.
    if (isOpen()) addEventListener('beforeunload', keepPage);
    else removeEventListener('beforeunload', keepPage);
  }, REDRAW_MS);
}
const keepPage = (event: Event) => event.preventDefault();
const isOpen = () => [...items.values()].some(({ state }) => state === 'waiting' || state === 'sending');

function update(id: number, change: Partial<Item>): void {
  const item = items.get(id);
  if (item === undefined) return;
  items.set(id, { ...item, ...change });
  changed();
}

export async function add(sources: AsyncIterable<Source>): Promise<void> {
  owner = subjectOf();
  for await (const source of sources) {
    const id = nextId++;
    items.set(id, { id, source, state: 'waiting', progress: 0, reason: '', mayRetry: false, StudyInstanceUID: '' });
    waiting.push(id);
    changed();
    start();
  }
}

export function cancel(): void {
  abort.abort(new DOMException('cancelled', 'AbortError'));
  abort = new AbortController();
  for (const id of waiting.splice(0)) update(id, { state: 'cancelled', mayRetry: true });
  resume();
}

export function retry(): void {
  for (const item of items.values()) {
    if (!item.mayRetry) continue;
    update(item.id, { state: 'waiting', mayRetry: false, reason: '', progress: 0 });
    waiting.push(item.id);
  }
  start();
}

/** Forgets what is finished. */
export function clear(): void {
  for (const item of items.values()) if (item.state !== 'waiting' && item.state !== 'sending') items.delete(item.id);
  changed();
}

/** Whoever comes next to this page finds nothing of it. */
export function forget(): void {
  cancel();
  items.clear();
  upload.set([]);
  changed();
}

const subjectOf = (): string => {
  const current = session.get();
  return current.state === 'signedIn' ? current.subject : '';
};

/** Nothing is wrong with these files: they wait until the archive answers again, or somebody has signed in. */
function postpone(batch: readonly Opened[], { status, message }: ArchiveError): void {
  for (const { id } of batch) update(id, { state: 'waiting', progress: 0 });
  waiting.unshift(...batch.map(({ id }) => id));
  // It was asked before somebody signed in: it is asked again.
  if (status === 401 && session.get().state === 'signedIn') return;
  if (status === 401) {
    clearTimeout(resumption);
    pause.set({ reason: message, until: 'signedIn' });
  } else if (pause.get() === undefined) {
    pause.set({ reason: message, until: 'answering' });
    resumption = setTimeout(resume, Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** setbacks++));
  }
}

/** Goes on at once. */
export function resume(): void {
  clearTimeout(resumption);
  pause.set(undefined);
  start();
}

/** Starts listening for what ends a pause. @returns to be called when the console goes away */
export function keepUploading(): () => void {
  const whenOnline = () => pause.get()?.until === 'answering' && resume();
  addEventListener('online', whenOnline);
  const stop = session.subscribe(() => {
    const subject = subjectOf();
    if (subject === '' || items.size === 0) return;
    if (subject !== owner) forget();
    else if (pause.get()?.until === 'signedIn') resume();
  });
  return () => {
    removeEventListener('online', whenOnline);
    stop();
  };
}

/** Batches are put together one after the other and sent side by side. */
function start(): void {
  if (pause.get() !== undefined || gathering || running >= REQUESTS_AT_ONCE || waiting.length === 0) return;
  gathering = true;
  running++;
  const { signal } = abort;
  void takeBatch()
    .then((batch) => {
      gathering = false;
      start();
      return batch.length > 0 ? send(batch, signal) : undefined;
    })
    .finally(() => {
      running--;
      start();
    });
}

interface Opened {
  readonly id: number;
  readonly blob: Blob;
  readonly meta: FileMeta;
}

/** Small files together, a big one alone; never the same instance twice in one request, so that each outcome has one owner. */
async function takeBatch(): Promise<Opened[]> {
  const batch: Opened[] = [];
  const uids = new Set<string>();
  let bytes = 0;
  while (batch.length < BATCH_FILES) {
    const id = waiting[0];
    const item = id === undefined ? undefined : items.get(id);
    if (id === undefined || item === undefined) {
      if (waiting.shift() === undefined) break;
      continue;
    }
    if (batch.length > 0 && bytes + item.source.sizeBytes > BATCH_BYTES) break;
    waiting.shift();
    update(id, { state: 'sending' });
    const opened = await open(item);
    if (opened === undefined) continue;
    if (uids.has(opened.meta.SOPInstanceUID)) {
      update(id, { state: 'waiting' });
      waiting.unshift(id);
      break;
    }
    uids.add(opened.meta.SOPInstanceUID);
    batch.push(opened);
    bytes += item.source.sizeBytes;
  }
  return batch;
}

async function open(item: Item): Promise<Opened | undefined> {
  try {
    const blob = await item.source.open();
    const meta = await readFileMeta(blob);
    if (meta !== undefined && !isDirectory(meta)) return { id: item.id, blob, meta };
    update(item.id, {
      state: 'skipped',
      reason: meta ? 'A DICOMDIR: a table of contents, not an image' : 'Not a DICOM file',
    });
  } catch (error) {
    const said =
      error instanceof Error && error.name === 'ZipError' ? error.message : 'It could not be read. Has it moved?';
    update(item.id, { state: 'refused', reason: said, mayRetry: true });
  }
  return undefined;
}

async function send(batch: readonly Opened[], signal: AbortSignal): Promise<void> {
  const total = batch.reduce((sum, { blob }) => sum + blob.size, 0);
  const onProgress = (sentBytes: number) => {
    for (const { id } of batch) update(id, { progress: Math.min(1, sentBytes / Math.max(1, total)) });
  };
  try {
    if (signal.aborted) throw signal.reason;
    const answer = await store(
      batch.map(({ blob }) => blob),
      onProgress,
      signal,
    );
    setbacks = 0;
    await settle(batch, answer, signal);
  } catch (error) {
    if (signal.aborted) for (const { id } of batch) update(id, { state: 'cancelled', mayRetry: true });
    else if (error instanceof ArchiveError && mayPass(batch, error.status)) postpone(batch, error);
    else {
      const reason = error instanceof ArchiveError ? error.message : 'It could not be sent.';
      for (const { id } of batch) update(id, { state: 'refused', reason, mayRetry: true });
    }
  }
}

/** Whether the answer was about the moment and not about these files. */
function mayPass(batch: readonly Opened[], status: number): boolean {
  if (status === 0 || status === 401) return true;
  if (!PASSING.includes(status)) return false;
  const tries = Math.max(...batch.map(({ id }) => busyTries.get(id) ?? 0)) + 1;
  for (const { id } of batch) busyTries.set(id, tries);
  if (tries < TRIES_WHEN_BUSY) return true;
  for (const { id } of batch) busyTries.delete(id);
  return false;
}

async function settle(batch: readonly Opened[], answer: StowAnswer, signal: AbortSignal): Promise<void> {
  const unnamed: Opened[] = [];
  for (const opened of batch) {
    const outcome = answer.bySOPInstanceUID.get(opened.meta.SOPInstanceUID);
    if (outcome) conclude(opened.id, outcome);
    else unnamed.push(opened);
  }
  if (unnamed.length === 1 && batch.length === 1) {
    // The data set's own UID may differ from the one of the file meta: a lone answer belongs to the lone file.
    const only = answer.nameless[0] ?? [...answer.bySOPInstanceUID.values()][0];
    conclude(
      unnamed[0]!.id,
      only ?? { kind: 'refused', reason: 'The archive did not say what became of it.', mayRetry: true },
    );
    return;
  }
  // Which of several files the archive could not read, it cannot say: alone, each gets its own answer.
  for (const opened of unnamed) await send([opened], signal);
}

function conclude(id: number, outcome: Outcome): void {
  update(id, {
    state: outcome.kind,
    progress: 1,
    reason: outcome.kind === 'refused' ? outcome.reason : '',
    mayRetry: outcome.kind === 'refused' && outcome.mayRetry,
    StudyInstanceUID: 'StudyInstanceUID' in outcome ? outcome.StudyInstanceUID : '',
  });
}
