import { afterEach, expect, test } from 'vitest';
import { EXPLICIT_VR_LITTLE_ENDIAN } from '#core/dicom/transfer-syntaxes.ts';
import { associate, contextOf, proposing, sendObject } from '#dimse/scu.ts';
import { MULTIFRAME_GRAYSCALE_WORD_SC } from '#test/bench/encode.ts';
import { type LargeObject, largeObject } from '#test/bench/large-data.ts';
import { getParts, instanceUrl } from './helpers/dicomweb.ts';
import { freePort, type Nephos, startNephos } from './helpers/nephos.ts';

/** Size of each object. What is promised is 1e9, which takes 16 GB of disk. */
const BIG_BYTES = Number(process.env.NEPHOS_BIG_BYTES ?? 60e6);
const ASSOCIATIONS = 16;
const FRAME_BYTES = 512 * 512 * 2;
const RSS_LIMIT_BYTES = 300e6;

let nephos: Nephos | undefined;
afterEach(async () => {
  await nephos?.stop();
  nephos = undefined;
});

async function* dataSetOf(object: LargeObject): AsyncGenerator<Uint8Array> {
  let isFirst = true;
  for (const piece of object.pieces()) {
    // The first piece begins with preamble and File Meta Information, which are not sent.
    yield isFirst ? piece.subarray(144 + piece.readUInt32LE(140)) : piece;
    isFirst = false;
  }
}

test(
  `sixteen associations send objects of ${BIG_BYTES / 1e6} MB at once to one process, which stays below 300 MB`,
  async () => {
    const port = await freePort();
    nephos = await startNephos({ env: { NEPHOS_WORKERS: '1', NEPHOS_DICOM_PORT: String(port) } });
    const objects = Array.from({ length: ASSOCIATIONS }, (_, i) =>
      largeObject(900 + i, Math.floor(BIG_BYTES / FRAME_BYTES)),
    );
    await Promise.all(
      objects.map(async (object) => {
        const session = await associate(
          { aeTitle: 'NEPHOS', host: '127.0.0.1', port },
          {
            callingAETitle: 'LARGE',
            contexts: proposing([MULTIFRAME_GRAYSCALE_WORD_SC, [EXPLICIT_VR_LITTLE_ENDIAN]]),
          },
        );
        const context = contextOf(session, MULTIFRAME_GRAYSCALE_WORD_SC);
        expect((await sendObject(session, context, object.SOPInstanceUID, dataSetOf(object))).status).toBe(0);
        await session.release();
      }),
    );
    expect(nephos.largestPeakRssBytes()).toBeLessThan(RSS_LIMIT_BYTES);
    for (const object of objects) {
      const url = instanceUrl(nephos.root, object);
      const [frame] = await getParts(
        `${url}/frames/${object.frames}`,
        'multipart/related; type="application/octet-stream"',
      );
      expect(frame!.equals(object.frame(object.frames))).toBe(true);
    }
  },
  120_000 + (ASSOCIATIONS * BIG_BYTES) / 10_000,
);
