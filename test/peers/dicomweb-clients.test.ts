import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { api } from 'dicomweb-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ctStudy } from '#test/bench/data.ts';
import { largeObject } from '#test/bench/large-data.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { first, type JsonDataSet, sha256 } from './helpers/dicomweb.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';
import { python } from './helpers/programs.ts';
import { FetchXMLHttpRequest } from './helpers/xml-http-request.ts';

let nephos: Nephos;
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-clients-'));
  // Python's client leaves the port out of its Host header, so the archive must be told where it stands.
  const port = await freePort();
  nephos = await startNephos({ port, env: { NEPHOS_PUBLIC_URL: `http://127.0.0.1:${port}` } });
});
afterAll(async () => {
  await nephos?.stop();
  await rm(dir, { recursive: true, force: true });
});

const exactBuffer = (bytes: Buffer): ArrayBuffer =>
  bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;

/** The package's own types are derived from incomplete comments and ask for what is optional. */
type ViewerClient = Record<
  | 'storeInstances'
  | `searchFor${'Studies' | 'Series' | 'Instances'}`
  | `retrieve${'Study' | 'Series' | 'Instance'}${'' | 'Metadata'}`
  | `retrieveInstance${'Frames' | 'Rendered' | 'FramesRendered' | 'Thumbnail'}`
  | 'retrieveBulkData',
  (options: Record<string, unknown>) => Promise<unknown>
>;

/** Some answers of this client are one ArrayBuffer, some a list of one. */
const bytesOf = (answer: unknown): Buffer => Buffer.from((Array.isArray(answer) ? answer[0] : answer) as ArrayBuffer);

describe("the viewers' own client, npm dicomweb-client", () => {
  const study = ctStudy(8100, 3);
  const files = study.slices.map(({ header, pixels }) => Buffer.concat([header, pixels]));
  const series = { studyInstanceUID: study.StudyInstanceUID, seriesInstanceUID: study.SeriesInstanceUID };
  const instance = { ...series, sopInstanceUID: study.slices[1]!.SOPInstanceUID };
  let client: ViewerClient;

  beforeAll(() => {
    Object.assign(globalThis, { XMLHttpRequest: FetchXMLHttpRequest });
    client = new api.DICOMwebClient({ url: nephos.root, singlepart: '' }) as unknown as ViewerClient;
  });

  test('stores', async () => {
    await client.storeInstances({ datasets: files.map(exactBuffer) });
    const found = (await client.searchForInstances(series)) as JsonDataSet[];
    expect(found.map((item) => first(item, '00080018')).sort()).toEqual(
      study.slices.map((slice) => slice.SOPInstanceUID).sort(),
    );
  });

  test('searches studies and series', async () => {
    const studies = (await client.searchForStudies({ queryParams: { PatientID: study.PatientID } })) as JsonDataSet[];
    expect(studies.map((item) => first(item, '0020000D'))).toEqual([study.StudyInstanceUID]);
    expect(await client.searchForStudies({ queryParams: { PatientID: 'no such patient' } })).toEqual([]);
    const found = (await client.searchForSeries(series)) as JsonDataSet[];
    expect(found.map((item) => first(item, '0020000E'))).toEqual([study.SeriesInstanceUID]);
  });

  test('retrieves an instance, a series and a study', async () => {
    expect(bytesOf(await client.retrieveInstance(instance)).equals(files[1]!)).toBe(true);
    const sorted = (buffers: Buffer[]): string[] => buffers.map(sha256).sort();
    const parts = (answer: unknown): Buffer[] => (answer as ArrayBuffer[]).map((part) => Buffer.from(part));
    expect(sorted(parts(await client.retrieveSeries(series)))).toEqual(sorted(files));
    expect(sorted(parts(await client.retrieveStudy(series)))).toEqual(sorted(files));
  });

  test('retrieves metadata at all levels, and the bulk data it names', async () => {
    const [metadata] = [await client.retrieveInstanceMetadata(instance)].flat() as JsonDataSet[];
    expect(first(metadata, '00080018')).toBe(instance.sopInstanceUID);
    expect(await client.retrieveSeriesMetadata(series)).toHaveLength(3);
    expect(await client.retrieveStudyMetadata(series)).toHaveLength(3);
    const uri = metadata!['7FE00010']?.BulkDataURI;
    expect(uri).toBeDefined();
    const pixels = await client.retrieveBulkData({ BulkDataURI: new URL(uri!, `${nephos.root}/`).href });
    expect(bytesOf(pixels).equals(study.slices[1]!.pixels)).toBe(true);
  });

  test('retrieves frames of a multi-frame object, in the order asked for', async () => {
    const object = largeObject(8101, 5);
    await client.storeInstances({ datasets: [exactBuffer(Buffer.concat([...object.pieces()]))] });
    const ids = {
      studyInstanceUID: object.StudyInstanceUID,
      seriesInstanceUID: object.SeriesInstanceUID,
      sopInstanceUID: object.SOPInstanceUID,
    };
    const answer = (await client.retrieveInstanceFrames({ ...ids, frameNumbers: [4, 2] })) as unknown as ArrayBuffer[];
    expect(answer.map((frame) => new Uint8Array(frame)[0])).toEqual([4, 2]);
    expect(Buffer.from(answer[0]!).equals(object.frame(4))).toBe(true);
  });

  test('retrieves rendered images and thumbnails', async () => {
    const rendered = bytesOf(
      await client.retrieveInstanceRendered({ ...instance, mediaTypes: [{ mediaType: 'image/png' }] }),
    );
    expect(rendered.subarray(1, 4).toString()).toBe('PNG');
    const jpeg = bytesOf(
      await client.retrieveInstanceFramesRendered({
        ...instance,
        frameNumbers: [1],
        mediaTypes: [{ mediaType: 'image/jpeg' }],
      }),
    );
    expect([...jpeg.subarray(0, 2)]).toEqual([0xff, 0xd8]);
    const thumbnail = bytesOf(
      await client.retrieveInstanceThumbnail({ ...instance, mediaTypes: [{ mediaType: 'image/jpeg' }] }),
    );
    expect([...thumbnail.subarray(0, 2)]).toEqual([0xff, 0xd8]);
  });

  test('deletes, after which nothing of the series is found', async () => {
    const response = await fetch(`${nephos.root}/studies/${study.StudyInstanceUID}`, { method: 'DELETE' });
    expect([200, 202, 204]).toContain(response.status);
    expect(await client.searchForStudies({ queryParams: { StudyInstanceUID: study.StudyInstanceUID } })).toEqual([]);
    await expect(client.retrieveInstance(instance)).rejects.toThrow();
  });
});

describe("Python's dicomweb-client", () => {
  test('stores, searches, retrieves in every way and deletes', async () => {
    const study = ctStudy(8200, 1);
    const { SOPInstanceUID, header, pixels } = study.slices[0]!;
    const file = join(dir, 'ct.dcm');
    await writeFile(file, Buffer.concat([header, pixels]));
    const seen = await python<Record<string, unknown>>('dicomweb-session.py', [nephos.root, file]);
    const pixelsDigest = sha256(pixels);
    expect(seen).toEqual({
      stored: [SOPInstanceUID],
      failed: 0,
      studies: [study.StudyInstanceUID],
      nobody: [],
      series: [study.SeriesInstanceUID],
      instances: [SOPInstanceUID],
      pixels: pixelsDigest,
      instance: pixelsDigest,
      asStored: pixelsDigest,
      seriesPixels: [pixelsDigest],
      studyPixels: [pixelsDigest],
      frame: pixelsDigest,
      rendered: '89504e470d0a1a0a',
      renderedFrame: 'ffd8ff',
      metadata: SOPInstanceUID,
      patient: true,
      bulkdata: pixelsDigest,
      seriesMetadata: 1,
      studyMetadata: 1,
      deleted: 404,
    });
  });
});
