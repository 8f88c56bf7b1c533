import { beforeAll, describe, expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { apiRoutes } from '#api/routes.ts';
import type { Principal, Reach } from '#core/access.ts';
import { listHeld } from '#core/archive/quarantine.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { storeObject } from '#core/archive/store.ts';
import { createProcedureStep } from '#core/procedure/procedure-step.ts';
import { TokenStore } from '#core/tokens.ts';
import { addWorklistItem } from '#core/worklist/worklist.ts';
import type { Route } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { type BuilderDataSet, buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices } from '#test/fixtures/services.ts';
import { scheduled, started } from '#test/fixtures/worklist.ts';
import { toldBy, withoutCursors } from '#test/property/told.ts';

/**
 * The hunt for insecure direct object references: every route of the code, tried by somebody who may do everything that his roles permit
 * and reaches other studies only, with the very ids of what he must not see. He is answered as by an archive that has nothing.
 */
const TENANT = 'main';
const STUDY = uid(1);
const SERIES = uid(2);
const INSTANCE = uid(3);
const STEP = uid(40);
/** of a study that is there for him, in both archives */
const OWN = { StudyInstanceUID: uid(91), SeriesInstanceUID: uid(92), SOPInstanceUID: uid(93), PatientID: 'OWN' };

interface Ids {
  readonly held: string;
  readonly trash: string;
  readonly item: string;
}

interface Door {
  readonly prefix: string;
  readonly route: Route;
}

type Archive = (door: Door, principal: Principal, ids: Ids, body?: string) => Promise<string>;

async function anArchive(): Promise<{ services: ReturnType<typeof memoryServices>; knock: Archive }> {
  const services = memoryServices();
  await put(services, OWN);
  const tokens = new TokenStore(services);
  const app = createArchiveApp({ services, tokens, corsOrigins: [], tenant: TENANT, onFailure: () => {} });
  const knock: Archive = async (door, principal, ids, body = '') => {
    const answered = await app.answer({
      method: door.route.method,
      path: pathOf(door, ids),
      query: queryOf(door),
      headers: {},
      body: chunked(Buffer.from(body)),
      principal,
      origin: 'http://pacs.test',
      signal: AbortSignal.abort(),
    });
    return withoutCursors(await toldBy(answered!.response));
  };
  return { services, knock };
}

async function put(services: ReturnType<typeof memoryServices>, attributes: BuilderDataSet): Promise<void> {
  await storeObject(services, { tenant: TENANT, source: 'CT1' }, chunked(buildDicom(attributes))).outcome;
}

const idOf = ({ route }: Door, ids: Ids): string =>
  route.path.startsWith('/quarantine') ? ids.held : route.path.startsWith('/trash') ? ids.trash : ids.item;

function pathOf(door: Door, ids: Ids): string {
  const values: Record<string, string> = {
    study: STUDY,
    series: SERIES,
    instance: door.route.path.startsWith('/procedure-steps') ? STEP : INSTANCE,
    frames: '1',
    bulk: '7FE00010',
    id: idOf(door, ids),
  };
  return door.prefix + door.route.path.replace(/\{(\w+)\*?\}/g, (_, name: string) => values[name] ?? 'x1');
}

const queryOf = ({ prefix, route }: Door): URLSearchParams =>
  new URLSearchParams(
    prefix === '/wado'
      ? { requestType: 'WADO', studyUID: STUDY, seriesUID: SERIES, objectUID: INSTANCE }
      : route.name === 'ListProcedureSteps'
        ? { StudyInstanceUID: STUDY }
        : {},
  );

const under = (prefix: string) => (route: Route) => ({ prefix, route });
const doors: Door[] = [
  ...DICOMWEB_ROUTES.map(under('/dicomweb')),
  ...WADO_URI_ROUTES.map(under('/wado')),
  ...apiRoutes(new TokenStore(memoryServices())).map(under('/api')),
].filter(({ route }) => route.action !== 'public');

/** What routes that change something are told to do, so that they get as far as they would. */
const BODIES: Readonly<Record<string, unknown>> = {
  DecideQuarantined: { action: 'discard' },
  DecideTrashed: { action: 'restore' },
  DecideWorklistItem: { action: 'cancel' },
  SetProcedureStep: {},
};

/** Whoever has every right, and studies of his own alone. */
const confined = (reach: Reach): Principal => ({ tenant: TENANT, subject: 'eve', roles: ['admin'], reach });
const REACHES: readonly (readonly [string, Reach])[] = [
  ['a list of studies', [{ studies: [OWN.StudyInstanceUID] }]],
  ['his own patients', [{ patients: [{ id: 'OWN' }] }]],
  ['nothing', []],
];

let full: Awaited<ReturnType<typeof anArchive>>;
let bare: Awaited<ReturnType<typeof anArchive>>;
let ids: Ids;

beforeAll(async () => {
  full = await anArchive();
  bare = await anArchive();
  const { services } = full;
  const about = { StudyInstanceUID: STUDY, SeriesInstanceUID: SERIES, PatientID: 'SECRET' };
  await put(services, { ...about, SOPInstanceUID: INSTANCE });
  await put(services, { ...about, SOPInstanceUID: INSTANCE, PatientName: 'Other^Bytes' });
  await put(services, { ...about, SOPInstanceUID: uid(4) });
  const trash = await moveToTrash(
    services,
    TENANT,
    [{ StudyInstanceUID: STUDY, SeriesInstanceUID: SERIES, SOPInstanceUID: uid(4) }],
    { kind: 'deleted', reason: 'test', by: 'test' },
  );
  const order = { StudyInstanceUID: STUDY, PatientID: 'SECRET' };
  const item = await addWorklistItem(services, TENANT, scheduled(order));
  await createProcedureStep(
    services,
    STEP,
    started({ PatientID: 'SECRET', ScheduledStepAttributesSequence: { ...STEP_ATTRIBUTES } }),
    {
      tenant: TENANT,
      source: 'CT1',
    },
  );
  const { items } = await listHeld(services, TENANT, '', 10);
  ids = { held: items[0]!.id, trash: trash.id, item: item.id };
});

const STEP_ATTRIBUTES = {
  StudyInstanceUID: STUDY,
  ReferencedStudySequence: '',
  AccessionNumber: 'A1',
  RequestedProcedureID: 'RP1',
  RequestedProcedureDescription: 'CT of the head',
  ScheduledProcedureStepID: 'SPS1',
  ScheduledProcedureStepDescription: 'CT head',
  ScheduledProtocolCodeSequence: '',
};

describe.each(REACHES)('who reaches %s', (_, reach) => {
  test.each(doors.map((door) => [`${door.route.method} ${door.prefix}${door.route.path}`, door] as const))(
    '%s tells nothing of other studies',
    async (_path, door) => {
      const body = BODIES[door.route.name];
      const text = body === undefined ? '' : JSON.stringify(body);
      const asked = [door, confined(reach), ids, text] as const;
      expect(await full.knock(...asked)).toBe(await bare.knock(...asked));
    },
  );
});

test('what was tried on is all still there, and its owner has it', async () => {
  const owner: Principal = { tenant: TENANT, subject: 'owner', roles: ['admin'] };
  const gets = doors.filter(({ route }) => route.method === 'GET' && /\{(study|instance|id)/.test(route.path));
  const mine = ['/dicomweb', '/api'].flatMap((prefix) =>
    gets.filter(
      ({ prefix: own, route }) =>
        own === prefix && /^\/(studies|quarantine|trash|worklist|procedure-steps)/.test(route.path),
    ),
  );
  let differing = 0;
  for (const door of mine)
    if ((await full.knock(door, owner, ids)) !== (await bare.knock(door, owner, ids))) differing++;
  // The pixel data of the fixture cannot be drawn here, with or without the study.
  expect(differing).toBeGreaterThan(mine.length / 2);
});
