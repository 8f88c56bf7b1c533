import { afterEach, expect, test } from 'vitest';
import { TokenBucket } from '#adapters/aws/token-bucket.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { TestClock } from '#test/fixtures/services.ts';
import { deployed } from './deployed.ts';

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

const deployment = async (...settings: Parameters<typeof deployed>) => {
  const made = await deployed(...settings);
  open.push(made.close);
  return made;
};

test('a CT study that has become quiet is placed by the worker, and its frames come from HealthImaging', async () => {
  const { fake, workOff, frame, send } = await deployment();
  await send('CT');
  expect(await frame(1)).toContain('made here');
  await workOff();
  expect(fake.calls.get('StartDICOMImportJob')).toBe(1);
  expect(await frame(2)).toContain(`HTJ2K of ${uid(3)} frame 2`);
  fake.imageSets.clear();
  expect(await frame(2)).toContain('made here');
});

test.each([
  ['of a modality that the policy does not name', {}, 'US'],
  ['smaller than what HealthImaging bills', { NEPHOS_LIMIT_PLACEMENT_LEAST_BYTES: '5242880' }, 'CT'],
  ['where the group has named no modality', { NEPHOS_PLACEMENT_MODALITIES: '' }, 'CT'],
] as const)('a study %s stays with S3', async (_, env, modality) => {
  const { fake, workOff, frame, send } = await deployment(env);
  await send(modality);
  await workOff();
  expect(fake.calls.get('StartDICOMImportJob')).toBeUndefined();
  expect(await frame(1)).toContain('made here');
});

test('more frames a second than the service allows are made from the objects', async () => {
  const { memory, workOff, frame, send } = await deployment({}, { framesPerSecond: 2 });
  await send('CT');
  await workOff();
  const from = async () => ((await frame(1)).includes('HTJ2K of') ? 'HealthImaging' : 'S3');
  expect([await from(), await from(), await from()]).toStrictEqual(['HealthImaging', 'HealthImaging', 'S3']);
  memory.clock.advance(500);
  expect([await from(), await from()]).toStrictEqual(['HealthImaging', 'S3']);
});

test('a bucket of tokens lets through its rate, and bursts of one second', () => {
  const clock = new TestClock();
  const bucket = new TokenBucket(10, clock);
  const takeAll = (): number => {
    let taken = 0;
    while (bucket.take()) taken++;
    return taken;
  };
  expect(takeAll()).toBe(10);
  clock.advance(250);
  expect(takeAll()).toBe(2);
  clock.advance(60_000);
  expect(takeAll()).toBe(10);
});
