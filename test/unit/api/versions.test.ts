import { beforeEach, describe, expect, test } from 'vitest';
import { getVersionContent, getVersions } from '#api/versions.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask } from '../dicomweb/asking.ts';

const INSTANCE = uid(3);

describe('an object that was sent three times, each time with another header, where all are kept', () => {
  const objects = ['first', 'second', 'third'].map((StudyDescription) =>
    buildDicom({ SOPInstanceUID: INSTANCE, StudyDescription }),
  );
  let services: Services & { clock: { advance(ms: number): void } };

  beforeEach(async () => {
    services = memoryServices({ policy: { conflict: 'version' } });
    for (const object of objects) {
      await store(services, object);
      services.clock.advance(1_000);
    }
  });
  const versions = async () =>
    JSON.parse((await ask(services, getVersions, { instance: INSTANCE })).body.toString()).items as {
      id: string;
      current: boolean;
      sizeBytes: number;
    }[];

  test('all three are listed, the current one first, and had back byte for byte', async () => {
    const items = await versions();
    expect(items.map(({ current }) => current)).toEqual([true, false, false]);
    for (const [i, { id, sizeBytes }] of items.entries()) {
      const { status, headers, body } = await ask(services, getVersionContent, { instance: INSTANCE, id });
      expect([status, headers['content-type']]).toEqual([200, 'application/dicom']);
      expect(headers['content-length']).toBe(String(sizeBytes));
      expect(body.equals(Buffer.from(objects[2 - i]!))).toBe(true);
    }
  });

  test('as many as are asked for', async () => {
    const { body } = await ask(services, getVersions, { instance: INSTANCE }, { query: 'limit=1' });
    expect(JSON.parse(body.toString()).items).toHaveLength(2);
  });

  test('others are not there', async () => {
    expect((await ask(services, getVersions, { instance: uid(99) })).status).toBe(404);
    expect((await ask(services, getVersionContent, { instance: INSTANCE, id: 'x' })).status).toBe(404);
    const [{ id } = { id: '' }] = await versions();
    expect((await ask(services, getVersionContent, { instance: uid(99), id })).status).toBe(404);
  });
});

test('an instance that was sent once has one version', async () => {
  const services = memoryServices();
  await store(services, buildDicom({ SOPInstanceUID: INSTANCE }));
  const { body } = await ask(services, getVersions, { instance: INSTANCE });
  expect(JSON.parse(body.toString()).items).toMatchObject([{ current: true, SOPInstanceUID: INSTANCE }]);
});
