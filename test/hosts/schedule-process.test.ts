import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { COMMAND } from '#dimse/command-set.ts';
import { encodeIdentifier } from '#dimse/identifiers.ts';
import { associate, contextOf, proposing } from '#dimse/scu.ts';
import type { Session } from '#dimse/session.ts';
import { MODALITY_PERFORMED_PROCEDURE_STEP as MPPS } from '#dimse/sop-classes.ts';
import { EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { ended, scheduled, started } from '#test/fixtures/worklist.ts';
import { type RunningArchive, startArchive } from './process.ts';

let dir: string;
const running: RunningArchive[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-'));
});
afterEach(async () => {
  for (const archive of running.splice(0))
    if (archive.process.exitCode === null && !archive.process.killed) await archive.kill9().catch(() => {});
  await rm(dir, { recursive: true, force: true });
});
const start = async (): Promise<RunningArchive> => {
  const archive = await startArchive(join(dir, 'data'));
  running.push(archive);
  return archive;
};
const open = (archive: RunningArchive): Promise<Session> =>
  associate(
    { aeTitle: 'NEPHOS', host: '127.0.0.1', port: Number(/NEPHOS@127\.0\.0\.1:(\d+)/.exec(archive.said())![1]) },
    { callingAETitle: 'CT1', contexts: proposing([MPPS, [EXPLICIT_LE]]) },
  );

test('steps that were acknowledged are there after kill -9, and their worklist items with them, in one state', async () => {
  const archive = await start();
  const ids: string[] = [];
  for (let n = 0; n < 60; n++) {
    const body = JSON.stringify(scheduled({ StudyInstanceUID: uid(5_000 + n) }));
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${archive.origin}/api/worklist`, { method: 'POST', headers, body });
    ids.push(((await response.json()) as { id: string }).id);
  }
  /** by step: how far it has been acknowledged */
  const acknowledged = new Map<number, 'IN PROGRESS' | 'COMPLETED'>();
  let next = 0;
  const modalities = Array.from({ length: 4 }, async () => {
    const session = await open(archive);
    const { transferSyntax } = contextOf(session, MPPS);
    for (let n = next++; n < ids.length; n = next++) {
      const sop = uid(6_000 + n);
      const create = { CommandField: COMMAND.nCreate, AffectedSOPClassUID: MPPS, AffectedSOPInstanceUID: sop };
      const created = started({}, { StudyInstanceUID: uid(5_000 + n) });
      const first = await session.request(contextOf(session, MPPS), create, encodeIdentifier(created, transferSyntax));
      if (first.command.Status === 0) acknowledged.set(n, 'IN PROGRESS');
      const set = { CommandField: COMMAND.nSet, RequestedSOPClassUID: MPPS, RequestedSOPInstanceUID: sop };
      const last = await session.request(contextOf(session, MPPS), set, encodeIdentifier(ended([]), transferSyntax));
      if (last.command.Status === 0) acknowledged.set(n, 'COMPLETED');
    }
  });
  const gone = Promise.allSettled(modalities);
  while (acknowledged.size < 20) await sleep(2);
  await archive.kill9();
  await gone;
  const again = await start();
  interface State {
    readonly state?: string;
    readonly procedureSteps?: readonly string[];
  }
  const read = async (path: string): Promise<State> =>
    (await (await fetch(`${again.origin}/api${path}`)).json()) as State;
  for (const [n, id] of ids.entries()) {
    const step = await read(`/procedure-steps/${uid(6_000 + n)}`);
    const item = await read(`/worklist/${id}`);
    const said = acknowledged.get(n);
    if (said === 'COMPLETED') expect(step.state).toBe('COMPLETED');
    if (said === 'IN PROGRESS') expect(['IN PROGRESS', 'COMPLETED']).toContain(step.state);
    expect(item.state).toBe(step.state ?? 'SCHEDULED');
  }
  expect([...acknowledged.values()]).toContain('COMPLETED');
});
