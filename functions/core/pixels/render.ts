import type { DecodedFrame, Presentation, RenderedImage } from '../ports/pixel-engine.ts';
import { type Codecs, MONOCHROME2, RGB } from './codecs.ts';
import { applyShutters, drawAnnotations, drawGraphic, drawOverlay } from './draw.ts';
import { toDisplay } from './grayscale.ts';
import { inColourSpace } from './icc/convert.ts';
import { readProfile } from './icc/profile.ts';
import { profileOf } from './icc/spaces.ts';
import { encodePng } from './png.ts';
import { crop, type Raster, resize, turn } from './raster.ts';
import { drawWatermark } from './watermark.ts';

/** Stored values to the picture that is sent: values, then what is drawn on the image, then its place on the screen, then text. */
export function rasterize(frame: DecodedFrame, presentation: Presentation): Raster {
  let raster = toDisplay(frame, presentation);
  for (const overlay of presentation.overlays ?? []) drawOverlay(raster, overlay, frame);
  for (const graphic of presentation.graphics ?? []) drawGraphic(raster, graphic);
  if (presentation.shutters !== undefined && presentation.shutters.length > 0)
    applyShutters(raster, presentation.shutters);
  if (presentation.crop !== undefined) raster = crop(raster, presentation.crop);
  // what is made smaller is cheaper to turn afterwards; turning does not change which size fits, but for its sides
  const rotate = presentation.rotate ?? 0;
  const size = displayedSize(raster, presentation);
  raster = resize(raster, size.columns, size.rows);
  raster = turn(raster, rotate, presentation.flipHorizontal === true, presentation.flipVertical === true);
  // text is drawn on what may still be the caller's decoded frame
  if (presentation.annotations !== undefined) drawAnnotations(raster, presentation.annotations);
  if (presentation.watermark !== undefined) drawWatermark(raster, presentation.watermark);
  return raster;
}

/** Size before turning: square pixels, fitted into the viewport. */
function displayedSize(raster: Raster, presentation: Presentation): { columns: number; rows: number } {
  const aspect = presentation.pixelAspect ?? 1;
  const width = aspect > 1 ? raster.columns * aspect : raster.columns;
  const height = aspect < 1 ? raster.rows / aspect : raster.rows;
  let scale = 1;
  const { fit } = presentation;
  if (fit !== undefined) {
    const turned = presentation.rotate === 90 || presentation.rotate === 270;
    scale = Math.min((turned ? fit.height : fit.width) / width, (turned ? fit.width : fit.height) / height);
    if (scale > 1 && !fit.enlarge) scale = 1;
  }
  return { columns: Math.max(1, Math.round(width * scale)), rows: Math.max(1, Math.round(height * scale)) };
}

/** @throws PacsError UNREADABLE_DATASET where the object's own profile is needed, and is none */
export function encodeRaster(codecs: Codecs, drawn: Raster, presentation: Presentation): RenderedImage {
  const { raster, profile } = coloured(drawn, presentation.colours);
  const { columns, rows } = raster;
  if (presentation.mediaType === 'image/png') {
    return { mediaType: 'image/png', bytes: encodePng(raster, profile), columns, rows };
  }
  const gray = raster.channels === 1;
  const jpeg = codecs.encode(
    'Jpeg',
    raster.data,
    {
      columns,
      rows,
      bitsAllocated: 8,
      bitsStored: 8,
      samplesPerPixel: raster.channels,
      signed: false,
      photometric: gray ? MONOCHROME2 : RGB,
    },
    { lossy: true, quality: presentation.quality ?? 90, sampleFactor: 0 },
  );
  const bytes = profile === undefined ? jpeg : withProfile(jpeg, profile);
  return { mediaType: 'image/jpeg', bytes, columns, rows };
}

/** The picture in the colours that were asked for, and the profile that says so. The object's own is passed on as it is. */
export function coloured(
  raster: Raster,
  colours: Presentation['colours'],
): { readonly raster: Raster; readonly profile?: Uint8Array } {
  if (colours === undefined) return { raster };
  const { profile, space } = colours;
  // What the object says of colours says nothing of gray.
  const source = raster.channels === 3 ? profile : undefined;
  if (space === 'own' && source !== undefined) {
    readProfile(source);
    return { raster, profile: source };
  }
  const target = space === 'own' ? 'srgb' : space;
  return { raster: inColourSpace(raster, source && readProfile(source), target), profile: profileOf(target) };
}

/** ICC profile in APP2 segments (ICC.1 Annex B.4), behind SOI and JFIF. */
function withProfile(jpeg: Uint8Array, profile: Uint8Array): Uint8Array {
  const at = jpeg[2] === 0xff && jpeg[3] === 0xe0 ? 4 + ((jpeg[4]! << 8) | jpeg[5]!) : 2;
  const PART = 65_519;
  const count = Math.ceil(profile.length / PART);
  const segments: Uint8Array[] = [];
  for (let i = 0; i < count && count < 256; i++) {
    const part = profile.subarray(i * PART, (i + 1) * PART);
    const head = Buffer.alloc(18);
    head.writeUInt16BE(0xffe2, 0);
    head.writeUInt16BE(part.length + 16, 2);
    head.write('ICC_PROFILE\0', 4, 'latin1');
    head[16] = i + 1;
    head[17] = count;
    segments.push(head, part);
  }
  return new Uint8Array(Buffer.concat([jpeg.subarray(0, at), ...segments, jpeg.subarray(at)]));
}
