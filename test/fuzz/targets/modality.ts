import { COMMAND, encodeCommand } from '#dimse/command-set.ts';
import { encodeIdentifier } from '#dimse/identifiers.ts';
import { dataHeader, encodeAssociateRequest, encodeReleaseRequest } from '#dimse/pdu.ts';
import {
  MODALITY_PERFORMED_PROCEDURE_STEP,
  MODALITY_WORKLIST_FIND,
  STORAGE_COMMITMENT_PUSH_MODEL,
  STUDY_ROOT_FIND,
  STUDY_ROOT_GET,
  STUDY_ROOT_MOVE,
  VERIFICATION,
} from '#dimse/sop-classes.ts';
import { buildDataSet, CT_IMAGE_STORAGE, EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { scheduled, started } from '#test/fixtures/worklist.ts';
import { requestOf } from '#test/unit/dimse/pairs.ts';

const CLASSES = [
  VERIFICATION,
  CT_IMAGE_STORAGE,
  STUDY_ROOT_FIND,
  MODALITY_WORKLIST_FIND,
  MODALITY_PERFORMED_PROCEDURE_STEP,
  STUDY_ROOT_MOVE,
  STUDY_ROOT_GET,
  STORAGE_COMMITMENT_PUSH_MODEL,
];

export const ASSOCIATE: Buffer = encodeAssociateRequest(
  requestOf(
    CLASSES.map((abstractSyntax, i) => ({ id: 2 * i + 1, abstractSyntax, transferSyntaxes: [EXPLICIT_LE] })),
    {
      roles: [{ SOPClassUID: CT_IMAGE_STORAGE, scu: true, scp: true }],
      identity: { type: 2, responseRequested: true, primary: Buffer.from('user'), secondary: Buffer.from('word') },
      extended: [{ SOPClassUID: STUDY_ROOT_FIND, information: Buffer.of(1, 1, 1) }],
    },
  ),
);

function message(
  contextId: number,
  CommandField: number,
  fields: Record<string, string | number>,
  dataSet?: Uint8Array,
): Buffer {
  const command = encodeCommand({
    CommandField,
    MessageID: contextId,
    AffectedSOPClassUID: CLASSES[(contextId - 1) / 2]!,
    CommandDataSetType: dataSet === undefined ? 0x0101 : 0,
    ...fields,
  });
  const parts: Uint8Array[] = [dataHeader(contextId, true, true, command.length), command];
  if (dataSet !== undefined) parts.push(dataHeader(contextId, false, true, dataSet.length), dataSet);
  return Buffer.concat(parts);
}

const keys = encodeIdentifier(
  {
    '00080052': { vr: 'CS', Value: ['STUDY'] },
    '00100010': { vr: 'PN', Value: [{ Alphabetic: 'D*' }] },
    '0020000D': { vr: 'UI' },
  },
  EXPLICIT_LE,
);
const slice = buildDataSet(
  {
    SOPClassUID: CT_IMAGE_STORAGE,
    SOPInstanceUID: uid(3),
    StudyInstanceUID: uid(1),
    SeriesInstanceUID: uid(2),
    PatientID: 'P',
    Rows: 1,
    Columns: 1,
  },
  EXPLICIT_LE,
);

/** What a modality says in a day, every service once. */
export const DAY: readonly Buffer[] = [
  ASSOCIATE,
  message(1, COMMAND.cEcho, {}),
  message(3, COMMAND.cStore, { AffectedSOPInstanceUID: uid(3) }, slice),
  message(5, COMMAND.cFind, {}, keys),
  message(7, COMMAND.cFind, {}, encodeIdentifier(scheduled(), EXPLICIT_LE)),
  message(9, COMMAND.nCreate, { AffectedSOPInstanceUID: '1.2.3.4' }, encodeIdentifier(started(), EXPLICIT_LE)),
  message(11, COMMAND.cMove, { MoveDestination: 'WS1' }, keys),
  message(13, COMMAND.cGet, {}, keys),
  message(15, COMMAND.nAction, { RequestedSOPInstanceUID: '1.2.840.10008.1.20.1.1', ActionTypeID: 1 }, keys),
  encodeReleaseRequest(),
];
