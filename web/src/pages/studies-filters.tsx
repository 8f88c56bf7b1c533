import { useEffect, useRef } from 'preact/hooks';
import type { StudyQuery } from '../api/search.ts';
import { SearchField } from '../components/search-field.tsx';
import { isFiltered, MODALITIES } from './studies-query.ts';

interface Props {
  readonly query: StudyQuery;
  readonly onChange: (part: Partial<StudyQuery>, how?: 'push' | 'replace') => void;
}

export function StudyFilters({ query, onChange }: Props) {
  return (
    <details class="filters" open={matchMedia('(min-width: 48em)').matches || isFiltered(query)}>
      <summary>Filters</summary>
      <search>
        <TextFilter label="Patient name" field="PatientName" query={query} onChange={onChange} />
        <TextFilter label="MRN" field="PatientID" query={query} onChange={onChange} />
        <DateFilter query={query} onChange={onChange} />
        <ModalityFilter query={query} onChange={onChange} />
        <TextFilter label="Description" field="StudyDescription" query={query} onChange={onChange} />
        <TextFilter label="Accession" field="AccessionNumber" query={query} onChange={onChange} />
      </search>
    </details>
  );
}

type TextField = 'PatientName' | 'PatientID' | 'StudyDescription' | 'AccessionNumber';

function TextFilter({ label, field, query, onChange }: Props & { label: string; field: TextField }) {
  const applied = query[field];
  // One step of the back button per filter, not one per letter.
  return (
    <SearchField
      label={label}
      applied={applied}
      onApply={(value) => onChange({ [field]: value }, applied === '' ? 'push' : 'replace')}
    />
  );
}

const isoDay = (daysAgo: number) => {
  const day = new Date();
  day.setDate(day.getDate() - daysAgo);
  return `${day.getFullYear()}-${String(day.getMonth() + 1).padStart(2, '0')}-${String(day.getDate()).padStart(2, '0')}`;
};
const PRESETS = [
  ['Today', 0],
  ['7 days', 6],
  ['30 days', 29],
] as const;

function DateFilter({ query, onChange }: Props) {
  return (
    <fieldset class="field dates">
      <legend>Study date</legend>
      <input
        type="date"
        aria-label="Study date from"
        value={query.from}
        max={query.to}
        onChange={(event) => onChange({ from: event.currentTarget.value }, query.from === '' ? 'push' : 'replace')}
      />
      <span aria-hidden="true">–</span>
      <input
        type="date"
        aria-label="Study date to"
        value={query.to}
        min={query.from}
        onChange={(event) => onChange({ to: event.currentTarget.value }, query.to === '' ? 'push' : 'replace')}
      />
      <span class="presets">
        {PRESETS.map(([label, days]) => {
          const isOn = query.from === isoDay(days) && query.to === '';
          return (
            <button
              key={label}
              type="button"
              class="quiet"
              aria-pressed={isOn}
              onClick={() => onChange(isOn ? { from: '' } : { from: isoDay(days), to: '' })}
            >
              {label}
            </button>
          );
        })}
      </span>
    </fieldset>
  );
}

function ModalityFilter({ query, onChange }: Props) {
  const box = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      if (box.current?.open && !box.current.contains(event.target as Node)) box.current.open = false;
    };
    // By the mouse, and by the keyboard that moves on: it would cover what has the focus then.
    document.addEventListener('pointerdown', close);
    document.addEventListener('focusin', close);
    return () => {
      document.removeEventListener('pointerdown', close);
      document.removeEventListener('focusin', close);
    };
  }, []);
  const toggle = (modality: string, on: boolean) =>
    onChange({ modalities: on ? [...query.modalities, modality] : query.modalities.filter((one) => one !== modality) });
  const leave = (event: KeyboardEvent) => {
    if (event.key !== 'Escape' || !box.current?.open) return;
    box.current.open = false;
    box.current.querySelector('summary')?.focus();
  };
  // A modality that only the address knows is shown as well, so that it can be taken away.
  const offered = [...new Set([...MODALITIES, ...query.modalities])];
  return (
    <div class="field">
      <span id="modality-label">Modality</span>
      <details ref={box} class="choice" onKeyDown={leave}>
        <summary aria-labelledby="modality-label modality-value">
          <span id="modality-value">{query.modalities.join(', ') || 'All'}</span>
        </summary>
        <fieldset>
          <legend class="visually-hidden">Modalities</legend>
          {offered.map((modality) => (
            <label key={modality}>
              <input
                type="checkbox"
                checked={query.modalities.includes(modality)}
                onChange={(event) => toggle(modality, event.currentTarget.checked)}
              />
              {modality}
            </label>
          ))}
        </fieldset>
      </details>
    </div>
  );
}
