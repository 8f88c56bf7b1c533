import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { type Clinic, cStore, dataSetsIn, dataSetsOf, drained, openClinic, status, until } from './clinic.ts';
import { Promises } from './promises.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
let clinic: Clinic;
let real: number;
beforeEach(() => {
  real = Date.now();
  vi.useFakeTimers({ toFake: ['Date'], now: real, shouldAdvanceTime: true });
});
afterEach(async () => {
  vi.useRealTimers();
  await clinic.close();
});
const setClock = (days: number): unknown => vi.setSystemTime(real + days * DAY_MS);

const slices = (count: number, first = 0): Uint8Array[] =>
  Array.from({ length: count }, (_, i) =>
    buildDicom({ StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(100 + first + i) }),
  );

describe.each([
  ['back by ten days', -10],
  ['ahead by ten years', 3_650],
])('a clock that is put %s', (_, days) => {
  test('while nothing can be reached: what waits, and what comes after, goes out when the line is back', async () => {
    clinic = await openClinic();
    await clinic.line.set({ kind: 'refused' });
    await cStore(clinic.gateway, slices(4));
    await until(
      () => status(clinic.gateway),
      (now) => now.pending === 4 && now.upstream.online === false,
    );
    setClock(days);
    await cStore(clinic.gateway, slices(4, 4));
    await clinic.line.set({ kind: 'none' });
    await drained(clinic.gateway, 8);
    expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf(slices(8)));
  });

  test('while instances wait for their own time: they are sent again', async () => {
    clinic = await openClinic({ retry: { firstMs: 400, mostMs: 2_000 } });
    const full = {
      '00081198': {
        vr: 'SQ',
        Value: [0, 1].map((i) => ({
          '00081155': { vr: 'UI', Value: [uid(100 + i)] },
          '00081197': { vr: 'US', Value: [0xa700] },
        })),
      },
    };
    clinic.archive.intercept = (answer) => async (request) =>
      request.method === 'POST' && request.path === '/dicomweb/studies'
        ? {
            response: {
              status: 409,
              headers: { 'content-type': 'application/dicom+json' },
              body: Buffer.from(JSON.stringify(full)),
            },
            route: undefined,
          }
        : answer(request);
    await cStore(clinic.gateway, slices(2));
    await until(
      () => status(clinic.gateway),
      (now) => now.failures.transient >= 2,
    );
    setClock(days);
    clinic.archive.intercept = undefined;
    await drained(clinic.gateway, 2);
    expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf(slices(2)));
  });

  test('while the gateway is off', async () => {
    clinic = await openClinic();
    await clinic.line.set({ kind: 'refused' });
    await cStore(clinic.gateway, slices(4));
    await until(
      () => status(clinic.gateway),
      (now) => now.pending === 4 && now.blocked > 1,
    );
    setClock(days);
    await clinic.restart();
    await cStore(clinic.gateway, slices(4, 4));
    await clinic.line.set({ kind: 'none' });
    await drained(clinic.gateway, 8);
    expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf(slices(8)));
  });

  test('within a schedule that lets little through', async () => {
    const rows = [
      { days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], from: '00:00', to: '00:00', bytesPerSecond: 200_000 },
    ];
    clinic = await openClinic({ bandwidth: rows });
    await cStore(clinic.gateway, slices(2));
    await drained(clinic.gateway, 2);
    setClock(days);
    await cStore(clinic.gateway, slices(4, 2));
    await drained(clinic.gateway, 6);
    expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf(slices(6)));
  });

  test('while a modality waits for storage commitment: it is answered when the archive has the instances', async () => {
    const promises = await Promises.listen();
    try {
      clinic = await openClinic({}, { moveDestinations: [promises.destination] });
      await clinic.line.set({ kind: 'refused' });
      await cStore(clinic.gateway, slices(2));
      const remote = { aeTitle: 'NEPHOS', host: '127.0.0.1', port: clinic.gateway.listeners.port! };
      const transaction = await promises.ask(remote, [uid(100), uid(101)]);
      await until(
        () => status(clinic.gateway),
        (now) => now.pending === 2 && now.blocked > 1,
      );
      setClock(days);
      await clinic.line.set({ kind: 'none' });
      const { committed, failed } = await promises.answer(transaction!);
      // Ahead, the time that a request may take has passed: an answer of failure is one as well, for whoever asked keeps the instances then.
      expect(days < 0 ? committed : [...committed, ...failed]).toHaveLength(2);
    } finally {
      await promises.close();
    }
  });
});
