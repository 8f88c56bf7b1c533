import type { ErrorCode } from '../errors.ts';

/**
 * What an audit trail speaks of: the events of PS3.15 A.5.3 with their codes (DCM). `type` codes say more where the standard
 * has one (PS3.16 CID 401).
 */
export const AUDIT_EVENTS = {
  ApplicationStart: { code: '110100', meaning: 'Application Activity', type: ['110120', 'Application Start'] },
  ApplicationStop: { code: '110100', meaning: 'Application Activity', type: ['110121', 'Application Stop'] },
  AuditLogUsed: { code: '110101', meaning: 'Audit Log Used' },
  BeginTransferringInstances: { code: '110102', meaning: 'Begin Transferring DICOM Instances' },
  InstancesAccessed: { code: '110103', meaning: 'DICOM Instances Accessed' },
  InstancesTransferred: { code: '110104', meaning: 'DICOM Instances Transferred' },
  StudyDeleted: { code: '110105', meaning: 'DICOM Study Deleted' },
  /** copies without what identifies: PS3.15 A.5.3 has no event of its own; the life cycle of the study says what it is (RFC 3881 §5.5.3: 7) */
  DataDeidentified: { code: '110103', meaning: 'DICOM Instances Accessed' },
  DataExport: { code: '110106', meaning: 'Export' },
  DataImport: { code: '110107', meaning: 'Import' },
  OrderRecord: { code: '110109', meaning: 'Order Record' },
  PatientRecord: { code: '110110', meaning: 'Patient Record' },
  ProcedureRecord: { code: '110111', meaning: 'Procedure Record' },
  Query: { code: '110112', meaning: 'Query' },
  SecurityConfiguration: { code: '110113', meaning: 'Security Alert', type: ['110129', 'Security Configuration'] },
  UseOfRestrictedFunction: {
    code: '110113',
    meaning: 'Security Alert',
    type: ['110132', 'Use of Restricted Function'],
  },
  EmergencyOverrideStarted: {
    code: '110113',
    meaning: 'Security Alert',
    type: ['110127', 'Emergency Override Started'],
  },
  EmergencyOverrideStopped: {
    code: '110113',
    meaning: 'Security Alert',
    type: ['110138', 'Emergency Override Stopped'],
  },
  /** roles, password, second factor or lock-out of a person or machine */
  UserSecurityAttributes: {
    code: '110113',
    meaning: 'Security Alert',
    type: ['110137', 'User security Attributes Changed'],
  },
  NodeAuthentication: { code: '110113', meaning: 'Security Alert', type: ['110126', 'Node Authentication'] },
  Login: { code: '110114', meaning: 'User Authentication', type: ['110122', 'Login'] },
  Logout: { code: '110114', meaning: 'User Authentication', type: ['110123', 'Logout'] },
} as const satisfies Record<string, AuditEventRow>;

interface AuditEventRow {
  readonly code: string;
  readonly meaning: string;
  readonly type?: readonly [code: string, meaning: string];
}

export type AuditEventName = keyof typeof AUDIT_EVENTS;

/** EventActionCode (PS3.15 A.5.2.2): create, read, update, delete, execute */
export type AuditAction = 'C' | 'R' | 'U' | 'D' | 'E';

/** EventOutcomeIndicator: success, minor failure (the request was at fault), serious failure (we were), major failure */
export type AuditOutcome = 0 | 4 | 8 | 12;

/** By which door it came. */
export type AuditDoor = 'http' | 'dicom' | 'command' | 'system';

/**
 * Who did what, from where, why, with what outcome. Of patients it holds nothing: studies are named by UID, and what the standard asks
 * for beside is looked up when the trail is exported.
 */
export interface AuditEvent {
  /** ms since 1970 */
  readonly at: number;
  readonly event: AuditEventName;
  readonly action: AuditAction;
  readonly outcome: AuditOutcome;
  /** subject of the principal: a person, a machine client, an AE title; 'nobody' for who has not authenticated */
  readonly subject: string;
  readonly roles: readonly string[];
  readonly door: AuditDoor;
  /** address of the caller, where it is known; behind a front (CloudFront), as the front says it */
  readonly from?: string | undefined;
  /** address of the front, which the connection came from: anybody could have written `from` who asks past it */
  readonly via?: string | undefined;
  /** the transaction or command, by its name in the conformance statement */
  readonly transaction?: string | undefined;
  /** StudyInstanceUIDs, at most `AUDIT_STUDIES` */
  readonly studies?: readonly string[] | undefined;
  readonly instances?: number | undefined;
  /** AE title or origin that instances go to */
  readonly destination?: string | undefined;
  /** attributes a query asked about; never their values */
  readonly keys?: readonly string[] | undefined;
  /** name of the person or machine that the act is about, where it is another than `subject` or is not the caller yet */
  readonly about?: string | undefined;
  /** what the person said when asked why */
  readonly purpose?: string | undefined;
  readonly error?: ErrorCode | undefined;
  /** how many of the same kind this entry stands for, beside the first */
  readonly repeated?: number | undefined;
}

/** Studies named in one entry; more of them are counted by their instances alone. */
export const AUDIT_STUDIES = 100;
