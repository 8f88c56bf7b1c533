import { attribute } from '../dicom/dictionary.ts';
import type { DataSet, Element, ElementValue } from '../dicom/types.ts';

/**
 * Every attribute that can be searched for or asked back from the index: one row each. The tag and the VR come from the
 * dictionary. To make another attribute searchable, add a row here (and golden rows in test/unit/search/cases.ts).
 *
 * Sources: PS3.18 Tables 10.6.1-5 (matching) and 10.6.3-3, -4, -5 (returned), PS3.4 C.6.1 and C.6.2 (optional keys of the
 * Query/Retrieve models), and what OHIF, Weasis and dcm4che ask beyond them.
 */
export type Level = 'study' | 'series' | 'instance';

/**
 * What stands beside the records to find them (see postings.ts); an attribute without one is matched by reading.
 * `words`: a posting for each word and a vocabulary of the words; `fuzzyWords`: and their sounds, for person names;
 * `name`: and the whole name; `identifier`: whole values and their ends; `value`: whole values only; `modality`, `date`: the ordered lists.
 */
export type IndexKind = 'words' | 'fuzzyWords' | 'name' | 'identifier' | 'value' | 'modality' | 'date';

export const hasWords = (index: IndexKind | undefined): boolean =>
  index === 'words' || index === 'fuzzyWords' || index === 'name';

export interface SearchAttribute {
  readonly keyword: string;
  readonly tag: string;
  readonly vr: string;
  readonly level: Level;
  readonly index?: IndexKind;
  /** returned without being asked for: PS3.18 §10.6.3.3 */
  readonly byDefault: boolean;
  /** not taken from the object: counted, or known by the archive alone */
  readonly computed: boolean;
  /** can be asked back, but neither be matched nor ordered by */
  readonly returnOnly: boolean;
  /** for sequences: tags of what is kept of each item */
  readonly items?: readonly string[];
}

type Row = string | readonly [keyword: string, options: RowOptions];
interface RowOptions {
  readonly index?: IndexKind;
  readonly byDefault?: true;
  readonly computed?: true;
  readonly returnOnly?: true;
  /** keywords */
  readonly items?: readonly string[];
}

const returned: RowOptions = { byDefault: true };
const computed: RowOptions = { byDefault: true, computed: true };
const counted: RowOptions = { computed: true, returnOnly: true };
const CODE = [
  'CodeValue',
  'CodingSchemeDesignator',
  'CodingSchemeVersion',
  'CodeMeaning',
  'LongCodeValue',
  'URNCodeValue',
];
const code: RowOptions = { items: CODE };
const ISSUER = ['LocalNamespaceEntityID', 'UniversalEntityID', 'UniversalEntityIDType'];
const REFERENCE = ['ReferencedSOPClassUID', 'ReferencedSOPInstanceUID'];

const STUDY_ROWS: readonly Row[] = [
  ['SpecificCharacterSet', returned],
  ['StudyDate', { byDefault: true, index: 'date' }],
  ['StudyTime', returned],
  ['AccessionNumber', { byDefault: true, index: 'identifier' }],
  ['InstanceAvailability', computed],
  ['ModalitiesInStudy', { byDefault: true, computed: true, index: 'modality' }],
  ['SOPClassesInStudy', { computed: true }],
  ['ReferringPhysicianName', { byDefault: true, index: 'fuzzyWords' }],
  ['TimezoneOffsetFromUTC', returned],
  // Not in Table 10.6.3-3, but every study list shows it and every viewer asks for it.
  ['StudyDescription', { byDefault: true, index: 'words' }],
  ['RetrieveURL', { byDefault: true, computed: true, returnOnly: true }],
  ['PatientName', { byDefault: true, index: 'name' }],
  ['PatientID', { byDefault: true, index: 'identifier' }],
  ['PatientBirthDate', { byDefault: true, index: 'value' }],
  ['PatientSex', returned],
  ['StudyInstanceUID', returned],
  ['StudyID', { byDefault: true, index: 'identifier' }],
  ['NumberOfStudyRelatedSeries', computed],
  ['NumberOfStudyRelatedInstances', computed],
  // Counted when they are asked for: see patient-counts.ts
  ['NumberOfPatientRelatedStudies', counted],
  ['NumberOfPatientRelatedSeries', counted],
  ['NumberOfPatientRelatedInstances', counted],
  // Patient module and its kin
  'IssuerOfPatientID',
  [
    'IssuerOfPatientIDQualifiersSequence',
    { items: ['UniversalEntityID', 'UniversalEntityIDType', 'IdentifierTypeCode'] },
  ],
  'OtherPatientIDs',
  ['OtherPatientIDsSequence', { items: ['PatientID', 'IssuerOfPatientID', 'TypeOfPatientID'] }],
  'OtherPatientNames',
  'PatientBirthTime',
  'PatientBirthName',
  'PatientMotherBirthName',
  'EthnicGroup',
  'PatientAge',
  'PatientSize',
  'PatientWeight',
  'PatientSexNeutered',
  'PregnancyStatus',
  'Occupation',
  'MilitaryRank',
  'MedicalAlerts',
  'Allergies',
  'AdditionalPatientHistory',
  'PatientSpeciesDescription',
  'PatientBreedDescription',
  'ResponsiblePerson',
  'ResponsibleOrganization',
  'QualityControlSubject',
  'PatientIdentityRemoved',
  'DeidentificationMethod',
  'ClinicalTrialSponsorName',
  'ClinicalTrialProtocolID',
  'ClinicalTrialProtocolName',
  'ClinicalTrialSiteID',
  'ClinicalTrialSiteName',
  'ClinicalTrialSubjectID',
  'ClinicalTrialSubjectReadingID',
  'ClinicalTrialTimePointID',
  'ClinicalTrialTimePointDescription',
  // Study module
  ['IssuerOfAccessionNumberSequence', { items: ISSUER }],
  'NameOfPhysiciansReadingStudy',
  'PhysiciansOfRecord',
  'ConsultingPhysicianName',
  'RequestingPhysician',
  'RequestingService',
  'RequestedProcedureDescription',
  ['RequestedProcedureCodeSequence', code],
  ['ProcedureCodeSequence', code],
  ['ReasonForPerformedProcedureCodeSequence', code],
  'AdmittingDiagnosesDescription',
  ['AdmittingDiagnosesCodeSequence', code],
  'AdmissionID',
  ['IssuerOfAdmissionIDSequence', { items: ISSUER }],
  'ServiceEpisodeID',
  ['ReferencedStudySequence', { items: REFERENCE }],
  'PatientComments',
];

const SERIES_ROWS: readonly Row[] = [
  ['SpecificCharacterSet', returned],
  ['InstanceAvailability', computed],
  ['Modality', returned],
  ['TimezoneOffsetFromUTC', returned],
  ['SeriesDescription', returned],
  ['RetrieveURL', { byDefault: true, computed: true, returnOnly: true }],
  ['SeriesInstanceUID', returned],
  ['SeriesNumber', returned],
  ['NumberOfSeriesRelatedInstances', computed],
  ['PerformedProcedureStepStartDate', returned],
  ['PerformedProcedureStepStartTime', returned],
  [
    'RequestAttributesSequence',
    {
      byDefault: true,
      items: [
        'AccessionNumber',
        'StudyInstanceUID',
        'RequestedProcedureID',
        'RequestedProcedureDescription',
        'ScheduledProcedureStepID',
        'ScheduledProcedureStepDescription',
        'ReasonForTheRequestedProcedure',
      ],
    },
  ],
  // Table 10.6.3-4 ends here; viewers show and sort by these
  ['SeriesDate', returned],
  ['SeriesTime', returned],
  ['BodyPartExamined', returned],
  'Laterality',
  'ProtocolName',
  'PatientPosition',
  ['SeriesDescriptionCodeSequence', code],
  ['AnatomicRegionSequence', code],
  'PresentationIntentType',
  'SeriesType',
  'FrameOfReferenceUID',
  'PerformingPhysicianName',
  'OperatorsName',
  'InstitutionName',
  'InstitutionalDepartmentName',
  ['InstitutionCodeSequence', code],
  'StationName',
  'Manufacturer',
  'ManufacturerModelName',
  'DeviceSerialNumber',
  'SoftwareVersions',
  'PerformedProcedureStepEndDate',
  'PerformedProcedureStepEndTime',
  'PerformedProcedureStepID',
  'PerformedProcedureStepDescription',
  ['PerformedProtocolCodeSequence', code],
  ['ReferencedPerformedProcedureStepSequence', { items: REFERENCE }],
  'ContrastBolusAgent',
  'TreatmentSessionUID',
  'ClinicalTrialSeriesID',
  'ClinicalTrialSeriesDescription',
  'ClinicalTrialCoordinatingCenterName',
];

const INSTANCE_ROWS: readonly Row[] = [
  ['SpecificCharacterSet', returned],
  ['SOPClassUID', returned],
  ['SOPInstanceUID', returned],
  ['InstanceAvailability', computed],
  ['TimezoneOffsetFromUTC', returned],
  ['RetrieveURL', { byDefault: true, computed: true, returnOnly: true }],
  ['InstanceNumber', returned],
  ['Rows', returned],
  ['Columns', returned],
  ['BitsAllocated', returned],
  ['NumberOfFrames', returned],
  ['AvailableTransferSyntaxUID', { computed: true }],
  // Table 10.6.3-5 ends here
  'ImageType',
  'InstanceCreationDate',
  'InstanceCreationTime',
  'ContentDate',
  'ContentTime',
  'AcquisitionDate',
  'AcquisitionTime',
  'AcquisitionDateTime',
  'AcquisitionNumber',
  'ImageLaterality',
  'ViewPosition',
  ['ViewCodeSequence', code],
  'ImageComments',
  'SliceThickness',
  'SliceLocation',
  'ImagePositionPatient',
  'ImageOrientationPatient',
  'PixelSpacing',
  'EchoTime',
  'TemporalPositionIdentifier',
  'SamplesPerPixel',
  'PhotometricInterpretation',
  'BitsStored',
  'LossyImageCompression',
  // Presentation states, key objects, reports, encapsulated documents
  'ContentLabel',
  'ContentDescription',
  'ContentCreatorName',
  'PresentationCreationDate',
  'PresentationCreationTime',
  ['ConceptNameCodeSequence', code],
  'CompletionFlag',
  'VerificationFlag',
  ['VerifyingObserverSequence', { items: ['VerifyingObserverName', 'VerifyingOrganization', 'VerificationDateTime'] }],
  [
    'ReferencedRequestSequence',
    { items: ['AccessionNumber', 'StudyInstanceUID', 'RequestedProcedureID', 'RequestedProcedureDescription'] },
  ],
  'DocumentTitle',
  'MIMETypeOfEncapsulatedDocument',
];

const toAttribute =
  (level: Level) =>
  (row: Row): SearchAttribute => {
    const [keyword, options] = typeof row === 'string' ? [row, {} as RowOptions] : row;
    const entry = attribute(keyword);
    if (entry === undefined) throw new Error(`the dictionary does not know ${keyword}`);
    return {
      keyword,
      tag: entry.tag,
      vr: entry.vr,
      level,
      byDefault: options.byDefault ?? false,
      computed: options.computed ?? false,
      returnOnly: options.returnOnly ?? false,
      ...(options.index && { index: options.index }),
      ...(options.items && { items: options.items.map((item) => attribute(item)?.tag ?? '') }),
    };
  };

export const ATTRIBUTES: Readonly<Record<Level, readonly SearchAttribute[]>> = {
  study: STUDY_ROWS.map(toAttribute('study')),
  series: SERIES_ROWS.map(toAttribute('series')),
  instance: INSTANCE_ROWS.map(toAttribute('instance')),
};

const BY_TAG: Readonly<Record<Level, ReadonlyMap<string, SearchAttribute>>> = {
  study: new Map(ATTRIBUTES.study.map((row) => [row.tag, row])),
  series: new Map(ATTRIBUTES.series.map((row) => [row.tag, row])),
  instance: new Map(ATTRIBUTES.instance.map((row) => [row.tag, row])),
};

/** The row of an attribute (by tag) at a level, or undefined when that level's records do not hold it. */
export const searchAttribute = (level: Level, tag: string): SearchAttribute | undefined => BY_TAG[level].get(tag);

const stored = (level: Level): readonly SearchAttribute[] =>
  ATTRIBUTES[level].filter((row) => !row.computed).sort((a, b) => (a.tag < b.tag ? -1 : 1));
const STORED: Readonly<Record<Level, readonly SearchAttribute[]>> = {
  study: stored('study'),
  series: stored('series'),
  instance: stored('instance'),
};

/** Tags, ascending, of what the records keep of an object. */
export const STUDY_ATTRIBUTES: readonly string[] = STORED.study.map((row) => row.tag);
export const SERIES_ATTRIBUTES: readonly string[] = STORED.series.map((row) => row.tag);
export const INSTANCE_ATTRIBUTES: readonly string[] = STORED.instance.map((row) => row.tag);

/** A record must fit its item (350 KB at 3 bytes a character): what exceeds this stays in the object's metadata alone. */
const RECORD_CHARACTERS = 64_000;
const SEQUENCE_ITEMS = 100;

/**
 * What the record of `level` keeps of a data set, in DICOM JSON, in tag order. Elements are shared with `dataSet`, not copied.
 * Bulk and binary values are left out, and so is an element that would make the record over-long.
 */
export function pickAttributes(dataSet: DataSet, level: Level): DataSet {
  const picked: DataSet = {};
  let room = RECORD_CHARACTERS;
  for (const { tag, items } of STORED[level]) {
    const element = dataSet[tag];
    if (element === undefined || element.bulk !== undefined || element.InlineBinary !== undefined) continue;
    const kept = items === undefined ? element : pickItems(element, items);
    const characters = charactersOf(kept);
    if (characters > room) continue;
    room -= characters;
    picked[tag] = kept;
  }
  return picked;
}

/** An item whose dates and times are of another zone than the object's says so by itself. */
const TIMEZONE_OFFSET_FROM_UTC = '00080201';

function pickItems(element: Element, tags: readonly string[]): Element {
  if (element.Value === undefined) return element;
  const items: ElementValue[] = [];
  for (const item of element.Value.slice(0, SEQUENCE_ITEMS)) {
    const kept: DataSet = {};
    for (const tag of [TIMEZONE_OFFSET_FROM_UTC, ...tags]) {
      const value = (item as DataSet)[tag];
      if (value !== undefined && value.bulk === undefined) kept[tag] = value;
    }
    items.push(kept);
  }
  return { vr: element.vr, Value: items };
}

/** About the length of the element as text. */
function charactersOf(element: Element): number {
  let sum = 32;
  for (const value of element.Value ?? []) {
    if (typeof value === 'string') sum += value.length + 3;
    else if (typeof value === 'number' || value === null) sum += 8;
    else if (element.vr === 'SQ') for (const nested of Object.values(value as DataSet)) sum += charactersOf(nested);
    else for (const group of Object.values(value)) sum += (group as string).length + 16;
  }
  return sum;
}
