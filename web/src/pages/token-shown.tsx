import { useEffect, useRef, useState } from 'preact/hooks';
import type { IssuedToken } from '../api/tokens.ts';
import { copyText } from './secret-shown.tsx';

interface Props {
  readonly issued: IssuedToken & { readonly token: string };
  readonly onDone: () => void;
}

/** The one time that a token is seen. It stays until somebody says that it is kept elsewhere. */
export function TokenShown({ issued, onDone }: Props) {
  const field = useRef<HTMLInputElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const [copied, setCopied] = useState('');
  useEffect(() => heading.current?.focus(), []);
  const copy = async () => setCopied((await copyText(issued.token, field.current)) ? 'Copied.' : 'Copy it by hand.');
  return (
    <section class="token-shown" aria-labelledby="token-shown">
      <h2 id="token-shown" ref={heading} tabIndex={-1}>
        Token for {issued.name}
      </h2>
      <p>Copy it now. It is shown only once, and the archive keeps no copy.</p>
      <div class="token-line">
        <input
          ref={field}
          class="uid"
          readOnly
          aria-label="The token"
          value={issued.token}
          onFocus={(event) => event.currentTarget.select()}
        />
        <button type="button" class="primary" onClick={() => void copy()}>
          Copy
        </button>
        <button type="button" onClick={onDone}>
          Done
        </button>
      </div>
      <p class="hint" role="status">
        {copied}
      </p>
    </section>
  );
}
