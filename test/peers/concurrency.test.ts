import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomFrom, tinyObject, tinyStudy } from '#test/bench/data.ts';
import { first, getInstance, getJson, stow } from './helpers/dicomweb.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';

const WRITERS = 50;
const STUDIES = 8;
const SERIES_A_STUDY = 3;
const INSTANCES_A_SERIES = 12;
/** how long a sender comes again to what another one is just writing */
const PATIENCE_MS = 120_000;

interface Sent {
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  readonly SOPInstanceUID: string;
  readonly bytes: Buffer;
}

/** Every instance of a few studies; the modality follows from the series. */
function instances(): Sent[] {
  const all: Sent[] = [];
  for (let study = 0; study < STUDIES; study++) {
    const base = tinyStudy(900_000 + study);
    for (let series = 1; series <= SERIES_A_STUDY; series++) {
      for (let instance = 1; instance <= INSTANCES_A_SERIES; instance++) {
        const SeriesInstanceUID = `${base.StudyInstanceUID}.${series}`;
        const SOPInstanceUID = `${SeriesInstanceUID}.${instance}`;
        const Modality = ['CT', 'MR', 'SR'][series - 1]!;
        all.push({
          StudyInstanceUID: base.StudyInstanceUID,
          SeriesInstanceUID,
          SOPInstanceUID,
          bytes: tinyObject({ ...base, SeriesInstanceUID, SOPInstanceUID, Modality }),
        });
      }
    }
  }
  return all;
}

const shuffled = <T>(items: readonly T[], seed: number): T[] => {
  const random = randomFrom(seed);
  return items
    .map((item) => ({ item, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item);
};

describe('fifty senders at once, each with everything in another order', () => {
  let nephos: Nephos;
  const sent = instances();

  beforeAll(async () => {
    nephos = await startNephos();
  });
  afterAll(() => nephos?.stop());

  test('every resend of an instance is a success', async () => {
    const failures: unknown[] = [];
    const writer = async (number: number): Promise<void> => {
      const order = shuffled(sent, number + 1);
      for (let i = 0; i < order.length; ) {
        const count = 1 + ((number + i) % 17);
        const batch = order.slice(i, i + count);
        i += count;
        // BEING_STORED (A700) asks the sender to come again: another one is just writing the same instance.
        let waiting = batch;
        const patience = performance.now() + PATIENCE_MS;
        while (waiting.length > 0 && performance.now() < patience) {
          const { stored, failed, status } = await stow(
            nephos.root,
            waiting.map(({ bytes }) => bytes),
          );
          const later = failed.filter(({ FailureReason }) => FailureReason === 0xa700);
          const lost = failed.filter(({ FailureReason }) => FailureReason !== 0xa700);
          if (lost.length > 0 || stored.length + failed.length !== waiting.length)
            failures.push({ status, stored: stored.length, failed });
          waiting = waiting.filter(({ SOPInstanceUID }) =>
            later.some((item) => item.SOPInstanceUID === SOPInstanceUID),
          );
          if (waiting.length > 0) await sleep(10);
        }
        if (waiting.length > 0) failures.push({ neverStored: waiting.length });
      }
    };
    await Promise.all(Array.from({ length: WRITERS }, (_, number) => writer(number)));
    expect(failures).toEqual([]);
  });

  test('the study list has each study once, with the exact numbers of series and instances and the modalities', async () => {
    const found = await getJson(
      `${nephos.root}/studies?includefield=00201206&includefield=00201208&includefield=00080061&limit=200`,
    );
    const counts = found.map((study) => ({
      uid: first(study, '0020000D'),
      series: first(study, '00201206'),
      instances: first(study, '00201208'),
      modalities: [...(study['00080061']?.Value ?? [])].sort(),
    }));
    const wanted = [...new Set(sent.map(({ StudyInstanceUID }) => StudyInstanceUID))].map((uid) => ({
      uid,
      series: SERIES_A_STUDY,
      instances: SERIES_A_STUDY * INSTANCES_A_SERIES,
      modalities: ['CT', 'MR', 'SR'],
    }));
    const byUid = (a: { uid: unknown }, b: { uid: unknown }): number => (String(a.uid) < String(b.uid) ? -1 : 1);
    expect(counts.sort(byUid)).toEqual(wanted.sort(byUid));
  });

  test('the series have the exact number of instances, and every instance is listed once', async () => {
    for (const study of new Set(sent.map(({ StudyInstanceUID }) => StudyInstanceUID))) {
      const series = await getJson(`${nephos.root}/studies/${study}/series?includefield=00201209`);
      expect(series.map((one) => first(one, '00201209'))).toEqual(Array(SERIES_A_STUDY).fill(INSTANCES_A_SERIES));
      const listed = await getJson(`${nephos.root}/studies/${study}/instances`);
      const uids = listed.map((one) => String(first(one, '00080018')));
      const wanted = sent
        .filter(({ StudyInstanceUID }) => StudyInstanceUID === study)
        .map(({ SOPInstanceUID }) => SOPInstanceUID);
      expect(uids.sort()).toEqual(wanted.sort());
    }
  });

  test('every instance comes back as it was sent', async () => {
    for (const instance of sent) expect((await getInstance(nephos.root, instance)).equals(instance.bytes)).toBe(true);
  });
});
