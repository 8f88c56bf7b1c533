import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DEIDENTIFICATION_DOC, deidentificationDocument } from '../../../scripts/deidentification-doc.ts';

test('docs/deidentification.md has the tables that copies are made by (node scripts/deidentification-doc.ts)', () => {
  const document = readFileSync(DEIDENTIFICATION_DOC, 'utf8');
  expect(document === deidentificationDocument()).toBe(true);
  expect(document).toContain('| (0010,0010) | PatientName | Z |');
});
