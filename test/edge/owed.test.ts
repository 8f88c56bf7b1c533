import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { keys } from '#core/archive/records.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { INSTANCE_AVAILABILITY } from '#core/procedure/availability.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { createDimseServer } from '#dimse/server.ts';
import { INSTANCE_AVAILABILITY_NOTIFICATION } from '#dimse/sop-classes.ts';
import { perform } from '#edge/status/actions.ts';
import { gatewayMetrics } from '#edge/status/metrics.ts';
import { statusPage } from '#edge/status/page.ts';
import { type GatewayStatus, gatewayStatus } from '#edge/status/snapshot.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { cStore, eventually, requestCommitment, type Site, slices, startSite, TENANT } from './read-site.ts';

let site: Site;
let port: number;
/** how far the clock is ahead */
let aheadMs = 0;

beforeEach(async () => {
  const { now } = Date;
  vi.spyOn(Date, 'now').mockImplementation(() => now() + aheadMs);
  port = await freePort();
  const availabilityListeners = [{ aeTitle: 'RIS', host: '127.0.0.1', port }];
  site = await startSite({ availabilityListeners });
});
afterEach(async () => {
  await site.close();
  vi.restoreAllMocks();
});

const statusNow = (): Promise<GatewayStatus> => gatewayStatus(site.gateway);
const pageNow = async (): Promise<string> => statusPage(await statusNow(), { refresh: false });

test('who waits for an answer or a notification is on the page, with why it has not been told; nobody any more when all are', async () => {
  expect(await pageNow()).toContain('<p>Nothing.</p>');
  // Of a notification that was not taken there are two jobs for a moment, which lasts here: it was counted twice.
  const { jobs } = site.gateway;
  const complete = jobs.complete.bind(jobs);
  const { promise: counted, resolve: goOn } = Promise.withResolvers<void>();
  let isHeld = false;
  vi.spyOn(jobs, 'complete').mockImplementation(async (queue, job) => {
    if (queue === INSTANCE_AVAILABILITY) {
      isHeld = true;
      await counted;
    }
    return complete(queue, job);
  });
  await site.line.set('refused');
  await cStore(site, slices(811, 2));
  // All of the study has come: now it gets quiet, as it would in half a minute.
  aheadMs += DEFAULT_LIMITS.studyQuietMs;
  expect(await requestCommitment(site, uid(91_001), [uid(811_001), uid(811_002)])).toBe(0);
  await eventually(
    'the department system has been tried',
    async () => isHeld && (await statusNow()).owed.notices.some(({ reason }) => reason !== undefined),
  );
  const status = await statusNow();
  const lined = await jobs.pending(INSTANCE_AVAILABILITY);
  goOn();
  expect(lined).toHaveLength(2);
  expect(status.owed).toMatchObject({
    commitments: [{ aeTitle: 'WS', count: 1 }],
    notices: [{ aeTitle: 'RIS', count: 1, reason: 'the peer cannot be reached' }],
    givenUp: [],
  });
  const page = await pageNow();
  expect(page).toMatch(/<th scope="row">WS<\/th><td>1 answer to storage commitment<\/td>/);
  expect(page).toMatch(/<th scope="row">RIS<\/th><td>1 notification of available instances<\/td>/);
  const metrics = await gatewayMetrics(status);
  expect(metrics).toContain('nephos_edge_commitments_waiting{caller="WS"} 1');
  expect(metrics).toContain('nephos_edge_notifications_waiting{listener="RIS"} 1');

  const ris = createDimseServer({
    aeTitle: 'RIS',
    checkCalledAETitle: true,
    allowed: 'any',
    maxAssociations: 4,
    policy: { acceptUnknownSopClasses: false, services: new Set([INSTANCE_AVAILABILITY_NOTIFICATION]) },
    services: new Map([[COMMAND.nCreate, ({ respond }) => respond({ Status: 0 })]]),
  });
  ris.server.listen(port, '127.0.0.1');
  await site.line.set('up');
  await eventually('nobody waits any more', async () => {
    const { commitments, notices } = (await statusNow()).owed;
    return commitments.length + notices.length === 0;
  });
  await ris.close(0);
});

test('what was given up is told of first, and taken up again at a click', async () => {
  const { jobs } = site.gateway;
  // Of a queue that nobody here works off, so that it is still there when it is looked at.
  await jobs.enqueue('route', { tenant: TENANT });
  const [job] = await jobs.receive('route', { max: 1, visibilityMs: 60_000, maxAttempts: 1 });
  await jobs.release('route', job!, 0);
  const status = await statusNow();
  expect(status.owed.givenUp).toEqual([{ queue: 'route', count: 1 }]);
  expect(await pageNow()).toMatch(/somebody has to look[\s\S]*Given up: 1 of route/);
  expect(await gatewayMetrics(status)).toContain('nephos_edge_jobs_given_up{queue="route"} 1');
  expect(await perform(site.gateway, { action: 'takeUp', destination: '' })).toBe('1 piece of work is taken up again.');
  expect((await statusNow()).owed.givenUp).toEqual([]);
  expect(await jobs.pending('route')).toHaveLength(1);
});

test('a request for commitment that lost its job, as the gateway was killed between the two, is answered after the next start', async () => {
  // Nothing of it is confirmed, and answered at once, before it is looked at.
  await site.line.set('refused');
  await cStore(site, slices(813, 1));
  const { services } = site.gateway;
  await services.index.write([
    {
      kind: 'put',
      key: keys.commitment(TENANT, '01ARZ3NDEKTSV4RRFFQ69G5FAV'),
      item: await requestOf(uid(813_001)),
    },
  ]);
  expect((await statusNow()).owed.commitments).toMatchObject([{ aeTitle: 'WS', count: 1 }]);
  await site.line.set('up');
  await site.restart();
  await eventually('it is answered', () => site.workstation.reports.length > 0);
  // The gateway hears that it was taken after that.
  await eventually('nothing is owed', async () => (await statusNow()).owed.commitments.length === 0);
});

/** As the request was noted: of another one, whose job is still there. */
async function requestOf(sop: string) {
  const { services } = site.gateway;
  await requestCommitment(site, uid(91_002), [sop]);
  const { partition } = keys.commitment(TENANT, '');
  const page = await services.index.query({ partition, limit: 1 });
  await services.index.write([{ kind: 'delete', key: { partition, sort: page.records[0]!.sort } }]);
  return { ...page.records[0]!.item, id: '01ARZ3NDEKTSV4RRFFQ69G5FAV' };
}
