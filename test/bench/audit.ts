import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Agent, request } from 'undici';
import { associate, contextOf, proposing, sendObject } from '#dimse/scu.ts';
import { buildDataSet, buildDicom, CT_IMAGE_STORAGE, EXPLICIT_LE } from '#test/fixtures/dicom-builder.ts';
import { multipart } from '#test/hosts/client.ts';

/**
 * `node test/bench/audit.ts --rounds N`: what the audit trail costs. CPU of the server for each request and its time, with the trail and without it, in
 * rounds that take turns; the median of the differences between neighbours, as the machine has other work too.
 */
const { values } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } });
const rounds = Number(values.rounds);

interface Ports {
  readonly http: number;
  readonly dicom: number;
}
type Side = 'on' | 'off' | 'anew' | 'all';

const dataDir = await mkdtemp(join(tmpdir(), 'nephos-audit-cost-'));
const server = fork(join(import.meta.dirname, 'audit-server.ts'), [dataDir]);
const [ports] = (await once(server, 'message')) as [Record<Side, Ports>];
async function cpuMicroseconds(): Promise<number> {
  server.send('cpu');
  const [told] = (await once(server, 'message')) as [{ cpuMicroseconds: number }];
  return told.cpuMicroseconds;
}

const dispatcher = new Agent({ connections: 4 });
async function ask(side: Side, path: string, init: object = {}): Promise<void> {
  const { statusCode, body } = await request(`http://127.0.0.1:${ports[side].http}${path}`, { dispatcher, ...init });
  await body.arrayBuffer();
  if (statusCode >= 300) throw new Error(`${path}: ${statusCode}`);
}
async function inParallel(count: number, lanes: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

const PIXELS = { Rows: 512, Columns: 512, PixelData: new Uint8Array(512 * 512 * 2) };
let uids = 0;
const uid = (): string => `2.25.99${++uids}`;
const STUDY = uid();
const SERIES = uid();
const FIRST = uid();
const slice = (StudyInstanceUID: string, SeriesInstanceUID: string, SOPInstanceUID = uid()) => ({
  ...PIXELS,
  SOPClassUID: CT_IMAGE_STORAGE,
  StudyInstanceUID,
  SeriesInstanceUID,
  SOPInstanceUID,
  InstanceNumber: uids,
});

interface Load {
  readonly name: string;
  readonly requests: number;
  /** which trail, where it is not the archive's own */
  readonly trail?: Side;
  readonly run: (side: Side) => Promise<void>;
}
const seriesOf = (lanes: number) => (side: Side) =>
  inParallel(300, lanes, () => ask(side, `/dicomweb/studies/${STUDY}/series`));
const stow = (object: Uint8Array) => {
  const { headers, body } = multipart([object]);
  return { method: 'POST', headers, body };
};
const loads: readonly Load[] = [
  {
    name: 'STOW-RS, slices of 0.5 MB, one a request',
    requests: 60,
    run: async (side) => {
      const study = uid();
      const series = uid();
      const objects = Array.from({ length: 60 }, () => stow(buildDicom(slice(study, series))));
      await inParallel(60, 4, (i) => ask(side, '/dicomweb/studies', objects[i]));
    },
  },
  {
    name: 'QIDO-RS, a page of studies by name',
    requests: 300,
    run: (side) => inParallel(300, 4, () => ask(side, '/dicomweb/studies?PatientName=Doe*&limit=25')),
  },
  { name: 'QIDO-RS, series, each an entry, 1 client', requests: 300, trail: 'anew', run: seriesOf(1) },
  { name: 'QIDO-RS, series, each an entry, 4 clients', requests: 300, trail: 'anew', run: seriesOf(4) },
  { name: 'the same under `all`, 1 client', requests: 300, trail: 'all', run: seriesOf(1) },
  { name: 'the same under `all`, 4 clients', requests: 300, trail: 'all', run: seriesOf(4) },
  {
    name: 'WADO-RS, frames of 0.5 MB',
    requests: 300,
    run: (side) =>
      inParallel(300, 4, () =>
        ask(side, `/dicomweb/studies/${STUDY}/series/${SERIES}/instances/${FIRST}/frames/1`, {
          headers: { accept: 'multipart/related; type="application/octet-stream"; transfer-syntax=*' },
        }),
      ),
  },
  {
    name: 'C-STORE, slices of 0.5 MB, one association',
    requests: 60,
    run: async (side) => {
      const session = await associate(
        { aeTitle: 'NEPHOS', host: '127.0.0.1', port: ports[side].dicom },
        { callingAETitle: 'CT1', contexts: proposing([CT_IMAGE_STORAGE, [EXPLICIT_LE]]) },
      );
      const context = contextOf(session, CT_IMAGE_STORAGE);
      const study = uid();
      const series = uid();
      for (let i = 0; i < 60; i++) {
        const values = slice(study, series);
        const { SOPInstanceUID } = values;
        const response = await sendObject(session, context, SOPInstanceUID, buildDataSet(values, EXPLICIT_LE));
        if (response.status !== 0) throw new Error(`C-STORE: ${response.status}`);
      }
      await session.release();
    },
  },
];

const median = (list: readonly number[]): number => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]!;

await ask('off', '/dicomweb/studies', stow(buildDicom(slice(STUDY, SERIES, FIRST))));
for (const { name, requests, trail = 'on', run } of loads) {
  const cpu: { readonly on: number[]; readonly off: number[] } = { on: [], off: [] };
  const time: typeof cpu = { on: [], off: [] };
  const sides = [['on', trail] as const, ['off', 'off'] as const];
  for (const [, side] of sides) await run(side);
  for (let round = 0; round < rounds; round++) {
    // Who goes first takes turns as well.
    for (const [of, side] of round % 2 === 0 ? sides : sides.toReversed()) {
      const before = await cpuMicroseconds();
      const started = performance.now();
      await run(side);
      time[of].push(((performance.now() - started) * 1000) / requests);
      cpu[of].push(((await cpuMicroseconds()) - before) / requests);
    }
  }
  const said = [cpu, time].map(({ on, off }) => {
    const difference = median(on.map((value, i) => value - off[i]!));
    const share = (100 * difference) / median(off);
    return `${median(off).toFixed(0)} without, ${median(on).toFixed(0)} with, ${difference.toFixed(0)} more (${share.toFixed(1)} %)`;
  });
  process.stdout.write(`${name}, µs a request: CPU ${said[0]}; time ${said[1]} (${rounds} rounds of ${requests})\n`);
}
server.kill();
await dispatcher.close();
await rm(dataDir, { recursive: true, force: true });
process.exit();
