import { type Decoder, decoderFor } from '#core/dicom/character-sets.ts';
import { attribute } from '#core/dicom/dictionary.ts';
import { Part10Scanner } from '#core/dicom/scanner.ts';
import type { DataSet, Element } from '#core/dicom/types.ts';
import { vrNamed } from '#core/dicom/vr.ts';
import { DEFAULT_LIMITS, type Limits } from '#core/limits.ts';
import { PATIENT_LEVEL, SERIES_LEVEL, STUDY_LEVEL } from './normalised-levels.ts';

/**
 * The metadata that HealthImaging makes of an object, from its bytes. By what AWS documents (developer guide: metadata normalization,
 * supported transfer syntaxes; `DICOMVRs` and private attributes in the CLI's examples of UpdateImageSetMetadata; the viewers and converters of
 * aws-samples) and by a response of the service that a public project keeps for its tests: keywords in place of tags, text as it stood with
 * trailing spaces but no NUL, names in one string, DS and IS as text, arrays where the dictionary's multiplicity is not 1 whatever there
 * is, null for nothing, base64 for octets, sequences as arrays of objects, File Meta Information among the attributes of the instance.
 *
 * Nothing public shows tags of VR AT, attributes of repeating groups after the first, or more values than the dictionary allows: here they are
 * eight hexadecimal digits, their tag in place of a keyword, and the text as it stood.
 */
export interface InstanceMetadata {
  readonly patient: Attributes;
  readonly study: Attributes;
  readonly series: Attributes;
  readonly instance: Attributes;
  readonly vrs: Readonly<Record<string, string>>;
}

export type Attributes = Record<string, unknown>;

/** The metadata of an image set: patient, study and series once, the instances by their UID. */
export function imageSetMetadata(
  ids: { readonly DatastoreID: string; readonly ImageSetID: string },
  { patient, study, series }: Pick<InstanceMetadata, 'patient' | 'study' | 'series'>,
  instances: Iterable<readonly [sop: string, metadata: InstanceMetadata, frames: readonly Attributes[]]>,
): Attributes {
  const Instances: Attributes = {};
  for (const [sop, { instance, vrs }, ImageFrames] of instances)
    Instances[sop] = {
      DICOM: instance,
      DICOMVRs: vrs,
      StoredTransferSyntaxUID: '1.2.840.10008.1.2.4.202',
      ChecksumType: 'DECOMPRESSED',
      ImageFrames,
    };
  const Series = { [String(series.SeriesInstanceUID)]: { DICOM: series, Instances } };
  return { SchemaVersion: '1.1', ...ids, Patient: { DICOM: patient }, Study: { DICOM: study, Series } };
}

/** HealthImaging has no values that are too long for metadata, but the pixels. */
const WHOLE: Limits = { ...DEFAULT_LIMITS, inlineBinaryBytes: 1 << 30, inlineValueBytes: 1 << 30 };
const PIXELS = new Set(['7FE00008', '7FE00009', '7FE00010']);

export function metadataOfObject(bytes: Uint8Array): InstanceMetadata {
  const scanner = new Part10Scanner(WHOLE, { literal: true });
  scanner.push(bytes);
  const { fileMeta, dataSet } = scanner.end();
  const made = { patient: {}, study: {}, series: {}, instance: {}, vrs: {} } satisfies InstanceMetadata;
  const vrs: Record<string, string> = made.vrs;
  Object.assign(made.instance, attributesOf(fileMeta, vrs, decoderFor([])));
  const levels: [ReadonlySet<string>, Attributes][] = [
    [PATIENT_LEVEL, made.patient],
    [STUDY_LEVEL, made.study],
    [SERIES_LEVEL, made.series],
  ];
  const decoder = decoderOf(dataSet, decoderFor([]));
  for (const tag of Object.keys(dataSet).toSorted()) {
    const [, level = made.instance] = levels.find(([tags]) => tags.has(tag)) ?? [];
    Object.assign(level, attributesOf({ [tag]: dataSet[tag]! }, vrs, decoder));
  }
  return made;
}

const decoderOf = (dataSet: DataSet, outer: Decoder): Decoder => {
  const terms = dataSet['00080005']?.Value;
  return terms ? decoderFor(terms.map((term) => (typeof term === 'string' ? term : ''))) : outer;
};

function attributesOf(dataSet: DataSet, vrs: Record<string, string>, decoder: Decoder): Attributes {
  const attributes: Attributes = {};
  for (const [tag, element] of Object.entries(dataSet)) {
    if (PIXELS.has(tag)) continue;
    const known = attribute(tag);
    const keyword = known?.keyword ?? '';
    const isNamed = keyword !== '' && attribute(keyword)?.tag === tag;
    const isPrivate = Number.parseInt(tag.slice(0, 4), 16) % 2 === 1;
    if (isPrivate) vrs[tag] = element.vr;
    attributes[isNamed ? keyword : tag] = jsonOf(element, vrs, decoder, known !== undefined && known.vm !== '1');
  }
  return attributes;
}

function jsonOf(
  { vr, Value, raw, InlineBinary }: Element,
  vrs: Record<string, string>,
  decoder: Decoder,
  several: boolean,
): unknown {
  const { kind } = vrNamed(vr)!;
  if (kind === 'items')
    return Value?.map((item) => attributesOf(item as DataSet, vrs, decoderOf(item as DataSet, decoder))) ?? null;
  if (kind === 'octets') return raw ? Buffer.from(raw).toString('base64') : (InlineBinary ?? null);
  if (raw === undefined || raw.length === 0) return null;
  if (kind === 'numbers' || kind === 'tags') return several || Value!.length > 1 ? Value : (Value?.[0] ?? null);
  const text = decoder(raw, vr).replace(/\0+$/, '');
  if (text === '') return null;
  return several && kind !== 'text' && kind !== 'uri' ? text.split('\\') : text;
}
