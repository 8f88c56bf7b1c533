import { beforeEach, expect, test } from 'vitest';
import { getVerification, listDamagedObjects } from '#api/verification.ts';
import { checkFixity } from '#core/archive/fixity.ts';
import { selectedInstances } from '#core/archive/remove.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { ask } from '../dicomweb/asking.ts';

let services: ReturnType<typeof memoryServices>;

beforeEach(async () => {
  services = memoryServices();
  for (const n of [1, 2, 3]) {
    const uids = { StudyInstanceUID: uid(n), SeriesInstanceUID: uid(10 + n), SOPInstanceUID: uid(100 + n) };
    await store(services, buildDicom({ ...uids, PatientName: `PATIENT^${n}`, PatientID: `P-${n}` }));
  }
});

const verify = () =>
  checkFixity(services, TENANT, { everyMs: 1, bytesPerSecond: 1e12 }, () => {}, new AbortController().signal);
const verification = async () => JSON.parse((await ask(services, getVerification, {})).body.toString());
const damaged = async (query = '') =>
  JSON.parse((await ask(services, listDamagedObjects, {}, { query })).body.toString());

test('before the first pass nothing is known, and that is said', async () => {
  expect(await verification()).toEqual({ damaged: 0 });
  expect(await damaged()).toEqual({ items: [] });
});

test('what a pass has found is listed with whose it is, page after page', async () => {
  for (const n of [1, 3])
    for await (const { blobKey } of selectedInstances(services, TENANT, [{ StudyInstanceUID: uid(n) }]))
      await services.blobs.delete(blobKey);
  await verify();
  const pass = { startedAt: expect.any(Number), endedAt: expect.any(Number), objects: 3, bytes: expect.any(Number) };
  expect(await verification()).toEqual({ damaged: 2, pass });
  const first = await damaged('limit=1');
  expect(first.items).toMatchObject([
    {
      ...{ problem: 'missing', StudyInstanceUID: uid(1), SOPInstanceUID: uid(101), foundAt: expect.any(Number) },
      attributes: { '00100020': { Value: ['P-1'] }, '00100010': { Value: [{ Alphabetic: 'PATIENT^1' }] } },
    },
  ]);
  const second = await damaged(`limit=1&after=${encodeURIComponent(first.next)}`);
  expect(second.items).toMatchObject([{ SOPInstanceUID: uid(103), attributes: { '00100020': { Value: ['P-3'] } } }]);
  expect(second.next).toBeUndefined();
});
