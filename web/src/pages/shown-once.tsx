import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { SecretShown } from './secret-shown.tsx';

interface Props {
  readonly title: string;
  readonly label: string;
  readonly value: string;
  readonly children?: ComponentChildren;
  readonly onDone: () => void;
}

/** The one time that something is seen. It stays until somebody says that it is kept elsewhere. */
export function ShownOnce({ title, label, value, children, onDone }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  const id = useId();
  useEffect(() => heading.current?.focus(), []);
  return (
    <section class="token-shown" aria-labelledby={id}>
      <h2 id={id} ref={heading} tabIndex={-1}>
        {title}
      </h2>
      <p>Copy it now. It is shown only once, and the archive keeps no copy.</p>
      {children}
      <SecretShown label={label} value={value} />
      <button type="button" onClick={onDone}>
        Done
      </button>
    </section>
  );
}
