import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { asRecord } from '#core/ports/index-table.ts';
import {
  type Clinic,
  commitmentOf,
  cStore,
  dataSetsIn,
  dataSetsOf,
  drained,
  openClinic,
  status,
  TENANT,
  until,
} from '#test/edge/clinic.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';

let clinic: Clinic;
afterEach(() => clinic.close());

const STUDY = { StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2) };
const [SPOILED, ...OTHERS] = Array.from({ length: 4 }, (_, i) =>
  buildDicom({ ...STUDY, SOPInstanceUID: uid(10 + i), Rows: 64, Columns: 64, PixelData: new Uint8Array(2 * 64 * 64) }),
) as [Uint8Array, ...Uint8Array[]];

const blobKey = async (): Promise<string> => {
  const key = keys.instance(TENANT, STUDY.StudyInstanceUID, STUDY.SeriesInstanceUID, uid(10));
  return asRecord<InstanceRecord>((await clinic.gateway.services.index.get(key))!).blobKey;
};

/** One bit, in the last pixel. */
async function spoil(): Promise<void> {
  const path = join(clinic.dataDir, 'blobs', await blobKey());
  const bytes = readFileSync(path);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(path, bytes);
}

/** An archive that takes what comes, and says of it only what it holds. */
function compareNoDigests(onStored: () => Promise<void> = async () => {}): void {
  clinic.archive.intercept = (answer) => async (request) => {
    const isStore = request.method === 'POST';
    async function* body(): AsyncGenerator<Uint8Array> {
      const whole = Buffer.concat(await Array.fromAsync(request.body)).toString('latin1');
      yield Buffer.from(whole.replaceAll('repr-digest:', 'not-digest:'), 'latin1');
    }
    const answered = await answer(isStore ? { ...request, body: body() } : request);
    if (isStore) await onStored();
    const { 'repr-digest': _, ...headers } = answered.response.headers;
    const text = answered.response.body;
    return {
      ...answered,
      response: {
        ...answered.response,
        headers,
        ...(typeof text === 'string' && { body: text.replaceAll('00091001', '00091099') }),
      },
    };
  };
}

/** The one is held, for this reason and promised to nobody; the archive has the others and nothing else. */
async function expectHeld(reason: string): Promise<void> {
  await until(
    () => status(clinic.gateway),
    (now) => now.pending === 0 && now.confirmed + now.held === 4,
  );
  const held = await clinic.gateway.forwarder.held('cloud', 10);
  expect(held).toEqual([expect.objectContaining({ SOPInstanceUID: uid(10), reason })]);
  const { others } = await commitmentOf(clinic.gateway, [SPOILED, ...OTHERS]);
  expect(others).toEqual([uid(10)]);
}

async function storedWhileTheLineIsDown(): Promise<void> {
  await clinic.line.set({ kind: 'refused' });
  expect(await cStore(clinic.gateway, [SPOILED, ...OTHERS])).toEqual([0, 0, 0, 0]);
}

const CHANGED = 'its bytes here are not those that were received';

/** It was sent and fetched back, both spoiled: the same, it was found, and storage commitment was given. */
test('what a disk has spoiled is not sent to an archive that compares no digests', async () => {
  clinic = await openClinic();
  compareNoDigests();
  await storedWhileTheLineIsDown();
  await spoil();
  await clinic.line.set({ kind: 'none' });
  await expectHeld(CHANGED);
  expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf(OTHERS));
});

test('what a disk has spoiled since it was sent is no evidence, and is not blamed on the archive', async () => {
  clinic = await openClinic();
  compareNoDigests(spoil);
  await storedWhileTheLineIsDown();
  await clinic.line.set({ kind: 'none' });
  await expectHeld(CHANGED);
  expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf([SPOILED, ...OTHERS]));
});

/** The digest was that of the spoiled pixels, compressed: the archive vouched for it. */
test('what a disk has spoiled is not compressed and sent as if it had been received', async () => {
  clinic = await openClinic({ compression: 'htj2k' });
  await storedWhileTheLineIsDown();
  await spoil();
  await clinic.line.set({ kind: 'none' });
  await expectHeld(CHANGED);
  expect([...(await dataSetsIn(clinic.archive.archive)).keys()].toSorted()).toEqual([uid(11), uid(12), uid(13)]);
});

/** Its failure was taken for the line's, and for an internal error where it came while the two were compared: nothing else went out. */
test.each(['none', 'htj2k'])(
  'what a disk cannot read holds up nothing else, and goes when it can (compression: %s)',
  async (compression) => {
    clinic = await openClinic({ compression, evidence: 'retrieve', batch: { instances: 2 } });
    await storedWhileTheLineIsDown();
    const { blobs } = clinic.gateway.services;
    const spoiled = await blobKey();
    const readBytes = blobs.readBytes.bind(blobs);
    const failing = vi.spyOn(blobs, 'readBytes').mockImplementation(async (key, ...rest) => {
      if (key === spoiled) throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
      return readBytes(key, ...rest);
    });
    await clinic.line.set({ kind: 'none' });
    await expectHeld('its bytes cannot be read here');
    failing.mockRestore();
    expect(await clinic.gateway.forwarder.release('cloud')).toBe(1);
    expect(await drained(clinic.gateway, 4)).toMatchObject({ held: 0, confirmed: 4 });
    expect((await dataSetsIn(clinic.archive.archive)).size).toBe(4);
  },
);
