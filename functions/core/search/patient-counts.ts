import type { Tenant } from '../archive/records.ts';
import { textOf } from '../dicom/element-text.ts';
import { newReadMeter, type ReadMeter } from '../ports/index-table.ts';
import { ReadBudget } from './cursors.ts';
import type { InstanceRow } from './instances.ts';
import type { Condition } from './match.ts';
import type { Query } from './query.ts';
import type { Results, SearchServices } from './results.ts';
import type { SeriesRow } from './series.ts';
import { StudySearch } from './studies.ts';
import type { StudyRow } from './study-list.ts';

/**
 * NumberOfPatientRelatedStudies, -Series and -Instances (PS3.4 Table C.6-1): counted when a query asks for them, from the studies that are
 * here under the same PatientID of the same issuer, as far as who asks may see them. No record is kept of a patient.
 */
const STUDIES = '00201200';
const SERIES = '00201202';
const INSTANCES = '00201204';
export const PATIENT_COUNTS: readonly string[] = [STUDIES, SERIES, INSTANCES];

const PATIENT_ID = '00100020';
const ISSUER_OF_PATIENT_ID = '00100021';
const NUMBER_OF_STUDY_RELATED_SERIES = '00201206';
const NUMBER_OF_STUDY_RELATED_INSTANCES = '00201208';

/** Who has more studies is a phantom, or nobody: such a patient is not counted. */
const PATIENT_STUDIES = 1_000;
/** patients that are counted at a time */
const TOGETHER = 16;

/** How the rows of a level hold their study. */
interface OfStudy<R> {
  readonly studyOf: (row: R) => StudyRow;
  readonly of: (row: R, study: StudyRow) => R;
}
export const STUDY_ROWS: OfStudy<StudyRow> = { studyOf: (row) => row, of: (_, study) => study };
export const SERIES_ROWS: OfStudy<SeriesRow> = {
  studyOf: ({ study }) => study,
  of: (row, study) => ({ ...row, study }),
};
export const INSTANCE_ROWS: OfStudy<InstanceRow> = {
  studyOf: ({ series }) => series.study,
  of: (row, study) => ({ ...row, series: { ...row.series, study } }),
};

/**
 * The same page, its studies with the counts of their patients where the query asks for these. Studies without a PatientID have none, nor
 * have those of patients that could not be counted: `uncounted` says that there are such.
 * @param meter what the search itself has read: it and the counting stay below `limits.searchRecords` together
 */
export async function withPatientCounts<R>(
  services: SearchServices,
  tenant: Tenant,
  { level, include }: Pick<Query, 'level' | 'include'>,
  results: Results<R>,
  { studyOf, of }: OfStudy<R>,
  meter: ReadMeter = newReadMeter(),
): Promise<Results<R>> {
  const asked = include === 'all' ? level === 'study' : PATIENT_COUNTS.some((tag) => include.has(tag));
  if (!asked) return results;
  const { limits } = services;
  const left = { ...limits, searchRecords: Math.max(0, limits.searchRecords - meter.records) };
  const budget = new ReadBudget({ ...services, limits: left }, meter);
  const patients = new Map<string, StudyRow>();
  for (const row of results.rows) {
    const study = studyOf(row);
    const patient = patientOf(study);
    if (patient !== undefined && !patients.has(patient)) patients.set(patient, study);
  }
  const counts = new Map<string, Readonly<Record<string, number>>>();
  const all = [...patients];
  for (let at = 0; at < all.length; at += TOGETHER) {
    await Promise.all(
      all.slice(at, at + TOGETHER).map(async ([patient, study]) => {
        const counted = await countsOf(services, tenant, study, budget);
        if (counted !== undefined) counts.set(patient, counted);
      }),
    );
  }
  const rows = results.rows.map((row) => {
    const study = studyOf(row);
    const counted = counts.get(patientOf(study) ?? '');
    return counted === undefined ? row : of(row, study.counted(counted));
  });
  return { ...results, rows, ...(counts.size < patients.size && { uncounted: true }) };
}

const patientOf = (study: StudyRow): string | undefined => {
  const id = textOf(study.element(PATIENT_ID)).trim();
  return id === '' ? undefined : `${id}|${textOf(study.element(ISSUER_OF_PATIENT_ID)).trim()}`;
};

async function countsOf(
  services: SearchServices,
  tenant: Tenant,
  study: StudyRow,
  budget: ReadBudget,
): Promise<Readonly<Record<string, number>> | undefined> {
  const is = (tag: string): Condition => {
    const text = textOf(study.element(tag)).trim();
    return { tag, key: text === '' ? { kind: 'empty' } : { kind: 'values', texts: [text], folded: false } };
  };
  const query: Query = {
    level: 'study',
    conditions: { study: [is(PATIENT_ID), is(ISSUER_OF_PATIENT_ID)], series: [], instance: [] },
    metadataConditions: [],
    include: new Set(),
    order: [],
    offset: 0,
    limit: PATIENT_STUDIES,
    ignored: [],
  };
  const number = (row: StudyRow, tag: string): number => Number(row.element(tag)?.Value?.[0] ?? 0);
  let [studies, series, instances] = [0, 0, 0];
  for await (const row of new StudySearch(services, tenant, query, budget).matches(PATIENT_STUDIES + 1)) {
    if (++studies > PATIENT_STUDIES) return undefined;
    series += number(row, NUMBER_OF_STUDY_RELATED_SERIES);
    instances += number(row, NUMBER_OF_STUDY_RELATED_INSTANCES);
  }
  return budget.cut ? undefined : { [STUDIES]: studies, [SERIES]: series, [INSTANCES]: instances };
}
