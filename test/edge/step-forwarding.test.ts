import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { DataSet } from '#core/dicom/types.ts';
import { listProcedureSteps } from '#core/procedure/procedure-step.ts';
import { ARCHIVE_POLICY, archiveServices } from '#dimse/archive.ts';
import { createDimseServer, type DimseServer } from '#dimse/server.ts';
import { sendStep } from '#dimse/services/procedure-scu.ts';
import type { Service } from '#dimse/session.ts';
import { heldSteps, releaseSteps, waitingSteps, waitingStepsOfAll } from '#edge/queues/procedure-steps.ts';
import { worklistStatus } from '#edge/queues/worklist.ts';
import { type Archive, openArchive } from '#embedded/archive.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { ended, started } from '#test/fixtures/worklist.ts';
import { eventually, type Site, startSite, TENANT } from './read-site.ts';

/** The department system: an archive of its own, which speaks DIMSE alone. */
let ris: Archive;
let server: DimseServer;
let folder: string;
let port: number;
let site: Site | undefined;
/** messages that it applies, and hangs up instead of answering */
let lostAnswers = 0;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nephos-ris-'));
  ris = await openArchive({ dataDir: folder, limits: {}, policy: {} });
  lostAnswers = 0;
  // not one that the system may give away while nobody listens
  await listen(await freePort());
});
afterEach(async () => {
  await site?.close();
  site = undefined;
  await server.close(0);
  await ris.close();
  await rm(folder, { recursive: true, force: true });
});

const losing =
  (service: Service): Service =>
  (operation) =>
    service({
      ...operation,
      respond: async (fields, dataSet) => {
        if (fields.Status === 0 && lostAnswers > 0) {
          lostAnswers--;
          operation.session.abort();
        }
        return operation.respond(fields, dataSet);
      },
    });

async function listen(on: number): Promise<void> {
  const services = archiveServices({
    services: ris.services,
    aeTitle: 'RIS',
    principalOf: (subject) => ({ tenant: TENANT, subject, roles: ['modality'] }),
    destinationOf: () => undefined,
  });
  server = createDimseServer({
    aeTitle: 'RIS',
    checkCalledAETitle: true,
    allowed: 'any',
    maxAssociations: 4,
    policy: ARCHIVE_POLICY,
    services: new Map([...services].map(([command, service]) => [command, losing(service)])),
  });
  server.server.listen(on, '127.0.0.1');
  await once(server.server, 'listening');
  port = on;
}

const forwardTo = () => [{ aeTitle: 'RIS', host: '127.0.0.1', port }];
const step = (n: number): DataSet => started({}, { StudyInstanceUID: uid(n), ScheduledProcedureStepID: `SPS${n}` });
const tell = async (kind: 'create' | 'set', n: number, dataSet: DataSet): Promise<number> =>
  (await sendStep(site!.remote, 'CT1', { kind, SOPInstanceUID: uid(n), dataSet })).Status!;
const stepsOf = async ({ services }: Pick<Archive, 'services'>) =>
  new Map(
    (await listProcedureSteps(services, TENANT, { limit: 100 })).items.map((one) => [one.SOPInstanceUID, one.state]),
  );
/** A gateway that knows its archive. */
async function open(): Promise<void> {
  site = await startSite({ procedureSteps: { forwardTo: forwardTo() } });
  await eventually('the archive is known', async () => (await worklistStatus(site!.gateway)).state === 'current');
}
const allHeard = () => eventually('all have heard', async () => (await waitingStepsOfAll(site!.gateway)) === 0);

test('what modalities say of procedure steps is told to the archive and to the department system, in order', async () => {
  await open();
  expect(await tell('create', 951, step(51))).toBe(0);
  expect(await tell('create', 952, step(52))).toBe(0);
  expect(await tell('set', 951, ended([uid(5101)]))).toBe(0);
  await allHeard();
  const told = new Map([
    [uid(951), 'COMPLETED'],
    [uid(952), 'IN PROGRESS'],
  ]);
  expect(await stepsOf(ris)).toEqual(told);
  expect(await stepsOf(site!.upstream.archive)).toEqual(told);
});

test('an answer that is lost is no second message: the step exists, or is over, already', async () => {
  await open();
  lostAnswers = 1;
  expect(await tell('create', 953, step(53))).toBe(0);
  await allHeard();
  lostAnswers = 1;
  expect(await tell('set', 953, ended([uid(5301)]))).toBe(0);
  await allHeard();
  expect(await heldSteps(site!.gateway)).toEqual([]);
  expect(await stepsOf(ris)).toEqual(new Map([[uid(953), 'COMPLETED']]));
});

test('a department system that is down delays nobody, and hears all of it after a restart of the gateway', async () => {
  await open();
  await server.close(0);
  for (const n of [54, 55]) expect(await tell('create', 900 + n, step(n))).toBe(0);
  await eventually('the archive has heard', async () => (await waitingSteps(site!.gateway)) === 0);
  expect(await waitingSteps(site!.gateway, 'RIS')).toBe(2);
  await site!.restart();
  expect(await waitingSteps(site!.gateway, 'RIS')).toBe(2);
  await listen(port);
  await allHeard();
  expect([...(await stepsOf(ris)).keys()].sort()).toEqual([uid(954), uid(955)]);
});

test('what it refuses for good is held under its name, and tried again when a person says so', async () => {
  await open();
  // Somebody else told it of this step before.
  const direct = { aeTitle: 'RIS', host: '127.0.0.1', port };
  await sendStep(direct, 'OTHER', { kind: 'create', SOPInstanceUID: uid(956), dataSet: step(56) });
  expect(await tell('create', 956, step(56))).toBe(0);
  await allHeard();
  expect(await heldSteps(site!.gateway)).toMatchObject([{ destination: 'RIS', reason: 'RIS answered 0111' }]);
  expect((await stepsOf(site!.upstream.archive)).get(uid(956))).toBe('IN PROGRESS');
  expect(await releaseSteps(site!.gateway)).toBe(1);
  await allHeard();
  expect(await heldSteps(site!.gateway)).toHaveLength(1);
});

test('an archive that is no Nephos needs to take no steps where a department system does', async () => {
  site = await startSite({
    upstreams: [{ url: 'http://127.0.0.1:1/dicom-web' }],
    procedureSteps: { forwardTo: forwardTo() },
  });
  await eventually('what the upstream is, is known', async () => {
    await sleep(20);
    return (await tell('create', 957, step(57))) === 0;
  });
  await allHeard();
  expect(await stepsOf(ris)).toEqual(new Map([[uid(957), 'IN PROGRESS']]));
});
