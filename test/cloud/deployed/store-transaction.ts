import { createHash, randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { FUNCTIONS } from '#lambda/functions.ts';
import { type LargeObject, largeObject } from '#test/bench/large-data.ts';
import { asker, type DeployedSuite, eventually, finder, jsonAsker } from './suite.ts';

const FRAME_BYTES = 512 * 512 * 2;
/**
 * Over 2³¹. What limits it is the engine, one thread of Python that holds everything in memory, for a while three times: the parts that were uploaded, those
 * that are put together, the object. It takes some 4 ms for a megabyte that comes in, 6 for one that is put together, 1 to 2 for one that goes out.
 */
const SIZE_BYTES = Number(process.env.NEPHOS_CLOUD_BIG_BYTES ?? 2.2e9);
/** parts on their way at a time, as the gateway does it */
const UPLOADS = 4;

const sha256 = (pieces: Iterable<Uint8Array>): string => {
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
};

export function storeTransactionSuite(suite: DeployedSuite): void {
  const ask = asker(suite);
  const json = finder(suite);
  const call = (id: string, method: string, path: string, body?: object) =>
    jsonAsker(suite)(method, `/api/transactions/${id}${path}`, body);

  /** @returns what the store says */
  async function upload(id: string, object: number, part: number, bytes: Buffer): Promise<number> {
    const granted = await call(id, 'POST', '/parts', { object, parts: [{ part, sha256: sha256([bytes]) }] });
    expect(granted.status, JSON.stringify(granted.body)).toBe(200);
    const [{ method, url, headers, authenticate }] = granted.body.uploads;
    expect(authenticate).toBe(false);
    return (await fetch(url, { method, headers, body: bytes as Uint8Array<ArrayBuffer> })).status;
  }

  /** Several at a time. @returns the last part's number */
  async function uploadFrom(first: number, id: string, object: LargeObject, partBytes: number): Promise<number> {
    const left = inParts(object.pieces(), partBytes);
    let part = 0;
    const work = async (): Promise<void> => {
      for (let next = left.next(); !next.done; next = left.next())
        if (++part >= first) expect(await upload(id, 1, part, next.value)).toBe(200);
    };
    await Promise.all(Array.from({ length: UPLOADS }, work));
    return part;
  }

  describe('a store transaction', () => {
    const frames = Math.floor(SIZE_BYTES / FRAME_BYTES);
    const object = largeObject(7101, frames, { encapsulated: true });

    test(`carries an object of ${object.sizeBytes} bytes, which no request could, in constant memory, and ends with the STOW response`, async () => {
      const id = randomUUID();
      const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, sizeBytes } = object;
      const objects = [{ sizeBytes, sha256: sha256(object.pieces()), SOPInstanceUID }];
      const created = await call(id, 'PUT', '', { StudyInstanceUID, objects });
      expect(created.status, JSON.stringify(created.body)).toBe(201);
      const { partBytes, parts } = created.body.objects[0];
      const startedAt = Date.now();
      const [first, second] = [...inParts(object.pieces(), partBytes).take(2)];
      expect(await upload(id, 1, 1, first!)).toBe(200);
      expect(await upload(id, 1, 2, second!)).toBe(200);
      // A link that broke: what has arrived is told, and the same part again changes nothing.
      expect((await call(id, 'GET', '')).body.objects[0].arrived).toEqual([[1, 2]]);
      expect(await upload(id, 1, 2, second!)).toBe(412);
      expect(await uploadFrom(3, id, object, partBytes)).toBe(parts);
      const committedAt = Date.now();
      const answer = await eventually(async () => {
        const committed = await call(id, 'POST', '/commit');
        // The engine stands still while it puts the parts together, and who asks meanwhile runs out of time: then a client asks again.
        if (committed.status >= 500) return undefined;
        return committed.status === 202 && committed.body.state !== undefined ? undefined : committed;
      }, 900_000);
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      expect(answer.body['00081199'].Value[0]['00081155'].Value).toEqual([SOPInstanceUID]);
      const storedAt = Date.now();
      const peak = await suite.deployed().peakRssBytes('ingest');
      expect(peak).toBeGreaterThan(0);
      expect(peak).toBeLessThan((FUNCTIONS.ingest.memoryMiB * 2 ** 20) / 2);

      const [found] = await json(
        `/dicomweb/studies?StudyInstanceUID=${StudyInstanceUID}&includefield=NumberOfStudyRelatedInstances`,
      );
      expect(found['00201208'].Value).toEqual([1]);
      // The last frame, out of the middle of the object that was put together; the whole is had from the bucket.
      const instance = `/dicomweb/studies/${StudyInstanceUID}/series/${SeriesInstanceUID}/instances/${SOPInstanceUID}`;
      const frame = await ask(`${instance}/frames/${frames}`, {
        headers: { accept: 'application/octet-stream; transfer-syntax=*' },
      });
      expect(frame.status, frame.body.toString().slice(0, 500)).toBe(200);
      expect(frame.body.equals(object.frame(frames))).toBe(true);
      const whole = await ask(instance, { headers: { accept: 'application/dicom; transfer-syntax=*' } });
      expect(whole.status).toBe(307);
      const body = (await fetch(whole.headers.location!)).body as unknown as AsyncIterable<Uint8Array>;
      const hash = createHash('sha256');
      let bytes = 0;
      for await (const chunk of body) {
        hash.update(chunk);
        bytes += chunk.byteLength;
      }
      expect([bytes, hash.digest('hex')]).toEqual([sizeBytes, objects[0]!.sha256]);
      console.log(
        `${sizeBytes} bytes: uploaded in ${committedAt - startedAt} ms, stored in ${storedAt - committedAt} ms, read back in ` +
          `${Date.now() - storedAt} ms; ingest took at most ${Math.round(peak / 2 ** 20)} MiB`,
      );
    }, 1_800_000);
  });
}

/** The same bytes in parts of this size, the last one smaller. */
function* inParts(pieces: Iterable<Buffer>, partBytes: number): Generator<Buffer, undefined> {
  let held: Buffer[] = [];
  let size = 0;
  for (let piece of pieces) {
    while (size + piece.length >= partBytes) {
      const rest = partBytes - size;
      yield Buffer.concat([...held, piece.subarray(0, rest)]);
      piece = piece.subarray(rest);
      held = [];
      size = 0;
    }
    held.push(piece);
    size += piece.length;
  }
  if (size > 0) yield Buffer.concat(held);
}
