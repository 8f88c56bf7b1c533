import { expect, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import type { Services } from '#core/services.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { wholeBody } from '#test/unit/dicomweb/asking.ts';

const INSTANCE = `/dicomweb/studies/${uid(1)}/series/${uid(2)}/instances/${uid(3)}`;
const LONG = `${'Grüße '.repeat(20_000)}.`;

async function ask(services: Services, method: string, path: string, headers: Record<string, string>, body?: Buffer) {
  const { response } = await new Router(services, '/dicomweb', DICOMWEB_ROUTES).handle({
    method,
    path,
    query: new URLSearchParams(),
    headers,
    body: (async function* () {
      if (body) yield body;
    })(),
    origin: 'http://pacs.example',
    principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
  });
  return { status: response.status, body: await wholeBody(response.body) };
}

/** What was bulk data in Latin-1 became bytes of UTF-8, which they are not: the object that was made could not be read. */
test.each([
  ['the object', (text: Uint8Array) => ({ TextValue: text })],
  ['a sequence', (text: Uint8Array) => ({ ContentSequence: [{ TextValue: text }] })],
])('a text in %s, too long for metadata, is made UTF-8 where the object that it comes to is', async (_, holding) => {
  const there = memoryServices();
  const latin1 = new Uint8Array(Buffer.from(LONG, 'latin1'));
  expect(
    await store(there, buildDicom({ SpecificCharacterSet: 'ISO_IR 100', PixelData: undefined, ...holding(latin1) })),
  ).toMatchObject({ kind: 'stored' });
  const metadata = (await ask(there, 'GET', `${INSTANCE}/metadata`, { accept: 'application/dicom+json' })).body;
  const uri = /"BulkDataURI":"([^"]+)"/.exec(metadata.toString())![1]!;
  const accept = 'application/octet-stream';
  const bytes = (await ask(there, 'GET', new URL(uri).pathname, { accept })).body;
  expect(bytes.subarray(0, 5)).toEqual(Buffer.from('Gr\xfc\xdfe', 'latin1'));

  const here = memoryServices();
  const part = (type: string, location: string, content: Buffer) => [
    Buffer.from(`--B\r\nContent-Type: ${type}\r\n${location}\r\n`),
    content,
    Buffer.from('\r\n'),
  ];
  const body = Buffer.concat([
    ...part('application/dicom+json', '', metadata),
    ...part('application/octet-stream', `Content-Location: ${uri}\r\n`, bytes),
    Buffer.from('--B--'),
  ]);
  const type = 'multipart/related; type="application/dicom+json"; boundary=B';
  expect((await ask(here, 'POST', '/dicomweb/studies', { 'content-type': type }, body)).status).toBe(200);
  const made = await ask(here, 'GET', INSTANCE, { accept: 'application/dicom' });
  const { dataSet } = scanPart10(made.body, { ...DEFAULT_LIMITS, inlineValueBytes: 1_000_000 });
  expect(dataSet['00080005']).toEqual({ vr: 'CS', Value: ['ISO_IR 192'] });
  const held = (dataSet['0040A730']?.Value?.[0] as DataSet | undefined) ?? dataSet;
  expect(held['0040A160']).toEqual({ vr: 'UT', Value: [LONG] });
});
