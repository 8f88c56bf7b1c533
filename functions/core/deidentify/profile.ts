import { PacsError } from '../errors.ts';
import { isUID } from '../ids.ts';

/** What becomes of dates and times: removed or replaced; kept; or moved by a number of days that is the patient's own. */
export type DatePolicy = 'remove' | 'keep' | 'shift';

/** In pixels of the image, from 0: left and top belong to it. */
export interface Rectangle {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * What an administrator says of images that look alike: all the criteria given hold. `blackout`: identifying text stands only in these
 * rectangles. `accept`: there is none, or it may stay.
 */
export interface PixelRule {
  readonly SOPClassUID?: string;
  readonly Modality?: string;
  readonly Manufacturer?: string;
  readonly ManufacturerModelName?: string;
  /** one of the values of ImageType */
  readonly ImageType?: string;
  readonly Rows?: number;
  readonly Columns?: number;
  readonly blackout?: readonly Rectangle[];
  readonly accept?: true;
}

/** The Basic Application Level Confidentiality Profile (PS3.15 Annex E) with these options. */
export interface Profile {
  readonly dates: DatePolicy;
  readonly retainPatientCharacteristics: boolean;
  readonly retainDeviceIdentity: boolean;
  readonly retainInstitutionIdentity: boolean;
  readonly retainUIDs: boolean;
  readonly retainSafePrivate: boolean;
  readonly cleanDescriptors: boolean;
  readonly cleanStructuredContent: boolean;
  readonly cleanGraphics: boolean;
  readonly cleanPixelData: boolean;
  readonly pixelRules: readonly PixelRule[];
}

export const BASIC_PROFILE: Profile = {
  dates: 'remove',
  retainPatientCharacteristics: false,
  retainDeviceIdentity: false,
  retainInstitutionIdentity: false,
  retainUIDs: false,
  retainSafePrivate: false,
  cleanDescriptors: false,
  cleanStructuredContent: false,
  cleanGraphics: false,
  cleanPixelData: false,
  pixelRules: [],
};

/** The options that are on or off. */
export const PROFILE_FLAGS = (Object.keys(BASIC_PROFILE) as (keyof Profile)[]).filter(
  (name): name is Exclude<keyof Profile, 'dates' | 'pixelRules'> => typeof BASIC_PROFILE[name] === 'boolean',
);
export const DATE_POLICIES: readonly DatePolicy[] = ['remove', 'keep', 'shift'];
/** rules of one profile */
const PIXEL_RULES = 100;
const RECTANGLES = 100;
const RULE_TEXTS = ['SOPClassUID', 'Modality', 'Manufacturer', 'ManufacturerModelName', 'ImageType'] as const;
const RULE_NUMBERS = ['Rows', 'Columns'] as const;

/**
 * A profile from what a client sent; what is not named is off.
 * @throws PacsError BAD_REQUEST
 */
export function readProfile(given: unknown): Profile {
  const { pixelRules = [], dates = 'remove', ...flags } = objectOf(given ?? {}, 'profile');
  if (!DATE_POLICIES.includes(dates as DatePolicy)) throw bad(`dates must be one of ${DATE_POLICIES.join(', ')}`);
  const chosen: Partial<Record<(typeof PROFILE_FLAGS)[number], boolean>> = {};
  for (const [name, value] of Object.entries(flags)) {
    const flag = PROFILE_FLAGS.find((one) => one === name);
    if (flag === undefined) throw bad(`there is no option ${name.slice(0, 40)}`);
    if (typeof value !== 'boolean') throw bad(`${name} must be true or false`);
    chosen[flag] = value;
  }
  if (!Array.isArray(pixelRules) || pixelRules.length > PIXEL_RULES)
    throw bad(`pixelRules must be a list of at most ${PIXEL_RULES}`);
  return { ...BASIC_PROFILE, ...chosen, dates: dates as DatePolicy, pixelRules: pixelRules.map(readRule) };
}

function readRule(given: unknown): PixelRule {
  const rule = objectOf(given, 'a pixel rule');
  const read: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(rule)) {
    if ((RULE_TEXTS as readonly string[]).includes(name)) {
      if (typeof value !== 'string' || value === '' || value.length > 64)
        throw bad(`${name} of a pixel rule must be a text`);
      if (name === 'SOPClassUID' && !isUID(value)) throw bad('SOPClassUID of a pixel rule is not a UID');
    } else if ((RULE_NUMBERS as readonly string[]).includes(name)) wholeUpTo65535(value, name);
    else if (name === 'accept' ? value !== true : name !== 'blackout') throw bad('a pixel rule has an unknown member');
    read[name] = name === 'blackout' ? readRectangles(value) : value;
  }
  if ((read.blackout === undefined) === (read.accept === undefined))
    throw bad('a pixel rule must have either blackout or accept');
  if (Object.keys(read).length < 2) throw bad('a pixel rule must say which images it is for');
  return read as PixelRule;
}

function readRectangles(given: unknown): Rectangle[] {
  if (!Array.isArray(given) || given.length === 0 || given.length > RECTANGLES)
    throw bad(`blackout must be a list of at most ${RECTANGLES} rectangles`);
  return given.map((one) => {
    const { left, top, width, height } = objectOf(one, 'a rectangle');
    const rectangle = { left, top, width, height };
    for (const [name, value] of Object.entries(rectangle)) wholeUpTo65535(value, name);
    return rectangle as Rectangle;
  });
}

function wholeUpTo65535(value: unknown, name: string): void {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 65_535)
    throw bad(`${name} must be a whole number up to 65535`);
}

function objectOf(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(`${name} must be an object`);
  return value as Record<string, unknown>;
}

const bad = (message: string): PacsError => new PacsError('BAD_REQUEST', message);

/** De-identification methods (PS3.16 CID 7050): code, meaning, and whether a profile has it; `cleanedPixels`: of the object. */
export const EVERY_METHOD: readonly (readonly [
  code: string,
  meaning: string,
  applies: (profile: Profile, cleanedPixels: boolean) => boolean,
])[] = [
  ['113100', 'Basic Application Confidentiality Profile', () => true],
  ['113101', 'Clean Pixel Data Option', (_, cleanedPixels) => cleanedPixels],
  ['113103', 'Clean Graphics Option', (profile) => profile.cleanGraphics],
  ['113104', 'Clean Structured Content Option', (profile) => profile.cleanStructuredContent],
  ['113105', 'Clean Descriptors Option', (profile) => profile.cleanDescriptors],
  ['113106', 'Retain Longitudinal Temporal Information Full Dates Option', ({ dates }) => dates === 'keep'],
  ['113107', 'Retain Longitudinal Temporal Information Modified Dates Option', ({ dates }) => dates === 'shift'],
  ['113108', 'Retain Patient Characteristics Option', (profile) => profile.retainPatientCharacteristics],
  ['113109', 'Retain Device Identity Option', (profile) => profile.retainDeviceIdentity],
  ['113110', 'Retain UIDs Option', (profile) => profile.retainUIDs],
  ['113111', 'Retain Safe Private Option', (profile) => profile.retainSafePrivate],
  ['113112', 'Retain Institution Identity Option', (profile) => profile.retainInstitutionIdentity],
];

/** What DeidentificationMethodCodeSequence (0012,0064) names. */
export const methodCodes = (profile: Profile, cleanedPixels: boolean): [code: string, meaning: string][] =>
  EVERY_METHOD.flatMap(([code, meaning, applies]) => (applies(profile, cleanedPixels) ? [[code, meaning]] : []));
