interface Field {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
}

/** What a browser is told of a field; as the attributes of HTML. */
interface Checked {
  readonly required?: boolean;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly title?: string;
  readonly placeholder?: string;
  readonly spellcheck?: boolean;
}

interface Line extends Checked {
  readonly type?: 'text' | 'date' | 'time';
  readonly class?: string;
  readonly inputMode?: 'numeric';
  readonly autoCapitalize?: 'off';
  readonly list?: string;
}

/** A line of text, as it is typed. Browsers complete nothing here: what was typed before may be of another patient. */
export function TextField({ label, value, onChange, ...input }: Field & Line) {
  return (
    <label class="field">
      <span>{label}</span>
      <input
        {...(input as Checked)}
        autoComplete="off"
        value={value}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
    </label>
  );
}

/** The name that somebody or something has in the archive: nothing to be capitalised or corrected. */
export const NAME_INPUT = { autoCapitalize: 'off', spellcheck: false } as const;

export function LongTextField({ label, value, onChange, ...input }: Field & Checked & { readonly rows: number }) {
  return (
    <label class="field">
      <span>{label}</span>
      <textarea {...input} spellcheck={false} value={value} onInput={(event) => onChange(event.currentTarget.value)} />
    </label>
  );
}

type Options = readonly (readonly [value: string, word: string])[];

/** One of several, by the words for them. */
export function ChoiceField({
  label,
  value,
  options,
  required = false,
  onChange,
}: Field & { readonly options: Options; readonly required?: boolean }) {
  return (
    <label class="field">
      <span>{label}</span>
      <select required={required} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([one, word]) => (
          <option key={one} value={one}>
            {word}
          </option>
        ))}
      </select>
    </label>
  );
}

export function CheckField({
  label,
  checked,
  onChange,
}: {
  label: string;
  checked: boolean;
  onChange: (checked: boolean) => void;
}) {
  return (
    <label class="check">
      <input type="checkbox" checked={checked} onChange={(event) => onChange(event.currentTarget.checked)} />
      <span>{label}</span>
    </label>
  );
}
