import { describe, expect, test } from 'vitest';
import { type ActionCode, actionOfCode, codeOf, decide, PROFILE_ROWS, typeOf } from '#core/deidentify/actions.ts';
import { BASIC_PROFILE, type Profile, readProfile } from '#core/deidentify/profile.ts';
import { attribute } from '#core/dicom/dictionary.ts';
import { CT_IMAGE_STORAGE } from '#test/fixtures/dicom-builder.ts';

const ROOT = { parent: '-', SOPClassUID: CT_IMAGE_STORAGE };
const ENHANCED_CT = '1.2.840.10008.5.1.4.1.1.2.1';
const tagOf = (keyword: string): string => attribute(keyword)!.tag;
const actionFor = (keyword: string, profile: Partial<Profile> = {}, place = ROOT): string => {
  const { tag, vr } = attribute(keyword)!;
  return decide(tag, vr, place, { ...BASIC_PROFILE, ...profile }).action;
};

describe('Table E.1-1', () => {
  test('is whole: 652 attributes by tag, each with a code of the standard', () => {
    expect(PROFILE_ROWS.size).toBe(652);
    const codes = new Map<string, number>();
    for (const { code } of PROFILE_ROWS.values()) codes.set(code, (codes.get(code) ?? 0) + 1);
    expect([...codes.keys()].sort()).toEqual(['D', 'U', 'X', 'X/D', 'X/Z', 'X/Z/D', 'X/Z/U*', 'Z', 'Z/D']);
  });

  test('names each attribute as PS3.6 does, where the dictionary has it', () => {
    let known = 0;
    for (const { tag, keyword } of PROFILE_ROWS.values()) {
      const row = attribute(tag);
      if (row === undefined) continue;
      known++;
      expect(row.keyword.toLowerCase(), tag).toBe(keyword.toLowerCase());
    }
    expect(known).toBeGreaterThan(600);
  });

  test('has every attribute of a person that everybody knows', () => {
    for (const keyword of ['PatientName', 'PatientID', 'PatientBirthDate', 'OtherPatientIDs', 'PatientAddress'])
      expect(PROFILE_ROWS.get(tagOf(keyword)), keyword).toBeDefined();
  });
});

describe('a code by the type of the attribute in its IOD', () => {
  const rows: [ActionCode, string, string, string][] = [
    // code, type 1, type 2, type 3
    ['D', 'dummy', 'dummy', 'dummy'],
    ['Z', 'dummy', 'empty', 'empty'],
    ['X', 'dummy', 'empty', 'remove'],
    ['K', 'keep', 'keep', 'keep'],
    ['C', 'clean', 'clean', 'clean'],
    ['U', 'uid', 'uid', 'uid'],
    ['Z/D', 'dummy', 'empty', 'empty'],
    ['X/Z', 'dummy', 'empty', 'remove'],
    ['X/D', 'dummy', 'empty', 'remove'],
    ['X/Z/D', 'dummy', 'empty', 'remove'],
    ['X/Z/U*', 'items', 'empty', 'remove'],
  ];
  test.each(rows)('%s', (code, ...actions) => {
    expect([1, 2, 3].map((type) => actionOfCode(code, type as 1 | 2 | 3))).toEqual(actions);
  });

  test('the type is that of the IOD, and of the sequence around it', () => {
    expect(typeOf(tagOf('StudyDate'), ROOT)).toBe(2);
    expect(typeOf(tagOf('DeviceSerialNumber'), ROOT)).toBe(3);
    expect(typeOf(tagOf('DeviceSerialNumber'), { ...ROOT, SOPClassUID: ENHANCED_CT })).toBe(1);
    expect(typeOf(tagOf('AcquisitionDateTime'), { ...ROOT, SOPClassUID: ENHANCED_CT })).toBe(1);
    expect(typeOf(tagOf('PatientID'), { ...ROOT, parent: tagOf('OtherPatientIDsSequence') })).toBe(1);
  });

  test('an object of a SOP class that nobody knows keeps what any IOD requires', () => {
    expect(typeOf(tagOf('DeviceSerialNumber'), { parent: '-', SOPClassUID: '1.2.3' })).toBe(1);
  });
});

describe('an option', () => {
  test.each([
    ['retainUIDs', 'StudyInstanceUID', 'uid', 'keep'],
    ['retainDeviceIdentity', 'DeviceSerialNumber', 'remove', 'keep'],
    ['retainInstitutionIdentity', 'InstitutionName', 'remove', 'keep'],
    ['retainPatientCharacteristics', 'PatientSex', 'empty', 'keep'],
    ['retainPatientCharacteristics', 'Allergies', 'remove', 'clean'],
    ['cleanDescriptors', 'StudyDescription', 'remove', 'clean'],
    ['cleanStructuredContent', 'ContentSequence', 'dummy', 'items'],
    ['cleanGraphics', 'GraphicAnnotationSequence', 'dummy', 'items'],
  ] as const)('%s: %s', (option, keyword, without, withIt) => {
    expect(actionFor(keyword)).toBe(without);
    expect(actionFor(keyword, { [option]: true })).toBe(withIt);
  });

  test('dates are removed, kept or shifted', () => {
    expect(actionFor('StudyDate')).toBe('empty');
    expect(actionFor('StudyDate', { dates: 'keep' })).toBe('keep');
    expect(actionFor('StudyDate', { dates: 'shift' })).toBe('clean');
    expect(actionFor('PatientBirthDate', { dates: 'keep' })).toBe('empty');
  });

  test('what one retains, another does not clean away', () => {
    const row = PROFILE_ROWS.get(tagOf('CalibrationDate'))!;
    const profile = { ...BASIC_PROFILE, dates: 'shift' as const, retainDeviceIdentity: true };
    expect(codeOf(row, profile)).toBe('K');
  });
});

describe('what the table does not name', () => {
  test.each([
    ['Rows', 'keep'],
    ['PixelSpacing', 'keep'],
    ['ReferencedSeriesSequence', 'items'],
    ['SOPClassUID', 'keep'],
    ['ReferencedSOPClassUID', 'keep'],
    ['TextValue', 'clean'],
    ['RetrieveURL', 'remove'],
  ])('%s: %s', (keyword, action) => {
    expect(actionFor(keyword)).toBe(action);
  });

  test('curves, overlays, and what PS3.6 does not have go', () => {
    for (const tag of ['50003000', '50000010', '60003000', '60000010', '00100099', '77770010'])
      expect(decide(tag, 'LO', ROOT, BASIC_PROFILE).action, tag).toBe('remove');
    expect(decide(tagOf('Rows'), 'UN', ROOT, BASIC_PROFILE).action).toBe('remove');
  });
});

describe('a profile as it is sent', () => {
  test('has what is named, and nothing else', () => {
    expect(readProfile({ dates: 'shift', cleanDescriptors: true })).toEqual({
      ...BASIC_PROFILE,
      dates: 'shift',
      cleanDescriptors: true,
    });
    expect(readProfile(undefined)).toEqual(BASIC_PROFILE);
  });

  test.each([
    [{ retainEverything: true }],
    [{ dates: 'forget' }],
    [{ cleanGraphics: 'yes' }],
    [{ pixelRules: [{ Modality: 'US' }] }],
    [{ pixelRules: [{ accept: true }] }],
    [{ pixelRules: [{ Modality: 'US', accept: true, blackout: [] }] }],
    [{ pixelRules: [{ Modality: 'US', blackout: [{ left: 0, top: 0, width: -1, height: 4 }] }] }],
    [{ pixelRules: [{ StationName: 'X', accept: true }] }],
    [[]],
  ])('%j is refused', (given) => {
    expect(() => readProfile(given)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});
