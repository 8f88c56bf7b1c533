import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { textOf } from '#core/dicom/element-text.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { createProcedureStep, listProcedureSteps } from '#core/procedure/procedure-step.ts';
import { addWorklistItem, getWorklistItem, removeWorklistItem, replaceWorklistItem } from '#core/worklist/worklist.ts';
import { associate, proposing, sendFind } from '#dimse/scu.ts';
import { sendStep } from '#dimse/services/procedure-scu.ts';
import { MODALITY_WORKLIST_FIND } from '#dimse/sop-classes.ts';
import { heldSteps, releaseSteps, waitingSteps } from '#edge/queues/procedure-steps.ts';
import { syncWorklist, worklistStatus } from '#edge/queues/worklist.ts';
import { EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { ended, scheduled, started } from '#test/fixtures/worklist.ts';
import { eventually, key, type Site, startSite, TENANT } from './read-site.ts';

let site: Site;
const archive = () => site.upstream.archive.services;
const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10).replaceAll('-', '');
const item = (n: number, more: object = {}): DataSet =>
  scheduled(
    { StudyInstanceUID: uid(n), AccessionNumber: `A${n}`, PatientID: `P${n}`, ...more },
    { ScheduledProcedureStepID: `SPS${n}`, ScheduledProcedureStepStartDate: tomorrow },
  );
const step = (n: number): DataSet => started({}, { StudyInstanceUID: uid(n), ScheduledProcedureStepID: `SPS${n}` });

async function worklist(): Promise<{ status: number; accessions: string[] }> {
  const session = await associate(site.remote, {
    callingAETitle: 'CT1',
    contexts: proposing([MODALITY_WORKLIST_FIND, [EXPLICIT_LE]]),
  });
  const accessions: string[] = [];
  const identifier: DataSet = {
    '00080050': key('SH'),
    '00100010': key('PN'),
    '00400100': { vr: 'SQ', Value: [{ '00080060': key('CS', 'CT'), '00400009': key('SH') }] },
  };
  const status = await sendFind(session, MODALITY_WORKLIST_FIND, identifier, (match) => {
    accessions.push(textOf(match['00080050']));
  });
  await session.release();
  return { status, accessions: accessions.sort() };
}

const tell = async (kind: 'create' | 'set', sop: string, dataSet: DataSet): Promise<number> =>
  (await sendStep(site.remote, 'CT1', { kind, SOPInstanceUID: sop, dataSet })).Status!;

const sync = () => syncWorklist(site.gateway, new AbortController().signal);
const heard = () => eventually('the archive has heard of it', async () => (await waitingSteps(site.gateway)) === 0);
const stepsUpstream = async () =>
  new Map((await listProcedureSteps(archive(), TENANT, { limit: 100 })).items.map((one) => [one.SOPInstanceUID, one]));

beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site?.close());
beforeEach(async () => {
  await site.line.set('up');
  await eventually('the archive is asked again', () => site.gateway.upstreams[0]!.isReachable);
});

describe('the worklist at the edge', () => {
  test('is that of the archive, and follows it', async () => {
    const first = await addWorklistItem(archive(), TENANT, item(1));
    const second = await addWorklistItem(archive(), TENANT, item(2));
    await sync();
    expect(await worklist()).toEqual({ status: 0, accessions: ['A1', 'A2'] });
    await replaceWorklistItem(archive(), TENANT, first.id, item(1, { AccessionNumber: 'A1-new' }));
    await removeWorklistItem(archive(), TENANT, second.id);
    await addWorklistItem(archive(), TENANT, item(3));
    await sync();
    expect(await worklist()).toEqual({ status: 0, accessions: ['A1-new', 'A3'] });
    // The same scheduled step, given to another item.
    await removeWorklistItem(archive(), TENANT, first.id);
    await addWorklistItem(archive(), TENANT, item(1));
    await sync();
    expect((await worklist()).accessions).toEqual(['A1', 'A3']);
  });

  test('is served while the line is down, over a restart, and says how old it is', async () => {
    await sync();
    const before = await worklist();
    expect(await worklistStatus(site.gateway)).toMatchObject({ state: 'current' });
    await site.line.set('refused');
    await site.restart();
    expect(await worklist()).toEqual(before);
    const { ageMs } = await worklistStatus(site.gateway);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await worklistStatus(site.gateway)).ageMs).toBeGreaterThan(ageMs!);
  });

  test('that was never read is no empty worklist', async () => {
    const cut = await startSite({ upstreams: [{ url: 'http://127.0.0.1:1/dicomweb' }] });
    const before = site;
    try {
      site = cut;
      expect((await worklist()).status).toBe(0xa700);
      expect(await tell('create', uid(900), step(1))).not.toBe(0);
    } finally {
      site = before;
      await cut.close();
    }
  });

  test('of an archive that is no Nephos is off, with a clear status', async () => {
    const other = await startSite({ upstreams: [{ url: 'http://127.0.0.1:1/dicom-web' }] });
    const before = site;
    try {
      site = other;
      expect((await worklist()).status).toBe(0x0122);
      expect(await tell('create', uid(900), step(1))).toBe(0x0122);
      expect(await worklistStatus(other.gateway)).toMatchObject({ state: 'off' });
    } finally {
      site = before;
      await other.close();
    }
  });
});

describe('procedure steps at the edge', () => {
  test('are told to the archive, which marks its worklist', async () => {
    const { id } = await addWorklistItem(archive(), TENANT, item(11));
    await sync();
    expect(await tell('create', uid(911), step(11))).toBe(0);
    await heard();
    expect((await getWorklistItem(archive(), TENANT, id)).state).toBe('IN PROGRESS');
    expect(await tell('set', uid(911), ended([uid(1101)]))).toBe(0);
    await heard();
    expect((await getWorklistItem(archive(), TENANT, id)).state).toBe('COMPLETED');
    expect((await stepsUpstream()).get(uid(911))).toMatchObject({ state: 'COMPLETED', source: 'CT1' });
  });

  test('the rules of the standard hold here, whether the line is up or not', async () => {
    await site.line.set('refused');
    expect(await tell('create', uid(912), step(12))).toBe(0);
    expect(await tell('create', uid(912), step(12))).toBe(0x0111);
    expect(await tell('set', uid(999), ended([]))).toBe(0x0112);
    expect(await tell('set', uid(912), ended([uid(1201)], 'DISCONTINUED'))).toBe(0);
    expect(await tell('set', uid(912), ended([uid(1201)]))).toBe(0x0110);
    expect(await waitingSteps(site.gateway)).toBe(2);
    await site.line.set('up');
    await heard();
    expect((await stepsUpstream()).get(uid(912))).toMatchObject({ state: 'DISCONTINUED' });
  });

  test('wait in order while the line is down, over a restart, and arrive once although answers are lost', async () => {
    const { id } = await addWorklistItem(archive(), TENANT, item(13));
    await sync();
    await site.line.set('refused');
    for (const n of [13, 14, 15]) expect(await tell('create', uid(900 + n), step(n))).toBe(0);
    expect(await tell('set', uid(913), ended([uid(1301)]))).toBe(0);
    await site.restart();
    expect(await waitingSteps(site.gateway)).toBe(4);
    // What the archive has not heard stays so here, although it still says SCHEDULED.
    site.line.breaksAfterBytes = 1;
    await site.line.set('up');
    await heard();
    const steps = await stepsUpstream();
    expect([13, 14, 15].map((n) => steps.get(uid(900 + n))?.state)).toEqual([
      'COMPLETED',
      'IN PROGRESS',
      'IN PROGRESS',
    ]);
    expect((await getWorklistItem(archive(), TENANT, id)).procedureSteps).toEqual([uid(913)]);
    expect(await heldSteps(site.gateway)).toEqual([]);
  });

  test('the copy does not take back what the archive has not heard yet', async () => {
    const { id } = await addWorklistItem(archive(), TENANT, item(16));
    await sync();
    expect(await tell('create', uid(916), step(16))).toBe(0);
    await heard();
    site.upstream.refusesStores = true;
    expect(await tell('set', uid(916), ended([]))).toBe(0);
    expect((await getWorklistItem(archive(), TENANT, id)).state).toBe('IN PROGRESS');
    await sync();
    expect((await getWorklistItem(site.gateway.services, TENANT, id)).state).toBe('COMPLETED');
    site.upstream.refusesStores = false;
    await heard();
    await sync();
    expect(await getWorklistItem(site.gateway.services, TENANT, id)).toEqual(
      await getWorklistItem(archive(), TENANT, id),
    );
  });

  test('what the archive refuses is held, and does not hinder the others; a person may release it', async () => {
    await createProcedureStep(archive(), uid(917), step(99), { tenant: TENANT, source: 'OTHER' });
    expect(await tell('create', uid(917), step(17))).toBe(0);
    expect(await tell('create', uid(918), step(18))).toBe(0);
    await heard();
    expect(await heldSteps(site.gateway)).toMatchObject([{ SOPInstanceUID: uid(917), kind: 'create', source: 'CT1' }]);
    expect((await stepsUpstream()).has(uid(918))).toBe(true);
    expect(await releaseSteps(site.gateway)).toBe(1);
    await heard();
    expect(await heldSteps(site.gateway)).toHaveLength(1);
  });
});
