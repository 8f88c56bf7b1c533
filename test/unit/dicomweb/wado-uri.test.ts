import { beforeEach, describe, expect, test } from 'vitest';
import type { Services } from '#core/services.ts';
import type { Context, Handler } from '#dicomweb/handler.ts';
import { wadoUri } from '#dicomweb/wado-uri.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask } from './asking.ts';

const OBJECT = `requestType=WADO&studyUID=${uid(1)}&seriesUID=${uid(2)}&objectUID=${uid(3)}`;

describe('the URI service', () => {
  let services: Services;
  const object = buildDicom({ Rows: 4, Columns: 4 });
  const seen: { kind: string; accept: string | undefined; query: string; params: Context['params'] }[] = [];
  const recorder =
    (kind: string): Handler =>
    async ({ request, params }) => {
      seen.push({ kind, accept: request.headers.accept, query: decodeURIComponent(request.query.toString()), params });
      return { status: 200, headers: {}, body: kind };
    };
  const get = (query: string, accept = '*/*') =>
    ask(
      services,
      wadoUri(recorder('instance'), recorder('frames'), async ({ params, request }, { SOPInstanceUID }, { frame }) => {
        const query = decodeURIComponent(request.query.toString());
        seen.push({ kind: `state ${SOPInstanceUID} ${frame}`, accept: request.headers.accept, query, params });
        return { status: 200, headers: {}, body: 'state' };
      }),
      {},
      { query, accept },
    );

  beforeEach(async () => {
    seen.length = 0;
    services = memoryServices();
    await store(services, object);
  });

  test('gives the object', async () => {
    const { status, headers, body } = await get(`${OBJECT}&contentType=application/dicom`);
    expect([status, headers['content-type']]).toEqual([200, 'application/dicom']);
    expect(body.equals(object)).toBe(true);
    expect(
      (await get(`${OBJECT}&contentType=application%2Fdicom&transferSyntax=1.2.840.10008.1.2.1`)).body.equals(object),
    ).toBe(true);
  });

  test('gives what the Accept header names, where no contentType does and the header leaves nothing open', async () => {
    expect((await get(OBJECT, 'application/dicom')).body.equals(object)).toBe(true);
    await get(OBJECT, 'image/png');
    await get(OBJECT, 'image/avif,image/webp,image/png,image/*,*/*;q=0.8');
    await get(OBJECT, 'text/html');
    await get(`${OBJECT}&contentType=image/jpeg`, 'image/png');
    expect(seen.map(({ accept }) => accept)).toEqual(['image/png', 'image/jpeg', 'image/jpeg', 'image/jpeg']);
  });

  test('renders images, as JPEG unless told', async () => {
    await get(OBJECT);
    await get(`${OBJECT}&contentType=image/png&frameNumber=2`);
    expect(seen).toEqual([
      {
        kind: 'instance',
        accept: 'image/jpeg',
        query: '',
        params: { study: uid(1), series: uid(2), instance: uid(3) },
      },
      {
        kind: 'frames',
        accept: 'image/png',
        query: '',
        params: { study: uid(1), series: uid(2), instance: uid(3), frames: '2' },
      },
    ]);
  });

  test('translates window, size, region, quality and annotation', async () => {
    await get(
      `${OBJECT}&windowCenter=40&windowWidth=400&rows=128&columns=64&region=0.25,0,0.75,0.5&imageQuality=80&annotation=patient`,
    );
    expect(seen[0]!.query).toBe('window=40,400,linear&quality=80&annotation=patient&viewport=64,128,1,0,2,2');
    await get(`${OBJECT}&rows=2`);
    expect(seen[1]!.query).toBe('viewport=4,2');
  });

  test.each([
    ['no requestType', OBJECT.slice('requestType=WADO&'.length), 400],
    ['a UID that is none', OBJECT.replace(uid(3), 'x'), 400],
    ['a UID missing', OBJECT.replace('seriesUID', 'other'), 400],
    ['an object that is not there', OBJECT.replace(uid(3), uid(99)), 404],
    ['an anonymous object, which would not be one', `${OBJECT}&contentType=application/dicom&anonymize=yes`, 400],
    ['half a window', `${OBJECT}&windowCenter=40`, 400],
    ['a region outside', `${OBJECT}&region=0,0,2,1`, 400],
    ['a frame of an object', `${OBJECT}&contentType=application/dicom&frameNumber=1`, 400],
    ['rows that are no number', `${OBJECT}&rows=many`, 400],
  ])('refuses %s', async (_why, query, status) => {
    expect((await get(query)).status).toBe(status);
  });

  test('shows an image as a presentation state has it', async () => {
    const state = {
      PixelData: undefined,
      SOPClassUID: '1.2.840.10008.5.1.4.1.1.11.1',
      SOPInstanceUID: uid(9),
      SeriesInstanceUID: uid(8),
    };
    await store(services, buildDicom(state));
    const presented = `${OBJECT}&presentationUID=${uid(9)}&presentationSeriesUID=${uid(8)}`;
    expect((await get(`${presented}&frameNumber=1&rows=8`)).status).toBe(200);
    expect(seen).toMatchObject([{ kind: `state ${uid(9)} 1`, accept: 'image/jpeg', query: 'viewport=4,8' }]);
    for (const [query, status] of [
      [`${presented}&frameNumber=0`, 400],
      [`${presented}&frameNumber=2`, 404],
      [`${presented}&windowCenter=1&windowWidth=2`, 400],
      [`${presented}&region=0,0,1,1`, 400],
      [`${OBJECT}&presentationUID=${uid(9)}`, 400],
      [presented.replace(uid(9), uid(99)), 404],
    ] as const)
      expect([query, (await get(query)).status]).toEqual([query, status]);
  });

  test('gives a report as HTML or text', async () => {
    const report = {
      PixelData: undefined,
      SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.11',
      SOPInstanceUID: uid(5),
      Modality: 'SR',
    };
    await store(services, buildDicom(report));
    const query = OBJECT.replace(uid(3), uid(5));
    await get(`${query}&contentType=text/html`);
    expect(seen).toMatchObject([{ kind: 'instance', accept: 'text/html', params: { instance: uid(5) } }]);
    expect((await get(query)).headers['content-type']).toBe('application/dicom');
  });

  test('gives what has no pixels as the object, or a document as itself', async () => {
    const pdf = buildDicom({
      SOPInstanceUID: uid(4),
      PixelData: undefined,
      MIMETypeOfEncapsulatedDocument: 'application/pdf',
      EncapsulatedDocument: { vr: 'OB', value: Buffer.from(`%PDF${'x'.repeat(400)}`) },
    });
    await store(services, pdf);
    const document = OBJECT.replace(uid(3), uid(4));
    expect((await get(document)).headers['content-type']).toBe('application/dicom');
    const { headers, body } = await get(`${document}&contentType=application/pdf`);
    expect([headers['content-type'], body.subarray(0, 4).toString()]).toEqual(['application/pdf', '%PDF']);
  });
});
