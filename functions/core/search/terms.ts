import { doubleMetaphone } from 'double-metaphone';

/**
 * Text as the index and the matching of person names see it. Index terms are coarser than matching (no case, no accents),
 * so a posting may point at a study that does not match, but no matching study lacks its posting.
 */

/**
 * Upper case without accents and other marks, compatibility forms resolved (full-width letters, ligatures), control
 * characters as spaces. PS3.4 C.2.2.2.1 lets person names match without regard to case and accents.
 */
export function foldText(text: string): string {
  let plain = true;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7e || unit < 0x20) {
      plain = false;
      break;
    }
  }
  if (plain) return text.toUpperCase();
  // Only the marks of Latin, Greek and Cyrillic go: a dakuten is another letter to a Japanese reader.
  return text
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .normalize('NFC')
    .toUpperCase()
    .replace(/\p{Cc}/gu, ' ')
    .toWellFormed();
}

/** Letters, digits, apostrophes and everything beyond ASCII but spaces; all else parts words. Expects folded text. */
function isWordUnit(unit: number): boolean {
  if (unit < 0x80) return (unit >= 0x41 && unit <= 0x5a) || (unit >= 0x30 && unit <= 0x39) || unit === 0x27;
  return unit !== 0xa0 && unit !== 0x3000 && unit !== 0x30fb;
}

/** Words of folded text, in order. */
export function wordsOf(folded: string): string[] {
  const words: string[] = [];
  let start = -1;
  for (let i = 0; i < folded.length; i++) {
    if (isWordUnit(folded.charCodeAt(i))) {
      if (start < 0) start = i;
    } else if (start >= 0) {
      words.push(folded.slice(start, i));
      start = -1;
    }
  }
  if (start >= 0) words.push(folded.slice(start));
  return words;
}

/** A run of letters that every value matching a pattern holds; `word`, `prefix`, `suffix` and `infix` of one of its words. */
export interface PatternPart {
  readonly text: string;
  readonly kind: 'word' | 'prefix' | 'suffix' | 'infix';
}

/** What a folded pattern with the wild cards `*` and `?` asks of the words of a value. */
export function patternParts(folded: string): PatternPart[] {
  const parts: PatternPart[] = [];
  const isWild = (at: number) => folded[at] === '*' || folded[at] === '?';
  let start = -1;
  for (let i = 0; i <= folded.length; i++) {
    if (i < folded.length && isWordUnit(folded.charCodeAt(i))) {
      if (start < 0) start = i;
    } else if (start >= 0) {
      const openLeft = start > 0 && isWild(start - 1);
      const openRight = i < folded.length && isWild(i);
      const kind = openLeft ? (openRight ? 'infix' : 'suffix') : openRight ? 'prefix' : 'word';
      parts.push({ text: folded.slice(start, i), kind });
      start = -1;
    }
  }
  return parts;
}

/** How a word sounds, as one or two Double Metaphone codes; none for words that are not in Latin letters. */
export function soundsOf(word: string): string[] {
  const codes = doubleMetaphone(word);
  return [...new Set(codes)].filter((code) => code !== '');
}
