import { PacsError } from './errors.ts';
import { isUID } from './ids.ts';
import { type KeyImage, keyImagesOf } from './key-images.ts';
import type { LaunchContext } from './ports/record-system.ts';
import { parseQuery } from './search/query.ts';
import { searchStudyRecords } from './search/studies.ts';
import type { StudyRow } from './search/study-list.ts';
import type { Services } from './services.ts';

/**
 * Whose images another program wants shown: Invoke Image Display (IHE RAD-106), or what an EHR has on its screen. Members that are absent
 * ask for nothing.
 */
export interface DisplayRequest {
  readonly studies?: readonly string[];
  readonly accessionNumbers?: readonly string[];
  readonly patientIds?: readonly string[];
  /** namespace of the patient's id */
  readonly issuerOfPatientId?: string;
  /** DICOM DA, DT ranges, CS */
  readonly birthDate?: string;
  readonly from?: DateAndTime;
  readonly to?: DateAndTime;
  readonly modalities?: readonly string[];
  readonly mostRecent?: number;
  /** nothing but images that key objects name */
  readonly keyImagesOnly?: true;
}

interface DateAndTime {
  readonly date: string;
  readonly time: string;
}

export interface DisplayedStudy {
  readonly StudyInstanceUID: string;
  readonly patientName: string;
  readonly date: string;
  readonly description: string;
  readonly modalities: readonly string[];
  /** where nothing but key images was asked for: those of the study */
  readonly keyImages?: readonly KeyImage[];
}

export interface Display {
  /** the newest first */
  readonly studies: readonly DisplayedStudy[];
  /** nothing is left to choose: these are what was asked for */
  readonly isExact: boolean;
}

/** studies or accession numbers of one request, and studies of one answer */
const DISPLAYED = 50;
const MODALITIES = 20;

/** Parameters of RAD-106 that find nothing. There is one viewer, of full quality; how key images are drawn is the page's part (web/). */
const OF_APPEARANCE = new Set(['viewerType', 'diagnosticQuality', 'patientName']);
const OF_BOTH = new Set([...OF_APPEARANCE, 'keyImagesOnly']);
const OF_PATIENTS = new Set([
  'patientID',
  'patientBirthDate',
  'lowerDateTime',
  'upperDateTime',
  'mostRecentResults',
  'modalitiesInStudy',
]);
const OF_STUDIES = new Set(['studyUID', 'accessionNumber']);

/**
 * The parameters of an Invoke Image Display request (IHE RAD-106, Tables 4.106.4.1-1 and -2).
 * @throws PacsError BAD_REQUEST naming the parameter that is missing, malformed, or of the other type of request
 */
export function readDisplayRequest(given: Readonly<Record<string, unknown>>): DisplayRequest {
  const parameters = new Map<string, string>();
  const { requestType, ...rest } = given;
  if (requestType !== 'STUDY' && requestType !== 'PATIENT') throw wrong('requestType', 'STUDY or PATIENT');
  const known = requestType === 'STUDY' ? OF_STUDIES : OF_PATIENTS;
  for (const [name, value] of Object.entries(rest)) {
    if (!known.has(name) && !OF_BOTH.has(name)) {
      if (OF_STUDIES.has(name) || OF_PATIENTS.has(name)) throw wrong(name, `left out of a ${requestType} request`);
      continue;
    }
    if (typeof value !== 'string' || value.length > 4_096) throw wrong(name, 'a text');
    if (value !== '') parameters.set(name, value);
  }
  for (const name of ['diagnosticQuality', 'keyImagesOnly'])
    if (!['true', 'false', undefined].includes(parameters.get(name))) throw wrong(name, 'true or false');
  const request = requestType === 'STUDY' ? ofStudies(parameters) : ofPatient(parameters);
  return parameters.get('keyImagesOnly') === 'true' ? { ...request, keyImagesOnly: true } : request;
}

function ofStudies(parameters: ReadonlyMap<string, string>): DisplayRequest {
  const studies = partsOf(parameters.get('studyUID'));
  const accessionNumbers = partsOf(parameters.get('accessionNumber'));
  if (studies.length + accessionNumbers.length === 0) throw wrong('studyUID', 'given, or accessionNumber');
  if (studies.length > DISPLAYED || !studies.every(isUID)) throw wrong('studyUID', `at most ${DISPLAYED} UIDs`);
  if (accessionNumbers.length > DISPLAYED || !accessionNumbers.every((one) => isPlain(one, 16)))
    throw wrong('accessionNumber', `at most ${DISPLAYED} accession numbers, without wildcards`);
  return { ...(studies.length > 0 && { studies }), ...(accessionNumbers.length > 0 && { accessionNumbers }) };
}

function ofPatient(parameters: ReadonlyMap<string, string>): DisplayRequest {
  // HL7 v2 CX: the id, and in its fourth component the namespace that it is of.
  const [id = '', , , authority = ''] = (parameters.get('patientID') ?? '').split('^');
  const [issuer = ''] = authority.split('&');
  if (!isPlain(id.trim(), 64)) throw wrong('patientID', 'an id, without wildcards, as HL7 CX');
  const birthDate = parameters.get('patientBirthDate');
  if (birthDate !== undefined && !/^\d{4}-?\d{2}-?\d{2}$/.test(birthDate)) throw wrong('patientBirthDate', 'YYYYMMDD');
  const from = dateAndTime('lowerDateTime', parameters.get('lowerDateTime'), '000000');
  const to = dateAndTime('upperDateTime', parameters.get('upperDateTime'), '235959');
  const mostRecent = parameters.get('mostRecentResults');
  if (mostRecent !== undefined && !/^[1-9]\d{0,3}$/.test(mostRecent))
    throw wrong('mostRecentResults', 'a number from 1');
  const modalities = partsOf(parameters.get('modalitiesInStudy'));
  if (modalities.length > MODALITIES || !modalities.every((one) => /^[A-Z0-9_]{1,16}$/.test(one)))
    throw wrong('modalitiesInStudy', `at most ${MODALITIES} modalities`);
  return {
    patientIds: [id.trim()],
    ...(issuer !== '' && { issuerOfPatientId: issuer }),
    ...(birthDate !== undefined && { birthDate: birthDate.replaceAll('-', '') }),
    ...(from && { from }),
    ...(to && { to }),
    ...(modalities.length > 0 && { modalities }),
    ...(mostRecent !== undefined && { mostRecent: Number(mostRecent) }),
  };
}

/** What of a launch says whose images are wanted. @throws PacsError NOT_FOUND where it says nothing of the kind */
export function launchedRequest({ patientIds, studies, accessionNumbers }: LaunchContext): DisplayRequest {
  const request = {
    ...(studies.length > 0 && { studies: studies.slice(0, DISPLAYED) }),
    ...(accessionNumbers.length > 0 && { accessionNumbers: accessionNumbers.slice(0, DISPLAYED) }),
    ...(patientIds !== undefined && { patientIds }),
  };
  if (Object.keys(request).length === 0)
    throw new PacsError('NOT_FOUND', 'the record system has named neither a patient nor a study');
  return request;
}

/** xs:dateTime, or a part of it; a time zone is left out, as studies carry none. */
function dateAndTime(name: string, text: string | undefined, fallback: string): DateAndTime | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d{4})-?(\d{2})-?(\d{2})(?:T(\d{2}):?(\d{2})(?::?(\d{2})(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?$/.exec(
    text,
  );
  if (match === null) throw wrong(name, 'an xs:dateTime');
  const [, year, month, day, hour, minute, second = fallback.slice(4)] = match;
  return { date: `${year}${month}${day}`, time: hour === undefined ? fallback : `${hour}${minute}${second}` };
}

/** Commas as the profile has them; semicolons, as viewers were sent them before it. */
const partsOf = (text = ''): string[] => [
  ...new Set(
    text
      .split(/[,;]/)
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  ),
];
/** No wildcard and no list: who asks for one patient must not be shown others. */
const isPlain = (text: string, most: number): boolean =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they have no place in an id
  text !== '' && text.length <= most && !/[*?\\\x00-\x1f]/.test(text);

const wrong = (parameter: string, rule: string): PacsError =>
  new PacsError('BAD_REQUEST', `${parameter} must be ${rule}`, { details: { parameter } });

/** The studies that are meant, as far as who asks may see them (`services` are confined to that). */
export async function findDisplayed(services: Services, tenant: string, request: DisplayRequest): Promise<Display> {
  const { studies, accessionNumbers, patientIds, mostRecent } = request;
  const limit = Math.min(mostRecent ?? DISPLAYED, DISPLAYED);
  const common: Record<string, string> = {
    ...(studies && { StudyInstanceUID: studies.join(',') }),
    ...(request.birthDate && { PatientBirthDate: request.birthDate }),
    ...(request.modalities && { ModalitiesInStudy: request.modalities.join(','), multiplevaluematching: 'true' }),
    ...rangeOf(request),
    includefield: 'PatientName,StudyDescription,IssuerOfPatientID',
    orderby: '-StudyDate,-StudyTime',
    limit: String(limit),
  };
  const found = new Map<string, StudyRow>();
  for (const AccessionNumber of accessionNumbers ?? [undefined])
    for (const PatientID of patientIds ?? [undefined]) {
      const asked = { ...common, ...(AccessionNumber && { AccessionNumber }), ...(PatientID && { PatientID }) };
      const query = parseQuery(new URLSearchParams(asked), { level: 'study' }, services.limits);
      for (const row of (await searchStudyRecords(services, tenant, query)).rows)
        if (isOfIssuer(row, request.issuerOfPatientId)) found.set(row.StudyInstanceUID, row);
    }
  const rows = [...found.values()].map(displayed).sort((a, b) => (a.date < b.date ? 1 : -1));
  const asked = studies?.length ?? accessionNumbers?.length;
  const told = rows.slice(0, limit);
  return {
    studies: request.keyImagesOnly ? await withKeyImages(services, tenant, told) : told,
    // Of a patient with several studies a person picks, unless the newest one was asked for.
    isExact: rows.length > 0 && (rows.length === 1 || (asked !== undefined && rows.length === asked)),
  };
}

const withKeyImages = async (
  services: Services,
  tenant: string,
  studies: readonly DisplayedStudy[],
): Promise<DisplayedStudy[]> => {
  const told: DisplayedStudy[] = [];
  for (const study of studies)
    told.push({ ...study, keyImages: await keyImagesOf(services, tenant, study.StudyInstanceUID) });
  return told;
};

function rangeOf({ from, to }: DisplayRequest): Record<string, string> {
  if (!from && !to) return {};
  return {
    StudyDate: `${from?.date ?? ''}-${to?.date ?? ''}`,
    // A study without a time counts as one of its day.
    ...(from && to && (from.time !== '000000' || to.time !== '235959') && { StudyTime: `${from.time}-${to.time}` }),
  };
}

/** An archive that notes no namespace has one. */
function isOfIssuer(row: StudyRow, issuer: string | undefined): boolean {
  const noted = textOf(row, '00100021');
  return issuer === undefined || noted === '' || noted === issuer;
}

const textOf = (row: StudyRow, tag: string): string => {
  const [value] = (row.element(tag)?.Value ?? []) as readonly unknown[];
  if (typeof value === 'object' && value !== null && 'Alphabetic' in value) return String(value.Alphabetic);
  return typeof value === 'string' ? value : '';
};

const displayed = (row: StudyRow): DisplayedStudy => ({
  StudyInstanceUID: row.StudyInstanceUID,
  patientName: textOf(row, '00100010'),
  date: textOf(row, '00080020'),
  description: textOf(row, '00081030'),
  modalities: (row.element('00080061')?.Value ?? []) as string[],
});
