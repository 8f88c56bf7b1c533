import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { nephos } from '#test/hosts/process.ts';

const folders = (): { data: string; disc: string; to: string } => {
  const dir = mkdtempSync(join(tmpdir(), 'nephos-disc-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const disc = join(dir, 'disc');
  mkdirSync(join(disc, 'b'), { recursive: true });
  writeFileSync(join(disc, 'a.dcm'), buildDicom({ SOPInstanceUID: uid(31) }));
  writeFileSync(join(disc, 'b', 'b.dcm'), buildDicom({ SOPInstanceUID: uid(32) }));
  return { data: join(dir, 'data'), disc, to: join(dir, 'to') };
};

/** The first that could not be read ended the import with a stack trace, without a count, and what was being stored was lost with it. */
test('files and folders that cannot be read are named and counted, and all others are imported', async () => {
  const { data, disc } = folders();
  // Reading the first byte of one's own memory is an input/output error, for root as well.
  const { code, output } = await nephos(data, 'import', join(disc, 'none'), '/proc/self/mem', disc);
  expect(output).toMatch(/unread {3}ENOENT: .*none/);
  expect(output).toMatch(/unread {3}EIO: /);
  expect(output).toContain('2 stored, 0 duplicate, 0 replaced, 0 held, 2 failed, 0 skipped');
  expect(output).not.toMatch(/^ +at /m);
  expect(code).toBe(1);
});

/** An export could not be gone on with: the first file that was there already ended it with a stack trace. */
test('an export goes on where one before it was broken off, and replaces nothing that is something else', async () => {
  const { data, disc, to } = folders();
  await nephos(data, 'import', disc);
  expect((await nephos(data, 'export', uid(1), '--to', to)).code).toBe(0);
  const names = readdirSync(to, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.dcm'));
  expect(names).toHaveLength(2);
  rmSync(join(to, names[1]!));
  const again = await nephos(data, 'export', uid(1), '--to', to);
  expect(again.output).toContain(`2 objects of study ${uid(1)} written to`);
  expect(again.code).toBe(0);

  writeFileSync(join(to, names[0]!), 'something else');
  const refused = await nephos(data, 'export', uid(1), '--to', to);
  expect(refused.output).toContain(`${names[0]} is there already, and is not the object`);
  expect(refused.output).not.toMatch(/^ +at /m);
  expect(refused.code).toBe(2);
});
