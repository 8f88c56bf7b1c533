import { ARCHIVE_POLICY } from '#dimse/archive.ts';
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
import { EDGE_POLICY } from '#edge/services.ts';
import { table } from './markdown.ts';

/** Application entities, as the template of PS3.2 asks for them. */

/** An application entity: what it calls peers for, beside what it answers. */
interface Entity {
  readonly name: string;
  readonly answers: ReadonlySet<string>;
  readonly calls: ReadonlySet<string>;
}

const ARCHIVE: Entity = {
  name: 'archive',
  answers: new Set([VERIFICATION, 'storage', ...ARCHIVE_POLICY.services]),
  calls: new Set([
    'storage',
    STORAGE_COMMITMENT_PUSH_MODEL,
    INSTANCE_AVAILABILITY_NOTIFICATION,
    MODALITY_PERFORMED_PROCEDURE_STEP_NOTIFICATION,
  ]),
};
const GATEWAY: Entity = {
  name: 'gateway',
  answers: new Set([VERIFICATION, 'storage', ...EDGE_POLICY.services]),
  calls: new Set([
    'storage',
    STORAGE_COMMITMENT_PUSH_MODEL,
    MODALITY_PERFORMED_PROCEDURE_STEP,
    INSTANCE_AVAILABILITY_NOTIFICATION,
  ]),
};
const COMMAND_LINE: Entity = {
  name: 'query-retrieve',
  answers: new Set([VERIFICATION, 'storage']),
  calls: new Set([VERIFICATION, ...FIND_CLASSES, ...MOVE_CLASSES, ...GET_CLASSES]),
};
const ENTITIES = [ARCHIVE, GATEWAY, COMMAND_LINE];

/** Classes whose SCP calls, by role selection. */
const CALLED_BY_THE_SCP: ReadonlySet<string> = new Set([
  STORAGE_COMMITMENT_PUSH_MODEL,
  MODALITY_PERFORMED_PROCEDURE_STEP_NOTIFICATION,
]);

const SERVICES: readonly (readonly [group: string, name: string, uids: readonly string[]])[] = [
  ['Verification', 'Verification', [VERIFICATION]],
  ['Transfer', 'storage classes of §6', ['storage']],
  ['Transfer', 'Storage Commitment Push Model', [STORAGE_COMMITMENT_PUSH_MODEL]],
  ['Query/Retrieve', 'Patient and Study Root, FIND', [...FIND_CLASSES]],
  ['Query/Retrieve', 'Patient and Study Root, MOVE', [...MOVE_CLASSES]],
  ['Query/Retrieve', 'Patient and Study Root, GET', [...GET_CLASSES]],
  ['Workflow', 'Modality Worklist, FIND', [MODALITY_WORKLIST_FIND]],
  ['Workflow', 'Modality Performed Procedure Step', [MODALITY_PERFORMED_PROCEDURE_STEP]],
  ['Workflow', 'Modality Performed Procedure Step Retrieve', [MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE]],
  ['Workflow', 'Modality Performed Procedure Step Notification', [MODALITY_PERFORMED_PROCEDURE_STEP_NOTIFICATION]],
  ['Workflow', 'Instance Availability Notification', [INSTANCE_AVAILABILITY_NOTIFICATION]],
];

/** PS3.18 §9 to §15. Roles of the archive are those of §2, which is made from its routes. */
const WEB_SERVICES: readonly (readonly [string, string, string, string])[] = [
  ['Studies', 'Retrieve (WADO-RS)', 'origin server', 'origin server, user agent'],
  ['Studies', 'Search (QIDO-RS)', 'origin server', 'origin server, user agent'],
  ['Studies', 'Store (STOW-RS)', 'origin server, user agent (routing)', 'user agent'],
  ['URI', 'Retrieve (WADO-URI)', 'origin server', '–'],
  ['Worklist', 'UPS-RS', '–', '–'],
  ['Non-Patient Instance', 'Retrieve, Store, Search', '–', '–'],
  ['Storage Commitment', 'Request', 'origin server', 'user agent'],
  ['Modality Scheduled Procedure Step', 'Search', '– (own interface, §2.2)', '–'],
  ['Modality Performed Procedure Step', 'Create, Update, Retrieve', '– (own interface, §2.2)', '–'],
];

/** What is said of its template in PS3.2 §6 and in the introduction of Annex N; our sections keep their numbers (docs/decisions/0145). */
const SECTIONS: readonly (readonly [string, string, string])[] = [
  ['Overview', 'what the product does, its services', '§1'],
  ['Introduction', 'audience, remarks, abbreviations, references', '§1.1'],
  ['Implementation model (§6.1)', 'application data flow, application entities, sequencing', '§10'],
  ['Service and interoperability description (§6.2.1)', 'which application entity has which service', '§1'],
  ['Supported DIMSE services (§6.2.2)', 'SOP classes, roles, attributes, behaviour, statuses', '§3, §4, §8'],
  ['Supported DICOM web services (§6.2.3)', 'transactions, media types, parameters, status codes', '§1 to §5'],
  ['Supported media storage services (§6.2.4)', 'application profiles', '§14 (none)'],
  ['Configuration (§6.3)', 'AE titles, addresses, parameters', '§7, §12'],
  [
    'Network and media communication details (§6.4)',
    'association policies, number of associations, asynchronous nature, implementation identification, initiation, acceptance, transfer syntaxes, interfaces',
    '§5, §8.2, §11, §12.1',
  ],
  ['Character sets', '', '§13'],
  ['Security (§7.6)', 'profiles of PS3.15, at association and application level; confidentiality', '§9, §15'],
  ['Transformation of DICOM SR to CDA (§7.7)', '', '§14 (none)'],
  ['DICOM real-time video (§7.8)', '', '§14 (none)'],
  ['Annexes', 'created instances, extended and private classes, attributes, coded terminology', '§6, §14'],
];

function rolesOf({ answers, calls }: Entity, uids: readonly string[]): string {
  const isScp = uids.every((uid) => answers.has(uid) || (CALLED_BY_THE_SCP.has(uid) && calls.has(uid)));
  const isScu = uids.every((uid) => calls.has(uid) && !CALLED_BY_THE_SCP.has(uid));
  return [isScp ? 'SCP' : [], isScu ? 'SCU' : []].flat().join(', ') || '–';
}

/** Table of network services (PS3.2 Table A.1-1), and where the sections of its template are. @throws Error when a class is listed nowhere */
export function overview(): string {
  const listed = new Set(SERVICES.flatMap(([, , uids]) => uids));
  for (const uid of ENTITIES.flatMap(({ answers, calls }) => [...answers, ...calls]))
    if (!listed.has(uid)) throw new Error(`${uid} is missing in the table of network services`);
  return `${table(
    ['', 'network service', ...ENTITIES.map(({ name }) => name)],
    SERVICES.map(([group, name, uids]) => [group, name, ...ENTITIES.map((entity) => rolesOf(entity, uids))]),
  )}

${table(['', 'DICOM web service (PS3.18)', 'archive', 'gateway'], WEB_SERVICES)}

Media storage and DICOM real-time video: none (§14).

${table(['section of PS3.2 (§6, Annex N)', 'what it asks for', 'stands in'], SECTIONS)}

### 1.1 Introduction

For those who connect modalities, workstations and other archives to Nephos. Conformance by itself does not guarantee that two systems work together: their statements have to be compared, and the connection
tested. Not a medical device; no claim of clinical safety follows from this page. Terms are those of PS3.2 to PS3.18: AE, application entity; SCU and SCP, user and provider of a service class; MPPS, modality performed procedure step;
MWL, modality worklist. References: DICOM PS3.1 to PS3.22 (dicomstandard.org); IHE Radiology Technical Framework.`;
}

export function model(): string {
  return `## 10. Implementation model

### 10.1 Application entities

${table(
  ['entity', 'program', 'what it is'],
  [
    [
      'archive',
      '`npm start`',
      'storage, index, DICOMweb and DIMSE in one process; in the cloud the same without DIMSE',
    ],
    [
      'gateway',
      '`npm run edge`',
      'on the network of a hospital: takes objects, forwards them to an archive by STOW-RS, and answers queries from what is here and there',
    ],
    ['query-retrieve', '`nephos query-retrieve`', 'command line: asks another archive, and takes what it sends'],
  ],
)}

### 10.2 Data flow and real-world activities

${table(
  ['real-world activity', 'remote', 'local', 'service'],
  [
    [
      'a modality or archive sends objects',
      'SCU',
      'archive, gateway',
      'C-STORE; then N-ACTION, N-EVENT-REPORT (commitment)',
    ],
    ['a workstation looks for studies', 'SCU', 'archive, gateway', 'C-FIND'],
    ['a workstation retrieves', 'SCU', 'archive, gateway', 'C-GET; C-MOVE, with C-STORE to its destination'],
    [
      'a modality asks for its work, and reports it',
      'SCU',
      'archive, gateway',
      'C-FIND (MWL), N-CREATE, N-SET, N-GET (MPPS)',
    ],
    ['a study has come in', 'SCP', 'archive, gateway', 'N-CREATE (Instance Availability Notification)'],
    ['a procedure step has changed', 'SCU', 'archive', 'N-EVENT-REPORT (MPPS Notification)'],
    [
      'a modality has reported a step',
      'SCP',
      'gateway',
      'N-CREATE, N-SET (MPPS) to department systems, and to the archive by its own interface',
    ],
    [
      'objects wait for the archive',
      'origin server',
      'gateway',
      'STOW-RS, or a store transaction; WADO-RS where the archive does not state digests',
    ],
    ['somebody asks for what only the archive has', 'origin server', 'gateway', 'QIDO-RS, WADO-RS'],
    ['an operator asks another archive', 'SCP', 'query-retrieve', 'C-ECHO, C-FIND, C-MOVE, C-GET'],
  ],
)}

### 10.3 Sequencing

C-STORE is answered when the object is durable; only then can it be found, retrieved and committed to. An availability notification follows when a study has got quiet, or when a completed
step's instances have all arrived. Worklist items follow their steps (§8.8). At the gateway, commitment is answered when the archive has shown that it holds the instance with that SHA-256;
steps are told on in the order they came in. Nothing else is expected of the order of activities: objects may come before, during and after their step.`;
}
