import type { DataSet } from '../dicom/types.ts';
import type { Graphic } from '../ports/pixel-engine.ts';
import { type BytesOf, imageDescription, itemsAt, numberAt, numbersAt, textAt } from './attributes.ts';
import {
  modalityOf,
  type OwnPresentation,
  overlaysOf,
  presentationLutOf,
  shuttersOf,
  windowOf,
} from './presentation.ts';
import { sequenceTable } from './tables.ts';

export interface ImageReference {
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  /** from 1 */
  readonly frame: number;
}

/** Softcopy presentation states: 11.1 grayscale, 11.2 colour, 11.3 pseudo-colour, 11.5 XA/XRF grayscale… (PS3.4 Annex N). */
export const isPresentationState = (SOPClassUID: string): boolean =>
  /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.11\.[1-8]$/.test(SOPClassUID);

/** The images a presentation state is for, in its order (PS3.3 C.11.11). */
export function referencedImages(state: DataSet): ImageReference[] {
  return itemsAt(state, '00081115').flatMap((series) => {
    const SeriesInstanceUID = textAt(series, '0020000E');
    if (SeriesInstanceUID === undefined) return [];
    return itemsAt(series, '00081140').flatMap((image) => {
      const SOPInstanceUID = textAt(image, '00081155');
      return SOPInstanceUID === undefined
        ? []
        : [{ SeriesInstanceUID, SOPInstanceUID, frame: numberAt(image, '00081160') ?? 1 }];
    });
  });
}

/** What of the image's own presentation the state replaces (PS3.4 N.2): all grayscale steps, the area, the orientation. */
export async function applyState(
  own: OwnPresentation,
  image: DataSet,
  state: DataSet,
  reference: ImageReference,
  bytesOf: BytesOf,
  imageBytesOf: BytesOf,
): Promise<OwnPresentation> {
  const signed = imageDescription(image).PixelRepresentation === 1;
  const { modality: _, voi: __, presentationLut: ___, ...kept } = own;
  const result: { -readonly [K in keyof OwnPresentation]: OwnPresentation[K] } = { ...kept };
  const concerns = (item: DataSet): boolean => {
    const images = itemsAt(item, '00081140');
    return (
      images.length === 0 ||
      images.some((i) => {
        const frames = numbersAt(i, '00081160');
        return (
          textAt(i, '00081155') === reference.SOPInstanceUID &&
          (frames.length === 0 || frames.includes(reference.frame))
        );
      })
    );
  };
  // a state without a modality transformation means: none (PS3.4 N.2.1.1); many writers forget it, so the image's own holds then
  const modality = (await modalityOf(state, 1, signed, bytesOf)) ?? own.modality;
  if (modality !== undefined) result.modality = modality;
  const softcopy = itemsAt(state, '00283110').find(concerns);
  const voi = softcopy && ((await sequenceTable(softcopy, '00283010', true, bytesOf)) ?? windowOf(softcopy));
  if (voi !== undefined) result.voi = voi;
  else if (own.voi !== undefined && softcopy === undefined) result.voi = own.voi;
  const lut = await presentationLutOf(state, bytesOf);
  // the state's shape is relative to P-values of its image: MONOCHROME1 has no say any more
  result.presentationLut = lut ?? 'IDENTITY';
  const shutters = shuttersOf(state);
  if (shutters.length > 0) result.shutters = shutters;
  const area = itemsAt(state, '0070005A').find(concerns);
  const [left, top] = numbersAt(area, '00700052');
  const [right, bottom] = numbersAt(area, '00700053');
  if (
    left !== undefined &&
    top !== undefined &&
    right !== undefined &&
    bottom !== undefined &&
    right >= left &&
    bottom >= top
  ) {
    result.crop = { x: left - 1, y: top - 1, width: right - left + 1, height: bottom - top + 1 };
  }
  const rotation = numberAt(state, '00700042');
  if (rotation === 90 || rotation === 180 || rotation === 270) result.rotate = rotation;
  if (textAt(state, '00700041') === 'Y') result.flipHorizontal = true;
  // PS3.3 C.11.7: an overlay, of the image or of the state, is shown where the state puts it on a layer
  const layers = layersOf(state);
  const activated = (group: number): string | undefined =>
    textAt(state, `${group.toString(16).toUpperCase()}1001`)?.trim() || undefined;
  const shown = (group: number) => {
    const layer = activated(group);
    return layer === undefined ? undefined : (layers.get(layer) ?? UNKNOWN_LAYER);
  };
  const overlays = [
    ...(await overlaysOf(image, reference.frame, imageBytesOf, shown)),
    ...(await overlaysOf(state, 1, bytesOf, shown)),
  ];
  delete result.overlays;
  if (overlays.length > 0) result.overlays = overlays;
  const layerOf = (annotation: DataSet): Layer => layers.get(textAt(annotation, '00700002') ?? '') ?? UNKNOWN_LAYER;
  const graphics = itemsAt(state, '00700001')
    .filter(concerns)
    .toSorted((a, b) => layerOf(a).order - layerOf(b).order)
    .flatMap((item) => graphicsOf(item, imageDescription(image)).map((one) => ({ ...one, ...shadeOf(layerOf(item)) })));
  if (graphics.length > 0) result.graphics = graphics;
  return result;
}

interface Layer {
  readonly order: number;
  /** 0 to 255, where the layer recommends one */
  readonly shade?: number;
}
const UNKNOWN_LAYER: Layer = { order: 0 };
const shadeOf = ({ shade }: Layer) => (shade === undefined ? {} : { shade });

/** Layers by their names: those of lower order are drawn first, in the gray they recommend (PS3.3 C.10.7). */
function layersOf(state: DataSet): ReadonlyMap<string, Layer> {
  return new Map(
    itemsAt(state, '00700060').map((layer) => {
      const gray = numberAt(layer, '00700066');
      const order = numberAt(layer, '00700062') ?? 0;
      return [textAt(layer, '00700002') ?? '', { order, ...(gray !== undefined && { shade: gray >> 8 }) }];
    }),
  );
}

/** Objects in image pixels, and those relative to the displayed area, taken as the whole image. */
function graphicsOf(annotation: DataSet, image: { readonly Rows: number; readonly Columns: number }): Graphic[] {
  const graphics: Graphic[] = [];
  const inPixels = (points: number[], units: string | undefined): number[] =>
    units === 'DISPLAY' ? points.map((p, i) => 1 + p * (i % 2 === 0 ? image.Columns - 1 : image.Rows - 1)) : points;
  for (const object of itemsAt(annotation, '00700009')) {
    const type = textAt(object, '00700023');
    const kind = type === 'INTERPOLATED' ? 'POLYLINE' : type;
    if (kind !== 'POLYLINE' && kind !== 'POINT' && kind !== 'CIRCLE' && kind !== 'ELLIPSE') continue;
    graphics.push({ kind, points: inPixels(numbersAt(object, '00700022'), textAt(object, '00700005')) });
  }
  for (const object of itemsAt(annotation, '00700008')) {
    const text = textAt(object, '00700006');
    const box = numbersAt(object, '00700010');
    const points =
      box.length >= 2
        ? inPixels(box.slice(0, 2), textAt(object, '00700003'))
        : inPixels(numbersAt(object, '00700014'), textAt(object, '00700004'));
    if (text !== undefined && points.length >= 2) graphics.push({ kind: 'TEXT', points, text });
  }
  return graphics;
}
