import { parentPort, workerData } from 'node:worker_threads';
import { asPacsError } from '#core/errors.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import type { PixelReply, PixelRequest, PixelWorkerData } from './worker-pixel-engine.ts';

/** A thread of the pool: one job at a time, in the order they come. What it returns is handed over, not copied. */
const { module, decodedFrameBytes } = workerData as PixelWorkerData;
const engine = new InProcessPixelEngine(module, { decodedFrameBytes });
const port = parentPort!;
const ready: PixelReply = { ready: true };
port.postMessage(ready);

port.on('message', async ({ id, method, job }: PixelRequest) => {
  try {
    const result = (await engine[method](job as never)) as {
      samples?: Uint8Array;
      codestream?: Uint8Array;
      bytes?: Uint8Array;
    };
    const bytes = result.samples ?? result.codestream ?? result.bytes;
    const whole = bytes !== undefined && bytes.byteLength === bytes.buffer.byteLength;
    const reply: PixelReply = { id, result };
    port.postMessage(reply, whole ? [bytes.buffer as ArrayBuffer] : []);
  } catch (error) {
    const { code, message, details, cause } = asPacsError(error);
    const reply: PixelReply = {
      id,
      error: { code, message, details, cause: cause instanceof Error ? cause.message : undefined },
    };
    port.postMessage(reply);
  }
});
