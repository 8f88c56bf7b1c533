import type { PageOf } from './archive.ts';
import { ask, askJson } from './http.ts';

/** One line of the audit trail (functions/core/audit/event.ts). */
export interface AuditEntry {
  readonly strand: string;
  readonly n: number;
  /** ms since 1970 */
  readonly at: number;
  readonly event: string;
  readonly action: 'C' | 'R' | 'U' | 'D' | 'E';
  readonly outcome: 0 | 4 | 8 | 12;
  readonly subject: string;
  readonly roles: readonly string[];
  readonly door: 'http' | 'dicom' | 'command' | 'system';
  readonly from?: string;
  readonly via?: string;
  readonly transaction?: string;
  readonly studies?: readonly string[];
  readonly instances?: number;
  readonly destination?: string;
  readonly keys?: readonly string[];
  readonly purpose?: string;
  readonly error?: string;
  readonly repeated?: number;
}

export interface AuditQuery {
  /** `2024-05-06T07:08` in the reader's own time zone, as inputs have it */
  readonly from: string;
  readonly to: string;
  readonly event: string;
  readonly subject: string;
  readonly study: string;
  readonly outcome: string;
  readonly oldestFirst: boolean;
}

const PAGE = 100;

export function toParameters(query: AuditQuery, after?: string, limit = PAGE): URLSearchParams {
  const parameters = new URLSearchParams({ order: query.oldestFirst ? 'asc' : 'desc', limit: String(limit) });
  const set = (name: string, value: string) => value !== '' && parameters.set(name, value);
  const moment = (local: string) => (local === '' ? '' : new Date(local).toISOString());
  set('from', moment(query.from));
  set('to', moment(query.to));
  set('event', query.event);
  set('subject', query.subject);
  set('study', query.study);
  set('outcome', query.outcome);
  set('after', after ?? '');
  return parameters;
}

export async function listAudit(query: AuditQuery, after?: string): Promise<PageOf<AuditEntry>> {
  const parameters = toParameters(query, after);
  const { entries, next, more } = await askJson<{ entries: AuditEntry[]; next: string; more: boolean }>(
    `/api/audit?${parameters}`,
  );
  return { items: entries, next: more ? next : null };
}

export type AuditFormat = 'json' | 'dicom' | 'fhir';
const EXPORT_PAGE = 1_000;
/** An export is put together in the browser; past this many pages it says that it is cut short. */
export const EXPORT_PAGES = 200;

export interface AuditExport {
  readonly file: Blob;
  readonly isCut: boolean;
}

/** All that the filters let through, page after page. `onPage` hears how many pages have come. @throws ArchiveError */
export async function exportAudit(
  query: AuditQuery,
  format: AuditFormat,
  onPage: (pages: number) => void,
  signal: AbortSignal,
): Promise<AuditExport> {
  const texts: string[] = [];
  let after: string | undefined;
  let type = '';
  for (let more = true; more && texts.length < EXPORT_PAGES; onPage(texts.length)) {
    const parameters = toParameters(query, after, EXPORT_PAGE);
    parameters.set('format', format);
    const { headers, text } = await readPage(`/api/audit?${parameters}`, signal);
    texts.push(text);
    type = headers.get('content-type') ?? '';
    after = headers.get('x-next') ?? '';
    more = headers.get('x-more') === 'true';
    if (!more) return { file: new Blob([joined(texts, format)], { type }), isCut: false };
  }
  return { file: new Blob([joined(texts, format)], { type }), isCut: true };
}

async function readPage(path: string, signal: AbortSignal): Promise<{ headers: Headers; text: string }> {
  const response = await ask(path, { signal });
  return { headers: response.headers, text: await response.text() };
}

/** Pages of one format as one document of it. */
export function joined(texts: readonly string[], format: AuditFormat): string {
  if (format === 'dicom') return texts.join('');
  if (format === 'json') {
    const entries = texts.flatMap((text) => (JSON.parse(text) as { entries: unknown[] }).entries);
    return JSON.stringify({ entries });
  }
  const bundles = texts.map((text) => JSON.parse(text) as { entry: unknown[] });
  return JSON.stringify({ ...bundles[0], entry: bundles.flatMap(({ entry }) => entry) });
}
