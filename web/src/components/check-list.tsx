import type { ComponentChildren } from 'preact';

interface Option<V extends string> {
  readonly value: V;
  readonly word: string;
  /** in small print below the word */
  readonly hint?: string;
}

interface Props<V extends string> {
  readonly legend: string;
  readonly options: readonly Option<V>[];
  readonly chosen: readonly V[];
  readonly onChoose: (chosen: readonly V[]) => void;
  readonly disabled?: boolean;
  /** above the options */
  readonly children?: ComponentChildren;
}

/** Any number of several. */
export function CheckList<V extends string>({
  legend,
  options,
  chosen,
  onChoose,
  disabled = false,
  children,
}: Props<V>) {
  return (
    <fieldset class="field roles" disabled={disabled}>
      <legend>{legend}</legend>
      {children}
      {options.map(({ value, word, hint }) => (
        <label key={value}>
          <input
            type="checkbox"
            checked={chosen.includes(value)}
            onChange={(event) =>
              onChoose(event.currentTarget.checked ? [...chosen, value] : chosen.filter((one) => one !== value))
            }
          />
          <span>
            {word}
            {hint !== undefined && <span class="hint">{hint}</span>}
          </span>
        </label>
      ))}
    </fieldset>
  );
}
