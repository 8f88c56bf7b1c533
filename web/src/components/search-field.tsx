import { useEffect, useRef, useState } from 'preact/hooks';

const DEBOUNCE_MS = 300;

/** A filter that is typed: applied when the typing pauses, at once by Enter, and before anything else is clicked. */
export function SearchField(props: {
  readonly label: string;
  readonly applied: string;
  readonly onApply: (value: string) => void;
}) {
  const { label, applied, onApply } = props;
  const [text, setText] = useState(applied);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  // The back button and "Clear filters" change the address; the field follows, unless somebody is typing.
  useEffect(() => {
    if (timer.current === undefined) setText(applied);
  }, [applied]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const latest = useRef(onApply);
  latest.current = onApply;
  const apply = (value: string) => {
    clearTimeout(timer.current);
    timer.current = undefined;
    if (value !== applied) latest.current(value);
  };
  const type = (value: string) => {
    setText(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => apply(value), DEBOUNCE_MS);
  };
  return (
    <label class="field">
      <span>{label}</span>
      <input
        type="search"
        autoComplete="off"
        spellcheck={false}
        value={text}
        onInput={(event) => type(event.currentTarget.value)}
        onKeyDown={(event) => event.key === 'Enter' && apply(text)}
        onBlur={() => timer.current !== undefined && apply(text)}
      />
    </label>
  );
}
