import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { BlobStore } from '#core/ports/blob-store.ts';
import { COMMAND, PRIORITY } from '#dimse/command-set.ts';
import { sendRetrieve } from '#dimse/scu.ts';
import { getService } from '#dimse/services/get.ts';
import { STUDY_ROOT_GET } from '#dimse/sop-classes.ts';
import { buildDicom, CT_IMAGE_STORAGE, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { NATIVE, sessionPair } from './pairs.ts';

/** A disk that takes its time, and is asked before it reads. */
const slow = (blobs: BlobStore, before: (key: string) => Promise<void> | undefined): BlobStore =>
  new Proxy(blobs, {
    get: (target, name) => {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== 'function') return value;
      const method = value.bind(target) as (...args: unknown[]) => unknown;
      if (name !== 'readBytes') return method;
      return async (...args: unknown[]) => {
        await before(args[0] as string);
        await sleep(3);
        return method(...args);
      };
    },
  });

test('a C-GET with priority HIGH passes those of MEDIUM and LOW that have begun, MEDIUM passes LOW; each gets everything', async () => {
  const services = memoryServices({ limits: { retrieveReads: 1, retrievePendingMs: 10 } });
  const SLICES = 12;
  for (const study of [1, 2, 3])
    for (let n = 1; n <= SLICES; n++)
      await store(services, buildDicom({ StudyInstanceUID: uid(study), SOPInstanceUID: uid(study * 100 + n) }));
  // The third read of LOW goes on when the others wait for their turn, as their pending responses show before anything has come.
  const held = Promise.withResolvers<void>();
  const others = new Map([1, 2].map((study) => [study, Promise.withResolvers<void>()]));
  let readsOfLow = 0;
  const before = async (key: string): Promise<void> => {
    if (!key.includes(`/${uid(3)}/`) || ++readsOfLow !== 3) return;
    held.resolve();
    await Promise.all([...others.values()].map(({ promise }) => promise));
  };
  const access = {
    services: { ...services, blobs: slow(services.blobs, before) },
    aeTitle: 'NEPHOS',
    principalOf: () => ({ tenant: TENANT, subject: 'WS1', roles: ['modality' as const] }),
  };
  const came: number[] = [];
  const retrieve = async (study: number, priority: number): Promise<void> => {
    const { scu } = await sessionPair({
      services: new Map([[COMMAND.cGet, getService(access)]]),
      scuServices: new Map([
        [
          COMMAND.cStore,
          async ({ dataSet, respond }) => {
            await dataSet!.gather();
            came.push(study);
            await respond({ Status: 0 });
          },
        ],
      ]),
      contexts: [STUDY_ROOT_GET, CT_IMAGE_STORAGE].map((abstractSyntax, i) => ({
        id: 2 * i + 1,
        abstractSyntax,
        transferSyntaxes: NATIVE,
      })),
      user: { roles: [{ SOPClassUID: CT_IMAGE_STORAGE, scu: false, scp: true }] },
    });
    const identifier = {
      '00080052': { vr: 'CS', Value: ['STUDY'] },
      '0020000D': { vr: 'UI', Value: [uid(study)] },
    };
    const onPending = () => others.get(study)?.resolve();
    const report = await sendRetrieve(scu, STUDY_ROOT_GET, identifier, { priority, onPending });
    expect(report).toMatchObject({ status: 0, completed: SLICES });
    await scu.release();
  };
  const low = retrieve(3, PRIORITY.low);
  await held.promise;
  const medium = retrieve(2, PRIORITY.medium);
  const high = retrieve(1, PRIORITY.high);
  await Promise.all([low, medium, high]);
  const lastOf = (study: number): number => came.lastIndexOf(study);
  expect(lastOf(1)).toBeLessThan(lastOf(2));
  expect(lastOf(2)).toBeLessThan(lastOf(3));
  // Most of LOW came after all of HIGH, although it was begun before.
  expect(came.slice(lastOf(1)).filter((study) => study === 3).length).toBeGreaterThan(SLICES / 2);
});
