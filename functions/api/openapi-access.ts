import { flag, list, object, text, time } from './openapi-schema.ts';

/** What is said of grants, restrictions and emergency access in the OpenAPI document. */

const patient = object({ id: text, issuer: text }, ['issuer']);
/** A rule of reach: all that it names must be met; of several rules any suffices (docs/roles.md). */
const REACH_SCHEMA = {
  ...list(
    object(
      {
        studies: { ...list(text), description: 'StudyInstanceUIDs' },
        sites: { ...list(text), description: 'InstitutionName of any instance, or IssuerOfPatientID' },
        modalities: list(text),
        referringPhysicians: { ...list(text), description: 'ReferringPhysicianName; * and ? are wildcards' },
        patients: { ...list(patient), description: 'without an issuer: of studies that name none' },
        deidentified: { enum: [true], description: 'every instance says PatientIdentityRemoved YES' },
      },
      ['studies', 'sites', 'modalities', 'referringPhysicians', 'patients', 'deidentified'],
    ),
  ),
  maxItems: 50,
};
const grantee = {
  oneOf: [
    object({ subject: text }),
    object({ role: text }),
    object({ claim: { ...text, description: 'name=value of a claim of the issuer' } }),
  ],
};
const grant = object({
  id: text,
  to: grantee,
  rules: REACH_SCHEMA,
  note: text,
  createdBy: text,
  createdAt: time,
});
const restriction = object({
  id: text,
  patient,
  reason: text,
  subjects: list(text),
  roles: list(text),
  createdBy: text,
  createdAt: time,
});
const emergency = object(
  {
    id: text,
    subject: text,
    StudyInstanceUID: text,
    ofPatient: { ...flag, description: 'it is of all studies of a patient' },
    reasonCode: { ...text, description: 'HL7 v3 ActReason (PurposeOfUse)' },
    reason: text,
    startedAt: time,
    until: time,
    revokedBy: text,
    revokedAt: time,
    active: flag,
  },
  ['StudyInstanceUID', 'revokedBy', 'revokedAt'],
);

export const ACCESS_OPERATIONS = {
  GetAccessPolicy: {
    summary: 'Grants and restrictions, and the roles that may be named in them',
    response: {
      schema: object({
        showRestricted: { ...flag, description: 'whether restricted studies that a search would find are counted' },
        grants: list(grant),
        restrictions: list(restriction),
        roles: list(text),
      }),
    },
  },
  PutAccessPolicy: {
    summary: 'Say whether people with the right to emergency access are shown that restricted studies meet a search',
    requestBody: object({ showRestricted: flag }),
    response: { schema: object({ showRestricted: flag }) },
  },
  AddGrant: {
    status: 201,
    summary: 'Confine a subject, a role, or whoever comes with a claim, to studies that meet any of the rules',
    requestBody: object({ to: grantee, rules: REACH_SCHEMA, note: { ...text, maxLength: 200 } }, ['note']),
    response: { schema: grant },
  },
  RemoveGrant: { summary: 'Take a grant back; it counts no more from the next request on' },
  AddRestriction: {
    status: 201,
    summary: 'Keep the studies of a patient, those that are here and those to come, from all but who is listed',
    requestBody: object(
      { patient, reason: { ...text, minLength: 3, maxLength: 200 }, subjects: list(text), roles: list(text) },
      ['subjects', 'roles'],
    ),
    response: { schema: restriction },
  },
  RemoveRestriction: { summary: 'Let a patient’s studies be seen as others are' },
  BeginEmergencyAccess: {
    status: 201,
    summary:
      'Break-glass: reach a study, or all of a patient’s, for a limited time, with a reason and an alarm; the same answer whether or not there is such a study or patient',
    requestBody: object(
      {
        StudyInstanceUID: text,
        patient,
        reasonCode: { enum: ['ETREAT', 'TREAT', 'COC', 'PATSFTY', 'PATRQT', 'HOPERAT'] },
        reason: { ...text, minLength: 5, maxLength: 200 },
      },
      ['StudyInstanceUID', 'patient'],
    ),
    response: { schema: emergency },
  },
  ListEmergencyAccess: {
    summary: 'Who took emergency access, newest first',
    response: { schema: object({ items: list(emergency), now: time }) },
  },
  GetOwnEmergencyAccess: {
    summary: 'The caller’s own emergency access that counts now, and the reasons that may be given',
    response: {
      schema: object({
        items: list(emergency),
        now: time,
        reasons: { type: 'object', additionalProperties: text },
      }),
    },
  },
  EndEmergencyAccess: {
    summary: 'End emergency access before its time: one’s own; an administrator anybody’s',
    response: { schema: emergency },
  },
  SearchRestricted: {
    summary:
      'StudyInstanceUIDs of restricted studies that a search, by the parameters of QIDO-RS, would find; nothing else of them, and none unless the policy shows them',
    response: { schema: object({ items: list(object({ StudyInstanceUID: text })), more: flag }) },
  },
};
