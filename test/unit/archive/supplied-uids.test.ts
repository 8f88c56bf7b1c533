import { describe, expect, test } from 'vitest';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { transcodeInstance } from '#core/pixels/transcode.ts';
import { findInstance } from '#core/retrieve/find.ts';
import { instanceMetadata } from '#core/retrieve/metadata.ts';
import { storeResponse } from '#dicomweb/store-response.ts';
import { buildDicom, CT_IMAGE_STORAGE, IMPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

/** The data set says nothing of itself; the file meta says which instance it is. */
const bare = (more: object = {}, options: Parameters<typeof buildDicom>[1] = {}) =>
  buildDicom(
    { SOPClassUID: undefined, SOPInstanceUID: undefined, ...more },
    { ...options, fileMeta: { MediaStorageSOPClassUID: CT_IMAGE_STORAGE, MediaStorageSOPInstanceUID: uid(7) } },
  );
const respond = (outcome: Awaited<ReturnType<typeof store>>) =>
  storeResponse([outcome], { root: '/dicomweb', study: undefined, xml: false });

describe('what the data set does not say', () => {
  test.each([{ name: 'whole' }, { name: 'streamed', wholeObjectBytes: 100 }])(
    'of its SOP Instance is taken from the file meta, with a warning, and the bytes stay as received: $name',
    async ({ name: _, ...limits }) => {
      const services = memoryServices({ limits });
      const bytes = bare({ StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2) });
      const outcome = await store(services, bytes);
      expect(outcome).toMatchObject({
        kind: 'stored',
        id: { SOPInstanceUID: uid(7), SOPClassUID: CT_IMAGE_STORAGE },
        supplied: ['SOPClassUID', 'SOPInstanceUID'],
      });
      const { status, body } = respond(outcome);
      expect(status).toBe(202);
      const item = JSON.parse(body as string)['00081199'].Value[0];
      expect(item['00081196']).toEqual({ vr: 'US', Value: [0xb000] });

      const instance = await findInstance(services, TENANT, uid(1), uid(2), uid(7));
      expect(Buffer.from(await services.blobs.readBytes(instance.blobKey)).equals(bytes)).toBe(true);
      const metadata = JSON.parse(await instanceMetadata(services, TENANT, uid(1), uid(2), uid(7)));
      expect(metadata['00080018']).toEqual({ vr: 'UI', Value: [uid(7)] });
      expect(metadata['04000561'].Value).toEqual([
        {
          '04000550': { vr: 'SQ', Value: [{ '00080016': { vr: 'UI' }, '00080018': { vr: 'UI' } }] },
          '04000562': { vr: 'DT', Value: ['20240131120000+0000'] },
          '04000563': { vr: 'LO', Value: ['NEPHOS'] },
          '04000564': { vr: 'LO' },
          '04000565': { vr: 'CS', Value: ['COERCE'] },
        },
      ]);

      // In another encoding it is an object that we write: it says what it is.
      const chunks: Uint8Array[] = [];
      for await (const chunk of transcodeInstance(services, instance, IMPLICIT_LE)) chunks.push(Uint8Array.from(chunk));
      const { dataSet, fileMeta } = scanPart10(Buffer.concat(chunks), DEFAULT_LIMITS);
      expect([dataSet['00080018']?.Value, fileMeta['00020003']?.Value]).toEqual([[uid(7)], [uid(7)]]);
    },
  );

  test('is supplied to a report as well, which has no pixels to stop at', async () => {
    for (const wholeObjectBytes of [100, 1_000_000]) {
      const services = memoryServices({ limits: { wholeObjectBytes }, policy: { missingUIDs: 'derive' } });
      const report = bare({ PixelData: undefined, SeriesInstanceUID: undefined });
      const outcome = await store(services, report);
      expect(outcome).toMatchObject({ kind: 'stored', id: { StudyInstanceUID: uid(1), SOPInstanceUID: uid(7) } });
      const { SeriesInstanceUID: series } = outcome.id;
      const metadata = JSON.parse(await instanceMetadata(services, TENANT, uid(1), series!, uid(7)));
      expect(metadata['00100020']?.Value).toEqual(['P-1']);
    }
  });

  test('again is the same object, and an index made anew says the same of it', async () => {
    const services = memoryServices({ policy: { missingUIDs: 'derive' } });
    const bytes = bare({ StudyInstanceUID: undefined, SeriesInstanceUID: undefined });
    const first = await store(services, bytes);
    expect(first).toMatchObject({ kind: 'stored', supplied: expect.arrayContaining(['StudyInstanceUID']) });
    expect(await store(services, bytes)).toMatchObject({ kind: 'duplicate', id: first.id });
    const { StudyInstanceUID: study, SeriesInstanceUID: series } = first.id;
    const before = await instanceMetadata(services, TENANT, study!, series!, uid(7));

    const { blobs } = services;
    const again = memoryServices({ ports: { blobs } });
    expect(await rebuildIndex(again, TENANT)).toMatchObject({ failed: [] });
    expect(await instanceMetadata(again, TENANT, study!, series!, uid(7))).toBe(before);
    const record = async (of: typeof services) => findInstance(of, TENANT, study!, series!, uid(7));
    expect((await record(again)).suppliedUIDs).toEqual((await record(services)).suppliedUIDs);
  });

  test('is said to be of no study where it can be of none', async () => {
    const ofNone = { StudyInstanceUID: undefined, SeriesInstanceUID: undefined };
    const HANGING_PROTOCOL = '1.2.840.10008.5.1.4.38.1';
    const INVENTORY = '1.2.840.10008.5.1.4.1.1.201.1';
    for (const missingUIDs of ['refuse', 'derive'] as const) {
      const services = memoryServices({ policy: { missingUIDs } });
      for (const SOPClassUID of [HANGING_PROTOCOL, INVENTORY]) {
        const refused = await store(services, buildDicom({ ...ofNone, SOPClassUID }));
        expect(refused).toMatchObject({
          id: { SOPClassUID, SOPInstanceUID: uid(3) },
          error: { code: 'UNSUPPORTED_SOP_CLASS', message: 'objects of no patient are not stored' },
        });
      }
      const directory = { fileMeta: { MediaStorageSOPClassUID: '1.2.840.10008.1.3.10' } };
      const refused = await store(
        services,
        buildDicom({ ...ofNone, SOPClassUID: undefined, SOPInstanceUID: undefined }, directory),
      );
      expect(refused).toMatchObject({
        error: { code: 'UNSUPPORTED_SOP_CLASS', message: 'a media directory (DICOMDIR) is not stored' },
      });
    }
    // One that names a study is of it, whatever its class.
    expect(await store(memoryServices(), buildDicom({ SOPClassUID: HANGING_PROTOCOL }))).toMatchObject({
      kind: 'stored',
    });
  });

  test('of its study and series is refused by name, unless the policy derives it', async () => {
    const lost = { StudyInstanceUID: undefined, SeriesInstanceUID: undefined };
    const refused = await store(memoryServices(), buildDicom(lost));
    expect(refused).toMatchObject({
      kind: 'failed',
      error: { code: 'UNREADABLE_DATASET', message: 'StudyInstanceUID is missing' },
    });
    expect(respond(refused).status).toBe(409);
    const services = memoryServices({ policy: { missingUIDs: 'derive' } });
    const two = [
      await store(services, buildDicom(lost)),
      await store(services, buildDicom({ ...lost, SOPInstanceUID: uid(8) })),
    ];
    expect(two.map(({ kind }) => kind)).toEqual(['stored', 'stored']);
    expect(two[0]!.id.StudyInstanceUID).toMatch(/^2\.25\.\d+$/);
    expect(new Set(two.flatMap(({ id }) => [id.StudyInstanceUID, id.SeriesInstanceUID])).size).toBe(4);
    const inStudy = await store(services, buildDicom({ SeriesInstanceUID: undefined, SOPInstanceUID: uid(9) }));
    expect(inStudy).toMatchObject({
      kind: 'stored',
      id: { StudyInstanceUID: uid(1) },
      supplied: ['SeriesInstanceUID'],
    });
  });

  test.each([
    ['a directory of media', '1.2.840.10008.1.3.10', 'UNSUPPORTED_SOP_CLASS'],
    ['a colour palette, which is of no patient', '1.2.840.10008.5.1.4.39.1', 'UNSUPPORTED_SOP_CLASS'],
    ['a class of nobody knows what', '1.2.276.0.7230010.3.1.0.1', 'UNREADABLE_DATASET'],
  ])('is never made up for %s', async (_, MediaStorageSOPClassUID, code) => {
    const services = memoryServices({ policy: { missingUIDs: 'derive' } });
    const bytes = buildDicom(
      { SOPClassUID: undefined, SOPInstanceUID: undefined, StudyInstanceUID: undefined, SeriesInstanceUID: undefined },
      { fileMeta: { MediaStorageSOPClassUID, MediaStorageSOPInstanceUID: uid(7) } },
    );
    expect(await store(services, bytes)).toMatchObject({ kind: 'failed', error: { code } });
  });
});
