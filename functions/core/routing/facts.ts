import type { InstanceRecord } from '../archive/records.ts';
import { attribute } from '../dicom/dictionary.ts';
import { textOf } from '../dicom/element-text.ts';
import type { DataSet } from '../dicom/types.ts';
import type { Condition, Facts, Subject } from './conditions.ts';

type Known = Pick<InstanceRecord, 'source' | 'Modality' | 'SOPClassUID' | 'transferSyntaxUID'>;

/** What the record of an instance answers by itself. */
const OF_RECORD: Readonly<Partial<Record<Subject, (record: Known) => string>>> = {
  callingAETitle: ({ source }) => source,
  Modality: ({ Modality }) => Modality,
  SOPClassUID: ({ SOPClassUID }) => SOPClassUID,
  TransferSyntaxUID: ({ transferSyntaxUID }) => transferSyntaxUID,
};

/** What conditions ask of an instance. Without its data set, what only that tells is absent. */
export const factsOf =
  (record: Known, dataSet: DataSet | undefined): Facts =>
  (subject) => {
    const known = OF_RECORD[subject];
    const text = known?.(record) ?? textOf(dataSet?.[tagOf(subject)]);
    return known === undefined && text === '' ? [] : [text];
  };

/** Whether a condition asks for more than the record of an instance has. */
export const asksForDataSet = (condition: Condition): boolean =>
  Object.entries(condition).some(([member, value]) => {
    if (member === 'all' || member === 'any') return (value as readonly Condition[]).some(asksForDataSet);
    if (member === 'not') return asksForDataSet(value as Condition);
    return !(member in OF_RECORD);
  });

function tagOf(keyword: string): string {
  const found = attribute(keyword);
  if (found === undefined) throw new Error(`no attribute ${keyword}`);
  return found.tag;
}
