import { describe, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { anArchive, SHARED } from '#test/unit/share-links/receiver.ts';

const PIXELS = new Uint8Array(40_000).fill(7);

async function aSharedStudy(scopes: string[]) {
  const archive = await anArchive();
  const bytes = buildDicom({
    StudyInstanceUID: SHARED,
    SeriesInstanceUID: uid(50),
    SOPInstanceUID: uid(77),
    PixelData: PIXELS,
  });
  expect((await archive.store(bytes)).status).toBe(200);
  const link = await archive.share({ scopes });
  const cookie = await archive.enter(link);
  const instance = `/s/${link.id}/dicomweb/studies/${SHARED}/series/${uid(50)}/instances/${uid(77)}`;
  const get = (path: string) => archive.ask('GET', instance + path, { cookie });
  return { get, sizeBytes: bytes.byteLength };
}

describe('whoever may look at a study by a link', () => {
  test('has the values that its metadata name, and no object by an address that he writes himself', async () => {
    const { get, sizeBytes } = await aSharedStudy(['view']);
    const metadata = (await get('/metadata')).json[0];
    const [, located] = /\/bulkdata\/7FE00010(\.\d+\.\d+)$/.exec(metadata['7FE00010'].BulkDataURI)!;
    expect((await get(`/bulkdata/7FE00010${located}`)).status).toBe(403);
    const [, offset] = located!.split('.');
    for (const written of [
      `00080018${located}`,
      `00420011${located}`,
      `00080018.${offset}.100`,
      `00090010-1-7FE00010${located}`,
      `00080018.400.${sizeBytes - 500}`,
      `00080018.0.100i`,
      `00080018${located}e`,
    ])
      expect((await get(`/bulkdata/${written}`)).status, written).toBe(404);
  });

  test('who may have its files may have any of their bytes', async () => {
    const { get } = await aSharedStudy(['view', 'download']);
    const uri: string = (await get('/metadata')).json[0]['7FE00010'].BulkDataURI;
    expect((await get(`/bulkdata/${uri.slice(uri.lastIndexOf('/') + 1)}`)).status).toBe(200);
  });
});
