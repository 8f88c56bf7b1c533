import { COMMAND } from './command-set.ts';
import { type AcceptorPolicy, isStorage } from './negotiation.ts';
import { commitmentService } from './services/commitment.ts';
import { echo } from './services/echo.ts';
import { findService } from './services/find.ts';
import { getService } from './services/get.ts';
import { type MoveAccess, moveService } from './services/move.ts';
import { storeService } from './services/store.ts';
import type { Service, ServiceTable } from './session.ts';
import { FIND_CLASSES, GET_CLASSES, MOVE_CLASSES, STORAGE_COMMITMENT_PUSH_MODEL, VERIFICATION } from './sop-classes.ts';
import { STATUS } from './status.ts';

/** What an archive answers beside storage and Verification. */
export const ARCHIVE_POLICY: AcceptorPolicy = {
  acceptUnknownSopClasses: true,
  services: new Set([...FIND_CLASSES, ...MOVE_CLASSES, ...GET_CLASSES, STORAGE_COMMITMENT_PUSH_MODEL]),
};

/** The services of an archive, by command; each in contexts of its own classes alone. */
export const archiveServices = (access: MoveAccess): ServiceTable =>
  new Map([
    [COMMAND.cEcho, within((uid) => uid === VERIFICATION, echo)],
    [COMMAND.cStore, within((uid) => isStorage(uid, ARCHIVE_POLICY), storeService(access))],
    [COMMAND.cFind, within((uid) => FIND_CLASSES.has(uid), findService(access))],
    [COMMAND.cGet, within((uid) => GET_CLASSES.has(uid), getService(access))],
    [COMMAND.cMove, within((uid) => MOVE_CLASSES.has(uid), moveService(access))],
    [COMMAND.nAction, within((uid) => uid === STORAGE_COMMITMENT_PUSH_MODEL, commitmentService(access))],
  ]);

const within =
  (belongs: (abstractSyntax: string) => boolean, service: Service): Service =>
  (operation) =>
    belongs(operation.context.abstractSyntax)
      ? service(operation)
      : operation.respond({ Status: STATUS.sopClassNotSupported });
