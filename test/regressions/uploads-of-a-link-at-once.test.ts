import { expect, test } from 'vitest';
import { shareKeys } from '#core/share-links/records.ts';
import { anArchive, SHARED } from '#test/unit/share-links/receiver.ts';

const UPLOAD = { 'content-type': 'application/dicom', accept: 'application/dicom+json' };

test('what is sent in by one link in many requests at the same moment counts together', async () => {
  const { share, enter, ask, object, services } = await anArchive({ limits: { shareUploadBytes: 6_000 } });
  const link = await share({ scopes: ['upload'] });
  const cookie = await enter(link);
  const bytes = object(SHARED, 90).byteLength;
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, n) =>
      ask('POST', `/s/${link.id}/dicomweb/studies`, { cookie, body: object(SHARED, 100 + n), headers: UPLOAD }),
    ),
  );
  const taken = answers.filter(({ status }) => status === 200).length;
  expect(taken * bytes).toBeLessThanOrEqual(6_000);
  // What was written down for requests that were refused has been taken back.
  const use = await services.index.get(shareKeys.use('main', link.id));
  expect(use?.bytes as number).toBeLessThanOrEqual(30 * bytes);
  expect(use?.bytes as number).toBeGreaterThanOrEqual(taken * bytes);
});
