/**
 * Conditions of routing rules, as data: they stand in configurations, which a schema checks. A condition holds when every member of
 * it does. Texts are patterns: `*` stands for any characters, case does not matter; one of the list must match one value.
 */
export interface Condition {
  /** AE title of who sent it; 'STOW' for who stored by DICOMweb */
  readonly callingAETitle?: readonly string[];
  readonly Modality?: readonly string[];
  readonly SOPClassUID?: readonly string[];
  readonly TransferSyntaxUID?: readonly string[];
  readonly StudyDescription?: readonly string[];
  readonly SeriesDescription?: readonly string[];
  readonly ProtocolName?: readonly string[];
  readonly BodyPartExamined?: readonly string[];
  readonly InstitutionName?: readonly string[];
  readonly ReferringPhysicianName?: readonly string[];
  readonly StationName?: readonly string[];
  readonly AccessionNumber?: readonly string[];
  readonly all?: readonly Condition[];
  readonly any?: readonly Condition[];
  readonly not?: Condition;
}

export type Subject = Exclude<keyof Condition, 'all' | 'any' | 'not'>;

/** What a condition is asked about: the values of each subject, none where there is none. */
export type Facts = (subject: Subject) => readonly string[];

/** Absent values match no pattern, not even `*`. */
export function holds(condition: Condition, facts: Facts): boolean {
  return Object.entries(condition).every(([member, value]) => {
    switch (member) {
      case 'all':
        return (value as readonly Condition[]).every((one) => holds(one, facts));
      case 'any':
        return (value as readonly Condition[]).some((one) => holds(one, facts));
      case 'not':
        return !holds(value as Condition, facts);
      default: {
        const values = facts(member as Subject);
        return (value as readonly string[]).some((pattern) => values.some((text) => matches(pattern, text)));
      }
    }
  });
}

function matches(pattern: string, text: string): boolean {
  const parts = pattern.toLowerCase().split('*');
  const value = text.toLowerCase();
  if (parts.length === 1) return value === parts[0];
  const first = parts[0]!;
  const last = parts.at(-1)!;
  if (!value.startsWith(first) || !value.endsWith(last) || value.length < first.length + last.length) return false;
  let at = first.length;
  const end = value.length - last.length;
  for (const part of parts.slice(1, -1)) {
    const found = value.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
