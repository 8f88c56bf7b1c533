import { expect, test } from 'vitest';
import { searchStudies } from '#dicomweb/search.ts';
import { buildDicom } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask } from '#test/unit/dicomweb/asking.ts';

/** A `?` stood for half of such a character, so `?野^太郎` did not find this Mr. Yoshino, while `??野^太郎` did. */
test.each([
  ['PatientName', '?野^太郎', true],
  ['PatientName', '吉野^太郎', false],
  ['PatientName', '?野*', true],
  ['PatientName', '??野^太郎', false],
  ['PatientName', 'Yoshino^Taro=?野*', true],
  ['PatientName', '*?太郎', true],
  ['AccessionNumber', '?1', true],
  ['AccessionNumber', '??1', false],
  ['StudyDescription', '? ??', true],
  ['StudyDescription', '?? ??', false],
])('%s=%s', async (keyword, asked, found) => {
  const services = memoryServices();
  const object = buildDicom({
    SpecificCharacterSet: 'ISO_IR 192',
    PatientName: 'Yoshino^Taro=𠮷野^太郎',
    AccessionNumber: '𠮷1',
    StudyDescription: '𠮷 CT',
  });
  expect(await store(services, object)).toMatchObject({ kind: 'stored' });
  const { body } = await ask(services, searchStudies, {}, { query: `${keyword}=${encodeURIComponent(asked)}` });
  expect(body.length > 2).toBe(found);
});
