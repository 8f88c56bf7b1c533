import { afterEach, describe, expect, test } from 'vitest';
import type { ImagingLimits } from '#adapters/aws/health-imaging/options.ts';
import { beginPlacement, type PlacementJob, placeStudy } from '#core/archive/place.ts';
import type { InstanceRecord } from '#core/archive/records.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { sweep } from '#core/archive/sweep.ts';
import { transcodeFrame } from '#core/pixels/transcode.ts';
import type { EncodedFrame, PixelEngine } from '#core/ports/pixel-engine.ts';
import { instancesOfStudy } from '#core/retrieve/find.ts';
import { seeded } from '#test/cloud/helpers/faults.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';
import { imagingBeside } from './imaging-beside.ts';

const HTJ2K = '1.2.840.10008.1.2.4.201';
const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

/** An archive of one study of `count` slices of two frames each, with HealthImaging beside it. */
async function archive(count: number, limits: Partial<ImagingLimits> = {}) {
  const decoded: string[] = [];
  const pixels = standIn<PixelEngine>({
    async transcode({ transferSyntaxUID }: EncodedFrame) {
      decoded.push(transferSyntaxUID);
      return standIn<EncodedFrame>({ codestream: Buffer.from('made here') });
    },
  });
  const base = memoryServices({ pixels });
  const beside = await imagingBeside(base, limits);
  open.push(() => beside.close());
  const { fake, landing, placement } = beside;
  const services = { ...base, placement };
  const frames = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const add = async (n: number): Promise<void> => {
    const outcome = await store(services, buildDicom({ SOPInstanceUID: uid(100 + n), NumberOfFrames: 2 }, { frames }));
    expect(outcome.kind).toBe('stored');
  };
  for (let n = 0; n < count; n++) await add(n);
  const place = () => placement.place(TENANT, uid(1));
  const placeAll = async () => {
    let report = await place();
    for (let i = 0; report.state !== 'placed' && i < 20; i++) report = await place();
    return report;
  };
  const instances = (): Promise<InstanceRecord[]> => Array.fromAsync(instancesOfStudy(services, TENANT, uid(1)));
  const frame = async (n: number, number = 1): Promise<string> => {
    const instance = (await instances()).find(({ SOPInstanceUID }) => SOPInstanceUID === uid(100 + n))!;
    return Buffer.from(await transcodeFrame(services, instance, number, HTJ2K)).toString();
  };
  return { services, fake, landing, placement, place, placeAll, add, frame, decoded };
}

describe('a study in HealthImaging', () => {
  test('is imported by a job that is watched to its end; its frames then come ready in HTJ2K', async () => {
    const { fake, place, frame, decoded, landing, services } = await archive(3);
    expect(await frame(0)).toBe('made here');
    expect(await place()).toStrictEqual({ state: 'placing', placed: 0, refused: {} });
    expect(await place()).toMatchObject({ state: 'placing' }); // submitted, in progress …
    expect(await place()).toStrictEqual({ state: 'placed', placed: 3, refused: {} });
    expect(await place()).toMatchObject({ state: 'placed', placed: 3 }); // nothing more to be done
    expect(fake.calls.get('StartDICOMImportJob')).toBe(1);
    decoded.length = 0;
    expect(await frame(2, 2)).toBe(`HTJ2K of ${uid(102)} frame 2`);
    expect(decoded).toStrictEqual([]);
    // what was staged is gone, what was received is not
    const staged = await Array.fromAsync(landing.list('_imaging/'));
    expect(staged.filter(({ key }) => key.includes('/in/'))).toStrictEqual([]);
    expect(await Array.fromAsync(services.blobs.list(`${TENANT}/`))).toHaveLength(3);
  });

  test('takes in what came later, and nothing twice', async () => {
    const { fake, placeAll, add, frame } = await archive(2);
    await placeAll();
    await add(7);
    expect(await placeAll()).toStrictEqual({ state: 'placed', placed: 3, refused: {} });
    expect(await frame(7)).toBe(`HTJ2K of ${uid(107)} frame 1`);
    // The series is one image set, and what came later made a version of it.
    expect([...fake.imageSets.values()].map(({ versions }) => versions.map(({ size }) => size))).toStrictEqual([
      [2, 3],
    ]);
  });

  test('that conflicts with what the store has is a non-primary image set, whose frames are served all the same', async () => {
    const { fake, placeAll, frame } = await archive(1);
    fake.conflicting = true;
    expect(await placeAll()).toMatchObject({ placed: 1 });
    expect(await frame(0)).toBe(`HTJ2K of ${uid(100)} frame 1`);
  });

  test('keeps to the quotas of jobs, and waits while there are too many', async () => {
    const { fake, placeAll, place } = await archive(5, { filesPerJob: 2 });
    fake.jobsAtOnce = 2;
    await expect(place()).rejects.toMatchObject({ code: 'BUSY' });
    await expect(place()).rejects.toMatchObject({ code: 'BUSY' }); // the two that run go on
    fake.jobsAtOnce = 100;
    expect(await placeAll()).toStrictEqual({ state: 'placed', placed: 5, refused: {} });
    expect([...fake.imageSets.values()].map(({ versions }) => versions.map(({ size }) => size))).toStrictEqual([
      [2, 4, 5],
    ]);
  });
});

describe('what HealthImaging does not take is read from the archive', () => {
  test('instances that an import refuses, with the reason', async () => {
    const { fake, placeAll, frame } = await archive(3);
    fake.refuses.set(uid(101), 'DicomElementLengthException');
    expect(await placeAll()).toStrictEqual({ state: 'placed', placed: 2, refused: { DicomElementLengthException: 1 } });
    expect(await frame(1)).toBe('made here');
    expect(await placeAll()).toMatchObject({ state: 'placed', placed: 2 });
    expect(fake.calls.get('StartDICOMImportJob')).toBe(1); // refused once, not asked again
  });

  test('objects over the quotas', async () => {
    const { placeAll, frame } = await archive(2, { fileBytes: 10 });
    expect(await placeAll()).toStrictEqual({ state: 'placed', placed: 0, refused: { TooLarge: 2 } });
    expect(await frame(0)).toBe('made here');
  });

  test('a study whose jobs fail again and again', async () => {
    const { fake, placeAll } = await archive(2);
    fake.jobsFail = true;
    expect(await placeAll()).toStrictEqual({ state: 'placed', placed: 0, refused: { JobFailed: 2 } });
    expect(fake.calls.get('StartDICOMImportJob')).toBe(3);
  });

  test('frames of a service that is down, or of image sets that are gone', async () => {
    const { fake, placeAll, frame } = await archive(1);
    await placeAll();
    fake.errors.push(...Array.from({ length: 3 }, (): [string, number] => ['ThrottlingException', 429]));
    expect(await frame(0)).toBe('made here');
    fake.errors.push(['InternalServerException', 500]);
    expect(await frame(0)).toBe(`HTJ2K of ${uid(100)} frame 1`); // asked again
    fake.imageSets.clear();
    expect(await frame(0)).toBe('made here');
  });

  test('frames in another transfer syntax', async () => {
    const { services, placement, placeAll } = await archive(1);
    await placeAll();
    const [instance] = await Array.fromAsync(instancesOfStudy(services, TENANT, uid(1)));
    expect(await placement.readFrame(instance!, 1, '1.2.840.10008.1.2.4.90')).toBeUndefined();
    expect(await placement.readFrame(instance!, 3, HTJ2K)).toBeUndefined();
    expect(await placement.readFrame({ ...instance!, version: 'other bytes' }, 1, HTJ2K)).toBeUndefined();
  });
});

test('a process that dies at any call leaves an import that the next one ends', async () => {
  const { fake, placement, placeAll } = await archive(2);
  fake.errors.push(
    ['InternalServerException', 500],
    ['InternalServerException', 500],
    ['InternalServerException', 500],
  );
  await expect(placement.place(TENANT, uid(1))).rejects.toMatchObject({ code: 'BUSY' });
  expect(await placeAll()).toMatchObject({ state: 'placed', placed: 2 });
  expect(fake.jobs.size).toBe(1);
});

test.each([1, 2, 3, 4])(
  'while a third of all calls fails, or is never answered (%i), each study is imported once and deleted once',
  async (seed) => {
    const { services, fake, placement, place } = await archive(3);
    fake.storm = { rate: 0.33, random: seeded(seed) };
    const untilDone = async <T>(work: () => Promise<T>, isDone: (result: T) => boolean): Promise<T> => {
      for (let attempt = 0; attempt < 100; attempt++) {
        const result = await work().catch((error) => {
          expect(['BUSY', 'OUTCOME_UNKNOWN']).toContain(error.code);
        });
        if (result !== undefined && isDone(result)) return result;
      }
      throw new Error('it never came to an end');
    };
    // Two workers at once, as when a message is delivered twice.
    const both = () => Promise.allSettled([place(), place()]).then(() => place());
    expect(await untilDone(both, ({ state }) => state === 'placed')).toMatchObject({ placed: 3, refused: {} });
    const imported = [...fake.imageSets.values()].flatMap(({ instances }) => [...instances.keys()]);
    expect(imported.toSorted()).toStrictEqual([uid(100), uid(101), uid(102)]);
    for await (const { key } of services.blobs.list(`${TENANT}/`)) await services.blobs.delete(key);
    await untilDone(
      () => placement.remove(TENANT, uid(1)),
      (state) => state !== 'removing',
    );
    expect(fake.imageSets.size).toBe(0);
  },
);

test('the job of a placement comes back until the study is placed', async () => {
  const { services } = await archive(1);
  await beginPlacement(services, TENANT, uid(1));
  const outcomes: string[] = [];
  for (let i = 0; i < 5; i++) {
    const jobs = await services.jobs.receive('placement', { max: 10, visibilityMs: 60_000 });
    for (const job of jobs) {
      outcomes.push(await placeStudy(services, job.payload as { tenant: string; study: string }));
      await services.jobs.complete('placement', job);
    }
    services.clock.advance(60_000);
  }
  expect(outcomes).toStrictEqual(['later', 'later', 'placed']);
});

describe('what has been removed for good from the archive', () => {
  /** Works off the queue of placements until nothing is left for this minute; what each job came to. */
  async function work({ services }: Awaited<ReturnType<typeof archive>>, minutes = 6): Promise<string[]> {
    const outcomes: string[] = [];
    for (let i = 0; i < minutes; i++) {
      for (const job of await services.jobs.receive('placement', { max: 10, visibilityMs: 60_000 })) {
        outcomes.push(await placeStudy(services, job.payload as unknown as PlacementJob));
        await services.jobs.complete('placement', job);
      }
      services.clock.advance(60_000);
    }
    return outcomes;
  }
  const remove = ({ services }: Awaited<ReturnType<typeof archive>>, SOPInstanceUID?: string) =>
    moveToTrash(
      services,
      TENANT,
      [{ StudyInstanceUID: uid(1), ...(SOPInstanceUID && { SeriesInstanceUID: uid(2), SOPInstanceUID }) }],
      { kind: 'deleted', reason: 'test', by: 'test' },
    );

  test('is deleted in HealthImaging too: not while it lies in the trash, and when the trash is emptied', async () => {
    const clinic = await archive(2);
    const { services, fake, placeAll } = clinic;
    await placeAll();
    expect(fake.imageSets.size).toBe(1);
    await remove(clinic);
    expect(await services.placement.remove(TENANT, uid(1))).toBe('removed'); // it may come back
    expect(fake.calls.get('DeleteImageSet')).toBeUndefined();
    services.clock.advance(services.limits.trashMs + 1);
    expect(await sweep(services, TENANT)).toMatchObject({ purged: 2 });
    expect(await work(clinic)).toStrictEqual(['later', 'later', 'removed']);
    expect(fake.imageSets.size).toBe(0);
    expect(fake.calls.get('DeleteImageSet')).toBe(1);
    for (const partition of [`${TENANT}|imagesets|${uid(1)}`, `${TENANT}|placed|${uid(1)}`])
      expect((await services.index.query({ partition, limit: 10 })).records).toStrictEqual([]);
  });

  test('takes its image set along, and what else was in it is placed anew', async () => {
    const clinic = await archive(3);
    const { services, fake, placeAll, frame } = clinic;
    await placeAll();
    await remove(clinic, uid(101));
    services.clock.advance(services.limits.trashMs + 1);
    await sweep(services, TENANT);
    const outcomes = await work(clinic, 12);
    expect(outcomes.at(-1)).toBe('placed');
    expect([...fake.imageSets.values()].map(({ instances }) => [...instances.keys()].toSorted())).toStrictEqual([
      [uid(100), uid(102)],
    ]);
    expect(await frame(2)).toBe(`HTJ2K of ${uid(102)} frame 1`);
  });

  test('is asked for again while HealthImaging is busy, and given up by nobody', async () => {
    const clinic = await archive(1);
    const { services, fake, placeAll, placement } = clinic;
    await placeAll();
    await remove(clinic);
    services.clock.advance(services.limits.trashMs + 1);
    await sweep(services, TENANT);
    fake.errors.push(...Array.from({ length: 3 }, (): [string, number] => ['ThrottlingException', 429]));
    await expect(placement.remove(TENANT, uid(1))).rejects.toMatchObject({ code: 'BUSY' });
    const [set] = fake.imageSets.values();
    set!.state = 'LOCKED'; // somebody updates it
    expect(await placement.remove(TENANT, uid(1))).toBe('removing');
    expect(await work(clinic)).toContain('removed');
    expect(fake.imageSets.size).toBe(0);
  });
});
