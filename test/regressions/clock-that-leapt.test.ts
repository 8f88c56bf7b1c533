/** A clock that was set ahead by more than the trash keeps things had all that lay there removed for good at the next sweep. */
import { expect, test } from 'vitest';
import { moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { sweep } from '#core/archive/sweep.ts';
import { listTrash } from '#core/archive/trash.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const INSTANCE = { StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(3) };

/** An archive that has run for a while, with something in its trash. */
async function atWork() {
  const services = memoryServices();
  await store(services, buildDicom(INSTANCE));
  await moveToTrash(services, TENANT, [INSTANCE], { kind: 'deleted', reason: 'by mistake', by: 'admin' });
  expect((await sweep(services, TENANT)).purged).toBe(0);
  return services;
}

test('nothing is removed for good for a day after a leap, and all is there when the clock is right again', async () => {
  const services = await atWork();
  const { clock, limits } = services;
  clock.advance(365 * DAY_MS);
  const held = await sweep(services, TENANT);
  expect(held).toMatchObject({ purged: 0, purgesFrom: clock.now() + limits.purgeHoldMs });
  clock.advance(limits.purgeHoldMs - 1);
  expect(await sweep(services, TENANT)).toMatchObject({ purged: 0, purgesFrom: held.purgesFrom });
  clock.advance(-364 * DAY_MS);
  expect(await sweep(services, TENANT)).toMatchObject({ purged: 0, purgesFrom: clock.now() + limits.purgeHoldMs });
  const [entry] = (await listTrash(services, TENANT, '', 10)).items;
  expect(await restoreFromTrash(services, TENANT, entry!.id)).toEqual({ restored: 1, conflicting: 0 });
});

test('an archive that was off for long empties its trash a day later', async () => {
  const services = await atWork();
  const { clock, limits } = services;
  clock.advance(60 * DAY_MS);
  expect((await sweep(services, TENANT)).purged).toBe(0);
  clock.advance(limits.purgeHoldMs);
  const late = await sweep(services, TENANT);
  expect(late.purged).toBe(1);
  expect(late.purgesFrom).toBeUndefined();
});

test('a clock that goes on as it should holds nothing back, even where days lie between two sweeps', async () => {
  const services = await atWork();
  const { clock, limits } = services;
  for (let passedMs = 0; passedMs + 6 * DAY_MS <= limits.trashMs; passedMs += 6 * DAY_MS) {
    expect(await sweep(services, TENANT)).not.toHaveProperty('purgesFrom');
    clock.advance(6 * DAY_MS);
  }
  expect((await sweep(services, TENANT)).purged).toBe(1);
});
