import { useState } from 'preact/hooks';
import { addItem, replaceItem, type WorklistItem } from '../api/worklist.ts';
import { FormDialog } from '../components/dialog.tsx';
import { ChoiceField, TextField } from '../components/fields.tsx';
import { type DataSet, type Keyword, TAGS, textOf } from '../dicom/json.ts';
import { MODALITIES } from './studies-query.ts';
import { stepOf } from './worklist-row.tsx';

interface Fields {
  family: string;
  given: string;
  PatientID: string;
  PatientBirthDate: string;
  PatientSex: string;
  AccessionNumber: string;
  Modality: string;
  station: string;
  date: string;
  time: string;
  description: string;
}

const today = () => {
  const now = new Date();
  return `${now.getFullYear()}-${String(now.getMonth() + 1).padStart(2, '0')}-${String(now.getDate()).padStart(2, '0')}`;
};
const toDay = (date: string) => date.replace(/^(\d{4})(\d{2})(\d{2})$/, '$1-$2-$3');
const toClock = (time: string) => time.replace(/^(\d{2}):?(\d{2}).*$/, '$1:$2');
const alphabetic = (item: DataSet): string => {
  const name = item[TAGS.PatientName]?.Value?.[0] as { Alphabetic?: string } | undefined;
  return name?.Alphabetic ?? '';
};

function fieldsOf(item: DataSet): Fields {
  const step = stepOf(item);
  const [family = '', given = ''] = alphabetic(item).split('^');
  return {
    family,
    given,
    PatientID: textOf(item, 'PatientID'),
    PatientBirthDate: toDay(textOf(item, 'PatientBirthDate')),
    PatientSex: textOf(item, 'PatientSex'),
    AccessionNumber: textOf(item, 'AccessionNumber'),
    Modality: textOf(step, 'Modality'),
    station: textOf(step, 'ScheduledStationAETitle'),
    date: toDay(textOf(step, 'ScheduledProcedureStepStartDate')) || today(),
    time: toClock(textOf(step, 'ScheduledProcedureStepStartTime')),
    description: textOf(step, 'ScheduledProcedureStepDescription'),
  };
}

/** What the item says, with the fields put in; what the form does not show stays. */
function withFields(item: DataSet, fields: Fields): DataSet {
  const element = (keyword: Keyword, vr: string, text: string) => ({
    [TAGS[keyword]]: { vr, ...(text !== '' && { Value: [text] }) },
  });
  const digits = (text: string) => text.replace(/\D/g, '');
  const rest = alphabetic(item).split('^').slice(2);
  const Alphabetic = [fields.family, fields.given, ...rest].map((part) => part.trim()).join('^');
  const before = stepOf(item);
  const aeTitles = (before[TAGS.ScheduledStationAETitle]?.Value ?? []).slice(1);
  return {
    ...item,
    [TAGS.PatientName]: {
      vr: 'PN',
      Value: [{ ...(item[TAGS.PatientName]?.Value?.[0] as object), Alphabetic: Alphabetic.replace(/\^+$/, '') }],
    },
    ...element('PatientID', 'LO', fields.PatientID.trim()),
    ...element('PatientBirthDate', 'DA', digits(fields.PatientBirthDate)),
    ...element('PatientSex', 'CS', fields.PatientSex),
    ...element('AccessionNumber', 'SH', fields.AccessionNumber.trim()),
    ...(textOf(item, 'RequestedProcedureDescription') === '' &&
      element('RequestedProcedureDescription', 'LO', fields.description.trim())),
    [TAGS.ScheduledProcedureStepSequence]: {
      vr: 'SQ',
      Value: [
        {
          ...before,
          ...element('Modality', 'CS', fields.Modality),
          [TAGS.ScheduledStationAETitle]: { vr: 'AE', Value: [fields.station.trim(), ...aeTitles] },
          ...element('ScheduledProcedureStepStartDate', 'DA', digits(fields.date)),
          ...element('ScheduledProcedureStepStartTime', 'TM', digits(fields.time).padEnd(6, '0')),
          ...element('ScheduledProcedureStepDescription', 'LO', fields.description.trim()),
        },
      ],
    },
  };
}

interface Props {
  /** undefined: a new one */
  readonly item: WorklistItem | undefined;
  readonly onSaved: () => void;
  readonly onClose: () => void;
}

export function WorklistForm({ item, onSaved, onClose }: Props) {
  const [fields, setFields] = useState(() => fieldsOf(item?.item ?? {}));
  const save = async () => {
    const made = withFields(item?.item ?? {}, fields);
    await (item ? replaceItem(item, made) : addItem(made));
    onSaved();
  };
  const set = (name: keyof Fields) => (value: string) => setFields({ ...fields, [name]: value });
  const input = (
    label: string,
    name: keyof Fields,
    more: { type?: 'text' | 'date' | 'time'; required?: boolean; maxLength?: number } = {},
  ) => <TextField label={label} {...more} spellcheck={false} value={fields[name]} onChange={set(name)} />;
  const choice = (
    label: string,
    name: keyof Fields,
    options: readonly (readonly [string, string])[],
    required = false,
  ) => (
    <ChoiceField
      label={label}
      required={required}
      value={fields[name]}
      options={[['', '–'], ...options]}
      onChange={set(name)}
    />
  );
  return (
    <FormDialog
      wide
      title={item ? 'Change a scheduled step' : 'Schedule a step'}
      action="Save"
      busyAction="Saving…"
      onSubmit={save}
      onClose={onClose}
    >
      <div class="pairs">
        {input('Family name', 'family', { required: true, maxLength: 64 })}
        {input('Given name', 'given', { maxLength: 64 })}
        {input('MRN', 'PatientID', { required: true, maxLength: 64 })}
        {input('Accession', 'AccessionNumber', { maxLength: 16 })}
        {input('Birth date', 'PatientBirthDate', { type: 'date' })}
        {choice('Sex', 'PatientSex', [
          ['F', 'female'],
          ['M', 'male'],
          ['O', 'other'],
        ])}
        {choice(
          'Modality',
          'Modality',
          MODALITIES.map((one) => [one, one] as const),
          true,
        )}
        {input('Station AE title', 'station', { required: true, maxLength: 16 })}
        {input('Date', 'date', { type: 'date', required: true })}
        {input('Time', 'time', { type: 'time', required: true })}
      </div>
      {input('Description', 'description', { required: true, maxLength: 64 })}
    </FormDialog>
  );
}
