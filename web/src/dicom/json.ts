/** The DICOM JSON model (PS3.18 Annex F) as the archive answers it, and how its values are shown to people. */
export interface Element {
  readonly vr: string;
  readonly Value?: readonly unknown[];
  readonly BulkDataURI?: string;
  readonly InlineBinary?: string;
}
export type DataSet = Readonly<Record<string, Element>>;

/** The attributes the console reads, by keyword. Everything else it shows comes from the dictionary. */
export const TAGS = {
  StudyDate: '00080020',
  StudyTime: '00080030',
  AccessionNumber: '00080050',
  InstanceAvailability: '00080056',
  Modality: '00080060',
  ModalitiesInStudy: '00080061',
  SOPClassUID: '00080016',
  SOPInstanceUID: '00080018',
  InstitutionName: '00080080',
  ReferringPhysicianName: '00080090',
  StudyDescription: '00081030',
  SeriesDescription: '0008103E',
  PatientName: '00100010',
  PatientID: '00100020',
  PatientBirthDate: '00100030',
  PatientSex: '00100040',
  PatientAge: '00101010',
  BodyPartExamined: '00180015',
  StudyInstanceUID: '0020000D',
  SeriesInstanceUID: '0020000E',
  StudyID: '00200010',
  SeriesNumber: '00200011',
  InstanceNumber: '00200013',
  NumberOfStudyRelatedSeries: '00201206',
  NumberOfStudyRelatedInstances: '00201208',
  NumberOfSeriesRelatedInstances: '00201209',
  NumberOfFrames: '00280008',
  Rows: '00280010',
  Columns: '00280011',
  RequestedProcedureDescription: '00321060',
  ScheduledStationAETitle: '00400001',
  ScheduledProcedureStepStartDate: '00400002',
  ScheduledProcedureStepStartTime: '00400003',
  ScheduledProcedureStepDescription: '00400007',
  ScheduledProcedureStepSequence: '00400100',
} as const;
export type Keyword = keyof typeof TAGS;

export function textsOf(set: DataSet, keyword: Keyword): string[] {
  const values = set[TAGS[keyword]]?.Value ?? [];
  return values.filter((value) => value !== null && value !== undefined).map((value) => plainText(value));
}
export const textOf = (set: DataSet, keyword: Keyword): string => textsOf(set, keyword)[0] ?? '';

export function numberOf(set: DataSet, keyword: Keyword): number | undefined {
  const value = Number(set[TAGS[keyword]]?.Value?.[0] ?? Number.NaN);
  return Number.isFinite(value) ? value : undefined;
}

interface NameGroups {
  readonly Alphabetic?: string;
  readonly Ideographic?: string;
  readonly Phonetic?: string;
}
const isName = (value: unknown): value is NameGroups =>
  typeof value === 'object' &&
  value !== null &&
  ('Alphabetic' in value || 'Ideographic' in value || 'Phonetic' in value);

/** `Doe^Jane^M^Dr^MD` (family, given, middle, prefix, suffix; PS3.5 §6.2.1.1) → `Doe, Jane M` */
export function formatNameGroup(group: string): string {
  const [family = '', given = '', middle = ''] = group.split('^').map((part) => part.trim());
  const rest = [given, middle].filter(Boolean).join(' ');
  return family && rest ? `${family}, ${rest}` : family || rest;
}

/** The alphabetic group, and the ideographic (or phonetic) one beside it where there is one. */
export function nameOf(set: DataSet, keyword: Keyword): { main: string; other: string } {
  const value = set[TAGS[keyword]]?.Value?.[0];
  if (typeof value === 'string') return { main: formatNameGroup(value), other: '' };
  if (!isName(value)) return { main: '', other: '' };
  const groups = [value.Alphabetic, value.Ideographic, value.Phonetic].map((group) => formatNameGroup(group ?? ''));
  const [main = '', ...others] = groups.filter(Boolean);
  return { main, other: others[0] ?? '' };
}

/** One value of the tag browser, in one line. */
export function plainText(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (isName(value)) return [value.Alphabetic, value.Ideographic, value.Phonetic].filter(Boolean).join(' = ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** DA → `05 Mar 2024`: no two countries read it differently. What is not a date is shown as it stands. */
export function formatDate(date: string): string {
  const match = /^(\d{4})[.-]?(\d{2})[.-]?(\d{2})$/.exec(date.trim());
  const month = MONTHS[Number(match?.[2]) - 1];
  return match && month ? `${match[3]} ${month} ${match[1]}` : date;
}

/** TM → `14:22` */
export function formatTime(time: string): string {
  const match = /^(\d{2}):?(\d{2})/.exec(time.trim());
  return match ? `${match[1]}:${match[2]}` : time;
}

/** ms since 1970, or ISO 8601 → `05 Mar 2024 14:22` in the reader's own time zone */
export function formatMoment(moment: string | number): string {
  const at = new Date(moment);
  if (Number.isNaN(at.getTime())) return String(moment);
  const two = (number: number) => String(number).padStart(2, '0');
  return `${two(at.getDate())} ${MONTHS[at.getMonth()]} ${at.getFullYear()} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** AS `062Y` → `62 y`; without it, the whole years between birth and study. */
export function formatAge(age: string, birthDate: string, studyDate: string): string {
  const given = /^0*(\d+)([DWMY])$/.exec(age);
  // 000Y is what fills the field where nobody knows.
  if (given && given[1] !== '0') return `${given[1]} ${given[2]?.toLowerCase()}`;
  if (!/^\d{8}$/.test(birthDate) || !/^\d{8}$/.test(studyDate)) return '';
  const years = Number(studyDate.slice(0, 4)) - Number(birthDate.slice(0, 4));
  const whole = studyDate.slice(4) < birthDate.slice(4) ? years - 1 : years;
  return whole >= 0 && whole < 150 ? `${whole} y` : '';
}

export const formatSex = (sex: string): string => ({ M: 'male', F: 'female', O: 'other' })[sex] ?? sex;

/** 1,536 → `1.5 KB` (1024-based, as file managers show it) */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString('en')} ${count === 1 ? one : many}`;

/** Modalities whose objects are no images: documents, reports, plans, states, references. */
const NO_IMAGES = new Set(
  'ANN AU DOC ECG EEG EMG EOG EPS FID HD KO M3D PLAN PR REG RTPLAN RTRAD RTRECORD RTSTRUCT SEG SMR SR STAIN'.split(' '),
);

/** `28 images`, `1 object` */
export const pluralOf = (count: number, modality: string): string =>
  plural(count, NO_IMAGES.has(modality) ? 'object' : 'image');

export const formatTag = (tag: string): string => `(${tag.slice(0, 4)},${tag.slice(4)})`;
