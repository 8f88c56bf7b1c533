import { describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { PacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { retrieveSeriesBulkdata, retrieveStudyBulkdata, retrieveStudyPixelData } from '#dicomweb/bulkdata.ts';
import { renderFrames, renderSeries, renderStudy } from '#dicomweb/rendered.ts';
import { retrieveFrames } from '#dicomweb/retrieve-frames.ts';
import { retrieveInstance, retrieveSeries, retrieveStudy } from '#dicomweb/retrieve-instances.ts';
import { createLog, logBrokenAnswer } from '#embedded/log.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask, partsOf } from '#test/unit/dicomweb/asking.ts';

const RLE = '1.2.840.10008.1.2.5';
const ELE = '1.2.840.10008.1.2.1';
const JPEG_LS = '1.2.840.10008.1.2.4.80';
const MPEG4 = '1.2.840.10008.1.2.4.102';
const RAW = 'multipart/related; type="application/octet-stream"';
const image = {
  Rows: 2,
  Columns: 2,
  BitsAllocated: 8,
  BitsStored: 8,
  HighBit: 7,
  PixelRepresentation: 0,
  SamplesPerPixel: 1,
  PhotometricInterpretation: 'MONOCHROME2',
};
const header = new Uint8Array(64);
header.set([1, 0, 0, 0, 64]);
const whole = Buffer.concat([header, Buffer.from([3, 1, 2, 3, 4, 0])]);
/** one segment, at an offset behind the end */
const spoiled = Buffer.from(whole).fill(0xff, 4, 8);
const samples = Buffer.from([1, 2, 3, 4]);

const of = (instance: number): Record<string, string> => ({ study: uid(1), series: uid(2), instance: uid(instance) });

async function archive(...images: readonly (readonly Buffer[])[]) {
  const services = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
  const objects = images.map((frames, i) =>
    buildDicom(
      {
        SOPInstanceUID: uid(330 + i),
        InstanceNumber: i + 1,
        ...image,
        ...(frames.length > 1 && { NumberOfFrames: frames.length }),
      },
      { transferSyntaxUID: RLE, frames: [...frames] },
    ),
  );
  for (const object of objects) expect((await store(services, object)).kind).toBe('stored');
  return { services, objects };
}

const types = (parts: readonly { readonly headers: Readonly<Record<string, string>> }[]): (string | undefined)[] =>
  parts.map(({ headers }) => headers['content-type']);

/** Each of these broke off at the spoiled image, or was refused where that came first: of the others nothing could be used. */
describe.each([
  ['in the middle', [[whole], [spoiled], [whole]]],
  ['first', [[spoiled], [whole], [whole]]],
])('one spoiled image among many, %s,', (_, images) => {
  const at = images.findIndex(([frame]) => frame === spoiled);
  const each = <T>(good: T, bad: T): T[] => images.map((_image, i) => (i === at ? bad : good));

  test.each([
    ['study', retrieveStudy],
    ['series', retrieveSeries],
  ])('leaves as stored, and says so, when the %s is asked for in a named transfer syntax', async (_level, handler) => {
    const { services, objects } = await archive(...images);
    const accept = `multipart/related; type="application/dicom"; transfer-syntax=${JPEG_LS}`;
    const answer = await ask(services, handler, of(330), { accept });
    expect(answer.status).toBe(200);
    const parts = await partsOf(answer);
    const type = (syntax: string): string => `application/dicom; transfer-syntax=${syntax}`;
    expect(types(parts)).toEqual(each(type(JPEG_LS), type(RLE)));
    expect(parts[at]!.body.equals(objects[at]!)).toBe(true);
  });

  test('leaves as stored in a zip archive', async () => {
    const { services, objects } = await archive(...images);
    const answer = await ask(services, retrieveStudy, of(330), { accept: `application/zip; transfer-syntax=${ELE}` });
    expect(answer.status).toBe(200);
    expect(answer.body.includes(Buffer.from(objects[at]!))).toBe(true);
    for (const [i, object] of objects.entries()) expect(answer.body.includes(Buffer.from(object))).toBe(i === at);
    expect(answer.body.readUInt16LE(answer.body.length - 12)).toBe(3);
  });

  test.each([
    ['bulkdata of the study', retrieveStudyBulkdata],
    ['bulkdata of the series', retrieveSeriesBulkdata],
    ['pixeldata of the study', retrieveStudyPixelData],
  ])('is a codestream under its own name: %s', async (_what, handler) => {
    const { services } = await archive(...images);
    for (const accept of [RAW, `${RAW}; transfer-syntax=${ELE}`]) {
      const answer = await ask(services, handler, of(330), { accept });
      expect(answer.status).toBe(200);
      const parts = await partsOf(answer);
      const native = `application/octet-stream; transfer-syntax=${ELE}`;
      expect(types(parts)).toEqual(each(native, `image/dicom-rle; transfer-syntax=${RLE}`));
      expect(parts.map(({ body }) => body)).toEqual(each(samples, spoiled));
    }
  });

  test.each([
    ['study', renderStudy],
    ['series', renderSeries],
  ])('has problem details in the place of its picture when the %s is rendered', async (_level, handler) => {
    const { services } = await archive(...images);
    const answer = await ask(services, handler, of(330), { accept: 'multipart/related; type="image/png"' });
    expect(answer.status).toBe(200);
    const parts = await partsOf(answer);
    expect(types(parts)).toEqual(each('image/png', 'application/problem+json'));
    expect(parts.map((part) => part.headers['content-location']?.includes(uid(330 + at)))).toEqual(each(false, true));
    expect(JSON.parse(parts[at]!.body.toString())).toMatchObject({ status: 409, code: 'UNREADABLE_DATASET' });
  });
});

test('where nothing can be drawn the answer is an error', async () => {
  const { services } = await archive([spoiled], [spoiled]);
  const answer = await ask(services, renderStudy, of(330), { accept: 'multipart/related; type="image/png"' });
  expect([answer.status, String(answer.body)]).toEqual([409, 'UNREADABLE_DATASET']);
});

test('one spoiled frame of a list has problem details in the place of its picture; its samples break the list off', async () => {
  const { services } = await archive([whole, spoiled, whole]);
  const list = { ...of(330), frames: '1,2,3' };
  const drawn = await ask(services, renderFrames, list, { accept: 'multipart/related; type="image/png"' });
  expect(types(await partsOf(drawn))).toEqual(['image/png', 'application/problem+json', 'image/png']);
  expect((await ask(services, retrieveFrames, list, { accept: RAW })).body.toString()).toBe('UNREADABLE_DATASET');
  const stored = await ask(services, retrieveFrames, list, { accept: `${RAW}; transfer-syntax=*` });
  expect((await partsOf(stored))[1]!.body.equals(spoiled)).toBe(true);
});

test('who names a transfer syntax for one object alone is not given another', async () => {
  const { services } = await archive([spoiled]);
  for (const type of ['application/dicom', 'application/zip', 'multipart/related; type="application/dicom"']) {
    const accept = `${type}; transfer-syntax=${ELE}`;
    expect((await ask(services, retrieveInstance, of(330), { accept })).status).toBe(409);
  }
});

/** Images that the codecs do not read were left out of an answer that looked whole. */
test('pixel data in a named syntax that not all of a study can be had in are partial content', async () => {
  const { services } = await archive([whole]);
  const video = buildDicom(
    { SOPInstanceUID: uid(340), InstanceNumber: 9, ...image },
    { transferSyntaxUID: MPEG4, frames: [Buffer.from('a stream')] },
  );
  expect((await store(services, video)).kind).toBe('stored');
  const accept = `${RAW}; transfer-syntax=${ELE}`;
  for (const handler of [retrieveStudyPixelData, retrieveStudyBulkdata]) {
    const answer = await ask(services, handler, of(330), { accept });
    expect([answer.status, (await partsOf(answer)).length]).toEqual([206, 1]);
    expect((await ask(services, handler, of(330), { accept: RAW })).status).toBe(200);
  }

  const alone = memoryServices();
  expect((await store(alone, video)).kind).toBe('stored');
  expect((await ask(alone, retrieveStudyPixelData, of(340), { accept })).status).toBe(406);
});

/** Every such read was logged as a defect of the server. */
test('an answer that breaks off for what the object is, is no defect', () => {
  const lines: string[] = [];
  const report = logBrokenAnswer(createLog('info', (line) => void lines.push(line)));
  report(new PacsError('UNREADABLE_DATASET', 'the codestream ends early'));
  report(new PacsError('BUSY', 'the store is throttled'));
  report(new Error('a slip'));
  const said = lines.map((line) => JSON.parse(line) as { level: string; event: string });
  expect(said.map(({ level, event }) => [level, event])).toEqual([
    ['info', 'answer-broken-off'],
    ['error', 'defect'],
    ['error', 'defect'],
  ]);
});
