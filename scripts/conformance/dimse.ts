import { TRANSFER_SYNTAXES } from '#core/dicom/transfer-syntaxes.ts';
import { IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME } from '#core/dicom/writer.ts';
import { DEFAULT_TIMERS } from '#dimse/association.ts';
import { IDENTITY } from '#dimse/identity.ts';
import { ASYNCHRONOUS_OPERATIONS, MAX_PDU_BYTES, STORAGE_SYNTAXES, UNCOMPRESSED } from '#dimse/negotiation.ts';
import { DICOM_APPLICATION_CONTEXT } from '#dimse/pdu.ts';
import {
  FIND_CLASSES,
  GET_CLASSES,
  INSTANCE_AVAILABILITY_NOTIFICATION,
  MODALITY_PERFORMED_PROCEDURE_STEP,
  MODALITY_PERFORMED_PROCEDURE_STEP_NOTIFICATION,
  MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE,
  MODALITY_WORKLIST_FIND,
  MOVE_CLASSES,
  STORAGE_COMMITMENT_PUSH_MODEL,
  VERIFICATION,
} from '#dimse/sop-classes.ts';
import { STATUS } from '#dimse/status.ts';
import { hex, table, words } from './markdown.ts';

/** What the archive says over DIMSE. */

const modelName = (uid: string): string =>
  `${uid.includes('.2.1.') ? 'Patient' : 'Study'} Root Query/Retrieve Information Model`;
const syntaxName = (uid: string): string => TRANSFER_SYNTAXES.get(uid)!.name;

export function dimse(): string {
  const storage = `storage classes of §6, and by policy private ones and those of later editions`;
  const rows = [
    ['Verification', VERIFICATION, 'SCP, SCU', 'C-ECHO'],
    [storage, '–', 'SCP, SCU', 'C-STORE'],
    ...[...FIND_CLASSES].map((uid) => [modelName(uid), uid, 'SCP, SCU', 'C-FIND']),
    ...[...MOVE_CLASSES].map((uid) => [modelName(uid), uid, 'SCP, SCU', 'C-MOVE']),
    ...[...GET_CLASSES].map((uid) => [modelName(uid), uid, 'SCP, SCU', 'C-GET']),
    ['Storage Commitment Push Model', STORAGE_COMMITMENT_PUSH_MODEL, 'SCP', 'N-ACTION, N-EVENT-REPORT'],
    ['Modality Worklist Information Model', MODALITY_WORKLIST_FIND, 'SCP', 'C-FIND'],
    [
      'Modality Performed Procedure Step',
      MODALITY_PERFORMED_PROCEDURE_STEP,
      'SCP; SCU at the gateway',
      'N-CREATE, N-SET',
    ],
    ['Modality Performed Procedure Step Retrieve', MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE, 'SCP', 'N-GET'],
    [
      'Modality Performed Procedure Step Notification',
      MODALITY_PERFORMED_PROCEDURE_STEP_NOTIFICATION,
      'SCP',
      'N-EVENT-REPORT',
    ],
    ['Instance Availability Notification', INSTANCE_AVAILABILITY_NOTIFICATION, 'SCU', 'N-CREATE'],
  ];
  const names = new Map(Object.entries(STATUS).map(([name, value]) => [value as number, name]));
  return `## 8. DIMSE

One port (\`NEPHOS_DICOM_PORT\`) for every service; with \`NEPHOS_DICOM_TLS_CERT\` and \`_KEY\` another one for TLS 1.2 and 1.3 after PS3.15 §B.9, with client
certificates where \`NEPHOS_DICOM_TLS_CA\` is given. Roles by application entity are in §1, associations that are initiated in §11.

### 8.1 SOP classes

${table(['SOP class', 'UID', 'role', 'service'], rows)}

Storage: the transfer syntaxes below, the proposer's first choice (big endian last). Other services: ${UNCOMPRESSED.map(syntaxName).join(', ')}.

${STORAGE_SYNTAXES.map(syntaxName).join('; ')}.

### 8.2 Association

${table(
  ['', ''],
  [
    ['application context', DICOM_APPLICATION_CONTEXT],
    ['implementation class UID, version name', `${IMPLEMENTATION_CLASS_UID}, ${IMPLEMENTATION_VERSION_NAME}`],
    ['maximum PDU length received', `${MAX_PDU_BYTES} bytes announced; longer ones are taken`],
    ['maximum PDU length sent', `what the peer announces, at most ${MAX_PDU_BYTES} bytes`],
    [
      'asynchronous operations',
      `up to ${ASYNCHRONOUS_OPERATIONS} invoked and performed, where asked for; otherwise one`,
    ],
    ['role selection', 'SCP of storage classes for the requestor (C-GET)'],
    [
      'extended negotiation, C-FIND',
      'relational queries, combined date-time matching, fuzzy matching of person names, timezone query adjustment (an object that states no TimezoneOffsetFromUTC is matched as its values stand; birthdays are never moved), empty value and multiple value matching',
    ],
    ['extended negotiation, C-MOVE and C-GET', 'relational retrieval'],
    ['extended negotiation, storage', 'level 2 (full), digital signatures level 3 (bits preserved), no coercion'],
    [
      'extended negotiation, Modality Worklist',
      'fuzzy matching of person names, timezone query adjustment (as for C-FIND); date and time are one moment in any case (PS3.4 K.6.1.2.2)',
    ],
    [
      'user identity',
      `off, optional or required (\`NEPHOS_DICOM_IDENTITY\`): user name (${IDENTITY.username}), user name and passcode (${IDENTITY.usernameAndPasscode}), JSON Web Token (${IDENTITY.jsonWebToken}), with a positive response where one is asked for; Kerberos (${IDENTITY.kerberos}) and SAML (${IDENTITY.saml}) are not verified. Passcodes travel as they are: ask for them on the TLS port. Not accepted: rejected-permanent, by the ACSE provider, no reason given`,
    ],
    ['ARTIM and answer timeout', `${DEFAULT_TIMERS.artimMs / 1000} s`],
    ['silence of the peer in its turn', `${DEFAULT_TIMERS.idleMs / 1000} s`],
  ],
)}

Rejected: calling AE titles that are not on the list (\`NEPHOS_DICOM_ALLOWED_AES\`), called AE titles other than ours where that is checked, more associations than
\`NEPHOS_DICOM_MAX_ASSOCIATIONS\` (transient, local limit exceeded). What an AE title may not do by that list is refused with 0124. Malformed and unexpected PDUs: A-ABORT with the reason of PS3.8 Table 9-26.

### 8.3 C-STORE

The bytes of the data set are kept as they came. Success is answered when object and index are durable, so that they would survive losing power. Affected SOP
Class and Instance UID must be those of the data set (A900). Other statuses: §3.

### 8.4 C-FIND

Keys and what is returned: the attributes of §4, matched as there. Keys of other levels are matched at each level (relational), negotiated or not. Patients are
found by their studies: same PatientID and issuer, one patient. Answers are in the caller's Specific Character Set where that is a single-byte one that holds
all text, otherwise in ISO_IR 192. FF01 while optional keys of the request are not supported. A700 after the matches: the search was cut.

### 8.5 C-MOVE and C-GET

By the unique key of the level, or a list of them where it is a UID. Destinations of C-MOVE are configured (\`NEPHOS_DICOM_DESTINATIONS\`). Objects are sent as stored where
the receiver takes that transfer syntax, byte for byte; otherwise transcoded as §5 has it. A response with the counts follows each sub-operation. Failed SOP Instance
UIDs are listed in the final one. Objects on slow media are brought back; until they are here, Pending with unchanged counts is said every \`retrievePendingMs\`, for at most
\`retrieveRestoreMs\` (§7); what is not back by then has failed.

### 8.6 Storage Commitment

A request is kept in the index before it is answered, so it survives a restart. The answer (N-EVENT-REPORT) goes over the same association while that is open,
otherwise over an association to the destination configured under the AE title that asked, tried for a week until it is taken. Committed are instances whose record holds the
SHA-256 of their durable bytes; the others are listed with 0112 (no such instance), 0119 (of another class) or 0110 (in a second region of AWS, while the bytes are not there yet).

By HTTP (PS3.18 §13) the answer to a request is always its result (200): it is found at once, and no request is kept, so a Result Check is answered by 404. Instances are taken in the
Referenced SOP Sequence; the Referenced Study Sequence is refused (400). A committed instance has the SHA-256 of its bytes in the private elements of the Store response (§3); so does one that a rejection note hides, among those that failed. Instances of patients who are
restricted are answered for as well. Where an item of the request has a Study Instance UID (0020,000D), which is an extension, and somebody has deleted that instance of that study, its item among those that failed (0112) has, as long as it
lies in the trash, the SHA-256 of the bytes there and in the same private block when it was deleted (0009,1002; DT, UTC) and the reason given (0009,1003; UT).

### 8.7 Modality Worklist

Items are scheduled through \`/api/worklist\` (§2.2) and kept as they were given. An item must have the return keys of type 1 of PS3.4 Table K.6-1. Every attribute of an
item may be a matching key, within sequences as well; keys come back with the values of the item, empty where it has none. Answers are in the caller's Specific Character
Set as those of C-FIND are. Items that are completed, discontinued or taken off the list are not answered unless ScheduledProcedureStepStatus is a key; items that
began more than \`worklistPastMs\` ago only when their date is (§7).

### 8.8 Modality Performed Procedure Step

Required attributes as PS3.4 Table F.7.2-1 has them; attributes of type 2 that N-CREATE leaves out are kept as empty. 0106: a new step is not IN PROGRESS, or a UID is none.
0111: the SOP Instance UID is taken. 0120, 0121: an attribute of type 1 is missing, or empty; also of type 1 in the final state (end date, end time, and for COMPLETED the
performed series). 0105: N-SET may not change the attribute. 0110 with error ID A710: the step is over. The tag concerned is in the Attribute Identifier List.
ScheduledStepAttributesSequence (study and scheduled step) links a step to its worklist items, whose status follows it: STARTED, DEPARTED. When a completed step's
instances have all arrived, the feed says StudyComplete.

Modality Performed Procedure Step Notification: \`NEPHOS_DICOM_MPPS_LISTENERS\` are called with N-EVENT-REPORT, as SCP by role selection, when a step is created (event type 1), completed (2),
discontinued (3) or changed otherwise (4); tried for a week until it is taken. Steps are never deleted (5).

### 8.9 Instance Availability Notification

Sent to \`NEPHOS_DICOM_IAN\` (at the gateway \`availabilityListeners\`) when a study gets quiet, and when a completed step's instances have all arrived; tried for a week until it is taken, under the same SOP Instance UID.
Retrieve AE Title is ours; a notification names at most 5,000 instances.

### 8.10 Statuses

${table(
  ['status', 'meaning'],
  [...names].sort(([a], [b]) => a - b).map(([value, name]) => [hex(value), words(name)]),
)}`;
}
