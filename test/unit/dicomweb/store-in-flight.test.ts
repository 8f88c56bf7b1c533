import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Limits } from '#core/limits.ts';
import { storeInstances } from '#dicomweb/store.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices, TENANT } from '#test/fixtures/services.ts';
import { multipart } from '#test/hosts/client.ts';

/** Stores 40 objects in one request on a store that takes what it can get; returns how many it was given at once at the most. */
async function mostAtOnce(limits: Partial<Limits>): Promise<number> {
  const services = memoryServices({ limits });
  const put = services.blobs.put.bind(services.blobs);
  let now = 0;
  let most = 0;
  let calls = 0;
  services.blobs.put = async (...args) => {
    most = Math.max(most, ++now);
    calls++;
    // Nothing of the request waits for a clock: what has not come after so many turns does not come before this one is done.
    for (let seen = 0, quiet = 0; quiet < 20; quiet++) {
      if (seen !== calls) quiet = 0;
      seen = calls;
      await setImmediate();
    }
    return put(...args).finally(() => now--);
  };
  const objects = Array.from({ length: 40 }, (_, n) => buildDicom({ SOPInstanceUID: uid(n) }));
  const { method, headers, body } = multipart(objects);
  const { status } = await storeInstances({
    services,
    params: {},
    root: 'http://pacs.test/dicomweb',
    facts: {},
    principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
    request: { method, headers, path: '', query: new URLSearchParams(), origin: '', body: chunked(body, 50_000) },
  });
  expect(status).toBe(200);
  return most;
}

test('a request makes many objects durable at once, as far as their number and their bytes may go', async () => {
  expect(await mostAtOnce({})).toBe(40);
  expect(await mostAtOnce({ storeConcurrency: 7 })).toBe(7);
  const bytes = buildDicom({ SOPInstanceUID: uid(0) }).length;
  expect(await mostAtOnce({ storeInFlightBytes: 5 * bytes })).toBeLessThanOrEqual(7);
  expect(await mostAtOnce({ storeInFlightBytes: 1 })).toBe(1);
});
