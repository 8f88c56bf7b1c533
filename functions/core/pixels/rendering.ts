import type { InstanceRecord, Tenant } from '../archive/records.ts';
import type { DataSet } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import type { EncodedFrame, Presentation, RenderedImage, VoiFunction } from '../ports/pixel-engine.ts';
import { findInstance } from '../retrieve/find.ts';
import type { Services } from '../services.ts';
import { numberAt, textAt } from './attributes.ts';
import { bulkReader, dataSetOf, encodedFrame } from './image-source.ts';
import { iccProfileOf, type OwnPresentation, presentationOf } from './presentation.ts';
import { applyState, type ImageReference, referencedImages } from './presentation-state.ts';

/** What a reader may ask of a rendering (PS3.18 §8.3.5.1). */
export interface RenderingRequest {
  readonly mediaType: 'image/jpeg' | 'image/png' | 'image/gif';
  readonly quality?: number;
  readonly window?: { readonly center: number; readonly width: number; readonly function: VoiFunction };
  readonly viewport?: Viewport;
  readonly annotations?: readonly ('patient' | 'technique')[];
  /** colours that the picture is to be in, and to say so; `own`: those of the object */
  readonly colourSpace?: NonNullable<Presentation['colours']>['space'];
  /** not asked for: what who is shown the picture must find on it */
  readonly watermark?: string;
}

/** vw,vh,sx,sy,sw,sh: a part of the image (pixels, from 0), scaled to fit; negative width or height: mirrored. */
export interface Viewport {
  readonly width: number;
  readonly height: number;
  readonly sourceX?: number;
  readonly sourceY?: number;
  readonly sourceWidth?: number;
  readonly sourceHeight?: number;
}

type Uses = Pick<Services, 'blobs' | 'index' | 'limits' | 'pixels'>;

/** frames of one animation, and how many pixels it may have in all */
const ANIMATED_FRAMES = 500;
const ANIMATED_PIXELS = 100_000_000;

/** One frame, from 1, as an image. @throws PacsError NOT_FOUND; UNREADABLE_DATASET; UNSUPPORTED_TRANSFER_SYNTAX; BAD_REQUEST */
export async function renderFrame(
  services: Uses,
  instance: InstanceRecord,
  frame: number,
  request: RenderingRequest,
): Promise<RenderedImage> {
  const dataSet = await dataSetOf(services, instance);
  const own = await presentationOf(dataSet, frame, bulkReader(services, instance));
  return render(services, instance, dataSet, frame, own, request);
}

/**
 * An image that a presentation state is for, as it says: the first one, unless another is named.
 * @param of the image, and its frame from 1, where one is named
 * @throws PacsError NOT_FOUND when that image is not here; BAD_REQUEST when the state is not for it; as renderFrame
 */
export async function renderState(
  services: Uses,
  tenant: Tenant,
  state: InstanceRecord,
  request: RenderingRequest,
  of?: { readonly SOPInstanceUID: string; readonly frame?: number },
): Promise<RenderedImage> {
  const stateData = await dataSetOf(services, state);
  const reference = of === undefined ? firstReference(stateData) : referenceTo(stateData, of);
  const { SeriesInstanceUID, SOPInstanceUID, frame } = reference;
  const instance = await findInstance(services, tenant, state.StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID);
  const dataSet = await dataSetOf(services, instance);
  const own = await presentationOf(dataSet, frame, bulkReader(services, instance));
  const applied = await applyState(
    own,
    dataSet,
    stateData,
    reference,
    bulkReader(services, state),
    bulkReader(services, instance),
  );
  return render(services, instance, dataSet, frame, applied, request);
}

function firstReference(state: DataSet): ImageReference {
  const [reference] = referencedImages(state);
  if (reference === undefined) throw new PacsError('NOT_FOUND', 'the presentation state names no image');
  return reference;
}

function referenceTo(
  state: DataSet,
  { SOPInstanceUID, frame }: { readonly SOPInstanceUID: string; readonly frame?: number },
): ImageReference {
  const reference = referencedImages(state).find((one) => one.SOPInstanceUID === SOPInstanceUID);
  if (reference === undefined) throw new PacsError('BAD_REQUEST', 'the presentation state is not for this object');
  return frame === undefined ? reference : { ...reference, frame };
}

async function render(
  services: Uses,
  instance: InstanceRecord,
  dataSet: DataSet,
  frame: number,
  own: OwnPresentation,
  request: RenderingRequest,
): Promise<RenderedImage> {
  const source = await encodedFrame(services, instance, frame);
  const presentation = asked(source, own, request, services.limits.renderedSidePixels);
  if (request.annotations !== undefined)
    presentation.annotations = annotationLines(dataSet, frame, request.annotations);
  const colours = await coloursOf(services, instance, dataSet, request);
  if (colours !== undefined) presentation.colours = colours;
  return services.pixels.render({ ...source, presentation });
}

async function coloursOf(
  services: Uses,
  instance: InstanceRecord,
  dataSet: DataSet,
  { colourSpace }: RenderingRequest,
): Promise<Presentation['colours']> {
  if (colourSpace === undefined) return undefined;
  const profile = await iccProfileOf(dataSet, bulkReader(services, instance));
  return { space: colourSpace, ...(profile !== undefined && profile.length > 0 && { profile }) };
}

/** All frames as an animated GIF. @throws PacsError NOT_ACCEPTABLE when that would be too much; as renderFrame */
export async function renderAnimation(
  services: Uses,
  instance: InstanceRecord,
  request: RenderingRequest,
): Promise<RenderedImage> {
  const dataSet = await dataSetOf(services, instance);
  const count = instance.pixels?.frames ?? 0;
  const own = await presentationOf(dataSet, 1, bulkReader(services, instance));
  const frames: EncodedFrame[] = [];
  for (let frame = 1; frame <= Math.min(count, ANIMATED_FRAMES); frame++)
    frames.push(await encodedFrame(services, instance, frame));
  const [first] = frames;
  if (first === undefined) throw new PacsError('NOT_FOUND', 'the instance has no frames');
  if (count > ANIMATED_FRAMES || count * first.image.Rows * first.image.Columns > ANIMATED_PIXELS) {
    throw new PacsError(
      'NOT_ACCEPTABLE',
      'the instance is too large for an animated GIF; ask for image/jpeg or image/png',
    );
  }
  const presentation = asked(first, own, request, services.limits.renderedSidePixels);
  const colours = await coloursOf(services, instance, dataSet, request);
  if (colours !== undefined) presentation.colours = colours;
  return services.pixels.animate({ frames, presentation, delayMs: frameTimeMs(dataSet) });
}

/** FrameTime, CineRate, RecommendedDisplayFrameRate; 10 a second where nobody says. */
function frameTimeMs(dataSet: DataSet): number {
  const time = numberAt(dataSet, '00181063');
  if (time !== undefined && time > 0) return Math.max(20, time);
  const rate = numberAt(dataSet, '00180040') ?? numberAt(dataSet, '00082144');
  return rate !== undefined && rate > 0 ? Math.max(20, 1000 / rate) : 100;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The object's own presentation with what the request asks for in its place. */
function asked(
  source: EncodedFrame,
  own: OwnPresentation,
  request: RenderingRequest,
  sideLimit: number,
): Mutable<Presentation> {
  const presentation: Mutable<Presentation> = {
    ...own,
    mediaType: request.mediaType === 'image/png' ? 'image/png' : 'image/jpeg',
  };
  if (request.quality !== undefined) presentation.quality = request.quality;
  if (request.window !== undefined) presentation.voi = request.window;
  if (request.watermark !== undefined) presentation.watermark = request.watermark;
  const { viewport } = request;
  if (viewport === undefined) {
    presentation.fit = { width: sideLimit, height: sideLimit, enlarge: false };
    return presentation;
  }
  presentation.fit = { width: viewport.width, height: viewport.height, enlarge: true };
  const { sourceX, sourceY, sourceWidth, sourceHeight } = viewport;
  if (sourceX === undefined && sourceY === undefined && sourceWidth === undefined && sourceHeight === undefined)
    return presentation;
  const area = own.crop ?? { x: 0, y: 0, width: source.image.Columns, height: source.image.Rows };
  const x = sourceX ?? 0;
  const y = sourceY ?? 0;
  if (x >= area.width || y >= area.height) {
    throw new PacsError('BAD_REQUEST', 'viewport: the source lies outside the image', {
      details: { Columns: area.width, Rows: area.height },
    });
  }
  const width = Math.min(Math.abs(sourceWidth ?? area.width - x), area.width - x);
  const height = Math.min(Math.abs(sourceHeight ?? area.height - y), area.height - y);
  presentation.crop = { x: area.x + x, y: area.y + y, width, height };
  if ((sourceWidth ?? 0) < 0) presentation.flipHorizontal = own.flipHorizontal !== true;
  if ((sourceHeight ?? 0) < 0) presentation.flipVertical = own.flipVertical !== true;
  return presentation;
}

/** Text to be burned in: who, and how (PS3.18 §8.3.5.1.1). */
function annotationLines(
  dataSet: DataSet,
  frame: number,
  kinds: readonly ('patient' | 'technique')[],
): { topLeft: string[]; bottomLeft: string[] } {
  const topLeft: string[] = [];
  const bottomLeft: string[] = [];
  const join = (...parts: (string | undefined)[]): string =>
    parts.filter((part) => part !== undefined && part !== '').join('  ');
  if (kinds.includes('patient')) {
    topLeft.push(textAt(dataSet, '00100010')?.replace(/\^+/g, ' ').trim() ?? '');
    topLeft.push(join(textAt(dataSet, '00100020'), dateText(textAt(dataSet, '00100030')), textAt(dataSet, '00100040')));
    topLeft.push(dateText(textAt(dataSet, '00080020')) ?? '');
  }
  if (kinds.includes('technique')) {
    const value = (tag: string, name: string, unit: string): string | undefined => {
      const text = textAt(dataSet, tag);
      return text === undefined ? undefined : `${name} ${text}${unit}`;
    };
    const slice = [value('00180050', 'Thk', ' mm'), value('00201041', 'Loc', ' mm')];
    const xray = [value('00180060', '', ' kV'), value('00181151', '', ' mA')];
    const mr = [value('00180080', 'TR', ''), value('00180081', 'TE', '')];
    bottomLeft.push(join(textAt(dataSet, '00080060'), textAt(dataSet, '0008103E')));
    bottomLeft.push(join(...xray, ...mr, ...slice).trim());
    const number = textAt(dataSet, '00200013');
    const frames = numberAt(dataSet, '00280008') ?? 1;
    bottomLeft.push(
      join(number === undefined ? undefined : `Im ${number}`, frames > 1 ? `Frame ${frame}/${frames}` : undefined),
    );
  }
  const filled = (lines: string[]): string[] => lines.filter((line) => line !== '').map((line) => line.slice(0, 80));
  return { topLeft: filled(topLeft), bottomLeft: filled(bottomLeft) };
}

const dateText = (date: string | undefined): string | undefined =>
  date !== undefined && /^\d{8}$/.test(date) ? `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}` : date;
