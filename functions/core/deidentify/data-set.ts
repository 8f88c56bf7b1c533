import { UTF8_TERM } from '../dicom/character-sets.ts';
import { vrOf } from '../dicom/dictionary.ts';
import { STORAGE_SOP_CLASSES } from '../dicom/sop-classes.ts';
import type { DataSet, Element, ElementValue } from '../dicom/types.ts';
import { vrNamed } from '../dicom/vr.ts';
import { type Action, decide, safePrivateVr } from './actions.ts';
import { isTime, shiftDate } from './dates.ts';
import { codeItem, DUMMY_CODE_SEQUENCE, DUMMY_TEXT, dummySequence, dummyValue, isCodeSequence } from './dummies.ts';
import { methodCodes, type Profile } from './profile.ts';
import { DEIDENTIFICATION_METHOD } from './profile-table.ts';
import type { Patient, Pseudonyms } from './pseudonyms.ts';
import { cleanText, Echoes, isWritten } from './text.ts';
import { VOCABULARY } from './vocabulary.ts';

export interface Rewriting {
  readonly profile: Profile;
  readonly pseudonyms: Pseudonyms;
  readonly patient: Patient;
  /** what stands for the trial or study the copies are made for */
  readonly project: string;
  /** identifying text in the pixels was blacked out */
  readonly cleanedPixels: boolean;
}

const PATIENT_NAME = '00100010';
const PATIENT_ID = '00100020';
const SUBJECT_IDS = new Set(['00120040', '00120042']);
const PROTOCOL_ID = '00120020';
/** bytes of a safe private value whose VR the object does not tell */
const UNKNOWN_BYTES = 64;
/** Concepts of content items (PS3.16) whose value is somebody's name, number or place. */
const PERSONAL_CONCEPTS = new Set([
  '121008',
  '121009',
  '121013',
  '121016',
  '121017',
  '121020',
  '121021',
  '121022',
  '121029',
  '121030',
  '121036',
  '128774',
  '128775',
]);

/** Values that the standard enumerates and an object cannot do without; a patient may have one as a name. */
const ENUMERATED: Readonly<Record<string, ReadonlySet<string>>> = {
  // Modality, by PS3.3 C.7.3.1.1.1
  '00080060': new Set([...STORAGE_SOP_CLASSES.values()].map(({ modality }) => modality).concat('AU', 'SM', 'XC', 'ES')),
  // Relationship Type, Value Type, Continuity of Content
  '0040A010': new Set([
    'CONTAINS',
    'HAS OBS CONTEXT',
    'HAS ACQ CONTEXT',
    'HAS CONCEPT MOD',
    'HAS PROPERTIES',
    'INFERRED FROM',
    'SELECTED FROM',
  ]),
  '0040A040': new Set([
    'TEXT',
    'CODE',
    'NUM',
    'DATETIME',
    'DATE',
    'TIME',
    'UIDREF',
    'PNAME',
    'COMPOSITE',
    'IMAGE',
    'WAVEFORM',
    'SCOORD',
    'SCOORD3D',
    'TCOORD',
    'CONTAINER',
    'TABLE',
  ]),
  '0040A050': new Set(['SEPARATE', 'CONTINUOUS']),
  '00280004': new Set([
    'MONOCHROME1',
    'MONOCHROME2',
    'PALETTE COLOR',
    'RGB',
    'YBR_FULL',
    'YBR_FULL_422',
    'YBR_ICT',
    'YBR_RCT',
    'YBR_PARTIAL_420',
    'XYB',
  ]),
};

/** A copy of the data set without what identifies; long values stay where they are in the object (`bulk`). The source is not changed. */
export function deidentifyDataSet(source: DataSet, rewriting: Rewriting): DataSet {
  const SOPClassUID = source['00080016']?.Value?.[0];
  const walk = new Walk(
    rewriting,
    new Echoes(source, rewriting.profile),
    typeof SOPClassUID === 'string' ? SOPClassUID : '',
  );
  return { ...walk.dataSet(source, '-'), ...record(source, rewriting) };
}

/** What says that, and how, an object was de-identified (PS3.3 C.7.1.1, C.12.1.1.1). */
function record(source: DataSet, { profile, patient, cleanedPixels }: Rewriting): DataSet {
  const earlier = (source['00120064']?.Value ?? []) as DataSet[];
  const own = methodCodes(profile, cleanedPixels);
  const codes = new Set(own.map(([code]) => code));
  const standing = earlier.filter((item) => {
    const code = item['00080100']?.Value?.[0];
    return (
      item['00080102']?.Value?.[0] === 'DCM' && typeof code === 'string' && /^1131\d\d$/.test(code) && !codes.has(code)
    );
  });
  const temporal = profile.dates === 'keep' ? 'UNMODIFIED' : profile.dates === 'shift' ? 'MODIFIED' : 'REMOVED';
  return {
    ...(source['00080005'] === undefined ? {} : { '00080005': { vr: 'CS', Value: [UTF8_TERM] } }),
    [PATIENT_NAME]: { vr: 'PN', Value: [{ Alphabetic: patient.pseudonym }] },
    [PATIENT_ID]: { vr: 'LO', Value: [patient.pseudonym] },
    '00120062': { vr: 'CS', Value: ['YES'] },
    '00120063': { vr: 'LO', Value: [DEIDENTIFICATION_METHOD] },
    '00120064': { vr: 'SQ', Value: [...own.map(([code, meaning]) => codeItem(code, 'DCM', meaning)), ...standing] },
    '00280303': { vr: 'CS', Value: [temporal] },
    ...(cleanedPixels ? { '00280301': { vr: 'CS', Value: ['NO'] } } : {}),
  };
}

class Walk {
  readonly #rewriting: Rewriting;
  readonly #echoes: Echoes;
  readonly #sopClassUID: string;

  constructor(rewriting: Rewriting, echoes: Echoes, sopClassUID: string) {
    this.#rewriting = rewriting;
    this.#echoes = echoes;
    this.#sopClassUID = sopClassUID;
  }

  dataSet(source: DataSet, parent: string): DataSet {
    const result: DataSet = {};
    for (const [tag, element] of Object.entries(source)) {
      if (tag.endsWith('0000') || tag.startsWith('0002')) continue;
      const written =
        Number.parseInt(tag[3]!, 16) % 2 === 1
          ? this.#private(tag, element, source)
          : this.#element(tag, element, parent, source);
      if (written !== undefined) result[tag] = written;
    }
    this.#creators(source, result);
    return result;
  }

  #items(tag: string, element: Element): Element {
    if (element.Value === undefined) return { vr: 'SQ' };
    return { vr: 'SQ', Value: element.Value.map((item) => this.dataSet((item ?? {}) as DataSet, tag)) };
  }

  #element(tag: string, element: Element, parent: string, around: DataSet): Element | undefined {
    const { profile } = this.#rewriting;
    const place = { parent, SOPClassUID: this.#sopClassUID };
    const decision = decide(tag, element.vr, place, profile);
    // What cannot be looked into does not stay: unknown VRs, text too long to hold.
    const opaque = element.vr === 'UN' || (element.bulk !== undefined && isText(element.vr));
    const stays = decision.action === 'keep' || decision.action === 'clean' || decision.action === 'items';
    const action = opaque && stays ? (decision.otherwise === 'keep' ? 'remove' : decision.otherwise) : decision.action;
    if (action === 'clean') return this.#clean(tag, element, around) ?? this.#plainly(tag, element, decision.otherwise);
    return this.#plainly(tag, element, action, around);
  }

  #plainly(tag: string, element: Element, action: Action, around: DataSet = {}): Element | undefined {
    switch (action) {
      case 'remove':
      case 'clean':
        return undefined;
      case 'empty':
        return this.#pseudonym(tag, element) ?? { vr: knownVr(tag, element) };
      case 'dummy':
        return this.#dummy(tag, element);
      case 'uid':
        return this.#uids(element);
      case 'items':
        return this.#items(tag, element);
      case 'keep':
        return element.vr === 'SQ' ? this.#items(tag, element) : this.#kept(tag, element, around);
    }
  }

  #uids(element: Element): Element {
    if (element.Value === undefined) return { vr: 'UI' };
    const { pseudonyms } = this.#rewriting;
    return {
      vr: 'UI',
      Value: element.Value.map((uid) => (typeof uid === 'string' && uid !== '' ? pseudonyms.uid(uid) : null)),
    };
  }

  #pseudonym(tag: string, element: Element): Element | undefined {
    const { patient, project } = this.#rewriting;
    if (tag === PATIENT_NAME) return { vr: 'PN', Value: [{ Alphabetic: patient.pseudonym }] };
    if (tag === PATIENT_ID || SUBJECT_IDS.has(tag)) return { vr: 'LO', Value: [patient.pseudonym] };
    return tag === PROTOCOL_ID && element.Value !== undefined ? { vr: 'LO', Value: [project] } : undefined;
  }

  #dummy(tag: string, element: Element): Element {
    const pseudonym = this.#pseudonym(tag, element);
    if (pseudonym !== undefined) return pseudonym;
    const vr = knownVr(tag, element);
    if (element.Value === undefined && element.InlineBinary === undefined && element.bulk === undefined) return { vr };
    if (vr === 'UI') return this.#uids(element);
    if (vr !== 'SQ') return dummyValue(vr);
    if (isCodeSequence(tag)) return DUMMY_CODE_SEQUENCE;
    const [first] = (element.Value ?? []) as DataSet[];
    const layer = first?.['00700002'];
    const layers = layer === undefined ? {} : this.dataSet({ '00700002': layer }, tag);
    return dummySequence(tag, layers) ?? { vr: 'SQ', Value: [this.dataSet(first ?? {}, tag)] };
  }

  /** What an option cleans; undefined where nothing is left. */
  #clean(tag: string, element: Element, around: DataSet): Element | undefined {
    const { patient } = this.#rewriting;
    const values = element.Value ?? [];
    if (values.length === 0) return element.vr === 'SQ' ? this.#items(tag, element) : { vr: element.vr };
    const texts = values.map((value) => (typeof value === 'string' ? value : ''));
    switch (element.vr) {
      case 'DA':
      case 'DT': {
        const shifted = texts.map((text) => shiftDate(text, patient.shiftDays));
        return shifted.every((text) => text !== undefined) ? { vr: element.vr, Value: shifted } : undefined;
      }
      case 'TM':
        return texts.every(isTime) ? { vr: 'TM', Value: values } : undefined;
      case 'SQ':
        return this.#items(tag, element);
      case 'AE':
        // A title names a device, and often a department: nobody can tell what of it does not.
        return undefined;
    }
    if (!isText(element.vr)) return undefined;
    if (tag === '0040A160' && isPersonal(around)) return undefined;
    const cleaned = texts.map((text) => cleanText(this.#echoes.removeFrom(text)));
    return cleaned.some((text) => text !== '')
      ? { vr: element.vr, Value: cleaned.map((text) => text || null) }
      : undefined;
  }

  #kept(tag: string, element: Element, around: DataSet): Element {
    const values = element.Value;
    if (values === undefined) return element;
    if (element.vr === 'IS' || element.vr === 'DS') {
      // What is no number is text that somebody wrote where a number belongs.
      const numbers = values.map((value) => (typeof value === 'string' && !/^[\d.eE+-]+$/.test(value) ? null : value));
      return { vr: element.vr, Value: numbers };
    }
    if (element.vr === 'AS') return { vr: 'AS', Value: values.filter((value) => /^\d{3}[DWMY]$/.test(String(value))) };
    if (!isWritten(element.vr)) return element;
    const meaning = tag === '00080104' && isLocalCode(around);
    const left = values.map((value): ElementValue => {
      if (typeof value !== 'string') return value;
      if (element.vr === 'CS' && (VOCABULARY.has(value.toLowerCase()) || ENUMERATED[tag]?.has(value))) return value;
      const text = this.#echoes.removeFrom(meaning ? cleanText(value) : value);
      return text === '' && value !== '' ? (element.vr === 'CS' ? DUMMY_TEXT.toUpperCase() : DUMMY_TEXT) : text;
    });
    return { vr: element.vr, Value: left };
  }

  /** Private attributes go, but for those that the standard's table calls safe, where the profile says so. */
  #private(tag: string, element: Element, around: DataSet): Element | undefined {
    if (!this.#rewriting.profile.retainSafePrivate) return undefined;
    const block = tag.slice(4, 6);
    if (block === '00') return undefined;
    const creator = around[`${tag.slice(0, 4)}00${block}`]?.Value?.[0];
    if (typeof creator !== 'string') return undefined;
    const vr = safePrivateVr(tag, creator);
    if (vr === undefined) return undefined;
    if (element.vr === 'UN') {
      const bytes = element.InlineBinary?.length ?? Number.POSITIVE_INFINITY;
      return vr !== 'SQ' && vr !== 'LO' && vr !== 'SH' && bytes <= (UNKNOWN_BYTES * 4) / 3 ? element : undefined;
    }
    if (element.vr === 'SQ') return vr === 'SQ' ? this.#items(tag, element) : undefined;
    return element.bulk === undefined ? this.#kept(tag, element, around) : undefined;
  }

  #creators(source: DataSet, result: DataSet): void {
    for (const tag of Object.keys(result)) {
      if (Number.parseInt(tag[3]!, 16) % 2 === 0) continue;
      const creator = `${tag.slice(0, 4)}00${tag.slice(4, 6)}`;
      if (source[creator] !== undefined) result[creator] = source[creator];
    }
  }
}

const isText = (vr: string): boolean => {
  const kind = vrNamed(vr)?.kind;
  return kind !== 'octets' && kind !== 'numbers' && kind !== 'tags' && kind !== 'items' && kind !== undefined;
};

const knownVr = (tag: string, element: Element): string => {
  const vr = element.vr === 'UN' ? vrOf(tag) : element.vr;
  return vr === 'UN' && tag !== '0072006D' ? 'UN' : vr;
};

const codeOfItem = (item: DataSet | undefined): [code: string, scheme: string] => [
  String(item?.['00080100']?.Value?.[0] ?? ''),
  String(item?.['00080102']?.Value?.[0] ?? ''),
];

/** A content item that tells who somebody is, or where. */
function isPersonal(item: DataSet): boolean {
  const [code, scheme] = codeOfItem(item['0040A043']?.Value?.[0] as DataSet | undefined);
  return scheme === 'DCM' && PERSONAL_CONCEPTS.has(code);
}

/** A code of a scheme that is somebody's own (PS3.16 §8: 99…, L). */
function isLocalCode(item: DataSet): boolean {
  const [, scheme] = codeOfItem(item);
  return scheme === '' || scheme === 'L' || scheme.startsWith('99');
}
