import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { freePort } from '#test/fixtures/free-port.ts';
import { startNginx } from '#test/peers/helpers/nginx.ts';
import { startServer } from '#test/peers/helpers/processes.ts';
import { closeConnections, get, inParallel, median, post, stowPieces, wrk } from './client.ts';
import { ctStudy, tinyObject, tinyStudy } from './data.ts';
import { startStorescp, storeStudy } from './dimse.ts';
import { figure } from './results.ts';

/**
 * `node test/bench/floor.ts --rounds N [--studies N] [--only series]`: what Node itself costs, without an archive on it (floor-server.ts), beside nginx and storescp. What an archive in
 * this language can reach at best, on the machine that it runs on. `--studies`: the rows of so many are there before tiny ones are sent. `--only series`:
 * files and metadata alone.
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    processes: { type: 'string', default: '2' },
    studies: { type: 'string', default: '0' },
    only: { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const dir = mkdtempSync(join(tmpdir(), 'nephos-floor-'));
const SLICES = 200;
const SMALL_OBJECTS = 1000;
const STEPS = ['receive', 'hash', 'write', 'commit'] as const;
/** Of tiny objects, each a study of its own: how many a request, and how many in all. */
const TINY_STEPS = ['rows', 'study'] as const;
const TINY_WAYS = [
  { each: 1, count: 500 },
  { each: 50, count: 2000 },
] as const;
const ASSOCIATIONS = [1, 4, 8] as const;
/** Metadata of series that were stored just now: so many instances, and so many series of each. */
const SERIES = [
  { instances: 200, count: 20 },
  { instances: 1000, count: 5 },
] as const;
/** What the metadata of a slice of the benchmark come to (bytes). */
const METADATA_BYTES = 6185;

const rates = new Map<string, number[]>();
const cpu = new Map<string, number[]>();
const times = new Map<string, number[]>();
function note(into: Map<string, number[]>, name: string, value: number): void {
  into.set(name, [...(into.get(name) ?? []), value]);
}

/** as many as a study has, so that no cache of the processor holds them all */
const frames = ctStudy(1, SLICES).slices.map(({ pixels }) => pixels);
mkdirSync(join(dir, 'server'));
writeFileSync(join(dir, 'server', 'frames'), Buffer.concat(frames));
const ports = [await freePort(), await freePort(), await freePort(), await freePort()] as const;
const floor = await startServer({
  command: process.execPath,
  args: [
    join(import.meta.dirname, 'floor-server.ts'),
    join(dir, 'server'),
    values.processes,
    `${ports[0]}`,
    `${ports[1]}`,
  ],
  env: { FRAME_BYTES: `${frames[0]!.length}`, NODE_ENV: 'production' },
  logFile: join(dir, 'floor.log'),
  readyUrl: `http://127.0.0.1:${ports[0]}/ready`,
});
mkdirSync(join(dir, 'nginx'));
const nginx = await startNginx({ port: ports[2], dir: join(dir, 'nginx') });
for (const [i, frame] of frames.entries()) nginx.put(`frame/${i}`, frame);
mkdirSync(join(dir, 'received'));
process.env.TCP_NODELAY = '1';
const storescp = await startStorescp('STORESCP', ports[3], ['--fork', '-od', join(dir, 'received')]);
const origin = `http://127.0.0.1:${ports[0]}`;
let seed = 900_000;
const tiny = tinyObject(tinyStudy(0));

/** @returns how long it took (ms) */
async function postTiny(step: (typeof TINY_STEPS)[number], count: number, each: number): Promise<number> {
  const body = [Buffer.concat(Array.from({ length: each }, () => tiny))];
  return inParallel(Math.ceil(count / each), 8, async () => {
    await post(`${origin}/${step}/${each}`, 'application/octet-stream', body);
  });
}

/** How long a document of new rows, and the same as a file of nginx, take to their last byte (ms), one after the other. */
async function readSeries(instances: number, keep: boolean): Promise<void> {
  const accept = 'application/json';
  const id = `${seed++}`;
  await post(`${origin}/series/${id}/${instances}`, accept, [Buffer.alloc(instances * METADATA_BYTES, 'metadata')]);
  const document = await get(`${origin}/series/${id}`, { accept, keepBody: true });
  if (document.bytes !== 1 + instances * (METADATA_BYTES + 1)) throw new Error(`${document.bytes} bytes of metadata`);
  const path = `series/${instances}`;
  if (!keep) nginx.put(path, document.body!);
  const file = await get(`${nginx.root}/${path}`, { accept, keepBody: true });
  if (!keep) return;
  note(times, `metadata of ${instances}, stored just now: rows of LMDB, joined`, document.totalMs);
  note(times, `metadata of ${instances}: a file of nginx`, file.totalMs);
}

try {
  await postTiny('rows', Number(values.studies), 50);
  for (let round = -1; round < rounds; round++) {
    const keep = round >= 0; // the first one compiles what is used most
    for (const [name, root, path] of [
      ['node:http, from memory', origin, '/memory'],
      ['node:http, from a file', origin, '/file'],
      ['nginx', nginx.origin, '/dicomweb/frame'],
    ] as const) {
      const paths = frames.map((_, i) => `${path}/${i}`);
      const server = name === 'nginx' ? nginx : floor;
      const before = server.cpuMs();
      const { requestsPerSecond, requests } = await wrk(root, paths, '*/*');
      if (!keep) continue;
      note(rates, `GET of 524 KB, 4 clients: ${name}`, requestsPerSecond);
      note(cpu, `GET of 524 KB, 4 clients: ${name}`, (server.cpuMs() - before) / requests);
    }
    for (const { instances, count } of SERIES) for (let i = 0; i < count; i++) await readSeries(instances, keep);
    if (values.only === 'series') continue;
    for (const step of STEPS) {
      for (const clients of [1, 8]) {
        const study = ctStudy(seed++, SLICES);
        const bodies = study.slices.map(({ header, pixels }) => stowPieces([[header, pixels]]));
        const before = floor.cpuMs();
        const elapsedMs = await inParallel(SLICES, clients, async (i) => {
          await post(`${origin}/${step}`, 'application/octet-stream', bodies[i]!);
        });
        if (!keep) continue;
        const name = `POST of 527 KB, ${clients} ${clients === 1 ? 'client' : 'clients'}: ${step}`;
        note(rates, name, (SLICES / elapsedMs) * 1000);
        note(cpu, name, (floor.cpuMs() - before) / SLICES);
      }
    }
    for (const step of TINY_STEPS) {
      for (const { each, count } of TINY_WAYS) {
        const before = floor.cpuMs();
        const elapsedMs = await postTiny(step, count, each);
        if (!keep) continue;
        const name = `POST of ${tiny.length} bytes, each a study, 8 clients, ${each} a request: ${step}`;
        note(rates, name, (count / elapsedMs) * 1000);
        note(cpu, name, (floor.cpuMs() - before) / count);
      }
    }
    for (const [size, rows, count] of [
      ['527 KB', 512, SLICES],
      ['21 KB', 96, SMALL_OBJECTS],
    ] as const) {
      for (const associations of ASSOCIATIONS) {
        for (const step of [...STEPS, 'storescp'] as const) {
          const port = step === 'storescp' ? ports[3] : ports[1];
          const dicom = { aeTitle: step.toUpperCase(), host: '127.0.0.1', port };
          const taker = { name: 'nephos', dicom, cpuMs: floor.cpuMs } as const;
          const { elapsedMs, cpuMsEach } = await storeStudy(taker, ctStudy(seed++, count, rows), associations);
          if (!keep) continue;
          const name = `C-STORE of ${size}, ${associations} ${associations === 1 ? 'association' : 'associations'}: ${step}`;
          note(rates, name, (count / elapsedMs) * 1000);
          if (step !== 'storescp') note(cpu, name, cpuMsEach);
        }
      }
    }
  }
} finally {
  closeConnections();
  storescp.kill();
  await Promise.all([floor.stop(5_000), nginx.stop(5_000)]);
  rmSync(dir, { recursive: true, force: true });
}

const lines = [...rates].map(([name, found]) => {
  const used = cpu.get(name);
  const range = `${figure(median(found))} [${figure(Math.min(...found))}–${figure(Math.max(...found))}]`;
  return `| ${name} | ${range} | ${used === undefined ? '' : figure(median(used))} |`;
});
const waits = [...times].map(([name, found]) => `| ${name} | ${figure(median(found))} |`);
process.stdout.write(`| | ms |\n| --- | ---: |\n${waits.join('\n')}\n\n`);
process.stdout.write(`| | a second | server CPU each, ms |\n| --- | ---: | ---: |\n${lines.join('\n')}\n`);
