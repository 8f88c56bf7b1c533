/**
 * PixelEngine — the arithmetic of images: decode, encode, render. Jobs are pure: bytes and plain data in, bytes out; nothing of
 * stores or requests. Frames are what the frame reader returns: one whole codestream, or one frame of native pixels.
 *
 * Contract (test/contract/pixel-engine.ts runs it against the engine in this process and the pool of worker threads):
 * - a job neither changes nor keeps the arrays it was given; what it returns belongs to the caller.
 * - a malformed codestream throws UNREADABLE_DATASET, a syntax without a codec UNSUPPORTED_TRANSFER_SYNTAX, an image larger than
 *   `limits.decodedFrameBytes` TOO_LARGE; an engine with too much waiting BUSY. A codec that aborts or hangs costs its own job only.
 * - lossless syntaxes are exact both ways, for 1 to 16 bits, signed and unsigned, gray and colour.
 */
export interface PixelEngine {
  /** @throws PacsError UNREADABLE_DATASET; UNSUPPORTED_TRANSFER_SYNTAX; TOO_LARGE; BUSY */
  decode(job: EncodedFrame): Promise<DecodedFrame>;

  /** @throws PacsError UNSUPPORTED_TRANSFER_SYNTAX when the syntax cannot hold such an image (12 bits in JPEG Baseline); BUSY */
  encode(job: EncodeJob): Promise<EncodedFrame>;

  /** Decode and encode in one go: the decoded samples do not travel. @throws as both */
  transcode(job: EncodedFrame & { readonly target: EncodeTarget }): Promise<EncodedFrame>;

  /** One frame as a JPEG or PNG, through the grayscale pipeline of PS3.3 C.11 / PS3.4 N.2. @throws as decode; NOT_ACCEPTABLE */
  render(job: EncodedFrame & { readonly presentation: Presentation }): Promise<RenderedImage>;

  /** Several frames of the same size as one animated GIF. @throws as render */
  animate(job: AnimationJob): Promise<RenderedImage>;

  /** Ends what the engine holds (threads); jobs under way fail with BUSY. */
  close(): Promise<void>;
}

/** Image Pixel module (PS3.3 C.7.6.3) of the samples it goes with. */
export interface ImageDescription {
  readonly Rows: number;
  readonly Columns: number;
  readonly SamplesPerPixel: number;
  readonly PhotometricInterpretation: string;
  /** 0 colour by pixel, 1 colour by plane; 0 for one sample a pixel */
  readonly PlanarConfiguration: number;
  /** 1, 8, 16 or 32; 32 and 64 with `float` */
  readonly BitsAllocated: number;
  readonly BitsStored: number;
  readonly HighBit: number;
  /** 0 unsigned, 1 two's complement */
  readonly PixelRepresentation: number;
  /** FloatPixelData (32) or DoubleFloatPixelData (64): IEEE 754 little endian */
  readonly float?: boolean;
}

export interface EncodedFrame {
  /** one codestream; for native syntaxes the samples of one frame as stored (bit-packed frames start at bit 0) */
  readonly codestream: Uint8Array;
  readonly transferSyntaxUID: string;
  /** as the data set of this syntax describes it */
  readonly image: ImageDescription;
}

export interface DecodedFrame {
  /** little endian, colour by pixel; bits above BitsStored as they were stored (sign, old overlays); 1-bit images a byte a pixel */
  readonly samples: Uint8Array;
  /** of `samples`; PhotometricInterpretation as an Explicit VR Little Endian data set must state it (RGB after YBR_ICT, …) */
  readonly image: ImageDescription;
}

export interface EncodeTarget {
  readonly transferSyntaxUID: string;
  /** of lossy syntaxes, 1 to 100 (90): JPEG and JPEG XL as their libraries mean it, JPEG 2000 a ratio of 100 - quality, JPEG-LS an error of (100 - quality) / 10,000 of the range */
  readonly quality?: number;
}

export interface EncodeJob {
  readonly frame: DecodedFrame;
  readonly target: EncodeTarget;
}

/** A look-up table: `values[clamp(input - firstMapped)]`; `bits` of its output. */
export interface LookupTable {
  readonly firstMapped: number;
  readonly bits: number;
  readonly values: Uint16Array;
}

/** PS3.3 C.11.2.1.2 and C.11.2.1.3 */
export type VoiFunction = 'LINEAR' | 'LINEAR_EXACT' | 'SIGMOID';

/** All that turns stored values into what is seen. Absent members: nothing to be done. */
export interface Presentation {
  readonly mediaType: 'image/jpeg' | 'image/png';
  /** JPEG quality, 1 to 100 */
  readonly quality?: number;
  readonly modality?: { readonly slope: number; readonly intercept: number } | LookupTable;
  /** absent for grayscale: the range of the frame's own values */
  readonly voi?: { readonly center: number; readonly width: number; readonly function: VoiFunction } | LookupTable;
  /** IDENTITY and INVERSE, or a table; applied after the VOI (absent: by PhotometricInterpretation) */
  readonly presentationLut?: 'IDENTITY' | 'INVERSE' | LookupTable;
  readonly palette?: { readonly red: LookupTable; readonly green: LookupTable; readonly blue: LookupTable };
  /** stored value that means "no pixel here": black, and outside the default window */
  readonly padding?: { readonly from: number; readonly to: number };
  readonly overlays?: readonly OverlayPlane[];
  readonly shutters?: readonly Shutter[];
  /** part of the image in pixels, 0-based: left, top, width, height */
  readonly crop?: { readonly x: number; readonly y: number; readonly width: number; readonly height: number };
  /** clockwise, after `flip` (PS3.3 C.10.6: the rotation, then the horizontal flip, of the displayed image) */
  readonly rotate?: 0 | 90 | 180 | 270;
  readonly flipHorizontal?: boolean;
  readonly flipVertical?: boolean;
  /** width of a pixel over its height (1 for square pixels) */
  readonly pixelAspect?: number;
  /** the image is scaled, keeping its shape, to fit in this many pixels; `enlarge` also upwards */
  readonly fit?: { readonly width: number; readonly height: number; readonly enlarge: boolean };
  /** lines of text burned in: top left, bottom left */
  readonly annotations?: { readonly topLeft: readonly string[]; readonly bottomLeft: readonly string[] };
  /** a line of text all over the finished picture, on whatever ground */
  readonly watermark?: string;
  /** vector graphics of a presentation state, in image pixels (1-based, PS3.3 C.10.5) */
  readonly graphics?: readonly Graphic[];
  /** the picture says in which colours it is: those of the object's own profile (absent: sRGB), or another space, into which it is turned */
  readonly colours?: {
    readonly profile?: Uint8Array;
    readonly space: 'own' | 'srgb' | 'adobergb' | 'rommrgb' | 'displayp3';
  };
}

/** PS3.3 C.9.2: one bit a pixel */
export interface OverlayPlane {
  readonly rows: number;
  readonly columns: number;
  /** of the upper left pixel, 1-based: row, column */
  readonly origin: readonly [number, number];
  /** packed, least significant bit first; absent when the bits lie in the pixel data */
  readonly bits?: Uint8Array;
  /** bit of the stored value (OverlayBitPosition) when there is no OverlayData */
  readonly embeddedBit?: number;
  /** gray of its layer, 0 to 255; absent: white */
  readonly shade?: number;
}

/** PS3.3 C.7.6.11; in image pixels, 1-based. What lies outside is black. */
export type Shutter =
  | {
      readonly kind: 'RECTANGULAR';
      readonly left: number;
      readonly right: number;
      readonly upper: number;
      readonly lower: number;
    }
  | { readonly kind: 'CIRCULAR'; readonly row: number; readonly column: number; readonly radius: number }
  /** row, column pairs */
  | { readonly kind: 'POLYGONAL'; readonly vertices: readonly number[] };

export interface Graphic {
  readonly kind: 'POLYLINE' | 'POINT' | 'CIRCLE' | 'ELLIPSE' | 'TEXT';
  /** column, row pairs */
  readonly points: readonly number[];
  readonly text?: string;
  /** gray of its layer, 0 to 255; absent: white */
  readonly shade?: number;
}

export interface RenderedImage {
  readonly mediaType: 'image/jpeg' | 'image/png' | 'image/gif';
  readonly bytes: Uint8Array;
  readonly columns: number;
  readonly rows: number;
}

export interface AnimationJob {
  readonly frames: readonly EncodedFrame[];
  readonly presentation: Presentation;
  /** ms between frames */
  readonly delayMs: number;
}
