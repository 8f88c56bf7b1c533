import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type LargeObject, largeObject } from '#test/bench/large-data.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';

/** Size of the object; tried with 2e9 as well. */
const BIG_BYTES = Number(process.env.NEPHOS_BIG_BYTES ?? 1e9);
const FRAME_BYTES = 512 * 512 * 2;
const RSS_LIMIT_BYTES = 400e6;
const TIMEOUT_MS = 500_000 + BIG_BYTES / 10_000;
const PATH = '/api/transactions/0d9c3a52-0000-4000-8000-000000000001';

/** What of the answers is looked at. */
interface Answer {
  readonly objects: [{ partBytes: number; parts: number; arrived: [number, number][] }];
  readonly uploads: [{ url: string; method: string; headers: Record<string, string> }];
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The object in parts of `partBytes`, one after the other. */
function* partsOf(object: LargeObject, partBytes: number): Generator<Buffer> {
  let part: Buffer[] = [];
  let size = 0;
  for (let piece of object.pieces()) {
    while (piece.length > 0) {
      const taken = piece.subarray(0, partBytes - size);
      part.push(taken);
      size += taken.length;
      piece = piece.subarray(taken.length);
      if (size < partBytes) continue;
      yield Buffer.concat(part);
      part = [];
      size = 0;
    }
  }
  if (size > 0) yield Buffer.concat(part);
}

const dataDirs: string[] = [];
afterAll(async () => {
  for (const dataDir of dataDirs) await rm(dataDir, { recursive: true, force: true });
});

test(
  `an object of ${BIG_BYTES} bytes arrives in parts, over a restart of the archive, in constant memory`,
  async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'nephos-peers-'));
    dataDirs.push(dataDir);
    const object = largeObject(77, Math.floor(BIG_BYTES / FRAME_BYTES));
    const hash = createHash('sha256');
    for (const piece of object.pieces()) hash.update(piece);
    const whole = hash.digest('hex');

    let nephos: Nephos = await startNephos({ dataDir });
    const json = async (method: string, path: string, value?: object) => {
      const body = value && JSON.stringify(value);
      const answer = await fetch(`${nephos.origin}${path}`, { method, ...(body && { body }) });
      return { status: answer.status, type: answer.headers.get('content-type'), body: (await answer.json()) as Answer };
    };
    const announced = {
      objects: [{ sizeBytes: object.sizeBytes, sha256: whole, SOPInstanceUID: object.SOPInstanceUID }],
    };
    const created = await json('PUT', PATH, announced);
    expect(created.status).toBe(201);
    const { partBytes, parts } = created.body.objects[0];

    /** Uploads what has not arrived; `until` parts, then the line breaks. */
    const upload = async (until: number): Promise<number> => {
      const { arrived } = (await json('PUT', PATH, announced)).body.objects[0];
      const isThere = (part: number) => arrived.some(([first, last]) => part >= first && part <= last);
      let number = 0;
      let sent = 0;
      for (const part of partsOf(object, partBytes)) {
        if (++number > until) break;
        if (isThere(number)) continue;
        const granted = await json('POST', `${PATH}/parts`, {
          object: 1,
          parts: [{ part: number, sha256: sha256(part) }],
        });
        const { url, method, headers } = granted.body.uploads[0];
        expect((await fetch(url, { method, headers, body: new Uint8Array(part) })).status).toBe(204);
        sent++;
      }
      return sent;
    };
    const half = Math.floor(parts / 2);
    expect(await upload(half)).toBe(half);
    expect((await json('POST', `${PATH}/commit`)).status).toBe(412);
    await nephos.stop();
    nephos = await startNephos({ dataDir });
    try {
      expect(await upload(parts)).toBe(parts - half);
      let answer = await json('POST', `${PATH}/commit`);
      while (answer.type === 'application/json') answer = await json('POST', `${PATH}/commit`);
      expect(answer).toMatchObject({ status: 200, type: 'application/dicom+json' });
      expect(nephos.largestPeakRssBytes()).toBeLessThan(RSS_LIMIT_BYTES);

      const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = object;
      const url = `${nephos.root}/studies/${StudyInstanceUID}/series/${SeriesInstanceUID}/instances/${SOPInstanceUID}`;
      const stored = await fetch(url, { headers: { accept: 'application/dicom; transfer-syntax=*' } });
      expect(stored.headers.get('repr-digest')).toBe(`sha-256=:${Buffer.from(whole, 'hex').toString('base64')}:`);
      const read = createHash('sha256');
      for await (const chunk of stored.body as unknown as AsyncIterable<Uint8Array>) read.update(chunk);
      expect(read.digest('hex')).toBe(whole);
    } finally {
      await nephos.stop();
    }
  },
  TIMEOUT_MS,
);
