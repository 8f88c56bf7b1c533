import { useState } from 'preact/hooks';
import { plural } from '../dicom/json.ts';
import { isDirectory, readFileMeta } from '../dicom/part10.ts';
import { store } from '../upload/stow.ts';
import { BASE } from './link.ts';

/** sent with one request: few enough to be gone on with soon, where a line breaks */
const BATCH_FILES = 20;
const BATCH_BYTES = 4_000_000;

interface Counts {
  readonly all: number;
  readonly done: number;
  readonly received: number;
  readonly skipped: number;
  readonly refused: readonly string[];
}

/** Images that the receiver sends back: files from a disc, chosen or dropped. What becomes of them is for whoever asked. */
export function SendFiles({ isNew, sharedBy }: { isNew: boolean; sharedBy: string }) {
  const [counts, setCounts] = useState<Counts>();
  const busy = counts !== undefined && counts.done < counts.all;
  const take = async (files: readonly File[]) => {
    if (files.length === 0 || busy) return;
    let now: Counts = { all: files.length, done: 0, received: 0, skipped: 0, refused: [] };
    const tell = (change: Partial<Counts>) => {
      now = { ...now, ...change };
      setCounts(now);
    };
    tell({});
    for (const batch of batchesOf(files)) {
      const images: File[] = [];
      for (const file of batch) if (await isImage(file)) images.push(file);
      const skipped = batch.length - images.length;
      try {
        const answer = images.length > 0 ? await send(images) : { received: 0, refused: [] };
        tell({
          done: now.done + batch.length,
          received: now.received + answer.received,
          skipped: now.skipped + skipped,
          refused: [...now.refused, ...answer.refused],
        });
      } catch (failure) {
        const reason = failure instanceof Error ? failure.message : String(failure);
        tell({
          done: now.done + batch.length,
          skipped: now.skipped + skipped,
          refused: [...now.refused, ...images.map(() => reason)],
        });
      }
    }
  };
  const dropped = (event: DragEvent) => {
    event.preventDefault();
    void take([...(event.dataTransfer?.files ?? [])]);
  };
  return (
    <fieldset
      class="share-card share-drop"
      aria-label="Send images"
      onDragOver={(event) => event.preventDefault()}
      onDrop={dropped}
    >
      <h2>Send images</h2>
      <p>
        DICOM files for {sharedBy}
        {isNew ? '' : ', of the study above'}. Choose them, or drop them here.
      </p>
      <label class="button share-big">
        <input
          class="visually-hidden"
          type="file"
          multiple
          disabled={busy}
          onChange={(event) => void take([...(event.currentTarget.files ?? [])])}
        />
        Choose files
      </label>
      {counts && (
        <>
          <progress max={counts.all} value={counts.done} aria-label="Files sent" />
          <p role="status">
            {busy ? `Sending: ${counts.done} of ${counts.all}. ` : ''}
            {plural(counts.received, 'image')} received
            {counts.skipped > 0 ? `, ${plural(counts.skipped, 'other file')} left out` : ''}
            {counts.refused.length > 0 ? `, ${counts.refused.length} refused` : ''}.
          </p>
          {counts.refused.length > 0 && <p class="error">{counts.refused[0]}</p>}
        </>
      )}
    </fieldset>
  );
}

async function isImage(file: File): Promise<boolean> {
  const meta = await readFileMeta(file);
  return meta !== undefined && !isDirectory(meta);
}

function* batchesOf(files: readonly File[]): Generator<File[]> {
  let batch: File[] = [];
  let bytes = 0;
  for (const file of files) {
    if (batch.length > 0 && (batch.length >= BATCH_FILES || bytes + file.size > BATCH_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(file);
    bytes += file.size;
  }
  if (batch.length > 0) yield batch;
}

async function send(files: readonly File[]): Promise<{ received: number; refused: string[] }> {
  const never = new AbortController().signal;
  const { bySOPInstanceUID, nameless } = await store(files, () => {}, never, `${BASE}/dicomweb`);
  const outcomes = [...bySOPInstanceUID.values(), ...nameless];
  const refused = outcomes.flatMap((outcome) => (outcome.kind === 'refused' ? [outcome.reason] : []));
  return { received: outcomes.length - refused.length, refused };
}
