import { TRANSFER_SYNTAXES } from '#core/dicom/transfer-syntaxes.ts';
import { DEFAULT_TIMERS } from '#dimse/association.ts';
import { ASYNCHRONOUS_OPERATIONS, MAX_PDU_BYTES, UNCOMPRESSED } from '#dimse/negotiation.ts';
import { REJECT } from '#dimse/pdu.ts';
import { readConfig } from '#embedded/config.ts';
import edgeSchema from '../../edge-gateway/config.schema.json' with { type: 'json' };
import { table } from './markdown.ts';

/** Association policies, network interfaces and configuration, as the template of PS3.2 asks for them. */

/** PS3.8 Table 9-21 */
const SOURCES = ['', 'user', 'provider (ACSE)', 'provider (presentation)'];
const REJECTED_WHEN: Readonly<Record<Exclude<keyof typeof REJECT, 'noReason'>, string>> = {
  applicationContextNotSupported: 'another application context than that of DICOM',
  callingAETitleNotRecognized: 'the calling AE title is not allowed, or not from that address',
  calledAETitleNotRecognized: 'another AE title is called, where that is checked',
  protocolVersionNotSupported: 'another protocol version',
  identityNotAccepted: 'the user identity was not accepted, or there was none where one is demanded',
  temporaryCongestion: 'the program is being stopped, or could not verify an identity just now',
  localLimitExceeded: 'as many associations are open as may be',
};

export function associations(): string {
  const uncompressed = UNCOMPRESSED.slice(0, 2)
    .map((uid) => TRANSFER_SYNTAXES.get(uid)!.name)
    .join(', ');
  return `## 11. Association policies

### 11.1 General

§8.2 has application context, PDU length, negotiation items, timers and implementation identification; they hold for all three entities.

### 11.2 Number of associations

${table(
  ['entity', 'accepted at a time', 'initiated at a time'],
  [
    [
      'archive',
      `\`NEPHOS_DICOM_MAX_ASSOCIATIONS\` (${readConfig({}).dicom.maxAssociations}), a process`,
      'one for each C-MOVE under way, one for each notification or answer to commitment that is being sent',
    ],
    [
      'gateway',
      `\`dicom.maxAssociations\` (${edgeSchema.properties.dicom.properties.maxAssociations.default})`,
      'one for each C-MOVE under way, one for each answer to commitment, one for each department system',
    ],
    ['query-retrieve', '16, while a C-MOVE to itself is under way', 'one at a time'],
  ],
)}

### 11.3 Asynchronous nature

As acceptor up to ${ASYNCHRONOUS_OPERATIONS} operations at a time where the requestor asks for it. As requestor no window is proposed: one operation at a time.

### 11.4 Association initiation

Every association proposes ${MAX_PDU_BYTES} bytes as maximum PDU length. Over TLS where the destination says so (\`/tls\`, or \`tls\` in the gateway's file).

${table(
  ['activity', 'proposed', 'when it fails'],
  [
    [
      'C-STORE of a C-MOVE',
      'for each storage class of the selection a context for each transfer syntax it is stored in, one for the little endian ones without compression, and, for who takes none of these, one for deflated and big endian; 128 at most',
      'not reached, or rejected: every sub-operation has failed (A702); lost because an object broke off, or was waited for too long: opened again',
    ],
    [
      'answer to storage commitment',
      `Storage Commitment Push Model as SCP by role selection; ${uncompressed}`,
      'tried for a week, each time after a quarter of the time so far',
    ],
    ['Instance Availability Notification', uncompressed, 'as above'],
    ['MPPS Notification', `as SCP by role selection; ${uncompressed}`, 'as above'],
    [
      'MPPS to department systems (gateway)',
      uncompressed,
      'kept in order and tried until it is taken; refused for good: held, for a person to release',
    ],
    [
      'query-retrieve',
      `FIND, MOVE or GET of the model asked for; for GET the storage classes that a C-FIND has told of, as SCP by role selection`,
      'exit code 3 with the reason',
    ],
  ],
)}

C-STORE sub-operations carry the priority of the C-MOVE or C-GET, and for C-MOVE its originator and message ID.

Priority (0000,0700): of what waits to be read or converted for C-MOVE and C-GET (\`retrieveReads\`, §7), and at the gateway to be asked of the archive, the turn goes to HIGH before MEDIUM before LOW; what lies on slow media is asked for at once for HIGH, for others in its turn. At the gateway a C-STORE
with HIGH has its study forwarded before others; LOW moves nothing back. C-FIND is answered at once, whatever its priority.

### 11.5 Association acceptance

Accepted: who is on the list, from where it says, with as many presentation contexts as are proposed. Verification, storage and the services of §8.1 are accepted in any combination on one association. Rejected:

${table(
  ['result, source, reason', 'when'],
  Object.entries(REJECTED_WHEN).map(([name, when]) => {
    const { result, source, reason } = REJECT[name as keyof typeof REJECT];
    return [`${result === 1 ? 'permanent' : 'transient'}, ${SOURCES[source]}, ${reason}`, when];
  }),
)}

Where nothing is asked for within ${DEFAULT_TIMERS.artimMs / 1000} s of the connection it is closed. More than 1,000 connections that have not asked for an association: further ones are closed at once.`;
}

export function configuration(): string {
  const archive = readConfig({});
  const edge = edgeSchema.properties;
  return `## 12. Network interfaces and configuration

### 12.1 Interfaces

TCP/IP over whatever interfaces the host has; IPv4 and IPv6, by address (\`[::1]:104\`) or by name of the host's own resolver. No DHCP, LDAP or DNS service discovery of its own.

### 12.2 AE titles and addresses

${table(
  ['entity', 'default AE title', 'default port', 'with TLS', 'set by'],
  [
    [
      'archive',
      archive.dicom.aeTitle,
      archive.dicom.port ?? 'off',
      '2762',
      '`NEPHOS_AE_TITLE`, `NEPHOS_DICOM_PORT`, `NEPHOS_DICOM_TLS_PORT`',
    ],
    [
      'gateway',
      edge.aeTitle.default,
      edge.dicom.properties.port.default,
      edge.dicom.properties.tls.properties.port.default,
      '`aeTitle`, `dicom.port`, `dicom.tls.port`',
    ],
    ['query-retrieve', archive.dicom.aeTitle, 'none', 'none', '`--aet`, `--receive`'],
  ],
)}

Remote entities, title to address: \`NEPHOS_DICOM_DESTINATIONS\` (C-MOVE, answers to commitment), \`NEPHOS_DICOM_IAN\`, \`NEPHOS_DICOM_MPPS_LISTENERS\`; at the gateway \`moveDestinations\`,
\`procedureSteps.forwardTo\`, \`availabilityListeners\`. Who may call: \`NEPHOS_DICOM_ALLOWED_AES\`, \`allowed\`. README.md and docs/edge-gateway.md have every parameter; the limits are in §7.

### 12.3 Parameters

${table(
  ['parameter', 'configurable', 'value'],
  [
    ['PDU length received', 'no', MAX_PDU_BYTES],
    [
      'ARTIM; answer to a request for an association',
      'no (`--timeout` of query-retrieve)',
      `${DEFAULT_TIMERS.artimMs / 1000} s`,
    ],
    ['silence of the peer in its turn', 'no (`--timeout` of query-retrieve)', `${DEFAULT_TIMERS.idleMs / 1000} s`],
    ['associations at a time', 'yes', archive.dicom.maxAssociations],
    ['called AE title checked', 'yes', archive.dicom.checkCalledAETitle ? 'yes' : 'no'],
    ['user identity', 'yes', archive.dicom.identity],
  ],
)}`;
}
