import { describe, expect, test } from 'vitest';
import { STORAGE_SOP_CLASSES } from '#core/dicom/sop-classes.ts';
import { EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, JPEG_BASELINE } from '#core/dicom/transfer-syntaxes.ts';
import { negotiate, STORAGE_SYNTAXES } from '#dimse/negotiation.ts';
import { MODALITY_WORKLIST_FIND, STUDY_ROOT_FIND, STUDY_ROOT_GET, VERIFICATION } from '#dimse/sop-classes.ts';
import { CT_IMAGE_STORAGE, IMPLICIT_LE } from '#test/fixtures/dicom-builder.ts';
import { POLICY, requestOf } from './pairs.ts';

const UNIFIED_PROCEDURE_STEP_PUSH = '1.2.840.10008.5.1.4.34.6.1';
const answerTo = (abstractSyntax: string, transferSyntaxes: readonly string[], policy = POLICY) =>
  negotiate(requestOf([{ id: 1, abstractSyntax, transferSyntaxes }]), policy).accept.contexts[0]!;

describe('presentation contexts', () => {
  test('every storage class of the standard is accepted in every transfer syntax that is stored', () => {
    expect(STORAGE_SOP_CLASSES.size).toBeGreaterThan(150);
    expect(STORAGE_SYNTAXES.length).toBeGreaterThan(40);
    for (const uid of STORAGE_SOP_CLASSES.keys()) expect(answerTo(uid, [IMPLICIT_LE]).result, uid).toBe(0);
    for (const syntax of STORAGE_SYNTAXES)
      expect(answerTo(CT_IMAGE_STORAGE, [syntax])).toMatchObject({ result: 0, transferSyntax: syntax });
  });

  test('the proposer chooses the syntax, but big endian comes last', () => {
    const syntaxes = [EXPLICIT_VR_BIG_ENDIAN, JPEG_BASELINE, EXPLICIT_VR_LITTLE_ENDIAN];
    expect(answerTo(CT_IMAGE_STORAGE, syntaxes).transferSyntax).toBe(JPEG_BASELINE);
    expect(answerTo(STUDY_ROOT_FIND, syntaxes).transferSyntax).toBe(EXPLICIT_VR_LITTLE_ENDIAN);
    expect(answerTo(CT_IMAGE_STORAGE, [EXPLICIT_VR_BIG_ENDIAN]).transferSyntax).toBe(EXPLICIT_VR_BIG_ENDIAN);
  });

  test.each([
    ['a private class', '1.3.12.2.1107.5.9.1', 0, 3],
    ['a storage class of a later edition', '1.2.840.10008.5.1.4.1.1.999', 0, 3],
    ['another service of the standard', UNIFIED_PROCEDURE_STEP_PUSH, 3, 3],
  ])('%s', (_what, uid, byDefault, strictly) => {
    expect(answerTo(uid, [IMPLICIT_LE]).result).toBe(byDefault);
    expect(answerTo(uid, [IMPLICIT_LE], { ...POLICY, acceptUnknownSopClasses: false }).result).toBe(strictly);
  });

  test('a syntax that nobody knows is refused', () => {
    expect(answerTo(CT_IMAGE_STORAGE, ['1.2.3.4']).result).toBe(4);
    expect(answerTo(STUDY_ROOT_FIND, [JPEG_BASELINE]).result).toBe(4);
  });
});

describe('user information', () => {
  test('who retrieves takes the role of SCP for storage, and for nothing else', () => {
    const contexts = [CT_IMAGE_STORAGE, STUDY_ROOT_GET].map((abstractSyntax, i) => ({
      id: 2 * i + 1,
      abstractSyntax,
      transferSyntaxes: [IMPLICIT_LE],
    }));
    const roles = [CT_IMAGE_STORAGE, STUDY_ROOT_GET, '1.2.3'].map((SOPClassUID) => ({
      SOPClassUID,
      scu: true,
      scp: true,
    }));
    const { accept, contexts: accepted } = negotiate(requestOf(contexts, { roles }), POLICY);
    expect(accept.user.roles).toEqual([
      { SOPClassUID: CT_IMAGE_STORAGE, scu: true, scp: true },
      { SOPClassUID: STUDY_ROOT_GET, scu: true, scp: false },
    ]);
    expect(accepted.get(1)).toMatchObject({ requestorIsScu: true, requestorIsScp: true });
  });

  test('extended negotiation: all that C-FIND has but enhanced conversion', () => {
    const contexts = [{ id: 1, abstractSyntax: STUDY_ROOT_FIND, transferSyntaxes: [IMPLICIT_LE] }];
    const extended = [
      { SOPClassUID: STUDY_ROOT_FIND, information: Uint8Array.of(1, 1, 1, 1, 1, 1, 1) },
      { SOPClassUID: CT_IMAGE_STORAGE, information: Uint8Array.of(2, 0, 1, 0, 1, 0) },
      { SOPClassUID: MODALITY_WORKLIST_FIND, information: Uint8Array.of(1, 1, 1, 1) },
      { SOPClassUID: UNIFIED_PROCEDURE_STEP_PUSH, information: Uint8Array.of(1) },
    ];
    const { accept } = negotiate(requestOf(contexts, { extended }), POLICY);
    expect(accept.user.extended).toEqual([
      { SOPClassUID: STUDY_ROOT_FIND, information: Uint8Array.of(1, 1, 1, 1, 0, 1, 1) },
      { SOPClassUID: CT_IMAGE_STORAGE, information: Uint8Array.of(2, 0, 3, 0, 0, 0) },
      { SOPClassUID: MODALITY_WORKLIST_FIND, information: Uint8Array.of(1, 1, 1, 1) },
    ]);
  });

  test('the window of asynchronous operations is no wider than asked for', () => {
    const windowFor = (invoked: number, performed: number) =>
      negotiate(requestOf(undefined, { asynchronousOperations: { invoked, performed } }), POLICY).accept.user
        .asynchronousOperations;
    expect(windowFor(4, 1)).toEqual({ invoked: 4, performed: 1 });
    expect(windowFor(0, 1_000)).toEqual({ invoked: 16, performed: 16 });
    expect(
      negotiate(requestOf([{ id: 1, abstractSyntax: VERIFICATION, transferSyntaxes: [] }]), POLICY).accept.user,
    ).not.toHaveProperty('asynchronousOperations');
  });
});
