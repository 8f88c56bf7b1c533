import { PacsError } from '#core/errors.ts';
import type { HttpRequest } from './http.ts';
import { parseMediaType, splitOutsideQuotes } from './media-type.ts';

/** A representation that a resource can be had in. */
export interface Offer {
  /** `type/subtype` of the body, or of each part */
  readonly type: string;
  readonly packaging: 'single' | 'multipart';
  /** other names that clients ask for it by */
  readonly aliases?: readonly string[];
  /** whether it can be had in the transfer syntax asked for (undefined: none named); absent: the parameter has no meaning */
  readonly accepts?: (transferSyntax: string | undefined) => boolean;
  /** those it can be had in, for who has asked for another; asked for only then */
  readonly transferSyntaxes?: () => readonly string[];
}

/** A representation that the client takes and the resource has. */
export interface Choice<O extends Offer = Offer> {
  readonly offer: O;
  /** the name it was asked by: the offer's type or an alias */
  readonly type: string;
  /** a UID or `*`, as asked */
  readonly transferSyntax: string | undefined;
  /** true when a wildcard range (`*` + `/*`) led here: the client leaves everything to us */
  readonly wildcard: boolean;
}

interface AcceptRange {
  readonly type: string;
  readonly packaging: 'single' | 'multipart' | 'any';
  readonly transferSyntax: string | undefined;
  readonly quality: number;
  /** 0: any type, 1: type/any, 2: both named */
  readonly specificity: number;
}

/**
 * The offers that the client accepts, best first, never empty (PS3.18 §8.7.5, §8.7.8): those of the `accept` query parameter, then those
 * of the Accept header, each by quality, then by how exactly they are named, then in the client's order. A request without
 * either takes anything; so does, behind all else, a range whose type is `tolerate`.
 * @throws PacsError NOT_ACCEPTABLE; `details.available` lists the media types there are, `details.transferSyntaxes` what they can be had in.
 */
export function acceptable<O extends Offer>(
  request: Pick<HttpRequest, 'headers' | 'query'>,
  offers: readonly O[],
  options: { readonly tolerate?: string } = {},
): readonly Choice<O>[] {
  const header = request.headers.accept?.trim() ?? '';
  const parameter = request.query
    .getAll('accept')
    // A `+` that was not percent-encoded arrives as a blank.
    .map((value) => value.replace(/\/([\w.-]+) (json|xml|gzip)/g, '/$1+$2'))
    .join(',');
  const ranges = [...byPriority(parseAccept(parameter)), ...byPriority(parseAccept(header))];
  if (ranges.length === 0) ranges.push(...parseAccept('*/*'));
  if (ranges.some((range) => range.type === options.tolerate && range.quality > 0)) ranges.push(...parseAccept('*/*'));

  const refused = ranges.filter((range) => range.quality === 0);
  const choices: Choice<O>[] = [];
  for (const range of ranges) {
    if (range.quality === 0) continue;
    for (const offer of offers) {
      const type = nameIn(range, offer);
      if (type === undefined) continue;
      if (refused.some((other) => other.specificity > range.specificity && nameIn(other, offer) !== undefined))
        continue;
      if (offer.accepts && !offer.accepts(range.transferSyntax)) continue;
      choices.push({ offer, type, transferSyntax: range.transferSyntax, wildcard: range.specificity === 0 });
    }
  }
  if (choices.length > 0) return choices;
  const available = offers.map(({ type, packaging }) =>
    packaging === 'multipart' ? `multipart/related; type="${type}"` : type,
  );
  const transferSyntaxes = [...new Set(offers.flatMap((offer) => offer.transferSyntaxes?.() ?? []))];
  throw new PacsError('NOT_ACCEPTABLE', `none of the accepted media types is available: ${available.join(', ')}`, {
    details: { available, ...(transferSyntaxes.length > 0 && { transferSyntaxes }) },
  });
}

/** The best of `acceptable`. @throws PacsError NOT_ACCEPTABLE */
export const negotiate = <O extends Offer>(...args: Parameters<typeof acceptable<O>>): Choice<O> =>
  acceptable<O>(...args)[0]!;

const byPriority = (ranges: AcceptRange[]): AcceptRange[] =>
  ranges.sort((a, b) => b.quality - a.quality || b.specificity - a.specificity);

function parseAccept(text: string): AcceptRange[] {
  return splitOutsideQuotes(text, ',').flatMap((member) => {
    const { type, parameters } = parseMediaType(member);
    const quality = parameters.q === undefined ? 1 : Number(parameters.q);
    // A quality that is no number is the client's slip, not a refusal.
    return [toRange(type, parameters, Number.isFinite(quality) ? Math.min(Math.max(quality, 0), 1) : 1)];
  });
}

function toRange(type: string, parameters: Readonly<Record<string, string>>, quality: number): AcceptRange {
  if (type === 'multipart/related' || type === 'multipart/*') {
    // dcm4che writes the part's parameters into the quoted type: type="application/dicom;transfer-syntax=…"
    const part = parseMediaType(parameters.type ?? '*/*');
    return {
      type: part.type,
      packaging: 'multipart',
      transferSyntax: parameters['transfer-syntax'] ?? part.parameters['transfer-syntax'],
      quality,
      // Without a type any parts will do, but the client has said multipart: more than `*/*` says.
      specificity: Math.max(1, specificityOf(part.type)),
    };
  }
  const any = type === '*' || type === '*/*';
  return {
    type: any ? '*/*' : type,
    packaging: any ? 'any' : 'single',
    transferSyntax: parameters['transfer-syntax'],
    quality,
    specificity: specificityOf(any ? '*/*' : type),
  };
}

const specificityOf = (type: string): number =>
  type === '*/*' ? 0 : type.endsWith('/*') || type.endsWith('/') ? 1 : 2;

/** The name under which the range asks for the offer; undefined when it does not. */
function nameIn(range: AcceptRange, offer: Offer): string | undefined {
  if (range.packaging !== 'any' && range.packaging !== offer.packaging) return undefined;
  if (range.type === '*/*' || range.type === offer.type) return offer.type;
  if (offer.aliases?.includes(range.type)) return range.type;
  const slash = range.type.indexOf('/') + 1;
  const open = range.type.endsWith('/*') || range.type.endsWith('/');
  return open && offer.type.startsWith(range.type.slice(0, slash)) ? offer.type : undefined;
}
