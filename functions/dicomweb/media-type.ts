/** A media type with its parameters (RFC 9110 §8.3.1): names lower-case, values unquoted, case of values kept. */
export interface MediaType {
  /** `type/subtype`, lower-case */
  readonly type: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** Media types read before: clients send the same few headers with every request. */
const KNOWN_LIMIT = 500;
const known = new Map<string, MediaType>();

/**
 * Reads one media type. Tolerant where clients of the field are wrong and the meaning is clear: parameter values may
 * be unquoted although they hold `/` (`type=application/dicom`), blanks may stand around `=`, a quote may be left open.
 */
export function parseMediaType(text: string): MediaType {
  const before = known.get(text);
  if (before) return before;
  if (known.size >= KNOWN_LIMIT) known.clear();
  const media = readMediaType(text);
  known.set(text, media);
  return media;
}

function readMediaType(text: string): MediaType {
  const [type = '', ...rest] = splitOutsideQuotes(text, ';');
  const parameters: Record<string, string> = {};
  for (const parameter of rest) {
    const equals = parameter.indexOf('=');
    if (equals < 0) continue;
    const name = parameter.slice(0, equals).trim().toLowerCase();
    // The first one wins: a repeated parameter is malformed, and the second must not change what was checked.
    if (name !== '' && !(name in parameters)) parameters[name] = unquote(parameter.slice(equals + 1).trim());
  }
  return { type: type.trim().toLowerCase(), parameters };
}

/** Splits a list header at `separator`, quoted strings left whole; blanks trimmed, empty members dropped. */
export function splitOutsideQuotes(text: string, separator: ',' | ';'): string[] {
  if (!text.includes('"')) return text.split(separator).flatMap(trimmed);
  const members: string[] = [];
  let start = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '\\' && quoted) i++;
    else if (character === '"') quoted = !quoted;
    else if (character === separator && !quoted) {
      members.push(...trimmed(text.slice(start, i)));
      start = i + 1;
    }
  }
  members.push(...trimmed(text.slice(start)));
  return members;
}

const trimmed = (member: string): string[] => {
  const text = member.trim();
  return text === '' ? [] : [text];
};

function unquote(value: string): string {
  if (!value.startsWith('"')) return value;
  const end = value.length > 1 && value.endsWith('"') ? value.length - 1 : value.length;
  return value.slice(1, end).replace(/\\(.)/g, '$1');
}
