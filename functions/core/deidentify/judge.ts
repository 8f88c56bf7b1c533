import { sopClass } from '../dicom/sop-classes.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import type { DataSet } from '../dicom/types.ts';
import { itemsAt, numberAt, textAt } from '../pixels/attributes.ts';
import { PIXEL_SYNTAXES } from '../pixels/syntaxes.ts';
import type { PixelRule, Profile, Rectangle } from './profile.ts';

/** Why no copy is made of an object. */
export const REFUSALS = {
  UNKNOWN_SOP_CLASS: 'a SOP class that is private or not known',
  RAW_DATA: 'raw data, whose content only its maker knows',
  ENCAPSULATED_DOCUMENT: 'a document or model inside of the object',
  AUDIO: 'a recording of a voice',
  SURFACE_SCAN: 'a scan of a surface, by which a person may be known',
  PRINT: 'a print or a drawing without an image',
  VIDEO: 'a video, whose frames cannot be looked at one by one',
  TRANSFER_SYNTAX: 'a transfer syntax that is not written',
  SECONDARY_CAPTURE: 'a secondary capture, which often shows a patient’s name',
  SCREENSHOT: 'a screenshot or report as an image, by its ImageType',
  DERIVED_SECONDARY: 'a secondary image that does not say that nothing is burned in',
  BURNED_IN_ANNOTATION: 'BurnedInAnnotation says that there is text in the image',
  NOT_DECLARED_CLEAN: 'an image of a kind that often has text burned in, and does not say that it has none',
  ULTRASOUND_WITHOUT_REGIONS: 'an ultrasound image that does not tell its regions',
  ULTRASOUND_UNCLEANED: 'an ultrasound image, of which only the regions can be kept (Clean Pixel Data)',
  VISIBLE_LIGHT: 'a photograph, by which a person may be known',
  RECOGNIZABLE_FEATURES: 'RecognizableVisualFeatures says that a person may be known by the image',
  SLIDE_LABEL: 'a slide’s label or overview',
  OVERLAY_IN_PIXELS: 'an overlay in unused bits of the pixel data',
  PIXELS_CANNOT_BE_CLEANED: 'pixel data that cannot be decoded, blacked out and written again',
  IDENTIFIER_IN_BYTES: 'a name, number or UID of the source was found in what would have been written',
} as const;
export type Refusal = keyof typeof REFUSALS;

export type Judgement =
  | { readonly kind: 'refused'; readonly reasons: readonly Refusal[] }
  /** `blackout`: what is to be blacked out in every frame; `maskBits`: what lies above the stored bits is to be zeroed */
  | { readonly kind: 'accepted'; readonly blackout: readonly Rectangle[]; readonly maskBits: boolean };

const ROOT = '1.2.840.10008.5.1.4.1.1.';
/** images that machines make of measured values: nobody writes into them but into secondary ones */
const MEASURED = new Set(
  '2 2.1 2.2 4 4.1 4.2 4.3 4.4 128 128.1 130 20 481.2 66.4 30 13.1.1 13.1.2 14.1 14.2 77.1.5.4 77.1.5.7 81.1 82.1'
    .split(' ')
    .map((end) => ROOT + end),
);
const ULTRASOUND = new Set(['3', '3.1', '6', '6.1'].map((end) => ROOT + end));
const WHOLE_SLIDE = `${ROOT}77.1.6`;
const PHOTOGRAPHS = new Set(['77.1.4', '77.1.4.1', '77.1.7', '77.1', '77.2'].map((end) => ROOT + end));
/** what is refused whatever it says of itself */
const NEVER: readonly (readonly [RegExp, Refusal])[] = [
  [/^1\.2\.840\.10008\.5\.1\.4\.1\.1\.(?:66|201\.1)$/, 'RAW_DATA'],
  [/^1\.2\.840\.10008\.5\.1\.4\.1\.1\.104\./, 'ENCAPSULATED_DOCUMENT'],
  [/^1\.2\.840\.10008\.5\.1\.4\.1\.1\.9\.4\./, 'AUDIO'],
  [/^1\.2\.840\.10008\.5\.1\.4\.1\.1\.68\./, 'SURFACE_SCAN'],
  [/^1\.2\.840\.10008\.5\.1\.(?:1\.|4\.1\.1\.(?:8|9|9\.1|129)$)/, 'PRINT'],
  [/^1\.2\.840\.10008\.5\.1\.4\.1\.1\.77\.1\.(?:1|2|4)\.1$/, 'VIDEO'],
];
const SECONDARY_CAPTURE = /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.7(?:\.[1-4])?$/;
const SCREEN = /SCREEN|REPORT|DOSE|PROTOCOL|CAPTURE|EVIDENCE|SUMMARY/i;
const LABEL = /^(?:LABEL|OVERVIEW|LOCALIZER)$/i;

const upper = (dataSet: DataSet, tag: string, index = 0): string => (textAt(dataSet, tag, index) ?? '').toUpperCase();

/**
 * Whether a copy may be made: of what is provably clean, or of what an administrator's rule says is.
 * @param transferSyntaxUID of the object
 */
export function judge(dataSet: DataSet, transferSyntaxUID: string, profile: Profile): Judgement {
  const syntax = transferSyntax(transferSyntaxUID);
  if (syntax.name === 'unknown' || syntax.codec === 'jpip') return refused('TRANSFER_SYNTAX');
  const rule = profile.pixelRules.find((one) => matches(one, dataSet));
  const reasons = rule?.accept === true ? [] : reasonsOf(dataSet, syntax.video);
  const documents = reasons.filter((reason) => !IN_PIXELS.has(reason));
  if (documents.length > 0) return { kind: 'refused', reasons: documents };

  const maskBits = rule?.accept !== true && hasOverlayInPixels(dataSet);
  let blackout = profile.cleanPixelData ? (rule?.blackout ?? []) : [];
  if (blackout.length === 0 && reasons.length > 0) {
    const byRegions = profile.cleanPixelData ? aroundRegions(dataSet) : undefined;
    if (byRegions === undefined || reasons.some((reason) => reason !== 'ULTRASOUND_UNCLEANED'))
      return { kind: 'refused', reasons };
    blackout = byRegions;
  }
  if (maskBits && !profile.cleanPixelData) return refused('OVERLAY_IN_PIXELS');
  if ((blackout.length > 0 || maskBits) && !canClean(dataSet, transferSyntaxUID, maskBits))
    return refused('PIXELS_CANNOT_BE_CLEANED');
  return { kind: 'accepted', blackout, maskBits };
}

const refused = (...reasons: Refusal[]): Judgement => ({ kind: 'refused', reasons });

/** Reasons that a rule of rectangles takes away. */
const IN_PIXELS: ReadonlySet<Refusal> = new Set<Refusal>([
  'SECONDARY_CAPTURE',
  'SCREENSHOT',
  'DERIVED_SECONDARY',
  'BURNED_IN_ANNOTATION',
  'NOT_DECLARED_CLEAN',
  'ULTRASOUND_WITHOUT_REGIONS',
  'ULTRASOUND_UNCLEANED',
]);

function reasonsOf(dataSet: DataSet, video: boolean): Refusal[] {
  const uid = textAt(dataSet, '00080016') ?? '';
  const known = sopClass(uid);
  if (known === undefined) return ['UNKNOWN_SOP_CLASS'];
  const never = NEVER.find(([pattern]) => pattern.test(uid));
  if (never !== undefined) return [never[1]];
  if (video) return ['VIDEO'];
  const reasons: Refusal[] = [];
  const burnedIn = upper(dataSet, '00280301');
  if (burnedIn === 'YES') reasons.push('BURNED_IN_ANNOTATION');
  if (upper(dataSet, '00280302') === 'YES') reasons.push('RECOGNIZABLE_FEATURES');
  if (!known.isImage) return reasons;
  const types = (dataSet['00080008']?.Value ?? []).map(String);
  const converted = upper(dataSet, '00080064');
  if (SECONDARY_CAPTURE.test(uid) || (converted !== '' && converted !== 'SYN' && MEASURED.has(uid)))
    reasons.push('SECONDARY_CAPTURE');
  if (types.some((type) => SCREEN.test(type))) reasons.push('SCREENSHOT');
  if (PHOTOGRAPHS.has(uid)) reasons.push('VISIBLE_LIGHT');
  if (uid === WHOLE_SLIDE && (types.some((type) => LABEL.test(type)) || upper(dataSet, '00480010') === 'YES'))
    reasons.push('SLIDE_LABEL');
  if (burnedIn === 'NO') return reasons;
  if (ULTRASOUND.has(uid))
    reasons.push(itemsAt(dataSet, '00186011').length === 0 ? 'ULTRASOUND_WITHOUT_REGIONS' : 'ULTRASOUND_UNCLEANED');
  else if (!MEASURED.has(uid)) reasons.push('NOT_DECLARED_CLEAN');
  else if (types[1]?.toUpperCase() === 'SECONDARY') reasons.push('DERIVED_SECONDARY');
  return reasons;
}

function matches(rule: PixelRule, dataSet: DataSet): boolean {
  const is = (wanted: string | undefined, tag: string): boolean =>
    wanted === undefined || upper(dataSet, tag) === wanted.toUpperCase();
  const counts = (wanted: number | undefined, tag: string): boolean =>
    wanted === undefined || numberAt(dataSet, tag) === wanted;
  const { ImageType } = rule;
  return (
    is(rule.SOPClassUID, '00080016') &&
    is(rule.Modality, '00080060') &&
    is(rule.Manufacturer, '00080070') &&
    is(rule.ManufacturerModelName, '00081090') &&
    counts(rule.Rows, '00280010') &&
    counts(rule.Columns, '00280011') &&
    (ImageType === undefined ||
      (dataSet['00080008']?.Value ?? []).some((type) => String(type).toUpperCase() === ImageType.toUpperCase()))
  );
}

/** An overlay plane that is not in OverlayData (60xx,3000) lies in a bit of the pixel data (PS3.3 C.9.2, retired). */
const hasOverlayInPixels = (dataSet: DataSet): boolean =>
  Object.keys(dataSet).some(
    (tag) =>
      /^60..0102$/.test(tag) &&
      dataSet[`${tag.slice(0, 4)}3000`] === undefined &&
      dataSet[`${tag.slice(0, 4)}0010`] !== undefined,
  );

function canClean(dataSet: DataSet, transferSyntaxUID: string, maskBits: boolean): boolean {
  const bits = numberAt(dataSet, '00280100');
  if (dataSet['7FE00010'] === undefined || (bits !== 8 && bits !== 16 && bits !== 32)) return false;
  const { encapsulated } = transferSyntax(transferSyntaxUID);
  if (encapsulated) return !maskBits && PIXEL_SYNTAXES[transferSyntaxUID] !== undefined;
  return !/_42[02]$/.test(upper(dataSet, '00280004')) && (!maskBits || bits === 16);
}

/** All of an ultrasound image but its regions (PS3.3 C.8.5.5), as rectangles; undefined where it tells none. */
export function aroundRegions(dataSet: DataSet): Rectangle[] | undefined {
  const rows = numberAt(dataSet, '00280010') ?? 0;
  const columns = numberAt(dataSet, '00280011') ?? 0;
  const regions = itemsAt(dataSet, '00186011').map((item) => ({
    left: numberAt(item, '00186018') ?? 0,
    top: numberAt(item, '0018601A') ?? 0,
    right: Math.min(columns, (numberAt(item, '0018601C') ?? -1) + 1),
    bottom: Math.min(rows, (numberAt(item, '0018601E') ?? -1) + 1),
  }));
  const inside = regions.filter(({ left, top, right, bottom }) => right > left && bottom > top);
  if (inside.length === 0) return undefined;
  const edges = [...new Set([0, rows, ...inside.flatMap(({ top, bottom }) => [top, bottom])])].sort((a, b) => a - b);
  const around: Rectangle[] = [];
  for (let i = 0; i + 1 < edges.length; i++) {
    const top = edges[i]!;
    const height = edges[i + 1]! - top;
    const spans = inside.filter((region) => region.top <= top && region.bottom > top).sort((a, b) => a.left - b.left);
    let left = 0;
    for (const span of [...spans, { left: columns, right: columns }]) {
      if (span.left > left) around.push({ left, top, width: span.left - left, height });
      left = Math.max(left, span.right);
    }
  }
  return around;
}
