import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { keys, type SeriesRecord } from '#core/archive/records.ts';
import { recordAvailability } from '#core/archive/tiering.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { ARCHIVE_POLICY } from '#dimse/archive.ts';
import { COMMAND, PRIORITY } from '#dimse/command-set.ts';
import { type RetrieveReport, sendRetrieve } from '#dimse/scu.ts';
import { createDimseServer } from '#dimse/server.ts';
import { getService } from '#dimse/services/get.ts';
import { moveService } from '#dimse/services/move.ts';
import type { Session } from '#dimse/session.ts';
import { STUDY_ROOT_GET, STUDY_ROOT_MOVE } from '#dimse/sop-classes.ts';
import { buildDicom, CT_IMAGE_STORAGE, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { NATIVE, sessionPair } from './pairs.ts';

const STUDY = uid(50);
const WHOLE_STUDY: DataSet = {
  '00080052': { vr: 'CS', Value: ['STUDY'] },
  '0020000D': { vr: 'UI', Value: [STUDY] },
};
/** How long somebody waits for what will come. */
const WAITING = { interval: 5, timeout: 60_000 };
const slice = (series: number, n: number) =>
  buildDicom({ StudyInstanceUID: STUDY, SeriesInstanceUID: uid(series), SOPInstanceUID: uid(n), InstanceNumber: n });

/** An archive with a study of two series, of which one or both lie on slow media, and somebody who gets it. */
async function coldStudy(...cold: number[]) {
  return coldStudyFor(PRIORITY.medium, cold);
}
async function coldStudyFor(priority: number, cold: readonly number[]) {
  const services = memoryServices({ limits: { retrievePendingMs: 10 } });
  for (const [series, n] of [
    [51, 511],
    [51, 512],
    [52, 521],
  ] as const)
    await store(services, slice(series, n));
  for (const series of cold) {
    services.blobs.archive(`${TENANT}/${STUDY}/${uid(series)}/`);
    await recordAvailability(services, TENANT, STUDY, uid(series), 'OFFLINE');
  }
  const taken: string[] = [];
  const { scu } = await sessionPair({
    services: new Map([
      [
        COMMAND.cGet,
        getService({
          services,
          aeTitle: 'NEPHOS',
          principalOf: () => ({ tenant: TENANT, subject: 'WS1', roles: ['modality'] }),
        }),
      ],
    ]),
    scuServices: new Map([
      [
        COMMAND.cStore,
        async ({ command, dataSet, respond }) => {
          await dataSet!.gather();
          taken.push(command.AffectedSOPInstanceUID!);
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
  const pending: RetrieveReport[] = [];
  const cancel = new AbortController();
  const get = (session: Session) =>
    sendRetrieve(session, STUDY_ROOT_GET, WHOLE_STUDY, {
      priority,
      onPending: (one) => void pending.push(one),
      cancel: cancel.signal,
    });
  const availability = async (series: number) =>
    asRecord<SeriesRecord>((await services.index.get(keys.series(TENANT, STUDY, uid(series))))!).availability;
  const waitedFor = (notices: number) => expect.poll(() => pending.length, WAITING).toBeGreaterThanOrEqual(notices);
  return { services, scu, taken, pending, cancel, got: get(scu), availability, waitedFor };
}

test('C-GET of cold objects: pending with unchanged counts until they are back, then all of them', async () => {
  const { services, scu, taken, pending, got, availability, waitedFor } = await coldStudy(51, 52);
  await waitedFor(4);
  expect(taken).toEqual([]);
  expect(pending).toMatchObject(
    Array.from({ length: pending.length }, () => ({ remaining: 3, completed: 0, failed: 0 })),
  );
  // Both have been asked for, not only the one that is first.
  for (const series of [51, 52]) await expect.poll(() => availability(series), WAITING).toBe('NEARLINE');
  for (const series of [51, 52])
    for await (const { key } of services.blobs.list(`${TENANT}/${STUDY}/${uid(series)}/`))
      await services.blobs.restore(key);
  services.blobs.finishRestores();
  expect(await got).toMatchObject({ status: 0, completed: 3, failed: 0 });
  expect(taken.toSorted()).toEqual([511, 512, 521].map(uid));
  await scu.release();
});

test('with priority HIGH the store is asked at once, whatever waits in the queue of restores', async () => {
  for (const [priority, asked] of [
    [PRIORITY.medium, 'OFFLINE'],
    [PRIORITY.high, 'NEARLINE'],
  ] as const) {
    const { services, scu, got, cancel, availability, waitedFor } = await coldStudyFor(priority, [51, 52]);
    await waitedFor(2);
    for (const series of [51, 52]) await expect.poll(() => availability(series), WAITING).toBe('NEARLINE');
    // No job of the queue has been worked off.
    const found = async () => {
      const stored = await Array.fromAsync(services.blobs.list(`${TENANT}/${STUDY}/`));
      return new Set(await Promise.all(stored.map(({ key }) => services.blobs.availability(key))));
    };
    await expect.poll(found, WAITING).toEqual(new Set([asked]));
    services.blobs.finishRestores();
    if (priority === PRIORITY.high) expect(await got).toMatchObject({ status: 0, completed: 3, failed: 0 });
    else cancel.abort();
    await got;
    await scu.release();
  }
});

test('what is at hand is sent; what is not back in time has failed, by name', async () => {
  const { services, scu, taken, got, pending } = await coldStudy(52);
  const waits = () => pending.filter(({ remaining, completed }) => remaining === 1 && completed === 2).length;
  await expect.poll(waits, WAITING).toBeGreaterThan(1);
  // The time that it waits for begins when it has seen what is not there.
  let ended = false;
  const end = () => {
    ended = true;
  };
  got.then(end, end);
  while (!ended) {
    services.clock.advance(services.limits.retrieveRestoreMs + 1);
    await sleep(5);
  }
  expect(await got).toMatchObject({ status: 0xb000, completed: 2, failed: 1, failedUIDs: [uid(521)] });
  expect(taken.toSorted()).toEqual([511, 512].map(uid));
  await scu.release();
});

test('cancelled while it waits: it ends at once', async () => {
  const { scu, got, cancel, waitedFor } = await coldStudy(51, 52);
  await waitedFor(2);
  cancel.abort();
  expect(await got).toMatchObject({ status: 0xfe00, completed: 0, remaining: 3 });
  await scu.release();
});

test('C-MOVE to somebody who does not wait that long: he is asked again when the objects are back', async () => {
  const services = memoryServices({ limits: { retrievePendingMs: 10 } });
  for (const n of [511, 512]) await store(services, slice(51, n));
  services.blobs.archive(`${TENANT}/${STUDY}/`);
  const taken: string[] = [];
  // Impatient once: the test is about the wait, not about who takes his time to send.
  const timers = { artimMs: 60_000, idleMs: 400 };
  const impatient = createDimseServer({
    aeTitle: 'WS1',
    checkCalledAETitle: false,
    allowed: 'any',
    maxAssociations: 1,
    policy: ARCHIVE_POLICY,
    services: new Map([
      [
        COMMAND.cStore,
        async ({ command, dataSet, respond }) => {
          await dataSet!.gather();
          taken.push(command.AffectedSOPInstanceUID!);
          await respond({ Status: 0 });
        },
      ],
    ]),
    timers,
    onEnd: () => {
      ended++;
      timers.idleMs = 60_000;
    },
  });
  let ended = 0;
  impatient.server.listen(0, '127.0.0.1');
  await once(impatient.server, 'listening');
  const { port } = impatient.server.address() as AddressInfo;
  const access = {
    services,
    aeTitle: 'NEPHOS',
    principalOf: () => ({ tenant: TENANT, subject: 'WS1', roles: ['modality' as const] }),
    destinationOf: (aeTitle: string) => ({ aeTitle, host: '127.0.0.1', port }),
  };
  const { scu } = await sessionPair({
    services: new Map([[COMMAND.cMove, moveService(access)]]),
    contexts: [{ id: 1, abstractSyntax: STUDY_ROOT_MOVE, transferSyntaxes: NATIVE }],
  });
  const moved = sendRetrieve(scu, STUDY_ROOT_MOVE, WHOLE_STUDY, { destination: 'WS1' });
  await expect.poll(() => ended, WAITING).toBe(1);
  expect(taken).toEqual([]);
  for await (const { key } of services.blobs.list(`${TENANT}/${STUDY}/`)) await services.blobs.restore(key);
  services.blobs.finishRestores();
  expect(await moved).toMatchObject({ status: 0, completed: 2, failed: 0 });
  expect(taken.toSorted()).toEqual([511, 512].map(uid));
  await scu.release();
  await impatient.close(0);
});

test('regression: an association that was lost while the objects were waited for shows it with the first of them: that one is sent over another', async () => {
  const services = memoryServices({ limits: { retrievePendingMs: 10 } });
  for (const n of [511, 512, 513]) await store(services, slice(51, n));
  services.blobs.archive(`${TENANT}/${STUDY}/`);
  const taken: string[] = [];
  const associations = new Set<Session>();
  const forgetful = createDimseServer({
    aeTitle: 'WS1',
    checkCalledAETitle: false,
    allowed: 'any',
    maxAssociations: 1,
    policy: ARCHIVE_POLICY,
    services: new Map([
      [
        COMMAND.cStore,
        async ({ session, command, dataSet, respond }) => {
          await dataSet!.gather();
          associations.add(session);
          if (associations.size === 1) return session.abort();
          taken.push(command.AffectedSOPInstanceUID!);
          await respond({ Status: 0 });
        },
      ],
    ]),
  });
  forgetful.server.listen(0, '127.0.0.1');
  await once(forgetful.server, 'listening');
  const { port } = forgetful.server.address() as AddressInfo;
  const access = {
    services,
    aeTitle: 'NEPHOS',
    principalOf: () => ({ tenant: TENANT, subject: 'WS1', roles: ['modality' as const] }),
    destinationOf: (aeTitle: string) => ({ aeTitle, host: '127.0.0.1', port }),
  };
  const { scu } = await sessionPair({
    services: new Map([[COMMAND.cMove, moveService(access)]]),
    contexts: [{ id: 1, abstractSyntax: STUDY_ROOT_MOVE, transferSyntaxes: NATIVE }],
  });
  let waits = 0;
  const onPending = () => void waits++;
  const moved = sendRetrieve(scu, STUDY_ROOT_MOVE, WHOLE_STUDY, { destination: 'WS1', onPending });
  await expect.poll(() => waits, WAITING).toBeGreaterThan(0);
  for await (const { key } of services.blobs.list(`${TENANT}/${STUDY}/`)) await services.blobs.restore(key);
  services.blobs.finishRestores();
  expect(await moved).toMatchObject({ status: 0, completed: 3, failed: 0 });
  expect(taken.toSorted()).toEqual([511, 512, 513].map(uid));
  expect(associations.size).toBe(2);
  await scu.release();
  await forgetful.close(0);
});
