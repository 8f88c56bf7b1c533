import { expect, test } from 'vitest';
import { evictCache } from '#edge/read/cache.ts';
import { StudyUsage } from '#edge/read/usage.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';

/** On a slow disk the note that a study had been read came behind the look at what was read last: that study was evicted first. */
test('a study that was read a moment ago is not taken for the least recently used one while that is being written down', async () => {
  const services = memoryServices();
  const [read, unread] = [uid(1), uid(2)];
  for (const StudyInstanceUID of [read, unread]) {
    await store(services, buildDicom({ StudyInstanceUID, SOPInstanceUID: `${StudyInstanceUID}.1` }));
    services.clock.advance(60_000);
  }
  const { promise: written, resolve: writeOn } = Promise.withResolvers<void>();
  const { write } = services.index;
  services.index.write = async (...given) => {
    await written;
    return write.apply(services.index, given);
  };
  const usage = new StudyUsage(services.index, services.clock);
  usage.use(TENANT, read)();
  const knowledge = { evictable: async (instances: readonly unknown[]) => instances.map(() => true) };
  const { sizeBytes } = (await studyRecord(services, read))!;
  const evicting = evictCache(services, TENANT, knowledge, usage, { cacheBytes: sizeBytes, cacheAgeMs: 3_600_000 });
  // It has looked by now.
  writeOn();
  expect(await evicting).toMatchObject({ studies: 1, evicted: { instances: 1 } });
  expect(await studyRecord(services, read)).toBeDefined();
  expect(await studyRecord(services, unread)).toBeUndefined();
});
