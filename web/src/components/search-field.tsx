import { useEffect, useRef, useState } from 'preact/hooks';

const DEBOUNCE_MS = 300;

/** A filter that is typed: applied when the typing pauses, at once by Enter, and before anything else is clicked. */
export function SearchField(props: {
  readonly label: string;
  readonly applied: string;
  readonly onApply: (value: string) => void;
}) {
  // What is typed and not yet applied. Without it the field shows the filter that the list has, whoever changed that.
  const [draft, setDraft] = useState<string>();
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const latest = useRef(props);
  latest.current = props;
  const apply = (value: string) => {
    clearTimeout(timer.current);
    timer.current = undefined;
    setDraft(undefined);
    if (value !== latest.current.applied) latest.current.onApply(value);
  };
  const type = (value: string) => {
    setDraft(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => apply(value), DEBOUNCE_MS);
  };
  return (
    <label class="field">
      <span>{props.label}</span>
      <input
        type="search"
        autoComplete="off"
        spellcheck={false}
        value={draft ?? props.applied}
        onInput={(event) => type(event.currentTarget.value)}
        onKeyDown={(event) => event.key === 'Enter' && apply(event.currentTarget.value)}
        onBlur={(event) => timer.current !== undefined && apply(event.currentTarget.value)}
      />
    </label>
  );
}
