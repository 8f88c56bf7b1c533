import { type Attribute, attribute } from '../dicom/dictionary.ts';
import { PacsError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import { type Level, searchAttribute } from './attributes.ts';
import { combineDateAndTime, keyOf } from './keys.ts';
import type { Condition, Key } from './match.ts';

/** What is asked, as data: conditions by the level whose records decide them, and what to return in which order. */
export interface Query {
  readonly level: Level;
  readonly StudyInstanceUID?: string;
  readonly SeriesInstanceUID?: string;
  readonly conditions: Readonly<Record<Level, readonly Condition[]>>;
  /** conditions on attributes that only the metadata of instances holds (level instance) */
  readonly metadataConditions: readonly Condition[];
  /** tags to return beyond the default, with the levels above merged in */
  readonly include: ReadonlySet<string> | 'all';
  readonly order: readonly OrderKey[];
  readonly offset: number;
  readonly limit: number;
  /** what was asked and is not heeded, for the Warning header: names of parameters, never values */
  readonly ignored: readonly string[];
}

export interface OrderKey {
  readonly tag: string;
  readonly vr: string;
  readonly descending: boolean;
}

/** The levels whose attributes may be matched and returned at a level: its own first. */
export const LEVELS_FROM: Readonly<Record<Level, readonly Level[]>> = {
  study: ['study'],
  series: ['series', 'study'],
  instance: ['instance', 'series', 'study'],
};

/** Keys of a lower level that stand for a computed attribute of the study, so that `/studies?Modality=CT` means what it says. */
const AT_STUDY_LEVEL: Readonly<Record<string, string>> = {
  Modality: 'ModalitiesInStudy',
  SOPClassUID: 'SOPClassesInStudy',
};

const CONTROL = new Set([
  'limit',
  'offset',
  'includefield',
  'fuzzymatching',
  'orderby',
  'emptyvaluematching',
  'multiplevaluematching',
]);
/** of other services and of HTTP practice: content negotiation, cache busting */
const FOREIGN = new Set(['accept', 'charset', '_']);
const VALUE_CHARACTERS = 1_024;
/** a UID list in a URL; longer ones do not fit one anyway */
const LIST_CHARACTERS = 65_536;

export interface QueryTarget {
  readonly level: Level;
  /** a range of dates and one of times are two conditions: C-FIND without combined date-time matching (PS3.4 C.2.2.2.5) */
  readonly separateTimes?: boolean | undefined;
  readonly StudyInstanceUID?: string | undefined;
  readonly SeriesInstanceUID?: string | undefined;
}

/**
 * The query of a QIDO-RS request (PS3.18 §8.3.4, §10.6.1). `parameters` are percent-decoded.
 * @throws PacsError BAD_REQUEST naming the parameter whose value is malformed. Parameters that are unknown or not supported
 *   for matching are ignored, as §8.3.2 asks, and named in `ignored`.
 */
export function parseQuery(
  parameters: URLSearchParams,
  target: QueryTarget,
  limits: Pick<Limits, 'searchDefaultResults' | 'searchMaxResults'>,
): Query {
  const { level } = target;
  const fuzzy = flag(parameters, 'fuzzymatching');
  const emptyMatching = flag(parameters, 'emptyvaluematching');
  const multiple = flag(parameters, 'multiplevaluematching');
  const drafts: Record<Level | 'metadata', Draft[]> = { study: [], series: [], instance: [], metadata: [] };
  const include = new Set<string>();
  const ignored = new Set<string>();
  let all = false;

  for (const [name, value] of parameters) {
    if (name === 'includefield') {
      for (const field of value.split(',')) {
        const [first] = pathOf(field) ?? [];
        if (field === 'all') all = true;
        else if (first !== undefined) include.add(first.tag);
        else if (field !== '') ignored.add(field);
      }
      continue;
    }
    if (CONTROL.has(name) || FOREIGN.has(name) || name === '') continue;
    const path = pathOf(level === 'study' ? (AT_STUDY_LEVEL[keywordOf(name)] ?? name) : name);
    const [first] = path ?? [];
    if (path === undefined || first === undefined) {
      ignored.add(name);
      continue;
    }
    include.add(first.tag);
    const leaf = path[path.length - 1] as Attribute;
    if (value.length > (leaf.vr === 'UI' ? LIST_CHARACTERS : VALUE_CHARACTERS)) {
      throw new PacsError('BAD_REQUEST', `the value of ${name} is too long`, { details: { parameter: name } });
    }
    const key = keyOf(name, leaf, value, { fuzzy, emptyMatching, multiple });
    if (key === undefined) continue;
    const where = levelOf(level, path);
    if (where === undefined) ignored.add(name);
    else drafts[where].push({ path, key });
  }
  const conditions = (some: readonly Draft[]) => conditionsOf(some, target.separateTimes !== true);

  return {
    level,
    ...(target.StudyInstanceUID !== undefined && { StudyInstanceUID: target.StudyInstanceUID }),
    ...(target.SeriesInstanceUID !== undefined && { SeriesInstanceUID: target.SeriesInstanceUID }),
    conditions: {
      study: conditions(drafts.study),
      series: conditions(drafts.series),
      instance: conditions(drafts.instance),
    },
    metadataConditions: conditions(drafts.metadata),
    include: all ? 'all' : include,
    order: orderOf(parameters.get('orderby') ?? '', level, ignored),
    offset: unsigned(parameters, 'offset') ?? 0,
    limit: Math.min(unsigned(parameters, 'limit') ?? limits.searchDefaultResults, limits.searchMaxResults),
    ignored: [...ignored],
  };
}

interface Draft {
  readonly path: readonly Attribute[];
  readonly key: Key;
}

/** `PatientName`, `00100010`, `00400275.00400009`, `RequestAttributesSequence.ScheduledProcedureStepID`; undefined when unknown. */
function pathOf(name: string): Attribute[] | undefined {
  const path: Attribute[] = [];
  for (const step of name.split('.')) {
    const found = attribute(step) ?? privateAttribute(step);
    if (found === undefined) return undefined;
    path.push(found);
  }
  return path.slice(0, -1).every((step) => step.vr === 'SQ' || step.vr === 'UN') ? path : undefined;
}

const keywordOf = (name: string): string => attribute(name)?.keyword ?? name;

/** Private elements are matched as text: their VR stands in the object alone. */
const privateAttribute = (tag: string): Attribute | undefined =>
  /^[0-9A-Fa-f]{3}[13579BDFbdf][0-9A-Fa-f]{4}$/.test(tag)
    ? { tag: tag.toUpperCase(), keyword: '', vr: 'UN', vm: '1-n' }
    : undefined;

/** The level whose records hold the attribute; `metadata` where instances are searched by something else. */
function levelOf(level: Level, path: readonly Attribute[]): Level | 'metadata' | undefined {
  const [first, second] = path as [Attribute, Attribute | undefined];
  for (const at of LEVELS_FROM[level]) {
    const row = searchAttribute(at, first.tag);
    if (row === undefined) continue;
    if (row.returnOnly === true) return undefined;
    if (second === undefined || row.items?.includes(second.tag)) return at;
  }
  // What identifies a level below is looked up, whatever level is asked for.
  if (level !== 'instance' && second === undefined) {
    if (first.keyword === 'SeriesInstanceUID') return 'series';
    if (first.keyword === 'SOPInstanceUID') return 'instance';
  }
  return level === 'instance' ? 'metadata' : undefined;
}

/** Keys of one sequence become one condition, to be met by one item (PS3.4 C.2.2.2.6); a date and its time become one range. */
function conditionsOf(drafts: readonly Draft[], combined: boolean): Condition[] {
  const flat: { keyword: string; condition: Condition }[] = [];
  const sequences = new Map<string, Draft[]>();
  for (const { path, key } of drafts) {
    const [first, ...rest] = path as [Attribute, ...Attribute[]];
    if (rest.length === 0) flat.push({ keyword: first.keyword, condition: { tag: first.tag, key } });
    else sequences.set(first.tag, [...(sequences.get(first.tag) ?? []), { path: rest, key }]);
  }
  const conditions = combined ? combineDateAndTime(flat) : flat.map(({ condition }) => condition);
  for (const [tag, inner] of sequences)
    conditions.push({ tag, key: { kind: 'sequence', conditions: conditionsOf(inner, combined) } });
  return conditions;
}

function flag(parameters: URLSearchParams, name: string): boolean {
  const value = parameters.get(name)?.toLowerCase();
  if (value === undefined || value === null || value === '' || value === 'false') return false;
  if (value === 'true') return true;
  throw new PacsError('BAD_REQUEST', `${name} is neither true nor false`, { details: { parameter: name } });
}

const BEYOND_ALL = 999_999_999;

function unsigned(parameters: URLSearchParams, name: string): number | undefined {
  const text = parameters.get(name);
  if (text === null || text === '') return undefined;
  if (!/^[0-9]+$/.test(text.trim())) {
    throw new PacsError('BAD_REQUEST', `${name} is not an unsigned integer`, { details: { parameter: name } });
  }
  // 2147483647 and the like mean: all there are.
  return Math.min(Number(text), BEYOND_ALL);
}

/** `orderby=-StudyDate,PatientName`, as dcm4chee has it: a leading minus means descending. */
function orderOf(text: string, level: Level, ignored: Set<string>): OrderKey[] {
  const order: OrderKey[] = [];
  for (const part of text.split(',')) {
    const descending = part.startsWith('-');
    const name = part.replace(/^[-+ ]/, '').trim();
    if (name === '') continue;
    const entry = attribute(name);
    const known = entry && LEVELS_FROM[level].some((at) => searchAttribute(at, entry.tag)?.returnOnly === false);
    if (entry === undefined || !known || entry.vr === 'SQ') ignored.add('orderby');
    else order.push({ tag: entry.tag, vr: entry.vr, descending });
  }
  return order;
}
