import { type Decoder, decoderFor, isUnknownCharacterSet } from './character-sets.ts';
import { type Attribute, privateVrOf, tagText } from './dictionary.ts';
import type { DataSet, Element } from './types.ts';
import { LO, looksLikeVr, OW, UL, UN, US, type Vr, vrNamed, vrOfBytes } from './vr.ts';

const SPECIFIC_CHARACTER_SET = 0x00080005;
const PIXEL_REPRESENTATION = 0x00280103;

/** A data set being read (`sequence` undefined), or a sequence whose items are being read. */
export interface Level {
  dataSet: DataSet;
  /** of a sequence: its element, whose Value fills with the items */
  sequence: Element | undefined;
  /** where it ends at the latest, bytes from the start of the object */
  end: number;
  undefinedLength: boolean;
  implicit: boolean;
  little: boolean;
  decoder: Decoder;
  /** PixelRepresentation in force: of this data set or of one around it */
  signed: boolean | undefined;
  /** elements US or SS, read before PixelRepresentation was known */
  undecided: Element[] | undefined;
  /** greatest tag so far, so that repeats and disorder are noticed at no cost */
  greatest: number;
}

export function rootLevel(dataSet: DataSet, implicit: boolean, little: boolean): Level {
  return {
    dataSet,
    sequence: undefined,
    end: Number.POSITIVE_INFINITY,
    undefinedLength: true,
    implicit,
    little,
    decoder: decoderFor([]),
    signed: undefined,
    undecided: undefined,
    greatest: -1,
  };
}

/** The level inside another: character set and PixelRepresentation are inherited until stated again. */
export function innerLevel(
  outer: Level,
  dataSet: DataSet,
  sequence: Element | undefined,
  end: number,
  undefinedLength: boolean,
  implicit: boolean,
  little: boolean,
): Level {
  return {
    dataSet,
    sequence,
    end,
    undefinedLength,
    implicit,
    little,
    decoder: outer.decoder,
    signed: outer.signed,
    undecided: undefined,
    greatest: -1,
  };
}

/** What a left level leaves undecided is for the one around it to decide. */
export function handUndecided(from: Level, to: Level): void {
  if (from.undecided === undefined) return;
  if (to.undecided === undefined) to.undecided = from.undecided;
  else for (const element of from.undecided) to.undecided.push(element);
}

/** The first header shows how a data set is in fact encoded; some writers declare otherwise. True where it differs. */
export function detectEncoding(bytes: Buffer, at: number, level: Level): boolean {
  // The low byte of a group number stands first in little endian, and one of the two is nearly always 0.
  const isDecided = (bytes[at] === 0) !== (bytes[at + 1] === 0);
  const little = isDecided ? bytes[at + 1] === 0 : level.little;
  const implicit =
    !looksLikeVr(bytes[at + 4]!, bytes[at + 5]!) ||
    (level.implicit && vrOfBytes(bytes[at + 4]!, bytes[at + 5]!) === undefined);
  if (little === level.little && implicit === level.implicit) return false;
  level.little = little;
  level.implicit = implicit;
  return true;
}

/** The VR of an element that does not tell it, or says UN. */
export function impliedVr(tag: number, attribute: Attribute | undefined, level: Level): Vr {
  if ((tag & 0xffff) === 0) return UL;
  if (((tag >>> 16) & 1) === 1) {
    const element = tag & 0xffff;
    if (element >= 0x10 && element <= 0xff) return LO;
    const name = tagText(tag);
    const creator = level.dataSet[`${name.slice(0, 4)}00${name.slice(4, 6)}`]?.Value?.[0];
    const vr = typeof creator === 'string' ? privateVrOf(name, creator) : undefined;
    return (vr === undefined ? undefined : vrNamed(vr)) ?? UN;
  }
  if (attribute === undefined) return UN;
  if (attribute.choice === 'lt') {
    // (0028,3006): one entry makes it a number (PS3.3 C.11.1.1.1)
    return level.dataSet['00283002']?.Value?.[0] === 1 ? US : OW;
  }
  return vrNamed(attribute.vr) ?? UN;
}

/**
 * What an element means for those that follow it: the character set of text, the sign of US or SS.
 * @param explicit the VR its header named
 */
export function applyElement(
  level: Level,
  tag: number,
  attribute: Attribute | undefined,
  element: Element,
  explicit: Vr | undefined,
  warn: (code: string, tag?: number) => void,
): void {
  if (tag === SPECIFIC_CHARACTER_SET) {
    const terms = (element.Value ?? []).map((term) => (typeof term === 'string' ? term : ''));
    if (isUnknownCharacterSet(terms)) warn('UNKNOWN_CHARACTER_SET', tag);
    level.decoder = decoderFor(terms);
  } else if (tag === PIXEL_REPRESENTATION) {
    level.signed = element.Value?.[0] === 1;
    if (level.signed) for (const undecided of level.undecided ?? []) makeSigned(undecided);
    level.undecided = undefined;
  } else if (attribute?.choice === 'xs' && element.vr === 'US' && explicit !== US) {
    if (level.signed === true) makeSigned(element);
    else if (level.signed === undefined) {
      if (level.undecided === undefined) level.undecided = [element];
      else level.undecided.push(element);
    }
  }
}

function makeSigned(element: Element): void {
  element.vr = 'SS';
  if (element.Value === undefined) return;
  element.Value = element.Value.map((value) => (typeof value === 'number' ? (value << 16) >> 16 : value));
}
