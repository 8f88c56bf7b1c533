import { confine } from '#core/access/confine.ts';
import { authorize } from '#core/access.ts';
import { attribute } from '#core/dicom/dictionary.ts';
import { textOf } from '#core/dicom/element-text.ts';
import type { DataSet, Element } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { newReadMeter } from '#core/ports/index-table.ts';
import { searchAttribute } from '#core/search/attributes.ts';
import { searchInstanceRecords } from '#core/search/instances.ts';
import { offsetMinutes } from '#core/search/offset.ts';
import {
  INSTANCE_ROWS,
  PATIENT_COUNTS,
  SERIES_ROWS,
  STUDY_ROWS,
  withPatientCounts,
} from '#core/search/patient-counts.ts';
import { LEVELS_FROM, type Query } from '#core/search/query.ts';
import type { Results } from '#core/search/results.ts';
import { searchSeriesRecords } from '#core/search/series.ts';
import { searchStudyRecords } from '#core/search/studies.ts';
import type { StudyRow } from '#core/search/study-list.ts';
import { inZone, widened, zoneMatcher } from '#core/search/timezone.ts';
import type { Services } from '#core/services.ts';
import { decodeIdentifier, encodeIdentifier } from '../identifiers.ts';
import type { Operation, Service } from '../session.ts';
import { STATUS } from '../status.ts';
import {
  answered,
  DATE_TIME_BYTE,
  EMPTY_VALUE_BYTE,
  FUZZY_BYTE,
  levelOf,
  type Matching,
  MULTIPLE_VALUE_BYTE,
  type QueryLevel,
  queryOf,
  RECORD_LEVEL,
  TAG,
  TIMEZONE_BYTE,
  UNIQUE_KEY,
} from './query.ts';
import type { ArchiveAccess } from './store.ts';

/** matches that are looked up at a time */
const PAGE_ROWS = 500;

/** One match, whatever its level. */
export interface Match {
  /** what tells it from the others of its level */
  readonly key: string;
  readonly element: (tag: string) => Element | undefined;
}

/** Where a query is answered from: the archive's own index, or that and another archive's. Patients are asked for by their studies. */
export type SearchRecords = (
  tenant: string,
  query: Query,
  asked: {
    readonly identifier: DataSet;
    readonly level: QueryLevel;
    readonly matching: Matching;
    readonly signal: AbortSignal;
    /** confined to who asks */
    readonly services: Services;
  },
) => AsyncIterable<Match | 'cut'>;

/**
 * C-FIND (PS3.4 C.4.1), Patient Root and Study Root. Keys of other levels are matched as relational queries are, whether or not that
 * was negotiated. Status A700 after the matches says that the search was cut: there may be more.
 */
export const findService =
  (
    access: ArchiveAccess,
    search: SearchRecords = (tenant, query, { services }) => rows(services, tenant, query),
  ): Service =>
  async (operation) => {
    const { session, context, dataSet, signal, respond } = operation;
    const principal = authorize(access.principalOf(session.callingAETitle, session), 'search');
    const { tenant } = principal;
    const services = await confine(access.services, principal, 'search');
    const identifier = await identifierOf(operation);
    const level = levelOf(identifier, context.abstractSyntax);
    if (operation.facts) operation.facts.keys = keysOf(identifier);
    const agreed = session.extendedNegotiation(context.abstractSyntax);
    const matching: Matching = {
      fuzzy: agreed?.[FUZZY_BYTE] === 1,
      combinedTimes: agreed?.[DATE_TIME_BYTE] === 1,
      emptyValues: agreed?.[EMPTY_VALUE_BYTE] === 1,
      multipleValues: agreed?.[MULTIPLE_VALUE_BYTE] === 1,
    };
    const query = queryOf(identifier, level, access.services.limits, matching);
    const zone = agreed?.[TIMEZONE_BYTE] === 1 ? zoneOf(identifier) : undefined;
    const characterSets = textOf(identifier[TAG.SpecificCharacterSet]).split('\\');
    const status = query.ignored.length > 0 ? STATUS.pendingWarning : STATUS.pending;
    const plain = (asked: DataSet, as: Query) =>
      search(tenant, as, { identifier: asked, level, matching, signal, services });
    const wide = zone === undefined ? identifier : widened(identifier, zone);
    const found =
      zone === undefined
        ? plain(identifier, query)
        : seenIn(zone, query, plain(wide, queryOf(wide, level, access.services.limits, matching)));
    const matches = level === 'PATIENT' ? patientsOf(found, query) : found;
    let cut = false;
    for await (const match of matches) {
      if (signal.aborted) break;
      if (match === 'cut') {
        cut = true;
        continue;
      }
      const result = resultOf(identifier, level, match, access.aeTitle);
      await respond({ Status: status }, encodeIdentifier(result, context.transferSyntax, characterSets));
    }
    dataSet?.discard();
    if (signal.aborted) await respond({ Status: STATUS.cancel });
    else if (cut)
      await respond({ Status: STATUS.outOfResources, ErrorComment: 'the search was cut; narrow the query' });
    else await respond({ Status: STATUS.success });
  };

/** The time zone, in minutes, that all of a query is about; undefined: none. @throws PacsError DATASET_MISMATCH */
export function zoneOf(identifier: DataSet): number | undefined {
  const text = textOf(identifier[TAG.TimezoneOffsetFromUTC]);
  if (text === '') return undefined;
  const minutes = offsetMinutes(text);
  if (minutes === undefined) throw new PacsError('DATASET_MISMATCH', 'TimezoneOffsetFromUTC is no offset');
  return minutes;
}

/** What wider keys have found, with dates and times of that zone, as far as it meets the keys themselves. */
async function* seenIn(zone: number, query: Query, found: AsyncIterable<Match | 'cut'>): AsyncGenerator<Match | 'cut'> {
  const matches = zoneMatcher(query);
  for await (const match of found) {
    if (match === 'cut') yield match;
    else {
      const element = inZone(match.element, zone);
      if (matches(element)) yield { key: match.key, element };
    }
  }
}

/** What a query asks about: the attributes whose keys are not empty; never their values. */
export const keysOf = (identifier: DataSet): string[] =>
  Object.keys(identifier)
    .filter((tag) => tag !== TAG.SpecificCharacterSet && identifier[tag]?.Value !== undefined)
    .map((tag) => attribute(tag)?.keyword ?? tag);

/** @throws PacsError DATASET_MISMATCH, UNREADABLE_DATASET */
export async function identifierOf({ dataSet, context }: Operation): Promise<DataSet> {
  if (dataSet === undefined) throw new PacsError('DATASET_MISMATCH', 'there is no identifier');
  return decodeIdentifier(await dataSet.gather(), context.transferSyntax);
}

/** What of a match was asked for. Optional keys that no record of this level holds are left out (PS3.4 C.4.1.1.3.2). */
function resultOf(identifier: DataSet, level: QueryLevel, match: Match, retrieveAETitle: string): DataSet {
  const result: DataSet = {};
  for (const [tag, asked] of Object.entries(identifier)) {
    if (tag === TAG.SpecificCharacterSet || tag.endsWith('0000')) continue;
    const found = match.element(tag);
    if (found !== undefined || isKnown(level, tag)) result[tag] = answered(asked, tag, found);
  }
  for (const tag of [UNIQUE_KEY[level], TAG.InstanceAvailability]) {
    const found = match.element(tag);
    if (found !== undefined && (level !== 'PATIENT' || tag !== TAG.InstanceAvailability)) result[tag] = found;
  }
  result[TAG.QueryRetrieveLevel] = { vr: 'CS', Value: [level] };
  result[TAG.RetrieveAETitle] = { vr: 'AE', Value: [retrieveAETitle] };
  return result;
}

const isKnown = (level: QueryLevel, tag: string): boolean =>
  level === 'IMAGE' || LEVELS_FROM[RECORD_LEVEL[level]].some((at) => searchAttribute(at, tag) !== undefined);

/** Studies, series or instances, page by page; 'cut' where matches may be missing. */
export async function* rows(services: Services, tenant: string, query: Query): AsyncGenerator<Match | 'cut'> {
  const given = new Set<string>();
  for (let offset = 0; ; offset += PAGE_ROWS) {
    const page = await pageOf(services, tenant, { ...query, offset, limit: PAGE_ROWS });
    for (const match of page.rows) {
      // What arrives meanwhile moves the pages.
      if (given.has(match.key)) continue;
      given.add(match.key);
      yield match;
    }
    if (page.cut) yield 'cut';
    if (!page.more) return;
  }
}

async function pageOf(services: Services, tenant: string, query: Query): Promise<Results<Match>> {
  const meter = newReadMeter();
  if (query.level === 'study') {
    const found = await searchStudyRecords(services, tenant, query, meter);
    const page = await withPatientCounts(services, tenant, query, found, STUDY_ROWS, meter);
    return { ...page, rows: page.rows.map(studyMatch) };
  }
  if (query.level === 'series') {
    const found = await searchSeriesRecords(services, tenant, query, meter);
    const page = await withPatientCounts(services, tenant, query, found, SERIES_ROWS, meter);
    return {
      ...page,
      rows: page.rows.map(({ study, record, dataSet }) => ({
        key: `${record.StudyInstanceUID}|${record.SeriesInstanceUID}`,
        element: (tag) => dataSet[tag] ?? study.element(tag),
      })),
    };
  }
  const found = await searchInstanceRecords(services, tenant, query, meter);
  const page = await withPatientCounts(services, tenant, query, found, INSTANCE_ROWS, meter);
  return {
    ...page,
    rows: page.rows.map(({ series, record, dataSet }) => ({
      key: record.SOPInstanceUID,
      element: (tag) => dataSet[tag] ?? series.dataSet[tag] ?? series.study.element(tag),
    })),
  };
}

const studyMatch = (row: StudyRow): Match => ({ key: row.StudyInstanceUID, element: (tag) => row.element(tag) });

/** (0020,1200), (0020,1202), (0020,1204): studies, series and instances of a patient, from those of the study */
const OF_STUDY: readonly (string | undefined)[] = [undefined, '00201206', '00201208'];
/** patients that are told apart in one query */
const PATIENTS = 100_000;

/**
 * The patients of the matching studies: who has the same PatientID of the same issuer is one; without an ID, the same name and birth date.
 * Where nothing has counted a patient's studies (another archive answered, or there is no ID), those that match are.
 */
async function* patientsOf(studies: AsyncIterable<Match | 'cut'>, query: Query): AsyncGenerator<Match | 'cut'> {
  const asked = PATIENT_COUNTS.filter((tag) => query.include === 'all' || query.include.has(tag));
  const found = new Map<string, { match: Match; counts: Record<string, number> }>();
  const waiting: Match[] = [];
  for await (const match of studies) {
    if (match === 'cut') {
      yield match;
      continue;
    }
    const text = (tag: string): string => textOf(match.element(tag));
    const id = text(TAG.PatientID);
    const key =
      id === '' ? `|${text(TAG.PatientName)}|${text(TAG.PatientBirthDate)}` : `${id}|${text(TAG.IssuerOfPatientID)}`;
    let patient = found.get(key);
    if (patient === undefined) {
      if (found.size === PATIENTS) {
        yield 'cut';
        break;
      }
      const counts: Record<string, number> = {};
      const element = (tag: string): Element | undefined =>
        match.element(tag) ?? (PATIENT_COUNTS.includes(tag) ? { vr: 'IS', Value: [counts[tag] ?? 0] } : undefined);
      patient = { match: { key, element }, counts };
      found.set(key, patient);
      if (asked.every((tag) => match.element(tag) !== undefined)) yield patient.match;
      else waiting.push(patient.match);
    }
    for (const [i, tag] of PATIENT_COUNTS.entries()) {
      const ofStudy = OF_STUDY[i];
      const more = ofStudy === undefined ? 1 : Number(match.element(ofStudy)?.Value?.[0] ?? 0);
      patient.counts[tag] = (patient.counts[tag] ?? 0) + more;
    }
  }
  yield* waiting;
}
