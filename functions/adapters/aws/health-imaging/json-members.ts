/**
 * JSON text by the places of its parts, so that of a document of tens of megabytes one part at a time becomes objects. What is found is
 * parsed by JSON.parse, which checks it; this only has to know where strings, objects and arrays end.
 */

export interface Member {
  readonly name: string;
  /** of the value: bytes [start, end) of the text */
  readonly start: number;
  readonly end: number;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const [OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = [0x5b, 0x5d, 0x7b, 0x7d];

/** The members of the object that begins at `at` (spaces may stand before it). @throws SyntaxError where there is none */
export function* membersOf(text: Buffer, at = 0): Generator<Member, void, undefined> {
  let next = expect(text, afterSpaces(text, at), OPEN_BRACE);
  if (text[afterSpaces(text, next)] === CLOSE_BRACE) return;
  for (;;) {
    const opening = afterSpaces(text, next);
    const closing = stringEnd(text, opening);
    const start = afterSpaces(text, expect(text, afterSpaces(text, closing), COLON));
    const end = valueEnd(text, start);
    yield { name: JSON.parse(text.toString('utf8', opening, closing)) as string, start, end };
    next = afterSpaces(text, end);
    if (text[next] === CLOSE_BRACE) return;
    next = expect(text, next, COMMA);
  }
}

/** The value of a member. @throws SyntaxError */
export const parsed = (text: Buffer, { start, end }: Member): unknown => JSON.parse(text.toString('utf8', start, end));

function expect(text: Buffer, at: number, byte: number): number {
  if (text[at] !== byte) throw new SyntaxError(`JSON: another byte than expected at ${at}`);
  return at + 1;
}

function afterSpaces(text: Buffer, at: number): number {
  let next = at;
  while (text[next] === 0x20 || text[next] === 0x0a || text[next] === 0x0d || text[next] === 0x09) next++;
  return next;
}

/** Where the string ends that begins with the quote at `at`. */
function stringEnd(text: Buffer, at: number): number {
  for (let quote = expect(text, at, QUOTE); ; quote++) {
    quote = text.indexOf(QUOTE, quote);
    if (quote < 0) throw new SyntaxError('JSON: a string has no end');
    let escapes = 0;
    while (text[quote - 1 - escapes] === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return quote + 1;
  }
}

function valueEnd(text: Buffer, at: number): number {
  let depth = 0;
  for (let next = at; next < text.length; next++) {
    const byte = text[next];
    if (byte === QUOTE) {
      next = stringEnd(text, next) - 1;
      if (depth === 0) return next + 1;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      // The end of what a number or a word stands in.
      if (depth === 0) return next;
      if (--depth === 0) return next + 1;
    } else if (depth === 0 && (byte === COMMA || byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09))
      return next;
  }
  throw new SyntaxError('JSON: a value has no end');
}
