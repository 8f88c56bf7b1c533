import { expect, test } from 'vitest';
import { jsonToDataSet } from '#core/dicom/json.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { writePart10Bytes } from '#core/dicom/writer.ts';
import { xmlToDataSet } from '#core/dicom/xml.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { EXPLICIT_LE } from '#test/fixtures/dicom-builder.ts';

const element = (vr: string, ...Value: unknown[]) => jsonToDataSet({ '00091001': { vr, Value } })['00091001'];
const xml = (vr: string, value: string) =>
  xmlToDataSet(
    `<NativeDicomModel><DicomAttribute tag="00091001" vr="${vr}"><Value number="1">${value}</Value></DicomAttribute></NativeDicomModel>`,
  )['00091001'];

/** STOW-RS of metadata stored 70000 as 4464, -1 as 65535 and 1.5 as 1, and said 200. */
test.each([
  ['US', 70_000],
  ['US', -1],
  ['US', 1.5],
  ['US', '65536'],
  ['US', 'abc'],
  ['US', ' '],
  ['US', '0x10'],
  ['FD', ' '],
  ['SS', 32_768],
  ['UL', 2 ** 32],
  ['SL', -(2 ** 31) - 1],
  ['SV', 1.5],
  ['SV', 2 ** 53],
  ['SV', '9223372036854775808'],
  ['UV', '-1'],
  ['UV', '18446744073709551616'],
  ['FL', 1e300],
  ['FD', '1e400'],
])('%s cannot hold %s: it is refused, not made into another number', (vr, value) => {
  expect(() => element(vr, value)).toThrow(`a value that ${vr} does not permit`);
  // In XML every number is text, and so exact.
  if (value !== 2 ** 53) expect(() => xml(vr, String(value))).toThrow();
});

test.each([
  ['US', 65_535, 65_535],
  ['US', '5', 5],
  ['US', '5.0', 5],
  ['SS', -32_768, -32_768],
  ['UL', 2 ** 32 - 1, 2 ** 32 - 1],
  ['SV', '-9223372036854775808', '-9223372036854775808'],
  ['SV', '+7', 7],
  ['UV', '18446744073709551615', '18446744073709551615'],
  ['FL', 'inf', 'inf'],
  ['FL', 1.1, 1.1],
  ['FD', -0, -0],
  ['FD', 1e21, 1e21],
  ['FD', '1e-300', 1e-300],
])('%s holds %s', (vr, value, held) => {
  expect(element(vr, value)).toEqual({ vr, Value: [held] });
});

test('no number is made up where there is none', () => {
  for (const vr of ['US', 'FD', 'SV', 'AT']) {
    expect(element(vr, null)).toEqual({ vr });
    expect(() => element(vr, null, vr === 'AT' ? '00080018' : 1)).toThrow('leaves out a value');
  }
  expect(element('IS', null, 1)).toEqual({ vr: 'IS', Value: [null, 1] });
});

/** It became 1. */
test('an IS that is no whole number, which no object should have, stays what it is', () => {
  const dataSet = jsonToDataSet({ '00200013': { vr: 'IS', Value: [1.5, 2] } });
  const object = writePart10Bytes({}, dataSet, EXPLICIT_LE);
  expect(scanPart10(object, DEFAULT_LIMITS).dataSet['00200013']).toEqual({ vr: 'IS', Value: [1.5, 2] });
});
