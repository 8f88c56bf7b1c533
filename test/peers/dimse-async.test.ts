import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ARCHIVE_POLICY } from '#dimse/archive.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { createDimseServer, type DimseServer } from '#dimse/server.ts';
import { ctStudy } from '#test/bench/data.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';
import { peersDir } from './helpers/orthanc.ts';
import { peerScript, runOk } from './helpers/programs.ts';

/** Of the tools of the other suites none proposes an asynchronous operations window; dcmjs-dimse does. */
const DCMJS_DIMSE = join(peersDir, 'dcmjs-dimse');
const WINDOW = 8;
const SLICES = 12;
/** how long the workstation waits for the answers that are to come first */
const PATIENCE_MS = 100_000;
const study = ctStudy(8_620, SLICES, 64);

let dir: string;
let nephos: Nephos;
let workstation: DimseServer;
let dicomPort: number;
/** objects that have come to the workstation */
let taken = 0;
/** where the client notes each answer that it gets */
const answered = (): string => join(dir, 'answered');

/** The C-MOVE goes on until what was asked after it has been answered, or nobody will answer it before. */
async function othersAnswered(): Promise<void> {
  const patience = performance.now() + PATIENCE_MS;
  const isAnswered = (): boolean => {
    const names = readFileSync(answered(), 'utf8').split('\n');
    return names.includes('find') && names.includes('echo');
  };
  while (!isAnswered() && performance.now() < patience) await sleep(20);
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'nephos-async-'));
  const port = await freePort();
  writeFileSync(answered(), '');
  workstation = createDimseServer({
    aeTitle: 'SLOW',
    checkCalledAETitle: true,
    allowed: 'any',
    maxAssociations: 2,
    policy: ARCHIVE_POLICY,
    services: new Map([
      [
        COMMAND.cStore,
        async ({ dataSet, respond }) => {
          await dataSet!.gather();
          if (++taken === SLICES) await othersAnswered();
          await respond({ Status: 0 });
        },
      ],
    ]),
  });
  workstation.server.listen(port, '127.0.0.1');
  dicomPort = await freePort();
  nephos = await startNephos({
    env: { NEPHOS_DICOM_PORT: String(dicomPort), NEPHOS_DICOM_DESTINATIONS: `SLOW@127.0.0.1:${port}` },
  });
});
afterAll(async () => {
  await workstation?.close(0);
  await nephos?.stop();
  await rm(dir, { recursive: true, force: true });
});

interface Conversation {
  /** operations invoked, and performed, at a time */
  readonly negotiated: readonly [number, number];
  /** requests that were under way when an answer came */
  readonly most: number;
  /** in the order of the final responses */
  readonly answers: readonly (readonly [name: string, status: number])[];
}

test('dcmjs-dimse stores without waiting for answers, and has its C-FIND and C-ECHO answered while its C-MOVE goes on', async () => {
  const files = study.slices.map(({ header, pixels }, i) => {
    const file = join(dir, `${i}.dcm`);
    writeFileSync(file, Buffer.concat([header, pixels]));
    return file;
  });
  const args = [DCMJS_DIMSE, '127.0.0.1', String(dicomPort), study.StudyInstanceUID, 'SLOW', String(WINDOW)];
  const said = await runOk(process.execPath, [peerScript('async-session.cjs'), ...args, answered(), ...files]);
  const { stored, asked } = JSON.parse(said) as { stored: Conversation; asked: Conversation };
  expect(stored.negotiated[0]).toBe(WINDOW);
  expect(stored.most).toBeGreaterThan(1);
  expect(stored.answers.map(([, status]) => status)).toEqual(Array(SLICES).fill(0));
  expect(asked.negotiated[0]).toBe(WINDOW);
  expect(Object.fromEntries(asked.answers)).toEqual({ move: 0, find: 0, echo: 0 });
  expect(asked.answers.at(-1)![0]).toBe('move');
  expect(taken).toBe(SLICES);
});
