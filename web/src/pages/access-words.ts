import type { Grantee, Patient, ReachRule } from '../api/access.ts';
import { ROLE_WORDS, wordFor } from './words.ts';

export const granteeInWords = (to: Grantee): string =>
  'subject' in to ? to.subject : 'role' in to ? `every ${wordFor(ROLE_WORDS, to.role).toLowerCase()}` : to.claim;

export const patientInWords = ({ id, issuer }: Patient): string => (issuer ? `${id} (${issuer})` : id);

/** What a rule says, as a person would: `CT or MR of North, referred by House^Gregory`. */
export function ruleInWords({
  studies,
  sites,
  modalities,
  referringPhysicians,
  patients,
  deidentified,
}: ReachRule): string {
  const or = (values: readonly string[]) => values.join(' or ');
  const parts = [
    deidentified && 'de-identified',
    modalities && or(modalities),
    sites && `of ${or(sites)}`,
    referringPhysicians && `referred by ${or(referringPhysicians)}`,
    patients && `of patient ${or(patients.map(patientInWords))}`,
    studies && (studies.length === 1 ? `study ${studies[0]}` : `${studies.length} studies`),
  ].filter((part): part is string => typeof part === 'string');
  return parts.length === 0 ? 'all studies' : parts.join(', ');
}

/** The values of a field in which people write one a line or part them by commas; names keep their carets. */
export const listIn = (text: string): string[] =>
  text
    .split(/[\n,;]+/)
    .map((part) => part.trim())
    .filter((part) => part !== '');
