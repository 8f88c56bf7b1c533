import { PacsError } from '../errors.ts';

/**
 * The binding of dcmjs-native-codecs.wasm (npm dcmjs-codecs: libijg 8/12/16, CharLS, OpenJPEG, OpenJPH, libjxl in one module).
 * The package's own JavaScript is not used: it loads files, keeps a global, and after an error goes on with a module whose
 * stack was never unwound. Here a module instance that threw is dropped, and the next job gets a new one.
 */
export type CodecName = 'Rle' | 'Jpeg' | 'JpegLs' | 'Jpeg2000' | 'HtJpeg2000' | 'JpegXl';

export interface CodecContext {
  readonly columns: number;
  readonly rows: number;
  readonly bitsAllocated: number;
  readonly bitsStored: number;
  readonly samplesPerPixel: number;
  readonly signed: boolean;
  /** index into PhotometricInterpretationEnum of the module: 1 MONOCHROME2, 3 RGB, 4 YBR_FULL */
  readonly photometric: number;
}

export const MONOCHROME2 = 1;
export const RGB = 3;
export const YBR_FULL = 4;

export interface EncodeParameters {
  readonly lossy: boolean;
  /** JPEG, JPEG XL: 1 to 100 */
  readonly quality?: number;
  /** JPEG chroma: 0 4:4:4, 1 4:2:2, 2 components as they are */
  readonly sampleFactor?: number;
  /** JPEG-LS near-lossless: largest difference of a sample */
  readonly allowedError?: number;
  /** JPEG 2000: 0 LRCP, 2 RPCL */
  readonly progression?: number;
  /** JPEG 2000 lossy: compression ratio */
  readonly rate?: number;
  readonly componentTransform?: boolean;
}

type Native = Record<string, (...values: number[]) => number>;

/** an instance whose memory has grown past this is dropped after the job, so one giant slide does not stay with us */
const KEEP_BYTES = 512 * 1024 * 1024;

export class Codecs {
  readonly #module: WebAssembly.Module;
  #instance: { readonly call: Native; readonly memory: WebAssembly.Memory } | undefined;
  #cutShort = false;

  constructor(module: WebAssembly.Module) {
    this.#module = module;
  }

  /** @throws PacsError UNREADABLE_DATASET when the codec gives up, in whatever way */
  decode(codec: CodecName, codestream: Uint8Array, context: CodecContext, toRgb = false): Uint8Array {
    return this.#run(
      () => {
        const { call, memory } = this.#live();
        const handle = this.#context(context);
        call.SetEncodedBufferSize!(handle, codestream.length);
        new Uint8Array(memory.buffer, call.GetEncodedBuffer!(handle), codestream.length).set(codestream);
        const parameters = call.CreateDecoderParameters!();
        call.SetConvertColorspaceToRgb!(parameters, toRgb ? 1 : 0);
        this.#cutShort = false;
        call[`Decode${codec}`]!(handle, parameters);
        // libjpeg pads what is missing with gray; a lossless image with invented pixels is no image
        if (this.#cutShort) throw new Error('codestream ends early');
        const result = new Uint8Array(
          memory.buffer,
          call.GetDecodedBuffer!(handle),
          call.GetDecodedBufferSize!(handle),
        ).slice();
        call.ReleaseDecoderParameters!(parameters);
        call.ReleaseCodecsContext!(handle);
        return result;
      },
      (cause) => new PacsError('UNREADABLE_DATASET', `${codec} codestream cannot be decoded`, { cause }),
    );
  }

  /** @throws PacsError UNSUPPORTED_TRANSFER_SYNTAX when the codec cannot hold the image */
  encode(codec: CodecName, samples: Uint8Array, context: CodecContext, parameters: EncodeParameters): Uint8Array {
    return this.#run(
      () => {
        const { call, memory } = this.#live();
        const handle = this.#context(context);
        call.SetDecodedBufferSize!(handle, samples.length);
        new Uint8Array(memory.buffer, call.GetDecodedBuffer!(handle), samples.length).set(samples);
        const p = call.CreateEncoderParameters!();
        call.SetLossy!(p, parameters.lossy ? 1 : 0);
        call.SetQuality!(p, parameters.quality ?? 90);
        call.SetSampleFactor!(p, parameters.sampleFactor ?? 0);
        call.SetAllowedLossyError!(p, parameters.allowedError ?? 0);
        call.SetProgressionOrder!(p, parameters.progression ?? 0);
        call.SetRate!(p, parameters.rate ?? 20);
        call.SetAllowMct!(p, parameters.componentTransform === false ? 0 : 1);
        call[`Encode${codec}`]!(handle, p);
        const result = new Uint8Array(
          memory.buffer,
          call.GetEncodedBuffer!(handle),
          call.GetEncodedBufferSize!(handle),
        ).slice();
        call.ReleaseEncoderParameters!(p);
        call.ReleaseCodecsContext!(handle);
        return result;
      },
      (cause) => new PacsError('UNSUPPORTED_TRANSFER_SYNTAX', `${codec} cannot encode this image`, { cause }),
    );
  }

  #run(job: () => Uint8Array, failure: (cause: unknown) => PacsError): Uint8Array {
    try {
      const result = job();
      if (this.#live().memory.buffer.byteLength > KEEP_BYTES) this.#instance = undefined;
      return result;
    } catch (cause) {
      this.#instance = undefined;
      // codec messages may quote the file; only their kind goes on
      throw failure(cause);
    }
  }

  #context(context: CodecContext): number {
    const { call } = this.#live();
    const handle = call.CreateCodecsContext!();
    call.SetColumns!(handle, context.columns);
    call.SetRows!(handle, context.rows);
    call.SetBitsAllocated!(handle, context.bitsAllocated);
    call.SetBitsStored!(handle, context.bitsStored);
    call.SetSamplesPerPixel!(handle, context.samplesPerPixel);
    call.SetPixelRepresentation!(handle, context.signed ? 1 : 0);
    call.SetPlanarConfiguration!(handle, 0);
    call.SetPhotometricInterpretation!(handle, context.photometric);
    return handle;
  }

  #live(): { readonly call: Native; readonly memory: WebAssembly.Memory } {
    if (this.#instance !== undefined) return this.#instance;
    const memoryOf = (): ArrayBufferLike => (instance.exports.memory as WebAssembly.Memory).buffer;
    const textAt = (pointer: number, length: number): string =>
      Buffer.from(memoryOf(), pointer, length).toString('latin1');
    const instance = new WebAssembly.Instance(this.#module, {
      env: {
        onCodecsInfo: (pointer: number, length: number) => {
          if (length < 300 && textAt(pointer, length).toLowerCase().includes('premature end of')) this.#cutShort = true;
        },
        onCodecsTrace: () => {},
        onCodecsException: (pointer: number, length: number) => {
          throw new Error(textAt(pointer, Math.min(length, 500)));
        },
        emscripten_notify_memory_growth: () => {},
      },
      wasi_snapshot_preview1: {
        proc_exit: (code: number) => {
          throw new Error(`codec exited with ${code}`);
        },
        clock_time_get: (_clock: number, _precision: bigint, pointer: number) => {
          new DataView(memoryOf()).setBigUint64(pointer, 0n, true);
          return 0;
        },
        fd_write: (_descriptor: number, vectors: number, count: number, written: number) => {
          const view = new DataView(memoryOf());
          let total = 0;
          for (let i = 0; i < count; i++) total += view.getUint32(vectors + 8 * i + 4, true);
          view.setUint32(written, total, true);
          return 0;
        },
        fd_close: () => 0,
        fd_seek: () => 0,
        environ_sizes_get: (count: number, size: number) => {
          const view = new DataView(memoryOf());
          view.setUint32(count, 0, true);
          view.setUint32(size, 0, true);
          return 0;
        },
        environ_get: () => 0,
      },
    });
    const call = instance.exports as unknown as Native;
    call._initialize?.();
    this.#instance = { call, memory: instance.exports.memory as WebAssembly.Memory };
    return this.#instance;
  }
}
