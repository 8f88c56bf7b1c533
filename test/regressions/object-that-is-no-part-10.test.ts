import { expect, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { retrieveInstance } from '#dicomweb/retrieve-instances.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask } from '../unit/dicomweb/asking.ts';

const params = { study: uid(1), series: uid(2), instance: uid(3) };
const EXPLICIT = '1.2.840.10008.1.2.1';
const IMPLICIT = '1.2.840.10008.1.2';
const ANY = 'application/dicom; transfer-syntax=*';

/** A data set that had come without file meta went out as application/dicom without it, too: a client that keeps to PS3.10 could not read it. */
test.each([
  ['the default', EXPLICIT, 'application/dicom'],
  ['the stored syntax', EXPLICIT, `application/dicom; transfer-syntax=${EXPLICIT}`],
  ['the default', IMPLICIT, 'application/dicom'],
  ['the stored syntax', IMPLICIT, `application/dicom; transfer-syntax=${IMPLICIT}`],
])(
  'a data set that came alone is given out as Part 10 to who asks for %s (stored as %s)',
  async (_, syntax, accept) => {
    const services = memoryServices();
    const object = buildDicom({}, { transferSyntaxUID: syntax });
    const alone = object.subarray(scanPart10(object, DEFAULT_LIMITS).dataSetOffset);
    await store(services, alone);
    const answer = await ask(services, retrieveInstance, params, { accept });
    expect(answer.status).toBe(200);
    const scanned = scanPart10(answer.body, DEFAULT_LIMITS);
    expect(scanned.warnings).toEqual([]);
    expect(scanned.fileMeta['00020003']?.Value).toEqual([uid(3)]);
    expect(scanned.transferSyntaxUID).toBe(accept.endsWith(IMPLICIT) ? IMPLICIT : EXPLICIT);
    expect(scanned.dataSet['7FE00010']?.bulk?.length).toBe(
      scanPart10(object, DEFAULT_LIMITS).dataSet['7FE00010']?.bulk?.length,
    );
    const asStored = await ask(services, retrieveInstance, params, { accept: ANY });
    expect(asStored.body.equals(alone)).toBe(true);
  },
);

/** Where preambles are zeroed on the way out, the file meta of an object without one was taken for it. */
test('an object without a preamble keeps its file meta where preambles are zeroed', async () => {
  const services = memoryServices({ policy: { sanitizePreamble: true } });
  const object = buildDicom(
    {},
    { preamble: false, fileMeta: { SourceApplicationEntityTitle: 'CT1', PrivateInformation: '0'.repeat(64) } },
  );
  await store(services, object);
  const whole = await ask(services, retrieveInstance, params, { accept: ANY });
  expect(whole.body.equals(object)).toBe(true);
  const part = await ask(services, retrieveInstance, params, { accept: ANY, headers: { range: 'bytes=4-19' } });
  expect(part.body.equals(object.subarray(4, 20))).toBe(true);
});
