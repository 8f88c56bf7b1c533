import { attribute, vrOf } from '#core/dicom/dictionary.ts';
import { textOf } from '#core/dicom/element-text.ts';
import type { DataSet, Element } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { sendFind } from './scu.ts';
import { type QueryLevel, TAG } from './services/query.ts';
import type { Session } from './session.ts';
import {
  PATIENT_ROOT_FIND,
  PATIENT_ROOT_GET,
  PATIENT_ROOT_MOVE,
  STUDY_ROOT_FIND,
  STUDY_ROOT_GET,
  STUDY_ROOT_MOVE,
} from './sop-classes.ts';
import { STATUS } from './status.ts';

/** The information models of PS3.4 C.6, by their root. */
export const MODELS = {
  patient: { find: PATIENT_ROOT_FIND, move: PATIENT_ROOT_MOVE, get: PATIENT_ROOT_GET },
  study: { find: STUDY_ROOT_FIND, move: STUDY_ROOT_MOVE, get: STUDY_ROOT_GET },
} as const;
export type Root = keyof typeof MODELS;

const SOP_CLASS_UID = '00080016';

/**
 * An identifier of a level. Keys are keywords or tags, those of a sequence's item behind a dot (`RequestAttributesSequence.…`);
 * an empty value asks for the attribute back.
 * @throws PacsError BAD_REQUEST where the dictionary has no such attribute
 */
export function identifierFor(level: QueryLevel, keys: Iterable<readonly [path: string, value: string]>): DataSet {
  const identifier: DataSet = { [TAG.QueryRetrieveLevel]: { vr: 'CS', Value: [level] } };
  for (const [path, value] of keys) {
    let dataSet = identifier;
    const names = path.split('.');
    for (const name of names.slice(0, -1)) {
      const tag = tagOf(name);
      if (vrOf(tag) !== 'SQ') throw new PacsError('BAD_REQUEST', `${name} is no sequence`);
      const element = dataSet[tag] ?? { vr: 'SQ', Value: [{}] };
      dataSet[tag] = element;
      dataSet = element.Value![0] as DataSet;
    }
    const tag = tagOf(names.at(-1)!);
    dataSet[tag] = keyElement(vrOf(tag), value);
  }
  return identifier;
}

function tagOf(name: string): string {
  const known = attribute(name)?.tag ?? /^\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?$/.exec(name)?.slice(1, 3).join('');
  if (known === undefined) throw new PacsError('BAD_REQUEST', `there is no attribute ${JSON.stringify(name)}`);
  return known.toUpperCase();
}

function keyElement(vr: string, value: string): Element {
  if (value === '') return vr === 'SQ' ? { vr, Value: [] } : { vr };
  if (vr === 'SQ')
    throw new PacsError('BAD_REQUEST', 'a sequence has no value of its own: name an attribute of its item');
  if (vr !== 'PN') return { vr, Value: value.split('\\') };
  return {
    vr,
    Value: value.split('\\').map((name) => {
      const [Alphabetic = '', Ideographic = '', Phonetic = ''] = name.split('=');
      return { Alphabetic, ...(Ideographic && { Ideographic }), ...(Phonetic && { Phonetic }) };
    }),
  };
}

/** An instance that a peer says it has. */
export interface KnownInstance {
  readonly SOPInstanceUID: string;
  /** '' where the peer does not tell */
  readonly SOPClassUID: string;
}

/**
 * The instances below what an identifier names, asked level by level as the hierarchical model wants it: so a retrieval knows what to
 * propose, and afterwards what is missing.
 * @throws PacsError BUSY where the peer refuses to search
 */
export async function inventory(session: Session, root: Root, identifier: DataSet): Promise<KnownInstance[]> {
  const level = textOf(identifier[TAG.QueryRetrieveLevel]) as QueryLevel;
  const patient = identifier[TAG.PatientID];
  const find = async (at: QueryLevel, keys: DataSet): Promise<DataSet[]> => {
    const found: DataSet[] = [];
    const asked = { [TAG.QueryRetrieveLevel]: { vr: 'CS', Value: [at] }, ...(patient && { [TAG.PatientID]: patient }) };
    const status = await sendFind(session, MODELS[root].find, { ...asked, ...keys }, (match) => void found.push(match));
    if (status !== STATUS.success)
      throw new PacsError('BUSY', `the peer answered a query with status ${status.toString(16).toUpperCase()}`);
    return found;
  };
  const uids = (dataSets: readonly DataSet[], tag: string): string[] => dataSets.map((one) => textOf(one[tag]));
  const named = (tag: string): string[] => textOf(identifier[tag]).split('\\');
  const uid = (value = ''): Element => (value === '' ? { vr: 'UI' } : { vr: 'UI', Value: [value] });

  const studies =
    level === 'PATIENT'
      ? uids(await find('STUDY', { [TAG.StudyInstanceUID]: uid() }), TAG.StudyInstanceUID)
      : named(TAG.StudyInstanceUID);
  const instances: KnownInstance[] = [];
  for (const study of studies) {
    const inStudy = { [TAG.StudyInstanceUID]: uid(study) };
    const series =
      level === 'PATIENT' || level === 'STUDY'
        ? uids(await find('SERIES', { ...inStudy, [TAG.SeriesInstanceUID]: uid() }), TAG.SeriesInstanceUID)
        : named(TAG.SeriesInstanceUID);
    for (const one of series) {
      const wanted = level === 'IMAGE' ? named(TAG.SOPInstanceUID) : [''];
      for (const sop of wanted) {
        const keys = { ...inStudy, [TAG.SeriesInstanceUID]: uid(one), [TAG.SOPInstanceUID]: uid(sop) };
        for (const match of await find('IMAGE', { ...keys, [SOP_CLASS_UID]: uid() }))
          instances.push({
            SOPInstanceUID: textOf(match[TAG.SOPInstanceUID]),
            SOPClassUID: textOf(match[SOP_CLASS_UID]),
          });
      }
    }
  }
  return instances;
}
