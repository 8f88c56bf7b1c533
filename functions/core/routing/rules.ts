import type { InstanceRecord } from '../archive/records.ts';
import type { DataSet } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { type Condition, holds } from './conditions.ts';
import { asksForDataSet, factsOf } from './facts.ts';
import type { RouteWhen, RuleRecord } from './records.ts';

/** What a person says of a rule. */
export type AskedRule = Pick<
  RuleRecord,
  'enabled' | 'order' | 'when' | 'scope' | 'condition' | 'destinations' | 'final'
>;

/** Attributes that conditions may ask about (conditions.ts). */
export const CONDITION_SUBJECTS = [
  'callingAETitle',
  'Modality',
  'SOPClassUID',
  'TransferSyntaxUID',
  'StudyDescription',
  'SeriesDescription',
  'ProtocolName',
  'BodyPartExamined',
  'InstitutionName',
  'ReferringPhysicianName',
  'StationName',
  'AccessionNumber',
] as const satisfies readonly (keyof Condition)[];

const RULE_DESTINATIONS = 10;
const PATTERNS = 100;
const PATTERN_CHARACTERS = 128;
const DEPTH = 5;
const MOST_ORDER = 9_999;

/** Names of rules and destinations: they stand in keys. */
export const isRoutingName = (name: string): boolean => /^[a-z0-9][a-z0-9-]{0,62}$/.test(name);

/** @throws PacsError BAD_REQUEST that names what is wrong */
export function readRule(value: Readonly<Record<string, unknown>>): AskedRule {
  const { enabled = true, order = 100, when, scope = 'instances', condition, destinations, final = false } = value;
  refuseOthers(value, ['enabled', 'order', 'when', 'scope', 'condition', 'destinations', 'final']);
  if (typeof enabled !== 'boolean') throw wrong('enabled', 'true or false');
  if (typeof final !== 'boolean') throw wrong('final', 'true or false');
  if (!Number.isInteger(order) || (order as number) < 0 || (order as number) > MOST_ORDER)
    throw wrong('order', `a whole number from 0 to ${MOST_ORDER}`);
  if (when !== 'stored' && when !== 'quiet') throw wrong('when', 'stored or quiet');
  if (scope !== 'instances' && scope !== 'study') throw wrong('scope', 'instances or study');
  if (scope === 'study' && when !== 'quiet') throw wrong('scope', 'instances, unless the study is waited for');
  if (
    !Array.isArray(destinations) ||
    destinations.length === 0 ||
    destinations.length > RULE_DESTINATIONS ||
    !destinations.every((name) => typeof name === 'string' && isRoutingName(name))
  )
    throw wrong('destinations', `1 to ${RULE_DESTINATIONS} names of destinations`);
  return {
    enabled,
    order: order as number,
    when,
    scope,
    ...(condition !== undefined && { condition: readCondition(condition, DEPTH) }),
    destinations: [...new Set(destinations as string[])],
    final,
  };
}

function readCondition(value: unknown, depth: number): Condition {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong('condition', 'an object');
  if (depth === 0) throw wrong('condition', `nested ${DEPTH} deep at most`);
  refuseOthers(value as Record<string, unknown>, [...CONDITION_SUBJECTS, 'all', 'any', 'not']);
  const read = (one: unknown): Condition => readCondition(one, depth - 1);
  return Object.fromEntries(
    Object.entries(value).map(([member, given]) => {
      if (member === 'not') return [member, read(given)];
      if (!Array.isArray(given) || given.length === 0 || given.length > PATTERNS)
        throw wrong(member, `a list of 1 to ${PATTERNS}`);
      if (member === 'all' || member === 'any') return [member, given.map(read)];
      if (!given.every((one) => typeof one === 'string' && one !== '' && one.length <= PATTERN_CHARACTERS))
        throw wrong(member, `texts of 1 to ${PATTERN_CHARACTERS} characters`);
      return [member, given];
    }),
  ) as Condition;
}

function refuseOthers(value: Readonly<Record<string, unknown>>, known: readonly string[]): void {
  const other = Object.keys(value).find((name) => !known.includes(name));
  if (other !== undefined)
    throw new PacsError('BAD_REQUEST', `${other.replace(/[^\w.-]/g, '?').slice(0, 64)} is not known here`);
}

const wrong = (parameter: string, rule: string): PacsError =>
  new PacsError('BAD_REQUEST', `${parameter} must be ${rule}`, { details: { parameter } });

export const inOrder = (rules: readonly RuleRecord[]): RuleRecord[] =>
  [...rules].sort((a, b) => a.order - b.order || (a.name < b.name ? -1 : 1));

export const asksMore = (rules: readonly Pick<RuleRecord, 'condition'>[]): boolean =>
  rules.some(({ condition }) => condition !== undefined && asksForDataSet(condition));

/** Which of the rules' conditions an instance meets. `dataSet`: where one of them asks for more than its record has. */
export const conditionsMet = (
  rules: readonly Pick<RuleRecord, 'condition'>[],
  instance: InstanceRecord,
  dataSet: DataSet | undefined,
): boolean[] => {
  const facts = factsOf(instance, dataSet);
  return rules.map(({ condition }) => condition === undefined || holds(condition, facts));
};

/**
 * Which rules match which instances: by rule, positions in `met`, which has for each instance what conditionsMet says. `rules` are enabled ones of one kind, in
 * order. A rule whose scope is the study matches all of it as soon as one instance meets its condition.
 */
export function matched(
  rules: readonly Pick<RuleRecord, 'scope' | 'final'>[],
  met: readonly (readonly boolean[])[],
): ReadonlySet<number>[] {
  const taken = new Set<number>();
  return rules.map(({ scope, final }, rule) => {
    const open = [...met.keys()].filter((at) => !taken.has(at));
    const meeting = open.filter((at) => met[at]![rule]);
    const found = scope === 'study' && meeting.length > 0 ? open : meeting;
    if (final) for (const at of found) taken.add(at);
    return new Set(found);
  });
}

/** Enabled rules of one kind that speak of what was stored at that time, in order. */
export const rulesFor = (rules: readonly RuleRecord[], when: RouteWhen, at: number): RuleRecord[] =>
  inOrder(rules).filter((rule) => rule.enabled && rule.when === when && rule.since <= at);
