import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditMessage } from '#core/audit/dicom-message.ts';
import { EVERY_EVENT } from '#test/fixtures/audit/every-event.ts';

const SCHEMA = join(import.meta.dirname, '../fixtures/audit/dicom-audit-message.rng');
const source = { id: 'nephos.clinic.example', aeTitle: 'NEPHOS', site: 'North <wing>' };
const patients = new Map([['1.2.3', 'PAT-1 "x" & y']]);

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-schema-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function validated(messages: readonly string[]): Promise<string> {
  const files = await Promise.all(
    messages.map(async (message, i) => {
      const file = join(dir, `${i}.xml`);
      await writeFile(file, message);
      return file;
    }),
  );
  const args = ['--noout', '--nonet', '--relaxng', SCHEMA, ...files];
  return promisify(execFile)('xmllint', args, { maxBuffer: 1 << 24 }).then(
    ({ stderr }) => stderr,
    (failed: { stderr: string }) => failed.stderr,
  );
}

test('every message is one by the schema of PS3.15 A.5.1', async () => {
  const messages = EVERY_EVENT.map((event) => auditMessage(event, source, patients));
  const said = (await validated(messages)).trim().split('\n');
  expect(said.filter((line) => !line.endsWith(' validates'))).toEqual([]);
  expect(said).toHaveLength(EVERY_EVENT.length);
});

test('and the schema refuses what is none', async () => {
  const message = auditMessage(EVERY_EVENT[1]!, source);
  const wrong = [
    message.replace(/<ActiveParticipant .*?<\/ActiveParticipant>|<ActiveParticipant [^>]*\/>/g, ''),
    message.replaceAll('csd-code', 'code'),
    message.replace('EventOutcomeIndicator="0"', 'EventOutcomeIndicator="1"'),
    message.replaceAll('<ParticipantObjectName/>', ''),
  ];
  const said = await validated(wrong);
  expect(said.match(/fails to validate/g)).toHaveLength(wrong.length);
});
