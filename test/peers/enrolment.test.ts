import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ctStudy } from '#test/bench/data.ts';
import { dataSetHash } from '#test/edge/clinic.ts';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { nephos as command } from '#test/hosts/process.ts';
import { type Edge, startEdge } from './helpers/edge.ts';
import { type Nephos, projectRoot, startNephos } from './helpers/nephos.ts';
import { run } from './helpers/programs.ts';

/** DCMTK's tools wait for acknowledgements otherwise (Nagle). */
process.env.TCP_NODELAY = '1';

const dir = mkdtempSync(join(tmpdir(), 'nephos-enrolment-'));
const SLICES = 40;
let nephos: Nephos;
let edge: Edge;
let admin: string;
let dicomPort: number;
let httpPort: number;

/** `npm run edge -- enrol …`, as an administrator of the hospital types it; the configuration file is that of the gateway. */
const enrol = (code: string): Promise<{ code: number; said: string }> =>
  new Promise((resolve) => {
    const env = { ...bareEnvironment, NEPHOS_EDGE_CONFIG: join(dir, 'edge/edge.json') };
    const args = ['edge-gateway/main.ts', 'enrol', nephos.origin];
    const child = execFile(process.execPath, args, { cwd: projectRoot, env }, (error, out, said) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, said: out + said }),
    );
    // Not an argument: those can be read by others on the machine.
    child.stdin!.end(`${code}\n`);
  });
const newCode = async (): Promise<string> =>
  (await command(nephos.dataDir, 'enrol', 'north-clinic')).output.trim().split(/\s+/)[0]!;

beforeAll(async () => {
  [dicomPort, httpPort] = [await freePort(), await freePort()];
  nephos = await startNephos({ auth: 'on' });
  admin = (await command(nephos.dataDir, 'token')).output.trim();
  const upstream = { url: nephos.root, auth: { enrolled: true }, retry: { firstMs: 50, mostMs: 500 } };
  edge = await startEdge(join(dir, 'edge'), { dicomPort, httpPort, upstreams: [upstream] });
});
afterAll(async () => {
  await edge?.stop();
  await nephos?.stop();
  await rm(dir, { recursive: true, force: true });
});

interface State {
  readonly identity: { readonly clientId: string; readonly refusal?: string };
  readonly destinations: readonly { readonly pending: number; readonly confirmed: number; readonly held: number }[];
}
const state = async (): Promise<State> =>
  (await fetch(`http://127.0.0.1:${httpPort}/status.json`)).json() as Promise<State>;
async function store(study: ReturnType<typeof ctStudy>, name: string): Promise<void> {
  const folder = join(dir, name);
  mkdirSync(folder);
  for (const [i, { header, pixels }] of study.slices.entries())
    writeFileSync(join(folder, `${String(i).padStart(3, '0')}.dcm`), Buffer.concat([header, pixels]));
  const sent = await run('storescu', ['-aec', 'NEPHOS', 'localhost', String(dicomPort), '+sd', folder]);
  expect([sent.code, sent.stderr + sent.stdout]).toEqual([0, '']);
}
const settled = (confirmed: number) =>
  expect
    .poll(async () => (await state()).destinations[0], { timeout: 120_000, interval: 200 })
    .toMatchObject({ pending: 0, confirmed, held: 0 });
async function expectArrived({
  StudyInstanceUID,
  SeriesInstanceUID,
  slices,
}: ReturnType<typeof ctStudy>): Promise<void> {
  for (const { SOPInstanceUID, header, pixels } of slices) {
    const path = `/studies/${StudyInstanceUID}/series/${SeriesInstanceUID}/instances/${SOPInstanceUID}`;
    const headers = { accept: 'application/dicom; transfer-syntax=*', authorization: `Bearer ${admin}` };
    const response = await fetch(nephos.root + path, { headers });
    expect(response.status).toBe(200);
    expect(dataSetHash(Buffer.from(await response.arrayBuffer()))).toBe(dataSetHash(Buffer.concat([header, pixels])));
  }
}

test('storescu to a gateway that is not enrolled yet, is enrolled, is revoked in mid-stream and enrolled again: all of it arrives, byte for byte', async () => {
  const studies = [8700, 8701, 8702].map((seed) => ctStudy(seed, SLICES, 64));
  await store(studies[0]!, 'first');
  await expect
    .poll(async () => (await state()).identity.refusal, { timeout: 60_000 })
    .toContain('has not been enrolled');
  const code = await newCode();
  expect(await enrol(code)).toMatchObject({ code: 0, said: expect.stringContaining('This gateway is north-clinic') });
  await settled(SLICES);
  expect(await enrol(code)).toMatchObject({ code: 2, said: expect.stringContaining('it was used') });

  const sending = store(studies[1]!, 'second');
  await expect
    .poll(async () => (await state()).destinations[0]!.confirmed, { timeout: 60_000, interval: 20 })
    .toBeGreaterThan(SLICES);
  const { clientId } = (await state()).identity;
  expect((await command(nephos.dataDir, 'clients', 'revoke', clientId)).code).toBe(0);
  await sending;
  await store(studies[2]!, 'third');
  await expect.poll(async () => (await state()).identity.refusal, { timeout: 60_000 }).toContain('it was revoked');
  // Nothing of it is held or lost: what was not sent waits.
  const counted = async () => {
    const { pending, confirmed, held } = (await state()).destinations[0]!;
    return { all: pending + confirmed, held, waits: pending >= SLICES };
  };
  await expect.poll(counted, { timeout: 60_000 }).toEqual({ all: 3 * SLICES, held: 0, waits: true });

  expect((await enrol(await newCode())).code).toBe(0);
  await settled(3 * SLICES);
  for (const study of studies) await expectArrived(study);
});
