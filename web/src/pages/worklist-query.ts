import { href } from '../address.ts';
import type { WorklistQuery } from '../api/worklist.ts';

/** The list as its address tells it: of all days unless one is named. */
export function readQuery(params: URLSearchParams): WorklistQuery {
  const text = (name: string) => params.get(name) ?? '';
  return {
    PatientName: text('name'),
    PatientID: text('mrn'),
    Modality: text('modality'),
    station: text('station'),
    day: /^\d{4}-\d{2}-\d{2}$/.test(text('day')) ? text('day') : '',
    over: text('over') === '1',
  };
}

export const hrefOf = (query: WorklistQuery): string =>
  href('/worklist', {
    name: query.PatientName,
    mrn: query.PatientID,
    modality: query.Modality,
    station: query.station,
    day: query.day,
    over: query.over ? '1' : '',
  });

export const isFiltered = ({ over: _, ...filters }: WorklistQuery): boolean =>
  Object.values(filters).some((value) => value !== '');
