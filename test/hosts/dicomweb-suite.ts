import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DataSet } from '#core/dicom/types.ts';
import { dataSetToXml } from '#core/dicom/xml.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, CT_IMAGE_STORAGE, uid } from '#test/fixtures/dicom-builder.ts';
import { type Host, multipart, partsOf } from './client.ts';

type Json = Record<string, { vr: string; Value?: never[] }>;
const values = (dataSet: Json | undefined, tag: string): unknown[] => dataSet?.[tag]?.Value ?? [];
const SQ = (dataSet: Json, tag: string): Json[] => values(dataSet, tag) as Json[];

const pixels = (seed: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, i) => (i * 7 + seed) % 251);
/** Study uid(1): series uid(2) with three CT slices; series uid(3) with one of 3 frames. */
const slice = (n: number, more: object = {}): Uint8Array =>
  buildDicom({ SOPInstanceUID: uid(100 + n), InstanceNumber: n, PixelData: pixels(n), ...more });
const cine = buildDicom({
  SOPInstanceUID: uid(200),
  SeriesInstanceUID: uid(3),
  SeriesNumber: 2,
  NumberOfFrames: 3,
  PixelData: Buffer.concat([pixels(1), pixels(2), pixels(3)]),
});

const STUDY = `/dicomweb/studies/${uid(1)}`;
const SERIES = `${STUDY}/series/${uid(2)}`;
const INSTANCE = `${SERIES}/instances/${uid(101)}`;
const CINE = `${STUDY}/series/${uid(3)}/instances/${uid(200)}`;

/** What a host does otherwise, and why: its own tests then show how. */
export interface DeclaredDifferences {
  readonly uploadsElsewhere?: string;
}

/** The same promises through every host. Each host starts with an empty archive, access control off. */
export function dicomwebSuite(name: string, start: () => Promise<Host>, declared: DeclaredDifferences = {}): void {
  describe(`DICOMweb through ${name}`, () => {
    let host: Host;
    const get = (path: string, headers: Record<string, string> = {}) => host.fetch(path, { headers });
    const json = async (path: string): Promise<Json[]> => JSON.parse((await get(path)).body.toString()) as Json[];

    beforeAll(async () => {
      host = await start();
      const stored = await host.fetch('/dicomweb/studies', multipart([slice(1), slice(2), slice(3), cine]));
      expect(stored.status).toBe(200);
    });
    afterAll(() => host?.close());

    describe('store', () => {
      test('each instance is answered with its URL', async () => {
        const answer = await host.fetch('/dicomweb/studies', multipart([slice(1)]));
        expect(answer.status).toBe(200);
        expect(answer.headers['content-type']).toBe('application/dicom+json');
        const body = JSON.parse(answer.body.toString()) as Json;
        expect(values(body, '00081190')).toEqual([`${host.origin}${STUDY}`]);
        expect(SQ(body, '00081199')[0]).toMatchObject({
          '00081150': { vr: 'UI', Value: [CT_IMAGE_STORAGE] },
          '00081155': { vr: 'UI', Value: [uid(101)] },
          '00081190': { vr: 'UR', Value: [`${host.origin}${INSTANCE}`] },
        });
      });

      test('some stored, some not: 202, and both are told', async () => {
        const rubbish = new TextEncoder().encode('this is not DICOM');
        const fine = slice(1, { StudyInstanceUID: uid(11), SeriesInstanceUID: uid(12), SOPInstanceUID: uid(13) });
        const answer = await host.fetch('/dicomweb/studies', multipart([rubbish, fine]));
        expect(answer.status).toBe(202);
        const body = JSON.parse(answer.body.toString()) as Json;
        expect(values(SQ(body, '00081199')[0], '00081155')).toEqual([uid(13)]);
        expect(values(SQ(body, '0008119A')[0], '00081197')).toEqual([0xc000]);
      });

      test.skipIf(declared.uploadsElsewhere)('in a store transaction: parts, then the same answer', async () => {
        const object = slice(7, { StudyInstanceUID: uid(71), SeriesInstanceUID: uid(72), SOPInstanceUID: uid(73) });
        const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
        const send = async (method: string, path: string, value: object) => {
          const answer = await host.fetch(path, {
            method,
            headers: { 'content-type': 'application/json' },
            body: Buffer.from(JSON.stringify(value)),
          });
          return { status: answer.status, body: JSON.parse(answer.body.toString()) };
        };
        const options = await host.fetch('/dicomweb', { method: 'OPTIONS' });
        const [, base] = /<([^>]+)>; rel="urn:nephos:rel:store-transactions"/.exec(options.headers.link ?? '') ?? [];
        expect(base).toBe(`${host.origin}/api/transactions`);
        const path = '/api/transactions/5f8a2c10-0000-4000-8000-000000000001';
        const created = await send('PUT', path, { objects: [{ sizeBytes: object.length, sha256: sha256(object) }] });
        expect([created.status, created.body.objects[0].parts]).toEqual([201, 1]);
        const granted = await send('POST', `${path}/parts`, {
          object: 1,
          parts: [{ part: 1, sha256: sha256(object) }],
        });
        const { method, url, headers } = granted.body.uploads[0];
        const { pathname } = new URL(url);
        expect((await host.fetch(pathname, { method, headers, body: object.subarray(1) })).status).toBe(400);
        expect((await host.fetch(pathname, { method, headers, body: object })).status).toBe(204);
        for (let i = 0; i < 2; i++) {
          const committed = await host.fetch(`${path}/commit`, { method: 'POST' });
          expect(committed.status).toBe(200);
          expect(committed.headers['content-type']).toBe('application/dicom+json');
          const body = JSON.parse(committed.body.toString()) as Json;
          expect(values(body, '00081190')).toEqual([`${host.origin}/dicomweb/studies/${uid(71)}`]);
        }
        const stored = await get(`/dicomweb/studies/${uid(71)}/series/${uid(72)}/instances/${uid(73)}`, {
          accept: 'application/dicom; transfer-syntax=*',
        });
        expect(stored.body.equals(Buffer.from(object))).toBe(true);
      });

      test('none stored: 409', async () => {
        const other = await host.fetch(`/dicomweb/studies/${uid(999)}`, multipart([slice(1)]));
        expect(other.status).toBe(409);
        expect(values(SQ(JSON.parse(other.body.toString()), '00081198')[0], '00081197')).toEqual([0xa900]);
        expect((await host.fetch('/dicomweb/studies', multipart([new Uint8Array(200)]))).status).toBe(409);
      });

      test('the same UID with other bytes is held, and told as failed', async () => {
        const changed = slice(2, { PatientID: 'P-OTHER' });
        const answer = await host.fetch('/dicomweb/studies', multipart([changed]));
        expect(answer.status).toBe(409);
        expect(values(SQ(JSON.parse(answer.body.toString()), '00081198')[0], '00081197')).toEqual([0x0110]);
        const held = JSON.parse((await get('/api/quarantine')).body.toString());
        expect(held.items).toMatchObject([{ kind: 'otherPatient', SOPInstanceUID: uid(102) }]);
        const content = await get(`/api/quarantine/${held.items[0].id}/content`);
        expect(content.body.equals(Buffer.from(changed))).toBe(true);
        const [metadata] = JSON.parse((await get(`/api/quarantine/${held.items[0].id}/metadata`)).body.toString());
        expect(values(metadata, '00100020')).toEqual(['P-OTHER']);
      });

      test.each([
        ['text/plain', 415],
        ['multipart/related; type="text/plain"; boundary=x', 415],
        ['multipart/related; type="application/dicom"', 400],
      ])('Content-Type %s: %i', async (type, status) => {
        const answer = await host.fetch('/dicomweb/studies', {
          method: 'POST',
          headers: { 'content-type': type },
          body: slice(1),
        });
        expect(answer.status).toBe(status);
      });

      test('a body without parts, or cut off, is refused; what was whole before the cut is stored and told', async () => {
        const whole = multipart([slice(1, { SOPInstanceUID: uid(60) }), slice(1, { SOPInstanceUID: uid(61) })]);
        const cut = await host.fetch('/dicomweb/studies', {
          ...whole,
          body: whole.body.subarray(0, whole.body.length - 300),
        });
        expect(cut.status).toBe(202);
        expect(SQ(JSON.parse(cut.body.toString()), '00081199')).toHaveLength(1);
        expect((await host.fetch('/dicomweb/studies', multipart([]))).status).toBe(400);
        await host.fetch(`${SERIES}/instances/${uid(60)}`, { method: 'DELETE' });
      });

      test('the answer comes as XML where asked', async () => {
        const request = multipart([slice(1)]);
        const answer = await host.fetch('/dicomweb/studies', {
          ...request,
          headers: { ...request.headers, accept: 'application/dicom+xml' },
        });
        expect(answer.headers['content-type']).toBe('application/dicom+xml');
        expect(answer.body.toString()).toContain(uid(101));
        const none = await host.fetch('/dicomweb/studies', {
          ...request,
          headers: { ...request.headers, accept: 'image/png' },
        });
        expect(none.status).toBe(406);
      });

      test.each([
        ['JSON', 'application/dicom+json', 70],
        ['XML', 'application/dicom+xml', 700],
      ])('metadata and bulk data apart, as %s: the object is put together', async (_, type, n) => {
        const metadata: DataSet = {
          '00080016': { vr: 'UI', Value: [CT_IMAGE_STORAGE] },
          '00080018': { vr: 'UI', Value: [uid(n + 1)] },
          '0020000D': { vr: 'UI', Value: [uid(n)] },
          '0020000E': { vr: 'UI', Value: [uid(n + 2)] },
          '00080060': { vr: 'CS', Value: ['CT'] },
          '00100010': { vr: 'PN', Value: [{ Alphabetic: `Müller^Änne${n}` }] },
          '00280002': { vr: 'US', Value: [1] },
          '00280004': { vr: 'CS', Value: ['MONOCHROME2'] },
          '00280010': { vr: 'US', Value: [4] },
          '00280011': { vr: 'US', Value: [4] },
          '00280100': { vr: 'US', Value: [16] },
          '00280101': { vr: 'US', Value: [16] },
          '00280102': { vr: 'US', Value: [15] },
          '00280103': { vr: 'US', Value: [0] },
          '7FE00010': { vr: 'OW', BulkDataURI: 'pixels/1' },
        };
        const body = type === 'application/dicom+json' ? JSON.stringify([metadata]) : dataSetToXml(metadata, () => '');
        const answer = await host.fetch(
          '/dicomweb/studies',
          multipart(
            [
              { headers: { 'Content-Type': type }, body },
              {
                headers: { 'Content-Type': 'application/octet-stream', 'Content-Location': 'pixels/1' },
                body: pixels(5),
              },
            ],
            type,
          ),
        );
        expect(answer.status).toBe(200);
        const frame = await get(`/dicomweb/studies/${uid(n)}/series/${uid(n + 2)}/instances/${uid(n + 1)}/frames/1`, {
          accept: 'application/octet-stream',
        });
        expect(frame.body.equals(Buffer.from(pixels(5)))).toBe(true);
        const [study] = await json(`/dicomweb/studies?PatientName=m%C3%BCller^*${n}`);
        expect(values(study, '0020000D')).toEqual([uid(n)]);
        const lost = await host.fetch(
          '/dicomweb/studies',
          multipart([{ headers: { 'Content-Type': type }, body }], type),
        );
        expect(lost.status).toBe(409);
      });
    });

    describe('search', () => {
      test('the study is found by what it is', async () => {
        for (const query of [
          'PatientName=Doe*',
          'PatientName=*oe*',
          '00100020=P-1',
          `StudyInstanceUID=${uid(1)}`,
          'StudyDate=20240101-20240201',
          'ModalitiesInStudy=CT',
          'AccessionNumber=A-1',
        ]) {
          const found = (await json(`/dicomweb/studies?${query}`)).map((study) => values(study, '0020000D')[0]);
          expect(found, query).toContain(uid(1));
        }
      });

      test('and not by what it is not', async () => {
        for (const query of ['PatientName=Roe', 'StudyDate=20250101-', 'ModalitiesInStudy=MR', 'PatientID=P-']) {
          const found = (await json(`/dicomweb/studies?${query}`)).map((study) => values(study, '0020000D')[0]);
          expect(found, query).not.toContain(uid(1));
        }
      });

      test('counts and modalities are those of its instances', async () => {
        const [study] = await json(`/dicomweb/studies?StudyInstanceUID=${uid(1)}`);
        expect(values(study, '00201206')).toEqual([2]);
        expect(values(study, '00201208')).toEqual([4]);
        expect(values(study, '00080061')).toEqual(['CT']);
        expect(values(study, '00081190')).toEqual([`${host.origin}${STUDY}`]);
      });

      test('series and instances, within the study and across', async () => {
        const series = await json(`${STUDY}/series`);
        expect(series.map((one) => values(one, '0020000E')[0])).toEqual([uid(2), uid(3)]);
        expect(series.map((one) => values(one, '00201209')[0])).toEqual([3, 1]);
        const instances = await json(`${SERIES}/instances`);
        expect(instances.map((one) => values(one, '00080018')[0])).toEqual([uid(101), uid(102), uid(103)]);
        expect(await json(`${STUDY}/instances`)).toHaveLength(4);
        expect(values((await json(`/dicomweb/instances?SOPInstanceUID=${uid(103)}`))[0], '00200013')).toEqual([3]);
        expect(values((await json(`/dicomweb/series?SeriesInstanceUID=${uid(3)}`))[0], '0020000D')).toEqual([uid(1)]);
      });

      test('a malformed query is refused by name', async () => {
        const answer = await get('/dicomweb/studies?limit=many');
        expect(answer.status).toBe(400);
        expect(JSON.parse(answer.body.toString()).title).toMatch(/limit/);
      });
    });

    describe('retrieve', () => {
      test('an instance comes back byte for byte, with a strong ETag', async () => {
        const answer = await get(INSTANCE, { accept: 'application/dicom; transfer-syntax=*' });
        expect(answer.status).toBe(200);
        expect(answer.body.equals(Buffer.from(slice(1)))).toBe(true);
        expect(answer.headers.etag).toMatch(/^"[^"]+"$/);
        const again = await get(INSTANCE, {
          accept: 'application/dicom; transfer-syntax=*',
          'if-none-match': answer.headers.etag!,
        });
        expect(again).toMatchObject({ status: 304 });
        expect(again.body).toHaveLength(0);
      });

      test('a range of it', async () => {
        const answer = await get(INSTANCE, { accept: 'application/dicom; transfer-syntax=*', range: 'bytes=128-131' });
        expect(answer.status).toBe(206);
        expect(answer.body.toString()).toBe('DICM');
        expect(answer.headers['content-range']).toBe(`bytes 128-131/${slice(1).length}`);
        const beyond = await get(INSTANCE, {
          accept: 'application/dicom; transfer-syntax=*',
          range: 'bytes=99999999-',
        });
        expect(beyond.status).toBe(416);
        expect(beyond.headers['content-range']).toBe(`bytes */${slice(1).length}`);
        expect(JSON.parse(beyond.body.toString())).toMatchObject({ status: 416, code: 'RANGE_NOT_SATISFIABLE' });
      });

      test('HEAD answers as GET, without the body', async () => {
        const headers = { accept: 'application/dicom; transfer-syntax=*' };
        const answer = await host.fetch(INSTANCE, { method: 'HEAD', headers });
        expect(answer.status).toBe(200);
        expect(answer.headers['content-length']).toBe(String(slice(1).length));
        expect(answer.body).toHaveLength(0);
      });

      test('study and series as multipart, every object whole', async () => {
        const accept = 'multipart/related; type="application/dicom"; transfer-syntax=*';
        const study = partsOf(await get(STUDY, { accept })).map(({ body }) => body.toString('latin1'));
        const expected = [slice(1), slice(2), slice(3), cine].map((bytes) => Buffer.from(bytes).toString('latin1'));
        expect(study.sort()).toEqual(expected.sort());
        expect(partsOf(await get(SERIES, { accept }))).toHaveLength(3);
      });

      test('frames: one, several, in the order asked, and none beyond the last', async () => {
        const one = await get(`${CINE}/frames/2`, { accept: 'application/octet-stream' });
        expect(one.body.equals(Buffer.from(pixels(2)))).toBe(true);
        const accept = 'multipart/related; type="application/octet-stream"; transfer-syntax=*';
        const several = partsOf(await get(`${CINE}/frames/3,1`, { accept }));
        expect(several.map(({ body }) => body[0])).toEqual([pixels(3)[0], pixels(1)[0]]);
        expect((await get(`${CINE}/frames/4`, { accept })).status).toBe(404);
        expect((await get(`${CINE}/frames/0`, { accept })).status).toBe(400);
      });

      test('metadata, whose BulkDataURI resolves to the pixel data', async () => {
        for (const [path, count] of [
          [STUDY, 4],
          [SERIES, 3],
          [INSTANCE, 1],
        ] as const) {
          expect(await json(`${path}/metadata`)).toHaveLength(count);
        }
        const [metadata] = (await json(`${INSTANCE}/metadata`)) as unknown as [Record<string, { BulkDataURI: string }>];
        const uri = metadata['7FE00010']!.BulkDataURI;
        expect(uri.startsWith(`${host.origin}${INSTANCE}/bulkdata/`)).toBe(true);
        const bulk = await get(uri.slice(host.origin.length), { accept: 'application/octet-stream' });
        expect(bulk.body.equals(Buffer.from(pixels(1)))).toBe(true);
      });

      test('rendered and thumbnail images', async () => {
        const rendered = await get(`${INSTANCE}/rendered`, { accept: 'image/jpeg' });
        expect(rendered.headers['content-type']).toBe('image/jpeg');
        expect(rendered.body.subarray(0, 2)).toEqual(Buffer.from([0xff, 0xd8]));
        expect((await get(`${CINE}/frames/2/rendered`, { accept: 'image/png' })).body.toString('latin1', 1, 4)).toBe(
          'PNG',
        );
        for (const path of [STUDY, SERIES, INSTANCE]) expect((await get(`${path}/thumbnail`)).status).toBe(200);
      });

      test('transcoded: the same samples in another transfer syntax, and back', async () => {
        const accept = 'application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80';
        const answer = await get(INSTANCE, { accept });
        expect(answer.status).toBe(200);
        const transcoded = buildDicomUnder(answer.body, uid(81));
        expect((await host.fetch('/dicomweb/studies', multipart([transcoded]))).status).toBe(200);
        const back = await get(`/dicomweb/studies/${uid(1)}/series/${uid(2)}/instances/${uid(81)}/frames/1`, {
          accept: 'application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1',
        });
        expect(back.body.equals(Buffer.from(pixels(1)))).toBe(true);
        await host.fetch(`${SERIES}/instances/${uid(81)}`, { method: 'DELETE' });
      });

      test('a zip', async () => {
        const answer = await get(SERIES, { accept: 'application/zip' });
        expect(answer.headers['content-type']).toBe('application/zip');
        expect(answer.body.toString('latin1', 0, 2)).toBe('PK');
      });

      test('by URI (WADO-URI)', async () => {
        const query = `requestType=WADO&studyUID=${uid(1)}&seriesUID=${uid(2)}&objectUID=${uid(101)}`;
        const object = await get(`/wado?${query}&contentType=application/dicom`);
        expect(object.body.toString('latin1', 128, 132)).toBe('DICM');
        expect((await get(`/wado?${query}`)).headers['content-type']).toBe('image/jpeg');
        expect((await get('/wado?requestType=WADO')).status).toBe(400);
      });

      test.each([
        [`/dicomweb/studies/${uid(404)}`, 404],
        [`${STUDY}/series/${uid(404)}/metadata`, 404],
        [`${STUDY}/series/${uid(3)}/instances/${uid(101)}`, 404],
        ['/dicomweb/studies/not-a-uid', 400],
        ['/dicomweb/nothing', 404],
      ])('%s: %i', async (path, status) => {
        const answer = await get(path, { accept: '*/*' });
        expect(answer.status).toBe(status);
        expect(answer.headers['content-type']).toBe('application/problem+json');
      });

      test('what cannot be had is 406, and says what can', async () => {
        const answer = await get(INSTANCE, { accept: 'text/css' });
        expect(answer.status).toBe(406);
        expect(JSON.parse(answer.body.toString()).details.available.join()).toContain('application/dicom');
      });

      test('a method that is not there: 405 with those that are', async () => {
        const answer = await host.fetch(`${STUDY}/metadata`, { method: 'POST' });
        expect(answer.status).toBe(405);
        expect(answer.headers.allow).toContain('GET');
      });
    });

    test('storage is committed of what is here, and of nothing else', async () => {
      const reference = (sop: string) => ({
        '00081150': { vr: 'UI', Value: [CT_IMAGE_STORAGE] },
        '00081155': { vr: 'UI', Value: [sop] },
      });
      const body = [{ '00081199': { vr: 'SQ', Value: [reference(uid(101)), reference(uid(998))] } }];
      const answer = await host.fetch(`/dicomweb/commitment-requests/${uid(900)}`, {
        method: 'POST',
        headers: { 'content-type': 'application/dicom+json' },
        body: Buffer.from(JSON.stringify(body)),
      });
      expect(answer.status).toBe(200);
      const result = JSON.parse(answer.body.toString()) as Json;
      expect(SQ(result, '00081199').map((item) => values(item, '00081155')[0])).toEqual([uid(101)]);
      expect(values(SQ(result, '00081199')[0], '00091001')).toEqual([
        createHash('sha256').update(slice(1)).digest('hex'),
      ]);
      expect(SQ(result, '00081198')).toMatchObject([
        { '00081155': { Value: [uid(998)] }, '00081197': { Value: [0x0112] } },
      ]);
      expect((await get(`/dicomweb/commitment-requests/${uid(900)}`)).status).toBe(404);
    });

    test('the capabilities document names the transactions, each once and no others', async () => {
      const answer = await host.fetch('/dicomweb/', { method: 'OPTIONS' });
      expect(answer.status).toBe(200);
      const named = [...answer.body.toString().matchAll(/<method name="[A-Z]+" id="(\w+)"/g)].map(([, id]) => id);
      const routes = DICOMWEB_ROUTES.filter(({ method }) => method !== 'OPTIONS').map(({ name }) => name);
      expect(named.toSorted()).toEqual(routes.toSorted());
    });

    test('a resource says which methods it has', async () => {
      for (const [path, allow] of [
        ['/dicomweb/studies', 'GET, HEAD, OPTIONS, POST'],
        [STUDY, 'DELETE, GET, HEAD, OPTIONS, POST'],
        [`${STUDY}/metadata`, 'GET, HEAD, OPTIONS'],
      ] as const) {
        const answer = await host.fetch(path, { method: 'OPTIONS' });
        expect(answer.status).toBe(204);
        expect(answer.headers.allow?.split(', ').toSorted().join(', ')).toBe(allow);
      }
    });

    test('deleted, it is gone everywhere; restored, it is back; the feed tells both', async () => {
      const object = slice(1, { StudyInstanceUID: uid(50), SeriesInstanceUID: uid(51), SOPInstanceUID: uid(52) });
      await host.fetch('/dicomweb/studies', multipart([object]));
      const path = `/dicomweb/studies/${uid(50)}`;
      expect((await host.fetch(`${path}?reason=wrong%20patient`, { method: 'DELETE' })).status).toBe(204);
      expect((await get(path)).status).toBe(404);
      expect(await get(`/dicomweb/studies?StudyInstanceUID=${uid(50)}`)).toMatchObject({ status: expect.any(Number) });
      expect((await host.fetch(path, { method: 'DELETE' })).status).toBe(404);
      const trash = JSON.parse((await get('/api/trash')).body.toString());
      const entry = trash.items.find((item: { StudyInstanceUID: string }) => item.StudyInstanceUID === uid(50));
      expect(entry).toMatchObject({ kind: 'deleted', level: 'study', reason: 'wrong patient', instanceCount: 1 });
      const restore = await host.fetch(`/api/trash/${entry.id}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: Buffer.from('{"action":"restore"}'),
      });
      expect(JSON.parse(restore.body.toString())).toMatchObject({ restored: 1, conflicting: 0 });
      const back = await get(`${path}/series/${uid(51)}/instances/${uid(52)}`, {
        accept: 'application/dicom; transfer-syntax=*',
      });
      expect(back.body.equals(Buffer.from(object))).toBe(true);
      const feed = JSON.parse((await get('/api/events?limit=1000')).body.toString());
      const types = feed.events.filter((event: { StudyInstanceUID: string }) => event.StudyInstanceUID === uid(50));
      expect(types.map((event: { type: string }) => event.type)).toEqual([
        'InstanceStored',
        'Deleted',
        'InstanceStored',
        'Restored',
      ]);
    });
  });
}

/** The same object under another SOPInstanceUID of the same length: UIDs of the suite differ in digits only. */
function buildDicomUnder(bytes: Buffer, sop: string): Uint8Array {
  const text = bytes.toString('latin1');
  const from = uid(101);
  return Buffer.from(text.replaceAll(from, sop.padEnd(from.length, '\0')), 'latin1');
}
