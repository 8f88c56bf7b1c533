import type { Reach, ReachRule } from '../access.ts';
import type { Delta, StudyRecord } from '../archive/records.ts';
import { textOf } from '../dicom/element-text.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import { type Condition, foldName, matches } from '../search/match.ts';
import type { StudyRow } from '../search/study-list.ts';
import { foldText } from '../search/terms.ts';

/** All of a study that rules of reach and restrictions are judged by. */
export interface StudyFacts {
  readonly StudyInstanceUID: string;
  readonly PatientID: string;
  readonly IssuerOfPatientID: string;
  readonly modalities: readonly string[];
  /** InstitutionName of its instances */
  readonly sites: readonly string[];
  readonly ReferringPhysicianName: Element | undefined;
  /** every instance says PatientIdentityRemoved YES */
  readonly deidentified: boolean;
}

const TAG = {
  Modality: '00080060',
  ModalitiesInStudy: '00080061',
  InstitutionName: '00080080',
  ReferringPhysicianName: '00080090',
  PatientID: '00100020',
  IssuerOfPatientID: '00100021',
  PatientIdentityRemoved: '00120062',
  StudyInstanceUID: '0020000D',
} as const;

/** characters of an InstitutionName (LO) that is kept as a site */
const SITE_CHARACTERS = 64;

/** What an instance adds to what its study is judged by. */
export const isDeidentified = (dataSet: DataSet): boolean =>
  textOf(dataSet[TAG.PatientIdentityRemoved]).trim().toUpperCase() === 'YES';

export function siteOf(dataSet: DataSet): string | undefined {
  const name = dataSet[TAG.InstitutionName]?.Value?.[0];
  const text = typeof name === 'string' ? name.trim() : '';
  return text === '' || text.length > SITE_CHARACTERS ? undefined : text;
}

const attributeFacts = (attributes: DataSet) => ({
  PatientID: textOf(attributes[TAG.PatientID]),
  IssuerOfPatientID: textOf(attributes[TAG.IssuerOfPatientID]),
  ReferringPhysicianName: attributes[TAG.ReferringPhysicianName],
});

export const factsOfRecord = (record: StudyRecord): StudyFacts => ({
  ...attributeFacts(record.attributes),
  StudyInstanceUID: record.StudyInstanceUID,
  modalities: Object.keys(record.modalities),
  sites: sitesOf(record.sites),
  deidentified: record.instanceCount > 0 && record.deidentified === record.instanceCount,
});

/** Names with a count above zero: below it a removal has overtaken its store. */
const sitesOf = (sites: Readonly<Record<string, number>> | undefined): string[] =>
  Object.entries(sites ?? {}).flatMap(([site, count]) => (count > 0 ? [site] : []));

export const factsOfRow = (row: StudyRow): StudyFacts => ({
  PatientID: textOf(row.element(TAG.PatientID)),
  IssuerOfPatientID: textOf(row.element(TAG.IssuerOfPatientID)),
  ReferringPhysicianName: row.element(TAG.ReferringPhysicianName),
  StudyInstanceUID: row.StudyInstanceUID,
  modalities: (row.element(TAG.ModalitiesInStudy)?.Value ?? []) as string[],
  sites: row.sites,
  deidentified: row.deidentified,
});

/** Of an object on its way in, or of an order: as if it were a study of its own. `step`: where an order names its modality. */
export const factsOfDataSet = (dataSet: DataSet, step: DataSet = dataSet): StudyFacts => ({
  ...attributeFacts(dataSet),
  StudyInstanceUID: textOf(dataSet[TAG.StudyInstanceUID]),
  modalities: [textOf(step[TAG.Modality])].filter((modality) => modality !== ''),
  sites: [siteOf(dataSet) ?? siteOf(step) ?? []].flat(),
  deidentified: isDeidentified(dataSet),
});

/** Of something whose study is known by its UID alone: it has been removed, or has not come yet. */
export const factsOfNothing = (StudyInstanceUID: string): StudyFacts => ({
  StudyInstanceUID,
  PatientID: '',
  IssuerOfPatientID: '',
  modalities: [],
  sites: [],
  ReferringPhysicianName: undefined,
  deidentified: false,
});

/** Of a patient by himself. */
export const factsOfPatient = ({
  PatientID,
  IssuerOfPatientID,
}: Pick<StudyFacts, 'PatientID' | 'IssuerOfPatientID'>): StudyFacts => ({
  ...factsOfNothing(''),
  PatientID,
  IssuerOfPatientID,
});

export const meetsAny = (reach: Reach, facts: StudyFacts): boolean => reach.some((rule) => meets(rule, facts));

/** A rule is met when all that it names is. */
function meets(rule: ReachRule, facts: StudyFacts): boolean {
  const { studies, sites, modalities, referringPhysicians, patients, deidentified } = rule;
  return (
    (studies === undefined || studies.includes(facts.StudyInstanceUID)) &&
    (modalities === undefined || modalities.some((modality) => facts.modalities.includes(modality))) &&
    (patients === undefined || patients.some((patient) => isPatient(patient, facts))) &&
    (sites === undefined || meetsSite(sites, facts)) &&
    (referringPhysicians === undefined || referringPhysicians.some((name) => meetsReferrer(name, facts))) &&
    (deidentified === undefined || facts.deidentified)
  );
}

/** A patient named without an issuer is one of studies that name none. */
const isPatient = (
  patient: { readonly id: string; readonly issuer?: string | undefined },
  facts: StudyFacts,
): boolean =>
  facts.PatientID !== '' &&
  facts.PatientID === patient.id.trim() &&
  facts.IssuerOfPatientID === (patient.issuer ?? '').trim();

/** Of a patient that is to be kept from people: named without an issuer, whatever the study's. */
export const concernsPatient = (
  patient: { readonly id: string; readonly issuer?: string | undefined },
  facts: Pick<StudyFacts, 'PatientID' | 'IssuerOfPatientID'>,
): boolean =>
  facts.PatientID !== '' &&
  facts.PatientID === patient.id.trim() &&
  (patient.issuer === undefined || patient.issuer === '' || facts.IssuerOfPatientID === patient.issuer.trim());

function meetsSite(sites: readonly string[], { sites: here, IssuerOfPatientID }: StudyFacts): boolean {
  const folded = new Set([...here, ...(IssuerOfPatientID === '' ? [] : [IssuerOfPatientID])].map(folding));
  return sites.some((site) => folded.has(folding(site)));
}

const folding = (text: string): string => foldText(text).trim();

const meetsReferrer = (name: string, { ReferringPhysicianName }: StudyFacts): boolean =>
  matches(
    { tag: TAG.ReferringPhysicianName, key: { kind: 'name', groups: [foldName(name)] } },
    () => ReferringPhysicianName,
  );

/** Of instances that are not counted in their study's record yet. */
export const factsOfDelta = (StudyInstanceUID: string, delta: Delta): StudyFacts => ({
  ...attributeFacts(delta.studyAttributes),
  StudyInstanceUID,
  modalities: [delta.modality],
  sites: sitesOf(delta.sites),
  deidentified: isDeidentifiedDelta(delta),
});

export const isDeidentifiedDelta = ({ deidentified, instances }: Delta): boolean => deidentified === instances;

/** Conditions on studies, sets of which one is met by whatever meets the rule; what no index serves is left out. */
export function conditionsOf({ modalities, patients, referringPhysicians }: ReachRule): Condition[][] {
  const conditions: Condition[] = [];
  const values = (tag: string, texts: readonly string[]): Condition => ({
    tag,
    key: { kind: 'values', texts, folded: false },
  });
  if (modalities !== undefined) conditions.push(values(TAG.ModalitiesInStudy, modalities));
  if (patients !== undefined) conditions.push(values(TAG.PatientID, [...new Set(patients.map(({ id }) => id.trim()))]));
  if (referringPhysicians === undefined) return [conditions];
  return referringPhysicians.map((name) => [
    ...conditions,
    { tag: TAG.ReferringPhysicianName, key: { kind: 'name', groups: [foldName(name)] } },
  ]);
}
