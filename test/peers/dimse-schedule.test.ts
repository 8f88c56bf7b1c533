import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { hashPasscode } from '#embedded/dicom-users.ts';
import { ctStudy } from '#test/bench/data.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { scheduled } from '#test/fixtures/worklist.ts';
import { type Nephos, projectRoot, startNephos } from './helpers/nephos.ts';
import { startOrthanc } from './helpers/orthanc.ts';
import { listening } from './helpers/processes.ts';
import { corpusDir, hasCorpus, python, run, runOk } from './helpers/programs.ts';
import { store } from './web/browser.ts';

process.env.TCP_NODELAY = '1';

const dir = mkdtempSync(join(tmpdir(), 'nephos-schedule-'));
const WORKLIST = join(corpusDir, 'dicom/worklist');
let nephos: Nephos;
let dicomPort: number;
let wlmPort: number;
let risPort: number;
let wlmscpfs: ChildProcess | undefined;

/** items of the 1990s among them: nothing drops out because it is past */
const env = (): Record<string, string> => ({
  NEPHOS_LIMIT_WORKLIST_PAST_MS: String(100 * 365 * 24 * 60 * 60 * 1000),
  NEPHOS_LIMIT_WORKLIST_KEEP_MS: String(100 * 365 * 24 * 60 * 60 * 1000),
  NEPHOS_LIMIT_STUDY_QUIET_MS: '500',
});

beforeAll(async () => {
  [dicomPort, wlmPort, risPort] = [await freePort(), await freePort(), await freePort()];
  nephos = await startNephos({
    env: { ...env(), NEPHOS_DICOM_PORT: String(dicomPort), NEPHOS_DICOM_IAN: `PYRIS@127.0.0.1:${risPort}` },
  });
});
afterAll(async () => {
  wlmscpfs?.kill();
  await nephos?.stop();
  await rm(dir, { recursive: true, force: true });
});

async function addItem(item: DataSet): Promise<{ id: string }> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${nephos.origin}/api/worklist`, {
    method: 'POST',
    headers,
    body: JSON.stringify(item),
  });
  if (!response.ok) throw new Error(`the item was refused: ${await response.text()}`);
  return (await response.json()) as { id: string };
}
const api = async <T>(path: string): Promise<T> => (await (await fetch(`${nephos.origin}/api${path}`)).json()) as T;

describe.runIf(hasCorpus)('DCMTK: the same items, the same queries, the same answers as wlmscpfs', () => {
  beforeAll(async () => {
    const database = join(dir, 'wlm/OFFIS');
    mkdirSync(database, { recursive: true });
    writeFileSync(join(database, 'lockfile'), '');
    for (const name of readdirSync(WORKLIST).filter((one) => one.includes('-item-'))) {
      copyFileSync(join(WORKLIST, name), join(database, name.replace('.dcm', '.wl')));
      await addItem(scanPart10(readFileSync(join(WORKLIST, name)), DEFAULT_LIMITS).dataSet);
    }
    wlmscpfs = spawn('wlmscpfs', ['-dfp', join(dir, 'wlm'), String(wlmPort)], { stdio: 'ignore' });
    await listening(wlmPort);
  });

  let asked = 0;
  /** the answers, as data sets, by accession number; without what says nothing of the item */
  async function answers(port: number, query: readonly string[]): Promise<Map<string, DataSet>> {
    const folder = join(dir, `answers-${asked++}`);
    mkdirSync(folder);
    const args = ['-W', '-aec', 'OFFIS', '-X', '-od', folder, '127.0.0.1', String(port)];
    const said = await run('findscu', [...args, '-k', 'AccessionNumber', '-k', 'StudyInstanceUID', ...query]);
    expect(said.code, said.stderr).toBe(0);
    const sets = readdirSync(folder).map(
      (name) => scanPart10(readFileSync(join(folder, name)), DEFAULT_LIMITS).dataSet,
    );
    return new Map(
      sets
        .map(({ '00080005': _, ...rest }) => [String(rest['0020000D']?.Value?.[0]), rest] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  }

  /** The tags that both have values for, which must be the same; wlmscpfs leaves out, or fills up, what an item does not have. */
  function agreement(one: DataSet, other: DataSet): string[] {
    return Object.entries(one).flatMap(([tag, { vr, Value }]) => {
      const theirs = other[tag];
      if (Value === undefined || theirs?.Value === undefined) return [];
      if (vr !== 'SQ') expect(theirs, tag).toEqual({ vr, Value });
      else return Value.flatMap((item, i) => agreement(item as DataSet, (theirs.Value![i] ?? {}) as DataSet));
      return [tag];
    });
  }

  const STEP = 'ScheduledProcedureStepSequence[0]';
  const files = hasCorpus
    ? readdirSync(WORKLIST)
        .filter((name) => name.includes('-query-'))
        .map((name) => [name, [join(WORKLIST, name)]] as const)
    : [];
  test.each<readonly [string, readonly string[]]>([
    ...files,
    ['a modality', ['-k', `${STEP}.Modality=CR`]],
    ['a station', ['-k', `${STEP}.ScheduledStationAETitle=AZ01`]],
    ['a day', ['-k', `${STEP}.ScheduledProcedureStepStartDate=19951015`]],
    ['days from', ['-k', `${STEP}.ScheduledProcedureStepStartDate=19951206-`]],
    ['days to', ['-k', `${STEP}.ScheduledProcedureStepStartDate=-19951015`]],
    ['days from and to', ['-k', `${STEP}.ScheduledProcedureStepStartDate=19950101-19960201`]],
    [
      'a day and its times',
      [
        '-k',
        `${STEP}.ScheduledProcedureStepStartDate=19951015`,
        '-k',
        `${STEP}.ScheduledProcedureStepStartTime=0800-0900`,
      ],
    ],
    ['a name', ['-k', 'PatientName=VIVALDI^ANTONIO']],
    ['the beginning of a name', ['-k', 'PatientName=VIV*', '-k', `${STEP}.Modality=MR`]],
    ['a PatientID', ['-k', 'PatientID=AV35674']],
    ['nobody', ['-k', 'PatientName=NOBODY*']],
    ['two keys of which one fails', ['-k', 'PatientID=AV35674', '-k', `${STEP}.Modality=CT`]],
  ])('%s', async (_what, query) => {
    const [ours, theirs] = [await answers(dicomPort, query), await answers(wlmPort, query)];
    expect([...ours.keys()]).toEqual([...theirs.keys()]);
    for (const [study, item] of ours) expect(agreement(item, theirs.get(study)!).length).toBeGreaterThan(1);
  });

  test('cancel', async () => {
    const args = ['-v', '-W', '--cancel', '1', '-aec', 'NEPHOS', '127.0.0.1', String(dicomPort), '-k', 'PatientName'];
    const { code, stdout, stderr } = await run('findscu', args);
    expect(code).toBe(0);
    expect(stdout + stderr).toMatch(/Received Final Find Response \((Cancel|Success)/);
  });
});

describe('pynetdicom', () => {
  test('a modality asks for its work, performs it and reports it', async () => {
    const study = '1.2.826.0.1.3680043.9.9.1';
    const { id } = await addItem(scheduled({ PatientName: 'Müller^Jürgen', StudyInstanceUID: study }));
    const { uid, ...report } = await python<{ uid: string }>('schedule-session.py', [
      'modality',
      '127.0.0.1',
      String(dicomPort),
      study,
      'SPS1',
    ]);
    expect(report).toEqual({
      find: 0,
      worklist: ['Müller^Jürgen', 'ISO_IR 100', 'SCHEDULED'],
      create: 0,
      duplicate: 0x0111,
      incomplete: 0x0120,
      'under way': 'STARTED',
      set: 0,
      'completed without series': 0x0121,
      completed: 0,
      late: [0x0110, 0xa710, 'Performed Procedure Step Object may no longer be updated'],
      get: [0, 'COMPLETED', 'Kopf'],
      afterwards: 0,
    });
    expect(await api(`/worklist/${id}`)).toMatchObject({ state: 'COMPLETED', procedureSteps: [uid] });
    expect(await api(`/procedure-steps/${uid}`)).toMatchObject({ source: 'PYMODALITY', made: 1, missing: 1 });
  });

  test('is told by Instance Availability Notification that a study is here', async () => {
    const listener = python<{ attributes: DataSet }>('schedule-session.py', ['listen', String(risPort), '3']);
    await listening(risPort);
    const { slices, StudyInstanceUID } = ctStudy(8700, 3, 64);
    await store(
      nephos.root,
      slices.map(({ header, pixels }) => Buffer.concat([header, pixels])),
    );
    const { attributes } = await listener;
    expect(attributes['0020000D']!.Value).toEqual([StudyInstanceUID]);
    const [series] = attributes['00081115']!.Value as DataSet[];
    const uids = (series!['00081199']!.Value as DataSet[]).map((item) => item['00081155']!.Value![0]);
    expect(uids.toSorted()).toEqual(slices.map(({ SOPInstanceUID }) => SOPInstanceUID).toSorted());
  });

  test('user identity: who is known is let in, with a response; nobody else', async () => {
    const users = join(dir, 'users.json');
    writeFileSync(users, JSON.stringify([{ name: 'ct', passcode: await hashPasscode('open sesame') }]));
    const port = await freePort();
    const guarded = await startNephos({
      env: { NEPHOS_DICOM_PORT: String(port), NEPHOS_DICOM_USERS: users, NEPHOS_DICOM_IDENTITY: 'required' },
    });
    // A token of this archive; those of an issuer go the same way.
    const said = await runOk(process.execPath, ['functions/embedded/cli.ts', 'token'], {
      cwd: projectRoot,
      env: { NEPHOS_DATA_DIR: guarded.dataDir },
    });
    const token = said.trim().split(/\s+/).at(-1)!;
    const args = ['identity', '127.0.0.1', String(port), 'ct', 'open sesame', token];
    expect(await python('schedule-session.py', args)).toEqual({
      right: [true, true],
      wrong: [false, false],
      'name alone': [false, false],
      token: [true, true],
      'forged token': [false, false],
      nobody: [false, false],
    });
    // DCMTK as well, which asks for no response.
    const echo = (...identity: string[]) =>
      run('echoscu', ['-aec', 'NEPHOS', ...identity, '127.0.0.1', String(port)]).then(({ code }) => code);
    const storescu = (...identity: string[]) =>
      run('storescu', ['-aec', 'NEPHOS', ...identity, '127.0.0.1', String(port), join(dir, 'object.dcm')]).then(
        ({ code }) => code,
      );
    const [slice] = ctStudy(8701, 1, 64).slices;
    writeFileSync(join(dir, 'object.dcm'), Buffer.concat([slice!.header, slice!.pixels]));
    expect(await echo()).not.toBe(0);
    expect(await storescu('-usr', 'ct', '-pwd', 'open sesame', '-rsp')).toBe(0);
    expect(await storescu('-usr', 'ct', '-pwd', 'wrong')).not.toBe(0);
    writeFileSync(join(dir, 'token'), token);
    expect(await storescu('--jwt', join(dir, 'token'), '-rsp')).toBe(0);
    for (const kind of ['-kt', '--saml']) expect(await storescu(kind, join(dir, 'token'))).not.toBe(0);
    await guarded.stop();
  });
});

test('Orthanc 1.12 finds the worklist', async () => {
  await addItem(
    scheduled({ StudyInstanceUID: '1.2.826.0.1.3680043.9.9.2', PatientName: 'Roe^Richard' }, { Modality: 'NM' }),
  );
  const folder = join(dir, 'orthanc');
  mkdirSync(folder);
  const orthanc = await startOrthanc({
    version: '1.12',
    httpPort: await freePort(),
    dicomPort: await freePort(),
    dir: folder,
    settings: { DicomAet: 'ORTHANC', DicomModalities: { nephos: ['NEPHOS', '127.0.0.1', dicomPort] } },
  });
  const query = {
    PatientName: 'Roe*',
    ScheduledProcedureStepSequence: [{ Modality: 'NM', ScheduledProcedureStepID: '' }],
  };
  const response = await fetch(`${orthanc.origin}/modalities/nephos/find-worklist`, {
    method: 'POST',
    body: JSON.stringify(query),
  });
  expect(await response.json()).toMatchObject([
    {
      PatientName: 'Roe^Richard',
      ScheduledProcedureStepSequence: [{ Modality: 'NM', ScheduledProcedureStepID: 'SPS1' }],
    },
  ]);
  await orthanc.stop();
});
