import cluster from 'node:cluster';
import { createHash } from 'node:crypto';
import { openSync, read } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';
import { openPack, Pack } from '#adapters/local/pack-writer.ts';
import { pageAligned } from '#core/page-aligned.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { createDimseServer } from '#dimse/server.ts';

/**
 * `node floor-server.ts FOLDER PROCESSES HTTP-PORT DICOM-PORT`: what any archive on Node has to do at least, step upon step, without being one. FOLDER holds a file `frame`.
 *
 *   GET /memory    the frame from memory            POST /receive   the body is read, and forgotten
 *   GET /file      the frame from its file          POST /hash      … and its SHA-256 taken
 *                                                   POST /write     … and written behind others, durably, by one write
 *                                                   POST /commit    … and one record put into an index, durably
 *
 * A C-STORE is taken by the same steps, which the called AE title names.
 */
const [folder = '', processes = '1', httpPort = '', dicomPort = ''] = process.argv.slice(2);
const OBJECT_BYTES = 1024 * 1024;

async function serve(): Promise<void> {
  const path = join(folder, 'frame');
  const file = openSync(path, 'r');
  const frame = Buffer.alloc(Number(process.env.FRAME_BYTES));
  await readInto(file, frame);
  const spare: Buffer[] = [];
  const index = await LmdbIndexTable.open(join(folder, 'index'));
  const name = `floor-${process.pid}`;
  const hooks = { open: async () => openPack(join(folder, name)), closed: () => {}, idle: () => {} };
  const pack = new Pack(name, 2 ** 30, hooks);
  let count = 0;

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
    const step = request.url!.slice(1);
    if (step === 'memory') return sent(response, frame);
    if (step === 'file') {
      const buffer = spare.pop() ?? pageAligned(OBJECT_BYTES);
      await readInto(file, buffer.subarray(0, frame.length));
      await sent(response, buffer.subarray(0, frame.length));
      spare.push(buffer);
      return;
    }
    if (request.method === 'POST') await keep(step, request);
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

const readInto = (file: number, buffer: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    read(file, buffer, 0, buffer.length, 0, (error) => (error === null ? resolve() : reject(error)));
  });

if (cluster.isPrimary) for (let i = 0; i < Number(processes); i++) cluster.fork();
else await serve();
