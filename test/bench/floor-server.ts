import cluster from 'node:cluster';
import { createHash, hash } from 'node:crypto';
import { openSync, read, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type Database, open, type RootDatabaseOptionsWithPath } from 'lmdb';
import { DurableDirectories } from '#adapters/local/durable-directories.ts';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';
import { openPack, Pack } from '#adapters/local/pack-writer.ts';
import { pageAligned } from '#core/page-aligned.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { createDimseServer } from '#dimse/server.ts';

/**
 * `node floor-server.ts FOLDER PROCESSES HTTP-PORT DICOM-PORT`: what any archive on Node has to do at least, step upon step, without being one. FOLDER holds a file `frames`.
 *
 *   GET /memory/N  the frame from memory            POST /receive   the body is read, and forgotten
 *   GET /file/N    the frame from the file          POST /hash      … and its SHA-256 taken
 *                                                   POST /write     … and written behind others, durably, by one write
 *                                                   POST /commit    … and one record put into an index, durably
 *
 *   POST /rows/N   the body is N objects of one size, each a study of its own: its SHA-256 is taken, and bare LMDB gets as many rows, of such
 *                  sizes, as a new study has (STUDY_ROWS), made of bytes that lie ready, in one synced transaction with all that wait
 *   POST /study/N  … and it is written before that: a folder, and a file in it, both durable
 *
 *   POST /series/ID/N  the body is the metadata of N instances, each of one size: bare LMDB gets a row of each, in one synced transaction
 *   GET /series/ID     the rows are read, and sent as one document
 *
 * A C-STORE is taken by the same steps, which the called AE title names.
 */
const [folder = '', processes = '1', httpPort = '', dicomPort = ''] = process.argv.slice(2);
const OBJECT_BYTES = 1024 * 1024;
/**
 * Bytes of each row of a study of one small object whose words are known: those that lie in order of time (event, job, when it is due), and
 * those of which each has a place of its own: claim, instance, metadata, series and where it is, study, line of the list, 18 postings.
 */
const STUDY_ROWS = {
  appended: [326, 178, 2],
  apart: [273, 1441, 2035, 783, 2, 1007, 1037, ...Array<number>(18).fill(2)],
};

async function serve(): Promise<void> {
  const path = join(folder, 'frames');
  const file = openSync(path, 'r');
  const frameBytes = Number(process.env.FRAME_BYTES);
  const frames = readFileSync(path);
  const spare: Buffer[] = [];
  const index = await LmdbIndexTable.open(join(folder, 'index'));
  const name = `floor-${process.pid}`;
  const hooks = {
    open: () => ({ fd: openPack(join(folder, name)), named: Promise.resolve() }),
    closed: () => {},
    idle: () => {},
  };
  const pack = new Pack(name, 2 ** 30, hooks);
  let count = 0;

  const rows: Database<Buffer, Buffer> = open({
    path: join(folder, 'rows'),
    noSubdir: true,
    keyEncoding: 'binary',
    encoding: 'binary',
    overlappingSync: false,
    eventTurnBatching: false,
    mapSize: 2 ** 40,
  } as RootDatabaseOptionsWithPath);
  const directories = new DurableDirectories(folder);

  /** A study of one object: durable, with all its rows. */
  const keepStudy = async (bytes: Buffer, withFile: boolean): Promise<void> => {
    hash('sha256', bytes, 'hex');
    const id = `${name}-${count++}`;
    if (withFile) {
      const directory = join(folder, 'studies', id);
      directories.make(directory);
      const opened = { fd: openPack(join(directory, `${id}.tar`)), named: directories.sync(directory) };
      const own = new Pack(id, 2 ** 30, { open: () => opened, closed: () => {}, idle: () => {} });
      await own.append(id, bytes);
      own.settle();
      own.retire();
    }
    const apart = (i: number): string => `${hash('sha256', `${i}|${id}`, 'hex')}|default|${id}`;
    const puts = [
      ...STUDY_ROWS.appended.map((size, i) => ({ key: Buffer.from(`${i}|${id}`), value: VALUE.subarray(0, size) })),
      ...STUDY_ROWS.apart.map((size, i) => ({ key: Buffer.from(apart(i)), value: VALUE.subarray(0, size) })),
    ];
    await rows.transaction(() => {
      for (const { key, value } of puts) void rows.put(key, value);
    });
  };

  const keepStudies = async (body: AsyncIterable<Uint8Array>, each: number, withFile: boolean): Promise<void> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    const all = Buffer.concat(chunks);
    const size = all.length / each;
    await Promise.all(
      Array.from({ length: each }, (_, i) => keepStudy(all.subarray(i * size, (i + 1) * size), withFile)),
    );
  };

  const keepSeries = async (body: AsyncIterable<Uint8Array>, id: string, each: number): Promise<void> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    const all = Buffer.concat(chunks);
    const size = all.length / each;
    await rows.transaction(() => {
      for (let i = 0; i < each; i++)
        void rows.put(Buffer.from(`s|${id}|${1e6 + i}`), all.subarray(i * size, (i + 1) * size));
    });
  };

  const documentOf = (id: string): Buffer => {
    const texts = [...rows.getRange({ start: Buffer.from(`s|${id}|`), end: Buffer.from(`s|${id}~`) })];
    const joined = Buffer.allocUnsafeSlow(texts.reduce((sum, { value }) => sum + 1 + value.length, 1));
    let to = 0;
    for (const { value } of texts) {
      joined[to] = to === 0 ? 0x5b : 0x2c;
      to += 1 + value.copy(joined, to + 1);
    }
    joined[to] = 0x5d;
    return joined;
  };

  const keep = async (step: string, body: AsyncIterable<Uint8Array>): Promise<void> => {
    if (step === 'receive') {
      for await (const _ of body);
      return;
    }
    const buffer = spare.pop() ?? pageAligned(OBJECT_BYTES);
    let size = 0;
    for await (const chunk of body) {
      buffer.set(chunk, size);
      size += chunk.byteLength;
    }
    const bytes = buffer.subarray(0, size);
    const writing = step === 'hash' ? undefined : pack.append(`${count++}`, bytes);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    await writing;
    spare.push(buffer);
    if (step !== 'commit') return;
    const key = { partition: name, sort: `${count}-${sha256}` };
    await index.write([{ kind: 'put', key, item: { sha256, size } }]);
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [, step = '', n, each] = request.url!.split('/');
    const offset = Number(n) * frameBytes;
    if (step === 'memory') return sent(response, frames.subarray(offset, offset + frameBytes));
    if (step === 'file') {
      const buffer = spare.pop() ?? pageAligned(OBJECT_BYTES);
      const bytes = buffer.subarray(0, frameBytes);
      await readInto(file, bytes, offset);
      await sent(response, bytes);
      spare.push(buffer);
      return;
    }
    if (step === 'series') {
      if (request.method === 'GET') return sent(response, documentOf(n!));
      await keepSeries(request, n!, Number(each));
    } else if (step === 'rows' || step === 'study') await keepStudies(request, Number(n), step === 'study');
    else if (request.method === 'POST') await keep(step, request);
    response.end();
  };
  createServer((request, response) => void answer(request, response)).listen(Number(httpPort), '127.0.0.1');
  createDimseServer({
    aeTitle: 'FLOOR',
    checkCalledAETitle: false,
    allowed: 'any',
    maxAssociations: 20,
    policy: { acceptUnknownSopClasses: true, services: new Set() },
    services: new Map([
      [
        COMMAND.cStore,
        async ({ dataSet, respond, session }) => {
          await keep(session.calledAETitle.toLowerCase(), dataSet!);
          await respond({ Status: 0 });
        },
      ],
    ]),
  }).server.listen(Number(dicomPort), '127.0.0.1');
}

function sent(response: ServerResponse, body: Buffer): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': body.length });
  return new Promise((resolve) => {
    response.on('close', resolve);
    response.end(body);
  });
}

const readInto = (file: number, buffer: Buffer, offset: number): Promise<void> =>
  new Promise((resolve, reject) => {
    read(file, buffer, 0, buffer.length, offset, (error) => (error === null ? resolve() : reject(error)));
  });

const VALUE = Buffer.alloc(4096, 'row');

if (cluster.isPrimary) for (let i = 0; i < Number(processes); i++) cluster.fork();
else await serve();
