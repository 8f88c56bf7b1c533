import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { commandOf, nephos, startArchive } from './process.ts';

/** How often each command is killed. */
const KILLS = Number(process.env.NEPHOS_KILLS ?? 2);
const STUDIES = 3;
const IMAGES = 40;
/** rows and columns: 32 MB */
const LARGE = 4_000;

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const objects = Array.from({ length: STUDIES * IMAGES }, (_, n) =>
  buildDicom({
    StudyInstanceUID: uid(1 + (n % STUDIES)),
    SeriesInstanceUID: uid(100 + (n % STUDIES)),
    SOPInstanceUID: uid(1_000 + n),
    InstanceNumber: n,
    // One that takes its time to be written.
    ...(n === 0 && { Rows: LARGE, Columns: LARGE, PixelData: Buffer.alloc(2 * LARGE * LARGE, 7) }),
  }),
);

let dir: string;
let disc: string;
let whole: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-killed-'));
  disc = join(dir, 'disc');
  whole = join(dir, 'whole');
  await mkdir(disc);
  await Promise.all(objects.map((bytes, n) => writeFile(join(disc, `${n}.dcm`), bytes)));
  expect((await nephos(whole, 'import', disc)).output).toContain(`${objects.length} stored`);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** Runs a command and kills it after a share of the time that it takes undisturbed (ms). @returns whether it was killed, and not over before */
async function killed(data: string, args: readonly string[], afterMs: number): Promise<boolean> {
  const { file, argv, options } = commandOf(data, args);
  const child = spawn(file, argv, { ...options, stdio: 'ignore' });
  const ended = once(child, 'close');
  await Promise.race([sleep(afterMs), ended]);
  child.kill('SIGKILL');
  await ended;
  return child.signalCode === 'SIGKILL';
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await act();
  return performance.now() - from;
}

/** Kills a command at even distances over the time that it takes, and looks at what is left after each. */
async function killEverywhere(
  copy: () => Promise<string>,
  args: (data: string) => string[],
  look: (data: string, wasKilled: boolean) => Promise<void>,
): Promise<void> {
  const first = await copy();
  const took = await timed(() => nephos(first, ...args(first)));
  for (let kill = 1; kill <= KILLS; kill++) {
    const data = await copy();
    const wasKilled = await killed(data, args(data), (took * kill) / (KILLS + 0.5));
    await look(data, wasKilled);
    await rm(data, { recursive: true });
  }
}

/** What a start puts right is put right, and all is there, whole, counted, and nothing besides. */
async function expectWhole(data: string): Promise<void> {
  const archive = await startArchive(data, { NEPHOS_WORKERS: '1' });
  const studies = (await (
    await fetch(`${archive.origin}/dicomweb/studies?includefield=00201208`, { headers: { connection: 'close' } })
  ).json()) as Record<string, { Value: unknown[] }>[];
  expect(await archive.stop()).toBe(0);
  expect(studies.map((study) => study['00201208']?.Value[0])).toEqual(Array(STUDIES).fill(IMAGES));
  const { code, output } = await nephos(data, 'verify');
  expect(output).toMatch(new RegExp(`^${objects.length} objects intact \\(\\d+ bytes\\), 0 damaged, 0 orphans$`, 'm'));
  expect(code).toBe(0);
}

let copies = 0;
const copyOfWhole = async (): Promise<string> => {
  const data = join(dir, `data-${++copies}`);
  await cp(whole, data, { recursive: true });
  return data;
};

describe(`killed ${KILLS} times, and looked at`, () => {
  test('an import: nothing is half there, and it goes on where it was', async () => {
    const fresh = async (): Promise<string> => join(dir, `data-${++copies}`);
    await killEverywhere(
      fresh,
      () => ['import', disc],
      async (data) => {
        const again = await nephos(data, 'import', disc);
        expect(again.code).toBe(0);
        await expectWhole(data);
      },
    );
  });

  test('an export: no file that is there is torn, and it goes on where it was', async () => {
    const to = join(dir, 'exported');
    const written = async (): Promise<string[]> => {
      const names = (await readdir(to, { recursive: true }).catch(() => [])).filter((name) => name.endsWith('.dcm'));
      return Promise.all(names.map(async (name) => sha256(await readFile(join(to, name)))));
    };
    const ofStudy = objects.filter((_, n) => n % STUDIES === 0).map(sha256);
    await killEverywhere(
      copyOfWhole,
      () => ['export', uid(1), '--to', to],
      async (data) => {
        for (const one of await written()) expect(ofStudy).toContain(one);
        expect((await nephos(data, 'export', uid(1), '--to', to)).code).toBe(0);
        expect((await written()).sort()).toEqual(ofStudy.toSorted());
        expect((await readdir(to, { recursive: true })).filter((name) => name.endsWith('.partial'))).toEqual([]);
        await rm(to, { recursive: true });
      },
    );
  });

  test('a rebuild: the index before stands until the new one is whole', async () => {
    let kill = 0;
    await killEverywhere(
      copyOfWhole,
      () => ['rebuild'],
      async (data) => {
        // Every other time nobody remembers that it was begun.
        if (++kill % 2 === 0) expect((await nephos(data, 'rebuild')).code).toBe(0);
        await expectWhole(data);
      },
    );
  });

  test('a backup: there is a whole one or none', async () => {
    await killEverywhere(
      copyOfWhole,
      (data) => ['backup', '--to', `${data}.backup`],
      async (data, wasKilled) => {
        const again = await nephos(data, 'backup', '--to', `${data}.backup`);
        if (!wasKilled) expect(again.output).toContain('exists already');
        else if (again.code !== 0) expect(again.output).toContain('exists already');
        expect((await nephos(data, 'rebuild', '--from', `${data}.backup`)).code).toBe(0);
        await expectWhole(data);
      },
    );
  });
});
