import { attributeOf } from '../dicom/dictionary.ts';
import type { Profile } from './profile.ts';
import { PROFILE_TABLE } from './profile-table.ts';
import { SAFE_PRIVATE_TABLE } from './safe-private.ts';
import { REQUIRED_TYPES } from './types-table.ts';

/**
 * What is done to an attribute. `items`: a sequence stays, and each of its attributes is looked at. `clean`: what may identify is taken out of
 * the value, or `otherwise` is done. `uid`: replaced by the UID that the project has for it.
 */
export type Action = 'keep' | 'items' | 'clean' | 'remove' | 'empty' | 'dummy' | 'uid';

/** Codes of Table E.1-1a. */
export type ActionCode = 'D' | 'Z' | 'X' | 'K' | 'C' | 'U' | 'Z/D' | 'X/Z' | 'X/D' | 'X/Z/D' | 'X/Z/U*';

export interface ProfileRow {
  readonly tag: string;
  readonly code: ActionCode;
  /** letters of profile-table.ts */
  readonly options: string;
  readonly keyword: string;
}

/** Types of PS3.5 §7.4: required with a value, required, optional. */
export type AttributeType = 1 | 2 | 3;

/** Where an attribute stands. */
export interface Place {
  /** tag of the sequence around it; '-': the data set itself */
  readonly parent: string;
  readonly SOPClassUID: string;
}

export const PROFILE_ROWS: ReadonlyMap<string, ProfileRow> = new Map(
  PROFILE_TABLE.trim()
    .split('\n')
    .map((line) => {
      const [tag, code, options, keyword] = line.split(' ') as [string, ActionCode, string, string];
      return [tag, { tag, code, options, keyword }];
    }),
);

const SOP_ROOT = '1.2.840.10008.5.1.4.';
interface Requirement {
  readonly type: 1 | 2;
  /** '*': wherever it stands */
  readonly sopClasses: '*' | ReadonlySet<string>;
}
const requirements = new Map<string, Requirement[]>();
const knownSopClasses = new Set<string>();
for (const line of REQUIRED_TYPES.trim().split('\n')) {
  const [tag, parent, type, classes] = line.split(' ') as [string, string, string, string];
  const sopClasses = classes === '*' ? classes : new Set(classes.split(',').map((end) => SOP_ROOT + end));
  if (sopClasses !== '*') for (const uid of sopClasses) knownSopClasses.add(uid);
  const key = `${tag} ${parent}`;
  requirements.set(key, [...(requirements.get(key) ?? []), { type: Number(type) as 1 | 2, sopClasses }]);
}

/** The type of an attribute of the table where it stands, by its IOD; in objects of IODs that the table does not know, the strictest of all. */
export function typeOf(tag: string, { parent, SOPClassUID }: Place): AttributeType {
  const rows = requirements.get(`${tag} ${parent}`) ?? [];
  const isKnown = knownSopClasses.has(SOPClassUID);
  let strictest: AttributeType = 3;
  for (const { type, sopClasses } of rows)
    if ((sopClasses === '*' || sopClasses.has(SOPClassUID) || !isKnown) && type < strictest) strictest = type;
  return strictest;
}

/** What a code means for an attribute of a type: the mildest that leaves the object valid. */
export function actionOfCode(code: ActionCode, type: AttributeType): Action {
  switch (code) {
    case 'K':
      return 'keep';
    case 'C':
      return 'clean';
    case 'U':
      return 'uid';
    case 'D':
      return 'dummy';
    case 'X/Z/U*':
      return type === 1 ? 'items' : type === 2 ? 'empty' : 'remove';
    case 'Z':
    case 'Z/D':
      return type === 1 ? 'dummy' : 'empty';
    default:
      // X and what begins with it. Where an IOD requires what the profile removes, the copy must still be an object of that IOD.
      return type === 1 ? 'dummy' : type === 2 ? 'empty' : 'remove';
  }
}

/** UIDs that name kinds of things, not things: SOP classes, coding schemes, context groups. */
const CLASS_UIDS = new Set([
  '00080016',
  '0008001A',
  '0008001B',
  '0008010C',
  '00080117',
  '00080118',
  '00081150',
  '0008115A',
  '00083002',
]);

const hasOption = (row: ProfileRow, letter: string): boolean => row.options.includes(letter);

/** The code of Table E.1-1 for a row under a profile: that of an option that applies (what is retained before what is cleaned), else the basic one. */
export function codeOf(row: ProfileRow, profile: Profile): ActionCode {
  if (profile.retainUIDs && hasOption(row, 'u')) return 'K';
  if (profile.retainDeviceIdentity && hasOption(row, 'v')) return 'K';
  if (profile.retainInstitutionIdentity && hasOption(row, 'i')) return 'K';
  if (profile.retainPatientCharacteristics && hasOption(row, 'p')) return 'K';
  if (profile.dates === 'keep' && hasOption(row, 'd')) return 'K';
  if (profile.dates === 'shift' && hasOption(row, 'd')) return 'C';
  if (profile.retainDeviceIdentity && hasOption(row, 'V')) return 'C';
  if (profile.retainPatientCharacteristics && hasOption(row, 'P')) return 'C';
  if (profile.cleanDescriptors && hasOption(row, 't')) return 'C';
  if (profile.cleanStructuredContent && hasOption(row, 's')) return 'C';
  if (profile.cleanGraphics && hasOption(row, 'g')) return 'C';
  return row.code;
}

/** `otherwise`: what the Basic Profile says, for values of which nothing is left when they have been cleaned. */
export interface Decision {
  readonly action: Action;
  readonly otherwise: Action;
}
const decided = (action: Action, otherwise: Action = 'remove'): Decision => ({ action, otherwise });
const REMOVED = decided('remove');

/**
 * What is done to a standard attribute. What Table E.1-1 does not name stays, but for what nobody knows (tags and VRs that PS3.6 has not, also such as a
 * later edition may bring), UIDs, and names, dates and titles by their VR. Curves and overlays go as a whole: what is drawn cannot be read.
 * @param tag eight hex digits, of an even group
 */
export function decide(tag: string, vr: string, place: Place, profile: Profile): Decision {
  const group = tag.slice(0, 2);
  if (group === '50' || group === '60') return REMOVED;
  const row = PROFILE_ROWS.get(tag);
  if (row !== undefined) {
    const type = typeOf(tag, place);
    const otherwise = actionOfCode(row.code, type);
    const action = actionOfCode(codeOf(row, profile), type);
    if (vr === 'SQ' && (action === 'keep' || action === 'clean')) return decided('items', otherwise);
    return decided(action, otherwise);
  }
  if (vr === 'UN' || attributeOf(Number.parseInt(tag, 16)) === undefined) return REMOVED;
  switch (vr) {
    case 'SQ':
      return decided('items');
    case 'UI':
      return decided(CLASS_UIDS.has(tag) || profile.retainUIDs ? 'keep' : 'uid');
    case 'PN':
    case 'AE':
      return decided('empty');
    case 'DA':
    case 'DT':
    case 'TM':
      return decided(profile.dates === 'keep' ? 'keep' : profile.dates === 'shift' ? 'clean' : 'dummy', 'dummy');
    case 'UR':
      return REMOVED;
    default:
      // TextValue of content items is free text wherever it stands.
      return tag === '0040A160' ? decided('clean', 'dummy') : decided('keep');
  }
}

const safe = new Map<string, string>();
for (const line of SAFE_PRIVATE_TABLE.trim().split('\n')) {
  const [, group, element, vr, creator] = /^(\S+) (\S+) (\S+) (.+)$/.exec(line)!;
  safe.set(`${group}|${creator}|${element}`, vr!);
}

/** The VR of a private attribute that Table E.3.10-1 calls safe. */
export const safePrivateVr = (tag: string, creator: string): string | undefined =>
  safe.get(`${tag.slice(0, 4)}|${creator}|${tag.slice(6)}`);
