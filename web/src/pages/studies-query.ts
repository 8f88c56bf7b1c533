import { href } from '../address.ts';
import { SORT_FIELDS, type SortField, type StudyQuery } from '../api/search.ts';

export const PAGE_SIZES = [25, 50, 100] as const;
export const MODALITIES = [
  'CR',
  'CT',
  'DX',
  'ECG',
  'ES',
  'IO',
  'IVUS',
  'MG',
  'MR',
  'NM',
  'OCT',
  'OP',
  'OPT',
  'OT',
  'PR',
  'PT',
  'PX',
  'RF',
  'RTDOSE',
  'RTIMAGE',
  'RTPLAN',
  'RTSTRUCT',
  'SC',
  'SEG',
  'SM',
  'SR',
  'US',
  'XA',
  'XC',
];

/** The list as its address tells it; whatever is unknown there falls back to the default. */
export function readQuery(params: URLSearchParams): StudyQuery {
  const text = (name: string) => params.get(name) ?? '';
  const date = (name: string) => (/^\d{4}-\d{2}-\d{2}$/.test(text(name)) ? text(name) : '');
  const sort = text('sort').replace(/^-/, '') as SortField;
  const known = SORT_FIELDS.includes(sort);
  const pageSize = Number(text('size'));
  return {
    PatientName: text('name'),
    PatientID: text('mrn'),
    StudyDescription: text('description'),
    AccessionNumber: text('accession'),
    from: date('from'),
    to: date('to'),
    modalities: text('modality').split(',').filter(Boolean),
    sort: known ? sort : 'StudyDate',
    descending: known ? text('sort').startsWith('-') : true,
    page: Math.max(1, Math.floor(Number(text('page'))) || 1),
    pageSize: PAGE_SIZES.find((size) => size === pageSize) ?? PAGE_SIZES[0],
  };
}

/** The address of a list; defaults are left out, so that the plain list has a plain address. */
export function hrefOf(query: StudyQuery): string {
  const sort = `${query.descending ? '-' : ''}${query.sort}`;
  return href('/studies', {
    name: query.PatientName,
    mrn: query.PatientID,
    description: query.StudyDescription,
    accession: query.AccessionNumber,
    from: query.from,
    to: query.to,
    modality: query.modalities.join(','),
    sort: sort === '-StudyDate' ? '' : sort,
    page: query.page > 1 ? String(query.page) : '',
    size: query.pageSize === PAGE_SIZES[0] ? '' : String(query.pageSize),
  });
}

export const isFiltered = (query: StudyQuery): boolean =>
  [
    query.PatientName,
    query.PatientID,
    query.StudyDescription,
    query.AccessionNumber,
    query.from,
    query.to,
    ...query.modalities,
  ].some(Boolean);

export const withoutFilters = (query: StudyQuery): StudyQuery => ({
  ...query,
  PatientName: '',
  PatientID: '',
  StudyDescription: '',
  AccessionNumber: '',
  from: '',
  to: '',
  modalities: [],
  page: 1,
});
