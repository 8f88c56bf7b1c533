import { afterEach, describe, expect, test } from 'vitest';
import { evictInstances } from '#core/archive/evict.ts';
import { keys } from '#core/archive/records.ts';
import { selectedInstances } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { listTrash, purgeTrash } from '#core/archive/trash.ts';
import { asItem } from '#core/ports/index-table.ts';
import { type CacheLimits, type CacheState, evictCache } from '#edge/read/cache.ts';
import { readSideOf } from '#edge/read/read-side.ts';
import { gatewayStatus } from '#edge/status/snapshot.ts';
import { statusSideOf } from '#edge/status/status-side.ts';
import { buildDicom, IMPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
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
} from './clinic.ts';

/** An archive that has confirmed instances is restored from an older backup, so that it does not have them, and does not know that it ever had. */

let clinic: Clinic;
afterEach(() => clinic?.close());

const StudyInstanceUID = uid(8_000);
const sop = (i: number): string => uid(8_100 + i);
const PATIENT = 'RESTORED-1';
const objects = Array.from({ length: 3 }, (_, i) =>
  buildDicom({ StudyInstanceUID, SOPInstanceUID: sop(i), InstanceNumber: i, PatientID: PATIENT }),
);
const LONG = 1e12;

const evict = (limits: Partial<CacheLimits> = { cacheBytes: 0 }): Promise<CacheState> => {
  const { knowledge, usage } = readSideOf(clinic.gateway);
  const all = { cacheBytes: LONG, cacheAgeMs: LONG, ...limits };
  return evictCache(clinic.gateway.services, TENANT, knowledge, usage, all);
};

/** As if they had been stored there after its backup was made: neither trash nor event tells of them. */
async function restoreWithout(...sops: string[]): Promise<void> {
  const { services } = clinic.archive.archive;
  const there = await Array.fromAsync(selectedInstances(services, TENANT, [{ StudyInstanceUID }]));
  const gone = there.filter(({ SOPInstanceUID }) => sops.includes(SOPInstanceUID));
  expect((await evictInstances(services, TENANT, gone)).instances).toBe(sops.length);
}

async function storeThere(object: Uint8Array): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${clinic.archive.port}/dicomweb/studies`, {
    method: 'POST',
    headers: { 'content-type': 'multipart/related; type="application/dicom"; boundary=b' },
    body: Buffer.concat([
      Buffer.from('--b\r\ncontent-type: application/dicom\r\n\r\n'),
      object,
      Buffer.from('\r\n--b--\r\n'),
    ]),
  });
  expect(response.status).toBe(200);
}

/** As for a workstation that retrieves the study. */
async function fetchAll(): Promise<void> {
  const { services } = clinic.archive.archive;
  const wanted = await Array.fromAsync(selectedInstances(services, TENANT, [{ StudyInstanceUID }]));
  const { fetcher } = readSideOf(clinic.gateway);
  const fetched = fetcher.fetch(TENANT, wanted, () => true, new AbortController().signal);
  expect(await Array.fromAsync(fetched)).toHaveLength(wanted.length);
}

const act = async (form: Record<string, string>): Promise<string> => {
  const port = await until(
    () => statusSideOf(clinic.gateway).httpPort,
    (one) => one !== undefined,
  );
  const response = await fetch(`http://127.0.0.1:${port}/status/actions`, {
    method: 'POST',
    body: new URLSearchParams(form),
    headers: { accept: 'application/json' },
  });
  return ((await response.json()) as { said: string }).said;
};
const page = async (): Promise<string> =>
  (await fetch(`http://127.0.0.1:${statusSideOf(clinic.gateway).httpPort}/status`)).text();

async function forwarded(upstream: Record<string, unknown> = {}, config: Record<string, unknown> = {}): Promise<void> {
  clinic = await openClinic(upstream, config);
  expect(await cStore(clinic.gateway, objects)).toEqual([0, 0, 0]);
  await drained(clinic.gateway, 3);
}

for (const [evidence, upstream] of [
  ['its digest', {}],
  ['what was fetched back', { evidence: 'retrieve' }],
  ['the digest of what was compressed on the way', { compression: 'htj2k' }],
] as const) {
  test(`confirmed by ${evidence}: what is missing there is held, and what is there goes`, async () => {
    await forwarded(upstream);
    await restoreWithout(sop(0), sop(2));
    expect((await evict()).evicted.instances).toBe(1);
    expect(await status(clinic.gateway)).toMatchObject({ confirmed: 1, held: 2, pending: 0 });
    expect((await evict()).evicted.instances).toBe(0);
    expect(await page()).toContain('does not have it any more');

    expect(await act({ action: 'retry', destination: 'cloud' })).toBe('2 held instances are sent again.');
    await drained(clinic.gateway, 3);
    expect(await status(clinic.gateway)).toMatchObject({ confirmed: 3, held: 0 });
    expect((await dataSetsIn(clinic.archive.archive)).size).toBe(3);
    if (evidence !== 'the digest of what was compressed on the way')
      expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf(objects));
    expect((await evict()).evicted.instances).toBe(2);
  });
}

test('the archive has older bytes under the UID: the copy here stays', async () => {
  await forwarded();
  await restoreWithout(sop(1));
  await storeThere(buildDicom({ StudyInstanceUID, SOPInstanceUID: sop(1), InstanceNumber: 1, ImageComments: 'older' }));
  expect((await evict()).evicted.instances).toBe(2);
  expect(await status(clinic.gateway)).toMatchObject({ confirmed: 2, held: 1 });
});

test('nor does it go where it was compressed on the way, and the archive has older bytes', async () => {
  await forwarded({ compression: 'htj2k' });
  await restoreWithout(sop(1));
  await storeThere(buildDicom({ StudyInstanceUID, SOPInstanceUID: sop(1), ImageComments: 'older' }));
  expect((await evict()).evicted.instances).toBe(2);
  expect(await status(clinic.gateway)).toMatchObject({ confirmed: 2, held: 1 });
});

test('a copy that was fetched back in another encoding is what is sent when it is missing', async () => {
  await forwarded();
  expect((await evict()).evicted.instances).toBe(3);
  await restoreWithout(sop(0), sop(1), sop(2));
  const recoded = buildDicom(
    { StudyInstanceUID, SOPInstanceUID: sop(0), InstanceNumber: 0, PatientID: PATIENT },
    { transferSyntaxUID: IMPLICIT_LE },
  );
  await storeThere(recoded);
  await fetchAll();
  await restoreWithout(sop(0));
  expect((await evict()).evicted.instances).toBe(0);
  expect(await status(clinic.gateway)).toMatchObject({ confirmed: 2, held: 1 });
  await act({ action: 'retry', destination: 'cloud' });
  await drained(clinic.gateway, 3);
  expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf([recoded]));
});

test('a copy that was fetched back, and lost upstream after that, is held as well, and can be sent', async () => {
  await forwarded();
  expect((await evict()).evicted.instances).toBe(3);
  await fetchAll();
  await restoreWithout(sop(0), sop(1), sop(2));
  expect((await evict()).evicted.instances).toBe(0);
  expect(await status(clinic.gateway)).toMatchObject({ confirmed: 0, held: 3 });
  await act({ action: 'retry', destination: 'cloud' });
  await drained(clinic.gateway, 3);
  expect(await dataSetsIn(clinic.archive.archive)).toEqual(dataSetsOf(objects));
});

test('a copy of what never came through here is counted when it is found missing, and can be sent', async () => {
  clinic = await openClinic();
  await storeThere(objects[0]!);
  await fetchAll();
  await until(
    () => clinic.gateway.forwarder.evidenceOf(sop(0)),
    ({ confirmed, known }) => known && confirmed,
  );
  expect(await status(clinic.gateway)).toMatchObject({ confirmed: 0, confirmedBytes: 0 });
  await restoreWithout(sop(0));
  expect((await evict()).evicted.instances).toBe(0);
  expect(await status(clinic.gateway)).toMatchObject({ confirmed: 0, confirmedBytes: 0, held: 1 });
  await act({ action: 'retry', destination: 'cloud' });
  await drained(clinic.gateway, 1);
  expect(await status(clinic.gateway)).toMatchObject({ confirmed: 1, held: 0, heldBytes: 0 });
  expect((await dataSetsIn(clinic.archive.archive)).size).toBe(1);
});

describe('while the archive does not answer', () => {
  test('nothing goes', async () => {
    await forwarded();
    await clinic.line.set({ kind: 'refused' });
    expect((await evict()).evicted.instances).toBe(0);
    expect(await status(clinic.gateway)).toMatchObject({ confirmed: 3, held: 0 });
  });

  test('what it confirmed long ago makes room where the disk is short of it, and what it confirmed of late does not', async () => {
    await forwarded();
    await clinic.line.set({ kind: 'refused' });
    const short = { roomBytes: 1e9 };
    expect((await evict({ ...short, unaskedAfterMs: 3_600_000 })).evicted.instances).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await evict({ unaskedAfterMs: 1, cacheBytes: 0 })).evicted.instances).toBe(0);
    expect((await evict({ ...short, unaskedAfterMs: 1 })).evicted.instances).toBe(3);
  });

  test('it is told how much gives way to what comes in', async () => {
    await forwarded();
    expect(await evict({ unaskedAfterMs: 3_600_000 })).toMatchObject({ studies: 1, oldBytes: 0 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const { bytes, oldBytes } = await evict({ unaskedAfterMs: 1 });
    expect(bytes).toBeGreaterThan(0);
    expect(oldBytes).toBe(bytes);
  });
});

test('what was deleted there on purpose is let go: it may be evicted, and is no longer vouched for', async () => {
  await forwarded();
  await restoreWithout(sop(0), sop(1));
  await evict();
  expect((await gatewayStatus(clinic.gateway)).destinations[0]!.heldInstances).toMatchObject([
    { SOPInstanceUID: sop(0), missing: true },
    { SOPInstanceUID: sop(1), missing: true },
  ]);
  expect(await act({ action: 'letGo', destination: 'cloud', SOPInstanceUID: sop(0) })).toBe(
    '1 instance need not be in cloud any more.',
  );
  expect(await act({ action: 'letGo', destination: 'cloud' })).toBe('1 instance need not be in cloud any more.');
  expect(await status(clinic.gateway)).toMatchObject({ confirmed: 3, held: 0 });
  expect((await evict()).evicted.instances).toBe(2);
  const { others } = await commitmentOf(clinic.gateway, objects);
  expect(others.sort()).toEqual([sop(0), sop(1)]);
  // Sent again by the modality, it is forwarded like anything new.
  expect(await cStore(clinic.gateway, objects.slice(0, 1))).toEqual([0]);
  await until(
    async () => (await dataSetsIn(clinic.archive.archive)).size,
    (size) => size === 2,
  );
});

describe('what somebody has deleted at our archive', () => {
  const remove = async (SOPInstanceUID: string): Promise<string> => {
    const { services } = clinic.archive.archive;
    const there = await Array.fromAsync(selectedInstances(services, TENANT, [{ StudyInstanceUID }]));
    const { SeriesInstanceUID } = there.find((one) => one.SOPInstanceUID === SOPInstanceUID)!;
    const path = `studies/${StudyInstanceUID}/series/${SeriesInstanceUID}/instances/${SOPInstanceUID}`;
    const url = `http://127.0.0.1:${clinic.archive.port}/dicomweb/${path}`;
    expect((await fetch(url, { method: 'DELETE' })).ok).toBe(true);
    const [trash] = (await listTrash(services, TENANT, '', 1)).items;
    // Some time after it had been confirmed.
    const later = { ...trash!, deletedAt: trash!.deletedAt + 3_600_000 };
    await services.index.write([{ kind: 'put', key: keys.trash(TENANT, trash!.id), item: asItem(later) }]);
    return trash!.id;
  };

  test('goes as anything else does, and is told of', async () => {
    await forwarded({}, { commitment: { askAgainMinutes: 0 } });
    await remove(sop(0));
    await restoreWithout(sop(1));
    await act({ action: 'inventory' });
    const { inventory } = await until(
      () => gatewayStatus(clinic.gateway),
      (now) => now.inventory?.endedAt !== undefined,
    );
    expect(inventory).toMatchObject({ there: 1, deleted: 1, lost: 1 });
    expect(await page()).toContain('1 instance there, 1 deleted there on purpose, 1 missing, 0 without an answer');
    expect(await status(clinic.gateway)).toMatchObject({ confirmed: 2, held: 1 });
    // Nobody vouches for it any more.
    expect((await commitmentOf(clinic.gateway, objects)).others.sort()).toEqual([sop(0), sop(1)]);
    expect(await status(clinic.gateway)).toMatchObject({ confirmed: 2, held: 1 });
    expect((await evict()).evicted.instances).toBe(2);
    // Sent again by the modality, it is forwarded like anything new.
    expect(await cStore(clinic.gateway, objects.slice(0, 1))).toEqual([0]);
    await until(
      () => Array.fromAsync(selectedInstances(clinic.archive.archive.services, TENANT, [{ StudyInstanceUID }])),
      (there) => there.length === 2,
    );
  });

  test('and was restored there from the trash and lost after that is held', async () => {
    await forwarded();
    const { services } = clinic.archive.archive;
    await restoreFromTrash(services, TENANT, await remove(sop(0)));
    await restoreWithout(sop(0));
    expect((await evict()).evicted.instances).toBe(2);
    expect(await status(clinic.gateway)).toMatchObject({ confirmed: 2, held: 1 });
  });

  test('is held once it has been purged: nothing tells it from a loss then', async () => {
    await forwarded();
    const { services } = clinic.archive.archive;
    const key = keys.trash(TENANT, await remove(sop(0)));
    await services.index.write([{ kind: 'put', key, item: { ...(await services.index.get(key))!, purgeAt: 1 } }]);
    expect(await purgeTrash(services, TENANT)).toBe(1);
    expect((await evict()).evicted.instances).toBe(2);
    expect(await status(clinic.gateway)).toMatchObject({ confirmed: 2, held: 1 });
  });
});

test('images of a patient who is restricted there are there, though nobody is shown them', async () => {
  await forwarded();
  const origin = `http://127.0.0.1:${clinic.archive.port}`;
  const restricted = await fetch(`${origin}/api/restrictions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ patient: { id: PATIENT }, reason: 'public figure' }),
  });
  expect(restricted.status).toBe(201);
  expect((await fetch(`${origin}/dicomweb/studies/${StudyInstanceUID}/metadata`)).status).toBe(404);
  await restoreWithout(sop(2));
  expect((await evict()).evicted.instances).toBe(2);
  expect(await status(clinic.gateway)).toMatchObject({ confirmed: 2, held: 1 });
});

test('storage commitment is not given for what the archive has lost since', async () => {
  await forwarded({}, { commitment: { askAgainMinutes: 0 } });
  expect((await commitmentOf(clinic.gateway, objects)).committed).toHaveLength(3);
  await restoreWithout(sop(1));
  expect((await commitmentOf(clinic.gateway, objects)).others).toEqual([sop(1)]);
  expect(await status(clinic.gateway)).toMatchObject({ confirmed: 2, held: 1 });
  // Nobody says what of the others there is now.
  await clinic.line.set({ kind: 'refused' });
  expect((await commitmentOf(clinic.gateway, objects)).committed).toEqual([]);
});

test('what was confirmed a moment ago is vouched for without asking', async () => {
  await forwarded();
  await clinic.line.set({ kind: 'refused' });
  expect((await commitmentOf(clinic.gateway, objects)).committed).toHaveLength(3);
});

test('a person has the archives asked for all that is here', async () => {
  await forwarded();
  await restoreWithout(sop(2));
  expect(await page()).toContain('Ask the archives');
  await act({ action: 'inventory' });
  const { inventory } = await until(
    () => gatewayStatus(clinic.gateway),
    (now) => now.inventory?.endedAt !== undefined,
  );
  expect(inventory).toMatchObject({ there: 2, lost: 1, unanswered: 0 });
  expect(await page()).toContain('2 instances there, 1 missing, 0 without an answer');
  expect(await status(clinic.gateway)).toMatchObject({ confirmed: 2, held: 1 });
});

test('a study of which something is missing upstream is found with what is here', async () => {
  await forwarded();
  const { knowledge } = readSideOf(clinic.gateway);
  expect(await knowledge.isForwarded(TENANT, StudyInstanceUID)).toBe(true);
  await restoreWithout(sop(0));
  const here = await Array.fromAsync(selectedInstances(clinic.gateway.services, TENANT, [{ StudyInstanceUID }]));
  await knowledge.askAgain(here, new AbortController().signal);
  expect(await knowledge.isForwarded(TENANT, StudyInstanceUID)).toBe(false);
});
