import { createHash } from 'node:crypto';

/** A small DICOMweb client that is not Nephos' own code: what the suites read answers with. */

export interface StowResult {
  readonly status: number;
  /** SOPInstanceUIDs of the Referenced SOP Sequence */
  readonly stored: string[];
  /** of the Failed SOP Sequence and the Other Failures Sequence; `SOPInstanceUID` is undefined for the latter */
  readonly failed: { SOPInstanceUID: string | undefined; FailureReason: number }[];
}

export type JsonDataSet = Record<
  string,
  { vr: string; Value?: unknown[]; BulkDataURI?: string; InlineBinary?: string }
>;

/** CONFLICT of the error table: duplicate SOP instance, kept aside. */
export const HELD = 0x0110;

export async function stow(
  root: string,
  files: readonly Uint8Array[],
  options: { study?: string; signal?: AbortSignal } = {},
): Promise<StowResult> {
  const boundary = 'peers-suite-boundary';
  const pieces = files.flatMap((file) => [
    Buffer.from(`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`),
    file,
    Buffer.from('\r\n'),
  ]);
  const response = await fetch(`${root}/studies${options.study === undefined ? '' : `/${options.study}`}`, {
    method: 'POST',
    headers: {
      'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}`,
      accept: 'application/dicom+json',
    },
    body: Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)]),
    signal: options.signal ?? null,
  });
  const text = await response.text();
  let answer: JsonDataSet = {};
  try {
    answer = text === '' ? {} : JSON.parse(text);
  } catch (cause) {
    throw new Error(`STOW answered ${response.status}: ${text.slice(0, 300)}`, { cause });
  }
  return { status: response.status, ...outcomesOf(answer) };
}

function outcomesOf(answer: JsonDataSet): Pick<StowResult, 'stored' | 'failed'> {
  const items = (tag: string): JsonDataSet[] => (answer[tag]?.Value ?? []) as JsonDataSet[];
  return {
    stored: items('00081199').map((item) => String(first(item, '00081155'))),
    failed: [...items('00081198'), ...items('0008119A')].map((item) => ({
      SOPInstanceUID: first(item, '00081155') as string | undefined,
      FailureReason: Number(first(item, '00081197')),
    })),
  };
}

/** The first value of an attribute. */
export const first = (item: JsonDataSet | undefined, tag: string): unknown => item?.[tag]?.Value?.[0];

export async function getJson(url: string): Promise<JsonDataSet[]> {
  const response = await fetch(url, { headers: { accept: 'application/dicom+json' } });
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status} for ${url}: ${text.slice(0, 300)}`);
  return text === '' ? [] : JSON.parse(text);
}

/** The parts of a multipart answer, or the body itself as the only part. @throws Error unless the status is 200 */
export async function getParts(url: string, accept: string): Promise<Buffer[]> {
  const response = await fetch(url, { headers: { accept } });
  const body = Buffer.from(await response.arrayBuffer());
  if (response.status !== 200) throw new Error(`${response.status} for ${url}: ${body.toString('utf8', 0, 300)}`);
  const type = response.headers.get('content-type') ?? '';
  if (!type.startsWith('multipart/')) return [body];
  const boundary = /boundary="?([^";]+)"?/i.exec(type)?.[1];
  if (boundary === undefined) throw new Error(`no boundary in ${type}`);
  return splitMultipart(body, boundary);
}

function splitMultipart(body: Buffer, boundary: string): Buffer[] {
  const delimiter = Buffer.from(`--${boundary}`);
  const parts: Buffer[] = [];
  let at = body.indexOf(delimiter);
  while (at >= 0) {
    const headersStart = at + delimiter.length;
    if (body.toString('latin1', headersStart, headersStart + 2) === '--') return parts;
    const headersEnd = body.indexOf('\r\n\r\n', headersStart);
    const next = body.indexOf(Buffer.concat([Buffer.from('\r\n'), delimiter]), headersEnd);
    if (headersEnd < 0 || next < 0) throw new Error('the multipart body breaks off');
    parts.push(body.subarray(headersEnd + 4, next));
    at = next + 2;
  }
  throw new Error('the multipart body has no end');
}

export const AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*';

export interface InstanceUIDs {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
}

export const instanceUrl = (root: string, id: InstanceUIDs): string =>
  `${root}/studies/${id.StudyInstanceUID}/series/${id.SeriesInstanceUID}/instances/${id.SOPInstanceUID}`;

/** The Part 10 file as it was received. */
export async function getInstance(root: string, id: InstanceUIDs): Promise<Buffer> {
  const parts = await getParts(instanceUrl(root, id), AS_STORED);
  if (parts.length !== 1) throw new Error(`${parts.length} parts for one instance`);
  return parts[0]!;
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
