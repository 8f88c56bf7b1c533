/** What the DICOMweb suite needs of a host: one way in, whatever carries the requests. */
export interface Host {
  /** scheme and authority that answers speak of */
  readonly origin: string;
  fetch(path: string, init?: { method?: string; headers?: Record<string, string>; body?: Uint8Array }): Promise<Answer>;
  close(): Promise<void>;
}

export interface Answer {
  readonly status: number;
  /** lower-case names */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
}

const BOUNDARY = 'nephos-test-boundary';

/** A multipart/related request of Part 10 objects, or of parts with their own headers. */
export function multipart(
  parts: readonly (Uint8Array | { headers: Record<string, string>; body: Uint8Array | string })[],
  type = 'application/dicom',
): { method: string; headers: Record<string, string>; body: Uint8Array } {
  const chunks: Uint8Array[] = [];
  for (const part of parts) {
    const { headers, body } = part instanceof Uint8Array ? { headers: { 'Content-Type': type }, body: part } : part;
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    chunks.push(Buffer.from(`--${BOUNDARY}\r\n${lines.join('')}\r\n`), Buffer.from(body), Buffer.from('\r\n'));
  }
  chunks.push(Buffer.from(`--${BOUNDARY}--\r\n`));
  const contentType = `multipart/related; type="${type}"; boundary=${BOUNDARY}`;
  return { method: 'POST', headers: { 'content-type': contentType }, body: Buffer.concat(chunks) };
}

/** The parts of a multipart answer. Deliberately simple, and not the code under test. */
export function partsOf(answer: Answer): { headers: Record<string, string>; body: Buffer }[] {
  const boundary = /boundary="?([^";]+)"?/.exec(answer.headers['content-type'] ?? '')?.[1];
  if (boundary === undefined) throw new Error(`no boundary in ${answer.headers['content-type']}`);
  const delimiter = Buffer.from(`--${boundary}`);
  const parts: { headers: Record<string, string>; body: Buffer }[] = [];
  let at = answer.body.indexOf(delimiter);
  for (;;) {
    const start = at + delimiter.length;
    if (answer.body.toString('latin1', start, start + 2) === '--') return parts;
    const next = answer.body.indexOf(Buffer.concat([Buffer.from('\r\n'), delimiter]), start);
    if (next < 0) throw new Error('the multipart answer is cut');
    const headEnd = answer.body.indexOf('\r\n\r\n', start);
    const head = answer.body.toString('latin1', start, headEnd).trim();
    const headers = Object.fromEntries(
      head.split('\r\n').map((line) => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    parts.push({ headers, body: answer.body.subarray(headEnd + 4, next) });
    at = next + 2;
  }
}
