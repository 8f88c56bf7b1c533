import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { EXPLICIT_VR_LITTLE_ENDIAN } from '#core/dicom/transfer-syntaxes.ts';
import { associate, contextOf, proposing, sendObject } from '#dimse/scu.ts';
import { MULTIFRAME_GRAYSCALE_WORD_SC } from '#test/bench/encode.ts';
import { type LargeObject, largeObject } from '#test/bench/large-data.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { getParts, instanceUrl } from './helpers/dicomweb.ts';
import { type Edge, startEdge } from './helpers/edge.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';

/** Size of each object. What is promised is 1e9, which takes 16 GB of disk, with a gateway 32 GB. */
const BIG_BYTES = Number(process.env.NEPHOS_BIG_BYTES ?? 60e6);
const ASSOCIATIONS = 16;
const FRAME_BYTES = 512 * 512 * 2;
const RSS_LIMIT_BYTES = 300e6;
const TIMEOUT_MS = 400_000 + (ASSOCIATIONS * BIG_BYTES) / 10_000;

let nephos: Nephos | undefined;
let edge: Edge | undefined;
let folder: string | undefined;
afterEach(async () => {
  await edge?.stop();
  await nephos?.stop();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  edge = nephos = folder = undefined;
});

const objects = Array.from({ length: ASSOCIATIONS }, (_, i) =>
  largeObject(900 + i, Math.floor(BIG_BYTES / FRAME_BYTES)),
);

async function* dataSetOf(object: LargeObject): AsyncGenerator<Uint8Array> {
  let isFirst = true;
  for (const piece of object.pieces()) {
    // The first piece begins with preamble and File Meta Information, which are not sent.
    yield isFirst ? piece.subarray(144 + piece.readUInt32LE(140)) : piece;
    isFirst = false;
  }
}

/** All at once, each over an association of its own. */
const storeAll = (port: number): Promise<unknown> =>
  Promise.all(
    objects.map(async (object) => {
      const session = await associate(
        { aeTitle: 'NEPHOS', host: '127.0.0.1', port },
        { callingAETitle: 'LARGE', contexts: proposing([MULTIFRAME_GRAYSCALE_WORD_SC, [EXPLICIT_VR_LITTLE_ENDIAN]]) },
      );
      const context = contextOf(session, MULTIFRAME_GRAYSCALE_WORD_SC);
      expect((await sendObject(session, context, object.SOPInstanceUID, dataSetOf(object))).status).toBe(0);
      await session.release();
    }),
  );

async function expectWhole(object: LargeObject): Promise<void> {
  const url = instanceUrl(nephos!.root, object);
  const [frame] = await getParts(
    `${url}/frames/${object.frames}`,
    'multipart/related; type="application/octet-stream"',
  );
  expect(frame!.equals(object.frame(object.frames))).toBe(true);
}

test(
  `sixteen associations send objects of ${BIG_BYTES / 1e6} MB at once to one process, which stays below 300 MB`,
  async () => {
    const port = await freePort();
    nephos = await startNephos({ env: { NEPHOS_WORKERS: '1', NEPHOS_DICOM_PORT: String(port) } });
    await storeAll(port);
    console.info(`the archive's resident memory came to ${Math.round(nephos.largestPeakRssBytes() / 1e6)} MB`);
    expect(nephos.largestPeakRssBytes()).toBeLessThan(RSS_LIMIT_BYTES);
    for (const object of objects) await expectWhole(object);
  },
  TIMEOUT_MS,
);

test(
  `and to a gateway, which stays below 300 MB while it takes, and forwards, objects of ${BIG_BYTES / 1e6} MB`,
  async () => {
    folder = await mkdtemp(join(tmpdir(), 'nephos-edge-large-'));
    nephos = await startNephos({ env: { NEPHOS_WORKERS: '1' } });
    edge = await startEdge(folder, {
      dicomPort: await freePort(),
      httpPort: await freePort(),
      upstreams: [{ name: 'archive', url: nephos.root }],
    });
    await storeAll(edge.dicomPort);
    const status = async () => {
      const answer = await fetch(`http://127.0.0.1:${edge!.httpPort}/status.json`);
      const { destinations } = (await answer.json()) as { destinations: { confirmed: number; held: number }[] };
      return destinations[0]!;
    };
    while ((await status()).confirmed < ASSOCIATIONS) {
      expect((await status()).held).toBe(0);
      await sleep(500);
    }
    console.info(`the gateway's resident memory came to ${Math.round(edge.largestPeakRssBytes() / 1e6)} MB`);
    expect(edge.largestPeakRssBytes()).toBeLessThan(RSS_LIMIT_BYTES);
    for (const object of objects) await expectWhole(object);
  },
  TIMEOUT_MS * 2,
);
