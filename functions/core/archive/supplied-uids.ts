import { createHash } from 'node:crypto';
import { firstString } from '../dicom/element-text.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { hashedUID, timeOf } from '../ids.ts';
import type { Policy } from '../services.ts';
import { IDENTITY_TAGS, type Identity } from './instance.ts';
import type { Version } from './records.ts';

export type SuppliedUIDs = readonly (keyof Identity)[];

/** What an object is filed under, and which of these UIDs its data set lacks; any may be absent or malformed still. */
export interface Filing {
  readonly uids: Partial<Identity>;
  readonly supplied: SuppliedUIDs;
}

const MEDIA_STORAGE_SOP_CLASS_UID = '00020002';
const MEDIA_STORAGE_SOP_INSTANCE_UID = '00020003';
const MEDIA_STORAGE_DIRECTORY = '1.2.840.10008.1.3.10';
/** Storage classes of composite instances; palettes, hanging protocols and implants stand outside: they are of no patient. */
const OF_STUDIES = '1.2.840.10008.5.1.4.1.1.';
/** Storage classes of non-patient objects (PS3.4 Annex GG), and of inventories. */
const OF_NO_PATIENT: ReadonlySet<string> = new Set(
  ['38.1', '39.1', '43.1', '44.1', '45.1', '1.1.200.1', '1.1.200.3', '1.1.200.7', '1.1.201.1'].map(
    (end) => `1.2.840.10008.5.1.4.${end}`,
  ),
);
const ORIGINAL_ATTRIBUTES = '04000561';

/**
 * Supplies what the data set does not say. SOP Class and SOP Instance: from the File Meta Information, which says of what instance the file is
 * (PS3.10 §7.1); by C-STORE those are the UIDs of the command. Study and series, of a storage class of the standard, and only where the
 * policy derives them: by a hash of the SOP Instance UID, so that the same object always comes to lie at the same place.
 */
export function filingOf(found: Partial<Identity>, fileMeta: DataSet, missingUIDs: Policy['missingUIDs']): Filing {
  const uids: { -readonly [K in keyof Identity]?: string } = { ...found };
  const supplied: (keyof Identity)[] = [];
  const supply = (keyword: keyof Identity, uid: string | undefined): void => {
    if ((uids[keyword] ?? '') !== '' || uid === undefined || uid === '') return;
    uids[keyword] = uid;
    supplied.push(keyword);
  };
  const mediaClass = firstString(fileMeta, MEDIA_STORAGE_SOP_CLASS_UID);
  if (mediaClass !== MEDIA_STORAGE_DIRECTORY) {
    supply('SOPClassUID', mediaClass);
    supply('SOPInstanceUID', firstString(fileMeta, MEDIA_STORAGE_SOP_INSTANCE_UID));
  }
  const { SOPClassUID, SOPInstanceUID } = uids;
  if (
    missingUIDs === 'derive' &&
    SOPInstanceUID &&
    SOPClassUID?.startsWith(OF_STUDIES) &&
    !OF_NO_PATIENT.has(SOPClassUID)
  ) {
    supply('StudyInstanceUID', derived('study', SOPInstanceUID));
    supply('SeriesInstanceUID', derived('series', SOPInstanceUID));
  }
  return { uids, supplied };
}

/**
 * Says of what can belong to no study that it is such a thing, rather than that it lacks a UID.
 * @throws PacsError UNSUPPORTED_SOP_CLASS
 */
export function checkCanBeOfStudy({ SOPClassUID, StudyInstanceUID }: Partial<Identity>, fileMeta: DataSet): void {
  const refused = (what: string): PacsError => new PacsError('UNSUPPORTED_SOP_CLASS', `${what} not stored`);
  if (!SOPClassUID && firstString(fileMeta, MEDIA_STORAGE_SOP_CLASS_UID) === MEDIA_STORAGE_DIRECTORY)
    throw refused('a media directory (DICOMDIR) is');
  if (SOPClassUID && !StudyInstanceUID && OF_NO_PATIENT.has(SOPClassUID)) throw refused('objects of no patient are');
}

const derived = (level: string, SOPInstanceUID: string): string =>
  hashedUID(createHash('sha256').update(`nephos ${level} of ${SOPInstanceUID}`).digest());

/** Those elements as an object has them that is filed so. */
export const suppliedElements = (id: Identity, supplied: SuppliedUIDs): Record<string, Element> =>
  Object.fromEntries(supplied.map((keyword) => [IDENTITY_TAGS[keyword], { vr: 'UI', Value: [id[keyword]] }]));

/**
 * The data set as it is shown: with the UIDs it lacks, and the Original Attributes Sequence saying so (PS3.3 C.12.1). What is said follows from
 * object and version alone: an index that is made anew says the same.
 */
export function withSupplied(dataSet: DataSet, id: Identity, supplied: SuppliedUIDs, version: Version): DataSet {
  if (supplied.length === 0) return dataSet;
  const original: DataSet = {
    '04000550': {
      vr: 'SQ',
      Value: [Object.fromEntries(supplied.map((keyword) => [IDENTITY_TAGS[keyword], { vr: 'UI' }]))],
    },
    '04000562': { vr: 'DT', Value: [dateTime(timeOf(version))] },
    '04000563': { vr: 'LO', Value: ['NEPHOS'] },
    '04000564': { vr: 'LO' },
    '04000565': { vr: 'CS', Value: ['COERCE'] },
  };
  const before = dataSet[ORIGINAL_ATTRIBUTES]?.Value ?? [];
  return {
    ...dataSet,
    ...suppliedElements(id, supplied),
    [ORIGINAL_ATTRIBUTES]: { vr: 'SQ', Value: [...before, original] },
  };
}

const dateTime = (at: number): string => `${new Date(at).toISOString().replace(/[-:T]|\.\d{3}Z$/g, '')}+0000`;
