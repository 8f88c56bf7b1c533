import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { confine } from '#core/access/confine.ts';
import type { Principal, Reach } from '#core/access.ts';
import { storeObject } from '#core/archive/store.ts';
import { newReadMeter } from '#core/ports/index-table.ts';
import { parseQuery } from '#core/search/query.ts';
import { searchStudyRecords } from '#core/search/studies.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices } from '#test/fixtures/services.ts';

const STUDIES = 400;
let services: ReturnType<typeof memoryServices>;
beforeAll(async () => {
  services = memoryServices();
  for (let n = 1; n <= STUDIES; n++) {
    const object = buildDicom({
      StudyInstanceUID: uid(n),
      SeriesInstanceUID: uid(1_000 + n),
      SOPInstanceUID: uid(2_000 + n),
      PatientID: `P${n}`,
      Modality: n === 7 ? 'MG' : 'CT',
      ReferringPhysicianName: n === 9 ? 'House^Gregory' : 'Wilson^James',
      StudyDate: `2024${String(1 + (n % 12)).padStart(2, '0')}10`,
    });
    await storeObject(services, { tenant: 'main', source: 'T' }, chunked(object)).outcome;
  }
});

const reading = (reach: Reach): Principal => ({ tenant: 'main', subject: 'x', roles: ['viewer'], reach });

describe('a search of who is confined reads what his rules lead to, however much the archive holds', () => {
  test.each<readonly [string, Reach, number]>([
    ['studies', [{ studies: [uid(3), uid(5)] }], 2],
    ['patients', [{ patients: [{ id: 'P3' }, { id: 'P5' }] }], 2],
    ['modalities', [{ modalities: ['MG'] }], 1],
    ['referring physicians', [{ referringPhysicians: ['House^Gregory'] }], 1],
    ['several rules', [{ modalities: ['MG'] }, { patients: [{ id: 'P3' }] }, { studies: [uid(5)] }], 3],
    ['a rule that is narrowed by one no index serves', [{ patients: [{ id: 'P3' }], sites: ['Nowhere'] }], 0],
    ['nothing', [], 0],
  ])('%s', async (_, reach, found) => {
    const confined = await confine(services, reading(reach), 'search');
    const query = parseQuery(new URLSearchParams(), { level: 'study' }, services.limits);
    const meter = newReadMeter();
    const page = await searchStudyRecords(confined, 'main', query, meter);
    expect(page.rows).toHaveLength(found);
    expect(page.cut).toBe(false);
    expect(meter.records).toBeLessThan(40);
  });

  test('rules that no index serves read the list, up to the budget, and say so', async () => {
    const limited = { ...services, limits: { ...services.limits, searchRecords: 100 } };
    const confined = await confine(limited, reading([{ sites: ['Nowhere'] }]), 'search');
    const query = parseQuery(new URLSearchParams(), { level: 'study' }, services.limits);
    const meter = newReadMeter();
    expect(await searchStudyRecords(confined, 'main', query, meter)).toMatchObject({ rows: [], cut: true });
    expect(meter.records).toBeLessThanOrEqual(100);
  });
});

test('every DIMSE service that asks what somebody may do asks what he reaches, too', () => {
  const root = join(import.meta.dirname, '../../../functions/dimse/services');
  const asking = globSync('*.ts', { cwd: root }).filter((file) =>
    /\bauthorize\(/.test(readFileSync(join(root, file), 'utf8')),
  );
  expect(asking.length).toBeGreaterThanOrEqual(7);
  for (const file of asking) expect(readFileSync(join(root, file), 'utf8'), file).toMatch(/await confine\(/);
});
