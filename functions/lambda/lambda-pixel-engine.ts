import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { codecModule } from '#adapters/local/codec-module.ts';
import { DEFAULT_LIMITS, type Limits } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import type { PixelEngine } from '#core/ports/pixel-engine.ts';
import { CODEC_FILE } from './functions.ts';

/**
 * The engine in the function's own thread: a sandbox serves one request at a time. The codecs stand beside the bundle (in the source
 * tree, in their package) and are compiled when the first image needs them.
 */
export function lambdaPixelEngine(limits: Partial<Limits>): PixelEngine {
  let engine: PixelEngine | undefined;
  const opened = (): PixelEngine => {
    engine ??= new InProcessPixelEngine(codecs(), { ...DEFAULT_LIMITS, ...limits });
    return engine;
  };
  return {
    decode: (job) => opened().decode(job),
    encode: (job) => opened().encode(job),
    transcode: (job) => opened().transcode(job),
    render: (job) => opened().render(job),
    animate: (job) => opened().animate(job),
    close: async () => engine?.close(),
  };
}

function codecs(): WebAssembly.Module {
  const bundled = join(import.meta.dirname, CODEC_FILE);
  return existsSync(bundled) ? new WebAssembly.Module(readFileSync(bundled)) : codecModule();
}
