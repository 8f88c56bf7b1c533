import type { Principal } from '#core/access.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN } from '#core/dicom/transfer-syntaxes.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import { archiveServices } from '#dimse/archive.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { decodeIdentifier, encodeIdentifier } from '#dimse/identifiers.ts';
import { identifierFor } from '#dimse/remote-query.ts';
import { contextOf, proposing, sendFind, sendObject, sendRetrieve } from '#dimse/scu.ts';
import {
  MODALITY_PERFORMED_PROCEDURE_STEP,
  MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE,
  MODALITY_WORKLIST_FIND,
  STORAGE_COMMITMENT_PUSH_MODEL,
  STUDY_ROOT_FIND,
  STUDY_ROOT_GET,
} from '#dimse/sop-classes.ts';
import { CT_IMAGE_STORAGE } from '#test/fixtures/dicom-builder.ts';
import { sessionPair } from '#test/unit/dimse/pairs.ts';

/** What is asked over an association. */
export type DimseStep =
  | readonly ['C-FIND', level: 'PATIENT' | 'STUDY' | 'SERIES' | 'IMAGE', keys: Readonly<Record<string, string>>]
  | readonly ['C-GET', level: 'STUDY' | 'SERIES' | 'IMAGE', keys: Readonly<Record<string, string>>]
  | readonly ['C-STORE', SOPInstanceUID: string, object: () => Uint8Array]
  | readonly ['C-FIND MWL', identifier: DataSet]
  | readonly ['N-CREATE MPPS', SOPInstanceUID: string, dataSet: DataSet]
  | readonly ['N-SET MPPS', SOPInstanceUID: string, dataSet: DataSet]
  | readonly ['N-GET MPPS', SOPInstanceUID: string]
  | readonly ['N-ACTION', SOPInstanceUID: string];

const NATIVE = [EXPLICIT_VR_LITTLE_ENDIAN];
const CLASSES = [
  STUDY_ROOT_FIND,
  STUDY_ROOT_GET,
  MODALITY_WORKLIST_FIND,
  MODALITY_PERFORMED_PROCEDURE_STEP,
  MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE,
  STORAGE_COMMITMENT_PUSH_MODEL,
  CT_IMAGE_STORAGE,
];

/** An archive's DIMSE door, and everything it says to one principal who asks something: statuses, identifiers, objects, later reports. */
export async function askDimse(services: Services, principal: Principal, step: DimseStep): Promise<string> {
  const said: unknown[] = [];
  const reported = Promise.withResolvers<void>();
  const { scu } = await sessionPair({
    services: archiveServices({
      services,
      aeTitle: 'NEPHOS',
      principalOf: () => principal,
      destinationOf: () => undefined,
    }),
    contexts: proposing(...CLASSES.map((uid) => [uid, NATIVE] as const)),
    user: {
      roles: [
        { SOPClassUID: CT_IMAGE_STORAGE, scu: true, scp: true },
        { SOPClassUID: STORAGE_COMMITMENT_PUSH_MODEL, scu: true, scp: true },
      ],
    },
    scuServices: new Map([
      [
        COMMAND.cStore,
        async ({ command, dataSet, respond }) => {
          said.push([command.AffectedSOPInstanceUID, Buffer.from(await dataSet!.gather()).toString('latin1')]);
          await respond({ Status: 0 });
        },
      ],
      [
        COMMAND.nEventReport,
        async ({ command, context, dataSet, respond }) => {
          said.push(command.EventTypeID, decodeIdentifier(await dataSet!.gather(), context.transferSyntax));
          await respond({ Status: 0, EventTypeID: command.EventTypeID });
          reported.resolve();
        },
      ],
    ]),
  });
  const n = async (sopClass: string, command: number, uid: string, dataSet?: DataSet, more: object = {}) => {
    const context = contextOf(scu, sopClass);
    const named = command === COMMAND.nCreate ? { AffectedSOPInstanceUID: uid } : { RequestedSOPInstanceUID: uid };
    const classed =
      command === COMMAND.nCreate ? { AffectedSOPClassUID: sopClass } : { RequestedSOPClassUID: sopClass };
    const fields = { CommandField: command, ...classed, ...named, ...more };
    const response = await scu.request(context, fields, dataSet && encodeIdentifier(dataSet, context.transferSyntax));
    const { Status, ErrorComment } = response.command;
    const answer = response.dataSet && decodeIdentifier(await response.dataSet.gather(), context.transferSyntax);
    said.push(Status, ErrorComment, answer);
    return Status;
  };
  try {
    switch (step[0]) {
      case 'C-FIND':
        said.push(
          await sendFind(
            scu,
            STUDY_ROOT_FIND,
            identifierFor(step[1], Object.entries(step[2])),
            (match) => void said.push(match),
          ),
        );
        break;
      case 'C-FIND MWL':
        said.push(await sendFind(scu, MODALITY_WORKLIST_FIND, step[1], (match) => void said.push(match)));
        break;
      case 'C-GET':
        said.push(await sendRetrieve(scu, STUDY_ROOT_GET, identifierFor(step[1], Object.entries(step[2]))));
        break;
      case 'C-STORE':
        said.push(await sendObject(scu, contextOf(scu, CT_IMAGE_STORAGE), step[1], dataSetIn(step[2]())));
        break;
      case 'N-CREATE MPPS':
        await n(MODALITY_PERFORMED_PROCEDURE_STEP, COMMAND.nCreate, step[1], step[2]);
        break;
      case 'N-SET MPPS':
        await n(MODALITY_PERFORMED_PROCEDURE_STEP, COMMAND.nSet, step[1], step[2]);
        break;
      case 'N-GET MPPS':
        await n(MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE, COMMAND.nGet, step[1]);
        break;
      case 'N-ACTION': {
        const item = { '00081150': ui(CT_IMAGE_STORAGE), '00081155': ui(step[1]) };
        const request: DataSet = { '00081195': ui('2.25.77'), '00081199': { vr: 'SQ', Value: [item] } };
        const instance = '1.2.840.10008.1.20.1.1';
        const status = await n(STORAGE_COMMITMENT_PUSH_MODEL, COMMAND.nAction, instance, request, { ActionTypeID: 1 });
        if (status === 0) await reported.promise;
        break;
      }
    }
    await scu.release();
  } catch (error) {
    said.push(error instanceof PacsError ? error.code : error instanceof Error ? error.message : 'failed');
  }
  return JSON.stringify(said).replace(/[0-9A-HJKMNP-TV-Z]{26}/g, 'ULID');
}

const ui = (uid: string) => ({ vr: 'UI', Value: [uid] });

/** The data set of a Part 10 file: behind the preamble and a file meta that says how long it is. */
function dataSetIn(object: Uint8Array): Uint8Array {
  const { buffer, byteOffset } = object;
  return object.subarray(144 + new DataView(buffer, byteOffset).getUint32(140, true));
}
