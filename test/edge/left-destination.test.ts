import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Gateway, openGateway } from '#edge/gateway.ts';
import { evictStudy } from '#edge/read/cache.ts';
import { readSideOf } from '#edge/read/read-side.ts';
import { reportOf } from '#edge/status/heartbeat.ts';
import { gatewayMetrics } from '#edge/status/metrics.ts';
import { gatewayStatus } from '#edge/status/snapshot.ts';
import { statusSideOf } from '#edge/status/status-side.ts';
import { createLog } from '#embedded/log.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import {
  type ArchiveSite,
  configOf,
  cStore,
  dataSetsIn,
  drained,
  IMPATIENT,
  startArchiveSite,
  TENANT,
  until,
} from './clinic.ts';
import { FaultyLine } from './faulty-line.ts';

/** Two archives upstream; the second one cannot be reached, and then is no longer configured. */

let root: string;
let cloud: ArchiveSite;
let stroke: ArchiveSite;
let strokeLine: FaultyLine;
let gateway: Gateway;
let logged: string[];

const config = (names: readonly string[]) =>
  configOf(
    join(root, 'edge'),
    cloud.port,
    {},
    {
      upstreams: [
        { name: 'cloud', url: `http://127.0.0.1:${cloud.port}/dicomweb`, ...IMPATIENT },
        { name: 'stroke', url: `http://127.0.0.1:${strokeLine.port}/dicomweb`, ...IMPATIENT },
      ].filter(({ name }) => names.includes(name)),
    },
  );
const StudyInstanceUID = uid(9_000);
const slices = Array.from({ length: 3 }, (_, i) =>
  buildDicom({ StudyInstanceUID, SOPInstanceUID: uid(9_100 + i), InstanceNumber: i }),
);
const evict = () => {
  const { knowledge, usage } = readSideOf(gateway);
  return evictStudy(gateway.services, TENANT, StudyInstanceUID, knowledge, usage);
};
const act = (form: Record<string, string>) =>
  fetch(`http://127.0.0.1:${statusSideOf(gateway).httpPort}/status/actions`, {
    method: 'POST',
    body: new URLSearchParams(form),
    headers: { accept: 'application/json' },
  });
const page = async (): Promise<string> =>
  (await fetch(`http://127.0.0.1:${statusSideOf(gateway).httpPort}/status`)).text();

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'nephos-left-'));
  cloud = await startArchiveSite(join(root, 'cloud'));
  stroke = await startArchiveSite(join(root, 'stroke'));
  strokeLine = await FaultyLine.open(() => stroke.port);
  logged = [];
  const log = createLog('error', (text) => logged.push(text));
  gateway = await openGateway(config(['cloud', 'stroke']), { log });
  await until(
    () => statusSideOf(gateway).httpPort,
    (port) => port !== undefined,
  );
  await strokeLine.set({ kind: 'refused' });
  expect(await cStore(gateway, slices)).toEqual([0, 0, 0]);
  await drained(gateway, 3);
  await until(
    () => gateway.forwarder.status(),
    ([, second]) => second?.pending === 3,
  );
  await gateway.reload(config(['cloud']));
});
afterEach(async () => {
  await gateway?.close();
  await strokeLine?.close();
  await cloud?.close();
  await stroke?.close();
  await rm(root, { recursive: true, force: true });
});

describe('an archive that is no longer configured, with instances that wait for it', () => {
  test('is told of, in the log, on the page, in the metrics and to the archive', async () => {
    await until(
      () => logged.filter((text) => text.includes('destination-not-configured')),
      ([first]) => first !== undefined && /"destination":"stroke","waiting":3/.test(first),
    );
    const status = await gatewayStatus(gateway);
    expect(status.destinations.map(({ name }) => name)).toEqual(['cloud']);
    expect(status.left).toMatchObject([{ name: 'stroke', pending: 3, held: 0 }]);
    expect(status.left[0]!.oldestAt).toBeGreaterThan(0);
    expect(await page()).toContain('Waiting for what is not configured');
    expect(await gatewayMetrics(status)).toContain('nephos_edge_left_instances{destination="stroke"} 3');
    expect(reportOf(status, 60).queues[1]).toMatchObject({ upstream: 'stroke', waiting: 3, link: 'unknown' });
  });

  test('keeps them here until a person drops them; then what the others have confirmed may go', async () => {
    expect((await gateway.forwarder.evidenceOf(uid(9_100))).confirmed).toBe(false);
    expect((await evict()).instances).toBe(0);
    expect((await act({ action: 'drop', destination: 'cloud' })).status).toBe(409);
    expect((await act({ action: 'drop', destination: 'nobody' })).status).toBe(404);
    const done = await act({ action: 'drop', destination: 'stroke' });
    expect(await done.json()).toEqual({ said: '3 instances are no longer meant for stroke.' });
    expect((await gatewayStatus(gateway)).left).toEqual([]);
    expect(await page()).not.toContain('Waiting for what is not configured');
    expect((await gateway.forwarder.evidenceOf(uid(9_100))).confirmed).toBe(true);
    expect((await evict()).instances).toBe(3);
    // Configured again, it does not get what was dropped, and what is sent anew it does.
    await gateway.reload(config(['cloud', 'stroke']));
    await strokeLine.set({ kind: 'none' });
    expect((await gateway.forwarder.evidenceOf(uid(9_100))).confirmed).toBe(true);
    expect(await cStore(gateway, slices.slice(0, 1))).toEqual([0]);
    await drained(gateway, 1, 'stroke');
    expect((await dataSetsIn(stroke.archive)).size).toBe(1);
  });

  test('gets them when it is configured again, after a restart as well', async () => {
    await gateway.close();
    gateway = await openGateway(config(['cloud']), { log: createLog('error', () => {}) });
    expect((await gatewayStatus(gateway)).left).toMatchObject([{ name: 'stroke', pending: 3 }]);
    await strokeLine.set({ kind: 'none' });
    await gateway.reload(config(['cloud', 'stroke']));
    await drained(gateway, 3, 'stroke');
    expect((await dataSetsIn(stroke.archive)).size).toBe(3);
    expect((await gatewayStatus(gateway)).left).toEqual([]);
    expect((await evict()).instances).toBe(3);
  });
});
