import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readFeed } from '#core/archive/feed.ts';
import { storeObject } from '#core/archive/store.ts';
import { textOf } from '#core/dicom/element-text.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { INSTANCE_AVAILABILITY } from '#core/procedure/availability.ts';
import { addWorklistItem, getWorklistItem, removeWorklistItem } from '#core/worklist/worklist.ts';
import { COMMAND, type Command } from '#dimse/command-set.ts';
import { decodeIdentifier, encodeIdentifier } from '#dimse/identifiers.ts';
import { IDENTITY } from '#dimse/identity.ts';
import { associate, contextOf, proposing, type RemoteEntity, sendEcho, sendFind, sendObject } from '#dimse/scu.ts';
import { createDimseServer, type DimseServer } from '#dimse/server.ts';
import type { Session } from '#dimse/session.ts';
import {
  INSTANCE_AVAILABILITY_NOTIFICATION,
  MODALITY_PERFORMED_PROCEDURE_STEP_NOTIFICATION,
  MODALITY_PERFORMED_PROCEDURE_STEP as MPPS,
  MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE as MPPS_RETRIEVE,
  STORAGE_COMMITMENT_PUSH_MODEL,
  STUDY_ROOT_FIND,
  VERIFICATION,
  MODALITY_WORKLIST_FIND as WORKLIST,
} from '#dimse/sop-classes.ts';
import type { UserIdentity } from '#dimse/user-information.ts';
import { type Archive, openArchive } from '#embedded/archive.ts';
import { readConfig } from '#embedded/config.ts';
import { type DicomHost, listenDicom } from '#embedded/dicom-host.ts';
import { hashPasscode } from '#embedded/dicom-users.ts';
import { workQueues } from '#embedded/jobs.ts';
import { createLog } from '#embedded/log.ts';
import {
  buildDicom,
  CT_IMAGE_STORAGE,
  EXPLICIT_BE,
  EXPLICIT_LE,
  IMPLICIT_LE,
  uid,
} from '#test/fixtures/dicom-builder.ts';
import { chunked } from '#test/fixtures/services.ts';
import { dataSet, ended, scheduled, started, type Written } from '#test/fixtures/worklist.ts';

const TENANT = 'main';
const log = createLog('error', (line) => process.stderr.write(line));
let dataDir: string;
let archive: Archive;
let host: DicomHost;
let remote: RemoteEntity;
let listener: DimseServer;
const stop = new AbortController();
let working: Promise<void>;
/** what the department system was told, by SOP Instance UID of the notification; it refuses the first */
const told = new Map<string, DataSet>();
let refusals = 1;
/** event types of each step that it was told of */
const noticesOf = new Map<string, (number | 'deaf')[]>();

function startListener(): DimseServer {
  return createDimseServer({
    aeTitle: 'RIS',
    checkCalledAETitle: true,
    allowed: 'any',
    maxAssociations: 4,
    policy: {
      acceptUnknownSopClasses: false,
      services: new Set([INSTANCE_AVAILABILITY_NOTIFICATION, MODALITY_PERFORMED_PROCEDURE_STEP_NOTIFICATION]),
    },
    services: new Map([
      [
        COMMAND.nEventReport,
        async ({ command: { AffectedSOPInstanceUID: step = '', EventTypeID: event }, respond }) => {
          const heard = noticesOf.get(step) ?? [];
          noticesOf.set(step, heard);
          // The first one of each step falls on deaf ears.
          const isFirst = heard.length === 0;
          heard.push(isFirst ? 'deaf' : event!);
          return respond({ Status: isFirst ? 0x0213 : 0, EventTypeID: event });
        },
      ],
      [
        COMMAND.nCreate,
        async ({ command, context, dataSet: given, respond }) => {
          const notification = decodeIdentifier(await given!.gather(), context.transferSyntax);
          if (refusals-- > 0) return respond({ Status: 0x0213 });
          told.set(command.AffectedSOPInstanceUID!, notification);
          return respond({ Status: 0 });
        },
      ],
    ]),
  });
}

async function open(env: Record<string, string>): Promise<DicomHost> {
  const config = readConfig({ NEPHOS_DATA_DIR: dataDir, NEPHOS_AUTH: 'off', NEPHOS_DICOM_PORT: '0', ...env });
  return listenDicom(archive.services, config, log, archive.tokens);
}

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'nephos-schedule-'));
  listener = startListener();
  await new Promise<void>((resolve) => listener.server.listen(0, '127.0.0.1', resolve));
  const { port } = listener.server.address() as { port: number };
  archive = await openArchive(
    readConfig({
      NEPHOS_DATA_DIR: dataDir,
      NEPHOS_LIMIT_STUDY_QUIET_MS: '200',
      NEPHOS_LIMIT_WORKLIST_PAST_MS: '9000000000000',
      NEPHOS_DICOM_MPPS_LISTENERS: `RIS@127.0.0.1:${port}`,
    }),
  );
  host = await open({
    NEPHOS_DICOM_IAN: `RIS@127.0.0.1:${port}`,
    NEPHOS_DICOM_MPPS_LISTENERS: `RIS@127.0.0.1:${port}`,
  });
  remote = { aeTitle: 'NEPHOS', host: '127.0.0.1', port: host.port! };
  working = workQueues(
    archive.services,
    'http://pacs.test/dicomweb',
    createLog('error', () => {}),
    stop.signal,
    host.jobs,
  );
});

afterAll(async () => {
  stop.abort();
  await working;
  await host?.close();
  await listener?.close(0);
  await archive?.close();
  await rm(dataDir, { recursive: true });
});

async function find(
  keys: Written | DataSet,
  options: { syntax?: string; fuzzy?: boolean; zones?: boolean; cancel?: AbortSignal } = {},
): Promise<{ status: number; matches: DataSet[] }> {
  const session = await associate(remote, {
    callingAETitle: 'CT1',
    contexts: proposing([WORKLIST, [options.syntax ?? EXPLICIT_LE]]),
    user: {
      extended: [
        {
          SOPClassUID: WORKLIST,
          information: Uint8Array.of(1, 1, Number(options.fuzzy ?? false), Number(options.zones ?? false)),
        },
      ],
    },
  });
  const matches: DataSet[] = [];
  const identifier = Object.keys(keys).every((tag) => /^[0-9A-F]{8}$/.test(tag))
    ? (keys as DataSet)
    : dataSet(keys as Written);
  const status = await sendFind(session, WORKLIST, identifier, (match) => void matches.push(match), options.cancel);
  await session.release();
  return { status, matches };
}

const step = (keys: Written): Written => ({
  AccessionNumber: '',
  PatientName: '',
  ScheduledProcedureStepSequence: keys,
});

describe('Modality Worklist', () => {
  let id: string;
  beforeAll(async () => {
    ({ id } = await addWorklistItem(
      archive.services,
      TENANT,
      scheduled({ PatientName: 'Müller^Jürgen', AccessionNumber: 'W1' }, { ScheduledStationAETitle: ['CT1', 'CT2'] }),
    ));
    for (let n = 0; n < 30; n++)
      await addWorklistItem(
        archive.services,
        TENANT,
        scheduled(
          { AccessionNumber: `M${n}`, StudyInstanceUID: uid(900 + n) },
          { Modality: 'MR', ScheduledProcedureStepStartDate: '20240202' },
        ),
      );
  });

  test.each([IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE])('a modality asks for its day, in %s', async (syntax) => {
    const keys = step({
      Modality: 'CT',
      ScheduledStationAETitle: 'CT1',
      ScheduledProcedureStepStartDate: '20240131',
      ScheduledProcedureStepStartTime: '',
      ScheduledProcedureStepID: '',
      ScheduledProtocolCodeSequence: '',
    });
    const { status, matches } = await find({ ...keys, SpecificCharacterSet: 'ISO_IR 100' }, { syntax });
    expect(status).toBe(0);
    expect(matches).toEqual([
      {
        ...dataSet({
          SpecificCharacterSet: 'ISO_IR 100',
          AccessionNumber: 'W1',
          PatientName: 'Müller^Jürgen',
          ScheduledProcedureStepSequence: {
            Modality: 'CT',
            ScheduledStationAETitle: ['CT1', 'CT2'],
            ScheduledProcedureStepStartDate: '20240131',
            ScheduledProcedureStepStartTime: '103000',
            ScheduledProtocolCodeSequence: '',
            ScheduledProcedureStepID: 'SPS1',
          },
        }),
      },
    ]);
  });

  test('names by their sound, where that was negotiated', async () => {
    expect((await find({ PatientName: 'Mueller' }, { fuzzy: true })).matches).toHaveLength(1);
    expect((await find({ PatientName: 'Mueller' })).matches).toHaveLength(0);
  });

  test('a day of another time zone, where that was negotiated: the item is found, and answered, by its clock', async () => {
    const made = await addWorklistItem(
      archive.services,
      TENANT,
      scheduled(
        { AccessionNumber: 'Z1', StudyInstanceUID: uid(890), TimezoneOffsetFromUTC: '-0500' },
        { Modality: 'XA', ScheduledProcedureStepStartDate: '20240131', ScheduledProcedureStepStartTime: '2330' },
      ),
    );
    const keys = {
      ...step({ Modality: 'XA', ScheduledProcedureStepStartDate: '20240201', ScheduledProcedureStepStartTime: '' }),
      TimezoneOffsetFromUTC: '+0100',
    };
    const { status, matches } = await find(keys, { zones: true });
    expect(status).toBe(0);
    expect(matches).toEqual([
      dataSet({
        TimezoneOffsetFromUTC: '+0100',
        AccessionNumber: 'Z1',
        PatientName: 'Doe^Jane',
        ScheduledProcedureStepSequence: {
          Modality: 'XA',
          ScheduledProcedureStepStartDate: '20240201',
          ScheduledProcedureStepStartTime: '0530',
        },
      }),
    ]);
    expect((await find(keys)).matches).toEqual([]);
    expect(await find({ ...keys, TimezoneOffsetFromUTC: 'CET' }, { zones: true })).toEqual({
      status: 0xa900,
      matches: [],
    });
    await removeWorklistItem(archive.services, TENANT, made.id);
  });

  test('a key that is none: identifier does not match', async () => {
    expect(await find(step({ ScheduledProcedureStepStartDate: 'soon' }))).toEqual({ status: 0xa900, matches: [] });
  });

  test('cancelled: a status that says so', async () => {
    const cancel = new AbortController();
    cancel.abort();
    const { status, matches } = await find(step({ Modality: 'MR' }), { cancel: cancel.signal });
    expect([0xfe00, 0]).toContain(status);
    expect(matches.length).toBeLessThanOrEqual(30);
  });

  test('an item that is under way shows its status; one that is over is not shown', async () => {
    const sop = uid(701);
    const mpps = await associate(remote, { callingAETitle: 'CT1', contexts: proposing([MPPS, [EXPLICIT_LE]]) });
    expect((await create(mpps, sop, started({ PatientName: 'Müller^Jürgen' }))).Status).toBe(0);
    const keys = step({ Modality: 'CT', ScheduledProcedureStepStatus: '' });
    expect(textOf(((await find(keys)).matches[0]!['00400100']!.Value as DataSet[])[0]!['00400020'])).toBe('STARTED');
    expect((await set(mpps, sop, ended([]))).Status).toBe(0);
    expect((await find(keys)).matches).toEqual([]);
    expect((await getWorklistItem(archive.services, TENANT, id)).state).toBe('COMPLETED');
    await mpps.release();
  });
});

async function request(session: Session, uidOf: string, fields: Omit<Command, 'MessageID'>, attributes?: DataSet) {
  const context = contextOf(session, uidOf);
  const body = attributes && encodeIdentifier(attributes, context.transferSyntax);
  const { command, dataSet: returned } = await session.request(context, fields, body);
  return { ...command, returned: returned && decodeIdentifier(await returned.gather(), context.transferSyntax) };
}
const create = (session: Session, AffectedSOPInstanceUID: string | undefined, attributes: DataSet) =>
  request(
    session,
    MPPS,
    { CommandField: COMMAND.nCreate, AffectedSOPClassUID: MPPS, AffectedSOPInstanceUID },
    attributes,
  );
const set = (session: Session, RequestedSOPInstanceUID: string, attributes: DataSet) =>
  request(
    session,
    MPPS,
    { CommandField: COMMAND.nSet, RequestedSOPClassUID: MPPS, RequestedSOPInstanceUID },
    attributes,
  );

describe('Modality Performed Procedure Step', () => {
  let session: Session;
  beforeAll(async () => {
    session = await associate(remote, {
      callingAETitle: 'CT1',
      contexts: proposing([MPPS, [EXPLICIT_LE]], [MPPS_RETRIEVE, [EXPLICIT_LE]]),
    });
  });
  afterAll(() => session.release());
  const get = (RequestedSOPInstanceUID: string, AttributeIdentifierList?: string[]) =>
    request(session, MPPS_RETRIEVE, {
      CommandField: COMMAND.nGet,
      RequestedSOPClassUID: MPPS,
      RequestedSOPInstanceUID,
      AttributeIdentifierList,
    });

  test('created, changed, completed, read; then it may no longer be updated', async () => {
    const sop = uid(711);
    expect(await create(session, sop, started({}, { StudyInstanceUID: uid(710) }))).toMatchObject({
      Status: 0,
      AffectedSOPInstanceUID: sop,
    });
    expect((await create(session, sop, started())).Status).toBe(0x0111);
    expect((await set(session, sop, dataSet({ PerformedProcedureStepDescription: 'Schädel' }))).Status).toBe(0);
    expect((await set(session, sop, ended([uid(712)]))).Status).toBe(0);
    expect(await set(session, sop, ended([uid(712)]))).toMatchObject({
      Status: 0x0110,
      ErrorID: 0xa710,
      ErrorComment: 'Performed Procedure Step Object may no longer be updated',
    });
    const { Status, returned } = await get(sop, ['00400252', '00400254']);
    expect(Status).toBe(0);
    expect(returned).toEqual(
      dataSet({
        SpecificCharacterSet: 'ISO_IR 192',
        PerformedProcedureStepStatus: 'COMPLETED',
        PerformedProcedureStepDescription: 'Schädel',
      }),
    );
    expect(await get(sop, ['00400252', '00101030'])).toMatchObject({
      Status: 0x0107,
      AttributeIdentifierList: ['00101030'],
    });
    expect(Object.keys((await get(sop)).returned!).length).toBeGreaterThan(20);
  });

  test.each<[string, DataSet, number, string | undefined]>([
    [
      'without a modality',
      Object.fromEntries(Object.entries(started()).filter(([tag]) => tag !== '00080060')),
      0x0120,
      '00080060',
    ],
    ['with an empty start', started({ PerformedProcedureStepStartDate: '' }), 0x0121, '00400244'],
    ['that is over already', started({ PerformedProcedureStepStatus: 'COMPLETED' }), 0x0106, '00400252'],
  ])('%s: refused, with the tag', async (_what, attributes, Status, tag) => {
    expect(await create(session, uid(720), attributes)).toMatchObject({ Status, AttributeIdentifierList: [tag] });
  });

  test('without a UID: the archive gives one', async () => {
    const { Status, AffectedSOPInstanceUID } = await create(
      session,
      undefined,
      started({}, { StudyInstanceUID: uid(730) }),
    );
    expect([Status, AffectedSOPInstanceUID]).toEqual([0, expect.stringMatching(/^2\.25\.\d+$/)]);
  });

  test('whoever listens is told of each change, again until it has heard', async () => {
    const sop = uid(740);
    await create(session, sop, started({}, { StudyInstanceUID: uid(741) }));
    await set(session, sop, dataSet({ PerformedProcedureStepDescription: 'Thorax' }));
    await set(session, sop, ended([uid(742)]));
    // What is refused changes nothing, and nobody hears of it.
    await set(session, sop, ended([uid(742)]));
    const heard = () => [...(noticesOf.get(sop) ?? [])].sort();
    for (let i = 0; i < 1_200 && heard().length < 4; i++) await sleep(50);
    expect(heard()).toEqual([1, 2, 4, 'deaf']);
    await sleep(1_500);
    expect(heard()).toHaveLength(4);
  });

  test('that is not there: 0112', async () => {
    expect((await set(session, uid(799), ended([]))).Status).toBe(0x0112);
    expect((await get(uid(799))).Status).toBe(0x0112);
  });
});

describe('Instance Availability Notification', () => {
  test('tells the department system of a study, again until it takes it', async () => {
    const object = buildDicom({ StudyInstanceUID: uid(810), SeriesInstanceUID: uid(811), SOPInstanceUID: uid(812) });
    const { outcome } = storeObject(archive.services, { tenant: TENANT, source: 'CT1' }, chunked(object));
    expect((await outcome).kind).toBe('stored');
    for (let i = 0; i < 1_200 && told.size === 0; i++) await sleep(50);
    const [[, notification]] = [...told] as [[string, DataSet]];
    expect(textOf(notification['0020000D'])).toBe(uid(810));
    expect(notification['00081115']!.Value).toMatchObject([
      { '00081199': { Value: [{ '00080056': { Value: ['ONLINE'] }, '00081155': { Value: [uid(812)] } }] } },
    ]);
    expect(await archive.services.jobs.depth(INSTANCE_AVAILABILITY)).toMatchObject({ dead: 0 });
  });

  test('and the feed tells that a study is complete', async () => {
    const session = await associate(remote, { callingAETitle: 'CT1', contexts: proposing([MPPS, [EXPLICIT_LE]]) });
    await create(session, uid(815), started({}, { StudyInstanceUID: uid(810) }));
    await set(session, uid(815), ended([uid(812)]));
    await session.release();
    const complete = async () =>
      (await readFeed(archive.services.index, TENANT, '', 1_000)).events.filter(
        ({ type, id }) => type === 'StudyComplete' && id === uid(815),
      );
    for (let i = 0; i < 1_200 && (await complete()).length === 0; i++) await sleep(50);
    expect(await complete()).toMatchObject([{ StudyInstanceUID: uid(810), id: uid(815), instances: 1 }]);
  });
});

describe('user identity', () => {
  let guarded: DicomHost;
  beforeAll(async () => {
    const users = join(dataDir, 'users.json');
    const passcode = await hashPasscode('open sesame');
    await writeFile(
      users,
      JSON.stringify([
        { name: 'ct', passcode, rights: ['worklist'] },
        { name: 'kiosk', rights: ['query'], tenant: 'other-clinic' },
      ]),
    );
    guarded = await open({ NEPHOS_DICOM_USERS: users, NEPHOS_DICOM_IDENTITY: 'required' });
  });
  afterAll(() => guarded.close());

  const as = (identity: UserIdentity | undefined) =>
    associate(
      { ...remote, port: guarded.port! },
      {
        callingAETitle: 'CT1',
        contexts: proposing([VERIFICATION, [EXPLICIT_LE]], [WORKLIST, [EXPLICIT_LE]]),
        user: identity === undefined ? {} : { identity },
      },
    );
  const named = (type: number, primary: string, secondary = '', responseRequested = true): UserIdentity => ({
    type,
    responseRequested,
    primary: Buffer.from(primary),
    secondary: Buffer.from(secondary),
  });

  test('name and passcode let in, with a response, to what the user may do', async () => {
    const session = await as(named(IDENTITY.usernameAndPasscode, 'ct', 'open sesame'));
    expect(session.identityResponse).toHaveLength(0);
    expect(await sendEcho(session, VERIFICATION)).toBe(0);
    expect(await sendFind(session, WORKLIST, dataSet({ PatientName: '' }), () => {})).toBe(0);
    await session.release();
    const kiosk = await as(named(IDENTITY.username, 'kiosk', '', false));
    expect(kiosk.identityResponse).toBeUndefined();
    expect(await sendFind(kiosk, WORKLIST, dataSet({ PatientName: '' }), () => {})).toBe(0x0124);
    await kiosk.release();
  });

  test('a token that HTTP takes is taken as a JSON Web Token', async () => {
    const token = await archive.tokens.openSession({ tenant: TENANT, subject: 'someone', roles: ['modality'] });
    const session = await as(named(IDENTITY.jsonWebToken, token));
    expect(await sendFind(session, WORKLIST, dataSet({ PatientName: '' }), () => {})).toBe(0);
    await session.release();
  });

  test.each<[string, UserIdentity | undefined]>([
    ['nobody', undefined],
    ['a wrong passcode', named(IDENTITY.usernameAndPasscode, 'ct', 'open says me')],
    ['a name that has a passcode, without it', named(IDENTITY.username, 'ct')],
    ['an unknown name', named(IDENTITY.usernameAndPasscode, 'mr', 'open sesame')],
    ['a wrong token', named(IDENTITY.jsonWebToken, 'eyJhbGciOiJub25lIn0.e30.')],
    ['Kerberos, which nobody verifies here', named(IDENTITY.kerberos, 'ticket')],
    ['SAML, which nobody verifies here', named(IDENTITY.saml, '<Assertion/>')],
  ])('%s is rejected', async (_who, identity) => {
    await expect(as(identity)).rejects.toMatchObject({ kind: 'rejected', reject: { result: 1, source: 2, reason: 1 } });
  });

  test('those who were rejected take no place', async () => {
    for (let i = 0; i < 120; i++) await as(undefined).catch(() => {});
    await (await as(named(IDENTITY.username, 'kiosk'))).release();
  });
});

describe('an identity that is optional', () => {
  test('is heeded where it can be verified, passed over where nobody can, and rejected where it is wrong', async () => {
    const optional = await open({ NEPHOS_DICOM_IDENTITY: 'optional' });
    const as = (identity: UserIdentity | undefined) =>
      associate(
        { ...remote, port: optional.port! },
        {
          callingAETitle: 'CT1',
          contexts: proposing([VERIFICATION, [EXPLICIT_LE]]),
          user: identity === undefined ? {} : { identity },
        },
      );
    const primary = Buffer.from('x');
    const kerberos = { type: IDENTITY.kerberos, responseRequested: true, primary, secondary: Buffer.alloc(0) };
    for (const identity of [undefined, kerberos]) {
      const session = await as(identity);
      expect(await sendEcho(session, VERIFICATION)).toBe(0);
      expect(session.identityResponse).toBeUndefined();
      await session.release();
    }
    await expect(as({ ...kerberos, type: IDENTITY.usernameAndPasscode })).rejects.toMatchObject({ kind: 'rejected' });
    await optional.close();
  });
});

describe('what an AE title may do', () => {
  const asked: Record<string, (session: Session) => Promise<number | undefined>> = {
    store: async (session) => {
      const object = buildDicom({ StudyInstanceUID: uid(850), SeriesInstanceUID: uid(851), SOPInstanceUID: uid(852) });
      const { dataSetOffset } = scanPart10(object, DEFAULT_LIMITS);
      const sent = await sendObject(
        session,
        contextOf(session, CT_IMAGE_STORAGE),
        uid(852),
        object.subarray(dataSetOffset),
      );
      return sent.status;
    },
    query: (session) => sendFind(session, STUDY_ROOT_FIND, { '00080052': { vr: 'CS', Value: ['STUDY'] } }, () => {}),
    commit: async (session) => {
      const fields = {
        CommandField: COMMAND.nAction,
        RequestedSOPClassUID: STORAGE_COMMITMENT_PUSH_MODEL,
        RequestedSOPInstanceUID: '1.2.840.10008.1.20.1.1',
        ActionTypeID: 1,
      };
      return (await request(session, STORAGE_COMMITMENT_PUSH_MODEL, fields, dataSet({ TransactionUID: '1.2.3' })))
        .Status;
    },
    worklist: (session) => sendFind(session, WORKLIST, dataSet({ PatientName: 'NOBODY' }), () => {}),
    mpps: async (session) => (await create(session, uid(853), started())).Status,
  };

  test.each(['store', 'query', 'commit', 'worklist', 'mpps'])('%s, and nothing else', async (right) => {
    const strict = await open({ NEPHOS_DICOM_ALLOWED_AES: `CT1@127.0.0.1=${right}/rights-${right}` });
    const session = await associate(
      { ...remote, port: strict.port! },
      {
        callingAETitle: 'CT1',
        contexts: proposing(
          ...[CT_IMAGE_STORAGE, STUDY_ROOT_FIND, STORAGE_COMMITMENT_PUSH_MODEL, WORKLIST, MPPS].map(
            (abstractSyntax) => [abstractSyntax, [EXPLICIT_LE]] as const,
          ),
        ),
        services: new Map([[COMMAND.nEventReport, ({ respond }) => respond({ Status: 0 })]]),
      },
    );
    const statuses: Record<string, number | undefined> = {};
    for (const [name, ask] of Object.entries(asked)) statuses[name] = await ask(session);
    expect(statuses).toEqual(Object.fromEntries(Object.keys(asked).map((name) => [name, name === right ? 0 : 0x0124])));
    await session.release();
    await strict.close();
  });
});

describe('AE titles of another clinic', () => {
  test('see their own tenant, from their own network', async () => {
    const shared = await open({
      NEPHOS_DICOM_ALLOWED_AES: 'CT1@127.0.0.0/8=worklist/other-clinic,CT1@10.0.0.0/8,*@192.168.0.0/16',
    });
    const session = await associate(
      { ...remote, port: shared.port! },
      { callingAETitle: 'CT1', contexts: proposing([WORKLIST, [EXPLICIT_LE]]) },
    );
    let matches = 0;
    expect(await sendFind(session, WORKLIST, dataSet({ PatientName: '' }), () => void matches++)).toBe(0);
    expect(matches).toBe(0);
    await session.release();
    const stranger = associate(
      { ...remote, port: shared.port! },
      { callingAETitle: 'MR9', contexts: proposing([VERIFICATION, [EXPLICIT_LE]]) },
    );
    await expect(stranger).rejects.toMatchObject({ reject: { reason: 3 } });
    await shared.close();
  });
});
