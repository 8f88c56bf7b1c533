import { escaped } from '../dicom/xml.ts';
import { AUDIT_EVENTS, type AuditEvent } from './event.ts';

/** The archive as it presents itself in messages. */
export interface AuditSource {
  /** AuditSourceID: a stable name of this archive */
  readonly id: string;
  readonly aeTitle: string;
  /** AuditEnterpriseSiteID */
  readonly site?: string | undefined;
}

/** Patient ID by StudyInstanceUID, for those events where the standard asks for the patient; names are left out. */
export type PatientIDs = ReadonlyMap<string, string>;

type Code = readonly [code: string, system: string, meaning: string];

const ROLE = {
  application: ['110150', 'DCM', 'Application'],
  launcher: ['110151', 'DCM', 'Application Launcher'],
  destination: ['110152', 'DCM', 'Destination Role ID'],
  source: ['110153', 'DCM', 'Source Role ID'],
} as const satisfies Record<string, Code>;

/** Who takes part, in roles: PS3.15 A.5.3 names two sides for what moves, one for what is done. */
interface Participant {
  readonly userID: string;
  readonly alternativeUserID?: string | undefined;
  readonly isRequestor: boolean;
  readonly role?: Code | undefined;
  readonly networkAccessPoint?: string | undefined;
}

/** The message of PS3.15 A.5 (the schema of A.5.1) for an entry of the trail. */
export function auditMessage(event: AuditEvent, source: AuditSource, patients: PatientIDs = new Map()): string {
  const { code, meaning, ...row } = AUDIT_EVENTS[event.event] as {
    code: string;
    meaning: string;
    type?: readonly [string, string];
  };
  const type = row.type === undefined ? '' : coded('EventTypeCode', [row.type[0], 'DCM', row.type[1]]);
  const objects = [
    ...(event.studies ?? []).map((uid) => studyObject(uid, event)),
    ...[...new Set((event.studies ?? []).flatMap((uid) => patients.get(uid) ?? []))].map(patientObject),
    ...(event.event === 'Query' ? [queryObject(event)] : []),
    ...(event.event === 'AuditLogUsed' ? [logObject()] : []),
    ...(event.about === undefined ? [] : [personObject(event.about)]),
  ];
  return (
    `<?xml version="1.0" encoding="UTF-8"?><AuditMessage>${element(
      'EventIdentification',
      {
        EventActionCode: event.action,
        EventDateTime: new Date(event.at).toISOString(),
        EventOutcomeIndicator: String(event.outcome),
      },
      coded('EventID', [code, 'DCM', meaning]) +
        type +
        (event.error === undefined ? '' : `<EventOutcomeDescription>${escaped(event.error)}</EventOutcomeDescription>`),
    )}` +
    [...participantsOf(event, source), ...frontOf(event)].map(participant).join('') +
    element(
      'AuditSourceIdentification',
      { AuditEnterpriseSiteID: source.site, AuditSourceID: source.id },
      coded('AuditSourceTypeCode', ['4', 'RFC-3881', 'Application Server Process']),
    ) +
    `${objects.join('')}</AuditMessage>`
  );
}

/** What stood between the caller and us. */
const frontOf = ({ via }: AuditEvent): Participant[] =>
  via === undefined ? [] : [{ userID: via, isRequestor: false, networkAccessPoint: via }];

function participantsOf(event: AuditEvent, source: AuditSource): Participant[] {
  const us: Participant = { userID: source.id, alternativeUserID: `AETITLE=${source.aeTitle}`, isRequestor: false };
  const them: Participant = {
    userID: event.subject,
    alternativeUserID: event.door === 'dicom' ? `AETITLE=${event.subject}` : undefined,
    isRequestor: true,
    networkAccessPoint: event.from,
  };
  switch (event.event) {
    case 'ApplicationStart':
    case 'ApplicationStop':
      return [
        { ...us, role: ROLE.application },
        { ...them, role: ROLE.launcher },
      ];
    case 'InstancesTransferred':
    case 'BeginTransferringInstances':
    case 'DataImport':
      return [
        { ...them, role: ROLE.source },
        { ...us, role: ROLE.destination },
      ];
    case 'DataExport':
    case 'InstancesAccessed':
      return event.destination === undefined
        ? [them, { ...us, role: ROLE.source }]
        : [
            them,
            { ...us, role: ROLE.source },
            { userID: event.destination, isRequestor: false, role: ROLE.destination },
          ];
    case 'Query':
      return [
        { ...them, role: ROLE.source },
        { ...us, role: ROLE.destination },
      ];
    default:
      return [them, us];
  }
}

const participant = ({ userID, alternativeUserID, isRequestor, role, networkAccessPoint }: Participant): string =>
  element(
    'ActiveParticipant',
    {
      UserID: userID,
      AlternativeUserID: alternativeUserID,
      UserIsRequestor: String(isRequestor),
      NetworkAccessPointID: networkAccessPoint,
      // 2: an IP address
      NetworkAccessPointTypeCode: networkAccessPoint === undefined ? undefined : '2',
    },
    role && coded('RoleIDCode', role),
  );

/** The schema wants a name or a query of every object. Names of patients stay out, and a study has none but its UID. */
const NO_NAME = '<ParticipantObjectName/>';

const studyObject = (StudyInstanceUID: string, { event, purpose, instances, repeated }: AuditEvent): string =>
  element(
    'ParticipantObjectIdentification',
    {
      ParticipantObjectID: StudyInstanceUID,
      // a system object, in the role of a report
      ParticipantObjectTypeCode: '2',
      ParticipantObjectTypeCodeRole: '3',
      // 7: de-identification
      ParticipantObjectDataLifeCycle: event === 'DataDeidentified' ? '7' : undefined,
    },
    coded('ParticipantObjectIDTypeCode', ['110180', 'DCM', 'Study Instance UID']) +
      NO_NAME +
      detail('NumberOfInstances', instances) +
      detail('Repeated', repeated) +
      detail('PurposeOfUse', purpose),
  );

const patientObject = (PatientID: string): string =>
  element(
    'ParticipantObjectIdentification',
    { ParticipantObjectID: PatientID, ParticipantObjectTypeCode: '1', ParticipantObjectTypeCodeRole: '1' },
    coded('ParticipantObjectIDTypeCode', ['2', 'RFC-3881', 'Patient Number']) + NO_NAME,
  );

/** What was asked about, by its attributes. Their values, which A.5.3.10 would keep, are names of patients: they stay out. */
const queryObject = ({ transaction, keys, repeated }: AuditEvent): string =>
  element(
    'ParticipantObjectIdentification',
    { ParticipantObjectID: transaction ?? 'query', ParticipantObjectTypeCode: '2', ParticipantObjectTypeCodeRole: '3' },
    coded('ParticipantObjectIDTypeCode', ['110181', 'DCM', 'SOP Class UID']) +
      `<ParticipantObjectQuery>${base64((keys ?? []).join('&'))}</ParticipantObjectQuery>` +
      detail('Repeated', repeated),
  );

const logObject = (): string =>
  element(
    'ParticipantObjectIdentification',
    { ParticipantObjectID: 'audit', ParticipantObjectTypeCode: '2', ParticipantObjectTypeCodeRole: '13' },
    `${coded('ParticipantObjectIDTypeCode', ['12', 'RFC-3881', 'URI'])}<ParticipantObjectName>Security Audit Log</ParticipantObjectName>`,
  );

/** Whom an act is about: a person (1), in the role of a security user entity (11). */
const personObject = (name: string): string =>
  element(
    'ParticipantObjectIdentification',
    { ParticipantObjectID: name, ParticipantObjectTypeCode: '1', ParticipantObjectTypeCodeRole: '11' },
    coded('ParticipantObjectIDTypeCode', ['11', 'RFC-3881', 'User Identifier']) + NO_NAME,
  );

const base64 = (text: string): string => Buffer.from(text).toString('base64');

const detail = (type: string, value: string | number | undefined): string =>
  value === undefined ? '' : element('ParticipantObjectDetail', { type, value: base64(String(value)) });

const coded = (name: string, [code, system, meaning]: Code): string =>
  element(name, { 'csd-code': code, codeSystemName: system, originalText: meaning });

/** Messages stand one a line: a name that holds a line's end must not begin another. */
const inOneLine = (text: string): string => text.replace(/[\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`);

function element(name: string, attributes: Readonly<Record<string, string | undefined>>, content = ''): string {
  let text = `<${name}`;
  for (const [key, value] of Object.entries(attributes))
    if (value !== undefined) text += ` ${key}="${inOneLine(escaped(value))}"`;
  return content === '' ? `${text}/>` : `${text}>${content}</${name}>`;
}

/**
 * The message as a syslog line (RFC 5424) in the form of PS3.15 A.6: facility 10 (security), severity notice, MSGID that names the
 * schema, a byte order mark before the XML. `host`: what is not printable ASCII in it becomes `-`.
 */
export function syslogLine(message: string, at: number, host: string, processId: number): Buffer {
  const name = host.replace(/[^!-~]/g, '-').slice(0, 255) || '-';
  const header = `<85>1 ${new Date(at).toISOString()} ${name} nephos ${processId} DICOM+RFC3881 - `;
  return Buffer.from(`${header}\uFEFF${message}`);
}

/** The line as it goes over a stream: its length in octets before it (RFC 5425 §4.3, RFC 6587 §3.4.1). */
export const syslogFrame = (line: Uint8Array): Buffer => Buffer.concat([Buffer.from(`${line.length} `), line]);
