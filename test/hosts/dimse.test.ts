import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { keepCommitmentRequest, STORAGE_COMMITMENT } from '#core/archive/commitment.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { findInstance } from '#core/retrieve/find.ts';
import { AssociationError } from '#dimse/association.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { decodeIdentifier, encodeIdentifier } from '#dimse/identifiers.ts';
import {
  associate,
  proposing,
  type RemoteEntity,
  type RetrieveReport,
  sendEcho,
  sendFind,
  sendObject,
  sendRetrieve,
} from '#dimse/scu.ts';
import { createDimseServer, type DimseServer } from '#dimse/server.ts';
import type { ServiceTable, Session } from '#dimse/session.ts';
import {
  PATIENT_ROOT_FIND,
  PATIENT_ROOT_MOVE,
  STORAGE_COMMITMENT_PUSH_MODEL,
  STUDY_ROOT_FIND,
  STUDY_ROOT_GET,
  STUDY_ROOT_MOVE,
  VERIFICATION,
} from '#dimse/sop-classes.ts';
import { type Archive, openArchive } from '#embedded/archive.ts';
import { readConfig } from '#embedded/config.ts';
import { type DicomHost, listenDicom } from '#embedded/dicom-host.ts';
import { createLog } from '#embedded/log.ts';
import {
  type BuilderDataSet,
  type BuilderOptions,
  buildDicom,
  CT_IMAGE_STORAGE,
  DEFLATED_LE,
  EXPLICIT_BE,
  EXPLICIT_LE,
  IMPLICIT_LE,
  JPEG_BASELINE,
  uid,
} from '#test/fixtures/dicom-builder.ts';

const JPEG_LS = '1.2.840.10008.1.2.4.80';
const RAW_DATA = '1.2.840.10008.5.1.4.1.1.66';
const PRIVATE_CLASS = '1.3.12.2.1107.5.9.1';
const OUTSIDE = 'OUTSIDE';

let dataDir: string;
let archive: Archive;
let host: DicomHost;
let remote: RemoteEntity;
let workstation: Workstation;

/** Somebody C-MOVE sends to: takes CT as Implicit VR Little Endian alone, and refuses one instance. */
interface Workstation {
  readonly server: DimseServer;
  readonly taken: Map<string, { transferSyntax: string; dataSet: Buffer; originator: string | undefined }>;
  /** answers to its requests for storage commitment */
  readonly reports: DataSet[];
}

const hearing = (reports: DataSet[]): ServiceTable =>
  new Map([
    [
      COMMAND.nEventReport,
      async ({ command, context, dataSet, respond }) => {
        const report = decodeIdentifier(await dataSet!.gather(), context.transferSyntax);
        reports.push({ ...report, event: { vr: 'US', Value: [command.EventTypeID!] } });
        await respond({ Status: 0, EventTypeID: command.EventTypeID });
      },
    ],
  ]);

const taking = (taken: Workstation['taken'], refused?: string): ServiceTable =>
  new Map([
    [
      COMMAND.cStore,
      async ({ command, context, dataSet, respond }) => {
        const { AffectedSOPInstanceUID: sop = '', MoveOriginatorApplicationEntityTitle: originator } = command;
        const bytes = await dataSet!.gather();
        if (sop !== refused) taken.set(sop, { transferSyntax: context.transferSyntax, dataSet: bytes, originator });
        await respond({ Status: sop === refused ? 0xa700 : 0 });
      },
    ],
  ]);

function startWorkstation(): Workstation {
  const taken: Workstation['taken'] = new Map();
  const reports: DataSet[] = [];
  const server = createDimseServer({
    aeTitle: 'WS1',
    checkCalledAETitle: true,
    allowed: 'any',
    maxAssociations: 4,
    policy: { acceptUnknownSopClasses: false, services: new Set([STORAGE_COMMITMENT_PUSH_MODEL]) },
    services: new Map([...taking(taken, uid(23)), ...hearing(reports)]),
  });
  return { server, taken, reports };
}

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'nephos-dimse-'));
  workstation = startWorkstation();
  await new Promise<void>((resolve) => workstation.server.server.listen(0, '127.0.0.1', resolve));
  const { port } = workstation.server.server.address() as { port: number };
  const config = readConfig({
    NEPHOS_DATA_DIR: dataDir,
    NEPHOS_AUTH: 'off',
    NEPHOS_DICOM_PORT: '0',
    NEPHOS_DICOM_CHECK_CALLED_AE: 'on',
    NEPHOS_DICOM_ALLOWED_AES: 'CT1,WS1@127.0.0.1,WS2@10.9.9.9,CT2=store,WS3=query',
    NEPHOS_DICOM_DESTINATIONS: `WS1@127.0.0.1:${port},GONE@127.0.0.1:1`,
  });
  archive = await openArchive(config);
  host = await listenDicom(
    archive.services,
    config,
    createLog('error', (line) => process.stderr.write(line)),
  );
  remote = { aeTitle: 'NEPHOS', host: '127.0.0.1', port: host.port! };
});

afterAll(async () => {
  await host?.close();
  await workstation?.server.close(0);
  await archive?.close();
  await rm(dataDir, { recursive: true });
});

const dataSetOf = (object: Uint8Array): Uint8Array => object.subarray(scanPart10(object, DEFAULT_LIMITS).dataSetOffset);

/** Stores by C-STORE, each in its own transfer syntax; the statuses. */
async function cStore(objects: readonly Uint8Array[], ae = 'CT1'): Promise<number[]> {
  const scanned = objects.map((object) => scanPart10(object, DEFAULT_LIMITS));
  const pairs = scanned.map((one) => [one.dataSet['00080016']!.Value![0] as string, one.transferSyntaxUID] as const);
  const session = await associate(remote, {
    callingAETitle: ae,
    contexts: proposing(...pairs.map(([sopClass, syntax]) => [sopClass, [syntax]] as const)),
  });
  const statuses: number[] = [];
  for (const [i, object] of objects.entries()) {
    const context = session.contexts.get(2 * i + 1)!;
    const sop = scanned[i]!.dataSet['00080018']!.Value![0] as string;
    statuses.push((await sendObject(session, context, sop, dataSetOf(object))).status);
  }
  await session.release();
  return statuses;
}

const ask = (overrides: Record<string, string>): DataSet =>
  Object.fromEntries(
    Object.entries(overrides).map(([tag, value]) => {
      const vr =
        tag === '00100010'
          ? 'PN'
          : tag.startsWith('0020000') || tag === '00080018'
            ? 'UI'
            : tag === '00080020'
              ? 'DA'
              : 'CS';
      if (value === '') return [tag, { vr }];
      return [tag, { vr, Value: vr === 'PN' ? [{ Alphabetic: value }] : value.split('\\') }];
    }),
  );

async function cFind(
  model: string,
  identifier: DataSet,
  syntax = EXPLICIT_LE,
): Promise<{ status: number; matches: DataSet[] }> {
  const session = await associate(remote, { callingAETitle: 'WS1', contexts: proposing([model, [syntax]]) });
  const matches: DataSet[] = [];
  const status = await sendFind(session, model, identifier, (match) => void matches.push(match));
  await session.release();
  return { status, matches };
}

const value = (match: DataSet | undefined, tag: string): unknown => match?.[tag]?.Value?.[0];

const slice = (n: number, overrides: BuilderDataSet = {}, options: BuilderOptions = {}): Uint8Array =>
  buildDicom(
    { StudyInstanceUID: uid(20), SeriesInstanceUID: uid(21), SOPInstanceUID: uid(n), InstanceNumber: n, ...overrides },
    options,
  );
/** a study of four CT slices in four encodings, and raw data in a series of its own */
const STUDY = [
  slice(22, { PatientName: 'Müller^Jürgen', PatientID: 'P-20' }),
  slice(23, {}, { transferSyntaxUID: IMPLICIT_LE }),
  slice(24, {}, { transferSyntaxUID: EXPLICIT_BE }),
  slice(25, {}, { transferSyntaxUID: JPEG_LS, frames: [Buffer.alloc(101, 7)] }),
  slice(26, { SOPClassUID: RAW_DATA, SeriesInstanceUID: uid(27), Modality: 'OT', PixelData: undefined }),
];

describe('C-STORE', () => {
  test('keeps the bytes of every data set, whatever its encoding and class', async () => {
    const private1 = slice(31, { StudyInstanceUID: uid(30), SOPClassUID: PRIVATE_CLASS, PatientID: 'P-30' });
    expect(await cStore([...STUDY, private1])).toEqual([0, 0, 0, 0, 0, 0]);
    for (const object of STUDY.slice(0, 4)) {
      const { dataSet, transferSyntaxUID } = scanPart10(object, DEFAULT_LIMITS);
      const sop = value(dataSet, '00080018') as string;
      const record = await findInstance(archive.services, 'main', uid(20), uid(21), sop);
      expect(record).toMatchObject({ transferSyntaxUID, source: 'CT1' });
      const kept = await archive.services.blobs.readBytes(record.blobKey);
      expect(Buffer.from(kept.subarray(record.dataSetOffset)).equals(dataSetOf(object))).toBe(true);
      expect(kept.subarray(128, 132)).toEqual(Buffer.from('DICM'));
    }
  });

  test('sent again, by somebody else: success, and nothing is stored twice', async () => {
    expect(await cStore(STUDY, 'WS1')).toEqual([0, 0, 0, 0, 0]);
  });

  test('says what is wrong, and goes on with the next', async () => {
    const other = slice(22, { PatientName: 'Somebody^Else' });
    const noStudy = slice(35, { StudyInstanceUID: '' });
    const session = await associate(remote, {
      callingAETitle: 'CT1',
      contexts: proposing([CT_IMAGE_STORAGE, [EXPLICIT_LE]]),
    });
    const context = session.contexts.get(1)!;
    const send = async (sop: string, bytes: Uint8Array) => (await sendObject(session, context, sop, bytes)).status;
    expect(await send(uid(22), dataSetOf(other))).toBe(0x0110);
    expect(await send(uid(35), dataSetOf(noStudy))).toBe(0xc000);
    expect(await send(uid(99), dataSetOf(slice(36)))).toBe(0xa900);
    expect(await send(uid(37), Buffer.from('this is no data set, surely'.padEnd(200_000)))).toBe(0xc000);
    expect(await send(uid(22), dataSetOf(STUDY[0]!))).toBe(0);
    await session.release();
  });

  test('several at a time, where that was agreed', async () => {
    const objects = Array.from({ length: 12 }, (_, n) =>
      slice(400 + n, { StudyInstanceUID: uid(40), SeriesInstanceUID: uid(41), PatientID: 'P-40' }),
    );
    const session = await associate(remote, {
      callingAETitle: 'CT1',
      contexts: proposing([CT_IMAGE_STORAGE, [EXPLICIT_LE]]),
      user: { asynchronousOperations: { invoked: 0, performed: 1 } },
    });
    const context = session.contexts.get(1)!;
    const stored = objects.map((object, n) => sendObject(session, context, uid(400 + n), dataSetOf(object)));
    expect((await Promise.all(stored)).map(({ status }) => status)).toEqual(objects.map(() => 0));
    await session.release();
  });

  test('an object that breaks off leaves nothing', async () => {
    const session = await associate(remote, {
      callingAETitle: 'CT1',
      contexts: proposing([CT_IMAGE_STORAGE, [EXPLICIT_LE]]),
    });
    async function* half(): AsyncGenerator<Uint8Array> {
      yield dataSetOf(slice(45)).subarray(0, 300);
      yield Buffer.alloc(10_000);
      throw new Error('the disk of the modality failed');
    }
    await expect(sendObject(session, session.contexts.get(1)!, uid(45), half())).rejects.toThrow();
    expect((await session.ended).error).toBeInstanceOf(AssociationError);
    expect((await cFind(STUDY_ROOT_FIND, ask({ '00080052': 'IMAGE', '00080018': uid(45) }))).matches).toEqual([]);
  });
});

describe('C-FIND', () => {
  test.each([IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE])('of studies, in %s', async (syntax) => {
    const identifier = ask({ '00080052': 'STUDY', '00100010': 'mül*', '0020000D': '', '00201208': '', '00080061': '' });
    const { status, matches } = await cFind(
      STUDY_ROOT_FIND,
      { ...identifier, '00080005': { vr: 'CS', Value: ['ISO_IR 192'] } },
      syntax,
    );
    expect(status).toBe(0);
    expect(matches).toHaveLength(1);
    expect(matches[0]).toMatchObject({
      '00080005': { vr: 'CS', Value: ['ISO_IR 192'] },
      '00080052': { vr: 'CS', Value: ['STUDY'] },
      '00080054': { vr: 'AE', Value: ['NEPHOS'] },
      '00080061': { vr: 'CS', Value: ['CT', 'OT'] },
      '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Müller^Jürgen' }] },
      '0020000D': { vr: 'UI', Value: [uid(20)] },
      '00201208': { vr: 'IS', Value: [5] },
    });
  });

  test('answers in the character set of the caller where that can hold it', async () => {
    const identifier = ask({ '00080052': 'STUDY', '0020000D': uid(20), '00100010': '' });
    const latin = await cFind(STUDY_ROOT_FIND, { ...identifier, '00080005': { vr: 'CS', Value: ['ISO_IR 100'] } });
    expect(value(latin.matches[0], '00080005')).toBe('ISO_IR 100');
    expect(value(latin.matches[0], '00100010')).toEqual({ Alphabetic: 'Müller^Jürgen' });
    const cyrillic = await cFind(STUDY_ROOT_FIND, { ...identifier, '00080005': { vr: 'CS', Value: ['ISO_IR 144'] } });
    expect(value(cyrillic.matches[0], '00080005')).toBe('ISO_IR 192');
  });

  test('of series and images, with the keys of the levels above', async () => {
    const series = await cFind(
      STUDY_ROOT_FIND,
      ask({ '00080052': 'SERIES', '0020000D': uid(20), '00080060': 'CT', '0020000E': '' }),
    );
    expect(series.matches.map((match) => value(match, '0020000E'))).toEqual([uid(21)]);
    const images = await cFind(
      PATIENT_ROOT_FIND,
      ask({ '00080052': 'IMAGE', '0020000D': uid(20), '0020000E': uid(21), '00080018': '' }),
    );
    expect(images.matches.map((match) => value(match, '00080018'))).toEqual([22, 23, 24, 25].map(uid));
  });

  test('of patients: each once, with what there is of them', async () => {
    const identifier = {
      ...ask({ '00080052': 'PATIENT' }),
      '00100020': { vr: 'LO', Value: ['P-*'] },
      '00201200': { vr: 'IS' },
    };
    const { matches } = await cFind(PATIENT_ROOT_FIND, identifier);
    expect(matches.map((match) => value(match, '00100020')).sort()).toEqual(['P-20', 'P-30', 'P-40']);
    expect(matches.map((match) => value(match, '00201200'))).toEqual([1, 1, 1]);
  });

  test.each([
    ['a level that the model lacks', STUDY_ROOT_FIND, ask({ '00080052': 'PATIENT' })],
    ['no level', STUDY_ROOT_FIND, ask({ '00100010': 'X' })],
    ['a date that is none', STUDY_ROOT_FIND, ask({ '00080052': 'STUDY', '00080020': 'soon' })],
  ])('%s: identifier does not match SOP class', async (_what, model, identifier) => {
    expect(await cFind(model, identifier)).toEqual({ status: 0xa900, matches: [] });
  });

  test('names by their sound, where that was negotiated', async () => {
    const found = async (information: Uint8Array): Promise<number> => {
      const session = await associate(remote, {
        callingAETitle: 'WS1',
        contexts: proposing([STUDY_ROOT_FIND, [EXPLICIT_LE]]),
        user: { extended: [{ SOPClassUID: STUDY_ROOT_FIND, information }] },
      });
      let matches = 0;
      const identifier = ask({ '00080052': 'STUDY', '00100010': 'Mueller', '0020000D': '' });
      await sendFind(session, STUDY_ROOT_FIND, identifier, () => void matches++);
      await session.release();
      return matches;
    };
    expect(await found(Uint8Array.of(1, 1, 1))).toBe(1);
    expect(await found(Uint8Array.of(1, 1, 0))).toBe(0);
  });

  const negotiated = async (information: Uint8Array, identifier: DataSet) => {
    const session = await associate(remote, {
      callingAETitle: 'WS1',
      contexts: proposing([STUDY_ROOT_FIND, [EXPLICIT_LE]]),
      user: { extended: [{ SOPClassUID: STUDY_ROOT_FIND, information }] },
    });
    const matches: DataSet[] = [];
    const status = await sendFind(session, STUDY_ROOT_FIND, identifier, (match) => void matches.push(match));
    await session.release();
    return { status, matches };
  };

  describe('of what was made in other time zones', () => {
    const ADJUSTED = Uint8Array.of(1, 1, 1, 1);
    const asking = (date: string, zone: string, time = ''): DataSet => ({
      ...ask({ '00080052': 'STUDY', '0020000D': '', '00080020': date }),
      '00080030': { vr: 'TM', ...(time !== '' && { Value: [time] }) },
      '00080201': { vr: 'SH', ...(zone !== '' && { Value: [zone] }) },
      '00100020': { vr: 'LO', Value: ['ZONE'] },
    });
    beforeAll(async () => {
      const made = (n: number, StudyTime: string, TimezoneOffsetFromUTC?: string) =>
        slice(n * 10 + 1, {
          StudyInstanceUID: uid(n * 10),
          SeriesInstanceUID: uid(n * 10 + 2),
          PatientID: 'ZONE',
          StudyDate: '20260102',
          StudyTime,
          ...(TimezoneOffsetFromUTC !== undefined && { TimezoneOffsetFromUTC }),
        });
      // The same evening in New York, at noon in Berlin, and at noon of who knows where.
      expect(await cStore([made(950, '201530', '-0500'), made(951, '120000', '+0100'), made(952, '120000')])).toEqual([
        0, 0, 0,
      ]);
    });
    const studies = ({ matches }: { matches: DataSet[] }) => matches.map((match) => value(match, '0020000D')).sort();

    test('dates and times are those of the zone that was named, and the answer says so', async () => {
      const found = await negotiated(ADJUSTED, asking('20260103', '+0100'));
      expect(studies(found)).toEqual([uid(9500)]);
      expect(found.matches[0]).toMatchObject({
        '00080020': { Value: ['20260103'] },
        '00080030': { Value: ['021530'] },
        '00080201': { Value: ['+0100'] },
      });
    });

    test('a day has those that were made on it there, and those that do not say where they were made', async () => {
      expect(studies(await negotiated(ADJUSTED, asking('20260102', '+0100')))).toEqual([uid(9510), uid(9520)]);
      expect(studies(await negotiated(ADJUSTED, asking('20260102', '-0500')))).toEqual([9500, 9510, 9520].map(uid));
    });

    test('a range of times reaches over midnight with its dates', async () => {
      const night = asking('20260102-20260103', '+0100', '200000-060000');
      expect(studies(await negotiated(ADJUSTED, night))).toEqual([uid(9500)]);
      expect(studies(await negotiated(ADJUSTED, asking('20260102', '+0000', '110000-113000')))).toEqual([uid(9510)]);
    });

    test('where it was not negotiated, or no zone is named, values are as they stand', async () => {
      for (const found of [
        await negotiated(Uint8Array.of(1, 1, 1), asking('20260103', '+0100')),
        await negotiated(ADJUSTED, asking('20260103', '')),
      ])
        expect(studies(found)).toEqual([]);
      const plain = await negotiated(ADJUSTED, asking('20260102', ''));
      expect(plain.matches.map((match) => value(match, '00080201')).sort()).toEqual(['+0100', '-0500', undefined]);
    });

    test('a zone that is none: identifier does not match SOP class', async () => {
      expect(await negotiated(ADJUSTED, asking('20260102', 'CET'))).toEqual({ status: 0xa900, matches: [] });
    });
  });

  test('absent values and one of several, where that was negotiated', async () => {
    const studiesOf = async (information: Uint8Array, tag: string, vr: string, text: string): Promise<unknown[]> => {
      const identifier = { ...ask({ '00080052': 'STUDY', '0020000D': '' }), [tag]: { vr, Value: [text] } };
      return (await negotiated(information, identifier)).matches.map((match) => value(match, '0020000D')).sort();
    };
    const all = Uint8Array.of(1, 1, 1, 1, 0, 1, 1);
    const several = await studiesOf(all, '00100020', 'LO', 'P-20\\P-30');
    expect(several).toEqual([uid(20), uid(30)]);
    expect(await studiesOf(Uint8Array.of(1), '00100020', 'LO', 'P-20\\P-30')).toEqual([]);
    expect((await studiesOf(all, '00100021', 'LO', '""')).length).toBeGreaterThan(0);
    expect(await studiesOf(all, '00100020', 'LO', '""')).toEqual([]);
  });

  test('keys of the levels below, and an attribute that studies do not have', async () => {
    const { status, matches } = await cFind(STUDY_ROOT_FIND, {
      ...ask({ '00080052': 'STUDY', '00080018': uid(25), '0020000D': '' }),
      '00189345': { vr: 'FD' },
    });
    expect(status).toBe(0);
    expect(matches.map((match) => value(match, '0020000D'))).toEqual([uid(20)]);
    expect(matches[0]).not.toHaveProperty('00189345');
  });

  test('cancelled: no more matches, and a status that says so', async () => {
    const session = await associate(remote, {
      callingAETitle: 'WS1',
      contexts: proposing([STUDY_ROOT_FIND, [EXPLICIT_LE]]),
    });
    const cancel = new AbortController();
    cancel.abort();
    const status = await sendFind(
      session,
      STUDY_ROOT_FIND,
      ask({ '00080052': 'IMAGE', '00080018': '' }),
      () => {},
      cancel.signal,
    );
    expect([0xfe00, 0]).toContain(status);
    await session.release();
  });
});

describe('C-GET', () => {
  const get = async (contexts: readonly (readonly [string, readonly string[]])[], identifier: DataSet) => {
    const taken: Workstation['taken'] = new Map();
    const session = await associate(remote, {
      callingAETitle: 'WS1',
      contexts: proposing([STUDY_ROOT_GET, [EXPLICIT_LE]], ...contexts),
      user: { roles: contexts.map(([SOPClassUID]) => ({ SOPClassUID, scu: false, scp: true })) },
      services: taking(taken),
    });
    const pending: RetrieveReport[] = [];
    const report = await sendRetrieve(session, STUDY_ROOT_GET, identifier, {
      onPending: (one) => void pending.push(one),
    });
    await session.release();
    return { taken, report, pending };
  };
  const all = ask({ '00080052': 'STUDY', '0020000D': uid(20) });

  test('as stored: the bytes that were sent come back', async () => {
    const syntaxes = [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, JPEG_LS];
    const contexts = [
      ...syntaxes.map((syntax) => [CT_IMAGE_STORAGE, [syntax]] as const),
      [RAW_DATA, [EXPLICIT_LE]] as const,
    ];
    const { taken, report, pending } = await get(contexts, all);
    expect(report).toMatchObject({ status: 0, completed: 5, failed: 0, warning: 0, remaining: undefined });
    expect(pending.map(({ remaining }) => remaining)).toEqual([4, 3, 2, 1]);
    for (const object of STUDY) {
      const { dataSet, transferSyntaxUID } = scanPart10(object, DEFAULT_LIMITS);
      const got = taken.get(value(dataSet, '00080018') as string)!;
      expect(got.transferSyntax).toBe(transferSyntaxUID);
      expect(got.dataSet.equals(dataSetOf(object))).toBe(true);
    }
  });

  test('what the receiver cannot take is converted; what cannot be is one failure, by name', async () => {
    const { taken, report } = await get([[CT_IMAGE_STORAGE, [EXPLICIT_LE]]], all);
    // 25 is no JPEG-LS at all, and of 26 the class was not proposed.
    expect(report).toMatchObject({ status: 0xb000, completed: 3, failed: 2 });
    expect([...report.failedUIDs].sort()).toEqual([uid(25), uid(26)]);
    const converted = taken.get(uid(24))!;
    expect(converted.transferSyntax).toBe(EXPLICIT_LE);
    // But for the 16 pixels, whose bytes are swapped.
    expect(converted.dataSet.subarray(0, -32).equals(dataSetOf(slice(24)).subarray(0, -32))).toBe(true);
    expect(converted.dataSet.subarray(-32)).toEqual(Buffer.from(dataSetOf(STUDY[2]!).subarray(-32)).swap16());
  });

  test.each([EXPLICIT_BE, DEFLATED_LE])('whoever takes %s alone has it made', async (syntax) => {
    const { taken, report } = await get([[CT_IMAGE_STORAGE, [syntax]]], all);
    expect(report).toMatchObject({ status: 0xb000, completed: 3, failed: 2 });
    const made = taken.get(uid(22))!;
    expect(made.transferSyntax).toBe(syntax);
    const dataSet = syntax === DEFLATED_LE ? inflateRawSync(made.dataSet) : made.dataSet;
    const sent = Buffer.from(dataSetOf(STUDY[0]!).subarray(-32));
    expect(dataSet.subarray(-32).equals(syntax === DEFLATED_LE ? sent : sent.swap16())).toBe(true);
  });

  test('cancelled: what remains is counted', async () => {
    const cancel = new AbortController();
    const services: ServiceTable = new Map([
      [
        COMMAND.cStore,
        async ({ dataSet, respond }) => {
          await dataSet!.gather();
          cancel.abort();
          // The cancel is on its way before this is: the archive reads them in order.
          await sleep(20);
          await respond({ Status: 0 });
        },
      ],
    ]);
    const session = await associate(remote, {
      callingAETitle: 'WS1',
      contexts: proposing([STUDY_ROOT_GET, [EXPLICIT_LE]], [CT_IMAGE_STORAGE, [EXPLICIT_LE]]),
      user: { roles: [{ SOPClassUID: CT_IMAGE_STORAGE, scu: false, scp: true }] },
      services,
    });
    const identifier = ask({ '00080052': 'STUDY', '0020000D': uid(40) });
    const report = await sendRetrieve(session, STUDY_ROOT_GET, identifier, { cancel: cancel.signal });
    expect(report).toMatchObject({ status: 0xfe00, completed: 1, remaining: 11, failed: 0 });
    await session.release();
  });

  test('nothing there is success; no unique key is refused', async () => {
    const contexts = [[CT_IMAGE_STORAGE, [EXPLICIT_LE]]] as const;
    expect((await get(contexts, ask({ '00080052': 'STUDY', '0020000D': '1.2.3' }))).report.status).toBe(0);
    expect((await get(contexts, ask({ '00080052': 'STUDY', '0020000D': '' }))).report.status).toBe(0xa900);
    expect((await get(contexts, ask({ '00080052': 'SERIES', '0020000D': uid(20) }))).report.status).toBe(0xa900);
  });
});

describe('C-MOVE', () => {
  const move = async (destination: string, identifier: DataSet, model = STUDY_ROOT_MOVE) => {
    const session = await associate(remote, { callingAETitle: 'CT1', contexts: proposing([model, [IMPLICIT_LE]]) });
    const report = await sendRetrieve(session, model, identifier, { destination });
    await session.release();
    return report;
  };

  test('sends to a configured destination, and lists what it refused', async () => {
    const report = await move(
      'WS1',
      ask({ '00080052': 'SERIES', '0020000D': uid(20), '0020000E': `${uid(21)}\\${uid(27)}` }),
    );
    expect(report).toMatchObject({ status: 0xb000, completed: 4, failed: 1, failedUIDs: [uid(23)] });
    expect(workstation.taken.get(uid(25))).toMatchObject({ transferSyntax: JPEG_LS, originator: 'CT1' });
    expect(workstation.taken.get(uid(24))!.dataSet.equals(dataSetOf(STUDY[2]!))).toBe(true);
  });

  test('of a patient and of single images', async () => {
    workstation.taken.clear();
    const patient = { ...ask({ '00080052': 'PATIENT' }), '00100020': { vr: 'LO', Value: ['P-40'] } };
    expect(await move('WS1', patient, PATIENT_ROOT_MOVE)).toMatchObject({ status: 0, completed: 12 });
    expect(await move('WS1', ask({ '00080052': 'IMAGE', '00080018': `${uid(22)}\\${uid(24)}` }))).toMatchObject({
      status: 0,
      completed: 2,
    });
    expect(workstation.taken.size).toBe(14);
  });

  test('to nowhere known is refused; to somebody who is not there fails', async () => {
    const identifier = ask({ '00080052': 'STUDY', '0020000D': uid(20) });
    expect(await move(OUTSIDE, identifier)).toMatchObject({ status: 0xa801 });
    expect(await move('GONE', identifier)).toMatchObject({ status: 0xa702, completed: 0, failed: 5 });
  });
});

describe('storage commitment', () => {
  const TRANSACTION = uid(900);
  const reference = (SOPClassUID: string, sop: string): DataSet => ({
    '00081150': { vr: 'UI', Value: [SOPClassUID] },
    '00081155': { vr: 'UI', Value: [sop] },
  });
  const ask = async (session: Session, references: DataSet[], ActionTypeID = 1): Promise<number | undefined> => {
    const context = [...session.contexts.values()][0]!;
    const information: DataSet = {
      '00081195': { vr: 'UI', Value: [TRANSACTION] },
      '00081199': { vr: 'SQ', Value: references },
    };
    const { command } = await session.request(
      context,
      {
        CommandField: COMMAND.nAction,
        RequestedSOPClassUID: STORAGE_COMMITMENT_PUSH_MODEL,
        RequestedSOPInstanceUID: '1.2.840.10008.1.20.1.1',
        ActionTypeID,
      },
      encodeIdentifier(information, context.transferSyntax),
    );
    return command.Status;
  };
  const asking = (services?: ServiceTable): Promise<Session> =>
    associate(remote, {
      callingAETitle: 'WS1',
      contexts: proposing([STORAGE_COMMITMENT_PUSH_MODEL, [IMPLICIT_LE]]),
      services,
    });
  const until = async (done: () => boolean | Promise<boolean>): Promise<void> => {
    const deadline = performance.now() + 60_000;
    while (!(await done()) && performance.now() < deadline) await sleep(5);
    expect(await done()).toBe(true);
  };
  const waiting = async (): Promise<number> =>
    (await archive.services.index.query({ partition: 'main|commitment', limit: 10 })).records.length;

  test('is answered over the same association: what is kept, and what is not and why', async () => {
    const reports: DataSet[] = [];
    const session = await asking(hearing(reports));
    const kept = reference(CT_IMAGE_STORAGE, uid(22));
    expect(await ask(session, [kept])).toBe(0);
    await until(() => reports.length === 1);
    const ofOtherClass = reference(RAW_DATA, uid(24));
    expect(await ask(session, [kept, reference(CT_IMAGE_STORAGE, '1.2.3'), ofOtherClass])).toBe(0);
    await until(() => reports.length === 2);
    await session.release();
    expect(reports[0]).toMatchObject({ event: { Value: [1] }, '00081195': { Value: [TRANSACTION] } });
    expect(reports[0]!['00081199']!.Value).toEqual([kept]);
    expect(reports[0]).not.toHaveProperty('00081198');
    expect(reports[1]).toMatchObject({ event: { Value: [2] }, '00081199': { Value: [kept] } });
    expect(reports[1]!['00081198']!.Value).toEqual([
      { ...reference(CT_IMAGE_STORAGE, '1.2.3'), '00081197': { vr: 'US', Value: [0x0112] } },
      { ...ofOtherClass, '00081197': { vr: 'US', Value: [0x0119] } },
    ]);
    expect(await waiting()).toBe(0);
  });

  test('is answered over another association when the first has been released', async () => {
    const session = await asking(new Map([[COMMAND.nEventReport, () => new Promise<void>(() => {})]]));
    expect(await ask(session, [reference(CT_IMAGE_STORAGE, uid(22))])).toBe(0);
    void session.release();
    await until(() => workstation.reports.length === 1);
    expect(workstation.reports[0]).toMatchObject({ event: { Value: [1] }, '00080054': { Value: ['NEPHOS'] } });
    await until(async () => (await waiting()) === 0);
  });

  test('survives a restart: what has not been answered is by a job, once', async () => {
    workstation.reports.length = 0;
    const references = [{ SOPClassUID: CT_IMAGE_STORAGE, SOPInstanceUID: uid(22) }];
    const request = { aeTitle: 'WS1', TransactionUID: TRANSACTION, references };
    const { id } = await keepCommitmentRequest(archive.services, 'main', request, 0);
    const answer = () => host.jobs[STORAGE_COMMITMENT]!(archive.services, { tenant: 'main', id }, '');
    await answer();
    await answer();
    expect(workstation.reports).toHaveLength(1);
    const lost = await keepCommitmentRequest(archive.services, 'main', { ...request, aeTitle: 'GONE' }, 0);
    const waitingJobs = async () => (await archive.services.jobs.depth(STORAGE_COMMITMENT)).waiting;
    const before = await waitingJobs();
    await host.jobs[STORAGE_COMMITMENT]!(archive.services, { tenant: 'main', id: lost.id }, '');
    expect(await waiting()).toBe(1);
    expect(await waitingJobs()).toBe(before + 1);
  });

  test('a modality that is off for a weekend is called for a week, then left to the dead letters', async () => {
    const request = { aeTitle: 'GONE', TransactionUID: TRANSACTION, references: [] };
    const { id } = await keepCommitmentRequest(archive.services, 'main', request, 0);
    const DAY_MS = 24 * 60 * 60 * 1000;
    const callAfter = (days: number) =>
      host.jobs[STORAGE_COMMITMENT]!(archive.services, { tenant: 'main', id, since: Date.now() - days * DAY_MS }, '');
    await callAfter(3);
    await expect(callAfter(8)).rejects.toThrow('the peer cannot be reached');
  });

  test('nothing else can be asked of it', async () => {
    const session = await asking();
    expect(await ask(session, [], 2)).toBe(0x0123);
    expect(await ask(session, [{}])).toBe(0xc000);
    await session.release();
  });
});

describe('who is let in', () => {
  const echoAs = async (callingAETitle: string, called: Partial<RemoteEntity> = {}): Promise<Session> =>
    associate({ ...remote, ...called }, { callingAETitle, contexts: proposing([VERIFICATION, [IMPLICIT_LE]]) });

  test('who is on the list', async () => {
    const session = await echoAs('WS1');
    expect(await sendEcho(session, VERIFICATION)).toBe(0);
    await session.release();
  });

  test.each([
    ['an unknown caller', () => echoAs('STRANGER'), 3],
    ['a known one from another address', () => echoAs('WS2'), 3],
    ['who calls somebody else', () => echoAs('CT1', { aeTitle: 'OTHER' }), 7],
  ])('not %s', async (_who, asking, reason) => {
    await expect(asking()).rejects.toMatchObject({ kind: 'rejected', reject: { result: 1, source: 1, reason } });
  });

  test('and does what it may: a sender finds nothing, who finds does not send', async () => {
    expect(await cStore([slice(60)], 'CT2')).toEqual([0]);
    expect(await cStore([slice(61)], 'WS3')).toEqual([0x0124]);
    const statuses: number[] = [];
    for (const callingAETitle of ['CT2', 'WS3']) {
      const session = await associate(remote, {
        callingAETitle,
        contexts: proposing([STUDY_ROOT_FIND, [EXPLICIT_LE]]),
      });
      statuses.push(
        await sendFind(session, STUDY_ROOT_FIND, ask({ '00080052': 'STUDY', '0020000D': uid(20) }), () => {}),
      );
      await session.release();
    }
    expect(statuses).toEqual([0x0124, 0]);
  });

  test('not more than a process serves at a time', async () => {
    const target = { aeTitle: 'WS1', port: (workstation.server.server.address() as { port: number }).port };
    const open = await Promise.all([1, 2, 3, 4].map(() => echoAs('CT1', target)));
    await expect(echoAs('CT1', target)).rejects.toMatchObject({ reject: { result: 2, source: 3, reason: 2 } });
    await Promise.all(open.map((session) => session.release()));
    await (await echoAs('CT1', target)).release();
  });

  test('a lossy default is never asked for: JPEG is proposed as it is', async () => {
    const session = await associate(remote, {
      callingAETitle: 'CT1',
      contexts: proposing([CT_IMAGE_STORAGE, [JPEG_BASELINE, EXPLICIT_LE]]),
    });
    expect(session.contexts.get(1)!.transferSyntax).toBe(JPEG_BASELINE);
    await session.release();
  });
});

test('C-STORE of a data set that does not say which instance it is: stored as the one that the command names, with a warning', async () => {
  const nameless = { SOPInstanceUID: undefined, StudyInstanceUID: uid(990), SeriesInstanceUID: uid(991) };
  const session = await associate(remote, {
    callingAETitle: 'CT1',
    contexts: proposing([CT_IMAGE_STORAGE, [EXPLICIT_LE]]),
  });
  const dataSet = dataSetOf(buildDicom(nameless, { fileMeta: false, preamble: false }));
  const { status } = await sendObject(session, session.contexts.get(1)!, uid(992), dataSet);
  await session.release();
  expect(status).toBe(0xb000);
  const record = await findInstance(archive.services, 'main', uid(990), uid(991), uid(992));
  const kept = await archive.services.blobs.readBytes(record.blobKey);
  expect(Buffer.from(kept.subarray(record.dataSetOffset)).equals(dataSet)).toBe(true);
});
