import { COMMAND } from './command-set.ts';
import { echo } from './services/echo.ts';
import { findService } from './services/find.ts';
import { getService } from './services/get.ts';
import { type MoveAccess, moveService } from './services/move.ts';
import { storeService } from './services/store.ts';
import type { ServiceTable } from './session.ts';

/** The services of an archive, by command. */
export const archiveServices = (access: MoveAccess): ServiceTable =>
  new Map([
    [COMMAND.cEcho, echo],
    [COMMAND.cStore, storeService(access)],
    [COMMAND.cFind, findService(access)],
    [COMMAND.cGet, getService(access)],
    [COMMAND.cMove, moveService(access)],
  ]);
