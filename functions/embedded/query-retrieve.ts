import { access, constants, type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { attribute } from '#core/dicom/dictionary.ts';
import { textOf } from '#core/dicom/element-text.ts';
import { dataSetToJson } from '#core/dicom/json.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { isUID } from '#core/ids.ts';
import { AssociationError } from '#dimse/association.ts';
import { UNCOMPRESSED } from '#dimse/negotiation.ts';
import { identifierFor, MODELS } from '#dimse/remote-query.ts';
import { archiveSink, isComplete, type ObjectSink, type Progress, retrieve, studyOf } from '#dimse/remote-retrieve.ts';
import { associate, proposing, sendEcho, sendFind, sendRetrieve } from '#dimse/scu.ts';
import type { QueryLevel } from '#dimse/services/query.ts';
import { VERIFICATION } from '#dimse/sop-classes.ts';
import { STATUS } from '#dimse/status.ts';
import { openArchive } from './archive.ts';
import { ConfigError, readConfig } from './config.ts';
import { type Asked, asked, parse, portIn, USAGE, whole } from './query-retrieve-arguments.ts';

/** Runs the command. @returns its exit code */
export async function queryRetrieve(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const cancelling = new AbortController();
  // The first Ctrl-C cancels in good order; a second one ends the process as ever.
  const cancel = (): void => cancelling.abort();
  process.once('SIGINT', cancel);
  try {
    const { positionals, values } = parse(args);
    const [name = '', peer = '', ...keys] = positionals;
    const command = COMMANDS[name];
    if (values.help) {
      process.stdout.write(USAGE);
      return 0;
    }
    if (command === undefined) {
      process.stderr.write(`${name === '' ? '' : `there is no command ${JSON.stringify(name)}\n\n`}${USAGE}`);
      return 2;
    }
    return await command(asked(peer, keys, values, env, cancelling.signal));
  } catch (error) {
    if (error instanceof AssociationError) {
      process.stderr.write(`${error.message}${reasonOf(error)}\n`);
      return 3;
    }
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === 'listen') {
      process.stderr.write(`--receive: cannot listen there: ${code}\n`);
      return 2;
    }
    const isMisuse = code?.startsWith('ERR_PARSE_ARGS') === true;
    if (!(error instanceof ConfigError) && !(error instanceof PacsError) && !isMisuse) throw error;
    process.stderr.write(`${(error as Error).message}\n`);
    return 2;
  } finally {
    process.off('SIGINT', cancel);
  }
}

/** PS3.8 §9.3.4 in words, for the reasons people meet. */
const REJECTIONS: Readonly<Record<string, string>> = {
  '1.1': 'it gives no reason',
  '1.3': 'it does not know our AE title',
  '1.7': 'it goes by another AE title',
  '3.1': 'it is congested',
  '3.2': 'it has too many associations',
};

function reasonOf({ reject, cause }: AssociationError): string {
  if (reject !== undefined)
    return `: ${REJECTIONS[`${reject.source}.${reject.reason}`] ?? `source ${reject.source}, reason ${reject.reason}`}`;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return code === undefined ? '' : `: ${code}`;
}

type Command = (asked: Asked) => Promise<number>;

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};
const hex = (status: number): string => status.toString(16).toUpperCase().padStart(4, '0');

const echoPeer: Command = async ({ remote, options }) => {
  const session = await associate(remote, {
    ...options,
    contexts: proposing([VERIFICATION, UNCOMPRESSED.slice(0, 2)]),
  });
  const status = await sendEcho(session, VERIFICATION);
  await session.release();
  say(`${remote.aeTitle} answers with status ${hex(status)}`);
  return status === STATUS.success ? 0 : 1;
};

/** Asked for when nobody says what to ask for. */
const USUAL_KEYS: Readonly<Record<QueryLevel, readonly string[]>> = {
  PATIENT: ['PatientID', 'PatientName', 'PatientBirthDate', 'PatientSex'],
  STUDY: ['StudyDate', 'PatientID', 'PatientName', 'ModalitiesInStudy', 'StudyDescription', 'StudyInstanceUID'],
  SERIES: ['StudyInstanceUID', 'SeriesNumber', 'Modality', 'SeriesDescription', 'SeriesInstanceUID'],
  IMAGE: ['StudyInstanceUID', 'SeriesInstanceUID', 'InstanceNumber', 'SOPClassUID', 'SOPInstanceUID'],
};

const find: Command = async ({ remote, keys, level, options, values }) => {
  const given = new Set(keys.map(([path]) => attribute(path)?.keyword ?? path));
  const usual = keys.every(([, value]) => value !== '') ? USUAL_KEYS[level].filter((key) => !given.has(key)) : [];
  const identifier = identifierFor(level, [...keys, ...usual.map((key) => [key, ''] as const)]);
  const limit = values.limit === undefined ? Number.POSITIVE_INFINITY : whole('--limit', values.limit);
  const model = MODELS[options.root].find;
  const enough = new AbortController();
  options.cancel?.addEventListener('abort', () => enough.abort());
  const matches: DataSet[] = [];
  const session = await associate(remote, { ...options, contexts: proposing([model, UNCOMPRESSED.slice(0, 2)]) });
  let status: number;
  try {
    const take = (match: DataSet): void => {
      // Matches that were on their way when we had enough.
      if (matches.length < limit) matches.push(match);
      if (matches.length >= limit) enough.abort();
    };
    status = await sendFind(session, model, identifier, take, enough.signal);
  } finally {
    await session.release();
  }
  if (values.json) say(`[${matches.map((match) => dataSetToJson(match, () => '')).join(',\n')}]`);
  else {
    const shown = [...keys.map(([path]) => path), ...usual].filter((path) => !path.includes('.'));
    printTable(shown, matches);
  }
  const cancelled = status === STATUS.cancel && matches.length >= limit;
  if (status !== STATUS.success && !cancelled) {
    process.stderr.write(`the peer ended the query with status ${hex(status)}\n`);
    return 1;
  }
  return matches.length > 0 ? 0 : 1;
};

function printTable(columns: readonly string[], matches: readonly DataSet[]): void {
  const tags = columns.map((column) => attribute(column)?.tag ?? column.replaceAll(/[(),]/g, '').toUpperCase());
  const rows = matches.map((match) => tags.map((tag) => textOf(match[tag])));
  const widths = columns.map((column, i) => Math.max(column.length, ...rows.map((row) => row[i]!.length)));
  for (const row of [columns, ...rows])
    say(
      row
        .map((text, i) => text.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    );
  process.stderr.write(`${matches.length} found\n`);
}

/** Of the sub-operations, a line at a time; on a terminal the line is written over. */
function progressOn(stream: NodeJS.WriteStream): (progress: Progress) => void {
  let toldAt = 0;
  return ({ completed, failed, warning, remaining, arrived }) => {
    const now = performance.now();
    if (now - toldAt < (stream.isTTY ? 100 : 5_000) && remaining !== 0) return;
    toldAt = now;
    const counts = Object.entries({ completed, failed, warning, remaining, 'stored here': arrived });
    const text = counts.flatMap(([name, count]) => (count === undefined ? [] : [`${count} ${name}`])).join(', ');
    stream.write(stream.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
  };
}

/** What comes next does not go on in the line of the counts. */
const endLine = (): void => {
  if (process.stderr.isTTY) process.stderr.write('\n');
};

/** By the unique key of the level (PS3.4 C.4.2.1.4): with others, peers answer success and send nothing. */
function retrievalOf({ level, keys }: Asked): DataSet {
  const unique = UNIQUE_KEY[level];
  if (!keys.some(([path, value]) => value !== '' && attribute(path)?.keyword === unique))
    throw new ConfigError(`name what to retrieve: at the level ${level.toLowerCase()} it goes by ${unique}=…`);
  return identifierFor(level, keys);
}

const UNIQUE_KEY: Readonly<Record<QueryLevel, string>> = {
  PATIENT: 'PatientID',
  STUDY: 'StudyInstanceUID',
  SERIES: 'SeriesInstanceUID',
  IMAGE: 'SOPInstanceUID',
};

/** C-MOVE to somebody else: nothing arrives here, the peer's counts are all there is to know. */
async function moveTo(destination: string, request: Asked): Promise<number> {
  const { remote, options } = request;
  const model = MODELS[options.root].move;
  const identifier = retrievalOf(request);
  const session = await associate(remote, { ...options, contexts: proposing([model, UNCOMPRESSED.slice(0, 2)]) });
  const show = progressOn(process.stderr);
  try {
    const report = await sendRetrieve(session, model, identifier, {
      destination,
      ...(options.cancel && { cancel: options.cancel }),
      onPending: (pending) => show({ ...pending, arrived: 0 }),
    });
    const { status, completed = 0, failed = 0, warning = 0 } = report;
    endLine();
    say(`status ${hex(status)}: ${completed} completed, ${failed} failed, ${warning} with warnings`);
    for (const uid of report.failedUIDs) say(`failed   ${uid}`);
    return status === STATUS.success && completed > 0 ? 0 : 1;
  } finally {
    await session.release();
  }
}

const move: Command = async (request) => {
  const { to, receive, bind, sender } = request.values;
  if ((to === undefined) === (receive === undefined)) throw new ConfigError('move goes --to AET, or --receive PORT');
  if (to !== undefined) return moveTo(to, request);
  const receiver = {
    bind: bind ?? readConfig(request.env).bind,
    port: portIn('--receive', receive!),
    ...(sender !== undefined && { senders: [sender] }),
  };
  return fetchInto({ ...request, options: { ...request.options, receiver } });
};

async function fetchInto(request: Asked): Promise<number> {
  const { remote, options, values, env } = request;
  const identifier = retrievalOf(request);
  const onProgress = progressOn(process.stderr);
  const get = async (sink: ObjectSink): Promise<number> => {
    const retrieved = await retrieve(remote, identifier, sink, { ...options, onProgress });
    const { status, arrived, expected, missing, failedUIDs } = retrieved;
    endLine();
    const of = expected === undefined ? '' : ` of ${expected}`;
    say(`status ${hex(status)}: ${arrived}${of} objects stored, ${retrieved.failed ?? 0} failed`);
    for (const uid of new Set([...failedUIDs, ...missing])) say(`missing  ${uid}`);
    return isComplete(retrieved) && arrived > 0 ? 0 : 1;
  };
  if (values.out !== undefined) {
    await makeFolder(values.out);
    return get(folderSink(values.out));
  }
  const config = readConfig(env);
  const archive = await openArchive(config);
  try {
    const study = studyOf(identifier);
    const context = { tenant: config.tenant, source: remote.aeTitle, ...(study && { StudyInstanceUID: study }) };
    return await get(archiveSink(archive.services, context));
  } finally {
    await archive.close();
  }
}

/** One file for each object, under its UID; whole and durable, or not there. */
const folderSink =
  (folder: string): ObjectSink =>
  async ({ SOPInstanceUID, bytes }) => {
    if (!isUID(SOPInstanceUID)) return STATUS.unableToProcess;
    const path = join(folder, `${SOPInstanceUID}.dcm`);
    const aside = `${path}.part`;
    let file: FileHandle | undefined;
    try {
      file = await open(aside, 'w');
      await file.writeFile(bytes);
      await file.sync();
      await file.close();
      await rename(aside, path);
      return STATUS.success;
    } catch (error) {
      await file?.close().catch(() => {});
      await rm(aside, { force: true }).catch(() => {});
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      process.stderr.write(`${path} cannot be written: ${code}\n`);
      return STATUS.outOfResources;
    }
  };

/** With all above it. Node's own way tries for ever where the system says ENOENT of a folder that is there. @throws ConfigError */
async function makeFolder(folder: string): Promise<void> {
  const make = async (path: string): Promise<void> => {
    try {
      await mkdir(path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST' && (await stat(path)).isDirectory()) return;
      if (code !== 'ENOENT' || dirname(path) === path) throw error;
      await make(dirname(path));
      await mkdir(path);
    }
  };
  try {
    await make(resolve(folder));
    await access(folder, constants.W_OK);
  } catch (error) {
    throw new ConfigError(`--out: ${folder} cannot be written to: ${(error as NodeJS.ErrnoException).code}`);
  }
}

const COMMANDS: Readonly<Record<string, Command>> = { echo: echoPeer, find, move, get: fetchInto };
