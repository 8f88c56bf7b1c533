import { inflateSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { type ColourSpace, profileOf } from '#core/pixels/icc/spaces.ts';
import type { Services } from '#core/services.ts';
import type { Context, Handler } from '#dicomweb/handler.ts';
import * as rendered from '#dicomweb/rendered.ts';
import { wadoUri } from '#dicomweb/wado-uri.ts';
import { type BuilderDataSet, buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const pixels = new InProcessPixelEngine(codecModule(), { decodedFrameBytes: 64 * 1024 * 1024 });
afterAll(() => pixels.close());

const STUDY = uid(1);
const SERIES = uid(2);
const SC = '1.2.840.10008.5.1.4.1.1.7';
const words = (...values: number[]): Uint8Array => new Uint8Array(Int16Array.from(values).buffer);

/** A row of 16-bit pixels. */
const row = (values: number[], overrides: BuilderDataSet = {}): BuilderDataSet => ({
  SOPClassUID: SC,
  SOPInstanceUID: uid(3),
  StudyInstanceUID: STUDY,
  SeriesInstanceUID: SERIES,
  PatientName: 'Roe^Jane',
  Rows: 1,
  Columns: values.length,
  SamplesPerPixel: 1,
  PhotometricInterpretation: 'MONOCHROME2',
  BitsAllocated: 16,
  BitsStored: 16,
  HighBit: 15,
  PixelRepresentation: 1,
  PixelData: words(...values),
  ...overrides,
});

async function archive(...dataSets: BuilderDataSet[]) {
  const services = memoryServices({ pixels });
  for (const dataSet of dataSets) {
    const outcome = await store(services, buildDicom(dataSet));
    expect(outcome.kind, JSON.stringify(outcome)).toBe('stored');
  }
  const get = async (
    handler: Handler,
    query = '',
    accept = 'image/png',
    params: Record<string, string> = {},
    headers: Record<string, string> = {},
    from: Services = services,
  ) => {
    const context: Context = {
      services: from,
      principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
      root: 'http://localhost/dicomweb',
      facts: {},
      params: { study: STUDY, series: SERIES, instance: uid(3), ...params },
      request: {
        method: 'GET',
        path: '/',
        query: new URLSearchParams(query),
        headers: { accept, ...headers },
        body: (async function* () {})(),
        origin: 'http://localhost',
      },
    };
    const response = await handler(context);
    const chunks: Uint8Array[] = [];
    if (response.body instanceof Uint8Array) chunks.push(response.body);
    else if (typeof response.body === 'string') chunks.push(Buffer.from(response.body));
    else for await (const chunk of response.body ?? []) chunks.push(chunk);
    return { ...response, bytes: Buffer.concat(chunks) };
  };
  return { services, get };
}

const code = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'done',
    (error) => error.code,
  );

/** The pixels of a PNG as we write it. */
function pngPixels(png: Buffer): { columns: number; rows: number; channels: number; data: number[] } {
  const columns = png.readUInt32BE(16);
  const rows = png.readUInt32BE(20);
  const channels = png[25] === 2 ? 3 : 1;
  const parts: Buffer[] = [];
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at);
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(png.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const raw = inflateSync(Buffer.concat(parts));
  const stride = columns * channels;
  const data: number[] = [];
  for (let y = 0; y < rows; y++) {
    const filter = raw[y * (stride + 1)];
    for (let x = 0; x < stride; x++) {
      const above = filter === 2 ? data[(y - 1) * stride + x]! : 0;
      data.push((raw[y * (stride + 1) + 1 + x]! + above) & 255);
    }
  }
  return { columns, rows, channels, data };
}

const grays = async (dataSet: BuilderDataSet, query = ''): Promise<number[]> => {
  const { get } = await archive(dataSet);
  return pngPixels((await get(rendered.renderInstance, query)).bytes).data;
};

describe('the grayscale pipeline (PS3.3 C.11)', () => {
  test('without a window the range of the frame fills the screen', async () => {
    expect(await grays(row([-1000, 0, 1000]))).toStrictEqual([0, 128, 255]);
  });

  test('the rescaled values meet the window of the object, or the one asked for', async () => {
    const ct = row([0, 1024, 1064, 1264, 2000], {
      RescaleSlope: '1',
      RescaleIntercept: '-1024',
      WindowCenter: '40',
      WindowWidth: '401',
    });
    expect(await grays(ct)).toStrictEqual([0, 102, 128, 255, 255]);
    expect(await grays(ct, 'window=40,2,linear')).toStrictEqual([0, 0, 255, 255, 255]);
    expect(await grays(ct, 'window=40,400,linear-exact')).toStrictEqual([0, 102, 128, 255, 255]);
    expect((await grays(ct, 'window=40,400,sigmoid'))[2]).toBe(128);
  });

  test('MONOCHROME1 and an INVERSE shape turn black to white, padding stays black', async () => {
    const values = [0, 50, 100];
    expect(await grays(row(values, { PhotometricInterpretation: 'MONOCHROME1' }))).toStrictEqual([255, 128, 0]);
    expect(await grays(row(values, { PresentationLUTShape: 'INVERSE' }))).toStrictEqual([255, 128, 0]);
    expect(await grays(row([-2000, 0, 100], { PixelPaddingValue: -2000 }))).toStrictEqual([0, 0, 255]);
  });

  test('a VOI LUT is preferred to a window', async () => {
    const lut = { LUTDescriptor: [4, 10, 8], LUTData: words(0, 200, 100, 255) };
    expect(
      await grays(row([9, 11, 12, 99], { VOILUTSequence: [lut], WindowCenter: '1', WindowWidth: '1' })),
    ).toStrictEqual([0, 200, 100, 255]);
  });

  test('values of frames in functional groups', async () => {
    const group = (center: number): BuilderDataSet => ({
      FrameVOILUTSequence: [{ WindowCenter: String(center), WindowWidth: '100' }],
    });
    const dataSet = row([0, 100], {
      NumberOfFrames: '2',
      PixelData: words(0, 100, 0, 100),
      PerFrameFunctionalGroupsSequence: [group(50), group(500)],
    });
    const { get } = await archive(dataSet);
    const frame = async (n: string): Promise<number[]> =>
      pngPixels((await get(rendered.renderFrames, '', 'image/png', { frames: n })).bytes).data;
    expect((await frame('1'))[1]).toBe(255);
    expect((await frame('2'))[1]).toBe(0);
  });

  test('palettes become colours', async () => {
    const table = (...values: number[]): BuilderDataSet[string] => words(...values) as never;
    const dataSet = row([0, 1, 2], {
      PhotometricInterpretation: 'PALETTE COLOR',
      PixelRepresentation: 0,
      RedPaletteColorLookupTableDescriptor: [3, 0, 16],
      GreenPaletteColorLookupTableDescriptor: [3, 0, 16],
      BluePaletteColorLookupTableDescriptor: [3, 0, 16],
      RedPaletteColorLookupTableData: table(0xff00 - 65536, 0, 0),
      GreenPaletteColorLookupTableData: table(0, 0xff00 - 65536, 0),
      BluePaletteColorLookupTableData: table(0, 0, 0xff00 - 65536),
    });
    expect(await grays(dataSet)).toStrictEqual([255, 0, 0, 0, 255, 0, 0, 0, 255]);
  });
});

describe('parameters (PS3.18 §8.3.5.1)', () => {
  const wide = row([0, 100, 200, 300], { Rows: 2, PixelData: words(0, 100, 200, 300, 0, 100, 200, 300) });

  test('a viewport takes a part of the image and mirrors it when its width is negative', async () => {
    const { get } = await archive(wide);
    const part = pngPixels((await get(rendered.renderInstance, 'viewport=2,2,1,0,2,2&window=150,300')).bytes);
    expect([part.columns, part.rows]).toStrictEqual([2, 2]);
    const mirrored = pngPixels((await get(rendered.renderInstance, 'viewport=2,2,1,0,-2,2&window=150,300')).bytes);
    expect(mirrored.data.slice(0, 2)).toStrictEqual(part.data.slice(0, 2).reverse());
  });

  test.each([
    'quality=0',
    'quality=101',
    'quality=x',
    'window=1',
    'window=1,0,linear',
    'window=1,1,cubic',
    'viewport=0,1',
    'viewport=1',
    'viewport=99999,1',
    'viewport=1,1,9,9',
    'annotation=name',
    'annotation=none,patient',
    'iccprofile=cmyk',
  ])('%s is refused', async (query) => {
    const { get } = await archive(wide);
    expect(await code(get(rendered.renderInstance, query))).toBe('BAD_REQUEST');
  });

  test('annotations are burned in', async () => {
    const side = 200;
    const flat = row([], {
      Rows: side,
      Columns: side,
      WindowCenter: '500',
      WindowWidth: '10',
      PixelData: words(...new Array<number>(side * side).fill(0)),
    });
    const { get } = await archive(flat);
    const lit = async (query: string): Promise<number> =>
      pngPixels((await get(rendered.renderInstance, query)).bytes).data.filter((v) => v > 0).length;
    expect(await lit('')).toBe(0);
    expect(await lit('annotation=none')).toBe(0);
    expect(await lit('annotation=patient')).toBeGreaterThan(50);
  });
});

describe('colours (PS3.18 §8.3.5.1.5)', () => {
  const spot = (ICCProfile?: Uint8Array): BuilderDataSet =>
    row([], {
      Rows: 1,
      Columns: 2,
      SamplesPerPixel: 3,
      PlanarConfiguration: 0,
      PhotometricInterpretation: 'RGB',
      BitsAllocated: 8,
      BitsStored: 8,
      HighBit: 7,
      PixelRepresentation: 0,
      PixelData: Uint8Array.of(242, 203, 80, 255, 255, 255),
      ...(ICCProfile && { ICCProfile }),
    });
  /** ICC profile of a PNG */
  const profileIn = (png: Buffer): Buffer | undefined => {
    const at = png.indexOf('iCCP', 0, 'latin1');
    if (at < 0) return undefined;
    return inflateSync(png.subarray(at + 4 + 'ICC profile'.length + 2, at + 4 + png.readUInt32BE(at - 4)));
  };

  test.each<[string, ColourSpace | undefined, readonly number[]]>([
    ['', undefined, [242, 203, 80]],
    ['iccprofile=no', undefined, [242, 203, 80]],
    ['iccprofile=yes', 'srgb', [242, 203, 80]],
    ['iccprofile=srgb', 'srgb', [242, 203, 80]],
    ['iccprofile=adobergb', 'adobergb', [231, 202, 90]],
    ['iccprofile=displayp3', 'displayp3', [236, 204, 101]],
  ])('%s: the profile is of %s', async (query, space, colour) => {
    const { get } = await archive(spot());
    const { bytes } = await get(rendered.renderInstance, query);
    expect(profileIn(bytes)).toEqual(space && Buffer.from(profileOf(space)));
    for (const [i, value] of pngPixels(bytes).data.slice(0, 3).entries())
      expect(Math.abs(value - colour[i]!)).toBeLessThanOrEqual(1);
  });

  test('yes passes on the profile of the object; another space is made by it', async () => {
    const own = profileOf('displayp3');
    const { get } = await archive(spot(own));
    const kept = await get(rendered.renderInstance, 'iccprofile=yes');
    expect(profileIn(kept.bytes)).toEqual(Buffer.from(own));
    expect(pngPixels(kept.bytes).data).toEqual([242, 203, 80, 255, 255, 255]);
    const turned = pngPixels((await get(rendered.renderInstance, 'iccprofile=srgb')).bytes).data;
    expect(turned.slice(3)).toEqual([255, 255, 255]);
    expect(turned[0]).toBeGreaterThan(242);
    const jpeg = (await get(rendered.renderInstance, 'iccprofile=rommrgb', 'image/jpeg')).bytes;
    expect(jpeg.includes(Buffer.from(profileOf('rommrgb')))).toBe(true);
  });

  test('gray becomes RGB for the profile to speak of; unasked it stays gray', async () => {
    const { get } = await archive(row([-1000, 0, 1000]));
    expect(pngPixels((await get(rendered.renderInstance)).bytes).channels).toBe(1);
    const { channels, data } = pngPixels((await get(rendered.renderInstance, 'iccprofile=srgb')).bytes);
    expect([channels, data]).toEqual([3, [0, 0, 0, 128, 128, 128, 255, 255, 255]]);
  });

  test('a profile that cannot be read is in the way only where it is needed', async () => {
    const { get } = await archive(spot(new Uint8Array(200)));
    expect((await get(rendered.renderInstance)).status).toBe(200);
    expect(await code(get(rendered.renderInstance, 'iccprofile=srgb'))).toBe('UNREADABLE_DATASET');
  });

  test('a GIF, which has no profile, is not made in colours that it could not name', async () => {
    const { get } = await archive(row([0, 1], { NumberOfFrames: '2', PixelData: words(0, 1, 0, 2) }));
    expect((await get(rendered.renderInstance, 'iccprofile=srgb', 'image/gif')).status).toBe(200);
    expect(await code(get(rendered.renderInstance, 'iccprofile=adobergb', 'image/gif'))).toBe('NOT_ACCEPTABLE');
  });
});

describe('what a resource is rendered as', () => {
  test('a cine loop: its first frame alone, every frame as parts, a GIF', async () => {
    const { get } = await archive(row([0, 1], { NumberOfFrames: '3', PixelData: words(0, 1, 0, 2, 0, 3) }));
    expect((await get(rendered.renderInstance, '', 'image/jpeg')).headers['content-type']).toBe('image/jpeg');
    const parts = await get(rendered.renderInstance, '', 'multipart/related; type="image/png"');
    expect(parts.bytes.toString('latin1').match(/content-type: image\/png/gi)).toHaveLength(3);
    expect((await get(rendered.renderInstance, '', 'image/gif')).bytes.toString('latin1', 0, 6)).toBe('GIF89a');
    expect(await code(get(rendered.renderFrames, '', 'image/png', { frames: '1,2' }))).toBe('NOT_ACCEPTABLE');
    expect(await code(get(rendered.renderFrames, '', 'image/png', { frames: '4' }))).toBe('NOT_FOUND');
    expect(await code(get(rendered.renderFrames, '', 'image/png', { frames: '0' }))).toBe('BAD_REQUEST');
  });

  test('an image has a strong ETag and is not drawn again for who has it', async () => {
    const { get } = await archive(row([0, 1]));
    const first = await get(rendered.renderInstance);
    const again = await get(rendered.renderInstance, '', 'image/png', {}, { 'if-none-match': first.headers.etag! });
    expect(again.status).toBe(304);
    expect((await get(rendered.renderInstance, 'quality=5')).headers.etag).not.toBe(first.headers.etag);
  });

  test('a video leaves as it is, and in ranges', async () => {
    const stream = new Uint8Array(1_000).map((_, i) => i & 255);
    const services = memoryServices({ pixels });
    const options = { transferSyntaxUID: '1.2.840.10008.1.2.4.102', frames: [stream] };
    await store(
      services,
      buildDicom({ SOPClassUID: '1.2.840.10008.5.1.4.1.1.77.1.1.1', NumberOfFrames: '50' }, options),
    );
    const { get } = await archive();
    const ask = (headers: Record<string, string>) =>
      get(rendered.renderInstance, '', 'video/mp4', {}, headers, services);
    const whole = await ask({});
    expect(whole.headers['content-type']).toBe('video/mp4');
    expect(Buffer.compare(whole.bytes, stream)).toBe(0);
    const part = await ask({ range: 'bytes=10-19' });
    expect([part.status, part.headers['content-range'], [...part.bytes]]).toStrictEqual([
      206,
      'bytes 10-19/1000',
      [...stream.subarray(10, 20)],
    ]);
  });

  test('a report is a page that runs nothing', async () => {
    const name = (meaning: string): BuilderDataSet[] => [
      { CodeValue: '1', CodingSchemeDesignator: 'X', CodeMeaning: meaning },
    ];
    const report: BuilderDataSet = {
      PixelData: undefined,
      SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.11',
      SOPInstanceUID: uid(3),
      StudyInstanceUID: STUDY,
      SeriesInstanceUID: SERIES,
      ValueType: 'CONTAINER',
      ConceptNameCodeSequence: name('Chest report'),
      ContentSequence: [
        { ValueType: 'TEXT', ConceptNameCodeSequence: name('Finding'), TextValue: '<script>alert(1)</script>' },
      ],
    };
    const { get } = await archive(report);
    const page = await get(rendered.renderInstance, '', 'text/html');
    expect(page.bytes.toString()).toContain('&lt;script&gt;');
    expect(page.bytes.toString()).not.toContain('<script');
    expect(page.headers['content-security-policy']).toContain('sandbox');
    expect((await get(rendered.renderInstance, '', 'text/plain')).bytes.toString()).toContain('Finding: <script>');
    expect(await code(get(rendered.renderInstance, '', 'image/png'))).toBe('NOT_ACCEPTABLE');
    const icon = await get(rendered.thumbnailInstance);
    expect(pngPixels(icon.bytes)).toMatchObject({ columns: 128, rows: 128 });
  });

  /** a presentation state of the image, in a series of its own */
  const STATE: BuilderDataSet = {
    PixelData: undefined,
    SOPClassUID: '1.2.840.10008.5.1.4.1.1.11.1',
    SOPInstanceUID: uid(9),
    StudyInstanceUID: STUDY,
    SeriesInstanceUID: uid(8),
    ReferencedSeriesSequence: [
      {
        SeriesInstanceUID: SERIES,
        ReferencedImageSequence: [{ ReferencedSOPClassUID: SC, ReferencedSOPInstanceUID: uid(3) }],
      },
    ],
    SoftcopyVOILUTSequence: [{ WindowCenter: '50', WindowWidth: '100', VOILUTFunction: 'LINEAR_EXACT' }],
  };

  test('a presentation state shows its image: window, shape, turned by 90 degrees', async () => {
    const state: BuilderDataSet = {
      ...STATE,
      PresentationLUTShape: 'INVERSE',
      ImageRotation: 90,
      ImageHorizontalFlip: 'N',
    };
    const { get } = await archive(row([0, 50, 100]), state);
    const image = pngPixels(
      (await get(rendered.renderInstance, '', 'image/png', { series: uid(8), instance: uid(9) })).bytes,
    );
    expect(image).toStrictEqual({ columns: 1, rows: 3, channels: 1, data: [255, 128, 0] });
    const uri = wadoUri(rendered.renderInstance, rendered.renderFrames, rendered.renderPresented);
    const object = `requestType=WADO&contentType=image/png&studyUID=${STUDY}&seriesUID=${SERIES}&objectUID=${uid(3)}`;
    const presented = await get(uri, `${object}&presentationSeriesUID=${uid(8)}&presentationUID=${uid(9)}`);
    expect(pngPixels(presented.bytes)).toStrictEqual(image);
    const own = `${object}&presentationSeriesUID=${SERIES}&presentationUID=${uid(3)}`;
    expect(await code(get(uri, own))).toBe('BAD_REQUEST');
  });

  test('a presentation state shows the overlays that it puts on layers, and its graphics, in the order and gray of these', async () => {
    const bits = (data: number) => ({ vr: 'OW', value: Uint8Array.of(data, 0) });
    const overlay = (group: string, data: number): BuilderDataSet => ({
      [`${group}0010`]: { vr: 'US', value: 1 },
      [`${group}0011`]: { vr: 'US', value: 4 },
      [`${group}0040`]: { vr: 'CS', value: 'G' },
      [`${group}0050`]: { vr: 'SS', value: [1, 1] },
      [`${group}0100`]: { vr: 'US', value: 1 },
      [`${group}0102`]: { vr: 'US', value: 0 },
      [`${group}3000`]: bits(data),
    });
    const point = (layer: string, column: number) => ({
      GraphicLayer: layer,
      GraphicObjectSequence: [
        {
          GraphicAnnotationUnits: 'PIXEL',
          GraphicDimensions: 2,
          NumberOfGraphicPoints: 1,
          GraphicData: [column, 1],
          GraphicType: 'POINT',
        },
      ],
    });
    const state: BuilderDataSet = {
      ...STATE,
      GraphicLayerSequence: [
        { GraphicLayer: 'TOP', GraphicLayerOrder: 2, GraphicLayerRecommendedDisplayGrayscaleValue: 0x4000 },
        { GraphicLayer: 'BASE', GraphicLayerOrder: 1, GraphicLayerRecommendedDisplayGrayscaleValue: 0x8000 },
      ],
      GraphicAnnotationSequence: [point('TOP', 4), point('BASE', 4), point('BASE', 3)],
      // of the image, on a layer; its other one is on none
      60001001: { vr: 'CS', value: 'BASE' },
    };
    const image = row([0, 0, 0, 0], { ...overlay('6000', 0b0001), ...overlay('6002', 0b0010) });
    const { get } = await archive(image, state);
    expect(pngPixels((await get(rendered.renderInstance, 'window=50,100,linear-exact')).bytes).data).toEqual([
      255, 255, 0, 0,
    ]);
    const params = { series: uid(8), instance: uid(9) };
    const { data } = pngPixels((await get(rendered.renderInstance, '', 'image/png', params)).bytes);
    expect(data).toEqual([0x80, 0, 0x80, 0x40]);
  });

  test('a study is represented by the middle image of its largest image series', async () => {
    const others = [1, 2, 3].map((n) =>
      row([n, n], {
        SOPInstanceUID: uid(30 + n),
        SeriesInstanceUID: uid(20),
        InstanceNumber: String(n),
        WindowCenter: '2',
        WindowWidth: '4',
        VOILUTFunction: 'LINEAR_EXACT',
      }),
    );
    const { get } = await archive(row([0, 1]), ...others);
    const image = pngPixels((await get(rendered.renderStudy)).bytes);
    expect(image.data).toStrictEqual([128, 128]);
    const all = await get(rendered.renderStudy, '', 'multipart/related; type="image/png"');
    expect(all.bytes.toString('latin1').match(/content-type: image\/png/gi)).toHaveLength(4);
    const thumbnail = await get(rendered.thumbnailStudy, 'viewport=64,64', 'image/jpeg');
    expect(thumbnail.headers['content-type']).toBe('image/jpeg');
    expect(await code(get(rendered.thumbnailStudy, 'viewport=64'))).toBe('BAD_REQUEST');
  });

  test('a study without images says that its instances may be rendered one by one', async () => {
    const { get } = await archive({
      SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.11',
      Modality: 'SR',
      PixelData: undefined,
    });
    for (const accept of ['image/png', 'multipart/related; type="image/png"'])
      await expect(get(rendered.renderStudy, '', accept)).rejects.toThrow('its instances may have rendered forms');
  });
});
