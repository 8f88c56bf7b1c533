import cluster from 'node:cluster';
import { createHash } from 'node:crypto';
import { openSync, read, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
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
 * A C-STORE is taken by the same steps, which the called AE title names.
 */
const [folder = '', processes = '1', httpPort = '', dicomPort = ''] = process.argv.slice(2);
const OBJECT_BYTES = 1024 * 1024;

async function serve(): Promise<void> {
  const path = join(folder, 'frames');
  const file = openSync(path, 'r');
  const frameBytes = Number(process.env.FRAME_BYTES);
  const frames = readFileSync(path);
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
    const [, step = '', n] = request.url!.split('/');
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

const readInto = (file: number, buffer: Buffer, offset: number): Promise<void> =>
  new Promise((resolve, reject) => {
    read(file, buffer, 0, buffer.length, offset, (error) => (error === null ? resolve() : reject(error)));
  });

if (cluster.isPrimary) for (let i = 0; i < Number(processes); i++) cluster.fork();
else await serve();
