import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { checkFixity } from '#core/archive/fixity.ts';
import { discardHeld, listHeld, replaceByHeld } from '#core/archive/quarantine.ts';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { FINISH_REMOVAL, moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { sweep } from '#core/archive/sweep.ts';
import { listTrash, purgeTrash } from '#core/archive/trash.ts';
import { allStudies, objectsAside, objectsOfStudy, verifyArchive } from '#core/archive/verify.ts';
import { PacsError } from '#core/errors.ts';
import { ARCHIVE_JOBS } from '#core/jobs.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { Policy, Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { dyingServices } from '#test/fixtures/dying-services.ts';
import { keyObject } from '#test/fixtures/key-object.ts';
import { memoryServices, store, TENANT, TestClock } from '#test/fixtures/services.ts';

type MemoryServices = ReturnType<typeof memoryServices>;

const STUDY = { StudyInstanceUID: uid(1) };
const WHO = { reason: 'wrong patient', by: 'admin' };
const WHY = { kind: 'deleted', ...WHO } as const;
const image = (number: number, ImageComments = ''): Uint8Array =>
  buildDicom({ ...STUDY, SeriesInstanceUID: uid(2), SOPInstanceUID: uid(number), ImageComments });
const IMAGES = [10, 11, 12].map((number) => image(number));
const OTHER = image(10, 'other bytes under the same UID');
const NOTE = keyObject({ study: 1, instance: 50, title: '113001' }, [
  [1, 2, 10],
  [1, 2, 11],
]);

const storeAll = async (services: Services): Promise<void> => {
  for (const bytes of IMAGES) await store(services, bytes);
};
const trashId = async (services: Services): Promise<string> =>
  (await listTrash(services, TENANT, '', 1)).items[0]?.id ?? 'none';
const heldId = async (services: Services): Promise<string> =>
  (await listHeld(services, TENANT, '', 1)).items[0]?.id ?? 'none';
const remove = (services: Services) => moveToTrash(services, TENANT, [STUDY], WHY);
/** A store that does not say what has become of the object has not acknowledged it. */
const send = async (services: Services, bytes: Uint8Array): Promise<void> => {
  const outcome = await store(services, bytes);
  if (outcome.kind === 'failed') throw outcome.error;
};

async function spoil({ blobs, index }: MemoryServices): Promise<void> {
  const record = await index.get(keys.instance(TENANT, uid(1), uid(2), uid(10)));
  const { blobKey } = asRecord<InstanceRecord>(record!);
  await blobs.delete(blobKey);
  await blobs.put(blobKey, IMAGES[0]!.with(IMAGES[0]!.length - 1, 99));
}
const findSpoiled = (services: Services) =>
  checkFixity(services, TENANT, { everyMs: 1, bytesPerSecond: 1e12 }, () => {}, new AbortController().signal);

interface Case {
  readonly name: string;
  readonly policy?: Partial<Policy>;
  readonly prepare: (services: MemoryServices) => Promise<void>;
  /** may be repeated; what it throws when there is nothing left to do does not matter */
  readonly act: (services: Services) => Promise<unknown>;
  /** what is there for ever, whatever happens */
  readonly kept: readonly Uint8Array[];
}

const CASES: readonly Case[] = [
  { name: 'delete a study', prepare: storeAll, act: remove, kept: IMAGES },
  {
    name: 'restore a study',
    prepare: async (services) => {
      await storeAll(services);
      await remove(services);
    },
    act: async (services) => restoreFromTrash(services, TENANT, await trashId(services)),
    kept: IMAGES,
  },
  {
    name: 'restore a study that was sent again',
    prepare: async (services) => {
      await storeAll(services);
      await remove(services);
      await store(services, IMAGES[0]!);
    },
    act: async (services) => restoreFromTrash(services, TENANT, await trashId(services)),
    kept: IMAGES,
  },
  {
    name: 'restore a study over a copy that the disk has spoiled',
    prepare: async (services) => {
      await storeAll(services);
      await remove(services);
      await store(services, IMAGES[0]!);
      await spoil(services);
    },
    act: async (services) => restoreFromTrash(services, TENANT, await trashId(services)),
    kept: IMAGES,
  },
  {
    name: 'purge one study of two',
    prepare: async (services) => {
      await storeAll(services);
      await store(
        services,
        buildDicom({ StudyInstanceUID: uid(7), SeriesInstanceUID: uid(8), SOPInstanceUID: uid(9) }),
      );
      await moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(7) }], WHY);
      services.clock.advance(services.limits.trashMs + 1);
    },
    act: (services) => purgeTrash(services, TENANT),
    kept: IMAGES,
  },
  {
    name: 'mend what the disk has spoiled',
    prepare: async (services) => {
      await storeAll(services);
      await spoil(services);
      await findSpoiled(services);
    },
    act: (services) => send(services, IMAGES[0]!),
    kept: IMAGES.slice(1),
  },
  {
    name: 'keep a version',
    policy: { conflict: 'version' },
    prepare: storeAll,
    act: (services) => send(services, OTHER),
    kept: IMAGES,
  },
  {
    name: 'replace',
    policy: { conflict: 'replace' },
    prepare: storeAll,
    act: (services) => send(services, OTHER),
    kept: IMAGES,
  },
  { name: 'hold other bytes', prepare: storeAll, act: (services) => send(services, OTHER), kept: IMAGES },
  {
    name: 'replace by what is held',
    prepare: async (services) => {
      await storeAll(services);
      await store(services, OTHER);
    },
    act: async (services) => replaceByHeld(services, TENANT, await heldId(services), WHO),
    kept: [...IMAGES, OTHER],
  },
  {
    name: 'discard what is held',
    prepare: async (services) => {
      await storeAll(services);
      await store(services, OTHER);
    },
    act: async (services) => discardHeld(services, TENANT, await heldId(services), WHO),
    kept: [...IMAGES, OTHER],
  },
  { name: 'reject by a note', prepare: storeAll, act: (services) => send(services, NOTE), kept: IMAGES },
  {
    name: 'store what a note has rejected ahead',
    prepare: (services) => store(services, NOTE).then(() => {}),
    act: async (services) => {
      for (const bytes of IMAGES) await send(services, bytes);
    },
    kept: [NOTE],
  },
  {
    name: 'sweep up what others left',
    prepare: async (services) => {
      await storeAll(services);
      for (let calls = 1; calls < 8; calls++)
        await send(dyingServices(services, { calls, when: 'after' }).services, image(20 + calls)).catch(() => {});
      await remove(dyingServices(services, { calls: 9, when: 'after' }).services).catch(() => {});
    },
    act: (services) => sweep(services, TENANT, 0),
    kept: IMAGES,
  },
];

/** Who waits for a dead one to be given up must not wait for ever: the clock goes on as far as is waited. */
class WaitingClock extends TestClock {
  override sleep = (ms = 1): Promise<void> => {
    this.advance(Math.max(1, ms));
    return new Promise((resolve) => setImmediate(resolve));
  };
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** SHA-256 of the bytes that stand there, of what is visible and of what is kept aside. */
async function told(services: Services): Promise<{ visible: string[]; aside: string[] }> {
  const hashed = async (blobKey: string): Promise<string> => sha256(await services.blobs.readBytes(blobKey));
  const visible: string[] = [];
  const aside: string[] = [];
  for await (const study of allStudies(services, TENANT))
    for await (const { stored, isCurrent } of objectsOfStudy(services, TENANT, study))
      (isCurrent ? visible : aside).push(await hashed(stored.blobKey));
  for await (const stored of objectsAside(services, TENANT)) aside.push(await hashed(stored.blobKey));
  return { visible: visible.sort(), aside: aside.sort() };
}

/** The archive starts again, and works off what was begun. */
async function recover(dead: MemoryServices, policy?: Partial<Policy>): Promise<MemoryServices> {
  const { index, blobs, jobs, clock } = dead;
  const services = memoryServices({ ports: { index, blobs, jobs, clock }, ...(policy && { policy }) });
  await sweep(services, TENANT, 0);
  clock.advance(10 * 60_000);
  for (const job of await jobs.receive(FINISH_REMOVAL, { max: 10, visibilityMs: 60_000, maxAttempts: 10 })) {
    await ARCHIVE_JOBS[FINISH_REMOVAL](services, job.payload);
    await jobs.complete(FINISH_REMOVAL, job);
  }
  await sweep(services, TENANT, 0);
  return services;
}

const SOUND = { damaged: [], orphans: [], miscounted: [] };
const missing = (found: { visible: string[]; aside: string[] }, kept: readonly Uint8Array[]): string[] =>
  kept.map(sha256).filter((one) => !found.visible.includes(one) && !found.aside.includes(one));

describe.each([true, false])('with small objects packed: %s', (packed) => {
  describe.each(CASES)('killed at every step of: $name', ({ prepare, act, kept, policy }) => {
    const prepared = async (): Promise<MemoryServices> => {
      const services = memoryServices({ packed, clock: new WaitingClock(), ...(policy && { policy }) });
      await prepare(services);
      return services;
    };
    /** Dies at each call in turn, until it gets by; `look` sees what was left. */
    async function everywhere(look: (dead: MemoryServices, where: string) => Promise<void>): Promise<number> {
      for (let calls = 1; ; calls++) {
        let survived = true;
        for (const when of ['before', 'after'] as const) {
          const services = await prepared();
          const dying = dyingServices(services, { calls, when }, policy && { policy });
          await act(dying.services).catch(() => {});
          await new Promise((resolve) => setImmediate(resolve));
          survived &&= dying.survived();
          await look(services, `${when} call ${calls}`);
        }
        if (survived) return calls;
      }
    }

    test('nothing is lost, and it can be repeated to its end', async () => {
      const undisturbed = await prepared();
      await act(undisturbed);
      const end = await told(await recover(undisturbed, policy));
      const steps = await everywhere(async (dead, where) => {
        const again = await recover(dead, policy);
        expect(missing(await told(again), kept), where).toEqual([]);
        await act(again).catch((error: unknown) => {
          if (!(error instanceof PacsError)) throw error;
        });
        const last = await recover(again, policy);
        expect(await told(last), where).toEqual(end);
        expect(await verifyArchive(last, TENANT), where).toMatchObject(SOUND);
      });
      expect(steps).toBeGreaterThan(3);
    });

    test('nothing is lost when the index is made anew right then', async () => {
      await everywhere(async (dead, where) => {
        const { blobs, clock } = dead;
        const fresh = memoryServices({ packed, ports: { blobs, clock }, ...(policy && { policy }) });
        expect((await rebuildIndex(fresh, TENANT)).failed, where).toEqual([]);
        await sweep(fresh, TENANT, 0);
        expect(missing(await told(fresh), kept), where).toEqual([]);
        expect(await verifyArchive(fresh, TENANT), where).toMatchObject(SOUND);
      });
    });
  });
});
