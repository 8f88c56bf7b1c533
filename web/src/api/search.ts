import { type DataSet, TAGS } from '../dicom/json.ts';
import { ask } from './http.ts';

export const SORT_FIELDS = ['PatientName', 'PatientID', 'StudyDate', 'StudyDescription', 'AccessionNumber'] as const;
export type SortField = (typeof SORT_FIELDS)[number];

/** The state of the study list; every field empty means "all". */
export interface StudyQuery {
  readonly PatientName: string;
  readonly PatientID: string;
  readonly StudyDescription: string;
  readonly AccessionNumber: string;
  /** ISO dates, inclusive */
  readonly from: string;
  readonly to: string;
  readonly modalities: readonly string[];
  readonly sort: SortField;
  readonly descending: boolean;
  /** from 1 */
  readonly page: number;
  readonly pageSize: number;
}

export interface Results {
  readonly rows: readonly DataSet[];
  /** undefined where the archive does not say */
  readonly total: number | undefined;
  readonly more: boolean;
}

/**
 * A part of a value is found anywhere in it, as OHIF asks. Spaces, commas and carets between the words of a name match
 * whatever separates its components; a person's own `*` and `?` are left alone.
 */
export function toWildcard(text: string, isName = false): string {
  const trimmed = text.trim();
  if (trimmed === '' || /[*?]/.test(trimmed)) return trimmed;
  return `*${
    isName
      ? trimmed
          .split(/[\s,^]+/)
          .filter(Boolean)
          .join('*')
      : trimmed
  }*`;
}

export function toDateRange(from: string, to: string): string {
  const compact = (date: string) => date.replaceAll('-', '');
  if (from === '' && to === '') return '';
  return from === to ? compact(from) : `${compact(from)}-${compact(to)}`;
}

export function toSearchParams(query: StudyQuery): URLSearchParams {
  const params = new URLSearchParams();
  const set = (name: string, value: string) => value !== '' && params.set(name, value);
  set('PatientName', toWildcard(query.PatientName, true));
  set('PatientID', toWildcard(query.PatientID));
  set('StudyDescription', toWildcard(query.StudyDescription));
  set('AccessionNumber', toWildcard(query.AccessionNumber));
  set('StudyDate', toDateRange(query.from, query.to));
  set('ModalitiesInStudy', query.modalities.join(','));
  const direction = query.descending ? '-' : '';
  set(
    'orderby',
    query.sort === 'StudyDate' ? `${direction}StudyDate,${direction}StudyTime` : `${direction}${query.sort}`,
  );
  params.set('includefield', `${TAGS.StudyDescription},${TAGS.PatientAge}`);
  // One more than is shown tells whether there is a next page where no total is given.
  params.set('limit', String(query.pageSize + 1));
  if (query.page > 1) params.set('offset', String((query.page - 1) * query.pageSize));
  return params;
}

export async function searchStudies(query: StudyQuery, signal: AbortSignal): Promise<Results> {
  const { rows, total } = await search(`/dicomweb/studies?${toSearchParams(query)}`, signal);
  return { rows: rows.slice(0, query.pageSize), total, more: rows.length > query.pageSize };
}

export async function findStudy(study: string, signal?: AbortSignal): Promise<DataSet | undefined> {
  const params = new URLSearchParams({ StudyInstanceUID: study, includefield: 'all', limit: '1' });
  return (await search(`/dicomweb/studies?${params}`, signal)).rows[0];
}

export async function findSeries(study: string, signal?: AbortSignal): Promise<readonly DataSet[]> {
  return (await search(`/dicomweb/studies/${study}/series?includefield=all`, signal)).rows;
}

export async function findInstances(
  study: string,
  series: string,
  offset: number,
  limit: number,
  signal?: AbortSignal,
): Promise<Results> {
  const params = new URLSearchParams({ includefield: 'all', limit: String(limit + 1), offset: String(offset) });
  const { rows, total } = await search(`/dicomweb/studies/${study}/series/${series}/instances?${params}`, signal);
  return { rows: rows.slice(0, limit), total, more: rows.length > limit };
}

async function search(path: string, signal?: AbortSignal): Promise<{ rows: DataSet[]; total: number | undefined }> {
  const response = await ask(path, { headers: { accept: 'application/dicom+json' }, ...(signal && { signal }) });
  const total = response.headers.get('x-total-count');
  const rows = response.status === 204 ? [] : ((await response.json()) as DataSet[]);
  return { rows, total: total === null ? undefined : Number(total) };
}

/** The addresses of what is retrieved; UIDs are digits and dots and need no escaping. */
export const seriesPath = (study: string, series: string): string => `/dicomweb/studies/${study}/series/${series}`;
export const instancePath = (study: string, series: string, instance: string): string =>
  `${seriesPath(study, series)}/instances/${instance}`;

export async function readMetadata(path: string, signal?: AbortSignal): Promise<DataSet> {
  const response = await ask(path, { headers: { accept: 'application/dicom+json' }, ...(signal && { signal }) });
  const sets = (await response.json()) as DataSet[];
  return sets[0] ?? {};
}
