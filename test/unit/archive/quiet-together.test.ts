import { expect, test } from 'vitest';
import { STUDY_QUIET } from '#core/archive/fold.ts';
import { settleStudy } from '#core/archive/quiet.ts';
import type { PutOptions } from '#core/ports/blob-store.ts';
import { workEach } from '#embedded/jobs.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const silent = { debug: () => {}, info: () => {}, error: () => {} };

test('studies that have become quiet are settled at the same time, so that they share transactions of the index', async () => {
  const services = memoryServices();
  const { jobs } = services;
  for (const study of ['1', '2', '3']) await jobs.enqueue(STUDY_QUIET, { tenant: TENANT, study });
  const stop = new AbortController();
  const { promise: allBegun, resolve: begun } = Promise.withResolvers<void>();
  let count = 0;
  const handler = async () => {
    if (++count === 3) begun();
    // One after the other, the first would wait here for ever.
    await allBegun;
    stop.abort();
  };
  await workEach(services, 'http://pacs.test', silent, stop.signal, { [STUDY_QUIET]: handler });
  expect(await jobs.depth(STUDY_QUIET)).toMatchObject({ waiting: 0, inFlight: 0, dead: 0 });
});

test('one that cannot be settled comes again, and the others are done', async () => {
  const services = memoryServices();
  const { jobs } = services;
  for (const study of ['1', '2', '3']) await jobs.enqueue(STUDY_QUIET, { tenant: TENANT, study });
  const stop = new AbortController();
  await workEach(services, 'http://pacs.test', silent, stop.signal, {
    [STUDY_QUIET]: async (_, { study }) => {
      stop.abort();
      if (study === '2') throw new Error('not now');
    },
  });
  services.clock.advance(60_000);
  const left = await jobs.receive(STUDY_QUIET, { max: 10, visibilityMs: 1_000 });
  expect(left.map(({ payload }) => payload.study)).toStrictEqual(['2']);
});

test('the metadata documents of studies that are settled together are made one after the other: each takes memory', async () => {
  const services = memoryServices();
  const studies = [uid(1), uid(2)];
  for (const [s, study] of studies.entries())
    for (let i = 0; i < 20; i++) {
      const ids = { StudyInstanceUID: study, SeriesInstanceUID: uid(10 + s), SOPInstanceUID: uid(100 * (s + 1) + i) };
      expect((await store(services, buildDicom(ids))).kind).toBe('stored');
    }
  services.clock.advance(services.limits.studyQuietMs);
  let making = 0;
  let most = 0;
  const { blobs } = services;
  const put = blobs.put.bind(blobs);
  blobs.put = async (key: string, body: Parameters<typeof put>[1], options?: PutOptions) => {
    most = Math.max(most, ++making);
    // Whatever else could run now does.
    await new Promise((resolve) => setImmediate(resolve));
    const info = await put(key, body, options);
    making--;
    return info;
  };
  const settled = await Promise.all(studies.map((study) => settleStudy(services, TENANT, study)));
  expect(settled).toStrictEqual(['quiet', 'quiet']);
  expect(most).toBe(1);
});
