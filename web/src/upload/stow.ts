import { ArchiveError, explain, reportSignedOut, signInsSoFar } from '../api/http.ts';
import type { DataSet } from '../dicom/json.ts';

/** What became of one instance. */
export type Outcome =
  | { readonly kind: 'stored'; readonly StudyInstanceUID: string }
  | { readonly kind: 'alreadyThere'; readonly StudyInstanceUID: string }
  | { readonly kind: 'held' }
  | { readonly kind: 'refused'; readonly reason: string; readonly mayRetry: boolean };

export interface StowAnswer {
  readonly bySOPInstanceUID: ReadonlyMap<string, Outcome>;
  /** failures the archive could name no instance for, because the bytes told none */
  readonly nameless: readonly Outcome[];
}

const FAILED_SOP_SEQUENCE = '00081198';
const REFERENCED_SOP_SEQUENCE = '00081199';
const OTHER_FAILURES_SEQUENCE = '0008119A';
const REFERENCED_SOP_INSTANCE_UID = '00081155';
const FAILURE_REASON = '00081197';
const RETRIEVE_URL = '00081190';
const FAILURE_ATTRIBUTES_SEQUENCE = '00741048';
const ERROR_COMMENT = '00000902';

/** FailureReason (0008,1197): PS3.18 Table I.2-2 and PS3.4 Table B.2-1, in words. */
const REASONS = new Map<number, readonly [text: string, mayRetry: boolean]>([
  [0x0110, ['The archive could not process it', true]],
  [0x0117, ['Its SOP instance UID is not valid', false]],
  [0x0122, ['The archive does not accept this kind of object', false]],
  [0x0124, ['You may not store this', false]],
  [0xa700, ['The archive was out of room, or busy with the same object', true]],
  [0xa900, ['Its UIDs contradict each other', false]],
  [0xc000, ['The archive cannot read it as DICOM', false]],
  [0xc122, ['The archive does not accept its transfer syntax', false]],
]);
/** Table I.2-2 has no code of its own for objects beyond a limit of the archive's: they share that of a full disk. */
const BEYOND_LIMIT = ['It is beyond a limit of the archive', false] as const;

const newBoundary = () => `nephos-${crypto.randomUUID()}`;

/** One STOW-RS request (PS3.18 §10.5). The parts are put together by reference: no file passes through memory here. */
export function store(
  files: readonly Blob[],
  onProgress: (sentBytes: number) => void,
  signal: AbortSignal,
  root = '/dicomweb',
): Promise<StowAnswer> {
  const boundary = newBoundary();
  const parts = files.flatMap((file) => [`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`, file, '\r\n']);
  const body = new Blob([...parts, `--${boundary}--\r\n`]);
  const askedAfter = signInsSoFar();
  return new Promise((resolve, reject) => {
    // fetch still tells nothing about how much has been sent.
    const request = new XMLHttpRequest();
    request.open('POST', `${root}/studies`);
    request.setRequestHeader('Accept', 'application/dicom+json');
    request.setRequestHeader('Content-Type', `multipart/related; type="application/dicom"; boundary=${boundary}`);
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onerror = () => reject(new ArchiveError(0, explain(0)));
    request.onabort = () => reject(signal.reason);
    request.onload = () => {
      if (request.status === 401) reportSignedOut(askedAfter);
      const answer = [200, 202, 409, 413].includes(request.status) ? parseAnswer(request.responseText) : undefined;
      if (answer) resolve(answer);
      else reject(new ArchiveError(request.status, explain(request.status)));
    };
    signal.addEventListener('abort', () => request.abort(), { once: true });
    request.send(body);
  });
}

/** undefined when the text is not a store response */
export function parseAnswer(text: string): StowAnswer | undefined {
  let set: DataSet;
  try {
    set = JSON.parse(text) as DataSet;
  } catch {
    return undefined;
  }
  const items = (tag: string) => (set[tag]?.Value ?? []) as DataSet[];
  if (![FAILED_SOP_SEQUENCE, REFERENCED_SOP_SEQUENCE, OTHER_FAILURES_SEQUENCE].some((tag) => tag in set))
    return undefined;

  const bySOPInstanceUID = new Map<string, Outcome>();
  for (const item of items(REFERENCED_SOP_SEQUENCE)) {
    const study = /\/studies\/([0-9.]+)/.exec(String(firstOf(item, RETRIEVE_URL) ?? ''))?.[1] ?? '';
    const kind = commentOf(item) === 'already stored' ? 'alreadyThere' : 'stored';
    bySOPInstanceUID.set(String(firstOf(item, REFERENCED_SOP_INSTANCE_UID)), { kind, StudyInstanceUID: study });
  }
  for (const item of items(FAILED_SOP_SEQUENCE)) {
    const uid = String(firstOf(item, REFERENCED_SOP_INSTANCE_UID) ?? '');
    bySOPInstanceUID.set(uid, failureOf(item));
  }
  const nameless = items(OTHER_FAILURES_SEQUENCE).map((item) => failureOf(item));
  return { bySOPInstanceUID, nameless };
}

const firstOf = (set: DataSet, tag: string): unknown => set[tag]?.Value?.[0];

/** What the archive says beside the code: Error Comment (0000,0902) within Failure Attributes Sequence (0074,1048). */
function commentOf(item: DataSet): string {
  const attributes = firstOf(item, FAILURE_ATTRIBUTES_SEQUENCE) as DataSet | undefined;
  return attributes === undefined ? '' : String(firstOf(attributes, ERROR_COMMENT) ?? '');
}

function failureOf(item: DataSet): Outcome {
  const comment = commentOf(item);
  // A conflict shares its code with other failures; nothing was lost by it, so it is told apart.
  if (comment.startsWith('held in quarantine')) return { kind: 'held' };
  const code = Number(firstOf(item, FAILURE_REASON));
  const isBeyond = code === 0xa700 && /the limit|too large|too many/.test(comment);
  const [text, mayRetry] = isBeyond ? BEYOND_LIMIT : (REASONS.get(code) ?? ['The archive refused it', true]);
  const said = comment === '' ? text : `${text}: ${comment}`;
  return { kind: 'refused', reason: `${said} (${code.toString(16).toUpperCase().padStart(4, '0')}).`, mayRetry };
}
