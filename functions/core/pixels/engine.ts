import { PacsError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import type {
  AnimationJob,
  DecodedFrame,
  EncodedFrame,
  EncodeJob,
  EncodeTarget,
  PixelEngine,
  Presentation,
  RenderedImage,
} from '../ports/pixel-engine.ts';
import { Codecs } from './codecs.ts';
import { decodeFrame } from './decode.ts';
import { encodeBits, encodeFrame } from './encode.ts';
import { encodeGif } from './gif.ts';
import { coloured, encodeRaster, rasterize } from './render.ts';

/**
 * The PixelEngine in this thread: for tests, for Lambda, and inside each worker of a pool. Give it the compiled
 * dcmjs-native-codecs.wasm; a job blocks the thread while it runs.
 */
export class InProcessPixelEngine implements PixelEngine {
  readonly #codecs: Codecs;
  readonly #limits: Pick<Limits, 'decodedFrameBytes'>;

  constructor(module: WebAssembly.Module, limits: Pick<Limits, 'decodedFrameBytes'>) {
    this.#codecs = new Codecs(module);
    this.#limits = limits;
  }

  async decode(job: EncodedFrame): Promise<DecodedFrame> {
    return this.#decode(job);
  }

  async encode(job: EncodeJob): Promise<EncodedFrame> {
    return encodeFrame(this.#codecs, job.frame, job.target);
  }

  async transcode(job: EncodedFrame & { readonly target: EncodeTarget }): Promise<EncodedFrame> {
    const decoded = await this.#decode(job);
    return job.image.BitsAllocated === 1
      ? encodeBits(decoded, job.target.transferSyntaxUID)
      : encodeFrame(this.#codecs, decoded, job.target);
  }

  async render(job: EncodedFrame & { readonly presentation: Presentation }): Promise<RenderedImage> {
    const { presentation } = job;
    return encodeRaster(this.#codecs, rasterize(await this.#decode(job), presentation), presentation);
  }

  async animate(job: AnimationJob): Promise<RenderedImage> {
    const rasters = [];
    for (const frame of job.frames) {
      const raster = rasterize(await this.#decode(frame), job.presentation);
      rasters.push(coloured(raster, job.presentation.colours).raster);
    }
    const first = rasters[0];
    if (first === undefined) throw new PacsError('NOT_FOUND', 'there is no frame to animate');
    return { mediaType: 'image/gif', bytes: encodeGif(rasters, job.delayMs), columns: first.columns, rows: first.rows };
  }

  async close(): Promise<void> {}

  #decode(job: EncodedFrame): Promise<DecodedFrame> {
    return decodeFrame(this.#codecs, job, this.#limits.decodedFrameBytes);
  }
}
