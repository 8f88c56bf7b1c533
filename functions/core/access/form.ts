import { isRole, type Reach, type ReachRule, type Role } from '../access.ts';
import { PacsError } from '../errors.ts';
import { isUID } from '../ids.ts';
import type { Grantee } from './policy.ts';

/** What one grant, token or link may say. */
const RULE_LIMITS = {
  rules: 50,
  /** of one condition */
  values: 1_000,
  characters: 64,
} as const;

const CONDITIONS = ['studies', 'sites', 'modalities', 'referringPhysicians', 'patients', 'deidentified'] as const;

/**
 * Rules of reach as somebody wrote them.
 * @throws PacsError BAD_REQUEST naming the condition, never its values
 */
export function readReach(value: unknown, name = 'rules'): Reach {
  if (!Array.isArray(value) || value.length > RULE_LIMITS.rules)
    throw wrong(name, `a list of at most ${RULE_LIMITS.rules} rules`);
  return value.map((rule) => readRule(rule, name));
}

function readRule(value: unknown, name: string): ReachRule {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(name, 'a list of objects');
  const given = value as Record<string, unknown>;
  const unknown = Object.keys(given).find((key) => !(CONDITIONS as readonly string[]).includes(key));
  if (unknown !== undefined) throw wrong(name, `made of ${CONDITIONS.join(', ')}`);
  const { studies, sites, modalities, referringPhysicians, patients, deidentified } = given;
  if (deidentified !== undefined && deidentified !== true) throw wrong('deidentified', 'true where it stands');
  return {
    ...(studies !== undefined && { studies: texts('studies', studies, isUID) }),
    ...(sites !== undefined && { sites: texts('sites', sites) }),
    ...(modalities !== undefined && {
      modalities: texts('modalities', modalities, (text) => /^[A-Z0-9_ ]{1,16}$/.test(text)),
    }),
    // A name of wildcards alone would be everybody's.
    ...(referringPhysicians !== undefined && {
      referringPhysicians: texts('referringPhysicians', referringPhysicians, (text) => /[^*?^=\s]/.test(text)),
    }),
    ...(patients !== undefined && { patients: listOf('patients', patients).map((patient) => readPatient(patient)) }),
    ...(deidentified === true && { deidentified }),
  };
}

const listOf = (name: string, value: unknown): unknown[] => {
  if (!Array.isArray(value) || value.length === 0 || value.length > RULE_LIMITS.values)
    throw wrong(name, `a list of 1 to ${RULE_LIMITS.values}`);
  return value;
};

const isText = (value: unknown): value is string =>
  typeof value === 'string' &&
  value.trim() !== '' &&
  value.length <= RULE_LIMITS.characters &&
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  !/[\u0000-\u001f\\]/.test(value);

function texts(name: string, value: unknown, isOne: (text: string) => boolean = () => true): string[] {
  const list = listOf(name, value);
  if (!list.every((one): one is string => isText(one) && isOne(one.trim())))
    throw wrong(name, `texts of at most ${RULE_LIMITS.characters} characters, of their kind`);
  return list.map((one) => (one as string).trim());
}

/** @throws PacsError BAD_REQUEST */
export function readPatient(value: unknown, name = 'patients'): { id: string; issuer?: string } {
  const { id, issuer, ...others } = (value ?? {}) as Record<string, unknown>;
  const hasIssuer = issuer !== undefined && issuer !== '';
  if (!isText(id) || (hasIssuer && !isText(issuer)) || Object.keys(others).length > 0)
    throw wrong(name, 'made of an id and, where there is one, an issuer');
  return { id: id.trim(), ...(hasIssuer && { issuer: (issuer as string).trim() }) };
}

const SUBJECT = /^[\w.@+:|-][\w.@+:|/ -]{0,126}$/;

/** Whom a grant is for: `{ subject }`, `{ role }` or `{ claim }`. @throws PacsError BAD_REQUEST */
export function readGrantee(value: unknown): Grantee {
  const { subject, role, claim, ...others } = (value ?? {}) as Record<string, unknown>;
  const said = [subject, role, claim].filter((one) => one !== undefined);
  if (said.length === 1 && Object.keys(others).length === 0) {
    if (isSubject(subject)) return { subject };
    if (typeof role === 'string' && isRole(role)) return { role };
    if (typeof claim === 'string' && /^[\w.:/-]{1,100}=.{1,200}$/.test(claim)) return { claim };
  }
  throw wrong('to', 'one of subject, role, or claim (name=value)');
}

const isSubject = (value: unknown): value is string => typeof value === 'string' && SUBJECT.test(value);

/** @throws PacsError BAD_REQUEST */
export function readSubjects(value: unknown): string[] {
  if (!Array.isArray(value) || value.length > 100 || !value.every(isSubject))
    throw wrong('subjects', 'a list of at most 100 names');
  return value;
}

/** @throws PacsError BAD_REQUEST */
export function readRoles(value: unknown): Role[] {
  if (!Array.isArray(value) || !value.every((role) => typeof role === 'string' && isRole(role)))
    throw wrong('roles', 'a list of roles');
  return value;
}

/** @throws PacsError BAD_REQUEST */
export function readText(name: string, value: unknown, least: number, most: number): string {
  if (typeof value !== 'string' || value.trim().length < least || value.length > most)
    throw wrong(name, `a text of ${least} to ${most} characters`);
  return value.trim();
}

const wrong = (parameter: string, rule: string): PacsError =>
  new PacsError('BAD_REQUEST', `${parameter} must be ${rule}`, { details: { parameter } });
