import { gunzipSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { toWhole } from '#lambda/http-event.ts';

/** A function that does not stream took compressed DICOM JSON for text, by its media type, and so no client could inflate it. */
test('compressed JSON leaves a function that answers in one piece as the bytes that it is', async () => {
  const json = JSON.stringify([{ '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Müller^Jörg' }] } }]);
  const headers = { 'content-type': 'application/dicom+json', 'content-encoding': 'gzip' };
  const result = await toWhole({ method: 'GET' }, { status: 200, headers, body: gzipSync(json) }, 1_000_000);
  expect(result.isBase64Encoded).toBe(true);
  expect(gunzipSync(Buffer.from(result.body, 'base64')).toString()).toBe(json);
});
