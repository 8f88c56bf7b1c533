import type { AuditAction, AuditEventName } from '#core/audit/event.ts';
import { audited } from './audit.ts';
import { COMMAND } from './command-set.ts';
import { type AcceptorPolicy, isStorage } from './negotiation.ts';
import { type CommitmentEvidence, commitmentService } from './services/commitment.ts';
import { echo } from './services/echo.ts';
import { findService, type SearchRecords } from './services/find.ts';
import { getService } from './services/get.ts';
import { type MoveAccess, moveService } from './services/move.ts';
import { createStepService, getStepService, type NoteStep, setStepService } from './services/procedure.ts';
import type { SelectInstances } from './services/retrieve.ts';
import { storeService } from './services/store.ts';
import { worklistService } from './services/worklist.ts';
import type { Service, ServiceTable } from './session.ts';
import {
  FIND_CLASSES,
  GET_CLASSES,
  MODALITY_PERFORMED_PROCEDURE_STEP,
  MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE,
  MODALITY_WORKLIST_FIND,
  MOVE_CLASSES,
  STORAGE_COMMITMENT_PUSH_MODEL,
  VERIFICATION,
} from './sop-classes.ts';
import { STATUS } from './status.ts';

/** What an archive answers beside storage and Verification. */
export const ARCHIVE_POLICY: AcceptorPolicy = {
  acceptUnknownSopClasses: true,
  services: new Set([
    ...FIND_CLASSES,
    ...MOVE_CLASSES,
    ...GET_CLASSES,
    STORAGE_COMMITMENT_PUSH_MODEL,
    MODALITY_WORKLIST_FIND,
    MODALITY_PERFORMED_PROCEDURE_STEP,
    MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE,
  ]),
};

/** Where an archive looks beyond its own index; each defaults to that. */
export interface ArchiveSources {
  readonly search?: SearchRecords;
  readonly select?: SelectInstances;
  /** rejects where there is no worklist to be searched, with why */
  readonly worklistReady?: () => Promise<void>;
  readonly noteStep?: NoteStep;
  readonly commitment?: { readonly evidence: CommitmentEvidence; readonly answerMs: number };
}

/** The services of an archive, by command; each in contexts of its own classes alone. */
export const archiveServices = (access: MoveAccess, sources: ArchiveSources = {}): ServiceTable => {
  const recorded = (name: string, event: AuditEventName, action: AuditAction, service: Service): Service =>
    audited(access, name, event, action, service);
  const store = recorded('C-STORE', 'InstancesTransferred', 'C', storeService(access));
  const find = recorded('C-FIND', 'Query', 'E', findService(access, sources.search));
  const worklist = recorded('C-FIND MWL', 'Query', 'E', worklistService(access, sources.worklistReady));
  const get = recorded('C-GET', 'InstancesAccessed', 'R', getService(access, sources.select));
  const move = recorded('C-MOVE', 'InstancesAccessed', 'R', moveService(access, sources.select));
  const commit = recorded(
    'Storage Commitment',
    'InstancesAccessed',
    'R',
    commitmentService(access, sources.commitment),
  );
  const create = recorded('MPPS N-CREATE', 'ProcedureRecord', 'C', createStepService(access, sources.noteStep));
  const set = recorded('MPPS N-SET', 'ProcedureRecord', 'U', setStepService(access, sources.noteStep));
  const read = recorded('MPPS N-GET', 'ProcedureRecord', 'R', getStepService(access));
  return new Map([
    [COMMAND.cEcho, byClass([is(VERIFICATION), echo])],
    [COMMAND.cStore, byClass([(uid) => isStorage(uid, ARCHIVE_POLICY), store])],
    [COMMAND.cFind, byClass([among(FIND_CLASSES), find], [is(MODALITY_WORKLIST_FIND), worklist])],
    [COMMAND.cGet, byClass([among(GET_CLASSES), get])],
    [COMMAND.cMove, byClass([among(MOVE_CLASSES), move])],
    [COMMAND.nAction, byClass([is(STORAGE_COMMITMENT_PUSH_MODEL), commit])],
    [COMMAND.nCreate, byClass([is(MODALITY_PERFORMED_PROCEDURE_STEP), create])],
    [COMMAND.nSet, byClass([is(MODALITY_PERFORMED_PROCEDURE_STEP), set])],
    [COMMAND.nGet, byClass([is(MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE), read])],
  ]);
};

type Belongs = (abstractSyntax: string) => boolean;
const is =
  (uid: string): Belongs =>
  (abstractSyntax) =>
    abstractSyntax === uid;
const among =
  (uids: ReadonlySet<string>): Belongs =>
  (abstractSyntax) =>
    uids.has(abstractSyntax);

const byClass =
  (...rows: readonly (readonly [Belongs, Service])[]): Service =>
  (operation) => {
    const row = rows.find(([belongs]) => belongs(operation.context.abstractSyntax));
    return row === undefined ? operation.respond({ Status: STATUS.sopClassNotSupported }) : row[1](operation);
  };
