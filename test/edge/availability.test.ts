import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { STUDY_QUIET } from '#core/archive/fold.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { decodeIdentifier } from '#dimse/identifiers.ts';
import { createDimseServer, type DimseServer } from '#dimse/server.ts';
import { INSTANCE_AVAILABILITY_NOTIFICATION } from '#dimse/sop-classes.ts';
import { evictCache } from '#edge/read/cache.ts';
import { readSideOf } from '#edge/read/read-side.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import {
  cMove,
  cStore,
  eventually,
  forwarded,
  key,
  localInstances,
  putUpstream,
  type Site,
  slices,
  startSite,
  TENANT,
} from './read-site.ts';

/** A department system that takes notifications: what it was told, by the SOP Instance UID of the notification. */
let told: Map<string, DataSet>;
let ris: DimseServer | undefined;
let port: number;
let site: Site;
/** how far the clock is ahead */
let aheadMs = 0;
/** What has come is all that comes for now: studies get quiet, as they would in half a minute, and are looked at. */
async function getQuiet(): Promise<void> {
  aheadMs += DEFAULT_LIMITS.studyQuietMs;
  await eventually('they are looked at', async () => (await site.gateway.jobs.pending(STUDY_QUIET)).length === 0);
}

async function listen(): Promise<void> {
  ris = createDimseServer({
    aeTitle: 'RIS',
    checkCalledAETitle: true,
    allowed: 'any',
    maxAssociations: 4,
    policy: { acceptUnknownSopClasses: false, services: new Set([INSTANCE_AVAILABILITY_NOTIFICATION]) },
    services: new Map([
      [
        COMMAND.nCreate,
        async ({ command, context, dataSet, respond }) => {
          told.set(command.AffectedSOPInstanceUID!, decodeIdentifier(await dataSet!.gather(), context.transferSyntax));
          await respond({ Status: 0 });
        },
      ],
    ]),
  });
  ris.server.listen(port, '127.0.0.1');
  await once(ris.server, 'listening');
}

beforeEach(async () => {
  told = new Map();
  const { now } = Date;
  vi.spyOn(Date, 'now').mockImplementation(() => now() + aheadMs);
  port = await freePort();
  const availabilityListeners = [{ aeTitle: 'RIS', host: '127.0.0.1', port }];
  site = await startSite({ availabilityListeners });
});
afterEach(async () => {
  await site.close();
  vi.restoreAllMocks();
  await ris?.close(0);
  ris = undefined;
});

const studies = (): unknown[] => [...told.values()].map((one) => one['0020000D']!.Value![0]);
const itemsOf = (notification: DataSet): DataSet[] =>
  (notification['00081115']!.Value as DataSet[]).flatMap((series) => series['00081199']!.Value as DataSet[]);

test('the department system hears of a study that a modality has stored, while the line is down, and from the gateway itself', async () => {
  await listen();
  await site.line.set('refused');
  expect(await cStore(site, slices(801, 3))).toEqual([0, 0, 0]);
  await getQuiet();
  await eventually('it is told', async () => told.size > 0);
  const [notification] = told.values();
  expect(studies()).toEqual([uid(801)]);
  const items = itemsOf(notification!);
  expect(items.map((item) => item['00081155']!.Value![0]).sort()).toEqual([801_001, 801_002, 801_003].map(uid));
  for (const item of items) {
    expect(item['00080054']).toEqual({ vr: 'AE', Value: ['EDGE'] });
    expect(item['00080056']).toEqual({ vr: 'CS', Value: ['ONLINE'] });
  }
});

test('one that is down hears after a restart of the gateway, once', async () => {
  let attempts = 0;
  const down = createServer((socket) => {
    attempts++;
    socket.destroy();
  }).listen(port, '127.0.0.1');
  await once(down, 'listening');
  await cStore(site, slices(802, 2));
  await getQuiet();
  await eventually('it is tried', async () => attempts > 0);
  down.close();
  await once(down, 'close');
  await site.restart();
  await listen();
  await eventually('it is told', async () => told.size > 0);
  expect(studies()).toEqual([uid(802)]);
});

test('a study that was only fetched back is no news', async () => {
  await listen();
  await putUpstream(site, slices(803, 2));
  await cMove(site, 'STUDY', { '0020000D': key('UI', uid(803)) });
  expect(await localInstances(site, uid(803))).toHaveLength(2);
  await getQuiet();
  await cStore(site, slices(804, 1));
  await getQuiet();
  await eventually('what came later is told', async () => told.size > 0);
  expect(studies()).toEqual([uid(804)]);
});

// It was told of again, as it became quiet again.
test('a study that was told of, evicted in part and fetched back is no news either; what a modality adds to it is', async () => {
  await listen();
  await cStore(site, slices(805, 3));
  await getQuiet();
  await eventually('it is told', async () => told.size === 1);
  await forwarded(site, uid(805));
  const { knowledge, usage } = readSideOf(site.gateway);
  await evictCache(site.gateway.services, TENANT, knowledge, usage, { cacheBytes: 0, cacheAgeMs: 0 });
  expect(await localInstances(site, uid(805))).toEqual([]);
  await cStore(site, slices(805, 4).slice(3));
  await getQuiet();
  await eventually('what was added is told', async () => told.size === 2);
  await cMove(site, 'STUDY', { '0020000D': key('UI', uid(805)) });
  expect(await localInstances(site, uid(805))).toHaveLength(4);
  await getQuiet();
  await cStore(site, slices(806, 1));
  await getQuiet();
  await eventually('what came later is told', async () => studies().includes(uid(806)));
  expect(studies()).toEqual([805, 805, 806].map(uid));
});
