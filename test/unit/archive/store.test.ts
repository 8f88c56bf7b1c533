import { createHash } from 'node:crypto';
import { describe, expect, test, vi } from 'vitest';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { CommitQueue } from '#core/archive/commit.ts';
import { readFeed } from '#core/archive/feed.ts';
import { discardHeld, listHeld, replaceByHeld } from '#core/archive/quarantine.ts';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { type InstanceRecord, keys, type SeriesRecord } from '#core/archive/records.ts';
import { REJECTION_TITLES } from '#core/archive/reject.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { sweep } from '#core/archive/sweep.ts';
import { getTrash, listTrash } from '#core/archive/trash.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { assemble } from '#core/assemble.ts';
import { PacsError } from '#core/errors.ts';
import { asRecord, type WriteOutcome } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { auditEvents } from '#test/fixtures/audit-events.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import * as fixtures from '#test/fixtures/services.ts';
import { chunked, store, studyRecord, TENANT } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const slice = (n: number, more: object = {}): Uint8Array =>
  buildDicom({ SOPInstanceUID: uid(100 + n), InstanceNumber: n, ...more });

const instanceOf = async (services: Services, n: number): Promise<InstanceRecord | undefined> => {
  const item = await services.index.get(keys.instance(TENANT, uid(1), uid(2), uid(100 + n)));
  return asRecord<InstanceRecord>(item);
};
const seriesOf = async (services: Services, series: string): Promise<SeriesRecord | undefined> => {
  const item = await services.index.get(keys.series(TENANT, uid(1), series));
  return asRecord<SeriesRecord>(item);
};
const eventTypes = async (services: Services): Promise<string[]> =>
  (await readFeed(services.index, TENANT, '', 1_000)).events.map(({ type }) => type);

/** Small objects as blobs of their own, and beside each other: the archive's answers are the same. */
describe.each([{ packed: false }, { packed: true }])('with objects packed: $packed', ({ packed }) => {
  const memoryServices = (options: Parameters<typeof fixtures.memoryServices>[0] = {}) =>
    fixtures.memoryServices({ ...options, packed });

  describe('storing', () => {
    test('an object is kept byte for byte, is found, counted and told', async () => {
      const services = memoryServices();
      const bytes = slice(1);
      const outcome = await store(services, bytes);
      expect(outcome).toMatchObject({ kind: 'stored', sha256: sha256(bytes) });
      const instance = await instanceOf(services, 1);
      expect(instance).toMatchObject({ SOPInstanceUID: uid(101), Modality: 'CT', sizeBytes: bytes.byteLength });
      expect(Buffer.from(await services.blobs.readBytes(instance!.blobKey)).equals(bytes)).toBe(true);
      expect(await studyRecord(services, uid(1))).toMatchObject({
        instanceCount: 1,
        seriesCount: 1,
        modalities: { CT: 1 },
      });
      expect(await eventTypes(services)).toEqual(['InstanceStored']);
    });

    test('the same bytes again change nothing, however often and at once', async () => {
      const services = memoryServices();
      const outcomes = await Promise.all(Array.from({ length: 12 }, () => store(services, slice(1))));
      expect(outcomes.filter(({ kind }) => kind === 'stored')).toHaveLength(1);
      expect(outcomes.filter(({ kind }) => kind === 'duplicate')).toHaveLength(11);
      expect(await studyRecord(services, uid(1))).toMatchObject({ instanceCount: 1, sizeBytes: slice(1).byteLength });
      expect(await eventTypes(services)).toEqual(['InstanceStored']);
      expect((await verifyArchive(services, TENANT)).orphans).toEqual([]);
    });

    test('fifty writers with duplicates, in any order, leave exact counts', async () => {
      const services = memoryServices();
      const objects = Array.from({ length: 40 }, (_, n) =>
        slice(
          n,
          n % 2 ? { SeriesInstanceUID: uid(3), Modality: 'SR', SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.11' } : {},
        ),
      );
      const sent = [...objects, ...objects].sort((a, b) => (sha256(a) < sha256(b) ? -1 : 1));
      const outcomes = await Promise.all(sent.map((bytes) => store(services, bytes)));
      expect(outcomes.filter(({ kind }) => kind === 'stored')).toHaveLength(40);
      expect(await studyRecord(services, uid(1))).toMatchObject({
        instanceCount: 40,
        seriesCount: 2,
        modalities: { CT: 20, SR: 20 },
      });
      expect(await seriesOf(services, uid(3))).toMatchObject({ instanceCount: 20, modality: 'SR' });
    });

    test.each([false, true])(
      'several processes storing into one study at once leave exact counts (conflicts cheap: %s)',
      async (conflictsAreCheap) => {
        const first = memoryServices({ ports: { index: new MemoryIndexTable({ conflictsAreCheap }) } });
        const processes = [first, ...Array.from({ length: 3 }, () => memoryServices({ ports: first }))];
        const objects = Array.from({ length: 60 }, (_, n) => slice(n, { SeriesInstanceUID: uid(2 + (n % 3)) }));
        const sent = [...objects, ...objects.slice(0, 30)].map((bytes, i) => store(processes[i % 4]!, bytes));
        const kinds = (await Promise.all(sent)).map(({ kind }) => kind);
        expect(kinds.filter((kind) => kind === 'stored')).toHaveLength(60);
        expect(kinds.filter((kind) => kind === 'duplicate')).toHaveLength(30);
        expect(await studyRecord(first, uid(1))).toMatchObject({
          instanceCount: 60,
          seriesCount: 3,
          modalities: { CT: 60 },
        });
        expect(await sweep(first, TENANT)).toMatchObject({ folded: 0, abandoned: 0 });
        expect(await verifyArchive(first, TENANT)).toMatchObject({ intact: 60, orphans: [], miscounted: [] });
      },
    );

    test.each([
      { conflictsAreCheap: true, lost: 'none', leastLost: 0, mostLost: 0 },
      { conflictsAreCheap: false, lost: 'some', leastLost: 1, mostLost: 100 },
    ])(
      'two processes that store into one study by turns fail at each other $lost of the time (conflicts cheap: $conflictsAreCheap)',
      async ({ conflictsAreCheap, leastLost, mostLost }) => {
        const index = new MemoryIndexTable({ conflictsAreCheap });
        const write = vi.spyOn(index, 'write');
        const first = memoryServices({ ports: { index } });
        const processes = [first, memoryServices({ ports: first })];
        for (let n = 0; n < 10; n++) await store(processes[n % 2]!, slice(n, { SeriesInstanceUID: uid(2 + (n % 4)) }));
        const outcomes = await Promise.all(write.mock.results.map(({ value }) => value as Promise<WriteOutcome>));
        const lost = outcomes.filter(({ committed }) => !committed).length;
        expect(lost).toBeGreaterThanOrEqual(leastLost);
        expect(lost).toBeLessThanOrEqual(mostLost);
        expect(await studyRecord(first, uid(1))).toMatchObject({ instanceCount: 10, seriesCount: 4 });
        expect(await sweep(first, TENANT)).toMatchObject({ folded: 0, abandoned: 0 });
        expect(await verifyArchive(first, TENANT)).toMatchObject({ intact: 10, orphans: [], miscounted: [] });
      },
    );

    test('an object over the whole-object limit is streamed, with the same result', async () => {
      const services = memoryServices({ limits: { wholeObjectBytes: 500 } });
      const bytes = slice(1, { Rows: 64, Columns: 64, PixelData: new Uint8Array(64 * 64 * 2).fill(7) });
      expect(await store(services, bytes)).toMatchObject({ kind: 'stored', sha256: sha256(bytes) });
      expect(await store(services, bytes)).toMatchObject({ kind: 'duplicate' });
      expect((await verifyArchive(services, TENANT)).orphans).toEqual([]);
    });

    test.each([1, 700, 721, 722, 723, 5_000])(
      'whatever the chunks (%i bytes) and the limit, the bytes are those that came',
      async (size) => {
        const { storeObject } = await import('#core/archive/store.ts');
        for (const wholeObjectBytes of [300, 721, 722, 4_000]) {
          const services = memoryServices({ limits: { wholeObjectBytes } });
          for (let n = 0; n < 3; n++) {
            const bytes = slice(n);
            const { outcome } = storeObject(services, { tenant: TENANT, source: 'TEST' }, chunked(bytes, size));
            expect(await outcome).toMatchObject({ kind: 'stored', sha256: sha256(bytes) });
          }
        }
      },
    );

    test('a source that breaks off leaves nothing behind', async () => {
      const services = memoryServices({ limits: { wholeObjectBytes: 500 } });
      const bytes = slice(1, { Rows: 64, Columns: 64, PixelData: new Uint8Array(64 * 64 * 2) });
      const { storeObject } = await import('#core/archive/store.ts');
      async function* broken() {
        yield bytes.subarray(0, 2_000);
        throw new Error('the cable');
      }
      await expect(storeObject(services, { tenant: TENANT, source: 'TEST' }, broken()).outcome).rejects.toThrow(
        'the cable',
      );
      expect(await Array.fromAsync(services.blobs.list(''))).toEqual([]);
      expect(await instanceOf(services, 1)).toBeUndefined();
      expect((await services.index.query({ partition: `${TENANT}|pending`, limit: 10 })).records).toEqual([]);
    });

    test.each([
      ['no SOPInstanceUID', { SOPInstanceUID: undefined }, 'UNREADABLE_DATASET'],
      ['an empty StudyInstanceUID', { StudyInstanceUID: '' }, 'UNREADABLE_DATASET'],
      ['a UID with a path in it', { SeriesInstanceUID: '../../etc' }, 'UNREADABLE_DATASET'],
    ])('%s: refused, nothing kept', async (_, change, code) => {
      const services = memoryServices();
      expect(await store(services, slice(1, change))).toMatchObject({ kind: 'failed', error: { code } });
      expect(await Array.fromAsync(services.blobs.list(''))).toEqual([]);
    });

    test('an object of another study than the request names is refused', async () => {
      const services = memoryServices();
      expect(await store(services, slice(1), uid(99))).toMatchObject({
        kind: 'failed',
        error: { code: 'DATASET_MISMATCH' },
      });
    });
  });

  describe('the same UID with other bytes', () => {
    const first = slice(1);
    const otherPixels = slice(1, { PixelData: new Uint8Array(32).fill(9) });
    const otherPatient = slice(1, { PatientID: 'P-2', PatientName: 'Roe^Richard' });
    const otherHeader = slice(1, { StudyDescription: 'CT Thorax corrected' });

    test.each([
      ['otherPixels', otherPixels],
      ['otherPatient', otherPatient],
      ['otherHeader', otherHeader],
      ['otherStudy', slice(1, { StudyInstanceUID: uid(77) })],
    ])('keep first: held as %s, once, and the first stays', async (kind, second) => {
      const services = memoryServices();
      await store(services, first);
      expect(await store(services, second)).toMatchObject({ kind: 'held', held: { kind } });
      expect(await store(services, second)).toMatchObject({ kind: 'held', held: { kind } });
      expect((await listHeld(services, TENANT, '', 10)).items).toHaveLength(1);
      expect(await instanceOf(services, 1)).toMatchObject({ sha256: sha256(first) });
      expect(await eventTypes(services)).toEqual(['InstanceStored', 'Conflict']);
      expect(await verifyArchive(services, TENANT)).toMatchObject({ intact: 2, orphans: [], damaged: [] });
    });

    test('policy replace: the new bytes are current, the old ones in the trash', async () => {
      const services = memoryServices({ policy: { conflict: 'replace' } });
      await store(services, first);
      expect(await store(services, otherHeader)).toMatchObject({ kind: 'replaced' });
      expect(await instanceOf(services, 1)).toMatchObject({ sha256: sha256(otherHeader) });
      const study = await studyRecord(services, uid(1));
      expect(study).toMatchObject({ instanceCount: 1, attributes: { '00081030': { Value: ['CT Thorax corrected'] } } });
      expect((await listTrash(services, TENANT, '', 10)).items).toMatchObject([{ kind: 'replaced', instanceCount: 1 }]);
    });

    test('policy version: the old bytes stay beside the new', async () => {
      const services = memoryServices({ policy: { conflict: 'version' } });
      await store(services, first);
      await store(services, otherPixels);
      const { partition } = keys.superseded(TENANT, uid(101), '');
      const old = await services.index.query({ partition, limit: 10 });
      expect(old.records.map(({ item }) => item.sha256)).toEqual([sha256(first)]);
      expect(await verifyArchive(services, TENANT)).toMatchObject({ intact: 2, orphans: [], miscounted: [] });
    });

    test('a person replaces: the held bytes become current, the first go to the trash and can come back', async () => {
      const services = memoryServices();
      await store(services, first);
      await store(services, otherPatient);
      const [held] = (await listHeld(services, TENANT, '', 10)).items;
      await replaceByHeld(services, TENANT, held!.id, { by: 'admin', reason: 'wrong patient' });
      expect(await instanceOf(services, 1)).toMatchObject({ sha256: sha256(otherPatient) });
      expect((await studyRecord(services, uid(1)))?.attributes['00100020']).toMatchObject({ Value: ['P-2'] });
      expect((await listHeld(services, TENANT, '', 10)).items).toEqual([]);
      expect((await listTrash(services, TENANT, '', 10)).items).toMatchObject([
        { by: 'admin', reason: 'wrong patient' },
      ]);
      expect(await studyRecord(services, uid(1))).toMatchObject({ instanceCount: 1, modalities: { CT: 1 } });
    });

    test('a person discards: the held bytes go to the trash, the first stay', async () => {
      const services = memoryServices();
      await store(services, first);
      await store(services, otherPixels);
      const [held] = (await listHeld(services, TENANT, '', 10)).items;
      await discardHeld(services, TENANT, held!.id, { by: 'admin', reason: 'resent' });
      expect((await listHeld(services, TENANT, '', 10)).items).toEqual([]);
      expect(await instanceOf(services, 1)).toMatchObject({ sha256: sha256(first) });
      await expect(discardHeld(services, TENANT, held!.id, { by: 'x', reason: '' })).rejects.toThrow(PacsError);
      // Sent again, it is a conflict again.
      expect(await store(services, otherPixels)).toMatchObject({ kind: 'held' });
    });
  });

  describe('deleting and restoring', () => {
    const remove = (services: Services, selection: object) =>
      moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(1), ...selection }], {
        kind: 'deleted',
        reason: 'test',
        by: 'admin',
      });

    test('a deleted study is gone, its UID free; restored it is all there again', async () => {
      const services = memoryServices();
      for (let n = 0; n < 45; n++) await store(services, slice(n, { SeriesInstanceUID: uid(2 + (n % 3)) }));
      const trash = await remove(services, {});
      expect(trash).toMatchObject({ state: 'complete', level: 'study', instanceCount: 45 });
      expect(await studyRecord(services, uid(1))).toBeUndefined();
      expect(await instanceOf(services, 0)).toBeUndefined();
      expect(await restoreFromTrash(services, TENANT, trash.id)).toEqual({ restored: 45, conflicting: 0 });
      expect(await studyRecord(services, uid(1))).toMatchObject({
        instanceCount: 45,
        seriesCount: 3,
        modalities: { CT: 45 },
      });
      await expect(getTrash(services, TENANT, trash.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      expect((await eventTypes(services)).filter((type) => type !== 'InstanceStored')).toEqual(['Deleted', 'Restored']);
      expect(await verifyArchive(services, TENANT)).toMatchObject({
        intact: 45,
        orphans: [],
        damaged: [],
        miscounted: [],
      });
    });

    test('one instance of two', async () => {
      const services = memoryServices();
      await store(services, slice(1));
      await store(services, slice(2));
      await remove(services, { SeriesInstanceUID: uid(2), SOPInstanceUID: uid(101) });
      expect(await studyRecord(services, uid(1))).toMatchObject({ instanceCount: 1 });
      expect(await instanceOf(services, 1)).toBeUndefined();
      expect(await instanceOf(services, 2)).toBeDefined();
    });

    test('what was sent again in the meantime is not overwritten by a restore', async () => {
      const services = memoryServices();
      await store(services, slice(1));
      const trash = await remove(services, {});
      await store(services, slice(1, { StudyDescription: 'second life' }));
      expect(await restoreFromTrash(services, TENANT, trash.id)).toEqual({ restored: 0, conflicting: 1 });
      expect(await getTrash(services, TENANT, trash.id)).toMatchObject({ state: 'complete', instanceCount: 1 });
    });

    test('after its time the sweeper removes it for good, bytes too, which is in the audit trail', async () => {
      const services = memoryServices();
      await store(services, slice(1));
      await store(services, slice(2));
      await remove(services, { SeriesInstanceUID: uid(2), SOPInstanceUID: uid(101) });
      services.clock.advance(services.limits.trashMs - 1);
      expect(await sweep(services, TENANT)).toMatchObject({ purged: 0 });
      services.clock.advance(1);
      expect(await sweep(services, TENANT)).toMatchObject({ purged: 1 });
      const objects = (await Array.fromAsync(services.blobs.list(''))).filter(({ key }) => key.endsWith('.dcm'));
      expect(objects).toHaveLength(1);
      expect(await instanceOf(services, 2)).toBeDefined();
      expect(await auditEvents(services, TENANT)).toMatchObject([
        {
          ...{ event: 'StudyDeleted', action: 'D', subject: 'nephos', door: 'system', transaction: 'PurgeTrash' },
          ...{ studies: [uid(1)], instances: 1 },
        },
      ]);
    });

    test('while the audit trail cannot be written nothing is removed for good', async () => {
      const services = memoryServices();
      await store(services, slice(1));
      const trash = await remove(services, {});
      services.clock.advance(services.limits.trashMs + 1);
      const record = vi.spyOn(services.audit, 'record').mockRejectedValue(new PacsError('BUSY', 'not now'));
      await expect(sweep(services, TENANT)).rejects.toMatchObject({ code: 'BUSY' });
      expect((await Array.fromAsync(services.blobs.list(''))).some(({ key }) => key.endsWith('.dcm'))).toBe(true);
      record.mockRestore();
      expect(await sweep(services, TENANT)).toMatchObject({ purged: 1 });
      await expect(getTrash(services, TENANT, trash.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    test('nothing selected: NOT_FOUND', async () => {
      await expect(remove(memoryServices(), {})).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });
  });

  describe('rejection notes', () => {
    const code = (value: string) => [{ CodeValue: value, CodingSchemeDesignator: 'DCM', CodeMeaning: 'title' }];
    const note = (title: string, ...instances: number[]): Uint8Array => buildDicom(noteOf(title, ...instances));
    const noteOf = (title: string, ...instances: number[]) => ({
      SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.59',
      SOPInstanceUID: uid(900),
      SeriesInstanceUID: uid(90),
      Modality: 'KO',
      PixelData: undefined,
      Rows: undefined,
      Columns: undefined,
      ConceptNameCodeSequence: code(title),
      CurrentRequestedProcedureEvidenceSequence: [
        {
          StudyInstanceUID: uid(1),
          ReferencedSeriesSequence: [
            {
              SeriesInstanceUID: uid(2),
              ReferencedSOPSequence: instances.map((n) => ({
                ReferencedSOPClassUID: '1.2.840.10008.5.1.4.1.1.2',
                ReferencedSOPInstanceUID: uid(100 + n),
              })),
            },
          ],
        },
      ],
    });

    test('that come first hide what they name when it comes; it is kept, and can be had back', async () => {
      const services = memoryServices();
      const late = slice(1);
      await store(services, note('113001', 1, 2));
      await store(services, slice(3));
      expect(await store(services, late)).toMatchObject({ kind: 'stored' });
      expect(await instanceOf(services, 1)).toBeUndefined();
      expect(await store(services, late)).toMatchObject({ kind: 'duplicate' });
      expect(await instanceOf(services, 1)).toBeUndefined();
      expect(await studyRecord(services, uid(1))).toMatchObject({ modalities: { CT: 1, KO: 1 }, instanceCount: 2 });
      const [trash, ...others] = (await listTrash(services, TENANT, '', 10)).items;
      expect(others).toEqual([]);
      expect(trash).toMatchObject({
        ...{ kind: 'rejected', level: 'instance', instanceCount: 1, purgeAt: null },
        ...{ reason: 'Rejected for Quality Reasons', by: `note ${uid(900)}`, SOPInstanceUID: uid(101) },
      });
      const { events } = await readFeed(services.index, TENANT, '', 100);
      expect(events.at(-1)).toMatchObject({ type: 'Rejected', SOPInstanceUID: uid(101), instances: 1 });
      expect(await restoreFromTrash(services, TENANT, trash!.id)).toEqual({ restored: 1, conflicting: 0 });
      expect((await instanceOf(services, 1))?.sha256).toBe(createHash('sha256').update(late).digest('hex'));
    });

    test('that come first say nothing of the same UID in another series, or of another study', async () => {
      const services = memoryServices();
      await store(services, note('113001', 1));
      await store(services, slice(1, { SeriesInstanceUID: uid(3) }));
      const inSeries = await services.index.get(keys.instance(TENANT, uid(1), uid(3), uid(101)));
      expect(inSeries).toBeDefined();
      const others = memoryServices();
      await store(others, slice(1, { StudyInstanceUID: uid(7), SOPInstanceUID: uid(102) }));
      await store(others, buildDicom({ ...noteOf('113001', 1), StudyInstanceUID: uid(7) }));
      await store(others, slice(1));
      expect(await instanceOf(others, 1)).toBeDefined();
    });

    test('hide no more than a limited number before it has come', async () => {
      const services = memoryServices({ limits: { rejectedAheadInstances: 2 } });
      await store(services, note('113001', 1, 2, 3));
      for (const number of [1, 2, 3]) await store(services, slice(number));
      expect(await instanceOf(services, 1)).toBeUndefined();
      expect(await instanceOf(services, 2)).toBeUndefined();
      expect(await instanceOf(services, 3)).toBeDefined();
    });

    test('and what they name come at the same time: it is hidden, whichever is first', async () => {
      for (let round = 0; round < 20; round++) {
        const services = memoryServices();
        await Promise.all([
          store(services, note('113001', 1, 2)),
          store(services, slice(1)),
          store(services, slice(2)),
        ]);
        expect(await instanceOf(services, 1)).toBeUndefined();
        expect(await instanceOf(services, 2)).toBeUndefined();
        const kept = (await listTrash(services, TENANT, '', 10)).items;
        expect(kept.reduce((sum, { instanceCount }) => sum + instanceCount, 0)).toBe(2);
      }
    });

    test('that came first hide what came then also after a rebuild', async () => {
      const services = memoryServices();
      await store(services, note('113001', 1));
      await store(services, slice(1));
      const fresh = memoryServices({ ports: { blobs: services.blobs } });
      await rebuildIndex(fresh, TENANT);
      expect(await instanceOf(fresh, 1)).toBeUndefined();
      expect((await listTrash(fresh, TENANT, '', 10)).items).toMatchObject([{ kind: 'rejected', instanceCount: 1 }]);
      expect(await store(fresh, slice(1))).toMatchObject({ kind: 'duplicate' });
    });

    test('that came first hide what comes after a rebuild, and nothing that a person had brought back', async () => {
      const services = memoryServices();
      await store(services, note('113001', 1, 2));
      await store(services, slice(1));
      const [trash] = (await listTrash(services, TENANT, '', 10)).items;
      await restoreFromTrash(services, TENANT, trash!.id);
      const fresh = memoryServices({ ports: { blobs: services.blobs } });
      await rebuildIndex(fresh, TENANT);
      expect(await instanceOf(fresh, 1)).toBeDefined();
      expect(await store(fresh, slice(2))).toMatchObject({ kind: 'stored' });
      expect(await instanceOf(fresh, 2)).toBeUndefined();
      const rejected = { kind: 'rejected', SOPInstanceUID: uid(102), by: `note ${uid(900)}` };
      expect((await listTrash(fresh, TENANT, '', 10)).items).toMatchObject([rejected]);
    });

    test('hide what they name, and sending that again does not bring it back', async () => {
      const services = memoryServices();
      await store(services, slice(1));
      await store(services, slice(2));
      await store(services, note('113001', 1));
      expect(await instanceOf(services, 1)).toBeUndefined();
      expect(await studyRecord(services, uid(1))).toMatchObject({ modalities: { CT: 1, KO: 1 } });
      expect(await store(services, slice(1))).toMatchObject({ kind: 'duplicate' });
      expect(await instanceOf(services, 1)).toBeUndefined();
      const [trash] = (await listTrash(services, TENANT, '', 10)).items;
      expect(trash).toMatchObject({ kind: 'rejected', purgeAt: null, reason: 'Rejected for Quality Reasons' });
      expect(await restoreFromTrash(services, TENANT, trash!.id)).toEqual({ restored: 1, conflicting: 0 });
      expect(await instanceOf(services, 1)).toMatchObject({ SOPInstanceUID: uid(101) });
      expect(await studyRecord(services, uid(1))).toMatchObject({ modalities: { CT: 2, KO: 1 } });
    });

    test.each(Object.entries(REJECTION_TITLES))('%s: %s', async (value, reason) => {
      const services = memoryServices();
      await store(services, slice(1));
      await store(services, slice(2));
      await store(services, note(value, 2));
      expect(await instanceOf(services, 1)).toBeDefined();
      expect(await instanceOf(services, 2)).toBeUndefined();
      expect((await listTrash(services, TENANT, '', 10)).items).toMatchObject([{ kind: 'rejected', reason }]);
      expect(await eventTypes(services)).toContain('Rejected');
    });

    test('other key objects hide nothing', async () => {
      const services = memoryServices();
      await store(services, slice(1));
      await store(services, note('113000', 1));
      expect(await instanceOf(services, 1)).toBeDefined();
    });
  });

  describe('interruptions', () => {
    test('a store that died before its commit: the sweeper takes its bytes', async () => {
      const services = memoryServices();
      const died = Promise.withResolvers<void>();
      const commit = () => {
        died.resolve();
        return new Promise<never>(() => {});
      };
      void store({ ...services, commits: standIn<Services['commits']>({ commit }) }, slice(1));
      await died.promise;
      expect((await Array.fromAsync(services.blobs.list(''))).length).toBeGreaterThan(0);
      expect(await sweep(services, TENANT)).toMatchObject({ abandoned: 0 });
      services.clock.advance(services.limits.pendingMs + 1);
      expect(await sweep(services, TENANT)).toMatchObject({ abandoned: 1 });
      expect(await Array.fromAsync(services.blobs.list(''))).toEqual([]);
      expect(await store(services, slice(1))).toMatchObject({ kind: 'stored' });
    });

    test('a store so slow that the sweeper gave it up is refused, not half kept', async () => {
      const services = memoryServices();
      const commit = services.commits.commit.bind(services.commits);
      const slow = {
        ...services,
        commits: standIn<Services['commits']>({
          async commit(prepared: Parameters<typeof commit>[0]) {
            services.clock.advance(services.limits.pendingMs + 1);
            await sweep(services, TENANT);
            return commit(prepared);
          },
        }),
      };
      expect(await store(slow, slice(1))).toMatchObject({ kind: 'failed', error: { code: 'BUSY' } });
      expect(await instanceOf(services, 1)).toBeUndefined();
      expect(await store(services, slice(1))).toMatchObject({ kind: 'stored' });
    });

    test('a process that died between commit and fold: the sweeper, or the next sender, counts the instance', async () => {
      for (const heal of ['sweep', 'resend'] as const) {
        const services = memoryServices();
        // Another writer is in the study, so the commit leaves a delta; then the process dies.
        const died = Promise.withResolvers<void>();
        const fold = () => {
          died.resolve();
          return new Promise<never>(() => {});
        };
        const folder = standIn<Services['folder']>({ isContended: () => true, fold });
        const dying = { ...services, folder, commits: new CommitQueue({ ...services, folder }) };
        void store(dying, slice(1));
        await died.promise;
        expect(await studyRecord(services, uid(1))).toBeUndefined();
        if (heal === 'sweep') expect(await sweep(services, TENANT)).toMatchObject({ folded: 1 });
        else expect(await store(services, slice(1))).toMatchObject({ kind: 'duplicate' });
        expect(await studyRecord(services, uid(1))).toMatchObject({ instanceCount: 1 });
      }
    });
  });

  test('an index rebuilt from the blobs alone knows what the old one knew', async () => {
    const services = memoryServices();
    for (let n = 0; n < 5; n++) await store(services, slice(n));
    await store(services, slice(1, { PatientID: 'P-2' }));
    await moveToTrash(
      services,
      TENANT,
      [{ StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(104) }],
      {
        kind: 'deleted',
        reason: 'test',
        by: 'admin',
      },
    );
    const before = await studyRecord(services, uid(1));
    const fresh = memoryServices({ ports: { blobs: services.blobs } });
    expect(await rebuildIndex(fresh, TENANT)).toEqual({
      instances: 4,
      held: 1,
      trashed: 1,
      superseded: 0,
      failed: [],
      altered: [],
    });
    const { version: _, revision: __, quietJobAt: ___, firstStoredAt: ____, lastStoredAt: _____, ...same } = before!;
    expect(await studyRecord(fresh, uid(1))).toMatchObject(same);
    expect((await listHeld(fresh, TENANT, '', 10)).items).toMatchObject([{ kind: 'otherPatient' }]);
    const [trash] = (await listTrash(fresh, TENANT, '', 10)).items;
    expect(await restoreFromTrash(fresh, TENANT, trash!.id)).toEqual({ restored: 1, conflicting: 0 });
    expect(await verifyArchive(fresh, TENANT)).toMatchObject({ intact: 6, damaged: [], orphans: [], miscounted: [] });
    await expect(rebuildIndex(fresh, TENANT)).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  test('a study that another process has changed since this one wrote it: read again, and nothing is lost', async () => {
    const services = memoryServices();
    const other = assemble(services);
    for (let n = 1; n <= 12; n++) {
      const writer = n % 3 === 0 ? other : services;
      expect(await store(writer, slice(n))).toMatchObject({ kind: 'stored' });
    }
    expect(await studyRecord(services, uid(1))).toMatchObject({ instanceCount: 12, seriesCount: 1 });
    const unfolded = await services.index.query({ partition: keys.unfolded(TENANT, '').partition, limit: 1 });
    expect(unfolded.records).toStrictEqual([]);
  });

  test('what is stored, held or given up is settled, and the sweep has nothing to do', async () => {
    const services = memoryServices();
    for (let n = 0; n < 3; n++) await store(services, slice(n));
    await store(services, slice(1));
    await store(services, slice(1, { PatientID: 'other' }));
    await store(services, slice(1, { PatientID: 'other' }));
    const before = await Array.fromAsync(services.blobs.list(''));
    services.clock.advance(services.limits.pendingMs + 1);
    expect(await Array.fromAsync(services.blobs.packed?.unsettled(0, services.clock.now()) ?? [])).toEqual([]);
    expect(await sweep(services, TENANT)).toMatchObject({ abandoned: 0 });
    expect(await Array.fromAsync(services.blobs.list(''))).toEqual(before);
  });

  test('a process that died right after its commit: whatever became of the instance since, its bytes stay', async () => {
    for (const then of ['nothing', 'deleted', 'replaced', 'held'] as const) {
      const services = memoryServices({ policy: { conflict: then === 'replaced' ? 'replace' : 'keepFirst' } });
      const { packed: own } = services.blobs;
      // It died before it could say so to the store of blobs.
      const mute = own && { ...own, settled: () => {} };
      if (then === 'held') await store(services, slice(1, { PatientID: 'first' }));
      Object.assign(services.blobs, { packed: mute });
      const bytes = slice(1);
      await store(services, bytes);
      if (then === 'deleted') {
        await moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(1) }], {
          kind: 'deleted',
          reason: 'wrong',
          by: 'somebody',
        });
      }
      if (then === 'replaced') await store(services, slice(1, { PatientID: 'second' }));
      services.clock.advance(services.limits.pendingMs + 1);
      const kept = await Array.fromAsync(services.blobs.list(''));
      expect(await sweep(services, TENANT)).toMatchObject({ abandoned: 0 });
      expect(await Array.fromAsync(services.blobs.list(''))).toEqual(kept);
    }
  });

  test('a process that died while it was its turn to fold: the others go on when its turn is over', async () => {
    const services = memoryServices();
    await store(services, slice(1));
    const version = 1;
    const until = services.clock.now() + 1_000;
    await services.index.write([{ kind: 'put', key: keys.folding(TENANT, uid(1)), item: { version, until } }]);
    services.folder.markContended(TENANT, uid(1));
    const stored = store(services, slice(2));
    // It is durable and visible already, and not yet counted: the sender waits for that.
    await expect.poll(() => instanceOf(services, 2), { interval: 5 }).toBeDefined();
    for (let turns = 0; turns < 50; turns++) await services.clock.sleep();
    expect(await studyRecord(services, uid(1))).toMatchObject({ instanceCount: 1 });
    services.clock.advance(1_001);
    expect(await stored).toMatchObject({ kind: 'stored' });
    expect(await studyRecord(services, uid(1))).toMatchObject({ instanceCount: 2 });
    expect(await services.index.get(keys.folding(TENANT, uid(1)))).toBeUndefined();
  });

  test('hundreds of deltas that dead writers left are folded by one call, each once', async () => {
    const services = memoryServices();
    await store(services, slice(1));
    const folder = standIn<Services['folder']>({ isContended: () => true, fold: async () => {} });
    const commits = new CommitQueue({ ...services, folder });
    for (let n = 2; n <= 300; n++) await store({ ...services, folder, commits }, slice(n));
    await services.folder.fold(TENANT, uid(1));
    expect(await studyRecord(services, uid(1))).toMatchObject({ instanceCount: 300 });
    expect(await sweep(services, TENANT)).toMatchObject({ folded: 0 });
  });
});
