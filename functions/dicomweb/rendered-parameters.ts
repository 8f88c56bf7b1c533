import { PacsError } from '#core/errors.ts';
import type { Limits } from '#core/limits.ts';
import { isColourSpace, SPACES } from '#core/pixels/icc/spaces.ts';
import type { RenderingRequest, Viewport } from '#core/pixels/rendering.ts';
import type { VoiFunction } from '#core/ports/pixel-engine.ts';

/** Query parameters of rendered resources (PS3.18 §8.3.5.1). What is absent is left to the object. */
export type RenderingParameters = Omit<RenderingRequest, 'mediaType'>;

const FUNCTIONS: Readonly<Record<string, VoiFunction>> = {
  linear: 'LINEAR',
  'linear-exact': 'LINEAR_EXACT',
  linear_exact: 'LINEAR_EXACT',
  sigmoid: 'SIGMOID',
};

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const bad = (name: string, rule: string): PacsError =>
  new PacsError('BAD_REQUEST', `${name}: ${rule}`, { details: { parameter: name } });

/** @throws PacsError BAD_REQUEST for values outside their range */
export function renderingParameters(
  query: URLSearchParams,
  limits: Pick<Limits, 'renderedSidePixels'>,
): RenderingParameters {
  const parameters: Mutable<RenderingParameters> = {};
  const annotation = query.get('annotation');
  if (annotation !== null) {
    const kinds = annotation.split(',').map((kind) => kind.trim());
    const isNone = kinds.length === 1 && (kinds[0] === 'none' || kinds[0] === '');
    if (!isNone && !kinds.every((kind) => kind === 'patient' || kind === 'technique'))
      throw bad('annotation', 'patient, technique or both; none');
    if (!isNone) parameters.annotations = kinds as ('patient' | 'technique')[];
  }
  const quality = query.get('quality');
  if (quality !== null) {
    const value = Number(quality);
    if (!/^\d{1,3}$/.test(quality.trim()) || value < 1 || value > 100)
      throw bad('quality', 'a whole number from 1 to 100');
    parameters.quality = value;
  }
  const window = query.get('window');
  if (window !== null) parameters.window = parseWindow(window);
  const viewport = parseViewport(query.get('viewport'), limits, true);
  if (viewport !== undefined) parameters.viewport = viewport;
  const profile = query.get('iccprofile');
  if (profile === 'yes') parameters.colourSpace = 'own';
  else if (profile !== null && isColourSpace(profile)) parameters.colourSpace = profile;
  else if (profile !== null && profile !== 'no') throw bad('iccprofile', `no, yes, ${Object.keys(SPACES).join(', ')}`);
  return parameters;
}

/** center,width,function (PS3.18 §8.3.5.1.4) */
function parseWindow(text: string): NonNullable<RenderingParameters['window']> {
  const parts = text.split(',').map((part) => part.trim());
  const [center, width] = parts.slice(0, 2).map(decimal);
  const named = parts[2] === undefined || parts[2] === '' ? 'LINEAR' : FUNCTIONS[parts[2].toLowerCase()];
  if (parts.length < 2 || parts.length > 3 || center === undefined || width === undefined)
    throw bad('window', 'center,width,function');
  if (named === undefined) throw bad('window', 'the function is linear, linear-exact or sigmoid');
  if (named === 'LINEAR' ? width < 1 : width <= 0)
    throw bad('window', 'the width is at least 1 (greater than 0 for linear-exact and sigmoid)');
  return { center, width, function: named };
}

/**
 * vw,vh,sx,sy,sw,sh (PS3.18 §8.3.5.1.3); the last four may be left out, also one by one (`200,200,,,100,`).
 * @param sourced whether a source area may be given: thumbnails have none
 */
export function parseViewport(
  text: string | null,
  limits: Pick<Limits, 'renderedSidePixels'>,
  sourced: boolean,
): Viewport | undefined {
  if (text === null) return undefined;
  const parts = text.split(',').map((part) => part.trim());
  if (parts.length < 2 || parts.length > (sourced ? 6 : 2))
    throw bad('viewport', sourced ? 'vw,vh,sx,sy,sw,sh' : 'vw,vh');
  const numbers = parts.map((part) => (part === '' ? undefined : (decimal(part) ?? Number.NaN)));
  const [width, height, sourceX, sourceY, sourceWidth, sourceHeight] = numbers;
  const limit = limits.renderedSidePixels;
  for (const side of [width, height]) {
    if (side === undefined || !Number.isInteger(side) || side < 1 || side > limit)
      throw bad('viewport', `width and height are whole numbers from 1 to ${limit}`);
  }
  if ([sourceX, sourceY].some((at) => at !== undefined && !(at >= 0)))
    throw bad('viewport', 'the source begins at 0 or later');
  if ([sourceWidth, sourceHeight].some((size) => size !== undefined && !(Math.abs(size) >= 1)))
    throw bad('viewport', 'the source is at least one pixel wide and high');
  return {
    width: width!,
    height: height!,
    ...(sourceX !== undefined && { sourceX }),
    ...(sourceY !== undefined && { sourceY }),
    ...(sourceWidth !== undefined && { sourceWidth }),
    ...(sourceHeight !== undefined && { sourceHeight }),
  };
}

const decimal = (text: string): number | undefined =>
  /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?$/.test(text) ? Number(text) : undefined;
