import { describe, expect, test } from 'vitest';
import { shiftDate } from '#core/deidentify/dates.ts';
import { BASIC_PROFILE } from '#core/deidentify/profile.ts';
import { Pseudonyms } from '#core/deidentify/pseudonyms.ts';
import { cleanText, Echoes } from '#core/deidentify/text.ts';
import { isUID } from '#core/ids.ts';
import { PROJECT_KEY } from '#test/fixtures/deidentified.ts';

describe('descriptive text that is cleaned', () => {
  test.each([
    ['CT Thorax with contrast', 'CT Thorax with contrast'],
    ['MR knee left, T1 sag 3mm', 'MR knee left, T1 sag 3mm'],
    ['Thorax Jane Doe', 'Thorax'],
    ['Abdomen Dr. Liver Chest post contrast', 'Abdomen post contrast'],
    ['CT 12.03.1980 abdomen', 'CT abdomen'],
    ['chest of 4711234', 'chest of'],
    ['call 030-123 456 78 liver', 'liver'],
    ['jane@clinic.example liver', 'liver'],
    ['Großmutter Müller', ''],
    ['14:30 brain', 'brain'],
    ['Klinikum Neustadt', ''],
  ])('%s', (text, cleaned) => {
    expect(cleanText(text)).toBe(cleaned);
  });
});

describe('what identifies is taken out of other text', () => {
  const source = {
    '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe^Jane', Ideographic: '山田^太郎' }] },
    '00100020': { vr: 'LO', Value: ['4711-22'] },
    '00080050': { vr: 'SH', Value: ['A.77(b)'] },
    '00080080': { vr: 'LO', Value: ['St. Elsewhere'] },
    '0020000D': { vr: 'UI', Value: ['1.2.3.4.5.6.7.8'] },
  };
  const echoes = new Echoes(source, BASIC_PROFILE);
  test.each([
    ['for DOE, Jane', 'for ,'],
    ['canoe of doe', 'canoe of'],
    ['id 4711-22/x', 'id /x'],
    ['a.77(B)', ''],
    ['at st. elsewhere today', 'at today'],
    ['of 山田さん', 'of 山田さん'],
    ['see 1.2.3.4.5.6.7.8', 'see'],
  ])('%s', (text, left) => {
    expect(echoes.removeFrom(text)).toBe(left);
  });

  test('what an option keeps may stand there', () => {
    const kept = new Echoes(source, { ...BASIC_PROFILE, retainInstitutionIdentity: true });
    expect(kept.removeFrom('at St. Elsewhere')).toBe('at St. Elsewhere');
  });
});

describe('a date that is moved', () => {
  test.each([
    ['20240301', -1, '20240229'],
    ['20240131', -31, '20231231'],
    ['1993.08.22', 1, '19930823'],
    ['20240131101500.123+0100', -1, '20240130101500.123+0100'],
    ['00010101', -1, undefined],
    ['20230230', -1, undefined],
    ['2024', -1, undefined],
    ['yesterday', -1, undefined],
  ])('%s by %i', (text, days, moved) => {
    expect(shiftDate(text, days)).toBe(moved);
  });
});

describe('pseudonyms', () => {
  const pseudonyms = new Pseudonyms(PROJECT_KEY);
  const patient = (id: string, name = 'Doe^Jane') => ({
    '00100010': { vr: 'PN', Value: [{ Alphabetic: name }] },
    '00100020': { vr: 'LO', ...(id === '' ? {} : { Value: [id] }) },
    '0020000D': { vr: 'UI', Value: ['1.2.3'] },
  });

  test('are the same for the same patient, others for another and in another project', () => {
    const { pseudonym, shiftDays } = pseudonyms.patient(patient('P-1'));
    expect(pseudonyms.patient(patient('P-1', 'Doe^J'))).toMatchObject({ pseudonym, shiftDays });
    expect(pseudonyms.patient(patient('P-2')).pseudonym).not.toBe(pseudonym);
    expect(new Pseudonyms(Buffer.alloc(32, 8)).patient(patient('P-1')).pseudonym).not.toBe(pseudonym);
    expect(pseudonym).toMatch(/^[2-9A-Z]{12}$/);
    expect(shiftDays).toBeLessThan(0);
  });

  test('without an ID the name tells who it is, and without both the study', () => {
    expect(pseudonyms.patient(patient('')).pseudonym).not.toBe(pseudonyms.patient(patient('', 'Roe^Jane')).pseudonym);
    expect(pseudonyms.patient(patient('', '')).pseudonym).toBe(pseudonyms.patient(patient('', '')).pseudonym);
  });

  test('UIDs are UIDs, one for one; those that DICOM registers stay', () => {
    const uid = pseudonyms.uid('1.2.3.4');
    expect(isUID(uid)).toBe(true);
    expect(uid).toMatch(/^2\.25\.[1-9]/);
    expect(pseudonyms.uid('1.2.3.4')).toBe(uid);
    expect(pseudonyms.uid('1.2.3.5')).not.toBe(uid);
    expect(pseudonyms.uid('1.2.840.10008.1.2.1')).toBe('1.2.840.10008.1.2.1');
  });
});
