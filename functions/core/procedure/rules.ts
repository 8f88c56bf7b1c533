import { attribute } from '../dicom/dictionary.ts';
import { textOf } from '../dicom/element-text.ts';
import type { DataSet, Element } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { isUID } from '../ids.ts';
import { type ProcedureStepState, PROCEDURE_TAG as TAG } from './records.ts';

/** What a performed procedure step may say, and when (PS3.4 Table F.7.2-1, F.7.2.1.3, F.7.2.2.3). Pure: the gateway asks as well. */

/** The SOP class (PS3.6 Annex A). */
export const MODALITY_PERFORMED_PROCEDURE_STEP = '1.2.840.10008.3.1.2.3.3';

/** Types of an attribute: at N-CREATE, and in the final state where that asks for more; may N-SET name it? */
interface Row {
  readonly keyword: string;
  readonly create: 1 | 2 | 3;
  readonly set: boolean;
  readonly final?: 1;
  readonly items?: readonly Row[];
}
const row = (keyword: string, create: Row['create'], set: boolean, more: Pick<Row, 'final' | 'items'> = {}): Row => ({
  keyword,
  create,
  set,
  ...more,
});

const REFERENCE = [row('ReferencedSOPClassUID', 1, true), row('ReferencedSOPInstanceUID', 1, true)];

/** Table F.7.2-1, those rows that are required of somebody. */
const MPPS_ATTRIBUTES: readonly Row[] = [
  row('ScheduledStepAttributesSequence', 1, false, {
    items: [
      row('StudyInstanceUID', 1, false),
      row('ReferencedStudySequence', 2, false),
      row('AccessionNumber', 2, false),
      row('RequestedProcedureID', 2, false),
      row('RequestedProcedureDescription', 2, false),
      row('ScheduledProcedureStepID', 2, false),
      row('ScheduledProcedureStepDescription', 2, false),
      row('ScheduledProtocolCodeSequence', 2, false),
    ],
  }),
  row('PatientName', 2, false),
  row('PatientID', 2, false),
  row('PatientBirthDate', 2, false),
  row('PatientSex', 2, false),
  row('ReferencedPatientSequence', 2, false),
  row('PerformedProcedureStepID', 1, false),
  row('PerformedStationAETitle', 1, false),
  row('PerformedStationName', 2, false),
  row('PerformedLocation', 2, false),
  row('PerformedProcedureStepStartDate', 1, false),
  row('PerformedProcedureStepStartTime', 1, false),
  row('PerformedProcedureStepStatus', 1, true),
  row('PerformedProcedureStepDescription', 2, true),
  row('PerformedProcedureTypeDescription', 2, true),
  row('ProcedureCodeSequence', 2, true),
  row('PerformedProcedureStepEndDate', 2, true, { final: 1 }),
  row('PerformedProcedureStepEndTime', 2, true, { final: 1 }),
  row('Modality', 1, false),
  row('StudyID', 2, false),
  row('PerformedProtocolCodeSequence', 2, true),
  row('PerformedSeriesSequence', 2, true, {
    final: 1,
    items: [
      row('SeriesInstanceUID', 1, true),
      row('ProtocolName', 1, true),
      row('PerformingPhysicianName', 2, true),
      row('OperatorsName', 2, true),
      row('SeriesDescription', 2, true),
      row('RetrieveAETitle', 2, true),
      row('ReferencedImageSequence', 2, true, { items: REFERENCE }),
      row('ReferencedNonImageCompositeSOPInstanceSequence', 2, true, { items: REFERENCE }),
    ],
  }),
];

/** PS3.7 Annex C: why an N-CREATE, N-SET or N-GET is refused */
const PROCEDURE_STATUS = {
  noSuchAttribute: 0x0105,
  invalidAttributeValue: 0x0106,
  processingFailure: 0x0110,
  duplicateInstance: 0x0111,
  noSuchInstance: 0x0112,
  missingAttribute: 0x0120,
  missingAttributeValue: 0x0121,
} as const;
/** PS3.4 Table F.7.2-2: “Performed Procedure Step Object may no longer be updated” */
const MAY_NO_LONGER_BE_UPDATED = 0xa710;

/** A refusal that says its DIMSE status: `details.status`, and `details.errorID` and `details.tag` where there is one. */
export const refused = (
  status: keyof typeof PROCEDURE_STATUS,
  message: string,
  details: { tag?: string; errorID?: number } = {},
): PacsError => {
  const code = status === 'noSuchInstance' ? 'NOT_FOUND' : CONFLICTS.has(status) ? 'CONFLICT' : 'BAD_REQUEST';
  return new PacsError(code, message, { details: { status: PROCEDURE_STATUS[status], ...details } });
};
const CONFLICTS = new Set(['duplicateInstance', 'processingFailure']);

const tagOf = (keyword: string): string => attribute(keyword)!.tag;
const BY_TAG = new Map(MPPS_ATTRIBUTES.map((one) => [tagOf(one.keyword), one]));
/** may be in any data set, and is no statement about the step: character set, SOP class and instance, group lengths */
const ASIDE: ReadonlySet<string> = new Set([TAG.SpecificCharacterSet, TAG.SOPClassUID, TAG.SOPInstanceUID]);

/**
 * The step that an N-CREATE makes. Attributes of type 2 that the modality left out are empty: it told us nothing of them, which is what
 * empty says, and no clinic is helped by a step that is not recorded.
 * @throws PacsError with `details.status` (see `refused`)
 */
export function createdStep(attributes: DataSet): DataSet {
  const dataSet = withoutAside(attributes);
  demand(dataSet, MPPS_ATTRIBUTES, ({ create }) => create);
  if (stateOf(dataSet) !== 'IN PROGRESS')
    throw refused('invalidAttributeValue', 'PerformedProcedureStepStatus of a new step is IN PROGRESS', {
      tag: TAG.PerformedProcedureStepStatus,
    });
  return filled(dataSet, MPPS_ATTRIBUTES);
}

/**
 * The step after an N-SET: attributes replace those of before, sequences as a whole.
 * @throws PacsError with `details.status`; 0110 with error ID A710 once the step is over
 */
export function changedStep(current: DataSet, modification: DataSet): DataSet {
  if (stateOf(current) !== 'IN PROGRESS')
    throw refused('processingFailure', 'Performed Procedure Step Object may no longer be updated', {
      errorID: MAY_NO_LONGER_BE_UPDATED,
    });
  const changes = withoutAside(modification);
  for (const [tag, element] of Object.entries(changes)) {
    // Some modalities repeat all that they have said: no harm where it is the same.
    if (BY_TAG.get(tag)?.set === false && !isSame(element, current[tag]))
      throw refused('noSuchAttribute', 'N-SET may not change this attribute', { tag });
  }
  const changed = filled({ ...current, ...changes }, MPPS_ATTRIBUTES);
  const state = stateOf(changed);
  if (state === undefined)
    throw refused('invalidAttributeValue', 'PerformedProcedureStepStatus has none of its values', {
      tag: TAG.PerformedProcedureStepStatus,
    });
  // A step that was discontinued before anything was acquired has no series, whatever Note 2 of the table says.
  const isFinal = ({ keyword }: Row): boolean =>
    state === 'COMPLETED' || (state === 'DISCONTINUED' && keyword !== 'PerformedSeriesSequence');
  demand(changed, MPPS_ATTRIBUTES, (one) => (one.final === 1 && isFinal(one) ? 1 : one.create));
  return changed;
}

export function stateOf(dataSet: DataSet): ProcedureStepState | undefined {
  const text = textOf(dataSet[TAG.PerformedProcedureStepStatus]);
  return text === 'IN PROGRESS' || text === 'COMPLETED' || text === 'DISCONTINUED' ? text : undefined;
}

const withoutAside = (dataSet: DataSet): DataSet =>
  Object.fromEntries(Object.entries(dataSet).filter(([tag]) => !ASIDE.has(tag) && !tag.endsWith('0000')));

function demand(dataSet: DataSet, rows: readonly Row[], typeOf: (row: Row) => 1 | 2 | 3): void {
  for (const one of rows) {
    const tag = tagOf(one.keyword);
    const element = dataSet[tag];
    if (typeOf(one) === 1) {
      if (element === undefined) throw refused('missingAttribute', `${one.keyword} is missing`, { tag });
      if (isEmpty(element)) throw refused('missingAttributeValue', `${one.keyword} has no value`, { tag });
    }
    const isUid = attribute(tag)?.vr === 'UI';
    if (isUid && element !== undefined && !isEmpty(element) && !isUID(textOf(element)))
      throw refused('invalidAttributeValue', `${one.keyword} is not a UID`, { tag });
    if (one.items === undefined) continue;
    for (const item of (element?.Value ?? []) as (DataSet | null)[]) demand(item ?? {}, one.items, typeOf);
  }
}

const isEmpty = (element: Element): boolean =>
  element.vr === 'SQ' ? (element.Value?.length ?? 0) === 0 : textOf(element).trim() === '';

/** With the attributes of type 2 that are absent, empty. */
function filled(dataSet: DataSet, rows: readonly Row[]): DataSet {
  const result: DataSet = { ...dataSet };
  for (const { keyword, create, items } of rows) {
    const { tag, vr } = attribute(keyword)!;
    const element = result[tag];
    if (element === undefined) {
      if (create === 2) result[tag] = { vr };
    } else if (items !== undefined && element.Value !== undefined) {
      result[tag] = { vr: 'SQ', Value: (element.Value as (DataSet | null)[]).map((item) => filled(item ?? {}, items)) };
    }
  }
  return result;
}

/** The same values, whether or not what is empty was sent. */
const isSame = (a: Element, b: Element | undefined): boolean => canonical(a) === canonical(b);

function canonical(element: Element | undefined): string {
  if (element === undefined || element.Value === undefined) return '';
  if (element.vr !== 'SQ') return textOf(element).trim();
  const items = (element.Value as (DataSet | null)[]).map((item) =>
    Object.keys(item ?? {})
      .sort()
      .map((tag) => [tag, canonical(item![tag])] as const)
      .filter(([, text]) => text !== ''),
  );
  return items.length === 0 ? '' : JSON.stringify(items);
}
