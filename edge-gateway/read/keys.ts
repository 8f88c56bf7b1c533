import { textOf } from '#core/dicom/element-text.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { type Level, searchAttribute } from '#core/search/attributes.ts';
import { LEVELS_FROM } from '#core/search/query.ts';
import { type Matching, TAG } from '#dimse/services/query.ts';
import type { UpstreamPath } from './upstream-archive.ts';

/** A question of C-FIND as QIDO-RS has it: where to ask, and with which keys. */
export interface UpstreamQuestion {
  readonly path: UpstreamPath;
  readonly parameters: URLSearchParams;
}

/** studies, series or instances that are asked for one by one; longer lists go in one key */
const NAMED_ONE_BY_ONE = 20;
/** of the identifier, but no attribute to match or to return */
const CONTROL: ReadonlySet<string> = new Set([
  TAG.SpecificCharacterSet,
  TAG.QueryRetrieveLevel,
  TAG.RetrieveAETitle,
  TAG.InstanceAvailability,
]);
/** PS3.18 Table 10.6.3-3 has these at study level; DIMSE users ask for the attributes of the levels below. */
const AT_STUDY_LEVEL: Readonly<Record<string, string>> = { '00080060': '00080061', '00080016': '00080062' };
/** Counted of a patient from the studies; no attribute of QIDO. */
const OF_PATIENTS: ReadonlySet<string> = new Set(['00201200', '00201202', '00201204']);

/**
 * The identifier of a C-FIND as questions to a DICOMweb server (PS3.18 §8.3.4). A study or series that is named stands in the path, as
 * every server answers that; only without one are series and instances of all studies asked for.
 * @returns undefined where it has a key that a server need not know at this level, and would answer too much without
 */
export function questionsOf(
  identifier: DataSet,
  level: Level,
  { fuzzy, emptyValues, multipleValues }: Matching,
): UpstreamQuestion[] | undefined {
  const parameters = new URLSearchParams();
  const included: string[] = [];
  for (const [tag, element] of Object.entries(identifier)) {
    if (CONTROL.has(tag) || OF_PATIENTS.has(tag) || tag.endsWith('0000')) continue;
    if (tag === TAG.StudyInstanceUID || (tag === TAG.SeriesInstanceUID && level !== 'study')) continue;
    // Of the zone it is asked, but it is no key.
    if (tag === TAG.TimezoneOffsetFromUTC) {
      included.push(tag);
      continue;
    }
    const name = level === 'study' ? (AT_STUDY_LEVEL[tag] ?? tag) : tag;
    const keys = keysOf(name, element.vr === 'SQ' ? ((element.Value ?? []) as DataSet[])[0] : textOf(element));
    if (keys.length === 0) included.push(name);
    else if (!LEVELS_FROM[level].some((at) => searchAttribute(at, name) !== undefined)) return undefined;
    for (const [path, value] of keys) parameters.append(path, value);
  }
  if (included.length > 0) parameters.set('includefield', included.join(','));
  if (fuzzy) parameters.set('fuzzymatching', 'true');
  if (emptyValues) parameters.set('emptyvaluematching', 'true');
  if (multipleValues) parameters.set('multiplevaluematching', 'true');

  const studies = uidsIn(identifier, TAG.StudyInstanceUID);
  const series = level === 'study' ? [] : uidsIn(identifier, TAG.SeriesInstanceUID);
  if (level === 'study')
    return withKey(parameters, TAG.StudyInstanceUID, studies).map((each) => ({ path: {}, parameters: each }));
  if (studies.length === 0 || studies.length > NAMED_ONE_BY_ONE) {
    if (studies.length > 0) parameters.set(TAG.StudyInstanceUID, studies.join(','));
    return withKey(parameters, TAG.SeriesInstanceUID, series).map((each) => ({ path: {}, parameters: each }));
  }
  return studies.flatMap((StudyInstanceUID): UpstreamQuestion[] =>
    level === 'instance' && series.length > 0 && series.length <= NAMED_ONE_BY_ONE
      ? series.map((SeriesInstanceUID) => ({ path: { StudyInstanceUID, SeriesInstanceUID }, parameters }))
      : withKey(parameters, TAG.SeriesInstanceUID, series).map((each) => ({
          path: { StudyInstanceUID },
          parameters: each,
        })),
  );
}

/** A few UIDs are asked for one by one, as not every server knows lists. */
function withKey(parameters: URLSearchParams, tag: string, uids: readonly string[]): URLSearchParams[] {
  if (uids.length === 0) return [parameters];
  const values = uids.length <= NAMED_ONE_BY_ONE ? uids : [uids.join(',')];
  return values.map((value) => {
    const each = new URLSearchParams(parameters);
    each.set(tag, value);
    return each;
  });
}

export const uidsIn = (identifier: DataSet, tag: string): string[] => [
  ...new Set(
    textOf(identifier[tag])
      .split('\\')
      .filter((uid) => uid !== ''),
  ),
];

/** What a key matches by; nothing where it only asks for the value. */
function keysOf(path: string, key: DataSet | string | undefined): [path: string, value: string][] {
  if (key === undefined) return [];
  if (typeof key === 'string') return key.trim() === '' || /^\*+$/.test(key.trim()) ? [] : [[path, key.trim()]];
  return Object.entries(key).flatMap(([tag, element]) =>
    keysOf(`${path}.${tag}`, element.vr === 'SQ' ? ((element.Value ?? []) as DataSet[])[0] : textOf(element)),
  );
}
