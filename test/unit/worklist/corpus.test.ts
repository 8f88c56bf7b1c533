import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { matchWorklist, type WorklistEntry } from '#core/worklist/match.ts';
import { addWorklistItem } from '#core/worklist/worklist.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

const FOLDER = join(import.meta.dirname, '../../../../shared/testdata/dicom/worklist');
const read = (name: string): DataSet => scanPart10(readFileSync(join(FOLDER, name)), DEFAULT_LIMITS).dataSet;

describe.runIf(existsSync(FOLDER))('the worklist of the shared corpus', () => {
  // As wlmscpfs answers; test/peers/dimse-schedule.test.ts asks both.
  test('is taken item by item, and answers its queries', async () => {
    const services = memoryServices();
    const names = readdirSync(FOLDER);
    const items: WorklistEntry[] = [];
    for (const name of names.filter((one) => one.includes('-item-')))
      items.push(await addWorklistItem(services, TENANT, read(name)));
    expect(items).toHaveLength(5);
    const answers = names
      .filter((one) => one.includes('-query-'))
      .map((name) => matchWorklist(items, read(name)).length);
    expect(answers).toEqual([5, 0, 0, 0, 0, 5, 0]);
  });
});
